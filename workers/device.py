"""Where this process computes unless it is given a device."""

import torch


def usual_device() -> str:
    """The GPU, if there is one for this process, as torch names it; else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
