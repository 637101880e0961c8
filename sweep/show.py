"""What is in a checkpoint or bitstream, on one screen."""

import json
from typing import Any

from sweep.printing import Printer
from workers.bitstream.cool.description import describe_cool
from workers.bitstream.cool.file import is_cool
from workers.bitstream.limits import MAX_PIXELS
from workers.candidates import KINDS
from workers.codec.architecture import architecture_lines
from workers.description import describe_content
from workers.errors import BitstreamError, InputError
from workers.files import describe, read_bytes
from workers.reasons import reason_of


def show_file(location: str, encoder_frame: int | None = None, *, as_json: bool = False) -> None:
    """Print what is in a file.

    Args:
        location: path or URI of a checkpoint or bitstream.
        encoder_frame: display index of the frame in a checkpoint of several.
        as_json: whether it is printed for programs.

    Raises:
        InputError: it cannot be read, or is neither, or damaged.
    """
    name = describe(location)
    try:
        content = read_bytes(location)
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be read: {reason_of(error)}") from None
    if is_cool(content, name):
        _show_cool(content, name, as_json=as_json)
        return
    found: dict[str, Any] = {"file": name, "file_bytes": len(content)} | describe_content(
        content, name, encoder_frame
    )
    printer = Printer()
    if as_json:
        for line in json.dumps(found, indent=2).split("\n"):
            printer.line(line)
        return
    for line in _lines(found):
        printer.line(line)
    printer.table(["network", "parameters", *_COLUMNS], map(_row, found["networks"]))
    for warning in found["warnings"]:
        printer.line(f"warning: {warning}")


def _show_cool(content: bytes, name: str, *, as_json: bool) -> None:
    if as_json:
        raise InputError(f"{name}: --json tells of checkpoints and .qsw files; this is a .cool file")
    try:
        title, *lines = describe_cool(content, MAX_PIXELS)
    except BitstreamError as error:
        raise BitstreamError(f"{name}: {error}") from None
    printer = Printer()
    for line in (f"{name}: {title}", *lines):
        printer.line(line)


_COLUMNS = ("weight step", "bias step", "weight count", "bias count", "bits")


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{found['file']}: {found['form']}, {found['file_bytes']} bytes",
        f"state: {found['state']}" + ("" if found["lmbda"] is None else f", lmbda {found['lmbda']:g}"),
        *architecture_lines(found),
    ]
    if "latents_bytes" in found:
        lines.append(f"latents: {found['latents_bytes']} bytes")
    return lines


def _row(network: dict[str, Any]) -> list[str]:
    row = [network["network"], str(network["parameters"])]
    if network["q_step"] is None:
        return [*row, *("-" for _ in _COLUMNS)]
    row += [f"{network['q_step'][kind]:g}" for kind in KINDS]
    row += [str(network["expgol_cnt"][kind]) for kind in KINDS]
    bits = network["rate_bit"].values()
    return [*row, "overflow" if None in bits else str(sum(bits))]
