"""Figures of a frame and of its modules; their data come from :mod:`.frame_data`."""

import altair as alt

from sweep.report.terms import CHOSEN, NEAR_TIE, NON_FINITE, OVERFLOW, PRUNED
from sweep.report.vega import BLUE, GREY, ORANGE, STEP, Spec, power_of, steps_axis, to_spec

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


def loss_map() -> Spec:
    """The loss of a module's pairs over weight step and bias step; of :func:`~sweep.report.frame_data.pairs`."""
    base = _pairs().encode(
        x=alt.X("bias:O", title="bias step", axis=steps_axis(labelOverlap="greedy", labelSeparation=6)),
        y=alt.Y("weight:O", title="weight step", axis=steps_axis()),
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
            symbolStrokeColor=GREY,
            symbolFillColor="transparent",
            symbolSize=80,
        ),
    )
    # White and black, one of which is seen on any colour.
    on_cells = base.transform_filter("datum.excess !== null && datum.mark !== null").mark_point(
        size=90, opacity=1, strokeWidth=1.5, fill="white", stroke="black"
    )
    on_empty = base.transform_filter("datum.excess === null").mark_point(
        size=90, opacity=1, strokeWidth=1.5, fill="transparent", stroke=GREY
    )
    marks = (on_empty + on_cells).encode(shape=shape)
    return to_spec(
        empty + cells + marks,
        "Heat map of the loss of every pair of a module: bias steps across, weight steps down",
        width=alt.Step(STEP),
        height=alt.Step(STEP),
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
        color=alt.condition("datum.front", alt.value(BLUE), alt.value(GREY)),
        shape=alt.condition("datum.front", alt.value("square"), alt.value("circle")),
        size=alt.condition("datum.front", alt.value(45), alt.value(18)),
        opacity=alt.condition("datum.front", alt.value(1), alt.value(0.6)),
    )
    line = (
        base.transform_filter("datum.front")
        .mark_line(color=BLUE, interpolate="step-after", strokeWidth=1)
        .encode(order="bpp:Q")
    )
    is_chosen = f"datum.mark === '{CHOSEN}'"
    ring = base.mark_point(size=160, color=ORANGE, strokeWidth=2.5).encode(
        opacity=alt.condition(is_chosen, alt.value(1), alt.value(0))
    )
    return to_spec(
        line + points + ring,
        "Rate against distortion of every pair of a module, its Pareto front as squares, the chosen pair ringed",
        height=240,
    )


def bits() -> Spec:
    """Where the bits of a frame go; of :func:`~sweep.report.frame_data.parts`."""
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
    labels = base.mark_text(align="left", dx=4, color=GREY).encode(text=alt.Text("share:Q", format=".1%"))
    return to_spec(
        bars + labels,
        "Bits of each latent grid and of each network's weights and biases",
        height=alt.Step(STEP),
    )


def _pairs() -> alt.Chart:
    """A chart of pairs, with the texts of their tooltips."""

    def text(field: str, form: str, otherwise: str = "'–'") -> str:
        return f"datum.{field} === null ? {otherwise} : format(datum.{field}, '{form}')"

    bound = f"({text('bound', '.8~g')})".replace("format(", "'at least ' + format(")
    return alt.Chart(alt.NamedData("pairs")).transform_calculate(
        weight_step=power_of("datum.weight"),
        bias_step=power_of("datum.bias"),
        shade=f"max(datum.excess, {LEAST_EXCESS})",
        what="datum.mark === null ? datum.status : datum.mark",
        loss_text=text("loss", ".8~g", bound),
        excess_text=text("excess", "+.4%"),
        bpp_text=text("bpp", ".5f"),
        psnr_text=text("psnr_db", ".4f"),
        nn_text=text("nn_bit", ",d"),
    )


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
