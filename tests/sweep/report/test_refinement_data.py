"""What the report says of refinement."""

from typing import Any

import pandas as pd
import pytest

from sweep.report import refinement_data


def choice(frame: str, module: str, weight: float, bits: int, coolchic: str = "residue") -> dict[str, Any]:
    names = {"frame": frame, "coolchic": coolchic, "module": module}
    return names | {"q_step_weight": weight, "q_step_bias": 0.5, "rate_weight_bit": bits, "rate_bias_bit": 10}


def refined(gain: float, **changes: Any) -> dict[str, Any]:
    moves = {"moves_screened": 7, "moves_measured": 5, "moves_accepted": 2}
    return (
        moves | {"loss_before": 2.0, "loss_after": 2.0 - gain, "gain": gain, "trials": 3, "seconds": 1.5} | changes
    )


CHOICES = [choice("a", "arm", 0.25, 100), choice("a", "arm", 0.25, 90, "motion"), choice("b", "arm", 0.125, 80)]
REFINED = [
    choice("a", "arm", 0.5, 60) | refined(0.2),
    choice("a", "arm", 0.25, 80, "motion") | refined(0.1),
    choice("b", "arm", 0.125, 80) | refined(0.0, loss_before=0.0, loss_after=0.0),
]


def test_a_frame_tells_what_each_of_its_networks_was_and_is() -> None:
    first, second = refinement_data.of_frame(REFINED[:2], CHOICES[:2])
    assert first["network"] == "arm"
    assert second["network"] == "motion.arm"
    assert (first["before"], first["after"]) == ([-2, -1], [-1, -1])
    assert (first["bits_before"], first["bits_after"]) == (110, 70)
    assert first["share"] == pytest.approx(0.1)
    assert (first["trials"], first["moves_measured"], first["seconds"]) == (3, 5, 1.5)
    assert refinement_data.of_frame([], CHOICES) == []


def test_a_job_tells_the_mean_gain_and_where_other_steps_won() -> None:
    of_residue, of_motion = refinement_data.of_job(pd.DataFrame(REFINED), pd.DataFrame(CHOICES))
    assert (of_residue["network"], of_residue["frames"]) == ("arm", 2)
    assert of_residue["share"] == pytest.approx(0.05), "a loss of nothing has gained nothing"
    assert (of_residue["other"], of_residue["coarser"], of_residue["moves_measured"]) == (1, 1, 10)
    assert (of_motion["network"], of_motion["other"]) == ("motion.arm", 0)
    columns = pd.DataFrame(REFINED).columns
    assert refinement_data.of_job(pd.DataFrame(columns=columns), pd.DataFrame(CHOICES)) == []
