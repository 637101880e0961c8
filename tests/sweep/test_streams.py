"""Printing decides nothing: pipes that close, disks that are full, closed streams, foreign characters."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.results import Results
from tests.sweep.ended import done, make_job
from workers import streams
from workers.streams import output_failure

QSWEEP = Path(sys.executable).with_name("qsweep")
LONG = "a-name-" + "x" * 120


@pytest.fixture
def full() -> Iterator[int]:
    number = os.open("/dev/full", os.O_WRONLY)
    yield number
    os.close(number)


def test_a_full_disk_is_noted_and_raises_nothing(full: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = streams._tolerant(None, full)
    monkeypatch.setattr(sys, "stdout", stream)
    stream.write("result\n")
    assert output_failure() == "No space left on device"


def test_a_closed_pipe_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = streams._tolerant(None, writer)
    monkeypatch.setattr(sys, "stdout", stream)
    for _ in range(3):
        stream.write("result\n")
        stream.flush()
    assert output_failure() is None
    os.close(writer)


def test_a_pipe_that_does_not_block_gets_everything() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    code = f"import sys; sys.stdout.write(str(len(open({reader}, 'rb').read())))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, pass_fds=[reader]) as process:
        os.close(reader)
        raw = streams._TolerantFile(writer, "w")
        assert raw.write(b"x" * 1_000_000) == 1_000_000
        raw.close()
        assert process.communicate()[0] == b"1000000"


def test_characters_that_an_encoding_lacks_are_escaped() -> None:
    reader, writer = os.pipe()
    stream = streams._tolerant(io.TextIOWrapper(io.BytesIO(), "ascii"), writer)
    stream.write("é 96×64 \udcff\n")
    stream.flush()
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == b"\\xe9 96\\xd764 \\udcff\n"


# --- the whole program, on a job that is done


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of a job that is done, over a frame with a long name and one with a foreign one."""
    folder = tmp_path_factory.mktemp("job")
    results = Results(make_job(folder, ["é", LONG]))
    for name in ("é", LONG):
        results.write_frame(done(name))
    results.write_summary()
    return folder / "job.yaml"


def shell(command: str, job: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    values = os.environ | {"QSWEEP": str(QSWEEP), "JOB": str(job), "OUT": str(job.parent / "out")} | environment
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=values, check=False)


def test_an_encoding_without_the_characters_of_a_name_changes_no_status_and_names_are_whole(job: Path) -> None:
    ended = shell("$QSWEEP run $JOB", job, PYTHONIOENCODING="ascii", COLUMNS="60")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["frame", "\\xe9", LONG, "2"]
    assert lines[-1].startswith("2 done, 0 failed")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "command",
    [
        "$QSWEEP run $JOB 2> /dev/full | true; exit ${PIPESTATUS[0]}",
        "$QSWEEP run $JOB >&- 2>&-",
    ],
)
def test_output_that_fails_changes_no_status(command: str, job: Path) -> None:
    ended = shell(command, job)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_where_the_output_is_all_that_there_is_a_full_disk_is_status_1(job: Path) -> None:
    ended = shell("$QSWEEP status $OUT > /dev/full", job)
    assert ended.returncode == 1
    assert ended.stderr == "qsweep: standard output cannot be written: No space left on device\n"


# --- a file that is written to standard output


CODED = Path(__file__).parents[1] / "workers/bitstream/golden/astronaut_64x96_lop.qsw"


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    return Path(shutil.copy(CODED, tmp_path / "job.qsw"))


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        ("> /dev/full", "standard output: cannot be written: No space left on device"),
        (">&-", "standard output: cannot be written: it is closed"),
        ("| true; exit ${PIPESTATUS[0]}", "standard output: cannot be written: Broken pipe"),
    ],
)
def test_a_file_that_standard_output_does_not_take_is_an_error(redirection: str, reason: str, coded: Path) -> None:
    ended = shell(f"$QSWEEP decode $JOB -o - {redirection}", coded)
    assert ended.returncode not in (0, 141), ended.stderr
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_file_goes_through_standard_output_whole(coded: Path) -> None:
    ended = shell("$QSWEEP decode $JOB -o - > $OUT.piped && $QSWEEP decode $JOB -o $OUT.png", coded)
    assert ended.returncode == 0, ended.stderr
    piped, written = (coded.parent / name for name in ("out.piped", "out.png"))
    assert piped.read_bytes() == written.read_bytes()
