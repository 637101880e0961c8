"""What every format of bitstreams does, whichever it is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cases import CASES_5, load_case
from tests.making import make_frame_encoder
from tests.making_5 import make_frame_encoder_5
from tests.workers.bitstream.encoding import quantized, quantized_case
from workers.bitstream.decoded_picture import frame_of, samples_of
from workers.bitstream.formats import (
    FORMATS,
    check_decodes,
    check_encodable,
    format_of_content,
    format_of_suffix,
    recognized,
)
from workers.codec import FrameEncoder
from workers.errors import BitstreamError, InputError

CASES_OF = {
    "qsw": [("astronaut_64x96_lop", None), ("coffee_64x96_yuv420", None)],
    "cool": [("astronaut_50x70_plain", CASES_5), ("coffee_64x96_yuv420_lop", CASES_5)],
}
"""Frame encoders that a format holds."""

ALL = [(name, *case) for name, cases in CASES_OF.items() for case in cases]


def quantized_of(name: str, folder: Path | None) -> FrameEncoder:
    frame_encoder, _ = quantized_case(load_case(name) if folder is None else load_case(name, folder))
    return frame_encoder


def test_each_format_is_tried() -> None:
    assert set(FORMATS) == CASES_OF.keys()
    assert {FORMATS[name].name for name in FORMATS} == set(FORMATS)


@pytest.mark.parametrize(("format_name", "case", "folder"), ALL)
def test_a_frame_encoder_becomes_a_file_and_comes_back(format_name: str, case: str, folder: Path | None) -> None:
    bitstream, frame_encoder = FORMATS[format_name], quantized_of(case, folder)
    param = frame_encoder.param
    assert bitstream.unencodable(param) is None

    encoded = bitstream.encode(frame_encoder)

    check_decodes(bitstream, encoded)
    assert encoded.sizes.total == len(encoded.content)
    assert bitstream.frame_format(encoded.content) == (param.frame_data_type, param.bitdepth)
    decoded = bitstream.decode(encoded.content, "cpu")
    assert decoded.img_size == param.img_size
    for planes in (encoded.frame, bitstream.decoded_frame(frame_encoder)):
        assert all(map(torch.equal, frame_of(decoded).data.tensors, planes.data.tensors))
    again = bitstream.read_encoder(encoded.content)
    assert again.is_quantized
    assert bitstream.encode(again).content == encoded.content
    rates = bitstream.rate_of_grids(frame_encoder)
    assert len(rates) == len(frame_encoder.decoder_side_latents())
    assert -1 <= encoded.sizes.latents - sum(rates) / 8 <= 0.005 * sum(rates) / 8 + 16


@pytest.mark.parametrize(("format_name", "case", "folder"), ALL)
def test_what_is_in_a_file_is_told_as_plain_data(format_name: str, case: str, folder: Path | None) -> None:
    bitstream, frame_encoder = FORMATS[format_name], quantized_of(case, folder)
    encoded = bitstream.encode(frame_encoder)

    found = bitstream.describe(encoded.content)

    assert (found["form"], found["family"]) == (format_name, frame_encoder.family.name)
    assert [found[f"{part}_bytes"] for part in ("header", "networks", "latents")] == list(encoded.sizes)
    assert found["same_when_rewritten"] is True
    for network, spec in zip(found["networks"], frame_encoder.networks, strict=True):
        assert network["network"] == spec.id
        assert network["q_step"] == frame_encoder.nn_q_step[spec.prefix]
        assert network["expgol_cnt"] == frame_encoder.nn_expgol_cnt[spec.prefix]
        own = frame_encoder.get_network_parameters(spec.id).values()
        assert network["parameters"] == sum(value.numel() for value in own)


def test_a_file_of_one_grid_is_told_without_upsampling() -> None:
    frame_encoder = make_frame_encoder("3-1-linear-none", n_grids=1)
    encoded = FORMATS["qsw"].encode(quantized(frame_encoder))
    assert [network["parameters"] for network in FORMATS["qsw"].describe(encoded.content)["networks"]][-1] == 0


@pytest.mark.parametrize(("format_name", "case", "folder"), ALL[::2])
def test_a_frame_that_is_too_large_is_refused(format_name: str, case: str, folder: Path | None) -> None:
    bitstream = FORMATS[format_name]
    content = bitstream.encode(quantized_of(case, folder)).content
    for read in (bitstream.decode, bitstream.read_encoder):
        with pytest.raises(BitstreamError, match="frames of at most 100 luma samples are accepted"):
            read(content, max_pixels=100)


@pytest.mark.parametrize("format_name", CASES_OF)
def test_a_file_that_decodes_to_something_else_does_not_leave(format_name: str) -> None:
    case, folder = CASES_OF[format_name][0]
    encoded = FORMATS[format_name].encode(quantized_of(case, folder))
    picture = samples_of(encoded.frame)
    picture.planes[1][0, 0] ^= 1
    with pytest.raises(RuntimeError, match="decodes to other samples than it was made of"):
        check_decodes(FORMATS[format_name], encoded._replace(frame=frame_of(picture)))


@pytest.mark.parametrize("frame_data_type", ["rgb", "yuv444", "yuv420"])
@pytest.mark.parametrize("bitdepth", [8, 10, 16])
def test_samples_become_a_frame_and_samples_again(frame_data_type: str, bitdepth: int) -> None:
    frame_encoder = make_frame_encoder_5(frame_data_type=frame_data_type, bitdepth=str(bitdepth))
    with torch.inference_mode():
        planes = frame_encoder().decoded_image
    sizes = [plane.shape[-2:] for tensor in planes.tensors for plane in tensor[0]]
    generator = np.random.default_rng(0)
    y, u, v = (generator.integers(0, 2**bitdepth, size, np.uint16) for size in sizes)
    picture = samples_of(frame_of(samples_of(frame_of(picture_of(y, u, v, frame_data_type, bitdepth)))))
    assert all(map(np.array_equal, picture.planes, (y, u, v)))
    assert (picture.frame_data_type, picture.bitdepth) == (frame_data_type, bitdepth)


def picture_of(y: object, u: object, v: object, frame_data_type: str, bitdepth: int):  # type: ignore[no-untyped-def]
    from workers.bitstream.decoded_picture import DecodedPicture

    return DecodedPicture((y, u, v), frame_data_type, bitdepth)  # type: ignore[arg-type]


def test_files_are_known_by_their_content_and_written_by_their_name() -> None:
    files = {name: FORMATS[name].encode(quantized_of(*cases[0])).content for name, cases in CASES_OF.items()}
    for name, content in files.items():
        assert recognized(content, "any name") == name
    assert recognized(b"\x80 and more", "a.cool") == "cool"
    assert recognized(b"neither", "a.qsw") is None
    assert format_of_content(b"neither", "a").name == "qsw"
    found = [format_of_suffix(name) for name in ("a.cool", "A.COOL", "a.qsw", "a.png", "cool")]
    assert [bitstream and bitstream.name for bitstream in found] == ["cool", "cool", "qsw", None, None]


def test_what_a_cool_file_cannot_hold_is_said_with_what_can() -> None:
    with pytest.raises(InputError, match=r"found coolchic-3\.4: write a \.qsw file of it .* bitstream: true"):
        check_encodable(FORMATS["cool"], make_frame_encoder().param)
    wide = make_frame_encoder_5(layers_synthesis=["128-1-linear-relu", "3-1-linear-none"]).param
    with pytest.raises(InputError, match=r"cannot hold this frame encoder: a layer of the synthesis has 1 to 127"):
        check_encodable(FORMATS["cool"], wide)
