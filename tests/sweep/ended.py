"""Frames that have ended, and the jobs they are of, made up: what is written about them needs no measurement."""

from pathlib import Path
from typing import Any

import yaml

from sweep.config import Job, load_job, make_grid
from sweep.schedule import FrameEnded, FrameSwept, MeasuredRow
from workers.bitstream import SectionBytes
from workers.errors import FrameFileError
from workers.measure import Measured, RDRow
from workers.quantize import Counts, QStepPair
from workers.replica import EncodedAnswer, QuantizedAnswer
from workers.source import FrameInfo

STEPS: dict[str, dict[str, list[float]]] = {
    "arm": {"weight": [0.25, 0.5], "bias": [0.125, 0.25]},
    "synthesis": {"weight": [0.5], "bias": [0.25, 1.0]},
    "upsampling": {"weight": [0.25], "bias": [1.0]},
}
GRID = make_grid(STEPS)
N_PAIRS = 4 + 2 + 1
INFO = FrameInfo(height=10, width=20, lmbda=0.01, frame_data_type="rgb", bitdepth=8)


def _row(module: str, pair: QStepPair, number: int) -> RDRow:
    if module == "arm" and number < 2:
        return RDRow(module, pair, "overflow" if number == 0 else "non_finite")
    weight, bias, latent, mse = 100 + number, 10 + number, 1000.5 + number, 0.001 * (1 + number)
    nn_bit = 5 * number + weight + bias
    loss = mse + INFO.lmbda * (latent + nn_bit) / (INFO.height * INFO.width)
    return RDRow(module, pair, "ok", Measured(Counts(1, 2), weight, bias, nn_bit, latent, mse, loss), seconds=0.5)


def done(frame: str) -> FrameEnded:
    """A frame that is done; the first pair of its arm overflows, the second gives no finite loss."""
    keys = [(module, pair) for module, pairs in GRID.items() for pair in pairs]
    rows = tuple(MeasuredRow(_row(*key, number), f"r{number % 2}") for number, key in enumerate(keys))
    choices = {}
    for module in GRID:
        choices[module] = min((row for row, _ in rows if row.module == module), key=lambda row: row.loss).settle()
    quantized = QuantizedAnswer(f"quantized {frame}".encode(), (900.5, 106.0))
    return FrameEnded(frame, "done", None, INFO, rows, choices, quantized, seconds=4.5)


def swept(frame: str) -> FrameSwept:
    """The same before its bitstream was made."""
    ended = done(frame)
    return FrameSwept(frame, INFO, ended.rows, ended.choices, ended.seconds)


ENCODED = EncodedAnswer(
    QuantizedAnswer(b"quantized", (150.0, 50.0)),
    b"bitstream",
    SectionBytes(header=10, networks=20, latents=30),
    mse=0.01,
)


def failed(frame: str) -> FrameEnded:
    """A frame that failed before anything was measured."""
    return FrameEnded(frame, "failed", FrameFileError(f"{frame}.png: empty"), None, (), {}, None, seconds=0.0)


def failed_after_arm(frame: str) -> FrameEnded:
    """A frame that failed when its arm was settled."""
    whole = done(frame)
    rows, choices = whole.rows[:4], {"arm": whole.choices["arm"]}
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
