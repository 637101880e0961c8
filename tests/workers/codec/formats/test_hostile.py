"""Official files that are damaged or made to do harm: a reason, soon, and nothing is executed."""

import multiprocessing
import random
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.workers.codec.formats.files import FILES, members, pickle_name, with_pickle, zipped
from workers.codec import FrameEncoder, parse_frame_encoder
from workers.codec.formats.torch_file import read_torch_file
from workers.errors import CheckpointError, OfficialFileError

HOSTILE = Path(__file__).parent / "hostile"

REASONS = {
    "bytearray_bomb": r"the name 'builtins\.bytearray' is in no official file",
    "class_of_the_package": r"the name 'enc\.utils\.misc\.get_best_device' is in no official file",
    "cycle": "of no release that is known",
    "dotted_name": "found protocol 4",
    "doubling_bomb": "of no release that is known",
    "image_too_large": r"img_size: sides of 1 to 65536; found \(1048576, 1048576\)",
    "layers_lie": "a residual layer keeps its 9 channels; found '3-3-residual-none'",
    "lost_storage": "the storage '3' is not in the file",
    "memo_bomb": "of no release that is known",
    "nested_reduce": r"frame 0, a file within the file: .*the name 'posix\.system' is in no official file",
    "nested_truncated": "frame 0, a file within the file: the zip file's end is missing",
    "nesting_bomb": "of no release that is known",
    "offset_beyond": "a tensor reaches to element 1073741824 of a storage that has 1",
    "parameter_missing": r"'arm\.mlp\.0\.weight' has shape \[16, 16\] among the former and None among the latter",
    "raw_pickle": "no zip file of torch.save",
    "reduce": r"the name 'posix\.system' is in no official file",
    "reduce_getattr": r"the name 'builtins\.eval' is in no official file",
    "reduce_inst": "the opcode INST is not in any official file",
    "reduce_nt_name": r"the name 'os\.system' is in no official file",
    "reduce_obj": r"the name 'posix\.system' is in no official file",
    "reduce_protocol4": "found protocol 4",
    "shape_above_storage": "a tensor has 16777216 elements, and its storage 1",
    "short_storage": "the storage '3' of 1026 numbers has 2052 bytes",
    "strides_of_zero": "a tensor has 40000000000 elements, and its storage 1",
    "tensor_bomb": r"the name 'torch\.Tensor' is in no official file",
    "truncated": "the zip file's end is missing",
    "truncated_pickle": "the pickle ends early",
    "unknown_class": r"the name 'somebody\.models\.Thing' is in no official file",
    "zip_bomb": "is compressed",
}


def test_there_is_a_reason_for_every_file() -> None:
    assert {path.stem for path in HOSTILE.glob("*.pt")} == REASONS.keys()


@pytest.mark.parametrize("name", REASONS)
def test_a_hostile_file_is_refused_with_its_reason(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (HOSTILE / f"{name}.pt").read_bytes()
    monkeypatch.chdir(tmp_path)

    start = time.process_time()  # which does not grow with what else the machine does
    with pytest.raises(OfficialFileError, match=REASONS[name]) as raised:
        parse_frame_encoder(content, "folder/bad.pt")
    assert time.process_time() - start < 1

    assert raised.value.file == "folder/bad.pt"
    assert str(raised.value) == f"folder/bad.pt: {raised.value.reason}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", REASONS)
def test_a_hostile_file_asks_for_no_memory(name: str) -> None:
    content = (HOSTILE / f"{name}.pt").read_bytes()
    tracemalloc.start()
    with pytest.raises(OfficialFileError):
        parse_frame_encoder(content, name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000 + 64 * len(content)


def reason_of_pickle(data: bytes) -> str:
    with pytest.raises(OfficialFileError) as raised:
        read_torch_file(with_pickle(data))
    return raised.value.reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x02" + b"}" * (1 << 19), "more than 524288 opcodes"),
        (b"\x80\x02\x8a\xff" + bytes(255) + b".", "at most 64 bits"),
        (b"\x80\x02X\xff\xff\xff\xff" + b"a.", "ends early"),
        (b"\x80\x02X\x01\x00\x00\x00\xff.", "not UTF-8"),
        (b"\x80\x02K\x01}s.", "takes more values than there are"),
        (b"\x80\x02}K\x01K\x01s.", "a key is a text"),
        (b"\x80\x02t.", "looks for a mark"),
        (b"\x80\x02(0.", "the opcode POP is not"),
        (b"\x80\x02}}.", "something is left over"),
        (b"\x80\x02}.}", "something is left over"),
        (b"\x80\x02h\x07.", "refers to part 7"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "the call of torch.FloatStorage"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "no class of the official program"),
        (b"\x80\x02cenc.utils.manager\nFrameEncoderManager\n)R.", "the call of enc.utils.manager.FrameEncoderM"),
        (b"\x80\x02cenc.utils.manager\nFrameEncoderManager\nK\x01\x85\x81.", "without arguments"),
        (b"\x80\x02c" + b"a" * 10_000, "far too long"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00rot\x86R.", "the call of _codecs.encode"),
        (b"\x80\x02K\x01}b.", "cannot be the state"),
    ],
)
def test_a_pickle_that_no_official_file_has_is_refused(data: bytes, reason: str) -> None:
    assert reason in reason_of_pickle(data)


def test_many_views_of_one_storage_are_refused() -> None:
    """Each is small enough, and all of them together are larger than the file."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuM\x00\x04tQ"
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00M\x00\x04\x85K\x01\x85\x89ccollections\n"
        b"OrderedDict\n)RtR"
    )
    parts = {"a/data.pkl": b"", "a/data/0": bytes(4 * 1024)}
    read_torch_file(with_pickle(b"\x80\x02" + tensor + b".", parts))
    with pytest.raises(OfficialFileError, match="more elements together than the file's storages"):
        read_torch_file(with_pickle(b"\x80\x02(" + 2 * tensor + b"t.", parts))


def test_objects_that_are_nested_deeply_are_forgotten_without_recursion() -> None:
    depth = 40_000
    data = (
        b"\x80\x02(" + b"cenc.utils.manager\nFrameEncoderManager\nq\x00" + b"h\x00)\x81}X\x01\x00\x00\x00a" * depth
    )
    value = read_torch_file(with_pickle(data + b"N" + b"sb" * depth + b"t."))
    assert isinstance(value, tuple)
    del value


def test_a_zip_file_of_another_kind_is_refused() -> None:
    parts = members(FILES["zeros-4.2.1"].read_bytes())
    read_torch_file(zipped(parts))
    name = pickle_name(parts)
    cases = {
        "is compressed": zipped(parts, zipfile.ZIP_DEFLATED),
        "one folder with one data.pkl": zipped({**parts, "other/data.pkl": parts[name]}),
        "one folder with one": zipped({key: part for key, part in parts.items() if key != name}),
        "little-endian; found b'big'": zipped({**parts, name.replace("data.pkl", "byteorder"): b"big"}),
    }
    for reason, content in cases.items():
        with pytest.raises(OfficialFileError, match=reason):
            read_torch_file(content)


def test_an_altered_number_is_told() -> None:
    content = bytearray(FILES["zeros-4.2.1"].read_bytes())
    content[content.index(members(bytes(content))["0000-frame_encoder/data/3"]) + 100] ^= 1
    with pytest.raises(OfficialFileError, match=r"'0000-frame_encoder/data/3' is damaged: its checksum"):
        read_torch_file(bytes(content))


# --- mutations

_SNIPPETS = (
    b"(",
    b"t",
    b"}",
    b"]",
    b")",
    b"N",
    b"\x88",
    b"K\x00",
    b"\x81",
    b"b",
    b"R",
    b"Q",
    b"s",
    b"u",
    b"a",
    b"e",
)
_NUMBERS = (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)


def altered(content: bytes, rng: random.Random) -> bytes:
    """A few changes: bits, bytes, numbers, opcodes, parts that are cut out or doubled."""
    body = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(body) + 1)
        match rng.randrange(7):
            case 0 if at < len(body):
                body[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(body):
                body[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                body[at : at + 4] = struct.pack("<I", rng.choice((*_NUMBERS, len(content))))
            case 3:
                del body[at : at + rng.randrange(1, 40)]
            case 4:
                body[at:at] = body[at : at + rng.randrange(1, 40)]
            case 5:
                body[at : at + rng.randrange(2)] = rng.choice(_SNIPPETS)
            case _:
                body[at:at] = rng.randbytes(rng.randrange(1, 8))
    return bytes(body)


def mutations(seed: int) -> Iterator[bytes]:
    """Official files with changes, most of them in what the checksums protect, with right checksums again."""
    rng = random.Random(seed)
    files = [path.read_bytes() for path in FILES.values()]
    opened = [members(content) for content in files]
    while True:
        number = rng.randrange(len(files))
        if rng.random() < 0.2:
            yield altered(files[number], rng)
            continue
        parts = opened[number]
        name = pickle_name(parts) if rng.random() < 0.8 else rng.choice(sorted(parts))
        yield zipped({**parts, name: altered(parts[name], rng)})


def fuzz(n: int, seed: int) -> tuple[int, int]:
    """Read mutated files: each is refused with a reason or read, and soon. How many were read, and refused."""
    n_read = 0
    for number, content in zip(range(n), mutations(seed), strict=False):
        start = time.process_time()
        try:
            frame_encoder, _ = parse_frame_encoder(content, "a.pt", lmbda=0.001)
        except CheckpointError as error:  # of another kind, where it does not begin as a zip file any more
            reason = str(error)
        else:
            reason = "read"
            assert isinstance(frame_encoder, FrameEncoder)
            assert all(value.isfinite().all() for value in frame_encoder.state_dict().values())
            n_read += 1
        assert 0 < len(reason) < 1000, f"mutation {number} of seed {seed}"
        assert "\n" not in reason, f"mutation {number} of seed {seed}"
        assert time.process_time() - start < 10, f"mutation {number} of seed {seed}"
    return n_read, n - n_read


def test_three_thousand_mutated_files_are_refused_or_read() -> None:
    n_read, n_refused = fuzz(3000, seed=0)
    assert n_read > 100
    assert n_refused > 1000


@pytest.mark.thorough
def test_a_hundred_thousand_mutated_files_are_refused_or_read() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, initializer=torch.set_num_threads, initargs=(1,)) as processes:
        list(processes.map(fuzz, [50_000] * 2, [1, 2]))
