"""What all commands share: how much they show, how they are interrupted, and what becomes of unexpected errors."""

import signal
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import NamedTuple

import typer
from rich.console import Console

from sweep.driver import Lines, Tally, show
from sweep.logs import Verbosity, logging_to
from workers.errors import QsweepError
from workers.reasons import describe_error, printable, without_colours
from workers.streams import output_failure

FAILED, WRONG = 1, 2

RESUMES = "interrupted; the same command resumes the job"

_VERBOSITY = "qsweep.verbosity"


def choose_verbosity(context: typer.Context, verbose: bool, quiet: bool) -> Verbosity:
    """How much a command shows: what it is told itself, or else what stands before its name.

    Raises:
        BadParameter: both options are given.
    """
    before = context.meta.get(_VERBOSITY, Verbosity.NORMAL)
    verbose, quiet = verbose or before is Verbosity.VERBOSE, quiet or before is Verbosity.QUIET
    if verbose and quiet:
        raise typer.BadParameter("--verbose and --quiet exclude each other")
    verbosity = Verbosity.VERBOSE if verbose else Verbosity.QUIET if quiet else Verbosity.NORMAL
    context.meta[_VERBOSITY] = verbosity
    return verbosity


class Screen(NamedTuple):
    """Where a command reports its progress.

    Attributes:
        console: on standard error.
        verbosity: how much is shown.
    """

    console: Console
    verbosity: Verbosity

    @property
    def quiet(self) -> bool:
        """Whether only errors and results are to be shown."""
        return self.verbosity is Verbosity.QUIET

    def display(self, tally: Tally) -> AbstractContextManager[Lines]:
        """Show how far a job is."""
        return show(tally, self.console, bar=not self.quiet)


@contextmanager
def running(
    context: typer.Context,
    verbose: bool,
    quiet: bool,
    *,
    program: str = "qsweep",
    interrupted: str = "interrupted",
    whole_text: str = "--verbose shows the whole text",
) -> Iterator[Screen]:
    """For the body of a command: shows log records, ends in order when interrupted, and explains unexpected errors.

    Args:
        context: of the command.
        verbose: whether everything is shown.
        quiet: whether only errors and results are shown.
        program: whose name messages begin with.
        interrupted: what is said after SIGINT or SIGTERM.
        whole_text: where the traceback of an unexpected error is.
    """
    verbosity = choose_verbosity(context, verbose, quiet)
    screen = Screen(Console(stderr=True), verbosity)
    try:
        with _signals(program, interrupted), logging_to(screen.console, verbosity):
            yield screen
    except (typer.Exit, typer.Abort):
        raise
    except QsweepError as error:
        raise stop(error, FAILED if error.started else WRONG, program) from None
    except Exception as error:
        if verbosity is Verbosity.VERBOSE:
            whole = without_colours("".join(traceback.format_exception(error)))
            typer.echo(printable(whole, keep="\n\t"), err=True)
            whole_text = "the whole text is above"
        typer.echo(
            f"{program}: unexpected error: {describe_error(error)}; please report it; {whole_text}", err=True
        )
        raise typer.Exit(FAILED) from None


def stop(error: QsweepError, status: int, program: str = "qsweep") -> typer.Exit:
    """Say what is wrong; give what ends the command with a status."""
    typer.echo(f"{program}: {printable(str(error))}", err=True)
    return typer.Exit(status)


def say(*lines: str, err: bool = False) -> None:
    """A command's result, on standard output; or on standard error, where the other one holds a file."""
    for line in lines:
        typer.echo(printable(line), err=err)


def check_output(program: str = "qsweep") -> None:
    """End with status 1 if standard output could not be written: for commands whose only result it is."""
    if (reason := output_failure()) is not None:
        typer.echo(f"{program}: standard output cannot be written: {reason}", err=True)
        raise typer.Exit(FAILED)


@contextmanager
def _signals(program: str, message: str) -> Iterator[None]:
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
        typer.echo(f"{program}: {message}", err=True)
        raise typer.Exit(128 + received) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
