"""The backend for any frame encoder: whole forward passes, by the arithmetic of the plain reference."""

from collections.abc import Sequence
from copy import deepcopy

import torch

from workers.candidates import Choice, Choices, Measurement, QStepPair
from workers.codec import Frame, FrameEncoder, check_match
from workers.codec.quantization import apply_choices
from workers.measure import EngineOptions
from workers.near_ties import measure_near_ties
from workers.objective.loss import MSE
from workers.objective.metric import Metric
from workers.plain import plain_arithmetic


class ForwardMeasurer:
    """Measures candidates of one frame, each by a forward pass on the CPU; none is pruned.

    Args:
        frame_encoder: with its networks in full precision; it is not modified.
        frame: the frame it was fitted for.
        lmbda: weight of the rate.
        metric: gives the distortion.

    Raises:
        MismatchError: the frame encoder was fitted for a frame of another size or format.
    """

    def __init__(self, frame_encoder: FrameEncoder, frame: Frame, lmbda: float, metric: Metric = MSE) -> None:
        check_match(frame, frame_encoder)
        self._metric = metric
        self._full_precision, self._frame, self._lmbda = frame_encoder, frame, lmbda
        self._kept: tuple[dict[str, Choice], FrameEncoder] | None = None

    def measure(
        self,
        choices: Choices,
        network: str,
        pairs: Sequence[QStepPair],
        best: float | None = None,  # noqa: ARG002
    ) -> list[Measurement]:
        """Measure some candidates; see :class:`workers.measure.backend.Measurer`."""
        frame_encoder = self._quantized({name: choices[name] for name in choices if name != network})
        return measure_near_ties(frame_encoder, self._frame, self._lmbda, choices, network, pairs, self._metric)

    def rate_of_grids(self, choices: Choices) -> tuple[float, ...]:
        """Bits of the latents of each grid."""
        frame_encoder = self._quantized(dict(choices))
        with plain_arithmetic(frame_encoder.family.plain_threads):
            return tuple(grid.sum(dtype=torch.float64).item() for grid in frame_encoder.rate_of_grids())

    def _quantized(self, choices: dict[str, Choice]) -> FrameEncoder:
        """The frame encoder with these networks quantized; the last one asked for is kept."""
        if self._kept is None or self._kept[0] != choices:
            frame_encoder = deepcopy(self._full_precision)
            apply_choices(frame_encoder, choices)
            self._kept = (choices, frame_encoder)
        return self._kept[1]


class _Forward:
    def supports(self, frame_encoder: FrameEncoder, device: torch.device, metric: Metric) -> bool:  # noqa: ARG002
        return True

    def open(
        self,
        frame_encoder: FrameEncoder,
        frame: Frame,
        lmbda: float,
        *,
        device: torch.device,  # noqa: ARG002
        threads: int,  # noqa: ARG002
        options: EngineOptions | None,  # noqa: ARG002
        metric: Metric,
    ) -> ForwardMeasurer:
        return ForwardMeasurer(frame_encoder, frame, lmbda, metric)


FORWARD = _Forward()
"""Supports every frame encoder and every metric, on the CPU of any replica."""
