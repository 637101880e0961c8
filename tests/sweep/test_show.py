"""What is in a file, as people and programs are shown it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sweep.cli import app
from tests.cases import CASES, CASES_5
from tests.making import make_frame_encoder
from tests.workers.codec.formats.files import FILES, members, pickle_name, zipped
from tests.workers.codec.formats.test_official_writer import two_frames
from workers.codec import dump_frame_encoder
from workers.codec.formats.decoder_limits import decoder_warnings
from workers.codec.formats.stored import BytesFile, EncodedText
from workers.codec.formats.torch_file import read_torch_file, write_torch_file

HOSTILE = sorted((Path(__file__).parents[1] / "workers" / "codec" / "formats" / "hostile").glob("*.pt"))
GOLDEN = sorted((Path(__file__).parents[1] / "workers" / "bitstream").glob("golden*/*.qsw"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["show", *map(str, arguments)])


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("before-3.4.1", "full precision"),
        ("lop-3.4.1", "swept"),
        ("zeros-4.0.0", "swept"),
        ("lop-5.0.1", "refined"),  # by the search after the sweep
    ],
)
def test_an_official_file_is_shown(name: str, state: str) -> None:
    path, choice = FILES[name], json.loads((FILES[name].parent / "choice.json").read_text())

    shown = json.loads(run(path, "--json").stdout)

    assert shown["form"] == "Cool-Chic's own file"
    assert shown["file_bytes"] == path.stat().st_size
    assert shown["release"] == name.rpartition("-")[2]
    assert shown["state"] == state
    assert shown["lmbda"] == (None if "5.0.1" in name else choice["lmbda"])
    for network in shown["networks"]:
        expected = choice["in_the_file"][network["network"].removeprefix("residue.")]
        if state == "full precision":
            assert network["q_step"] is network["expgol_cnt"] is network["rate_bit"] is None
        else:
            assert network["q_step"] == expected["q_step"]
            assert network["expgol_cnt"] == expected["expgol_cnt"]
    assert any("lmbda" in warning for warning in shown["warnings"]) is ("5.0.1" in name)


@pytest.mark.parametrize("folder", [CASES / "astronaut_64x96_lop", CASES_5 / "astronaut_50x70_plain"], ids=str)
def test_a_checkpoint_before_the_sweep_is_shown(folder: Path) -> None:
    shown = json.loads(run(folder / "encoder.safetensors", "--json").stdout)
    assert (shown["form"], shown["state"]) == ("safetensors", "full precision")


def test_bits_of_networks_are_those_of_the_sweep() -> None:
    import pandas as pd

    table = pd.read_parquet(FILES["lop-3.4.1"].parent / "rd_table.parquet")
    chosen = table[table.chosen].set_index("module")

    networks = json.loads(run(FILES["lop-3.4.1"], "--json").stdout)["networks"]

    assert len(networks) == 3
    for network in networks:
        row = chosen.loc[network["network"].removeprefix("residue.")]
        assert network["rate_bit"] == {"weight": row.rate_weight_bit, "bias": row.rate_bias_bit}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_bitstream_is_shown(path: Path) -> None:
    shown = json.loads(run(path, "--json").stdout)

    assert shown["form"] == "qsw"
    assert "random" in path.stem or f"{shown['height']}x{shown['width']}" in path.stem
    assert shown["family"] == (
        "coolchic-5" if path.parent.name == "golden_2" and "3_4" not in path.stem else "coolchic-3.4"
    )
    bits = sum(sum(network["rate_bit"].values()) for network in shown["networks"])
    header = shown["file_bytes"] - shown["latents_bytes"] - -(-bits // 8)
    assert 0 < header < 150
    estimated = sum(grid["rate_bit"] for grid in shown["coolchics"]["residue"]["grids"])
    if "random" not in path.stem:  # latents that no arm expects cost more in a file than estimated
        assert estimated / 8 == pytest.approx(shown["latents_bytes"], rel=0.03, abs=6)


def test_people_are_shown_one_screen() -> None:
    result = run(FILES["options-3.4.1"])

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) <= 24
    assert "Cool-Chic 3.4.1, family coolchic-3.4" in lines
    assert "state: swept, lmbda 0.003" in lines
    assert "6×4 (2 features)" in result.stdout
    assert [line.split()[1] for line in lines if line.strip().startswith("residue.arm")] == ["650"]
    assert sum(line.startswith("warning: ") for line in lines) == 2


def test_a_file_with_nothing_to_sweep_is_shown(tmp_path: Path) -> None:
    old, new = b"residue_full_precision_param", b"residue_full_precision_paran"
    parts = members(FILES["zeros-4.0.0"].read_bytes())
    name = pickle_name(parts)
    (tmp_path / "a.pt").write_bytes(zipped({**parts, name: parts[name].replace(old, new)}))

    result = run(tmp_path / "a.pt")

    assert result.exit_code == 0, result.output
    assert "state: swept, lmbda 0.004\n" in result.stdout
    assert (
        "warning: the parameters in full precision are not in the file: it cannot be swept again" in result.stdout
    )


def with_a_p_frame() -> bytes:
    """A file of 3.4 whose frame 4 is of a type that cannot be used."""
    file = read_torch_file(two_frames())
    assert isinstance(file, dict)
    encoders = file["all_frame_encoders"]
    assert isinstance(encoders, dict)
    inner, manager = encoders["1"]  # type: ignore[misc]
    frame = read_torch_file(inner.encoded.content())  # type: ignore[union-attr]
    assert isinstance(frame, dict)
    frame["frame_type"] = "P"
    content = write_torch_file(frame, "archive").decode("latin1")
    encoders["1"] = (BytesFile(EncodedText(content)), manager)
    return write_torch_file(file, "video_encoder")


def test_all_frames_of_a_file_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "video_encoder.pt"
    path.write_bytes(two_frames())
    lines = run(path).stdout.splitlines()
    assert lines[0] == f"{path}: Cool-Chic's own file of 2 frames, {path.stat().st_size} bytes"
    assert [line.partition(":")[0] for line in lines[1:3]] == ["  frame 4", "  frame 7"]
    assert "88×56 rgb, 8 bits; swept, lmbda 0.003; networks 3054 bits, latents" in lines[1]
    shown = json.loads(run(path, "--json").stdout)
    assert [frame["encoder_frame"] for frame in shown["frames"]] == [4, 7]
    for index, frame in zip((4, 7), shown["frames"], strict=True):
        alone = json.loads(run(path, "--json", "--encoder-frame", index).stdout)
        assert {key: alone[key] for key in frame if key != "encoder_frame"} == {
            key: value for key, value in frame.items() if key != "encoder_frame"
        }


def test_a_frame_that_cannot_be_used_is_listed_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "video_encoder.pt"
    path.write_bytes(with_a_p_frame())
    result = run(path)
    assert result.exit_code == 0
    assert "  frame 4: cannot be used: frame 4 is of type 'P': of Cool-Chic 3.4, I frames are supported" in (
        result.stdout
    )
    assert "  frame 7: coolchic-3.4" in result.stdout
    assert run(path, "--encoder-frame", 4).exit_code == 2


def test_the_bits_of_latents_are_those_of_the_sweep() -> None:
    import pandas as pd

    table = pd.read_parquet(FILES["lop-3.4.1"].parent / "rd_table.parquet")
    grids = json.loads(run(FILES["lop-3.4.1"], "--json").stdout)["coolchics"]["residue"]["grids"]
    chosen = table[table.chosen & (table.module == "arm")].rate_latent_bit.item()
    assert sum(grid["rate_bit"] for grid in grids) == pytest.approx(chosen, rel=1e-5)


def test_latents_of_a_large_frame_are_not_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.codec.latent_rates.MAX_LATENTS", 8000)
    shown = json.loads(run(FILES["lop-3.4.1"], "--json").stdout)
    assert {grid["rate_bit"] for grid in shown["coolchics"]["residue"]["grids"]} == {None}
    assert "latents" not in run(FILES["lop-3.4.1"]).stdout


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_a_hostile_file_is_one_clear_line(path: Path) -> None:
    result = run(path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"qsweep: {path}: ")
    assert result.stderr.count("\n") == 1
    assert not result.stdout


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the frame encoder's file is empty"),
        (b"\x89PNG\r\n\x1a\n and more", "a frame encoder is a safetensors file, or one of Cool-Chic's own; found"),
        (b"qsw\x01 cut off", "truncated or altered: the checksum does not match"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_other_files_are_one_clear_line(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "a"
    if content is not None:
        path.write_bytes(content)
    result = run(path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"qsweep: {path}: {reason}")
    assert result.stderr.count("\n") == 1


# --- what official decoders do wrong


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ups_k_size": 6}, "ups_k_size is not 4 or 8; found 6"),
        ({"ups_k_size": 4}, None),
        ({"layers": "3-1-linear-relu,3-5-residual-none"}, "with the layer 3-5-residual-none"),
        ({"layers": "3-1-linear-relu,3-3-residual-none"}, None),
        ({"n_ft_per_res": (1, 1, 0)}, "3.4.1 shows another picture with 0 features"),
        ({"n_ft_per_res": (1, 1, 0), "release": "4.2.1"}, None),
        ({"n_ft_per_res": (1, 1, 2), "release": "4.2.1"}, "cannot write a bitstream with 2 features"),
        ({"n_ft_per_res": (0, 1, 1), "release": "4.2.1"}, "4.2.1 shows a smaller picture"),
        ({"n_ft_per_res": (0, 1, 1), "release": "4.0.0"}, None),
    ],
)
def test_what_official_decoders_do_wrong_is_said(
    tmp_path: Path, changes: dict[str, object], reason: str | None
) -> None:
    frame_encoder = make_frame_encoder(**changes)  # type: ignore[arg-type]
    path = tmp_path / "a.safetensors"
    path.write_bytes(dump_frame_encoder(frame_encoder, 0.001))

    warnings = json.loads(run(path, "--json").stdout)["warnings"]

    assert warnings == list(decoder_warnings(frame_encoder.param))
    assert ([] if reason is None else [True]) == [reason in warning for warning in warnings if reason]
    assert bool(warnings) is (reason is not None)
