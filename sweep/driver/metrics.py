"""Metrics of a job, exported by Ray with those of the cluster itself."""

from ray.util.metrics import Counter, Gauge, Histogram

from sweep.driver.observer import Observers
from sweep.driver.tally import Tally
from sweep.schedule import Call, CallDone, CallFailed, FrameEnded, Measure

_SECONDS = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000]


class Metrics(Observers):
    """Counts for Ray, which sends it on by itself.

    Args:
        tally: of the same job, which has been told of everything before.
    """

    def __init__(self, tally: Tally) -> None:
        super().__init__([])
        self._tally = tally
        self._pairs = Counter("qsweep_pairs", "Pairs of quantization steps that were measured.")
        self._frames = Counter("qsweep_frames", "Frames that have ended.", ("status",))
        self._retries = Counter("qsweep_retries", "Calls that failed and are retried.")
        self._seconds = Histogram("qsweep_call_seconds", "Time from a call to its answer.", _SECONDS, ("work",))
        self._queue = Gauge("qsweep_queue_depth", "Frames that have not ended.")
        self._queue.set(tally.n_frames)

    def answered(self, call: Call, event: CallDone | CallFailed) -> None:
        """Count the pairs and the time of a call."""
        if isinstance(event, CallFailed):
            if not event.final:
                self._retries.inc()
            return
        self._seconds.observe(max(event.seconds, 1e-9), {"work": type(call.work).__name__.lower()})
        if isinstance(call.work, Measure) and not call.work.request.plain:
            self._pairs.inc(len(call.work.request.candidates))

    def lost(self, call: Call, reason: str) -> None:  # noqa: ARG002
        """Count a call that is made again."""
        self._retries.inc()

    def ended(self, frame: FrameEnded) -> None:
        """Count a frame."""
        self._frames.inc(tags={"status": frame.status})
        self._queue.set(self._tally.n_frames - self._tally.done - self._tally.failed)
