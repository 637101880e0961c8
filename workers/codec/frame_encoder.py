"""The frame encoder: its cool-chics, assembled."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from workers.candidates import RESIDUE
from workers.codec.coolchic import CoolChic
from workers.codec.encoder_parameter import EncoderParameter
from workers.codec.family import Family
from workers.codec.frame import Planes
from workers.codec.network import NetworkSpec
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
    """The cool-chics of one frame.

    In families that do not name cool-chics in their checkpoints, latent grids and networks are attributes of the
    frame encoder itself.

    Attributes:
        param: the architecture.
        coolchics: by name.
        nn_q_step: per network that has been quantized, by its prefix, its steps ``{"weight": …, "bias": …}``.
        nn_expgol_cnt: per network that has been quantized, likewise, its exp-Golomb counts.
    """

    def __init__(self, param: EncoderParameter) -> None:
        super().__init__()
        self.param = param
        self.coolchics = {name: CoolChic(of_coolchic) for name, of_coolchic in param.coolchics.items()}
        for name, coolchic in self.coolchics.items():
            if param.family.prefixed:
                self.add_module(name, coolchic)
            else:
                for child, module in coolchic.named_children():
                    self.add_module(child, module)
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

    @property
    def is_quantized(self) -> bool:
        """Whether all of its networks have been quantized."""
        return all(spec.prefix in self.nn_q_step for spec in self.networks)

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
        """Quantized latents of the evaluation, ``[1, n_i, H_i, W_i]`` each, cool-chic after cool-chic."""
        return [grid for coolchic in self.coolchics.values() for grid in coolchic.decoder_side_latents()]

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
        image = self.coolchics[RESIDUE](self._split(latents)[RESIDUE])  # [1, 3, H, W]
        planes = Planes.from_444(image, self.param.frame_data_type, self.family.chroma).clamp()
        return planes if self.training else planes.round(self.param.bitdepth)

    def rate(self, latents: list[Tensor]) -> Tensor:
        """Bits of each decoder-side latent by the arms, ``[Σ n_i · H_i · W_i]``, grid after grid."""
        parts = self._split(latents)
        return torch.cat([coolchic.rate(parts[name]) for name, coolchic in self.coolchics.items()])

    def rate_of_grids(self) -> tuple[Tensor, ...]:
        """Bits of each latent of the evaluation, ``[n_i · H_i · W_i]`` for each grid."""
        latents = self.decoder_side_latents()
        return torch.split(self.rate(latents), [grid.numel() for grid in latents])

    def _split(self, latents: list[Tensor]) -> dict[str, list[Tensor]]:
        """Latents by cool-chic."""
        parts, start = {}, 0
        for name, coolchic in self.coolchics.items():
            n_grids = len(coolchic.param.grids)
            parts[name] = latents[start : start + n_grids]
            start += n_grids
        return parts
