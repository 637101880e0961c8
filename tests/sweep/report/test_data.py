"""What the figures are drawn from: the tables' numbers, and nothing that JSON does not know."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from sweep import pareto_front, read_frames, read_rd_table
from sweep.report import frame_data, job_data
from sweep.results import CHOICES, Storage, read_table
from sweep.results.timeline import TIMELINE
from tests.sweep.ended import STEPS
from tests.sweep.report.jobs import real_job, small_job
from workers.candidates import RESIDUE


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> str:
    return real_job(tmp_path_factory.mktemp("real")).config.out


def test_pairs_of_many_frames_are_those_of_each(out: str) -> None:
    frames = read_frames(out).query("status == 'done'")
    pixels = (frames.width * frames.height).astype(int).to_dict()
    together = frame_data.pairs(read_rd_table(out, frames=list(frames.index)), pixels)
    assert len(together) == 3 * 3
    for frame in frames.index:
        rows = read_rd_table(out, frames=[frame])
        for (_, coolchic, module), columns in frame_data.pairs(rows, pixels).items():
            assert together[frame, coolchic, module] == columns
            of_module = rows[rows.module == module]
            assert columns["loss"] == [None if math.isnan(loss) else loss for loss in of_module.loss]
            assert sum(columns["front"]) == len(pareto_front(of_module))
            ok = of_module[of_module.status == "ok"]
            measured = pd.DataFrame(columns)[lambda cells: cells.status == "ok"].astype(float, errors="ignore")
            rate_bit = ok.rate_latent_bit + ok.rate_nn_bit.astype(float)
            assert measured.bpp.tolist() == pytest.approx((rate_bit / pixels[frame]).tolist(), rel=1e-8)
            assert measured.psnr_db.tolist() == pytest.approx(ok.psnr_db.tolist())
            assert measured.nn_bit.tolist() == (ok.rate_weight_bit + ok.rate_bias_bit).tolist()
            assert columns["mark"].count("chosen") == 1
            assert min(excess for excess in columns["excess"] if excess is not None) == 0
    json.dumps(list(together.values()), allow_nan=False)


def test_what_won_on_the_edge_of_the_grid_is_warned_of(tmp_path: Path) -> None:
    out = small_job(tmp_path, ["a", "b"]).config.out
    winners = frame_data.winners(read_rd_table(out))
    assert winners["a", RESIDUE, "upsampling"]["warnings"] == [], "there is one step of each kind: that is no edge"
    assert [text.partition(" of the grid")[0] for text in winners["a", RESIDUE, "synthesis"]["warnings"]] == [
        "The bias step that won is the finest"
    ]
    choices = read_table(Storage(out), "choices.parquet").to_pandas()
    edges = job_data.edges(choices, {}, STEPS)
    assert {"parameters": "synthesis biases", "edge": "finest", "step": -2, "frames": 2} in edges
    assert all(edge["parameters"] != "upsampling weights" for edge in edges)


def chosen_of(frame: str, coolchic: str, module: str, weight: float) -> dict[str, object]:
    pair = {"q_step_weight": weight, "q_step_bias": 2.0**-6, "expgol_cnt_weight": 3, "expgol_cnt_bias": 4}
    return {"frame": frame, "coolchic": coolchic, "module": module} | pair


def test_the_edge_of_the_grid_is_that_of_each_frame_s_family(monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(family: str) -> dict[str, dict[str, list[float]]]:
        weights = {"coolchic-3.4": [0.25, 0.5], "other": [0.125, 0.5, 1.0]}.get(family)
        return {} if weights is None else {"arm": {"weight": weights, "bias": [2.0**-6]}}

    monkeypatch.setattr(job_data, "default_steps", steps)
    frames = {"a": "coolchic-3.4", "b": "other", "c": "other", "d": "of a plugin", "e": None}
    choices = pd.DataFrame(
        [chosen_of(frame, "residue", "arm", 0.5) for frame in "abde"] + [chosen_of("c", "residue", "arm", 0.125)]
    )
    assert job_data.edges(choices, frames, {}) == [
        {"parameters": "arm weights", "edge": "finest", "step": -3, "frames": 1},
        {"parameters": "arm weights", "edge": "coarsest", "step": -1, "frames": 2},
    ]
    given = {"arm": {"weight": [0.125, 1.0], "bias": [1.0]}}
    (edge,) = job_data.edges(choices, frames, given)
    assert (edge["step"], edge["frames"]) == (-3, 1)
    given["residue.arm"] = {"weight": [0.5, 1.0], "bias": [1.0]}
    (edge,) = job_data.edges(choices, frames, given)
    assert (edge["edge"], edge["frames"]) == ("finest", 4)


def test_a_picture_with_encoders_of_two_families_has_a_curve_for_each() -> None:
    frames = pd.concat([frames_of(1).assign(family=family) for family in (None, "coolchic-5")])
    assert [point["picture"] for point in job_data.points(frames)] == [
        *["0.png (coolchic-3.4)"] * 2,
        *["0.png (coolchic-5)"] * 2,
    ]
    assert {point["picture"] for point in job_data.points(frames[2:])} == {"0.png"}


def test_networks_of_different_coolchics_are_kept_apart(tmp_path: Path) -> None:
    out = small_job(tmp_path, ["a"]).config.out
    rows = read_rd_table(out)
    moved = rows.assign(coolchic=pd.Categorical(["motion"] * len(rows)), loss=rows.loss * 2)
    both = pd.concat([rows, moved]).astype({"frame": "category", "coolchic": "category", "module": "category"})
    pairs, winners = frame_data.pairs(both, {"a": 200}), frame_data.winners(both)
    assert set(pairs) == {("a", coolchic, module) for coolchic in ("residue", "motion") for module in STEPS}
    for module in STEPS:
        assert len(pairs["a", "motion", module]["loss"]) == len(pairs["a", "residue", module]["loss"])
        assert pairs["a", "motion", module]["excess"] == pairs["a", "residue", module]["excess"]
        assert winners["a", "motion", module]["loss"] == 2 * winners["a", "residue", module]["loss"]
    choices = pd.DataFrame([chosen_of("a", "residue", "arm", 0.5), chosen_of("a", "motion", "arm", 0.25)])
    shown = pd.DataFrame(job_data.chosen(choices))
    assert list(dict.fromkeys(shown.parameters)) == [
        "arm weights",
        "arm biases",
        "motion.arm weights",
        "motion.arm biases",
    ]


def test_every_frame_is_counted_once_for_each_kind_of_parameters(out: str) -> None:
    chosen = pd.DataFrame(job_data.chosen(read_table(Storage(out), "choices.parquet").to_pandas()))
    assert chosen.groupby("parameters").frames.sum().tolist() == [3] * 6
    assert set(range(chosen.exponent.min(), chosen.exponent.max() + 1)) == set(chosen.exponent)
    assert job_data.chosen(CHOICES.empty_table().to_pandas()) == []


def frames_of(n_pictures: int, weights: tuple[float, ...] = (0.001, 0.01)) -> pd.DataFrame:
    rows = [
        {
            "path": f"/data/{n // 3}/{n}.png",
            "status": "done",
            "lmbda": lmbda,
            "rate_latent_bpp": 1.0 + n,
            "rate_nn_bpp": 0.5,
            "psnr_db": 30.0 + n,
        }
        for n in range(n_pictures)
        for lmbda in weights
    ]
    return pd.DataFrame(rows)


def test_of_many_pictures_the_mean_and_the_first_have_curves() -> None:
    n = job_data.MAX_PICTURES + 2
    points = pd.DataFrame(job_data.points(frames_of(n)))
    assert points.picture.nunique() == job_data.MAX_PICTURES + 1
    mean = points[points.picture == "mean of the pictures"]
    assert mean.bpp.tolist() == pytest.approx([1.5 + (n - 1) / 2] * 2)
    assert job_data.points(frames_of(3, (0.001,))) == []
    assert {point["picture"] for point in job_data.points(frames_of(2))} == {"0.png", "1.png"}


def test_frames_of_one_file_are_different_pictures() -> None:
    frames = frames_of(2).assign(path="/a/x.yuv", frame_index=[0.0, 0.0, 12.0, 12.0])
    assert {point["picture"] for point in job_data.points(frames)} == {"x.yuv frame 0", "x.yuv frame 12"}
    assert {point["picture"] for point in job_data.points(frames.assign(frame_index=None))} == {"x.yuv"}


def test_pictures_of_one_name_are_told_apart() -> None:
    frames = frames_of(2).assign(path=["/a/x.png", "/a/x.png", "/b/x.png", "/b/x.png"])
    assert {point["picture"] for point in job_data.points(frames)} == {"/a/x.png", "/b/x.png"}


def timeline_of(*runs: int) -> pd.DataFrame:
    """Runs of so many spans of a second each, with two replicas, one of which is at work."""
    rows = [
        {"run": run, "time": pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(days=run, seconds=n)}
        | {"seconds": 1.0, "available_seconds": 2.0, "arm_seconds": 1.0}
        for run, n_spans in enumerate(runs)
        for n in range(n_spans)
    ]
    return pd.DataFrame(rows, columns=TIMELINE.names).fillna(0.0)


def test_a_timeline_of_any_length_is_a_few_bars_and_the_time_between_runs_is_left_out() -> None:
    for runs in ((1,), (3, 2), (500, 7)):
        spans = pd.DataFrame(job_data.spans(timeline_of(*runs)))
        arm, there = spans[spans.stage == "arm"], spans[spans.stage.isna()]
        assert len(arm) == len(there) <= len(runs) * job_data.MAX_SPANS
        assert arm.replicas.tolist() == pytest.approx([1.0] * len(arm))
        assert there.replicas.tolist() == pytest.approx([2.0] * len(there))
        assert arm.begin.tolist() == pytest.approx([0.0, *arm.end[:-1]])
        assert arm.end.iloc[-1] == 1000 * sum(runs)
    stages = job_data.stages(timeline_of(3, 2))
    assert stages == [{"stage": "arm", "seconds": 5.0, "share": 1.0}]
    assert job_data.spans(timeline_of()) == job_data.stages(timeline_of()) == []
