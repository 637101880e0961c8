"""Latents, in the compiled kernel: the arm wave by wave, and the range coder."""

import ctypes
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from workers.bitstream.cool.features import Features, Latents
from workers.bitstream.cool.fixed_arm import FixedArm
from workers.bitstream.cool.kernel.library import long, pointer
from workers.bitstream.cool.laplace import scale_table
from workers.bitstream.cool.order import WINDOW

PAD = WINDOW // 2

_MOST_BITS = 24  # of a latent

_Words = npt.NDArray[np.uint32]


class _Arm(ctypes.Structure):
    _fields_ = (
        *((name, long) for name in ("n_spatial", "n_features", "n_hidden")),
        *((name, pointer) for name in ("offsets", "weights", "biases")),
        ("in_doubles", long),
        ("scales", pointer),
    )


class _Coder(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("lower", "range", "point")),
        ("words", pointer),
        ("n_words", long),
        ("at", long),
    )


class KernelCoders:
    """Decoders and encoders in the kernel.

    Args:
        library: the kernel.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def decoder(self, content: bytes, arm: FixedArm, context: Sequence[int]) -> "_Decoder":
        """See :class:`~workers.bitstream.cool.coder.Coders`."""
        return _Decoder(self._library, arm, context, np.frombuffer(content, "<u4").astype(np.uint32))

    def encoder(self, n_latents: int, arm: FixedArm, context: Sequence[int]) -> "_Encoder":
        """See :class:`~workers.bitstream.cool.coder.Coders`."""
        words = np.empty(n_latents * _MOST_BITS // 32 + 4, np.uint32)
        return _Encoder(self._library, arm, context, words)


class _GridCoder:
    """An arm and a range coder in the kernel's form."""

    def __init__(self, library: ctypes.CDLL, arm: FixedArm, context: Sequence[int], words: _Words) -> None:
        self._library = library
        layers = (*arm.hidden, arm.output, arm.stabiliser)
        dtype = np.float64 if arm.is_exact_in_doubles else np.int64
        self._weights = np.concatenate([layer.weight.ravel() for layer in layers]).astype(dtype)
        self._biases = np.concatenate([layer.bias for layer in layers]).astype(dtype)
        order = np.array(context, np.int32)
        self._offsets = np.stack([order // WINDOW - PAD, order % WINDOW - PAD], axis=1)
        self._n_features = arm.output.weight.shape[1] - len(context)
        self._scales = scale_table()
        self._arm = _Arm(
            len(context),
            self._n_features,
            len(arm.hidden),
            *(array.ctypes.data for array in (self._offsets, self._weights, self._biases)),
            arm.is_exact_in_doubles,
            self._scales.ctypes.data,
        )
        self._words = words
        self._coder = _Coder(words=words.ctypes.data, n_words=len(words))

    def _code(self, function: str, padded: Latents, features: Features | None) -> int:
        height, width = padded.shape[0] - PAD, padded.shape[1] - 2 * PAD
        of_features = (0, 0, 0) if features is None else (features.ctypes.data, *features.shape[1:])
        result: int = getattr(self._library, function)(
            ctypes.byref(self._arm), ctypes.byref(self._coder), padded.ctypes.data, height, width, *of_features
        )
        return result


class _Decoder(_GridCoder):
    def __init__(self, library: ctypes.CDLL, arm: FixedArm, context: Sequence[int], words: _Words) -> None:
        super().__init__(library, arm, context, words)
        library.qsweep_cool_begin(ctypes.byref(self._coder), 0)

    def decode(self, size: tuple[int, int], features: Features | None) -> Latents:
        padded = _padded(*size)
        if self._code("qsweep_cool_decode", padded, features):
            raise ValueError("the words are none that any latents give")
        return padded[PAD:, PAD:-PAD]

    def finish(self) -> None:
        if not self._library.qsweep_cool_is_sealed(ctypes.byref(self._coder)):
            raise ValueError("the words are not those that what they decode to is written as")


class _Encoder(_GridCoder):
    def __init__(self, library: ctypes.CDLL, arm: FixedArm, context: Sequence[int], words: _Words) -> None:
        super().__init__(library, arm, context, words)
        library.qsweep_cool_begin(ctypes.byref(self._coder), 1)

    def encode(self, latents: Latents, features: Features | None) -> None:
        height, width = latents.shape
        padded = _padded(height, width)
        padded[PAD:, PAD:-PAD] = latents
        self._code("qsweep_cool_encode", padded, features)

    def bits(self) -> float:
        return float(32 * self._coder.at + 64 - math.log2(self._coder.range))

    def finish(self) -> bytes:
        self._library.qsweep_cool_seal(ctypes.byref(self._coder))
        words: bytes = self._words[: self._coder.at].astype("<u4").tobytes()
        return words


def _padded(height: int, width: int) -> Latents:
    """Zeros for a grid, and around it but below."""
    return np.zeros((height + PAD, width + 2 * PAD), np.int8)
