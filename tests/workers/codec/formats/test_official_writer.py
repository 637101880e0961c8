"""Official files that are written: the official program resumes from them, and they are read again as they were."""

import collections
import io
import struct
import zipfile
from copy import deepcopy
from typing import Any

import pytest
import torch

from tests.making import make_frame_encoder
from tests.workers.codec.formats.files import FILES
from workers.codec import FrameEncoder, parse_frame_encoder
from workers.codec.formats.construction import CLASSES
from workers.codec.formats.official import read_official
from workers.codec.formats.official_writer import SweptEncoder, dump_official
from workers.codec.formats.stored import BytesFile, EncodedText, InertObject, StoredTensor, Value
from workers.codec.formats.torch_file import read_torch_file, write_torch_file
from workers.errors import CheckpointError, OfficialFileError

SWEPT = [name for name in FILES if name != "before-3.4.1"]


def content(name: str) -> bytes:
    return FILES[name].read_bytes()


def swept(name: str) -> SweptEncoder:
    """What the official sweep made of the encoder in a file."""
    before, manager = parse_frame_encoder(content(name), name, lmbda=0.001)
    after = deepcopy(before)
    ((prefix, state),) = read_official(content(name)).states.items()
    after.load_state_dict({prefix + key: value.read() for key, value in state.current.items()})
    for module, pair in state.q_steps.items():
        after.nn_q_step[prefix + module] = pair._asdict()
        after.nn_expgol_cnt[prefix + module] = state.expgol_cnts[module]._asdict()
    return SweptEncoder(before, after, manager.lmbda)


def quantized(frame_encoder: FrameEncoder) -> SweptEncoder:
    """An encoder quantized with steps of a quarter."""
    after = deepcopy(frame_encoder)
    for spec in after.networks:
        own = after.get_network_parameters(spec.id)
        after.set_network_parameters(spec.id, {name: torch.round(4 * value) / 4 for name, value in own.items()})
        after.nn_q_step[spec.prefix] = {"weight": 0.25, "bias": 0.25}
        after.nn_expgol_cnt[spec.prefix] = {"weight": 1, "bias": 2}
    return SweptEncoder(frame_encoder, after, 0.001)


def assert_same(found: Value, expected: Value, where: str = "") -> None:
    """Types, the order of items, and all numbers are the same; a file within the file likewise."""
    assert type(found) is type(expected), where
    if isinstance(found, InertObject) and isinstance(expected, InertObject):
        assert found.name == expected.name, where
        assert_same(found.attributes, expected.attributes, where)
    elif isinstance(found, dict) and isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key, value in found.items():
            assert_same(value, expected[key], f"{where}.{key}")
    elif isinstance(found, list | tuple) and isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other, where)
    elif isinstance(found, StoredTensor) and isinstance(expected, StoredTensor):
        assert found.shape == expected.shape, where
        assert torch.equal(found.read(), expected.read()), where
    elif isinstance(found, BytesFile) and isinstance(expected, BytesFile):
        assert_same(nested(found), nested(expected), where)
    else:
        assert found == expected, where


def nested(file: BytesFile) -> Value:
    assert file.encoded is not None
    return read_torch_file(file.encoded.content())


@pytest.mark.parametrize("name", SWEPT)
def test_the_sweep_of_a_file_put_back_in_gives_that_file(name: str) -> None:
    of_file = swept(name)
    of_file.check()

    written = dump_official(of_file, origin=content(name))

    assert_same(read_torch_file(written), read_torch_file(content(name)))


@pytest.mark.parametrize("name", SWEPT)
def test_an_encoder_of_another_origin_gets_the_layout_of_its_release(name: str) -> None:
    written = dump_official(swept(name))

    assert_same(outline(read_torch_file(written)), outline(read_torch_file(content(name))))
    found, expected = (read_official(each) for each in (written, content(name)))
    assert found.metadata == expected.metadata
    for prefix, state in expected.states.items():
        assert found.states[prefix].q_steps == state.q_steps
        assert found.states[prefix].expgol_cnts == state.expgol_cnts
        assert_same(dict(found.states[prefix].current), dict(state.current))
        assert_same(dict(found.states[prefix].full_precision), dict(state.full_precision))


def outline(value: Value) -> Value:
    """Where something is in a file, and what kind of thing; a recipe, and how long a training took, left out."""
    if isinstance(value, InertObject):
        if value.name.endswith("Manager"):
            of_training = {
                "iterations_counter",
                "total_training_time_sec",
                "best_loss",
                "idx_best_loop",
                "frame_type",
            }
            kept = sorted(value.attributes.keys() - of_training - {"loop_counter"})
            return [value.name, *kept]
        return InertObject(value.name, dict.fromkeys(sorted(value.attributes)))
    if isinstance(value, dict):
        return {key: outline(each) for key, each in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [outline(each) for each in value]
    if isinstance(value, BytesFile):
        return outline(nested(value))
    return None


class Plain:
    """Stands for any class of the official program."""


class File:
    def __setstate__(self, state: tuple[bytes, int, None]) -> None:
        self.content, self.position, _ = state


def load(file: bytes) -> Any:
    """What PyTorch itself reads."""
    stand_ins = [(type(name.rpartition(".")[2], (Plain,), {}), name) for name in sorted(CLASSES)]
    with torch.serialization.safe_globals([*stand_ins, (File, "_io.BytesIO")]):
        return torch.load(io.BytesIO(file), weights_only=True)


@pytest.mark.parametrize("of_file", [True, False])
@pytest.mark.parametrize("name", SWEPT)
def test_pytorch_reads_what_is_written(name: str, of_file: bool) -> None:
    given = swept(name)
    loaded = load(dump_official(given, origin=content(name) if of_file else None))

    param = "residue_param"
    if "3.4" in name:
        file, manager = loaded["all_frame_encoders"]["0"]
        assert manager.loop_counter >= manager.n_loops
        assert loaded["coding_structure"].frames[0].already_encoded is True
        assert file.position == len(file.content)
        loaded, param = load(file.content), "coolchic_encoder_param"
    state = loaded[param.removesuffix("_param")]
    assert type(state) is collections.OrderedDict
    prefix = given.quantized.family.prefix("residue")
    expected = given.quantized.state_dict()
    assert {prefix + key for key in state} == expected.keys()
    assert all(torch.equal(value, expected[prefix + key]) for key, value in state.items())
    assert type(loaded[param].img_size) is (tuple if "5.0" in name else torch.Size)


def test_tensors_are_aligned_as_pytorch_aligns_them() -> None:
    written = dump_official(swept("lop-4.2.1"))
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        for entry in archive.infolist():
            lengths = struct.unpack_from("<2H", written, entry.header_offset + 26)
            assert (entry.header_offset + 30 + sum(lengths)) % 64 == 0, entry.filename


# --- several frames


def two_frames() -> bytes:
    """A file of 3.4 whose second frame in coding order is the first one that is shown."""
    file, other = (read_torch_file(content(name)) for name in ("lop-3.4.1", "options-3.4.1"))
    assert isinstance(file, dict)
    assert isinstance(other, dict)
    structure, encoders, others = file["coding_structure"], file["all_frame_encoders"], other["all_frame_encoders"]
    assert isinstance(structure, InertObject)
    assert isinstance(encoders, dict)
    assert isinstance(others, dict)
    (first,) = structure.attributes["frames"]  # type: ignore[misc, union-attr]
    assert isinstance(first, InertObject)
    second = InertObject(first.name, first.attributes | {"coding_order": 1, "display_order": 4})
    first.attributes["display_order"] = 7
    structure.attributes["frames"] = [first, second]
    encoders["1"] = others["0"]
    return write_torch_file(file, "video_encoder")


def test_a_frame_is_chosen_by_its_display_index() -> None:
    for index, name in ((7, "lop-3.4.1"), (4, "options-3.4.1")):
        chosen, manager = parse_frame_encoder(two_frames(), "a.pt", index)
        alone, of_alone = parse_frame_encoder(content(name), "a.pt")
        assert chosen.param == alone.param
        assert manager.lmbda == of_alone.lmbda
        assert all(torch.equal(value, chosen.state_dict()[key]) for key, value in alone.state_dict().items())


def test_the_frames_of_a_file_are_listed_where_none_is_chosen() -> None:
    with pytest.raises(OfficialFileError, match=r"holds 2 frames: choose one by encoder_frame; .* indices 4, 7$"):
        parse_frame_encoder(two_frames(), "a.pt")
    with pytest.raises(OfficialFileError, match=r"no frame of encoder_frame 0; found display indices 4, 7$"):
        parse_frame_encoder(two_frames(), "a.pt", 0)


def test_other_frames_of_the_file_are_kept() -> None:
    given = swept("options-3.4.1")

    written = dump_official(quantized(given.full_precision), origin=two_frames(), encoder_frame=4)

    assert read_official(written, 7).metadata == read_official(content("lop-3.4.1")).metadata
    (state,) = read_official(written, 4).states.values()
    assert {pair.weight for pair in state.q_steps.values()} == {0.25}
    assert_same(
        dict(read_official(written, 7).states[""].current), dict(read_official(two_frames(), 7).states[""].current)
    )


# --- releases


@pytest.mark.parametrize("release", ["3.4.1", "4.0.0", "4.1.0", "4.2.1"])
def test_an_encoder_is_written_for_another_release(release: str) -> None:
    given = quantized(make_frame_encoder())

    again, _ = parse_frame_encoder(dump_official(given, release), "a.pt")

    assert again.param.release == release
    assert all(
        torch.equal(value, again.state_dict()[key]) for key, value in given.full_precision.state_dict().items()
    )


@pytest.mark.parametrize(
    ("features", "own", "release", "reason"),
    [
        ((0, 1, 1), "4.0.0", "4.2.1", "4.2.1 computes another picture than 4.0.0"),
        ((0, 1, 1), "4.2.1", "3.4.1", "only the last grid may be without features in 3.4"),
        ((1, 1, 1), "3.4.1", "5.0.1", "an encoder of 3.4.1 cannot be one of 5.0.1"),
        ((1, 1, 1), "3.4.1", "4.9", "release: one of 3.4.1, .*, 5.0.1; found '4.9'"),
    ],
)
def test_a_release_that_cannot_hold_an_encoder_is_refused(
    features: tuple[int, ...], own: str, release: str, reason: str
) -> None:
    given = quantized(make_frame_encoder(n_ft_per_res=features, release=own))
    with pytest.raises(CheckpointError, match=reason):
        dump_official(given, release)


# --- what does not belong together


def test_an_encoder_that_is_not_the_one_that_was_swept_is_refused() -> None:
    given = quantized(make_frame_encoder())
    other = deepcopy(given.full_precision)
    with torch.no_grad():
        other.arm.mlp[0].weight.add_(9)  # 36 steps
    with pytest.raises(
        CheckpointError, match=r"has changed since: weight parameters of residue.arm differ by up to 36"
    ):
        SweptEncoder(other, given.quantized, 0.001).check()
    with pytest.raises(CheckpointError, match="the architecture is another"):
        SweptEncoder(make_frame_encoder(dim_arm=16), given.quantized, 0.001).check()
    with pytest.raises(CheckpointError, match=r"residue.arm is not quantized"):
        SweptEncoder(other, given.full_precision, 0.001).check()


@pytest.mark.parametrize("depth", [59, 61])
def test_a_value_is_nested_as_deeply_as_files_are(depth: int) -> None:
    value: Value = []
    for _ in range(depth):
        value = [value]
    if depth < 60:
        assert read_torch_file(write_torch_file(value, "a")) == value
        return
    with pytest.raises(OfficialFileError, match="nested in more than 60 others"):
        write_torch_file(value, "a")


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Value] = []
    value.append({"again": value})
    with pytest.raises(OfficialFileError, match="a list in it holds itself"):
        write_torch_file(value, "a")


def test_what_stands_in_many_places_is_written_once() -> None:
    value: Value = [EncodedText("text")]
    for _ in range(50):
        value = [value, value]  # 2^50 paths
    assert len(write_torch_file(value, "a")) < 3000
