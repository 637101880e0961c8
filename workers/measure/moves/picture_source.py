"""What the picture is computed from and compared with, whatever the parameters of its networks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from workers.candidates import RESIDUE
from workers.codec import Frame, FrameEncoder
from workers.codec.common_randomness import noise
from workers.codec.coolchic import upsampled_latents
from workers.codec.family import Chroma
from workers.codec.resize import resize
from workers.measure.moves.filters import Filters
from workers.measure.moves.fixed_point import PICTURE_UNIT, samples, to_multiple
from workers.measure.moves.parameters import Doubles
from workers.measure.target import Target

_BAND = 8
"""Rows of a band that estimates are made from."""

_POLL = 1 << 14
"""Pixels that estimates are made from, of frames that have four times as many."""


class PictureSource:
    """Latents, and the original frame, of a frame encoder that has one cool-chic.

    Args:
        frame_encoder: its latents are read.
        frame: the frame it was fitted for.

    Attributes:
        maximum: ``2^bitdepth − 1``.
        chroma: how it is sampled; ``None`` for samples of full size.
        target: samples of the frame, ``[3, H, W]`` float64 integers; see :class:`~workers.measure.target.Target`.
        resized: whether the output of the networks has another size than the frame.
        bands: first rows of bands, and the rows after them, that estimates are made from.
        poll_ratio: number of all rows, and of those in the bands.
        unit: what one unit of squared error is worth in the mean squared error.
    """

    def __init__(self, frame_encoder: FrameEncoder, frame: Frame) -> None:
        coolchic = frame_encoder.coolchics[RESIDUE]
        param = coolchic.param
        self._k_sizes = param.ups_k_size, param.ups_preconcat_k_size
        self._grids = [grid[0].double() for grid in upsampled_latents(coolchic.decoder_side_latents(), param)]
        self._noise = (
            [to_multiple(noise(param.img_size, param.noise_channels)[0].double(), PICTURE_UNIT)]
            if param.noise_channels
            else []
        )
        target = Target(frame, torch.device("cpu"), frame_encoder.family.chroma)
        self.maximum, self.chroma = target.maximum, target.chroma
        self.target = target.samples.double().round()
        self.unit = 1 / (target.maximum**2 * sum(frame.data.samples))
        height, width = frame.img_size
        self._enlarge = None
        size = tuple(self._grids[0].shape[-2:])
        if size != (height, width):
            kind = param.final_upsampling_type
            rows, columns = (
                _rounded(
                    resize(torch.eye(n, dtype=torch.float64)[None, :, :, None], wanted, 1, kind)[0, :, :, 0].t()
                )
                for n, wanted in zip(size, (height, width), strict=True)
            )
            self._enlarge = (rows, columns)
        self.resized = self._enlarge is not None
        self.bands = [(0, height)]
        if height * width >= 4 * _POLL and not self.resized:
            n = max(1, _POLL // (_BAND * width))
            self.bands = [
                (top, min(top + _BAND, height)) for i in range(n) for top in [(i * (height - _BAND) // n) // 2 * 2]
            ]
        self.poll_ratio = (height, sum(end - top for top, end in self.bands))

    def dense(self, halves: Doubles, filters: Filters) -> Tensor:
        """Input of the synthesis, ``[C, h, w]``.

        Args:
            halves: half-kernels of the upsampling.
            filters: that apply them.
        """
        *larger, z = self._grids
        for j, target in enumerate(reversed(larger)):
            height, width = target.shape[-2:]
            up = _kernel(halves[f"conv_transpose2ds.{j}.parametrizations.weight.original"], self._k_sizes[0])
            filtered = _kernel(halves[f"conv2ds.{j}.parametrizations.weight.original"], self._k_sizes[1])
            z = torch.cat([filters.filter(target, filtered), filters.upsample(z, up, height, width)])
        return torch.cat([z, *self._noise])

    def image(self, outputs: Tensor) -> Tensor:
        """Outputs of the synthesis ``[3, h, w]`` at the size of the frame."""
        if self._enlarge is None:
            return outputs
        rows, columns = self._enlarge
        return to_multiple(rows @ to_multiple(outputs @ columns.t(), PICTURE_UNIT), PICTURE_UNIT)

    def squared_error(self, image: Tensor, bands: Sequence[tuple[int, int]] | None = None) -> int:
        """Of a picture ``[3, H, W]``, in some bands of rows or in all, in units of one squared sample."""
        if bands is None:
            return round(self._error(image, self.target).sum().item())
        return sum(round(self._error(image[:, a:b], self.target[:, a:b]).sum().item()) for a, b in bands)

    def _error(self, image: Tensor, target: Tensor) -> Tensor:
        luma = (samples(image[:1], self.maximum) - target[:1]).square().sum()
        if self.chroma is None:
            return luma + (samples(image[1:], self.maximum) - target[1:]).square().sum()
        if self.chroma is Chroma.EVEN:
            chroma, original = image[1:, ::2, ::2], target[1:, ::2, ::2]
        else:
            rows, columns = image.shape[-2] // 2 * 2, image.shape[-1] // 2 * 2
            even = image[1:, :rows, :columns]
            upper, lower = even[:, ::2], even[:, 1::2]
            chroma = ((upper[..., ::2] + upper[..., 1::2]) + (lower[..., ::2] + lower[..., 1::2])) / 4
            original = target[1:, :rows:2, :columns:2]
        return luma + (samples(chroma, self.maximum) - original).square().sum()


def _rounded(matrix: Tensor) -> Tensor:
    return (matrix / PICTURE_UNIT).round() * PICTURE_UNIT


def _kernel(half: Tensor, size: int) -> Tensor:
    return torch.cat([half, half.flip(0)[size % 2 :]])
