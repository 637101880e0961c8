"""What is in a checkpoint, as plain data."""

from typing import Any

import torch

from workers.candidates import KINDS, QStepPair
from workers.codec.architecture import (
    FULL_PRECISION,
    REFINED,
    SWEPT,
    architecture_of,
    network_row,
)
from workers.codec.checkpoint import Checkpoint, parse_checkpoint, parse_checkpoints
from workers.codec.formats.decoder_limits import decoder_warnings
from workers.codec.frame_encoder import FrameEncoder
from workers.codec.latent_rates import put_latents
from workers.codec.network import NetworkSpec
from workers.codec.quantization import quantize, quantize_network
from workers.errors import CheckpointError
from workers.objective.network_rate import exp_golomb_bit


def describe_checkpoint(content: bytes, name: str, encoder_frame: int | None = None) -> dict[str, Any]:
    """What is in a checkpoint; units are in the names.

    Args:
        content: of the file; nothing in it is executed.
        name: of the file, for messages.
        encoder_frame: display index of the frame in a checkpoint of several.

    Raises:
        CheckpointError: it is none, or damaged.
    """
    return _describe(parse_checkpoint(content, name, encoder_frame))


def describe_frames(content: bytes, name: str) -> list[dict[str, Any]]:
    """What is in each frame of a checkpoint of Cool-Chic's own encoder, in order of display.

    Args:
        content: of the file; nothing in it is executed.
        name: of the file, for messages.

    Returns:
        As :func:`describe_checkpoint`, with the display index as ``encoder_frame``; of a frame that cannot be used
        ``encoder_frame`` and, in ``error``, why.

    Raises:
        CheckpointError: the file is damaged, or holds no frame.
    """
    frames: list[dict[str, Any]] = []
    for index, checkpoint in parse_checkpoints(content, name):
        found = {"error": str(checkpoint)} if isinstance(checkpoint, CheckpointError) else _describe(checkpoint)
        frames.append({"encoder_frame": index} | found)
    return frames


def _describe(checkpoint: Checkpoint) -> dict[str, Any]:
    encoder = checkpoint.frame_encoder
    warnings = list(decoder_warnings(encoder.param))
    if checkpoint.full_precision is None:
        warnings.append("the parameters in full precision are not in the file: it cannot be swept again")
    if checkpoint.lmbda is None:
        warnings.append("lmbda is not in the file: a job has to give it")
    found = architecture_of(encoder.param)
    put_latents(found, encoder)
    return {
        "form": "Cool-Chic's own file" if checkpoint.is_official else "safetensors",
        **found,
        "lmbda": checkpoint.lmbda,
        "state": _state(checkpoint),
        "networks": [_network(encoder, spec) for spec in encoder.networks],
        "warnings": warnings,
    }


def _network(encoder: FrameEncoder, spec: NetworkSpec) -> dict[str, Any]:
    """One network; steps, counts and bits where it is quantized."""
    own = encoder.get_network_parameters(spec.id)
    n_parameters = sum(value.numel() for value in own.values())
    if spec.prefix not in encoder.nn_q_step:
        return network_row(spec.id, n_parameters)
    steps, counts = encoder.nn_q_step[spec.prefix], encoder.nn_expgol_cnt[spec.prefix]
    rates: dict[str, int | None] = {}
    for kind in KINDS:
        integers = [quantize(own[name], steps[kind]) for name in spec.names(kind)]
        rule = encoder.family.exp_golomb
        bits = [None if each is None else exp_golomb_bit(each, [counts[kind]], rule)[0] for each in integers]
        rates[kind] = None if None in bits else sum(filter(None, bits))
    return network_row(spec.id, n_parameters, steps, counts, rates)


def _state(checkpoint: Checkpoint) -> str:
    encoder, before = checkpoint.frame_encoder, checkpoint.full_precision
    if not encoder.nn_q_step:
        return FULL_PRECISION
    if before is None:  # so it cannot be told
        return SWEPT
    for spec in encoder.networks:
        if spec.prefix not in encoder.nn_q_step:
            continue
        pair = QStepPair(**encoder.nn_q_step[spec.prefix])
        rounded = quantize_network(spec, before.get_network_parameters(spec.id), pair)
        now = encoder.get_network_parameters(spec.id)
        if rounded is None or not all(torch.equal(rounded[name], now[name]) for name in now):
            return REFINED
    return SWEPT
