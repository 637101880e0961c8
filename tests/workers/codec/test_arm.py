import numpy as np
import pytest
import torch

from tests.making import make_frame_encoder
from workers.codec.arm import Arm, laplace_scale, rate_bit
from workers.codec.coolchic_3_4 import COOLCHIC_3_4
from workers.codec.latent import contexts, flatten


def cdf(x: np.ndarray, mu: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Laplace cdf by its two branches, in double precision."""
    tail = 0.5 * np.exp(-np.abs(x - mu) / scale)
    return np.where(x < mu, tail, 1 - tail)


def rates(arm: Arm, context: np.ndarray, latent: np.ndarray) -> np.ndarray:
    """Bits of each latent in double precision."""
    h = context.astype(np.float64)
    parameters = {name: value.detach().double().numpy() for name, value in arm.named_parameters()}
    n_hidden = len(parameters) // 2 - 1
    for j in range(n_hidden):
        h = np.maximum(h @ parameters[f"mlp.{2 * j}.weight"].T + parameters[f"mlp.{2 * j}.bias"] + h, 0)
    mu, s = (h @ parameters[f"mlp.{2 * n_hidden}.weight"].T + parameters[f"mlp.{2 * n_hidden}.bias"]).T
    scale = np.exp(np.clip(s - 4, -4.6, 5.0))
    return -np.log2(np.maximum(cdf(latent + 0.5, mu, scale) - cdf(latent - 0.5, mu, scale), 2.0**-16))


@pytest.mark.parametrize(("dim_arm", "n_hidden"), [(8, 0), (8, 1), (16, 2), (24, 2), (32, 3)])
def test_the_rate_is_that_of_the_laplace_distribution_that_the_arm_predicts(dim_arm: int, n_hidden: int) -> None:
    frame_encoder = make_frame_encoder(img_size=(31, 45), dim_arm=dim_arm, n_hidden_layers_arm=n_hidden)

    with torch.inference_mode():
        found = frame_encoder().rate.double().numpy()
        latents = frame_encoder.decoder_side_latents()
        context, latent = (
            contexts(latents, COOLCHIC_3_4.contexts[dim_arm]).numpy(),
            flatten(latents).double().numpy(),
        )

    expected = rates(frame_encoder.arm, context, latent)
    # Rates up to the largest are met here, so the formula is tried over its whole range.
    assert expected.min() < 3
    assert expected.max() > 12
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=0.02)  # a probability near 2^-16 has few digits
    np.testing.assert_allclose(found.sum(), expected.sum(), rtol=1e-5)


def test_the_log_scale_is_clamped() -> None:
    found = laplace_scale(torch.tensor([-1e9, 4 - 4.6, 4.0, 9.0, 1e9]))

    assert found.tolist() == pytest.approx([np.exp(-4.6), np.exp(-4.6), 1.0, np.exp(5.0), np.exp(5.0)], rel=1e-6)


def test_a_latent_that_nobody_expected_costs_sixteen_bits() -> None:
    found = rate_bit(torch.tensor([1000.0, -1000.0]), torch.zeros(2), torch.full((2,), 0.01))

    assert found.tolist() == [16, 16]


def test_the_hidden_layers_of_a_new_arm_are_identities_and_its_output_is_small() -> None:
    torch.manual_seed(0)
    arm = Arm(16, 2)
    context = torch.rand(5, 16)

    with torch.inference_mode():
        hidden = arm.mlp[:-1](context)
        mu, scale = arm(torch.zeros(1, 16))

    assert torch.equal(hidden, context)
    assert 0.1 < arm.linears[-1].weight.std() < 0.4  # N(0, 1) / 2²
    assert mu.item() == 0
    assert scale.item() == pytest.approx(np.exp(-4))
