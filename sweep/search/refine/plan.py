"""How much a refinement tries, for frames of different sizes."""

from typing import NamedTuple

from sweep.search.refine.descent import Rounds
from workers.candidates import Choice, QStepPair

_LARGE = 1 << 16
"""Pixels of frames whose moves are estimated from a part of them first."""


class Plan(NamedTuple):
    """How much is tried for each network.

    Attributes:
        factors: of the best pair of steps so far, for weights and biases: the pairs around it that are tried next.
        explore: rounds of each of these.
        settled: number of the best ones that are taken to the end.
        settle: rounds of these.
    """

    factors: tuple[tuple[float, float], ...]
    explore: Rounds
    settled: int
    settle: Rounds

    def around(self, pair: QStepPair) -> list[QStepPair]:
        """Pairs that are tried with this one, itself first."""
        return [QStepPair(pair.weight * weight, pair.bias * bias) for weight, bias in self.factors]


_AROUND = ((1.0, 1.0), (2.0, 1.0), (1.0, 2.0), (2.0, 2.0), (0.5, 1.0), (1.0, 0.5))
_COARSER = ((1.0, 1.0), (2.0, 1.0), (1.0, 2.0))


def joint_plan(pixels: int) -> Plan:
    """Steps, counts and integers together.

    Args:
        pixels: of the frame.
    """
    if pixels < _LARGE:
        return Plan(_AROUND, Rounds(2, False, None, False), 2, Rounds(12, True, None, False))
    return Plan(_COARSER, Rounds(1, False, None, True), 1, Rounds(3, True, None, True))


def integers_plan(pixels: int, choice: Choice) -> Plan:
    """Integers alone, with the steps and counts of the sweep.

    Args:
        pixels: of the frame.
        choice: of the network.
    """
    rounds = Rounds(4, False, choice.expgol_cnt, pixels >= _LARGE)
    return Plan(((1.0, 1.0),), rounds._replace(most=0), 1, rounds)
