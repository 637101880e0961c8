"""What commands print when they are done."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweep.config import Job
from sweep.evaluate import Evaluation
from sweep.job import Outcome
from sweep.results import FRAMES_FILE
from workers.files import describe

_SHOWN_FRAMES = 20


def show_outcome(job: Job, outcome: Outcome) -> int:
    """A line per frame, failures with their reasons, and where everything is; give the number of failures."""
    console = Console(highlight=False)
    done, failed = outcome.of("done"), outcome.of("failed")
    formats = {"bpp": ".4f", "networks bpp": ".4f", "PSNR dB": ".3f", "loss": ".6g"}
    if job.config.bitstream:
        formats |= {"bytes": "d", "file bpp": ".4f"}
    table = Table("frame", *formats, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for record in done.slice(0, _SHOWN_FRAMES).to_pylist():
        networks = record["rate_nn_bpp"]
        numbers = [record["rate_latent_bpp"] + networks, networks, record["psnr_db"], record["loss"]]
        numbers += [record["file_bytes"], record["file_bpp"]]
        cells = (f"{number:{spec}}" for number, spec in zip(numbers, formats.values(), strict=False))
        table.add_row(escape(record["frame"]), *cells)
    if done.num_rows:
        console.print(table)
    for record in failed.slice(0, _SHOWN_FRAMES).to_pylist():
        console.print(f"{record['frame']} failed: {record['error']}", markup=False, soft_wrap=True)
    if max(done.num_rows, failed.num_rows) > _SHOWN_FRAMES:
        console.print(f"all of them in {FRAMES_FILE}")
    where = describe(job.config.out)
    summary = f"{done.num_rows} done, {failed.num_rows} failed; results in {where}"
    console.print(summary, markup=False, soft_wrap=True)
    return int(failed.num_rows)


def show_evaluation(evaluation: Evaluation) -> None:
    """A line per file, the mean BD-rates, what could not be compared, and where the tables are."""
    console = Console(highlight=False)
    own = evaluation.points[evaluation.points.codec == "qsweep"]
    table = Table("frame", "lmbda", "bytes", "bpp", "PSNR dB", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in own.head(_SHOWN_FRAMES).itertuples():
        table.add_row(
            escape(str(row.frame)), f"{row.parameter:g}", str(row.bytes), f"{row.bpp:.4f}", f"{row.psnr_db:.3f}"
        )
    console.print(table)
    if len(own) > _SHOWN_FRAMES:
        console.print(f"and {len(own) - _SHOWN_FRAMES} more")
    if evaluation.bd_rates.bd_rate.isna().all():
        console.print("no BD-rates: they need two lmbda of a picture or more", soft_wrap=True)
    else:
        for anchor, rows in evaluation.bd_rates.groupby("anchor", sort=False):
            defined = rows.bd_rate.dropna()
            of = f"the mean of {len(defined)} of {len(rows)} pictures"
            console.print(f"BD-rate against {anchor}: {defined.mean():+.1%}, {of}")
    for failure in evaluation.failures:
        console.print(failure, markup=False, soft_wrap=True)
    for file in evaluation.files:
        console.print(file, markup=False, soft_wrap=True)
