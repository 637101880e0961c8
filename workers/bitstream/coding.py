"""From a frame encoder to a file, and from a file to a frame."""

import math
import zlib
from typing import NamedTuple

import torch

from workers.bitstream.architecture_fields import ARCHITECTURES, MAX_LAYERS
from workers.bitstream.container import pack, unpack
from workers.bitstream.container_2 import MAX_PARAMETERS, n_parameters
from workers.bitstream.content import Bitstream
from workers.bitstream.exp_golomb import Integers
from workers.bitstream.latent_coder import MAX_LATENT, decode_latents, encode_latents
from workers.bitstream.limits import MAX_PIXELS, NUMBERS_A_PIXEL, PRODUCTS_A_PIXEL, check_size
from workers.bitstream.networks import QuantizedNetworks
from workers.bitstream.reconstruction import Samples, reconstruct
from workers.bitstream.sections import SectionBytes
from workers.candidates import RESIDUE
from workers.codec import EncoderParameter, Frame, FrameEncoder, Planes
from workers.codec.coolchic_parameter import SYNTHESIS
from workers.codec.latent import flatten
from workers.codec.network import Effect, last_networks
from workers.errors import BitstreamError, InputError


class EncodedFrame(NamedTuple):
    """A file, and what a decoder makes of it.

    Attributes:
        content: the file.
        sizes: of its parts, in bytes.
        frame: the decoded frame.
    """

    content: bytes
    sizes: SectionBytes
    frame: Frame


def encode_frame(frame_encoder: FrameEncoder, device: str | torch.device = "cpu") -> EncodedFrame:
    """Bitstream of a frame encoder whose networks have all been quantized.

    Args:
        frame_encoder: it is not changed.
        device: where the frame is reconstructed; the file does not depend on it.

    Raises:
        InputError: the networks have not been quantized, or with steps, or latents, that a bitstream cannot hold;
            or the frame encoder is of a family that it does not hold.
    """
    check_encodable(frame_encoder.param)
    networks = QuantizedNetworks.of(frame_encoder)
    integers = _integers(frame_encoder)
    coded = encode_latents(integers, networks)
    samples = reconstruct(integers, networks, device)
    content, sizes = pack(Bitstream(networks, coded, _crc(samples, networks.param)))
    return EncodedFrame(content, sizes, _frame(samples, networks.param))


def unencodable(param: EncoderParameter) -> str | None:
    """Why a bitstream of this format cannot hold a frame encoder; ``None`` if it can."""
    if type(param) not in ARCHITECTURES or not param.family.bitstream:
        families = " and ".join(sorted(kind.family_name for kind in ARCHITECTURES))
        return f"a .qsw holds frame encoders of the families {families}; found {param.family.name}"
    if (n := len(param.coolchics[RESIDUE].layers_synthesis)) > MAX_LAYERS:
        return f"a .qsw holds a {SYNTHESIS} of at most {MAX_LAYERS} layers; found {n}"
    if (n := n_parameters(param)) > MAX_PARAMETERS:
        return f"a .qsw holds networks of at most {MAX_PARAMETERS} parameters; found {n}"
    return None


def check_encodable(param: EncoderParameter) -> None:
    """Refuse a frame encoder that a bitstream of this format cannot hold.

    Raises:
        InputError: with the reason.
    """
    reason = unencodable(param)
    if reason is not None:
        raise InputError(reason)


def decoded_frame(frame_encoder: FrameEncoder, device: str | torch.device = "cpu") -> Frame:
    """The frame that a decoder makes of the bitstream of a frame encoder, without the bitstream.

    Of a family without a bitstream, it is the frame of the evaluation.

    Args:
        frame_encoder: it is not changed.
        device: where the frame is reconstructed.

    Raises:
        InputError: the networks have not been quantized, or with steps, or latents, that a bitstream cannot hold.
    """
    if not frame_encoder.family.bitstream:
        param = frame_encoder.param
        with torch.inference_mode():
            return Frame(frame_encoder().decoded_image, param.frame_data_type, param.bitdepth)
    networks = QuantizedNetworks.of(frame_encoder)
    return _frame(reconstruct(_integers(frame_encoder), networks, device), networks.param)


def _integers(frame_encoder: FrameEncoder) -> Integers:
    """Latents ``[N]``, grid by grid."""
    with torch.inference_mode():
        latents = flatten(frame_encoder.decoder_side_latents()).cpu()
    if not (latents.abs() <= MAX_LATENT).all():  # so also for NaN
        raise InputError(f"a latent in a bitstream is at most {MAX_LATENT}; found {latents.abs().max():g}")
    return latents.to(torch.int64).numpy()


def decode_frame(content: bytes, device: str | torch.device = "cpu", *, max_pixels: int = MAX_PIXELS) -> Frame:
    """The frame that a file holds: the same samples on every machine.

    Time and memory are bounded by the frame's size, whatever the file says.

    Args:
        content: the file; it may be anything.
        device: where the frame is reconstructed.
        max_pixels: luma samples of the largest frame that is accepted.

    Raises:
        BitstreamError: it is no bitstream, truncated, altered, or larger than is accepted.
    """
    networks, latents, samples_crc = unpack(content)
    check_accepted(networks.param, max_pixels)
    samples = reconstruct(decode_latents(latents, networks), networks, device)
    if _crc(samples, networks.param) != samples_crc:
        raise BitstreamError("altered: what it decodes to is not what was encoded")
    return _frame(samples, networks.param)


def format_of(content: bytes) -> tuple[str, int]:
    """``frame_data_type`` and bit depth of the frame that a file holds, from its header alone.

    Raises:
        BitstreamError: it is no bitstream, truncated or altered.
    """
    param = unpack(content).networks.param
    return param.frame_data_type, param.bitdepth


def check_accepted(param: EncoderParameter, max_pixels: int) -> None:
    """Check an architecture before anything is made of it: time and memory are bounded by the size of the frame.

    Raises:
        BitstreamError: the frame is larger than is accepted, or asks for more than the largest one may.
    """
    check_size(param.img_size, max_pixels)
    _check_numbers(param, max_pixels)
    _check_work(param, max_pixels)


def _check_numbers(param: EncoderParameter, max_pixels: int) -> None:
    """Memory is bounded: by the latents, and the input of the synthesis."""
    coolchic = param.coolchics[RESIDUE]
    height, width = coolchic.grid_sizes[coolchic.upsampled_grids[0]]
    numbers = sum(h * w for h, w in coolchic.channel_sizes) + coolchic.n_inputs_synthesis * height * width
    if numbers > NUMBERS_A_PIXEL * max_pixels:
        raise BitstreamError(
            f"latents and inputs of the {SYNTHESIS} are at most {NUMBERS_A_PIXEL * max_pixels} numbers; "
            f"found {numbers}"
        )


def _check_work(param: EncoderParameter, max_pixels: int) -> None:
    """Time is bounded: by the products of the networks that are evaluated at every pixel, or latent."""
    height, width = param.img_size
    shapes = param.tensor_shapes()
    last = {spec.id for spec in last_networks(param.networks)}
    channels = max(grid.n_features for grid in param.coolchics[RESIDUE].grids)
    products = 0
    for spec in param.networks:
        times = channels if spec.effect is Effect.RATE else int(spec.id in last)
        products += times * sum(
            math.prod(shape) for name, shape in shapes.items() if name.startswith(f"{spec.prefix}.")
        )
    if products * height * width > PRODUCTS_A_PIXEL * max_pixels:
        raise BitstreamError(
            f"a frame of {width}×{height} has at most {PRODUCTS_A_PIXEL * max_pixels // (height * width)} "
            f"parameters in its networks; found {products}"
        )


def _crc(samples: Samples, param: EncoderParameter) -> int:
    dtype = "u1" if param.bitdepth == 8 else "<u2"
    crc = 0
    for plane in samples:
        crc = zlib.crc32(plane.numpy().astype(dtype).tobytes(), crc)
    return crc


def _frame(samples: Samples, param: EncoderParameter) -> Frame:
    planes = [plane[(None,) * (4 - plane.ndim)].float() / (2**param.bitdepth - 1) for plane in samples]
    return Frame(Planes(tuple(planes)), param.frame_data_type, param.bitdepth)
