"""The conditions of the plain arithmetic, under which equal inputs give equal bits."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

THREADS = 2
"""Float32 sums depend on the number of threads, and so does the algorithm that torch picks for a convolution.
The reference was measured with two."""


@contextmanager
def plain_arithmetic() -> Iterator[None]:
    """Evaluation without gradients, with the thread count of the reference whatever the process was set to."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
