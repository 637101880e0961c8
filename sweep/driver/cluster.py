"""The cluster that this process is connected to: its nodes, what is free on them, and whether more can come."""

import json
from collections.abc import Sequence
from typing import Any

import ray
from ray._private import state
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_initialized
from ray.util.client import ray as client_ray

from sweep.config import RayConfig
from sweep.driver.placement import Node, Shape
from workers.errors import ClusterError

_AUTOSCALER_STATUS = "__autoscaling_status"  # the key that `ray status` reads


def cluster_nodes() -> list[Node]:
    """The nodes that are alive."""
    alive = [(node["NodeID"], node["Resources"]) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return [Node(name, has.get("CPU", 0.0), has.get("GPU", 0.0)) for name, has in alive]


def is_client() -> bool:
    """Whether this process is a client of a cluster, by ``ray://``, and not a part of it."""
    return bool(client_ray.is_connected())  # type: ignore[no-untyped-call]


def has_process(actor: Any) -> bool:
    """Whether an actor that has not answered yet has got room and a process, in which it starts.

    It cannot be known by a client of ``ray://``, for whom there is none.
    """
    if is_client():
        return False
    known = state.actors(actor._actor_id.hex())
    return bool(known.get("Pid"))


def describe_room(shape: Shape, nodes: Sequence[Node]) -> str:
    """What each replica needs, what the cluster has of it in all, and what of that is free."""
    free = ray.available_resources()  # type: ignore[no-untyped-call]
    has = {"CPU": sum(node.cpus for node in nodes)}
    if shape.gpus:
        has["GPU"] = sum(node.gpus for node in nodes)
    parts = [f"{total:g} {what}, {free.get(what, 0):g} free" for what, total in has.items()]
    where = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
    return f"each needs {shape}; the cluster has {', and '.join(parts)}, on {where}"


def check_room(config: RayConfig, shape: Shape, nodes: Sequence[Node], *, can_grow: bool) -> None:
    """Check that a replica finds room, on the nodes as they are or on some that may come.

    Args:
        config: what was asked for.
        shape: what each replica needs.
        nodes: those that are there.
        can_grow: whether there may be other nodes later.

    Raises:
        ClusterError: no replica can ever start.
    """
    if can_grow or shape.room(nodes):
        return
    keys = [f"ray.{key}" for key in ("cpus_per_replica", "gpus_per_replica") if getattr(config, key) != "auto"]
    largest = f"{max((node.cpus for node in nodes), default=0):g} CPU"
    if shape.gpus:
        largest += f" or {max((node.gpus for node in nodes), default=0):g} GPU"
    raise ClusterError(
        f"{', '.join(keys) or 'ray.replicas'}: no replica can ever start: {describe_room(shape, nodes)}, at most "
        f"{largest} on one, and no autoscaler adds others; ask for less, or use a larger cluster"
    )


def has_autoscaler(nodes: Sequence[Node]) -> bool:
    """Whether an autoscaler may add nodes to the cluster; ``True`` as long as that is not known.

    Where there is none, Ray reports every node as of a type of its own, named after the node. It does so for the
    first time a few seconds after it was started.
    """
    # Another part of this process may have closed it: then it is not known.
    if not _internal_kv_initialized():  # type: ignore[no-untyped-call]
        return True
    status = json.loads(_internal_kv_get(_AUTOSCALER_STATUS) or b"{}")
    report = status.get("autoscaler_report") or {}
    types = {*(report.get("active_nodes") or ()), *(report.get("idle_nodes") or ())}
    return not types or not types <= {f"node_{node.id}" for node in nodes}
