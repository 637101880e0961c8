"""What is in a checkpoint or bitstream, as plain data."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from workers.bitstream.container import MAGIC, unpack
from workers.candidates import KINDS, QStepPair
from workers.codec.architecture import architecture_of
from workers.codec.checkpoint import Checkpoint, parse_checkpoint
from workers.codec.family import ExpGolombRule
from workers.codec.formats.decoder_limits import decoder_warnings
from workers.codec.network import NetworkSpec
from workers.codec.quantization import quantize, quantize_network
from workers.errors import BitstreamError
from workers.objective.network_rate import exp_golomb_bit

FULL_PRECISION, SWEPT, REFINED = "full precision", "swept", "refined"
"""States of an encoder: its networks are in full precision, as a sweep left them, or have changed after it."""


def describe_content(content: bytes, name: str, encoder_frame: int | None = None) -> dict[str, Any]:
    """What is in a checkpoint or bitstream; units are in the names.

    Args:
        content: of the file; nothing in it is executed.
        name: of the file, for messages.
        encoder_frame: display index of the frame in a checkpoint of several.

    Raises:
        CheckpointError: it is neither, or damaged.
        BitstreamError: it is a damaged bitstream.
    """
    if content.startswith(MAGIC):
        try:
            return _bitstream(content)
        except BitstreamError as error:
            raise BitstreamError(f"{name}: {error}") from None
    return _checkpoint(parse_checkpoint(content, name, encoder_frame))


def _checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    encoder = checkpoint.frame_encoder
    rule = encoder.family.exp_golomb
    warnings = list(decoder_warnings(encoder.param))
    if checkpoint.full_precision is None:
        warnings.append("the parameters in full precision are not in the file: it cannot be swept again")
    if checkpoint.lmbda is None:
        warnings.append("lmbda is not in the file: a job has to give it")
    rows = []
    for spec in encoder.networks:
        own = encoder.get_network_parameters(spec.id)
        if spec.prefix in encoder.nn_q_step:
            steps, counts = encoder.nn_q_step[spec.prefix], encoder.nn_expgol_cnt[spec.prefix]
            integers = {name: quantize(own[name], steps[kind]) for kind in KINDS for name in spec.names(kind)}
            rows.append(_network(spec, own, steps, counts, integers, rule))
        else:
            rows.append(_network(spec, own))
    return {
        "form": "Cool-Chic's own file" if checkpoint.is_official else "safetensors",
        **architecture_of(encoder.param),
        "lmbda": checkpoint.lmbda,
        "state": _state(checkpoint),
        "networks": rows,
        "warnings": warnings,
    }


def _bitstream(content: bytes) -> dict[str, Any]:
    networks, latents, _ = unpack(content)
    rows = []
    for spec in networks.param.networks:
        names = [name for kind in KINDS for name in spec.names(kind)]
        integers = {name: torch.from_numpy(networks.integers[f"{spec.prefix}.{name}"]) for name in names}
        sent = {kind: networks.quantization[spec.prefix, kind] for kind in KINDS}
        steps = {kind: 2.0 ** sent[kind].exponent for kind in KINDS}
        counts = {kind: sent[kind].expgol_cnt for kind in KINDS}
        rows.append(_network(spec, integers, steps, counts, integers, networks.param.family.exp_golomb))
    return {
        "form": "qsw",
        **architecture_of(networks.param),
        "lmbda": None,
        "state": SWEPT,
        "networks": rows,
        "latents_bytes": len(latents.plain) + len(latents.symbols),
        "warnings": [],
    }


def _network(
    spec: NetworkSpec,
    parameters: Mapping[str, Tensor],
    steps: Mapping[Any, float] | None = None,
    counts: Mapping[Any, int] | None = None,
    integers: Mapping[str, Tensor | None] | None = None,
    rule: ExpGolombRule | None = None,
) -> dict[str, Any]:
    """One network; steps, counts and bits where it is quantized."""
    row: dict[str, Any] = {
        "network": spec.id,
        "parameters": sum(value.numel() for value in parameters.values()),
    }
    if steps is None or counts is None or integers is None or rule is None:
        return row | {"q_step": None, "expgol_cnt": None, "rate_bit": None}
    rates = {kind: _rate_bit([integers[name] for name in spec.names(kind)], counts[kind], rule) for kind in KINDS}
    return row | {
        "q_step": {kind: steps[kind] for kind in KINDS},
        "expgol_cnt": {kind: counts[kind] for kind in KINDS},
        "rate_bit": rates,
    }


def _rate_bit(integers: list[Tensor | None], count: int, rule: ExpGolombRule) -> int | None:
    """Bits of all integers; ``None`` where any of them cannot be sent."""
    total = 0
    for values in integers:
        if values is None:
            return None
        total += exp_golomb_bit(values, [count], rule)[0]
    return total


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
