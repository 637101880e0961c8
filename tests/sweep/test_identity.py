"""What a job is when it resumes: frames that changed, moved, came or went, and other weights of the rate."""

import logging
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
import yaml
from PIL import Image

from sweep import read_frames, read_rd_table
from sweep.config import load_job
from sweep.driver import Observers
from sweep.job import run_on
from sweep.results import Results, read_status
from sweep.schedule import Call, CallDone, Fit
from tests.sweep.ended import INFO, N_PAIRS, STEPS
from tests.sweep.test_job import Replicas
from workers.errors import ResultsError
from workers.files import Fingerprint, digest_of, file_stamp, read_bytes


class Reading(Replicas):
    """Replicas that answer at once, with what tells whether the files of a frame are still the same."""

    def __init__(self) -> None:
        super().__init__(1)
        self.fits: list[str] = []

    def submit(self, call: Call, source: Any, fit: Any) -> None:
        super().submit(call, source, fit)
        if isinstance(call.work, Fit):
            self.fits.append(call.frame)
            checkpoint = safetensors.torch.save(
                {"x": torch.zeros(1)}, {"fitted_frame": source.read_frame().file.digest}
            )
            self._events[-1] = CallDone(call.id, checkpoint, 0.0)
        elif self._events[-1].answer is INFO:  # type: ignore[union-attr]
            path = source.encoder_name
            encoder = path and Fingerprint(file_stamp(path), digest_of(read_bytes(path)))
            info = INFO._replace(
                lmbda=source.lmbda or 0.01, frame_file=source.read_frame().file, encoder_file=encoder or None
            )
            self._events[-1] = CallDone(call.id, info, 0.0)


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    Image.fromarray(samples).save(path)


class Folder:
    """A folder with a configuration, pictures and, once it has run, results."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        (path / "e.safetensors").write_bytes(b"an encoder")

    def run(self, frames: list[Any], **changes: Any) -> Reading:
        """Run the job, and give the replicas that did it."""
        content = {"frames": frames, "out": "out", "grid": {**STEPS}} | changes
        (self.path / "job.yaml").write_text(yaml.safe_dump(content))
        job, replicas = load_job(self.path / "job.yaml"), Reading()
        results = Results(job)
        with results.claimed():
            if results.n_unfinished:
                run_on(replicas, job, results, lambda _: nullcontext(Observers([])))
            results.write_summary()
        return replicas

    @property
    def out(self) -> Path:
        return self.path / "out"

    @property
    def manifest(self) -> pd.DataFrame:
        return pq.read_table(self.out / "manifest.parquet").to_pandas().set_index("id")

    def rows_of(self, frame: str) -> Path:
        return self.out / "rd_table" / f"frame={frame}" / "part-0.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "job")
    for seed, name in enumerate("abc"):
        picture(made.path / f"{name}.png", seed)
    return made


def entry(name: str, **changes: Any) -> dict[str, Any]:
    return {"frame": f"{name}.png", "encoder": "e.safetensors"} | changes


AB = [entry("a"), entry("b")]


def test_a_job_that_is_done_does_nothing_the_second_time(folder: Folder) -> None:
    assert folder.run(AB).begun == ["a", "b"]
    assert folder.run(AB).begun == []
    assert (folder.path / "a.png").stat()
    manifest = folder.manifest
    assert manifest.frame_digest["a"] == digest_of((folder.path / "a.png").read_bytes())
    assert manifest.encoder_digest["a"] == digest_of(b"an encoder")
    assert list(manifest.arithmetic) == [1, 1]


def test_a_picture_that_is_replaced_by_its_mirror_image_is_measured_again_and_said_so(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.run(AB)
    path = folder.path / "a.png"
    before = path.stat()
    with Image.open(path) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    caplog.set_level(logging.WARNING)
    assert folder.run(AB).begun == ["a"]
    assert "frame a: its picture has changed since its results were made; it is done again" in caplog.text
    assert before.st_mtime_ns != path.stat().st_mtime_ns
    assert folder.run(AB).begun == []
    assert len(read_rd_table(folder.out)) == 2 * N_PAIRS


def test_an_encoder_that_is_replaced_under_its_path_is_swept_again(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.run(AB)
    (folder.path / "e.safetensors").write_bytes(b"a new one")
    assert folder.run(AB).begun == ["a", "b"]
    assert "frame b: its encoder has changed" in caplog.text
    (folder.path / "f.safetensors").write_bytes(b"another")
    assert folder.run([entry("a", encoder="f.safetensors"), entry("b")]).begun == ["a"]
    (folder.path / "g.safetensors").write_bytes(b"another")
    assert folder.run([entry("a", encoder="g.safetensors"), entry("b")]).begun == [], "the same under another name"


def test_a_file_that_was_only_touched_or_copied_is_the_same(folder: Folder) -> None:
    folder.run(AB)
    content = (folder.path / "a.png").read_bytes()
    (folder.path / "a.png").unlink()
    (folder.path / "a.png").write_bytes(content)
    assert folder.run(AB).begun == []


def test_results_stay_where_the_pictures_are_gone(folder: Folder) -> None:
    folder.run(AB)
    (folder.path / "a.png").unlink()
    assert folder.run(AB).begun == []


def test_a_job_whose_arithmetic_has_a_new_version_is_measured_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder.run(AB)
    for module in ("sweep.results.changes", "sweep.results.table"):
        monkeypatch.setattr(f"{module}.ARITHMETIC", 2)
    assert folder.run(AB).begun == ["a", "b"]
    assert "it was measured by version 1 of the arithmetic, which is 2 now" in caplog.text


@pytest.mark.parametrize("absolute", [False, True])
def test_a_folder_that_was_moved_with_pictures_and_results_goes_on(
    folder: Folder, tmp_path: Path, absolute: bool
) -> None:
    def frames(of: Folder) -> list[Any]:
        base = of.path if absolute else Path()
        return [entry(name, frame=str(base / f"{name}.png")) for name in "ab"]

    folder.run(frames(folder))
    shutil.move(folder.path, tmp_path / "elsewhere" / "deeper")
    moved = Folder(tmp_path / "elsewhere" / "deeper")
    assert moved.run(frames(moved)).begun == []
    assert moved.run([*frames(moved), entry("c")]).begun == ["c"]
    assert list(moved.manifest.frame) == [str(moved.path / f"{name}.png") for name in "abc"]
    assert read_frames(moved.out).path["a"] == str(moved.path / "a.png")


def test_pictures_alone_that_were_moved_are_known_by_their_content(folder: Folder) -> None:
    folder.run(AB)
    (folder.path / "set").mkdir()
    for name in "ab":
        (folder.path / f"{name}.png").rename(folder.path / "set" / f"{name}.png")
    picture(folder.path / "other" / "a.png", 9)
    frames = [entry("set/a"), entry("set/b"), entry("other/a")]
    assert folder.run(frames).begun == ["a-1"], "a picture of the same name and other content is a new frame"
    assert list(folder.manifest.index) == ["a", "b", "a-1"]


def test_frames_that_are_added_take_free_ids_and_leave_those_that_are_there(folder: Folder) -> None:
    folder.run(AB)
    picture(folder.path / "more" / "a.png", 5)
    rows = folder.rows_of("a").read_bytes()
    assert folder.run([entry("more/a"), *AB, entry("c")]).begun == ["a-1", "c"]
    assert list(folder.manifest.index) == ["a-1", "a", "b", "c"]
    assert folder.rows_of("a").read_bytes() == rows
    assert list(read_frames(folder.out).index) == ["a-1", "a", "b", "c"]


def test_a_frame_that_is_left_out_keeps_its_results_and_is_there_again_when_it_is_added(folder: Folder) -> None:
    folder.run(AB)
    assert folder.run([entry("a")]).begun == []
    assert list(read_frames(folder.out).index) == ["a"]
    assert set(read_rd_table(folder.out).frame) == {"a"}
    assert "1 of 1 frames done" in read_status(str(folder.out))
    assert list(folder.manifest.in_job) == [True, False]
    assert len(read_rd_table(folder.out, frames=["b"])) == N_PAIRS, "who asks for it by name gets it"
    picture(folder.path / "new" / "b.png", 7)
    assert folder.run([entry("a"), entry("new/b")]).begun == ["b-1"], "its id is never another frame's"
    assert folder.run([entry("a"), entry("b")]).begun == []
    assert set(read_rd_table(folder.out).frame) == {"a", "b"}


def test_a_weight_that_becomes_a_list_keeps_what_is_there(folder: Folder) -> None:
    folder.run([entry("a", lmbda=0.001)])
    frames = [entry("a", lmbda=[0.0004, 0.001, 0.004])]
    assert folder.run(frames).begun == ["a@0.0004", "a@0.004"]
    assert list(folder.manifest.index) == ["a@0.0004", "a", "a@0.004"]
    assert list(read_frames(folder.out).lmbda) == [0.0004, 0.001, 0.004]
    assert folder.run(frames).begun == []
    assert folder.run([entry("a", lmbda=0.001)]).begun == [], "and back"
    assert folder.run([entry("a", lmbda=0.02)]).begun == ["a@0.02"]


def test_the_weight_of_the_encoder_itself_may_be_written_down_later(folder: Folder) -> None:
    folder.run([entry("a")])
    assert folder.run([entry("a", lmbda=[0.01, 0.02])]).begun == ["a@0.02"]


def test_another_weight_for_fits_fits_what_is_new(folder: Folder) -> None:
    assert folder.run(["a.png"], fit={"lmbda": 0.001}).fits == ["a"]
    assert folder.run(["a.png"], fit={"lmbda": [0.001, 0.01]}).fits == ["a@0.01"]
    assert folder.run(["a.png", "b.png"], fit={"lmbda": [0.001, 0.01]}).fits == ["b@0.001", "b@0.01"]
    with pytest.raises(ResultsError, match=r"holds the results of another job \(fit.seed: 0 there, 1 here\)"):
        folder.run(["a.png"], fit={"seed": 1})


def test_a_fit_to_a_picture_that_was_replaced_since_is_made_again(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.run(["a.png", "b.png"])
    for name in "ab":
        folder.rows_of(name).unlink()
    picture(folder.path / "a.png", 77)
    assert folder.run(["a.png", "b.png"]).fits == ["a"]
    assert "frame a: the picture that its encoder was fitted to has changed" in caplog.text


def test_a_frame_gets_an_encoder_or_loses_it(folder: Folder) -> None:
    assert folder.run(["a.png"]).fits == ["a"]
    replicas = folder.run([entry("a", lmbda=0.001)])
    assert (replicas.begun, replicas.fits) == (["a"], [])
    assert folder.run(["a.png"]).fits == ["a"]


def test_another_grid_asks_for_a_new_folder_and_touches_nothing(folder: Folder) -> None:
    folder.run(AB)
    before = {path: path.read_bytes() for path in folder.out.rglob("*") if path.is_file()}
    with pytest.raises(ResultsError, match=r"grid.arm.bias: \[0.125, 0.25\] there, \[0.25\] here.*another folder"):
        folder.run(AB, grid=STEPS | {"arm": {"weight": [0.25, 0.5], "bias": [0.25]}})
    assert {path: path.read_bytes() for path in folder.out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("content", "says"), [(None, "begun by version 0.1.0"), (3, r"begun by a later version")])
def test_a_folder_of_another_version_can_be_read_but_not_continued(
    folder: Folder, content: int | None, says: str
) -> None:
    folder.run(AB)
    path = folder.out / "job.yaml"
    written = yaml.safe_load(path.read_text())
    del written["format"]
    path.write_text(yaml.safe_dump(written if content is None else written | {"format": content}))
    with pytest.raises(ResultsError, match=says):
        folder.run(AB)
    assert len(read_rd_table(folder.out)) == 2 * N_PAIRS
    assert "2 of 2 frames done" in read_status(str(folder.out))


def test_a_table_of_a_later_version_is_refused_by_name(folder: Folder) -> None:
    folder.run(AB)
    for path, read in (
        (folder.rows_of("a"), read_rd_table),
        (folder.out / "frames.parquet", read_frames),
        (folder.out / "manifest.parquet", lambda out: read_status(str(out))),
    ):
        table = pq.read_table(path, partitioning=None)
        assert table.schema.metadata[b"qsweep.format"] == b"2"
        later = table.replace_schema_metadata({**table.schema.metadata, b"qsweep.format": b"3"})
        pq.write_table(later, path)
        with pytest.raises(
            ResultsError, match=rf"{path.name}: was written by a later version \(format 3; known: up to 2\)"
        ):
            read(folder.out)
