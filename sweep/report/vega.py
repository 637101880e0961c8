"""Vega-Lite, which draws the figures: the report in the browser, ``qsweep plot`` into files.

A specification holds no data, only their name, so it is the same for every frame.
"""

from typing import Any

import altair as alt

from sweep.report.terms import SUPERSCRIPTS

Spec = dict[str, Any]
"""A Vega-Lite specification as JSON."""

VEGA_LITE = "6.4"
"""Version that draws them."""

STEP = 20
"""Pixels of a cell, or a bar."""

GREY, BLUE, ORANGE = "#8a8f98", "#0072b2", "#d55e00"
"""Colours that who does not tell red from green tells apart (Okabe and Ito); a grey for light and dark grounds."""


def to_spec(chart: Any, description: str, **size: Any) -> Spec:
    """The specification of a chart."""
    spec: Spec = chart.properties(**size).to_dict()
    spec.pop("config", None)  # the page and the files have looks of their own
    return spec | {"description": description}


def power_of(value: str) -> str:
    """A Vega expression for what :func:`power` gives."""
    expression = f"toString({value})"
    for digit, superscript in SUPERSCRIPTS.items():
        expression = f"replace({expression}, /{digit}/g, '{superscript}')"
    return f"'2' + {expression}"


def steps_axis(**options: Any) -> alt.Axis:
    """Axis whose values are exponents of steps."""
    return alt.Axis(labelExpr=power_of("datum.value"), labelAngle=0, **options)
