"""Latents of a cool-chic as bytes: all grids by one range coder, the coarsest one first."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from workers.bitstream.cool.coder import GridDecoder, GridEncoder, coders
from workers.bitstream.cool.coolchic_header import CoolChicHeader
from workers.bitstream.cool.features import Features, Latents, grid_features
from workers.bitstream.cool.fixed_arm import FixedLayer, fixed_arm, fixed_features
from workers.bitstream.cool.order import n_coded_latents
from workers.bitstream.cool.parameters import Parameters
from workers.errors import BitstreamError, InputError


def decode_latents(content: bytes, header: CoolChicHeader, parameters: Parameters, part: str) -> list[Latents]:
    """Latents of all grids, ``[h, w]`` each, in the order of the architecture's.

    Args:
        content: their bytes, a multiple of 4.
        header: of the cool-chic.
        parameters: of its networks.
        part: their name, for messages.

    Raises:
        BitstreamError: the bytes are not those that these latents are written as; or the arm's sums pass 64 bits.
    """
    architecture, codings = header.architecture, header.codings
    try:
        arm = fixed_arm(architecture, codings, parameters)
    except OverflowError as error:
        raise BitstreamError(f"{part}: {error}") from None
    sizes = architecture.grid_sizes
    layers = fixed_features(architecture, codings, parameters)
    decoder: GridDecoder = coders().decoder(content, arm, architecture.context_indices)
    found: list[Latents] = []  # the finest one first
    try:
        for i in reversed(range(len(sizes))):
            features = grid_features(layers[i], sizes[i:], found) if i in layers else None
            found.insert(0, decoder.decode(sizes[i], features))
        decoder.finish()
    except ValueError as error:
        raise BitstreamError(f"{part}: {error}") from None
    return found


class EncodedLatents(NamedTuple):
    """Latents of all grids as bytes.

    Attributes:
        content: the bytes.
        bits: of each grid, in the order of the architecture's.
    """

    content: bytes
    bits: tuple[float, ...]


def encode_latents(latents: Sequence[Latents], header: CoolChicHeader, parameters: Parameters) -> EncodedLatents:
    """What :func:`decode_latents` decodes.

    Args:
        latents: ``[h, w]`` of each grid, from −64 to 63.
        header: of the cool-chic, but for the sizes of what follows it.
        parameters: of its networks.

    Raises:
        InputError: the arm's sums may pass 64 bits.
    """
    architecture, codings = header.architecture, header.codings
    try:
        arm = fixed_arm(architecture, codings, parameters)
    except OverflowError as error:
        raise InputError(f"latents for a .cool file: {error}") from None
    sizes = architecture.grid_sizes
    layers: dict[int, FixedLayer] = fixed_features(architecture, codings, parameters)
    encoder: GridEncoder = coders().encoder(n_coded_latents(architecture), arm, architecture.context_indices)
    ends = []
    for i in reversed(range(len(sizes))):
        features: Features | None = grid_features(layers[i], sizes[i:], latents[i + 1 :]) if i in layers else None
        encoder.encode(latents[i], features)
        ends.append(encoder.bits())
    bits = [end - start for start, end in pairwise([0.0, *ends])]
    return EncodedLatents(encoder.finish(), tuple(reversed(bits)))
