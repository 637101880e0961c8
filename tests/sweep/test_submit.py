"""Jobs for a cluster elsewhere: what goes along, what is said, how they end; the files for clusters."""

import asyncio
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.job_submission import JobStatus, JobSubmissionClient
from typer.testing import CliRunner, Result

from sweep import named_grid, read_rd_table, submit
from sweep.config import load_job, read_config
from sweep.results import Storage
from sweep.submit import Ended, default_address, stage, submit_job
from tests.cases import CASES
from tests.object_store import BUCKET, ObjectStore
from tests.waiting import LONG_SECONDS, wait_until
from workers.errors import ClusterError, ConfigError
from workers.measure import kernel

ROOT = Path(__file__).parent.parent.parent
CLUSTER = ROOT / "configs" / "cluster"
SCRIPT = ROOT / "scripts" / "submit.py"


def run_script(*arguments: object) -> Result:
    spec = importlib.util.spec_from_file_location("submit_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return CliRunner().invoke(module.app, [str(argument) for argument in arguments])


def write_config(folder: Path, frames: object, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    config = folder / "any.yaml"
    config.write_text(yaml.safe_dump({"frames": frames, "out": "out"} | more))
    return config


def staged(config: Path, *overrides: str) -> tuple[Path, dict[str, Any]]:
    """What a job takes along, and its configuration."""
    folder = config.parent / "staged"
    folder.mkdir()
    stage(read_config(config, overrides), config, folder)
    return folder, yaml.safe_load((folder / "job.yaml").read_text())


@pytest.fixture
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


# --- what goes along


def test_paths_become_absolute_and_nothing_has_to_exist(tmp_path: Path) -> None:
    frames = [
        "a.png",
        {"frame": "../b/*.png", "encoder": "../b/{stem}.safetensors", "lmbda": [0.001, 0.004]},
        {"frame": "s3://bucket/*.png", "encoder": "s3://bucket/{stem}.safetensors"},
        "file:///c.png",
        "not/here.csv",
    ]
    _, content = staged(write_config(tmp_path, frames, ray={"address": "10.0.0.1:6379", "replicas": 3}))
    assert [(entry["frame"], entry["encoder"]) for entry in content["frames"]] == [
        (f"{tmp_path}/a.png", None),
        (f"{tmp_path.parent}/b/*.png", f"{tmp_path.parent}/b/{{stem}}.safetensors"),
        ("s3://bucket/*.png", "s3://bucket/{stem}.safetensors"),
        ("/c.png", None),
        (f"{tmp_path}/not/here.csv", None),
    ]
    assert content["frames"][1]["lmbda"] == [0.001, 0.004]
    assert content["out"] == f"{tmp_path}/out"
    assert (content["ray"]["address"], content["ray"]["replicas"]) == (None, 3)


def test_variables_and_home_folders_are_those_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "$HOME [1]"))
    monkeypatch.setenv("DATA", "/data")
    (tmp_path / "list.csv").write_text("frame,encoder\n$DATA/a.png,./$$b\n")
    entry = {"frame": "~/*.png", "encoder": "${DATA}/{stem}.safetensors"}
    config = write_config(tmp_path, ["list.csv", "$DATA/c.png", "a$$.png", "s3://$DATA/x"], out="~/out")
    there, content = staged(config)
    monkeypatch.delenv("DATA")
    monkeypatch.setenv("HOME", "/root/elsewhere")
    here = load_job(there / "job.yaml")
    assert [(item.frame, item.encoder) for item in here.frames] == [
        ("/data/a.png", f"{tmp_path}/$b"),
        ("/data/c.png", None),
        (f"{tmp_path}/a$.png", None),
        ("s3:///data/x", None),
    ]
    assert here.config.out == f"{tmp_path}/$HOME [1]/out"
    monkeypatch.setenv("HOME", str(tmp_path / "[1]"))
    monkeypatch.setenv("DATA", "/data")
    shutil.rmtree(there)
    _, content = staged(write_config(tmp_path, [entry]))
    frame = f"{tmp_path}/[[]1]/*.png"
    assert content["frames"] == [
        {
            "frame": frame,
            "encoder": "/data/{stem}.safetensors",
            "lmbda": None,
            "frame_index": None,
            "encoder_frame": None,
        }
    ]


def test_it_is_the_same_job_wherever_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "[x]"  # a folder is no pattern
    config = write_config(
        folder,
        ["*.png", {"frame": "a[1].png", "encoder": "e"}, "list.csv"],
        grid="coolchic-3.4",
        fit={"lmbda": 1e-6},
    )
    for name in ("a[1].png", "b.png", "c.yuv"):
        (folder / name).touch()
    listed = "frame,encoder,lmbda,frame_index,encoder_frame\nc.yuv,,,3,\ns3://b/d.png,e/d.safetensors,0.002,,7\n"
    (folder / "list.csv").write_text(listed)
    there, _ = staged(config)
    (folder / "list.csv").unlink()  # the copy counts
    here = load_job(there / "job.yaml")
    assert [item.frame for item in here.frames] == [
        *(f"{folder}/{name}" for name in ("a[1].png", "b.png", "a[1].png", "c.yuv")),
        "s3://b/d.png",
    ]
    assert here.frames[4].encoder == f"{folder}/e/d.safetensors"
    assert [item.frame_index for item in here.frames] == [None, None, None, 3, None]
    assert [item.encoder_frame for item in here.frames] == [None, None, None, None, 7]
    (folder / "list.csv").write_text(listed)
    assert here.identity() == load_job(config).identity()


def test_the_code_goes_along_with_its_kernels_and_its_version(tmp_path: Path) -> None:
    folder, _ = staged(write_config(tmp_path, ["a.png"]))
    for package in ("sweep", "workers"):
        here = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*") if path.is_file()}
        here = {path for path in here if "__pycache__" not in path.parts}
        assert {path.relative_to(folder) for path in (folder / package).rglob("*") if path.is_file()} == here
    (found,) = importlib.metadata.distributions(name="qsweep", path=[str(folder)])
    assert found.version == importlib.metadata.version("qsweep")
    command = [sys.executable, "-m", "sweep", "--version"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert ran.stdout == f"qsweep {found.version}\n"


def test_a_kernel_that_was_built_from_other_sources_stays_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stale = next(iter((ROOT / "workers" / "measure" / "kernel").glob("_any.*.so")), None)
    if stale is None:
        pytest.skip("the kernel was not built")
    monkeypatch.setattr(kernel.library, "is_current", lambda path, _: path != stale)
    folder, _ = staged(write_config(tmp_path, ["a.png"]))
    there = {path.name for path in (folder / "workers" / "measure" / "kernel").glob("*.so")}
    assert there == {path.name for path in stale.parent.glob("*.so")} - {stale.name}
    assert caplog.messages == [f"not sent, since built from other C sources: {stale.name}; run scripts/setup"]


# --- what is wrong before anything is submitted


@pytest.mark.parametrize(
    ("frames", "override", "message"),
    [
        (["a.png"], "fit.arch=xop", "fit.arch: accepted: one of vlop, lop, mop, hop; found 'xop'"),
        (["a.png"], "fit.recipe=x", "fit.recipe: accepted: one of example, fast, medium, slow; found 'x'"),
        (["a.png"], "grid=x", "grid: accepted: one of auto, coolchic-3.4, coolchic-5"),
        ([{"frame": "a.png", "lmda": 1}], "fit.seed=0", "frames[0].lmda: unknown key"),
    ],
)
def test_a_wrong_configuration_is_status_2_with_the_words_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: list[object], override: str, message: str
) -> None:
    def forbidden(_: str) -> None:
        raise AssertionError("the job server was spoken to")

    monkeypatch.setattr(submit, "_connect", forbidden)
    config = write_config(tmp_path, frames)
    result = run_script(config, "--set", override)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    with pytest.raises(ConfigError) as error:
        load_job(config, [override])
    assert result.stderr == f"submit: {error.value}\n"


def test_a_wrong_manifest_is_an_error_with_the_words_of_a_run(tmp_path: Path) -> None:
    config = write_config(tmp_path, "list.csv")
    (tmp_path / "list.csv").write_text("frame,lambda\na.png,1\n")
    with pytest.raises(ConfigError) as there:
        staged(config)
    with pytest.raises(ConfigError) as here:
        load_job(config)
    assert str(there.value) == str(here.value)


@pytest.mark.usefixtures("no_address")
def test_the_address_is_that_of_the_environment_if_it_is_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_address() == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert default_address() == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "https://b")
    assert default_address() == "https://b"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://a")
    assert default_address() == "http://a"


@pytest.mark.parametrize("kind", ["nobody", "silent", "no URL"])
def test_an_address_where_nobody_answers_is_status_2_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def forbidden(_: str) -> None:
        raise AssertionError("Ray's client was asked, which waits for long")

    monkeypatch.setattr(submit, "JobSubmissionClient", forbidden)
    monkeypatch.setattr(submit, "_KNOCK_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if kind == "nobody":
            server.close()
        address = {"no URL": f"127.0.0.1:{port}"}.get(kind, f"http://127.0.0.1:{port}")
        result = run_script(write_config(tmp_path, ["a.png"]), "--address", address)
    reason = {"nobody": "Connection refused", "silent": "timed out"}.get(
        kind, "the address is that of the dashboard"
    )
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(f"submit: the job server {address} cannot be used: {reason}.*\n", result.stderr)


# --- how a job is followed, and how it ends


class Server:
    """A job server that tells a log in pieces, and breaks off once."""

    def __init__(self, breaks_off_at: int) -> None:
        self._breaks_off_at: int | None = breaks_off_at

    async def tail_job_logs(self, _: str) -> AsyncIterator[str]:
        for index, piece in enumerate(("one\n", "two\nthree\n", "four\n")):
            if index == self._breaks_off_at:
                self._breaks_off_at = None
                yield piece[:2]
                raise RuntimeError("the connection was lost")
            yield piece

    def get_job_info(self, _: str) -> Any:
        return SimpleNamespace(status=JobStatus.SUCCEEDED)


@pytest.mark.parametrize("piece", [0, 1, 2, 3])
def test_a_connection_that_breaks_off_loses_nothing_and_repeats_nothing(
    monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(submit, "_PAUSE_SECONDS", 0)
    written: list[str] = []
    server: Any = Server(piece)
    asyncio.run(submit._follow(server, "id", written.append))
    assert "".join(written) == "one\ntwo\nthree\nfour\n"


def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(submit, "_PATIENCE_SECONDS", 0)
    server: Any = Server(0)
    server.get_job_info = Server.tail_job_logs  # not reached
    server.tail_job_logs = lambda _: Server(0).tail_job_logs("")
    with pytest.raises(RuntimeError, match="the connection was lost"):
        asyncio.run(submit._follow(server, "id", lambda _: None))


@pytest.mark.parametrize(
    ("status", "code", "error", "ended"),
    [
        (JobStatus.SUCCEEDED, 0, None, Ended(0, "")),
        (JobStatus.FAILED, 1, "JOB_ENTRYPOINT_COMMAND_ERROR", Ended(1, "")),
        (JobStatus.FAILED, -9, "JOB_ENTRYPOINT_COMMAND_ERROR", Ended(137, "")),
        (JobStatus.STOPPED, None, None, Ended(143, "the job was stopped")),
        (JobStatus.FAILED, None, "JOB_SUPERVISOR_ACTOR_DIED", Ended(137, "why; at length")),
        (JobStatus.FAILED, None, "RUNTIME_ENV_SETUP_FAILURE", Ended(2, "why; at length")),
    ],
)
def test_every_end_has_a_status(status: JobStatus, code: int | None, error: str | None, ended: Ended) -> None:
    details: Any = SimpleNamespace(status=status, driver_exit_code=code, error_type=error, message="why\nat length")
    assert submit._ended(details) == ended


# --- the files for clusters


def pinned_ray() -> str:
    found = re.search(r"^ray==(\S+)$", (ROOT / "scripts" / "constraints.txt").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_example_job_is_accepted() -> None:
    config = read_config(CLUSTER / "job.yaml")
    assert (config.ray.replicas, config.ray.gpus_per_replica) == (32, 1)
    assert all(location.startswith("s3://") for location in (config.out, config.frames[0].frame))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_cluster_is_one_for_the_launcher() -> None:
    content = yaml.safe_load((CLUSTER / "cluster.yaml").read_text())
    validate_config(prepare_config(content))
    head, workers = (content["available_node_types"][name] for name in ("head", "gpu-spot"))
    assert head["resources"] == {"CPU": 0}
    assert (workers["min_workers"], workers["max_workers"]) == (0, content["max_workers"])
    assert content["max_workers"] >= int(str(read_config(CLUSTER / "job.yaml").ray.replicas))
    assert all((ROOT / path).exists() for path in content["file_mounts"].values())
    images = content["docker"]["head_image"], content["docker"]["worker_image"]
    assert all(image.startswith(f"rayproject/ray:{pinned_ray()}-") for image in images)


def test_the_ray_job_fits_the_other_files() -> None:
    content = yaml.safe_load((CLUSTER / "rayjob.yaml").read_text())
    assert (content["apiVersion"], content["kind"]) == ("ray.io/v1", "RayJob")
    job, cluster = content["spec"], content["spec"]["rayClusterSpec"]
    pod = cluster["headGroupSpec"]["template"]["spec"]
    (mount,) = pod["containers"][0]["volumeMounts"]
    (volume,) = pod["volumes"]
    assert volume["name"] == mount["name"]
    comment = (CLUSTER / "rayjob.yaml").read_text()
    assert f"create configmap {volume['configMap']['name']} --from-file=configs/cluster/job.yaml" in comment
    assert job["entrypoint"] == f"qsweep run {mount['mountPath']}/job.yaml"
    assert yaml.safe_load(job["runtimeEnvYAML"])["env_vars"] == {
        "RAY_JOB_STOP_WAIT_TIME_S": str(submit._STOP_SECONDS)
    }
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["rayVersion"] == pinned_ray()
    (workers,) = cluster["workerGroupSpecs"]
    assert (workers["minReplicas"], workers["maxReplicas"]) == (0, read_config(CLUSTER / "job.yaml").ray.replicas)
    images = {spec["template"]["spec"]["containers"][0]["image"] for spec in (cluster["headGroupSpec"], workers)}
    (image,) = images
    dockerfile = (CLUSTER / "Dockerfile").read_text()
    assert f"--tag {image} " in dockerfile
    assert re.search(rf"^FROM rayproject/ray:{re.escape(pinned_ray())}-", dockerfile, re.MULTILINE)


# --- a job on a real cluster

N_FRAMES, N_LMBDAS = 4, 4
N_PAIRS = sum(map(len, named_grid().values()))


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """A cluster of its own, with a job server; gives the address of that."""
    flags = ("port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port")
    flags += ("runtime-env-agent-port", "metrics-export-port", "ray-client-server-port")
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in flags]
        ports = {flag: server.getsockname()[1] for flag, server in zip(flags, sockets, strict=True)}
    folder = Path(tempfile.mkdtemp(prefix="q", dir="/tmp"))  # a socket's path is short
    scripts = Path(sys.executable).parent
    command = [str(scripts / "ray"), "start", "--head", "--block", "--num-cpus=2", "--dashboard-host=127.0.0.1"]
    command += [f"--{flag}={port}" for flag, port in ports.items()]
    command += ["--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000"]
    command += ["--disable-usage-stats", f"--temp-dir={folder / 'r'}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on the loopback interface alone
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    address = f"http://127.0.0.1:{ports['dashboard-port']}"
    try:
        wait_until(lambda: answers(address), lambda: (folder / "log").read_text())
        yield address
    finally:
        process.terminate()  # it ends what it has started
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def answers(address: str) -> bool:
    try:
        with urlopen(f"{address}/api/version", timeout=30) as reply:
            return bool(json.load(reply)["ray_version"] == ray.__version__)
    except (URLError, OSError, ValueError):
        return False


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("no_address")
def test_a_job_that_is_stopped_and_submitted_again_goes_on_to_its_end(
    tmp_path: Path, head: str, object_store: ObjectStore
) -> None:
    case = CASES / "astronaut_64x96_lop"
    for index in range(N_FRAMES):
        shutil.copy(case / "frame.png", tmp_path / f"f{index}.png")
    shutil.copy(case / "encoder.safetensors", tmp_path)
    lmbdas = [0.001 * (1 + index) for index in range(N_LMBDAS)]
    entry = {"frame": "f*.png", "encoder": "encoder.safetensors", "lmbda": lmbdas}
    # The last frame is behind a store that does not answer yet: however fast it is, the job is not over when it is
    # stopped.
    Storage(object_store.uri("in")).write("last.png", (case / "frame.png").read_bytes())
    last = f"s3://test:test@{BUCKET}/in/last.png?{object_store.options}"
    entries = [entry, {"frame": last, "encoder": "encoder.safetensors"}]
    config = write_config(tmp_path, entries, ray={"replicas": 1, "address": "192.0.2.1:6379"})
    out = tmp_path / "out"

    def done() -> dict[str, int]:
        """Frames that are done, and when they were written."""
        return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("rd_table/frame=*/part-0.parquet")}

    client = JobSubmissionClient(head)
    with object_store.failing():
        start = time.monotonic()
        first = submit_job(config, head)
        assert first.out == str(out)
        wait_until(done, lambda: client.get_job_logs(first.id))
        starting = time.monotonic() - start
        start = time.monotonic()
        client.stop_job(first.id)
        wait_until(lambda: client.get_job_status(first.id).is_terminal(), lambda: client.get_job_logs(first.id))
        stopping = time.monotonic() - start
    # Ten seconds; where other things keep the machine busy, or it is slow, it shows in the time to start as well.
    assert stopping < max(10, starting)
    log = client.get_job_logs(first.id)
    assert client.get_job_status(first.id) == JobStatus.STOPPED, log
    assert log.rstrip().endswith("qsweep: interrupted; the same command resumes the job")
    assert "Traceback" not in log
    kept = done()
    assert 0 < len(kept) <= N_FRAMES * N_LMBDAS
    assert not (out / ".claim").exists()

    command = [sys.executable, str(SCRIPT), str(config), "--follow", "--address", head]
    second = subprocess.run(command, capture_output=True, text=True, timeout=LONG_SECONDS)
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"submit: submitted to {head}" in second.stderr
    n_frames = N_FRAMES * N_LMBDAS + 1
    assert second.stdout.splitlines()[-1] == f"{n_frames} done, 0 failed; results in {out}"
    assert len(re.findall(r"frame \S+: done by", second.stdout)) == n_frames - len(kept)
    assert kept.items() <= done().items()
    table = read_rd_table(out)
    assert table.groupby("frame", observed=True).size().to_dict() == {
        f"f{frame}@{lmbda}": N_PAIRS for frame in range(N_FRAMES) for lmbda in lmbdas
    } | {"last": N_PAIRS}
    assert not table.duplicated(["frame", "module", "q_step_weight", "q_step_bias"]).any()
    assert yaml.safe_load((out / "job.yaml").read_text())["versions"]["qsweep"] == importlib.metadata.version(
        "qsweep"
    )


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore:ssl=None is deprecated")  # which Ray's client says to aiohttp
@pytest.mark.usefixtures("no_address")
def test_a_wrong_job_ends_with_the_status_of_its_driver(tmp_path: Path, head: str) -> None:
    config = write_config(tmp_path, ["not_there/*.png"])
    result = run_script(config, "--follow", "--address", head)
    assert result.exit_code == 2, result.output
    assert "may still run" not in result.stderr, result.output
    assert f"frames[0].frame: no file matches '{tmp_path}/not_there/*.png'" in result.stdout


def test_an_address_that_is_given_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://other:1")
    monkeypatch.setattr(submit, "_knock", lambda _: None)

    def client(_: str) -> None:
        asked.append(os.environ["RAY_API_SERVER_ADDRESS"])
        raise ConnectionError("nobody")

    monkeypatch.setattr(submit, "JobSubmissionClient", client)
    with (
        pytest.raises(ClusterError, match="the job server http://this:1 cannot be used: nobody"),
        submit._talking_to("http://this:1"),
    ):
        submit._connect("http://this:1")
    assert asked == ["http://this:1"]
    assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://other:1"
