"""Questions to the tables of a job, in pandas and in SQL."""

import doctest
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep import choose_at, compare_jobs, cost_of_steps, pareto_front, read_frames, read_rd_table
from sweep.results import Results, analysis
from tests.cases import CASE_5_NAMES, CASE_NAMES, CASES, CASES_5, load_case
from tests.sweep.ended import N_PAIRS, done, failed, make_job
from workers.errors import ResultsError

BOTH = [*((name, CASES) for name in CASE_NAMES), *((name, CASES_5) for name in CASE_5_NAMES)]


def case_table(name: str, cases: Path = CASES) -> pd.DataFrame:
    """What the reference measured, as a job's table."""
    return load_case(name, cases).table.assign(frame=name)


def case_frames(name: str, cases: Path = CASES) -> pd.DataFrame:
    height, width = load_case(name, cases).frame.img_size
    return pd.DataFrame({"height": [height], "width": [width]}, index=pd.Index([name], name="frame"))


def write_job(folder: Path, names: list[str]) -> str:
    job = make_job(folder, [*names, "bad"])
    results = Results(job)
    for name in names:
        results.write_frame(done(name))
    results.write_frame(failed("bad"))
    results.write_summary()
    return job.config.out


def test_the_examples_in_the_docstrings_are_real() -> None:
    assert doctest.testmod(analysis).failed == 0


@pytest.mark.parametrize(("name", "cases"), BOTH, ids=lambda given: given if isinstance(given, str) else given.name)
def test_at_the_weight_of_the_job_what_was_chosen_is_chosen_again(name: str, cases: Path) -> None:
    table = case_table(name, cases)
    lmbda = load_case(name, cases).manager.lmbda
    chosen = choose_at(table, case_frames(name, cases), lmbda)
    assert chosen.chosen.all()
    expected = table[table.chosen]
    assert chosen.module.tolist() == expected.module.tolist()
    np.testing.assert_allclose(chosen.loss, expected.loss, rtol=1e-6)


def test_a_greater_weight_of_the_rate_never_chooses_more_of_it() -> None:
    name = CASE_NAMES[0]
    table, frames = case_table(name), case_frames(name)
    choices = [choose_at(table, frames, lmbda) for lmbda in (0.0, 1e-4, 1e-3, 1e-2, 1.0)]
    bits = np.array([(choice.rate_nn_bit + choice.rate_latent_bit).tolist() for choice in choices], dtype=float)
    assert (np.diff(bits, axis=0) <= 0).all()
    least = table[table.status == "ok"].groupby("module").mse.min().tolist()
    assert choices[0].mse.tolist() == least, "at no weight at all the least distortion wins"


@given(
    points=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 6), st.integers(0, 6), st.sampled_from(["ok", "overflow"])),
        max_size=30,
    )
)
def test_no_pair_of_a_front_is_beaten_and_every_other_is(points: list[tuple[str, int, int, str]]) -> None:
    table = pd.DataFrame(points, columns=["frame", "rate_latent_bit", "mse", "status"])
    table = table.assign(module="arm", rate_nn_bit=7)
    front = pareto_front(table)
    for index, (frame, rate, mse, status) in enumerate(points):
        same = [(r, m) for f, r, m, s in points if s == "ok" and f == frame]
        beaten = any(r <= rate and m <= mse and (r, m) != (rate, mse) for r, m in same)
        on_front = front[(front.frame == frame) & (front.rate_latent_bit == rate) & (front.mse == mse)]
        if index in front.index:
            assert status == "ok"
            assert not beaten
        assert len(on_front) == int(not beaten and (rate, mse) in same)


@pytest.mark.parametrize("kind", ["weight", "bias"])
def test_the_cost_of_a_step_is_that_of_its_best_pair(kind: str) -> None:
    table = case_table(CASE_NAMES[0])
    costs = cost_of_steps(table, kind)
    for row in costs.itertuples():
        same = table[(table.module == row.module) & (table.status == "ok")]
        best = same.loc[same.loss.idxmin()]
        with_step = same[same[f"q_step_{kind}"] == getattr(row, f"q_step_{kind}")]
        pair = with_step.loc[with_step.loss.idxmin()]
        assert row.excess == pytest.approx(pair.loss / best.loss - 1)
        saved = best.rate_weight_bit + best.rate_bias_bit - pair.rate_weight_bit - pair.rate_bias_bit
        assert row.saved_bit == saved
    assert (costs.groupby("module").excess.min() == 0).all()
    with pytest.raises(ValueError, match="kind: accepted: weight, bias; found 'both'"):
        cost_of_steps(table, "both")


def test_two_jobs_are_compared_frame_by_frame(tmp_path: Path) -> None:
    first, second = write_job(tmp_path / "1", ["a", "b"]), write_job(tmp_path / "2", ["b", "c"])
    both = compare_jobs(first, second)
    assert both.index.tolist() == ["b"]
    assert both.loc["b", "loss_diff"] == 0
    assert both.loc["b", "psnr_db_1"] == read_frames(second).loc["b", "psnr_db"]
    assert read_frames(first).status.to_dict() == {"a": "done", "b": "done", "bad": "failed"}
    with pytest.raises(ResultsError, match="no such file"):
        compare_jobs(first, tmp_path / "nothing")


def test_columns_of_a_comparison_may_come_in_any_form(tmp_path: Path) -> None:
    out = write_job(tmp_path, ["a"])
    expected = compare_jobs(out, out, ["mse", "loss"])
    assert list(expected.columns) == ["mse_1", "mse_2", "mse_diff", "loss_1", "loss_2", "loss_diff"]
    for columns in (pd.Index(["mse", "loss"]), np.array(["mse", "loss"]), (name for name in ("mse", "loss"))):
        pd.testing.assert_frame_equal(compare_jobs(out, out, columns), expected)
    assert list(compare_jobs(out, out, pd.Index([])).columns) == []
    for wrong, message in (("loss", "found the text 'loss'"), (["bpp"], "found bpp"), (["status"], "found status")):
        with pytest.raises(ValueError, match=f"^columns: .*{message}"):
            compare_jobs(out, out, wrong)


def test_sql_reads_the_folder_as_it_is(tmp_path: Path) -> None:
    out = write_job(tmp_path, ["a", "b"])
    query = f"""
        select frame, module, min(loss) as loss, count(*) as n from '{out}/rd_table/*/part-0.parquet'
        where status = 'ok' group by all order by all
    """
    found = duckdb.sql(query).df()
    table = read_rd_table(out)
    expected = table[table.status == "ok"].groupby(["frame", "module"], observed=True).loss.agg(["min", "size"])
    assert found.loss.tolist() == expected["min"].tolist()
    assert found.n.tolist() == expected["size"].tolist()
    assert found.n.sum() == 2 * (N_PAIRS - 2)


def test_a_frame_that_the_table_of_frames_does_not_have_yet_is_left_out(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b"])
    results = Results(job)
    results.write_frame(done("a"))
    results.write_summary()
    results.write_frame(done("b"))
    chosen = choose_at(read_rd_table(job.config.out), read_frames(job.config.out), 0.01)
    assert set(chosen.frame) == {"a"}


def test_what_an_earlier_version_did_not_write_is_null(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    results = Results(job)
    results.write_frame(done("a"))
    results.write_summary()
    path = Path(job.config.out) / "frames.parquet"
    pd.read_parquet(path).drop(columns=["rate_grid_bit", "file_bytes"]).to_parquet(path)
    frames = read_frames(job.config.out)
    assert frames.file_bytes.isna().all()
    assert frames.loc["a", "psnr_db"] > 0
