"""Published architectures of Cool-Chic 5.0.1 for pictures."""

from collections.abc import Mapping
from typing import NamedTuple

from workers.codec.coolchic_5.parameter import Coolchic5Parameter
from workers.codec.coolchic_parameter import CoolChicParameter
from workers.codec.encoder_parameter import FrameDataType
from workers.codec.family import FAMILIES
from workers.codec.synthesis_layer import SynthesisLayer

_N_OUTPUTS = 3
_FINEST_HYPERLATENT = 4
_IFCE_RESOLUTION = (0, 2)


class IntraArchitecture(NamedTuple):
    """A published choice of the networks' sizes, for a frame without references.

    Attributes:
        spatial_context_arm: causal neighbours of a latent.
        output_feature_ifce: inter-feature contexts of a latent.
        layers_synthesis: convolutions of the synthesis.
        n_hidden_layers_arm: hidden layers of the arm.
    """

    spatial_context_arm: int
    output_feature_ifce: int
    layers_synthesis: tuple[SynthesisLayer, ...]
    n_hidden_layers_arm: int = 2

    def parameter(
        self, img_size: tuple[int, int], frame_data_type: FrameDataType, bitdepth: int, lmbda: float
    ) -> Coolchic5Parameter:
        """All sizes of a frame encoder for a frame and a weight of the rate."""
        coarsest = _coarsest_resolution(*img_size)
        residue = CoolChicParameter(
            family=FAMILIES[Coolchic5Parameter.family_name],
            img_size=img_size,
            layers_synthesis=self.layers_synthesis,
            latent_resolution=(0, coarsest),
            spatial_context_arm=self.spatial_context_arm,
            n_hidden_layers_arm=self.n_hidden_layers_arm,
            hyperlatent_resolution=(_FINEST_HYPERLATENT, coarsest),
            ifce_resolution=_IFCE_RESOLUTION,
            output_feature_ifce=self.output_feature_ifce,
            linear_stabiliser_arm=True,
            linear_stabiliser_synth=True,
            output_transform=True,
            n_ups_kernels=coarsest,
            encoder_gain=_encoder_gain(lmbda),
            n_outputs=_N_OUTPUTS,
        )
        return Coolchic5Parameter(residue, frame_data_type, bitdepth)


def _coarsest_resolution(height: int, width: int) -> int:
    """Resolution of the coarsest grid, by the number of pixels."""
    if height * width < 1_000_000:
        return 6
    return 7 if height * width < 3_000_000 else 8


def _encoder_gain(lmbda: float) -> int:
    """Factor of the latents before they are rounded; more of it, the less the rate weighs."""
    if lmbda < 0.0002:
        return 24
    return 20 if lmbda < 0.0005 else 16


def _intra(contexts: int, features: int, layers: str) -> IntraArchitecture:
    return IntraArchitecture(contexts, features, tuple(map(SynthesisLayer.parse, layers.split(","))))


ARCHITECTURES: Mapping[str, IntraArchitecture] = {
    "lop": _intra(6, 2, "3-1-linear-relu,3-1-linear-none,3-3-residual-none"),
    "mop": _intra(10, 4, "16-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none"),
    "hop": _intra(14, 6, "48-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none"),
    "vhop": _intra(20, 6, "64-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none"),
}
"""Architectures for frames without references, by name."""
