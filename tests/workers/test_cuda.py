"""The engine on a GPU, beside the same on the CPU."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tests.cases import CASE_NAMES, NETWORKS, SYNTHESIS, Case, load_case
from workers.candidates import Measurement
from workers.measure import EngineOptions, Measurer

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]


def assert_may_win(case: Case, module: str, rows: Sequence[Measurement]) -> None:
    """Assert that the reference's choice is among those that the plain arithmetic would measure again."""
    best = min(row.loss for row in rows)
    chosen = next(row for row in rows if row.candidate.edit == case.choice(module).q_step)
    assert chosen.loss <= case.error_bound.limit(best)


@pytest.mark.parametrize("name", CASE_NAMES)
@pytest.mark.parametrize("options", [{}, {"tile": 5000}, {"workspace_bytes": 64 << 20}])
def test_a_gpu_measures_what_the_reference_measured(name: str, options: dict[str, Any]) -> None:
    case = load_case(name)
    measurer = Measurer(
        case.frame_encoder, case.frame, case.manager.lmbda, device="cuda", options=EngineOptions(**options)
    )
    for module in NETWORKS:
        expected = case.rows(module)

        rows = measurer.measure(case.choices_before(module), module, case.pairs(module))

        assert [row.status for row in rows] == expected.status.tolist()
        for row, (_, wanted) in zip(rows, expected.iterrows(), strict=True):
            if row.measured is not None:
                assert row.measured.rate_latent_bit == pytest.approx(wanted.rate_latent_bit, rel=1e-4)
                assert row.measured.mse == pytest.approx(wanted.mse, rel=5e-4)
        # Whatever of this is a near-tie, the CPU decides.
        assert_may_win(case, module, rows)


@pytest.mark.parametrize("name", CASE_NAMES)
def test_a_contest_on_a_gpu_leaves_the_reference_s_choice(name: str) -> None:
    case = load_case(name)
    measurer = Measurer(case.frame_encoder, case.frame, case.manager.lmbda, device="cuda")
    for module in NETWORKS:
        rows = measurer.measure(case.choices_before(module), module, case.pairs(module), math.inf)

        assert_may_win(case, module, rows)


def test_memory_that_is_really_short_halves_the_tile() -> None:
    case = load_case("chelsea_99x149_hop")
    pairs = case.pairs(SYNTHESIS)[::20]
    whole = Measurer(case.frame_encoder, case.frame, 1e-3, device="cuda").measure({}, SYNTHESIS, pairs)
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (24 << 20)) / total)
    try:
        rows = Measurer(case.frame_encoder, case.frame, 1e-3, device="cuda").measure({}, SYNTHESIS, pairs)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert [row.loss for row in rows] == pytest.approx([row.loss for row in whole], rel=1e-4)
