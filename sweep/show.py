"""What is in a checkpoint or bitstream, on one screen."""

import json
from collections.abc import Mapping
from typing import Any

from sweep.printing import Printer
from workers.bitstream.formats import FORMATS, recognized
from workers.bitstream.limits import MAX_PIXELS
from workers.candidates import KINDS
from workers.codec.architecture import architecture_lines
from workers.errors import BitstreamError, InputError
from workers.files import describe, read_bytes
from workers.reasons import reason_of


def show_file(
    location: str, encoder_frame: int | None = None, max_pixels: int = MAX_PIXELS, *, as_json: bool = False
) -> None:
    """Print what is in a file.

    Args:
        location: path or URI of a checkpoint or bitstream.
        encoder_frame: display index of the frame in a checkpoint of several; ``None`` for all of them.
        max_pixels: luma samples of the largest frame whose bitstream is decoded for it.
        as_json: whether it is printed for programs.

    Raises:
        InputError: it cannot be read, or is neither, or damaged.
    """
    name = describe(location)
    try:
        content = read_bytes(location)
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be read: {reason_of(error)}") from None
    found: dict[str, Any] = {"file": name, "file_bytes": len(content)} | _describe(
        content, name, encoder_frame, max_pixels
    )
    printer = Printer()
    if as_json:
        for line in json.dumps(found, indent=2).split("\n"):
            printer.line(line)
        return
    printer.line(f"{name}: {found['form']}, {len(content)} bytes{_bpp(found)}")
    if "frames" in found:
        _show_frames(printer, found)
    else:
        _show_frame(printer, found)
    for warning in found["warnings"]:
        printer.line(f"warning: {warning}")


def _describe(content: bytes, name: str, encoder_frame: int | None, max_pixels: int) -> dict[str, Any]:
    """What is in a file, as plain data."""
    format_name = recognized(content, name)
    if format_name is not None:
        try:
            return FORMATS[format_name].describe(content, max_pixels=max_pixels)
        except BitstreamError as error:
            raise BitstreamError(f"{name}: {error}") from None
    from workers.codec.checkpoint import is_official  # load torch, which bitstreams may do without
    from workers.description import describe_checkpoint, describe_frames

    if encoder_frame is not None or not is_official(content):
        return describe_checkpoint(content, name, encoder_frame)
    frames = describe_frames(content, name)
    if len(frames) == 1:
        return describe_checkpoint(content, name)  # or the error, if it cannot be used
    return {"form": f"Cool-Chic's own file of {len(frames)} frames", "frames": frames, "warnings": []}


def _bpp(found: Mapping[str, Any]) -> str:
    """What a bitstream costs, after its size."""
    if found["form"] not in FORMATS:
        return ""
    n_frames = len(found.get("frames", [None]))
    return f", {8 * found['file_bytes'] / (found['height'] * found['width'] * n_frames):.4f} bpp"


def _show_frame(printer: Printer, found: dict[str, Any]) -> None:
    lmbda = "" if found["lmbda"] is None else f", lmbda {found['lmbda']:g}"
    printer.line(f"state: {found['state']}{lmbda}")
    for line in architecture_lines(found):
        printer.line(line)
    if "header_bytes" in found:
        parts = (f"{part} {found[f'{part}_bytes']}" for part in ("header", "networks", "latents"))
        printer.line(f"bytes: {', '.join(parts)}")
    printer.table(["network", "parameters", *_COLUMNS], map(_row, found["networks"]))
    for name, coolchic in found["coolchics"].items():
        grids = [grid for grid in coolchic["grids"] if grid["rate_bit"] is not None]
        if grids:
            printer.table([f"{name}: latents", "size", "bits"], map(_grid_row, enumerate(grids)))
    if "same_when_rewritten" in found:
        same = "the same" if found["same_when_rewritten"] else "other"
        printer.line(f"check: written again, it gives {same} bytes")


_COLUMNS = ("weight step", "bias step", "weight count", "bias count", "bits")


def _row(network: dict[str, Any]) -> list[str]:
    row = [network["network"], str(network["parameters"])]
    if network["q_step"] is None:
        return [*row, *("-" for _ in _COLUMNS)]
    row += [f"{network['q_step'][kind]:g}" for kind in KINDS]
    row += [str(network["expgol_cnt"][kind]) for kind in KINDS]
    bits = network["rate_bit"].values()
    return [*row, "overflow" if None in bits else str(sum(bits))]


def _grid_row(numbered: tuple[int, dict[str, Any]]) -> list[str]:
    number, grid = numbered
    name = f"grid {number}{' (hyper)' if grid['hyperlatent'] else ''}"
    return [name, f"{grid['width']}×{grid['height']}", f"{grid['rate_bit']:.1f}"]


def _show_frames(printer: Printer, found: dict[str, Any]) -> None:
    """A line for each frame: of a bitstream in coding order, of a checkpoint in order of display."""
    for frame in found["frames"]:
        if "error" in frame:
            printer.line(f"  frame {frame['encoder_frame']}: cannot be used: {frame['error']}")
        elif "encoder_frame" in frame:
            lmbda = "" if frame["lmbda"] is None else f", lmbda {frame['lmbda']:g}"
            size = f"{frame['width']}×{frame['height']} {frame['frame_data_type']}, {frame['bitdepth']} bits"
            what = f"{frame['family']}, release {frame['release']}, {size}; {frame['state']}{lmbda}"
            printer.line(f"  frame {frame['encoder_frame']}: {what}{_bits(frame)}")
        else:
            of = f" of {', '.join(map(str, frame['references']))}" if frame["references"] else ""
            for role, part in frame["coolchics"].items():
                sizes = f"{part['networks_bytes']} + {part['latents_bytes']} bytes"
                printer.line(f"  {frame['frame_type']}{of}, {role} of frame {frame['display_index']}: {sizes}")
    if any("encoder_frame" in frame for frame in found["frames"]):
        printer.line("--encoder-frame N shows one of them")


def _bits(frame: Mapping[str, Any]) -> str:
    """Bits of a frame's networks and latents, as far as they are known."""
    networks = [bits for network in frame["networks"] for bits in (network["rate_bit"] or {"": None}).values()]
    latents = [grid["rate_bit"] for coolchic in frame["coolchics"].values() for grid in coolchic["grids"]]
    parts = [
        f"{name} {sum(bits):.0f} bits"
        for name, bits in (("networks", networks), ("latents", latents))
        if None not in bits
    ]
    return f"; {', '.join(parts)}" if parts else ""
