"""``qsweep encode`` and ``qsweep decode``: from a picture to a file and back, on the command line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from sweep.cli import app
from sweep.config import fit_config
from tests.cases import CASES, CASES_5, load_case
from workers.bitstream import decode_frame
from workers.codec import read_frame
from workers.fit import Phase, Recipe
from workers.objective.loss import mean_squared_error
from workers.psnr import psnr_db

CASE = CASES / "astronaut_64x96_lop"
YUV = CASES / "coffee_64x96_yuv420"


def qsweep(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    target = tmp_path / "a.qsw"
    result = qsweep("encode", CASE / "frame.png", "-o", target, "--encoder", CASE / "encoder.safetensors")
    assert result.exit_code == 0, result.stderr
    return target


def test_a_picture_becomes_a_file_and_a_picture_again(file: Path, tmp_path: Path) -> None:
    content = file.read_bytes()
    assert 1000 < len(content) < 1300
    result = qsweep("decode", file, "-o", tmp_path / "a.png")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}/a.png: 96×64\n")
    decoded = read_frame(tmp_path / "a.png")
    assert (decoded.data.tensors[0] == decode_frame(content).data.tensors[0]).all()
    mse = mean_squared_error(decoded.data, read_frame(CASE / "frame.png").data).item()
    again = qsweep("encode", CASE / "frame.png", "-o", file, "--encoder", CASE / "encoder.safetensors")
    bpp = 8 * len(content) / (64 * 96)
    assert again.stdout == f"{file}: {len(content)} bytes, {bpp:.4f} bpp, {psnr_db(mse):.3f} dB\n"
    assert file.read_bytes() == content


def test_a_picture_without_an_encoder_is_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Phase(20, (1e-2, 1e-2), "softround", (0.3, 0.3), validate_every=10)
    monkeypatch.setitem(fit_config.RECIPES["coolchic-3.4"], "example", lambda _: Recipe((short, short)))  # type: ignore[arg-type]
    picture = np.random.default_rng(0).integers(0, 255, (17, 23, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    target = tmp_path / "new folder" / "a.qsw"
    result = qsweep(
        "encode", tmp_path / "a.png", "-o", target, "--arch", "vlop", "--recipe", "example", "--lmbda", "0.01"
    )
    assert result.exit_code == 0, result.stderr
    assert decode_frame(target.read_bytes()).img_size == (17, 23)


def test_a_ppm_of_10_bits_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Phase(20, (1e-2, 1e-2), "softround", (0.3, 0.3), validate_every=10)
    monkeypatch.setitem(fit_config.RECIPES["coolchic-3.4"], "example", lambda _: Recipe((short, short)))  # type: ignore[arg-type]
    samples = np.full((17, 23, 3), 1023) - np.arange(17)[:, None, None]
    (tmp_path / "a.ppm").write_bytes(b"P6 23 17 1023\n" + samples.astype(">u2").tobytes())
    target = tmp_path / "a.qsw"
    result = qsweep("encode", tmp_path / "a.ppm", "-o", target, "--arch", "vlop", "--recipe", "example")
    assert result.exit_code == 0, result.stderr
    assert qsweep("decode", target, "-o", tmp_path / "b.ppm").exit_code == 0
    decoded, expected = read_frame(tmp_path / "b.ppm"), decode_frame(target.read_bytes())
    assert (decoded.bitdepth, decoded.frame_data_type) == (10, "rgb")
    assert (decoded.data.tensors[0] == expected.data.tensors[0]).all()
    psnr = psnr_db(mean_squared_error(decoded.data, read_frame(tmp_path / "a.ppm").data).item())
    assert result.stdout.endswith(f"{psnr:.3f} dB\n")
    result = qsweep("decode", target, "-o", tmp_path / "b.png")
    assert (result.exit_code, result.stderr) == (
        2,
        f"qsweep: {tmp_path}/b.png: a frame of format rgb of 10 bits is written as .ppm\n",
    )


def test_yuv_stays_yuv(tmp_path: Path) -> None:
    (frame,) = YUV.glob("*.yuv")
    name = "b_96x64_1p_yuv420_8b.yuv"
    assert qsweep("encode", frame, "-o", tmp_path / "a", "--encoder", YUV / "encoder.safetensors").exit_code == 0
    assert qsweep("decode", tmp_path / "a", "-o", tmp_path / name).exit_code == 0
    assert read_frame(tmp_path / name).img_size == (64, 96)
    result = qsweep("decode", tmp_path / "a", "-o", tmp_path / "a.png")
    assert result.exit_code == 2
    assert result.stderr == f"qsweep: {tmp_path}/a.png: a frame of format yuv420 is written as .yuv\n"


@pytest.mark.parametrize(
    ("name", "decoded_name", "most_bytes"),
    [("coffee_48x80_ifce06", "b.png", 800), ("coffee_64x96_yuv420_lop", "b_96x64_1p_yuv420_8b.yuv", 600)],
)
def test_an_encoder_of_cool_chic_5_becomes_a_file(
    tmp_path: Path, name: str, decoded_name: str, most_bytes: int
) -> None:
    case = load_case(name, CASES_5)
    (frame,) = case.folder.glob("frame*")
    encoded = qsweep("encode", frame, "-o", tmp_path / "a", "--encoder", case.folder / "encoder.safetensors")
    assert encoded.exit_code == 0, encoded.stderr
    assert qsweep("decode", tmp_path / "a", "-o", tmp_path / decoded_name).exit_code == 0
    decoded = read_frame(tmp_path / decoded_name)
    mse = mean_squared_error(decoded.data, case.frame.data).item()
    assert mse == pytest.approx(case.table[case.table.chosen].iloc[-1].mse, rel=1e-3)
    assert encoded.stdout.endswith(f"{psnr_db(mse):.3f} dB\n")
    assert len((tmp_path / "a").read_bytes()) < most_bytes


def test_one_frame_of_a_yuv_file_of_several_is_encoded(tmp_path: Path) -> None:
    (frame,) = YUV.glob("*.yuv")
    content = frame.read_bytes()
    several = tmp_path / frame.name
    several.write_bytes(bytes(len(content)) + content + bytes(len(content)))
    encode = ("encode", several, "-o", tmp_path / "a", "--encoder", YUV / "encoder.safetensors")
    assert qsweep(*encode, "--frame-index", 1).exit_code == 0
    assert qsweep("encode", frame, "-o", tmp_path / "b", *encode[4:]).exit_code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    for options, message in (
        ((), "is 9216 bytes; found 27648, which are 3 frames: choose one by frame_index, from 0 to 2"),
        (("--frame-index", 3), "there is no frame of frame_index 3; accepted: 0 to 2"),
    ):
        result = qsweep(*encode, *options)
        assert result.exit_code == 2
        assert message in result.stderr


def test_how_a_picture_is_to_be_shown_is_a_warning_before_it_is_encoded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = tmp_path / "a.png"
    with Image.open(CASE / "frame.png") as opened:
        opened.save(picture, exif=exif)
    result = qsweep("encode", picture, "-o", tmp_path / "a.qsw", "--encoder", CASE / "encoder.safetensors")
    assert result.exit_code == 0, result.stderr
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(f"{picture}: samples are taken as they are stored")


def test_a_picture_of_the_wrong_kind_is_told_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("work was done before")

    monkeypatch.setattr("workers.bitstream.coding.decode_frame", forbidden)
    file = Path(__file__).parents[1] / "workers/bitstream/golden/astronaut_64x96_lop.qsw"
    result = qsweep("decode", file, "-o", tmp_path / "new" / "a.yuv")
    assert result.exit_code == 2
    assert "a frame of format rgb is written as .png" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "{out}/no.png", "-o", "{out}/a.qsw"], "no.png: the frame cannot be read: No such file"),
        (["encode", "{case}/frame.png", "-o", "{out}/a.qsw", "--arch", "top"], "--arch: accepted: one of vlop"),
        (
            ["encode", "{case}/frame.png", "-o", "{out}/a.qsw", "--recipe", "x"],
            "--recipe: accepted: one of",
        ),
        (["encode", "{case}/frame.png", "-o", "{out}/a.qsw", "--seed", "-1"], "--seed: accepted: an integer, 0 to"),
        (["encode", "{case}/frame.png", "-o", "{out}/a.qsw", "--lmbda", "-1"], "--lmbda: accepted: a number, 0 or"),
        (["encode", "{case}/frame.png", "-o", "{out}/a.qsw", "--encoder", "{case}/frame.png"], "safetensors file"),
        (["encode", "{case}/frame.png", "-o", "/proc/a.qsw", "--encoder", "{case}/encoder.safetensors"], "/proc"),
        (["decode", "{out}/no.qsw", "-o", "{out}/a.png"], "no.qsw: the bitstream cannot be read: No such file"),
        (
            ["decode", "{case}/frame.png", "-o", "{out}/a.png"],
            "frame.png: not a .qsw or .cool file: it begins with '\\x89PNG'",
        ),
        (
            ["decode", "{golden}", "-o", "{out}/a.png", "--max-pixels", "100"],
            "at most 100 luma samples",
        ),
        (["decode", "{golden}", "-o", "nope://a/a.png"], "nope://a"),
    ],
)
def test_what_cannot_be_done_is_status_2_and_leaves_nothing(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    golden = Path(__file__).parents[1] / "workers/bitstream/golden/astronaut_64x96_lop.qsw"
    result = qsweep(*(argument.format(case=CASE, out=tmp_path, golden=golden) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


GOLDEN = Path(__file__).parents[1] / "workers/bitstream/golden/astronaut_64x96_lop.qsw"


@pytest.mark.parametrize("taken", ["frame.png", "encoder.safetensors", "link"])
def test_encode_writes_over_none_of_its_inputs(tmp_path: Path, taken: str) -> None:
    for name in ("frame.png", "encoder.safetensors"):
        (tmp_path / name).write_bytes((CASE / name).read_bytes())
    (tmp_path / "link").symlink_to("encoder.safetensors")
    arguments = (tmp_path / "frame.png", "--encoder", tmp_path / "encoder.safetensors", "-o", tmp_path / taken)
    result = qsweep("encode", *arguments)
    assert result.exit_code == 2
    assert f"{taken}: is an input too" in result.stderr
    for name in ("frame.png", "encoder.safetensors"):
        assert (tmp_path / name).read_bytes() == (CASE / name).read_bytes()


@pytest.mark.parametrize(("output", "name"), [("-", "standard output"), ("/dev/stdout", "/dev/stdout")])
def test_decode_into_a_pipe_gives_the_picture_alone(output: str, name: str, tmp_path: Path) -> None:
    assert qsweep("decode", GOLDEN, "-o", tmp_path / "a.png").exit_code == 0
    command = [sys.executable, "-m", "sweep", "decode", str(GOLDEN), "-o", output]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == (tmp_path / "a.png").read_bytes()
    assert done.stderr.decode() == f"{name}: 96×64\n"


def test_decode_into_a_device_needs_no_suffix() -> None:
    assert qsweep("decode", GOLDEN, "-o", "/dev/null").exit_code == 0
    result = qsweep("decode", GOLDEN, "-o", "/dev/full")
    assert (result.exit_code, result.stderr.count("No space left on device")) == (1, 1), "it was decoded"


def test_where_nothing_can_be_written_nothing_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.bitstream.coding.decode_frame", None)
    (tmp_path / "a.png").mkdir()
    result = qsweep("decode", GOLDEN, "-o", tmp_path / "a.png")
    assert (result.exit_code, result.stderr) == (
        2,
        f"qsweep: {tmp_path}/a.png: cannot be written: it is a folder\n",
    )


def test_the_commands_are_installed(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("qsweep")), "decode", str(tmp_path / "no"), "-o", "a.png"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
