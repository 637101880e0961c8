"""The frames of a job: manifests, several lmbdas, and a list that stays small however long it is."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from sweep.config import FrameEntry, FrameItem, FrameList, Job, load_job
from sweep.config.frames import list_frames
from workers.errors import ConfigError


def load(folder: Path, frames: str) -> Job:
    path = folder / "job.yaml"
    path.write_text(f"frames: {frames}\nout: o\nfit: {{lmbda: 0.5}}")
    return load_job(path)


def items(folder: Path, frames: str) -> list[FrameItem]:
    return [item._replace(relative=None, of_list=False) for item in load(folder, frames).frames]


def error_of(folder: Path, frames: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load(folder, frames)
    return str(raised.value)


def manifest(folder: Path, text: str | bytes, name: str = "list.csv") -> None:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def memory_files() -> Iterator[fsspec.AbstractFileSystem]:
    """Files behind a URI, in this process."""
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]


# --- frames of files of several

SEQUENCE = "clip_4x2_30p_yuv420_8b.yuv"


@pytest.fixture
def sequence(folder: Path) -> str:
    (folder / SEQUENCE).write_bytes(bytes(3 * 12))
    return str(folder / SEQUENCE)


def test_a_frame_of_a_file_of_several_has_its_index_in_its_id(folder: Path, sequence: str) -> None:
    entries = f"[{{frame: {SEQUENCE}, frame_index: 2}}, {{frame: {SEQUENCE}, frame_index: 0, lmbda: [0.1, 0.2]}}]"
    stem = Path(SEQUENCE).stem
    assert items(folder, entries) == [
        FrameItem(f"{stem}-0002", sequence, None, 0.5, 2),
        FrameItem(f"{stem}-0000@0.1", sequence, None, 0.1, 0),
        FrameItem(f"{stem}-0000@0.2", sequence, None, 0.2, 0),
    ]


def test_a_manifest_says_which_frame_of_a_file_is_meant(folder: Path, sequence: str) -> None:
    manifest(folder, f"frame,frame_index\n{SEQUENCE},1\n{SEQUENCE},\na.png,\n")
    found = items(folder, "[{frame: list.csv, frame_index: 2}]")
    assert [(item.frame, item.frame_index) for item in found] == [
        (sequence, 1),
        (sequence, 2),
        (str(folder / "a.png"), 2),
    ]


def test_an_encoder_of_several_frames_gives_each_frame_its_own(folder: Path) -> None:
    manifest(folder, "frame,encoder,encoder_frame\na.png,video_encoder.pt,3\na.png,video_encoder.pt,\n")
    found = items(folder, "[{frame: a.png, encoder: e.pt, encoder_frame: 2}, {frame: list.csv, encoder_frame: 1}]")
    assert [item.encoder_frame for item in found] == [2, 3, 1]
    message = error_of(folder, "[{frame: a.png, encoder: e.pt, encoder_frame: -1}]")
    assert "frames[0].encoder_frame: accepted: an integer, 0 or more" in message
    manifest(folder, "frame,encoder_frame\na.png,0.5\n")
    assert "row 1: encoder_frame is an integer, 0 or more; found 0.5" in error_of(folder, "[list.csv]")


@pytest.mark.parametrize(
    ("text", "lmbda"),
    [("", None), ("fit: {lmbda: 0.25}", 0.25), ("fit: {arch: lop}", None)],
)
def test_an_encoder_without_lmbda_takes_that_of_the_fit_where_it_is_written(
    folder: Path, text: str, lmbda: float | None
) -> None:
    path = folder / "job.yaml"
    path.write_text(f"frames: [{{frame: a.png, encoder: e.pt}}]\nout: out\n{text}\n")
    job = load_job(path)
    assert job.lmbda_of_encoders == lmbda
    assert job.identity()["lmbda"] == lmbda


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            f"{{frame: {SEQUENCE}}}",
            "is 12 bytes; found 36, which are 3 frames: choose one by frame_index, from 0 to 2",
        ),
        ("{frame: 'clip*.yuv'}", "which are 3 frames: choose one by frame_index"),
        ("{frame: list.csv}", "which are 3 frames: choose one by frame_index"),
        (f"{{frame: {SEQUENCE}, frame_index: 3}}", "there is no frame of frame_index 3; accepted: 0 to 2"),
    ],
)
def test_a_yuv_file_that_does_not_hold_the_frame_that_is_meant_is_an_error_before_anything_starts(
    folder: Path, sequence: str, entry: str, message: str
) -> None:
    manifest(folder, f"frame\n{SEQUENCE}\n")
    found = error_of(folder, f"[a.png, {entry}]")
    assert f"frames[1].frame_index: {sequence}: " in found
    assert message in found


@pytest.mark.parametrize("index", ["-1", "1.5", "'1'", "true"])
def test_an_index_is_an_integer_from_0(folder: Path, index: str) -> None:
    message = error_of(folder, f"[{{frame: a.png, frame_index: {index}}}]")
    assert "frames[0].frame_index: accepted: an integer, 0 or more" in message


def test_a_yuv_file_that_is_damaged_or_missing_makes_its_frame_alone_fail(folder: Path) -> None:
    (folder / SEQUENCE).write_bytes(bytes(13))
    assert len(items(folder, f"[{SEQUENCE}, gone_4x2_1p_yuv420_8b.yuv, bad_name.yuv]")) == 3


def test_a_path_is_known_relative_to_the_configuration_too(folder: Path) -> None:
    found = load(folder, "[a.png, ../b.png, s3://k/c.png]").frames
    assert [item.relative for item in found] == ["a.png", "../b.png", None]


# --- manifests


@pytest.mark.parametrize("frames", ["list.csv", "[list.csv]", "[{frame: ./list.csv}]", "LIST.CSV"])
def test_a_manifest_lists_frames_with_their_encoders_and_lmbdas(folder: Path, frames: str) -> None:
    text = "frame,encoder,lmbda\na.png,e/a.safetensors,0.01\n/b.png,,0.02\ns3://k/c.png,s3://k/c.safetensors,\nd.png,,\n"
    manifest(folder, text, "LIST.CSV" if frames == "LIST.CSV" else "list.csv")
    assert items(folder, frames) == [
        FrameItem("a", str(folder / "a.png"), str(folder / "e" / "a.safetensors"), 0.01),
        FrameItem("b", "/b.png", None, 0.02),
        FrameItem("c", "s3://k/c.png", "s3://k/c.safetensors", None),
        FrameItem("d", str(folder / "d.png"), None, 0.5),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of the configuration."""
    return tmp_path


def test_a_manifest_may_be_parquet(folder: Path) -> None:
    table = pd.DataFrame({"lmbda": [0.25, None, 2], "frame": ["a.png", "b.png", "a.png"]})
    table.to_parquet(folder / "list.parquet")
    assert [(item.id, item.lmbda) for item in items(folder, "list.parquet")] == [
        ("a-1", 0.25),
        ("b", 0.5),
        ("a-2", 2),
    ]


def test_what_a_manifest_leaves_out_its_entry_gives(folder: Path) -> None:
    manifest(folder, "frame,encoder,lmbda\na.png,,\nb.png,b.st,7\n")
    found = items(folder, "[{frame: list.csv, encoder: 'e/{stem}.st', lmbda: [1, 2]}]")
    assert [(item.id, Path(item.encoder or "").name, item.lmbda) for item in found] == [
        ("a@1", "a.st", 1),
        ("a@2", "a.st", 2),
        ("b", "b.st", 7),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("frame\n", "has no rows"),
        (
            "path,encoder\na.png,\n",
            "its columns are frame, encoder, lmbda, frame_index, encoder_frame; found 'path'",
        ),
        (
            "frame,lambda\na.png,1\n",
            "its columns are frame, encoder, lmbda, frame_index, encoder_frame; found 'lambda'",
        ),
        ("encoder,lmbda\na,1\n", "it has a column frame; found encoder, lmbda"),
        ("frame,lmbda\na.png,high\n", "row 1: lmbda is a number, 0 or more; found 'high'"),
        ("frame,lmbda\na.png,1\nb.png,-1\n", "row 2: lmbda is a number, 0 or more; found -1"),
        ("frame,lmbda\na.png,nan\n", "row 1: lmbda is a number, 0 or more; found 'nan'"),
        ("frame,lmbda\na.png,1\n,1\n", "row 2: there is no frame"),
        ("frame,lmbda\na.png,1\nb.png\n", "row 2: a row has as many cells as the header, 2; found 1"),
        ("frame,lmbda\na.png,1\nb.png,1\na.png,1\n", "row 3: the same as row 1"),
        ("frame,frame_index\na.png,0\nb.png,-1\n", "row 2: frame_index is an integer, 0 or more; found -1"),
        ("frame,frame_index\na.png,1.5\n", "row 1: frame_index is an integer, 0 or more; found 1.5"),
        (b"frame\n\xff\xfe.png\n", "line 2: byte 0xFF is no text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "line 1: byte 0x89 is no text in UTF-8"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_with_what_is_wrong_where(
    folder: Path, text: str | bytes, message: str
) -> None:
    manifest(folder, text)
    found = error_of(folder, "[a.png, list.csv]")
    assert found.startswith(f"{folder}/job.yaml: frames[1].frame: the manifest {folder}/list.csv")
    assert message in found
    assert "\n" not in found


def test_a_manifest_that_is_no_parquet_or_of_other_types_is_refused(folder: Path) -> None:
    manifest(folder, "frame\na.png\n", "list.parquet")
    assert "list.parquet: " in error_of(folder, "list.parquet")
    pd.DataFrame({"frame": ["a"], "lmbda": ["much"]}).to_parquet(folder / "list.parquet")
    assert "much" in error_of(folder, "list.parquet")


def test_a_manifest_that_is_not_there_is_named(folder: Path) -> None:
    assert f"the manifest {folder}/list.csv cannot be read: No such file" in error_of(folder, "list.csv")


# --- several lmbdas


def test_every_lmbda_of_an_entry_is_a_frame_of_the_job(folder: Path) -> None:
    found = items(folder, "[{frame: a.png, encoder: e, lmbda: [0.001, 0.004]}, b.png]")
    assert [(item.id, item.lmbda) for item in found] == [
        ("a@0.001", 0.001),
        ("a@0.004", 0.004),
        ("b", 0.5),
    ]
    assert {item.frame for item in found[:2]} == {str(folder / "a.png")}


# --- URIs


def test_frames_may_be_uris_and_patterns_of_them(folder: Path, memory_files: fsspec.AbstractFileSystem) -> None:
    for name in ("set/b.png", "set/a.png", "set/c.jpg", "set/deep/d.png"):
        memory_files.pipe(f"/{name}", b"x")
    found = items(folder, "['memory://set/*.png', 'memory://set/no.png', 'memory://set/**/d.png']")
    assert [item.frame for item in found] == [
        "memory://set/a.png",
        "memory://set/b.png",
        "memory://set/no.png",
        "memory://set/deep/d.png",
    ]
    assert "no file matches 'memory://set/*.gif'" in error_of(folder, "['memory://set/*.gif']")


def test_a_manifest_may_be_behind_a_uri(folder: Path, memory_files: fsspec.AbstractFileSystem) -> None:
    memory_files.pipe("/set/list.csv", b"frame\na.png\n")
    assert items(folder, "memory://set/list.csv") == [FrameItem("a", str(folder / "a.png"), None, 0.5)]


def test_a_file_uri_is_a_path(folder: Path) -> None:
    assert items(folder, "['file:///x/a%20b.png']")[0].frame == "/x/a b.png"


def test_a_pattern_of_a_service_that_is_unknown_is_refused(folder: Path) -> None:
    assert "frames[0].frame: " in error_of(folder, "['nonsense://set/*.png']")


# --- the list


@pytest.mark.parametrize(("stem", "n_bytes"), [("x" * 244, 256), ("é" * 122, 256), ("=" * 84, 258)])
def test_a_name_that_is_too_long_for_its_results_is_refused_before_anything_starts(
    folder: Path, stem: str, n_bytes: int
) -> None:
    with pytest.raises(ConfigError, match=f"too long for its results: .* has {n_bytes} bytes; accepted: 255"):
        list_frames([FrameEntry(frame=f"{stem}.png")], folder, 0.001)
    list_frames([FrameEntry(frame=f"{stem[:-2]}.png")], folder, 0.001)


def test_the_list_is_a_sequence(folder: Path) -> None:
    frames = load(folder, "[a.png, b.png, c.png]").frames
    assert len(frames) == 3
    assert frames[-1] == frames[2] == list(frames)[2]
    assert frames[1:] == list(frames)[1:]
    with pytest.raises(IndexError):
        frames[3]


def test_a_list_of_weights_for_fits_is_a_frame_each_where_an_entry_gives_none(folder: Path) -> None:
    (folder / "job.yaml").write_text(
        "frames: [a.png, {frame: b.png, lmbda: 3}, {frame: c.png, encoder: c.safetensors}]\nout: o\n"
        "fit: {lmbda: [1, 0.00001]}"
    )
    found = [(item.id, item.lmbda) for item in load_job(folder / "job.yaml").frames]
    assert found == [("a@1", 1.0), ("a@1e-05", 1e-05), ("b", 3.0), ("c", None)]


def test_a_frame_takes_a_few_bytes_of_memory() -> None:
    n = 20_000
    tracemalloc.start()
    frames = FrameList.of(FrameItem(f"f{i}", f"s3://bucket/{i}.png", None, 0.1) for i in range(n))
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    assert sum(item.lmbda or 0 for item in frames) == pytest.approx(0.1 * n)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert frames.table.nbytes / n < 100
    assert peak - before < 2e6, "going through the list makes no objects of all of it"
    assert after - before < 1e6
