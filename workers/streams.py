"""Standard output and standard error that cannot fail: what is printed decides nothing."""

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import TextIO

_WAIT_SECONDS = 1.0  # between two looks at a pipe that is full

_closed_at_start: set[int] = set()


class _TolerantFile(io.FileIO):
    """A file descriptor whose writes never raise.

    Attributes:
        failure: the first error, if there was one.
    """

    failure: OSError | None = None

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Write, or note why that failed; either way, say that all was written."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest:
                n_written = super().write(rest)
                if n_written is None:  # a pipe that does not block, and is full
                    select.select([], [self], [], _WAIT_SECONDS)
                else:
                    rest = rest[n_written:]
        except OSError as error:
            self.failure = self.failure or error
        return size


def prepare_streams() -> None:
    """Make the standard streams of this process safe to print to.

    Characters that a stream's encoding lacks are written as escapes. A pipe that is closed, a full disk and a
    stream that was closed before the start (``>&-``) raise nothing. To be called when a program begins.
    """
    # A file that is opened later must not get the number of a standard stream: others print to that number.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            _closed_at_start.add(number)
    sys.stdout = _tolerant(sys.stdout, 1)
    sys.stderr = _tolerant(sys.stderr, 2)


def _tolerant(stream: TextIO | None, number: int) -> TextIO:
    if stream is not None:
        with suppress(OSError):
            stream.flush()
    raw = _TolerantFile(number, "w", closefd=False)
    by_line = number == 2 or raw.isatty()
    encoding = getattr(stream, "encoding", None) or "utf-8"
    buffer = io.BufferedWriter(raw)  # type: ignore[type-var]
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=by_line)


def stdout_was_closed() -> bool:
    """Whether this program was started without a standard output, so that what is written there is lost."""
    return 1 in _closed_at_start


def output_failure() -> str | None:
    """Why standard output is not complete; ``None`` if it is, or if its reader has closed the pipe."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(raw, _TolerantFile):
        return None
    sys.stdout.flush()
    failure = raw.failure
    return None if failure is None or failure.errno == errno.EPIPE else failure.strerror or str(failure)
