"""Calls to a replica on Ray, and its answers: as bytes, which the driver's own code alone unpickles.

What Ray itself unpickles, it unpickles with the code that can be imported there: for a driver that is connected
by ``ray://`` that happens on the head of the cluster as well, where another qsweep may be installed, or none.
"""

import io
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import ray
from ray import cloudpickle

from sweep.driver import bootstrap
from workers.measure import EngineOptions, kernel
from workers.plugins import Plugin, import_plugins
from workers.replica import Replica

_log = logging.getLogger(__name__)

_Content = TypeVar("_Content")

_SEVERAL_ANSWERS = ("fit", "search", "refine", "encode")

cloudpickle.register_pickle_by_value(bootstrap)  # type: ignore[no-untyped-call]


class CallError(NamedTuple):
    """What a replica answers to a call that failed.

    Attributes:
        error: why; its notes have the replica's traceback.
    """

    error: Exception


class Place(NamedTuple):
    """Where a replica is.

    Attributes:
        device: as torch names it, with the GPUs that Ray gave it.
        node: id of its node.
        refused: builds of the compiled kernel that are there and cannot be used, and why; empty if there are none.
    """

    device: str
    node: str
    refused: str


# --- in the driver


class Sender:
    """Sends calls of a replica's methods to an actor: each gives Ray's reference of the answer."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, method: str) -> Callable[..., Any]:
        actor = self._actor
        remote = actor.train.options(num_returns="streaming") if method in _SEVERAL_ANSWERS else actor.call
        return lambda *arguments: remote.remote(*_pack((method, arguments)))


def settings_of(threads: int, options: EngineOptions | None, plugins: Sequence[Plugin] = ()) -> bytes:
    """Settings of a replica; see :class:`workers.replica.Replica`. Plugins are imported before it is made."""
    return _dumps((tuple(plugins), {"threads": threads, "options": options}))


def share(content: _Content) -> Callable[[], _Content]:
    """Put something into Ray's object store; gives a reader of it that works on replicas too."""
    return partial(_fetch, ray.put(_dumps(content)))


def unpack(answer: bytes) -> Any:
    """What a replica has answered, a :class:`CallError` too."""
    return pickle.loads(answer)


# --- on the replica


def make_replica(settings: bytes) -> Replica:
    """A replica with these settings."""
    plugins, arguments = pickle.loads(settings)
    import_plugins(plugins)
    return Replica(**arguments)


def describe(replica: Replica) -> bytes:
    """Its :class:`Place`, packed."""
    gpus = "".join(f", GPU {gpu}" for gpu in ray.get_gpu_ids())
    node = ray.get_runtime_context().get_node_id()
    return _dumps(Place(replica.ping() + gpus, node, "; ".join(kernel.refused())))


def answer(replica: Replica, request: bytes, references: Sequence[Any]) -> bytes:
    """What it answers to a call, packed."""
    try:
        method, arguments = _Unpickler(request, references).load()
        return _dumps(getattr(replica, method)(*arguments))
    except Exception as error:
        return _pack_error(error)


def answers(replica: Replica, request: bytes, references: Sequence[Any]) -> Iterator[bytes]:
    """What it answers to a call one after the other, each packed."""
    try:
        method, arguments = _Unpickler(request, references).load()
        for each in getattr(replica, method)(*arguments):
            yield _dumps(each)
    except Exception as error:
        yield _pack_error(error)


def _fetch(reference: Any) -> Any:
    return pickle.loads(ray.get(reference))


def _pack_error(error: Exception) -> bytes:
    text = traceback.format_exc()
    _log.error("%s", text)
    try:
        pickle.loads(_dumps(error))
    except Exception:  # some exceptions cannot be pickled, others not unpickled
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.__notes__ = [f"On the replica:\n{text}"]  # shown by Python 3.11 and later
    return _dumps(CallError(error))


def _dumps(content: object) -> bytes:
    packed: bytes = cloudpickle.dumps(content)  # type: ignore[no-untyped-call]
    return packed


# --- requests: references to Ray's objects stay outside the bytes, since Ray counts who holds them


def _pack(content: object) -> tuple[bytes, list[Any]]:
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump(content)  # type: ignore[no-untyped-call]
    return file.getvalue(), pickler.references


class _Pickler(cloudpickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)  # type: ignore[no-untyped-call]
        self.references: list[Any] = []

    def persistent_id(self, content: object) -> int | None:
        if not isinstance(content, ray.ObjectRef):
            return None
        self.references.append(content)
        return len(self.references) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, references: Sequence[Any]) -> None:
        super().__init__(io.BytesIO(content))
        self._references = references

    def persistent_load(self, index: int) -> Any:
        return self._references[index]
