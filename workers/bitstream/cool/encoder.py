"""Frame encoders of the family ``coolchic-5`` as ``.cool`` pictures, and pictures as frame encoders."""

from dataclasses import replace

import numpy as np
import torch

from workers.bitstream.coding import EncodedFrame
from workers.bitstream.cool.coding import CoolPicture, decoded_picture, write_cool
from workers.bitstream.cool.coolchic_header import EXPONENTS, MAX_COUNT, NO_IFCE, Coding
from workers.bitstream.cool.features import Latents
from workers.bitstream.cool.fixed_arm import LATENT_RANGE
from workers.bitstream.cool.order import IFCE
from workers.bitstream.cool.parameters import MAX_ABS_PARAMETER
from workers.bitstream.cool.picture import DecodedPicture
from workers.bitstream.exp_golomb import Integers
from workers.bitstream.networks import quantized_network
from workers.candidates import KINDS, RESIDUE, Kind
from workers.codec import Frame, FrameEncoder, Planes
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
    try:
        return EncodedFrame(content, sizes, frame_of(decoded_picture(picture)))
    except ValueError as error:
        raise InputError(f"the frame encoder cannot be decoded: {error}") from None


def picture_of(frame_encoder: FrameEncoder) -> CoolPicture:
    """What a file holds of a frame encoder whose networks have all been quantized.

    Latents beyond −64 … 63 are clamped, as in the file: picture and rate are then those of the clamped ones.

    Raises:
        InputError: it is of another family, or has not been quantized, or not as a file can hold it.
    """
    param = frame_encoder.param
    if not isinstance(param, Coolchic5Parameter):
        raise InputError(
            f"a .cool file holds frame encoders of coolchic-5; this one is of {param.family.name}: "
            "write it as a .qsw file"
        )
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
    frame_encoder = FrameEncoder(Coolchic5Parameter(residue, picture.frame_data_type, picture.bitdepth))
    state = {
        f"{RESIDUE}.latent_grids.{i}": torch.from_numpy(latents.astype(np.float32))[None, None] / _GAIN
        for i, latents in enumerate(picture.latents)
    }
    for spec in frame_encoder.networks:
        codings = {kind: picture.codings[spec.module, kind] for kind in KINDS}
        for kind, coding in codings.items():
            for name in spec.names(kind):
                values = picture.parameters[f"{spec.module}.{name}"]
                state[f"{spec.prefix}.{name}"] = torch.from_numpy(np.ldexp(values, coding.exponent)).float()
        frame_encoder.nn_q_step[spec.prefix] = {kind: 2.0**coding.exponent for kind, coding in codings.items()}
        frame_encoder.nn_expgol_cnt[spec.prefix] = {kind: coding.expgol_cnt for kind, coding in codings.items()}
    frame_encoder.load_state_dict(state)
    return frame_encoder.eval()


def frame_of(picture: DecodedPicture) -> Frame:
    """Decoded samples as a frame."""
    maximum = 2**picture.bitdepth - 1
    planes = [torch.from_numpy(plane.astype(np.float32))[None, None] / maximum for plane in picture.planes]
    tensors = tuple(planes) if picture.frame_data_type == "yuv420" else (torch.cat(planes, dim=1),)
    return Frame(Planes(tensors), picture.frame_data_type, picture.bitdepth)
