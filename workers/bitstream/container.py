"""The container: a header with all that a decoder needs to know, and the sections, in one file with checksums."""

import math
import struct
import zlib
from typing import NamedTuple

from workers.bitstream.exp_golomb import BitReader, BitWriter
from workers.bitstream.latent_coder import CodedLatents
from workers.bitstream.networks import EXPONENTS, Quantization, QuantizedNetworks, tensors
from workers.bitstream.sections import SectionBytes
from workers.candidates import KINDS, Kind
from workers.codec import FrameEncoderParameter, SynthesisLayer
from workers.codec.encoder_parameter import FrameDataType
from workers.codec.quantization import MAX_ABS_QUANTIZED
from workers.errors import BitstreamError, CheckpointError

MAGIC = b"qsw"
VERSION = 1
MAX_COUNT = 31
"""Largest exp-Golomb count."""

_PREFIX = struct.Struct("<3sBI")  # magic, version, CRC-32 of all that follows
_FRAME = struct.Struct("<IHHBBBBBBB")  # CRC-32 of the samples, sides less one, format, architecture
_LAYER = struct.Struct("<HB")
_QUANTIZATION = struct.Struct("<bB")
_SECTION = struct.Struct("<I")
_FRAME_DATA_TYPES: tuple[FrameDataType, ...] = ("rgb", "yuv444", "yuv420")
BITDEPTHS = (8, 10)


class Bitstream(NamedTuple):
    """What is in a file.

    Attributes:
        networks: architecture and parameters.
        latents: as they are coded.
        samples_crc: CRC-32 of the decoded samples.
    """

    networks: QuantizedNetworks
    latents: CodedLatents
    samples_crc: int


def pack(bitstream: Bitstream) -> tuple[bytes, SectionBytes]:
    """A file, and the sizes of its parts."""
    networks, latents = bitstream.networks, bitstream.latents
    param = networks.param
    parameters = BitWriter()
    for spec in param.networks:
        for kind in KINDS:
            for name, _ in tensors(param, spec, kind):
                integers = networks.integers[name].reshape(-1).tolist()
                parameters.write_integers(integers, networks.quantization[spec.prefix, kind].expgol_cnt)
    section = parameters.to_bytes()
    height, width = param.img_size
    header = _FRAME.pack(
        bitstream.samples_crc,
        height - 1,
        width - 1,
        _FRAME_DATA_TYPES.index(param.frame_data_type) + (BITDEPTHS.index(param.bitdepth) << 4),
        param.dim_arm,
        param.n_hidden_layers_arm,
        param.n_grids,
        param.ups_k_size,
        param.ups_preconcat_k_size,
        len(param.layers_synthesis),
    )
    for layer in param.layers_synthesis:
        header += _LAYER.pack(layer.out_channels, layer.kernel_size << 2 | layer.residual << 1 | layer.relu)
    for spec in param.networks:
        for kind in KINDS:
            header += _QUANTIZATION.pack(*networks.quantization[spec.prefix, kind])
    header += _SECTION.pack(len(section)) + _SECTION.pack(len(latents.plain))
    body = header + section + latents.plain + latents.symbols
    content = _PREFIX.pack(MAGIC, VERSION, zlib.crc32(body)) + body
    return content, SectionBytes(
        len(content) - len(section) - len(latents.plain) - len(latents.symbols),
        len(section),
        len(latents.plain) + len(latents.symbols),
    )


def unpack(content: bytes) -> Bitstream:
    """What is in a file.

    Raises:
        BitstreamError: it is none, of another version, truncated or altered.
    """
    if len(content) < _PREFIX.size or not content.startswith(MAGIC):
        raise BitstreamError(f"a bitstream begins with {MAGIC!r}; found {content[:3]!r}")
    _, version, crc = _PREFIX.unpack_from(content)
    if version != VERSION:
        raise BitstreamError(f"bitstreams of version {VERSION} can be read; found version {version}")
    body = content[_PREFIX.size :]
    if zlib.crc32(body) != crc:
        raise BitstreamError("truncated or altered: the checksum does not match")
    reader = _Reader(body)
    samples_crc, height, width, kind_of_frame, *arm_and_grids, n_layers = reader.read(_FRAME)
    dim_arm, n_hidden, n_grids, ups_k_size, preconcat_k_size = arm_and_grids
    layers = []
    for _ in range(n_layers):
        out_channels, kind_of_layer = reader.read(_LAYER)
        layers.append(
            SynthesisLayer(out_channels, kind_of_layer >> 2, bool(kind_of_layer & 2), bool(kind_of_layer & 1))
        )
    data_type, depth = kind_of_frame & 15, kind_of_frame >> 4
    if data_type >= len(_FRAME_DATA_TYPES) or depth >= len(BITDEPTHS):
        raise BitstreamError(f"the frame's format is none that is known: {kind_of_frame}")
    try:
        for layer in layers:
            SynthesisLayer.parse(str(layer))
        param = FrameEncoderParameter(
            img_size=(height + 1, width + 1),
            layers_synthesis=tuple(layers),
            dim_arm=dim_arm,
            n_hidden_layers_arm=n_hidden,
            n_ft_per_res=(1,) * n_grids,
            ups_k_size=ups_k_size,
            ups_preconcat_k_size=preconcat_k_size,
            frame_data_type=_FRAME_DATA_TYPES[data_type],
            bitdepth=BITDEPTHS[depth],
        )
    except (CheckpointError, ValueError) as error:
        raise BitstreamError(f"the architecture is none that is known: {error}") from None
    quantization: dict[tuple[str, Kind], Quantization] = {}
    for spec in param.networks:
        for kind in KINDS:
            exponent, count = reader.read(_QUANTIZATION)
            if exponent not in EXPONENTS or count > MAX_COUNT:
                raise BitstreamError(f"an exp-Golomb count is at most {MAX_COUNT}; found {count}")
            quantization[spec.prefix, kind] = Quantization(exponent, count)
    (n_parameters,), (n_plain,) = reader.read(_SECTION), reader.read(_SECTION)
    parameters = BitReader(reader.take(n_parameters), "parameters")
    plain = reader.take(n_plain)
    integers = {}
    for spec in param.networks:
        for kind in KINDS:
            count = quantization[spec.prefix, kind].expgol_cnt
            for name, shape in tensors(param, spec, kind):
                values = parameters.read_integers(math.prod(shape), count, MAX_ABS_QUANTIZED)
                integers[name] = values.reshape(shape)
    parameters.finish()
    networks = QuantizedNetworks(param, quantization, integers)
    return Bitstream(networks, CodedLatents(reader.rest(), plain), samples_crc)


class _Reader:
    """Takes a file's body apart, from its beginning."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def read(self, layout: struct.Struct) -> tuple[int, ...]:
        """The next few numbers."""
        return layout.unpack(self.take(layout.size))

    def take(self, n: int) -> bytes:
        """The next few bytes."""
        if n > len(self._body) - self._at:
            raise BitstreamError(f"ends early: {n} bytes are wanted at {self._at} of {len(self._body)}")
        start, self._at = self._at, self._at + n
        return self._body[start : self._at]

    def rest(self) -> bytes:
        """All that is left."""
        return self._body[self._at :]
