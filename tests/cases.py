"""The conformance cases: real frame encoders, and what the reference implementation measured for them."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workers.codec import MODULES, Frame, FrameEncoder, FrameEncoderManager, read_frame, read_frame_encoder
from workers.measure import ErrorBound, RDRow
from workers.quantize import Counts, QStepPair, Settled

CASES = Path(__file__).parent / "conformance" / "cases"
CASE_NAMES = sorted(folder.name for folder in CASES.iterdir() if folder.is_dir())


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

    def rows(self, module: str) -> pd.DataFrame:
        return self.table[self.table.module == module]

    def pairs(self, module: str) -> list[QStepPair]:
        rows = self.rows(module)
        return [QStepPair(*steps) for steps in zip(rows.q_step_weight, rows.q_step_bias, strict=True)]

    def settled(self, module: str) -> Settled:
        """The reference's choice for a module."""
        rows = self.rows(module)
        (row,) = rows[rows.chosen].itertuples()
        return Settled(
            QStepPair(row.q_step_weight, row.q_step_bias),
            Counts(int(row.expgol_cnt_weight), int(row.expgol_cnt_bias)),
            int(row.rate_weight_bit + row.rate_bias_bit),
        )

    def settled_before(self, module: str) -> dict[str, Settled]:
        """The reference's choices that are in force while a module is swept."""
        return {name: self.settled(name) for name in MODULES if name < module}


def load_case(name: str) -> Case:
    """Read a conformance case afresh."""
    folder = CASES / name
    (frame_file,) = folder.glob("frame*")
    frame_encoder, manager = read_frame_encoder(folder / "encoder.safetensors")
    table = pd.read_parquet(folder / "rd_table.parquet")
    return Case(folder, read_frame(frame_file), frame_encoder, manager, table)


def to_table(rows: list[RDRow]) -> pd.DataFrame:
    """Rows as the columns of a conformance table; measured ones are null unless the status is ``ok``."""
    records = []
    for row in rows:
        record = {
            "module": row.module,
            "q_step_weight": row.q_step.weight,
            "q_step_bias": row.q_step.bias,
            "status": row.status,
        }
        if row.measured is not None:
            record |= row.measured._asdict()
            counts = record.pop("expgol_cnt")
            record |= {"expgol_cnt_weight": counts.weight, "expgol_cnt_bias": counts.bias}
        records.append(record)
    return pd.DataFrame.from_records(records)
