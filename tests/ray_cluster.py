"""Rays for tests: one for all tests that need no more, since starting it takes seconds, and clusters to break."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from sweep.config import RayConfig
from sweep.driver import connect

_QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 200,
    "health_check_failure_threshold": 3,
}


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A Ray with two CPUs, to which every job of the session connects."""
    with connect(RayConfig(replicas=2)):
        yield


class Nodes:
    """A cluster of several nodes on this machine, whose head does no work; this process is no part of it.

    Args:
        n_workers: nodes that do.
        resources: of each of these, as Ray names them.
    """

    def __init__(self, n_workers: int, **resources: Any) -> None:
        self._resources = {"num_cpus": 1, "object_store_memory": 100 << 20} | resources
        head = {
            "num_cpus": 0,
            "object_store_memory": 100 << 20,
            "include_dashboard": False,
            "_system_config": _QUICK_TO_NOTICE,
        }
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.workers: list[Any] = []
        for _ in range(n_workers):
            self.add()

    @property
    def address(self) -> str:
        """To connect to."""
        return str(self._cluster.address)

    def add(self) -> None:
        """One more node."""
        self.workers.append(self._cluster.add_node(**self._resources))

    def remove(self, index: int) -> None:
        """A node vanishes, as when a spot machine is taken away."""
        self._cluster.remove_node(self.workers.pop(index), allow_graceful=False)

    def replicas(self) -> list[int]:
        """Ids of the processes of replicas on these nodes."""
        raylets = {_raylet(node) for node in self.workers}
        return [pid for pid, name, parent in _processes() if name.startswith("ray::Replica") and parent in raylets]

    def signal_replica(self, index: int, number: signal.Signals) -> bool:
        """Send a signal to a replica; whether there was one."""
        pids = self.replicas()
        if not pids:
            return False
        try:
            os.kill(pids[index % len(pids)], number)
        except ProcessLookupError:
            return False
        return True

    def shutdown(self) -> None:
        """End all nodes."""
        for pid in self.replicas():
            os.kill(pid, signal.SIGCONT)
        self._cluster.shutdown()


def _raylet(node: Any) -> int:
    (raylet,) = node.all_processes["raylet"]
    return int(raylet.process.pid)


def _processes() -> Iterator[tuple[int, str, int]]:
    """Id, command and parent's id of every process."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text().strip("\0 ")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # it has ended meanwhile
            continue
        yield int(folder.name), command, parent
