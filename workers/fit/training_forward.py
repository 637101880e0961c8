"""The forward pass in training: what ``FrameEncoder.forward`` gives, in operations whose gradients are cheap.

An iteration is dominated by the gradients of many small convolutions and slices. Here

- the upsampling's filters are products with a band matrix;
- contexts are gathered a neighbour's values side by side, and the arm is evaluated in that layout, its residual
  connections folded into the weights;
- 1×1 convolutions of the synthesis are matrix products.

Sums are taken in another order; nothing else differs.
"""

from typing import cast

import torch
from torch import Tensor, nn

from workers.candidates import RESIDUE
from workers.codec import FrameEncoder, FrameEncoderOutput, Planes
from workers.codec.arm import Arm, laplace_scale, rate_bit
from workers.codec.coolchic import with_noise
from workers.codec.resize import resize
from workers.codec.synthesis import Synthesis, SynthesisConv2d
from workers.fit.training_contexts import TrainingContexts, as_grids
from workers.fit.training_upsampling import TrainingUpsampling


class TrainingForward:
    """Decodes the latents of one frame encoder and measures their rate, with gradients.

    Args:
        frame_encoder: its parameters are read at every call.
    """

    def __init__(self, frame_encoder: FrameEncoder) -> None:
        residue = frame_encoder.coolchics[RESIDUE]
        self._frame = frame_encoder.param
        self._param = param = residue.param
        self._arm = residue.arm
        self._synthesis = residue.synthesis
        like = residue.latent_grids[0]
        self._identity = torch.eye(param.dim_arm).to(like)
        self._contexts = TrainingContexts(param, residue.ifce)
        n_steps = len(param.upsampled_grids) - 1
        self._upsample = TrainingUpsampling(
            residue.upsampling, n_steps, param.ups_k_size, param.ups_preconcat_k_size, like
        )

    def __call__(self, latent: Tensor) -> FrameEncoderOutput:
        """Decode.

        Args:
            latent: decoder-side latents ``[N]``, grid by grid, in raster order within a grid.

        Returns:
            The decoded frame, not rounded to its bit depth, and the bits of each latent.
        """
        mu, scale = self._distribution(self._contexts(latent))
        rate = rate_bit(latent, mu, scale)
        grids = as_grids(latent, self._param.grid_sizes)
        dense = self._upsample([grids[i] for i in self._param.upsampled_grids])
        dense = with_noise(dense[None], self._param)[0]
        image = resize(
            _synthesize(self._synthesis, dense, self._param.n_latents)[None],
            *self._param.img_size,
            self._param.final_upsampling_type,
        )
        planes = Planes.from_444(image, self._frame.frame_data_type, self._frame.family.chroma)
        return FrameEncoderOutput(planes.clamp(), rate)

    def _distribution(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Expectation and scale of each latent, ``[N]`` each, from its context ``[C, N]``."""
        raw = _hidden_layers(self._arm, context, self._identity)
        if self._arm.stabiliser_branch is not None:
            raw = raw + _linear(self._arm.stabiliser_branch, context)
        return raw[0], laplace_scale(raw[1], self._param.family.least_log_scale)


def _hidden_layers(arm: Arm, context: Tensor, identity: Tensor) -> Tensor:
    """What the arm's layers make of contexts ``[C, N]``: ``[2, N]``."""
    *hidden, output = arm.linears
    for linear in hidden:
        context = torch.addmm(linear.bias[:, None], linear.weight + identity, context).relu_()
    return _linear(output, context)


def _linear(layer: nn.Linear | SynthesisConv2d, x: Tensor) -> Tensor:
    """A linear layer, or a convolution 1×1, of ``[in, N]``: ``[out, N]``."""
    return torch.addmm(layer.bias[:, None], layer.weight.flatten(1), x)


def _synthesize(synthesis: Synthesis, dense: Tensor, n_latents: int) -> Tensor:
    """Dense latents ``[C, H, W]`` to the image ``[out, H, W]``."""
    size = dense.shape[-2:]
    x = dense
    for layer, activation in synthesis.convolutions:
        if layer.weight.shape[-1] > 1:
            y = cast(Tensor, layer(x[None]))[0]
        else:
            y = _linear(layer, x.flatten(1)).view(-1, *size)
            y = y + x if layer.residual else y
        x = y.relu_() if isinstance(activation, nn.ReLU) else y
    if synthesis.stabiliser_branch is not None:
        x = x + _linear(synthesis.stabiliser_branch, dense[:n_latents].flatten(1)).view(-1, *size)
    if synthesis.output_transform is not None:
        x = _linear(synthesis.output_transform, x.flatten(1)).view(-1, *size)
    return x
