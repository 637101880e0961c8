"""The start of the command: what has to be right before the rest of it can be imported."""

import sys
from importlib.util import find_spec
from pathlib import Path

_WORKERS = Path(__file__).parent.parent / "workers"  # the package that this one was written with


def main() -> None:
    """Run the command line; end with status 2, and say why, where it cannot even be loaded."""
    problem = _deleted_folder() or foreign_workers()
    if problem:
        sys.stderr.write(f"qsweep: {problem}\n")
        sys.exit(2)
    from sweep.cli import main as run

    run()


def foreign_workers() -> str:
    """What hides the package ``workers`` that belongs to this one, and what to do; empty if nothing does."""
    spec = find_spec("workers")
    if spec is None or not _WORKERS.exists():
        return f"{_WORKERS} is missing: install qsweep again"
    folders = list(spec.submodule_search_locations or [""])
    found = Path(spec.origin or folders[0])  # a folder without __init__.py has no origin
    if found.exists() and found.samefile(_WORKERS / "__init__.py"):
        return ""
    return (
        f"{found} hides {_WORKERS}, a package of qsweep: it comes first on the import path; rename it, or remove "
        "its folder from PYTHONPATH, or start from another folder"
    )


def _deleted_folder() -> str:
    """That the working directory is gone, if it is: torch cannot be loaded there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return "the working directory has been deleted: change into another one"
    return ""
