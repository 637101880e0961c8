"""Outages of a storage: which of its errors may pass, and what is said while they last."""

import errno
import json
import logging
import re
import threading
import time

import pyarrow as pa

from workers.errors import OutageError, QsweepError

_log = logging.getLogger(__name__)

REPORT_SECONDS = 60.0
"""Seconds between two messages about the same outage."""

_FIRST_REPORT_SECONDS = 5.0  # shorter outages are not worth a message

# Arrow has one exception for everything that a service answers, and the libraries behind fsspec have their own.
_PASSING = re.compile(r"SlowDown|Throttl|RequestTimeout|TooManyRequests|TOO_MANY_REQUESTS", re.I)
_FINAL = re.compile(
    r"ACCESS_?DENIED|NO_?SUCH_?BUCKET|INVALID_?ACCESS_?KEY|(INVALID_?SIGNATURE|SIGNATURE_?DOES_?NOT_?MATCH)"
    r"|NO_SUCH_UPLOAD|EXPIRED_?TOKEN|(no|invalid|locate|find|load|your) (\w+ )?credentials",
    re.I,
)
_STATUS = re.compile(r"HTTP status (\d{3})", re.I)
_FINAL_TYPES = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    # Mistakes of a program or of its configuration, and operations that a storage does not have.
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    NotImplementedError,
    TypeError,
    ValueError,
    pa.ArrowInvalid,
    pa.ArrowNotImplementedError,
)
_FINAL_ERRNO = {
    getattr(errno, name)
    for name in ("EDQUOT", "EFBIG", "EINVAL", "ELOOP", "ENAMETOOLONG", "ENOSPC", "ENOTEMPTY", "EROFS", "EXDEV")
}
_MOUNT_ERRNO = {
    getattr(errno, name)
    for name in (
        "EAGAIN",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENOTCONN",
        "EREMOTEIO",
        "ESTALE",
        "ETIMEDOUT",
    )
    if hasattr(errno, name)
}
_PASSING_STATUS = (408, 425, 429)  # of the answers 4xx of HTTP, those that another try may change


def is_outage(error: BaseException, *, local: bool = False) -> bool:
    """Whether an error of a storage may pass, so that another try is of use.

    Args:
        error: from Python, Arrow, or the library of a storage behind fsspec.
        local: whether the storage is a local file system; of its errors only those of a network mount pass.
    """
    if isinstance(error, QsweepError) or not isinstance(error, Exception):
        return isinstance(error, OutageError)
    if local:
        return isinstance(error, OSError) and error.errno in _MOUNT_ERRNO
    if isinstance(error, json.JSONDecodeError):  # a proxy's page in place of an answer
        return True
    if isinstance(error, _FINAL_TYPES) or (isinstance(error, OSError) and error.errno in _FINAL_ERRNO):
        return False
    text = str(error)
    if _PASSING.search(text):
        return True
    if _FINAL.search(text):
        return False
    told = _STATUS.search(text)
    status = int(told[1]) if told else _http_status(error)
    return status is None or not 400 <= status < 500 or status in _PASSING_STATUS


def _http_status(error: Exception) -> int | None:
    """Status of the HTTP answer that an error tells of: as aiohttp, gcsfs, azure, requests and botocore keep it."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        response = response.get("ResponseMetadata", {})
        value = response.get("HTTPStatusCode") if isinstance(response, dict) else None
    else:
        found = [getattr(source, name, None) for source in (error, response) for name in ("status", "status_code")]
        value = next((status for status in [*found, getattr(error, "code", None)] if status is not None), None)
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return value if isinstance(value, int) else None


class Outage:
    """What is known of the outages of one storage, shared by everything that uses it.

    Args:
        name: of the storage, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._since: float | None = None
        self._reported: float | None = None
        self._hurried = threading.Event()

    @property
    def lasts(self) -> bool:
        """Whether the last attempt to use the storage met an outage."""
        return self._since is not None

    def failed(self, reason: str) -> None:
        """An attempt met an outage: say so once it has lasted for a while, then every minute."""
        with self._lock:
            now = time.monotonic()
            if self._since is None:
                self._since = now
            last, pause = (self._since, _FIRST_REPORT_SECONDS)
            if self._reported is not None:
                last, pause = self._reported, REPORT_SECONDS
            if now - last < pause:
                return
            self._reported = now
            seconds = now - self._since
        _log.warning("%s: cannot be reached for %.0f s, trying again until it can: %s", self._name, seconds, reason)

    def succeeded(self) -> None:
        """An attempt succeeded: there is no outage any more."""
        if self._since is None:
            return
        with self._lock:
            since, reported = self._since, self._reported
            self._since = self._reported = None
        if since is not None and reported is not None:
            _log.info("%s: can be reached again, after %.0f s", self._name, time.monotonic() - since)

    def hurry(self) -> None:
        """From now on no end of an outage is waited for: what waits is tried once more, and then fails."""
        self._hurried.set()

    def wait(self, seconds: float) -> bool:
        """Wait before another attempt; ``False`` if that is the last one."""
        return not self._hurried.wait(seconds)
