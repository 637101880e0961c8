"""Where the time of a job went: how busy its replicas were, at what, from its first call to its last answer."""

import time
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pyarrow as pa

from sweep.schedule import Call, CallDone, CallFailed, FrameEnded, FrameRefining, FrameSwept, Measure, RunSearch
from workers.candidates import split_id
from workers.codec.family import modules
from workers.fit import FitProgress

STAGES = ("open", "fit", *modules(), "near_ties", "refine", "quantize", "encode", "lost")
"""What the time of replicas is spent on: candidates of each module, near-ties measured again, calls that were lost,
and other work. Modules of plugins, and searches that run on a replica, are added when they occur."""

N_SPANS = 512
"""Spans of time that a run is cut into, at most: they get twice as long when there would be more."""

TIMELINE = pa.schema(
    [
        ("run", pa.int32()),
        ("time", pa.timestamp("ms", "UTC")),
        ("seconds", pa.float64()),
        ("available_seconds", pa.float64()),
        *((f"{stage}_seconds", pa.float64()) for stage in STAGES),
    ]
)
"""One row per span of a run: when it began and how long it is (the last one may be shorter), and seconds of all
replicas together in it: those for which they existed, and those that they spent on each stage. A job that was
resumed has several runs."""

REPLICAS = pa.schema(
    [
        ("run", pa.int32()),
        ("replica", pa.string()),
        ("seconds", pa.float64()),
        ("busy_seconds", pa.float64()),
        ("calls", pa.int64()),
        ("lost", pa.int64()),
    ]
)
"""One row per replica of a run: seconds from its first call to its last answer, and those of them when it was at
a call; its calls, and those that were lost."""


def stage_of(call: Call) -> str:
    """Stage that a call belongs to."""
    work = call.work
    if isinstance(work, Measure):
        return "near_ties" if work.request.plain else split_id(work.request.candidates[0].network)[1]
    return "search" if isinstance(work, RunSearch) else type(work).__name__.lower()


def stages_of(columns: Iterable[str]) -> list[str]:
    """Kinds of work that a timeline with these columns has one for."""
    names = [name.removesuffix("_seconds") for name in columns if name.endswith("_seconds")]
    return [name for name in names if name != "available"]


class Timeline:
    """Follows one run of a job, as an observer of its driver.

    Args:
        run: its number, from 0: a job that went on has several.
        n_replicas: tells how many there are.
        clock: seconds, from any moment on.
    """

    def __init__(
        self, run: int, n_replicas: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run = run
        self._n_replicas = n_replicas
        self._clock = clock
        self._spans = _Spans(clock())
        self._began = datetime.now(timezone.utc)
        self._under_way: dict[int, tuple[Call, float]] = {}
        self._replicas: dict[str, _OfReplica] = {}
        self._noted = self._waited = self._spans.begin

    def called(self, call: Call) -> None:
        """A replica is busy from now on."""
        now = self._note()
        self._under_way[call.id] = (call, now)
        of_replica = self._replicas.setdefault(call.replica, _OfReplica(begin=now, end=now))
        of_replica.calls += 1

    def answered(self, call: Call, event: CallDone | CallFailed) -> None:
        """What a replica was at has an end."""
        again = isinstance(event, CallFailed) and not event.final
        self._end(call, "lost" if again else stage_of(call))

    def lost(self, call: Call, reason: str) -> None:  # noqa: ARG002
        """The call of a replica is lost."""
        self._end(call, "lost")

    def fitting(self, frame: str, progress: FitProgress) -> None:
        """The call that fits is timed, not its steps."""

    def fitted(self, frame: str, checkpoint: bytes) -> None:
        """Nothing is at work for it."""

    def swept(self, frame: FrameSwept) -> None:
        """Nothing is at work for it."""

    def refining(self, frame: FrameRefining) -> None:
        """The call that refines is timed, not its steps."""

    def ended(self, frame: FrameEnded) -> None:
        """Nothing is at work for it."""

    def _end(self, call: Call, stage: str) -> None:
        now = self._note()
        _, begin = self._under_way.pop(call.id)
        self._spans.add(stage, begin, now)
        self._replicas[call.replica].add(begin, now, lost=stage == "lost")

    def waited(self) -> None:
        """Replicas have been there since it was last asked."""
        now = self._note()
        self._spans.add("available", self._waited, now, self._n_replicas())
        self._waited = now

    def _note(self) -> float:
        """The time, which the timeline goes as far as."""
        self._noted = self._clock()
        return self._noted

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """This run so far, as :data:`TIMELINE` and :data:`REPLICAS`: up to when anything was last noted.

        Calls under way are counted up to then; by the time of the last tables nobody is there any more.
        """
        spans, replicas = deepcopy(self._spans), deepcopy(self._replicas)
        for call, begin in self._under_way.values():
            spans.add(stage_of(call), begin, self._noted)
            replicas[call.replica].add(begin, self._noted)
        others = {name for _, seconds in spans for name in seconds} - {"available", *STAGES}
        stages = (*STAGES, *sorted(others))
        schema = pa.schema([*TIMELINE, *((f"{stage}_seconds", pa.float64()) for stage in sorted(others))])
        of_spans = [
            {
                "run": self._run,
                "time": self._began + timedelta(seconds=begin),
                "seconds": min(spans.seconds, self._noted - spans.begin - begin),
            }
            | {f"{name}_seconds": seconds.get(name, 0.0) for name in ("available", *stages)}
            for begin, seconds in spans
        ]
        of_replicas = [
            {"run": self._run, "replica": name, "seconds": of_replica.end - of_replica.begin} | vars(of_replica)
            for name, of_replica in replicas.items()
        ]
        return pa.Table.from_pylist(of_spans, schema), pa.Table.from_pylist(of_replicas, REPLICAS)


@dataclass
class _OfReplica:
    begin: float
    end: float
    busy_seconds: float = 0.0
    calls: int = 0
    lost: int = 0

    def add(self, begin: float, end: float, *, lost: bool = False) -> None:
        self.end = end
        self.busy_seconds += end - begin
        self.lost += lost


class _Spans:
    """Seconds by name, in spans of time of one length."""

    def __init__(self, begin: float) -> None:
        self.begin, self.seconds = begin, 1.0
        self._spans: dict[int, dict[str, float]] = {}

    def __iter__(self) -> Iterator[tuple[float, dict[str, float]]]:
        """Each span with anything in it: when it begins, from the first one on, and what is in it."""
        return ((index * self.seconds, self._spans[index]) for index in sorted(self._spans))

    def add(self, name: str, begin: float, end: float, weight: float = 1.0) -> None:
        """Add the seconds of an interval to the spans that it lies in."""
        while end - self.begin > N_SPANS * self.seconds:
            self._double()
        first, last = ((at - self.begin) / self.seconds for at in (begin, end))
        for index in range(int(first), min(N_SPANS - 1, int(last)) + 1):
            share = min(last, index + 1) - max(first, index)
            if share > 0:
                span = self._spans.setdefault(index, {})
                span[name] = span.get(name, 0.0) + weight * share * self.seconds

    def _double(self) -> None:
        self.seconds *= 2
        halves, self._spans = self._spans, {}
        for index, half in halves.items():
            span = self._spans.setdefault(index // 2, {})
            for name, seconds in half.items():
                span[name] = span.get(name, 0.0) + seconds
