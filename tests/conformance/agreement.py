"""What the READMEs of the conformance cases ask for."""

import pandas as pd
import safetensors.torch
import torch

from tests.cases import Case

EXACT = (
    "module",
    "q_step_weight",
    "q_step_bias",
    "status",
    "expgol_cnt_weight",
    "expgol_cnt_bias",
    "rate_weight_bit",
    "rate_bias_bit",
    "rate_nn_bit",
    "chosen",
)


def assert_conforms(table: pd.DataFrame, expected: pd.DataFrame) -> None:
    """What the conformance README asks for, row for row in grid order."""
    assert len(table) == len(expected) > 0
    for column in EXACT:
        # Nulls compare as nulls, whatever the columns' types.
        ours = table[column].astype(object).where(table[column].notna(), None).tolist()
        theirs = expected[column].astype(object).where(expected[column].notna(), None).tolist()
        assert ours == theirs, column
    ok = (expected.status == "ok").to_numpy()
    for column, tolerance in (("rate_latent_bit", 1e-5), ("mse", 1e-4), ("loss", 1e-4)):
        ours, theirs = table[column].to_numpy(dtype=float)[ok], expected[column].to_numpy(dtype=float)[ok]
        assert abs(ours / theirs - 1).max() < tolerance, column
        assert table[column][~ok].isna().all()


def assert_agrees_with_pruned(table: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Like :func:`assert_conforms`, but a pair may have been pruned: then its loss is not below its bound."""
    pruned = (table.status == "pruned").to_numpy()
    assert (expected.status[pruned] == "ok").all()
    best = expected[expected.chosen].set_index("module").loss
    bounds = table.loss_lower_bound[pruned]
    assert (bounds.to_numpy() <= expected.loss[pruned].to_numpy() * (1 + 1e-5)).all()
    assert (bounds.to_numpy() > table.module[pruned].map(best).astype(float).to_numpy()).all()
    assert table[["expgol_cnt_weight", "rate_nn_bit", "mse", "loss"]][pruned].isna().all(axis=None)
    filled = expected.reset_index(drop=True).convert_dtypes()
    columns = [column for column in table.columns if column in expected.columns]
    patched = table[columns].reset_index(drop=True).astype(object)
    patched[pruned] = filled[columns][pruned].astype(object)
    patched = patched.astype(table[columns].dtypes.to_dict() | {"status": object, "module": object})
    assert_conforms(patched, expected)


def assert_quantized(state: dict[str, torch.Tensor], case: Case) -> None:
    """Network parameters are the reference's, to the last bit."""
    expected = safetensors.torch.load_file(case.folder / "quantized.safetensors")
    assert len(expected) > 0
    for key, value in expected.items():
        assert torch.equal(state[key], value), key
