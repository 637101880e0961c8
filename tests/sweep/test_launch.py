"""The start of the command, and of ``import sweep``: what else may be there under the names of the packages."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

QSWEEP = Path(sys.executable).with_name("qsweep")
ROOT = Path(__file__).parent.parent.parent


def run(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=os.environ | environment, capture_output=True, text=True
    )


def package(folder: Path) -> Path:
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    return folder


def module(folder: Path) -> Path:
    path = folder.with_suffix(".py")
    path.write_text("raise RuntimeError('imported')")
    return path


def bare_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("make", [package, module, bare_folder])
@pytest.mark.parametrize("name", ["workers", "sweep"])
def test_the_command_says_what_hides_its_packages(tmp_path: Path, name: str, make: Callable[[Path], Path]) -> None:
    hiding = make(tmp_path / name)
    done = run(QSWEEP, "--version", cwd=ROOT, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"qsweep: {hiding}")
    assert f"hides {ROOT / name}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_another_checkout_in_the_import_path_hides_the_installed_one(tmp_path: Path) -> None:
    for name in ("sweep", "workers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    done = run(QSWEEP, "--version", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert f"{tmp_path}/sweep hides {ROOT}/sweep" in done.stderr


def test_its_own_folder_in_the_import_path_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ROOT)
    for path in (ROOT, tmp_path / "link"):
        done = run(QSWEEP, "--version", cwd=tmp_path, PYTHONPATH=str(path))
        assert (done.returncode, done.stdout) == (0, f"qsweep {version('qsweep')}\n"), done.stderr


@pytest.mark.parametrize("make", [package, module])
def test_what_is_in_the_working_directory_hides_packages_from_python_m(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    hiding = make(tmp_path / "workers")
    hidden = run(sys.executable, "-m", "sweep", "--version", cwd=tmp_path)
    assert (hidden.returncode, hidden.stdout) == (2, "")
    assert hidden.stderr.startswith(f"qsweep: {hiding}")


def test_the_working_directory_hides_nothing_where_it_is_not_in_the_import_path(tmp_path: Path) -> None:
    package(tmp_path / "workers")
    module(tmp_path / "sweep")
    assert run(QSWEEP, "--version", cwd=tmp_path).returncode == 0
    safe = run(sys.executable, "-m", "sweep", "--version", cwd=tmp_path, PYTHONSAFEPATH="1")
    assert safe.returncode == (0 if sys.version_info >= (3, 11) else 1), safe.stderr


def test_a_script_beside_a_workers_py_is_told_what_hides_the_package(tmp_path: Path) -> None:
    hiding = module(tmp_path / "workers")
    script = tmp_path / "script.py"
    script.write_text("from sweep import quantize_model")
    done = run(sys.executable, script, cwd=ROOT)
    assert done.returncode == 1
    assert f"ImportError: {hiding} hides {ROOT}/workers" in done.stderr


def test_a_working_directory_that_was_deleted_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = run("sh", "-c", f"rmdir {gone}; exec {QSWEEP} status somewhere", cwd=gone)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "qsweep: the working directory has been deleted: change into another one\n"
