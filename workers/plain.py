"""The conditions of the plain arithmetic, under which equal inputs give equal bits, and its precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

Precision = Literal["float32", "tf32"]
"""What products are computed in: float32; or, where a GPU offers it, with operands of 10 bits of mantissa."""


@contextmanager
def plain_arithmetic(threads: int) -> Iterator[None]:
    """Evaluation without gradients, with as many threads as the reference, whatever the process was set to.

    Float32 sums depend on the number of threads, and so does the algorithm that torch picks for a convolution.

    Args:
        threads: of the family.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode(), in_precision("float32"):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def in_precision(precision: Precision) -> Iterator[None]:
    """Products in this precision and no other, whatever the process was set to."""
    backends: Any = torch.backends
    on_gpu = "tf32" if precision == "tf32" else "ieee"
    settings: list[tuple[Any, str, object]] = [
        (backends.cuda.matmul, "fp32_precision", on_gpu),
        (backends.cudnn.conv, "fp32_precision", on_gpu),
        (backends.mkldnn.matmul, "fp32_precision", "ieee"),
        (backends.mkldnn.conv, "fp32_precision", "ieee"),
        (backends.cudnn, "benchmark", False),
        (backends.cudnn, "deterministic", True),
    ]
    before = [getattr(owner, name) for owner, name, _ in settings]
    try:
        for owner, name, value in settings:
            setattr(owner, name, value)
        yield
    finally:
        for (owner, name, _), value in zip(settings, before, strict=True):
            setattr(owner, name, value)
