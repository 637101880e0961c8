"""Where results are: a folder or a URI, and files that appear in it whole or not at all."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeVar, cast

import pyarrow as pa
from pyarrow import fs

from workers.errors import ResultsError
from workers.files import PATIENCE_SECONDS, child, describe, is_local, is_uri, locate, persist
from workers.reasons import reason_of

_Result = TypeVar("_Result")

FIRST_PATIENCE_SECONDS = 5.0
"""Before a job begins, nobody is kept waiting for a place that cannot be reached."""

_READ_ONLY = ("http", "https")


class FileFound(NamedTuple):
    """A file below a folder.

    Attributes:
        path: below ``out``.
        seconds: when it was written, since the epoch.
    """

    path: str
    seconds: float


class Storage:
    """A folder of results. Behind a URI, whatever fails for a while is tried again meanwhile.

    Args:
        location: a path, or a URI that Arrow or fsspec knows.

    Raises:
        ResultsError: the URI is not one that results can be written to.

    Attributes:
        patience: seconds for which a distant service is tried again.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self.patience = FIRST_PATIENCE_SECONDS
        try:
            if location.partition("://")[0] in _READ_ONLY and is_uri(location):
                raise ValueError("it can only be read from")
            self.filesystem, self._root = locate(location)
        except ValueError as error:
            name = describe(location)
            raise ResultsError(f"{name}: not a URI that results can be written to: {reason_of(error)}") from None
        self._root = self._root.rstrip("/")
        self.local = is_local(self.filesystem)

    def be_patient(self) -> None:
        """From now on there is something to lose."""
        self.patience = PATIENCE_SECONDS

    def inner(self, path: str) -> str:
        """A path below ``out`` as :attr:`filesystem` names it."""
        return f"{self._root}/{path}" if path else self._root

    def location(self, path: str) -> str:
        """A path below ``out`` as a path or URI of its own, which any machine that sees it can read."""
        return child(self._location, path)

    def describe(self, path: str) -> str:
        """A path below ``out`` for messages."""
        return describe(child(self._location, path) if path else self._location)

    def is_file(self, path: str) -> bool:
        """Whether there is a file."""
        return bool(self._info(path).type == fs.FileType.File)

    def is_empty(self) -> bool:
        """Whether nothing is there, or only hidden files, such as those that a killed program was writing.

        Raises:
            ResultsError: what is there is no folder.
        """
        info = self._info("")
        if info.type == fs.FileType.NotFound:
            return True
        if info.type != fs.FileType.Directory:
            raise ResultsError(f"{self.describe('')}: results go into a folder; found a file")
        selector = fs.FileSelector(self._root)
        found = self._reach("", lambda: self.filesystem.get_file_info(selector))
        return all(info.base_name.startswith(".") for info in found)

    def files(self, folder: str) -> list[FileFound]:
        """All files in a folder and the folders in it, but for hidden ones, in the order of their paths."""
        selector = fs.FileSelector(self.inner(folder), allow_not_found=True, recursive=True)
        found = self._reach(folder, lambda: self.filesystem.get_file_info(selector))
        prefix = len(self._root) + 1
        return sorted(
            FileFound(info.path[prefix:], (info.mtime_ns or 0) / 1e9)
            for info in found
            if info.type == fs.FileType.File and not info.base_name.startswith(".")
        )

    @contextmanager
    def open(self, path: str) -> Iterator[pa.NativeFile]:
        """Open a file for reading.

        Raises:
            ResultsError: it cannot be read.
        """
        try:
            source = self._persist(lambda: self.filesystem.open_input_file(self.inner(path)))
        except OSError as error:
            raise ResultsError(f"{self.describe(path)}: cannot be read: {reason_of(error)}") from None
        with source:
            yield source

    def read(self, path: str) -> bytes:
        """Content of a file."""
        with self.open(path) as source:
            return cast(bytes, source.read())

    def write(self, path: str, content: bytes | pa.Buffer) -> None:
        """Write a file that appears at its path when it is complete, and not before.

        Raises:
            ResultsError: there is no room, or no right, to write it.
        """
        target = self.inner(path)
        folder = target.rpartition("/")[0]
        # Object stores show a file once it is closed, and have no folders; a folder shows what is in it as it
        # grows. A name that begins with a dot is none of the dataset's.
        partial = f"{folder}/.{uuid.uuid4().hex}" if self.local else target

        def attempt() -> None:
            if self.local:
                self.filesystem.create_dir(folder, recursive=True)
            with self.filesystem.open_output_stream(partial) as sink:
                sink.write(content)
            if self.local:
                self.filesystem.move(partial, target)

        try:
            self._persist(attempt)
        except OSError as error:
            raise ResultsError(f"{self.describe(path)}: cannot be written: {reason_of(error)}") from None
        finally:
            if self.local:
                with suppress(OSError):
                    self.filesystem.delete_file(partial)

    def probe(self) -> None:
        """Check that files can be written, before any work is done for them.

        Raises:
            ResultsError: they cannot.
        """
        path = f".{uuid.uuid4().hex}"
        self.write(path, b"")
        self.delete(path)

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        try:
            self._persist(lambda: self.filesystem.delete_file(self.inner(path)))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ResultsError(f"{self.describe(path)}: cannot be deleted: {reason_of(error)}") from None

    def _info(self, path: str) -> fs.FileInfo:
        return self._reach(path, lambda: self.filesystem.get_file_info(self.inner(path)))

    def _reach(self, path: str, look: Callable[[], _Result]) -> _Result:
        try:
            return self._persist(look)
        except OSError as error:
            raise ResultsError(f"{self.describe(path)}: cannot be reached: {reason_of(error)}") from None

    def _persist(self, attempt: Callable[[], _Result]) -> _Result:
        return attempt() if self.local else persist(attempt, self.patience)
