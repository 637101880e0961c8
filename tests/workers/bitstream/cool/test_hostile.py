"""Files that are truncated, altered or made to do harm: an error that names the part, or a picture, and soon."""

import itertools
import multiprocessing
import random
import struct
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.workers.bitstream.cool.official import SMALL, VIDEO, content_of, headers_of
from workers.bitstream.cool.coding import decode_cool, read_cool, write_cool
from workers.bitstream.cool.cool_format import COOL
from workers.bitstream.cool.coolchic_header import (
    Coding,
    read_coolchic_header,
    write_coolchic_header,
)
from workers.bitstream.cool.fields import FieldReader, FieldWriter
from workers.bitstream.cool.file import parse_cool
from workers.bitstream.cool.order import ARM, IFCE, SYNTHESIS, coded_tensors
from workers.codec.synthesis_layer import SynthesisLayer as Layer
from workers.errors import BitstreamError, InputError

MAX_PIXELS = 8192
NAME = "astronaut_64x96_lop"
HEADER_AT = 13
"""Where the header of the cool-chic begins in a file of one picture."""
PART = "header of the residue of frame 0"

BITS = (
    *(("linear_stabiliser_synth", 1), ("n_layers", 3), ("ups_k_size", 4), ("ups_preconcat_k_size", 4)),
    *(("output_feature_ifce", 5), ("spatial_context_arm", 6), ("linear_stabiliser_arm", 1)),
    *(("n_hidden_layers_arm", 3), ("height", 14), ("width", 14), ("lo", 4), ("hi", 4), ("n_grids", 5)),
    *(("hyperlatents", 1), ("flag_common_randomness", 1), ("final_upsampling_type", 2)),
    *((f"step{j}", 5) for j in range(8)),
    *((f"count{j}", 4) for j in range(8)),
    *(("nn_n_bytes", 14), ("nn_n_bit_pad", 3), ("n_bytes_latent", 28), ("n_bytes_header", 16)),
    *(("ifce_lo", 4), ("ifce_hi", 4), ("hyper_lo", 4), ("hyper_hi", 4)),
    *((f"layer{j}{field}", n) for j in range(3) for field, n in zip("okru", (7, 4, 1, 1), strict=True)),
)
"""Fields of the cool-chic's header of a file with IFCE, hyperlatents and three layers."""


def altered(fields: dict[str, int], name: str = NAME) -> bytes:
    """An official file with other values in fields of its cool-chic's header."""
    content = content_of(name)
    n_bits = sum(n for _, n in BITS)
    end = HEADER_AT + -(-n_bits // 8)
    value = int.from_bytes(content[HEADER_AT:end], "big")
    at = 8 * (end - HEADER_AT)
    for field, n in BITS:
        at -= n
        if field in fields:
            value = value & ~(((1 << n) - 1) << at) | fields.pop(field) << at
    assert not fields
    return content[:HEADER_AT] + value.to_bytes(end - HEADER_AT, "big") + content[end:]


def error_of(content: bytes, max_pixels: int = MAX_PIXELS) -> str:
    with pytest.raises(BitstreamError) as raised:
        decode_cool(content, max_pixels=max_pixels)
    assert str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("name", ["coffee_64x96_yuv420_lop", "narrow_21x9_yuv444_10b"])
def test_every_truncation_is_refused(name: str) -> None:
    content = content_of(name)
    for n in range(len(content)):
        error_of(content[:n])
    assert "1 bytes follow the last frame" in error_of(content + b"\0")


def test_a_flipped_bit_of_the_latents_is_refused_or_gives_the_file_of_other_latents() -> None:
    """There is no checksum: what the words decode to must at least be written as the same words."""
    content = content_of(NAME)
    n_latents = headers_of(NAME)[-1]["n_bytes_latent"]
    refused = 0
    for byte in range(len(content) - n_latents, len(content)):
        flipped = content[:byte] + bytes([content[byte] ^ 1 << byte % 8]) + content[byte + 1 :]
        try:
            picture = read_cool(flipped)
        except BitstreamError as error:
            refused += str(error).startswith("latents of the residue of frame 0: the words are no")
        else:
            assert write_cool(picture)[0] == flipped
    assert n_latents == 724
    assert refused >= 720


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"height": 0}, "img_size: sides of 1 to 65536; found (0, 96)"),
        ({"n_layers": 0}, "layers_synthesis: at least one layer; found ()"),
        ({"ups_k_size": 5}, "ups_k_size: even, 4 to 31; found 5"),
        ({"ups_k_size": 2}, "ups_k_size: even, 4 to 31; found 2"),
        ({"ups_preconcat_k_size": 6}, "ups_preconcat_k_size: odd, 1 to 31; found 6"),
        ({"spatial_context_arm": 41}, "spatial_context_arm: one of 1 to 40; found 41"),
        ({"lo": 5, "hi": 4}, "latent_resolution: 0 to 15; found (5, 4)"),
        ({"hyper_lo": 6, "hyper_hi": 4}, "hyperlatent_resolution: 0 to 15; found (6, 4)"),
        ({"ifce_lo": 3}, "ifce_resolution: 0 to 15; found (3, 2)"),
        ({"hi": 2}, "grids of successive resolutions; found [0, 1, 2, 4, 5, 6] from grid 0 on"),
        ({"n_grids": 9}, "its resolutions give 10 grids; found 9"),
        ({"hi": 15, "hyper_lo": 0, "hyper_hi": 15}, "a cool-chic has at most 31 grids; found 32"),
        ({"final_upsampling_type": 3}, "final_upsampling_type is a number below 3; found 3"),
        ({"step0": 9}, "arm weight has 9 steps; found index 9"),
        ({"step5": 1}, "upsampling bias has 1 steps; found index 1"),
        ({"step7": 25}, "synthesis bias has 25 steps; found index 25"),
        ({"count3": 13}, "an exp-Golomb count is at most 12; found 13"),
        ({"n_bytes_latent": 722}, "n_bytes_latent is a multiple of 4; found 722"),
        ({"n_bytes_header": 32}, "its fields take 33 bytes; found n_bytes_header 32"),
        ({"n_bytes_header": 65535}, "n_bytes_header 65535 exceeds what the file holds"),
        ({"layer0o": 0}, "a layer of the synthesis has 1 to 127 outputs; found 0-1-linear-relu"),
        ({"layer1k": 0}, "a kernel of the synthesis is odd, 1 to 15; found 3-0-linear-none"),
        ({"layer1k": 2}, "a kernel of the synthesis is odd, 1 to 15; found 3-2-linear-none"),
        ({"layer1o": 4}, "a residual layer keeps its 4 channels; found '3-3-residual-none'"),
        ({"layer2o": 4, "layer2r": 0}, "layers_synthesis: the last layer has 3 channels; found 4"),
        ({"flag_common_randomness": 1, "lo": 1}, "the noise fits a synthesis at full resolution alone"),
    ],
)
def test_what_a_header_must_not_say_is_named(fields: dict[str, int], message: str) -> None:
    error = error_of(altered(fields))
    assert error.startswith(f"{PART}: ")
    assert message in error


def test_parameters_that_end_before_or_after_their_bytes_are_named() -> None:
    content = content_of(NAME)
    start, n = HEADER_AT + 33, headers_of(NAME)[-1]["nn_n_bytes"]
    parameters, rest = content[start : start + n], content[start + n :]
    longer = altered({"nn_n_bytes": n + 1})[:start] + parameters + b"\x80" + rest
    assert error_of(longer) == "parameters of the residue of frame 0: 8 bits are left over"
    shorter = altered({"nn_n_bytes": n - 1})[:start] + parameters[:-1] + rest
    assert error_of(shorter).startswith("the parameters of the residue of frame 0 end early")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nn_n_bytes": 338}, "1 bytes follow the last frame"),
        ({"nn_n_bytes": 340}, "latents of the residue of frame 0: truncated: 724 bytes by the header; 723 are"),
        ({"nn_n_bytes": 16383}, "parameters of the residue of frame 0: truncated: 16383 bytes by the header"),
        ({"nn_n_bit_pad": 7}, "parameters of the residue of frame 0"),
        ({"n_bytes_latent": 0}, "724 bytes follow the last frame"),
        ({"n_bytes_latent": 268435452}, "latents of the residue of frame 0: truncated: 268435452 bytes"),
        ({"n_hidden_layers_arm": 7}, "parameters of the residue of frame 0"),
    ],
)
def test_lengths_that_contradict_what_is_there_are_named(fields: dict[str, int], message: str) -> None:
    assert message in error_of(altered(fields))


def test_bits_that_fill_a_header_are_zero() -> None:
    content = bytearray(content_of(NAME))
    content[12] |= 1  # of the frame's header: 36 bits in 5 bytes
    assert error_of(bytes(content)) == "header of frame 0: the bits that fill its last byte are 0; found others"


def test_a_longer_header_is_skipped_to_its_end() -> None:
    content = content_of(NAME)
    longer = altered({"n_bytes_header": 35})
    end = HEADER_AT + 33
    decoded = decode_cool(longer[:end] + b"\xff\x00" + longer[end:])
    for ours, theirs in zip(decoded.planes, decode_cool(content).planes, strict=True):
        assert np.array_equal(ours, theirs)


def test_steps_of_an_ifce_that_is_not_there_are_refused() -> None:
    picture = read_cool(content_of("narrow_21x9_yuv444_10b"))
    codings = dict(picture.codings) | {(IFCE, "weight"): Coding(-7, 0)}
    content, _ = write_cool(picture._replace(codings=codings))
    assert "steps and counts of an IFCE are 0 without one; found 1 and 0" in error_of(content)


def test_networks_whose_values_overflow_are_refused() -> None:
    picture = read_cool(content_of(NAME))
    parameters = {
        name: values if name.startswith((ARM, IFCE)) else np.full_like(values, 65535)
        for name, values in picture.parameters.items()
    }
    codings = {key: Coding(0, 12) if key[0] == SYNTHESIS else coding for key, coding in picture.codings.items()}
    wide = Layer(3, 1, False, False)
    architecture = replace(picture.architecture, layers_synthesis=(wide,) * 7, linear_stabiliser_synth=False)
    for tensors in coded_tensors(architecture).values():
        for name, shape in tensors.items():
            if name.startswith(SYNTHESIS):
                parameters[name] = np.full(shape, 65535, np.int64)
    content, _ = write_cool(picture._replace(architecture=architecture, parameters=parameters, codings=codings))
    assert error_of(content) == "residue of frame 0: the networks give values that are not finite"


# --- time and memory


def test_a_large_frame_is_refused_before_anything_is_made_for_it() -> None:
    content = altered({"height": 16383, "width": 16383})
    tracemalloc.start()
    start = time.process_time()
    try:
        error = error_of(content, max_pixels=1 << 25)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error == "frames of at most 33554432 luma samples are accepted; found 16383×16383"
    assert peak < 1 << 20
    assert time.process_time() - start < 1
    assert "at most 6143 luma samples" in error_of(content_of(NAME), max_pixels=6143)


def test_more_work_than_a_frame_of_this_size_may_make_is_refused() -> None:
    fields = {"layer0o": 127, "layer0k": 15, "layer1k": 15, "layer1o": 127, "layer2r": 0}
    message = r"a frame of 96×64 has networks of at most 5461 products a pixel; found 3\d{6}"
    with pytest.raises(BitstreamError, match=message):
        decode_cool(altered(fields), max_pixels=MAX_PIXELS)


# --- several frames


def video(header: dict[str, Any], frames: bytes = b"") -> bytes:
    fields = FieldWriter()
    intra, p = header["intra"], header["p"]
    for number in (header["n"], len(intra), len(p)):
        fields.unsigned(number, 12)
    fields.size()
    for index in (*intra, *p):
        fields.unsigned(index, 12)
    return fields.to_bytes() + frames


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"n": 0, "intra": [], "p": []}, "of at least one frame, some are I and P; found 0, 0 and 0"),
        ({"n": 1, "intra": [0, 0], "p": []}, "found 1, 2 and 0"),
        ({"n": 3, "intra": [0, 0], "p": []}, "positions of I frames ascend, below 3; found 0, 0"),
        ({"n": 3, "intra": [0], "p": [2, 1]}, "positions of P frames ascend, below 3; found 2, 1"),
        ({"n": 3, "intra": [0, 3], "p": []}, "positions of I frames ascend, below 3; found 0, 3"),
        ({"n": 3, "intra": [0, 2], "p": [2]}, "a frame is either I or P; found 2"),
        ({"n": 3, "intra": [1], "p": [2]}, "the first frame is I; found another type"),
        ({"n": 3, "intra": [0], "p": [1]}, "the last frame is I or P; found B"),
    ],
)
def test_positions_of_frames_that_cannot_be_are_named(header: dict[str, Any], message: str) -> None:
    error = error_of(video(header))
    assert error.startswith("video header: ")
    assert message in error


def test_frames_are_coded_after_their_references() -> None:
    """The order of the format's own example, and of a longer one."""
    header = parse_cool(content_of(VIDEO)).header
    five = header._replace(n_frames=5, intra_positions=(0,), p_positions=(4,)).coding_order()
    assert [frame.display_index for frame in five] == [0, 4, 2, 1, 3]
    long = header._replace(n_frames=4095, intra_positions=(0, 1000), p_positions=(500, 4094)).coding_order()
    known: set[int] = set()
    for frame in long:
        assert known.issuperset(frame.references)
        known.add(frame.display_index)
    assert known == set(range(4095))
    assert [frame.references for frame in long[:4]] == [(), (), (0,), (1000,)]


@pytest.mark.parametrize(
    ("at", "bits", "value", "message"),
    [
        (0, 12, 1, "header of frame 2: expected by the coding order; found frame 1"),
        (12, 2, 0, "header of frame 2: its type is P by the video header; found I"),
        (12, 2, 3, "header of frame 2: its type is P by the video header; found none that is known"),
        (14, 2, 3, "header of frame 2: frame_data_type is one of rgb, yuv420, yuv444; found number 3"),
        (14, 2, 2, "header of frame 2: all frames are yuv420 of 8 bits; found yuv444 of 8"),
        (14, 2, 0, "header of frame 2: frames with references are yuv420 or yuv444; found rgb"),
        (16, 4, 9, "header of frame 2: samples have at most 16 bits; found 17"),
        (16, 4, 2, "header of frame 2: all frames are yuv420 of 8 bits; found yuv420 of 10"),
        (36, 12, 2, "header of frame 2: its references are [0] by the coding order; found [2]"),
        (48, 14, 1 << 13, "header of frame 2: a zero has no minus sign"),
        (76, 4, 7, "header of frame 2: a warp filter has an even number of taps; found 7"),
        (76, 4, 0, "header of frame 2: a warp filter has an even number of taps; found 0"),
    ],
)
def test_frame_headers_that_contradict_the_video_are_named(at: int, bits: int, value: int, message: str) -> None:
    content = content_of(VIDEO)
    start = next(header["offset"] for header in headers_of(VIDEO) if header.get("display_index") == 2)
    number = int.from_bytes(content[start : start + 10], "big")
    shift = 80 - at - bits
    number = number & ~(((1 << bits) - 1) << shift) | value << shift
    with pytest.raises(BitstreamError) as raised:
        parse_cool(content[:start] + number.to_bytes(10, "big") + content[start + 10 :])
    assert str(raised.value) == message


def test_frames_of_other_sizes_and_odd_ones_are_refused() -> None:
    content = content_of(VIDEO)
    second = [header["offset"] for header in headers_of(VIDEO) if header["header"] == "coolchic"][1]
    header, end = read_coolchic_header(content, second, "", "residue", "P")
    other = replace(header.architecture, img_size=(48, 62))
    with pytest.raises(BitstreamError, match="header of the residue of frame 2: all frames are 64×48; found 62×48"):
        parse_cool(content[:second] + write_coolchic_header(header._replace(architecture=other)) + content[end:])
    at = [header["offset"] for header in headers_of(VIDEO) if header["header"] == "coolchic"]
    for offset in at:
        role = "motion" if offset in (at[2], at[4]) else "residue"
        frame_type = "I" if offset == at[0] else "P" if offset in at[1:3] else "B"
        header, end = read_coolchic_header(content, offset, "", role, frame_type)
        narrow = replace(header.architecture, img_size=(48, 63))
        content = content[:offset] + write_coolchic_header(header._replace(architecture=narrow)) + content[end:]
    with pytest.raises(BitstreamError, match="header of frame 2: yuv420 frames with references have even sides"):
        parse_cool(content)


# --- what cannot be written


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"img_size": (16384, 1)}, "a frame has sides of 1 to 16383"),
        ({"ups_k_size": 16}, "ups_k_size is even, 4 to 14; found 16"),
        ({"ups_preconcat_k_size": 17}, "ups_preconcat_k_size is at most 15; found 17"),
        ({"n_hidden_layers_arm": 8}, "an arm has at most 7 hidden layers; found 8"),
        ({"output_feature_ifce": 32}, "an IFCE has at most 31 features; found 32"),
        ({"layers_synthesis": (Layer(3, 1, False, False),) * 8}, "a synthesis has at most 7 layers; found 8"),
        ({"layers_synthesis": (Layer(128, 1, False, False), Layer(3, 1, False, False))}, "1 to 127 outputs"),
        ({"layers_synthesis": (Layer(3, 17, False, False),)}, "odd, 1 to 15; found 3-17-linear-none"),
        (
            {"latent_resolution": (0, 2), "ifce_resolution": None, "output_feature_ifce": 0},
            r"have no gap; found \[0, 1, 2, 4, 5, 6\]",
        ),
    ],
)
def test_architectures_that_the_format_cannot_hold_are_refused(changes: dict[str, Any], message: str) -> None:
    picture = read_cool(content_of(NAME))
    architecture = replace(picture.architecture, **changes)
    with pytest.raises(InputError, match=message):
        write_cool(picture._replace(architecture=architecture))


def test_parameters_that_take_too_many_bytes_are_refused() -> None:
    picture = read_cool(content_of(NAME))
    codings = {key: coding._replace(expgol_cnt=0) for key, coding in picture.codings.items()}
    architecture = replace(
        picture.architecture, layers_synthesis=(Layer(96, 5, False, False), Layer(3, 1, False, False))
    )
    parameters = dict(picture.parameters)
    for shapes in coded_tensors(architecture).values():
        parameters |= {name: np.full(shape, 9, np.int64) for name, shape in shapes.items() if SYNTHESIS in name}
    with pytest.raises(InputError, match="parameters of a cool-chic take at most 16383 bytes"):
        write_cool(picture._replace(architecture=architecture, parameters=parameters, codings=codings))


def test_fields_are_read_as_they_were_written() -> None:
    fields = FieldWriter()
    for value, bits in ((5, 3), (0, 1), (4095, 12)):
        fields.unsigned(value, bits)
    fields.signed(-8191, 14)
    fields.size()
    fields.signed(7, 14)
    content = fields.to_bytes()
    reader = FieldReader(content, 0, "header")
    assert [reader.unsigned(bits) for bits in (3, 1, 12)] == [5, 0, 4095]
    assert reader.signed(14) == -8191
    reader.size()
    assert reader.signed(14) == 7
    assert reader.finish() == len(content) == 8


# --- mutations


def mutations(contents: list[bytes], seed: int) -> Iterator[bytes]:
    """Files with a few changes: bits, bytes, numbers, parts that are cut out, doubled, moved or of another file."""
    rng = random.Random(seed)
    while True:
        content = bytearray(rng.choice(contents))
        for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
            n = len(content) + 1
            at = rng.randrange(n) if rng.random() < 0.4 else rng.randrange(min(60, n))
            kind = rng.randrange(8)
            if kind <= 1 and at < len(content):
                content[at] ^= 1 << rng.randrange(8)
            elif kind == 2 and at < len(content):
                content[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            elif kind == 3:
                content[at : at + 4] = struct.pack(">I", rng.choice((0, 1, len(content), 2**31, 2**32 - 1)))
            elif kind == 4:
                del content[at : at + rng.randrange(1, 20)]
            elif kind == 5:
                content[at:at] = content[at : at + rng.randrange(1, 20)]
            elif kind == 6:
                content[at:at] = rng.randbytes(rng.randrange(1, 8))
            else:
                content[at:] = rng.choice(contents)[at:]
        yield bytes(content)


def fuzz(contents: list[bytes], n: int, seed: int) -> int:
    """Read mutated files: each gives a picture or an error, and soon. Give the number of pictures."""
    pictures = 0
    for number, content in enumerate(itertools.islice(mutations(contents, seed), n)):
        start = time.process_time()
        try:
            decoded = decode_cool(content, max_pixels=MAX_PIXELS)
        except BitstreamError:
            pass
        else:
            pictures += 1
            COOL.read_encoder(content, max_pixels=MAX_PIXELS)
            assert COOL.describe(content, max_pixels=MAX_PIXELS)["latents_bytes"] < len(content)
            assert all(plane.max() < 1 << decoded.bitdepth for plane in decoded.planes if plane.size)
        assert time.process_time() - start < 5, f"mutation {number} of seed {seed}"
    return pictures


@pytest.fixture(scope="module")
def contents() -> list[bytes]:
    return [content_of(name) for name in (*SMALL, VIDEO)]


def test_three_thousand_mutated_files_do_no_harm(contents: list[bytes]) -> None:
    assert 0 < fuzz(contents, 3000, seed=0) < 1500


@pytest.mark.slow
def test_a_hundred_thousand_mutated_files_do_no_harm(contents: list[bytes]) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context) as processes:
        list(processes.map(fuzz, [contents] * 2, [50_000] * 2, [1, 2]))
