"""Progress of a job on a terminal, as a bar, or in a log, as lines."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from sweep.driver.observer import Observers
from sweep.driver.tally import Tally
from sweep.schedule import LOCAL_REPLICA, FrameEnded, FrameSwept
from workers.fit import FitProgress
from workers.reasons import describe_error, printable

_log = logging.getLogger(__name__)

LINE_SECONDS = 10.0
"""Where there is no terminal, a line is logged this often."""

_SHOWN_LONG, _SHOWN_REPLICAS = 2, 4


class Lines(Observers):
    """Shows a tally as log lines: one for every frame that ends, and one every so often."""

    def __init__(self, tally: Tally) -> None:
        super().__init__([tally])
        self.tally = tally
        self._shown = time.monotonic()

    def fitting(self, frame: str, progress: FitProgress) -> None:
        """Log how far it is, with ``--verbose``."""
        super().fitting(frame, progress)
        _log.debug("frame %s: %s", frame, describe_fit(progress))

    def fitted(self, frame: str, checkpoint: bytes) -> None:
        """Say so, and how good it was."""
        last = self.tally.fits.get(frame)
        super().fitted(frame, checkpoint)
        _log.info("frame %s: fitted%s", frame, f", {describe_fit(last)}" if last else "")

    def swept(self, frame: FrameSwept) -> None:
        """Log it, with ``--verbose``."""
        super().swept(frame)
        _log.debug("frame %s: swept", frame.frame)

    def ended(self, frame: FrameEnded) -> None:
        """Say what has become of it."""
        super().ended(frame)
        if frame.status == "failed":
            assert frame.error is not None
            _log.error("frame %s: failed: %s", frame.frame, describe_error(frame.error), exc_info=frame.error)
        else:
            replicas = sorted({measured.replica for measured in frame.rows})
            more = ", …" if len(replicas) > _SHOWN_REPLICAS else ""
            by = f"by {', '.join(replicas[:_SHOWN_REPLICAS])}{more} in {frame.seconds:.1f} s of replica time"
            here = f"in {frame.seconds:.1f} s"
            _log.info("frame %s: done %s", frame.frame, here if replicas == [LOCAL_REPLICA] else by)

    def waited(self) -> None:
        """Log how far the job is, if that was some time ago."""
        if time.monotonic() - self._shown >= LINE_SECONDS:
            self._shown = time.monotonic()
            _log.info("%s", "; ".join([str(self.tally), *self.running()]))

    def running(self) -> list[str]:
        """The trainings and refinements that are running, the first few of them."""
        fits, pieces = self.tally.fits, self.tally.pieces
        running = [f"{frame} {describe_fit(fit)}" for frame, fit in islice(fits.items(), _SHOWN_LONG)]
        running += [f"{frame} refined: {piece}" for frame, piece in islice(pieces.values(), _SHOWN_LONG)]
        shown, n_running = running[:_SHOWN_LONG], len(fits) + len(pieces)
        return [*shown, f"{n_running - len(shown)} more"] if n_running > len(shown) else shown


class Bar(Lines):
    """Shows a tally as a bar on a terminal, under the log lines of frames that end."""

    def __init__(self, tally: Tally, bar: Progress) -> None:
        super().__init__(tally)
        self._bar = bar
        self._task = bar.add_task("", total=1.0)

    def waited(self) -> None:
        """Redraw the bar."""
        tally = self.tally
        # A fit's iterations and a frame's pairs are work of one kind and another: each counts as one share.
        shares = [(tally.pairs, tally.n_pairs)]
        if tally.n_iterations:
            shares.append((tally.iterations, tally.n_iterations))
        completed = sum(done / max(1, total) for done, total in shares) / len(shares)
        text = "; ".join([str(tally), *self.running()])
        self._bar.update(self._task, completed=completed, description=printable(text))


def describe_fit(progress: FitProgress) -> str:
    """A fit's state in a few words."""
    return (
        f"{progress.phase} {progress.iteration}/{progress.n_iterations}, "
        f"{progress.psnr_db:.2f} dB, {progress.rate_latent_bpp:.3f} bpp"
    )


@contextmanager
def show(tally: Tally, console: Console, *, bar: bool = True) -> Iterator[Lines]:
    """A display that suits the console: a bar on a terminal, unless none is wanted, and log lines elsewhere."""
    if not (bar and console.is_terminal):
        yield Lines(tally)
        return
    columns = (BarColumn(bar_width=24), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(tally, progress)
