"""How far one measured loss can be from that of the plain arithmetic, and so which candidates are near-ties.

The engine and the plain reference do the same operations in another order. Two things come of it:

- **Samples round to the other side.** A sample that lies within the error of float32 of the middle of two steps may
  become either. That changes its squared error by ``2e ± 1`` steps², with ``e`` its error in steps. The signs are
  those of unrelated samples, so over a frame they add up as a random walk; a few samples may stand alone.
  Where the synthesis ends at a coarser resolution, ``g`` samples of the frame have the value of one of its samples
  and round together. Their change is ``Σ (2e ± 1)``, whose square is at most ``g · Σ (2e ± 1)²``: the variance of
  the random walk is ``g`` times what it is for unrelated samples, and what stands alone is a group.
- **Sums in float32** are off by a fraction of themselves, the differences of samples by ``2^−24`` each, and what
  latents that cost next to nothing cost by ``2^−23`` bits each.

Over the conformance frames and made-up ones of 1×1 to 210×209 pixels, flat ones among them, with every build of the
kernel and with torch alone, no loss was off by more than 0.075 of the bound.

The bound takes samples for independent. Where a large area has equal values all of it may round to the other side
together: a sample in 100 000 lies so near to a rounding, so about one candidate in 30 000. It cannot happen where
the kernel gives the bits of torch's own convolutions, as those for AVX2 and AVX-512 do on the CPUs where they were
compared, in frames of up to 2^17 samples.

**In tf32** operands of products have a mantissa of 10 bits. The errors of samples are far larger, and of one sign
over large areas, since a weight or a bright area is off as a whole. So a decoded frame is taken to be off by
``d = 2^−11`` of the range (root mean square) in the worst direction, that of its own error: by ``2·√mse·d + d²``.
This was measured over the conformance frames, with operands that were rounded or cut off on a CPU to simulate tf32,
not on GPUs: the largest error was 0.13 of this bound, and 60 times the bound for float32. There are many near-ties
then. They are decided by the plain arithmetic, which is float32 on every device, whatever ``sweep.precision`` is.

What is left is torch's own arithmetic, which depends on the CPU: see :mod:`workers.near_ties`.
"""

import math
from dataclasses import dataclass

from workers.plain import Precision

_RELATIVE = 3e-5
"""Of sums in float32. On CPUs the largest that was measured is 3.1e-7; the rest is for GPUs, which were not."""

_OUTPUT_ERROR = 2.0**-23
"""Of a decoded sample in [0, 1] before it is rounded: so near to the middle of two steps it may become either.
Samples that did tell of 2e-8 (root mean square over candidates and kernels)."""

_TF32_ERROR = 2.0**-11
"""The same with tf32, root mean square over the frame and of one sign: half the last bit of a mantissa, at 1."""

_TF32_RELATIVE = 1e-3
"""Of rates with tf32. The largest that was measured is 6.2e-5."""

_DEVIATIONS = 6.0
"""Standard deviations of the random walk that are allowed for, as there are hundreds of candidates per frame."""

_LARGEST_ERROR = 8.0
"""Error of a single sample that is allowed for, in root mean squared errors of the frame."""

_SAMPLE_DIFFERENCE = 2.0**-23
"""Of a decoded and an original sample, both in [0, 1] and rounded to float32."""

_LATENT_BIT = 2.0**-21
"""Bits per pixel that latents are off by together, however little they cost: ``2^−23`` each, and 4/3 to a pixel."""

_ROUNDS = 16
"""Until ``limit − of(limit) = best + of(best)``: the bound grows more slowly than the loss."""


@dataclass(frozen=True)
class ErrorBound:
    """Bound of the difference between a loss that was measured by the engine and the plain one, for one frame.

    Attributes:
        n_samples: of all planes.
        maximum: of a sample, ``2^bitdepth − 1``.
        lmbda: weight of the rate.
        precision: of the products of the measured one; those of the plain one are float32.
        n_together: samples that have the value of one sample of the synthesis, at most.
        weight: the greatest weight of a sample in the distortion, in weights of the average sample; see
            :func:`~workers.objective.metric.greatest_weight`. With weights ``w`` the distortion changes by
            ``Σ w (2e ± 1)``, and ``Σ w² (2e ± 1)²`` is at most ``weight`` times ``Σ w (2e ± 1)²``: the bound is
            ``weight`` times that for equal weights of a loss so many times smaller.
    """

    n_samples: int
    maximum: int
    lmbda: float
    precision: Precision = "float32"
    n_together: int = 1
    weight: float = 1.0

    @classmethod
    def of_frame(
        cls,
        height: int,
        width: int,
        frame_data_type: str,
        bitdepth: int,
        lmbda: float,
        precision: Precision = "float32",
        n_together: int = 1,
        weight: float = 1.0,
    ) -> "ErrorBound":
        """The bound for a frame of this size and format."""
        chroma = -(-height // 2) * -(-width // 2) if frame_data_type == "yuv420" else height * width
        return cls(height * width + 2 * chroma, 2**bitdepth - 1, lmbda, precision, n_together, weight)

    def of(self, loss: float) -> float:
        """Largest difference that a loss of this size can have: of the distortion in it, and of the rate.

        Both parts are taken as if they were the whole loss, so that the bound never falls where the loss grows.
        """
        return self.weight * self._of_equal_weights(loss / self.weight)

    def _of_equal_weights(self, loss: float) -> float:
        squared = loss * self.maximum**2  # mean squared error of a sample, in steps²
        flips = 2 * _OUTPUT_ERROR * self.maximum * self.n_samples
        walk = _DEVIATIONS * math.sqrt(flips * self.n_together * (4 * squared + 1))
        largest = min(_LARGEST_ERROR**2 * self.n_together, self.n_samples) * squared  # of a group, all its samples
        alone = 2 * math.sqrt(self.n_together * largest) + self.n_together
        steps = self.maximum**2 * self.n_samples
        sums = _RELATIVE * loss + _SAMPLE_DIFFERENCE * math.sqrt(loss) + _LATENT_BIT * self.lmbda
        bound = (walk + alone) / steps + sums
        if self.precision == "tf32":
            # Less than a step off, a sample is rounded to the next step so much more seldom: d·step, and not d².
            squares = _TF32_ERROR * max(_TF32_ERROR, 1 / self.maximum)
            bound += 2 * math.sqrt(loss) * _TF32_ERROR + squares + _TF32_RELATIVE * loss
        return bound

    def limit(self, best: float) -> float:
        """Largest measured loss of a candidate that may be better than one whose loss was measured as ``best``.

        Both may be off, each by its own bound. A loss of exactly this size may be the smaller one.
        """
        worst = best + self.of(best)
        limit = worst
        for _ in range(_ROUNDS):
            limit = worst + self.of(limit)
        return limit
