"""Pictures of Cool-Chic 5: from a ``.cool`` file to integers and samples, and from integers to a file."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from workers.bitstream.cool.coolchic_header import MAX_LATENT_BYTES, Codings, CoolChicHeader
from workers.bitstream.cool.features import Latents
from workers.bitstream.cool.file import CoolChicPart, CoolFile, FramePart, assemble_cool, parse_cool
from workers.bitstream.cool.latents import decode_latents, encode_latents
from workers.bitstream.cool.order import ARM, IFCE, SYNTHESIS, coded_tensors, n_coded_latents
from workers.bitstream.cool.parameters import Parameters, parameter_bits, read_parameters, write_parameters
from workers.bitstream.cool.picture import coolchic_output, to_samples
from workers.bitstream.cool.rules import broken_rule
from workers.bitstream.cool.video_header import PICTURE, CodedFrame, CoolFrameDataType, FrameHeader
from workers.bitstream.decoded_picture import DecodedPicture
from workers.bitstream.limits import MAX_PIXELS, PRODUCTS_A_PIXEL, check_size
from workers.bitstream.sections import SectionBytes
from workers.candidates import RESIDUE, Kind
from workers.codec.coolchic_parameter import CoolChicParameter
from workers.errors import BitstreamError, InputError


class CoolPicture(NamedTuple):
    """What a file of one picture holds.

    Attributes:
        frame_data_type: ``rgb``, ``yuv420`` or ``yuv444``.
        bitdepth: bits of a sample.
        architecture: of its cool-chic.
        codings: of the cool-chic's parameters.
        parameters: of its networks, integers.
        latents: of all grids, ``[h, w]`` each.
    """

    frame_data_type: CoolFrameDataType
    bitdepth: int
    architecture: CoolChicParameter
    codings: Codings
    parameters: Parameters
    latents: Sequence[Latents]


def read_cool(content: bytes, *, max_pixels: int = MAX_PIXELS) -> CoolPicture:
    """The integers of a file of one picture: the same on every machine.

    Time and memory are bounded by the frame's size, whatever the file says.

    Args:
        content: the file; it may be anything.
        max_pixels: luma samples of the largest frame that is accepted.

    Raises:
        BitstreamError: it is no such file, truncated, altered, of several frames, or larger than is accepted.
    """
    file = parse_cool(content)
    if len(file.frames) > 1:
        raise BitstreamError(f"only files of one picture can be decoded; found {len(file.frames)} frames")
    check_size(file.img_size, max_pixels)
    ((frame, coolchics),) = file.frames
    part = coolchics[RESIDUE]
    header = part.header
    _check_work(header.architecture, part.name, max_pixels)
    parameters = read_parameters(
        part.parameters, header.n_pad_bits, header.architecture, header.codings, f"parameters of the {part.name}"
    )
    latents = decode_latents(part.latents, header, parameters, f"latents of the {part.name}")
    return CoolPicture(
        frame.frame_data_type, frame.bitdepth, header.architecture, header.codings, parameters, latents
    )


def write_cool(picture: CoolPicture) -> tuple[bytes, SectionBytes]:
    """A file of one picture, and the sizes of its parts.

    Raises:
        InputError: the format cannot hold its architecture; its parameters or latents take more room than a file
            has; or the arm's sums may pass 64 bits.
    """
    if (rule := broken_rule(picture.architecture)) is not None:
        raise InputError(f"a .cool file cannot hold this frame encoder: {rule}")
    place = CodedFrame(0, "I", ())
    parameters, n_pad_bits = write_parameters(picture.parameters, picture.architecture, picture.codings)
    header = CoolChicHeader(picture.architecture, picture.codings, len(parameters), n_pad_bits, 0)
    latents = encode_latents(picture.latents, header, picture.parameters).content
    if len(latents) > MAX_LATENT_BYTES:
        raise InputError(
            f"latents in a .cool file take at most {MAX_LATENT_BYTES} bytes; these take {len(latents)}"
        )
    header = header._replace(n_latent_bytes=len(latents))
    part = CoolChicPart(f"{RESIDUE} of frame 0", header, parameters, latents)
    frame = FramePart(FrameHeader(place, picture.frame_data_type, picture.bitdepth), {RESIDUE: part})
    content = assemble_cool(CoolFile(PICTURE, (frame,)))
    return content, SectionBytes(len(content) - len(parameters) - len(latents), len(parameters), len(latents))


def part_bits(picture: CoolPicture) -> tuple[dict[tuple[str, Kind], int], tuple[float, ...]]:
    """Bits of the parameters of each module and kind, and of the latents of each grid.

    Raises:
        InputError: the arm's sums may pass 64 bits.
    """
    header = CoolChicHeader(picture.architecture, picture.codings, 0, 0, 0)
    latents = encode_latents(picture.latents, header, picture.parameters)
    return parameter_bits(picture.parameters, picture.architecture, picture.codings), latents.bits


def decoded_picture(picture: CoolPicture) -> DecodedPicture:
    """The samples that a file decodes to; a library's single-precision sums decide what is on the edge of rounding.

    Raises:
        ValueError: the networks give values that are not finite.
    """
    header = CoolChicHeader(picture.architecture, picture.codings, 0, 0, 0)
    output = coolchic_output(header, picture.parameters, picture.latents)
    return to_samples(output, picture.frame_data_type, picture.bitdepth)


def decode_cool(content: bytes, *, max_pixels: int = MAX_PIXELS) -> DecodedPicture:
    """The picture that a file holds.

    Args:
        content: the file; it may be anything.
        max_pixels: luma samples of the largest frame that is accepted.

    Raises:
        BitstreamError: see :func:`read_cool`; or its networks give values that are not finite.
    """
    picture = read_cool(content, max_pixels=max_pixels)
    try:
        return decoded_picture(picture)
    except ValueError as error:
        raise BitstreamError(f"{RESIDUE} of frame 0: {error}") from None


def _check_work(architecture: CoolChicParameter, part: str, max_pixels: int) -> None:
    """Time is bounded: by the products of the networks, at every latent or pixel."""
    n_parameters = {
        module: sum(math.prod(shape) for shape in shapes.values())
        for (module, kind), shapes in coded_tensors(architecture).items()
        if kind == "weight"
    }
    height, width = architecture.img_size
    products = n_parameters[ARM] * n_coded_latents(architecture)
    products += (n_parameters[SYNTHESIS] + n_parameters[IFCE]) * height * width
    if products > PRODUCTS_A_PIXEL * max_pixels:
        raise BitstreamError(
            f"header of the {part}: a frame of {width}×{height} has networks of at most "
            f"{PRODUCTS_A_PIXEL * max_pixels // (height * width)} products a pixel; found "
            f"{-(-products // (height * width))}"
        )
