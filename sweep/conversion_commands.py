"""The commands that take encoders from, and give them to, other programs."""

from typing import Annotated

import typer

from sweep.command import running, say
from sweep.options import EncoderFrameOption, QuietOption, VerboseOption, expanded
from sweep.results import goes_to_stdout
from workers.files import describe


def import_(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A checkpoint of Cool-Chic's own encoder (.pt), or its URI.",
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
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a checkpoint of Cool-Chic's own encoder as one that every command takes.

    Its networks are taken in full precision, as they were before its quantization sweep. Nothing in the file is
    executed.
    """
    from sweep.conversion import import_encoder

    with running(context, verbose, quiet):
        manager = import_encoder(file, output, encoder_frame, lmbda)
        say(f"{describe(output)}: lmbda {manager.lmbda:g}", err=goes_to_stdout(output))
