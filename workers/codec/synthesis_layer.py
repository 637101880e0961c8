"""The layers of a synthesis, as checkpoints write them."""

import re
from typing import NamedTuple

MAX_KERNEL = 31
"""Size of any kernel."""

_MAX_CHANNELS = 1024


class SynthesisLayer(NamedTuple):
    """One convolution of the synthesis, written ``<out>-<k>-<linear|residual>-<relu|none>``."""

    out_channels: int
    kernel_size: int
    residual: bool
    relu: bool

    @classmethod
    def parse(cls, text: str) -> "SynthesisLayer":
        """Read one layer.

        Raises:
            ValueError: it is not written as above, with an odd kernel.
        """
        match = re.fullmatch(r"(\d{1,4})-(\d{1,2})-(linear|residual)-(relu|none)", text.strip())
        if match is None:
            raise ValueError(f"a layer is written <out>-<k>-<linear|residual>-<relu|none>, found {text!r}")
        out_channels, kernel_size = int(match[1]), int(match[2])
        if not 1 <= out_channels <= _MAX_CHANNELS:
            raise ValueError(f"a layer has 1 to {_MAX_CHANNELS} output channels, found {text!r}")
        if kernel_size % 2 == 0 or kernel_size > MAX_KERNEL:
            raise ValueError(f"a kernel is odd and at most {MAX_KERNEL}, found {text!r}")
        return cls(out_channels, kernel_size, match[3] == "residual", match[4] == "relu")

    def __str__(self) -> str:
        kind = "residual" if self.residual else "linear"
        return f"{self.out_channels}-{self.kernel_size}-{kind}-{'relu' if self.relu else 'none'}"
