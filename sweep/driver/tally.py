"""Progress of a job and an estimate of the time that is left, counted from its events."""

import time
from collections.abc import Callable
from datetime import timedelta

from sweep.schedule import (
    Call,
    CallDone,
    CallFailed,
    Fit,
    FrameEnded,
    FrameRefining,
    FrameSwept,
    Measure,
    Open,
    Refine,
)
from workers.fit import FitProgress
from workers.source import FrameInfo


class Tally:
    """Counts what a job has done, and estimates the time left.

    Args:
        n_frames: frames to do.
        n_pairs: pairs of a frame that has not been opened, an estimate.
        n_fits: how many of the frames are fitted first.
        fit_iterations: iterations of one fit.
        encode_iterations: iterations of the training that every frame ends with, at most; 0 for none.
        refines: whether the choices of every frame are refined.
        n_replicas: tells among how many the work is shared.
        count_pairs: tells how many pairs a frame has that was opened; without it, as estimated.
        clock: seconds.
    """

    def __init__(
        self,
        n_frames: int,
        n_pairs: int,
        n_fits: int = 0,
        fit_iterations: int = 0,
        encode_iterations: int = 0,
        refines: bool = False,
        n_replicas: Callable[[], int] = lambda: 1,
        count_pairs: Callable[[FrameInfo], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.n_frames, self.done, self.failed = n_frames, 0, 0
        self.n_pairs, self.pairs = n_frames * n_pairs, 0
        self.n_iterations = n_fits * fit_iterations + n_frames * encode_iterations
        self.fits: dict[str, FitProgress] = {}
        self.pieces: dict[int, tuple[str, str]] = {}
        """Frame and name of the pieces of refinements that are worked at, by their calls."""
        self._refines = refines
        self._per_frame, self._per_fit, self._per_encoding = n_pairs, fit_iterations, encode_iterations
        self._count = count_pairs
        self._n_replicas = n_replicas
        self._of_frame: dict[str, int] = {}  # pairs measured, of the frames that are worked on
        self._all_of_frame: dict[str, int] = {}  # and all their pairs, once they have been opened
        self._iterations_ended = 0
        self._measure_seconds = self._fit_seconds = self._refine_seconds = 0.0
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
        if isinstance(call.work, Refine):
            self.pieces[call.id] = call.frame, call.work.piece.name

    def answered(self, call: Call, event: CallDone | CallFailed) -> None:
        """Count the pairs of a call; near-ties, measured once more, count once."""
        if self.pieces.pop(call.id, None) is not None and isinstance(event, CallDone):
            self._refine_seconds += event.seconds
        if isinstance(call.work, Open) and isinstance(event, CallDone) and self._count is not None:
            assert isinstance(event.answer, FrameInfo)
            before = self._all_of_frame.get(call.frame, self._per_frame)
            self._all_of_frame[call.frame] = self._count(event.answer)
            self.n_pairs += self._all_of_frame[call.frame] - before
        if isinstance(call.work, Measure) and isinstance(event, CallDone) and not call.work.request.plain:
            n_pairs = len(call.work.request.candidates)
            self._count_pairs(call.frame, n_pairs)
            self._measure_seconds += event.seconds
            self._pairs_timed += n_pairs

    def lost(self, call: Call, reason: str) -> None:  # noqa: ARG002
        """What is done again counts once."""
        self.pieces.pop(call.id, None)

    def _count_pairs(self, frame: str, n_pairs: int) -> None:
        """Count pairs of a frame; a call may be answered after the frame has failed, and counted with it."""
        if frame in self._of_frame:
            before = self._of_frame[frame]
            self._of_frame[frame] = min(before + n_pairs, self._all_of_frame.get(frame, self._per_frame))
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

    def refining(self, frame: FrameRefining) -> None:
        """What is refined is known from the calls."""

    def ended(self, frame: FrameEnded) -> None:
        """Count a frame; one that failed leaves nothing to do either."""
        self._end_fit(frame.frame)
        self._iterations_ended += self._per_encoding
        of_frame = self._all_of_frame.pop(frame.frame, self._per_frame)
        self.pairs += of_frame - self._of_frame.pop(frame.frame, 0)
        if frame.status == "done":
            self.done += 1
        else:
            self.failed += 1

    def waited(self) -> None:
        """Time alone changes nothing."""

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
        frames = self.n_frames - self.done - self.failed
        if self._refines and frames and not self.done:  # how long a refinement takes is not known
            return None
        iterations, pairs = self.n_iterations - self.iterations, self.n_pairs - self.pairs
        if (iterations > 0 and not self._iterations_timed) or not (self._iterations_timed or self._pairs_timed):
            return None if iterations > 0 or pairs > 0 else 0.0
        left = max(0, iterations) * self._fit_seconds / max(1, self._iterations_timed)
        left += max(0, pairs) * self._measure_seconds / max(1, self._pairs_timed)
        left += frames * self._refine_seconds / max(1, self.done)
        return left / max(1, self._n_replicas())

    def __str__(self) -> str:
        parts = [f"{self.done + self.failed}/{self.n_frames} frames"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        parts.append(f"{self.pairs}/{self.n_pairs} pairs")
        if self.n_iterations:
            parts.append(f"{self.iterations}/{self.n_iterations} iterations")
        if refined := {frame for frame, _ in self.pieces.values()}:
            parts.append(f"{len(refined)} refined now")
        left = self.seconds_left()
        if left is not None and self.done + self.failed < self.n_frames:
            parts.append(f"about {timedelta(seconds=round(left))} left")
        return ", ".join(parts)
