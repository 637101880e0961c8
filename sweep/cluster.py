"""Replicas as Ray actors: the only room that talks to Ray."""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypeVar, cast

# Ray reads these when it is imported: nothing is reported to anyone, and an embedded cluster is reachable from
# this machine alone.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from sweep.config import FitConfig, RayConfig
from sweep.driver import Progress, perform
from sweep.messages import Call, CallDone, CallFailed, Event, Fit, ReplicaLost, ReplicaReady
from workers.errors import ClusterError, QsweepError, ReplicaError
from workers.fit import FitProgress
from workers.measure import EngineOptions
from workers.replica import Replica
from workers.source import FrameSource

_log = logging.getLogger(__name__)

_Shared = TypeVar("_Shared")

_OBJECT_STORE_BYTES = 256 << 20  # of an embedded Ray; its default is 30 % of the machine's memory
_PATIENCE_SECONDS = 30.0  # between two warnings that no replica could be started


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
            raise ClusterError(f"ray.address: {where} cannot be used: {_first_line(error)}") from None
    try:
        yield
    finally:
        if not already:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise ``OSError`` if nobody listens at ``host:port``: Ray itself tries that for a quarter of an hour."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_SECONDS).close()


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


class RayPool:
    """Replicas as actors of the Ray that this process is connected to.

    A replica that dies is replaced by another; the calls it was at are reported as lost with it.

    Args:
        replicas: their number; ``auto`` for one per GPU of the cluster, or else one per CPU.
        options: how they measure.
    """

    def __init__(self, replicas: int | Literal["auto"], options: EngineOptions | None = None) -> None:
        resources = _resources()
        cpus, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        self.n_replicas = (gpus or max(1, cpus)) if replicas == "auto" else replicas
        threads = 1 if gpus else max(1, cpus // self.n_replicas)
        self._actor: Any = ray.remote(Replica).options(
            num_cpus=threads,
            num_gpus=min(1, gpus / self.n_replicas) if gpus else 0,
            max_restarts=0,
        )
        self._threads = threads
        self._options = options
        self._names = 0
        self._actors: dict[str, Any] = {}
        self._pending: dict[Any, tuple[str, Call | None, float]] = {}  # what Ray will answer, to whom
        self._losses_in_a_row = 0
        self._asked = time.monotonic()
        for _ in range(self.n_replicas):
            self._start_replica()

    def _start_replica(self) -> None:
        name = f"r{self._names}"
        self._names += 1
        actor = self._actors[name] = self._actor.remote(threads=self._threads, options=self._options)
        self._pending[actor.ping.remote()] = (name, None, time.perf_counter())

    def submit(self, call: Call, source: FrameSource, fit: FitConfig) -> None:
        """Send a call to its actor."""
        actor = self._actors[call.replica]
        reply = perform(_Sender(actor), call.work, source, fit)  # type: ignore[arg-type]
        self._pending[reply] = (call.replica, call, time.perf_counter())

    def share(self, content: _Shared) -> Callable[[], _Shared]:
        """Put something into Ray's object store, once for all replicas."""
        return cast("Callable[[], _Shared]", partial(ray.get, ray.put(content)))

    def wait(self, timeout: float) -> list[Event | Progress]:
        """See :class:`~sweep.driver.Pool`.

        Raises:
            ReplicaError: replicas die one after the other, without an answer in between.
        """
        assert self._pending, "a job that is not finished has a replica starting or at work"
        ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=timeout)
        if ready:
            # Everything else that is ready as well, so that replicas wait for one round and not for many.
            ready, _ = ray.wait(list(self._pending), num_returns=len(self._pending), timeout=0)
        events: list[Event | Progress] = []
        for reply in ready:
            if reply in self._pending:
                events += self._take(reply)
        self._warn_if_waiting()
        return events

    def _take(self, reply: Any) -> Iterator[Event | Progress]:
        name, call, start = self._pending[reply]
        try:
            if call is not None and isinstance(call.work, Fit):
                answer = ray.get(next(reply))
                if isinstance(answer, FitProgress):
                    yield Progress(call.frame, answer)
                    return
            else:
                answer = ray.get(reply)
        except RayActorError as error:
            yield from self._lost(name, _first_line(error))
            return
        except RayTaskError as error:
            del self._pending[reply]
            assert call is not None
            cause = error.cause if isinstance(error.cause, Exception) else error
            # What is wrong with the input is wrong everywhere; whatever else may be this replica's own trouble.
            final = isinstance(cause, QsweepError)
            yield CallFailed(call.id, cause, final)
            return
        except RayError as error:  # an object that was lost, a node that is full, …
            del self._pending[reply]
            if call is None:
                yield from self._lost(name, _first_line(error))
            else:
                yield CallFailed(call.id, error, final=False)
            return
        del self._pending[reply]
        if call is None:
            _log.info("replica %s is ready on %s", name, answer)
            yield ReplicaReady(name)
        else:
            self._losses_in_a_row = 0
            yield CallDone(call.id, answer, time.perf_counter() - start)

    def _lost(self, name: str, reason: str) -> Iterator[Event]:
        """A replica died: forget it, and start another one in its place."""
        self._pending = {reply: entry for reply, entry in self._pending.items() if entry[0] != name}
        del self._actors[name]
        self._losses_in_a_row += 1
        if self._losses_in_a_row > 3 * self.n_replicas + 3:
            raise ReplicaError(
                f"{self._losses_in_a_row} replicas died in a row without an answer, the last one: {reason}"
            )
        _log.warning("replica %s was lost: %s", name, reason)
        self._start_replica()
        yield ReplicaLost(name, reason)

    def _warn_if_waiting(self) -> None:
        waiting = [name for name, call, _ in self._pending.values() if call is None]
        if waiting and time.monotonic() - self._asked > _PATIENCE_SECONDS:
            self._asked = time.monotonic()
            resources = _resources()
            _log.warning(
                "%d of %d replicas have not started yet: each needs %s, and the cluster has %s",
                len(waiting),
                self.n_replicas,
                "a GPU and a CPU" if resources.get("GPU") else f"{self._threads} CPU",
                {name: n for name, n in resources.items() if name in ("CPU", "GPU")},
            )

    def close(self) -> None:
        """Stop the actors."""
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
        self._pending.clear()


def _resources() -> dict[str, float]:
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


class _Sender:
    """A replica's methods, sent to an actor: each gives what Ray will answer with."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, method: str) -> Any:
        remote = getattr(self._actor, method)
        return (remote.options(num_returns="streaming") if method == "fit" else remote).remote


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
