"""Frame encoders as files, and files as frame encoders."""

import json

import numpy as np
import pytest
import torch

from tests.cases import CASE_5_NAMES, CASES_5, load_case
from tests.making import make_frame_encoder
from tests.workers.bitstream.cool.checkpoint import read_official
from tests.workers.bitstream.cool.official import FILES, PICTURES, SMALL, TRAINED, arrays_of, content_of
from tests.workers.bitstream.encoding import quantized
from workers.bitstream.cool.coding import decode_cool, read_cool
from workers.bitstream.cool.encoder import encode_cool, frame_encoder_of, picture_of
from workers.bitstream.decoded_picture import frame_of
from workers.candidates import RESIDUE
from workers.codec import FrameEncoder, dump_frame_encoder, parse_frame_encoder
from workers.codec.quantization import apply_choices
from workers.errors import InputError
from workers.objective.loss import mean_squared_error

NAME = "astronaut_64x96_lop"


def imported(name: str = NAME) -> FrameEncoder:
    return frame_encoder_of(read_cool(content_of(name)))


@pytest.mark.parametrize("name", TRAINED)
def test_an_official_checkpoint_gives_the_bytes_that_were_written_from_it(name: str) -> None:
    frame_encoder = read_official(FILES / f"{name}.frame_encoder.pt")
    encoded = encode_cool(frame_encoder)
    assert encoded.content == content_of(name)
    assert encoded.sizes.total == len(encoded.content)
    decoded = frame_of(decode_cool(encoded.content))
    for ours, theirs in zip(encoded.frame.data.tensors, decoded.data.tensors, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", PICTURES)
def test_a_file_becomes_a_frame_encoder_and_the_same_file_again(name: str) -> None:
    frame_encoder = imported(name)
    assert encode_cool(frame_encoder).content == content_of(name)
    again, _ = parse_frame_encoder(dump_frame_encoder(frame_encoder, 1e-3), "memory")
    assert encode_cool(again).content == content_of(name)


@pytest.mark.parametrize("name", SMALL)
def test_what_a_file_decodes_to_is_near_the_evaluation(name: str) -> None:
    """The evaluation does not round before the means of chroma; else it is the same up to the order of sums."""
    frame_encoder = imported(name)
    with torch.inference_mode():
        evaluated = frame_encoder().decoded_image
    decoded = encode_cool(frame_encoder).frame
    step = 1 / (2**decoded.bitdepth - 1)
    for one, other in zip(evaluated.tensors, decoded.data.tensors, strict=True):
        assert (one - other).abs().max() < 1.01 * step
    assert mean_squared_error(evaluated, decoded.data) < step**2 / 10


@pytest.mark.parametrize("name", TRAINED)
def test_the_bytes_of_the_latents_are_those_that_were_estimated(name: str) -> None:
    frame_encoder = read_official(FILES / f"{name}.frame_encoder.pt")
    with torch.inference_mode():
        estimate = float(frame_encoder().rate.double().sum()) / 8
    assert -1 <= encode_cool(frame_encoder).sizes.latents - estimate <= 0.005 * estimate + 100


@pytest.mark.parametrize("name", CASE_5_NAMES)
def test_conformance_cases_become_files_of_the_estimated_size(name: str) -> None:
    case = load_case(name, CASES_5)
    apply_choices(case.frame_encoder, case.choices())
    with torch.inference_mode():
        evaluated = case.frame_encoder()
    encoded = encode_cool(case.frame_encoder)
    estimate = float(evaluated.rate.double().sum()) + sum(choice.rate_bit for choice in case.choices().values())
    assert 0 <= len(encoded.content) - estimate / 8 <= 0.005 * estimate / 8 + 100
    decoded = frame_of(decode_cool(encoded.content))
    ours, expected = (
        mean_squared_error(planes, case.frame.data) for planes in (decoded.data, evaluated.decoded_image)
    )
    assert ours == pytest.approx(expected.item(), rel=2e-3)
    assert encode_cool(frame_encoder_of(read_cool(encoded.content))).content == encoded.content


def test_latents_beyond_the_range_are_clamped_and_decoded_so() -> None:
    frame_encoder = imported()
    with torch.no_grad():
        frame_encoder.coolchics[RESIDUE].latent_grids[0][0, 0, :2, 0] = torch.tensor([1e6, -1e6])
    encoded = encode_cool(frame_encoder)
    assert read_cool(encoded.content).latents[0][:2, 0].tolist() == [63, -64]
    assert torch.equal(encoded.frame.data.tensors[0], frame_of(decode_cool(encoded.content)).data.tensors[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_latents_that_are_no_numbers_are_refused(value: float) -> None:
    frame_encoder = imported()
    with torch.no_grad():
        frame_encoder.coolchics[RESIDUE].latent_grids[3][0, 0, 0, 0] = value
    with pytest.raises(InputError, match=r"latents in a \.cool file are numbers; found NaN or infinity"):
        encode_cool(frame_encoder)


def test_encoders_of_other_families_are_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"family coolchic-5; found coolchic-3\.4: write a \.qsw file of it"):
        encode_cool(quantized(make_frame_encoder()))


def test_what_was_not_quantized_or_with_other_steps_is_refused() -> None:
    frame_encoder = imported()
    frame_encoder.nn_q_step["residue.upsampling"]["bias"] = 2.0
    with pytest.raises(InputError, match=r"residue\.upsampling: bias steps in a \.cool file are 2\^0 to 2\^0"):
        picture_of(frame_encoder)
    frame_encoder = imported()
    frame_encoder.nn_expgol_cnt["residue.arm"]["bias"] = 13
    with pytest.raises(InputError, match=r"residue\.arm: an exp-Golomb count .* is at most 12; found 13"):
        picture_of(frame_encoder)
    del frame_encoder.nn_q_step["residue.arm"]
    with pytest.raises(InputError, match=r"the residue\.arm has not been quantized"):
        picture_of(frame_encoder)


def test_integers_of_a_frame_encoder_are_those_of_the_file() -> None:
    arrays = arrays_of("odd_37x83")
    for key, values in imported("odd_37x83").state_dict().items():
        if "latent_grids" in key:
            i = int(key.rpartition(".")[2])
            assert np.array_equal(values[0, 0] * 16, arrays[f"f0.residue.grid{i}.latent"])
    assert json.loads(imported().param.to_metadata()["coolchics"]) == [RESIDUE]
