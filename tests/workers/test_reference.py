import pandas as pd
import pytest
import safetensors.torch
import torch

from tests.cases import ARM, NETWORKS, SYNTHESIS, UPSAMPLING, Case, load_case, to_table
from tests.making import make_frame, make_frame_encoder
from workers.candidates import QStepPair, split_id
from workers.codec import FrameEncoder, FrameEncoderManager
from workers.errors import InfeasibleModuleError, MismatchError
from workers.reference import ReferenceSweep, measure_plain, reference_sweep

LMBDA = 1e-3


def grid_around_the_choices(case: Case) -> dict[str, list[QStepPair]]:
    """Per module the reference's choice, and of the pairs before and after it a few, in grid order."""
    grid = {}
    for module in NETWORKS:
        pairs = case.pairs(module)
        chosen = pairs.index(case.choice(module).q_step)
        grid[module] = [pairs[0], *pairs[max(1, chosen - 3) : chosen + 4], *pairs[chosen + 4 :: 40]]
    return grid


@pytest.fixture(scope="module", params=["astronaut_64x96_lop", "coffee_64x96_yuv420"])
def swept(request: pytest.FixtureRequest) -> tuple[Case, ReferenceSweep]:
    """A case whose frame encoder has been swept over a few pairs, and the outcome."""
    case = load_case(request.param)
    return case, reference_sweep(case.frame_encoder, case.frame, case.manager, grid_around_the_choices(case))


def test_the_rows_are_those_of_the_reference(swept: tuple[Case, ReferenceSweep]) -> None:
    case, sweep = swept
    found = to_table(sweep.measurements)
    expected = found[["module", "q_step_weight", "q_step_bias"]].merge(case.table, how="left")

    exact = [name for name in expected.columns if name not in ("rate_latent_bit", "mse", "loss", "chosen")]
    pd.testing.assert_frame_equal(found[exact], expected[exact], check_exact=True)
    assert set(found.status) == {"ok", "overflow"}
    pd.testing.assert_series_equal(found.rate_latent_bit, expected.rate_latent_bit, rtol=1e-5, atol=0)
    pd.testing.assert_series_equal(found.mse, expected.mse, rtol=1e-4, atol=0)
    pd.testing.assert_series_equal(found.loss, expected.loss, rtol=1e-4, atol=0)


def test_the_choices_are_those_of_the_reference(swept: tuple[Case, ReferenceSweep]) -> None:
    case, sweep = swept

    assert sweep.choices == case.choices()


def test_the_networks_come_back_quantized_as_by_the_reference(swept: tuple[Case, ReferenceSweep]) -> None:
    case, _ = swept
    quantized = safetensors.torch.load_file(case.folder / "quantized.safetensors")
    state = case.frame_encoder.state_dict()

    networks = {name for name in state if not name.startswith("latent_grids")}
    assert quantized.keys() == networks
    assert all(torch.equal(state[name], value) for name, value in quantized.items())
    for module in NETWORKS:
        assert case.frame_encoder.nn_q_step[split_id(module)[1]] == case.choice(module).q_step._asdict()
        assert case.frame_encoder.nn_expgol_cnt[split_id(module)[1]] == case.choice(module).expgol_cnt._asdict()


def few_pairs(changes: dict[str, list[QStepPair]] | None = None) -> dict[str, list[QStepPair]]:
    pairs = [QStepPair(2.0**-4, 2.0**-6), QStepPair(2.0**-3, 2.0**-6)]
    return {ARM: pairs, SYNTHESIS: pairs, UPSAMPLING: pairs} | (changes or {})


def sweep(frame_encoder: FrameEncoder, grid: dict[str, list[QStepPair]]) -> ReferenceSweep:
    return reference_sweep(frame_encoder, make_frame(frame_encoder), FrameEncoderManager(LMBDA), grid)


def test_the_first_pair_in_grid_order_wins_a_tie() -> None:
    frame_encoder = make_frame_encoder()
    for parameter in frame_encoder.upsampling.parameters():
        torch.nn.init.zeros_(parameter)
    tied = [QStepPair(weight, 1.0) for weight in (0.5, 1.0, 0.25)]

    outcome = sweep(frame_encoder, few_pairs({UPSAMPLING: tied}))

    losses = [row.loss for row in outcome.measurements[-3:]]
    assert losses[0] == losses[1] == losses[2]
    assert outcome.choices[UPSAMPLING].q_step == tied[0]


def test_the_rates_of_settled_modules_are_part_of_the_following_ones() -> None:
    outcome = sweep(make_frame_encoder(), few_pairs())

    settled_bit = 0
    for module in NETWORKS:
        for row in outcome.measurements:
            if row.candidate.network == module:
                assert row.measured is not None
                own_bit = row.measured.rate_weight_bit + row.measured.rate_bias_bit
                assert row.measured.rate_nn_bit == settled_bit + own_bit
        settled_bit += outcome.choices[module].rate_bit


@pytest.mark.parametrize("module", NETWORKS)
def test_a_module_whose_pairs_all_overflow_is_named(module: str) -> None:
    too_fine = [QStepPair(2.0**-40, 1.0), QStepPair(2.0**-39, 1.0)]

    with pytest.raises(InfeasibleModuleError, match=rf"^{module}: none of its 2 pairs has a finite loss"):
        sweep(make_frame_encoder(), few_pairs({module: too_fine}))


def test_a_loss_that_is_not_finite_never_wins() -> None:
    # In full precision, and as multiples of 64, the samples of this synthesis just stay finite.
    frame_encoder = make_frame_encoder(",".join(["3-1-linear-none"] * 14))
    with torch.no_grad():
        for parameter in frame_encoder.synthesis.parameters():
            parameter.copy_(260 * parameter.sign())
    overflow, non_finite, ok = QStepPair(2.0**-10, 1.0), QStepPair(512.0, 1.0), QStepPair(64.0, 1.0)

    outcome = sweep(frame_encoder, few_pairs({SYNTHESIS: [overflow, non_finite, ok, overflow]}))

    statuses = [row.status for row in outcome.measurements if row.candidate.network == SYNTHESIS]
    assert statuses == ["overflow", "non_finite", "ok", "overflow"]
    assert outcome.choices[SYNTHESIS].q_step == ok


def test_the_time_of_the_frame_grows_by_that_of_the_sweep() -> None:
    frame_encoder = make_frame_encoder()
    manager = FrameEncoderManager(LMBDA, total_training_time_sec=1000.0)

    outcome = reference_sweep(frame_encoder, make_frame(frame_encoder), manager, few_pairs())

    assert manager.total_training_time_sec >= 1000 + sum(row.seconds for row in outcome.measurements) > 1000


def test_a_frame_encoder_in_training_mode_is_swept_in_evaluation() -> None:
    expected = sweep(make_frame_encoder(), few_pairs())
    frame_encoder = make_frame_encoder()
    frame = make_frame(frame_encoder)

    outcome = reference_sweep(frame_encoder.train(), frame, FrameEncoderManager(LMBDA), few_pairs())

    assert [row[:3] for row in outcome.measurements] == [row[:3] for row in expected.measurements]


def test_a_frame_encoder_for_another_frame_is_refused() -> None:
    frame = make_frame(make_frame_encoder(img_size=(5, 5)))

    with pytest.raises(MismatchError, match=r"the frame is 5×5"):
        reference_sweep(make_frame_encoder(), frame, FrameEncoderManager(LMBDA), few_pairs())


@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_parameters_are_restored_however_many_rows_are_taken(n_rows: int) -> None:
    frame_encoder = make_frame_encoder()
    before = frame_encoder.get_network_parameters(SYNTHESIS)
    pairs = [QStepPair(1.0, 1.0), QStepPair(2.0**-40, 1.0), QStepPair(0.5, 0.5)]
    rows = measure_plain(frame_encoder, make_frame(frame_encoder), LMBDA, {}, SYNTHESIS, pairs)

    for _ in range(n_rows):
        next(rows)
    rows.close()

    after = frame_encoder.get_network_parameters(SYNTHESIS)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_every_pair_quantizes_the_full_precision_and_not_what_the_pair_before_left() -> None:
    frame_encoder = make_frame_encoder()
    frame = make_frame(frame_encoder)
    coarse, fine = QStepPair(1.0, 1.0), QStepPair(2.0**-6, 2.0**-6)

    (alone,) = measure_plain(frame_encoder, frame, LMBDA, {}, SYNTHESIS, [fine])
    _, after_coarse = measure_plain(frame_encoder, frame, LMBDA, {}, SYNTHESIS, [coarse, fine])

    assert after_coarse[:3] == alone[:3]


def test_rows_are_the_same_bits_whatever_the_number_of_threads_which_is_left_as_it_was() -> None:
    case = load_case("chelsea_99x149_hop")
    pair = case.choice(SYNTHESIS).q_step
    before = torch.get_num_threads()
    found = {}
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            (row,) = measure_plain(case.frame_encoder, case.frame, case.manager.lmbda, {}, SYNTHESIS, [pair])
            assert torch.get_num_threads() == threads
            found[threads] = row.measured
    finally:
        torch.set_num_threads(before)

    assert found[1] == found[2] == found[3]
