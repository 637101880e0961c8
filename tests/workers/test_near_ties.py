"""Near-ties are decided by the plain arithmetic, which computes nothing twice that a candidate cannot change."""

from copy import deepcopy

import pytest
import torch

from tests.cases import ARM, NETWORKS, SYNTHESIS, Case
from workers.candidates import Choice, QStepPair
from workers.codec.quantization import apply_choices
from workers.near_ties import measure_near_ties
from workers.reference import measure_plain

PAIRS = [QStepPair(2.0**-3, 2.0**-3), QStepPair(2.0**-40, 1.0), QStepPair(2.0**-4, 2.0**-5), QStepPair(0.25, 1.0)]
"""The second one overflows."""


@pytest.mark.parametrize("module", NETWORKS)
def test_rows_are_those_of_whole_forward_passes_to_the_last_bit(case: Case, module: str) -> None:
    frame_encoder = deepcopy(case.frame_encoder)
    choices: dict[str, Choice] = {name: case.choice(name) for name in NETWORKS if name < module}
    apply_choices(frame_encoder, choices)
    given = frame_encoder, case.frame, case.manager.lmbda, choices, module, PAIRS
    found, expected = measure_near_ties(*given), list(measure_plain(*given))
    assert [row._replace(seconds=0.0) for row in found] == [row._replace(seconds=0.0) for row in expected]
    assert [row.status for row in found] == ["ok", "overflow", "ok", "ok"]


@pytest.mark.parametrize(("module", "n_decoded", "n_rated"), [(ARM, 1, 3), (SYNTHESIS, 3, 1)])
def test_what_a_module_cannot_change_is_computed_once(
    smallest_case: Case, module: str, n_decoded: int, n_rated: int
) -> None:
    frame_encoder = smallest_case.frame_encoder
    calls = {ARM: 0, SYNTHESIS: 0}

    def count(name: str) -> None:
        calls[name] += 1

    for name in calls:
        frame_encoder.network(name).register_forward_hook(lambda *_, name=name: count(name))
    measure_near_ties(frame_encoder, smallest_case.frame, 1e-3, {}, module, PAIRS)
    assert calls == {SYNTHESIS: n_decoded, ARM: n_rated}


def test_full_precision_is_restored(smallest_case: Case) -> None:
    frame_encoder = smallest_case.frame_encoder
    before = frame_encoder.get_network_parameters(ARM)
    measure_near_ties(frame_encoder, smallest_case.frame, 1e-3, {}, ARM, PAIRS)
    after = frame_encoder.get_network_parameters(ARM)
    assert all(torch.equal(after[name], value) for name, value in before.items())
