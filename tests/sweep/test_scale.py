"""A job of many frames on many replicas, simulated: what the driver can keep busy, and that it does not grow."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

SIMULATE = Path(__file__).parents[2] / "scripts" / "simulate.py"


def simulate(frames: int, replicas: int, seconds: float) -> dict[str, float]:
    options = ["--frames", str(frames), "--replicas", str(replicas), "--seconds", str(seconds), "--json"]
    done = subprocess.run([sys.executable, SIMULATE, *options], stdout=subprocess.PIPE, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def slowness() -> float:
    """How many times as long as an ordinary core this one takes for what a driver does; 1 at least."""
    start = time.process_time()
    for _ in range(1000):
        json.loads(json.dumps(list(range(1000))))
    return max(1.0, (time.process_time() - start) / 0.1)


@pytest.mark.slow
def test_replicas_are_kept_busy_and_the_memory_does_not_grow_with_the_frames() -> None:
    # What the driver takes is time of this machine, and what the replicas take is made up.
    run = simulate(frames=1500, replicas=16, seconds=15 * slowness())
    assert run["busy"] > 0.95
    assert run["calls"] < 6 * 1500, "a frame is five calls, but for those that are shared out at the end"
    assert run["mib_last"] - run["mib_first"] < 30


def test_at_the_end_the_last_frames_are_shared_out_over_all_replicas() -> None:
    run = simulate(frames=4, replicas=16, seconds=60)
    one_each = 60 * 521 / 491
    assert run["hours"] * 3600 < 0.6 * one_each
