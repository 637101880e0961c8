import numpy as np
import pytest
import torch

from tests.making import make_frame_encoder
from workers.codec.upsampling import Upsampling


def by_rows_then_columns(operation, image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    along_width = np.stack([operation(row, kernel) for row in image])
    return np.stack([operation(column, kernel) for column in along_width.T]).T


def upsample_line(line: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Each sample leaves a copy of the kernel, two places after the one before."""
    k, pad = len(kernel), len(kernel) // 2
    line = np.pad(line, pad, mode="edge")
    out = np.zeros(2 * (len(line) - 1) + k)
    for i, sample in enumerate(line):
        out[2 * i : 2 * i + k] += sample * kernel
    crop = 2 * pad - 1 + k // 2
    return out[crop:-crop]


def filter_line(line: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    reach = len(kernel) // 2
    padded = np.pad(line, reach)
    return np.array([padded[i : i + len(kernel)] @ kernel for i in range(len(line))])


def slow_upsampling(latents: list[np.ndarray], even: list[np.ndarray], odd: list[np.ndarray]) -> np.ndarray:
    z = [latents[-1]]
    for even_half, odd_half, target in zip(even, odd, latents[-2::-1], strict=True):
        even_kernel = np.concatenate([even_half, even_half[::-1]])
        odd_kernel = np.concatenate([odd_half, odd_half[-2::-1]])
        height, width = target.shape
        u = [by_rows_then_columns(upsample_line, channel, even_kernel)[:height, :width] for channel in z]
        z = [by_rows_then_columns(filter_line, target, odd_kernel) + target, *u]
    return np.stack(z)


def halves(filters: torch.nn.ModuleList) -> list[np.ndarray]:
    return [f.parametrizations.weight.original.detach().double().numpy() for f in filters]


@pytest.mark.parametrize(("ups_k_size", "ups_preconcat_k_size"), [(8, 7), (4, 3), (6, 1), (10, 5)])
@pytest.mark.parametrize("img_size", [(13, 22), (16, 8), (1, 5), (33, 1)])
def test_the_dense_latents_are_those_of_the_format(
    img_size: tuple[int, int], ups_k_size: int, ups_preconcat_k_size: int
) -> None:
    frame_encoder = make_frame_encoder(
        img_size=img_size, n_grids=5, ups_k_size=ups_k_size, ups_preconcat_k_size=ups_preconcat_k_size
    )
    upsampling = frame_encoder.upsampling

    with torch.inference_mode():
        latents = frame_encoder.decoder_side_latents()
        found = upsampling(latents)

    slow = slow_upsampling(
        [grid[0, 0].double().numpy() for grid in latents],
        halves(upsampling.conv_transpose2ds),
        halves(upsampling.conv2ds),
    )
    assert found.shape == (1, 5, *img_size)
    np.testing.assert_allclose(found[0].numpy(), slow, rtol=0, atol=1e-4)


@pytest.mark.parametrize("ups_k_size", [4, 6, 8, 12])
def test_a_new_upsampling_interpolates(ups_k_size: int) -> None:
    height, width = 32, 48
    latents = [torch.zeros(1, 1, height, width), torch.zeros(1, 1, 16, 24), torch.full((1, 1, 8, 12), 3.0)]

    with torch.inference_mode():
        dense = Upsampling(2, ups_k_size, 7).eval()(latents)

    expected = torch.full((height, width), 3.0)
    torch.testing.assert_close(dense[0, 2], expected, rtol=1e-5, atol=0)
    assert not dense[0, :2].any()


def test_a_new_filter_before_concatenation_passes_its_input_and_its_input_is_added() -> None:
    latents = [torch.rand(1, 1, 9, 7), torch.zeros(1, 1, 5, 4)]

    with torch.inference_mode():
        dense = Upsampling(1, 8, 7).eval()(latents)

    torch.testing.assert_close(dense[:, :1], 2 * latents[0])
