"""``qsweep decode`` and ``show`` of ``.cool`` files: on the command line, without loading what is not needed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from sweep.cli import app
from tests.workers.bitstream.cool.official import FILES, PICTURES, VIDEO, content_of, headers_of
from tests.workers.bitstream.cool.test_hostile import HEADER_AT, altered


def qsweep(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("name", ["coffee_64x96_yuv420_lop", "narrow_21x9_yuv444_10b"])
def test_yuv_files_are_those_of_the_official_decoder(name: str, tmp_path: Path) -> None:
    result = qsweep("decode", FILES / f"{name}.cool", "-o", tmp_path / "any name.yuv")
    assert result.exit_code == 0, result.stderr
    ours = np.frombuffer((tmp_path / "any name.yuv").read_bytes(), "u1" if "420" in name else "<u2").astype(int)
    theirs = np.frombuffer((FILES / f"{name}.yuv").read_bytes(), "u1" if "420" in name else "<u2")
    assert np.abs(ours - theirs).max() <= 1
    assert np.count_nonzero(ours - theirs) <= 1


def test_rgb_is_written_as_png_and_ppm(tmp_path: Path) -> None:
    for suffix in ("png", "ppm"):
        target = tmp_path / f"a.{suffix}"
        result = qsweep("decode", FILES / "odd_37x83.cool", "-o", target)
        assert (result.exit_code, result.stdout) == (0, f"{target}: 83×37\n")
        with Image.open(target) as ours, Image.open(FILES / "odd_37x83.png") as theirs:
            difference = np.array(ours).astype(int) - np.array(theirs)
        assert np.abs(difference).max() <= 1
        assert np.count_nonzero(difference) <= 1
    result = qsweep("decode", FILES / "odd_37x83.cool", "-o", tmp_path / "a.yuv")
    assert result.exit_code == 2
    assert result.stderr == f"qsweep: {tmp_path}/a.yuv: a frame of format rgb is written as .png or .ppm\n"


def test_a_file_of_one_picture_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content_of("odd_37x83"))
    assert qsweep("decode", tmp_path / "a", "-o", tmp_path / "a.png").exit_code == 0
    (tmp_path / "b").write_bytes(b"neither")
    result = qsweep("decode", tmp_path / "b", "-o", tmp_path / "b.png")
    assert result.exit_code == 2
    assert result.stderr == f"qsweep: {tmp_path}/b: not a .qsw or .cool file: it begins with 'neit'\n"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", (), "the file is empty"),
        (
            content_of("odd_37x83")[:-4],
            (),
            "latents of the residue of frame 0: truncated: 3100 bytes by the header",
        ),
        (content_of("odd_37x83"), ("--max-pixels", 3070), "frames of at most 3070 luma samples are accepted"),
        (content_of(VIDEO), (), "only files of one picture can be decoded; found 3 frames"),
    ],
)
def test_what_cannot_be_decoded_is_named(
    content: bytes, options: tuple[object, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.cool").write_bytes(content)
    suffix = "yuv" if content == content_of(VIDEO) else "png"
    result = qsweep("decode", tmp_path / "a.cool", "-o", tmp_path / f"a.{suffix}", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"qsweep: {tmp_path}/a.cool: {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.cool"]


def test_a_picture_is_decoded_without_loading_torch(tmp_path: Path) -> None:
    target = tmp_path / "a.ppm"
    program = (
        "import json, sys\nfrom sweep.launch import main\n"
        f"sys.argv = ['qsweep', 'decode', {str(FILES / 'odd_37x83.cool')!r}, '-o', {str(target)!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    heavy = {"torch", "ray", "pandas", "altair", "PIL", "constriction"}
    assert heavy.isdisjoint(json.loads(done.stdout.splitlines()[-1]))
    assert target.exists()


def test_what_is_in_a_picture_is_shown_on_one_screen() -> None:
    file = FILES / "astronaut_64x96_lop.cool"
    result = qsweep("show", file)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == f"{file}: cool, 1109 bytes, 1.4440 bpp"
    assert lines[-1] == "check: written again, it gives the same bytes"
    assert len(lines) < 30
    assert "bytes: header 46, networks 339, latents 724" in lines
    networks = [int(line.split()[-1]) for line in lines if line.startswith(" residue.")]
    assert len(networks) == 4
    assert -(-sum(networks) // 8) == 339
    grids = [float(line.split()[-1]) for line in lines if line.startswith(" grid ")]
    assert len(grids) == 10
    assert sum(grids) / 8 == pytest.approx(724, abs=10)


@pytest.mark.parametrize("name", PICTURES)
def test_what_is_in_a_picture_is_shown_to_programs(name: str) -> None:
    result = qsweep("show", FILES / f"{name}.cool", "--json")
    assert result.exit_code == 0, result.stderr
    shown, header = json.loads(result.stdout), headers_of(name)[-1]
    assert (shown["form"], shown["family"], shown["release"]) == ("cool", "coolchic-5", "5.0.1")
    assert [shown["height"], shown["width"]] == header["img_size"]
    assert shown["file_bytes"] == len(content_of(name))
    parts = [shown[f"{part}_bytes"] for part in ("header", "networks", "latents")]
    assert parts[1:] == [header["nn_n_bytes"], header["n_bytes_latent"]]
    assert sum(parts) == shown["file_bytes"]
    for network in shown["networks"]:
        module = network["network"].removeprefix("residue.")
        assert network["q_step"] == header["nn_q_step"][module]
        assert network["expgol_cnt"] == header["nn_expgol_cnt"][module]
    bits = sum(sum(network["rate_bit"].values()) for network in shown["networks"])
    assert bits == 8 * header["nn_n_bytes"] - header["nn_n_bit_pad"]
    grids = shown["coolchics"]["residue"]["grids"]
    assert 0 <= header["n_bytes_latent"] - sum(grid["rate_bit"] for grid in grids) / 8 < 8
    assert shown["same_when_rewritten"]
    assert (shown["lmbda"], shown["warnings"]) == (None, [])


def test_a_header_that_is_longer_than_it_need_be_is_a_warning(tmp_path: Path) -> None:
    longer = altered({"n_bytes_header": 35})
    end = HEADER_AT + 33
    (tmp_path / "a.cool").write_bytes(longer[:end] + b"\xff\x00" + longer[end:])
    shown = json.loads(qsweep("show", tmp_path / "a.cool", "--json").stdout)
    assert shown["same_when_rewritten"] is False
    assert shown["warnings"] == ["its headers are longer than they need be"]


def test_a_picture_that_is_too_large_is_not_shown(tmp_path: Path) -> None:
    for command in (("show",), ("import", "-o", tmp_path / "a.safetensors")):
        result = qsweep(command[0], FILES / "odd_37x83.cool", *command[1:], "--max-pixels", 3070)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "frames of at most 3070 luma samples are accepted; found 83×37" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_frames_of_a_video_are_shown_in_coding_order() -> None:
    result = qsweep("show", FILES / f"{VIDEO}.cool")
    assert result.exit_code == 0, result.stderr
    *lines, warning = result.stdout.splitlines()[1:]
    assert warning == "warning: only files of one picture can be decoded"
    assert [line.partition(":")[0] for line in lines] == [
        "  I, residue of frame 0",
        "  P of 0, residue of frame 2",
        "  P of 0, motion of frame 2",
        "  B of 0, 2, residue of frame 1",
        "  B of 0, 2, motion of frame 1",
    ]
    shown = json.loads(qsweep("show", FILES / f"{VIDEO}.cool", "--json").stdout)
    assert [frame["display_index"] for frame in shown["frames"]] == [0, 2, 1]
    parts = [part for frame in shown["frames"] for part in frame["coolchics"].values()]
    headers = [header for header in headers_of(VIDEO) if header["header"] == "coolchic"]
    assert [(part["networks_bytes"], part["latents_bytes"]) for part in parts] == [
        (header["nn_n_bytes"], header["n_bytes_latent"]) for header in headers
    ]


def test_what_cannot_be_shown_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.cool").write_bytes(b"neither")
    result = qsweep("show", tmp_path / "a.cool")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"qsweep: {tmp_path}/a.cool: video header: ")
    result = qsweep("show", tmp_path / "b.cool")
    assert result.exit_code == 2
    assert f"{tmp_path}/b.cool: cannot be read: No such file or directory" in result.stderr
