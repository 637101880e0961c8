"""Frames that have ended, and the jobs they are of, made up: what is written about them needs no measurement."""

from pathlib import Path
from typing import Any

import yaml

from sweep.config import Job, load_job, make_grid
from sweep.schedule import FrameEnded, FrameSwept, SweptRow
from tests.cases import ARM
from tests.making import make_param
from workers.answers import EncodedAnswer, QuantizedAnswer
from workers.bitstream import SectionBytes
from workers.candidates import Candidate, Counts, Measured, Measurement
from workers.errors import FrameFileError
from workers.source import FrameInfo

STEPS: dict[str, dict[str, list[float]]] = {
    "arm": {"weight": [0.25, 0.5], "bias": [0.125, 0.25]},
    "synthesis": {"weight": [0.5], "bias": [0.25, 1.0]},
    "upsampling": {"weight": [0.25], "bias": [1.0]},
}
GRID = make_grid(STEPS)
N_PAIRS = 4 + 2 + 1
NETWORKS = make_param().networks
INFO = FrameInfo(height=10, width=20, lmbda=0.01, frame_data_type="rgb", bitdepth=8, networks=NETWORKS)


def _row(candidate: Candidate, number: int) -> Measurement:
    if candidate.network == ARM and number < 2:
        return Measurement(candidate, "overflow" if number == 0 else "non_finite")
    weight, bias, latent, mse = 100 + number, 10 + number, 1000.5 + number, 0.001 * (1 + number)
    nn_bit = 5 * number + weight + bias
    loss = mse + INFO.lmbda * (latent + nn_bit) / (INFO.height * INFO.width)
    measured = Measured(Counts(1, 2), weight, bias, nn_bit, latent, mse, loss, distortion=mse)
    return Measurement(candidate, "ok", measured, seconds=0.5)


def done(frame: str) -> FrameEnded:
    """A frame that is done; the first pair of its arm overflows, the second gives no finite loss."""
    candidates = [Candidate(spec.id, pair) for spec in NETWORKS for pair in GRID[spec.module]]
    rows = tuple(SweptRow(_row(each, number), f"r{number % 2}") for number, each in enumerate(candidates))
    choices = {}
    for spec in NETWORKS:
        of_network = (row for row, _ in rows if row.candidate.network == spec.id)
        choices[spec.id] = min(of_network, key=lambda row: row.loss).choice()
    quantized = QuantizedAnswer(f"quantized {frame}".encode(), (900.5, 106.0))
    return FrameEnded(frame, "done", None, INFO, rows, choices, quantized, seconds=4.5)


def swept(frame: str) -> FrameSwept:
    """The same before its bitstream was made."""
    ended = done(frame)
    info = INFO._replace(networks=())  # which are known from the encoder
    return FrameSwept(frame, info, ended.rows, ended.choices, ended.seconds)


ENCODED = EncodedAnswer(
    QuantizedAnswer(b"quantized", (150.0, 50.0)),
    b"qsw" + bytes(range(57)),
    SectionBytes(header=10, networks=20, latents=30),
    mse=0.01,
    distortion=0.03,
)


def failed(frame: str) -> FrameEnded:
    """A frame that failed before anything was measured."""
    return FrameEnded(frame, "failed", FrameFileError(f"{frame}.png: empty"), None, (), {}, None, seconds=0.0)


def failed_after_arm(frame: str) -> FrameEnded:
    """A frame that failed when its arm had been chosen."""
    whole = done(frame)
    rows, choices = whole.rows[:4], {ARM: whole.choices[ARM]}
    return whole._replace(
        status="failed", error=RuntimeError("no more"), rows=rows, choices=choices, quantized=None
    )


def make_job(folder: Path, names: list[str], **changes: Any) -> Job:
    """A job over frames of these names, which are fitted first, with its results in ``out`` below the folder."""
    folder.mkdir(exist_ok=True)
    config = folder / "job.yaml"
    content = {"frames": [f"{name}.png" for name in names], "out": "out", "grid": {**STEPS}} | changes
    config.write_text(yaml.safe_dump(content))
    return load_job(config)
