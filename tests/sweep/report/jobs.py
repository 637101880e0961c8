"""Results to look at: of frames that are real, and of many that are made up."""

from pathlib import Path

import torch
import yaml

from sweep.config import Job, load_job
from sweep.results import Results
from sweep.schedule import Call, CallDone, FrameEnded, Open, SweptRow
from tests.cases import CASES, Case, load_case
from tests.sweep.ended import done, failed, make_job
from workers.answers import QuantizedAnswer
from workers.candidates import RESIDUE, Candidate, Counts, Measured, Measurement, QStepPair, network_id
from workers.codec import dump_frame_encoder
from workers.codec.quantization import apply_choices
from workers.source import FrameInfo

HOSTILE = "<img src=x onerror=alert(1)> & </script><b>"
"""A name, and an error, that a page must show as it is."""

CASES_SHOWN = {"astronaut_64x96_lop": 0.001, "coffee_64x96_yuv420": 0.002, "chelsea_99x149_hop": 0.001}


def case_ended(frame: str, case: Case) -> FrameEnded:
    """A finished frame with the rows of a conformance case, and its encoder, quantized as the reference did."""
    rows = []
    for row in case.table.to_dict("records"):
        measured = None
        if row["status"] == "ok":
            counts = Counts(int(row["expgol_cnt_weight"]), int(row["expgol_cnt_bias"]))
            bits = (int(row[f"rate_{name}_bit"]) for name in ("weight", "bias", "nn"))
            measured = Measured(counts, *bits, row["rate_latent_bit"], row["mse"], row["loss"], row["mse"])
        pair = QStepPair(row["q_step_weight"], row["q_step_bias"])
        candidate = Candidate(network_id(RESIDUE, row["module"]), pair)
        rows.append(SweptRow(Measurement(candidate, row["status"], measured), "r0"))
    choices = case.choices()
    height, width = case.frame.img_size
    info = FrameInfo(height, width, case.manager.lmbda, case.frame.frame_data_type, case.frame.bitdepth)
    apply_choices(case.frame_encoder, choices)
    with torch.inference_mode():
        rates = tuple(grid.sum().item() for grid in case.frame_encoder.rate_of_grids())
    quantized = QuantizedAnswer(dump_frame_encoder(case.frame_encoder, case.manager.lmbda), rates)
    return FrameEnded(frame, "done", None, info, tuple(rows), choices, quantized, 1.5)


def real_job(folder: Path) -> Job:
    """Three conformance cases that are done, and one frame that failed, with a hostile name."""
    paths = [next((CASES / name).glob("frame*")) for name in CASES_SHOWN]
    hostile = folder / f"{HOSTILE.replace('/', '')}.png"
    config = folder / "job.yaml"
    config.write_text(
        yaml.safe_dump({"frames": [{"frame": str(path)} for path in [*paths, hostile]], "out": "out"})
    )
    job = load_job(config)
    results = Results(job)
    timeline = results.begin_timeline(lambda: 2)
    for item, name in zip(job.frames, CASES_SHOWN, strict=False):
        call = Call(0, "r0", item.id, Open())
        timeline.called(call)
        timeline.answered(call, CallDone(0, None, 0.0))
        results.write_frame(case_ended(item.id, load_case(name)))
    bad = job.frames[-1].id
    results.write_frame(failed(bad)._replace(error=type(failed(bad).error)(HOSTILE)))
    results.write_summary()
    return job


def made_up_job(folder: Path, n_frames: int) -> Job:
    """Frames with all the rows of a conformance case each; every hundredth failed."""
    job = make_job(folder, [f"frame {n:04}" for n in range(n_frames)], grid="coolchic-3.4")
    results = Results(job)
    whole = case_ended("", load_case("astronaut_64x96_lop"))
    for n, item in enumerate(job.frames):
        ended = failed(item.id) if n % 100 == 7 else whole._replace(frame=item.id, seconds=1.0 + n)
        results.write_frame(ended)
    results.write_summary()
    return job


def small_job(folder: Path, names: list[str]) -> Job:
    """Frames of a few rows each that are done, the last one aside, which has not ended."""
    job = make_job(folder, [*names, "unfinished"])
    results = Results(job)
    for name in names:
        results.write_frame(done(name))
    results.write_summary()
    return job
