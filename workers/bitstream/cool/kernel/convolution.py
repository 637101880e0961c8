"""Convolutions, in the compiled kernel."""

import ctypes

import numpy as np
import numpy.typing as npt

from workers.bitstream.cool.kernel.library import long, pointer

Floats = npt.NDArray[np.float32]


class _Convolution(ctypes.Structure):
    _fields_ = (
        *((name, pointer) for name in ("x", "weight", "bias", "residual", "out")),
        *((name, long) for name in ("n_in", "n_out", "k", "rows", "columns", "relu")),
    )


def convolve(
    library: ctypes.CDLL, padded: Floats, weight: Floats, bias: Floats, residual: Floats | None, *, relu: bool
) -> Floats:
    """Convolve, add the bias and what else is to be added, and rectify.

    Args:
        library: the kernel.
        padded: ``[in, h + k − 1, w + k − 1]``.
        weight: ``[out, in, k, k]``.
        bias: ``[out]``.
        residual: ``[out, h, w]``, added; ``None`` for nothing.
        relu: whether the result is rectified.

    Returns:
        ``[out, h, w]``.
    """
    n_out, n_in, k, _ = weight.shape
    rows, columns = (side - k + 1 for side in padded.shape[1:])
    given = [None if array is None else np.ascontiguousarray(array) for array in (padded, weight, bias, residual)]
    out = np.empty((n_out, rows, columns), np.float32)
    # One row of all pixels where it makes no difference: its blocks are all whole but one.
    shape = (rows, columns) if k > 1 else (1, rows * columns)
    layer = _Convolution(
        *(None if array is None else array.ctypes.data for array in given),
        out.ctypes.data,
        n_in,
        n_out,
        k,
        *shape,
        relu,
    )
    library.qsweep_cool_convolve(ctypes.byref(layer))
    return out
