"""The commands for one picture: a picture to a file, a file to a picture, and what is in a file."""

from typing import Annotated

import typer

from sweep.command import FAILED, running, say, stop
from sweep.config import make_fit
from sweep.options import (
    DEFAULT_FIT,
    ArchOption,
    EncoderFrameOption,
    EncoderOption,
    FamilyOption,
    FrameIndexOption,
    LmbdaOption,
    MaxPixelsOption,
    QuietOption,
    RecipeOption,
    SeedOption,
    VerboseOption,
    expanded,
)
from sweep.results import describe_output, goes_to_stdout
from workers.bitstream.limits import MAX_PIXELS
from workers.errors import InfeasibleModuleError


def encode(
    context: typer.Context,
    frame: Annotated[
        str,
        typer.Argument(
            metavar="FRAME", help="The picture or .yuv file, or its URI.", show_default=False, callback=expanded
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The bitstream to write: .cool, or .qsw for any other ending; - for standard output.",
            show_default=False,
            callback=expanded,
        ),
    ],
    encoder: EncoderOption = None,
    family: FamilyOption = DEFAULT_FIT.family,
    arch: ArchOption = DEFAULT_FIT.arch,
    recipe: RecipeOption = DEFAULT_FIT.recipe,
    lmbda: LmbdaOption = None,
    seed: SeedOption = DEFAULT_FIT.seed,
    frame_index: FrameIndexOption = None,
    encoder_frame: EncoderFrameOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Encode one frame, in this process.

    Its encoder is fitted where none is given; then come the quantization sweep, a training of the latents with
    the quantized networks (of encoders of Cool-Chic 3.4 and 4), and the bitstream. An encoder whose file holds
    quantized networks alone, such as one imported from a bitstream, is written as it is.
    """
    from sweep.coding import encode_file  # loads torch

    with running(context, verbose, quiet) as screen:
        try:
            given = {"family": family, "arch": arch, "recipe": recipe, "seed": seed}
            fit = make_fit(given | ({} if lmbda is None else {"lmbda": lmbda}))
            encoded = encode_file(frame, output, fit, encoder, lmbda, screen.display, frame_index, encoder_frame)
        except InfeasibleModuleError as error:
            raise stop(error, FAILED) from None
        as_it_was = (
            "" if encoded.is_swept else "; its networks were quantized already, and are written as they were"
        )
        summary = f"{encoded.bytes} bytes, {encoded.bpp:.4f} bpp, {encoded.psnr_db:.3f} dB{as_it_was}"
        say(f"{describe_output(output)}: {summary}", err=goes_to_stdout(output))


def decode(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The bitstream, or its URI.", show_default=False, callback=expanded),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FRAME",
            help="The picture to write: .png, .ppm (also of 10 bits) or .yuv; - for standard output.",
            show_default=False,
            callback=expanded,
        ),
    ],
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Decode a bitstream, .qsw or .cool.

    A .qsw file gives the same samples on every machine; of a .cool file the last bit of a few samples may differ.
    """
    from sweep.decoding import decode_file

    with running(context, verbose, quiet):
        height, width = decode_file(file, output, max_pixels)
        say(f"{describe_output(output)}: {width}×{height}", err=goes_to_stdout(output))
