"""The compiled kernel itself: where it is, and how its functions are called."""

import ctypes
import logging
import platform
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

from workers.measure.kernel.sources import FOLDER, is_current

_log = logging.getLogger(__name__)

long = ctypes.c_long
pointer = ctypes.c_void_p


class Rectangle(ctypes.Structure):
    """Part of a frame: the kernel's ``rectangle``."""

    _fields_ = tuple((name, long) for name in ("top", "left", "rows", "columns"))


_REMEDY = "it is not used, and candidates may be measured more slowly; scripts/setup builds it again"

_FUNCTIONS = {
    "qsweep_arm": (None, (pointer, pointer, pointer, long, pointer)),
    "qsweep_laplace": (None, (long, long, pointer, pointer, pointer, pointer)),
    "qsweep_probability": (None, (long, long, pointer, pointer, pointer, pointer)),
    "qsweep_pointwise": (None, (pointer, pointer, long, pointer)),
    "qsweep_synthesis": (None, (pointer, pointer, pointer, Rectangle, long, pointer, pointer)),
    "qsweep_upsample": (ctypes.c_int, (pointer, long, long, pointer, long, pointer, long, long)),
    "qsweep_filter": (ctypes.c_int, (pointer, long, long, pointer, long, pointer)),
}
"""Result and arguments of each function."""


@cache
def load() -> ctypes.CDLL | None:
    """The kernel for this machine's instructions; ``None`` where no build of it can be used.

    A build that was made of other C sources than those beside this file is never loaded: its functions may take
    other arguments.
    """
    for name in builds():
        library = open_build(name)
        if library is not None:
            _log.info("compiled kernel: %s", name)
            return library
    _log.info("compiled kernel: none, torch alone is used")
    return None


def open_build(name: str) -> ctypes.CDLL | None:
    """One build of the kernel; ``None`` if there is none of this name, and with a warning if it cannot be used."""
    path = path_of(name)
    if path is None:
        return None
    try:
        if not is_current(path):
            _log.warning("%s", _stale(path))
            return None
        library = ctypes.CDLL(str(path))
        for function, (result, arguments) in _FUNCTIONS.items():
            getattr(library, function).restype = result
            getattr(library, function).argtypes = arguments
    except (OSError, AttributeError) as error:  # of another platform, for example; or a function is missing
        _log.warning("compiled kernel: %s cannot be loaded (%s); %s", path, error, _REMEDY)
        return None
    return library


def stale_builds() -> list[Path]:
    """Builds beside this file, for whatever machine, that were made of other C sources."""
    return [path for path in sorted(FOLDER.glob("*.so")) if not is_current(path)]


def refused() -> list[str]:
    """Why builds are not used that this machine could run: they were made of other C sources."""
    paths = list(map(path_of, builds()))
    return [_stale(path) for path in stale_builds() if path in paths]


def _stale(path: Path) -> str:
    return f"compiled kernel: {path} was built from other C sources than those beside it; {_REMEDY}"


def path_of(name: str) -> Path | None:
    """File of a build that this Python can load, beside this file; ``None`` if there is none of this name."""
    paths = (FOLDER / f"{name}{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((path for path in paths if path.exists()), None)


def builds() -> list[str]:
    """Builds that this machine can run, the fastest one first."""
    names = ["_avx512", "_avx2", "_any"]
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return names[-1:]
    found = torch.backends.cpu.get_cpu_capability()  # by torch, when it was imported
    return names[{"AVX512": 0, "AVX2": 1}.get(found, 2) :]
