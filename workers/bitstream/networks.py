"""The networks of a frame as a bitstream holds them: integers, and the steps they are multiples of."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from workers.codec import KINDS, MODULES, FrameEncoder, FrameEncoderParameter
from workers.errors import InputError
from workers.quantize import MAX_ABS_QUANTIZED, kind_of

Integers = npt.NDArray[np.int64]

EXPONENTS = range(-128, 128)
"""Exponents of two that a quantization step may have."""


class Quantization(NamedTuple):
    """How the parameters of one kind, of one module, are sent.

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
        quantization: per module and kind.
        integers: per tensor of the state dict, but for the latents, its multiples of the step.
    """

    param: FrameEncoderParameter
    quantization: Mapping[tuple[str, str], Quantization]
    integers: Mapping[str, Integers]

    @classmethod
    def of(cls, frame_encoder: FrameEncoder) -> "QuantizedNetworks":
        """Networks of a frame encoder that have all been quantized.

        Raises:
            InputError: they have not, or with steps that a bitstream cannot hold.
        """
        quantization, integers = {}, {}
        for module in MODULES:
            if module not in frame_encoder.nn_q_step:
                raise InputError(f"a bitstream holds quantized networks; the {module} has not been quantized")
            steps, counts = frame_encoder.nn_q_step[module], frame_encoder.nn_expgol_cnt[module]
            for kind in KINDS:
                mantissa, exponent = math.frexp(steps[kind])
                if mantissa != 0.5 or exponent - 1 not in EXPONENTS:
                    raise InputError(f"steps in a bitstream are powers of two; the {module}'s is {steps[kind]}")
                quantization[module, kind] = Quantization(exponent - 1, counts[kind])
            for name, value in frame_encoder.get_network_parameters(module).items():
                multiples = value.double().cpu().numpy() / steps[kind_of(name)]
                whole = np.rint(multiples)
                if not (np.abs(whole) <= MAX_ABS_QUANTIZED).all() or (whole != multiples).any():
                    raise InputError(
                        f"parameters in a bitstream are multiples of their step; those of {module}.{name} are not"
                    )
                integers[f"{module}.{name}"] = whole.astype(np.int64)
        return cls(frame_encoder.param, quantization, integers)

    def exponent(self, name: str) -> int:
        """Exponent of the step of a tensor."""
        return self.quantization[name.partition(".")[0], kind_of(name)].exponent


def tensors(param: FrameEncoderParameter, module: str, kind: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the tensors of one kind, of one module, in the order in which they are sent."""
    for name, shape in param.tensor_shapes().items():
        if name.partition(".")[0] == module and kind_of(name) == kind:
            yield name, shape
