"""Bits of all latents under many candidates of the arm at a time."""

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec.arm import MAX_RATE_BIT
from workers.codec.latent import PAD, context_offsets

_FACTORS = 4
"""Probabilities, of at least 2^−16 each, that are multiplied before one logarithm is taken of them all."""

Parameters = Mapping[str, Tensor]


def latent_tiles(latents: Sequence[Tensor], dim_arm: int, tile: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Latents and their contexts, a bounded number of rows of one grid at a time.

    Args:
        latents: decoder-side latents, ``[1, 1, H_i, W_i]`` each.
        dim_arm: number of causal neighbours ``C``.
        tile: latents per tile, at least; whole rows are kept together.

    Yields:
        Latents ``[T]`` and contexts ``[T, C]``.
    """
    offsets = context_offsets(dim_arm)
    for grid in latents:
        height, width = grid.shape[-2:]
        padded = F.pad(grid[0, 0], (PAD, PAD, PAD, PAD))
        rows = -(-tile // width)
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            contexts = torch.stack(
                [
                    padded[PAD + dy + top : PAD + dy + bottom, PAD + dx : PAD + dx + width].reshape(-1)
                    for dy, dx in offsets
                ],
                dim=1,
            )
            yield grid[0, 0, top:bottom].reshape(-1), contexts


class _Layers:
    """Candidates that share their weights, in the form in which a tile meets them.

    Residual connections are folded into the weights.
    """

    def __init__(self, candidates: Sequence[Parameters], n_hidden: int) -> None:
        names = [f"mlp.{2 * j}" for j in range(n_hidden + 1)]
        first = candidates[0]
        eye = torch.eye(first["mlp.0.weight"].shape[1], device=first["mlp.0.weight"].device)
        self.weights = [first[f"{name}.weight"] + eye for name in names[:-1]]
        self.weights.append(first[f"{names[-1]}.weight"])
        # biases[j]: [n_candidates, out]
        self.biases = [torch.stack([c[f"{name}.bias"] for c in candidates]) for name in names]


def _outputs(context: Tensor, layers: _Layers) -> Tensor:
    """``μ`` and ``s`` of a tile for every candidate, ``[2, n_candidates, T]``."""
    n_candidates, n_latents = len(layers.biases[0]), len(context)
    out = context.new_empty(n_candidates, 2, n_latents)
    shared = context @ layers.weights[0].t()  # [T, C], or [T, 2] for an arm without hidden layers
    if len(layers.weights) == 1:
        torch.add(shared.t(), layers.biases[0][:, :, None], out=out)
    else:
        hidden, other = torch.empty_like(shared), torch.empty_like(shared)
        for k in range(n_candidates):
            torch.add(shared, layers.biases[0][k], out=hidden).relu_()
            for weight, bias in zip(layers.weights[1:-1], layers.biases[1:-1], strict=True):
                torch.addmm(bias[k], hidden, weight.t(), out=other).relu_()
                hidden, other = other, hidden
            torch.addmm(layers.biases[-1][k, :, None], layers.weights[-1], hidden.t(), out=out[k])
    return out.transpose(0, 1)


def _cdf(shifted: Tensor, scale: Tensor) -> Tensor:
    """Laplace cdf at ``x − μ``, written over it; the operations of the codec's, one for one, without temporaries.

    Where the weights are few integers the same rounding error stands in thousands of latents: another order of
    operations shows in the sum.
    """
    sign = shifted.sign()
    return shifted.abs_().neg_().div_(scale).expm1_().mul_(sign.mul_(0.5)).neg_().add_(0.5)


def _bits(latent: Tensor, outputs: Tensor) -> Tensor:
    """Bits of a tile for every candidate, ``[n_candidates]`` float64."""
    mu, log_scale = outputs
    scale = (log_scale - 4).clamp_(-4.6, 5.0).exp_()
    probability = _cdf((latent + 0.5) - mu, scale).sub_(_cdf((latent - 0.5) - mu, scale))  # [n_candidates, T]
    probability.clamp_min_(2.0**-MAX_RATE_BIT)
    remainder = -probability.shape[1] % _FACTORS
    if remainder:
        probability = F.pad(probability, (0, remainder), value=1.0)
    product = probability.view(len(probability), _FACTORS, -1).prod(dim=1)
    return product.log2_().sum(dim=1, dtype=torch.float64).neg_()


def rate_latent_bit(
    latents: Sequence[Tensor], candidates: Sequence[Parameters], n_hidden_layers: int, tile: int
) -> Tensor:
    """Bits of all latents for each candidate arm.

    Args:
        latents: decoder-side latents, ``[1, 1, H_i, W_i]`` each.
        candidates: parameters of arms whose weights are all the same; their biases differ.
        n_hidden_layers: of the arm.
        tile: latents that are evaluated together.

    Returns:
        ``[n_candidates]`` float64, on the CPU.
    """
    layers = _Layers(candidates, n_hidden_layers)
    dim_arm = layers.weights[0].shape[1]
    total = torch.zeros(len(candidates), dtype=torch.float64, device=latents[0].device)
    for latent, context in latent_tiles(latents, dim_arm, tile):
        total += _bits(latent, _outputs(context, layers))
    return total.cpu()
