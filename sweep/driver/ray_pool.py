"""Replicas as actors of Ray: started, watched, replaced."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayActorError, RayError

from sweep.config import FitConfig, RayConfig
from sweep.driver.actor import CallError, Place, Sender, settings_of, share, unpack
from sweep.driver.bootstrap import Code, ReplicaActor, code_in
from sweep.driver.cluster import check_room, cluster_nodes, describe_room, has_autoscaler, has_process, is_client
from sweep.driver.connection import NO_PROGRESS, ray_import_path
from sweep.driver.deadline import Deadlines, WatchedTime
from sweep.driver.driver import Progress, perform, progress_of
from sweep.driver.placement import Node, Shape
from sweep.schedule import STREAMING, Call, CallDone, CallFailed, Event, ReplicaId, ReplicaLost, ReplicaReady
from workers.errors import ClusterError, QsweepError, ReplicaError
from workers.measure import EngineOptions
from workers.plugins import Plugin
from workers.reasons import describe_error
from workers.source import FrameSource

_log = logging.getLogger(__name__)

_Shared = TypeVar("_Shared")

_LOOK_SECONDS = 2.0  # between two looks at the cluster and at what hangs
_FIRST_PATIENCE_SECONDS = 10.0  # before the first warning that some replicas could not be started
_PATIENCE_SECONDS = 60.0  # between two of them
_STARTS_LOOKED_AT = 10  # times within the deadline of a start
_STARTS_EACH = 2  # that hang, for each replica, before the job ends
_RETIRED_ON_A_NODE = 2  # replicas, before no more are started there


@dataclass
class _Pending:
    """A call that Ray has not answered, or ``None`` for the start of a replica.

    Attributes:
        replica: who is to answer.
        call: what it was asked.
        last: when there was a sign of life of it, in watched time.
        loading: seconds that reading its frame may take beside.
        start: when it was asked.
        begun: for a replica that starts, when its process was first seen, in watched time.
    """

    replica: str
    call: Call | None
    last: float
    loading: float = 0.0
    start: float = field(default_factory=time.perf_counter)
    begun: float | None = None


class RayPool:
    """Replicas as actors of the Ray that this process is connected to.

    A replica that dies, hangs or is retired is replaced by another; the calls it was at are reported as lost with
    it. Where their number is ``auto``, there are more when nodes join the cluster, and fewer when some leave.

    Args:
        config: how many replicas, what each needs, and how long one may be without an answer.
        options: how they measure.
        plugins: modules that they import.

    Raises:
        ClusterError: no replica can ever find room on the cluster; none was started.
    """

    def __init__(
        self, config: RayConfig, options: EngineOptions | None = None, plugins: Sequence[Plugin] = ()
    ) -> None:
        self._config = config
        nodes = cluster_nodes()
        self._shape = Shape.of(config, nodes)
        check_room(config, self._shape, nodes, can_grow=has_autoscaler(nodes))
        self._settings = settings_of(self._shape.cpus, options, plugins)
        self._code = code_in(str(Path(__file__).parents[2]))
        self._import_path = ray_import_path()
        self._deadlines = Deadlines(config.patience)
        self._watched = WatchedTime()
        self._names = 0
        self._actors: dict[str, Any] = {}
        self._nodes: dict[str, str] = {}  # of the replicas that are ready, by id
        self._retired: Counter[str] = Counter()  # replicas, by node
        self._pending: dict[Any, _Pending] = {}  # by what Ray will answer
        self._answered: set[str] = set()  # replicas that have answered a call, or told how far they are
        self._useless, self._most = 0, 0  # replicas that died without, in a row; and how many there were at a time
        self._useful = False  # whether any replica has
        self._hung_starts = 0  # in a row, without a replica that became ready
        self._starts_looked = self._watched()
        self._kernels_refused: set[str] = set()  # what was said of them
        self._looked = time.monotonic()
        self._warned = self._looked - _PATIENCE_SECONDS + _FIRST_PATIENCE_SECONDS
        self._adjust(nodes)

    @property
    def n_replicas(self) -> int:
        """How many are ready, or start."""
        return len(self._actors)

    def _adjust(self, nodes: Sequence[Node]) -> None:
        """Start as many replicas as there should be; stop none but those that find no room any more."""
        replicas = self._config.replicas
        wanted = replicas if isinstance(replicas, int) else max(1, self._shape.room(nodes))
        while len(self._actors) < wanted:
            self._start_replica(nodes)
        self._most = max(self._most, len(self._actors))
        for name in [name for name in self._actors if name not in self._nodes][: len(self._actors) - wanted]:
            self._drop(name)

    def _start_replica(self, nodes: Sequence[Node]) -> None:
        name = f"r{self._names}"
        self._names += 1
        shape, selector = self._shape, {}
        bad = [node.id for node in nodes if self._retired[node.id] >= _RETIRED_ON_A_NODE]
        if bad and shape.room(node for node in nodes if node.id not in bad):
            selector = {"ray.io/node-id": f"!in({','.join(bad)})"}
        actor = ray.remote(ReplicaActor).options(
            num_cpus=shape.cpus, num_gpus=shape.gpus, max_restarts=0, label_selector=selector
        )
        self._actors[name] = actor.remote(self._code, self._import_path, self._settings)
        self._pending[self._actors[name].where.remote()] = _Pending(name, None, self._watched())

    def submit(self, call: Call, source: FrameSource, fit: FitConfig) -> None:
        """Send a call to its actor.

        Raises:
            ClusterError: it reports its progress, which a client of Ray does not receive.
        """
        if isinstance(call.work, STREAMING) and is_client():
            raise ClusterError(NO_PROGRESS)
        actor = self._actors[call.replica]
        reply = perform(Sender(actor), call.work, source, fit)  # type: ignore[arg-type]
        self._pending[reply] = _Pending(call.replica, call, self._watched(), source.loading_seconds)

    def share(self, content: _Shared) -> Callable[[], _Shared]:
        """Put something into Ray's object store, once for all replicas."""
        return share(content)

    def retire(self, replica: ReplicaId, reason: str) -> None:
        """Stop a replica on which calls fail, and start another, if possible on a node where none was retired."""
        if replica not in self._actors:
            return
        node = self._nodes[replica]
        self._retired[node] += 1
        _log.warning("replica %s on node %s is retired: %s", replica, node[:8], reason)
        self._drop(replica)
        self._adjust(cluster_nodes())

    def wait(self, timeout: float) -> list[Event | Progress]:
        """See :class:`~sweep.driver.Pool`.

        Raises:
            ClusterError: no replica can ever find room, or one cannot run the driver's code; no work was done.
            ReplicaError: replicas die one after the other, without an answer in between; or one cannot run the
                driver's code, after others have worked.
        """
        self._watched()
        assert self._pending, "a job that is not finished has a replica starting or at work"
        ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=timeout)
        if ready:
            # Everything else that is ready as well, so that replicas wait for one round and not for many.
            ready, _ = ray.wait(list(self._pending), num_returns=len(self._pending), timeout=0)
        events: list[Event | Progress] = []
        for reply in ready:
            if reply in self._pending:
                events += self._take(reply)
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            events += self._stop_hanging()
            nodes = cluster_nodes()
            if not self._useful and not self._nodes:  # whether there is an autoscaler is known after some seconds
                check_room(self._config, self._shape, nodes, can_grow=has_autoscaler(nodes))
            self._adjust(nodes)
            self._warn_if_waiting(nodes)
        return events

    def _take(self, reply: Any) -> Iterator[Event | Progress]:
        pending = self._pending[reply]
        name, call = pending.replica, pending.call
        try:
            if call is None:
                answer = ray.get(reply)
            elif isinstance(call.work, STREAMING):
                answer = unpack(ray.get(next(reply)))
                progress = None if isinstance(answer, CallError) else progress_of(call, answer)
                if progress is not None:
                    self._note_life(pending, None)
                    self._note_use(name)
                    yield progress
                    return
            else:
                answer = unpack(ray.get(reply))
        except RayActorError as error:
            yield from self._lost(name, describe_error(error), error)
            return
        except RayError as error:  # an object that was lost, a node that is full, …
            del self._pending[reply]
            if call is None:
                yield from self._lost(name, describe_error(error), error)
            else:
                yield CallFailed(call.id, error, final=False)
            return
        del self._pending[reply]
        if isinstance(answer, CallError) and call is not None:
            # Errors of the input are the same on every replica; any other error may be of this replica alone.
            final = isinstance(answer.error, QsweepError) and not isinstance(answer.error, ReplicaError)
            yield CallFailed(call.id, answer.error, final)
            return
        self._note_life(pending, answer)
        if call is None:
            yield self._ready(name, *answer)
        else:
            self._note_use(name)
            yield CallDone(call.id, answer, time.perf_counter() - pending.start)

    def _ready(self, name: str, code: Code, host: str, packed: bytes | None) -> Event:
        """A replica has started: it must have the driver's code."""
        if packed is None:
            message = _other_code(name, host, code, self._code)
            raise ReplicaError(message) if self._useful else ClusterError(message)
        place: Place = unpack(packed)
        self._nodes[name] = place.node
        self._hung_starts = 0
        self._deadlines.joined(name, (place.node, place.device))
        _log.info("replica %s is ready on %s (%s)", name, host, place.device)
        if place.refused and place.refused not in self._kernels_refused:
            self._kernels_refused.add(place.refused)
            _log.warning("replica %s on %s: %s", name, host, place.refused)
        return ReplicaReady(name)

    def _note_life(self, pending: _Pending, answer: object) -> None:
        now = self._watched()
        if pending.call is not None:
            self._deadlines.answered(pending.call, now - pending.last, answer)
        pending.last = now

    def _note_use(self, name: str) -> None:
        """Note that a replica has answered, or reported progress."""
        self._useless, self._useful = 0, True
        self._answered.add(name)

    def _stop_hanging(self) -> Iterator[Event]:
        """Treat replicas as lost whose call has exceeded its deadline."""
        now = self._watched()
        for pending in list(self._pending.values()):
            if pending.call is not None:
                seconds = self._deadlines.seconds(pending.call, pending.loading)
                if now - pending.last > seconds:
                    self._deadlines.hung(pending.call)
                    yield from self._lost(pending.replica, f"it hangs: no answer within {seconds:.0f} s")
        yield from self._stop_hanging_starts(now)

    def _stop_hanging_starts(self, now: float) -> Iterator[Event]:
        """Replicas whose process has been starting for too long are given up; waiting for room takes any time."""
        seconds = self._deadlines.start_seconds(self._hung_starts)
        if now - self._starts_looked < seconds / _STARTS_LOOKED_AT:
            return
        self._starts_looked = now
        for pending in [pending for pending in self._pending.values() if pending.call is None]:
            if not self._has_begun(pending, now):
                continue
            assert pending.begun is not None
            if now - pending.begun > (seconds := self._deadlines.start_seconds(self._hung_starts)):
                self._hung_starts += 1
                reason = f"it hangs while it starts: its process is not ready within {seconds:.0f} s"
                if self._hung_starts >= _STARTS_EACH * self._most:
                    raise ReplicaError(
                        f"{self._hung_starts} replicas in a row could not start, the last one: {reason}"
                    )
                yield from self._lost(pending.replica, reason)

    def _has_begun(self, pending: _Pending, now: float) -> bool:
        """Whether a replica that has not answered yet has got room; the time when that was first seen is noted."""
        if pending.begun is None and has_process(self._actors[pending.replica]):
            pending.begun = now
        return pending.begun is not None

    def _lost(self, name: str, reason: str, error: Exception | None = None) -> Iterator[Event]:
        """A replica died: forget it, and start another one in its place."""
        # All nodes may be taken away at once; but replicas that die before any answer show a fault of the setup.
        self._useless += name not in self._answered
        if self._useless > 3 * self._most + 3:
            raise ReplicaError(f"{self._useless} replicas died in a row without an answer, the last one: {reason}")
        self._drop(name)
        _log.warning("replica %s was lost: %s", name, reason, exc_info=error)
        self._adjust(cluster_nodes())
        yield ReplicaLost(name, reason)

    def _drop(self, name: str) -> None:
        """Forget a replica, and stop it if it still runs."""
        self._pending = {reply: pending for reply, pending in self._pending.items() if pending.replica != name}
        self._nodes.pop(name, None)
        self._answered.discard(name)
        self._deadlines.left(name)
        ray.kill(self._actors.pop(name))

    def _warn_if_waiting(self, nodes: Sequence[Node]) -> None:
        pending_starts = [pending for pending in self._pending.values() if pending.call is None]
        if not pending_starts or time.monotonic() - self._warned <= _PATIENCE_SECONDS:
            return
        self._warned = time.monotonic()
        n_starting = sum(self._has_begun(pending, self._watched()) for pending in pending_starts)
        n_waiting, n_all = len(pending_starts) - n_starting, len(self._actors)
        if n_starting:
            _log.info("%d of %d replicas are starting: they have room, and are not ready yet", n_starting, n_all)
        if n_waiting:
            _log.warning(
                "%d of %d replicas have not started yet: %s", n_waiting, n_all, describe_room(self._shape, nodes)
            )

    def close(self) -> None:
        """Stop the actors."""
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
        self._pending.clear()


def _other_code(name: str, host: str, found: Code, wanted: Code) -> str:
    """Why a replica cannot run the driver's code."""
    if found.root == wanted.root:
        what = f"the files in {found.root} differ there, or have changed since the driver started"
    else:
        what = (
            f"it finds {_describe(found) if found.root else 'no qsweep'} there, the driver runs {_describe(wanted)}"
        )
    return f"replica {name} on {host} cannot run the driver's code: {what}; all nodes need one version of qsweep"


def _describe(code: Code) -> str:
    return f"{code.root} (qsweep {code.version or 'of no known version'}, sources {code.digest[:12]})"
