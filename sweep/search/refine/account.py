"""Exact bits of a network's integers while they change."""

from collections.abc import Sequence
from functools import cache

from workers.candidates import KINDS, Counts, Kind
from workers.codec.family import ExpGolombRule
from workers.moves import Move

_COUNTS = range(13)


@cache
def code_bits(magnitude: int, rule: ExpGolombRule) -> tuple[int, ...]:
    """Bits of an integer of this magnitude with each count from 0 to 12."""
    return tuple(
        2 * ((((rule.scale * magnitude) + (1 << k)) >> k).bit_length() - 1) + k + rule.constant + (magnitude != 0)
        for k in _COUNTS
    )


class BitAccount:
    """Bits of the integers of a network.

    Args:
        values: integers of each kind.
        rule: what an integer costs.
        counts: that are used; ``None`` for the cheapest ones, the smallest on a tie.
    """

    def __init__(self, values: dict[Kind, list[int]], rule: ExpGolombRule, counts: Counts | None) -> None:
        self._values, self._rule, self._counts = values, rule, counts
        self._totals: dict[Kind, list[int]] = {
            kind: [sum(code_bits(abs(v), rule)[k] for v in values[kind]) for k in _COUNTS] for kind in KINDS
        }

    def count(self, kind: Kind) -> int:
        """Count of a kind."""
        if self._counts is not None:
            return int(getattr(self._counts, kind))
        totals = self._totals[kind]
        return min(_COUNTS, key=totals.__getitem__)

    @property
    def counts(self) -> Counts:
        """Counts of both kinds."""
        return Counts(self.count("weight"), self.count("bias"))

    def bits(self, kind: Kind) -> int:
        """Bits of all integers of a kind."""
        totals: list[int] = self._totals[kind]
        return totals[self.count(kind)]

    @property
    def total(self) -> int:
        """Bits of all integers."""
        return sum(self.bits(kind) for kind in KINDS)

    def after(self, move: Move) -> int:
        """Bits of all integers after a move."""
        totals = self._changed(move)
        if self._counts is not None:
            return sum(totals[kind][self.count(kind)] for kind in KINDS)
        return sum(min(totals[kind]) for kind in KINDS)

    def accept(self, move: Move) -> None:
        """Make a move."""
        self._totals = self._changed(move)
        for change in move:
            self._values[change.kind][change.index] = change.value

    def _changed(self, move: Move) -> dict[Kind, list[int]]:
        totals = dict(self._totals)
        for change in move:
            before = code_bits(abs(self._values[change.kind][change.index]), self._rule)
            after = code_bits(abs(change.value), self._rule)
            totals[change.kind] = [t - b + a for t, b, a in zip(totals[change.kind], before, after, strict=True)]
        return totals

    def cheaper(self, kind: Kind, value: int) -> int:
        """The nearest integer towards zero that costs less than one does, or the integer itself."""
        k = self.count(kind)
        magnitude = abs(value)
        bits = code_bits(magnitude, self._rule)[k]
        # The codes of a length end where scale · |q| + 2^k is a power of two.
        scale = self._rule.scale
        edge = (1 << ((scale * magnitude + (1 << k)).bit_length() - 1)) - (1 << k)
        lower = min(magnitude, -(-edge // scale)) - 1
        if lower < 0 or code_bits(lower, self._rule)[k] >= bits:
            lower = 0 if code_bits(0, self._rule)[k] < bits else magnitude
        return lower if value > 0 else -lower


def as_values(integers: Sequence[Sequence[int]]) -> list[int]:
    """Integers of some tensors, one after the other."""
    return [int(value) for tensor in integers for value in tensor]
