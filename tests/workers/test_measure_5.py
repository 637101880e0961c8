"""The engine on frame encoders of family coolchic-5 with options that no conformance case has."""

import math
from typing import Any

import pytest
import torch

from tests.making import make_frame
from tests.making_5 import make_frame_encoder_5
from workers.candidates import RESIDUE, Choice, Measurement, QStepPair
from workers.codec.quantization import apply_choices
from workers.measure import EngineOptions, ErrorBound, Measurer
from workers.measure.synthesis_error import SynthesisError
from workers.measure.target import Target
from workers.reference import measure_plain

LMBDA = 1e-3
LARGE = (181, 257)  # large enough for the first product to be shared

STEPS = [(2.0**-6, 2.0**-6), (2.0**-6, 2.0**-8), (2.0**-4, 2.0**-4), (2.0**-4, 1.0), (2.0**-18, 1.0)]
PAIRS = [QStepPair(*steps) for steps in STEPS]


def assert_same(found: Measurement, plain: Measurement, bound: ErrorBound) -> None:
    assert found[:2] == plain[:2]
    assert (found.measured is None) == (plain.measured is None)
    if found.measured is not None and plain.measured is not None:
        assert found.measured[:4] == plain.measured[:4]
        assert found.measured.rate_latent_bit == pytest.approx(plain.measured.rate_latent_bit, rel=3e-6)
        assert abs(found.measured.mse - plain.measured.mse) <= bound.of(plain.measured.mse)


def assert_plain(*, tile: int = 4096, **changes: Any) -> None:
    """Assert that every row, compiled and in torch, in full and in a contest, is that of the plain arithmetic."""
    frame_encoder = make_frame_encoder_5(**changes)
    frame = make_frame(frame_encoder)
    bound = ErrorBound.of_frame(*frame.img_size, frame.frame_data_type, frame.bitdepth, LMBDA)
    measurers = [
        Measurer(frame_encoder, frame, LMBDA, threads=2, options=EngineOptions(tile=tile, compiled=compiled))
        for compiled in (True, False)
    ]
    choices: dict[str, Choice] = {}
    for network in (spec.id for spec in frame_encoder.networks):
        plain = list(measure_plain(frame_encoder, frame, LMBDA, choices, network, PAIRS))
        for measurer in measurers:
            for best in (None, math.inf):
                rows = measurer.measure(choices, network, PAIRS, best)
                for row, expected in zip(rows, plain, strict=True):
                    if row.status == "pruned":
                        assert best is not None
                        assert row.loss_lower_bound is not None
                        assert row.loss_lower_bound <= expected.loss * (1 + 1e-5)
                    else:
                        assert_same(row, expected, bound)
        choices[network] = plain[1].choice()
        apply_choices(frame_encoder, {network: choices[network]})


@pytest.mark.parametrize(
    "changes",
    [
        {"n_hidden_layers_arm": 0},
        {"n_hidden_layers_arm": 3, "spatial_context_arm": 23},
        {"spatial_context_arm": 40},
        {"linear_stabiliser_arm": False, "spatial_context_arm": 1},
        {"ifce_resolution": [0, 3], "output_feature_ifce": 1},
        {"ifce_resolution": [3, 3]},
        {"ifce_resolution": None, "output_feature_ifce": 0},
        {"hyperlatent_resolution": None},
        {"hyperlatent_resolution": [0, 4]},
        {"encoder_gain": 24},
    ],
    ids=str,
)
def test_any_rate_is_that_of_the_plain_arithmetic(changes: dict[str, Any]) -> None:
    assert_plain(img_size=(40, 51), tile=300, **changes)


@pytest.mark.parametrize("img_size", [(12, 17), LARGE], ids=str)
@pytest.mark.parametrize(
    "changes",
    [
        {"linear_stabiliser_synth": False},
        {"flag_common_randomness": True},
        {"layers_synthesis": ["3-3-linear-none"]},
        {"layers_synthesis": ["6-1-linear-relu", "3-1-linear-none"]},
        {"layers_synthesis": ["8-1-linear-relu", "8-1-residual-relu", "3-3-linear-none"]},
        {"latent_resolution": [1, 3]},
        {"latent_resolution": [2, 3], "final_upsampling_type": "nearest", "ifce_resolution": [2, 3]},
        {"latent_resolution": [1, 3], "final_upsampling_type": "bilinear"},
        {"frame_data_type": "yuv420"},
        {"frame_data_type": "yuv420", "bitdepth": "12", "linear_stabiliser_synth": False},
        {"frame_data_type": "yuv444", "bitdepth": "16"},
    ],
    ids=str,
)
def test_any_picture_is_that_of_the_plain_arithmetic(img_size: tuple[int, int], changes: dict[str, Any]) -> None:
    assert_plain(img_size=img_size, **changes)


@pytest.mark.parametrize("img_size", [(1, 1), (1, 37), (37, 1), (3, 2), (5, 4000)], ids=str)
@pytest.mark.parametrize("frame_data_type", ["rgb", "yuv420"])
def test_a_frame_of_any_shape_is_measured_as_by_the_plain_arithmetic(
    img_size: tuple[int, int], frame_data_type: str
) -> None:
    assert_plain(img_size=img_size, frame_data_type=frame_data_type)


@pytest.mark.parametrize("tile", [256, 257 * 3])
def test_tiles_of_any_size_give_the_same(tile: int) -> None:
    assert_plain(img_size=LARGE, tile=tile, frame_data_type="yuv420")


def test_what_lies_in_the_buffers_does_not_matter() -> None:
    """Beyond a tile a buffer holds what was computed last in it, which may have been no number."""
    frame_encoder = make_frame_encoder_5(img_size=(182, 258), frame_data_type="yuv420")
    frame = make_frame(frame_encoder)
    target = Target(frame, torch.device("cpu"), frame_encoder.family.chroma)
    residue = frame_encoder.coolchics[RESIDUE]
    with torch.inference_mode():
        dense = residue.dense(residue.decoder_side_latents())[0]
        error = SynthesisError(residue.param, target, 4096).behind(dense)
        evaluate = error.evaluator([frame_encoder.get_network_parameters("residue.synthesis")])
        expected = [evaluate(tile) for tile in error.tiles]
        for tile, sums in zip(error.tiles, expected, strict=True):
            error._workspace.floats("planes", 1 << 20).fill_(math.nan)
            assert torch.equal(evaluate(tile), sums)
