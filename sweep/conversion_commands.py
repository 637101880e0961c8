"""The commands that take encoders from, and give them to, other programs."""

from typing import Annotated

import typer

from sweep.command import running, say
from sweep.options import (
    EncoderFrameOption,
    MaxPixelsOption,
    QuietOption,
    ResultsArgument,
    VerboseOption,
    expanded,
)
from sweep.results import goes_to_stdout
from workers.bitstream.limits import MAX_PIXELS
from workers.files import describe


def import_(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A checkpoint of Cool-Chic's own encoder (.pt) or a bitstream (.cool, .qsw), or its URI.",
            show_default=False,
            callback=expanded,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The checkpoint to write, .safetensors; - for standard output.",
            show_default=False,
            callback=expanded,
        ),
    ],
    encoder_frame: EncoderFrameOption = None,
    lmbda: Annotated[
        float | None,
        typer.Option(min=0, help="Weight of the rate, where the file holds none.", show_default=False),
    ] = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a .pt, .cool or .qsw file as a .safetensors file.

    The input is a checkpoint of Cool-Chic's own encoder, or a bitstream; the output a checkpoint of this program.
    Networks of a checkpoint are taken in full precision, as they were before its quantization sweep; a bitstream
    holds quantized ones alone, which "qsweep encode" writes again as they are. Nothing in the file is executed.
    """
    from sweep.conversion import import_encoder

    with running(context, verbose, quiet):
        found = import_encoder(file, output, encoder_frame, lmbda, max_pixels)
        if found is None:  # so it is a bitstream
            written = 'frame encoder with quantized networks, as "qsweep encode" writes them; the file has no lmbda'
        else:
            written = f"frame encoder, lmbda {found:g}"
        say(f"{describe(output)}: {written}", err=goes_to_stdout(output))


def export(
    context: typer.Context,
    out: ResultsArgument,
    frame: Annotated[str, typer.Option(metavar="ID", help="A frame of the job.", show_default=False)],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file to write: .pt, as Cool-Chic's own encoder saves it; .cool or .qsw, as a bitstream; or "
            ".safetensors; - for standard output, as .pt.",
            show_default=False,
            callback=expanded,
        ),
    ],
    release: Annotated[
        str | None,
        typer.Option(help="Release of Cool-Chic whose layout is written.", show_default="that of the encoder"),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The encoder that was swept, if it has been moved.",
            show_default="where the job read it",
            callback=expanded,
        ),
    ] = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a frame's result as a file of Cool-Chic.

    It is the quantized encoder, as a checkpoint or a bitstream for Cool-Chic's own programs.
    Of a checkpoint the official encoder makes the bitstream: call the file video_encoder.pt for release 3.4, and
    NNNN-frame_encoder.pt for 4 and 5, NNNN being the display index of the frame; put it in the work directory of
    the official encoder, and run that.
    """
    from sweep.conversion import export_encoder

    with running(context, verbose, quiet):
        written = export_encoder(out, frame, output, release, encoder)
        what = (
            f"encoder of Cool-Chic {written.release}"
            if written.bpp is None
            else f"{written.bytes} bytes, {written.bpp:.4f} bpp"
        )
        say(f"{describe(output)}: {what}", err=goes_to_stdout(output))
