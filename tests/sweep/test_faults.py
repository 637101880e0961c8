"""A job on three nodes while everything that can break does: no row is missing, double or different."""

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from sweep import read_rd_table
from tests.cases import CASES
from tests.ray_cluster import Nodes

pytestmark = pytest.mark.ray

QSWEEP = Path(sys.executable).with_name("qsweep")
FOLDER = CASES / "astronaut_64x96_lop"
N_PAIRS = 491
N_FRAMES = 12
PATIENCE = 3.0


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    nodes = Nodes(3)
    yield nodes
    nodes.shutdown()


class Job:
    """A job in a folder, run by a driver that is a process of its own."""

    def __init__(
        self, folder: Path, nodes: Nodes, n_frames: int = N_FRAMES, *, bitstream: bool = False, **ray: Any
    ) -> None:
        self.out = folder / "out"
        self.log = folder / "log"
        frames = folder / "frames"
        frames.mkdir(parents=True)
        for n in range(n_frames):
            shutil.copy(FOLDER / "frame.png", frames / f"f{n:03}.png")
        content = {
            "frames": [{"frame": "frames/*.png", "encoder": str(FOLDER / "encoder.safetensors")}],
            "out": "out",
            "bitstream": bitstream,
            "ray": {"address": nodes.address, "replicas": 3, "patience": PATIENCE, "tries": 1000} | ray,
        }
        self.config = folder / "job.yaml"
        self.config.write_text(yaml.safe_dump(content))
        self.driver: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            # A session of its own: what ends it ends all it has started.
            self.driver = subprocess.Popen(
                [QSWEEP, "run", self.config], stdout=log, stderr=log, start_new_session=True
            )
        return self.driver

    def wait(self, seconds: float = 120.0) -> int:
        assert self.driver is not None
        try:
            return self.driver.wait(seconds)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            raise AssertionError(f"not done in {seconds} s: {self.log.read_text()}") from None

    def run(self) -> int:
        self.start()
        return self.wait()

    def n_done(self) -> int:
        return len(list(self.out.glob("rd_table/*/part-0.parquet")))

    def wait_until_done(self, n_frames: int, seconds: float = 60.0) -> None:
        """Wait until so many frames are done, or all that there are."""
        end = time.monotonic() + seconds
        while self.n_done() < n_frames:
            assert self.driver is not None
            if self.driver.poll() is not None:
                return
            assert time.monotonic() < end, f"{self.n_done()} of {n_frames} frames: {self.log.read_text()}"
            time.sleep(0.02)

    def facts(self) -> dict[str, pd.DataFrame]:
        """Everything in the tables but who did it, and how long it took."""
        rows = read_rd_table(self.out).drop(columns=["replica", "seconds"])
        frames = pd.read_parquet(self.out / "frames.parquet").drop(columns=["path", "encoder", "seconds"])
        return {"rows": rows, "frames": frames, "choices": pd.read_parquet(self.out / "choices.parquet")}


@pytest.fixture(scope="module")
def undisturbed(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    job = Job(tmp_path_factory.mktemp("undisturbed"), nodes)
    assert job.run() == 0, job.log.read_text()
    facts = job.facts()
    assert len(facts["rows"]) == N_FRAMES * N_PAIRS
    return facts


def check(job: Job, expected: dict[str, pd.DataFrame]) -> None:
    for name, table in job.facts().items():
        pd.testing.assert_frame_equal(table, expected[name], obj=name)


# --- one kind of fault at a time


def test_replicas_that_are_killed(tmp_path: Path, nodes: Nodes, undisturbed: dict[str, pd.DataFrame]) -> None:
    job = Job(tmp_path, nodes)
    job.start()
    for n_done in (0, 2, 5):
        job.wait_until_done(n_done)
        while not nodes.signal_replica(n_done, signal.SIGKILL):
            time.sleep(0.05)
    assert job.wait() == 0, job.log.read_text()
    check(job, undisturbed)


def test_a_driver_and_a_replica_that_are_killed_while_bitstreams_are_made(tmp_path: Path, nodes: Nodes) -> None:
    calm = Job(tmp_path / "calm", nodes, 4, bitstream=True)
    assert calm.run() == 0, calm.log.read_text()
    job = Job(tmp_path / "job", nodes, 4, bitstream=True)
    for fault in ("replica", "driver", "driver"):
        driver = job.start()
        end = time.monotonic() + 60
        while not list(job.out.glob("rd_table/*/swept-0.parquet")) and driver.poll() is None:
            assert time.monotonic() < end, job.log.read_text()
            time.sleep(0.01)
        if fault == "replica":
            nodes.signal_replica(0, signal.SIGKILL)
            time.sleep(0.5)
        driver.kill()
        driver.wait()
    assert job.run() == 0, job.log.read_text()
    check(job, calm.facts())
    files = [{file.name: file.read_bytes() for file in (each.out / "bitstreams").iterdir()} for each in (calm, job)]
    assert files[0] == files[1]
    assert len(files[0]) == 4
    assert not list(job.out.glob("rd_table/*/swept-0.parquet"))


def test_a_replica_that_hangs(tmp_path: Path, nodes: Nodes, undisturbed: dict[str, pd.DataFrame]) -> None:
    job = Job(tmp_path, nodes)
    job.start()
    job.wait_until_done(1)
    assert nodes.signal_replica(0, signal.SIGSTOP)
    assert job.wait() == 0, job.log.read_text()
    check(job, undisturbed)


def test_a_node_that_vanishes_and_another_that_joins(
    tmp_path: Path, nodes: Nodes, undisturbed: dict[str, pd.DataFrame]
) -> None:
    job = Job(tmp_path, nodes, replicas="auto")
    job.start()
    job.wait_until_done(1)
    nodes.remove(0)
    job.wait_until_done(4)
    nodes.add()
    assert job.wait() == 0, job.log.read_text()
    check(job, undisturbed)


def test_replicas_are_added_when_nodes_join(tmp_path: Path) -> None:
    few = Nodes(1)
    try:
        job = Job(tmp_path, few, 120, replicas="auto")
        job.start()
        job.wait_until_done(2)
        few.add()
        assert job.wait() == 0, job.log.read_text()
    finally:
        few.shutdown()
    rows = read_rd_table(job.out)
    assert set(rows.replica) == {"r0", "r1"}
    assert len(rows) == 120 * N_PAIRS


def test_a_driver_that_is_killed_at_many_moments(
    tmp_path: Path, nodes: Nodes, undisturbed: dict[str, pd.DataFrame]
) -> None:
    job = Job(tmp_path, nodes)
    for n_done in (0, 1, 3, 4, 7, N_FRAMES):
        driver = job.start()
        job.wait_until_done(n_done)
        driver.kill()
        job.wait()
    assert job.run() == 0, job.log.read_text()
    check(job, undisturbed)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_driver_that_is_asked_to_stop_does_so_within_rays_grace_period(
    tmp_path: Path, nodes: Nodes, undisturbed: dict[str, pd.DataFrame], number: signal.Signals, status: int
) -> None:
    job = Job(tmp_path, nodes)
    driver = job.start()
    job.wait_until_done(2)
    start = time.monotonic()
    driver.send_signal(number)
    assert job.wait() == status, job.log.read_text()
    assert time.monotonic() - start < 3.0
    n_done = job.n_done()
    assert len(pd.read_parquet(job.out / "frames.parquet")) == n_done
    assert not (job.out / ".claim").exists()
    assert "the same command goes on from here" in job.log.read_text()
    assert "Traceback" not in job.log.read_text()
    assert job.run() == 0, job.log.read_text()
    check(job, undisturbed)


# --- all at once


@pytest.mark.slow
def test_fifty_faults_at_random(tmp_path: Path, nodes: Nodes) -> None:
    n_frames, n_faults = 240, 50
    calm = Job(tmp_path / "calm", nodes, n_frames)
    assert calm.run() == 0, calm.log.read_text()
    job = Job(tmp_path / "broken", nodes, n_frames)
    chance = random.Random(0)
    driver = job.start()
    done: list[str] = []

    def signal_some(number: signal.Signals) -> bool:
        return nodes.signal_replica(chance.randrange(3), number)

    def replace_node() -> bool:
        nodes.remove(chance.randrange(len(nodes.workers)))
        nodes.add()
        return True

    def restart(number: signal.Signals) -> bool:
        nonlocal driver
        driver.send_signal(number)
        job.wait()
        driver = job.start()
        return True

    faults: dict[str, Callable[[], bool]] = {
        "kill a replica": lambda: signal_some(signal.SIGKILL),
        "make a replica hang": lambda: signal_some(signal.SIGSTOP),
        "replace a node": replace_node,
        "kill the driver": lambda: restart(signal.SIGKILL),
        "stop the driver": lambda: restart(signal.SIGTERM),
    }
    weights = [24, 8, 8, 6, 4]
    while len(done) < n_faults:
        time.sleep(chance.uniform(0.1, 3.0))
        assert driver.poll() is None, f"over after {len(done)} faults: {job.log.read_text()[-3000:]}"
        (name,) = chance.choices(list(faults), weights)
        if faults[name]():
            done.append(name)
    assert job.wait(600) == 0, job.log.read_text()[-3000:]
    assert set(done) == set(faults), "every kind of fault"
    check(job, calm.facts())
