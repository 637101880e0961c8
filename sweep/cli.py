"""The command line."""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from sweep.coding import decode_file, encode_file
from sweep.config import FitConfig, expand, load_job, make_fit
from sweep.driver import logging_to, show
from sweep.evaluate import evaluate
from sweep.job import run_job
from sweep.printing import show_evaluation, show_outcome
from sweep.report import FIGURES, FORMATS, plot, write_report
from sweep.results import Results, read_status
from workers.bitstream import MAX_PIXELS
from workers.codec import MODULES
from workers.errors import ClaimError, ClusterError, ConfigError, InfeasibleModuleError, QsweepError
from workers.files import describe

FAILED, WRONG = 1, 2


def _expanded(param: typer.CallbackParam, location: str | None) -> str | None:
    """A path of the command line with home folders and variables put in: shells do not inside quotes."""
    try:
        return location and expand(location)
    except ValueError as error:
        name = param.opts[0] if param.opts[0].startswith("-") else param.metavar
        raise _stop(ConfigError(f"{name}: {error}"), WRONG) from None


def _config_path(location: str) -> Path:
    try:
        return Path(expand(location))
    except ValueError as error:
        raise _stop(ConfigError(f"CONFIG.yaml: {error}"), WRONG) from None


ConfigArgument = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG.yaml",
        help="The job's configuration; its paths may have ~, $NAME and ${NAME} in them.",
        show_default=False,
        parser=_config_path,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY.PATH=VALUE",
        help="Set a key of the configuration; again for more.",
        show_default=False,
    ),
]
OutOption = Annotated[
    str | None,
    typer.Option(
        metavar="URI", help="Folder for the results, in place of the configuration's.", show_default=False
    ),
]
ResultsArgument = Annotated[
    str,
    typer.Argument(metavar="OUT", help="Folder or URI of a job's results.", show_default=False, callback=_expanded),
]

_DEFAULT_FIT = FitConfig()


def _accepted(key: str) -> str:
    """What the configuration says of a key of ``fit``, as help."""
    text = FitConfig.model_fields[key].description or ""
    return f"{text[:1].upper()}{text[1:]}."


app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The quantization sweep of overfitted image codecs (Cool-Chic family) as a distributed Ray job.",
    epilog="Exit status: 0 every frame done; 1 some frames failed; 2 wrong configuration or command line, nothing "
    "was started; 130 or 143 interrupted, the same command goes on from there.",
)


@app.callback(invoke_without_command=False)
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=lambda on: _version(on)
        ),
    ] = False,
) -> None:
    pass


def _version(on: bool) -> None:
    if on:
        typer.echo(f"qsweep {version('qsweep')}")
        raise typer.Exit


@app.command()
def run(
    config: ConfigArgument,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Run a job; where it was run before with the same configuration, go on with it."""
    console = Console(stderr=True)  # one for both, or the lines would run into the bar
    with _signals(), logging_to(console):
        try:
            job = load_job(config, overrides or (), out)
            results = Results(job)
        except QsweepError as error:
            raise _stop(error, WRONG) from None
        try:
            outcome = run_job(job, results, partial(show, console=console))
        except QsweepError as error:
            raise _stop(error, WRONG if isinstance(error, ClusterError | ClaimError) else FAILED) from None
    if show_outcome(job, outcome):
        raise typer.Exit(FAILED)


@app.command()
def encode(
    frame: Annotated[
        str,
        typer.Argument(
            metavar="FRAME",
            help="The picture or .yuv file, or its URI.",
            show_default=False,
            callback=_expanded,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The bitstream to write.",
            show_default=False,
            callback=_expanded,
        ),
    ],
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A fitted frame encoder; without one it is fitted.",
            show_default=False,
            callback=_expanded,
        ),
    ] = None,
    arch: Annotated[str, typer.Option(help=_accepted("arch"))] = _DEFAULT_FIT.arch,
    recipe: Annotated[str, typer.Option(help=_accepted("recipe"))] = _DEFAULT_FIT.recipe,
    lmbda: Annotated[
        float | None,
        typer.Option(help="Weight of the rate; the encoder's, or 0.001, by default.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help=_accepted("seed"))] = _DEFAULT_FIT.seed,
    frame_index: Annotated[
        int | None,
        typer.Option(min=0, help="Display index of the frame in a file of several, from 0.", show_default=False),
    ] = None,
) -> None:
    """Encode one frame, in this process: fit, quantization sweep, latents once more, bitstream."""
    console = Console(stderr=True)
    with _signals("interrupted"), logging_to(console):
        try:
            given = {"arch": arch, "recipe": recipe, "seed": seed} | ({} if lmbda is None else {"lmbda": lmbda})
            fit = make_fit(given)
            encoded = encode_file(frame, output, fit, encoder, lmbda, partial(show, console=console), frame_index)
        except QsweepError as error:
            raise _stop(error, FAILED if isinstance(error, InfeasibleModuleError) else WRONG) from None
    typer.echo(f"{describe(output)}: {encoded.bytes} bytes, {encoded.bpp:.4f} bpp, {encoded.psnr_db:.3f} dB")


@app.command()
def decode(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The bitstream, or its URI.", show_default=False, callback=_expanded),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FRAME",
            help="The picture to write: .png, .ppm (also of 10 bits) or .yuv.",
            show_default=False,
            callback=_expanded,
        ),
    ],
    max_pixels: Annotated[int, typer.Option(help="Pixels of the largest frame that is accepted.")] = MAX_PIXELS,
) -> None:
    """Decode a bitstream: the same samples on every machine."""
    with _signals("interrupted"):
        try:
            height, width = decode_file(file, output, max_pixels)
        except QsweepError as error:
            raise _stop(error, WRONG) from None
    typer.echo(f"{describe(output)}: {width}×{height}")


@app.command()
def report(
    out: ResultsArgument,
    pictures: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Frames whose pictures are drawn; the first few by default, about ten seconds' work.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write report.html anew from a job's results, also while it is running."""
    try:
        typer.echo(write_report(out, pictures=pictures))
    except QsweepError as error:
        raise _stop(error, WRONG) from None


@app.command()
def status(
    out: ResultsArgument,
) -> None:
    """Tell how far a job is, from its results alone, on any machine."""
    try:
        typer.echo(read_status(out))
    except QsweepError as error:
        raise _stop(error, WRONG) from None


@app.command("plot")
def plot_(
    out: ResultsArgument,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=f"{', '.join(FORMATS)}.",
            show_default=False,
            callback=_expanded,
        ),
    ],
    figure: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"{', '.join(FIGURES)}; loss where a module is named, bits where only a frame is.",
            show_default=False,
        ),
    ] = None,
    frame: Annotated[str | None, typer.Option(metavar="ID", help="A frame of the job.", show_default=False)] = None,
    module: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"{', '.join(MODULES)}.", show_default=False)
    ] = None,
) -> None:
    """Draw a figure of the report into a file, for articles and slides."""
    default = "steps" if frame is None else "bits" if module is None else "loss"
    try:
        typer.echo(plot(out, figure or default, output, frame, module))
    except QsweepError as error:
        raise _stop(error, WRONG) from None


@app.command("eval")
def evaluate_(
    out: ResultsArgument,
) -> None:
    """Compare a job's bitstreams with JPEG, WebP and AVIF: a table, BD-rates and a plot beside the results."""
    console = Console(stderr=True)
    with _signals("interrupted"), logging_to(console):
        try:
            evaluation = evaluate(out)
        except ImportError as error:
            typer.echo(f"qsweep: {error.name} is missing: install qsweep with its extra eval", err=True)
            raise typer.Exit(WRONG) from None
        except QsweepError as error:
            raise _stop(error, WRONG) from None
    show_evaluation(evaluation)
    if evaluation.failures:
        raise typer.Exit(FAILED)


def _stop(error: QsweepError, status: int) -> typer.Exit:
    typer.echo(f"qsweep: {error}", err=True)
    return typer.Exit(status)


@contextmanager
def _signals(message: str = "interrupted; the same command goes on from here") -> Iterator[None]:
    """SIGINT and SIGTERM end the program in order, with the status a shell expects."""
    received = signal.SIGINT

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal received
        received = signal.Signals(number)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)  # one is enough
        # The one exception that Ray expects while it waits.
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"qsweep: {message}", err=True)
        raise typer.Exit(128 + received) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> None:
    """Run the command line."""
    logging.captureWarnings(True)
    sys.exit(app())
