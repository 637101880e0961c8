"""The command that tells what is in a file."""

from typing import Annotated

import typer

from sweep.command import check_output, running
from sweep.options import EncoderFrameOption, MaxPixelsOption, QuietOption, VerboseOption, expanded
from workers.bitstream.limits import MAX_PIXELS


def show(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A frame encoder (.safetensors, or Cool-Chic's own .pt) or a bitstream (.qsw, .cool), or its URI.",
            show_default=False,
            callback=expanded,
        ),
    ],
    encoder_frame: EncoderFrameOption = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print it as JSON, for programs.", show_default=False)
    ] = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Tell what is in a checkpoint or bitstream.

    Release, architecture, lmbda, steps, counts and bits of each network and latent grid, and which known faults of
    official decoders affect it; of several frames, a line each. Nothing in the file is executed.
    """
    from sweep.show import show_file  # loads torch

    with running(context, verbose, quiet):
        show_file(file, encoder_frame, max_pixels, as_json=as_json)
        check_output()
