"""The bound of a measured loss: what it says, and that nothing that is measured exceeds it."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

from tests.cases import ARM, NETWORKS, SYNTHESIS, UPSAMPLING, Case
from tests.making import make_frame, make_frame_encoder
from workers.candidates import Choice, QStepPair
from workers.codec import Frame, FrameEncoder, Planes, read_frame, read_frame_encoder
from workers.codec.quantization import apply_choices
from workers.measure import EngineOptions, ErrorBound, Measurer
from workers.measure.kernel import library
from workers.reference import measure_plain
from workers.replica import Replica
from workers.source import FrameSource

KERNELS = [*(build[1:] for build in library.builds() if library.open_build(build) is not None), "none"]

SAFETY = 4
"""The bound is so many times what is measured here, at least; on one machine, of all those that there are."""

bounds = st.builds(
    ErrorBound.of_frame,
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.sampled_from(["rgb", "yuv420", "yuv444"]),
    st.integers(8, 16),
    st.floats(0, 10),
    st.sampled_from(["float32", "tf32"]),
)
losses = st.floats(0, 10)


@given(bounds, losses, losses)
def test_the_bound_never_falls_where_the_loss_grows(bound: ErrorBound, loss: float, other: float) -> None:
    smaller, larger = sorted((loss, other))
    assert 0 < bound.of(smaller) <= bound.of(larger)


@given(bounds, losses)
def test_near_ties_are_those_that_two_errors_can_turn_round(bound: ErrorBound, best: float) -> None:
    limit = bound.limit(best)
    assert limit >= best + 2 * bound.of(best)
    assert limit - bound.of(limit) == pytest.approx(best + bound.of(best), rel=1e-6, abs=1e-2 * bound.of(best))
    assert bound.limit(math.inf) == math.inf


@given(bounds, st.integers(0, 1 << 16))
def test_one_sample_that_rounds_to_the_other_side_is_within_the_bound_however_few_there_are(
    bound: ErrorBound, error: int
) -> None:
    """Of a frame all of whose error is that of one sample, which in a large frame would be extraordinary."""
    if bound.n_samples > 64 or error >= bound.maximum:
        return
    steps = bound.maximum**2 * bound.n_samples
    before, after = error**2 / steps, (error + 1) ** 2 / steps
    assert after - before <= bound.of(before)


@given(st.sampled_from([1, 4, 16, 64]), st.integers(1, 60), st.integers(0, 200), st.integers(8, 10))
def test_samples_that_round_together_are_within_the_bound(
    n_together: int, n_groups: int, error: int, bitdepth: int
) -> None:
    """Of a frame all of whose error is that of one sample of the synthesis, which stands for several."""
    bound = ErrorBound(n_together * n_groups, 2**bitdepth - 1, 1e-3, n_together=n_together)
    steps = bound.maximum**2 * bound.n_samples
    before, after = n_together * error**2 / steps, n_together * (error + 1) ** 2 / steps
    assert after - before <= bound.of(before)


def test_a_walk_of_groups_deviates_as_their_sums_do() -> None:
    """A large frame: the part of the bound that is a random walk grows as the root of the size of a group."""
    alone, together = (ErrorBound(1 << 30, 255, 0.0, n_together=n) for n in (1, 16))
    sums = ErrorBound(1 << 60, 255, 0.0).of(1e-2)  # all that does not depend on the number of samples
    assert together.of(1e-2) - sums == pytest.approx(4 * (alone.of(1e-2) - sums), rel=0.02)


def test_samples_of_half_resolution_count_once() -> None:
    assert ErrorBound.of_frame(5, 7, "yuv420", 10, 1e-3) == ErrorBound(5 * 7 + 2 * 3 * 4, 1023, 1e-3)
    assert ErrorBound.of_frame(5, 7, "yuv444", 8, 1e-3) == ErrorBound(5 * 7 * 3, 255, 1e-3)


def test_the_margin_of_a_large_frame_is_about_a_ten_thousandth() -> None:
    """Near-ties are measured by whole forward passes: there must be few."""
    margin = ErrorBound.of_frame(512, 512, "rgb", 8, 1e-3).limit(1.46e-3) / 1.46e-3 - 1
    assert 5e-5 < margin < 1.5e-4


# What is measured


@pytest.fixture(params=KERNELS)
def kernel_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each build of the kernel in turn, and none."""
    monkeypatch.setenv("QSWEEP_KERNEL", request.param)
    library.load.cache_clear()
    yield request.param
    library.load.cache_clear()


def largest_error(
    frame_encoder: FrameEncoder,
    frame: Frame,
    lmbda: float,
    choices: dict[str, Choice],
    module: str,
    pairs: list[QStepPair],
) -> float:
    """Largest difference between engine and plain arithmetic, as a fraction of the bound."""
    rows = Measurer(frame_encoder, frame, lmbda, threads=2).measure(choices, module, pairs)
    quantized = FrameEncoder(frame_encoder.param).eval()
    quantized.load_state_dict(frame_encoder.state_dict())
    apply_choices(quantized, choices)
    plain = measure_plain(quantized, frame, lmbda, choices, module, pairs)
    param = frame_encoder.param
    bound = ErrorBound.of_frame(
        *frame.img_size, frame.frame_data_type, frame.bitdepth, lmbda, n_together=param.n_together
    )
    compared = [
        abs(row.loss - other.loss) / bound.of(other.loss)
        for row, other in zip(rows, plain, strict=True)
        if row.measured is not None and other.measured is not None
    ]
    assert len(compared) == len(pairs)
    return max(compared)


@pytest.mark.usefixtures("kernel_name")
@pytest.mark.parametrize("module", NETWORKS)
def test_conformance_frames_are_measured_within_the_bound(case: Case, module: str) -> None:
    rows = case.rows(module)
    rows = rows[rows.status == "ok"].nsmallest(4, "loss")
    pairs = [QStepPair(*steps) for steps in zip(rows.q_step_weight, rows.q_step_bias, strict=True)]

    error = largest_error(
        case.frame_encoder, case.frame, case.manager.lmbda, case.choices_before(module), module, pairs
    )

    assert error < 1 / SAFETY


class Tf32(TorchFunctionMode):
    """Gives products operands of 10 bits of mantissa, as GPUs do for tf32."""

    def __init__(self, *, rounded: bool) -> None:
        super().__init__()
        self._half = 1 << 12 if rounded else 0

    def __torch_function__(
        self, function: Any, _: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in (F.conv2d, F.conv_transpose2d, F.linear):
            args = (*map(self._shorten, args[:2]), *args[2:])
        return function(*args, **(kwargs or {}))

    def _shorten(self, operand: torch.Tensor) -> torch.Tensor:
        bits = operand.contiguous().view(torch.int32) + self._half
        return (bits & ~0x1FFF).view(torch.float32)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rounded", [True, False])
def test_what_tf32_changes_is_within_the_bound_for_tf32(case: Case, network: str, rounded: bool) -> None:
    rows = case.rows(network)
    rows = rows[rows.status == "ok"].nsmallest(4, "loss")
    pairs = [QStepPair(*steps) for steps in zip(rows.q_step_weight, rows.q_step_bias, strict=True)]
    choices = case.choices_before(network)
    apply_choices(case.frame_encoder, choices)
    given = case.frame_encoder, case.frame, case.manager.lmbda, choices, network, pairs
    exact = [row.loss for row in measure_plain(*given)]
    with Tf32(rounded=rounded):
        short = [row.loss for row in measure_plain(*given)]
    assert short != exact
    bound = replace(case.error_bound, precision="tf32")
    error = max(abs(one - other) / bound.of(one) for one, other in zip(exact, short, strict=True))
    assert error < 1 / SAFETY
    # What tf32 takes for the best, or for a tie with it, has what is best in float32 among it.
    assert short[exact.index(min(exact))] <= bound.limit(min(short))


def test_a_tie_that_tf32_turns_round_is_one_for_tf32_alone() -> None:
    """Two losses as far apart as operands that were cut off put two candidates of a conformance frame."""
    exact, tf32 = (
        ErrorBound.of_frame(128, 192, "rgb", 8, 1e-3),
        ErrorBound.of_frame(128, 192, "rgb", 8, 1e-3, "tf32"),
    )
    best, other = 1.46e-3, 1.46e-3 * (1 + 4.7e-3)
    assert exact.limit(best) < other < tf32.limit(best)


def test_replicas_say_in_which_precision_they_measure(smallest_case: Case) -> None:
    folder = smallest_case.folder
    (frame_file,) = folder.glob("frame*")
    source = FrameSource(
        "a", partial(read_frame, frame_file), partial(read_frame_encoder, folder / "encoder.safetensors")
    )
    for options in (EngineOptions(), EngineOptions(precision="tf32")):
        assert Replica("cpu", options=options).open(source).precision == options.precision


PAIRS = {
    ARM: [QStepPair(2.0**-8, 2.0**-16), QStepPair(2.0**-4, 2.0**-8), QStepPair(1.0, 1.0)],
    SYNTHESIS: [QStepPair(2.0**-10, 2.0**-15), QStepPair(2.0**-6, 2.0**-9), QStepPair(2.0**-2, 2.0**-3)],
    UPSAMPLING: [QStepPair(2.0**-12, 1.0), QStepPair(2.0**-4, 1.0)],
}


@pytest.mark.usefixtures("kernel_name")
@pytest.mark.parametrize("img_size", [(1, 1), (2, 3), (5, 5), (16, 16), (104, 105), (105, 105), (209, 210)])
@pytest.mark.parametrize(("frame_data_type", "bitdepth"), [("rgb", 8), ("yuv420", 10)])
def test_frames_of_any_size_and_format_are_measured_within_the_bound(
    img_size: tuple[int, int], frame_data_type: str, bitdepth: int
) -> None:
    frame_encoder = make_frame_encoder(
        "16-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none",
        img_size=img_size,
        frame_data_type=frame_data_type,
        bitdepth=bitdepth,
    )
    frame = make_frame(frame_encoder)
    for module, pairs in PAIRS.items():
        assert largest_error(frame_encoder, frame, 1e-3, {}, module, pairs) < 1 / SAFETY


@pytest.mark.usefixtures("kernel_name")
@pytest.mark.parametrize("img_size", [(1, 1), (5, 7), (105, 107), (209, 210)])
@pytest.mark.parametrize("n_ft_per_res", [(0, 1, 1, 1), (0, 0, 1, 1)])
def test_a_synthesis_of_a_coarser_resolution_is_measured_within_the_bound(
    img_size: tuple[int, int], n_ft_per_res: tuple[int, ...]
) -> None:
    frame_encoder = make_frame_encoder(
        "16-1-linear-relu,3-3-linear-none", img_size=img_size, n_ft_per_res=n_ft_per_res, release="4.2.1"
    )
    assert frame_encoder.param.n_together == min(4 ** n_ft_per_res.count(0), img_size[0] * img_size[1])
    for module, pairs in PAIRS.items():
        assert largest_error(frame_encoder, make_frame(frame_encoder), 1e-3, {}, module, pairs) < 1 / SAFETY


@pytest.mark.usefixtures("kernel_name")
@pytest.mark.parametrize("img_size", [(3, 4), (64, 96), (209, 210)])
@pytest.mark.parametrize("off_by", [0, 1])
def test_flat_pictures_are_measured_within_the_bound(img_size: tuple[int, int], off_by: int) -> None:
    """All latents are nothing and so is the error, or that of one step everywhere."""
    frame_encoder = make_frame_encoder("8-1-linear-relu,3-1-linear-none,3-3-residual-none", img_size=img_size)
    with torch.inference_mode():
        for grid in frame_encoder.latent_grids:
            grid.zero_()
        decoded = frame_encoder().decoded_image.tensors[0].clone()
    frame = Frame(Planes(((decoded * 255 - off_by).round().clamp(0, 255) / 255,)), "rgb", 8)
    for module, pairs in PAIRS.items():
        assert largest_error(frame_encoder, frame, 1e-3, {}, module, pairs) < 1 / SAFETY
