"""Simulates a job of a great many frames: a real driver, with real results, and replicas that only wait.

A replica's answer is a stand-in that comes after a known time, on a clock of its own. The driver's time on that
clock is what it really takes, every thread of it, and a constant for what Ray takes of a call. So one process shows
what a driver can keep busy, what a call costs it, and how its memory grows.
"""

import argparse
import heapq
import json
import logging
import pickle
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import yaml
from rich.console import Console
from rich.table import Table

from sweep.config import FitConfig, load_job, pairs_of
from sweep.driver import Lines, Progress
from sweep.job import run_on
from sweep.results import Results
from sweep.schedule import Call, CallDone, Event, Measure, Open, Quantize, ReplicaReady
from workers.answers import QuantizedAnswer
from workers.candidates import Counts, Measured, Measurement
from workers.codec import ARCHITECTURES, FrameEncoderParameter
from workers.source import FrameInfo, FrameSource

RAY_SECONDS = 0.5e-3
"""What Ray takes of the driver's time for a call and its answer; one driver makes about two thousand a second."""

HEIGHT, WIDTH = 512, 768
_LOP = ARCHITECTURES["lop"]
NETWORKS = FrameEncoderParameter(
    (HEIGHT, WIDTH), _LOP.layers_synthesis, _LOP.dim_arm, _LOP.n_hidden_layers_arm
).networks
GRID = pairs_of(NETWORKS, {})

_Shared = TypeVar("_Shared")


class SimulatedPool:
    """Replicas that wait, on a clock of their own.

    Args:
        n_replicas: how many.
        frame_seconds: time of one replica that all pairs of a frame take together.

    Attributes:
        now: seconds on the clock.
        busy: seconds that replicas were at work, all together.
        driver: seconds that the driver took.
        n_calls: calls that were answered.
    """

    def __init__(self, n_replicas: int, frame_seconds: float) -> None:
        self.n_replicas = n_replicas
        self.now = self.busy = self.driver = 0.0
        self.n_calls = 0
        self._pair_seconds = frame_seconds / sum(map(len, GRID.values()))
        self._under_way: list[tuple[float, int, float, object]] = []  # when, call, seconds, answer
        self._starting = [f"r{n}" for n in range(n_replicas)]
        self._chance = random.Random(0)
        self._before = time.process_time()

    def submit(self, call: Call, source: FrameSource, fit: FitConfig) -> None:  # noqa: ARG002
        """Begin a call."""
        answer: object
        if isinstance(call.work, Measure):
            n_pairs, answer = len(call.work.request.candidates), _rows(call.work)
        elif isinstance(call.work, Open):
            n_pairs, answer = 25, FrameInfo(512, 512, 1e-3, "rgb", 8)
        else:
            assert isinstance(call.work, Quantize)
            n_pairs, answer = 5, QuantizedAnswer(b"quantized", (1000.0, 200.0))
        seconds = n_pairs * self._pair_seconds * self._chance.uniform(0.7, 1.3)
        heapq.heappush(self._under_way, (self.now + seconds, call.id, seconds, answer))

    def wait(self, timeout: float) -> list[Event | Progress]:  # noqa: ARG002
        """Whatever was answered while the driver was at work, or else what comes next."""
        used = time.process_time() - self._before
        self.now += used
        self.driver += used
        events: list[Event | Progress] = [ReplicaReady(name) for name in self._starting]
        self._starting.clear()
        if not events:
            self.now = max(self.now, self._under_way[0][0])
        while self._under_way and self._under_way[0][0] <= self.now:
            _, call, seconds, answer = heapq.heappop(self._under_way)
            self.busy += seconds
            self.n_calls += 1
            self.now += RAY_SECONDS
            self.driver += RAY_SECONDS
            if isinstance(answer, Pickled):
                answer = answer.load()
            events.append(CallDone(call, answer, seconds))
        self._before = time.process_time()
        return events

    def share(self, content: _Shared) -> Callable[[], _Shared]:
        """Nobody reads it."""
        raise AssertionError(content)

    def retire(self, replica: str, reason: str) -> None:
        """Nothing fails here."""
        raise AssertionError((replica, reason))


class Pickled:
    """Rows as they come from another process."""

    _all: dict[tuple[str, int, int], "Pickled"] = {}  # noqa: RUF012

    def __init__(self, rows: list[Measurement]) -> None:
        self._bytes = pickle.dumps(rows)

    def load(self) -> object:
        """The rows; this is the driver's work too."""
        return pickle.loads(self._bytes)


def _rows(work: Measure) -> Pickled:
    """Rows whose losses are all different, the same ones for all frames."""
    candidates = work.request.candidates
    network, n_pairs = candidates[0].network, len(candidates)
    first = GRID[network].index(candidates[0].edit)
    key = (network, first, n_pairs)
    if key not in Pickled._all:
        Pickled._all[key] = Pickled(
            [
                Measurement(
                    candidate,
                    "ok",
                    Measured(Counts(1, 2), 10, 20, 30, 40.0, 1e-3, 1.0 + 0.01 * (first + i), 1e-3),
                    seconds=0.01,
                )
                for i, candidate in enumerate(candidates)
            ]
        )
    return Pickled._all[key]


class Samples(Lines):
    """Notes the memory in use as frames end."""

    def __init__(self, tally: Any, every: int) -> None:
        super().__init__(tally)
        self._every = every
        self.mib: list[float] = []

    def waited(self) -> None:
        """Nothing is shown."""

    def ended(self, frame: Any) -> None:
        """See :class:`~sweep.driver.Observer`."""
        self.tally.ended(frame)
        if self.tally.done % self._every == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.mib.append(pages * resource.getpagesize() / 2**20)


def simulate(n_frames: int, n_replicas: int, frame_seconds: float) -> dict[str, float]:
    """One job; what it came to."""
    logging.getLogger("sweep").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        names = "".join(f"/data/frame{n:06}.png,/data/frame{n:06}.safetensors\n" for n in range(n_frames))
        (Path(folder) / "frames.csv").write_text("frame,encoder\n" + names)
        config = Path(folder) / "job.yaml"
        config.write_text(yaml.safe_dump({"frames": ["frames.csv"], "out": "out"}))
        job = load_job(config)
        results = Results(job)
        pool = SimulatedPool(n_replicas, frame_seconds)
        shown: list[Samples] = []

        def show(tally: Any) -> Any:
            shown.append(Samples(tally, max(1, n_frames // 20)))
            return nullcontext(shown[0])

        run_on(pool, job, results, show)
        results.write_summary()
        assert len(results.frames()) == n_frames
    mib = shown[0].mib
    return {
        "frames": n_frames,
        "replicas": n_replicas,
        "frame_seconds": frame_seconds,
        "hours": pool.now / 3600,
        "busy": pool.busy / (n_replicas * pool.now),
        "driver": pool.driver / pool.now,
        "calls": pool.n_calls,
        "call_ms": 1e3 * pool.driver / pool.n_calls,
        "mib_first": mib[0],
        "mib_last": mib[-1],
    }


def main() -> None:
    """Run simulations, each in a process of its own, and print a table of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100_000, help="of each job (default: %(default)s)")
    parser.add_argument("--replicas", type=int, nargs="+", default=[8, 64, 512], help="(default: 8 64 512)")
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[15.0], help="of one replica for a frame (default: 15)"
    )
    parser.add_argument("--json", action="store_true", help="one simulation, as JSON")
    arguments = parser.parse_args()
    if arguments.json:
        print(json.dumps(simulate(arguments.frames, arguments.replicas[0], arguments.seconds[0])))  # noqa: T201
        return
    table = Table("replicas", "s a frame", "replicas busy", "driver busy", "calls", "ms a call", "MiB", box=None)
    for seconds in arguments.seconds:
        for replicas in arguments.replicas:
            options = ["--frames", str(arguments.frames), "--replicas", str(replicas), "--seconds", str(seconds)]
            command = [sys.executable, __file__, *options, "--json"]
            run = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
            table.add_row(
                str(replicas),
                f"{seconds:g}",
                f"{run['busy']:.1%}",
                f"{run['driver']:.1%}",
                str(run["calls"]),
                f"{run['call_ms']:.2f}",
                f"{run['mib_first']:.0f} → {run['mib_last']:.0f}",
            )
    console = Console(width=110)
    console.print(f"{arguments.frames} frames; memory after the first twentieth of them → at the end")
    console.print(table)


if __name__ == "__main__":
    main()
