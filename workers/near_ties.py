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

from workers.candidates import Choices, Measurement, QStepPair
from workers.codec import Frame, FrameEncoder, FrameEncoderOutput, Planes
from workers.codec.network import Effect
from workers.objective.loss import MSE
from workers.objective.metric import Metric
from workers.reference import measure_plain


def measure_near_ties(
    frame_encoder: FrameEncoder,
    frame: Frame,
    lmbda: float,
    choices: Choices,
    network: str,
    pairs: Sequence[QStepPair],
    metric: Metric = MSE,
) -> list[Measurement]:
    """Measure some candidates, to the last bit as :func:`workers.reference.measure_plain` does.

    What the network cannot change is computed once: the decoded frame, or the rate. The
    operations are the same, on the same numbers.
    """
    forward = forward_of(frame_encoder, network)
    return list(measure_plain(frame_encoder, frame, lmbda, choices, network, pairs, forward, metric))


def forward_of(frame_encoder: FrameEncoder, network: str) -> Callable[[], FrameEncoderOutput]:
    """The forward pass; what a network cannot change is computed the first time alone."""
    latents = cache(frame_encoder.decoder_side_latents)

    def decoded() -> Planes:
        return frame_encoder.decode(latents())

    def rate() -> Tensor:
        return frame_encoder.rate(latents())

    decoded_once, rate_once = cache(decoded), cache(rate)
    (effect,) = (spec.effect for spec in frame_encoder.networks if spec.id == network)
    if effect is Effect.RATE:
        return lambda: FrameEncoderOutput(decoded_once(), rate())
    return lambda: FrameEncoderOutput(decoded(), rate_once())
