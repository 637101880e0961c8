"""How many replicas there are, and where; the GPUs of these tests are Ray's alone, no device is behind them."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from sweep.config import RayConfig
from sweep.driver import cluster
from sweep.driver.placement import Node, Shape
from tests.ray_cluster import Nodes
from tests.sweep.test_faults import Job
from workers.errors import ClusterError

CPUS = [Node("a", 4, 0), Node("b", 2, 0), Node("head", 0, 0)]
GPUS = [Node("a", 8, 2), Node("b", 8, 1), Node("c", 64, 0)]


# --- by numbers


@pytest.mark.parametrize(
    ("config", "nodes", "shape", "room"),
    [
        ({}, CPUS, Shape(1, 0), 6),
        ({"replicas": 2}, CPUS, Shape(3, 0), 1),
        ({"replicas": 1}, CPUS, Shape(4, 0), 1),
        ({"replicas": 100}, CPUS, Shape(1, 0), 6),
        ({"cpus_per_replica": 2}, CPUS, Shape(2, 0), 3),
        ({"replicas": 2}, [], Shape(1, 0), 0),
        ({}, GPUS, Shape(1, 1.0), 3),
        ({"replicas": 8}, GPUS, Shape(1, 1.0), 3),
        ({"gpus_per_replica": 0.5}, GPUS, Shape(1, 0.5), 6),
        ({"gpus_per_replica": 0.4}, GPUS, Shape(1, 0.4), 6),
        ({"gpus_per_replica": 2.0}, GPUS, Shape(1, 2.0), 1),
        ({"gpus_per_replica": 0.0}, GPUS, Shape(1, 0.0), 80),
        ({"gpus_per_replica": 0.1, "cpus_per_replica": 4}, GPUS, Shape(4, 0.1), 4),
        ({"gpus_per_replica": 1.0}, CPUS, Shape(1, 1.0), 0),
    ],
)
def test_what_a_replica_needs_and_how_many_find_room(
    config: dict[str, float], nodes: list[Node], shape: Shape, room: int
) -> None:
    found = Shape.of(RayConfig(**config), nodes)  # type: ignore[arg-type]
    assert found == shape
    assert found.room(nodes) == room


def status_of(*types: str) -> bytes:
    return json.dumps({"autoscaler_report": {"active_nodes": dict.fromkeys(types, 1)}}).encode()


@pytest.mark.parametrize(
    ("status", "grows"),
    [
        (None, True),  # not known yet
        (b'{"load_metrics_report": {}}', True),
        (status_of("node_a", "node_b", "node_head"), False),
        (status_of("node_a"), False),
        (status_of("head", "gpu-spot"), True),
        (status_of("node_a", "node_gone"), True),
    ],
)
def test_whether_an_autoscaler_may_add_nodes(
    monkeypatch: pytest.MonkeyPatch, status: bytes | None, grows: bool
) -> None:
    monkeypatch.setattr(cluster, "_internal_kv_initialized", lambda: True)  # whatever ran before
    monkeypatch.setattr(cluster, "_internal_kv_get", lambda _: status)
    assert cluster.has_autoscaler(CPUS) == grows
    monkeypatch.setattr(cluster, "_internal_kv_initialized", lambda: False)
    assert cluster.has_autoscaler(CPUS), "not known any more"


def test_a_shape_too_large_for_every_node_is_an_error_unless_other_nodes_may_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 1.0})
    config = RayConfig(cpus_per_replica=5)
    shape = Shape.of(config, CPUS)
    cluster.check_room(config, shape, CPUS, can_grow=True)
    with pytest.raises(ClusterError, match=r"each needs 5 CPU; the cluster has 6 CPU, 1 free, on 3 nodes, "):
        cluster.check_room(config, shape, CPUS, can_grow=False)


def test_what_is_taken_is_said_of_replicas_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "available_resources", dict)
    said = cluster.describe_room(Shape(2, 0), [Node("a", 2, 0)])
    assert said == "each needs 2 CPU; the cluster has 2 CPU, 0 free, on 1 node"


# --- on a cluster with a node of two GPUs


@pytest.fixture(scope="module")
def gpus() -> Iterator[Nodes]:
    nodes = Nodes(1, num_cpus=8, num_gpus=2)
    yield nodes
    nodes.shutdown()


def places(job: Job) -> Counter[str]:
    """How many replicas were on each GPU."""
    return Counter(re.findall(r"is ready on \S+ \(cpu, GPU (\d)\)", job.log.read_text()))


def start_and_wait_for(job: Job, n_replicas: int) -> None:
    """Run a job whose frames are not begun before so many replicas are ready."""
    job.allow(0)
    job.start()
    job.wait_until(lambda: places(job).total() >= n_replicas)
    job.allow_all()


@pytest.mark.ray
@pytest.mark.parametrize(
    ("config", "expected"),
    [({"replicas": "auto"}, {"0": 1, "1": 1}), ({"replicas": "auto", "gpus_per_replica": 0.5}, {"0": 2, "1": 2})],
)
def test_every_gpu_has_its_replicas(
    tmp_path: Path, gpus: Nodes, config: dict[str, object], expected: dict[str, int]
) -> None:
    job = Job(tmp_path, gpus, 4, **config)
    start_and_wait_for(job, sum(expected.values()))
    assert job.wait() == 0
    assert places(job) == expected


@pytest.mark.ray
def test_replicas_beyond_the_gpus_wait_and_the_others_do_the_work(tmp_path: Path, gpus: Nodes) -> None:
    job = Job(tmp_path, gpus, 4, replicas=3)
    start_and_wait_for(job, 2)
    assert job.wait() == 0
    assert places(job) == {"0": 1, "1": 1}


@pytest.mark.ray
def test_replicas_that_can_never_find_room_end_the_job_with_status_2(tmp_path: Path, gpus: Nodes) -> None:
    job = Job(tmp_path, gpus, 1, replicas=2, gpus_per_replica=4)
    assert job.run() == 2
    assert (
        "qsweep: ray.gpus_per_replica: no replica can ever start: each needs 1 CPU and 4 GPU; the cluster has 8 "
        "CPU, 8 free, and 2 GPU, 2 free, on 2 nodes, at most 8 CPU or 2 GPU on one, and no autoscaler adds others"
    ) in job.log.read_text()


@pytest.mark.slow
@pytest.mark.ray
def test_where_replicas_were_retired_no_more_are_started_while_there_is_room_elsewhere() -> None:
    nodes = Nodes(3)
    try:
        done = subprocess.run(
            [sys.executable, "-c", RETIRE, nodes.address], stdout=subprocess.PIPE, check=True, text=True
        )
    finally:
        nodes.shutdown()
    bad, *others = done.stdout.split()[-4:]
    assert len({bad, *others}) == 3, "one was on the bad node, and its successors are on the two others"


RETIRE = """
import sys
from sweep.driver import RayPool, connect
from sweep.config import RayConfig

config = RayConfig(address=sys.argv[1], replicas=1)
with connect(config):
    pool = RayPool(config)

    def node_of_the_next():
        while not pool._nodes:
            pool.wait(1.0)
        return list(pool._nodes.items())[0]

    name, bad = node_of_the_next()
    nodes = [bad]
    pool._retired[bad] = 1  # not the first one there
    for _ in range(3):
        pool.retire(name, "a test")
        name, node = node_of_the_next()
        nodes.append(node)
        pool._retired[node] += 1
    print(*nodes)
    pool.close()
"""
