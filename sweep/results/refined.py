"""What refinement made of a frame's choices: a row per network, and a table of every trial."""

import math
from itertools import groupby
from typing import Any

import pyarrow as pa

from sweep.results.table import CHOICES, RD_TABLE
from sweep.schedule import FrameEnded, RefinedChoices
from workers.candidates import KINDS, Choice, Trial, split_id

_OF_CHOICE = [field for field in CHOICES if field.name != "loss"]
_MOVES = [(name, pa.int64()) for name in ("moves_screened", "moves_measured", "moves_accepted")]

REFINED = pa.schema(
    [
        *_OF_CHOICE,
        ("loss_before", pa.float64()),
        ("loss_after", pa.float64()),
        ("gain", pa.float64()),
        *_MOVES,
        ("trials", pa.int64()),
        ("seconds", pa.float64()),
    ]
)
"""One row per (frame, coolchic, module) that was refined: the steps, counts and bits that it has now; the
loss of the frame before its first trial and after its last one, and by how much all its trials lowered it."""

TRIALS = pa.schema(
    [
        *(RD_TABLE.field(name).with_type(pa.string()) for name in ("frame", "coolchic", "module")),
        ("pass", pa.int32()),
        *(RD_TABLE.field(f"{name}_{kind}") for name in ("q_step", "expgol_cnt") for kind in KINDS),
        ("loss_before", pa.float64()),
        ("loss_after", pa.float64()),
        *_MOVES,
        ("seconds", pa.float64()),
        ("chosen", pa.bool_()),
    ]
)
"""One row per trial: the integers of one network, refined at one pair of steps in one pass over the networks. The
loss before is that of the rounded integers, null where they overflow."""


def refined_rows(ended: FrameEnded) -> list[dict[str, Any]]:
    """Rows of ``refined.parquet`` for a frame, in the order of its networks; none if it was not refined."""
    if ended.refined is None:
        return []
    losses = _losses(ended, ended.refined)
    return [
        _of_choice(ended.frame, choice) | losses[network] | _effort(_of(ended.refined.trials, network))
        for network, choice in ended.refined.choices.items()
    ]


def _of_choice(frame: str, choice: Choice) -> dict[str, Any]:
    coolchic, module = split_id(choice.network)
    row: dict[str, Any] = {"frame": frame, "coolchic": coolchic, "module": module}
    for kind in KINDS:
        row |= {
            f"q_step_{kind}": getattr(choice.q_step, kind),
            f"expgol_cnt_{kind}": getattr(choice.expgol_cnt, kind),
        }
        row[f"rate_{kind}_bit"] = getattr(choice, f"rate_{kind}_bit")
    return row


def _of(trials: tuple[Trial, ...], network: str) -> list[Trial]:
    return [trial for trial in trials if trial.network == network]


def _effort(trials: list[Trial]) -> dict[str, Any]:
    """What was done for one network."""
    names = ("moves_screened", "moves_measured", "moves_accepted", "seconds")
    return {name: sum(getattr(trial, name) for trial in trials) for name in names} | {"trials": len(trials)}


def _losses(ended: FrameEnded, refined: RefinedChoices) -> dict[str, dict[str, float]]:
    """Per network, the loss before its first visit and after its last one, and the sum of what its visits gained.

    A visit are the trials of a network in one pass; the loss after it is that of the trial that was chosen, if any.
    Networks that change the bits of the latents and those that change the picture are refined independently of each
    other, so that the losses of either begin with that of the sweep's choices. What the plain arithmetic took back
    at the end has gained nothing.
    """
    assert ended.info is not None
    parts = {spec.id: (spec.coolchic, spec.effect) for spec in ended.info.networks}
    reached = dict.fromkeys(parts.values(), refined.loss_before)
    nothing = {"loss_before": refined.loss_before, "loss_after": refined.loss_before, "gain": 0.0}
    found = {network: dict(nothing) for network in refined.choices}
    visited: set[str] = set()
    for (_, network), visit in groupby(refined.trials, key=lambda trial: (trial.number, trial.network)):
        if refined.choices[network] == ended.choices[network]:
            continue
        before = reached[parts[network]]
        after = reached[parts[network]] = next((trial.loss_after for trial in visit if trial.chosen), before)
        of_network = found[network]
        if network not in visited:
            visited.add(network)
            of_network["loss_before"] = before
        of_network["loss_after"] = after
        of_network["gain"] += before - after
    return found


def trials_table(ended: FrameEnded) -> pa.Table:
    """Rows of one frame, in the order in which the search made its trials."""
    trials = () if ended.refined is None else ended.refined.trials
    return pa.Table.from_pylist([_trial(ended.frame, trial) for trial in trials], TRIALS)


def _trial(frame: str, trial: Trial) -> dict[str, Any]:
    coolchic, module = split_id(trial.network)
    row: dict[str, Any] = trial._asdict() | {"frame": frame, "coolchic": coolchic, "module": module}
    row |= {"pass": trial.number, "loss_before": trial.loss_before if math.isfinite(trial.loss_before) else None}
    for kind in KINDS:
        row |= {
            f"q_step_{kind}": getattr(trial.q_step, kind),
            f"expgol_cnt_{kind}": getattr(trial.expgol_cnt, kind),
        }
    return row
