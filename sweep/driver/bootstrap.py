"""Start of a replica's process, with exactly the driver's code.

Ray puts the driver's working directory, and the folder of its script, in front of the import path of every process
of a job; a ``workers.py`` or another ``sweep/`` there would be imported in place of ours. So what is in this file
travels to the replica by value, and imports nothing of ours before it has found the driver's code on the replica's
node: first where the driver has it, then in every folder of the import path. Code is known by a digest of its
files.
"""

import hashlib
import importlib
import os
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

PACKAGES = ("sweep", "workers")


class Code(NamedTuple):
    """The code of qsweep that is in a folder.

    Attributes:
        root: the folder that the two packages are in; empty if they were not found.
        digest: of their sources, Python and C.
        version: of the distribution; empty if there is none.
    """

    root: str
    digest: str
    version: str


def code_in(root: str) -> Code:
    """The code in a folder.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    for package in PACKAGES:
        files = {path.relative_to(root).as_posix(): path for path in Path(root, package).rglob("*.*")}
        for name in sorted(files):
            if name.endswith((".py", ".pyi", ".c", ".h")):
                digest.update(name.encode() + b"\0" + hashlib.sha256(files[name].read_bytes()).digest())
    return Code(root, digest.hexdigest(), _version(root))


def _version(root: str) -> str:
    """Version of qsweep: of the distribution in the folder, or of the one that is installed."""
    for path in ([root], sys.path):
        for distribution in distributions(name="qsweep", path=path):
            return distribution.version
    return ""


class ReplicaActor:
    """A replica as Ray runs it: answers the driver's calls, once it has found the driver's code.

    Args:
        wanted: the driver's code.
        behind: entries of the import path that Ray has put in front of it, and that belong at its end.
        settings: of the replica; see :func:`sweep.driver.actor.make_replica`.
    """

    def __init__(self, wanted: Code, behind: Sequence[str], settings: bytes) -> None:
        _leave_deleted_folder()
        sys.path[:] = [*(p for p in sys.path if p not in behind), *(p for p in sys.path if p in behind)]
        self._code = find_code(wanted)
        self._serve: Any = None
        if self._code.digest == wanted.digest:
            import_from(self._code.root)
            self._serve = importlib.import_module("sweep.driver.actor")
            self._replica = self._serve.make_replica(settings)

    def where(self) -> tuple[Code, str, bytes | None]:
        """The code that was found, the node's name, and the replica's packed place if it is the driver's code."""
        place = None if self._serve is None else self._serve.describe(self._replica)
        return self._code, socket.gethostname(), place

    def call(self, request: bytes, references: Sequence[Any]) -> bytes:
        """Answer a call; see :func:`sweep.driver.actor.answer`."""
        answer: bytes = self._serve.answer(self._replica, request, references)
        return answer

    def train(self, request: bytes, references: Sequence[Any]) -> Iterator[bytes]:
        """Answer a call in parts; see :func:`sweep.driver.actor.answers`."""
        yield from self._serve.answers(self._replica, request, references)


def find_code(wanted: Code) -> Code:
    """The wanted code on this node; if it is not there, what is there in its place."""
    found = []
    for root in dict.fromkeys(_roots(wanted.root)):
        if all(Path(root, package, "__init__.py").is_file() for package in PACKAGES):
            code = code_in(root)
            if code.digest == wanted.digest:
                return code
            found.append(code)
    return found[0] if found else Code("", "", "")


def _roots(first: str) -> Iterator[str]:
    """Folders that the packages may be in."""
    yield first
    yield from (entry or str(Path.cwd()) for entry in sys.path)
    for finder in sys.meta_path:  # an editable installation is a finder of its own
        spec = getattr(finder, "find_spec", lambda *_: None)(PACKAGES[0], None)
        if spec is not None and spec.origin is not None:
            yield str(Path(spec.origin).parent.parent)


def import_from(root: str) -> None:
    """Have the packages imported from a folder from now on, whatever was imported before under their names."""
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Finder(root))
    importlib.invalidate_caches()


class _Finder:
    """Finds the packages in one folder, and nothing else."""

    def __init__(self, root: str) -> None:
        self._root = root

    def find_spec(self, name: str, path: Iterable[str] | None = None, _: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [self._root]) if path is None and name in PACKAGES else None


def _leave_deleted_folder() -> None:
    """Go elsewhere if the working directory is gone: torch cannot be loaded in one that is."""
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir(tempfile.gettempdir())
