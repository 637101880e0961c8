"""The command line: what it says, what it leaves behind, and the status it ends with."""

import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ray
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from sweep import cli as cli_module
from sweep import job as job_module
from sweep import read_rd_table
from sweep.cli import app
from sweep.config import load_job
from sweep.results import Results
from tests.cases import CASES
from tests.sweep.ended import N_PAIRS, done, failed, make_job
from workers.codec import read_frame, read_frame_encoder
from workers.errors import ResultsError
from workers.objective.loss import mean_squared_error
from workers.reasons import describe_error

QSWEEP = Path(sys.executable).with_name("qsweep")
REPOSITORY = Path(__file__).parents[2]
FOLDER = CASES / "astronaut_64x96_lop"
GRID = {
    "arm": {"weight": [0.125], "bias": ["2^-4", "2^-3"]},
    "synthesis": {"weight": ["2^-7"], "bias": ["2^-7"]},
    "upsampling": {"weight": ["2^-7"], "bias": [1]},
}
N_OF_GRID = 2 + 1 + 1


def qsweep(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_config(folder: Path, frames: list[object], **more: Any) -> Path:
    config = folder / "job.yaml"
    content = {"frames": frames, "out": "out", "grid": GRID, "ray": {"replicas": 1}} | more
    config.write_text(yaml.safe_dump(content))
    return config


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray must not be started, nor connected to."""

    def forbidden(_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(job_module, "connect", forbidden)


# --- without a job


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("run", "$FOLDER/none.yaml"), "{}/none.yaml: the configuration cannot be read"),
        (("report", "${FOLDER}"), "{}/job.yaml: there is no such file"),
        (("status", "~/x"), "{}/x: there are no results of a job"),
        (("plot", "~/x", "-o", "~/a.svg"), "{}/x"),
        (("eval", "$FOLDER/x"), "{}/x"),
        (("encode", "~/a.png", "-o", "$FOLDER/a.qsw"), "{}/a.png"),
        (("decode", "~/a.qsw", "--output=~/a.png"), "{}/a.qsw: the bitstream cannot be read"),
    ],
    ids=str,
)
def test_every_command_knows_home_folders_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], expected: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FOLDER", str(tmp_path))
    result = qsweep(*command)
    assert result.exit_code == 2
    assert expected.format(tmp_path) in result.stderr


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("run", "$MISSING/job.yaml"), "CONFIG.yaml"),
        (("run", "{}/job.yaml", "--out", "$MISSING"), "--out"),
        (("report", "$MISSING"), "OUT"),
        (("status", "$MISSING"), "OUT"),
        (("plot", "{}", "-o", "$MISSING/a.svg"), "--output"),
        (("eval", "$MISSING"), "OUT"),
        (("encode", "$MISSING", "-o", "{}/a.qsw"), "FRAME"),
        (("encode", "a.png", "-o", "{}/a.qsw", "--encoder", "$MISSING"), "--encoder"),
        (("encode", "a.png", "-o", "$MISSING"), "--output"),
        (("decode", "$MISSING", "-o", "{}/a.png"), "FILE"),
        (("decode", "{}/a.qsw", "-o", "$MISSING"), "--output"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_ray")
def test_a_variable_that_is_not_set_is_status_2_and_names_where_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], name: str
) -> None:
    monkeypatch.delenv("MISSING", raising=False)
    write_config(tmp_path, ["a.png"])
    result = qsweep(*(part.format(tmp_path) for part in command))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"qsweep: {name}: '$MISSING")
    assert "the environment variable MISSING is not set" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["job.yaml"]


def test_the_command_is_installed_and_gives_its_version() -> None:
    done = subprocess.run([QSWEEP, "--version"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"qsweep {version('qsweep')}\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["run", "report", "--version", "130", "143"]),
        (["run"], ["CONFIG.yaml", "--set", "KEY.PATH=VALUE", "--out"]),
        (["report"], ["OUT", "report.html"]),
    ],
)
def test_every_level_has_help(arguments: list[str], words: list[str]) -> None:
    result = qsweep(*arguments, "--help")
    assert result.exit_code == 0
    for word in words:
        assert word in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Usage"),
        (["sweep"], "No such command 'sweep'"),
        (["run"], "Missing argument 'CONFIG.yaml'"),
        (["run", "a.yaml", "b.yaml"], "unexpected extra argument"),
        (["run", "a.yaml", "--outt", "x"], "No such option: --outt"),
        (["report"], "Missing argument 'OUT'"),
    ],
)
def test_a_wrong_command_line_is_status_2(arguments: list[str], message: str) -> None:
    result = qsweep(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_messages_of_a_wrong_command_line_are_plain_lines(tmp_path: Path) -> None:
    name = f"--{'x' * 150}"
    result = qsweep("run", tmp_path, name)
    assert any(name in line for line in result.stderr.splitlines())
    assert not {"│", "╭"}.intersection(result.stderr)


COMMANDS = ["run", "encode", "decode", "report", "status", "plot", "eval"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_may_be_verbose_or_quiet_and_tells_its_exit_statuses(command: str) -> None:
    text = qsweep(command, "--help").stdout
    for word in ("--verbose", "--quiet", "Exit status: 0"):
        assert word in text


def test_verbose_and_quiet_exclude_each_other_wherever_they_stand(tmp_path: Path) -> None:
    for arguments in (["--quiet", "status", "-v"], ["status", "-q", "--verbose"], ["-vq", "status"]):
        result = qsweep(*arguments, tmp_path)
        assert result.exit_code == 2
        assert "--verbose and --quiet exclude each other" in result.stderr


@pytest.mark.parametrize("arguments", [["run", "--quiet"], ["-q", "run"]])
@pytest.mark.usefixtures("no_ray")
def test_a_quiet_job_shows_failures_and_the_summary(tmp_path: Path, arguments: list[str]) -> None:
    job = make_job(tmp_path, ["a"])
    Results(job).write_frame(done("a"))
    result = qsweep(*arguments, tmp_path / "job.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"1 done, 0 failed; results in {job.config.out}\n"


def test_an_unexpected_error_is_one_line_and_verbose_shows_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> str:
        raise KeyError("width")

    monkeypatch.setattr(cli_module, "read_status", fail)
    result = qsweep("status", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (
        "qsweep: unexpected error: KeyError: 'width'; please report it; --verbose shows the whole text\n"
    )
    verbose = qsweep("status", tmp_path, "--verbose")
    assert verbose.exit_code == 1
    assert "Traceback (most recent call last)" in verbose.stderr
    assert verbose.stderr.splitlines()[-1].startswith("qsweep: unexpected error: KeyError: 'width'")


@pytest.mark.parametrize("command", [["status"], ["report"], ["plot", "-o", "a.svg"], ["eval"]])
def test_every_command_shows_what_the_packages_warn_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    def warn(*_: object, **__: object) -> None:
        logging.getLogger("workers.some").warning("beware")
        raise ResultsError("and no more")

    monkeypatch.setattr(cli_module, "read_status", warn)
    for name in ("report.page.write_report", "report.figure_file.plot", "evaluate.evaluate"):
        monkeypatch.setattr(f"sweep.{name}", warn)
    result = qsweep(*command, tmp_path)
    assert (result.exit_code, result.stderr) == (2, "warning: beware\nqsweep: and no more\n")


def test_names_cannot_control_a_terminal(tmp_path: Path) -> None:
    result = qsweep("status", tmp_path / "a\x1b]0;owned\x07\nb")
    assert result.exit_code == 2
    assert r"a\x1b]0;owned\x07\nb" in result.stderr
    assert "\x1b" not in result.stderr
    assert result.stderr.count("\n") == 1


# --- what is wrong before anything starts


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(
    ("frames", "arguments", "message"),
    [
        (["*.jpg"], [], "frames[0].frame: no file matches"),
        ([{"frame": "a.png", "lmda": 1}], [], "frames[0].lmda: unknown key; accepted: frame, encoder, lmbda"),
        (["a.png"], ["--set", "fit.arch=xop"], "fit.arch: accepted: one of vlop, lop, mop, hop; found 'xop'"),
        (["a.png"], ["--set", "fit.arch"], "--set: written key.path=value"),
        (["a.png"], ["--out", "nonsense://x"], "nonsense://x: not a URI"),
        (["a.png"], ["--out", "/proc/nothing"], "/proc/nothing/job.yaml: cannot be written"),
        (["a.png"], ["--out", __file__], f"{__file__}: results go into a folder; found a file"),
        (["a.png"], ["--out", os.path.dirname(__file__)], "is not empty"),  # noqa: PTH120
    ],
)
def test_a_wrong_configuration_is_status_2_and_nothing_is_started(
    tmp_path: Path, frames: list[object], arguments: list[str], message: str
) -> None:
    result = qsweep("run", write_config(tmp_path, frames), *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("qsweep: ")
    assert message in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["job.yaml"]


@pytest.mark.usefixtures("no_ray")
def test_another_jobs_folder_is_status_2(tmp_path: Path) -> None:
    Results(make_job(tmp_path, ["a"])).write_frame(done("a"))
    result = qsweep("run", tmp_path / "job.yaml", "--set", "fit.seed=1")
    assert result.exit_code == 2
    assert "another job (fit.seed: 0 there, 1 here)" in result.stderr


@pytest.mark.parametrize("kind", ["named", "host and port", "client"])
def test_a_cluster_that_is_not_there_is_status_2_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def no_cluster(**_: object) -> None:
        raise ConnectionError("nobody answers\nat length")

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # where nobody listens from here on
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", no_cluster)
    address = {"named": "auto", "host and port": f"127.0.0.1:{port}", "client": f"ray://127.0.0.1:{port}"}[kind]
    result = qsweep("run", write_config(tmp_path, ["a.png"]), "--set", f"ray.address={address}")
    assert result.exit_code == 2
    reason = "nobody answers; at length" if kind == "named" else ".*Connection refused"
    assert re.search(f"^qsweep: ray.address: {address} cannot be used: {reason}$", result.stderr, re.MULTILINE)


# --- a job that is done


@pytest.mark.usefixtures("no_ray")
def test_a_job_that_is_done_starts_nothing_and_shows_its_results(tmp_path: Path) -> None:
    (tmp_path / "[b].png").touch()
    job = make_job(tmp_path, ["[b]", "c"])
    results = Results(job)
    for name in ("[b]", "c"):
        results.write_frame(done(name))
    result = qsweep("run", tmp_path / "job.yaml")
    assert result.exit_code == 0
    assert "every frame is done already" in result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["frame", "bpp", "networks", "bpp", "PSNR", "dB", "loss"]
    record = results.frames().to_pylist()[0]
    networks = record["rate_nn_bpp"]
    numbers = [f"{record['rate_latent_bpp'] + networks:.4f}", f"{networks:.4f}", f"{record['psnr_db']:.3f}"]
    assert lines[1] == ["[b]", *numbers, f"{record['loss']:.6g}"]
    assert result.stdout.splitlines()[-1] == f"2 done, 0 failed; results in {job.config.out}"


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("error", [ResultsError("out/report.html: no room"), KeyError("width")])
def test_a_report_that_cannot_be_written_does_not_undo_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: str) -> None:
        raise error

    monkeypatch.setattr(job_module, "write_report", fail)
    results = Results(make_job(tmp_path, ["a"]))
    results.write_frame(done("a"))
    result = qsweep("run", tmp_path / "job.yaml")
    assert result.exit_code == 0
    reason = describe_error(error)
    assert f"error: the report could not be written, all else is there: {reason}\n" in result.stderr
    verbose = qsweep("run", "--verbose", tmp_path / "job.yaml")
    assert ("Traceback" in verbose.stderr) == isinstance(error, KeyError)
    assert result.stdout.splitlines()[-1].startswith("1 done, 0 failed")


def test_the_report_is_written_anew(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b"])
    results = Results(job)
    results.write_frame(done("a"))
    results.write_frame(failed("b"))
    results.write_summary()
    result = qsweep("report", job.config.out)
    assert (result.exit_code, result.stdout.strip()) == (0, f"{job.config.out}/report.html")
    assert "b.png: empty" in Path(job.config.out, "report.html").read_text("utf-8")
    assert len(read_rd_table(job.config.out)) == N_PAIRS


@pytest.mark.parametrize("name", ["nothing", "empty", "file"])
def test_a_report_of_what_is_no_job_is_status_2(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    result = qsweep("report", tmp_path / name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.match(f"qsweep: {tmp_path / name}.*: there is no such file", result.stderr)
    assert sorted(tmp_path.rglob("*")) == before


def test_results_that_cannot_be_written_or_read_are_status_2_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.results.storage.FIRST_PATIENCE_SECONDS", 0.0)
    config = write_config(tmp_path, ["a.png"])
    Results(load_job(config))
    (tmp_path / "out" / ".claim").mkdir()
    result = qsweep("run", config)
    assert result.exit_code == 2, result.output
    assert f"{tmp_path}/out/.claim: cannot be written" in result.stderr
    for command in (["run", config], ["report"], ["status"], ["eval"], ["plot", "-o", tmp_path / "a.svg"]):
        options = "endpoint_override=127.0.0.1%3A9&scheme=http"
        away = f"s3://test:test@bucket/out?{options}"
        result = qsweep(*command, *(["--out"] if command[0] == "run" else []), away)
        assert result.exit_code == 2, result.output
        assert "s3://bucket/out" in result.stderr


# --- a job on Ray


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_failed_frame_is_status_1_the_others_are_complete_and_the_same_command_tries_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(FOLDER / "frame.png", tmp_path / "good.png")
    encoder = {"encoder": str(FOLDER / "encoder.safetensors")}
    config = write_config(tmp_path, [{"frame": "good.png"} | encoder, {"frame": "bad.png"} | encoder])
    out = tmp_path / "out"

    first = qsweep("run", config)
    assert first.exit_code == 1, first.output
    reason = f"{tmp_path}/bad.png: the frame cannot be read: No such file or directory"
    assert first.stdout.splitlines()[-2:] == [f"bad failed: {reason}", f"1 done, 1 failed; results in {out}"]
    assert re.search("frame good: done by", first.stderr)
    frames = pd.read_parquet(out / "frames.parquet").set_index("frame")
    assert frames.status.to_dict() == {"good": "done", "bad": "failed"}
    assert frames.error["bad"] == reason
    assert read_rd_table(out).groupby("frame", observed=True).size().to_dict() == {"good": N_OF_GRID}
    quantized, _ = read_frame_encoder(out / "quantized" / "good.safetensors")
    (arm,) = pd.read_parquet(out / "choices.parquet").query("module == 'arm'").itertuples()
    assert quantized.nn_q_step["arm"] == {"weight": arm.q_step_weight, "bias": arm.q_step_bias}
    assert (out / "report.html").is_file()

    shutil.copy(FOLDER / "frame.png", tmp_path / "bad.png")
    second = qsweep("run", config)
    assert second.exit_code == 0, second.output
    assert "frame bad: done by" in second.stderr
    assert "frame good" not in second.stderr
    assert read_rd_table(out).groupby("frame", observed=True).size().to_dict() == dict.fromkeys(
        ("good", "bad"), N_OF_GRID
    )

    monkeypatch.chdir("/")
    third = qsweep("run", config)
    assert (third.exit_code, third.stdout) == (0, second.stdout)
    assert "every frame is done already" in third.stderr


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_job_may_end_in_bitstreams(tmp_path: Path) -> None:
    entries: list[object] = [{"frame": str(FOLDER / "frame.png"), "encoder": str(FOLDER / "encoder.safetensors")}]
    config = write_config(tmp_path, entries, bitstream=True)
    result = qsweep("run", config)
    assert result.exit_code == 0, result.stderr
    (record,) = pd.read_parquet(tmp_path / "out" / "frames.parquet").to_dict("records")
    file = tmp_path / "out" / "bitstreams" / "frame.qsw"
    assert file.stat().st_size == record["file_bytes"]
    header, *rows = result.stdout.splitlines()[:-1]
    assert header.split()[-3:] == ["bytes", "file", "bpp"]
    assert rows[0].split()[-2:] == [str(record["file_bytes"]), f"{record['file_bpp']:.4f}"]

    decoded = tmp_path / "decoded.png"
    assert qsweep("decode", file, "-o", decoded).exit_code == 0
    mse = mean_squared_error(read_frame(decoded).data, read_frame(FOLDER / "frame.png").data).item()
    assert mse == pytest.approx(record["mse"], rel=1e-6)
    assert "every frame is done already" in qsweep("run", config).stderr


def interrupt(folder: Path, number: signal.Signals, **environment: str) -> Path:
    """Send a signal to a job that is at its second fit, or has come to its end; gives its configuration."""
    picture = np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    for name in ("f0", "f1"):
        Image.fromarray(picture).save(folder / f"{name}.png")
    fit = {"arch": "vlop", "recipe": "example", "iterations": {"warmup": 1, "phase_1": 60, "phase_2": 1}}
    config = write_config(folder, ["*.png"], fit=fit)
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}

    (folder / "Open").write_bytes(bytes(1))  # what follows the second fit is held back
    command = [sys.executable, "-m", "tests.sweep.held_back", str(folder), "run", str(config)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=inherited | environment, cwd=REPOSITORY
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "frame f0: done" in line:  # the only replica goes on to the fit of f1
                process.send_signal(number)
                break
        rest = process.stderr.read()
    assert process.returncode == 128 + number, rest
    assert rest.splitlines()[-1] == "qsweep: interrupted; the same command resumes the job"
    assert pd.read_parquet(folder / "out" / "frames.parquet").frame.tolist() == ["f0"]
    assert [path.name for path in (folder / "out" / "quantized").iterdir()] == ["f0.safetensors"]
    return config


@pytest.mark.ray
def test_a_job_that_is_terminated_keeps_what_is_finished(tmp_path: Path) -> None:
    interrupt(tmp_path, signal.SIGTERM)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_job_that_is_interrupted_keeps_what_is_finished_and_the_same_command_goes_on(tmp_path: Path) -> None:
    config = interrupt(tmp_path, signal.SIGINT, RAY_ADDRESS=ray.get_runtime_context().gcs_address)
    kept = (tmp_path / "out" / "quantized" / "f0.safetensors").read_bytes()

    finished = qsweep("run", config)
    assert finished.exit_code == 0, finished.output
    assert "frame f1: done" in finished.stderr
    assert "frame f0" not in finished.stderr
    assert pd.read_parquet(tmp_path / "out" / "frames.parquet").status.tolist() == ["done", "done"]
    assert (tmp_path / "out" / "quantized" / "f0.safetensors").read_bytes() == kept
