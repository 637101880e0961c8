"""Frame encoders of the family ``coolchic-5`` as ``.cool`` pictures, and pictures as frame encoders."""

from dataclasses import replace

import torch

from workers.bitstream.assembly import assemble
from workers.bitstream.coding import EncodedFrame
from workers.bitstream.cool.coding import CoolPicture, decoded_picture, part_bits, write_cool
from workers.bitstream.cool.coolchic_header import EXPONENTS, MAX_COUNT, NO_IFCE, Coding
from workers.bitstream.cool.features import Latents
from workers.bitstream.cool.fixed_arm import LATENT_RANGE
from workers.bitstream.cool.order import IFCE
from workers.bitstream.cool.parameters import MAX_ABS_PARAMETER
from workers.bitstream.cool.rules import unencodable
from workers.bitstream.decoded_picture import frame_of
from workers.bitstream.exp_golomb import Integers
from workers.bitstream.networks import Quantization, quantized_network
from workers.candidates import RESIDUE, Kind
from workers.codec import Frame, FrameEncoder
from workers.codec.coolchic_5.parameter import Coolchic5Parameter
from workers.errors import InputError

_GAIN = 16
"""Encoder gain of what is made of a file, which has none: latents are stored as they are coded."""


def encode_cool(frame_encoder: FrameEncoder) -> EncodedFrame:
    """A file of a frame encoder whose networks have all been quantized, and what it decodes to.

    Args:
        frame_encoder: it is not changed.

    Raises:
        InputError: a ``.cool`` file cannot hold it; the message says why.
    """
    picture = picture_of(frame_encoder)
    content, sizes = write_cool(picture)
    return EncodedFrame(content, sizes, _decoded(picture))


def decoded_frame(frame_encoder: FrameEncoder) -> Frame:
    """The frame that the file of a frame encoder decodes to, without the file.

    Args and errors are those of :func:`encode_cool`.
    """
    return _decoded(picture_of(frame_encoder))


def rate_of_grids(frame_encoder: FrameEncoder) -> tuple[float, ...]:
    """Bits of the latents of each grid, as they are coded: of clamped ones, in whole numbers.

    Args and errors are those of :func:`encode_cool`.
    """
    _, of_latents = part_bits(picture_of(frame_encoder))
    return of_latents


def _decoded(picture: CoolPicture) -> Frame:
    try:
        return frame_of(decoded_picture(picture))
    except ValueError as error:
        raise InputError(f"the frame encoder cannot be decoded: {error}") from None


def picture_of(frame_encoder: FrameEncoder) -> CoolPicture:
    """What a file holds of a frame encoder whose networks have all been quantized.

    Latents beyond −64 … 63 are clamped, as in the file: picture and rate are then those of the clamped ones.

    Raises:
        InputError: it is of another family, or has not been quantized, or not as a file can hold it.
    """
    param = frame_encoder.param
    if (reason := unencodable(param)) is not None:
        raise InputError(reason)
    assert isinstance(param, Coolchic5Parameter)
    codings: dict[tuple[str, Kind], Coding] = {(IFCE, kind): coding for kind, coding in NO_IFCE.items()}
    parameters: dict[str, Integers] = {}
    for spec in frame_encoder.networks:
        of_kinds, integers = quantized_network(frame_encoder, spec, MAX_ABS_PARAMETER)
        for kind, (exponent, count) in of_kinds.items():
            exponents = EXPONENTS[spec.module, kind]
            if exponent not in exponents:
                raise InputError(
                    f"{spec.id}: {kind} steps in a .cool file are 2^{exponents[0]} to 2^{exponents[-1]}; "
                    f"found 2^{exponent}"
                )
            if count > MAX_COUNT:
                raise InputError(
                    f"{spec.id}: an exp-Golomb count in a .cool file is at most {MAX_COUNT}; found {count}"
                )
            codings[spec.module, kind] = Coding(exponent, count)
        parameters |= {f"{spec.module}.{name}": values for name, values in integers.items()}
    return CoolPicture(
        param.frame_data_type, param.bitdepth, param.residue, codings, parameters, _latents(frame_encoder)
    )


def _latents(frame_encoder: FrameEncoder) -> list[Latents]:
    with torch.inference_mode():
        grids = [grid[0, 0].cpu() for grid in frame_encoder.coolchics[RESIDUE].decoder_side_latents()]
    if not all(torch.isfinite(grid).all() for grid in grids):
        raise InputError("latents in a .cool file are numbers; found NaN or infinity")
    return [grid.clamp(LATENT_RANGE[0], LATENT_RANGE[-1]).to(torch.int8).numpy() for grid in grids]


def frame_encoder_of(picture: CoolPicture) -> FrameEncoder:
    """A frame encoder with the integers and steps of a file: written again, it gives the same bytes."""
    residue = replace(picture.architecture, encoder_gain=_GAIN)
    param = Coolchic5Parameter(residue, picture.frame_data_type, picture.bitdepth)
    prefix = param.family.prefix(RESIDUE)
    return assemble(
        param,
        picture.latents,
        {f"{prefix}{name}": values for name, values in picture.parameters.items()},
        {(prefix + module, kind): Quantization(*coding) for (module, kind), coding in picture.codings.items()},
    )
