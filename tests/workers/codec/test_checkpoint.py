import io
import json
import math
import pickle
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.cases import Case
from tests.making import make_frame, make_frame_encoder
from workers.codec import check_match, dump_frame_encoder, parse_frame_encoder, read_frame_encoder
from workers.errors import CheckpointError, MismatchError

Tensors = dict[str, torch.Tensor]
Metadata = dict[str, str]


def refused(content: bytes, cause: str) -> None:
    """Assert that some bytes are refused with the file's name and the cause, a regular expression."""
    with pytest.raises(CheckpointError, match=rf"^folder/bad\.safetensors: .*{cause}"):
        parse_frame_encoder(content, "folder/bad.safetensors")


def contents() -> tuple[Tensors, Metadata]:
    """Tensors and metadata of a good checkpoint, to spoil."""
    frame_encoder = make_frame_encoder()
    tensors = {name: value.detach().clone() for name, value in frame_encoder.state_dict().items()}
    return tensors, frame_encoder.param.to_metadata() | {"lmbda": "0.001"}


def test_the_contents_that_the_following_tests_spoil_are_good() -> None:
    frame_encoder, manager = parse_frame_encoder(safetensors.torch.save(*contents()), "good.safetensors")

    assert manager.lmbda == 0.001
    assert not frame_encoder.training


def test_a_checkpoint_comes_back_as_it_was_written() -> None:
    ours = make_frame_encoder(
        "5-3-linear-relu,5-1-residual-none,3-1-linear-none",
        img_size=(9, 14),
        dim_arm=24,
        n_hidden_layers_arm=2,
        n_grids=4,
        ups_k_size=4,
        ups_preconcat_k_size=5,
        encoder_gain=8,
        frame_data_type="yuv420",
        bitdepth=10,
    )
    ours.nn_q_step = {"arm": {"weight": 2.0**-8, "bias": 2.0**-16}, "upsampling": {"weight": 0.5, "bias": 1.0}}
    ours.nn_expgol_cnt = {"arm": {"weight": 3, "bias": 12}, "upsampling": {"weight": 0, "bias": 0}}

    theirs, manager = parse_frame_encoder(dump_frame_encoder(ours, 1 / 3000), "a.safetensors")

    state = theirs.state_dict()
    assert theirs.param == ours.param
    assert manager.lmbda == 1 / 3000
    assert state.keys() == ours.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in ours.state_dict().items())
    assert theirs.nn_q_step == ours.nn_q_step
    assert theirs.nn_expgol_cnt == ours.nn_expgol_cnt


def test_steps_and_counts_are_in_the_metadata_under_the_names_that_users_rely_on() -> None:
    frame_encoder = make_frame_encoder()
    frame_encoder.nn_q_step["arm"] = {"weight": 0.25, "bias": 0.5}
    frame_encoder.nn_expgol_cnt["arm"] = {"weight": 1, "bias": 2}
    content = dump_frame_encoder(frame_encoder, 0.01)

    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]

    assert metadata["q_step.arm.weight"] == "0.25"
    assert metadata["q_step.arm.bias"] == "0.5"
    assert metadata["expgol_cnt.arm.weight"] == "1"
    assert metadata["expgol_cnt.arm.bias"] == "2"


def test_a_checkpoint_of_the_reference_has_the_tensors_and_metadata_that_we_write(case: Case) -> None:
    with safetensors.safe_open(case.folder / "encoder.safetensors", "pt") as file:
        metadata, names = file.metadata(), set(file.keys())

    assert set(case.frame_encoder.state_dict()) == names
    assert case.frame_encoder.param.to_metadata() | {"lmbda": metadata["lmbda"]} == metadata


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("write", "cause"),
    [(pickle.dumps, "no zip file of torch.save"), (lambda trap: saved_by_torch(trap), "is in no official file")],
    ids=["pickle", "torch.save"],
)
def test_a_pickle_is_refused_and_never_unpickled(write: Callable[[Any], bytes], cause: str, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    content = write(Trap(sprung))

    refused(content, cause)

    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()  # so the trap was a trap


def saved_by_torch(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def test_a_checkpoint_whose_first_byte_is_that_of_a_pickle_is_read() -> None:
    """The length of its header begins so, in one file of 32."""
    tensors, metadata = contents()
    found = [safetensors.torch.save(tensors, metadata | {"note": "x" * n}) for n in range(0, 256, 8)]
    alike = [content for content in found if content.startswith(b"\x80")]

    assert alike
    parse_frame_encoder(alike[0], "a.safetensors")


@pytest.mark.parametrize("n_bytes", [1, 7, 8, 100, -1, -2000])
def test_a_truncated_checkpoint_is_refused(n_bytes: int) -> None:
    refused(safetensors.torch.save(*contents())[:n_bytes], "is a safetensors file")


def test_an_empty_checkpoint_is_refused() -> None:
    refused(b"", "empty")


@pytest.mark.parametrize("header", [{}, {"__metadata__": None}], ids=["none", "null"])
def test_a_checkpoint_without_metadata_is_refused(header: dict[str, None]) -> None:
    text = json.dumps(header).encode()
    refused(len(text).to_bytes(8, "little") + text, "metadata key 'format' is missing")


@pytest.mark.parametrize("key", list(contents()[1]))
def test_a_metadata_key_that_is_missing_is_named(key: str) -> None:
    tensors, metadata = contents()
    del metadata[key]

    refused(safetensors.torch.save(tensors, metadata), f"metadata key '{key}'")


@pytest.mark.parametrize(
    ("key", "value", "cause"),
    [
        ("format", "coolchic-4.0", "'format' is 'coolchic-3.4' or 'coolchic-5'; found 'coolchic-4.0'"),
        ("img_size", "[12]", r"'img_size' is '\[height, width\]'; found '\[12\]'"),
        ("img_size", "[0, 17]", "img_size: .* found .0, 17"),
        ("img_size", "[65537, 1]", "img_size: .* found .65537, 1"),
        ("n_ft_per_res", "1,2,1", r"n_ft_per_res: .* in the last grid alone; found \(1, 2, 1\)"),
        ("n_ft_per_res", "0,1,1", r"n_ft_per_res: only the last grid may be .* in 3\.4; found \(0, 1, 1\)"),
        ("n_ft_per_res", "1,1,x", "'n_ft_per_res' is a few comma-separated integers; found '1,1,x'"),
        ("n_ft_per_res_cr", "1,1", "n_ft_per_res_cr: .* in 4.2 alone"),
        ("release", "3.3.0", r"release: one of 3\.4\.1, 4\.0\.0, 4\.1\.0, 4\.2\.1; found '3\.3\.0'"),
        ("encoder_gain", "much", "'encoder_gain' is a number; found 'much'"),
        ("encoder_gain", "inf", "'encoder_gain' is a number; found 'inf'"),
        ("n_ft_per_res", "", "'n_ft_per_res'"),
        ("dim_arm", "12", r"dim_arm: one of \[8, 16, 24, 32\]; found 12"),
        ("dim_arm", "8.0", "'dim_arm' is an integer; found '8.0'"),
        ("n_hidden_layers_arm", "17", "n_hidden_layers_arm: 0 to 16; found 17"),
        ("ups_k_size", "7", "ups_k_size: even, .* found 7"),
        ("ups_preconcat_k_size", "8", "ups_preconcat_k_size: odd, .* found 8"),
        ("encoder_gain", "0", "encoder_gain: .* found 0"),
        ("frame_data_type", "yuv422", "frame_data_type: .* found 'yuv422'"),
        ("bitdepth", "17", "bitdepth: 8 to 16; found 17"),
        ("lmbda", "small", "'lmbda' is a number; found 'small'"),
        ("lmbda", "-0.1", "'lmbda' is finite and not negative; found -0.1"),
        ("lmbda", "inf", "'lmbda' is finite and not negative; found inf"),
        ("q_step.arm.weight", "fine", "metadata of arm: .* found .*'fine'"),
        ("expgol_cnt.arm.bias", "1.5", "metadata of arm: .* found .*'1.5'"),
        ("layers_synthesis", "4-1-linear,3-3-linear-none", "'layers_synthesis': .* found '4-1-linear'"),
        ("layers_synthesis", "4-1-linear-gelu,3-3-linear-none", "'layers_synthesis': .* found '4-1-linear-gelu'"),
        ("layers_synthesis", "4-2-linear-relu,3-3-linear-none", "kernel is odd .* found '4-2-linear-relu'"),
        ("layers_synthesis", "4-1-residual-relu,3-3-linear-none", "residual layer keeps its 3 channels"),
        ("layers_synthesis", "4-1-linear-relu,4-3-residual-none", "last layer has 3 channels; found 4"),
    ],
)
def test_metadata_that_the_format_does_not_allow_are_refused(key: str, value: str, cause: str) -> None:
    tensors, metadata = contents()

    refused(safetensors.torch.save(tensors, metadata | {key: value}), cause)


def without(name: str) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.pop(name)


def with_value(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({name: change(tensors[name])})


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (without("arm.mlp.0.bias"), "missing .* arm.mlp.0.bias"),
        (without("upsampling.conv2ds.1.bias"), "missing .* upsampling.conv2ds.1.bias"),
        (lambda tensors: tensors.update({"arm.mlp.4.bias": torch.zeros(2)}), "does not have: arm.mlp.4.bias"),
        (with_value("latent_grids.1", lambda t: t[..., 1:].contiguous()), r"'latent_grids.1' .* \[1, 1, 6, 8\]"),
        (with_value("arm.mlp.2.weight", lambda t: t.flatten()), r"'arm.mlp.2.weight' .* \[16\]"),
        (with_value("arm.mlp.0.weight", torch.Tensor.half), "'arm.mlp.0.weight' is float32; found torch.float16"),
        (with_value("synthesis.layers.0.bias", lambda t: t * math.nan), "'synthesis.layers.0.bias' .* NaN"),
        (with_value("latent_grids.0", lambda t: t.fill_(math.inf)), "'latent_grids.0' .* infinite"),
    ],
    ids=["missing", "missing unused", "unknown", "wrong size", "wrong rank", "float16", "nan", "inf"],
)
def test_tensors_that_do_not_fit_the_metadata_are_refused(spoil: Callable[[Tensors], object], cause: str) -> None:
    tensors, metadata = contents()
    spoil(tensors)

    refused(safetensors.torch.save(tensors, metadata), cause)


@contextmanager
def no_more_memory_than(n_bytes: int) -> Iterator[None]:
    """Let this process reserve only so much memory more than it has."""
    reserved = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (reserved + n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    ("key", "value", "cause"),
    [
        ("img_size", "[65536, 65536]", "'latent_grids.0'"),
        ("layers_synthesis", ",".join(["1024-31-linear-relu"] * 8 + ["3-1-linear-none"]), "missing"),
    ],
)
def test_small_tensors_of_huge_metadata_are_refused_before_anything_is_allocated(
    key: str, value: str, cause: str
) -> None:
    tensors, metadata = contents()

    with no_more_memory_than(1 << 30):
        refused(safetensors.torch.save(tensors, metadata | {key: value}), cause)


def test_a_checkpoint_file_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(safetensors.torch.save(*contents()))

    assert read_frame_encoder(path)[0].param.img_size == (12, 17)


def test_a_checkpoint_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"missing\.safetensors: .*No such file"):
        read_frame_encoder(tmp_path / "missing.safetensors")


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (
            {"img_size": (12, 17)},
            {"img_size": (17, 12)},
            "frame of 17×12 rgb 8 bits; the frame is 12×17 rgb 8 bits",
        ),
        (
            {"frame_data_type": "rgb"},
            {"frame_data_type": "yuv444"},
            "17×12 rgb 8 bits; the frame is 17×12 yuv444 8",
        ),
        ({"bitdepth": 8}, {"bitdepth": 10}, "17×12 rgb 8 bits; the frame is 17×12 rgb 10 bits"),
    ],
)
def test_a_frame_encoder_for_another_kind_of_frame_is_refused(
    ours: dict[str, Any], theirs: dict[str, Any], message: str
) -> None:
    frame_encoder, other = make_frame_encoder(**ours), make_frame_encoder(**theirs)

    check_match(make_frame(frame_encoder), frame_encoder)
    with pytest.raises(MismatchError, match=re.escape(message)):
        check_match(make_frame(other), frame_encoder)
