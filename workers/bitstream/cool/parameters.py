"""Network parameters of a cool-chic as the integers of a file: exp-Golomb codes, one after the other."""

import math
from collections.abc import Mapping

from workers.bitstream.cool.coolchic_header import MAX_PARAMETER_BYTES, Codings
from workers.bitstream.cool.order import CODED_MODULES, coded_tensors, n_coded_parameters
from workers.bitstream.exp_golomb import BitReader, BitWriter, Integers
from workers.candidates import KINDS, Kind
from workers.codec.coolchic_parameter import CoolChicParameter
from workers.errors import BitstreamError, InputError

MAX_ABS_PARAMETER: Mapping[Kind, int] = {"weight": 65535, "bias": 1 << 24}
"""Largest magnitude of a parameter, in steps: of a weight what a sweep allows. Official files hold biases beyond
that, with the finest steps; they are read as far as float32 holds them exactly."""

Parameters = Mapping[str, Integers]
"""Per tensor, by its name within the cool-chic: its multiples of the step, of its shape."""


def read_parameters(
    content: bytes, n_pad_bits: int, architecture: CoolChicParameter, codings: Codings, part: str
) -> Parameters:
    """Parameters of all networks.

    Args:
        content: their bytes.
        n_pad_bits: zeros in front.
        architecture: of the cool-chic.
        codings: of its parameters.
        part: their name, for messages.

    Raises:
        BitstreamError: they end before or after their bytes, or one exceeds :data:`MAX_ABS_PARAMETER`.
    """
    n_bits = 8 * len(content) - n_pad_bits
    n = n_coded_parameters(architecture)
    if n > n_bits:  # each takes at least one
        raise BitstreamError(f"{part}: {n} parameters end before their {n_bits} bits")
    reader = BitReader(content, part)
    if reader.read(n_pad_bits):
        raise BitstreamError(f"{part}: the bits in front of the first one are 0; found others")
    found: dict[str, Integers] = {}
    for module in CODED_MODULES:
        for kind in KINDS:
            count = codings[module, kind].expgol_cnt
            for name, shape in coded_tensors(architecture)[module, kind].items():
                codes = reader.read_magnitudes(math.prod(shape), count, 2 * MAX_ABS_PARAMETER[kind])
                # Odd codes are positive integers, even ones negative or zero.
                found[name] = ((codes + 1) // 2 * (codes % 2 * 2 - 1)).reshape(shape)
    if reader.n_left:
        raise BitstreamError(f"{part}: {reader.n_left} bits are left over")
    return found


def parameter_bits(
    parameters: Parameters, architecture: CoolChicParameter, codings: Codings
) -> dict[tuple[str, Kind], int]:
    """Bits of the parameters of each module and kind."""
    return {
        (module, kind): sum(
            2 * (code + (1 << count)).bit_length() - 1 - count
            for name in shapes
            for code in _codes(parameters[name])
        )
        for (module, kind), shapes in coded_tensors(architecture).items()
        for count in (codings[module, kind].expgol_cnt,)
    }


def write_parameters(
    parameters: Parameters, architecture: CoolChicParameter, codings: Codings
) -> tuple[bytes, int]:
    """What :func:`read_parameters` reads: the bytes, and the number of zero bits in front.

    Raises:
        InputError: they take more bytes than a file can hold.
    """
    writer = BitWriter()
    for module in CODED_MODULES:
        for kind in KINDS:
            count = codings[module, kind].expgol_cnt
            for name in coded_tensors(architecture)[module, kind]:
                for code in _codes(parameters[name]):
                    writer.write_magnitude(code, count)
    content, n_pad_bits = writer.to_bytes_from_end()
    if len(content) > MAX_PARAMETER_BYTES:
        raise InputError(
            f"the parameters of a cool-chic take at most {MAX_PARAMETER_BYTES} bytes in a .cool file; "
            f"these take {len(content)}"
        )
    return content, n_pad_bits


def _codes(values: Integers) -> list[int]:
    """Positive integers as odd numbers, others as even ones."""
    return [2 * value - 1 if value > 0 else -2 * value for value in values.reshape(-1).tolist()]
