"""The forward pass in training: what ``FrameEncoder.forward`` gives, in operations whose gradients are cheap.

An iteration is dominated by the gradients of many small convolutions and slices. Here

- the upsampling's filters are products with a band matrix;
- contexts are gathered a neighbour's values side by side, and the arm is evaluated in that layout, its residual
  connections folded into the weights;
- 1×1 convolutions of the synthesis are matrix products;

or the compiled kernel has arm and convolutions.

Sums are taken in another order; nothing else differs.
"""

from typing import cast

import torch
from torch import Tensor, nn

from workers.candidates import RESIDUE
from workers.codec import EncoderParameter, FrameEncoder, FrameEncoderOutput, FrameEncoderParameter, Planes
from workers.codec.arm import Arm, laplace_scale, rate_bit
from workers.codec.coolchic import with_noise
from workers.codec.resize import resize
from workers.codec.synthesis import Synthesis, SynthesisConv2d
from workers.fit.kernel.arm import CompiledArm, supports_arm
from workers.fit.kernel.library import load
from workers.fit.kernel.synthesis import CompiledSynthesis, supports_synthesis
from workers.fit.training_contexts import TrainingContexts, as_grids
from workers.fit.training_upsampling import TrainingUpsampling


def supports(param: EncoderParameter) -> bool:
    """Whether frame encoders of an architecture can be trained.

    These are the ones that are fitted here: of Cool-Chic 3.4, with one feature in each latent grid and no noise.
    """
    return (
        isinstance(param, FrameEncoderParameter)
        and all(n == 1 for n in param.n_ft_per_res)
        and not param.n_ft_per_res_cr
    )


class TrainingForward:
    """Decodes the latents of one frame encoder and measures their rate, with gradients.

    Args:
        frame_encoder: its parameters are read at every call.
        compiled: whether the compiled kernel may be used, for float32 on the CPU; its last digits are others.
    """

    def __init__(self, frame_encoder: FrameEncoder, *, compiled: bool = False) -> None:
        residue = frame_encoder.coolchics[RESIDUE]
        self._frame = frame_encoder.param
        self._param = param = residue.param
        self._arm = residue.arm
        self._synthesis = residue.synthesis
        library = load() if compiled else None
        self._compiled_arm = CompiledArm(library, self._arm, param) if library and supports_arm(param) else None
        self._compiled_synthesis = (
            CompiledSynthesis(library, self._synthesis) if library and supports_synthesis(param) else None
        )
        like = residue.latent_grids[0]
        self._identity = torch.eye(param.dim_arm).to(like)
        self._contexts = TrainingContexts(param, residue.ifce)
        n_steps = len(param.upsampled_grids) - 1
        self._upsample = TrainingUpsampling(
            residue.upsampling, n_steps, param.ups_k_size, param.ups_preconcat_k_size, like, library
        )

    def __call__(self, latent: Tensor) -> FrameEncoderOutput:
        """Decode.

        Args:
            latent: decoder-side latents ``[N]``, grid by grid, in raster order within a grid.

        Returns:
            The decoded frame, not rounded to its bit depth; and the bits of each latent, or of all together.
        """
        rate = self._rate(latent)
        grids = as_grids(latent, self._param.grid_sizes)
        dense = self._upsample([grids[i] for i in self._param.upsampled_grids])
        dense = with_noise(dense[None], self._param)[0]
        image = resize(self._synthesize(dense)[None], *self._param.img_size, self._param.final_upsampling_type)
        planes = Planes.from_444(image, self._frame.frame_data_type, self._frame.family.chroma)
        return FrameEncoderOutput(planes.clamp(), rate)

    def _rate(self, latent: Tensor) -> Tensor:
        if self._compiled_arm is not None:
            return self._compiled_arm(latent, self._contexts.features(latent))
        mu, scale = self._distribution(self._contexts(latent))
        return rate_bit(latent, mu, scale)

    def _distribution(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Expectation and scale of each latent, ``[N]`` each, from its context ``[C, N]``."""
        raw = _hidden_layers(self._arm, context, self._identity)
        if self._arm.stabiliser_branch is not None:
            raw = raw + _linear(self._arm.stabiliser_branch, context)
        return raw[0], laplace_scale(raw[1], self._param.family.least_log_scale)

    def _synthesize(self, dense: Tensor) -> Tensor:
        """Dense latents ``[C, H, W]`` to the image ``[out, H, W]``."""
        size = dense.shape[-2:]
        if self._compiled_synthesis is not None:
            x = self._compiled_synthesis(dense)
        else:
            x = _convolutions(self._synthesis, dense)
        if self._synthesis.stabiliser_branch is not None:
            latents = dense[: self._param.n_latents].flatten(1)
            x = x + _linear(self._synthesis.stabiliser_branch, latents).view(-1, *size)
        if self._synthesis.output_transform is not None:
            x = _linear(self._synthesis.output_transform, x.flatten(1)).view(-1, *size)
        return x


def _hidden_layers(arm: Arm, context: Tensor, identity: Tensor) -> Tensor:
    """What the arm's layers make of contexts ``[C, N]``: ``[2, N]``."""
    *hidden, output = arm.linears
    for linear in hidden:
        context = torch.addmm(linear.bias[:, None], linear.weight + identity, context).relu_()
    return _linear(output, context)


def _linear(layer: nn.Linear | SynthesisConv2d, x: Tensor) -> Tensor:
    """A linear layer, or a convolution 1×1, of ``[in, N]``: ``[out, N]``."""
    return torch.addmm(layer.bias[:, None], layer.weight.flatten(1), x)


def _convolutions(synthesis: Synthesis, x: Tensor) -> Tensor:
    """The layers of a synthesis, ``[C, H, W]`` to ``[out, H, W]``."""
    size = x.shape[-2:]
    for layer, activation in synthesis.convolutions:
        if layer.weight.shape[-1] > 1:
            y = cast(Tensor, layer(x[None]))[0]
        else:
            y = _linear(layer, x.flatten(1)).view(-1, *size)
            y = y + x if layer.residual else y
        x = y.relu_() if isinstance(activation, nn.ReLU) else y
    return x
