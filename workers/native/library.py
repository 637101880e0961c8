"""Builds of a kernel as libraries: where they are, which are used, and how their functions are called.

The environment variable ``QSWEEP_KERNEL`` forces a build of every kernel: ``avx512``, ``avx2`` or ``any``; ``none``
does without. It is for reports of trouble and for tests: results depend on no build.
"""

import ctypes
import logging
import os
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from workers.errors import ConfigError
from workers.native.sources import is_current

KERNEL_VARIABLE = "QSWEEP_KERNEL"
"""Environment variable that forces a build."""

BUILDS = ("_avx512", "_avx2", "_any")
"""Names of builds, the fastest one first; the last one runs on every machine."""

FORCED = ("avx512", "avx2", "any", "none")
"""What can be forced."""

Functions = Mapping[str, tuple[Any, tuple[Any, ...]]]
"""Result and arguments of each function, as types of ctypes."""

_REMEDY = "it is not used, and work may take longer; scripts/setup builds it again"

_log = logging.getLogger(__name__)


def forced_build() -> str:
    """Name of the build that the environment forces; empty if it forces none.

    Raises:
        ConfigError: there is no such build on any machine.
    """
    name = os.environ.get(KERNEL_VARIABLE, "")
    if name and name not in FORCED:
        raise ConfigError(f"{KERNEL_VARIABLE}: accepted: {', '.join(FORCED)}; found {name!r}")
    return name


def open_library(folder: Path, name: str, functions: Functions) -> ctypes.CDLL | None:
    """A build of the kernel in a folder; ``None`` if there is none, and with a warning if it cannot be used.

    A build that was made of other C sources than those beside it is never loaded: its functions may take other
    arguments.
    """
    path = path_of_build(folder, name)
    if path is None:
        return None
    try:
        if not is_current(path, folder):
            _log.warning("%s", stale_message(path))
            return None
        library = ctypes.CDLL(str(path))
        for function, (result, arguments) in functions.items():
            getattr(library, function).restype = result
            getattr(library, function).argtypes = arguments
    except (OSError, AttributeError) as error:  # of another platform, for example; or a function is missing
        _log.warning("compiled kernel: %s cannot be loaded (%s); %s", path, error, _REMEDY)
        return None
    return library


def path_of_build(folder: Path, name: str) -> Path | None:
    """File of a build that this Python can load; ``None`` if there is none of this name."""
    paths = (folder / f"{name}{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((path for path in paths if path.exists()), None)


def stale_message(path: Path) -> str:
    """What is wrong with a build of other sources."""
    return f"compiled kernel: {path} was built from other C sources than those beside it; {_REMEDY}"
