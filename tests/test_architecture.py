"""Which room knows what: imports go one way, and only some rooms know Ray or torch."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("workers", "sweep/config", "sweep/schedule", "sweep/driver", "sweep/results", "sweep/report", "sweep")
"""Each may import from those before it, and from itself."""

FILES = [path.relative_to(ROOT) for package in ("workers", "sweep") for path in (ROOT / package).rglob("*.py")]


def room_of(module: str) -> int:
    """Index of the room that a module is in."""
    path = module.replace(".", "/")
    return next(index for index, room in enumerate(ROOMS) if path == room or path.startswith(f"{room}/"))


def imports(path: Path) -> set[str]:
    """Modules that a file imports, wherever in it."""
    tree = ast.walk(ast.parse((ROOT / path).read_text("utf-8")))
    found = set()
    for node in tree:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            found.add(str(node.module))
    return found


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_room_imports_from_those_beneath_it(path: Path) -> None:
    here = room_of(str(path.with_suffix("")))
    own = {module for module in imports(path) if module.split(".")[0] in ("workers", "sweep")}
    assert not {module for module in own if room_of(module) > here}


def test_what_knows_ray_and_what_knows_torch() -> None:
    knows = {path: {module.split(".")[0] for module in imports(path)} for path in FILES}
    ray = {path for path in FILES if "ray" in knows[path]}
    assert {str(path.parent) for path in ray} == {"sweep/driver", "sweep"}
    assert {path.name for path in ray if str(path.parent) == "sweep"} == {"submit.py"}
    # Whoever begins a job in this process asks torch for devices and threads; nobody in sweep computes with it.
    torch = {str(path) for path in FILES if path.parts[0] == "sweep" and "torch" in knows[path]}
    assert torch == {"sweep/api.py", "sweep/coding.py", "sweep/evaluate.py"}
