"""Files of version 1: frame encoders of Cool-Chic 3.4 with one feature in each latent grid."""

import math
import struct
import zlib

from workers.bitstream.content import Bitstream, FileParts
from workers.bitstream.exp_golomb import BitReader, BitWriter
from workers.bitstream.latent_coder import CodedLatents
from workers.bitstream.networks import EXPONENTS, Quantization, QuantizedNetworks, tensors
from workers.candidates import KINDS, Kind
from workers.codec import EncoderParameter, FrameEncoderParameter, SynthesisLayer
from workers.codec.encoder_parameter import FrameDataType
from workers.codec.quantization import MAX_ABS_QUANTIZED
from workers.errors import BitstreamError, CheckpointError, InputError

MAX_COUNT = 31
"""Largest exp-Golomb count."""

_CRC = struct.Struct("<I")  # of all that follows
_FRAME = struct.Struct("<IHHBBBBBBB")  # CRC-32 of the samples, sides less one, format, architecture
_LAYER = struct.Struct("<HB")
_QUANTIZATION = struct.Struct("<bB")
_SECTION = struct.Struct("<I")
_FRAME_DATA_TYPES: tuple[FrameDataType, ...] = ("rgb", "yuv444", "yuv420")
_BITDEPTHS = (8, 10)


def holds(param: EncoderParameter) -> bool:
    """Whether a file of this version can hold frame encoders of an architecture."""
    return (
        isinstance(param, FrameEncoderParameter)
        and all(n == 1 for n in param.n_ft_per_res)
        and not param.n_ft_per_res_cr
        and param.bitdepth in _BITDEPTHS
    )


def pack(bitstream: Bitstream) -> FileParts:
    """A file, after magic and version.

    Raises:
        InputError: an exp-Golomb count is larger than a file can hold.
    """
    networks, latents = bitstream.networks, bitstream.latents
    param = networks.param
    assert isinstance(param, FrameEncoderParameter)  # see :func:`holds`
    if (count := max(quantization.expgol_cnt for quantization in networks.quantization.values())) > MAX_COUNT:
        raise InputError(f"an exp-Golomb count in a bitstream is at most {MAX_COUNT}; found {count}")
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
        _FRAME_DATA_TYPES.index(param.frame_data_type) + (_BITDEPTHS.index(param.bitdepth) << 4),
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
    return FileParts(_CRC.pack(zlib.crc32(body)) + body, len(section), len(latents.plain) + len(latents.symbols))


def unpack(content: bytes) -> Bitstream:
    """What is in a file after magic and version.

    Raises:
        BitstreamError: it is truncated or altered.
    """
    if len(content) < _CRC.size:
        raise BitstreamError(f"ends early: found {len(content)} bytes after the version")
    (crc,), body = _CRC.unpack_from(content), content[_CRC.size :]
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
    if data_type >= len(_FRAME_DATA_TYPES) or depth >= len(_BITDEPTHS):
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
            bitdepth=_BITDEPTHS[depth],
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
