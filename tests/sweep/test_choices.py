"""The choices of a sweep are the reference's, whichever kernel runs and however the work is cut into pieces."""

from collections.abc import Iterator
from copy import deepcopy
from itertools import starmap
from typing import Any, Literal

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweep.config import FitConfig, Grid, search_factory
from sweep.driver import Driver, LocalPool
from sweep.driver.observer import Observers
from sweep.schedule import FrameEnded
from tests.cases import ARM, NETWORKS, SYNTHESIS, UPSAMPLING, load_case
from tests.making import make_frame, make_frame_encoder
from workers.candidates import Choice, Measurement, QStepPair
from workers.codec import Frame, FrameEncoder, FrameEncoderManager, Planes
from workers.measure.kernel import library
from workers.reference import reference_sweep
from workers.replica import Replica
from workers.search import Request
from workers.source import FrameSource

KERNELS = [*(build[1:] for build in library.builds() if library.open_build(build) is not None), "none"]

LAYERS = [
    "3-1-linear-none",
    "4-1-linear-relu,3-3-linear-none",
    "5-3-linear-relu,3-3-linear-none",
    "8-1-linear-relu,3-1-linear-none,3-3-residual-none",
    "16-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none",
]

Mode = Literal["full", "winner"]
Kind = Literal["noisy", "perfect", "no latents", "flat"]


@pytest.fixture(autouse=True)
def forget_the_kernel() -> Iterator[None]:
    yield
    library.load.cache_clear()


class Ended(Observers):
    """Keeps how the one frame ended."""

    frame: FrameEnded

    def ended(self, frame: FrameEnded) -> None:
        self.frame = frame


def choose(
    frame_encoder: FrameEncoder,
    frame: Frame,
    lmbda: float,
    grid: Grid,
    threads: int,
    mode: Mode = "full",
    **options: Any,
) -> dict[str, Choice]:
    """The choices of the sweep."""
    ended, manager = Ended([]), FrameEncoderManager(lmbda)
    source = FrameSource("a", lambda: frame, lambda: (deepcopy(frame_encoder), manager))
    Driver(
        LocalPool(Replica("cpu", threads)), [source], search_factory(mode, grid), FitConfig(), ended, **options
    ).run()
    assert ended.frame.status == "done", ended.frame.error
    return ended.frame.choices


def make_case(kind: Kind, seed: int, layers: str, **shape: Any) -> tuple[FrameEncoder, Frame]:
    """A frame encoder and its frame; without latents many candidates give the same picture, and flat frames are
    decoded exactly by some of them."""
    frame_encoder = make_frame_encoder(layers, **shape)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in frame_encoder.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        if kind in ("no latents", "flat"):
            for grid in frame_encoder.latent_grids:
                grid.zero_()
    frame = make_frame(frame_encoder, noise=0.0 if kind == "perfect" else 0.03)
    if kind == "flat":
        maximum = 2**frame.bitdepth - 1
        levels = [(plane.mean() * maximum).round() / maximum for plane in frame.data.tensors]
        planes = tuple(
            torch.ones_like(plane) * level for plane, level in zip(frame.data.tensors, levels, strict=True)
        )
        frame = Frame(Planes(planes), frame.frame_data_type, frame.bitdepth)
    return frame_encoder, frame


def steps(least: int, n: int) -> st.SearchStrategy[list[float]]:
    exponents = st.sets(st.integers(least, -1), min_size=1, max_size=n)
    return exponents.map(lambda found: [2.0**exponent for exponent in sorted(found)])


def pairs(weight: st.SearchStrategy[list[float]], bias: st.SearchStrategy[list[float]]) -> Any:
    return st.tuples(weight, bias).map(lambda of: tuple(QStepPair(w, b) for w in of[0] for b in of[1]))


grids = st.fixed_dictionaries(
    {
        ARM: pairs(steps(-8, 3), steps(-14, 3)),
        SYNTHESIS: pairs(steps(-12, 4), steps(-14, 4)),
        UPSAMPLING: pairs(steps(-12, 4), st.just([1.0])),
    }
)
GRID: Grid = {
    ARM: tuple(QStepPair(2.0**w, 2.0**b) for w in (-4, -1) for b in (-6, -3)),
    SYNTHESIS: tuple(QStepPair(2.0**w, 2.0**b) for w in (-8, -6) for b in (-12, -8, -5)),
    UPSAMPLING: tuple(QStepPair(2.0**w, 1.0) for w in (-12, -8, -3)),
}


def assert_choices_are_the_reference_s(
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[FrameEncoder, Frame],
    lmbda: float,
    grid: Grid,
    ways: list[tuple[str, Mode, int, Any]],
) -> None:
    """Assert it for kernels, modes, numbers of threads and of pairs per call."""
    frame_encoder, frame = case
    expected = reference_sweep(deepcopy(frame_encoder), frame, FrameEncoderManager(lmbda), grid).choices
    for kernel_name, mode, threads, pairs_per_call in ways:
        monkeypatch.setenv(library.KERNEL_VARIABLE, kernel_name)
        library.load.cache_clear()
        found = choose(frame_encoder, frame, lmbda, grid, threads, mode=mode, pairs_per_call=pairs_per_call)
        assert found == expected, (kernel_name, mode, threads, pairs_per_call)


ways = st.lists(
    st.tuples(
        st.sampled_from(KERNELS),
        st.sampled_from(["full", "winner"]),
        st.integers(1, 3),
        st.sampled_from(["auto", 1, 2, 5]),
    ),
    min_size=3,
    max_size=3,
    unique=True,
)


@given(
    st.builds(
        make_case,
        st.sampled_from(["noisy", "perfect", "no latents", "flat"]),
        st.integers(0, 1 << 30),
        st.sampled_from(LAYERS),
        img_size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
        n_grids=st.integers(1, 5),
        dim_arm=st.sampled_from([8, 16]),
        frame_data_type=st.sampled_from(["rgb", "yuv444", "yuv420"]),
        bitdepth=st.sampled_from([8, 10]),
    ),
    st.sampled_from([1e-6, 1e-4, 1e-3, 1e-2, 1.0]),
    grids,
    ways,
)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_choices_depend_on_no_kernel_thread_mode_or_call(
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[FrameEncoder, Frame],
    lmbda: float,
    grid: Grid,
    ways: list[tuple[str, Mode, int, Any]],
) -> None:
    assert_choices_are_the_reference_s(monkeypatch, case, lmbda, grid, ways)


@pytest.mark.parametrize("kind", ["noisy", "flat"])
@pytest.mark.parametrize(
    "img_size",
    [
        pytest.param((104, 105), id="the largest that is decoded as by the codec"),
        pytest.param((105, 105), id="one that is not"),
        pytest.param((209, 209), id="the largest whose biases share no product"),
        pytest.param((209, 210), id="one whose biases do"),
    ],
)
def test_choices_are_the_same_on_both_sides_of_a_change_of_method(
    monkeypatch: pytest.MonkeyPatch, img_size: tuple[int, int], kind: Kind
) -> None:
    case = make_case(kind, 0, LAYERS[-1], img_size=img_size, n_grids=5)
    ways = [(name, mode, 2, "auto") for name, mode in zip(KERNELS, ["full", "winner"] * 2, strict=False)]
    assert_choices_are_the_reference_s(monkeypatch, case, 1e-3, GRID, ways)  # type: ignore[arg-type]


@pytest.mark.parametrize("sign", [-1, 1])
def test_choices_stand_losses_that_are_off_by_the_bound_in_opposite_directions(
    monkeypatch: pytest.MonkeyPatch, sign: int
) -> None:
    """The two best pairs of this case differ by less than two errors, and change places if each is off by one."""
    case = load_case("coffee_64x96_yuv420")
    rows = case.rows(SYNTHESIS).dropna(subset="loss").nsmallest(6, "loss").sort_index()
    chosen = {module: case.choice(module).q_step for module in NETWORKS}
    grid = {module: (pair,) for module, pair in chosen.items()}
    grid[SYNTHESIS] = tuple(starmap(QStepPair, zip(rows.q_step_weight, rows.q_step_bias, strict=True)))
    bound = case.error_bound
    gap = rows.loss.nsmallest(2).diff().iloc[-1]
    assert 1e-4 * rows.loss.min() < gap < 1.9 * bound.of(rows.loss.min())
    measure = Replica.measure

    def worse_or_better(replica: Replica, source: FrameSource, request: Request) -> list[Measurement]:
        measured = measure(replica, source, request)
        if request.plain:
            return measured
        best = min(row.loss for row in measured)
        return [_off_by(row, sign * (0.99 if row.loss == best else -0.99) * bound.of(row.loss)) for row in measured]

    monkeypatch.setattr(Replica, "measure", worse_or_better)

    found = choose(case.frame_encoder, case.frame, case.manager.lmbda, grid, 1)

    assert {module: choice.q_step for module, choice in found.items()} == chosen


def _off_by(row: Measurement, error: float) -> Measurement:
    assert row.measured is not None
    return row._replace(measured=row.measured._replace(loss=row.loss + error))


@pytest.mark.parametrize("name", KERNELS)
def test_of_candidates_that_are_exactly_alike_the_first_in_grid_order_wins(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A network of zeros is the same with every step."""
    frame_encoder, frame = make_case("no latents", 0, LAYERS[1], img_size=(9, 14))
    with torch.no_grad():
        for module in NETWORKS:
            for parameter in frame_encoder.network(module).parameters():
                parameter.zero_()
    monkeypatch.setenv(library.KERNEL_VARIABLE, name)
    library.load.cache_clear()
    for mode in ("full", "winner"):
        found = choose(frame_encoder, frame, 1e-3, GRID, 1, mode=mode, pairs_per_call=1)
        assert {module: choice.q_step for module, choice in found.items()} == {m: GRID[m][0] for m in GRID}
