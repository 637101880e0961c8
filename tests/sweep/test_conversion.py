"""Encoders from other programs, and to them."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from sweep.cli import app
from sweep.config import FrameItem, FrameList
from sweep.results import Storage, write_table
from tests.workers.codec.formats.files import FILES, members, pickle_name, zipped
from tests.workers.codec.formats.test_official_writer import quantized, swept
from workers.codec import dump_frame_encoder, parse_frame_encoder, read_frame_encoder
from workers.codec.formats.official import read_official
from workers.codec.formats.official_writer import dump_official


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize("name", ["lop-3.4.1", "zeros-4.0.0", "zeros-4.2.1"])
def test_an_official_file_is_imported(name: str, tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"

    result = run("import", FILES[name], "-o", target, "--encoder-frame", 0)

    assert result.exit_code == 0, result.output
    ours, manager = read_frame_encoder(target)
    theirs, of_file = parse_frame_encoder(FILES[name].read_bytes(), name)
    assert ours.param == theirs.param
    assert manager.lmbda == of_file.lmbda
    assert all(torch.equal(value, ours.state_dict()[key]) for key, value in theirs.state_dict().items())


def test_the_display_index_of_a_file_of_4_is_kept(tmp_path: Path) -> None:
    parts = members(FILES["lop-4.2.1"].read_bytes())
    name = pickle_name(parts)
    at = parts[name].index(b"K\0", parts[name].index(b"frame_display_index"))  # the number after its name
    seven = zipped({**parts, name: parts[name][:at] + b"K\7" + parts[name][at + 2 :]})
    (tmp_path / "0007-frame_encoder.pt").write_bytes(seven)
    target = tmp_path / "a.safetensors"

    assert run("import", tmp_path / "0007-frame_encoder.pt", "-o", target).exit_code == 0

    frame_encoder, manager = read_frame_encoder(target, 7)
    assert run("import", target, "-o", tmp_path / "b.safetensors", "--encoder-frame", 0).exit_code == 2
    assert manager.lmbda == read_frame_encoder(FILES["lop-4.2.1"])[1].lmbda
    assert read_official(dump_official(quantized(frame_encoder)), 7).metadata["frame_display_index"] == "7"


def test_what_a_file_of_5_does_not_say_is_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"

    result = run("import", FILES["lop-5.0.1"], "-o", target)

    assert result.exit_code == 2
    assert "'lmbda' is missing" in result.stderr
    assert "by --lmbda, or in a job by" in result.stderr
    assert not target.exists()
    assert run("import", FILES["lop-5.0.1"], "-o", target, "--lmbda", 0.002).exit_code == 0
    assert read_frame_encoder(target)[1].lmbda == 0.002


def test_a_file_that_cannot_be_read_is_no_reason_to_write_another(tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"
    target.write_bytes(b"kept")
    (tmp_path / "b.pt").write_bytes(FILES["lop-3.4.1"].read_bytes()[:-1])

    result = run("import", tmp_path / "b.pt", "-o", target)

    assert result.exit_code == 2
    assert "b.pt: the zip file's end is missing" in result.stderr
    assert target.read_bytes() == b"kept"


# --- results as official files


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results of a frame whose encoder is an official file, of one that was fitted, and of one that is not done."""
    out = tmp_path / "out"
    storage = Storage(str(out))
    official, fitted = swept("zeros-4.2.1"), swept("lop-3.4.1")
    frames = [
        FrameItem("official", "a.png", str(FILES["zeros-4.2.1"]), None),
        FrameItem("fitted", "b.png", None, 0.001),
        FrameItem("failed", "c.png", None, 0.001),
    ]
    write_table(storage, "manifest.parquet", FrameList.of(frames).table)
    storage.write("job.yaml", b"")
    for name, of_frame in (("official", official), ("fitted", fitted)):
        storage.write(f"quantized/{name}.safetensors", dump_frame_encoder(of_frame.quantized, of_frame.lmbda))
    storage.write("fitted/fitted.safetensors", dump_frame_encoder(fitted.full_precision, fitted.lmbda))
    return out


@pytest.mark.parametrize(("frame", "name"), [("official", "zeros-4.2.1"), ("fitted", "lop-3.4.1")])
def test_a_frame_is_exported_as_the_official_sweep_leaves_it(
    results: Path, tmp_path: Path, frame: str, name: str
) -> None:
    target = tmp_path / "video_encoder.pt"

    result = run("export", results, "--frame", frame, "-o", target)

    assert result.exit_code == 0, result.output
    assert result.stdout == f"{target}: encoder of Cool-Chic {name.rpartition('-')[2]}\n"
    (found,), (expected,) = (read_official(path.read_bytes()).states.values() for path in (target, FILES[name]))
    assert (found.q_steps, found.expgol_cnts) == (expected.q_steps, expected.expgol_cnts)
    for ours, theirs in ((found.current, expected.current), (found.full_precision, expected.full_precision)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key].read(), value.read()) for key, value in theirs.items())


def test_a_frame_is_exported_for_another_release(results: Path, tmp_path: Path) -> None:
    for name in ("a.pt", "a.safetensors"):
        result = run("export", results, "--frame", "fitted", "--release", "4.1.0", "-o", tmp_path / name)
        assert result.exit_code == 0, result.output
        frame_encoder, _ = read_frame_encoder(tmp_path / name)
        assert frame_encoder.param.release == "4.1.0"  # type: ignore[attr-defined]
    assert set(frame_encoder.nn_q_step) == {"arm", "synthesis", "upsampling"}  # of the checkpoint


def test_an_encoder_that_has_been_moved_is_named(results: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.safetensors"
    (results / "fitted" / "fitted.safetensors").rename(moved)
    command = ["export", results, "--frame", "fitted", "-o", tmp_path / "a.pt"]

    without, with_it = run(*command), run(*command, "--encoder", moved)

    assert without.exit_code == 2
    assert "fitted.safetensors: No such file or directory; --encoder says where it is" in without.stderr
    assert with_it.exit_code == 0, with_it.output
    other = run(*command, "--encoder", FILES["options-3.4.1"])
    assert other.exit_code == 2
    assert f"{FILES['options-3.4.1']}: it is not the encoder that was swept" in other.stderr


@pytest.mark.parametrize(
    ("frame", "name", "more", "reason"),
    [
        ("nope", "a.pt", (), "there is no frame 'nope'; found 'official', 'fitted', 'failed'"),
        ("failed", "a.pt", (), "failed.safetensors: the frame is not done"),
        (
            "fitted",
            "a.png",
            (),
            "a.png: the ending of an exported encoder is one of .pt, .safetensors, .qsw, .cool; found '.png'",
        ),
        ("official", "a.pt", ("--release", "3.4.1"), "only the last grid may be without features in 3.4"),
        ("fitted", "a.pt", ("--release", "6"), "release: one of 3.4.1, 4.0.0, 4.1.0, 4.2.1, 5.0.1; found '6'"),
        ("fitted", "out/fitted/fitted.safetensors", (), "is an input too"),
        ("fitted", "out/quantized/fitted.safetensors", (), "is an input too"),
    ],
)
def test_what_cannot_be_exported_is_said(
    results: Path, tmp_path: Path, frame: str, name: str, more: tuple[str, ...], reason: str
) -> None:
    before = {path: path.read_bytes() for path in results.rglob("*.safetensors")}

    result = run("export", results, "--frame", frame, "-o", tmp_path / name, *more)

    assert result.exit_code == 2
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert before == {path: path.read_bytes() for path in results.rglob("*.safetensors")}
    assert not list(tmp_path.glob("a.*"))


def test_a_folder_without_results_cannot_be_exported(tmp_path: Path) -> None:
    result = run("export", tmp_path, "--frame", "a", "-o", tmp_path / "a.pt")
    assert result.exit_code == 2
    assert "there are no results of a job (job.yaml is missing)" in result.stderr
