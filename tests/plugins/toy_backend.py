"""A plugin: a backend that measures by whole forward passes, and leaves a mark in each of its measurements."""

from collections.abc import Sequence

import torch

from workers.candidates import Choices, Measurement, QStepPair
from workers.codec import Frame, FrameEncoder
from workers.forward_backend import ForwardMeasurer
from workers.measure import EngineOptions
from workers.measure.backend import BACKENDS
from workers.objective.metric import Metric

SECONDS = 1234.5
"""That each measurement says it took."""


class Marking(ForwardMeasurer):
    def measure(
        self, choices: Choices, network: str, pairs: Sequence[QStepPair], best: float | None = None
    ) -> list[Measurement]:
        measured = super().measure(choices, network, pairs, best)
        return [measurement._replace(seconds=SECONDS) for measurement in measured]


class Toy:
    def supports(self, frame_encoder: FrameEncoder, device: torch.device, metric: Metric) -> bool:  # noqa: ARG002
        return frame_encoder.family.name == "coolchic-3.4" and device.type == "cpu"

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
    ) -> Marking:
        return Marking(frame_encoder, frame, lmbda, metric)


BACKENDS.register("toy", Toy())
