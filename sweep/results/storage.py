"""Where results are: a folder or a URI, and files that appear in it whole or not at all."""

import copy
import math
import uuid
from collections.abc import Callable
from typing import NamedTuple, NoReturn, TypeVar, cast

import pyarrow as pa
from pyarrow import fs

from workers.errors import OutageError, ResultsError
from workers.files import child, describe, is_local, is_uri, locate, persist
from workers.local_files import is_partial, replace_file
from workers.outage import Outage, is_outage
from workers.reasons import reason_of

_Result = TypeVar("_Result")

FIRST_PATIENCE_SECONDS = 5.0
"""Before a job begins, nobody is kept waiting for a place that cannot be reached."""

PATIENCE_SECONDS = math.inf
"""When there is something to lose, the end of an outage is waited for, however long it lasts."""

_READ_ONLY = ("http", "https")

DAMAGED_FOLDER = "damaged"
"""Files that cannot be used are kept there: in the folders of results, readers of whole folders would find them."""


class FileFound(NamedTuple):
    """A file below a folder.

    Attributes:
        path: below ``out``.
        seconds: when it was written, since the epoch.
        size: in bytes; ``None`` where the storage does not say.
    """

    path: str
    seconds: float
    size: int | None


class Storage:
    """A folder of results. Whatever fails for a while, as when a server is away, is tried again meanwhile.

    Args:
        location: a path, or a URI that Arrow or fsspec knows.

    Raises:
        ResultsError: the URI is not one that results can be written to.

    Attributes:
        patience: seconds for which an outage of the storage is waited out.
        outage: what is known of its outages.
        guard: called before every change of a file, also when it is tried again; it raises a ``QsweepError`` if the
            folder must not be changed any more.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self.patience = FIRST_PATIENCE_SECONDS
        self.outage = Outage(describe(location))
        self.guard: Callable[[], None] = _no_guard
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
        """From now on there is something to lose: outages are waited out."""
        self.patience = PATIENCE_SECONDS

    def hurry(self) -> None:
        """From now on no outage is waited out any more, also by what waits already."""
        self.outage.hurry()

    def with_patience(self, seconds: float, *, guarded: bool = True) -> "Storage":
        """The same folder with another patience.

        Args:
            seconds: for which an outage is waited out.
            guarded: whether :attr:`guard` holds there too.
        """
        other = copy.copy(self)
        other.patience = seconds
        if not guarded:
            other.guard = _no_guard
        return other

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
        """All files in a folder and the folders in it, in the order of their paths.

        Left out are those that are still being written, and those in :data:`DAMAGED_FOLDER`.
        """
        selector = fs.FileSelector(self.inner(folder), allow_not_found=True, recursive=True)
        found = self._reach(folder, lambda: self.filesystem.get_file_info(selector))
        prefix, damaged = len(self._root) + 1, self.inner(f"{DAMAGED_FOLDER}/")
        return sorted(
            FileFound(info.path[prefix:], (info.mtime_ns or 0) / 1e9, info.size)
            for info in found
            if info.type == fs.FileType.File
            and not is_partial(info.base_name)
            and not info.path.startswith(damaged)
        )

    def read(self, path: str) -> bytes:
        """Content of a file.

        Raises:
            ResultsError: it cannot be read.
        """
        return self.read_range(path, 0, None)

    def read_range(self, path: str, start: int, length: int | None) -> bytes:
        """Some bytes of a file, or ``None`` for all that follow.

        Raises:
            ResultsError: it cannot be read.
        """

        def attempt() -> bytes:
            with self.filesystem.open_input_file(self.inner(path)) as source:
                if start:
                    source.seek(start)
                return cast(bytes, source.read(length))

        try:
            return self.retry(attempt)
        except OSError as error:
            self._fail(path, "cannot be read", error)

    def write(self, path: str, content: bytes | pa.Buffer, *, durable: bool = True) -> None:
        """Write a file that appears at its path when it is complete, and not before.

        Args:
            path: below ``out``. Symbolic links there are followed.
            content: of the file.
            durable: whether it survives a power failure from when this returns. It costs milliseconds on a local
                disk; object stores do it always.

        Raises:
            ResultsError: there is no room, or no right, to write it; or the guard objects.
        """
        target = self.inner(path)

        def attempt() -> None:
            self.guard()
            if self.local:
                replace_file(target, content, durable=durable, before=self.guard)
            else:
                # Object stores show a file once it is closed.
                with self.filesystem.open_output_stream(target) as sink:
                    sink.write(content)

        try:
            self.retry(attempt)
        except OSError as error:
            self._fail(path, "cannot be written", error)

    def set_aside(self, path: str) -> str:
        """Move a file that cannot be used, so that nothing reads or replaces it.

        Returns:
            Its new path: the same one below :data:`DAMAGED_FOLDER`, numbered if an earlier file has it.

        Raises:
            ResultsError: it cannot be moved.
        """
        aside, number = f"{DAMAGED_FOLDER}/{path}", 1
        while self.is_file(aside):
            number += 1
            aside = f"{DAMAGED_FOLDER}/{path}-{number}"

        def attempt() -> None:
            self.guard()
            if self.local:  # object stores have no folders
                self.filesystem.create_dir(self.inner(aside.rpartition("/")[0]), recursive=True)
            self.filesystem.move(self.inner(path), self.inner(aside))

        try:
            self.retry(attempt)
        except OSError as error:
            moved = isinstance(error, FileNotFoundError) and self.is_file(aside)  # and then the answer was lost
            if not moved:
                self._fail(path, "cannot be moved", error)
        return aside

    def probe(self) -> None:
        """Check that files can be written, before any work is done for them.

        Raises:
            ResultsError: they cannot.
        """
        path = f".{uuid.uuid4().hex}.partial"
        try:
            self.write(path, b"", durable=False)
            self.delete(path)
        except ResultsError as error:  # the folder is what matters
            raise type(error)(str(error).replace(self.describe(path), self.describe(""), 1)) from None

    def delete(self, path: str) -> None:
        """Delete a file, if it is there.

        Raises:
            ResultsError: it cannot be deleted; or the guard objects.
        """

        def attempt() -> None:
            self.guard()
            self.filesystem.delete_file(self.inner(path))

        try:
            self.retry(attempt)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._fail(path, "cannot be deleted", error)

    def retry(self, attempt: Callable[[], _Result]) -> _Result:
        """Use :attr:`filesystem`; again and again while there is an outage, as long as the patience lasts.

        Raises:
            OSError: the last error, whatever its type was.
        """
        return persist(attempt, self.patience, self.outage, local=self.local)

    def _info(self, path: str) -> fs.FileInfo:
        return self._reach(path, lambda: self.filesystem.get_file_info(self.inner(path)))

    def _reach(self, path: str, look: Callable[[], _Result]) -> _Result:
        try:
            return self.retry(look)
        except OSError as error:
            self._fail(path, "cannot be reached", error)

    def _fail(self, path: str, what: str, error: OSError) -> NoReturn:
        """Raise a ``ResultsError`` that names the file."""
        self.check_outage(path, error, what)
        raise ResultsError(f"{self.describe(path)}: {what}: {reason_of(error)}") from None

    def check_outage(self, path: str, error: OSError, what: str = "cannot be read") -> None:
        """Raise an ``OutageError`` that names the file, if that is what the error tells of."""
        if is_outage(error.__cause__ or error, local=self.local):
            raise OutageError(f"{self.describe(path)}: {what}: {reason_of(error)}") from None


def _no_guard() -> None:
    """Anything may be changed."""
