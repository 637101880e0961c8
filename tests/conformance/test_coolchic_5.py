"""Every conformance case of family coolchic-5, by the engine, by the plain reference and in a job."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from sweep import quantize_model, read_rd_table, sweep_frame
from sweep.config import load_job
from sweep.driver import Lines, Tally
from sweep.job import run_job
from sweep.results import Results
from tests.cases import CASE_5_NAMES, CASES_5, Case, load_case, to_table
from tests.conformance.agreement import assert_agrees_with_pruned, assert_conforms, assert_quantized
from workers.candidates import QStepPair
from workers.codec import parse_frame_encoder
from workers.reference import ReferenceSweep, reference_sweep

EXACT = [
    *("module", "q_step_weight", "q_step_bias", "status", "expgol_cnt_weight", "expgol_cnt_bias"),
    *("rate_weight_bit", "rate_bias_bit", "rate_nn_bit"),
]


@pytest.fixture(scope="module", params=CASE_5_NAMES)
def case_5(request: pytest.FixtureRequest) -> Case:
    return load_case(request.param, CASES_5)


def test_the_engine_gives_the_reference_table(case_5: Case) -> None:
    sweep = sweep_frame(case_5.frame_encoder, case_5.frame, case_5.manager)

    assert_conforms(sweep.table, case_5.table)
    assert sweep.choices == case_5.choices()


def test_mode_winner_gives_the_reference_choices(case_5: Case) -> None:
    sweep = sweep_frame(case_5.frame_encoder, case_5.frame, case_5.manager, mode="winner")

    assert_agrees_with_pruned(sweep.table, case_5.table)
    assert sweep.choices == case_5.choices()


@pytest.mark.parametrize("name", CASE_5_NAMES)
def test_quantize_model_quantizes_as_the_reference(name: str) -> None:
    case = load_case(name, CASES_5)

    quantized = quantize_model(case.frame_encoder, case.frame, case.manager)

    assert_quantized(quantized.state_dict(), case)
    for network in case.networks:
        assert quantized.nn_q_step[network] == case.choice(network).q_step._asdict()
        assert quantized.nn_expgol_cnt[network] == case.choice(network).expgol_cnt._asdict()


def grid_around_the_choices(case: Case) -> dict[str, list[QStepPair]]:
    """Per network the reference's choice, and of the pairs before and after it a few, in grid order."""
    grid = {}
    for network in case.networks:
        pairs = case.pairs(network)
        chosen = pairs.index(case.choice(network).q_step)
        grid[network] = [pairs[0], *pairs[max(1, chosen - 3) : chosen + 4], *pairs[chosen + 4 :: 40]]
    return grid


@pytest.fixture(scope="module", params=CASE_5_NAMES)
def swept(request: pytest.FixtureRequest) -> tuple[Case, ReferenceSweep]:
    case = load_case(request.param, CASES_5)
    return case, reference_sweep(case.frame_encoder, case.frame, case.manager, grid_around_the_choices(case))


def test_the_plain_reference_measures_what_the_reference_did(swept: tuple[Case, ReferenceSweep]) -> None:
    case, sweep = swept
    found = to_table(sweep.measurements)
    expected = found[["module", "q_step_weight", "q_step_bias"]].merge(case.table, how="left")

    assert found[EXACT].equals(expected[EXACT])
    ok = (found.status == "ok").to_numpy()
    for column, tolerance in (("rate_latent_bit", 1e-5), ("mse", 1e-4), ("loss", 1e-4)):
        assert abs(found[column][ok] / expected[column][ok] - 1).max() < tolerance, column
    assert sweep.choices == case.choices()
    assert_quantized(case.frame_encoder.state_dict(), case)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("mode", ["full", "winner"])
def test_a_job_with_frames_of_both_families_gives_the_tables_of_both(tmp_path: Path, mode: str) -> None:
    cases = {"three": load_case("coffee_64x96_yuv420"), "five": load_case("coffee_64x96_yuv420_lop", CASES_5)}
    entries = []
    for frame_id, case in cases.items():
        (frame,) = case.folder.glob("frame*")
        linked = tmp_path / f"{frame_id}{frame.name.removeprefix('frame')}"
        linked.symlink_to(frame)
        entries.append({"frame": str(linked), "encoder": str(case.folder / "encoder.safetensors")})
    config = tmp_path / "job.yaml"
    settings = {"frames": entries, "out": "out", "sweep": {"mode": mode}, "ray": {"replicas": 1}}
    config.write_text(yaml.safe_dump(settings))
    job, tallies = load_job(config), []

    def display(tally: Tally) -> nullcontext[Lines]:
        tallies.append(tally)
        return nullcontext(Lines(tally))

    outcome = run_job(job, Results(job), display)

    assert (outcome.of("done").num_rows, outcome.of("failed").num_rows) == (2, 0)
    assert tallies[0].pairs == tallies[0].n_pairs == 491 + 644
    table = read_rd_table(str(tmp_path / "out"))
    agrees = assert_conforms if mode == "full" else assert_agrees_with_pruned
    for frame_id, rows in table.groupby("frame", observed=True):
        case = next(case for name, case in cases.items() if str(frame_id).startswith(name))
        agrees(rows.reset_index(drop=True), case.table)
        content = (tmp_path / "out" / "quantized" / f"{frame_id}.safetensors").read_bytes()
        encoder, manager = parse_frame_encoder(content, "")
        assert_quantized(encoder.state_dict(), case)
        assert manager.lmbda == case.manager.lmbda
        prefixes = [spec.prefix for spec in encoder.networks]
        assert [encoder.nn_q_step[prefix] for prefix in prefixes] == [
            case.choice(network).q_step._asdict() for network in case.networks
        ]
