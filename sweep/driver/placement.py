"""What replicas need, and how many of them find room on the nodes of a cluster."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sweep.config import RayConfig


class Node(NamedTuple):
    """What a node of the cluster has, all in all."""

    id: str
    cpus: float
    gpus: float


class Shape(NamedTuple):
    """What a replica needs.

    Attributes:
        cpus: cores, and as many threads.
        gpus: of one node; a fraction to share one.
    """

    cpus: int
    gpus: float

    @classmethod
    def of(cls, config: RayConfig, nodes: Sequence[Node]) -> "Shape":
        """What a configuration asks for, on these nodes."""
        if isinstance(config.gpus_per_replica, float):
            gpus = config.gpus_per_replica
        else:
            gpus = 1.0 if any(node.gpus for node in nodes) else 0.0
        if isinstance(config.cpus_per_replica, int):
            cpus = config.cpus_per_replica
        elif gpus or not isinstance(config.replicas, int):
            cpus = 1
        else:
            share = int(sum(node.cpus for node in nodes)) // config.replicas
            cpus = max(1, min(share, int(max((node.cpus for node in nodes), default=1))))
        return cls(cpus, gpus)

    def room(self, nodes: Iterable[Node]) -> int:
        """How many replicas find room on some nodes."""
        return sum(self._on(node) for node in nodes)

    def _on(self, node: Node) -> int:
        by_cpus = int(node.cpus // self.cpus)
        if not self.gpus:
            return by_cpus
        # A fraction is of one GPU: what is left over of each is no use.
        by_gpus = int(node.gpus) * int(1 / self.gpus) if self.gpus < 1 else int(node.gpus // self.gpus)
        return min(by_cpus, by_gpus)

    def __str__(self) -> str:
        return f"{self.cpus} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")
