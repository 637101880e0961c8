"""A replica as an actor of Ray: what runs there, and how it is spoken to from here."""

import socket
from typing import Any

import ray

from workers import replica


class Replica(replica.Replica):
    """A replica as Ray runs it: its processes are called ``ray::Replica``."""

    def where(self) -> tuple[str, str, str]:
        """Its device, with the GPUs that Ray gave it; its node, by name and by id."""
        gpus = "".join(f", GPU {gpu}" for gpu in ray.get_gpu_ids())
        return self.ping() + gpus, socket.gethostname(), ray.get_runtime_context().get_node_id()


class Sender:
    """A replica's methods, sent to an actor: each gives what Ray will answer with."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, method: str) -> Any:
        remote = getattr(self._actor, method)
        return (remote.options(num_returns="streaming") if method in ("fit", "encode") else remote).remote
