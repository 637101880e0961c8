"""A replica runs the driver's code, whatever else the import path of its process leads to."""

import os
import subprocess
import sys
from importlib.machinery import PathFinder
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sweep import cli
from sweep.config import RayConfig
from sweep.driver import RayPool, bootstrap, ray_pool
from sweep.driver.actor import Place, _dumps
from sweep.driver.bootstrap import Code, code_in, find_code
from tests.cases import CASES
from workers.errors import ClusterError, ReplicaError

ROOT = Path(__file__).parent.parent.parent.parent
QSWEEP = Path(sys.executable).with_name("qsweep")
FOLDER = CASES / "astronaut_64x96_lop"
GRID = {
    "arm": {"weight": [0.125], "bias": [0.125]},
    "synthesis": {"weight": [0.0078125], "bias": [0.0078125]},
    "upsampling": {"weight": [0.0078125], "bias": [1]},
}


def make_packages(root: Path, content: str = "") -> Path:
    for package in ("sweep", "workers"):
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").write_text(content)
    return root


def write_config(folder: Path) -> Path:
    config = folder / "job.yaml"
    frame = {"frame": str(FOLDER / "frame.png"), "encoder": str(FOLDER / "encoder.safetensors")}
    config.write_text(yaml.safe_dump({"frames": [frame], "out": "out", "grid": GRID, "ray": {"replicas": 1}}))
    return config


# --- which code is where


def test_the_digest_is_of_python_and_c_alone_and_of_both_packages(tmp_path: Path) -> None:
    root = make_packages(tmp_path / "a")
    digest = code_in(str(root)).digest
    assert code_in(str(make_packages(tmp_path / "b"))).digest == digest, "wherever it is"
    for name in ("sweep/notes.md", "workers/kernel.so", "workers/__init__.cpython-311.pyc", "other.py"):
        (root / name).write_text("x")
        assert code_in(str(root)).digest == digest
    seen = {digest}
    for name in ("sweep/a.py", "sweep/a.pyi", "workers/a.py", "workers/k.c", "workers/k.h", "workers/a.py"):
        (root / name).write_text(f"x{len(seen)}")
        seen.add(code_in(str(root)).digest)
    assert len(seen) == 7


def test_code_is_looked_for_where_the_driver_has_it_and_then_in_the_import_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, same = make_packages(tmp_path / "other", "x = 1"), make_packages(tmp_path / "same")
    monkeypatch.setattr(sys, "path", [str(other), str(same)])
    wanted = code_in(str(same))
    assert find_code(wanted).root == str(same)
    assert find_code(wanted._replace(root="/not/on/this/node")).root == str(same)


def test_where_the_code_is_not_there_what_is_found_is_told_with_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_packages(tmp_path / "other", "x = 1")
    metadata = other / "qsweep-9.9.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: qsweep\nVersion: 9.9\n")
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "workers.py").touch()  # no qsweep at all
    monkeypatch.setattr(sys, "path", [str(tmp_path / "single"), str(other)])
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    found = find_code(Code("/nowhere", "0", "1.0"))
    assert (found.root, found.version) == (str(other), "9.9")
    monkeypatch.setattr(sys, "path", [])
    assert find_code(Code("/nowhere", "0", "1.0")) == Code("", "", "")


SHADOWED = """
import runpy, sys, types
bootstrap, root, foreign = runpy.run_path(sys.argv[1]), sys.argv[2], sys.argv[3]
sys.path.insert(0, foreign)
import workers, sweep  # as a task of the user has done that ran in this process before
bootstrap["import_from"](root)
import workers, sweep
print(workers.__file__, sweep.__file__)
"""


def test_what_was_imported_under_the_names_of_the_packages_is_imported_no_more(tmp_path: Path) -> None:
    ours, foreign = make_packages(tmp_path / "ours"), make_packages(tmp_path / "foreign")
    command = [sys.executable, "-S", "-c", SHADOWED, bootstrap.__file__, str(ours), str(foreign)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"{ours}/workers/__init__.py", f"{ours}/sweep/__init__.py"]


def test_a_replica_leaves_a_working_directory_that_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError):
        Path.cwd()
    bootstrap._leave_deleted_folder()
    assert Path.cwd().exists()


# --- on Ray


@pytest.mark.ray
def test_what_is_in_the_working_directory_of_a_job_is_not_imported_by_its_replicas(tmp_path: Path) -> None:
    make_packages(tmp_path, "raise RuntimeError('foreign code')")
    for name in ("workers.py", "yaml.py", "torch.py"):
        (tmp_path / name).write_text("raise RuntimeError('foreign code')")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [QSWEEP, "run", write_config(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"1 done, 0 failed; results in {tmp_path}/out"
    assert "was lost" not in done.stderr


SCRIPT = """
from sweep import quantize_model
from workers.codec import read_frame, read_frame_encoder
import helpers

if __name__ == "__main__":
    frame = read_frame(helpers.FOLDER + "/frame.png")
    frame_encoder, manager = read_frame_encoder(helpers.FOLDER + "/encoder.safetensors")
    quantize_model(frame_encoder, frame, manager, replicas=1, grid=helpers.GRID)
    print(frame_encoder.nn_q_step["arm"])
"""


@pytest.mark.ray
def test_nor_is_it_by_those_of_a_script_with_modules_of_its_own(tmp_path: Path) -> None:
    scripts, here = tmp_path / "scripts", make_packages(tmp_path / "here", "raise RuntimeError('foreign code')")
    scripts.mkdir()
    (scripts / "script.py").write_text(SCRIPT)
    grid = {module: [(steps["weight"][0], steps["bias"][0])] for module, steps in GRID.items()}
    (scripts / "helpers.py").write_text(
        f"from workers.candidates import QStepPair\nFOLDER = {str(FOLDER)!r}\n"
        f"GRID = {{name: [QStepPair(*pair) for pair in pairs] for name, pairs in {grid!r}.items()}}\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, scripts / "script.py"]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'weight': 0.125, 'bias': 0.125}\n"


@pytest.fixture
def other_code(monkeypatch: pytest.MonkeyPatch) -> Code:
    """The driver has code that no replica finds."""
    code = Code("/opt/driver", "0123456789abcdef", "9.9")
    monkeypatch.setattr(ray_pool, "code_in", lambda _: code)
    return code


def start_one(useful: bool) -> None:
    pool: Any = RayPool(RayConfig(replicas=1))
    pool._useful = useful
    try:
        while True:
            pool.wait(1.0)
    finally:
        assert pool._names == 1, "no other replica was started in its place"
        pool.close()


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray", "other_code")
@pytest.mark.parametrize(("useful", "kind"), [(False, ClusterError), (True, ReplicaError)])
def test_a_replica_without_the_drivers_code_ends_the_job_at_once(useful: bool, kind: type[Exception]) -> None:
    with pytest.raises(kind) as error:
        start_one(useful)
    message = str(error.value)
    assert "cannot run the driver's code" in message
    assert f"{ROOT} (qsweep {version('qsweep')}, sources {code_in(str(ROOT)).digest[:12]}) there" in message
    assert "the driver runs /opt/driver (qsweep 9.9, sources 0123456789ab)" in message


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray", "other_code")
def test_a_job_whose_replicas_have_other_code_has_not_begun_and_ends_with_status_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["run", str(write_config(tmp_path))])
    assert result.exit_code == 2, result.output
    assert "the driver runs /opt/driver (qsweep 9.9" in result.stderr
    assert result.stderr.count("cannot run the driver's code") == 1


def test_files_that_were_changed_meanwhile_are_told_from_another_installation() -> None:
    wanted, found = Code("/opt/qsweep", "1" * 64, "1.0"), Code("/opt/qsweep", "2" * 64, "1.0")
    message = ray_pool._other_code("r3", "node-7", found, wanted)
    assert message.startswith(
        "replica r3 on node-7 cannot run the driver's code: the files in /opt/qsweep differ there"
    )
    assert "finds no qsweep there" in ray_pool._other_code("r3", "node-7", Code("", "", ""), wanted)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_kernel_that_replicas_refuse_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    pool: Any = RayPool(RayConfig(replicas=1))
    try:
        for name, refused in (("r0", "a.so is stale"), ("r1", "a.so is stale"), ("r2", "")):
            pool._ready(name, pool._code, "node-7", _dumps(Place("cpu", "id", refused)))
    finally:
        pool.close()
    assert [message for message in caplog.messages if "stale" in message] == ["replica r0 on node-7: a.so is stale"]
