"""What refinement came to: per network of a frame, and per network over a whole job; ready for JSON."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from sweep.report.terms import Records, exponent
from workers.candidates import KINDS, RESIDUE, network_id

_KEY = ["frame", "coolchic", "module"]


def of_frame(refined: Records, choices: Iterable[Mapping[str, Any]]) -> Records:
    """What refinement made of each network of a frame.

    Args:
        refined: of ``refined.parquet``, all of the same frame.
        choices: of ``choices.parquet``, likewise.

    Returns:
        A record per network: ``network``; exponents of its steps, ``before`` and ``after``, a list of two each; its
        ``bits``, likewise; ``share``, by which it lowered the loss of the frame; and what that took.
    """
    chosen = {(choice["coolchic"], choice["module"]): choice for choice in choices}
    found: Records = []
    for row in refined:
        before = chosen[row["coolchic"], row["module"]]
        record: dict[str, Any] = {"network": _name(row)}
        for name, of in (("before", before), ("after", row)):
            record[name] = [exponent(of[f"q_step_{kind}"]) for kind in KINDS]
            record[f"bits_{name}"] = sum(int(of[f"rate_{kind}_bit"]) for kind in KINDS)
        record["share"] = row["gain"] / row["loss_before"] if row["loss_before"] else 0.0
        names = ("trials", "moves_screened", "moves_measured", "moves_accepted", "seconds")
        found.append(record | {name: row[name] for name in names})
    return found


def of_job(refined: pd.DataFrame, choices: pd.DataFrame) -> Records:
    """What refinement came to, over all frames.

    Args:
        refined: as in ``refined.parquet``.
        choices: as in ``choices.parquet``.

    Returns:
        A record per network: ``network``; ``frames`` that were refined; mean ``share`` by which it lowered their
        loss; frames that have ``other`` steps than the sweep chose, and ``coarser`` weights; moves and ``seconds``.
    """
    both = refined.merge(choices, on=_KEY, suffixes=("", "_swept"))
    found: Records = []
    for (coolchic, module), rows in both.groupby(_KEY[1:], sort=False):
        other = (rows.q_step_weight != rows.q_step_weight_swept) | (rows.q_step_bias != rows.q_step_bias_swept)
        record = {
            "network": _name({"coolchic": coolchic, "module": module}),
            "frames": len(rows),
            "share": float((rows.gain / rows.loss_before).fillna(0.0).mean()),
            "other": int(other.sum()),
            "coarser": int((rows.q_step_weight > rows.q_step_weight_swept).sum()),
        }
        sums = rows[["moves_screened", "moves_measured", "moves_accepted", "seconds"]].sum()
        found.append(record | {str(name): float(value) for name, value in sums.items()})
    return found


def _name(row: Mapping[str, Any]) -> str:
    """A network's name: without the cool-chic where every frame encoder has it."""
    return row["module"] if row["coolchic"] == RESIDUE else network_id(row["coolchic"], row["module"])
