"""Files wherever they are: on this machine, or behind a URI such as ``s3://bucket/frame.png``."""

import hashlib
import math
import os
import random
import re
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar, cast
from urllib.parse import unquote

import fsspec
import pyarrow as pa
from pyarrow import fs

from workers.errors import QsweepError
from workers.outage import Outage, is_outage
from workers.reasons import reason_of

Result = TypeVar("Result")

PATIENCE_SECONDS = 120.0
"""For so long a service that answers with errors, or not at all, is asked again."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_QUERY = re.compile(r"\?\w+=")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_S3_TIMEOUT_SECONDS = 8.0


class Fingerprint(NamedTuple):
    """What tells whether a file is still the one that was read.

    Attributes:
        stamp: size in bytes and time of change in nanoseconds, a space between; the fast check. Where a store keeps
            no time, the size alone.
        digest: SHA-256 of the bytes that were used, in hexadecimal: what decides where the stamps differ.
    """

    stamp: str
    digest: str


def digest_of(content: bytes) -> str:
    """SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class StoreError(OSError):
    """An error of a storage's library that is no ``OSError`` itself."""


def is_uri(location: str) -> bool:
    """Whether this is a URI, and no path."""
    return "://" in location


def describe(location: str) -> str:
    """A path or URI for messages: without options and credentials."""
    if not is_uri(location):
        return location
    scheme, _, rest = location.partition("://")
    path, _ = split_options(rest)
    authority, slash, key = path.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{key}"


def child(location: str, path: str) -> str:
    """Path or URI of a file below a folder."""
    if not is_uri(location):
        return f"{location.rstrip('/')}/{path}"
    folder, options = split_options(location)
    return f"{folder.rstrip('/')}/{path}{options}"


def split_folder(location: str) -> tuple[str, str]:
    """Folder of a file, as a path or URI, and the file's name in it."""
    if not is_uri(location):
        path = _at_home(location).absolute()
        return str(path.parent), path.name
    path_, options = split_options(location)
    folder, _, name = path_.rpartition("/")
    return folder + options, name


def _at_home(path: str) -> Path:
    return Path(os.path.expanduser(path))  # noqa: PTH111  # a Path has lost the ./ of ./~name already


def split_options(uri: str) -> tuple[str, str]:
    """A URI without its options, and the options with the question mark."""
    query = _QUERY.search(uri)
    return (uri[: query.start()], uri[query.start() :]) if query else (uri, "")


def locate(location: str) -> tuple[fs.FileSystem, str]:
    """File system of a path or URI, and the path in it.

    Object stores are Arrow's own where it has one (``s3://``, ``gs://``), with their options in the URI's query;
    others are those of fsspec. Keys stand in a URI as they are, without percent-encoding. A path may begin with
    ``~`` or ``~user``.

    Raises:
        ValueError: there is no file system of this kind, or the URI is none.
    """
    if not is_uri(location):
        return fs.LocalFileSystem(), str(_at_home(location).absolute())
    scheme, _, rest = location.partition("://")
    if not _SCHEME.fullmatch(scheme):
        raise ValueError("a URI begins with the name of its scheme")
    if scheme == "file":
        if not rest.startswith("/"):
            raise ValueError("a file is file:///…, with an absolute path")
        return fs.LocalFileSystem(), unquote(rest)
    path, options = split_options(rest)
    authority, _, key = path.partition("/")
    filesystem, root = _filesystem(f"{scheme}://{authority}", options)
    return filesystem, "/".join(part for part in (root.rstrip("/"), key) if part)


@lru_cache(maxsize=64)  # a connection each
def _filesystem(base: str, options: str) -> tuple[fs.FileSystem, str]:
    try:
        filesystem, root = fs.FileSystem.from_uri(base + options)
    except pa.ArrowInvalid as error:
        if "nrecognized filesystem" not in str(error):
            raise ValueError(reason_of(error)) from None
        try:
            other, root = fsspec.core.url_to_fs(base)
        except Exception as reason:  # the libraries raise many unrelated types
            raise ValueError(reason_of(reason)) from None
        filesystem = fs.PyFileSystem(fs.FSSpecHandler(other))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(reason_of(error)) from None
    if isinstance(filesystem, fs.S3FileSystem):
        # A URI cannot say how long to wait: 3 s for each of ten tries, too short for a slow server and too long for
        # a dead one. What it does say is what a copy would get.
        rebuild, (settings,) = filesystem.__reduce__()
        settings |= {"request_timeout": _S3_TIMEOUT_SECONDS, "retry_strategy": fs.AwsStandardS3RetryStrategy(2)}
        filesystem = rebuild(settings)
    return filesystem, cast(str, root)


def is_local(filesystem: fs.FileSystem) -> bool:
    """Whether files are on this machine, or mounted on it."""
    return isinstance(filesystem, fs.LocalFileSystem)


def read_bytes(location: str | Path, patience: float = PATIENCE_SECONDS) -> bytes:
    """Content of a file.

    Raises:
        OSError: it cannot be read; behind a URI, for so many seconds.
        ValueError: see :func:`locate`.
    """
    filesystem, path = locate(str(location))
    if is_local(filesystem):
        return Path(path).read_bytes()

    def read() -> bytes:
        with filesystem.open_input_file(path) as source:
            return cast(bytes, source.read())

    return persist(read, patience)


def file_size(location: str | Path, patience: float = PATIENCE_SECONDS) -> int:
    """Bytes of a file; errors are those of :func:`read_bytes`."""
    filesystem, path = locate(str(location))
    if is_local(filesystem):
        return Path(path).stat().st_size

    def measure() -> int:
        with filesystem.open_input_file(path) as source:
            return int(source.size())

    return persist(measure, patience)


def file_stamp(location: str | Path, patience: float = PATIENCE_SECONDS) -> str:
    """Stamp of a file, see :class:`Fingerprint`, empty if there is none; errors are those of :func:`read_bytes`."""
    filesystem, path = locate(str(location))

    def look() -> fs.FileInfo:
        return filesystem.get_file_info(path)

    found = look() if is_local(filesystem) else persist(look, patience)
    return " ".join(str(value) for value in (found.size, found.mtime_ns) if value is not None)


def read_part(location: str | Path, start: int, length: int, patience: float = PATIENCE_SECONDS) -> bytes:
    """Some bytes of a file.

    Args:
        location: path or URI of the file.
        start: of the part, in bytes.
        length: of the part, in bytes.
        patience: see :func:`read_bytes`.

    Raises:
        OSError: it cannot be read, or ends before that.
        ValueError: see :func:`locate`.
    """
    filesystem, path = locate(str(location))

    def read() -> bytes:
        with filesystem.open_input_file(path) as source:
            source.seek(start)
            return cast(bytes, source.read(length))

    content = read() if is_local(filesystem) else persist(read, patience)
    if len(content) != length:
        raise OSError(f"{length} bytes are expected at {start}; found {len(content)}")
    return content


def persist(
    attempt: Callable[[], Result], patience: float, outage: Outage | None = None, *, local: bool = False
) -> Result:
    """Try something with a storage until it succeeds, for so many seconds.

    Args:
        attempt: may be made any number of times.
        patience: seconds for which outages are waited out; infinity for as long as they last.
        outage: notes what fails and what succeeds.
        local: whether the storage is a local file system; see :func:`~workers.outage.is_outage`.

    Raises:
        OSError: the last error; at once where another try is of no use. A :class:`StoreError` in place of
            whatever else the storage's library raises.
        QsweepError: raised by the attempt.
    """
    outage = outage or Outage("")
    end, pause = time.monotonic() + patience, _FIRST_PAUSE
    while True:
        try:
            result = attempt()
        except MemoryError:
            raise
        except Exception as error:
            passes = is_outage(error, local=local)
            if passes:
                outage.failed(reason_of(error))
            if not passes or time.monotonic() + pause > end:
                if isinstance(error, OSError | QsweepError):
                    raise
                raise StoreError(reason_of(error)) from error
        else:
            outage.succeeded()
            return result
        if not outage.wait(pause * random.uniform(0.5, 1.0)):
            end = -math.inf  # this is the last attempt
        pause = min(2 * pause, _LONGEST_PAUSE)
