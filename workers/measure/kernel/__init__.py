"""The compiled kernel, where it was built: the same measurements as in torch, fused.

It is built when qsweep is installed, once per instruction set of x86, and once without any. Where there is no C
compiler it is not, and the engine measures with torch alone. It gives the bits of torch's own convolutions, on
the CPUs where the two were compared, but where the synthesis shares a product and for the upsampling.
"""

from workers.measure.kernel.arm import ArmBlock, ArmLayers, laplace_arguments, probability_products, supports_arm
from workers.measure.kernel.library import load, refused, stale_builds
from workers.measure.kernel.synthesis import (
    SMALL_INPUT,
    Convolution,
    SynthesisBlock,
    SynthesisLayers,
    n_pointwise,
    supports,
)
from workers.measure.kernel.upsampling import upsample
from workers.native.library import forced_build

__all__ = [
    "SMALL_INPUT",
    "ArmBlock",
    "ArmLayers",
    "Convolution",
    "SynthesisBlock",
    "SynthesisLayers",
    "forced_build",
    "laplace_arguments",
    "load",
    "n_pointwise",
    "probability_products",
    "refused",
    "stale_builds",
    "supports",
    "supports_arm",
    "upsample",
]
