"""Peak signal-to-noise ratio."""

import math


def psnr_db(mse: float) -> float:
    """Peak signal-to-noise ratio ``−10 log10 mse``, in dB; infinite for a perfect frame."""
    return -10 * math.log10(mse) if mse > 0 else math.inf
