"""Files of version 2: any picture, in a header of bits."""

import binascii
import math
import struct

import numpy as np

from workers.bitstream.architecture_fields import read_architecture, write_architecture
from workers.bitstream.content import Bitstream, FileParts
from workers.bitstream.exp_golomb import BitReader, BitWriter, Integers
from workers.bitstream.latent_coder import CodedLatents
from workers.bitstream.networks import EXPONENTS, Quantization, QuantizedNetworks, tensors
from workers.candidates import KINDS, Kind
from workers.codec import EncoderParameter
from workers.codec.quantization import MAX_ABS_QUANTIZED
from workers.errors import BitstreamError

MAX_PARAMETERS = 1 << 22
"""Of all networks: zeros take no bits, and the file's size does not bound them."""

_CRC = struct.Struct("<H")  # of all that follows
_SAMPLES_CRC = struct.Struct("<I")
_CRC_START = 0xFFFF
_COUNTS = range(MAX_ABS_QUANTIZED.bit_length() + 1)
_EXPONENT_COUNT, _CODE_COUNT = 3, 1
_MAX_PLAIN = 1 << 40


def pack(bitstream: Bitstream) -> FileParts:
    """A file, after magic and version."""
    networks, latents = bitstream.networks, bitstream.latents
    codes = {key: _code(values) for key, values in _by_kind(networks).items()}
    bits = BitWriter()
    write_architecture(bits, networks.param)
    for key, code in codes.items():
        bits.write_integers([networks.quantization[key].exponent], _EXPONENT_COUNT)
        bits.write_magnitude(code, _CODE_COUNT)
    bits.write_magnitude(len(latents.plain), 0)
    n_header = bits.n_bits
    for key, values in _by_kind(networks).items():
        if codes[key]:
            bits.write_integers(values.tolist(), codes[key] - 1)
    n_networks = -(-(bits.n_bits - n_header) // 8)
    body = _SAMPLES_CRC.pack(bitstream.samples_crc) + bits.to_bytes() + latents.plain + latents.symbols
    crc = binascii.crc_hqx(body, _CRC_START)
    return FileParts(_CRC.pack(crc) + body, n_networks, len(latents.plain) + len(latents.symbols))


def unpack(content: bytes) -> Bitstream:
    """What is in a file after magic and version.

    Raises:
        BitstreamError: it is truncated or altered.
    """
    if len(content) < _CRC.size + _SAMPLES_CRC.size:
        raise BitstreamError(f"ends early: found {len(content)} bytes after the version")
    (crc,), body = _CRC.unpack_from(content), content[_CRC.size :]
    if binascii.crc_hqx(body, _CRC_START) != crc:
        raise BitstreamError("truncated or altered: the checksum does not match")
    (samples_crc,) = _SAMPLES_CRC.unpack_from(body)
    reader = BitReader(body[_SAMPLES_CRC.size :], "fields of header and parameters")
    param = read_architecture(reader)
    if (n := n_parameters(param)) > MAX_PARAMETERS:
        raise BitstreamError(f"networks have at most {MAX_PARAMETERS} parameters; found {n}")
    quantization: dict[tuple[str, Kind], Quantization] = {}
    codes: dict[tuple[str, Kind], int] = {}
    for spec in param.networks:
        for kind in KINDS:
            exponent = int(reader.read_integers(1, _EXPONENT_COUNT, -EXPONENTS[0])[0])
            if exponent not in EXPONENTS:
                raise BitstreamError(f"steps are at most 2^{EXPONENTS[-1]}; found 2^{exponent}")
            code = reader.read_magnitude(_CODE_COUNT, len(_COUNTS))
            codes[spec.prefix, kind] = code
            quantization[spec.prefix, kind] = Quantization(exponent, _family_count(code, param))
    n_plain = reader.read_magnitude(0, _MAX_PLAIN)
    integers: dict[str, Integers] = {}
    for spec in param.networks:
        for kind in KINDS:
            code = codes[spec.prefix, kind]
            for name, shape in tensors(param, spec, kind):
                n = math.prod(shape)
                values = reader.read_integers(n, code - 1, MAX_ABS_QUANTIZED) if code else np.zeros(n, np.int64)
                integers[name] = values.reshape(shape)
    latents = reader.rest()
    if n_plain > len(latents):
        raise BitstreamError(f"ends early: {n_plain} bytes of plain bits are wanted of {len(latents)}")
    networks = QuantizedNetworks(param, quantization, integers)
    return Bitstream(networks, CodedLatents(latents[n_plain:], latents[:n_plain]), samples_crc)


def n_parameters(param: EncoderParameter) -> int:
    """Parameters of all networks."""
    shapes = param.tensor_shapes()
    return sum(
        math.prod(shapes[f"{spec.prefix}.{name}"])
        for spec in param.networks
        for kind in KINDS
        for name in spec.names(kind)
    )


def _by_kind(networks: QuantizedNetworks) -> dict[tuple[str, Kind], Integers]:
    """Parameters in the order in which they are sent, ``[n]`` for each network and kind."""
    param, none = networks.param, np.empty(0, np.int64)  # one grid alone is not upsampled
    return {
        (spec.prefix, kind): np.concatenate(
            [none, *(networks.integers[name].reshape(-1) for name, _ in tensors(param, spec, kind))]
        )
        for spec in param.networks
        for kind in KINDS
    }


def _code(values: Integers) -> int:
    """How integers are sent: 0 for zeros, which take no bits; else their cheapest exp-Golomb count, plus one."""
    if not values.any():
        return 0
    # Of |q| + 2^k, the number of bits; the sign costs the same with any count.
    lengths = [np.frexp(np.abs(values) + float(1 << count))[1].sum(dtype=np.int64) for count in _COUNTS]
    bits = [2 * int(length) - len(values) * (1 + count) for count, length in zip(_COUNTS, lengths, strict=True)]
    return 1 + bits.index(min(bits))


def _family_count(code: int, param: EncoderParameter) -> int:
    """Count with which the family's estimate of the rate is what the parameters take, signs and all."""
    return max(code - 1, 0) + param.family.exp_golomb.scale.bit_length() - 1 if code else 0
