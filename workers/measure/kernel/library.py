"""The compiled kernel of the engine: which build of it is used, and its functions.

Where none can be used, torch measures alone: choices depend on no build. What the environment forces (see
:mod:`workers.native.library`) is read once per process.
"""

import ctypes
import logging
import platform
from functools import cache
from pathlib import Path

import torch

from workers.errors import ReplicaError
from workers.native.library import (
    BUILDS,
    KERNEL_VARIABLE,
    forced_build,
    open_library,
    path_of_build,
    stale_message,
)
from workers.native.sources import is_current

FOLDER = Path(__file__).parent

_log = logging.getLogger(__name__)

long = ctypes.c_long
pointer = ctypes.c_void_p


class Rectangle(ctypes.Structure):
    """Part of a frame: the kernel's ``rectangle``."""

    _fields_ = tuple((name, long) for name in ("top", "left", "rows", "columns"))


_FUNCTIONS = {
    "qsweep_arm": (None, (pointer, pointer, pointer, pointer)),
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
    """The kernel for this machine's instructions, or the one that is forced; ``None`` where none can be used.

    Raises:
        ConfigError: no build has the name that is forced.
        ReplicaError: the build that is forced cannot be used, or this machine cannot run it.
    """
    forced = forced_build()
    if forced:
        return _load_forced(forced)
    for name in builds():
        library = open_build(name)
        if library is not None:
            _log.info("compiled kernel in use: build %s", name.removeprefix("_"))
            return library
    _log.info("no compiled kernel in use, torch alone")
    return None


def _load_forced(name: str) -> ctypes.CDLL | None:
    if name == "none":
        _log.info("no compiled kernel in use, torch alone, as %s says", KERNEL_VARIABLE)
        return None
    if f"_{name}" not in builds():
        runs = ", ".join(build[1:] for build in builds())
        raise ReplicaError(f"{KERNEL_VARIABLE}={name}: this machine cannot run that build; it can run: {runs}")
    library = open_build(f"_{name}")
    if library is None:
        raise ReplicaError(f"{KERNEL_VARIABLE}={name}: there is no such build that can be used; see scripts/setup")
    _log.info("compiled kernel in use: build %s, as %s says", name, KERNEL_VARIABLE)
    return library


def open_build(name: str) -> ctypes.CDLL | None:
    """One build of the kernel; ``None`` if there is none of this name, and with a warning if it cannot be used."""
    return open_library(FOLDER, name, _FUNCTIONS)


def stale_builds() -> list[Path]:
    """Builds beside this file, for whatever machine, that were made of other C sources."""
    return [path for path in sorted(FOLDER.glob("*.so")) if not is_current(path, FOLDER)]


def refused() -> list[str]:
    """Why builds are not used that this machine could run: they were made of other C sources."""
    paths = list(map(path_of, builds()))
    return [stale_message(path) for path in stale_builds() if path in paths]


def path_of(name: str) -> Path | None:
    """File of a build that this Python can load, beside this file; ``None`` if there is none of this name."""
    return path_of_build(FOLDER, name)


def builds() -> list[str]:
    """Builds that this machine can run, the fastest one first."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return list(BUILDS[-1:])
    found = torch.backends.cpu.get_cpu_capability()  # by torch, when it was imported
    return list(BUILDS[{"AVX512": 0, "AVX2": 1}.get(found, 2) :])
