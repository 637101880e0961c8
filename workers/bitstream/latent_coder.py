"""Latents as bytes: symbols by a range coder, and plain bits for what the symbols leave open."""

from typing import NamedTuple

import constriction
import numpy as np

from workers.bitstream.contexts import Contexts
from workers.bitstream.exp_golomb import BitReader, BitWriter, Integers
from workers.bitstream.integer_arm import Distributions, IntegerArm
from workers.bitstream.laplace import ESCAPE, REACH, laplace_table
from workers.bitstream.networks import QuantizedNetworks
from workers.errors import BitstreamError

MAX_LATENT = (1 << 20) - 1
"""Largest magnitude of a latent."""

_AT_A_TIME = 1 << 14  # latents whose distributions are in memory together, when all are known
_CODER = constriction.stream.queue
# The weights of each distribution are given and sum to what the coder shares out: nothing is left for it to round.
_MODEL = constriction.stream.model.Categorical(perfect=False)


class CodedLatents(NamedTuple):
    """All latents of a frame.

    Attributes:
        symbols: by the range coder.
        plain: bits within buckets, and distances that have no bucket.
    """

    symbols: bytes
    plain: bytes


def encode_latents(latents: Integers, networks: QuantizedNetworks) -> CodedLatents:
    """Code latents.

    Args:
        latents: ``[N]``, grid by grid, channel by channel, in raster order; of magnitude :data:`MAX_LATENT` at
            most.
        networks: of the same frame.
    """
    contexts, arm = Contexts(networks), IntegerArm(networks)
    contexts.know(np.arange(len(latents)), latents)
    order, _ = contexts.waves
    encoder, plain = _CODER.RangeEncoder(), BitWriter()
    for start in range(0, len(order), _AT_A_TIME):
        part = order[start : start + _AT_A_TIME]
        distributions = arm(contexts.of(part))
        distance = latents[part] - distributions.centre
        bits = laplace_table().bucket_bits[distributions.scale]
        bucket = distance >> bits
        symbols = np.where(np.abs(bucket) <= REACH, bucket + REACH, ESCAPE)
        encoder.encode(symbols.astype(np.int32), _MODEL, _weights(distributions))
        for i in np.flatnonzero((symbols == ESCAPE) | (bits > 0)):
            if symbols[i] == ESCAPE:
                beyond = int(abs(bucket[i])) - REACH - 1
                plain.write(int(bucket[i] < 0), 1)
                plain.write_magnitude(beyond, 0)
            plain.write(int(distance[i] - (bucket[i] << bits[i])), int(bits[i]))
    words: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return CodedLatents(words.rstrip(b"\0"), plain.to_bytes())


def decode_latents(coded: CodedLatents, networks: QuantizedNetworks) -> Integers:
    """What :func:`encode_latents` coded, ``[N]``, wave by wave.

    Raises:
        BitstreamError: the bytes cannot be those of any latents. Others that are wrong give other latents.
    """
    contexts, arm = Contexts(networks), IntegerArm(networks)
    bucket_bits = laplace_table().bucket_bits
    order, ends = contexts.waves
    latents = np.empty(len(order), np.int64)
    words = np.frombuffer(coded.symbols + bytes(-len(coded.symbols) % 4), "<u4").astype(np.uint32)
    decoder, plain = _CODER.RangeDecoder(words), BitReader(coded.plain, "plain bits of the latents")
    start = 0
    for end in ends:
        part, start = order[start:end], end
        distributions = arm(contexts.of(part))
        try:
            bucket = decoder.decode(_MODEL, _weights(distributions)) - np.int64(REACH)
        except AssertionError:  # what the library raises
            raise BitstreamError("the latents' symbols are none that any latents give") from None
        bits = bucket_bits[distributions.scale]
        escaped = bucket == ESCAPE - REACH
        distance = bucket << bits
        if escaped.any() or bits.any():
            for i in np.flatnonzero(escaped | (bits > 0)):
                if escaped[i]:
                    sign = -1 if plain.read(1) else 1
                    beyond = plain.read_magnitude(0, 2 * MAX_LATENT)
                    distance[i] = sign * (beyond + REACH + 1) << bits[i]
                distance[i] += plain.read(int(bits[i]))
        found = distributions.centre + distance
        if np.abs(found).max() > MAX_LATENT:
            raise BitstreamError(f"a latent is at most {MAX_LATENT}; found {np.abs(found).max()}")
        latents[part] = found
        contexts.know(part, found)
    plain.finish()
    return latents


def _weights(distributions: Distributions) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """``[n, N_SYMBOLS]``, of the symbols of ``n`` latents."""
    return laplace_table().weights[distributions.scale, distributions.mean]
