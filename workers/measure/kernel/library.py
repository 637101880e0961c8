"""The compiled kernel itself: where it is, and how its functions are called.

The environment variable ``QSWEEP_KERNEL`` forces a build: ``avx512``, ``avx2`` or ``any``; ``none`` measures with
torch alone. It is for reports of trouble and for tests: choices depend on no build. It is read once per process.
"""

import ctypes
import logging
import os
import platform
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

from workers.errors import ConfigError, ReplicaError
from workers.measure.kernel.sources import FOLDER, is_current

KERNEL_VARIABLE = "QSWEEP_KERNEL"
"""Environment variable that forces a build."""

_FORCED = ("avx512", "avx2", "any", "none")

_log = logging.getLogger(__name__)

long = ctypes.c_long
pointer = ctypes.c_void_p


class Rectangle(ctypes.Structure):
    """Part of a frame: the kernel's ``rectangle``."""

    _fields_ = tuple((name, long) for name in ("top", "left", "rows", "columns"))


_REMEDY = "it is not used, and candidates may be measured more slowly; scripts/setup builds it again"

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


def forced_build() -> str:
    """Name of the build that the environment forces; empty if it forces none.

    Raises:
        ConfigError: there is no such build on any machine.
    """
    name = os.environ.get(KERNEL_VARIABLE, "")
    if name and name not in _FORCED:
        raise ConfigError(f"{KERNEL_VARIABLE}: accepted: {', '.join(_FORCED)}; found {name!r}")
    return name


@cache
def load() -> ctypes.CDLL | None:
    """The kernel for this machine's instructions, or the one that is forced; ``None`` where none can be used.

    A build that was made of other C sources than those beside this file is never loaded: its functions may take
    other arguments.

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
            _log.info("compiled kernel: %s", name)
            return library
    _log.info("compiled kernel: none, torch alone is used")
    return None


def _load_forced(name: str) -> ctypes.CDLL | None:
    if name == "none":
        _log.info("compiled kernel: none, as %s says; torch alone is used", KERNEL_VARIABLE)
        return None
    if f"_{name}" not in builds():
        runs = ", ".join(build[1:] for build in builds())
        raise ReplicaError(f"{KERNEL_VARIABLE}={name}: this machine cannot run that build; it can run: {runs}")
    library = open_build(f"_{name}")
    if library is None:
        raise ReplicaError(f"{KERNEL_VARIABLE}={name}: there is no such build that can be used; see scripts/setup")
    _log.info("compiled kernel: _%s, as %s says", name, KERNEL_VARIABLE)
    return library


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
