"""Rate–distortion curves as a picture."""

import io
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

_PANELS = 8  # pictures that have a panel of their own
_STYLES: dict[str, dict[str, Any]] = {
    "qsweep": {"color": "#0072b2", "marker": "o", "linewidth": 2.0},
    "jpeg": {"color": "#d55e00", "marker": "v", "linestyle": "--"},
    "webp": {"color": "#009e73", "marker": "s", "linestyle": "-."},
    "avif": {"color": "#cc79a7", "marker": "^", "linestyle": ":"},
}  # told apart without colour vision, too


def draw_curves(points: pd.DataFrame) -> bytes:
    """PSNR over bits per pixel: a panel for each of the first pictures, a line for each codec.

    Args:
        points: see :data:`sweep.evaluate.POINTS`.

    Returns:
        A PNG file.
    """
    # Heavy, and an extra; without pyplot there is no global state.
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    pictures = list(dict.fromkeys(points.picture))[:_PANELS]
    n_columns = min(4, max(1, len(pictures)))
    n_rows = max(1, -(-len(pictures) // n_columns))
    figure = Figure(figsize=(4.2 * n_columns, 3.6 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis, picture in zip(axes, pictures, strict=False):
        of_picture = points[points.picture == picture]
        for codec, style in _STYLES.items():
            curve = of_picture[of_picture.codec == codec].sort_values("bpp")
            if len(curve):
                axis.plot(curve.bpp, curve.psnr_db, label=codec, markersize=4, **style)
        axis.set(title=PurePath(picture).name, xlabel="bits per pixel", ylabel="PSNR [dB]", xscale="log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(True, which="both", alpha=0.3)
        _show_where_this_codec_is(axis, of_picture)
    for axis in axes[len(pictures) :]:
        axis.set_visible(False)
    if pictures:
        axes[0].legend()
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=150)
    return sink.getvalue()


def _show_where_this_codec_is(axis: Any, points: pd.DataFrame) -> None:
    """Cut off what the others do at rates that nobody compares."""
    points = points[np.isfinite(points.psnr_db)]
    own = points[points.codec == "qsweep"]
    if own.empty:
        return
    near = points[points.bpp.between(own.bpp.min() / 3, own.bpp.max() * 3)]
    axis.set(
        xlim=(near.bpp.min() / 1.2, near.bpp.max() * 1.2), ylim=(near.psnr_db.min() - 1, near.psnr_db.max() + 1)
    )
