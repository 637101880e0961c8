"""Near-ties: candidates that are measured again, by the arithmetic of the plain reference.

Which ones those are, :class:`workers.measure.ErrorBound` says. The choice between them depends on no kernel, number
of threads or replica. What is left is torch's own arithmetic, which takes other instructions on another CPU:

- Of MKL, which multiplies small matrices, :mod:`workers` asks for one order of sums everywhere (``MKL_CBWR=AVX2``).
  Without that, a CPU with AVX-512 changed mean squared errors of the four conformance frames of the tests by up to
  1.7e-4 of themselves, and losses by up to 2.2e-5; with it, by up to 8.0e-5 and 2.1e-5, from what the reference
  measured on another machine, over all pairs. It has no effect in a process in which MKL was used before
  :mod:`workers` was imported.
- ``ATEN_CPU_CAPABILITY=avx2`` changed nothing on a CPU with AVX-512, ``default`` the rates by at most 1.0e-6 of
  themselves.

No choice changed: the two best losses of a module differ by 2.1e-4 or more. Where they differ by less than two
errors, replicas on CPUs of different kinds may choose differently; either choice is as good to within that margin.
"""

from collections.abc import Callable, Sequence
from functools import cache

from torch import Tensor

from workers.codec import Frame, FrameEncoder, FrameEncoderOutput, Planes
from workers.measure import RDRow
from workers.quantize import Choices, QStepPair
from workers.reference import measure_plain


def measure_near_ties(
    frame_encoder: FrameEncoder,
    frame: Frame,
    lmbda: float,
    choices: Choices,
    module: str,
    pairs: Sequence[QStepPair],
) -> list[RDRow]:
    """Rows of some candidates, to the last bit those of :func:`workers.reference.measure_plain`.

    What the module cannot change is computed once: the decoded frame for the arm, the rate for the others. The
    operations are the same, on the same numbers.
    """
    forward = _forward(frame_encoder, module)
    return list(measure_plain(frame_encoder, frame, lmbda, choices, module, pairs, forward))


def _forward(frame_encoder: FrameEncoder, module: str) -> Callable[[], FrameEncoderOutput]:
    """The forward pass; what a module cannot change is computed the first time alone."""
    latents = cache(frame_encoder.decoder_side_latents)

    def decoded() -> Planes:
        return frame_encoder.decode(latents())

    def rate() -> Tensor:
        return frame_encoder.rate(latents())

    decoded_once, rate_once = cache(decoded), cache(rate)
    if module == "arm":
        return lambda: FrameEncoderOutput(decoded_once(), rate())
    return lambda: FrameEncoderOutput(decoded(), rate_once())
