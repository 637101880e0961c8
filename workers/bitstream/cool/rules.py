"""What an architecture must be for a ``.cool`` file to hold it, beside what every cool-chic must be."""

from collections.abc import Iterator, Mapping

from workers.bitstream.cool.order import ROLES
from workers.codec.coolchic_5.parameter import Coolchic5Parameter
from workers.codec.coolchic_parameter import CoolChicParameter
from workers.codec.encoder_parameter import EncoderParameter

MAX_SIDE = (1 << 14) - 1
MAX_GRIDS = 31
MAX_LAYERS = 7
MAX_CHANNELS = 127
MAX_KERNEL = 15
MAX_FEATURES = 31
MAX_HIDDEN_LAYERS = 7
UPS_K_SIZES = range(4, 16, 2)
MAX_PRECONCAT_K_SIZE = 15

N_OUTPUTS: Mapping[tuple[str, str], int] = {
    (ROLES[0], "I"): 3,
    (ROLES[0], "P"): 4,
    (ROLES[0], "B"): 5,
    (ROLES[1], "P"): 2,
    (ROLES[1], "B"): 4,
}
"""Channels of the output, by cool-chic and type of its frame."""


def unencodable(param: EncoderParameter) -> str | None:
    """Why a ``.cool`` file cannot hold a frame encoder, whatever its parameters; ``None`` if it can."""
    if not isinstance(param, Coolchic5Parameter):
        return (
            f"a .cool file holds frame encoders of the family {Coolchic5Parameter.family_name}; found "
            f"{param.family.name}: write a .qsw file of it (-o x.qsw; in a job, bitstream: true)"
        )
    if (rule := broken_rule(param.residue)) is not None:
        return f"a .cool file cannot hold this frame encoder: {rule}"
    return None


def broken_rule(architecture: CoolChicParameter) -> str | None:
    """The first rule that an architecture breaks, as a sentence; ``None`` if it keeps all of them."""
    return next(_broken(architecture), None)


def _broken(a: CoolChicParameter) -> Iterator[str]:
    if max(a.img_size) > MAX_SIDE:
        yield f"a frame has sides of 1 to {MAX_SIDE}; found {a.img_size[1]}×{a.img_size[0]}"
    resolutions = {grid.resolution for grid in a.grids}
    if len(resolutions) != max(resolutions) - min(resolutions) + 1:
        yield f"resolutions of latents and hyperlatents have no gap; found {sorted(resolutions)}"
    if len(a.grids) > MAX_GRIDS:
        yield f"a cool-chic has at most {MAX_GRIDS} grids; found {len(a.grids)}"
    if a.output_feature_ifce > MAX_FEATURES:
        yield f"an IFCE has at most {MAX_FEATURES} features; found {a.output_feature_ifce}"
    if a.n_hidden_layers_arm > MAX_HIDDEN_LAYERS:
        yield f"an arm has at most {MAX_HIDDEN_LAYERS} hidden layers; found {a.n_hidden_layers_arm}"
    if a.ups_k_size not in UPS_K_SIZES:
        yield f"ups_k_size is even, {UPS_K_SIZES[0]} to {UPS_K_SIZES[-1]}; found {a.ups_k_size}"
    if a.ups_preconcat_k_size > MAX_PRECONCAT_K_SIZE:
        yield f"ups_preconcat_k_size is at most {MAX_PRECONCAT_K_SIZE}; found {a.ups_preconcat_k_size}"
    if len(a.layers_synthesis) > MAX_LAYERS:
        yield f"a synthesis has at most {MAX_LAYERS} layers; found {len(a.layers_synthesis)}"
    for layer in a.layers_synthesis:
        if not 1 <= layer.out_channels <= MAX_CHANNELS:
            yield f"a layer of the synthesis has 1 to {MAX_CHANNELS} outputs; found {layer}"
        if layer.kernel_size % 2 == 0 or not 1 <= layer.kernel_size <= MAX_KERNEL:
            yield f"a kernel of the synthesis is odd, 1 to {MAX_KERNEL}; found {layer}"
