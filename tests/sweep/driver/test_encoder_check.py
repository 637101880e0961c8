"""An encoder of another picture is used, with a warning that names both files; one of this picture without."""

import logging
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from sweep.api import quantize_model
from sweep.config import FitConfig, make_grid, named_grid, search_factory
from sweep.driver import LocalPool, run_one
from sweep.driver.encoder_check import doubt
from tests.cases import CASES, Case
from workers.codec import (
    ARCHITECTURES,
    Frame,
    FrameEncoder,
    FrameEncoderManager,
    Planes,
    dump_frame_encoder,
    parse_frame_encoder,
    read_frame,
    read_frame_encoder,
)
from workers.fit import Phase, Recipe
from workers.objective.loss import mean_colour_error, mean_squared_error
from workers.replica import Replica
from workers.source import FrameInfo, FrameSource

CASE = CASES / "astronaut_64x96_lop"
GRID = make_grid({module: {"weight": [0.0078125], "bias": [0.0078125]} for module in named_grid()})
EXAMPLES = Path(__file__).parents[3] / "configs" / "example"


def sweep(frame: str | Path, encoder: str | Path, lmbda: float | None = None, *, own: bool = False) -> None:
    run_one(
        LocalPool(Replica()),
        FrameSource(
            "a",
            partial(read_frame, frame),
            partial(read_frame_encoder, encoder),
            lmbda,
            frame_name=str(frame),
            encoder_name=None if own else str(encoder),
        ),
        search_factory("winner", GRID),
        FitConfig(),
    )


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.fixture
def other_picture(tmp_path: Path) -> Path:
    """Another picture of the encoder's size."""
    path = tmp_path / "coffee.png"
    Image.open(EXAMPLES / "coffee.png").convert("RGB").resize((96, 64)).save(path)
    return path


def test_an_encoder_of_another_picture_is_used_with_one_warning_that_names_both(
    other_picture: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = CASE / "encoder.safetensors"

    sweep(other_picture, encoder)

    (message,) = warnings_of(caplog)
    assert message.startswith(f"frame a: {encoder} may have been fitted to another picture than {other_picture}: ")
    assert "it decodes to 7.1 dB, and the picture's mean colour alone would give 10.7 dB" in message


@pytest.mark.parametrize("lmbda", [None, 1e-6, 0.1, 10.0])
def test_the_encoder_of_a_frame_is_in_no_doubt_whatever_the_weight_of_the_rate(
    lmbda: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    sweep(CASE / "frame.png", CASE / "encoder.safetensors", lmbda)

    assert warnings_of(caplog) == []


def test_an_encoder_that_this_job_fitted_is_in_no_doubt(
    other_picture: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep(other_picture, CASE / "encoder.safetensors", own=True)

    assert warnings_of(caplog) == []


def test_an_encoder_in_memory_is_called_the_frame_encoder(
    smallest_case: Case, other_picture: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quantize_model(smallest_case.frame_encoder, read_frame(other_picture), smallest_case.manager, grid=GRID)

    (message,) = warnings_of(caplog)
    assert "the frame encoder may have been fitted to another picture than the frame: " in message


def info_of(frame: Frame, fitted_mse: float | None = None) -> FrameInfo:
    mean_colour_mse = mean_colour_error(frame.data).item()
    return FrameInfo(
        *frame.img_size, 1e-3, frame.frame_data_type, 8, mean_colour_mse=mean_colour_mse, fitted_mse=fitted_mse
    )


def decoded(frame_encoder: FrameEncoder) -> Planes:
    with torch.inference_mode():
        planes: Planes = frame_encoder().decoded_image
    return planes


def test_no_case_of_the_reference_is_in_doubt(case: Case) -> None:
    mse = mean_squared_error(decoded(case.frame_encoder), case.frame.data).item()

    assert doubt(info_of(case.frame), mse) is None


@pytest.mark.parametrize("name", ["astronaut.png", "chelsea.png", "coffee.png"])
def test_every_pair_of_different_pictures_is_in_doubt(case: Case, name: str, tmp_path: Path) -> None:
    if case.frame.frame_data_type != "rgb" or name.partition(".")[0] in case.folder.name:
        pytest.skip("not a picture of another kind")
    height, width = case.frame.img_size
    Image.open(EXAMPLES / name).convert("RGB").resize((width, height)).save(tmp_path / name)
    other = read_frame(tmp_path / name)

    reason = doubt(info_of(other), mean_squared_error(decoded(case.frame_encoder), other.data).item())

    assert reason is not None
    assert "mean colour" in reason


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_picture_has_no_spread_and_is_in_doubt_only_with_an_encoder_that_is_far_off(
    smallest_case: Case, level: int
) -> None:
    flat = Frame(Planes((torch.full((1, 3, 64, 96), level / 255),)), "rgb", 8)
    info = info_of(flat)
    assert info.mean_colour_mse == 0

    assert doubt(info, 0.0) is None
    assert doubt(info, 10 / 255**2) is None
    far_off = mean_squared_error(decoded(smallest_case.frame_encoder), flat.data).item()
    assert doubt(info, far_off) is not None


def test_a_fit_whose_latents_are_not_worth_their_bits_is_the_mean_colour_and_in_no_doubt(case: Case) -> None:
    info = info_of(case.frame)
    assert info.mean_colour_mse is not None

    assert doubt(info, 1.05 * info.mean_colour_mse) is None


def test_the_mean_colour_is_that_of_each_channel_or_plane(case: Case) -> None:
    planes = case.frame.data.tensors
    error = sum(
        (channel.double() - channel.double().mean()).square().sum().item()
        for plane in planes
        for channel in plane[0]
    )

    assert mean_colour_error(case.frame.data).item() == pytest.approx(
        error / sum(plane.numel() for plane in planes), rel=1e-5
    )


# What a fit of ours says of itself


def test_a_fit_says_in_its_file_what_it_ended_with_and_is_in_no_doubt_however_short_it_was(
    other_picture: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = tmp_path / "short.safetensors"
    recipe = Recipe((Phase(2, (1e-2, 1e-2), "softround", (0.3, 0.3), validate_every=2),))
    *_, checkpoint = Replica().fit(
        FrameSource("a", partial(read_frame, other_picture), None, 1e-3), ARCHITECTURES["vlop"], recipe, 0
    )
    assert isinstance(checkpoint, bytes)
    encoder.write_bytes(checkpoint)
    frame_encoder, manager = read_frame_encoder(encoder)
    frame = read_frame(other_picture)
    mse = mean_squared_error(decoded(frame_encoder), frame.data).item()
    assert manager.fitted_mse == pytest.approx(mse, rel=1e-4)
    assert doubt(info_of(frame), mse) is not None, "two iterations do worse than the mean colour"

    sweep(other_picture, encoder)

    assert warnings_of(caplog) == []


def test_far_from_what_its_file_says_an_encoder_is_in_doubt_where_the_mean_colour_would_not_tell(
    smallest_case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, other = tmp_path / "e.safetensors", tmp_path / "brighter.png"
    encoder.write_bytes(dump_frame_encoder(smallest_case.frame_encoder, 1e-3, 4.9e-4))
    Image.open(CASE / "frame.png").point(lambda value: min(255, value + 25)).save(other)
    brighter = read_frame(other)
    assert (
        doubt(info_of(brighter), mean_squared_error(decoded(smallest_case.frame_encoder), brighter.data).item())
        is None
    )

    sweep(CASE / "frame.png", encoder)
    assert warnings_of(caplog) == []
    sweep(other, encoder)

    (message,) = warnings_of(caplog)
    assert f"{encoder} may have been fitted to another picture than {other}: " in message
    assert "while its file says 33.1 dB" in message


def test_what_a_fit_ended_with_is_metadata_that_need_not_be_there(smallest_case: Case) -> None:
    without, with_it = (
        parse_frame_encoder(dump_frame_encoder(smallest_case.frame_encoder, 1e-3, mse), "a")[1]
        for mse in (None, 0.25)
    )
    assert without == FrameEncoderManager(1e-3)
    assert with_it == FrameEncoderManager(1e-3, fitted_mse=0.25)
