"""The command line.

A command imports what it needs when it runs: help, status and plots load neither Ray nor torch.
"""

import logging
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from sweep.coding_commands import decode, encode
from sweep.command import (
    FAILED,
    RESUMES,
    WRONG,
    check_output,
    choose_verbosity,
    running,
    say,
    stop,
)
from sweep.conversion_commands import export, import_
from sweep.options import (
    ConfigArgument,
    OutOption,
    QuietOption,
    ResultsArgument,
    SetOption,
    VerboseOption,
    expanded,
    statuses,
)
from sweep.report import FIGURES, FORMATS
from sweep.results import goes_to_stdout, read_status
from sweep.show_command import show
from workers.codec.family import modules
from workers.errors import QsweepError
from workers.streams import output_failure, prepare_streams

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes would cut lines that scripts search
    help="The quantization sweep of overfitted image codecs (Cool-Chic family) as a distributed Ray job.",
    epilog="Exit status of run: 0 every frame done; 1 some frames failed, or an unexpected error; 2 wrong "
    "configuration or command line, nothing was started; 130 or 143 interrupted, the same command resumes the job. "
    "The help of each other command says what its own is. Output that cannot be written (a closed pipe, a full "
    "disk) changes none of these, but for status, show, --help and --version: those end with 1 then, and with 0 "
    "after a closed pipe.",
)


@app.callback(invoke_without_command=False)
def _options(
    context: typer.Context,
    _: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=lambda on: _version(on)
        ),
    ] = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    choose_verbosity(context, verbose, quiet)


def _version(on: bool) -> None:
    if on:
        say(f"qsweep {version('qsweep')}")
        raise typer.Exit


@app.command(
    epilog="Exit status: 0 every frame done; 1 some frames failed, the others are complete, or an unexpected "
    "error, or results that can no longer be written; 2 wrong configuration, command line, results or cluster, "
    "nothing was started; 130 or 143 interrupted, the same command resumes there. "
    "What is shown, with the traceback of every error, is kept in log/ below the results.",
)
def run(
    context: typer.Context,
    config: ConfigArgument,
    overrides: SetOption = None,
    out: OutOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run a job, or resume it.

    Where it was run before with the same configuration, what is finished there is kept.
    """
    from sweep.config import load_job
    from sweep.job import run_job
    from sweep.printing import show_outcome
    from sweep.results import Results

    whole_text = "--verbose shows the whole text, which is also in log/ below the results"
    with running(context, verbose, quiet, interrupted=RESUMES, whole_text=whole_text) as screen:
        try:
            job = load_job(config, overrides or (), out)
            results = Results(job)
        except QsweepError as error:
            raise stop(error, WRONG) from None
        try:
            outcome = run_job(job, results, screen.display)
        except QsweepError as error:
            raise stop(error, FAILED if error.started else WRONG) from None
        if show_outcome(job, outcome, quiet=screen.quiet):
            raise typer.Exit(FAILED)


app.command(
    epilog="Exit status: 0 the bitstream was written; 1 no pair of steps of a module can be used, the output can "
    "no longer be written, or an unexpected error; 2 wrong command line or input, nothing was written; 130 or 143 "
    "interrupted, nothing was written."
)(encode)
app.command(epilog=statuses("the picture was written"))(decode)
app.command("import", epilog=statuses("the checkpoint was written"))(import_)
app.command(epilog=statuses("the file was written"))(export)
app.command(epilog=statuses("shown", "wrong command line, or a file that cannot be shown"))(show)


@app.command(epilog=statuses("the report was written"))
def report(
    context: typer.Context,
    out: ResultsArgument,
    pictures: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of frames whose pictures are drawn; by default the first few, about ten seconds' work.",
            show_default=False,
        ),
    ] = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write report.html anew, from a job's results.

    The job may be running meanwhile.
    """
    from sweep.report import write_report

    with running(context, verbose, quiet):
        say(write_report(out, pictures=pictures))


@app.command(
    epilog=statuses("shown, whatever the job's state", "wrong command line, or no results of a job"),
)
def status(
    context: typer.Context,
    out: ResultsArgument,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Tell how far a job is, from its results alone."""
    with running(context, verbose, quiet):
        say(*read_status(out).split("\n"))
        check_output()


@app.command("plot", epilog=statuses("the figure was written"))
def plot_(
    context: typer.Context,
    out: ResultsArgument,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=f"Ends in {', '.join(FORMATS)}; - for standard output, as SVG.",
            show_default=False,
            callback=expanded,
        ),
    ],
    figure: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"One of {', '.join(FIGURES)}.",
            show_default="loss where a module is named, bits where only a frame is, else steps",
        ),
    ] = None,
    frame: Annotated[str | None, typer.Option(metavar="ID", help="A frame of the job.", show_default=False)] = None,
    module: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"One of {', '.join(modules())}.", show_default=False),
    ] = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw a figure of the report into a file."""
    from sweep.report import plot

    default = "steps" if frame is None else "bits" if module is None else "loss"
    with running(context, verbose, quiet):
        say(plot(out, figure or default, output, frame, module), err=goes_to_stdout(output))


@app.command(
    "eval",
    epilog="Exit status: 0 every bitstream was compared; 1 some could not be, or an unexpected error; 2 wrong "
    "command line, no results with bitstreams, or a package is missing; 130 or 143 interrupted.",
)
def evaluate_(
    context: typer.Context,
    out: ResultsArgument,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare a job's bitstreams with other codecs.

    JPEG, WebP and AVIF, at several qualities; tables, BD-rates and a plot are written beside the results.
    """
    from sweep.evaluate import evaluate
    from sweep.printing import show_evaluation

    with running(context, verbose, quiet) as screen:
        evaluation = evaluate(out)
        show_evaluation(evaluation, quiet=screen.quiet)
        if evaluation.failures:
            raise typer.Exit(FAILED)


def main() -> None:
    """Run the command line."""
    prepare_streams()
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a record that cannot be shown is no reason for a traceback
    try:
        app()
    except SystemExit as end:
        if not end.code and {"--help", "--version"}.intersection(sys.argv) and output_failure() is not None:
            sys.exit(FAILED)
        raise
