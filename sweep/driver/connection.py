"""The Ray that a job runs on: one that is there, or one of its own."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

# Ray reads these when it is imported: nothing is reported to anyone, and an embedded cluster is reachable from
# this machine alone.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray

from sweep.config import RayConfig
from workers.errors import ClusterError
from workers.reasons import reason_of

_OBJECT_STORE_BYTES = 256 << 20  # of an embedded Ray; its default is 30 % of the machine's memory
_KNOCK_SECONDS = 10.0  # for a cluster to answer at all


@contextmanager
def connect(config: RayConfig) -> Iterator[None]:
    """Ray, as the configuration asks for it, until the context is left.

    Raises:
        ClusterError: the cluster cannot be reached, or an embedded one cannot be started.
    """
    address = config.address or os.environ.get("RAY_ADDRESS")
    already = ray.is_initialized()
    if not already:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            with _sigterm_kept():
                if address and address != "local":
                    _knock(address)
                    ray.init(address=address, **quiet)
                else:
                    # Left alone, Ray may make a token, and write it to a file that every later cluster must know.
                    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
                    ray.init(
                        address="local",
                        num_cpus=_embedded_cpus(config.replicas),
                        include_dashboard=False,
                        object_store_memory=_OBJECT_STORE_BYTES,
                        **quiet,
                    )
        except Exception as error:  # Ray raises several unrelated types
            where = address or "an embedded Ray"
            raise ClusterError(f"ray.address: {where} cannot be used: {reason_of(error)}") from None
    try:
        yield
    finally:
        if not already:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise ``OSError`` if nobody listens at ``host:port``: Ray itself tries that for a quarter of an hour."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; a handler that was there before goes on to be the one that is called."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as exit_:
        if exit_.code == signal.SIGTERM and callable(before):  # Ray's handler, while Ray was starting
            before(signal.SIGTERM, None)
        raise
    finally:
        now = signal.getsignal(signal.SIGTERM)
        if callable(before) and callable(now) and now is not before:
            signal.signal(signal.SIGTERM, before)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _embedded_cpus(replicas: int | Literal["auto"]) -> int:
    return _cpus() if replicas == "auto" else max(_cpus(), replicas)
