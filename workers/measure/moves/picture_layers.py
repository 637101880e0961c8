"""The network that gives the picture, as numbered convolutions."""

from typing import NamedTuple

from workers.codec.coolchic import CoolChic
from workers.codec.synthesis_layer import SynthesisLayer
from workers.measure.moves.parameters import Layer


class PictureLayers(NamedTuple):
    """Convolutions of a synthesis.

    Attributes:
        main: first to last.
        shapes: of them.
        stabiliser: of the latents' channels of the input, added to the output; if there is one.
        transform: of the output; if there is one.
        n_latents: channels that the stabiliser takes.
        n_inputs: channels of the input.
        n_outputs: channels of the output.
    """

    main: tuple[Layer, ...]
    shapes: tuple[SynthesisLayer, ...]
    stabiliser: Layer | None
    transform: Layer | None
    n_latents: int
    n_inputs: int
    n_outputs: int

    @classmethod
    def of(cls, coolchic: CoolChic) -> "PictureLayers":
        """Layers of a cool-chic."""
        param = coolchic.param
        name, n = param.family.synthesis_layers, len(param.layers_synthesis)
        main = tuple(Layer(1 + j, f"{name}.{2 * j}.weight", f"{name}.{2 * j}.bias") for j in range(n))
        branch, transform = "stabiliser_branch", "output_transform"
        return cls(
            main,
            param.layers_synthesis,
            Layer(n + 1, f"{branch}.weight", f"{branch}.bias") if param.linear_stabiliser_synth else None,
            Layer(n + 2, f"{transform}.weight", f"{transform}.bias") if param.output_transform else None,
            param.n_latents,
            param.n_inputs_synthesis,
            param.n_outputs,
        )

    @property
    def all(self) -> list[Layer]:
        """All layers."""
        return [layer for layer in (*self.main, self.stabiliser, self.transform) if layer is not None]
