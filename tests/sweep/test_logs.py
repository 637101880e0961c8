"""Where log records appear: on a console, by how much is to be shown, and in the log file of a job."""

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from sweep import logs
from sweep.logs import Verbosity, log_file, logging_to

LOG = logging.getLogger("sweep.some.module")
LONG = "x" * 300


def shown(verbosity: Verbosity, *, terminal: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=60, color_system=None)
    with logging_to(console, verbosity):
        LOG.debug("a detail")
        LOG.info("frame [b]: done")
        LOG.warning("%s: cannot\x1b[31m be\nread", LONG)
        try:
            raise KeyError("width")
        except KeyError:
            LOG.error("it failed", exc_info=True)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("terminal", [False, True])
def test_warnings_and_errors_are_marked_and_lines_are_whole(terminal: bool) -> None:
    info, *rest = shown(Verbosity.NORMAL, terminal=terminal)
    assert info[2] == info[5] == ":"
    assert info[8:] == " frame [b]: done"
    assert rest == [rf"warning: {LONG}: cannot be\nread", "error: it failed"]


def test_quiet_shows_errors_alone() -> None:
    assert shown(Verbosity.QUIET) == ["error: it failed"]


def test_verbose_shows_details_and_tracebacks() -> None:
    lines = shown(Verbosity.VERBOSE)
    assert lines[0].endswith("a detail")
    assert lines[-1] == "KeyError: 'width'"
    assert "Traceback (most recent call last):" in lines


def test_a_console_that_fails_harms_nothing() -> None:
    file = io.StringIO()
    console = Console(file=file)
    file.close()
    with logging_to(console):
        LOG.warning("nobody sees this")


def test_a_job_has_a_log_file_with_every_traceback(tmp_path: Path) -> None:
    def run() -> None:
        with log_file(str(tmp_path)):
            LOG.info("a line")
            LOG.warning("lost", exc_info=ValueError("\x1b[36mray::f()\x1b[39m\n  the whole text"))
            raise RuntimeError("the end")

    with pytest.raises(RuntimeError, match="the end"):
        run()
    (path,) = (tmp_path / "log").iterdir()
    text = path.read_text("utf-8")
    assert "INFO sweep.some.module: a line\n" in text
    assert "WARNING sweep.some.module: lost\nValueError: ray::f()\n  the whole text\n" in text
    assert text.endswith("RuntimeError: the end\n")
    assert logging.getLogger("sweep").handlers == []


def test_a_log_file_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "log").write_text("a file is in the way")
    with log_file(str(tmp_path)):
        LOG.warning("the job continues")
    assert f"there will be no log file below {tmp_path}: " in caplog.text
    assert "the job continues" in caplog.text


def test_credentials_are_not_shown_where_there_is_no_log_file(caplog: pytest.LogCaptureFixture) -> None:
    with log_file("nonsense://key:secret@bucket/out?token=secret"):
        pass
    assert "there will be no log file below nonsense://bucket/out: " in caplog.text
    assert "secret" not in caplog.text


def test_a_full_disk_under_the_log_file_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs, "_disk_handler", lambda _: logs._DiskHandler("/dev/full"))
    with log_file(str(tmp_path)):
        LOG.warning("the job continues")
    assert "Logging error" not in capfd.readouterr().err


def test_behind_a_uri_the_log_is_written_in_the_end() -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    with log_file("memory://qsweep-logs/out"):
        LOG.warning("é was lost")
    names = MemoryFileSystem().glob("/qsweep-logs/out/log/*.log")
    assert len(names) == 1
    assert "WARNING sweep.some.module: é was lost\n" in MemoryFileSystem().cat(names[0]).decode()
    MemoryFileSystem().rm("/qsweep-logs", recursive=True)
