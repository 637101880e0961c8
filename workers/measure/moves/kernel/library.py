"""The compiled kernel of moves: its functions and structures. Costs depend on no build."""

import ctypes
from functools import cache
from pathlib import Path

from workers.errors import ReplicaError
from workers.native.library import FORCED, forced_build, open_library

FOLDER = Path(__file__).parent

long = ctypes.c_long
pointer = ctypes.c_void_p
double = ctypes.c_double

MARGIN = 16
"""Columns on either side of a row of a plane."""

MAX_LAYERS = 16
"""Convolutions of a synthesis that the kernel takes."""


class Change(ctypes.Structure):
    """One integer that moves; see ``moves.h``."""

    _fields_ = (*((name, long) for name in ("layer", "out", "input", "tap", "at")), ("delta", double))


class Linear(ctypes.Structure):
    """Places of a linear layer's parameters, −1 where there is none."""

    _fields_ = (("weight", long), ("bias", long))


class RateNetwork(ctypes.Structure):
    """See ``rate.c``."""

    _fields_ = (
        *((name, long) for name in ("width", "n_spatial", "n_features", "n_hidden")),
        ("layers", pointer),
        ("stabiliser", Linear),
        ("features", pointer),
        ("least_log_scale", double),
        *((name, pointer) for name in ("near", "slope", "offset")),
    )


class RateTile(ctypes.Structure):
    """See ``rate.c``."""

    _fields_ = (
        *((name, long) for name in ("n", "grid", "n_inputs")),
        *((name, pointer) for name in ("latents", "inputs", "state")),
        ("cost", double),
    )


class Convolution(ctypes.Structure):
    """See ``picture.c``."""

    _fields_ = tuple((name, long) for name in ("n_in", "n_out", "size", "residual", "relu", "weight", "bias"))


class PictureNetwork(ctypes.Structure):
    """See ``picture.c``."""

    _fields_ = (
        *((name, long) for name in ("n_layers", "n_latents", "n_outputs")),
        ("layers", pointer),
        ("stabiliser", Linear),
        ("transform", Linear),
    )


class PictureFrame(ctypes.Structure):
    """See ``picture.c``."""

    _fields_ = (
        *((name, long) for name in ("height", "width", "stride")),
        ("maximum", double),
        ("chroma", long),
        ("samples", pointer),
    )


class PictureState(ctypes.Structure):
    """See ``picture.c``."""

    _fields_ = (("activations", pointer * (MAX_LAYERS + 1)), ("sums", pointer * (MAX_LAYERS + 1)))


_FUNCTIONS = {
    "qsweep_rate_begin": (ctypes.c_int, (pointer, pointer, pointer, long)),
    "qsweep_rate_moves": (
        ctypes.c_int,
        (pointer, pointer, pointer, pointer, long, pointer, pointer, long, ctypes.c_int, pointer),
    ),
    "qsweep_enlarge": (ctypes.c_int, (pointer, long, long, long, pointer, long, pointer, long, long)),
    "qsweep_refilter": (ctypes.c_int, (pointer, long, long, long, pointer, long, pointer)),
    "qsweep_picture_begin": (
        ctypes.c_int,
        (pointer, pointer, pointer, pointer, pointer, ctypes.c_int, pointer, pointer),
    ),
    "qsweep_picture_moves": (
        ctypes.c_int,
        (
            *(pointer, pointer, pointer, pointer, pointer, long),
            *(pointer, pointer, long, ctypes.c_int, pointer, pointer),
        ),
    ),
}


@cache
def load() -> ctypes.CDLL | None:
    """The kernel for this machine's instructions, or the one that is forced; ``None`` where none can be used.

    Raises:
        ConfigError: no build has the name that is forced.
        ReplicaError: the build that is forced cannot be used.
    """
    from workers.measure.kernel.library import builds

    forced = forced_build()
    if forced == FORCED[-1]:
        return None
    names = [f"_{forced}"] if forced else builds()
    for name in names:
        library = open_build(name)
        if library is not None:
            return library
    if forced:
        raise ReplicaError(f"the kernel of moves has no build {forced!r} that can be used; see scripts/setup")
    return None


def open_build(name: str) -> ctypes.CDLL | None:
    """One build of the kernel; ``None`` if there is none of this name that can be used."""
    return open_library(FOLDER, name, _FUNCTIONS)


def need_memory(ready: int) -> None:
    """Check what a function of the kernel gave.

    Raises:
        MemoryError: there was too little.
    """
    if not ready:
        raise MemoryError("too little memory to measure moves")
