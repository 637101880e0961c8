"""What official files of every release are read as: checkpoints of this project, in full precision."""

import json
import math

import pytest
import safetensors
import torch

from tests.workers.codec.formats.files import CHECKPOINTS, FILES, members, pickle_name, zipped
from workers.candidates import Counts, QStepPair
from workers.codec import dump_frame_encoder, parse_frame_encoder
from workers.codec.formats.official import read_official
from workers.errors import CheckpointError, OfficialFileError


def content(name: str) -> bytes:
    return FILES[name].read_bytes()


def changed(name: str, old: bytes, new: bytes) -> bytes:
    """A file whose pickle has something else in place of its only part of this kind."""
    parts = members(content(name))
    pickle = pickle_name(parts)
    assert parts[pickle].count(old) == 1
    return zipped({**parts, pickle: parts[pickle].replace(old, new)})


def text(value: str) -> bytes:
    """A text in a pickle."""
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


@pytest.mark.parametrize("name", [name for name in FILES if name != "lop-5.0.1"])
def test_a_file_of_3_4_or_4_is_a_frame_encoder_with_its_own_lmbda(name: str) -> None:
    release = name.rpartition("-")[2]
    frame_encoder, manager = parse_frame_encoder(content(name), "a.pt", lmbda=math.pi)

    choice = json.loads((FILES[name].parent / "choice.json").read_text())
    assert frame_encoder.param.release == release  # type: ignore[attr-defined]
    assert manager.lmbda == choice["lmbda"]
    assert frame_encoder.nn_q_step == {}  # what a sweep starts from is in full precision


@pytest.mark.parametrize("name", FILES)
def test_the_file_knows_what_the_official_sweep_chose(name: str) -> None:
    official = read_official(content(name))
    in_the_file = json.loads((FILES[name].parent / "choice.json").read_text())["in_the_file"]
    if name == "before-3.4.1":
        in_the_file = {}
    (state,) = official.states.values()

    assert state.q_steps == {module: QStepPair(**of["q_step"]) for module, of in in_the_file.items()}
    assert state.expgol_cnts == {module: Counts(**of["expgol_cnt"]) for module, of in in_the_file.items()}


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("before-3.4.1", "lop-5.0.1")])
def test_the_parameters_in_the_file_are_the_rounded_ones_of_those_in_full_precision(name: str) -> None:
    (state,) = read_official(content(name)).states.values()
    for module, pair in state.q_steps.items():
        for key in (key for key in state.current if key.startswith(f"{module}.")):
            step = pair.weight if ".weight" in key else pair.bias
            rounded = torch.round(state.full_precision[key].read() / step) * step
            assert torch.equal(rounded, state.current[key].read()), key


def test_a_file_from_before_the_sweep_holds_the_same_frame_encoder() -> None:
    before, after = (read_official(content(name)).tensors() for name in ("before-3.4.1", "lop-3.4.1"))

    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_latents_that_were_trained_on_after_the_sweep_are_left_out() -> None:
    (state,) = read_official(content("options-3.4.1")).states.values()
    latents = [key for key in state.current if key.startswith("latent_grids.")]
    assert any(not torch.equal(state.current[key].read(), state.full_precision[key].read()) for key in latents)

    frame_encoder, _ = parse_frame_encoder(content("options-3.4.1"), "a.pt")

    own = frame_encoder.state_dict()
    assert all(torch.equal(own[key], state.full_precision[key].read()) for key in latents)


def test_a_file_of_5_holds_no_lmbda() -> None:
    with pytest.raises(OfficialFileError, match="'lmbda' is missing, as in files of Cool-Chic 5"):
        parse_frame_encoder(content("lop-5.0.1"), "a.pt")

    _, manager = parse_frame_encoder(content("lop-5.0.1"), "a.pt", lmbda=0.001)

    assert manager.lmbda == 0.001


@pytest.mark.parametrize("name", FILES)
def test_an_official_file_becomes_a_checkpoint_of_this_project(name: str) -> None:
    ours, manager = parse_frame_encoder(content(name), "a.pt", lmbda=0.001)

    again, _ = parse_frame_encoder(dump_frame_encoder(ours, manager.lmbda), "a.safetensors")

    assert again.param == ours.param
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in ours.state_dict().items())


def test_metadata_of_5_are_those_of_the_format() -> None:
    metadata = read_official(content("lop-5.0.1")).metadata
    assert metadata["format"] == "coolchic-5"
    assert metadata["release"] == "5.0.1"
    assert json.loads(metadata["coolchics"]) == ["residue"]
    param = json.loads(metadata["residue.param"])
    assert param["hyperlatent_resolution"] == [4, 6]
    assert param["ifce_resolution"] == [0, 2]
    assert "lmbda" not in metadata


# --- several frames


@pytest.mark.parametrize(
    ("name", "index"), [("lop-3.4.1", 0), ("zeros-4.0.0", 0), ("lop-5.0.1", 0), ("lop-3.4.1", None)]
)
def test_the_only_frame_needs_no_choice(name: str, index: int | None) -> None:
    parse_frame_encoder(content(name), "a.pt", index, lmbda=0.001)


@pytest.mark.parametrize("name", ["lop-3.4.1", "zeros-4.2.1", "lop-5.0.1"])
def test_a_frame_that_is_not_in_the_file_is_an_error_that_lists_those_that_are(name: str) -> None:
    with pytest.raises(OfficialFileError, match=r"a\.pt: .*encoder_frame 3.*"):
        parse_frame_encoder(content(name), "a.pt", 3, lmbda=0.001)


# --- what is refused


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("lop-4.2.1", text("I"), text("P"), "its frame is of type 'P': of Cool-Chic 4, I frames are supported"),
        ("lop-4.2.1", text("keys_cc_enc"), text("keys_of_enc"), "of no release that is known"),
        ("lop-4.2.1", text("dist_weight"), text("dist_weighs"), None),
        ("lop-4.2.1", text("lmbda"), text("lambd"), "the file.frame_encoder_manager: 'lmbda' is missing"),
        (
            "lop-4.2.1",
            text("bitdepth") + b"q\x01K\x08",
            text("bitdepth") + b"q\x01K\x07",
            "bitdepth: 8 to 16; found 7",
        ),
        ("lop-4.2.1", text("rgb"), text("yuv"), "frame_data_type: rgb, yuv444 or yuv420; found 'yuv'"),
        ("lop-4.2.1", text("mse"), text("lpips"), "trained for a perceptual distance"),
        ("lop-4.2.1", text("latent_n_grids"), text("latent_m_grids"), "'latent_n_grids' is missing"),
        ("lop-5.0.1", text("flag_ifce"), text("flag_icfe"), None),
        (
            "lop-5.0.1",
            text("residue_full_precision_param"),
            text("residue_full_precision_paran"),
            "nothing to sweep",
        ),
        ("zeros-4.0.0", text("residue_full_precision_param"), text("residue_none"), "nothing to sweep"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(
    name: str, old: bytes, new: bytes, reason: str | None
) -> None:
    other = changed(name, old, new)
    if reason is None:  # an attribute that may be missing
        parse_frame_encoder(other, "a.pt", lmbda=0.001)
        return
    with pytest.raises(OfficialFileError, match=reason):
        parse_frame_encoder(other, "a.pt", lmbda=0.001)


def test_derived_attributes_of_5_are_compared() -> None:
    parts = members(content("lop-5.0.1"))
    name = pickle_name(parts)
    data = parts[name]
    at = data.index(b"K\x0a", data.index(text("n_latent_grids")))  # the number after its name
    other = zipped({**parts, name: data[:at] + b"K\x0b" + data[at + 2 :]})
    with pytest.raises(
        OfficialFileError, match="n_latent_grids does not follow from the other attributes: 10 is exp"
    ):
        read_official(other)


def test_a_checkpoint_of_another_release_is_refused_by_its_name() -> None:
    frame_encoder, _ = parse_frame_encoder(content("zeros-4.2.1"), "a.pt")
    tensors = {key: value.contiguous() for key, value in frame_encoder.state_dict().items()}
    metadata = frame_encoder.param.to_metadata() | {"lmbda": "0.001", "release": "4.9.0"}
    with pytest.raises(CheckpointError, match=r"a\.safetensors: release: one of .*; found '4\.9\.0'"):
        parse_frame_encoder(safetensors.torch.save(tensors, metadata), "a.safetensors")


def test_the_samples_are_all_here() -> None:
    assert {path.name for path in CHECKPOINTS.iterdir()} == {path.parent.name for path in FILES.values()}
