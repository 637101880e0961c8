"""The upsampling's filters, in the compiled kernel."""

import ctypes

from torch import Tensor

from workers.measure.moves.kernel.library import need_memory


class FilterKernel:
    """Exact sums of the filters: :class:`~workers.measure.moves.filters.PlainFilters` with the kernel.

    Args:
        library: the kernel.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def upsample(self, x: Tensor, kernel: Tensor, height: int, width: int) -> Tensor:
        """``[C, h, w]``, twice as high and wide, cut to ``[C, height, width]``."""
        x, kernel = x.contiguous(), kernel.contiguous()
        out = x.new_empty(len(x), height, width)
        sizes = (kernel.data_ptr(), len(kernel), out.data_ptr(), height, width)
        need_memory(self._library.qsweep_enlarge(x.data_ptr(), *x.shape, *sizes))
        return out

    def filter(self, x: Tensor, kernel: Tensor) -> Tensor:
        """``[C, h, w]`` filtered, plus itself."""
        x, kernel = x.contiguous(), kernel.contiguous()
        out = x.new_empty(x.shape)
        need_memory(
            self._library.qsweep_refilter(x.data_ptr(), *x.shape, kernel.data_ptr(), len(kernel), out.data_ptr())
        )
        return out
