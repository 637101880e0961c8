"""The conformance cases: real frame encoders, and what the reference implementation measured for them."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workers.candidates import RESIDUE, Choice, Counts, Measurement, QStepPair, network_id, split_id
from workers.codec import Frame, FrameEncoder, FrameEncoderManager, read_frame, read_frame_encoder
from workers.measure import ErrorBound

ARM, SYNTHESIS, UPSAMPLING = (network_id(RESIDUE, module) for module in ("arm", "synthesis", "upsampling"))

NETWORKS = (ARM, SYNTHESIS, UPSAMPLING)
"""Networks of every case, in the order of the sweep."""

CASES = Path(__file__).parent / "conformance" / "cases"
CASE_NAMES = sorted(folder.name for folder in CASES.iterdir() if folder.is_dir())

CASES_5 = CASES.parent / "cases_5"
"""Those of family coolchic-5."""

CASE_5_NAMES = sorted(folder.name for folder in CASES_5.iterdir() if folder.is_dir())


@dataclass(frozen=True)
class Case:
    """One conformance case; its frame encoder is the caller's own, free to be changed."""

    folder: Path
    frame: Frame
    frame_encoder: FrameEncoder
    manager: FrameEncoderManager
    table: pd.DataFrame

    @property
    def error_bound(self) -> ErrorBound:
        """Of a loss, or its mean squared error: torch's own arithmetic differs by so much from CPU to CPU."""
        frame = self.frame
        return ErrorBound.of_frame(*frame.img_size, frame.frame_data_type, frame.bitdepth, self.manager.lmbda)

    @property
    def networks(self) -> tuple[str, ...]:
        """Networks in the order of the sweep."""
        return tuple(spec.id for spec in self.frame_encoder.networks)

    def rows(self, network: str) -> pd.DataFrame:
        return self.table[self.table.module == split_id(network)[1]]

    def pairs(self, network: str) -> list[QStepPair]:
        rows = self.rows(network)
        return [QStepPair(*steps) for steps in zip(rows.q_step_weight, rows.q_step_bias, strict=True)]

    def choice(self, network: str) -> Choice:
        """The reference's choice for a network."""
        rows = self.rows(network)
        (row,) = rows[rows.chosen].itertuples()
        return Choice(
            network,
            QStepPair(row.q_step_weight, row.q_step_bias),
            Counts(int(row.expgol_cnt_weight), int(row.expgol_cnt_bias)),
            int(row.rate_weight_bit),
            int(row.rate_bias_bit),
        )

    def choices(self) -> dict[str, Choice]:
        """The reference's choices for all networks."""
        return {network: self.choice(network) for network in self.networks}

    def choices_before(self, network: str) -> dict[str, Choice]:
        """The reference's choices that are in force while a network is swept."""
        return {name: self.choice(name) for name in self.networks if name < network}


def load_case(name: str, cases: Path = CASES) -> Case:
    """Read a conformance case afresh."""
    folder = cases / name
    (frame_file,) = folder.glob("frame*")
    frame_encoder, manager = read_frame_encoder(folder / "encoder.safetensors")
    table = pd.read_parquet(folder / "rd_table.parquet")
    return Case(folder, read_frame(frame_file), frame_encoder, manager, table)


def to_table(measurements: list[Measurement]) -> pd.DataFrame:
    """Measurements as the columns of a conformance table; measured ones are null unless the status is ``ok``."""
    records = []
    for measurement in measurements:
        network, pair = measurement.candidate
        record = {
            "module": split_id(network)[1],
            "q_step_weight": pair.weight,
            "q_step_bias": pair.bias,
            "status": measurement.status,
        }
        if measurement.measured is not None:
            record |= measurement.measured._asdict()
            counts = record.pop("expgol_cnt")
            record |= {"expgol_cnt_weight": counts.weight, "expgol_cnt_bias": counts.bias}
        records.append(record)
    return pd.DataFrame.from_records(records)
