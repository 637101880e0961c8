"""Metrics: a distortion that weighs planes is measured by the engine, within its bounds; any other one in full."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from sweep.search.grid_search import _bound_of
from tests.cases import ARM, CASES_5, SYNTHESIS, UPSAMPLING, load_case
from tests.making import make_frame, make_frame_encoder
from tests.plugins.toy_metrics import AbsoluteOfLuma, Negative, OfPlanes
from workers.candidates import QStepPair
from workers.codec import Frame, FrameEncoder, Planes
from workers.codec.quantization import apply_choices
from workers.errors import InputError
from workers.fit import RETUNING, retune
from workers.forward_backend import FORWARD
from workers.measure import EngineOptions, ErrorBound, Measurer
from workers.measure.backend import choose_backend
from workers.measure.engine import ENGINE
from workers.objective.loss import MSE
from workers.objective.metric import Metric, greatest_weight
from workers.reference import measure_plain
from workers.replica import Replica
from workers.source import FrameSource

LMBDA = 1e-3
CPU = torch.device("cpu")


class OfLuma:
    """Mean squared error of the first plane alone."""

    def distortion(self, decoded: Planes, original: Planes) -> torch.Tensor:
        ours, theirs = (planes.tensors[0][:, :1] for planes in (decoded, original))
        return (ours - theirs).square().mean()

    def plane_weights(self, samples: tuple[int, int, int]) -> tuple[float, float, float]:  # noqa: ARG002
        return 1.0, 0.0, 0.0


PAIRS = {
    ARM: [QStepPair(2.0**w, 2.0**b) for w in (-4, -2) for b in (-6, -3)],
    SYNTHESIS: [QStepPair(2.0**w, 2.0**b) for w in (-10, -8, -6, -3) for b in (-12, -8, -5)],
    UPSAMPLING: [QStepPair(2.0**w, 1.0) for w in (-12, -8, -3)],
}


def case_of(kind: str) -> tuple[FrameEncoder, Frame]:
    if kind == "large":  # of several tiles, with the kernel's shared products
        encoder = make_frame_encoder("16-1-linear-relu,3-1-linear-none,3-3-residual-none", img_size=(250, 300))
        return encoder, make_frame(encoder)
    of_5 = kind.endswith("5")
    name = {"rgb": "astronaut_64x96_lop", "yuv420": "coffee_64x96_yuv420"}.get(kind)
    name = name or next(path.name for path in sorted(CASES_5.iterdir()) if "yuv420" in path.name)
    case = load_case(name, CASES_5) if of_5 else load_case(name)
    return case.frame_encoder, case.frame


@pytest.mark.parametrize("metric", [OfPlanes(), OfLuma()], ids=lambda metric: type(metric).__name__)
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("kind", ["rgb", "yuv420", "yuv420 of 5", "large"])
def test_weights_of_planes_are_measured_within_the_bound(kind: str, compiled: bool, metric: Metric) -> None:
    frame_encoder, frame = case_of(kind)
    bound = ErrorBound.of_frame(
        *frame.img_size,
        frame.frame_data_type,
        frame.bitdepth,
        LMBDA,
        n_together=frame_encoder.param.n_together,
        weight=greatest_weight(metric, frame.data.samples),
    )
    options = EngineOptions(compiled=compiled)
    measurer = Measurer(frame_encoder, frame, LMBDA, options=options, metric=metric)
    for network, pairs in PAIRS.items():
        rows = measurer.measure({}, network, pairs[::3])
        plain = measure_plain(deepcopy(frame_encoder), frame, LMBDA, {}, network, pairs[::3], metric=metric)
        for ours, theirs in zip(rows, plain, strict=True):
            assert ours.measured is not None
            assert theirs.measured is not None
            assert abs(ours.loss - theirs.loss) <= bound.of(theirs.loss)
            assert ours.measured.distortion == pytest.approx(theirs.measured.distortion, rel=1e-4)
            assert ours.measured.mse == pytest.approx(theirs.measured.mse, rel=1e-4), "of all planes"
            assert ours.measured.mse != ours.measured.distortion


@pytest.mark.parametrize("network", [SYNTHESIS, UPSAMPLING])
def test_of_a_metric_with_weights_pairs_that_cannot_win_are_pruned(network: str) -> None:
    frame_encoder, frame = case_of("large")
    measurer = Measurer(frame_encoder, frame, LMBDA, options=EngineOptions(tile=4096), metric=OfPlanes())
    full = measurer.measure({}, network, PAIRS[network])
    rows = measurer.measure({}, network, PAIRS[network], best=math.inf)
    assert {row.status for row in full} == {"ok"}
    assert {row.status for row in rows} == {"ok", "pruned"}
    best = min(row.loss for row in full)
    assert min(row.loss for row in rows) == best
    for row, whole in zip(rows, full, strict=True):
        if row.loss_lower_bound is not None:
            assert best < row.loss_lower_bound <= whole.loss
        else:
            assert row.measured == whole.measured


def test_the_default_is_the_mean_squared_error() -> None:
    frame_encoder, frame = case_of("rgb")
    (row,) = Measurer(frame_encoder, frame, LMBDA).measure({}, SYNTHESIS, PAIRS[SYNTHESIS][:1])
    assert row.measured is not None
    assert row.measured.distortion == row.measured.mse


def test_the_greatest_weight_is_in_weights_of_the_average_sample() -> None:
    assert greatest_weight(MSE, (100, 25, 25)) == 1.0
    assert greatest_weight(OfLuma(), (100, 25, 25)) == 1.5
    assert greatest_weight(OfPlanes(), (100, 100, 100)) == pytest.approx(6 / 8 * 3)
    assert greatest_weight(OfPlanes(), (100, 25, 25)) == pytest.approx(6 / 8 * 150 / 100)
    assert greatest_weight(OfLuma(), (7, 0, 0)) == 1.0, "chroma of a frame of one row has no samples"
    assert greatest_weight(AbsoluteOfLuma(), (1, 1, 1)) == 1.0


def test_engine_and_search_bound_their_errors_by_the_same_weight() -> None:
    case = load_case("coffee_64x96_yuv420")
    read = (lambda: case.frame, lambda: (case.frame_encoder, case.manager))
    info = Replica().open(FrameSource("a", *read, metric="of_planes"))
    assert info.greatest_weight == pytest.approx(6 / 8 * 1.5)
    measurer = Measurer(case.frame_encoder, case.frame, LMBDA, metric=OfPlanes())
    assert measurer._bound.weight == info.greatest_weight
    assert _bound_of(info) == replace(measurer._bound, lmbda=case.manager.lmbda)


def test_a_bound_with_a_weight_is_that_of_errors_so_many_times_larger() -> None:
    equal, weighted = (ErrorBound(6144, 255, 0.0, weight=weight) for weight in (1.0, 3.0))
    assert weighted.of(3e-3) == pytest.approx(3 * equal.of(1e-3))
    assert weighted.limit(3e-3) > equal.limit(3e-3)


@pytest.mark.parametrize("weights", [(1.0, -1.0, 1.0), (0.0, 0.0, 0.0), (math.nan, 1.0, 1.0), (math.inf, 1.0, 1.0)])
def test_weights_that_are_none_are_refused(weights: tuple[float, float, float]) -> None:
    metric = Negative()
    metric.plane_weights = lambda _: weights  # type: ignore[method-assign]
    with pytest.raises(InputError, match="weights of planes are finite, 0 or more and not all 0; found"):
        greatest_weight(metric, (4, 1, 1))


def test_what_the_engine_cannot_measure_is_measured_by_forward_passes() -> None:
    frame_encoder, frame = case_of("rgb")
    assert choose_backend(frame_encoder, CPU, OfPlanes()) is ENGINE
    assert choose_backend(frame_encoder, CPU, AbsoluteOfLuma()) is FORWARD
    with pytest.raises(ValueError, match="the engine measures metrics with plane_weights"):
        Measurer(frame_encoder, frame, LMBDA, metric=AbsoluteOfLuma())


def test_latents_are_trained_for_the_metric() -> None:
    """A little luma for much chroma: what one metric makes better, another may make worse."""
    case = load_case("coffee_64x96_yuv420")
    frame_encoder, frame = case.frame_encoder, case.frame
    apply_choices(frame_encoder, case.choices())
    phase = replace(RETUNING, iterations=20, lr=(1e-2, 1e-3), temperature=(0.3, 0.3), validate_every=5)
    start = AbsoluteOfLuma().distortion(frame_encoder().decoded_image, frame.data).item()
    *_, last = retune(frame_encoder, frame, 0.0, phase, metric=AbsoluteOfLuma())
    assert last.loss < start
    assert AbsoluteOfLuma().distortion(frame_encoder().decoded_image, frame.data).item() <= last.loss
