"""The compiled kernel itself: where it is, and how its functions are called."""

import ctypes
import importlib.util
import logging
import platform
from functools import cache

import torch

_log = logging.getLogger(__name__)

long = ctypes.c_long
pointer = ctypes.c_void_p


class Rectangle(ctypes.Structure):
    """Part of a frame: the kernel's ``rectangle``."""

    _fields_ = tuple((name, long) for name in ("top", "left", "rows", "columns"))


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
    """The kernel for this machine's instructions; ``None`` where it was not built."""
    for name in builds():
        library = open_build(name)
        if library is not None:
            _log.info("compiled kernel: %s", name)
            return library
    _log.info("compiled kernel: none was built, torch alone is used")
    return None


def open_build(name: str) -> ctypes.CDLL | None:
    """One build of the kernel; ``None`` if there is none of this name."""
    spec = importlib.util.find_spec(f"workers.measure.kernel.{name}")
    if spec is None or spec.origin is None:
        return None
    library = ctypes.CDLL(spec.origin)
    for function, (result, arguments) in _FUNCTIONS.items():
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library


def builds() -> list[str]:
    """Builds that this machine can run, the fastest one first."""
    names = ["_avx512", "_avx2", "_any"]
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return names[-1:]
    found = torch.backends.cpu.get_cpu_capability()  # by torch, when it was imported
    return names[{"AVX512": 0, "AVX2": 1}.get(found, 2) :]
