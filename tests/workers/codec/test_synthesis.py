import numpy as np
import pytest
import torch

from tests.cases import SYNTHESIS
from tests.making import make_frame_encoder, make_param
from workers.candidates import RESIDUE
from workers.codec.synthesis import Synthesis


def slow_layer(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, residual: bool, relu: bool) -> np.ndarray:
    """One convolution, sample by sample; outside the frame stands the nearest sample of its border."""
    _, height, width = x.shape
    k = weight.shape[-1]
    y = np.empty((len(weight), height, width))
    for row in range(height):
        rows = np.clip(np.arange(row - k // 2, row + k // 2 + 1), 0, height - 1)
        for column in range(width):
            columns = np.clip(np.arange(column - k // 2, column + k // 2 + 1), 0, width - 1)
            y[:, row, column] = np.tensordot(weight, x[:, rows][:, :, columns], axes=3) + bias
    y = y + x if residual else y
    return np.maximum(y, 0) if relu else y


@pytest.mark.parametrize(
    "layers",
    [
        "8-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none",
        "6-3-linear-none,6-5-residual-relu,3-1-linear-relu",
        "4-1-residual-relu,3-7-linear-none",
    ],
)
@pytest.mark.parametrize("size", [(9, 12), (1, 6), (2, 1)])
def test_the_synthesis_is_its_convolutions_with_replicated_borders(layers: str, size: tuple[int, int]) -> None:
    frame_encoder = make_frame_encoder(layers, n_grids=4)
    dense = torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(0))
    x = dense[0].double().numpy()
    parameters = {k: v.double().numpy() for k, v in frame_encoder.get_network_parameters(SYNTHESIS).items()}
    for j, layer in enumerate(layers.split(",")):
        _, _, kind, activation = layer.split("-")
        weight, bias = parameters[f"layers.{2 * j}.weight"], parameters[f"layers.{2 * j}.bias"]
        x = slow_layer(x, weight, bias, kind == "residual", activation == "relu")

    with torch.inference_mode():
        found = frame_encoder.synthesis(dense)

    np.testing.assert_allclose(found[0].numpy(), x, rtol=0, atol=1e-5)


def test_a_new_synthesis_has_identities_for_residual_layers_and_small_others() -> None:
    param = make_param("16-1-linear-relu,3-1-linear-none,3-3-residual-none", n_grids=7)
    torch.manual_seed(0)
    first, second, residual = (layer for layer, _ in Synthesis(param.coolchics[RESIDUE]).convolutions)
    bounds = {first: 1 / (16**2 * 7**0.5), second: 1 / (3**2 * 16**0.5)}

    assert not residual.weight.any()
    assert not any(layer.bias.any() for layer in (first, second, residual))
    for layer, bound in bounds.items():
        assert 0.8 * bound < layer.weight.abs().max() <= bound
