"""The one file that a command writes where its user says: a file, a URI, a pipe, a device, or standard output."""

import errno
import fcntl
import os
import re
import stat
import sys
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs

from sweep.results.storage import PATIENCE_SECONDS, Storage
from workers.errors import ResultsError
from workers.files import describe, is_local, is_uri, locate, persist, split_folder, split_options
from workers.local_files import kind_of, replace_file, write_all
from workers.outage import Outage
from workers.reasons import reason_of
from workers.streams import stdout_was_closed

STDOUT = "-"
"""Stands for standard output; a file of this name is ``./-``."""

_DESCRIPTORS = re.compile(r"/proc/(\d+)(/task/\d+)?/fd|/dev/fd")
_MOST_LINKS = 40
_S3_SCHEMES = ("s3a", "s3n")  # older names


class Output:
    """A destination that is checked before any work is done for it.

    A file appears when it is complete, in place of the one that was there, if any; symbolic links are followed.
    Pipes and character devices are written into, as are file descriptors by names such as ``/dev/stdout``: these
    are opened at once, and closed when the context is left.

    Args:
        location: path, URI, or ``-`` for standard output.
        inputs: paths and URIs of what the command reads, which it never writes over.

    Raises:
        ResultsError: nothing can be written there: it is an input, a folder, a block device, a socket, a terminal,
            a named pipe that no process reads; or there is no right to.

    Attributes:
        name: for messages.
        is_stream: whether it is a pipe, a device or a descriptor, so that its name does not tell a format.
    """

    def __init__(self, location: str, inputs: Iterable[str] = ()) -> None:
        self.name = describe_output(location)
        self._descriptor: int | None = None
        self._path: str | None = None
        self._storage: tuple[Storage, str] | None = None
        try:
            found = self._open(location)
            self._check_inputs(location, found, inputs)
        except OSError as error:
            self.close()
            raise ResultsError(f"{self.name}: cannot be written: {reason_of(error)}") from None
        except BaseException:
            self.close()
            raise
        self.is_stream = location == STDOUT or self._descriptor is not None

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open; the reader of a pipe sees its end."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def write(self, content: bytes, *, started: bool = False) -> None:
        """Write everything at once.

        Args:
            content: all of it.
            started: whether it took work to make, for errors to say so.

        Raises:
            ResultsError: it cannot be written. A file that was there is unchanged.
        """
        try:
            self._write(content)
        except ResultsError as error:
            error.started = started
            raise

    def _write(self, content: bytes) -> None:
        if self._storage is not None:
            storage, name = self._storage
            storage.be_patient()
            storage.write(name, content)
            return
        try:
            if self._descriptor is not None:
                sys.stdout.flush()  # what was printed before, should both be the same file
                write_all(self._descriptor, content)
            elif self._path is not None:
                path = self._path
                persist(lambda: replace_file(path, content), PATIENCE_SECONDS, Outage(self.name), local=True)
            else:
                sys.stdout.buffer.write(content)
                sys.stdout.buffer.flush()
        except OSError as error:
            raise ResultsError(f"{self.name}: cannot be written: {reason_of(error)}") from None

    def _open(self, location: str) -> os.stat_result | None:
        """Find out what is there, and open it if that is how it is written; give its status, if it exists."""
        if location == STDOUT:
            return self._open_stdout()
        if is_uri(location):
            try:
                filesystem, path = locate(location)
            except ValueError as error:
                raise ResultsError(f"{self.name}: cannot be written: {reason_of(error)}") from None
            if not is_local(filesystem):
                folder, name = split_folder(location)
                if not name:
                    raise ResultsError(f"{self.name}: the name of a file is missing")
                storage = Storage(folder)
                storage.probe()
                self._storage = storage, name
                return None
        else:
            path = location
        if not path or path.endswith("/"):
            raise ResultsError(f"{self.name or repr(path)}: the name of a file is missing")
        return self._open_path(path)

    def _check_inputs(self, location: str, found: os.stat_result | None, inputs: Iterable[str]) -> None:
        if self._storage is not None:
            same = _same_uri(location, inputs)
        else:
            same = None if found is None or stat.S_ISCHR(found.st_mode) else _same_file(found, inputs)
        if same is not None:
            raise ResultsError(f"{self.name}: is an input too ({describe(same)}); choose another output")

    def _open_stdout(self) -> os.stat_result | None:
        if stdout_was_closed():
            raise OSError(errno.EBADF, "it is closed")
        if sys.stdout.isatty():
            raise ResultsError(f"{self.name}: is a terminal; write into a file, or a pipe")
        try:
            number = sys.stdout.fileno()
        except (OSError, ValueError):  # it was replaced by something in memory
            return None
        # Not through sys.stdout, which ignores errors: what is printed there decides nothing, a file does.
        self._descriptor = os.dup(number)
        return os.fstat(number)

    def _open_path(self, path: str) -> os.stat_result | None:
        resolved, descriptor = _follow(path)
        if descriptor is not None:
            self._descriptor = os.dup(descriptor)
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, "it is open for reading only")
        else:
            try:
                found = os.stat(resolved)  # noqa: PTH116
            except FileNotFoundError:
                found = None
            if found is None or stat.S_ISREG(found.st_mode):
                _check_place(Path(resolved), found is not None)
                self._path = resolved
                return found
            if not stat.S_ISFIFO(found.st_mode) and not stat.S_ISCHR(found.st_mode):
                raise OSError(errno.EEXIST, f"it is {kind_of(found.st_mode)}")
            self._descriptor = _open_stream(resolved)
        if os.isatty(self._descriptor):
            raise ResultsError(f"{self.name}: is a terminal; write into a file, or a pipe")
        return os.fstat(self._descriptor)


def describe_output(location: str) -> str:
    """A path, URI or ``-`` for messages."""
    return "standard output" if location == STDOUT else describe(location)


def goes_to_stdout(location: str) -> bool:
    """Whether an output is standard output, by whatever name, so that nothing else must be written there."""
    if location == STDOUT:
        return True
    with suppress(OSError, ValueError):
        filesystem, path = locate(location)
        if is_local(filesystem):
            return os.path.samestat(os.stat(path), os.fstat(sys.stdout.fileno()))  # noqa: PTH116
    return False


def _follow(path: str) -> tuple[str, int | None]:
    """Where symbolic links lead: a path without any, or the number of a file descriptor of this process."""
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(path)
        folder = os.path.realpath(folder)
        descriptors = _DESCRIPTORS.fullmatch(folder)
        if descriptors and name.isdecimal() and descriptors[1] in (None, str(os.getpid())):
            return path, int(name)
        path = os.path.join(folder, name)  # noqa: PTH118
        if name in (".", ".."):
            return os.path.realpath(path), None
        if not os.path.islink(path):  # noqa: PTH114
            return path, None
        path = os.path.join(folder, os.readlink(path))  # noqa: PTH115, PTH118
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _open_stream(path: str) -> int:
    """Open a named pipe or a device for writing, without waiting for anything."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "no process reads this pipe; start its reader first") from None
        raise
    os.set_blocking(descriptor, True)
    return descriptor


def _check_place(path: Path, exists: bool) -> None:
    """Raise ``OSError`` if a file cannot be made, or replaced, there."""
    if exists and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    folder = next(parent for parent in path.parents if os.path.lexists(parent))
    probe = folder / f".{uuid.uuid4().hex}.partial"
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    probe.unlink()


def _same_file(found: os.stat_result, inputs: Iterable[str]) -> str | None:
    """The first of some inputs that is the file of this status, however it is named."""
    for location in inputs:
        with suppress(OSError, ValueError):
            filesystem, path = locate(location)
            if is_local(filesystem) and os.path.samestat(found, os.stat(path)):  # noqa: PTH116
                return location
    return None


def _same_uri(uri: str, inputs: Iterable[str]) -> str | None:
    """The first of some inputs that is the object of this URI, whatever the credentials."""
    own = _object(uri)
    return next((location for location in inputs if is_uri(location) and _object(location) == own), None)


def _object(uri: str) -> tuple[str, str, object]:
    """What tells one object from others: scheme, path, and the server if it is not the usual one."""
    scheme, _, path = describe(uri).partition("://")
    scheme = "s3" if scheme in _S3_SCHEMES else "gs" if scheme == "gcs" else scheme
    _, options = split_options(uri)
    return scheme.lower(), re.sub("/+", "/", path), parse_qs(options.removeprefix("?")).get("endpoint_override")
