import pytest
import torch

from tests.cases import ARM, SYNTHESIS, UPSAMPLING
from tests.making import make_frame_encoder
from workers.codec import FrameEncoder


def decoding_to(samples: list[float], bitdepth: int) -> FrameEncoder:
    """A frame encoder that decodes every pixel to the three samples given, before rounding."""
    frame_encoder = make_frame_encoder("3-1-linear-none", n_grids=1, img_size=(1, 1), bitdepth=bitdepth)
    bias = torch.tensor(samples)
    frame_encoder.set_network_parameters(
        SYNTHESIS, {"layers.0.weight": torch.zeros(3, 1, 1, 1), "layers.0.bias": bias}
    )
    return frame_encoder


@pytest.mark.parametrize("bitdepth", [8, 10])
def test_decoded_samples_are_those_of_the_bit_depth(bitdepth: int) -> None:
    maximum = 2**bitdepth - 1
    frame_encoder = decoding_to([100.4 / maximum, 100.6 / maximum, 0.5 / maximum], bitdepth)

    with torch.inference_mode():
        (found,) = frame_encoder().decoded_image.tensors

    expected = torch.tensor([100.0, 101.0, 0.0]) / maximum  # ½ rounds to the even sample
    assert torch.equal(found.flatten(), expected)


def test_decoded_samples_are_clamped() -> None:
    with torch.inference_mode():
        (found,) = decoding_to([-0.2, 1.3, 1.0], bitdepth=8)().decoded_image.tensors

    assert found.flatten().tolist() == [0, 1, 1]


def test_training_does_not_round_decoded_samples() -> None:
    with torch.inference_mode():
        (found,) = decoding_to([0.4999, -0.2, 1.3], bitdepth=8).train()().decoded_image.tensors

    assert found.flatten().tolist() == pytest.approx([0.4999, 0, 1])


@pytest.mark.parametrize("img_size", [(6, 8), (7, 9), (1, 1)])
def test_yuv420_keeps_every_second_row_and_column_of_chroma(img_size: tuple[int, int]) -> None:
    with torch.inference_mode():
        (full,) = make_frame_encoder(img_size=img_size, frame_data_type="yuv444")().decoded_image.tensors
        y, u, v = make_frame_encoder(img_size=img_size, frame_data_type="yuv420")().decoded_image.tensors

    rows, columns = range(0, img_size[0], 2), range(0, img_size[1], 2)
    assert torch.equal(y, full[:, :1])
    for channel, plane in ((1, u), (2, v)):
        expected = [[full[0, channel, row, column].item() for column in columns] for row in rows]
        assert plane[0, 0].tolist() == expected


def test_network_parameters_are_copies_until_they_are_set() -> None:
    frame_encoder = make_frame_encoder()
    before = frame_encoder.get_network_parameters(ARM)
    doubled = {name: value.mul_(2) for name, value in frame_encoder.get_network_parameters(ARM).items()}
    untouched = frame_encoder.get_network_parameters(ARM)
    frame_encoder.set_network_parameters(ARM, doubled)

    assert all(torch.equal(untouched[name], value) for name, value in before.items())
    assert all(torch.equal(frame_encoder.arm.get_parameter(name), value * 2) for name, value in before.items())


def test_parameters_of_another_network_are_refused() -> None:
    frame_encoder = make_frame_encoder()

    with pytest.raises(KeyError, match=r"upsampling: expected parameters"):
        frame_encoder.set_network_parameters(UPSAMPLING, frame_encoder.get_network_parameters(ARM))


def test_latent_grids_are_no_network() -> None:
    with pytest.raises(KeyError, match=r"latent_grids"):
        make_frame_encoder().network("latent_grids")
