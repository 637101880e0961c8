"""What a job counts for whoever watches the cluster: metrics of Ray, scraped with those of the cluster itself."""

from ray.util.metrics import Counter, Gauge, Histogram

from sweep.messages import Call, CallDone, CallFailed, FrameEnded, FrameSwept, Measure
from sweep.progress import Tally
from workers.fit import FitProgress

_SECONDS = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000]


class Metrics:
    """An observer of a job; see :class:`~sweep.observer.Observer`.

    Args:
        tally: of the same job, which has been told of everything before.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._pairs = Counter("qsweep_pairs", "Pairs of quantization steps that were measured.")
        self._frames = Counter("qsweep_frames", "Frames that have ended.", ("status",))
        self._retries = Counter("qsweep_retries", "Calls that came to nothing and are made again.")
        self._seconds = Histogram("qsweep_call_seconds", "Time from a call to its answer.", _SECONDS, ("work",))
        self._queue = Gauge("qsweep_queue_depth", "Frames that have not ended.")
        self._queue.set(tally.n_frames)

    def called(self, call: Call) -> None:
        """Nothing is counted before the answer."""

    def answered(self, call: Call, event: CallDone | CallFailed) -> None:
        """Count the pairs and the time of a call."""
        if isinstance(event, CallFailed):
            if not event.final:
                self._retries.inc()
            return
        self._seconds.observe(max(event.seconds, 1e-9), {"work": type(call.work).__name__.lower()})
        if isinstance(call.work, Measure) and not call.work.plain:
            self._pairs.inc(len(call.work.pairs))

    def lost(self, call: Call, reason: str) -> None:  # noqa: ARG002
        """Count a call that is made again."""
        self._retries.inc()

    def fitting(self, frame: str, progress: FitProgress) -> None:
        """A fit counts once it is complete."""

    def fitted(self, frame: str, checkpoint: bytes) -> None:
        """See :meth:`answered`."""

    def swept(self, frame: FrameSwept) -> None:
        """See :meth:`answered`."""

    def waited(self) -> None:
        """Ray sends what was counted by itself."""

    def ended(self, frame: FrameEnded) -> None:
        """Count a frame."""
        self._frames.inc(tags={"status": frame.status})
        self._queue.set(self._tally.n_frames - self._tally.done - self._tally.failed)
