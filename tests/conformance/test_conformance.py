"""Every conformance case, as the README beside them says, through every way in."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from sweep import quantize_model, read_rd_table, sweep_frame
from sweep.config import load_job
from sweep.driver import Lines, Tally
from sweep.job import run_job
from sweep.results import Results
from tests.cases import CASE_NAMES, CASES, NETWORKS, Case, load_case
from tests.conformance.agreement import assert_agrees_with_pruned, assert_conforms, assert_quantized
from workers.candidates import split_id
from workers.codec import parse_frame_encoder


def test_the_sweep_in_this_process_gives_the_reference_table(case: Case) -> None:
    sweep = sweep_frame(case.frame_encoder, case.frame, case.manager)
    assert_conforms(sweep.table, case.table)
    assert sweep.choices == case.choices()


@pytest.mark.parametrize("name", CASE_NAMES)
def test_quantize_model_keeps_the_meaning_of_the_reference(name: str) -> None:
    case = load_case(name)
    quantized = quantize_model(case.frame_encoder, case.frame, case.manager)
    assert quantized is case.frame_encoder
    assert_quantized(quantized.state_dict(), case)
    for network in NETWORKS:
        _, module = split_id(network)
        assert quantized.nn_q_step[module] == case.choice(network).q_step._asdict()
        assert quantized.nn_expgol_cnt[module] == case.choice(network).expgol_cnt._asdict()
    assert case.manager.total_training_time_sec > 0


def test_the_winner_mode_in_this_process_gives_the_reference_choices(case: Case) -> None:
    sweep = sweep_frame(case.frame_encoder, case.frame, case.manager, mode="winner")
    assert (sweep.table.status == "pruned").sum() > 100
    assert_agrees_with_pruned(sweep.table, case.table)
    assert sweep.choices == case.choices()


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_quantize_model_on_ray_gives_the_same(smallest_case: Case) -> None:
    quantize_model(smallest_case.frame_encoder, smallest_case.frame, smallest_case.manager, replicas=2)
    assert_quantized(smallest_case.frame_encoder.state_dict(), smallest_case)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("mode", "replicas", "pairs_per_call"),
    [("full", 1, "auto"), ("full", 2, 1), ("full", 2, "auto"), ("winner", 2, 10), ("winner", 2, "auto")],
)
def test_a_ray_job_over_all_cases_gives_the_reference_tables(
    tmp_path: Path, mode: str, replicas: int, pairs_per_call: int | str
) -> None:
    entries = []
    for name in CASE_NAMES:
        (frame,) = (CASES / name).glob("frame*")
        linked = tmp_path / f"{name}{frame.name.removeprefix('frame')}"
        linked.symlink_to(frame)
        entries.append({"frame": str(linked), "encoder": str(CASES / name / "encoder.safetensors")})
    config = tmp_path / "job.yaml"
    ray = {"replicas": replicas, "pairs_per_call": pairs_per_call}
    config.write_text(yaml.safe_dump({"frames": entries, "out": "out", "sweep": {"mode": mode}, "ray": ray}))
    tallies: list[Tally] = []

    def display(tally: Tally) -> nullcontext[Lines]:
        tallies.append(tally)
        return nullcontext(Lines(tally))

    job = load_job(config)
    outcome = run_job(job, Results(job), display)
    assert (outcome.of("done").num_rows, outcome.of("failed").num_rows) == (len(CASE_NAMES), 0)
    assert tallies[0].pairs == tallies[0].n_pairs == 491 * len(CASE_NAMES)
    out = tmp_path / "out"
    table = read_rd_table(str(out))
    assert len(table) == 491 * len(CASE_NAMES)
    if pairs_per_call == 1:  # the longest job: both replicas have started long before its end
        assert table.replica.nunique() == replicas
    for frame_id, rows in table.groupby("frame", observed=True):
        case = load_case(next(name for name in CASE_NAMES if str(frame_id).startswith(name)))
        agrees = assert_conforms if mode == "full" else assert_agrees_with_pruned
        agrees(rows.reset_index(drop=True), case.table)
        encoder, manager = parse_frame_encoder((out / "quantized" / f"{frame_id}.safetensors").read_bytes(), "")
        assert_quantized(encoder.state_dict(), case)
        assert manager.lmbda == case.manager.lmbda
        assert encoder.nn_q_step == {split_id(n)[1]: case.choice(n).q_step._asdict() for n in NETWORKS}
        assert encoder.nn_expgol_cnt == {split_id(n)[1]: case.choice(n).expgol_cnt._asdict() for n in NETWORKS}
