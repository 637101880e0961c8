"""Files that are truncated, altered or made to do harm: a clear error in bounded time, never a wrong picture."""

import random
import struct
import time
import zlib
from collections.abc import Iterator

import pytest
import torch

from tests.making import make_frame_encoder
from tests.workers.bitstream.encoding import STEPS, quantized
from workers.bitstream import decode_frame, encode_frame
from workers.codec import Frame
from workers.errors import BitstreamError, InputError
from workers.quantize import QStepPair

MAX_PIXELS = 4096


def sealed(body: bytes) -> bytes:
    """A file of any body, whose checksum is right."""
    return b"qsw\x01" + struct.pack("<I", zlib.crc32(body)) + body


@pytest.fixture(scope="module")
def content() -> bytes:
    return encode_frame(quantized(make_frame_encoder(img_size=(9, 14)))).content


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
        (b"", "begins with"),
        (b"qs", "begins with"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "begins with"),
        (b"qsw\x07" + bytes(100), "version 7"),
        (b"qsw\x01" + bytes(100), "checksum"),
        (sealed(b""), "ends early"),
    ],
)
def test_other_files_are_told(other: bytes, message: str) -> None:
    assert message in error_of(other)


def test_a_frame_that_is_too_large_is_refused_before_anything_is_made_for_it(content: bytes) -> None:
    body = bytearray(content[8:])
    body[4:8] = struct.pack("<HH", 65535, 65535)
    start = time.monotonic()
    with pytest.raises(BitstreamError, match="at most 33554432 luma samples are accepted; found 65536×65536"):
        decode_frame(sealed(bytes(body)))
    assert time.monotonic() - start < 1
    with pytest.raises(BitstreamError, match="at most 100 luma"):
        decode_frame(content, max_pixels=100)


def test_an_architecture_is_no_larger_than_its_parameters(content: bytes) -> None:
    """Memory is not asked for because a header says so."""
    body = bytearray(content[8:])
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
    for number, body in zip(range(n), mutations(content[8:], seed), strict=False):
        start = time.monotonic()
        try:
            decoded = decode_frame(sealed(body), max_pixels=MAX_PIXELS)
        except BitstreamError:
            pass
        else:
            # A change of what no decoder reads, such as the zeros that fill a byte, leaves the frame as it was.
            planes = zip(decoded.data.tensors, frame.data.tensors, strict=True)
            assert all(torch.equal(ours, theirs) for ours, theirs in planes), f"mutation {number} of seed {seed}"
        assert time.monotonic() - start < 10, f"mutation {number} of seed {seed}"


def test_a_thousand_mutated_files_do_no_harm(content: bytes, frame: Frame) -> None:
    fuzz(content, frame, 1000, seed=0)


@pytest.mark.slow
def test_a_hundred_thousand_mutated_files_do_no_harm(content: bytes, frame: Frame) -> None:
    fuzz(content, frame, 100_000, seed=1)


# --- what cannot be encoded


def test_networks_that_were_not_quantized_are_refused() -> None:
    with pytest.raises(InputError, match="the arm has not been quantized"):
        encode_frame(make_frame_encoder())


def test_steps_that_are_no_powers_of_two_are_refused() -> None:
    steps = STEPS | {"synthesis": QStepPair(0.3, 0.25)}
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
