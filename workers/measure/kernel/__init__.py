"""The compiled kernel, where it was built: the same measurements as in torch, fused.

It is built when qsweep is installed, once per instruction set of x86, and once without any. Where there is no C
compiler it is not, and the engine measures with torch alone. It gives the bits of torch's own convolutions, on
the CPUs where the two were compared, but where the synthesis shares a product and for the upsampling.
"""

from workers.measure.kernel.arm import ArmBlock, laplace_arguments, probability_products
from workers.measure.kernel.library import forced_build, load, refused, stale_builds
from workers.measure.kernel.synthesis import SMALL_INPUT, SynthesisBlock, n_pointwise, supports
from workers.measure.kernel.upsampling import upsample

__all__ = [
    "SMALL_INPUT",
    "ArmBlock",
    "SynthesisBlock",
    "forced_build",
    "laplace_arguments",
    "load",
    "n_pointwise",
    "probability_products",
    "refused",
    "stale_builds",
    "supports",
    "upsample",
]
