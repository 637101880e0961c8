"""The header of a cool-chic: its architecture, how its parameters are coded, and the lengths of what follows."""

from collections.abc import Mapping
from typing import NamedTuple

from workers.bitstream.cool.fields import FieldReader, FieldWriter
from workers.bitstream.cool.order import ARM, IFCE, SYNTHESIS, UPSAMPLING
from workers.bitstream.cool.rules import N_OUTPUTS, broken_rule
from workers.candidates import KINDS, Kind
from workers.codec.coolchic_5.family import COOLCHIC_5
from workers.codec.coolchic_parameter import CoolChicParameter, FinalUpsampling
from workers.codec.synthesis_layer import SynthesisLayer
from workers.errors import BitstreamError, CheckpointError

_FINAL_UPSAMPLINGS: tuple[FinalUpsampling, ...] = ("nearest", "bilinear", "bicubic")

MAX_COUNT = 12
"""Largest exp-Golomb count."""

EXPONENTS: Mapping[tuple[str, Kind], range] = {
    (ARM, "weight"): range(-8, 1),
    (ARM, "bias"): range(-16, 1),
    (IFCE, "weight"): range(-8, 1),
    (IFCE, "bias"): range(-16, 1),
    (UPSAMPLING, "weight"): range(-12, 1),
    (UPSAMPLING, "bias"): range(1),
    (SYNTHESIS, "weight"): range(-12, 1),
    (SYNTHESIS, "bias"): range(-24, 1),
}
"""Exponents of two that steps may have, in the order in which they are sent; a file holds the index."""

MAX_PARAMETER_BYTES = (1 << 14) - 1
MAX_LATENT_BYTES = (1 << 28) - 4


class Coding(NamedTuple):
    """How the parameters of one module and kind are coded.

    Attributes:
        exponent: of their step, a power of two.
        expgol_cnt: count of their exp-Golomb code.
    """

    exponent: int
    expgol_cnt: int


Codings = Mapping[tuple[str, Kind], Coding]


class CoolChicHeader(NamedTuple):
    """The header of a cool-chic.

    Attributes:
        architecture: of the cool-chic.
        codings: of its parameters; of all modules, also without an IFCE.
        n_parameter_bytes: size of the parameters.
        n_pad_bits: zeros in front of the first parameter.
        n_latent_bytes: size of the latents.
    """

    architecture: CoolChicParameter
    codings: Codings
    n_parameter_bytes: int
    n_pad_bits: int
    n_latent_bytes: int


def read_coolchic_header(
    content: bytes, start: int, part: str, role: str, frame_type: str
) -> tuple[CoolChicHeader, int]:
    """The header of a cool-chic, and where it ends.

    Args:
        content: the file.
        start: where the header begins.
        part: its name, for messages.
        role: ``residue`` or ``motion``.
        frame_type: of its frame.

    Raises:
        BitstreamError: the file ends within it, or it breaks a rule of the format.
    """
    fields = FieldReader(content, start, part)
    stabiliser_synth = fields.flag()
    n_layers, ups_k_size, preconcat_k_size = fields.unsigned(3), fields.unsigned(4), fields.unsigned(4)
    n_features, n_spatial = fields.unsigned(5), fields.unsigned(6)
    stabiliser_arm, n_hidden = fields.flag(), fields.unsigned(3)
    img_size = fields.unsigned(14), fields.unsigned(14)
    latents = fields.unsigned(4), fields.unsigned(4)
    n_grids, has_hyperlatents, randomness = fields.unsigned(5), fields.flag(), fields.flag()
    final_upsampling = fields.unsigned(2)
    steps = [fields.unsigned(5) for _ in EXPONENTS]
    counts = [fields.unsigned(4) for _ in EXPONENTS]
    n_parameter_bytes, n_pad_bits, n_latent_bytes = fields.unsigned(14), fields.unsigned(3), fields.unsigned(28)
    fields.size()
    ifce = (fields.unsigned(4), fields.unsigned(4)) if n_features else None
    hyperlatents = (fields.unsigned(4), fields.unsigned(4)) if has_hyperlatents else None
    layers = [
        SynthesisLayer(fields.unsigned(7), fields.unsigned(4), fields.flag(), fields.flag())
        for _ in range(n_layers)
    ]
    if final_upsampling >= len(_FINAL_UPSAMPLINGS):
        raise BitstreamError(
            f"{part}: final_upsampling_type is a number below {len(_FINAL_UPSAMPLINGS)}; found {final_upsampling}"
        )
    try:
        architecture = CoolChicParameter(
            family=COOLCHIC_5,
            img_size=img_size,
            layers_synthesis=tuple(layers),
            latent_resolution=latents,
            spatial_context_arm=n_spatial,
            n_hidden_layers_arm=n_hidden,
            hyperlatent_resolution=hyperlatents,
            ifce_resolution=ifce,
            output_feature_ifce=n_features,
            linear_stabiliser_arm=stabiliser_arm,
            linear_stabiliser_synth=stabiliser_synth,
            output_transform=True,
            n_ups_kernels=latents[1],
            ups_k_size=ups_k_size,
            ups_preconcat_k_size=preconcat_k_size,
            final_upsampling_type=_FINAL_UPSAMPLINGS[final_upsampling],
            flag_common_randomness=randomness,
            n_outputs=N_OUTPUTS[role, frame_type],
        )
    except CheckpointError as error:
        raise BitstreamError(f"{part}: {error}") from None
    if (rule := broken_rule(architecture)) is not None:
        raise BitstreamError(f"{part}: {rule}")
    if n_grids != len(architecture.grids):
        raise BitstreamError(f"{part}: its resolutions give {len(architecture.grids)} grids; found {n_grids}")
    if n_latent_bytes % 4:
        raise BitstreamError(f"{part}: n_bytes_latent is a multiple of 4; found {n_latent_bytes}")
    codings = _codings(part, architecture, steps, counts)
    return CoolChicHeader(architecture, codings, n_parameter_bytes, n_pad_bits, n_latent_bytes), fields.finish()


def _codings(part: str, architecture: CoolChicParameter, steps: list[int], counts: list[int]) -> Codings:
    codings = {}
    for (key, exponents), step, count in zip(EXPONENTS.items(), steps, counts, strict=True):
        module, kind = key
        if step >= len(exponents):
            raise BitstreamError(f"{part}: {module} {kind} has {len(exponents)} steps; found index {step}")
        if count > MAX_COUNT:
            raise BitstreamError(f"{part}: an exp-Golomb count is at most {MAX_COUNT}; found {count}")
        if module == IFCE and not architecture.output_feature_ifce and (step or count):
            raise BitstreamError(f"{part}: steps and counts of an IFCE are 0 without one; found {step} and {count}")
        codings[key] = Coding(exponents[step], count)
    return codings


def write_coolchic_header(header: CoolChicHeader) -> bytes:
    """What :func:`read_coolchic_header` reads."""
    architecture = header.architecture
    fields = FieldWriter()
    for value, n_bits in (
        (architecture.linear_stabiliser_synth, 1),
        (len(architecture.layers_synthesis), 3),
        (architecture.ups_k_size, 4),
        (architecture.ups_preconcat_k_size, 4),
        (architecture.output_feature_ifce, 5),
        (architecture.spatial_context_arm, 6),
        (architecture.linear_stabiliser_arm, 1),
        (architecture.n_hidden_layers_arm, 3),
        *((side, 14) for side in architecture.img_size),
        *((resolution, 4) for resolution in architecture.latent_resolution),
        (len(architecture.grids), 5),
        (architecture.hyperlatent_resolution is not None, 1),
        (architecture.flag_common_randomness, 1),
        (_FINAL_UPSAMPLINGS.index(architecture.final_upsampling_type), 2),
        *((exponents.index(header.codings[key].exponent), 5) for key, exponents in EXPONENTS.items()),
        *((header.codings[key].expgol_cnt, 4) for key in EXPONENTS),
        (header.n_parameter_bytes, 14),
        (header.n_pad_bits, 3),
        (header.n_latent_bytes, 28),
    ):
        fields.unsigned(int(value), n_bits)
    fields.size()
    for resolutions in (architecture.ifce_resolution, architecture.hyperlatent_resolution):
        for resolution in resolutions or ():
            fields.unsigned(resolution, 4)
    for layer in architecture.layers_synthesis:
        for value, n_bits in zip(layer, (7, 4, 1, 1), strict=True):
            fields.unsigned(int(value), n_bits)
    return fields.to_bytes()


NO_IFCE: Mapping[Kind, Coding] = {kind: Coding(EXPONENTS[IFCE, kind][0], 0) for kind in KINDS}
"""What a file without IFCE says of its parameters."""
