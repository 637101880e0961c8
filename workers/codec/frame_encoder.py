"""The frame encoder: latent grids and the three networks that decode them, assembled."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from workers.codec.arm import Arm, rate_bit
from workers.codec.family import Family
from workers.codec.frame import Planes
from workers.codec.latent import contexts, flatten, quantize_latents
from workers.codec.network import NetworkSpec
from workers.codec.parameter import FrameEncoderParameter
from workers.codec.synthesis import Synthesis
from workers.codec.upsampling import Upsampling
from workers.files import Fingerprint


class FrameEncoderOutput(NamedTuple):
    """What a forward pass gives.

    Attributes:
        decoded_image: the decoded frame, samples in [0, 1].
        rate: bits of each latent, ``[N]``.
    """

    decoded_image: Planes
    rate: Tensor


@dataclass
class FrameEncoderManager:
    """Rate constraint of a frame, and a record of the time its encoding took.

    Attributes:
        lmbda: weight of the rate, in bits per luma sample, against the mean squared error.
        total_training_time_sec: seconds spent on this frame, fitting and quantization sweep together.
        iterations_counter: iterations of the fit, all candidates of the warm-up included.
        fitted_mse: mean squared error that the fit ended with, if its checkpoint says so.
        fitted_frame: digest of the frame file that it was fitted to, likewise.
        file: the checkpoint that the frame encoder was read from; ``None`` if there is none.
    """

    lmbda: float
    total_training_time_sec: float = 0.0
    iterations_counter: int = 0
    fitted_mse: float | None = None
    fitted_frame: str | None = None
    file: Fingerprint | None = None


class FrameEncoder(nn.Module):
    """Latent grids, ``arm``, ``upsampling`` and ``synthesis`` of one frame.

    Attributes:
        param: the architecture.
        nn_q_step: per network that has been quantized, by its prefix, its steps ``{"weight": …, "bias": …}``.
        nn_expgol_cnt: per network that has been quantized, likewise, its exp-Golomb counts.
    """

    def __init__(self, param: FrameEncoderParameter) -> None:
        super().__init__()
        self.param = param
        self.latent_grids = nn.ParameterList(nn.Parameter(torch.zeros(1, 1, h, w)) for h, w in param.grid_sizes)
        self.arm = Arm(param.dim_arm, param.n_hidden_layers_arm)
        self.upsampling = Upsampling(param.n_grids, param.ups_k_size, param.ups_preconcat_k_size)
        self.synthesis = Synthesis(param.n_grids, param.layers_synthesis)
        self.nn_q_step: dict[str, dict[str, float]] = {}
        self.nn_expgol_cnt: dict[str, dict[str, int]] = {}

    @property
    def family(self) -> Family:
        """The family that it belongs to."""
        return self.param.family

    @property
    def networks(self) -> tuple[NetworkSpec, ...]:
        """The networks that are sent, in the order in which they are swept."""
        return self.param.networks

    def network(self, network: str) -> nn.Module:
        """One of the networks that are sent, by its id.

        Raises:
            KeyError: there is no such network.
        """
        for spec in self.networks:
            if spec.id == network:
                return self.get_submodule(spec.prefix)
        raise KeyError(f"a network is one of {[spec.id for spec in self.networks]}; found {network!r}")

    def get_network_parameters(self, network: str) -> dict[str, Tensor]:
        """A copy of one network's parameters, by name within the network."""
        return {name: value.detach().clone() for name, value in self.network(network).named_parameters()}

    def set_network_parameters(self, network: str, parameters: dict[str, Tensor]) -> None:
        """Replace the values of one network's parameters, names as in :meth:`get_network_parameters`."""
        own = dict(self.network(network).named_parameters())
        if own.keys() != parameters.keys():
            raise KeyError(f"{network}: expected parameters {sorted(own)}; found {sorted(parameters)}")
        with torch.no_grad():
            for name, value in parameters.items():
                own[name].copy_(value)

    def decoder_side_latents(self) -> list[Tensor]:
        """Quantized latents of the evaluation, ``[1, 1, H_i, W_i]`` each."""
        return quantize_latents(list(self.latent_grids), self.param.encoder_gain)

    def forward(self, latents: list[Tensor] | None = None) -> FrameEncoderOutput:
        """Decode the latents and measure their rate.

        In evaluation the decoded samples are rounded to the bit depth; in training they are not.

        Args:
            latents: decoder-side latents to use in place of the rounded ones, for training.
        """
        if latents is None:
            latents = self.decoder_side_latents()
        rate = self.rate(latents)
        return FrameEncoderOutput(self.decode(latents), rate)

    def decode(self, latents: list[Tensor]) -> Planes:
        """What upsampling and synthesis make of decoder-side latents; see :meth:`forward`."""
        image = self.synthesis(self.upsampling(latents))  # [1, 3, H, W]
        if not self.training:
            image = round_to_bitdepth(image, self.param.bitdepth)
        return Planes.from_444(image, self.param.frame_data_type).clamp()

    def rate(self, latents: list[Tensor]) -> Tensor:
        """Bits of each decoder-side latent by the arm, ``[Σ H_i · W_i]``, grid after grid."""
        mu, scale = self.arm(contexts(latents, self.param.dim_arm))
        return rate_bit(flatten(latents), mu, scale)

    def rate_of_grids(self) -> tuple[Tensor, ...]:
        """Bits of each latent of the evaluation, ``[H_i · W_i]`` for each grid."""
        sizes = [height * width for height, width in self.param.grid_sizes]
        return torch.split(self.rate(self.decoder_side_latents()), sizes)


def round_to_bitdepth(image: Tensor, bitdepth: int) -> Tensor:
    """Samples ``round(x · M) / M`` with ``M = 2^bitdepth − 1``, as a file of that bit depth holds them."""
    maximum = 2**bitdepth - 1
    return torch.round(image * maximum).div(maximum)
