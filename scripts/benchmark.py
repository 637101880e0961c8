"""Measures the sweep of one frame beside the plain sequential reference, in one run, and compares the choices.

The ways are taken in turns, so that a machine whose speed drifts is unfair to none: each of the faster ones runs
before the reference and after it, and its median counts. Ratios are what to quote; seconds vary with the machine.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from sweep import named_grid, sweep_frame
from workers.codec import (
    Frame,
    FrameEncoder,
    FrameEncoderManager,
    Planes,
    read_frame,
    read_frame_encoder,
)
from workers.quantize import Settled
from workers.reference import reference_sweep

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tests" / "conformance" / "cases" / "chelsea_99x149_hop"
Case = tuple[FrameEncoder, Frame, FrameEncoderManager]
Choices = dict[str, Settled]


def tiled_case(height: int, width: int) -> Case:
    """A frame of any size: the fitted ``hop`` networks of a real one, its picture and its latents tiled."""
    frame_encoder, manager = read_frame_encoder(SOURCE / "encoder.safetensors")
    frame = read_frame(SOURCE / "frame.png")
    param = frame_encoder.param
    tiled = FrameEncoder(type(param)(**{**vars(param), "img_size": (height, width)}))
    state = frame_encoder.state_dict()
    for key, value in tiled.state_dict().items():
        if key.startswith("latent_grids"):
            state[key] = _tile(state[key], *value.shape[-2:])
    tiled.load_state_dict(state)
    (picture,) = frame.data.tensors
    return (
        tiled.eval(),
        Frame(Planes((_tile(picture, height, width),)), frame.frame_data_type, frame.bitdepth),
        manager,
    )


def _tile(grid: torch.Tensor, height: int, width: int) -> torch.Tensor:
    times = (-(-height // grid.shape[-2]), -(-width // grid.shape[-1]))
    return grid.repeat(1, 1, *times)[..., :height, :width].contiguous()


def read_case(folder: Path) -> Case:
    """A frame and its encoder from a folder that holds ``frame*`` and ``encoder.safetensors``."""
    frame_encoder, manager = read_frame_encoder(folder / "encoder.safetensors")
    return frame_encoder, read_frame(next(folder.glob("frame*"))), manager


def timed(way: Callable[[Case], Choices], case: Case) -> tuple[float, Choices]:
    """Seconds and choices of one way to sweep, on a copy of the case."""
    case = deepcopy(case)
    start = time.perf_counter()
    choices = way(case)
    return time.perf_counter() - start, choices


WAYS: dict[str, Callable[[Case], Choices]] = {
    "engine in this process": lambda case: sweep_frame(*case).choices,
    "Ray job, 1 replica": lambda case: sweep_frame(*case, replicas=1).choices,
    "Ray job, 2 replicas": lambda case: sweep_frame(*case, replicas=2).choices,
}
REFERENCE = "sequential reference"


def main() -> int:
    """Run the benchmark; 1 if choices differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=Path, help="folder with frame* and encoder.safetensors, in place of --size")
    parser.add_argument("--size", default="512x512", help="HEIGHTxWIDTH of a tiled frame (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of torch, in this process (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="file for the measurements, as JSON")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    height, _, width = arguments.size.partition("x")
    case = read_case(arguments.case) if arguments.case else tiled_case(int(height), int(width))
    ways = {**WAYS, REFERENCE: lambda case: reference_sweep(*case, named_grid()).choices}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    choices: dict[str, Choices] = {}
    for name in [*WAYS, REFERENCE, *WAYS]:
        print(f"{name} …", file=sys.stderr, flush=True)  # noqa: T201
        taken, choices[name] = timed(ways[name], case)
        seconds[name].append(taken)

    n_pairs = sum(map(len, named_grid().values()))
    reference = statistics.median(seconds[REFERENCE])
    table = Table("", "seconds", "ratio", "pairs/s", "choices", box=None)
    for name in (REFERENCE, *WAYS):
        median = statistics.median(seconds[name])
        same = "the same" if choices[name] == choices[REFERENCE] else "DIFFERENT"
        table.add_row(name, f"{median:.1f}", f"{reference / median:.1f}×", f"{n_pairs / median:.0f}", same)
    size = "×".join(map(str, case[1].img_size))
    Console().print(f"{size}, {arguments.threads} threads, {n_pairs} pairs; Ray's start and end included")
    Console().print(table)
    if arguments.out:
        arguments.out.write_text(json.dumps({"size": size, "seconds": seconds}, indent=1))
    return 0 if all(choice == choices[REFERENCE] for choice in choices.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
