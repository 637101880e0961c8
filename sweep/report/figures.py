"""Names of the figures, and of the files that they can be drawn into; what draws them is loaded on use."""

from collections.abc import Callable
from typing import Any

from workers.registry import Registry

_MAKERS = "sweep.report.{}_figures:{}".format

JOB_FIGURES: Registry[Callable[[], dict[str, Any]]] = Registry(
    "figure", {name: _MAKERS("job", name) for name in ("steps", "counts", "curves", "stages", "utilisation")}
)
"""Figures of a whole job, by name."""

FRAME_FIGURES: Registry[Callable[[], dict[str, Any]]] = Registry("figure", {"bits": _MAKERS("frame", "bits")})
"""Figures of a frame, by name."""

MODULE_FIGURES: Registry[Callable[[], dict[str, Any]]] = Registry(
    "figure",
    {"loss": _MAKERS("frame", "loss_map"), "rate-distortion": _MAKERS("frame", "rate_distortion")},
)
"""Figures of a module of a frame, by name."""

FIGURES = (*MODULE_FIGURES, *FRAME_FIGURES, *JOB_FIGURES)

FORMATS = (".svg", ".pdf", ".png")


def figure_spec(name: str) -> dict[str, Any]:
    """A figure's specification, without its data.

    Raises:
        KeyError: there is no such figure.
    """
    registry = next((figures for figures in (MODULE_FIGURES, FRAME_FIGURES) if name in figures), JOB_FIGURES)
    return registry[name]()
