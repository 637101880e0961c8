"""The compiled kernel of training: which build of it is used, and its functions."""

import ctypes
import logging
import platform
from functools import cache
from pathlib import Path

import torch

from workers.errors import ReplicaError
from workers.native.library import BUILDS, KERNEL_VARIABLE, forced_build, open_library

FOLDER = Path(__file__).parent

long = ctypes.c_long
pointer = ctypes.c_void_p

_FUNCTIONS = {
    "qsweep_train_lanes": (ctypes.c_int, ()),
    "qsweep_train_arm": (ctypes.c_double, (pointer, pointer, pointer)),
    "qsweep_train_pointwise": (None, (pointer, pointer, long, pointer)),
    "qsweep_train_pointwise_backward": (None, (pointer, pointer, long, *(pointer,) * 4)),
    "qsweep_train_convolution": (None, (pointer,) * 4),
    "qsweep_train_convolution_backward": (None, (pointer,) * 8),
    "qsweep_train_filter": (None, (pointer, pointer, long, *(pointer,) * 4)),
    "qsweep_train_filter_backward": (None, (pointer, pointer, long, *(pointer,) * 7)),
}
"""Result and arguments of each function."""

_log = logging.getLogger(__name__)


@cache
def load() -> ctypes.CDLL | None:
    """The kernel for this machine's instructions, or the one that is forced; ``None`` where none can be used.

    Raises:
        ConfigError: no build has the name that is forced.
        ReplicaError: the build that is forced cannot be used, or this machine cannot run it.
    """
    forced = forced_build()
    if forced == "none":
        return None
    names = builds()
    if forced:
        if f"_{forced}" not in names:
            raise ReplicaError(f"{KERNEL_VARIABLE}={forced}: this machine has no such build that it can run")
        names = [f"_{forced}"]
    for name in names:
        library = open_build(name)
        if library is not None:
            _log.debug("compiled kernel of training: %s", name)
            return library
    if forced:
        raise ReplicaError(
            f"{KERNEL_VARIABLE}={forced}: there is no such build that can be used; see scripts/setup"
        )
    return None


def builds() -> list[str]:
    """Builds that this machine can run, the fastest one first."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return list(BUILDS[-1:])
    found = torch.backends.cpu.get_cpu_capability()  # by torch, when it was imported
    return list(BUILDS[{"AVX512": 0, "AVX2": 1}.get(found, 2) :])


def open_build(name: str) -> ctypes.CDLL | None:
    """One build of the kernel; ``None`` if there is none of this name, and with a warning if it cannot be used."""
    return open_library(FOLDER, name, _FUNCTIONS)
