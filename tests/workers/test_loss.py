import math

import pytest
import torch

from workers.codec import Planes
from workers.objective.loss import loss_function
from workers.psnr import psnr_db


def flat(value: float, *shape: int) -> torch.Tensor:
    return torch.full(shape, value)


def test_the_loss_of_rgb_is_distortion_plus_lambda_times_bits_per_pixel() -> None:
    decoded, target = flat(0.5, 1, 3, 4, 5), flat(0.5, 1, 3, 4, 5)
    decoded[0, 1] = 0.75

    output = loss_function(Planes((decoded,)), flat(2.0, 30), Planes((target,)), lmbda=0.01, rate_nn_bit=140)

    assert output.mse.item() == pytest.approx(0.25**2 / 3)
    assert output.rate_latent_bit.item() == 60
    assert output.loss.item() == pytest.approx(0.25**2 / 3 + 0.01 * (60 + 140) / (4 * 5))


def test_the_loss_of_yuv420_weighs_planes_by_their_samples_and_divides_bits_by_luma_samples() -> None:
    target = Planes((flat(0.5, 1, 1, 3, 5), flat(0.5, 1, 1, 2, 3), flat(0.5, 1, 1, 2, 3)))
    decoded = Planes((flat(0.6, 1, 1, 3, 5), flat(0.3, 1, 1, 2, 3), flat(0.5, 1, 1, 2, 3)))

    output = loss_function(decoded, flat(1.0, 20), target, lmbda=0.03, rate_nn_bit=25)

    mse = (15 * 0.1**2 + 6 * 0.2**2) / (15 + 6 + 6)
    assert output.mse.item() == pytest.approx(mse, rel=1e-5)
    assert output.loss.item() == pytest.approx(mse + 0.03 * (20 + 25) / 15, rel=1e-5)


def test_the_psnr_is_that_of_samples_up_to_one() -> None:
    assert psnr_db(1e-3) == pytest.approx(30)
    assert psnr_db(0) == math.inf
