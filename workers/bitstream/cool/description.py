"""What is in a ``.cool`` file, as plain data."""

from typing import Any

from workers.bitstream.cool.coding import CoolPicture, part_bits, read_cool, write_cool
from workers.bitstream.cool.file import CoolFile, parse_cool
from workers.bitstream.cool.order import coded_tensors
from workers.bitstream.limits import MAX_PIXELS
from workers.candidates import KINDS, RESIDUE
from workers.codec.architecture import SWEPT, architecture_of, network_row, put_rates
from workers.codec.coolchic_5.parameter import Coolchic5Parameter


def describe_cool(content: bytes, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
    """What a file holds: headers, architecture, bytes of each part, bits of each network and grid, and checks.

    Of several frames, the sizes of their parts alone.

    Args:
        content: the file; it may be anything.
        max_pixels: luma samples of the largest frame whose latents are decoded.

    Raises:
        BitstreamError: it is no such file, truncated, altered, or larger than is accepted.
    """
    parsed = parse_cool(content)
    if len(parsed.frames) > 1:
        return {"form": "cool", **_frames(parsed)}
    return {"form": "cool", **_picture(read_cool(content, max_pixels=max_pixels), content)}


def _frames(file: CoolFile) -> dict[str, Any]:
    """The frames of a video, in coding order."""
    height, width = file.img_size
    header = file.frames[0].header
    frames = [
        {
            "display_index": frame.header.place.display_index,
            "frame_type": frame.header.place.frame_type,
            "references": list(frame.header.place.references),
            "coolchics": {
                role: {"networks_bytes": len(part.parameters), "latents_bytes": len(part.latents)}
                for role, part in frame.coolchics.items()
            },
        }
        for frame in file.frames
    ]
    return {
        "height": height,
        "width": width,
        "frame_data_type": header.frame_data_type,
        "bitdepth": header.bitdepth,
        "frames": frames,
        "warnings": ["only files of one picture can be decoded"],
    }


def _picture(picture: CoolPicture, content: bytes) -> dict[str, Any]:
    """A picture; what it is coded with must give the same file again."""
    again, sizes = write_cool(picture)
    of_parameters, of_latents = part_bits(picture)
    param = Coolchic5Parameter(picture.architecture, picture.frame_data_type, picture.bitdepth)
    found = architecture_of(param)
    found["coolchics"][RESIDUE]["encoder_gain"] = None  # which is not in the file
    put_rates(found, RESIDUE, of_latents)
    shapes = coded_tensors(picture.architecture)
    rows = []
    for spec in param.networks:
        codings = {kind: picture.codings[spec.module, kind] for kind in KINDS}
        rows.append(
            network_row(
                spec.id,
                sum(picture.parameters[name].size for kind in KINDS for name in shapes[spec.module, kind]),
                {kind: 2.0**coding.exponent for kind, coding in codings.items()},
                {kind: coding.expgol_cnt for kind, coding in codings.items()},
                {kind: of_parameters[spec.module, kind] for kind in KINDS},
            )
        )
    return found | {
        "lmbda": None,
        "state": SWEPT,
        "networks": rows,
        "header_bytes": sizes.header,
        "networks_bytes": sizes.networks,
        "latents_bytes": sizes.latents,
        "same_when_rewritten": again == content,
        "warnings": [] if again == content else ["its headers are longer than they need be"],
    }
