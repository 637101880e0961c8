"""Where log records of this program appear: on the terminal, and in a file beside the results of a job."""

import io
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path

from rich.console import Console

from sweep.results import Storage
from workers.errors import QsweepError
from workers.files import describe
from workers.reasons import printable, without_colours

_log = logging.getLogger(__name__)

LOG_FOLDER = "log"
_NAMES = ("sweep", "workers")
_WARNINGS = "py.warnings"  # what libraries say by the warnings module

_UPLOAD_SECONDS = 60.0  # between two copies of the log behind a URI, where nothing can be appended
_MAX_UPLOAD_CHARACTERS = 1 << 22


class Verbosity(IntEnum):
    """What is shown: the least level of log records."""

    QUIET = logging.ERROR
    NORMAL = logging.INFO
    VERBOSE = logging.DEBUG


class _ConsoleFormatter(logging.Formatter):
    """One line per record, warnings and errors marked; with tracebacks if everything is to be shown."""

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        message = printable(without_colours(record.getMessage()))
        if record.levelno >= logging.ERROR:
            line = f"error: {message}"
        elif record.levelno >= logging.WARNING:
            line = f"warning: {message}"
        else:
            line = f"{self.formatTime(record, self.datefmt)} {message}"
        return f"{line}\n{_traceback(self, record)}" if self._tracebacks and record.exc_info else line


class _FileFormatter(logging.Formatter):
    """Everything that is known of a record, as plain text."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record)} {record.levelname} {record.name}: "
        line += printable(without_colours(record.getMessage()))
        return f"{line}\n{_traceback(self, record)}" if record.exc_info else line


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    assert record.exc_info
    return printable(without_colours(formatter.formatException(record.exc_info)), keep="\n\t")


class _ConsoleHandler(logging.Handler):
    """Prints records on a console, above a bar if there is one, and never breaks their lines."""

    def __init__(self, console: Console, verbosity: Verbosity) -> None:
        super().__init__(verbosity)
        self._console = console
        self.setFormatter(_ConsoleFormatter(tracebacks=verbosity is Verbosity.VERBOSE))

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # a stream that fails, or is closed, ends no job
            self._console.print(self.format(record), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def logging_to(console: Console, verbosity: Verbosity = Verbosity.NORMAL) -> Iterator[None]:
    """Log records of this program as lines on the console.

    Warnings begin ``warning:`` and errors ``error:``; other records begin with the time of day.
    """
    handler = _ConsoleHandler(console, verbosity)
    names = (*_NAMES, _WARNINGS) if verbosity is Verbosity.VERBOSE else _NAMES
    with _attached(handler, names, min(verbosity, logging.INFO)):
        yield


@contextmanager
def _attached(handler: logging.Handler, names: tuple[str, ...], level: int) -> Iterator[None]:
    """Have a handler get the records of some loggers, from a level on, until the context is left."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(min(level, logger.level) if logger.level else level)
    try:
        yield
    finally:
        for logger, before in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(before)


@contextmanager
def log_file(out: str) -> Iterator[None]:
    """Keep what this program logs, with every traceback, in a file of its own below the results of a job.

    On a disk each record is there at once; behind a URI the file is written once a minute and in the end. A file
    that cannot be written is reported once as a warning and changes nothing else.

    Args:
        out: folder or URI of the results.
    """
    path = f"{LOG_FOLDER}/{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.log"
    try:
        storage = Storage(out)
        handler = _disk_handler(Path(storage.inner(path))) if storage.local else _UploadHandler(storage, path)
    except (OSError, QsweepError) as error:
        _log.warning("there will be no log file below %s: %s", describe(out), error)
        yield
        return
    handler.setFormatter(_FileFormatter())
    try:
        with _attached(handler, (*_NAMES, _WARNINGS), logging.INFO):
            _log.info("log file: %s", storage.describe(path))
            yield
    except BaseException as error:
        record = logging.LogRecord(__name__, logging.ERROR, __file__, 0, "the run ended early", None, None)
        record.exc_info = (type(error), error, error.__traceback__)
        handler.handle(record)
        raise
    finally:
        handler.close()


class _DiskHandler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A full disk is told by what matters more."""

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def _disk_handler(path: Path) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    return _DiskHandler(path, encoding="utf-8", errors="backslashreplace")


class _UploadHandler(logging.Handler):
    """Keeps records in memory and copies them to an object, in the background."""

    def __init__(self, storage: Storage, path: str) -> None:
        super().__init__()
        self._storage, self._path = storage, path
        self._text = io.StringIO()
        self._changed, self._closed = False, threading.Event()
        self._thread = threading.Thread(target=self._keep, name="qsweep-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._text.tell() < _MAX_UPLOAD_CHARACTERS:
            self._text.write(self.format(record) + "\n")
            self._changed = True

    def _keep(self) -> None:
        while not self._closed.wait(_UPLOAD_SECONDS):
            self._upload()
        self._upload()

    def _upload(self) -> None:
        self.acquire()
        text, changed, self._changed = self._text.getvalue(), self._changed, False
        self.release()
        if not changed:
            return
        try:
            self._storage.write(self._path, text.encode("utf-8", "backslashreplace"))
        except Exception:  # of many kinds, by store; the next copy has all of it
            self._changed = True

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        super().close()
