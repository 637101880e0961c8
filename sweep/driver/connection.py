"""The Ray that a job runs on: one that is there, or one of its own."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

# Ray reads these when it is imported: nothing is reported to anyone, and an embedded cluster is reachable from
# this machine alone.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray
from ray._private import ray_constants

from sweep.config import RayConfig
from sweep.driver.cluster import check_room, cluster_nodes
from sweep.driver.placement import Shape
from workers.errors import ClusterError
from workers.files import describe
from workers.reasons import reason_of

_OBJECT_STORE_BYTES = 256 << 20  # of an embedded Ray; its default is 30 % of the machine's memory
_UV_VARIABLE = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"
_KNOCK_SECONDS = 10.0  # for a cluster to answer at all
_CLIENT_PORT = 10001  # of ray:// without a port
_SETTINGS = 4  # type of a frame of HTTP/2
_FRAME_HEADER_BYTES = 9  # length (3), type, flags, stream (4)
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0))
NO_PROGRESS = (
    "a client of Ray receives no progress of fits, bitstreams and nested searches; name the cluster itself, as "
    "host:6379, on one of its machines, or use scripts/submit"
)


@contextmanager
def connect(config: RayConfig, *, trains: bool = False) -> Iterator[None]:
    """Ray, as the configuration asks for it, until the context is left.

    Args:
        config: which one.
        trains: whether replicas will fit frames, or write bitstreams: answers that come in parts.

    Raises:
        ClusterError: the cluster cannot be reached; an embedded one cannot be started or has no room for a replica.
    """
    already = ray.is_initialized()
    address, named = ("", "") if already else _address(config)
    if not already:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            with _sigterm_kept(), _without_uv():
                if address:
                    _knock(address)
                    if trains and address.startswith("ray://"):
                        raise ValueError(NO_PROGRESS)
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
            where = f"{named}: {describe(address)}" if address else "ray.address: an embedded Ray"
            raise ClusterError(f"{where} cannot be used: {reason_of(error)}") from None
    try:
        if not already and not address:
            nodes = cluster_nodes()
            check_room(config, Shape.of(config, nodes), nodes, can_grow=False)
        yield
    finally:
        if not already:
            ray.shutdown()


def ray_import_path() -> list[str]:
    """What Ray puts in front of the import path of every process of a job; see ``bootstrap``."""
    folders = [str(Path(sys.argv[0]).resolve().parent)]
    with suppress(FileNotFoundError):  # a working directory that was deleted meanwhile
        folders.append(str(Path.cwd()))
    return folders


def _address(config: RayConfig) -> tuple[str, str]:
    """Address of the cluster, empty for an embedded one; and who says so.

    Raises:
        ClusterError: it is the address of a job server.
    """
    named = [("ray.address", config.address or ""), ("RAY_ADDRESS", os.environ.get("RAY_ADDRESS", ""))]
    name, address = next(((name, text.strip()) for name, text in named if text.strip()), ("ray.address", ""))
    if address.lower().startswith(("http://", "https://")):
        shown = describe(address)
        raise ClusterError(
            f"{name}: {shown} is the address of a job server, which takes whole jobs: hand it this one by "
            f"scripts/submit CONFIG.yaml --address {shown}; to run the driver here, name the cluster itself, as "
            "host:6379 or ray://host:10001 in ray.address or RAY_ADDRESS, or set ray.address to local for a Ray of "
            "its own"
        )
    return ("" if address == "local" else address), name


def _knock(address: str) -> None:
    """Raise ``OSError`` if no Ray answers at ``host:port``: Ray itself tries that for many minutes.

    Clusters and servers of ``ray://`` speak gRPC, which is HTTP/2: both sides begin with their settings, unasked.
    """
    is_client = address.startswith("ray://")
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if is_client and not colon:
        host, port = port, str(_CLIENT_PORT)
    if not host or not port.isdecimal():
        return
    deadline = time.monotonic() + _KNOCK_SECONDS
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS) as peer:
        if os.environ.get("RAY_USE_TLS", "0") not in ("0", ""):  # nothing is said before certificates are shown
            return
        peer.sendall(_HTTP2_PREFACE)
        answer = b""
        try:
            while len(answer) < _FRAME_HEADER_BYTES:
                peer.settimeout(max(0.001, deadline - time.monotonic()))
                part = peer.recv(_FRAME_HEADER_BYTES - len(answer))
                if not part:
                    break
                answer += part
        except TimeoutError:
            raise TimeoutError(
                f"something listens there, but no Ray: no answer within {_KNOCK_SECONDS:.0f} s"
            ) from None
        except ConnectionError:
            answer = b""
    if len(answer) < _FRAME_HEADER_BYTES or answer[3] != _SETTINGS:
        raise ConnectionError("something listens there, but no Ray: its answer is not that of a Ray cluster")


@contextmanager
def _without_uv() -> Iterator[None]:
    """Under ``uv run`` Ray would pack the working directory and start replicas by ``uv run`` in the copy.

    They run in the environment of their node, like those of any other start, unless that is asked for expressly.
    Ray reads the variable once, maybe before this module is imported: so what it has read is set.
    """
    before = ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV
    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = before and _UV_VARIABLE in os.environ
    try:
        yield
    finally:
        ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = before


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; the handler that was there before is put back."""
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
