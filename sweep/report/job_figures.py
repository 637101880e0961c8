"""Figures of a whole job; their data come from :mod:`.job_data`."""

from typing import Any

import altair as alt

from sweep.report.vega import BLUE, GREY, STEP, Spec, steps_axis, to_spec


def steps() -> Spec:
    """How often each step was chosen; of :func:`~sweep.report.job_data.chosen`."""
    return _histograms("exponent", "chosen step", "Frames over the quantization step that was chosen", powers=True)


def counts() -> Spec:
    """How often each exp-Golomb count was the cheapest; of :func:`~sweep.report.job_data.chosen`."""
    return _histograms("count", "exp-Golomb count", "Frames over the exp-Golomb count of each network's parameters")


def _histograms(field: str, title: str, description: str, *, powers: bool = False) -> Spec:
    axis = steps_axis(labelOverlap="greedy", labelSeparation=4) if powers else alt.Axis(labelAngle=0)
    chart = (
        alt.Chart(alt.NamedData("chosen"), width=320, height=44)
        .mark_bar(color=BLUE)
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
                sort=None,  # as in the data
                header=alt.Header(
                    labelAngle=0, labelAlign="left", labelAnchor="start", labelOrient="top", labelPadding=2
                ),
            ),
            spacing=10,
        )
    )
    return to_spec(chart, description)


def curves() -> Spec:
    """PSNR over bits per pixel, a line per picture; of :func:`~sweep.report.job_data.points`."""
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
    return to_spec(line + points, "PSNR over bits per pixel, a line for each picture", height=280)


def comparison() -> Spec:
    """PSNR over bits per pixel of codecs, a panel per picture; of :func:`~sweep.report.job_data.compared`."""
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
    return to_spec(chart, "PSNR over bits per pixel of several codecs, a panel for each picture")


def stages() -> Spec:
    """Time that replicas spent at each stage; of :func:`~sweep.report.job_data.stages`."""
    base = alt.Chart(alt.NamedData("stages")).encode(
        x=alt.X("seconds:Q", title="seconds of replicas", axis=alt.Axis(format="~s", tickCount=5)),
        y=alt.Y("stage:N", title=None, sort=None),
        tooltip=[
            alt.Tooltip("stage:N"),
            alt.Tooltip("seconds:Q", format=",.2f"),
            alt.Tooltip("share:Q", title="of all", format=".2%"),
        ],
    )
    labels = base.mark_text(align="left", dx=4, color=GREY).encode(text=alt.Text("share:Q", format=".1%"))
    return to_spec(base.mark_bar(color=BLUE) + labels, "Time of replicas by stage", height=alt.Step(STEP))


_HOURS = "format(floor(time(datum.value) / 3600000), 'd') + utcFormat(datum.value, ':%M:%S')"


def utilisation() -> Spec:
    """Replicas at work over time, by stage, and those that were there; of :func:`~sweep.report.job_data.spans`."""
    base = alt.Chart(alt.NamedData("spans"))
    x = alt.X(
        "begin:T",
        title="time of running [h:min:s]",
        axis=alt.Axis(labelExpr=_HOURS, tickCount=6, labelOverlap="greedy", labelSeparation=6),
        scale=alt.Scale(type="utc", nice=False, padding=0),
    )
    bars = (
        base.transform_filter("datum.stage !== null")
        .transform_calculate(
            text="datum.stage + ' ' + datum.time + ': ' + format(datum.replicas, '.2f') + ' replicas'"
        )
        .mark_bar(binSpacing=0, orient="vertical")
        .encode(
            x=x,
            x2="end:T",
            y=alt.Y("replicas:Q", title="replicas at work", stack="zero"),
            color=alt.Color(
                "stage:N",
                title=None,
                sort=alt.EncodingSortField("order", "min"),
                scale=alt.Scale(scheme="tableau10"),
                legend=alt.Legend(orient="bottom", columns=4),
            ),
            order=alt.Order("order:Q"),
            description="text:N",
            tooltip=[
                alt.Tooltip("stage:N"),
                alt.Tooltip("time:N"),
                alt.Tooltip("replicas:Q", format=".2f"),
            ],
        )
    )
    there = (
        base.transform_filter("datum.stage === null")
        .mark_line(color=GREY, interpolate="step-after", strokeDash=[4, 3])
        .encode(x=x, y=alt.Y("replicas:Q"))
    )
    return to_spec(bars + there, "Replicas at work over time, by stage; dashed, those that were there", height=200)


_POINT_TOOLTIP = [
    alt.Tooltip("picture:N"),
    alt.Tooltip("parameter:N", title="λ or quality"),
    alt.Tooltip("bpp:Q", title="bits per pixel", format=".4f"),
    alt.Tooltip("psnr_db:Q", title="PSNR [dB]", format=".3f"),
]
