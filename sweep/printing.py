"""What commands print when they are done."""

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweep.config import Job
from sweep.evaluate import Evaluation
from sweep.job import Outcome
from sweep.results import FRAMES_FILE
from workers.files import describe
from workers.reasons import printable

_SHOWN_FRAMES = 20
_UNBOUNDED = 1 << 16  # columns: for a pipe or a file, whose readers search for whole names


class Printer:
    """Prints lines and tables on standard output: as wide as they are, but for tables on a terminal."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else _UNBOUNDED
        self._console = Console(highlight=False, width=width)

    def line(self, text: str) -> None:
        """Print one line, whatever the text is."""
        self._console.print(printable(text), markup=False, soft_wrap=True)

    def table(self, names: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        """Print a table: the first column is text, the others are numbers. On a terminal long names are folded."""
        table = Table(*names, box=None)
        for number, column in enumerate(table.columns):
            column.overflow = "fold"
            column.justify = "right" if number else "left"
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        self._console.print(table)


def show_outcome(job: Job, outcome: Outcome, *, quiet: bool = False) -> int:
    """A line per frame, failures with their reasons, and where everything is; give the number of failures.

    Args:
        job: whose it is.
        outcome: of the job.
        quiet: whether the frames that are done are left out.
    """
    printer = Printer()
    done, failed = outcome.of("done"), outcome.of("failed")
    formats = {"bpp": ".4f", "networks bpp": ".4f", "PSNR dB": ".3f", "loss": ".6g"}
    if job.config.bitstream:
        formats |= {"bytes": "d", "file bpp": ".4f"}
    rows = []
    for record in done.slice(0, _SHOWN_FRAMES).to_pylist():
        networks = record["rate_nn_bpp"]
        numbers = [record["rate_latent_bpp"] + networks, networks, record["psnr_db"], record["loss"]]
        numbers += [record["file_bytes"], record["file_bpp"]]
        cells = (f"{number:{spec}}" for number, spec in zip(numbers, formats.values(), strict=False))
        rows.append([record["frame"], *cells])
    if rows and not quiet:
        printer.table(["frame", *formats], rows)
    for record in failed.slice(0, _SHOWN_FRAMES).to_pylist():
        printer.line(f"{record['frame']} failed: {record['error']}")
    if max(0 if quiet else done.num_rows, failed.num_rows) > _SHOWN_FRAMES:
        printer.line(f"all of them in {FRAMES_FILE}")
    printer.line(f"{done.num_rows} done, {failed.num_rows} failed; results in {describe(job.config.out)}")
    return int(failed.num_rows)


def show_evaluation(evaluation: Evaluation, *, quiet: bool = False) -> None:
    """A line per file, the mean BD-rates, what could not be compared, and where the tables are.

    Args:
        evaluation: of a job.
        quiet: whether the lines of files and BD-rates are left out.
    """
    printer = Printer()
    if not quiet:
        _show_points(evaluation, printer)
    for line in (*evaluation.failures, *evaluation.files):
        printer.line(line)


def _show_points(evaluation: Evaluation, printer: Printer) -> None:
    own = evaluation.points[evaluation.points.codec == "qsweep"]
    names = ["frame", "lmbda", "bytes", "bpp", "PSNR dB"]
    rows = [
        [str(row.frame), f"{row.parameter:g}", str(row.bytes), f"{row.bpp:.4f}", f"{row.psnr_db:.3f}"]
        for row in own.head(_SHOWN_FRAMES).itertuples()
    ]
    printer.table(names, rows)
    if len(own) > _SHOWN_FRAMES:
        printer.line(f"and {len(own) - _SHOWN_FRAMES} more")
    if evaluation.bd_rates.bd_rate.isna().all():
        printer.line("no BD-rates: they need two lmbda of a picture or more")
        return
    for anchor, of_anchor in evaluation.bd_rates.groupby("anchor", sort=False):
        defined = of_anchor.bd_rate.dropna()
        of = f"the mean of {len(defined)} of {len(of_anchor)} pictures"
        printer.line(f"BD-rate against {anchor}: {defined.mean():+.1%}, {of}")
