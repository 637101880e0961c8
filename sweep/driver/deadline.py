"""How long a replica may give no sign of life before it is taken to hang."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple, TypeVar

from sweep.schedule import STREAMING, Call, Measure, Open, Refine, ReplicaId
from workers.candidates import Measurement

_Value = TypeVar("_Value")

_FACTOR = 10.0
"""Of the longest that such calls have taken; and of the patience, while none has been answered yet."""

_FIRST_UNITS = 1e8
"""Pixels times pairs for which the patience of a first call is meant; a call over more of them has more of it.

Ten times 60 s for so many are 6 µs for each, ten times what the forward pass of the largest published architecture
takes on a core of an ordinary processor."""

_GROWTH = 4.0
"""A call that is repeated because its replica was taken to hang may take so many times as long."""

_LONGEST_START_SECONDS = 600.0
"""For the start of a replica, where ten times the patience is less."""

_MOST_KEPT = 1 << 15
"""Paces that are remembered: of a thousand machines, for thirty kinds and sizes. Others are measured again."""

_MOST_PASSED_SECONDS = 10.0
"""Between two readings of the clock; a driver that is neither stopped nor blocked reads it every second."""


class WatchedTime:
    """Seconds in which somebody looked: a clock that stops while the driver itself is stopped, or blocked.

    Answers that arrived meanwhile have not been taken in, so that this time says nothing about the replicas. The
    clock is to be read every few seconds; of a longer time between two readings, ten seconds count.

    Args:
        clock: the time that passes, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._last = clock()
        self._seconds = 0.0

    def __call__(self) -> float:
        """Seconds until now."""
        now = self._clock()
        self._seconds += min(now - self._last, _MOST_PASSED_SECONDS)
        self._last = now
        return self._seconds


class _Pace(NamedTuple):
    """The longest time of calls that can be compared, in seconds: of a whole call, and of one unit of its work."""

    call: float = 0.0
    unit: float = 0.0


class Deadlines:
    """Learns from the calls that are answered how long such calls may take.

    A call is compared with calls of the same kind of work, over frames of the same number of pixels, on the same
    device. Where there was none, it may take ten times the patience, and more if it covers many pixels and pairs. A
    training is judged by its signs of life: by the time from one to the next.

    Args:
        patience: seconds that any call may take.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._paces: OrderedDict[Hashable, _Pace] = OrderedDict()
        self._killed: OrderedDict[Hashable, int] = OrderedDict()  # tries of some work whose replicas seemed to hang
        self._devices: dict[ReplicaId, Hashable] = {}
        self._loaded: dict[ReplicaId, str] = {}  # the frame of which a replica gave its last sign of life

    def start_seconds(self, n_hung: int) -> float:
        """How long the process of a replica may take to start.

        As long as a first call; longer after starts that took too long, since a machine that is busy is slow for
        all of them, and what is imported does not depend on the patience.

        Args:
            n_hung: starts in a row that were taken to hang.
        """
        first = _FACTOR * self._patience
        return max(first, min(first * _GROWTH**n_hung, _LONGEST_START_SECONDS))

    def joined(self, replica: ReplicaId, device: Hashable) -> None:
        """Note what a replica computes on; replicas of the same device are compared with each other."""
        self._devices[replica] = device

    def left(self, replica: ReplicaId) -> None:
        """Forget a replica; its device is remembered."""
        self._devices.pop(replica, None)
        self._loaded.pop(replica, None)

    def answered(self, call: Call, seconds: float, answer: object = None) -> None:
        """Note a sign of life.

        Args:
            call: what the replica is, or was, at.
            seconds: since the call was made, or since the sign of life before this one.
            answer: of the call, if this is its end.
        """
        units, key = _units_done(call, answer), self._key(call)
        if units and key is not None:
            before = self._paces.get(key, _Pace())
            _put(self._paces, key, _Pace(max(before.call, seconds), max(before.unit, seconds / units)))
        self._loaded[call.replica] = call.frame

    def hung(self, call: Call) -> None:
        """Note that a replica was given up over a call: where the same work is tried again, it may take longer."""
        work = _work(call)
        _put(self._killed, work, self._killed.get(work, 0) + 1)

    def seconds(self, call: Call, loading: float = 0.0) -> float:
        """How long a call may take until its answer, or its next sign of life.

        Args:
            call: what the replica is at.
            loading: seconds that reading the frame from its store may take beside the work, where it is read.
        """
        key = self._key(call)
        pace = None if key is None else self._paces.get(key)
        if pace is None or call.replica not in self._loaded:  # a process' first call prepares its device as well
            seconds = _FACTOR * self._patience * max(1.0, call.pixels * _pairs(call) / _FIRST_UNITS)
        else:
            # More pairs take at most as many times as long; fewer perhaps as long, for the work that they share.
            seconds = max(self._patience, _FACTOR * max(pace.call, pace.unit * _pairs(call)))
        growth = _GROWTH ** self._killed.get(_work(call), 0)
        return growth * seconds + (loading if self._loads(call) else 0.0)

    def _loads(self, call: Call) -> bool:
        """Whether the frame may have to be read first: it is not the one that the replica was last at."""
        return isinstance(call.work, Open) or self._loaded.get(call.replica) != call.frame

    def _key(self, call: Call) -> Hashable | None:
        """What calls have in common that can be compared; ``None`` for one that cannot."""
        size: Hashable = call.pixels
        if not size:  # not known yet: a training can be compared with itself alone, and other calls with none
            if not isinstance(call.work, STREAMING):
                return None
            size = "call", call.id
        return self._devices.get(call.replica, call.replica), _kind(call), self._loads(call), size


def _kind(call: Call) -> Hashable:
    work = call.work
    if isinstance(work, Measure):
        return work.request.candidates[0].network, work.request.plain
    if isinstance(work, Refine):
        return "Refine", type(work.piece).__name__
    return type(work).__name__


def _work(call: Call) -> Hashable:
    return call.frame, _kind(call)


def _pairs(call: Call) -> int:
    return len(call.work.request.candidates) if isinstance(call.work, Measure) else 1


def _units_done(call: Call, answer: object) -> int:
    """Units of work that a sign of life stands for; 0 if it says nothing about the pace.

    Pairs that overflow take no time, and those that are pruned less than others, so neither is counted.
    """
    if isinstance(call.work, STREAMING) or not isinstance(answer, list):
        return _pairs(call)
    return sum(isinstance(row, Measurement) and row.status in ("ok", "non_finite") for row in answer)


def _put(kept: OrderedDict[Hashable, _Value], key: Hashable, value: _Value) -> None:
    """Keep a value as the latest one, and forget the oldest where there are too many."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _MOST_KEPT:
        kept.popitem(last=False)
