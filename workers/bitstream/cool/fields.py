"""Headers as strings of bits: unsigned and signed fields, the most significant bit first, without alignment."""

from workers.errors import BitstreamError

SIZE_BITS = 16
"""Of ``n_bytes_header``, which every header has."""


class FieldReader:
    """Reads a header from its beginning; any bytes may be handed to it.

    Args:
        content: the file.
        start: where the header begins, in bytes.
        part: its name, for messages.
    """

    def __init__(self, content: bytes, start: int, part: str) -> None:
        self._content = content
        self._start = start
        self._at = 8 * start
        self._n_bytes: int | None = None
        self.part = part

    def unsigned(self, n_bits: int) -> int:
        """The next number, of so many bits.

        Raises:
            BitstreamError: the file ends before it.
        """
        end = self._at + n_bits
        if end > 8 * len(self._content):
            raise BitstreamError(f"{self.part}: the file ends within it")
        first, last = self._at // 8, -(-end // 8)
        value = int.from_bytes(self._content[first:last], "big") >> (8 * last - end)
        self._at = end
        return value & ((1 << n_bits) - 1)

    def signed(self, n_bits: int) -> int:
        """The next number, of a sign and ``n_bits − 1`` bits of magnitude.

        Raises:
            BitstreamError: the file ends before it, or it is −0.
        """
        negative, magnitude = self.unsigned(1), self.unsigned(n_bits - 1)
        if negative and not magnitude:
            raise BitstreamError(f"{self.part}: a zero has no minus sign")
        return -magnitude if negative else magnitude

    def flag(self) -> bool:
        """The next bit."""
        return bool(self.unsigned(1))

    def size(self) -> None:
        """``n_bytes_header``, the last of the fields that every header of its kind has."""
        self._n_bytes = self.unsigned(SIZE_BITS)

    def finish(self) -> int:
        """Check the end of the header; give where it is, in bytes.

        Raises:
            BitstreamError: it is before what was read, or behind the file's; or bits that fill a byte are not 0.
        """
        assert self._n_bytes is not None
        parsed = -(-self._at // 8)
        if self.unsigned(8 * parsed - self._at):
            raise BitstreamError(f"{self.part}: the bits that fill its last byte are 0; found others")
        end = self._start + self._n_bytes
        if end < parsed:
            raise BitstreamError(
                f"{self.part}: its fields take {parsed - self._start} bytes; found n_bytes_header {self._n_bytes}"
            )
        if end > len(self._content):
            raise BitstreamError(f"{self.part}: n_bytes_header {self._n_bytes} exceeds what the file holds")
        return end


class FieldWriter:
    """Writes what a :class:`FieldReader` reads; values are within their fields."""

    def __init__(self) -> None:
        self._value = 0
        self._n_bits = 0
        self._size_at: int | None = None

    def unsigned(self, value: int, n_bits: int) -> None:
        """Append a number."""
        assert 0 <= value < 1 << n_bits
        self._value = self._value << n_bits | value
        self._n_bits += n_bits

    def signed(self, value: int, n_bits: int) -> None:
        """Append a sign and a magnitude."""
        self.unsigned(int(value < 0), 1)
        self.unsigned(abs(value), n_bits - 1)

    def size(self) -> None:
        """Leave room for ``n_bytes_header``."""
        self._size_at = self._n_bits
        self.unsigned(0, SIZE_BITS)

    def to_bytes(self) -> bytes:
        """The header, filled up to whole bytes with zeros."""
        assert self._size_at is not None
        n_bytes = -(-self._n_bits // 8)
        size = n_bytes << (self._n_bits - self._size_at - SIZE_BITS)
        return ((self._value | size) << (8 * n_bytes - self._n_bits)).to_bytes(n_bytes, "big")
