"""Squared error of the decoded frame under many candidates of the synthesis at a time."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec import Frame, SynthesisLayer

Parameters = Mapping[str, Tensor]


class Target:
    """The original frame, as the integers that its samples are, a sample's channels side by side.

    Attributes:
        samples: ``[H, W, 3]`` in 0…M; for yuv420 chroma stands where it is sampled, and 0 elsewhere.
        maximum: ``M = 2^bitdepth − 1``.
        n_samples: number of samples of all planes.
    """

    def __init__(self, frame: Frame, device: torch.device) -> None:
        self.maximum = 2**frame.bitdepth - 1
        self.n_samples = sum(plane.numel() for plane in frame.data.tensors)
        self.subsampled = frame.frame_data_type == "yuv420"
        planes = [self._integers(plane) for plane in frame.data.tensors]
        if self.subsampled:
            dense = planes[0].new_zeros(3, *planes[0].shape[-2:])
            dense[0] = planes[0][0, 0]
            for channel in (1, 2):
                dense[channel, ::2, ::2] = planes[channel][0, 0]
        else:
            dense = planes[0][0]
        self.samples = dense.permute(1, 2, 0).contiguous().to(device)

    def _integers(self, plane: Tensor) -> Tensor:
        scaled = plane * self.maximum
        nearest = scaled.round()
        # A frame made in memory may hold values between those of its bit depth; those stay as they are.
        return torch.where((scaled - nearest).abs() < 1e-3, nearest, scaled)

    def squared_error(self, decoded: Tensor, top: int) -> Tensor:
        """Sum of squared errors of some rows, in units of ``1/M²``.

        Args:
            decoded: output of the synthesis, ``[n_candidates, 3, rows, W]``; overwritten.
            top: first of the rows, even.

        Returns:
            ``[n_candidates]`` float64.
        """
        rows = self.samples[top : top + decoded.shape[-2]]
        pixels = decoded.permute(0, 2, 3, 1)  # [n_candidates, rows, W, 3], contiguous
        error = pixels.mul_(self.maximum).round_().clamp_(0, self.maximum).sub_(rows)
        if self.subsampled:
            error[:, 1::2, :, 1:] = 0
            error[:, :, 1::2, 1:] = 0
        return error.square_().sum(dim=(1, 2, 3), dtype=torch.float64)

    def mean_squared_error(self, squared_error: Tensor) -> Tensor:
        """Mean over all samples, each in [0, 1], of a sum that :meth:`squared_error` gave for the whole frame."""
        return squared_error.div(self.maximum**2 * self.n_samples)


class _Convolution:
    """One layer for candidates that share its weights."""

    def __init__(self, layer: SynthesisLayer, index: int, candidates: Sequence[Parameters]) -> None:
        self.relu = layer.relu
        self.residual = layer.residual
        self.pad = layer.kernel_size // 2
        self.weight = candidates[0][f"layers.{2 * index}.weight"]  # [out, in, k, k]
        self.biases = torch.stack([c[f"layers.{2 * index}.bias"] for c in candidates])  # [n_candidates, out]
        self.matrix = self.weight[:, :, self.pad, self.pad].contiguous()  # [out, in], of a pointwise layer
        self.weight = self.weight.contiguous(memory_format=torch.channels_last)


def _pointwise(dense: Tensor, layers: Sequence[_Convolution], out: Tensor) -> None:
    """The leading 1×1 layers of some pixels, for every candidate.

    Args:
        dense: ``[L, T]``; channels are rows, for the products are faster so than with pixels as rows.
        layers: at least one.
        out: ``[n_candidates, channels, T]``, written.
    """
    first, *others = layers
    shared = first.matrix @ dense  # [out, T]
    if first.residual:
        shared += dense
    hidden = torch.empty_like(shared) if others else None
    for k in range(len(out)):
        x = torch.add(shared, first.biases[k, :, None], out=out[k] if hidden is None else hidden)
        if first.relu:
            x.relu_()
        for layer in others:
            y = out[k] if layer is others[-1] else x.new_empty(len(layer.matrix), x.shape[1])
            torch.addmm(layer.biases[k, :, None], layer.matrix, x, out=y)
            if layer.residual:
                y += x
            x = y.relu_() if layer.relu else y


def _spatial(x: Tensor, layers: Sequence[_Convolution], top: int, bottom: int, height: int) -> Tensor:
    """The layers from the first larger kernel on, over a band of rows.

    Args:
        x: rows that start as many before ``top``, and end as many after ``bottom``, as the kernels reach, or
            at the frame's border: ``[n_candidates, channels, rows, W]``.
        layers: in order.
        top: first row wanted.
        bottom: the row after the last one wanted.
        height: of the frame; the frame's border is replicated, the band's is not.

    Returns:
        Rows ``top`` to ``bottom``.
    """
    reach = sum(layer.pad for layer in layers)
    low, high = max(0, top - reach), min(height, bottom + reach)
    x = x.contiguous(memory_format=torch.channels_last)  # with few channels, twice as fast
    for layer in layers:
        p = layer.pad
        above, below = (p if low == 0 else 0), (p if high == height else 0)
        y = F.conv2d(F.pad(x, (p, p, above, below), mode="replicate") if p else x, layer.weight)
        y += layer.biases[:, :, None, None]
        if layer.residual:
            y += x[:, :, p - above : x.shape[2] - (p - below)]
        x = y.relu_() if layer.relu else y
        low, high = low + p - above, high - p + below
    return x[:, :, top - low : bottom - low]


def mean_squared_errors(
    dense: Tensor,
    candidates: Sequence[Parameters],
    layers: Sequence[SynthesisLayer],
    target: Target,
    tile: int,
) -> Tensor:
    """Mean squared error of the decoded frame for each candidate synthesis.

    Args:
        dense: its input, ``[L, H, W]``.
        candidates: parameters of syntheses whose weights are all the same; their biases differ.
        layers: of the synthesis.
        target: the original frame.
        tile: pixels that go through the 1×1 layers together, at least a row.

    Returns:
        ``[n_candidates]`` float64, on the CPU.
    """
    channels, height, width = dense.shape
    convolutions = [_Convolution(layer, index, candidates) for index, layer in enumerate(layers)]
    n_pointwise = next((i for i, layer in enumerate(layers) if layer.kernel_size > 1), len(layers))
    pointwise, spatial = convolutions[:n_pointwise], convolutions[n_pointwise:]
    reach = sum(layer.pad for layer in spatial)
    if pointwise:
        channels = layers[n_pointwise - 1].out_channels

    tile_rows = max(1, tile // width)
    # Even, for chroma; several times what neighbouring bands share.
    band_rows = min(height + height % 2, 2 * max(tile_rows, 4 * reach))
    band = dense.new_empty(len(candidates), channels, band_rows + 2 * reach, width)
    first_row = filled_to = 0  # the rows of the frame that the band holds
    total = torch.zeros(len(candidates), dtype=torch.float64, device=dense.device)
    for top in range(0, height, band_rows):
        bottom = min(top + band_rows, height)
        needed_from, needed_to = max(0, top - reach), min(height, bottom + reach)
        kept = filled_to - needed_from
        band[:, :, :kept] = band[:, :, needed_from - first_row : filled_to - first_row].clone()
        first_row = needed_from
        for row in range(filled_to, needed_to, tile_rows):
            end = min(row + tile_rows, needed_to)
            pixels = dense[:, row:end].flatten(1)
            # The rows of one channel lie side by side in memory, so this is a view.
            part = band[:, :, row - first_row : end - first_row].flatten(2)
            if pointwise:
                _pointwise(pixels, pointwise, part)
            else:
                part.copy_(pixels)
        filled_to = needed_to
        x = band[:, :, : filled_to - first_row]
        decoded = _spatial(x, spatial, top, bottom, height) if spatial else x
        total += target.squared_error(decoded, top)
    return target.mean_squared_error(total).cpu()
