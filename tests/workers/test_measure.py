import math
import random
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch

from tests.cases import ARM, NETWORKS, SYNTHESIS, UPSAMPLING, Case, load_case, to_table
from tests.making import make_choice, make_frame, make_frame_encoder
from workers.candidates import Choice, Choices, Counts, Measurement, QStepPair, split_id
from workers.codec.coolchic_3_4 import COOLCHIC_3_4
from workers.codec.quantization import apply_choices
from workers.errors import MismatchError, ReplicaError
from workers.measure import EngineOptions, Measurer
from workers.measure.arm_rate import ArmRate
from workers.plain import Precision, in_precision, plain_arithmetic
from workers.reference import measure_plain

KEYS = ["module", "q_step_weight", "q_step_bias", "status"]
EXACT = ["expgol_cnt_weight", "expgol_cnt_bias", "rate_weight_bit", "rate_bias_bit", "rate_nn_bit"]


# What the reference implementation measured


@pytest.fixture(scope="module")
def measured(case: Case) -> pd.DataFrame:
    """All rows of a case, each module with the reference's choices for those before it."""
    measurer = Measurer(case.frame_encoder, case.frame, case.manager.lmbda)
    rows: list[Measurement] = []
    for module in NETWORKS:
        rows += measurer.measure(case.choices_before(module), module, case.pairs(module))
    return to_table(rows)


def test_every_pair_has_the_reference_s_status(case: Case, measured: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(measured[KEYS], case.table[KEYS])


def test_network_rates_and_counts_are_the_reference_s_exactly(case: Case, measured: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(measured[EXACT], case.table[EXACT], check_exact=True)


@pytest.mark.parametrize(("column", "tolerance"), [("rate_latent_bit", 1e-5), ("mse", 1e-4), ("loss", 1e-4)])
def test_what_was_measured_is_what_the_reference_measured(
    case: Case, measured: pd.DataFrame, column: str, tolerance: float
) -> None:
    pd.testing.assert_series_equal(measured[column], case.table[column], rtol=tolerance, atol=0)


@pytest.mark.parametrize("module", NETWORKS)
def test_the_pair_with_the_smallest_loss_is_the_reference_s_choice(
    case: Case, measured: pd.DataFrame, module: str
) -> None:
    best = measured[measured.module == split_id(module)[1]].loss.idxmin()

    assert case.table.loc[best].chosen


# What must not change a row


def of_row(row: Measurement) -> tuple[object, ...]:
    """What a row says exactly, whichever way it was measured."""
    measured = row.measured
    return row[:2] + (measured[:4] if measured else ())


def assert_same(rows: Sequence[Measurement], expected: Sequence[Measurement], tolerance: float = 1e-6) -> None:
    """Assert that rows are the same but for the last digits of what depends on the order of sums."""
    assert [of_row(row) for row in rows] == [of_row(row) for row in expected]
    for row, other in zip(rows, expected, strict=True):
        if row.measured is not None and other.measured is not None:
            found, wanted = row.measured, other.measured
            assert found.rate_latent_bit == pytest.approx(wanted.rate_latent_bit, rel=tolerance, abs=0), row
            assert found.mse == pytest.approx(wanted.mse, rel=tolerance, abs=0), row
            assert found.loss == pytest.approx(wanted.loss, rel=tolerance, abs=0), row


SMALL_AND_LARGE = ["coffee_64x96_yuv420", "coffee_128x192_mop"]


@pytest.fixture(scope="module", params=SMALL_AND_LARGE)
def sample(request: pytest.FixtureRequest) -> tuple[Case, dict[str, list[QStepPair]]]:
    """A case whose synthesis is evaluated plainly, one whose is not; and of each some pairs in grid order."""
    case = load_case(request.param)
    chance = random.Random(0)
    pairs = {}
    for module in NETWORKS:
        of_module = case.pairs(module)
        pairs[module] = [
            of_module[i] for i in sorted(chance.sample(range(len(of_module)), min(25, len(of_module))))
        ]
    return case, pairs


def measure_all(measurer: Measurer, case: Case, pairs: dict[str, list[QStepPair]]) -> list[Measurement]:
    return [row for m in NETWORKS for row in measurer.measure(case.choices_before(m), m, pairs[m])]


def measurer_of(case: Case, threads: int = 2, **options: Any) -> Measurer:
    return Measurer(
        case.frame_encoder, case.frame, case.manager.lmbda, threads=threads, options=EngineOptions(**options)
    )


@pytest.fixture(scope="module")
def together(sample: tuple[Case, dict[str, list[QStepPair]]]) -> list[Measurement]:
    """Rows of the sampled pairs, all pairs of a module in one call."""
    return measure_all(measurer_of(sample[0]), *sample)


def test_pairs_asked_one_by_one_in_any_order_give_the_rows_that_they_give_together(
    sample: tuple[Case, dict[str, list[QStepPair]]], together: list[Measurement]
) -> None:
    case, pairs = sample
    measurer = measurer_of(case)
    wishes = [(module, pair) for module in NETWORKS for pair in pairs[module]]
    random.Random(1).shuffle(wishes)

    rows = {}
    for module, pair in wishes:
        (rows[module, pair],) = measurer.measure(case.choices_before(module), module, [pair])

    assert_same([rows[row.candidate.network, row.candidate.edit] for row in together], together)


def test_pairs_packed_in_any_order_and_repeated_give_the_same_rows_in_the_order_asked(
    sample: tuple[Case, dict[str, list[QStepPair]]], together: list[Measurement]
) -> None:
    case, pairs = sample
    expected = {(row.candidate.network, row.candidate.edit): row for row in together}
    for module in NETWORKS:
        packed = pairs[module] + pairs[module][:3]
        random.Random(2).shuffle(packed)

        rows = measurer_of(case).measure(case.choices_before(module), module, packed)

        assert_same(rows, [expected[module, pair] for pair in packed])


def other_choice(case: Case, module: str) -> Choice:
    """A choice that is coarser than the reference's by a step."""
    pair = QStepPair(2 * case.choice(module).q_step.weight, 2 * case.choice(module).q_step.bias)
    return make_choice(case.frame_encoder, module, pair)


def test_rows_do_not_depend_on_the_choices_asked_about_before(
    sample: tuple[Case, dict[str, list[QStepPair]]],
) -> None:
    case, pairs = sample
    ours = case.choices()
    others = {module: other_choice(case, module) for module in NETWORKS}
    # Every module's rows under every mixture of choices for the two other modules, or none.
    wishes: list[tuple[Choices, str]] = []
    for module in NETWORKS:
        first, second = (name for name in NETWORKS if name != module)
        for one in (None, ours, others):
            for two in (None, ours, others):
                chosen = ((first, one), (second, two))
                wishes.append(({name: choice[name] for name, choice in chosen if choice is not None}, module))
    random.Random(3).shuffle(wishes)
    one_measurer = measurer_of(case)

    for choices, module in wishes:
        few = pairs[module][-2:]
        assert_same(
            one_measurer.measure(choices, module, few),
            measurer_of(case).measure(choices, module, few),
        )


@pytest.mark.parametrize("tile", [1000, 10**9])
def test_rows_do_not_depend_on_the_size_of_tiles(
    sample: tuple[Case, dict[str, list[QStepPair]]], together: list[Measurement], tile: int
) -> None:
    assert_same(measure_all(measurer_of(sample[0], tile=tile), *sample), together, tolerance=1e-5)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("n_threads", [1, 3])
def test_rows_do_not_depend_on_the_number_of_threads(
    sample: tuple[Case, dict[str, list[QStepPair]]], together: list[Measurement], n_threads: int
) -> None:
    assert_same(measure_all(measurer_of(sample[0], threads=n_threads), *sample), together)


def test_the_bits_of_each_grid_are_those_of_the_plain_arithmetic(case: Case) -> None:
    choices = case.choices()
    frame_encoder = deepcopy(case.frame_encoder)
    apply_choices(frame_encoder, choices)
    with torch.inference_mode(), plain_arithmetic(COOLCHIC_3_4.plain_threads):
        expected = [grid.sum(dtype=torch.float64).item() for grid in frame_encoder.rate_of_grids()]
    found = measurer_of(case).rate_of_grids(choices)
    assert found == pytest.approx(expected, rel=1e-5)
    assert sum(found) == pytest.approx(case.rows(ARM)[lambda rows: rows.chosen].rate_latent_bit.item(), rel=1e-5)


def test_the_frame_encoder_is_not_modified(smallest_case: Case) -> None:
    before = deepcopy(smallest_case.frame_encoder.state_dict())

    measure_all(measurer_of(smallest_case), smallest_case, {m: smallest_case.pairs(m)[-3:] for m in NETWORKS})

    after = smallest_case.frame_encoder.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_frame_encoder_that_is_changed_afterwards_does_not_change_the_rows(smallest_case: Case) -> None:
    pairs = {module: smallest_case.pairs(module)[-3:] for module in NETWORKS}
    measurer = measurer_of(smallest_case)
    expected = measure_all(measurer_of(smallest_case), smallest_case, pairs)

    with torch.no_grad():
        for parameter in smallest_case.frame_encoder.parameters():
            parameter.mul_(2)

    assert_same(measure_all(measurer, smallest_case, pairs), expected, tolerance=0)


def test_a_frame_encoder_left_in_training_mode_is_evaluated_all_the_same(smallest_case: Case) -> None:
    pairs = {module: smallest_case.pairs(module)[::5] for module in NETWORKS}
    expected = measure_all(measurer_of(smallest_case), smallest_case, pairs)

    smallest_case.frame_encoder.train()

    assert_same(measure_all(measurer_of(smallest_case), smallest_case, pairs), expected, tolerance=0)


# Frames and architectures that no published one has, against a full forward pass per pair

PAIRS = {
    ARM: [(2.0**-8, 2.0**-16), (2.0**-4, 2.0**-8), (2.0**-4, 2.0**-2), (1.0, 1.0)],
    SYNTHESIS: [(2.0**-10, 2.0**-20), (2.0**-6, 2.0**-9), (2.0**-6, 2.0**-5), (2.0**-2, 2.0**-8)],
    UPSAMPLING: [(2.0**-12, 1.0), (2.0**-4, 1.0)],
}


def assert_plain(*, tile: int = 4096, whole_samples: bool = True, **shape: object) -> None:
    """Assert that a random frame encoder's rows, compiled and in torch, are those of the plain arithmetic."""
    frame_encoder = make_frame_encoder(**shape)
    frame = make_frame(frame_encoder, whole_samples=whole_samples)
    lmbda = 1e-3
    measurers = [
        Measurer(frame_encoder, frame, lmbda, threads=2, options=EngineOptions(tile=tile, compiled=compiled))
        for compiled in (True, False)
    ]
    choices: dict[str, Choice] = {}
    for module, steps in PAIRS.items():
        pairs = [QStepPair(*pair) for pair in steps]
        plain = list(measure_plain(frame_encoder, frame, lmbda, choices, module, pairs))
        for measurer in measurers:
            assert_same(measurer.measure(choices, module, pairs), plain, tolerance=3e-5)
        choices[module] = plain[1].choice()
        apply_choices(frame_encoder, {module: choices[module]})


LARGE = (181, 257)  # large enough for the first product to be shared
VLOP = "8-1-linear-relu,3-1-linear-none,3-3-residual-none"


@pytest.mark.parametrize("tile", [256, 257 * 3, 4096])
@pytest.mark.parametrize(
    "layers",
    [
        VLOP,
        "5-3-linear-relu,5-3-residual-relu,3-3-linear-none",
        "3-1-linear-none",
        "7-1-linear-relu,7-1-residual-relu,3-1-linear-none",
        "3-1-residual-relu,6-1-linear-none,3-5-linear-none",
        "3-5-residual-relu,4-1-linear-relu,3-3-linear-none,3-1-residual-none",
    ],
)
def test_any_synthesis_is_measured_as_by_the_plain_arithmetic(layers: str, tile: int) -> None:
    assert_plain(layers=layers, img_size=LARGE, n_grids=3, tile=tile)


@pytest.mark.parametrize(("dim_arm", "n_hidden"), [(8, 0), (24, 1), (32, 3)])
def test_any_arm_is_measured_as_by_the_plain_arithmetic(dim_arm: int, n_hidden: int) -> None:
    assert_plain(img_size=(40, 51), dim_arm=dim_arm, n_hidden_layers_arm=n_hidden, tile=300)


@pytest.mark.parametrize("n_grids", [1, 2, 9])
def test_any_number_of_latent_grids_is_measured_as_by_the_plain_arithmetic(n_grids: int) -> None:
    assert_plain(layers="4-1-linear-relu,3-3-linear-none", img_size=LARGE, n_grids=n_grids)


@pytest.mark.parametrize("img_size", [(21, 34), LARGE])
@pytest.mark.parametrize("frame_data_type", ["rgb", "yuv420"])
@pytest.mark.parametrize(
    "options",
    [
        {"n_ft_per_res": (1, 1, 1, 3)},
        {"n_ft_per_res": (1, 1, 0)},
        {"n_ft_per_res": (0, 1, 0, 1), "release": "4.0.0"},
        {"n_ft_per_res": (0, 0, 1, 0), "release": "4.0.0"},
        {"n_ft_per_res": (0, 1, 1, 2), "release": "4.1.0"},
        {"n_ft_per_res": (0, 0, 1, 1), "release": "4.2.1"},
        {"n_ft_per_res": (0, 0, 1), "release": "4.2.1"},
        {"n_ft_per_res": (1, 1, 1, 1), "n_ft_per_res_cr": (1, 0, 1), "release": "4.2.1"},
        {"n_ft_per_res": (1, 1, 1), "n_ft_per_res_cr": (0, 1), "release": "4.2.1"},
        {"ups_k_size": 4, "ups_preconcat_k_size": 1, "encoder_gain": 9.5},
        {"ups_k_size": 10, "ups_preconcat_k_size": 5, "encoder_gain": -3},
        {"bitdepth": 9},
        {"bitdepth": 16},
    ],
    ids=str,
)
def test_any_option_of_4_is_measured_as_by_the_plain_arithmetic(
    options: dict[str, object], frame_data_type: str, img_size: tuple[int, int]
) -> None:
    assert_plain(layers=VLOP, img_size=img_size, frame_data_type=frame_data_type, **options)


@pytest.mark.parametrize("img_size", [(1, 1), (1, 37), (37, 1), (1, 12000), (12000, 1), (5, 4000)])
def test_a_frame_of_any_shape_is_measured_as_by_the_plain_arithmetic(img_size: tuple[int, int]) -> None:
    assert_plain(layers=VLOP, img_size=img_size, n_grids=7)


@pytest.mark.parametrize("img_size", [(7, 9), (131, 255)])
@pytest.mark.parametrize("bitdepth", [8, 10])
@pytest.mark.parametrize("frame_data_type", ["rgb", "yuv444", "yuv420"])
def test_a_frame_of_any_format_is_measured_as_by_the_plain_arithmetic(
    frame_data_type: str, bitdepth: int, img_size: tuple[int, int]
) -> None:
    assert_plain(layers=VLOP, img_size=img_size, frame_data_type=frame_data_type, bitdepth=bitdepth)


def test_a_frame_whose_samples_are_between_those_of_its_bit_depth_keeps_them() -> None:
    assert_plain(layers=VLOP, img_size=LARGE, whole_samples=False)


# Candidates that cannot win


def statuses(frame_encoder_changes: dict[str, float], module: str, pairs: Sequence[QStepPair]) -> list[str]:
    """Status of some candidates, all weights of a module scaled; asserts that the plain arithmetic agrees."""
    frame_encoder = make_frame_encoder(",".join(["3-1-linear-none"] * 12), n_grids=3)
    frame = make_frame(frame_encoder)
    with torch.no_grad():
        for name, value in frame_encoder_changes.items():
            for parameter in frame_encoder.network(name).parameters():
                parameter.copy_(value * parameter.sign())

    rows = Measurer(frame_encoder, frame, 1e-3).measure({}, module, pairs)

    assert all((row.measured is None) == (row.status != "ok") for row in rows)
    assert all(math.isfinite(row.loss) == (row.status == "ok") for row in rows)
    assert [row[:2] for row in measure_plain(frame_encoder, frame, 1e-3, {}, module, pairs)] == [
        row[:2] for row in rows
    ]
    return [row.status for row in rows]


def test_parameters_beyond_65535_steps_overflow_whichever_kind_they_are() -> None:
    pairs = [QStepPair(1.0, 1.0), QStepPair(2.0**-10, 1.0), QStepPair(1.0, 2.0**-10), QStepPair(0.5, 0.5)]

    assert statuses({ARM: 100.0}, ARM, pairs) == ["ok", "overflow", "overflow", "ok"]


def test_a_synthesis_that_leaves_the_finite_numbers_is_non_finite_unless_it_overflows() -> None:
    pairs = [QStepPair(0.5, 0.5), QStepPair(1.0, 1.0), QStepPair(2.0**16, 1.0), QStepPair(2.0**18, 2.0**18)]

    found = statuses({SYNTHESIS: 65535.0}, SYNTHESIS, pairs)

    assert found == ["overflow", "non_finite", "non_finite", "ok"]


@pytest.mark.parametrize("module", NETWORKS)
def test_every_module_is_non_finite_while_another_one_gives_no_finite_frame(module: str) -> None:
    assert statuses({UPSAMPLING: 3e38}, module, [QStepPair(2.0**112, 2.0**112)]) == ["non_finite"]


def test_a_choice_is_what_its_row_measured() -> None:
    frame_encoder = make_frame_encoder()
    pair = QStepPair(2.0**-4, 2.0**-6)
    before = {ARM: Choice(ARM, QStepPair(1.0, 1.0), Counts(0, 0), 700, 300)}

    (row,) = Measurer(frame_encoder, make_frame(frame_encoder), 1e-3).measure(before, SYNTHESIS, [pair])

    expected = make_choice(frame_encoder, SYNTHESIS, pair)
    assert row.choice() == expected
    assert row.measured is not None
    assert row.measured.rate_nn_bit == 1000 + expected.rate_bit


def test_a_choice_for_the_module_itself_is_not_in_force() -> None:
    frame_encoder = make_frame_encoder()
    frame = make_frame(frame_encoder)
    pairs = [QStepPair(2.0**-4, 2.0**-6)]
    for module in NETWORKS:
        own = Choice(module, QStepPair(1.0, 1.0), Counts(0, 0), 700, 300)
        without, with_own = (
            Measurer(frame_encoder, frame, 1e-3).measure(choices, module, pairs) for choices in ({}, {module: own})
        )
        plain = list(measure_plain(frame_encoder, frame, 1e-3, {module: own}, module, pairs))

        assert_same(with_own, without, tolerance=0)
        assert_same(with_own, plain)


def test_a_candidate_that_was_not_measured_cannot_be_chosen() -> None:
    frame_encoder = make_frame_encoder()
    too_fine = QStepPair(2.0**-40, 1.0)

    (row,) = Measurer(frame_encoder, make_frame(frame_encoder), 1e-3).measure({}, ARM, [too_fine])

    with pytest.raises(ValueError, match=r"arm: a candidate with status 'overflow' cannot be chosen"):
        row.choice()


def test_a_pair_that_overflows_cannot_be_in_force() -> None:
    frame_encoder = make_frame_encoder()
    too_fine = {UPSAMPLING: Choice(UPSAMPLING, QStepPair(2.0**-40, 1.0), Counts(0, 0), 0, 0)}

    with pytest.raises(ValueError, match=r"upsampling: the pair .* overflows"):
        Measurer(frame_encoder, make_frame(frame_encoder), 1e-3).measure(too_fine, ARM, [QStepPair(1.0, 1.0)])


def test_a_frame_encoder_for_another_frame_is_refused(smallest_case: Case) -> None:
    with pytest.raises(MismatchError, match=r"96×64 rgb 8 bits; the frame is 17×12 rgb"):
        Measurer(smallest_case.frame_encoder, make_frame(make_frame_encoder()), 1e-3)


# Only as far as a pair can still win


@pytest.mark.parametrize(
    "options", [{}, {"compiled": False}, {"tile": 300}, {"tile": 10**6}, {"precision": "tf32"}]
)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_contest_leaves_the_winner_and_its_near_ties_and_cuts_the_others_rightly(
    case: Case, options: dict[str, Any], n_threads: int
) -> None:
    measurer = measurer_of(case, n_threads, **options)
    bound = replace(case.error_bound, precision=options.get("precision", "float32"))
    for module in NETWORKS:
        expected = case.rows(module)
        best = expected.loss.min()

        rows = measurer.measure(case.choices_before(module), module, case.pairs(module), math.inf)

        for row, (_, wanted) in zip(rows, expected.iterrows(), strict=True):
            if row.status == "pruned":
                assert row.loss_lower_bound is not None
                assert bound.limit(best) < row.loss_lower_bound * (1 + 1e-5)
                assert row.loss_lower_bound <= wanted.loss * (1 + 1e-5)
            else:
                assert row.status == wanted.status
                assert row.measured is None or row.loss == pytest.approx(wanted.loss, rel=1e-4)
        close = expected.loss <= best + 0.9 * (bound.limit(best) - best)
        assert all(row.status == "ok" for row, near in zip(rows, close, strict=True) if near)


def test_a_better_loss_that_is_known_already_prunes_everything(smallest_case: Case) -> None:
    pairs = smallest_case.pairs(ARM)

    rows = measurer_of(smallest_case).measure({}, ARM, pairs, 1e-9)

    assert {row.status for row in rows} == {"pruned"}


# Memory


class ShortOfMemory:
    """Makes an engine run out of memory with tiles of more than so many pixels."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, least: int) -> None:
        self.tiles: list[int] = []
        evaluator = ArmRate.evaluator

        def limited(cost: ArmRate, candidates: Sequence[Any]) -> Any:
            tile = max(tile.end - tile.first for tile in cost.tiles)
            self.tiles.append(tile)
            if tile > least:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB\nat length")
            return evaluator(cost, candidates)

        monkeypatch.setattr(ArmRate, "evaluator", limited)


def test_where_memory_is_short_the_tile_is_halved_until_it_suffices(
    smallest_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = smallest_case.pairs(ARM)[::10]
    expected = measurer_of(smallest_case).measure({}, ARM, pairs)
    memory = ShortOfMemory(monkeypatch, 1100)

    rows = measurer_of(smallest_case).measure({}, ARM, pairs)

    assert_same(rows, expected)
    assert [tile for i, tile in enumerate(memory.tiles) if tile not in memory.tiles[:i]] == [6144, 4096, 2048, 1024]


def test_where_memory_is_too_short_for_the_smallest_tiles_the_error_says_so(
    smallest_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    ShortOfMemory(monkeypatch, 1)

    message = r"memory of cpu does not suffice for tiles of 256 pixels: .*20 MiB; at length$"
    with pytest.raises(ReplicaError, match=message):
        measurer_of(smallest_case).measure({}, ARM, smallest_case.pairs(ARM))


def test_a_small_workspace_makes_small_tiles_and_the_same_rows(smallest_case: Case) -> None:
    pairs = smallest_case.pairs(ARM)[::10]
    expected = measurer_of(smallest_case).measure({}, ARM, pairs)

    options = EngineOptions(workspace_bytes=1 << 20)

    param = smallest_case.frame_encoder.param
    assert options.tile_for(param, torch.device("cpu"), 2) < 1000
    assert EngineOptions().tile_for(param, torch.device("cpu"), 2) == 8192
    assert EngineOptions().tile_for(param, torch.device("cuda"), 1) > 100_000
    assert_same(measurer_of(smallest_case, workspace_bytes=1 << 20).measure({}, ARM, pairs), expected)


# Precision


def test_shortcuts_are_off_unless_they_are_asked_for_by_name() -> None:
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = matmul.fp32_precision, conv.fp32_precision
    with in_precision("tf32"):
        assert (matmul.fp32_precision, conv.fp32_precision) == ("tf32", "tf32")
        with plain_arithmetic(COOLCHIC_3_4.plain_threads):  # as the decider of near-ties
            assert (matmul.fp32_precision, conv.fp32_precision) == ("ieee", "ieee")
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "tf32"
    assert (matmul.fp32_precision, conv.fp32_precision) == before


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_candidates_are_measured_in_the_precision_that_was_asked_for(
    smallest_case: Case, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    seen = set()
    evaluator = ArmRate.evaluator

    def watched(cost: ArmRate, candidates: Sequence[Any]) -> Any:
        seen.add(torch.backends.cuda.matmul.fp32_precision)
        return evaluator(cost, candidates)

    monkeypatch.setattr(ArmRate, "evaluator", watched)
    measurer_of(smallest_case, precision=precision).measure({}, ARM, smallest_case.pairs(ARM)[:1])

    assert seen == {"ieee" if precision == "float32" else "tf32"}
