"""Which package knows what: imports go one way, some are light, and networks are named in one place alone."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workers.codec.family import modules

ROOT = Path(__file__).parent.parent
QSWEEP = Path(sys.executable).with_name("qsweep")

FILES = sorted(
    path.relative_to(ROOT)
    for package in ("workers", "sweep")
    for pattern in ("*.py", "*.pyi")
    for path in (ROOT / package).rglob(pattern)
)

CODEC, NATIVE, TOGETHER = "workers/codec", "workers/native", ("workers/measure", "workers/fit", "workers/bitstream")

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    CODEC: (),
    NATIVE: (),
    "workers/objective": (CODEC,),
    **dict.fromkeys(TOGETHER, (CODEC, NATIVE, "workers/objective")),
    "sweep/config": ("workers",),
    "sweep/search": ("workers", "sweep/config"),
    "sweep/schedule": ("workers", "sweep/config", "sweep/search"),
    "sweep/driver": ("workers", "sweep/config", "sweep/search", "sweep/schedule"),
    "sweep/results": ("workers", "sweep/config", "sweep/schedule"),
    "sweep/report": ("workers", "sweep/config", "sweep/results"),
}
"""Per package, which others it may import from, beside itself and the files that stand beside the packages of
``workers``; and of ``workers``, all that is in it."""

BESIDE = (
    "answers candidates device errors files local_files moves outage plain plugins psnr reasons registry search "
    "source streams"
)
IMPORTED_BY_ALL = frozenset(f"workers.{name}" for name in BESIDE.split())
"""Files beside the packages of ``workers`` that these may import."""


def package_of(module: str) -> str:
    """The package of :data:`MAY_IMPORT` that a module is in; else its topmost one."""
    path = module.replace(".", "/")
    return next((name for name in MAY_IMPORT if f"{path}/".startswith(f"{name}/")), path.partition("/")[0])


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            of_stub = path.name == "__init__.pyi" and node.level == 1
            assert of_stub or node.level == 0, f"{path}:{node.lineno}: a relative import"
            found.add(f"{module_of(path)}.{node.module}" if of_stub else str(node.module))
    return found


def own(path: Path) -> set[str]:
    return {module for module in imports(path) if module.split(".")[0] in ("workers", "sweep")}


# --- directions


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_package_imports_from_those_beneath_it(path: Path) -> None:
    package = package_of(module_of(path))
    if package == "sweep":  # the files beside its packages bring them together
        return
    if package == "workers":
        assert not {module for module in own(path) if module.startswith("sweep")}
        return
    allowed = MAY_IMPORT[package]
    for module in own(path):
        inside = package_of(module)
        assert (
            inside in (package, *allowed)
            or ("workers" in allowed and inside.startswith("workers"))
            or module in IMPORTED_BY_ALL
        ), f"{package} imports {module}"


def test_what_is_imported_by_all_computes_nothing_with_frame_encoders() -> None:
    beside = {str(path) for path in FILES if module_of(path) in IMPORTED_BY_ALL}
    assert len(beside) == len(IMPORTED_BY_ALL)
    names_types_alone = {"workers/answers.py", "workers/moves.py", "workers/source.py"}
    for name in beside - names_types_alone:
        assert {package_of(module) for module in own(Path(name))} <= {"workers"}, name


def test_what_knows_ray_and_what_knows_torch() -> None:
    knows = {path: {module.split(".")[0] for module in imports(path)} for path in FILES}
    ray = {path for path in FILES if "ray" in knows[path]}
    assert {str(path.parent) for path in ray} == {"sweep/driver", "sweep"}
    assert {path.name for path in ray if str(path.parent) == "sweep"} == {"submit.py"}
    # What begins a job in this process asks torch for devices and threads; nothing in sweep computes with it.
    torch = {str(path) for path in FILES if path.parts[0] == "sweep" and "torch" in knows[path]}
    assert torch == {"sweep/api.py", "sweep/coding.py", "sweep/evaluate.py"}


# --- lightness

HEAVY = ("torch", "ray", "constriction")


def loaded_by(program: str) -> tuple[set[str], float]:
    """The heavy packages that a program in a fresh interpreter has loaded at its end, and its seconds of CPU."""
    told = "import json, sys, time; print(json.dumps([sorted(sys.modules), time.process_time()]))"
    command = [sys.executable, "-c", f"{program}\n{told}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    names, seconds = json.loads(done.stdout.splitlines()[-1])
    return {*HEAVY, "PIL"}.intersection(names), seconds


def test_tables_are_read_without_loading_what_computes() -> None:
    found, seconds = loaded_by("from sweep import read_rd_table, read_frames, choose_at")
    assert found == set()
    assert seconds < 1


@pytest.mark.parametrize("command", ["status", "report", "plot", "show", "import", "export"])
def test_help_of_commands_loads_nothing_that_computes(command: str) -> None:
    program = (
        "import sys\nfrom sweep.launch import main\n"
        f"sys.argv = ['qsweep', {command!r}, '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    found, _ = loaded_by(program)
    assert found.isdisjoint(HEAVY)


@pytest.mark.parametrize("package", ["sweep.results", "sweep.search", "sweep.schedule", "workers.codec"])
def test_packages_load_what_they_are_asked_for_alone(package: str) -> None:
    found, _ = loaded_by(f"import {package}")
    assert found == set()


def test_results_know_neither_ray_nor_torch() -> None:
    """All of it, writing included."""
    found, _ = loaded_by(
        "import importlib, pkgutil, sweep.results as package\n"
        "for module in pkgutil.iter_modules(package.__path__, 'sweep.results.'):\n"
        "    importlib.import_module(module.name)"
    )
    assert found.isdisjoint(HEAVY)


# --- names of networks


def texts(path: Path) -> list[tuple[int, str]]:
    """Literals of a file with their lines, docstrings and other texts that stand by themselves aside."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in alone)
    return [(node.lineno, node.value) for node in constants if isinstance(node.value, str)]


NAMING = (CODEC, "workers/measure/kernel", "workers/bitstream/cool")
"""Where networks are named: beside the codec, by a kernel for them, and by a format that has parts for them."""


def test_networks_are_named_in_the_codec_alone() -> None:
    names = {*modules(), "arm", "ifce", "synthesis", "upsampling"}
    found = [
        f"{path}:{line}: {text!r}"
        for path in FILES
        if not any(map(path.is_relative_to, NAMING))
        for line, text in texts(path)
        if names.intersection(re.findall(r"\w+", text))
    ]
    assert found == []
