"""What a command writes where its user says: never over an input, never in place of what is no file."""

import os
import pty
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sweep.results import Output, Storage, goes_to_stdout
from workers.errors import ResultsError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with an input in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").write_bytes(b"input")
    return tmp_path


def write(location: str, *inputs: str) -> None:
    with Output(location, inputs) as output:
        output.write(b"content")


# --- inputs


@pytest.mark.parametrize("output", ["in", "./in", "sub/../in", "{folder}/in", "file://{folder}/in", "link", "hard"])
@pytest.mark.parametrize("given", ["in", "{folder}/in", "file://{folder}/in", "link"])
def test_an_input_is_never_written_over_however_it_is_named(folder: Path, output: str, given: str) -> None:
    (folder / "sub").mkdir()
    (folder / "link").symlink_to("in")
    (folder / "hard").hardlink_to("in")
    with pytest.raises(ResultsError, match="is an input too"):
        Output(output.format(folder=folder), ["missing", given.format(folder=folder)])
    assert (folder / "in").read_bytes() == b"input"


def test_an_input_is_not_written_over_through_a_descriptor_either(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (folder / "in").open("a") as appended:
        monkeypatch.setattr(sys, "stdout", appended)
        for output in ("-", f"/dev/fd/{appended.fileno()}"):
            with pytest.raises(ResultsError, match=r"is an input too \(in\)"):
                Output(output, ["in"])
    assert (folder / "in").read_bytes() == b"input"


def test_objects_are_compared_without_options_and_credentials() -> None:
    Storage("memory://outputs").write("in", b"input")
    for given in ("memory://outputs/in", "memory://user:secret@outputs/in", "memory://outputs/in?endpoint=a"):
        with pytest.raises(ResultsError, match=r"^memory://outputs/in: is an input too"):
            Output("memory://outputs/in", [given])
    write("memory://outputs/out", "memory://outputs/in")
    assert Storage("memory://outputs").read("out") == b"content"
    assert [file.path for file in Storage("memory://outputs").files("")] == ["in", "out"], "nothing else is left"


def test_a_device_may_be_input_and_output() -> None:
    write("/dev/null", "/dev/null")


# --- files


def test_a_file_is_replaced_with_its_permissions(folder: Path) -> None:
    (folder / "out").write_bytes(b"before")
    (folder / "out").chmod(0o640)
    write("out", "in")
    assert (folder / "out").read_bytes() == b"content"
    assert stat.S_IMODE((folder / "out").stat().st_mode) == 0o640
    before = os.umask(0o027)
    try:
        write("new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o640


def test_symbolic_links_are_followed(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "file").write_bytes(b"before")
    (folder / "second").symlink_to("elsewhere/file")
    (folder / "first").symlink_to(folder / "second")
    (folder / "dangling").symlink_to("not yet/there")
    write("first")
    write("dangling")
    assert (folder / "elsewhere" / "file").read_bytes() == b"content"
    assert (folder / "not yet" / "there").read_bytes() == b"content"
    assert all((folder / name).is_symlink() for name in ("first", "second", "dangling"))
    assert [path.name for path in (folder / "elsewhere").iterdir()] == ["file"]


def test_nothing_is_made_before_there_is_something_to_write(folder: Path) -> None:
    Output("a/b/c").close()
    assert [path.name for path in folder.iterdir()] == ["in"]
    write("a/b/c")
    assert (folder / "a" / "b" / "c").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "the name of a file is missing"),
        ("new/", "the name of a file is missing"),
        ("folder", "it is a folder"),
        ("link", "it is a folder"),
        ("..", "it is a folder"),
        ("loop", "Too many levels of symbolic links"),
        ("in/file", "Not a directory"),
        ("/proc/file", "No such file or directory"),
        ("x" * 300, "File name too long"),
        ("socket", "it is a socket"),
        ("/dev/fd/977", "Bad file descriptor"),
        ("memory://bucket/", "the name of a file is missing"),
        ("nonsense://bucket/out", "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(folder: Path, output: str, reason: str) -> None:
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("folder")
    (folder / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        with pytest.raises(ResultsError, match=reason):
            Output(output)
    assert stat.S_ISSOCK((folder / "socket").stat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_device_nodes_stay_what_they_are(folder: Path) -> None:
    os.mknod(folder / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(folder / "block", 0o666 | stat.S_IFBLK, os.makedev(7, 250))
    with suppress(ResultsError):  # a file system may be mounted without devices
        write("null")
    assert stat.S_ISCHR((folder / "null").stat().st_mode)
    with pytest.raises(ResultsError, match="block device"):
        write("block")
    assert stat.S_ISBLK((folder / "block").stat().st_mode)


# --- streams


def test_a_full_device_is_an_error_when_it_is_written() -> None:
    with Output("/dev/full") as output, pytest.raises(ResultsError, match="/dev/full: cannot be written: No space"):
        output.write(b"content")


def test_a_pipe_is_written_into_or_refused_where_nobody_reads_it(folder: Path) -> None:
    os.mkfifo("pipe")
    with pytest.raises(ResultsError, match=r"^pipe: cannot be written: no process reads this pipe"):
        Output("pipe")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((folder / "pipe").read_bytes()))
    reader.start()
    large = bytes(1 << 20)  # more than a pipe holds
    while True:
        try:
            output = Output("pipe")
            break
        except ResultsError:  # the reader is on its way
            pass
    with output:
        assert output.is_stream
        output.write(large)
    reader.join(60.0)
    assert received == [large]
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)


def test_a_reader_that_goes_away_is_an_error() -> None:
    reader, writer = os.pipe()
    with Output(f"/dev/fd/{writer}") as output:
        os.close(reader)
        with pytest.raises(ResultsError, match="Broken pipe"):
            output.write(b"content")
    os.close(writer)


def test_a_descriptor_is_written_where_it_stands_and_stays_open(folder: Path) -> None:
    with (folder / "log").open("wb", buffering=0) as file:
        file.write(b"before ")
        (folder / "link").symlink_to(f"/proc/self/fd/{file.fileno()}")
        write("link")
        write(f"/dev/fd/{file.fileno()}")
        file.write(b" after")
    assert (folder / "log").read_bytes() == b"before contentcontent after"
    with (folder / "log").open("rb") as file, pytest.raises(ResultsError, match="reading only"):
        Output(f"/dev/fd/{file.fileno()}")


@pytest.fixture
def terminal() -> Iterator[str]:
    """Path of a terminal that nobody looks at."""
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_terminals_are_refused(terminal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResultsError, match="is a terminal"):
        Output(terminal)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(ResultsError, match=r"^standard output: is a terminal"):
        Output("-")


def test_a_dash_is_standard_output_and_a_file_of_that_name_can_be_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (folder / "redirected").open("w") as redirected:
        monkeypatch.setattr(sys, "stdout", redirected)
        write("-", "in")
        same = f"/proc/self/fd/{redirected.fileno()}"
        known = [goes_to_stdout(name) for name in ("-", same, "redirected", "in", "missing", "s3://bucket/a")]
    assert known == [True, True, True, False, False, False]
    assert (folder / "redirected").read_bytes() == b"content"
    write("./-", "in")
    assert (folder / "-").read_bytes() == b"content"
