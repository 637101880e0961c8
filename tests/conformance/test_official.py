"""Every sample that Cool-Chic's own encoder saved, with the table that its own sweep measured."""

import pandas as pd
import pytest

from sweep import sweep_frame
from tests.conformance.agreement import assert_conforms
from tests.workers.codec.formats.files import FILES
from workers.candidates import Choice, Counts, QStepPair, network_id
from workers.codec import Frame, FrameEncoder, FrameEncoderManager, parse_frame_encoder, read_frame
from workers.codec.quantization import apply_choices
from workers.near_ties import measure_near_ties

LMBDA_5 = 0.001
"""That of the sample of 5, whose file holds none."""


def load(name: str) -> tuple[FrameEncoder, FrameEncoderManager, Frame, pd.DataFrame]:
    folder = FILES[name].parent
    frame_encoder, manager = parse_frame_encoder(FILES[name].read_bytes(), name, lmbda=LMBDA_5)
    return frame_encoder, manager, read_frame(folder / "frame.png"), pd.read_parquet(folder / "rd_table.parquet")


def chosen(table: pd.DataFrame) -> dict[str, Choice]:
    choices = {}
    for row in table[table.chosen].itertuples():
        network = network_id("residue", row.module)
        pair = QStepPair(row.q_step_weight, row.q_step_bias)
        counts = Counts(int(row.expgol_cnt_weight), int(row.expgol_cnt_bias))
        choices[network] = Choice(network, pair, counts, int(row.rate_weight_bit), int(row.rate_bias_bit))
    return choices


@pytest.mark.parametrize("name", FILES)
def test_the_sweep_of_an_official_file_gives_the_official_table(name: str) -> None:
    frame_encoder, manager, frame, table = load(name)

    sweep = sweep_frame(frame_encoder, frame, manager)

    assert_conforms(sweep.table, table)
    assert sweep.choices == chosen(table)


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("before")])
def test_the_plain_reference_gives_rows_of_the_official_table(name: str) -> None:
    frame_encoder, manager, frame, table = load(name)
    choices: dict[str, Choice] = {}
    for network, choice in chosen(table).items():
        rows = table[table.module == network.rpartition(".")[2]][::30]
        pairs = [QStepPair(*steps) for steps in zip(rows.q_step_weight, rows.q_step_bias, strict=True)]
        measured = measure_near_ties(frame_encoder, frame, manager.lmbda, choices, network, pairs)
        for measurement, row in zip(measured, rows.itertuples(), strict=True):
            assert measurement.status == row.status
            if measurement.measured is not None:
                assert measurement.measured.rate_nn_bit == row.rate_nn_bit
                assert measurement.measured.rate_latent_bit == pytest.approx(row.rate_latent_bit, rel=1e-5)
                assert measurement.measured.mse == pytest.approx(row.mse, rel=1e-4)
        choices[network] = choice
        apply_choices(frame_encoder, {network: choice})
