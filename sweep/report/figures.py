"""The figures, as Vega-Lite specifications: the report draws them in the browser, ``qsweep plot`` into files.

A specification holds no data, only their name: it is the same for every frame. Data come from :mod:`.data`.
"""

from collections.abc import Callable
from typing import Any

import altair as alt

from sweep.timeline import STAGES
from workers.codec import MODULES

Spec = dict[str, Any]
"""A Vega-Lite specification as JSON."""

VEGA_LITE = "6.4"
"""Version that draws them."""

_STEP = 20  # pixels of a cell, a bar

PARAMETERS = tuple(f"{module} {kind}" for module in MODULES for kind in ("weights", "biases"))
"""What is quantized with a step of its own."""

CHOSEN, NEAR_TIE, OVERFLOW, NON_FINITE, PRUNED = "chosen", "near-tie", "overflow", "loss not finite", "pruned"

_SHAPES = {
    CHOSEN: "circle",
    NEAR_TIE: "diamond",
    OVERFLOW: "M-.6,-.6L.6,.6M.6,-.6L-.6,.6",
    NON_FINITE: "M-.6,.6L.6,.6L0,-.6Z",
    PRUNED: "M-.6,0L.6,0",
}
"""Of what cells are marked with: told apart by shape alone."""

LEAST_EXCESS, MOST_EXCESS = 1e-4, 10.0
"""Excess over the best loss that the colours of a heat map begin with, and end with."""

_COLOURS = {
    "latents": "#0072b2",
    "weights": "#d55e00",
    "biases": "#f0a35c",
}
_GREY, _BLUE, _ORANGE = "#8a8f98", "#0072b2", "#d55e00"
_STAGE_NAMES = {"near_ties": "near-ties"}
_SUPERSCRIPTS = dict(zip("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True))


def power(exponent: int) -> str:
    """A step as the power of two that it is, such as 2⁻⁸."""
    return "2" + "".join(_SUPERSCRIPTS[digit] for digit in str(exponent))


def stage_name(stage: str) -> str:
    """A stage of :data:`~sweep.timeline.STAGES` as it is called in figures."""
    return _STAGE_NAMES.get(stage, stage)


def loss_map() -> Spec:
    """The loss of a module's pairs over weight step and bias step; of :func:`~sweep.report.data.pairs`."""
    base = _pairs().encode(
        x=alt.X("bias:O", title="bias step", axis=_steps_axis(labelOverlap="greedy", labelSeparation=6)),
        y=alt.Y("weight:O", title="weight step", axis=_steps_axis()),
        tooltip=_PAIR_TOOLTIP,
    )
    cells = (
        base.transform_filter("datum.excess !== null")
        .mark_rect(stroke="#7f7f7f", strokeWidth=0.25)
        .encode(
            color=alt.Color(
                "shade:Q",
                title="loss above the best",
                scale=alt.Scale(
                    type="log", domain=[LEAST_EXCESS, MOST_EXCESS], clamp=True, scheme="viridis", reverse=True
                ),
                legend=alt.Legend(
                    orient="top",
                    direction="horizontal",
                    gradientLength=260,
                    gradientThickness=10,
                    values=[1e-4, 1e-3, 1e-2, 1e-1, 1],
                    labelExpr="format(datum.value, '~%')",
                ),
            )
        )
    )
    empty = base.transform_filter("datum.excess === null").mark_rect(
        fillOpacity=0, stroke="#7f7f7f", strokeWidth=0.25
    )
    shape = alt.Shape(
        "mark:N",
        title=None,
        scale=alt.Scale(domain=list(_SHAPES), range=list(_SHAPES.values())),
        legend=alt.Legend(
            orient="bottom",
            direction="horizontal",
            columns=3,
            symbolStrokeColor=_GREY,
            symbolFillColor="transparent",
            symbolSize=80,
        ),
    )
    # White and black, one of which is seen on any colour.
    on_cells = base.transform_filter("datum.excess !== null && datum.mark !== null").mark_point(
        size=90, opacity=1, strokeWidth=1.5, fill="white", stroke="black"
    )
    on_empty = base.transform_filter("datum.excess === null").mark_point(
        size=90, opacity=1, strokeWidth=1.5, fill="transparent", stroke=_GREY
    )
    marks = (on_empty + on_cells).encode(shape=shape)
    return _spec(
        empty + cells + marks,
        "Heat map of the loss of every pair of a module: bias steps across, weight steps down",
        width=alt.Step(_STEP),
        height=alt.Step(_STEP),
    )


def rate_distortion() -> Spec:
    """Rate and distortion of a module's pairs, with those that none beats in both; data as :func:`loss_map`."""
    base = (
        _pairs()
        .transform_filter("datum.psnr_db !== null")
        .encode(
            x=alt.X(
                "bpp:Q",
                title="bits per pixel",
                scale=alt.Scale(type="log", nice=False, padding=12),
                axis=alt.Axis(format="~g", tickCount=6),
            ),
            y=alt.Y("psnr_db:Q", title="PSNR [dB]", scale=alt.Scale(zero=False, nice=False, padding=12)),
            tooltip=_PAIR_TOOLTIP,
        )
    )
    # One layer of all points, not one of each kind: a layer without any has no extent.
    points = base.mark_point(filled=True).encode(
        color=alt.condition("datum.front", alt.value(_BLUE), alt.value(_GREY)),
        shape=alt.condition("datum.front", alt.value("square"), alt.value("circle")),
        size=alt.condition("datum.front", alt.value(45), alt.value(18)),
        opacity=alt.condition("datum.front", alt.value(1), alt.value(0.6)),
    )
    line = (
        base.transform_filter("datum.front")
        .mark_line(color=_BLUE, interpolate="step-after", strokeWidth=1)
        .encode(order="bpp:Q")
    )
    is_chosen = f"datum.mark === '{CHOSEN}'"
    ring = base.mark_point(size=160, color=_ORANGE, strokeWidth=2.5).encode(
        opacity=alt.condition(is_chosen, alt.value(1), alt.value(0))
    )
    return _spec(
        line + points + ring,
        "Rate against distortion of every pair of a module, its Pareto front as squares, the chosen pair ringed",
        height=240,
    )


def bits() -> Spec:
    """Where the bits of a frame go; of :func:`~sweep.report.data.parts`."""
    base = alt.Chart(alt.NamedData("parts")).encode(
        x=alt.X("bit:Q", title="bits", axis=alt.Axis(format="~s", tickCount=5)),
        y=alt.Y("part:N", title=None, sort=None, axis=alt.Axis(labelLimit=240)),
        tooltip=[
            alt.Tooltip("part:N"),
            alt.Tooltip("bit:Q", title="estimate [bit]", format=",.1f"),
            alt.Tooltip("share:Q", title="of all", format=".2%"),
        ],
    )
    bars = base.mark_bar().encode(
        color=alt.Color(
            "kind:N",
            title=None,
            scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())),
            legend=alt.Legend(orient="top"),
        )
    )
    labels = base.mark_text(align="left", dx=4, color=_GREY).encode(text=alt.Text("share:Q", format=".1%"))
    return _spec(
        bars + labels,
        "Bits of each latent grid and of each network's weights and biases",
        height=alt.Step(_STEP),
    )


def steps() -> Spec:
    """How often each step was chosen; of :func:`~sweep.report.data.chosen`."""
    return _histograms("exponent", "chosen step", "Frames over the quantization step that was chosen", powers=True)


def counts() -> Spec:
    """How often each exp-Golomb count was the cheapest; of :func:`~sweep.report.data.chosen`."""
    return _histograms("count", "exp-Golomb count", "Frames over the exp-Golomb count of each network's parameters")


def _histograms(field: str, title: str, description: str, *, powers: bool = False) -> Spec:
    axis = _steps_axis() if powers else alt.Axis(labelAngle=0)
    chart = (
        alt.Chart(alt.NamedData("chosen"), width=210, height=44)
        .mark_bar(color=_BLUE)
        .encode(
            x=alt.X(f"{field}:O", title=title, axis=axis),
            y=alt.Y("sum(frames):Q", title=None, axis=alt.Axis(tickCount=2, format="~s", tickMinStep=1)),
            tooltip=[
                alt.Tooltip("parameters:N"),
                alt.Tooltip(f"{'step:N' if powers else f'{field}:O'}", title=title),
                alt.Tooltip("sum(frames):Q", title="frames"),
            ],
        )
        .facet(
            row=alt.Row(
                "parameters:N",
                title=None,
                sort=list(PARAMETERS),
                header=alt.Header(
                    labelAngle=0, labelAlign="left", labelAnchor="start", labelOrient="top", labelPadding=2
                ),
            ),
            spacing=10,
        )
    )
    return _spec(chart, description)


def curves() -> Spec:
    """PSNR over bits per pixel, a line per picture; of :func:`~sweep.report.data.points`."""
    base = alt.Chart(alt.NamedData("points")).encode(
        x=alt.X(
            "bpp:Q",
            title="bits per pixel",
            scale=alt.Scale(type="log", nice=False, padding=12),
            axis=alt.Axis(format="~g", tickCount=6),
        ),
        y=alt.Y("psnr_db:Q", title="PSNR [dB]", scale=alt.Scale(zero=False)),
        color=alt.Color("picture:N", legend=alt.Legend(orient="bottom", columns=2, labelLimit=260, symbolLimit=10)),
        detail="picture:N",
        tooltip=_POINT_TOOLTIP,
    )
    line = base.mark_line(strokeWidth=1.5)
    points = base.mark_point(size=40, filled=True).encode(shape=alt.Shape("picture:N", legend=None))
    return _spec(line + points, "PSNR over bits per pixel, a line for each picture", height=280)


def comparison() -> Spec:
    """PSNR over bits per pixel of several codecs, a panel per picture; of :func:`~sweep.report.data.points`."""
    codecs = {
        "qsweep": ("#0072b2", "circle", [1, 0]),
        "jpeg": ("#d55e00", "triangle-down", [6, 3]),
        "webp": ("#009e73", "square", [6, 2, 2, 2]),
        "avif": ("#cc79a7", "triangle-up", [2, 2]),
    }  # told apart without colour vision, too
    colours, shapes, dashes = (list(style) for style in zip(*codecs.values(), strict=True))

    def scale(values: list[Any]) -> alt.Scale:
        return alt.Scale(domain=list(codecs), range=values)

    base = alt.Chart(width=280, height=230).encode(
        x=alt.X(
            "bpp:Q",
            title="bits per pixel",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(format="~g", tickCount=6),
        ),
        y=alt.Y("psnr_db:Q", title="PSNR [dB]", scale=alt.Scale(zero=False)),
        color=alt.Color("codec:N", title=None, scale=scale(colours)),
        tooltip=[alt.Tooltip("codec:N"), *_POINT_TOOLTIP],
    )
    line = base.mark_line(strokeWidth=1.5).encode(
        strokeDash=alt.StrokeDash("codec:N", title=None, scale=scale(dashes))
    )
    points = base.mark_point(size=30, filled=True, opacity=1).encode(
        shape=alt.Shape("codec:N", title=None, scale=scale(shapes))
    )
    chart = (
        alt.layer(line, points, data=alt.NamedData("points"))
        .facet(alt.Facet("picture:N", title=None, sort=None), columns=4)
        .resolve_scale(x="independent", y="independent")
    )
    return _spec(chart, "PSNR over bits per pixel of several codecs, a panel for each picture")


def stages() -> Spec:
    """Time that replicas spent at each stage; of :func:`~sweep.report.data.stages`."""
    base = alt.Chart(alt.NamedData("stages")).encode(
        x=alt.X("seconds:Q", title="seconds of replicas", axis=alt.Axis(format="~s", tickCount=5)),
        y=alt.Y("stage:N", title=None, sort=None),
        tooltip=[
            alt.Tooltip("stage:N"),
            alt.Tooltip("seconds:Q", format=",.2f"),
            alt.Tooltip("share:Q", title="of all", format=".2%"),
        ],
    )
    labels = base.mark_text(align="left", dx=4, color=_GREY).encode(text=alt.Text("share:Q", format=".1%"))
    return _spec(base.mark_bar(color=_BLUE) + labels, "Time of replicas by stage", height=alt.Step(_STEP))


def utilisation() -> Spec:
    """Replicas at work over time, by stage, and those that were there; of :func:`~sweep.report.data.spans`."""
    base = alt.Chart(alt.NamedData("spans"))
    names = [stage_name(stage) for stage in STAGES]
    x = alt.X(
        "begin:Q", title="minutes of running", axis=alt.Axis(format="~g"), scale=alt.Scale(nice=False, domainMin=0)
    )
    bars = (
        base.transform_filter("datum.stage !== null")
        .mark_bar(binSpacing=0, orient="vertical")
        .encode(
            x=x,
            x2="end:Q",
            y=alt.Y("replicas:Q", title="replicas at work", stack="zero"),
            color=alt.Color(
                "stage:N",
                title=None,
                scale=alt.Scale(domain=names, scheme="tableau10"),
                legend=alt.Legend(orient="bottom", columns=4),
            ),
            order=alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("stage:N"),
                alt.Tooltip("time:N"),
                alt.Tooltip("replicas:Q", format=".2f"),
            ],
        )
    )
    there = (
        base.transform_filter("datum.stage === null")
        .mark_line(color=_GREY, interpolate="step-after", strokeDash=[4, 3])
        .encode(x=x, y=alt.Y("replicas:Q"))
    )
    return _spec(bars + there, "Replicas at work over time, by stage; dashed, those that were there", height=200)


JOB_FIGURES: dict[str, Callable[[], Spec]] = {
    "steps": steps,
    "counts": counts,
    "curves": curves,
    "stages": stages,
    "utilisation": utilisation,
}
"""Figures of a whole job, by name."""

FRAME_FIGURES: dict[str, Callable[[], Spec]] = {"bits": bits}
"""Figures of a frame, by name."""

MODULE_FIGURES: dict[str, Callable[[], Spec]] = {"loss": loss_map, "rate-distortion": rate_distortion}
"""Figures of a module of a frame, by name."""

_PAIR_TOOLTIP = [
    alt.Tooltip("weight_step:N", title="weight step"),
    alt.Tooltip("bias_step:N", title="bias step"),
    alt.Tooltip("what:N", title="status"),
    alt.Tooltip("loss_text:N", title="loss"),
    alt.Tooltip("excess_text:N", title="above the best"),
    alt.Tooltip("bpp_text:N", title="bits per pixel"),
    alt.Tooltip("psnr_text:N", title="PSNR [dB]"),
    alt.Tooltip("nn_text:N", title="this network [bit]"),
]

_POINT_TOOLTIP = [
    alt.Tooltip("picture:N"),
    alt.Tooltip("parameter:N", title="λ or quality"),
    alt.Tooltip("bpp:Q", title="bits per pixel", format=".4f"),
    alt.Tooltip("psnr_db:Q", title="PSNR [dB]", format=".3f"),
]


def _pairs() -> alt.Chart:
    """A chart of pairs, with the texts of their tooltips."""

    def text(field: str, form: str, otherwise: str = "'–'") -> str:
        return f"datum.{field} === null ? {otherwise} : format(datum.{field}, '{form}')"

    bound = f"({text('bound', '.8~g')})".replace("format(", "'at least ' + format(")
    return alt.Chart(alt.NamedData("pairs")).transform_calculate(
        weight_step=_power_of("datum.weight"),
        bias_step=_power_of("datum.bias"),
        shade=f"max(datum.excess, {LEAST_EXCESS})",
        what="datum.mark === null ? datum.status : datum.mark",
        loss_text=text("loss", ".8~g", bound),
        excess_text=text("excess", "+.4%"),
        bpp_text=text("bpp", ".5f"),
        psnr_text=text("psnr_db", ".4f"),
        nn_text=text("nn_bit", ",d"),
    )


def _power_of(value: str) -> str:
    """A Vega expression for what :func:`power` gives."""
    expression = f"toString({value})"
    for digit, superscript in _SUPERSCRIPTS.items():
        expression = f"replace({expression}, /{digit}/g, '{superscript}')"
    return f"'2' + {expression}"


def _steps_axis(**options: Any) -> alt.Axis:
    return alt.Axis(labelExpr=_power_of("datum.value"), labelAngle=0, **options)


def _spec(chart: Any, description: str, **size: Any) -> Spec:
    spec: Spec = chart.properties(**size).to_dict()
    spec.pop("config", None)  # whoever draws it gives it its looks
    return spec | {"description": description}
