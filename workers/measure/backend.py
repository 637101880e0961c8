"""Backends: ways to measure the candidates of a frame, of which one is chosen when the frame is opened.

A backend measures whole frames, not single stages of a forward pass. The stages, and what is kept of each, are the
plan of the engine (:mod:`workers.measure.plan`); another backend need not have one. And losses of one frame can be
compared because one arithmetic gave them all: the bound of the error is that between one backend and the plain
arithmetic.

Within the engine each stage is a :class:`~workers.measure.cost.Cost`: it evaluates a batch of candidates tile by
tile, with the compiled kernel or with torch, and the code that uses it does not know which. A kernel for another
device would be one more cost.
"""

from collections.abc import Sequence
from typing import Protocol

import torch

from workers.candidates import Choices, Measurement, QStepPair
from workers.codec import Frame, FrameEncoder
from workers.measure.options import EngineOptions
from workers.objective.metric import Metric
from workers.registry import Registry


class Measurer(Protocol):
    """Measures candidates of one frame. A call gives the same measurements whatever was asked before."""

    def measure(
        self, choices: Choices, network: str, pairs: Sequence[QStepPair], best: float | None = None
    ) -> list[Measurement]:
        """Measure some candidates of a network.

        Args:
            choices: of the networks that are quantized; the others are in full precision.
            network: id of the network to quantize with each pair.
            pairs: the candidates.
            best: ``None`` to measure every pair in full; else the best loss of the network that is known already,
                infinity if none is: then pairs that cannot win may be pruned.

        Returns:
            One measurement per pair, in the order given.

        Raises:
            ReplicaError: the device cannot do it, and another one may.
        """

    def rate_of_grids(self, choices: Choices) -> tuple[float, ...]:
        """Bits of the latents of each grid, the finest one first, with the networks as they were chosen."""


class Backend(Protocol):
    """A way to measure candidates, for the frame encoders that it supports."""

    def supports(self, frame_encoder: FrameEncoder, device: torch.device, metric: Metric) -> bool:
        """Whether it can measure candidates of this frame encoder, with this device and by this metric."""

    def open(
        self,
        frame_encoder: FrameEncoder,
        frame: Frame,
        lmbda: float,
        *,
        device: torch.device,
        threads: int,
        options: EngineOptions | None,
        metric: Metric,
    ) -> Measurer:
        """Measures candidates of one frame.

        Args:
            frame_encoder: with its networks in full precision; it is not modified.
            frame: the frame it was fitted for.
            lmbda: weight of the rate.
            device: where to compute.
            threads: on a CPU.
            options: how candidates are measured.
            metric: gives the distortion.

        Raises:
            MismatchError: the frame encoder was fitted for a frame of another size or format.
        """


BACKENDS: Registry[Backend] = Registry(
    "backend", {"forward": "workers.forward_backend:FORWARD", "engine": "workers.measure.engine:ENGINE"}
)
"""Backends by name; plugins add to them."""


def choose_backend(frame_encoder: FrameEncoder, device: torch.device, metric: Metric) -> Backend:
    """The backend of a frame encoder and a metric: of those that support it, the one that was registered last.

    Raises:
        ValueError: none supports it.
    """
    for name in reversed(list(BACKENDS)):
        if BACKENDS[name].supports(frame_encoder, device, metric):
            return BACKENDS[name]
    raise ValueError(
        f"no backend of {', '.join(BACKENDS)} supports the family {frame_encoder.family.name} and this metric"
    )
