"""An exp-Golomb coder of integers that really writes and reads bits, to count them by."""

from collections.abc import Iterable


def write(values: Iterable[int], count: int) -> str:
    """Bit string of some integers: the magnitude in an exp-Golomb code of the given order, then a sign if not 0."""
    bits = ""
    for value in values:
        group, remainder = divmod(abs(value), 1 << count)
        binary = f"{group + 1:b}"
        bits += "0" * (len(binary) - 1) + binary
        bits += f"{remainder:0{count}b}" if count else ""
        if value:
            bits += "-" if value < 0 else "+"
    return bits


def read(bits: str, count: int) -> list[int]:
    """Integers of a bit string that :func:`write` gave."""
    values, at = [], 0

    def take(n_bits: int) -> str:
        nonlocal at
        assert at + n_bits <= len(bits), "the bit string ends within a value"
        at += n_bits
        return bits[at - n_bits : at]

    while at < len(bits):
        n_zeros = 0
        while (bit := take(1)) == "0":
            n_zeros += 1
        group = int(bit + take(n_zeros), 2) - 1
        magnitude = (group << count) + int(take(count) or "0", 2)
        negative = magnitude and take(1) == "-"
        values.append(-magnitude if negative else magnitude)
    return values
