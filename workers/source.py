"""What a call says about its frame: where a replica finds it, and what the job learns of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.codec import Frame, FrameEncoder, FrameEncoderManager, NetworkSpec
    from workers.files import Fingerprint
    from workers.plain import Precision


@dataclass(frozen=True)
class FrameSource:
    """Where a frame and its encoder come from.

    Attributes:
        id: of the frame, unique within the job.
        read_frame: gives the frame; raises :class:`~workers.errors.FrameFileError` if it cannot be used.
        read_encoder: gives the frame encoder with its manager, likewise; ``None`` before it has been fitted.
        lmbda: weight of the rate; ``None`` for the one the encoder was fitted with.
        metric: name of the metric that gives the distortion of a sweep.
        loading_seconds: for how long a store that does not answer is asked again, while frame and encoder are read;
            0 where they are on this machine.
        frame_name: what messages call the frame: its path or URI.
        encoder_name: the same of the encoder; ``None`` for one that was fitted to this frame here, which is in no
            doubt.
    """

    id: str
    read_frame: Callable[[], Frame]
    read_encoder: Callable[[], tuple[FrameEncoder, FrameEncoderManager]] | None
    lmbda: float | None = None
    metric: str = "mse"
    loading_seconds: float = 0.0
    frame_name: str = "the frame"
    encoder_name: str | None = None


class FrameInfo(NamedTuple):
    """What a job knows of a frame once a replica has opened it.

    Attributes:
        height: in luma samples.
        width: in luma samples.
        lmbda: weight of the rate.
        frame_data_type: ``rgb``, ``yuv444`` or ``yuv420``.
        bitdepth: bits of a sample.
        warnings: what a user should know of the frame or its encoder, one sentence each; the driver logs them
            with the frame's id, since the log of a replica does not reach the terminal.
        networks: that are sent with the frame, in the order in which they are swept.
        mean_colour_mse: mean squared error of the frame's mean colour in place of it.
        fitted_mse: mean squared error that the encoder's file says its fit ended with; ``None`` if it does not.
        precision: of the products with which replicas measure candidates.
        frame_file: what tells whether the frame's file is still the one that was measured; ``None`` without a file.
        encoder_file: the same of the encoder's file.
        n_together: samples of the frame that have the value of one sample of the synthesis, at most.
        family: name of the encoder's.
        greatest_weight: of a sample in the distortion; see :func:`workers.objective.metric.greatest_weight`.
    """

    height: int
    width: int
    lmbda: float
    frame_data_type: str
    bitdepth: int
    warnings: tuple[str, ...] = ()
    networks: tuple[NetworkSpec, ...] = ()
    mean_colour_mse: float | None = None
    fitted_mse: float | None = None
    precision: Precision = "float32"
    frame_file: Fingerprint | None = None
    encoder_file: Fingerprint | None = None
    n_together: int = 1
    greatest_weight: float = 1.0
    family: str | None = None


def parse_shared(read: Callable[[], bytes], frame: str) -> tuple[FrameEncoder, FrameEncoderManager]:
    """Frame encoder of shared bytes; see :func:`workers.codec.parse_frame_encoder`."""
    from workers.codec import parse_frame_encoder  # which loads torch

    return parse_frame_encoder(read(), f"fitted encoder of {frame}")
