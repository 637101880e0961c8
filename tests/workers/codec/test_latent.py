import numpy as np
import pytest
import torch

from workers.codec.coolchic_3_4 import COOLCHIC_3_4
from workers.codec.latent import contexts, flatten, quantize_latents

WINDOW_INDICES = {  # as the format states them
    8: "13 22 30 31 32 37 38 39",
    16: "13 14 20 21 22 23 24 28 29 30 31 32 33 37 38 39",
    24: "4 11-15 19-25 28-34 36-39",
    32: "2-5 10-16 19-26 27-35 36-39",
}


def window_indices(dim_arm: int) -> list[int]:
    indices = []
    for part in WINDOW_INDICES[dim_arm].split():
        first, _, last = part.partition("-")
        indices += range(int(first), int(last or first) + 1)
    return indices


def brute_force_contexts(grids: list[np.ndarray], dim_arm: int) -> np.ndarray:
    found = []
    for grid in grids:
        height, width = grid.shape
        for row in range(height):
            for column in range(width):
                for index in window_indices(dim_arm):
                    r, c = row + index // 9 - 4, column + index % 9 - 4
                    found.append(grid[r, c] if 0 <= r < height and 0 <= c < width else 0)
    return np.array(found).reshape(-1, dim_arm)


@pytest.mark.parametrize("dim_arm", [8, 16, 24, 32])
def test_a_context_holds_the_causal_neighbours_in_the_order_of_the_format(dim_arm: int) -> None:
    sizes = [(11, 14), (6, 7), (3, 4), (1, 1)]
    grids = [np.random.default_rng(i).integers(-9, 9, size).astype(np.float32) for i, size in enumerate(sizes)]
    latents = [torch.from_numpy(grid)[None, None] for grid in grids]

    found = contexts(latents, COOLCHIC_3_4.contexts[dim_arm])

    assert np.array_equal(found.numpy(), brute_force_contexts(grids, dim_arm))


def test_latents_are_flattened_in_the_order_of_their_contexts() -> None:
    latents = [torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), torch.tensor([[[[5.0]]]])]
    left_neighbour = contexts(latents, COOLCHIC_3_4.contexts[8])[:, -1]

    assert flatten(latents).tolist() == [1, 2, 3, 4, 5]
    assert left_neighbour.tolist() == [0, 1, 0, 3, 0]


def test_latents_are_rounded_to_even_after_the_gain() -> None:
    wanted = {0.5: 0, 1.5: 2, 2.5: 2, -0.5: 0, -1.5: -2, 0.75: 1, 7.0: 7}
    latents = torch.tensor(list(wanted)).view(1, 1, 1, -1) / 16

    (found,) = quantize_latents([latents], encoder_gain=16)

    assert found.flatten().tolist() == list(wanted.values())
