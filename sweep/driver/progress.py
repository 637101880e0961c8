"""How far a job is, and for how long it will go on: counted from what happens, shown on a terminal or in lines."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress

from sweep.schedule import Call, CallDone, CallFailed, Fit, FrameEnded, FrameSwept, Measure
from workers.fit import FitProgress

_log = logging.getLogger(__name__)

LINE_SECONDS = 10.0
"""Where there is no terminal, a line is logged this often."""

_SHOWN_FITS, _SHOWN_REPLICAS = 2, 4


class Tally:
    """Counts what a job has done, and estimates the time left.

    Args:
        n_frames: frames to do.
        n_pairs: pairs of one frame.
        n_fits: how many of the frames are fitted first.
        fit_iterations: iterations of one fit.
        encode_iterations: iterations of the training that every frame ends with, at most; 0 for none.
        n_replicas: tells among how many the work is shared.
        clock: seconds.
    """

    def __init__(
        self,
        n_frames: int,
        n_pairs: int,
        n_fits: int = 0,
        fit_iterations: int = 0,
        encode_iterations: int = 0,
        n_replicas: Callable[[], int] = lambda: 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.n_frames, self.done, self.failed = n_frames, 0, 0
        self.n_pairs, self.pairs = n_frames * n_pairs, 0
        self.n_iterations = n_fits * fit_iterations + n_frames * encode_iterations
        self.fits: dict[str, FitProgress] = {}
        self._per_frame, self._per_fit, self._per_encoding = n_pairs, fit_iterations, encode_iterations
        self._n_replicas = n_replicas
        self._of_frame: dict[str, int] = {}  # of those in flight
        self._iterations_ended = 0
        self._measure_seconds = self._fit_seconds = 0.0
        self._pairs_timed = self._iterations_timed = 0
        self._fit_at: dict[str, tuple[float, int]] = {}
        self._to_fit: set[str] = set()
        self._clock = clock

    @property
    def iterations(self) -> int:
        """Iterations of all trainings so far."""
        return self._iterations_ended + sum(progress.iteration for progress in self.fits.values())

    def called(self, call: Call) -> None:
        """Note which frames are in flight, and which are fitted."""
        self._of_frame.setdefault(call.frame, 0)
        if isinstance(call.work, Fit):
            self._to_fit.add(call.frame)

    def answered(self, call: Call, event: CallDone | CallFailed) -> None:
        """Count the pairs of a call; near-ties, measured once more, count once."""
        if isinstance(call.work, Measure) and isinstance(event, CallDone) and not call.work.plain:
            n_pairs = len(call.work.pairs)
            self._count_pairs(call.frame, n_pairs)
            self._measure_seconds += event.seconds
            self._pairs_timed += n_pairs

    def lost(self, call: Call, reason: str) -> None:
        """What is done again counts once."""

    def _count_pairs(self, frame: str, n_pairs: int) -> None:
        """Count pairs of a frame; a call may be answered after the frame has failed, and counted with it."""
        if frame in self._of_frame:
            before = self._of_frame[frame]
            self._of_frame[frame] = min(before + n_pairs, self._per_frame)
            self.pairs += self._of_frame[frame] - before

    def fitting(self, frame: str, progress: FitProgress) -> None:
        """Note how far a training is."""
        now = self._clock()
        if frame in self._fit_at and progress.iteration > self._fit_at[frame][1]:
            before, iteration = self._fit_at[frame]
            self._fit_seconds += now - before
            self._iterations_timed += progress.iteration - iteration
        self._fit_at[frame] = (now, progress.iteration)
        self.fits[frame] = progress

    def fitted(self, frame: str, checkpoint: bytes) -> None:  # noqa: ARG002
        """Count a fit as complete."""
        self._end_fit(frame)

    def swept(self, frame: FrameSwept) -> None:
        """Its pairs have been counted."""

    def ended(self, frame: FrameEnded) -> None:
        """Count a frame; one that failed leaves nothing to do either."""
        self._end_fit(frame.frame)
        self._iterations_ended += self._per_encoding
        self.pairs += self._per_frame - self._of_frame.pop(frame.frame, 0)
        if frame.status == "done":
            self.done += 1
        else:
            self.failed += 1

    def _end_fit(self, frame: str) -> None:
        self.fits.pop(frame, None)
        self._fit_at.pop(frame, None)
        if frame in self._to_fit:
            self._to_fit.remove(frame)
            self._iterations_ended += self._per_fit

    def seconds_left(self) -> float | None:
        """Estimate of the time left; ``None`` while there is nothing to estimate it from.

        Pairs are left out until some have been measured, if iterations were timed before: they take seconds, and
        trainings hours.
        """
        iterations, pairs = self.n_iterations - self.iterations, self.n_pairs - self.pairs
        if (iterations > 0 and not self._iterations_timed) or not (self._iterations_timed or self._pairs_timed):
            return None if iterations > 0 or pairs > 0 else 0.0
        left = max(0, iterations) * self._fit_seconds / max(1, self._iterations_timed)
        left += max(0, pairs) * self._measure_seconds / max(1, self._pairs_timed)
        return left / max(1, self._n_replicas())

    def __str__(self) -> str:
        parts = [f"{self.done + self.failed}/{self.n_frames} frames"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        parts.append(f"{self.pairs}/{self.n_pairs} pairs")
        if self.n_iterations:
            parts.append(f"{self.iterations}/{self.n_iterations} iterations")
        left = self.seconds_left()
        if left is not None and self.done + self.failed < self.n_frames:
            parts.append(f"about {timedelta(seconds=round(left))} left")
        return ", ".join(parts)


class Lines:
    """Shows a tally as log lines: one for every frame that ends, and one every so often."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._shown = time.monotonic()

    def called(self, call: Call) -> None:
        """See :class:`~sweep.driver.Observer`."""
        self.tally.called(call)

    def answered(self, call: Call, event: CallDone | CallFailed) -> None:
        """See :class:`~sweep.driver.Observer`."""
        self.tally.answered(call, event)

    def lost(self, call: Call, reason: str) -> None:
        """See :class:`~sweep.driver.Observer`."""
        self.tally.lost(call, reason)

    def fitting(self, frame: str, progress: FitProgress) -> None:
        """See :class:`~sweep.driver.Observer`."""
        self.tally.fitting(frame, progress)
        _log.debug("frame %s: %s", frame, describe_fit(progress))

    def fitted(self, frame: str, checkpoint: bytes) -> None:
        """See :class:`~sweep.driver.Observer`."""
        last = self.tally.fits.get(frame)
        self.tally.fitted(frame, checkpoint)
        _log.info("frame %s: fitted%s", frame, f", {describe_fit(last)}" if last else "")

    def swept(self, frame: FrameSwept) -> None:
        """See :class:`~sweep.driver.Observer`."""
        self.tally.swept(frame)
        _log.debug("frame %s: swept", frame.frame)

    def ended(self, frame: FrameEnded) -> None:
        """See :class:`~sweep.driver.Observer`."""
        self.tally.ended(frame)
        if frame.status == "failed":
            _log.error("frame %s: failed: %s", frame.frame, frame.error)
        else:
            replicas = sorted({measured.replica for measured in frame.rows})
            more = ", …" if len(replicas) > _SHOWN_REPLICAS else ""
            by = ", ".join(replicas[:_SHOWN_REPLICAS]) + more
            _log.info("frame %s: done by %s in %.1f s of replica time", frame.frame, by, frame.seconds)

    def waited(self) -> None:
        """Log how far the job is, if that was some time ago."""
        if time.monotonic() - self._shown >= LINE_SECONDS:
            self._shown = time.monotonic()
            _log.info("%s", "; ".join([str(self.tally), *self.running()]))

    def running(self) -> list[str]:
        """The trainings that go on, the first few of them."""
        fits = self.tally.fits
        shown = [f"{frame} {describe_fit(fit)}" for frame, fit in islice(fits.items(), _SHOWN_FITS)]
        return [*shown, f"{len(fits) - len(shown)} more"] if len(fits) > len(shown) else shown


class Bar(Lines):
    """Shows a tally as a bar on a terminal, under the log lines of frames that end."""

    def __init__(self, tally: Tally, bar: RichProgress) -> None:
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
        self._bar.update(self._task, completed=completed, description="; ".join([str(tally), *self.running()]))


def describe_fit(progress: FitProgress) -> str:
    """A fit's state in a few words."""
    return (
        f"{progress.phase} {progress.iteration}/{progress.n_iterations}, "
        f"{progress.psnr_db:.2f} dB, {progress.rate_latent_bpp:.3f} bpp"
    )


@contextmanager
def show(tally: Tally, console: Console) -> Iterator[Lines]:
    """A display that suits the console: a bar on a terminal, log lines elsewhere."""
    if not console.is_terminal:
        yield Lines(tally)
        return
    columns = (BarColumn(bar_width=24), TextColumn("{task.description}", markup=False))
    with RichProgress(*columns, console=console, transient=True) as bar:
        yield Bar(tally, bar)


@contextmanager
def logging_to(console: Console, *, verbose: bool = False) -> Iterator[None]:
    """Log records of this program as lines on the console."""
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False, markup=False)
    else:
        handler = logging.StreamHandler(console.file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    loggers = [logging.getLogger(name) for name in ("sweep", "workers")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
