"""Latents by numpy and constriction, wave after wave: for machines where the kernel was not built."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from workers.bitstream.cool.features import Features, Latents
from workers.bitstream.cool.fixed_arm import FRACTION_BITS, LATENT_RANGE, OUTPUT_SHIFT, FixedArm
from workers.bitstream.cool.laplace import (
    FEATURE_STEPS,
    LAST_MEAN,
    LAST_SCALE,
    MEAN_OFFSET,
    SCALE_OFFSET,
    Doubles,
    scale_table,
)
from workers.bitstream.cool.order import WINDOW
from workers.bitstream.exp_golomb import Integers

SLANT = 10
"""The latent in row ``y`` and column ``x`` is in wave ``x + 10y``: its contexts are in earlier ones."""

PAD = WINDOW // 2
_QUEUE = constriction.stream.queue
_MODEL = constriction.stream.model.QuantizedLaplace(LATENT_RANGE[0], LATENT_RANGE[-1])


class PlainCoders:
    """Decoders and encoders in numpy."""

    def decoder(self, content: bytes, arm: FixedArm, context: Sequence[int]) -> "_Decoder":
        """See :class:`~workers.bitstream.cool.coder.Coders`."""
        return _Decoder(content, arm, context)

    def encoder(self, n_latents: int, arm: FixedArm, context: Sequence[int]) -> "_Encoder":  # noqa: ARG002
        """See :class:`~workers.bitstream.cool.coder.Coders`."""
        return _Encoder(arm, context)


class _Decoder:
    def __init__(self, content: bytes, arm: FixedArm, context: Sequence[int]) -> None:
        self._words = np.frombuffer(content, "<u4").astype(np.uint32)
        self._decoder = _QUEUE.RangeDecoder(self._words)
        self._again = _QUEUE.RangeEncoder()  # the words must be those that what was decoded is written as
        self._arm, self._context = arm, context

    def decode(self, size: tuple[int, int], features: Features | None) -> Latents:
        waves = _Waves(self._arm, self._context, size, features)
        for rows, columns in waves:
            distributions = waves.distributions(rows, columns)
            try:
                symbols = self._decoder.decode(_MODEL, *distributions)
            except AssertionError:  # what the library raises
                raise ValueError("the words are none that any latents give") from None
            self._again.encode(symbols, _MODEL, *distributions)
            waves.latents[rows, columns] = symbols
        return waves.latents

    def finish(self) -> None:
        if not np.array_equal(self._again.get_compressed(), self._words):
            raise ValueError("the words are not those that what they decode to is written as")


class _Encoder:
    def __init__(self, arm: FixedArm, context: Sequence[int]) -> None:
        self._encoder = _QUEUE.RangeEncoder()
        self._arm, self._context = arm, context

    def encode(self, latents: Latents, features: Features | None) -> None:
        waves = _Waves(self._arm, self._context, latents.shape, features)
        waves.latents[:] = latents
        for rows, columns in waves:
            symbols = waves.latents[rows, columns].astype(np.int32)
            self._encoder.encode(symbols, _MODEL, *waves.distributions(rows, columns))

    def bits(self) -> float:
        n_words, (_, interval) = self._encoder.pos()
        return float(32 * n_words + 64 - math.log2(interval))

    def finish(self) -> bytes:
        words: bytes = self._encoder.get_compressed().astype("<u4").tobytes()
        return words


class _Waves:
    """The latents of a grid, in the order of coding.

    Attributes:
        latents: ``[h, w]``, those that are not known yet are anything.
    """

    def __init__(
        self, arm: FixedArm, context: Sequence[int], size: tuple[int, ...], features: Features | None
    ) -> None:
        self._arm, self._features = arm, features
        self._size = size
        height, width = size
        self._padded = np.zeros((height + PAD, width + 2 * PAD), np.int8)
        self.latents = self._padded[PAD:, PAD : PAD + width]
        order = np.array(context, np.int64)
        self._down, self._right = order // WINDOW, order % WINDOW
        self._n_features = arm.output.weight.shape[1] - len(context)

    def __iter__(self) -> Iterator[tuple[Integers, Integers]]:
        height, width = self._size
        for wave in range(width + SLANT * (height - 1)):
            rows = np.arange(max(0, -(-(wave - width + 1) // SLANT)), min(height, wave // SLANT + 1))
            if len(rows):
                yield rows, wave - SLANT * rows

    def distributions(self, rows: Integers, columns: Integers) -> tuple[Doubles, Doubles]:
        """Means and scales of latents whose contexts are known, ``[n]`` each."""
        spatial = self._padded[rows[:, None] + self._down, columns[:, None] + self._right]
        features: npt.NDArray[Any] = np.zeros((len(rows), self._n_features))
        if self._features is not None:
            features = self._features[:, rows // 2, columns // 2].T
        context = np.concatenate([spatial, features], axis=1).astype(np.int64) << FRACTION_BITS
        x = context
        for layer in self._arm.hidden:
            x = np.maximum(x @ layer.weight.T + layer.bias, 0) >> FRACTION_BITS
        outputs = x @ self._arm.output.weight.T + self._arm.output.bias
        outputs += context @ self._arm.stabiliser.weight.T + self._arm.stabiliser.bias
        mean, scale = (outputs >> OUTPUT_SHIFT).T
        means = LATENT_RANGE[0] + np.clip(mean + MEAN_OFFSET, 0, LAST_MEAN) / FEATURE_STEPS
        return means, scale_table()[np.clip(scale + SCALE_OFFSET, 0, LAST_SCALE)]
