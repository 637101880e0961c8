"""Outages of a storage: told from errors that do not pass, waited out, and told of."""

import errno
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from fsspec.exceptions import FSTimeoutError

from workers import outage
from workers.errors import ClaimError, OutageError
from workers.files import StoreError, persist
from workers.outage import Outage, is_outage


class LibraryError(Exception):
    """As the libraries behind fsspec have them: no ``OSError``, and a status somewhere."""

    def __init__(self, message: str = "an answer of the service", **fields: Any) -> None:
        super().__init__(message)
        for name, value in fields.items():
            setattr(self, name, value)


class Response:
    status_code = 503

    def __repr__(self) -> str:  # the same in every process that runs tests
        return "Response(503)"


PASSING = [
    ConnectionResetError("reset"),
    TimeoutError("too long"),
    FSTimeoutError(),
    OSError("AWS Error SLOW_DOWN during PutObject"),
    OSError(5, "Input/output error"),
    OSError(-3, "Temporary failure in name resolution"),
    OSError("s3://b/signatures/credentials/a: the server does not answer"),
    pa.ArrowException("nobody there"),
    LibraryError(),
    LibraryError(status=503),
    LibraryError(code=429),
    LibraryError(code="502"),
    LibraryError(response=Response()),
    LibraryError(response={"Error": {"Code": "InternalError"}, "ResponseMetadata": {"HTTPStatusCode": 500}}),
    LibraryError("RequestTimeout", response={"ResponseMetadata": {"HTTPStatusCode": 400}}),
    OutageError("the claim cannot be read"),
]
FINAL = [
    FileNotFoundError(2, "No such file"),
    PermissionError(13, "Permission denied"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EROFS, "Read-only file system"),
    OSError("AWS Error ACCESS_DENIED during PutObject"),
    OSError("AWS Error UNKNOWN (HTTP status 403) during HeadObject"),
    OSError("NoSuchBucket"),
    LibraryError("Unable to locate credentials"),
    LibraryError(status=403),
    LibraryError(code="404"),
    LibraryError(response={"ResponseMetadata": {"HTTPStatusCode": 401}}),
    NotImplementedError("this storage cannot be written"),
    TypeError("a mistake"),
    ClaimError("another driver"),
    KeyboardInterrupt(),
]


def name(error: BaseException) -> str:
    return f"{type(error).__name__}-{error}-{vars(error)}"


@pytest.mark.parametrize("error", PASSING, ids=name)
def test_errors_that_pass(error: BaseException) -> None:
    assert is_outage(error)


@pytest.mark.parametrize("error", FINAL, ids=name)
def test_errors_that_do_not_pass(error: BaseException) -> None:
    assert not is_outage(error)


def test_of_local_errors_only_those_of_a_mount_pass() -> None:
    assert is_outage(OSError(errno.ESTALE, "Stale file handle"), local=True)
    assert is_outage(OSError(errno.ENOTCONN, "Transport endpoint is not connected"), local=True)
    assert not is_outage(OSError(errno.ENOSPC, "No space left on device"), local=True)
    assert not is_outage(OSError(errno.EIO, "Input/output error"), local=True)
    assert not is_outage(LibraryError(), local=True)


def failing(errors: list[Exception]) -> Callable[[], str]:
    """Fails with each of some errors, then succeeds."""

    def attempt() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    return attempt


def test_whatever_type_the_error_of_an_outage_has_it_is_waited_out() -> None:
    assert persist(failing([LibraryError(), ConnectionResetError(), OutageError("no")]), 60.0) == "done"


def test_an_error_that_does_not_pass_is_an_os_error_at_once() -> None:
    with pytest.raises(StoreError, match=r"^an answer of the service$") as raised:
        persist(failing([LibraryError(status=403)]), 60.0)
    assert isinstance(raised.value.__cause__, LibraryError)
    with pytest.raises(ClaimError):
        persist(failing([ClaimError("another driver")]), 60.0)


def test_an_outage_is_told_of_once_then_every_minute_and_so_is_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(outage.time, "monotonic", lambda: now)
    caplog.set_level(logging.INFO)
    of_store = Outage("s3://bucket/out")
    for _ in range(300):  # seconds
        of_store.failed("no answer")
        of_store.failed("no answer")  # several writers
        now += 1.0
    assert of_store.lasts
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 5
    assert warnings[1] == "s3://bucket/out: cannot be reached for 65 s, trying again until it can: no answer"
    of_store.succeeded()
    assert not of_store.lasts
    assert caplog.records[-1].getMessage() == "s3://bucket/out: can be reached again, after 300 s"
    caplog.clear()
    of_store.failed("a moment")
    of_store.succeeded()
    assert not caplog.records, "a moment is not worth a word"


def test_who_waits_for_the_end_of_an_outage_stops_when_told_to_hurry() -> None:
    of_store, errors = Outage("out"), list[BaseException]()

    def wait_for_ever() -> None:
        try:
            persist(failing([LibraryError()] * 1000), float("inf"), of_store)
        except OSError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait_for_ever)
    waiting.start()
    while not of_store.lasts:
        time.sleep(0.01)
    of_store.hurry()
    waiting.join(30.0)
    assert isinstance(errors[0], StoreError)
