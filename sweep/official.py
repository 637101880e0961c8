"""Drop-in for ``quantize_model`` of an installed Cool-Chic 3.4, 4 or 5, which is never imported."""

import time
from collections.abc import Mapping
from typing import Any, TypeVar

from sweep.api import Replicas, sweep_frame
from sweep.config import RefineSetting
from workers.codec import FrameEncoderManager
from workers.codec.formats.official_object import OfficialEncoder, check_distance, read_frame_object
from workers.errors import InputError

OfficialFrameEncoder = TypeVar("OfficialFrameEncoder")


def quantize_model(
    frame_encoder: OfficialFrameEncoder,
    frame: Any,
    frame_encoder_manager: Any = None,
    *,
    dist_weight: Mapping[str, float] | None = None,
    lmbda: float | None = None,
    replicas: Replicas = None,
    mode: str = "winner",
    refine: RefineSetting = "off",
) -> OfficialFrameEncoder:
    """Quantize the networks of an official frame encoder, each with the pair of steps of the smallest loss.

    Called as the official function of its release: with a manager for 3.4 and 4, with ``dist_weight`` and ``lmbda``
    for 5. It does to its arguments what that does: networks are quantized in place, steps and counts are set, the
    frame encoder is put in evaluation mode, and the time this took is added to the manager's, or to the frame
    encoder's monitor.

    Args:
        frame_encoder: of 3.4, 4 or 5; told apart by its attributes. Candidates are measured on its device.
        frame: the official frame, with its samples.
        frame_encoder_manager: of 3.4 and 4: gives ``lmbda``.
        dist_weight: of 5: ``{"mse": 1.0}``.
        lmbda: of 5: weight of the rate.
        replicas: see :func:`sweep.quantize_model`.
        mode: likewise.
        refine: likewise; in Cool-Chic 5 the integers are refined after its own sweep, as ``rdoq`` does here.

    Returns:
        The same frame encoder.

    Raises:
        InputError: the objects are of no release that is known, or of a kind that is not supported.
        MismatchError: the frame encoder was fitted for a frame of another size or format.
        InfeasibleModuleError: no pair of a module has a finite loss.
    """
    start = time.perf_counter()
    official = OfficialEncoder(frame_encoder)
    if official.is_5:
        if lmbda is None:
            raise InputError("lmbda is missing: a frame encoder of Cool-Chic 5 does not hold it")
    elif frame_encoder_manager is None:
        raise InputError("frame_encoder_manager is missing: it holds the lmbda of encoders of 3.4 and 4")
    else:
        lmbda, dist_weight = frame_encoder_manager.lmbda, getattr(frame_encoder_manager, "dist_weight", None)
    if dist_weight is not None:
        check_distance(dist_weight)
    ours = official.read(lmbda)
    swept = sweep_frame(
        ours, read_frame_object(frame), FrameEncoderManager(lmbda), replicas=replicas, mode=mode, refine=refine
    )
    seconds = time.perf_counter() - start
    official.write(ours, swept.refined, seconds)
    if not official.is_5:
        frame_encoder_manager.total_training_time_sec += seconds
    return frame_encoder
