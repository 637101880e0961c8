"""Replicas as actors of Ray: started, watched, replaced."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from sweep.config import FitConfig, RayConfig
from sweep.driver.actor import Replica, Sender
from sweep.driver.deadline import Deadlines, WatchedTime
from sweep.driver.driver import Progress, perform
from sweep.driver.placement import Node, Shape
from sweep.schedule import TRAINING, Call, CallDone, CallFailed, Event, ReplicaId, ReplicaLost, ReplicaReady
from workers.errors import QsweepError, ReplicaError
from workers.fit import FitProgress
from workers.measure import EngineOptions
from workers.reasons import describe_error
from workers.source import FrameSource

_log = logging.getLogger(__name__)

_Shared = TypeVar("_Shared")

_LOOK_SECONDS = 2.0  # between two looks at the cluster and at what hangs
_FIRST_PATIENCE_SECONDS = 10.0  # before the first warning that some replicas could not be started
_PATIENCE_SECONDS = 60.0  # between two of them
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
    """

    replica: str
    call: Call | None
    last: float
    loading: float = 0.0
    start: float = field(default_factory=time.perf_counter)


class RayPool:
    """Replicas as actors of the Ray that this process is connected to.

    A replica that dies, hangs or is retired is replaced by another; the calls it was at are reported as lost with
    it. Where their number is ``auto``, there are more when nodes join the cluster, and fewer when some leave.

    Args:
        config: how many replicas, what each needs, and how long one may be without an answer.
        options: how they measure.
    """

    def __init__(self, config: RayConfig, options: EngineOptions | None = None) -> None:
        self._config = config
        nodes = _nodes()
        self._shape = Shape.of(config, nodes)
        self._options = options
        self._deadlines = Deadlines(config.patience)
        self._watched = WatchedTime()
        self._names = 0
        self._actors: dict[str, Any] = {}
        self._nodes: dict[str, str] = {}  # of the replicas that are ready, by id
        self._retired: Counter[str] = Counter()  # replicas, by node
        self._pending: dict[Any, _Pending] = {}  # by what Ray will answer
        self._answered: set[str] = set()  # replicas that have answered a call, or told how far they are
        self._useless, self._most = 0, 0  # replicas that died without, in a row; and how many there were at a time
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
        actor = ray.remote(Replica).options(
            num_cpus=shape.cpus, num_gpus=shape.gpus, max_restarts=0, label_selector=selector
        )
        self._actors[name] = actor.remote(threads=shape.cpus, options=self._options)
        self._pending[self._actors[name].where.remote()] = _Pending(name, None, self._watched())

    def submit(self, call: Call, source: FrameSource, fit: FitConfig) -> None:
        """Send a call to its actor."""
        actor = self._actors[call.replica]
        reply = perform(Sender(actor), call.work, source, fit)  # type: ignore[arg-type]
        self._pending[reply] = _Pending(call.replica, call, self._watched(), source.loading_seconds)

    def share(self, content: _Shared) -> Callable[[], _Shared]:
        """Put something into Ray's object store, once for all replicas."""
        return cast("Callable[[], _Shared]", partial(ray.get, ray.put(content)))

    def retire(self, replica: ReplicaId, reason: str) -> None:
        """Stop a replica that does no good, and start another; not where that happened before, if there is room."""
        if replica not in self._actors:
            return
        node = self._nodes[replica]
        self._retired[node] += 1
        _log.warning("replica %s on node %s is retired: %s", replica, node[:8], reason)
        self._drop(replica)
        self._adjust(_nodes())

    def wait(self, timeout: float) -> list[Event | Progress]:
        """See :class:`~sweep.driver.Pool`.

        Raises:
            ReplicaError: replicas die one after the other, without an answer in between.
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
            nodes = _nodes()
            self._adjust(nodes)
            self._warn_if_waiting(nodes)
        return events

    def _take(self, reply: Any) -> Iterator[Event | Progress]:
        pending = self._pending[reply]
        name, call = pending.replica, pending.call
        try:
            if call is not None and isinstance(call.work, TRAINING):
                answer = ray.get(next(reply))
                if isinstance(answer, FitProgress):
                    self._note_life(pending, None)
                    self._note_use(name)
                    yield Progress(call.id, answer)
                    return
            else:
                answer = ray.get(reply)
        except RayActorError as error:
            yield from self._lost(name, describe_error(error), error)
            return
        except RayTaskError as error:
            del self._pending[reply]
            if call is None:
                yield from self._lost(name, describe_error(error), error)
                return
            cause = error.cause if isinstance(error.cause, Exception) else error
            if cause is not error:
                cause.__cause__ = error  # whose text is the only one with the traceback
            # What is wrong with the input is wrong everywhere; whatever else may be this replica's own trouble.
            final = isinstance(cause, QsweepError) and not isinstance(cause, ReplicaError)
            yield CallFailed(call.id, cause, final)
            return
        except RayError as error:  # an object that was lost, a node that is full, …
            del self._pending[reply]
            if call is None:
                yield from self._lost(name, describe_error(error), error)
            else:
                yield CallFailed(call.id, error, final=False)
            return
        del self._pending[reply]
        self._note_life(pending, answer)
        if call is None:
            device, host, self._nodes[name] = answer
            self._deadlines.joined(name, (self._nodes[name], device))
            _log.info("replica %s is ready on %s (%s)", name, host, device)
            yield ReplicaReady(name)
        else:
            self._note_use(name)
            yield CallDone(call.id, answer, time.perf_counter() - pending.start)

    def _note_life(self, pending: _Pending, answer: object) -> None:
        now = self._watched()
        if pending.call is not None:
            self._deadlines.answered(pending.call, now - pending.last, answer)
        pending.last = now

    def _note_use(self, name: str) -> None:
        """Replicas are of use, this one for instance."""
        self._useless = 0
        self._answered.add(name)

    def _stop_hanging(self) -> Iterator[Event]:
        """Replicas that have been at a call for much too long are as good as dead."""
        now = self._watched()
        for pending in list(self._pending.values()):
            if pending.call is not None:
                seconds = self._deadlines.seconds(pending.call, pending.loading)
                if now - pending.last > seconds:
                    self._deadlines.hung(pending.call)
                    yield from self._lost(pending.replica, f"it hangs: no answer within {seconds:.0f} s")

    def _lost(self, name: str, reason: str, error: Exception | None = None) -> Iterator[Event]:
        """A replica died: forget it, and start another one in its place."""
        # Nodes may all be taken away at once; what never was of any use tells of something that is wrong.
        self._useless += name not in self._answered
        if self._useless > 3 * self._most + 3:
            raise ReplicaError(f"{self._useless} replicas died in a row without an answer, the last one: {reason}")
        self._drop(name)
        _log.warning("replica %s was lost: %s", name, reason, exc_info=error)
        self._adjust(_nodes())
        yield ReplicaLost(name, reason)

    def _drop(self, name: str) -> None:
        """Forget a replica, and stop it if it still runs."""
        self._pending = {reply: pending for reply, pending in self._pending.items() if pending.replica != name}
        self._nodes.pop(name, None)
        self._answered.discard(name)
        self._deadlines.left(name)
        ray.kill(self._actors.pop(name))

    def _warn_if_waiting(self, nodes: Sequence[Node]) -> None:
        n_waiting = sum(pending.call is None for pending in self._pending.values())
        if n_waiting and time.monotonic() - self._warned > _PATIENCE_SECONDS:
            self._warned = time.monotonic()
            _log.warning(
                "%d of %d replicas have not started yet: each needs %s, and the cluster has %g CPU and %g GPU on "
                "%d nodes, room for %d",
                n_waiting,
                len(self._actors),
                self._shape,
                sum(node.cpus for node in nodes),
                sum(node.gpus for node in nodes),
                len(nodes),
                self._shape.room(nodes),
            )

    def close(self) -> None:
        """Stop the actors."""
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
        self._pending.clear()


def _nodes() -> list[Node]:
    """The nodes that are alive."""
    alive = [(node["NodeID"], node["Resources"]) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return [Node(name, has.get("CPU", 0.0), has.get("GPU", 0.0)) for name, has in alive]
