"""Bits, and exp-Golomb codes of integers."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from workers.errors import BitstreamError

Integers = npt.NDArray[np.int64]

_WINDOW = 4096
"""Bytes that are taken apart at a time."""


class BitWriter:
    """Bits one after the other, the most significant one of a number first."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def write(self, value: int, n_bits: int) -> None:
        """Append a number of so many bits."""
        if n_bits:
            self._bits.append(format(value, f"0{n_bits}b"))

    def write_magnitude(self, value: int, count: int) -> None:
        """Append a number in the exp-Golomb code of a count ``k``: ``2⌊log2(value / 2^k + 1)⌋ + k + 1`` bits."""
        shifted = value + (1 << count)
        self.write(shifted, 2 * shifted.bit_length() - 1 - count)  # with the zeros that tell its length

    def write_integers(self, values: Iterable[int], count: int) -> None:
        """Append integers: the magnitude of each in the code of a count, and a sign unless it is 0."""
        for value in values:
            self.write_magnitude(abs(value), count)
            if value:
                self.write(value < 0, 1)

    @property
    def n_bits(self) -> int:
        """Bits that have been written."""
        return sum(map(len, self._bits))

    def to_bytes(self) -> bytes:
        """All bits, filled up to whole bytes with zeros."""
        bits = "".join(self._bits)
        n_bytes = -(-len(bits) // 8)
        return int(bits.ljust(8 * n_bytes, "0") or "0", 2).to_bytes(n_bytes, "big")

    def to_bytes_from_end(self) -> tuple[bytes, int]:
        """All bits with zeros in front, so that the last one ends a byte; and the number of these zeros."""
        bits = "".join(self._bits)
        n_bytes = -(-len(bits) // 8)
        return int(bits or "0", 2).to_bytes(n_bytes, "big"), 8 * n_bytes - len(bits)


class BitReader:
    """Reads what a :class:`BitWriter` wrote; any bytes may be handed to it.

    Args:
        content: the bytes.
        name: of what they are, for messages.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._content = content
        self._text = ""  # of a window of the content: a character for each bit
        self._start = self._end = 0  # bytes of the window
        self._at = 0  # within the window
        self._name = name

    @property
    def n_left(self) -> int:
        """Bits that have not been read."""
        return 8 * (len(self._content) - self._start) - self._at

    @property
    def n_read(self) -> int:
        """Bits that have been read."""
        return 8 * self._start + self._at

    def _see(self, n_bits: int) -> None:
        """Move the window, so that it has so many bits that have not been read, or all that are left."""
        if self._at + n_bits <= len(self._text) or self._end == len(self._content):
            return
        done = self._at // 8
        self._start += done
        self._at -= 8 * done
        self._end = min(len(self._content), self._start + -(-(self._at + n_bits) // 8) + _WINDOW)
        window = np.frombuffer(self._content, np.uint8)[self._start : self._end]
        self._text = (np.unpackbits(window) + np.uint8(ord("0"))).tobytes().decode("ascii")

    def read(self, n_bits: int) -> int:
        """The next number, of so many bits.

        Raises:
            BitstreamError: there are no more.
        """
        if n_bits > self.n_left:
            raise BitstreamError(f"the {self._name} end early")
        self._see(n_bits)
        start, self._at = self._at, self._at + n_bits
        return int(self._text[start : self._at] or "0", 2)

    def read_magnitude(self, count: int, maximum: int) -> int:
        """The next number, in the exp-Golomb code of a count.

        Raises:
            BitstreamError: it is not there, or exceeds the maximum.
        """
        longest = (maximum + (1 << count)).bit_length() - 1 - count  # prefix of zeros
        self._see(longest + 1)
        one = self._text.find("1", self._at, self._at + longest + 1)
        if one < 0:
            raise BitstreamError(f"the {self._name} end early, or one exceeds {maximum}")
        n_zeros, self._at = one - self._at, one
        value = self.read(n_zeros + count + 1) - (1 << count)
        if value > maximum:
            raise BitstreamError(f"the {self._name}: a magnitude is at most {maximum}; found {value}")
        return value

    def read_integers(self, n: int, count: int, maximum: int) -> Integers:
        """The next ``n`` integers, ``[n]``.

        Raises:
            BitstreamError: they are not there, or a magnitude exceeds the maximum.
        """
        if n > self.n_left:
            raise BitstreamError(f"the {self._name} end early")
        values = np.empty(n, np.int64)
        for index in range(n):
            magnitude = self.read_magnitude(count, maximum)
            values[index] = -magnitude if magnitude and self.read(1) else magnitude
        return values

    def read_magnitudes(self, n: int, count: int, maximum: int) -> Integers:
        """The next ``n`` numbers, in the exp-Golomb code of a count, ``[n]``.

        Raises:
            BitstreamError: they are not there, or one exceeds the maximum.
        """
        if n > self.n_left:
            raise BitstreamError(f"the {self._name} end early")
        return np.fromiter((self.read_magnitude(count, maximum) for _ in range(n)), np.int64, n)

    def finish(self) -> None:
        """Check that nothing is left but the zeros that fill the last byte.

        Raises:
            BitstreamError: something is.
        """
        n_left = self.n_left
        if n_left > 7 or self.read(n_left):
            raise BitstreamError(f"the {self._name}: {n_left} bits are left over")

    def rest(self) -> bytes:
        """All bytes after those that have been read.

        Raises:
            BitstreamError: bits that fill the last byte that has been read are not zero.
        """
        if self.read(-self.n_read % 8):
            raise BitstreamError(f"the {self._name}: bits that fill the last byte are zeros; found others")
        return self._content[self.n_read // 8 :]
