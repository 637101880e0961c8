"""The parameters of a frame encoder's networks, quantized with any pair of steps."""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from workers.candidates import Kind, QStepPair
from workers.codec import FrameEncoder
from workers.codec.quantization import quantize_tensors
from workers.measure.cost import Parameters
from workers.objective.network_rate import NetworkRate, network_rate

InForce = Mapping[str, QStepPair]
"""Pairs of steps that networks are quantized with, by id; those that are not named are in full precision."""


class _Quantized(NamedTuple):
    """A network's parameters of one kind, quantized with one step."""

    parameters: Parameters
    rate: NetworkRate


class NetworkParameters:
    """Parameters of the networks of a frame encoder; what was computed once is kept.

    Args:
        frame_encoder: with its networks in full precision; it is not modified.
        device: where they are wanted.
    """

    def __init__(self, frame_encoder: FrameEncoder, device: torch.device) -> None:
        self._device = device
        self._rule = frame_encoder.family.exp_golomb
        self._specs = {spec.id: spec for spec in frame_encoder.networks}
        self._full_precision = {name: frame_encoder.get_network_parameters(name) for name in self._specs}
        self._quantized: dict[tuple[str, Kind, float], _Quantized | None] = {}

    def of(self, network: str, pair: QStepPair | None) -> Parameters:
        """A network's parameters, quantized or, without a pair, in full precision.

        Raises:
            ValueError: they overflow.
        """
        if pair is None:
            return {name: value.to(self._device) for name, value in self._full_precision[network].items()}
        weight, bias = self._of_kind(network, "weight", pair.weight), self._of_kind(network, "bias", pair.bias)
        if weight is None or bias is None:
            raise ValueError(f"{network}: the pair {pair} overflows, it cannot be chosen")
        return {**weight.parameters, **bias.parameters}

    def rate(self, network: str, pair: QStepPair) -> tuple[NetworkRate, NetworkRate] | None:
        """Rates of a network's weights and biases; ``None`` on an overflow."""
        weight, bias = self._of_kind(network, "weight", pair.weight), self._of_kind(network, "bias", pair.bias)
        return None if weight is None or bias is None else (weight.rate, bias.rate)

    def _of_kind(self, network: str, kind: Kind, step: float) -> _Quantized | None:
        key = (network, kind, step)
        if key not in self._quantized:
            own = {name: self._full_precision[network][name] for name in self._specs[network].names(kind)}
            values, rate = quantize_tensors(own, step), network_rate(own, step, self._rule)
            self._quantized[key] = None
            if values is not None and rate is not None:
                on_device = {name: value.to(self._device) for name, value in values.items()}
                self._quantized[key] = _Quantized(on_device, rate)
        return self._quantized[key]

    def biases(self, network: str, parameters: Parameters) -> bytes:
        """The biases of a candidate that its evaluation depends on: equal bytes, equal numbers."""
        spec = self._specs[network]
        used = () if "bias" in spec.ignored else spec.biases
        return b"".join(parameters[name].cpu().numpy().tobytes() for name in used)
