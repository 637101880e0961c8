"""Pictures of a frame: what they show is what was measured."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cases import CASES_5, Case, load_case
from tests.making import make_frame, make_frame_encoder
from tests.making_5 import make_frame_encoder_5
from tests.workers.bitstream.encoding import quantized, quantized_case
from workers.bitstream import decoded_frame, encode_frame
from workers.bitstream.formats import FORMATS
from workers.candidates import RESIDUE
from workers.codec import Frame, Planes, dump_frame
from workers.errors import InputError, MismatchError
from workers.objective.loss import mean_squared_error
from workers.pictures import draw_pictures


def samples(picture: bytes | None) -> np.ndarray[Any, Any]:
    assert picture is not None
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def test_a_small_frame_is_shown_sample_for_sample(smallest_case: Case) -> None:
    frame_encoder, _ = quantized_case(smallest_case)
    pictures = draw_pictures(frame_encoder, smallest_case.frame, 512)
    decoded = decoded_frame(frame_encoder)
    for picture, frame in ((pictures.original, smallest_case.frame), (pictures.decoded, decoded)):
        np.testing.assert_array_equal(samples(picture), samples(dump_frame(frame, "x.png")))
    squares = (samples(pictures.error)[..., 0] / 255 * pictures.white) ** 2
    expected = mean_squared_error(decoded.data, smallest_case.frame.data).item()
    assert squares.mean() == pytest.approx(expected, rel=0.02), "but for the few that are brighter than white"


def test_what_is_decoded_without_a_bitstream_is_what_its_bitstream_decodes_to(case: Case) -> None:
    frame_encoder, _ = quantized_case(case)
    pairs = zip(
        decoded_frame(frame_encoder).data.tensors, encode_frame(frame_encoder).frame.data.tensors, strict=True
    )
    assert all(torch.equal(*planes) for planes in pairs)


@pytest.mark.parametrize("kind", ["rgb", "yuv420", "yuv444"])
@pytest.mark.parametrize("img_size", [(1, 1), (1, 9), (13, 40)])
def test_frames_of_any_shape_and_format_become_pictures(kind: str, img_size: tuple[int, int]) -> None:
    bitdepth = 8 if kind == "rgb" else 10
    frame_encoder = quantized(make_frame_encoder(img_size=img_size, frame_data_type=kind, bitdepth=bitdepth))
    pictures = draw_pictures(frame_encoder, make_frame(frame_encoder), max_side=20)
    height, width = img_size
    expected = (height, width) if width < 20 else (round(height * 20 / width), 20)
    for picture in (pictures.original, pictures.decoded, pictures.error):
        assert samples(picture).shape == (*expected, 3)


@pytest.mark.parametrize("img_size", [(1, 1), (1, 9), (13, 41)])
def test_chroma_that_is_less_than_half_is_shown(img_size: tuple[int, int]) -> None:
    frame_encoder = quantized(make_frame_encoder_5(img_size=img_size, frame_data_type="yuv420"))
    pictures = draw_pictures(frame_encoder, make_frame(frame_encoder), max_side=100)
    assert samples(pictures.decoded).shape == (*img_size, 3)


def test_a_frame_without_any_error_is_black() -> None:
    frame_encoder = quantized(make_frame_encoder())
    pictures = draw_pictures(frame_encoder, decoded_frame(frame_encoder), 512)
    assert pictures.white == 0.0
    assert samples(pictures.error).max() == 0


def test_an_error_is_where_it_is() -> None:
    frame_encoder = quantized(make_frame_encoder())
    decoded = decoded_frame(frame_encoder)
    altered = decoded.data.tensors[0].clone()
    altered[:, :, 4, 7] = (altered[:, :, 4, 7] + 0.5) % 1
    pictures = draw_pictures(frame_encoder, Frame(Planes((altered,)), "rgb", 8), 512)
    shades = samples(pictures.error)[..., 0]
    assert np.argwhere(shades).tolist() == [[4, 7]]


def test_grey_is_grey_also_where_it_is_kept_as_yuv() -> None:
    frame_encoder = quantized(make_frame_encoder(frame_data_type="yuv420", bitdepth=10))
    height, width = frame_encoder.param.img_size
    luma = torch.full((1, 1, height, width), 64 / 1023)
    luma[..., 0] = 940 / 1023
    chroma = torch.full((1, 1, (height + 1) // 2, (width + 1) // 2), 512 / 1023)
    original = samples(
        draw_pictures(frame_encoder, Frame(Planes((luma, chroma, chroma)), "yuv420", 10), 512).original
    )
    assert (original[:, 0] == 255).all()
    assert (original[:, 1:] == 0).all()


def test_without_the_original_there_is_what_was_decoded() -> None:
    pictures = draw_pictures(quantized(make_frame_encoder()), None, 512)
    assert (pictures.original, pictures.error, pictures.white) == (None, None, 0.0)
    assert samples(pictures.decoded).shape == (12, 17, 3)


def test_frames_of_others_and_networks_in_full_precision_are_refused(smallest_case: Case) -> None:
    with pytest.raises(MismatchError):
        draw_pictures(quantized(make_frame_encoder()), smallest_case.frame, 512)
    with pytest.raises(InputError):
        draw_pictures(make_frame_encoder(), None, 512)


def test_the_decoded_picture_is_that_of_the_format() -> None:
    """A .cool file clamps latents, which the evaluation does not."""
    frame_encoder, _ = quantized_case(load_case("astronaut_50x70_plain", CASES_5))
    with torch.no_grad():
        frame_encoder.coolchics[RESIDUE].latent_grids[0][0, 0, :8, :8] = 1e4
    decoded = FORMATS["cool"].decoded_frame(frame_encoder)
    assert draw_pictures(frame_encoder, decoded, 512, "cool").white == 0
    param = frame_encoder.param
    with torch.inference_mode():
        evaluated = Frame(frame_encoder().decoded_image, param.frame_data_type, param.bitdepth)
    assert draw_pictures(frame_encoder, evaluated, 512, "cool").white > 0
