"""The compiled kernel of ``.cool`` files: which build of it is used, and its functions."""

import ctypes
import logging
from functools import cache
from pathlib import Path

from workers.errors import ReplicaError
from workers.native.library import BUILDS, KERNEL_VARIABLE, forced_build, open_library

FOLDER = Path(__file__).parent

long = ctypes.c_long
pointer = ctypes.c_void_p

_FUNCTIONS = {
    "qsweep_cool_begin": (None, (pointer, ctypes.c_int)),
    "qsweep_cool_decode": (ctypes.c_int, (pointer, pointer, pointer, long, long, pointer, long, long)),
    "qsweep_cool_encode": (None, (pointer, pointer, pointer, long, long, pointer, long, long)),
    "qsweep_cool_seal": (None, (pointer,)),
    "qsweep_cool_is_sealed": (ctypes.c_int, (pointer,)),
    "qsweep_cool_convolve": (None, (pointer,)),
    "qsweep_cool_instructions": (ctypes.c_int, ()),
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
            _log.debug("compiled kernel of .cool files in use: build %s", name.removeprefix("_"))
            return library
    if forced:
        raise ReplicaError(
            f"{KERNEL_VARIABLE}={forced}: there is no such build that can be used; see scripts/setup"
        )
    return None


def builds() -> list[str]:
    """Builds that this machine can run, the fastest one first; none if not even the one for every machine."""
    plain = open_build(BUILDS[-1])
    return [] if plain is None else list(BUILDS[2 - plain.qsweep_cool_instructions() :])


def open_build(name: str) -> ctypes.CDLL | None:
    """One build of the kernel; ``None`` if there is none of this name, and with a warning if it cannot be used."""
    return open_library(FOLDER, name, _FUNCTIONS)
