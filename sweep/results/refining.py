"""How far the refinement of a frame is, kept while the frame is not done: a job that was killed resumes it there.

Only the driver writes these files, one for each frame in place of the one before: what a replica that was given up
still reports reaches none of them.
"""

import io
import json
import logging
import pickle
import zlib
from collections.abc import Container
from importlib.metadata import version
from typing import Any

from sweep.config import Refining
from sweep.results.layout import REFINING_FOLDER, TRIALS_FOLDER, refining_path
from sweep.results.storage import Storage
from sweep.schedule import RefinementState
from workers.candidates import ARITHMETIC
from workers.errors import DamagedError

_log = logging.getLogger(__name__)

_MAGIC = b"qsweep refinement\n"

MAX_STATE_BYTES = 64 << 20
"""Of a state, packed and unpacked: a larger one is not kept, or not believed."""

_OWN = (
    "sweep.search.",
    "sweep.config.refining",
    "workers.candidates",
    "workers.codec.network",
    "workers.files.Fingerprint",
    "workers.moves",
    "workers.source",
)
"""What the names of classes and functions begin with that a state may hold, beside plain data: they compute."""

_PLAIN = (
    {("builtins", name) for name in ("set", "frozenset", "bytearray", "complex", "range", "slice")}
    | {("collections", name) for name in ("deque", "OrderedDict", "Counter", "defaultdict")}
    | {("functools", "partial")}
)


def pack_state(state: RefinementState, refining: Refining) -> bytes | None:
    """A state as the content of a file; ``None`` if it is too large to be kept."""
    packed = pickle.dumps(tuple(state))
    if len(packed) > MAX_STATE_BYTES:
        return None
    header = json.dumps(_identity(refining) | {"bytes": len(packed), "crc": zlib.crc32(packed)})
    return _MAGIC + header.encode() + b"\n" + zlib.compress(packed, 1)


def unpack_state(content: bytes, refining: Refining) -> RefinementState | None:
    """What :func:`pack_state` made the content of.

    Returns:
        ``None`` if it is of another refinement, or of another version of this program.

    Raises:
        DamagedError: it is damaged, or not of this program.
    """
    try:
        magic, header, packed = content.split(b"\n", 2)
        known = json.loads(header)
        if magic + b"\n" != _MAGIC or not isinstance(known, dict):
            raise ValueError("no such file")
        if any(known.get(key) != value for key, value in _identity(refining).items()):
            return None
        if not 0 <= known["bytes"] <= MAX_STATE_BYTES:
            raise ValueError("too large")
        unpacked = zlib.decompressobj().decompress(packed, known["bytes"] + 1)
        if len(unpacked) != known["bytes"] or zlib.crc32(unpacked) != known["crc"]:
            raise ValueError("cut off")
        refinement, pieces = _Unpickler(io.BytesIO(unpacked)).load()
        return RefinementState(refinement, dict(pieces))
    except Exception as error:  # bytes of anything may raise anything when they are unpickled
        raise DamagedError(f"damaged, or not of this program: {error}") from None


def _identity(refining: Refining) -> dict[str, Any]:
    """What a state is of: objects of another version may not be what they seem."""
    return {"version": version("qsweep"), "arithmetic": ARITHMETIC, "refine": str(refining)}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        # Not what a module has imported, nor what it has from elsewhere by a name with dots.
        if f"{module}.{name}".startswith(_OWN) and "." not in name:
            found = super().find_class(module, name)
            if getattr(found, "__module__", None) == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a refinement")


def refining_frames(storage: Storage) -> list[str]:
    """Ids of the frames of which a part of their refinement is kept."""
    suffix = ".state"
    names = (file.path.partition("/")[2] for file in storage.files(REFINING_FOLDER))
    return [name.removesuffix(suffix) for name in names if name.endswith(suffix)]


class KeptRefinements:
    """What is kept of refinements that are not complete.

    Args:
        storage: of the results.
        refining: how choices are refined; ``None`` if they are not.
    """

    def __init__(self, storage: Storage, refining: Refining | None) -> None:
        self._storage = storage
        self._refining = refining

    def pack(self, state: RefinementState) -> bytes | None:
        """How far a refinement is, as it is kept; ``None`` if that is too large."""
        assert self._refining is not None
        return pack_state(state, self._refining)

    def write(self, frame: str, packed: bytes) -> None:
        """Keep how far the refinement of a frame is, in place of what was kept before.

        Raises:
            ResultsError: it cannot be written; or another driver has taken over.
        """
        self._storage.write(refining_path(frame), packed, durable=False)

    def read(self, frame: str) -> RefinementState | None:
        """How far the refinement of a frame was when the job ended, if that is known."""
        path = refining_path(frame)
        if self._refining is None or not self._storage.is_file(path):
            return None
        try:
            return unpack_state(self._storage.read(path), self._refining)
        except DamagedError as error:
            aside = self._storage.describe(self._storage.set_aside(path))
            where = self._storage.describe(path)
            _log.warning("%s: %s; it is kept as %s, and the frame is refined anew", where, error, aside)
            return None

    def delete(self, frame: str) -> None:
        """Forget a refinement: it is complete, or has failed."""
        if self._refining is not None:
            self._storage.delete(refining_path(frame))

    def tidy(self, frames: Container[str], done: Container[str]) -> None:
        """Delete what a driver that was killed at the wrong moment, or another refinement, has left.

        Args:
            frames: of the job.
            done: those of them that are complete.
        """
        for frame in refining_frames(self._storage):
            if frame not in frames or frame in done or self._refining is None:
                self._storage.delete(refining_path(frame))
        if self._refining is None:
            for file in self._storage.files(TRIALS_FOLDER):
                if file.path.partition("/")[2].removesuffix(".parquet") in frames:
                    self._storage.delete(file.path)
