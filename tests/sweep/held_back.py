"""The command ``qsweep``, whose calls are made no sooner than a test allows.

``python -m tests.sweep.held_back GATES run JOB.yaml``: a call for some work on frame ``f<n>`` waits while the
folder ``GATES`` holds a file of the work's name, such as ``Open``, with ``n`` bytes or fewer. So a job is where a
test needs it to be, however fast or slow the machine is. ``GATES/progress`` is there once a training has reported
progress.
"""

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from sweep import cli, job
from sweep.config import FitConfig
from sweep.driver import Progress, RayPool
from sweep.schedule import Call, CallDone, CallFailed, Event, Open, ReplicaLost
from workers.source import FrameSource

_PAUSE_SECONDS = 0.1


class _Held(NamedTuple):
    call: Call
    source: FrameSource
    fit: FitConfig


class HeldBackPool(RayPool):
    """Replicas whose calls may be held back; meanwhile they read the frame, so that it is seen if they die."""

    gates: Path

    def __init__(self, *arguments: Any) -> None:
        self._held: dict[str, _Held] = {}  # by replica
        self._reading: dict[int, str] = {}  # by the ids of calls that the job knows nothing of: below zero
        self._n_reads = 0
        super().__init__(*arguments)

    def submit(self, call: Call, source: FrameSource, fit: FitConfig) -> None:
        """Make a call, now or when it is allowed."""
        if self._is_held(call):
            self._held[call.replica] = _Held(call, source, fit)
        else:
            super().submit(call, source, fit)

    def wait(self, timeout: float) -> list[Event | Progress]:
        """See :class:`~sweep.driver.RayPool`."""
        for replica, (call, source, fit) in list(self._held.items()):
            if not self._is_held(call):
                super().submit(*self._held.pop(replica))
            elif replica not in self._reading.values():
                self._n_reads += 1
                self._reading[-self._n_reads] = replica
                super().submit(call._replace(id=-self._n_reads, work=Open()), source, fit)
        if self._held:
            time.sleep(_PAUSE_SECONDS)
        return [event for event in super().wait(timeout) if not self._is_own(event)]

    def _is_held(self, call: Call) -> bool:
        try:
            allowed = (self.gates / type(call.work).__name__).stat().st_size
        except FileNotFoundError:
            return False
        return int(call.frame.removeprefix("f")) >= allowed

    def _is_own(self, event: Event | Progress) -> bool:
        """Whether an event is nothing that the job is to be told."""
        if isinstance(event, ReplicaLost):  # the job makes its call anew
            self._held.pop(event.replica, None)
            self._reading = {id_: name for id_, name in self._reading.items() if name != event.replica}
        elif isinstance(event, Progress):
            (self.gates / "progress").touch()
        return isinstance(event, CallDone | CallFailed) and self._reading.pop(event.call, None) is not None


if __name__ == "__main__":
    HeldBackPool.gates = Path(sys.argv.pop(1))
    job.RayPool = HeldBackPool  # type: ignore[misc]
    cli.main()
