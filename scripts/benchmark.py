"""Measures the sweep of one frame, every way beside the sequential reference, in one run, and compares choices.

Every way runs in a process of its own, for its memory to be its own. The ways are taken in turns, so that a
machine whose speed drifts is unfair to none: the faster ones run before the reference and after it, and their
median counts. Ratios are what to quote; seconds vary with the machine.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from rich.console import Console
from rich.table import Table

from sweep import sweep_frame
from sweep.config import Grid, RayConfig, load_job, pairs_of, usual_pairs
from sweep.driver import Lines, RayPool, connect
from sweep.job import run_on
from sweep.results import Results
from workers.candidates import RESIDUE, Choice, QStepPair
from workers.codec import (
    Frame,
    FrameEncoder,
    FrameEncoderManager,
    Planes,
    dump_frame_encoder,
    parse_frame_encoder,
    read_frame,
    read_frame_encoder,
)
from workers.codec.network import Effect
from workers.codec.quantization import apply_choices
from workers.measure import EngineOptions, Measurer
from workers.measure.plan import Plan
from workers.reference import measure_plain, reference_sweep

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tests" / "conformance" / "cases" / "chelsea_99x149_hop"
SMALL = ROOT / "tests" / "conformance" / "cases" / "astronaut_64x96_lop"
N_PAIRS = usual_pairs({})
SIZES = (256, 512, 1024, 2048)

Choices = dict[str, Any]


class Case(NamedTuple):
    """A frame, and a frame encoder that was fitted to it."""

    frame_encoder: FrameEncoder
    frame: Frame
    manager: FrameEncoderManager


def tiled_case(height: int, width: int) -> Case:
    """A frame of any size: the fitted ``hop`` networks of a real one, its picture and its latents tiled."""
    frame_encoder, manager = read_frame_encoder(SOURCE / "encoder.safetensors")
    frame = read_frame(SOURCE / "frame.png")
    param = frame_encoder.param
    tiled = FrameEncoder(replace(param, img_size=(height, width)))
    state = frame_encoder.state_dict()
    for key, value in tiled.state_dict().items():
        if key.startswith("latent_grids"):
            state[key] = _tile(state[key], *value.shape[-2:])
    tiled.load_state_dict(state)
    (picture,) = frame.data.tensors
    picture = _tile(picture, height, width)
    return Case(tiled.eval(), Frame(Planes((picture,)), frame.frame_data_type, frame.bitdepth), manager)


def _tile(grid: torch.Tensor, height: int, width: int) -> torch.Tensor:
    times = (-(-height // grid.shape[-2]), -(-width // grid.shape[-1]))
    return grid.repeat(1, 1, *times)[..., :height, :width].contiguous()


def read_case(text: str) -> Case:
    """A case from a folder that holds ``frame*`` and ``encoder.safetensors``, or of a size ``HEIGHTxWIDTH``."""
    if Path(text).is_dir():
        frame_encoder, manager = read_frame_encoder(Path(text) / "encoder.safetensors")
        frame = next(path for path in Path(text).glob("frame*") if path.suffix != ".pt")
        return Case(frame_encoder, read_frame(frame), manager)
    height, _, width = text.partition("x")
    return tiled_case(int(height), int(width))


def grid_of(case: Case) -> Grid:
    """Pairs of every network of a frame encoder."""
    return pairs_of(case.frame_encoder.networks, {})


# --- ways to sweep a frame; each gives its choices


def in_process(case: Case, mode: str, *, compiled: bool = True, grid: Grid | None = None) -> Choices:
    """The engine alone, network by network."""
    options, choices = EngineOptions(compiled=compiled), {}
    measurer = Measurer(*case[:2], case.manager.lmbda, threads=torch.get_num_threads(), options=options)
    for network, pairs in (grid or grid_of(case)).items():
        measured = measurer.measure(choices, network, pairs, None if mode == "full" else float("inf"))
        choices[network] = min(measured, key=lambda measurement: measurement.loss).choice()
    return choices


def on_tune(case: Case, _: str) -> Choices:
    """What a person would write: Ray Tune's grid search, a forward pass a trial, network after network."""
    from ray import tune
    from ray.tune import RunConfig, TuneConfig, Tuner

    choices: dict[str, Choice] = {}

    class Trial(tune.Trainable):
        def setup(
            self, config: dict[str, Any], encoder: bytes, frame: Frame, network: str, choices: dict[str, Choice]
        ) -> None:
            self.pair, self.frame, self.network, self.choices = config["pair"], frame, network, choices
            self.frame_encoder, self.manager = parse_frame_encoder(encoder, "encoder")
            apply_choices(self.frame_encoder, choices)

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """There is nothing to save, but Tune asks for it after every trial."""

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.pair = new_config["pair"]
            return True

        def step(self) -> dict[str, Any]:
            pairs = [QStepPair(*self.pair)]
            (row,) = measure_plain(
                self.frame_encoder, self.frame, self.manager.lmbda, self.choices, self.network, pairs
            )
            return {"loss": row.loss, "row": row, "done": True}

    for network, pairs in grid_of(case).items():
        encoder = dump_frame_encoder(case.frame_encoder, case.manager.lmbda)
        trainable = tune.with_parameters(
            Trial, encoder=encoder, frame=case.frame, network=network, choices=dict(choices)
        )
        results = Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space={"pair": tune.grid_search([tuple(pair) for pair in pairs])},
            tune_config=TuneConfig(reuse_actors=True),
            run_config=RunConfig(verbose=0, storage_path=tempfile.mkdtemp()),
        ).fit()
        rows = {QStepPair(*result.config["pair"]): result.metrics["row"] for result in results}
        choices[network] = min((rows[pair] for pair in pairs), key=lambda row: row.loss).choice()
    return choices


REFERENCE, TUNE = "sequential reference", "Ray Tune, grid search"
WAYS: dict[str, tuple[Callable[[Case, str], Choices], str]] = {
    "engine, full": (in_process, "full"),
    "engine, winner": (in_process, "winner"),
    "engine in torch alone, full": (lambda case, mode: in_process(case, mode, compiled=False), "full"),
    "Ray job, 1 replica": (lambda case, mode: sweep_frame(*case, replicas=1, mode=mode).choices, "full"),
    "Ray job, 2 replicas": (lambda case, mode: sweep_frame(*case, replicas=2, mode=mode).choices, "full"),
    REFERENCE: (lambda case, _: reference_sweep(*case, grid_of(case)).choices, "full"),
    TUNE: (on_tune, "full"),
}


def measure_way(name: str, text: str, threads: int) -> dict[str, Any]:
    """Run one way, in this process: seconds, MiB above those after the imports, and choices."""
    torch.set_num_threads(threads)
    case = read_case(text)
    way, mode = WAYS[name]
    # A Ray that runs already, as on a cluster: its own start and end are not the job's.
    with connect(RayConfig(replicas=threads)) if "Ray" in name else nullcontext():
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        if "engine" in name:
            # Threads that start and pages that are touched for the first time: once in a replica's life of frames.
            in_process(case, mode, grid={network: pairs[-1:] for network, pairs in grid_of(case).items()})
        start = time.perf_counter()
        choices = way(case, mode)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "seconds": seconds,
        "mib": (peak - resident) / 2**20,
        "choices": {network: choice.to_json() for network, choice in choices.items()},
    }


def in_turn(name: str, text: str, threads: int) -> dict[str, Any]:
    """Run one way in a process of its own."""
    print(f"{name}, {text} …", file=sys.stderr, flush=True)  # noqa: T201
    command = [sys.executable, __file__, "--case", text, "--threads", str(threads), "--way", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


# --- how much there is to compute, and how fast this machine could


def floor_seconds(case: Case, threads: int) -> float:
    """Time for all pairs' multiplications and additions, at the speed of a large matrix product."""
    param = case.frame_encoder.param.coolchics[RESIDUE]
    grid, plan = grid_of(case), Plan(case.frame_encoder.networks)
    height, width = param.img_size
    n_latents = sum(h * w for h, w in param.grid_sizes)
    first_arm = 2 * param.dim_arm**2
    other_arm = 2 * param.dim_arm * (param.dim_arm * (param.n_hidden_layers_arm - 1) + 2)
    channels = [param.n_inputs_synthesis, *(layer.out_channels for layer in param.layers_synthesis)]
    first, *others = (
        2 * n_in * layer.out_channels * layer.kernel_size**2
        for n_in, layer in zip(channels, param.layers_synthesis, strict=False)
    )
    flop = 0
    for spec in case.frame_encoder.networks:
        pairs = grid[spec.id]
        # Candidates that are evaluated together share the first product of their weight step.
        together = plan.output_of(spec.id).together(spec.id)
        n_first = len({pair.weight for pair in pairs}) if together else len(pairs)
        if spec.effect is Effect.RATE:
            flop += n_latents * (n_first * first_arm + len(pairs) * other_arm)
        else:
            flop += height * width * (n_first * first + len(pairs) * sum(others))
    torch.set_num_threads(threads)
    matrix = torch.randn(3000, 3000)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return flop * min(seconds) / (2 * 3000**3)


def driver_pairs_per_second(n_frames: int) -> float:
    """Pairs a second of a job over small frames, from its first answer until all its tables are written."""
    with tempfile.TemporaryDirectory() as folder:
        (frame,) = SMALL.glob("frame*")
        for i in range(n_frames):
            (Path(folder) / f"{i}{frame.suffix}").symlink_to(frame)
        entry = {"frame": f"*{frame.suffix}", "encoder": str(SMALL / "encoder.safetensors")}
        config = Path(folder) / "job.yaml"
        config.write_text(yaml.safe_dump({"frames": [entry], "out": "out", "ray": {"replicas": 2}}))
        job = load_job(config)
        results = Results(job)
        shown: list[Lines] = []

        class Timed(Lines):
            began = 0.0

            def answered(self, *event: Any) -> None:
                self.began = self.began or time.perf_counter()
                super().answered(*event)

        with connect(job.config.ray), closing(RayPool(job.config.ray)) as pool:
            run_on(pool, job, results, lambda tally: nullcontext(shown.append(Timed(tally)) or shown[0]))
            results.write_summary()
            return n_frames * N_PAIRS / (time.perf_counter() - shown[0].began)


# --- the run


def main() -> int:
    """Run the benchmark; 1 if choices differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="512x512", help="folder of a case, or a size (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of each process (default: %(default)s)")
    parser.add_argument("--tune", action="store_true", help="Ray Tune as well; needs the extra 'tune'")
    parser.add_argument(
        "--sizes", action="store_true", help=f"the cost at {', '.join(map(str, SIZES))} pixels squared"
    )
    parser.add_argument(
        "--frames", type=int, default=40, help="small frames of the job that shows the driver's speed"
    )
    parser.add_argument("--out", type=Path, help="file for the measurements, as JSON")
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    text, threads = arguments.case, arguments.threads
    if arguments.way:
        print(json.dumps(measure_way(arguments.way, text, threads)))  # noqa: T201
        return 0

    fast = [name for name in WAYS if name not in (REFERENCE, TUNE)]
    slow = [REFERENCE, *([TUNE] if arguments.tune else [])]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in (*slow, *fast)}
    for name in (*fast, *fast, *slow, *fast, *fast, *fast):
        runs[name].append(in_turn(name, text, threads))
    console = Console(width=110)
    case = read_case(text)
    size = "×".join(map(str, case.frame.img_size))
    floor = floor_seconds(case, threads)
    n_pairs = sum(map(len, grid_of(case).values()))
    seconds = {name: statistics.median(run["seconds"] for run in of_name) for name, of_name in runs.items()}
    wanted = runs[REFERENCE][0]["choices"]
    table = Table("", "seconds", "ratio", "pairs/s", "of the floor", "peak MiB", "choices", box=None)
    for name, of_name in runs.items():
        same = "the same" if all(run["choices"] == wanted for run in of_name) else "DIFFERENT"
        memory = "" if "Ray" in name else f"{max(run['mib'] for run in of_name):.0f}"
        table.add_row(
            name,
            f"{seconds[name]:.2f}",
            f"{seconds[REFERENCE] / seconds[name]:.1f}×",
            f"{n_pairs / seconds[name]:.0f}",
            f"{floor / seconds[name]:.1%}",
            memory,
            same,
        )
    console.print(f"{size}, {n_pairs} pairs, {threads} threads; floor {floor:.2f} s; Ray was running before")
    console.print(table)
    measurements: dict[str, Any] = {"size": size, "floor": floor, "runs": runs}
    if arguments.sizes:
        by_size = {side: in_turn("engine, full", f"{side}x{side}", threads) for side in SIZES}
        table = Table("size", "seconds", "µs a pixel", "peak MiB", "bytes a pixel", box=None)
        for side, run in by_size.items():
            pixel, of_memory = run["seconds"] / side**2, run["mib"] * 2**20 / side**2
            cells = (f"{run['seconds']:.2f}", f"{1e6 * pixel:.2f}", f"{run['mib']:.0f}", f"{of_memory:.0f}")
            table.add_row(f"{side}×{side}", *cells)
        console.print(table)
        measurements["sizes"] = by_size
    if arguments.frames:
        measurements["driver"] = driver_pairs_per_second(arguments.frames)
        console.print(f"a job of {arguments.frames} frames of 64×96: {measurements['driver']:.0f} pairs/s")
    if arguments.out:
        arguments.out.write_text(json.dumps(measurements, indent=1))
    return 0 if all(run["choices"] == wanted for of_name in runs.values() for run in of_name) else 1


if __name__ == "__main__":
    sys.exit(main())
