"""Files that are truncated, altered or made to do harm: a clear error in bounded time, never a wrong picture."""

import binascii
import contextlib
import itertools
import multiprocessing
import random
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from tests.cases import SYNTHESIS
from tests.making import make_frame_encoder, make_param
from tests.making_5 import make_frame_encoder_5, make_metadata_5
from tests.workers.bitstream.encoding import STEPS, quantized
from workers.bitstream import coding, decode_frame, encode_frame
from workers.bitstream.architecture_fields import write_architecture
from workers.bitstream.container import pack, unpack
from workers.bitstream.content import Bitstream
from workers.bitstream.exp_golomb import BitWriter
from workers.bitstream.latent_coder import MAX_LATENT, encode_latents
from workers.bitstream.networks import Quantization, QuantizedNetworks, tensors
from workers.bitstream.reconstruction import reconstruct
from workers.candidates import KINDS, RESIDUE, QStepPair
from workers.codec import EncoderParameter, Frame, FrameEncoder
from workers.codec.coolchic_5.parameter import Coolchic5Parameter
from workers.errors import BitstreamError, InputError

MAX_PIXELS = 4096


def sealed(body: bytes, version: int = 1) -> bytes:
    """A file of any body, whose checksum is right."""
    if version == 1:
        return b"qsw\x01" + struct.pack("<I", zlib.crc32(body)) + body
    return b"qsw\x02" + struct.pack("<H", binascii.crc_hqx(body, 0xFFFF)) + body


def body_of(content: bytes) -> bytes:
    """What the checksum is of."""
    return content[8 if content[3] == 1 else 6 :]


FRAME_ENCODERS: dict[str, Callable[[], FrameEncoder]] = {
    "version 1": lambda: make_frame_encoder(img_size=(9, 14)),
    "version 2, 5": lambda: make_frame_encoder_5(img_size=(9, 14)),
    "version 2, 3.4": lambda: make_frame_encoder(
        img_size=(9, 14), n_ft_per_res=(1, 1, 2), n_ft_per_res_cr=(1, 0, 1), release="4.2.1"
    ),
}


@pytest.fixture(scope="module", params=FRAME_ENCODERS)
def content(request: pytest.FixtureRequest) -> bytes:
    return encode_frame(quantized(FRAME_ENCODERS[request.param]())).content


@pytest.fixture(scope="module")
def content_1() -> bytes:
    return encode_frame(quantized(FRAME_ENCODERS["version 1"]())).content


@pytest.fixture(scope="module")
def frame(content: bytes) -> Frame:
    return decode_frame(content)


def error_of(content: bytes) -> str:
    with pytest.raises(BitstreamError) as raised:
        decode_frame(content, max_pixels=MAX_PIXELS)
    assert str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_every_truncation_is_told(content: bytes) -> None:
    for n in range(len(content)):
        error_of(content[:n])
    error_of(content + b"\0")


def test_every_altered_byte_is_told(content: bytes) -> None:
    for n in range(len(content)):
        for flip in (1, 0x80, 0xFF):
            error_of(content[:n] + bytes([content[n] ^ flip]) + content[n + 1 :])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (b"", "it is empty"),
        (b"qs", "begins with"),
        (b"qsw", "truncated: the version is missing"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "begins with"),
        (b"qsw\x07" + bytes(100), "version 7"),
        (b"qsw\x01" + bytes(100), "checksum"),
        (b"qsw\x02" + bytes(100), "checksum"),
        (b"qsw\x01", "ends early"),
        (b"qsw\x02", "ends early"),
        (sealed(b""), "ends early"),
        (sealed(b"", 2), "ends early"),
        (sealed(bytes(4), 2), "fields of header and parameters end early"),
        (sealed(bytes(400), 2), "fields of header and parameters end early, or one exceeds 1"),
    ],
)
def test_other_files_are_told(other: bytes, message: str) -> None:
    assert message in error_of(other)


def test_a_frame_that_is_too_large_is_refused_before_anything_is_made_for_it(content_1: bytes) -> None:
    body = bytearray(body_of(content_1))
    body[4:8] = struct.pack("<HH", 65535, 65535)
    start = time.process_time()  # which does not grow with what else the machine does
    with pytest.raises(BitstreamError, match="at most 33554432 luma samples are accepted; found 65536×65536"):
        decode_frame(sealed(bytes(body)))
    assert time.process_time() - start < 1
    with pytest.raises(BitstreamError, match="at most 100 luma"):
        decode_frame(content_1, max_pixels=100)


def with_fields(n_plain: int = 0, **changes: Any) -> bytes:
    """A file of version 2 of a frame encoder of Cool-Chic 5 whose parameters are all zero, and no latents."""
    param = Coolchic5Parameter.from_metadata(make_metadata_5(**changes))
    bits = BitWriter()
    write_architecture(bits, param)
    for _ in itertools.product(param.networks, KINDS):
        bits.write_integers([0], 3)
        bits.write_magnitude(0, 1)
    bits.write_magnitude(n_plain, 0)
    return sealed(bytes(4) + bits.to_bytes(), 2)


LARGE = {"img_size": (65536, 65536)}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (with_fields(**LARGE), "at most 33554432 luma samples are accepted; found 65536×65536"),
        (
            with_fields(layers_synthesis=["1024-31-linear-relu", "1024-31-linear-relu", "3-1-linear-none"]),
            r"at most 4194304 parameters; found 101\d+",
        ),
        (with_fields(n_plain=1 << 39), "549755813888 bytes of plain bits are wanted of 0"),
    ],
    ids=["frame", "networks", "plain bits"],
)
def test_what_a_file_of_version_2_asks_for_is_bounded(file: bytes, message: str) -> None:
    """Parameters that are all zero take no bits: a few bytes could ask for any size."""
    start = time.process_time()
    with pytest.raises(BitstreamError, match=message):
        decode_frame(file)
    assert time.process_time() - start < 1


def test_latents_are_bounded_whatever_their_channels() -> None:
    many = make_frame_encoder("3-1-linear-none", img_size=(64, 64), dim_arm=32, n_ft_per_res=(64,))
    content = encode_frame(quantized(many)).content
    decode_frame(content)
    with pytest.raises(BitstreamError, match="inputs of the synthesis are at most 131072 numbers; found 524288"):
        decode_frame(content, max_pixels=4096)
    # 1122 of the arm, once for each channel.
    with pytest.raises(BitstreamError, match=r"at most 20000 parameters .*; found 72003"):
        decode_frame(content, max_pixels=20_000)


def test_a_large_file_of_version_2_is_not_taken_apart_at_once(content: bytes) -> None:
    """What follows the parameters may be of any size."""
    file = sealed(body_of(content) + bytes(1 << 24), content[3])
    tracemalloc.start()
    with contextlib.suppress(BitstreamError):
        unpack(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 << 24  # copies of it, and not a character for each bit


def test_an_architecture_is_no_larger_than_its_parameters(content_1: bytes) -> None:
    """Memory is not asked for because a header says so."""
    body = bytearray(body_of(content_1))
    at = 15  # the first layer
    body[at : at + 3] = struct.pack("<HB", 1024, 31 << 2)
    error_of(sealed(bytes(body)))


def test_more_work_than_a_frame_of_this_size_may_make_is_refused() -> None:
    layers = "64-1-linear-relu,64-3-linear-relu,3-1-linear-none"
    heavy = encode_frame(quantized(make_frame_encoder(layers, img_size=(9, 14)))).content
    decode_frame(heavy)
    with pytest.raises(BitstreamError, match=r"a frame of 14×9 has at most 4096 parameters .*; found 37\d\d\d"):
        decode_frame(heavy, max_pixels=9 * 14)


def mutations(content: bytes, seed: int) -> Iterator[bytes]:
    """Bodies with a few changes: bits, bytes, numbers, parts that are cut out, doubled or moved."""
    rng = random.Random(seed)
    while True:
        body = bytearray(content)
        for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
            at = rng.randrange(len(body) + 1) if rng.random() < 0.5 else rng.randrange(min(60, len(body) + 1))
            kind = rng.randrange(6)
            if kind == 0 and at < len(body):
                body[at] ^= 1 << rng.randrange(8)
            elif kind == 1 and at < len(body):
                body[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            elif kind == 2:
                body[at : at + 4] = struct.pack("<I", rng.choice((0, 1, len(content), 2**31, 2**32 - 1)))
            elif kind == 3:
                del body[at : at + rng.randrange(1, 20)]
            elif kind == 4:
                body[at:at] = body[at : at + rng.randrange(1, 20)]
            else:
                body[at:at] = rng.randbytes(rng.randrange(1, 8))
        yield bytes(body)


def fuzz(content: bytes, frame: Frame, n: int, seed: int) -> None:
    """Decode mutated files: each gives the frame it was, or an error, and soon."""
    for number, body in zip(range(n), mutations(body_of(content), seed), strict=False):
        start = time.process_time()
        try:
            decoded = decode_frame(sealed(body, content[3]), max_pixels=MAX_PIXELS)
        except BitstreamError:
            pass
        else:
            # A change of what no decoder reads, such as the zeros that fill a byte, leaves the frame as it was.
            planes = zip(decoded.data.tensors, frame.data.tensors, strict=True)
            assert all(torch.equal(ours, theirs) for ours, theirs in planes), f"mutation {number} of seed {seed}"
        assert time.process_time() - start < 10, f"mutation {number} of seed {seed}"


def test_a_thousand_mutated_files_do_no_harm(content: bytes, frame: Frame) -> None:
    fuzz(content, frame, 1000 if content[3] == 1 else 500, seed=0)


@pytest.mark.slow
def test_a_hundred_thousand_mutated_files_do_no_harm(content: bytes, frame: Frame) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, initializer=torch.set_num_threads, initargs=(1,)) as processes:
        n = 50_000 // len(FRAME_ENCODERS)  # of all files together a hundred thousand
        list(processes.map(fuzz, [content] * 2, [frame] * 2, [n] * 2, [1, 2]))


# --- what cannot be encoded


def test_networks_that_were_not_quantized_are_refused() -> None:
    with pytest.raises(InputError, match="the arm has not been quantized"):
        encode_frame(make_frame_encoder())


def test_steps_that_are_no_powers_of_two_are_refused() -> None:
    steps = STEPS | {SYNTHESIS: QStepPair(0.3, 0.25)}
    with pytest.raises(InputError, match=r"powers of two; the synthesis's is 0\.3"):
        encode_frame(quantized(make_frame_encoder(), steps))


def test_parameters_that_were_changed_after_quantization_are_refused() -> None:
    frame_encoder = quantized(make_frame_encoder())
    with torch.no_grad():
        frame_encoder.arm.linears[0].weight[0, 0] += 1e-3
    with pytest.raises(InputError, match=r"multiples of their step; those of arm\.mlp\.0\.weight are not"):
        encode_frame(frame_encoder)


@pytest.mark.parametrize("value", [1e6, float("inf"), float("nan")])
def test_latents_beyond_any_use_are_refused(value: float) -> None:
    frame_encoder = quantized(make_frame_encoder())
    with torch.no_grad():
        frame_encoder.latent_grids[1][0, 0, 0, 0] = value
    with pytest.raises(InputError, match="a latent in a bitstream is at most 1048575"):
        encode_frame(frame_encoder)


# --- what a header allows, and no encoder would write


@pytest.mark.parametrize("seed", range(60))
def test_networks_and_latents_of_any_extreme_come_back(seed: int) -> None:
    """Steps of 2^−128 to 2^127, all parameters at their limits, latents of a million: no warning, no infinity."""
    rng = random.Random(seed)
    layers = ("4-1-linear-relu,3-3-linear-none", "3-31-linear-none", "3-1-linear-none,3-3-residual-relu")
    param = make_param(
        rng.choice(layers),
        img_size=(rng.randint(1, 12), rng.randint(1, 14)),
        dim_arm=rng.choice([8, 16, 24, 32]),
        n_hidden_layers_arm=rng.choice([0, 1, 16]),
        n_grids=rng.choice([1, 3, 16]),
        ups_k_size=rng.choice([4, 8, 30]),
        ups_preconcat_k_size=rng.choice([1, 7, 31]),
        frame_data_type=rng.choice(["rgb", "yuv420"]),
        bitdepth=rng.choice([8, 10]),
    )
    check_any_extreme(param, rng, seed)


@pytest.mark.parametrize("seed", range(60))
def test_networks_and_latents_of_any_extreme_come_back_in_version_2(seed: int) -> None:
    rng = random.Random(seed)
    finest = rng.choice([0, 0, 1, 3])
    ifce = rng.choice([None, [0, 0], [0, 9]])
    metadata = make_metadata_5(
        img_size=(rng.randint(1, 12), rng.randint(1, 14)),
        layers_synthesis=rng.choice([["4-1-linear-relu", "3-3-linear-none"], ["3-31-linear-none"]]),
        latent_resolution=[finest, finest + rng.choice([0, 2, 6])],
        hyperlatent_resolution=rng.choice([None, [finest, finest + 1]]),
        ifce_resolution=ifce,
        output_feature_ifce=0 if ifce is None else rng.choice([1, 64]),
        spatial_context_arm=rng.choice([1, 7, 40]),
        n_hidden_layers_arm=rng.choice([0, 1, 16]),
        linear_stabiliser_arm=rng.choice([False, True]),
        linear_stabiliser_synth=rng.choice([False, True]),
        final_upsampling_type=rng.choice(["nearest", "bilinear", "bicubic"]),
        flag_common_randomness=finest == 0 and rng.choice([False, True]),
        ups_k_size=rng.choice([4, 8, 30]),
        ups_preconcat_k_size=rng.choice([1, 7, 31]),
        frame_data_type=rng.choice(["rgb", "yuv420"]),
        bitdepth=rng.choice(["8", "16"]),
    )
    check_any_extreme(Coolchic5Parameter.from_metadata(metadata), rng, seed)


def check_any_extreme(param: EncoderParameter, rng: random.Random, seed: int) -> None:
    """Write and read networks and latents of an architecture."""
    numbers = np.random.default_rng(seed)
    limit = rng.choice([0, 1, 65535])
    quantization, integers = {}, {}
    for spec, kind in itertools.product(param.networks, KINDS):
        exponent = rng.choice([-128, -60, -24, -12, 0, 5, 40, 127])
        quantization[spec.prefix, kind] = Quantization(exponent, rng.randint(0, 31))
        for name, shape in tensors(param, spec, kind):
            integers[name] = numbers.integers(-limit, limit + 1, shape)
    networks = QuantizedNetworks(param, quantization, integers)
    reach = rng.choice([1, 100, MAX_LATENT])
    grid_sizes = param.coolchics[RESIDUE].grid_sizes
    latents = numbers.integers(-reach, reach + 1, sum(height * width for height, width in grid_sizes))

    samples = reconstruct(latents, networks)
    content, _ = pack(Bitstream(networks, encode_latents(latents, networks), coding._crc(samples, param)))
    decoded = decode_frame(content)
    maximum = 2**param.bitdepth - 1
    planes = [plane if plane.ndim == 3 else plane[None] for plane in samples]
    for ours, theirs in zip(decoded.data.tensors, planes, strict=True):
        assert torch.equal(torch.round(ours[0] * maximum).to(torch.int32), theirs)
