"""Architectures as fields of a header: numbers in exp-Golomb codes, small ones and usual ones in few bits."""

from collections.abc import Sequence
from typing import TypeVar

from workers.bitstream.exp_golomb import BitReader, BitWriter
from workers.candidates import RESIDUE
from workers.codec import CoolChicParameter, EncoderParameter, FrameEncoderParameter, SynthesisLayer
from workers.codec.coolchic_5.parameter import Coolchic5Parameter
from workers.codec.coolchic_parameter import MAX_SIDE, FinalUpsampling
from workers.codec.encoder_parameter import FrameDataType
from workers.codec.family import FAMILIES, Family
from workers.codec.parameter import RELEASES
from workers.errors import BitstreamError, CheckpointError

T = TypeVar("T")

ARCHITECTURES: Sequence[type[EncoderParameter]] = (Coolchic5Parameter, FrameEncoderParameter)
"""Kinds of architectures; a file holds the number."""

MAX_LAYERS = 256
"""Of a synthesis."""

_FRAME_DATA_TYPES: Sequence[FrameDataType] = ("rgb", "yuv420", "yuv444")
_FINAL_UPSAMPLINGS: Sequence[FinalUpsampling] = ("bicubic", "nearest", "bilinear")
_BITDEPTHS = range(8, 17)
_HIDDEN_LAYERS = range(17)
_RESOLUTIONS = range(16)
_CHANNELS = range(1, 1025)
_KERNELS = range(1, 32, 2)
_UPS_KERNELS = range(4, 32, 2)
_FEATURES = range(65)
_LAYERS = range(1, MAX_LAYERS + 1)
_SIDES = range(1, MAX_SIDE + 1)

# Of each field the exp-Golomb count of its place in the sequence of values that it can have.
_OF_SIDE, _OF_CONTEXTS, _OF_HIDDEN, _OF_LAYERS, _OF_CHANNELS = 8, 3, 1, 1, 2
_OF_UPS, _OF_FINEST, _OF_MORE, _OF_FEATURES, _OF_GRIDS = 2, 0, 2, 2, 2


class FieldWriter:
    """Appends fields to bits."""

    def __init__(self, bits: BitWriter) -> None:
        self._bits = bits

    def one_of(self, values: Sequence[T], value: T, count: int = 0) -> None:
        """One of some values: its place among them."""
        self._bits.write_magnitude(values.index(value), count)

    def flag(self, value: bool) -> None:
        """A bit."""
        self._bits.write(value, 1)

    def resolutions(self, given: tuple[int, int]) -> None:
        """The finest and the coarsest one."""
        finest, coarsest = given
        self.one_of(_RESOLUTIONS, finest, _OF_FINEST)
        self.one_of(_RESOLUTIONS, coarsest - finest, _OF_MORE)


class FieldReader:
    """Reads what a :class:`FieldWriter` wrote; the bits may be any."""

    def __init__(self, bits: BitReader) -> None:
        self._bits = bits

    def one_of(self, values: Sequence[T], count: int = 0) -> T:
        """See :meth:`FieldWriter.one_of`."""
        return values[self._bits.read_magnitude(count, len(values) - 1)]

    def flag(self) -> bool:
        """A bit."""
        return bool(self._bits.read(1))

    def resolutions(self) -> tuple[int, int]:
        """See :meth:`FieldWriter.resolutions`."""
        finest = self.one_of(_RESOLUTIONS, _OF_FINEST)
        return finest, finest + self.one_of(_RESOLUTIONS, _OF_MORE)


def write_architecture(bits: BitWriter, param: EncoderParameter) -> None:
    """Append an architecture, of one of :data:`ARCHITECTURES`; what only its encoder needs is left out."""
    fields = FieldWriter(bits)
    coolchic = param.coolchics[RESIDUE]
    fields.one_of(ARCHITECTURES, type(param))
    for side in param.img_size:
        fields.one_of(_SIDES, side, _OF_SIDE)
    fields.one_of(_FRAME_DATA_TYPES, param.frame_data_type)
    fields.one_of(_BITDEPTHS, param.bitdepth)
    fields.one_of(_contexts(param.family), coolchic.spatial_context_arm, _OF_CONTEXTS)
    fields.one_of(_HIDDEN_LAYERS, coolchic.n_hidden_layers_arm, _OF_HIDDEN)
    fields.one_of(_LAYERS, len(coolchic.layers_synthesis), _OF_LAYERS)
    for layer in coolchic.layers_synthesis:
        fields.one_of(_CHANNELS, layer.out_channels, _OF_CHANNELS)
        fields.one_of(_KERNELS, layer.kernel_size)
        fields.flag(layer.residual)
        fields.flag(layer.relu)
    fields.one_of(_UPS_KERNELS, coolchic.ups_k_size, _OF_UPS)
    fields.one_of(_KERNELS, coolchic.ups_preconcat_k_size, _OF_UPS)
    if isinstance(param, FrameEncoderParameter):
        _write_3_4(fields, param)
    else:
        _write_5(fields, coolchic)


def _write_3_4(fields: FieldWriter, param: FrameEncoderParameter) -> None:
    fields.one_of(RELEASES, param.release)
    fields.one_of(_RESOLUTIONS, param.n_grids - 1, _OF_GRIDS)
    for features in param.n_ft_per_res:
        fields.one_of(_FEATURES, features, 1)
    fields.one_of(_FEATURES, len(param.n_ft_per_res_cr))
    for channels in param.n_ft_per_res_cr:
        fields.flag(bool(channels))


def _write_5(fields: FieldWriter, coolchic: CoolChicParameter) -> None:
    fields.resolutions(coolchic.latent_resolution)
    for resolutions in (coolchic.hyperlatent_resolution, coolchic.ifce_resolution):
        fields.flag(resolutions is not None)
        if resolutions is not None:
            fields.resolutions(resolutions)
    if coolchic.ifce_resolution is not None:
        fields.one_of(_FEATURES, coolchic.output_feature_ifce, _OF_FEATURES)
    fields.flag(coolchic.linear_stabiliser_arm)
    fields.flag(coolchic.linear_stabiliser_synth)
    fields.flag(coolchic.flag_common_randomness)
    fields.one_of(_FINAL_UPSAMPLINGS, coolchic.final_upsampling_type)


def read_architecture(bits: BitReader) -> EncoderParameter:
    """What :func:`write_architecture` wrote.

    Raises:
        BitstreamError: the bits end early, or are those of no architecture.
    """
    fields = FieldReader(bits)
    kind = fields.one_of(ARCHITECTURES)
    family = FAMILIES[kind.family_name]
    img_size = fields.one_of(_SIDES, _OF_SIDE), fields.one_of(_SIDES, _OF_SIDE)
    frame_data_type = fields.one_of(_FRAME_DATA_TYPES)
    bitdepth = fields.one_of(_BITDEPTHS)
    n_contexts = fields.one_of(_contexts(family), _OF_CONTEXTS)
    n_hidden = fields.one_of(_HIDDEN_LAYERS, _OF_HIDDEN)
    layers = tuple(_layer(fields) for _ in range(fields.one_of(_LAYERS, _OF_LAYERS)))
    ups_k_size, preconcat_k_size = fields.one_of(_UPS_KERNELS, _OF_UPS), fields.one_of(_KERNELS, _OF_UPS)
    try:
        if kind is FrameEncoderParameter:
            release = fields.one_of(RELEASES)
            features = [fields.one_of(_FEATURES, 1) for _ in range(fields.one_of(_RESOLUTIONS, _OF_GRIDS) + 1)]
            noise = [int(fields.flag()) for _ in range(fields.one_of(_FEATURES))]
            return FrameEncoderParameter(
                img_size=img_size,
                layers_synthesis=layers,
                dim_arm=n_contexts,
                n_hidden_layers_arm=n_hidden,
                n_ft_per_res=tuple(features),
                ups_k_size=ups_k_size,
                ups_preconcat_k_size=preconcat_k_size,
                frame_data_type=frame_data_type,
                bitdepth=bitdepth,
                release=release,
                n_ft_per_res_cr=tuple(noise),
            )
        latents = fields.resolutions()
        hyperlatents = fields.resolutions() if fields.flag() else None
        ifce = fields.resolutions() if fields.flag() else None
        residue = CoolChicParameter(
            family=family,
            img_size=img_size,
            layers_synthesis=layers,
            latent_resolution=latents,
            spatial_context_arm=n_contexts,
            n_hidden_layers_arm=n_hidden,
            hyperlatent_resolution=hyperlatents,
            ifce_resolution=ifce,
            output_feature_ifce=0 if ifce is None else fields.one_of(_FEATURES, _OF_FEATURES),
            linear_stabiliser_arm=fields.flag(),
            linear_stabiliser_synth=fields.flag(),
            output_transform=True,
            n_ups_kernels=latents[1],
            ups_k_size=ups_k_size,
            ups_preconcat_k_size=preconcat_k_size,
            flag_common_randomness=fields.flag(),
            final_upsampling_type=fields.one_of(_FINAL_UPSAMPLINGS),
        )
        return Coolchic5Parameter(residue, frame_data_type, bitdepth)
    except CheckpointError as error:
        raise BitstreamError(f"the architecture is none that is known: {error}") from None


def _layer(fields: FieldReader) -> SynthesisLayer:
    return SynthesisLayer(
        fields.one_of(_CHANNELS, _OF_CHANNELS), fields.one_of(_KERNELS), fields.flag(), fields.flag()
    )


def _contexts(family: Family) -> list[int]:
    """Numbers of contexts that an arm may have."""
    return sorted(family.contexts)
