"""What figures and their data have in common: names, and records of plain numbers."""

import math
from typing import Any

from workers.candidates import RESIDUE, network_id

Records = list[dict[str, Any]]
"""Rows, each with a value per column."""

Columns = dict[str, list[Any]]
"""The same, with a list per column: many rows take less room so."""

CHOSEN, NEAR_TIE, OVERFLOW, NON_FINITE, PRUNED = "chosen", "near-tie", "overflow", "loss not finite", "pruned"
"""What a pair is marked with."""

PLURALS = {"weight": "weights", "bias": "biases"}

_STAGE_NAMES = {"near_ties": "near-ties"}

SUPERSCRIPTS = dict(zip("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True))
"""Of what an exponent is written with."""


def network_name(coolchic: str, module: str) -> str:
    """A network as it is called in figures: its module, or its whole id where it is not of the picture itself."""
    return module if coolchic == RESIDUE else network_id(coolchic, module)


def exponent(step: float) -> int:
    """Of a step, which is a power of two."""
    return math.frexp(step)[1] - 1


def power(exponent: int) -> str:
    """A step as the power of two that it is, such as 2⁻⁸."""
    return "2" + "".join(SUPERSCRIPTS[digit] for digit in str(exponent))


def stage_name(stage: str) -> str:
    """A stage of the timeline as it is called in figures."""
    return _STAGE_NAMES.get(stage, stage)


def edge_of(step: float, finest: float, coarsest: float) -> str | None:
    """Edge of the grid that a step lies on, if it lies on one."""
    if finest == coarsest:
        return None
    return "finest" if step == finest else "coarsest" if step == coarsest else None


def with_shares(rows: Records, of: str) -> Records:
    """The same records with ``share``, of the sum of one of their numbers."""
    total = sum(record[of] for record in rows)
    return [record | {"share": record[of] / total if total else 0.0} for record in rows]
