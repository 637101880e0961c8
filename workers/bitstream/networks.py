"""The networks of a frame as a bitstream holds them: integers, and the steps they are multiples of."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from workers.bitstream.exp_golomb import Integers
from workers.bitstream.fixed_point import FixedLayer, fixed_layer
from workers.candidates import KINDS, RESIDUE, Kind
from workers.codec import CoolChicParameter, EncoderParameter, FrameEncoder, NetworkSpec
from workers.codec.quantization import MAX_ABS_QUANTIZED
from workers.errors import InputError

EXPONENTS = range(-128, 128)
"""Exponents of two that a quantization step may have."""


class Quantization(NamedTuple):
    """How the parameters of one kind, of one network, are sent.

    Attributes:
        exponent: of the quantization step, a power of two.
        expgol_cnt: count of their exp-Golomb code.
    """

    exponent: int
    expgol_cnt: int


@dataclass(frozen=True)
class QuantizedNetworks:
    """Architecture and quantized parameters of a frame's networks.

    Attributes:
        param: the architecture.
        quantization: per network, by its prefix, and kind.
        integers: per tensor of the state dict, but for the latents, its multiples of the step.
    """

    param: EncoderParameter
    quantization: Mapping[tuple[str, Kind], Quantization]
    integers: Mapping[str, Integers]

    @classmethod
    def of(cls, frame_encoder: FrameEncoder) -> "QuantizedNetworks":
        """Networks of a frame encoder that have all been quantized.

        Raises:
            InputError: they have not, or with steps that a bitstream cannot hold.
        """
        quantization: dict[tuple[str, Kind], Quantization] = {}
        integers: dict[str, Integers] = {}
        for spec in frame_encoder.networks:
            of_kinds, of_names = quantized_network(frame_encoder, spec, dict.fromkeys(KINDS, MAX_ABS_QUANTIZED))
            quantization |= {(spec.prefix, kind): of_kind for kind, of_kind in of_kinds.items()}
            integers |= {f"{spec.prefix}.{name}": values for name, values in of_names.items()}
        return cls(frame_encoder.param, quantization, integers)

    @property
    def coolchic(self) -> CoolChicParameter:
        """Sizes of the cool-chic that is the picture."""
        return self.param.coolchics[RESIDUE]

    def tensor(self, name: str) -> tuple[Integers, int]:
        """Integers of a tensor and exponent of its step, by its name within the cool-chic."""
        name = self.param.family.prefix(RESIDUE) + name
        return self.integers[name], self.exponents[name]

    def layer(self, name: str, *, residual: bool = False) -> FixedLayer:
        """A linear layer or convolution in fixed point, by its name within the cool-chic.

        Args:
            name: what the names of its tensors begin with.
            residual: whether its matrix is added to the unit matrix.
        """
        weight, bias = (self.tensor(f"{name}.{kind}") for kind in KINDS)
        return fixed_layer(*weight, *bias, identity=residual)

    @cached_property
    def exponents(self) -> Mapping[str, int]:
        """Exponent of the step of every tensor."""
        return {
            f"{spec.prefix}.{name}": self.quantization[spec.prefix, kind].exponent
            for spec in self.param.networks
            for kind in KINDS
            for name in spec.names(kind)
        }


def quantized_network(
    frame_encoder: FrameEncoder, spec: NetworkSpec, largest: Mapping[Kind, int]
) -> tuple[dict[Kind, Quantization], dict[str, Integers]]:
    """How a network has been quantized, and the integers of its tensors, by name within it.

    Args:
        frame_encoder: it is not changed.
        spec: of the network.
        largest: magnitude of an integer that a file can hold, by kind.

    Raises:
        InputError: it has not been quantized, or with steps or values that a file cannot hold.
    """
    prefix = spec.prefix
    if prefix not in frame_encoder.nn_q_step:
        raise InputError(f"a bitstream holds quantized networks; the {prefix} has not been quantized")
    steps, counts = frame_encoder.nn_q_step[prefix], frame_encoder.nn_expgol_cnt[prefix]
    parameters = frame_encoder.get_network_parameters(spec.id)
    quantization: dict[Kind, Quantization] = {}
    integers = {}
    for kind in KINDS:
        mantissa, exponent = math.frexp(steps[kind])
        if mantissa != 0.5 or exponent - 1 not in EXPONENTS:
            raise InputError(f"steps in a bitstream are powers of two; the {prefix}'s is {steps[kind]}")
        quantization[kind] = Quantization(exponent - 1, counts[kind])
        for name in spec.names(kind):
            multiples = parameters[name].double().cpu().numpy() / steps[kind]
            whole = np.rint(multiples)
            if not (np.abs(whole) <= largest[kind]).all() or (whole != multiples).any():
                found = f"those of {prefix}.{name} are not"
                raise InputError(f"parameters in a bitstream are multiples of their step; {found}")
            integers[name] = whole.astype(np.int64)
    return quantization, integers


def tensors(param: EncoderParameter, spec: NetworkSpec, kind: Kind) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the tensors of one kind, of one network, in the order in which they are sent."""
    shapes = param.tensor_shapes()
    for name in sorted(spec.names(kind), key=_place):  # else in the order of the state dict
        yield f"{spec.prefix}.{name}", shapes[f"{spec.prefix}.{name}"]


def _place(name: str) -> int:
    """A tensor's place in the list of layers that it is in; those of no list come first."""
    return next((int(part) for part in name.split(".") if part.isdigit()), -1)
