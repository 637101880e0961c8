"""Jobs whose choices are refined: what is written, what is done again, and what is kept when things are killed."""

import json
import os
import signal
import subprocess
import sys
import zlib
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors
import yaml

import sweep.search.refine.factory
from sweep import (
    choose_at,
    make_grid,
    quantize_model,
    read_choices,
    read_frames,
    read_rd_table,
    read_refined,
    read_trials,
    sweep_frame,
)
from sweep.config import load_job
from sweep.driver import LocalPool, Observers
from sweep.job import run_on
from sweep.results import Results, read_status, refining
from sweep.results.refining import KeptRefinements
from sweep.schedule import Call, CallDone, CallFailed
from tests.cases import CASES, load_case
from tests.sweep.search import toy_refinement
from tests.sweep.search.toy_refinement import SLOW_PASSES
from tests.waiting import LONG_SECONDS, wait_until
from workers.bitstream import decode_frame, encode_frame
from workers.codec import read_frame, read_frame_encoder
from workers.errors import ConfigError, InputError, ReplicaError
from workers.objective.loss import loss_function, mean_squared_error
from workers.reference import measure_choices
from workers.replica import Replica

REPOSITORY = Path(__file__).parents[2]
CASE = CASES / "astronaut_64x96_lop"
GRID: dict[str, dict[str, list[float]]] = {
    "arm": {"weight": [0.125, 0.25], "bias": [0.125, 0.25]},
    "synthesis": {"weight": [0.00390625, 0.0078125], "bias": [0.00390625]},
    "upsampling": {"weight": [0.0078125, 0.015625], "bias": [1]},
}
SLOW = {"refine": "joint", "refine_passes": SLOW_PASSES}


class Works(Observers):
    """Counts the calls by what they ask for."""

    def __init__(self) -> None:
        super().__init__([])
        self.calls: Counter[str] = Counter()

    def called(self, call: Call) -> None:
        self.calls[type(call.work).__name__] += 1

    def answered(self, call: Call, event: CallDone | CallFailed) -> None: ...


class Folder:
    """A folder with a job over some frames of the same content."""

    def __init__(self, path: Path, n_frames: int = 1) -> None:
        self.path, self.out, self.config = path, path / "out", path / "job.yaml"
        self.log = path / "log.txt"
        path.mkdir(exist_ok=True)
        self.frames = [f"f{number}" for number in range(n_frames)]
        for name in self.frames:
            (path / f"{name}.png").write_bytes((CASE / "frame.png").read_bytes())

    def configure(self, sweep_: dict[str, Any], **changes: Any) -> None:
        entries = [{"frame": f"{name}.png", "encoder": str(CASE / "encoder.safetensors")} for name in self.frames]
        content = {"frames": entries, "out": "out", "grid": GRID, "sweep": sweep_} | changes
        self.config.write_text(yaml.safe_dump(content))

    def run(self, sweep_: dict[str, Any], pool: Any = None, **changes: Any) -> Counter[str]:
        """Run the job in this process, and give the calls that it took."""
        self.configure(sweep_, **changes)
        job, works = load_job(self.config), Works()
        results = Results(job)
        with results.claimed():
            if results.n_unfinished:
                run_on(pool or LocalPool(Replica("cpu")), job, results, lambda _: nullcontext(works))
            results.write_summary()
        return works.calls

    def start(self, program: str = "tests.sweep.toy_refinement_driver") -> subprocess.Popen[bytes]:
        """Begin the job on a Ray of its own, in a process of its own."""
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        command = [sys.executable, "-m", program, "run", str(self.config)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, cwd=REPOSITORY, env=environment
            )

    def wait(self, driver: subprocess.Popen[bytes]) -> None:
        assert driver.wait(LONG_SECONDS) == 0, self.log.read_text()

    def facts(self) -> dict[str, Any]:
        """All that must not depend on who did it, and when."""
        timed = ["seconds", "path", "encoder", "frame_stamp", "encoder_stamp"]
        files: dict[str, Any] = {path.name: content_of(path) for path in sorted(self.out.glob("quantized/*"))}
        files |= {path.name: path.read_bytes() for path in sorted(self.out.glob("bitstreams/*"))}
        tables = {
            "rows": read_rd_table(self.out).drop(columns=["replica", "seconds"]),
            "frames": read_frames(self.out).drop(columns=timed),
            "choices": read_choices(self.out),
            "refined": read_refined(self.out).drop(columns=["seconds"]),
            "trials": read_trials(self.out).drop(columns=["seconds"]),
        }
        return files | {name: table.to_json(orient="split", double_precision=15) for name, table in tables.items()}


def content_of(checkpoint: Path) -> tuple[dict[str, Any], bytes]:
    """Header and tensors: keys of the header are in any order."""
    content = checkpoint.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small refinement in place of the real one."""
    monkeypatch.setattr(sweep.search.refine.factory, "refinement", toy_refinement.toy_refinement)
    monkeypatch.setattr(refining, "_OWN", (*refining._OWN, toy_refinement.__name__))


# --- what is written


@pytest.mark.usefixtures("toy")
def test_tables_checkpoint_and_readers_tell_what_refinement_made_of_the_choices(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.run({"refine": "joint"})
    choices, refined, trials = read_choices(folder.out), read_refined(folder.out), read_trials(folder.out)
    frames, table = read_frames(folder.out), read_rd_table(folder.out)
    assert list(refined.module) == list(choices.module)
    assert trials.groupby("module", sort=False).size().to_dict() == dict.fromkeys(choices.module, 2)
    assert list(refined.trials) == [2, 2, 2]
    steps = ["q_step_weight", "q_step_bias"]
    chosen = trials[trials.chosen]
    pd.testing.assert_frame_equal(refined[steps], chosen[steps].reset_index(drop=True))
    np.testing.assert_allclose(refined.loss_after, chosen.loss_after)
    np.testing.assert_allclose(refined.gain, refined.loss_before - refined.loss_after)
    assert (refined.gain > 0).all()
    assert (table[table.chosen].reset_index(drop=True)[steps] == choices[steps]).all(axis=None), "of the sweep"
    assert set(folder.out.glob("refining/*")) == set()

    frame_encoder, _ = read_frame_encoder(str(folder.out / "quantized" / "f0.safetensors"))
    frame, (row,) = read_frame(str(folder.path / "f0.png")), frames.itertuples()
    rate_nn_bit = int((refined.rate_weight_bit + refined.rate_bias_bit).sum())
    output = loss_function(*frame_encoder(), frame.data, row.lmbda, rate_nn_bit)
    assert row.loss == output.loss.item()
    assert row.mse == output.mse.item()
    assert row.rate_nn_bpp == rate_nn_bit / (row.width * row.height)
    assert row.loss == pytest.approx(refined.loss_after.iloc[-1], rel=1e-6)
    assert row.refine == "joint passes=3 tolerance=0.001"
    with safetensors.safe_open(folder.out / "quantized" / "f0.safetensors", "pt") as checkpoint:
        metadata = checkpoint.metadata()
    for of_network in refined.itertuples():
        for kind in ("weight", "bias"):
            step = getattr(of_network, f"q_step_{kind}")
            assert float(metadata[f"q_step.{of_network.module}.{kind}"]) == step
            count = getattr(of_network, f"expgol_cnt_{kind}")
            assert int(metadata[f"expgol_cnt.{of_network.module}.{kind}"]) == count

    best = choose_at(table, frames, row.lmbda).set_index("module")
    assert (best[steps] == choices.set_index("module")[steps]).all(axis=None), "pairs as the sweep measured them"


@pytest.mark.usefixtures("toy")
def test_a_bitstream_has_the_refined_bits_and_decodes_to_the_reported_picture(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.run({"refine": "joint"}, bitstream=True, fit={"iterations": {"phase_3": 5}})
    (row,) = read_frames(folder.out).itertuples()
    refined = read_refined(folder.out)
    decoded = decode_frame((folder.out / "bitstreams" / "f0.qsw").read_bytes())
    assert mean_squared_error(decoded.data, read_frame(str(folder.path / "f0.png")).data).item() == row.mse
    n_bits = int((refined.rate_weight_bit + refined.rate_bias_bit).sum())
    assert row.rate_nn_bpp == n_bits / (row.width * row.height)
    assert 0 <= 8 * row.file_nn_bytes - n_bits < 64, "and what the steps and counts take"


def test_the_real_refinement_is_never_worse_than_the_sweep_and_its_file_says_the_same(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.run({})
    (greedy,) = read_frames(folder.out).itertuples()
    assert folder.run({"refine": "rdoq"})["Measure"] == 0
    (row,) = read_frames(folder.out).itertuples()
    refined, trials = read_refined(folder.out), read_trials(folder.out)
    assert row.loss < greedy.loss
    assert refined.gain.sum() == pytest.approx(greedy.loss - row.loss, rel=1e-2), "gains add up"
    assert (refined.loss_before - refined.loss_after).sum() == pytest.approx(refined.gain.sum(), rel=1e-6)
    steps = ["q_step_weight", "q_step_bias"]
    assert (refined[steps] == read_choices(folder.out)[steps]).all(axis=None), "integers alone"
    assert (trials["pass"] == 0).all()

    frame_encoder, _ = read_frame_encoder(str(folder.out / "quantized" / "f0.safetensors"))
    encoded = encode_frame(frame_encoder)
    n_bits = int((refined.rate_weight_bit + refined.rate_bias_bit).sum())
    assert 0 <= 8 * encoded.sizes.networks - n_bits < 64, "and what the steps and counts take"
    decoded = decode_frame(encoded.content)
    picture = read_frame(str(folder.path / "f0.png"))
    assert mean_squared_error(decoded.data, picture.data).item() == pytest.approx(row.mse, rel=1e-3)


@pytest.mark.usefixtures("toy")
def test_quantize_model_refines_on_request_alone() -> None:
    losses = {}
    for refine in ("off", "joint"):
        case = load_case(CASE.name)
        options: dict[str, Any] = {"grid": make_grid(GRID), "refine": refine}
        swept = sweep_frame(case.frame_encoder, case.frame, case.manager, **options)
        assert (swept.refined == swept.choices) == (refine == "off")
        frame_encoder = quantize_model(case.frame_encoder, case.frame, case.manager, **options)
        assert frame_encoder.nn_q_step == {
            name.split(".")[1]: c.q_step._asdict() for name, c in swept.refined.items()
        }
        losses[refine] = measure_choices(frame_encoder, case.frame, case.manager.lmbda, swept.refined).loss
    assert losses["joint"] < losses["off"]
    with pytest.raises(InputError, match="refine: accepted: off, rdoq, joint; found 'both'"):
        quantize_model(case.frame_encoder, case.frame, case.manager, refine="both")  # type: ignore[arg-type]


# --- what is done again, and what is not


@pytest.mark.usefixtures("toy")
def test_a_finished_job_is_refined_in_another_way_without_being_measured_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path, 2)
    first = folder.run({})
    assert first["Measure"] == 6
    greedy = folder.facts()
    assert not (folder.out / "refined.parquet").exists()

    refined = folder.run({"refine": "rdoq"})
    assert refined == {"Open": 2, "Refine": 12, "Quantize": 2}
    assert folder.facts()["rows"] == greedy["rows"]
    assert folder.facts()["choices"] == greedy["choices"]
    assert folder.facts()["frames"] != greedy["frames"]
    assert folder.run({"refine": "rdoq", "refine_passes": 5}) == {}, "it makes one pass"
    of_rdoq = folder.facts()

    assert folder.run({"refine": "joint", "refine_tolerance": 0.01}) == refined
    assert set(read_frames(folder.out).refine) == {"joint passes=3 tolerance=0.01"}
    assert folder.run({"refine": "rdoq"}) == refined
    assert folder.facts() == of_rdoq

    assert folder.run({}) == {"Quantize": 2}
    assert folder.facts() == greedy
    assert list(folder.out.glob("trials/*")) == []
    assert len(read_refined(folder.out)) == 0


@pytest.mark.usefixtures("toy")
def test_refined_choices_are_in_the_tables_of_a_job_that_resumes_with_more_frames_or_lost_its_tables(
    tmp_path: Path,
) -> None:
    folder = Folder(tmp_path, 2)
    folder.run({"refine": "rdoq"})
    facts = folder.facts()
    for name in ("refined", "choices", "frames"):
        (folder.out / f"{name}.parquet").unlink()
        assert folder.run({"refine": "rdoq"}) == {}
        assert folder.facts() == facts
    trials = folder.out / "trials" / "f1.parquet"
    trials.write_bytes(trials.read_bytes()[:-9])
    assert folder.run({"refine": "rdoq"}) == {"Open": 1, "Refine": 6, "Quantize": 1}, "trials that are lost"
    assert folder.facts() == facts


class Dying(Replica):
    """A replica whose driver ends in the midst of a refinement."""

    def refine(self, *arguments: Any) -> Any:
        for number, item in enumerate(super().refine(*arguments)):
            if number == 3:
                raise KeyboardInterrupt
            yield item


@pytest.mark.usefixtures("toy")
def test_a_driver_that_ended_resumes_a_refinement_where_it_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.job.SEARCH_SECONDS", 0.0)
    monkeypatch.setattr("sweep.driver.driver.SEARCH_SECONDS", 0.0)
    calm, folder = Folder(tmp_path / "calm"), Folder(tmp_path / "job")
    calm.run(SLOW)
    with pytest.raises(KeyboardInterrupt):
        folder.run(SLOW, LocalPool(Dying("cpu")))
    assert (folder.out / "refining" / "f0.state").exists()
    assert "0 of 1 frames done, 0 failed; 1 swept, 1 of them partly refined" in read_status(str(folder.out))
    kept = KeptRefinements(Results(load_job(folder.config)).storage, load_job(folder.config).config.sweep.refining)
    state = kept.read("f0")
    assert state is not None
    (piece,) = state.pieces.values()
    assert piece.measured > 0  # type: ignore[attr-defined]
    works = folder.run(SLOW)
    assert works["Measure"] == 0
    assert folder.facts() == calm.facts()
    assert not (folder.out / "refining" / "f0.state").exists()


@pytest.mark.usefixtures("toy")
def test_a_frame_whose_refinement_fails_fails_with_the_reason_and_keeps_its_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        raise ReplicaError("no memory for it")

    folder = Folder(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Replica, "refine", broken)
        assert folder.run({"refine": "rdoq"})["Measure"] == 3
    (row,) = read_frames(folder.out).itertuples()
    assert (row.status, row.error) == ("failed", "no memory for it")
    assert read_rd_table(folder.out).chosen.sum() == 3
    assert folder.run({"refine": "rdoq"}) == {"Open": 1, "Refine": 6, "Quantize": 1}
    assert (read_frames(folder.out).status == "done").all()


# --- states that are kept


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("damage", ["cut", "zeros", "evil", "bomb", "other", "version"])
def test_a_state_that_cannot_be_used_is_not_used(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sweep.job.SEARCH_SECONDS", 0.0)
    monkeypatch.setattr("sweep.driver.driver.SEARCH_SECONDS", 0.0)
    folder = Folder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        folder.run(SLOW, LocalPool(Dying("cpu")))
    path = folder.out / "refining" / "f0.state"
    content = path.read_bytes()
    magic, header, packed = content.split(b"\n", 2)
    known = json.loads(header)
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "zeros":
        content = bytes(len(content))
    elif damage == "evil":
        evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "evil").encode() + b"'\ntR."
        known |= {"bytes": len(evil), "crc": zlib.crc32(evil)}
        content = b"\n".join([magic, json.dumps(known).encode(), zlib.compress(evil)])
    elif damage == "bomb":
        content = b"\n".join([magic, header, zlib.compress(bytes(100 << 20))])
    elif damage == "version":
        content = b"\n".join([magic, json.dumps(known | {"version": "99"}).encode(), packed])
    path.write_bytes(content)
    caplog.clear()
    folder.run(SLOW | ({"refine_tolerance": 0.5} if damage == "other" else {}))
    assert not (tmp_path / "evil").exists()
    assert (read_frames(folder.out).status == "done").all()
    warned = any("is refined anew" in record.getMessage() for record in caplog.records)
    assert warned == (damage not in ("other", "version"))
    assert (
        list(folder.out.glob("damaged/refining/*")) == [folder.out / "damaged" / "refining" / "f0.state"] * warned
    )


# --- configuration


def test_off_is_read_as_it_is_written_and_other_values_are_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.configure({})
    text = folder.config.read_text()
    for written in ("off", "'off'", "false"):
        folder.config.write_text(text.replace("sweep: {}", f"sweep: {{refine: {written}}}"))
        assert load_job(folder.config).config.sweep.refining is None
    job = load_job(folder.config, ["sweep.refine=joint", "sweep.refine_passes=5", "sweep.refine_tolerance=0.01"])
    assert str(job.config.sweep.refining) == "joint passes=5 tolerance=0.01"
    for key, value in (
        ("refine", "on"),
        ("refine", "both"),
        ("refine", "1"),
        ("refine_passes", "0"),
        ("refine_passes", "1.5"),
        ("refine_tolerance", "-0.1"),
        ("refine_tolerance", "1"),
        ("refine_tolerance", ".nan"),
    ):
        with pytest.raises(ConfigError, match=rf"sweep\.{key}: accepted"):
            load_job(folder.config, [f"sweep.{key}={value}"])


# --- on Ray


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the job gives in one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep.search.refine.factory, "refinement", toy_refinement.toy_refinement)
        folder = Folder(tmp_path_factory.mktemp("calm"), 2)
        folder.run(SLOW)
        return folder.facts()


@pytest.mark.ray
@pytest.mark.parametrize("ray", [{"replicas": 1}, {"replicas": 2}, {"replicas": 2, "pairs_per_call": 1}])
def test_replicas_and_calls_change_nothing(tmp_path: Path, calm: dict[str, Any], ray: dict[str, Any]) -> None:
    folder = Folder(tmp_path, 2)
    folder.configure(SLOW, ray=ray)
    folder.wait(folder.start())
    assert folder.facts() == calm


@pytest.mark.ray
def test_a_replica_and_a_driver_that_are_killed_while_frames_are_refined(
    tmp_path: Path, calm: dict[str, Any]
) -> None:
    folder = Folder(tmp_path, 2)
    folder.configure(SLOW, ray={"replicas": 2, "tries": 1})
    driver = folder.start()
    try:
        wait_until(lambda: len(list(folder.out.glob("refining/*.state"))) == 2, folder.log.read_text)
        pids = subprocess.run(
            ["pgrep", "-s", str(driver.pid), "-f", "ReplicaActor"], capture_output=True, text=True
        )
        os.kill(int(pids.stdout.split()[0]), signal.SIGKILL)
        wait_until(lambda: "was lost" in folder.log.read_text(), folder.log.read_text)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    assert not list(folder.out.glob("rd_table/*/part-0.parquet"))
    folder.wait(folder.start())
    assert folder.facts() == calm


@pytest.mark.ray
@pytest.mark.slow
def test_the_real_refinement_gives_the_same_on_replicas(tmp_path: Path) -> None:
    here, there = Folder(tmp_path / "here", 2), Folder(tmp_path / "there", 2)
    here.run({"refine": "rdoq"})
    there.configure({"refine": "rdoq"}, ray={"replicas": 2, "pairs_per_call": 1})
    there.wait(there.start("sweep"))
    assert there.facts() == here.facts()
