"""Moves per second of refinement, beside those in the manner of Cool-Chic 5.0.1, in one run.

Usage, in the root of the repository: .venv/bin/python -m scripts.benchmark_refinement CASE [CASE …]

A case is a folder with encoder.safetensors, frame.… and choice.json

In that manner a move of one integer costs a forward pass of what its network changes, in PyTorch, with one thread.
Seconds are those of this process' CPU, so that other work on the machine disturbs them little.
"""

import json
import random
import sys
import time
from copy import deepcopy
from pathlib import Path

import torch

from workers.candidates import Choice, Counts, QStepPair, network_id
from workers.codec import Frame, FrameEncoder, read_frame, read_frame_encoder
from workers.codec.network import NetworkSpec
from workers.codec.quantization import apply_choices
from workers.measure.moves.frame_moves import FrameMoves
from workers.moves import Change, Move
from workers.near_ties import forward_of
from workers.objective.loss import loss_function
from workers.plain import plain_arithmetic

_PLAIN_SECONDS = 2.0
_MOVES = 200
_TOGETHER = 50


def main(folders: list[str]) -> None:
    """Print a line per network of each case."""
    print(f"{'case':28} {'network':12} {'plain/s':>9} {'exact/s':>9} {'ratio':>6} {'screened/s':>11}")  # noqa: T201
    for folder in map(Path, folders):
        encoder, manager = read_frame_encoder(folder / "encoder.safetensors")
        (file,) = (path for path in folder.glob("frame*") if path.suffix in (".png", ".yuv"))
        frame = read_frame(file)
        choices = _choices(folder)
        moves = FrameMoves(encoder, frame, manager.lmbda)
        for spec in encoder.networks:
            plain = _plain_rate(encoder, frame, manager.lmbda, choices, spec)
            exact, screened = _rates(moves, choices, spec)
            line = (
                f"{folder.name:28} {spec.module:12} {plain:9.0f} {exact:9.0f} {exact / plain:6.1f} {screened:11.0f}"
            )
            print(line, flush=True)  # noqa: T201


def _choices(folder: Path) -> dict[str, Choice]:
    content = json.loads((folder / "choice.json").read_text())
    coolchics = content.get("coolchics") or {"residue": content["modules"]}
    return {
        network_id(coolchic, module): Choice(
            network_id(coolchic, module),
            QStepPair(chosen["q_step"]["weight"], chosen["q_step"]["bias"]),
            Counts(chosen["expgol_cnt"]["weight"], chosen["expgol_cnt"]["bias"]),
            0,
            0,
        )
        for coolchic, modules in coolchics.items()
        for module, chosen in modules.items()
    }


def _plain_rate(
    encoder: FrameEncoder, frame: Frame, lmbda: float, choices: dict[str, Choice], spec: NetworkSpec
) -> float:
    """Moves per second in the manner of Cool-Chic 5.0.1."""
    quantized = deepcopy(encoder)
    apply_choices(quantized, choices)
    forward = forward_of(quantized, spec.id)
    parameters = [quantized.network(spec.id).get_parameter(name) for name in spec.weights]
    n, rng = 0, random.Random(0)
    with plain_arithmetic(1):
        loss_function(*forward(), frame.data, lmbda)
        begun = time.process_time()
        while time.process_time() - begun < _PLAIN_SECONDS:
            parameter = rng.choice(parameters).data.view(-1)
            index = rng.randrange(len(parameter))
            parameter[index] += choices[spec.id].q_step.weight
            loss_function(*forward(), frame.data, lmbda).loss.item()
            parameter[index] -= choices[spec.id].q_step.weight
            n += 1
        return n / (time.process_time() - begun)


def _rates(moves: FrameMoves, choices: dict[str, Choice], spec: NetworkSpec) -> tuple[float, float]:
    """Moves per second, measured exactly, and estimated."""
    q_step = choices[spec.id].q_step
    integers = moves.rounded(spec.id, q_step)
    assert integers is not None  # it was chosen
    values = [value for name in spec.weights for value in integers[name]]
    rng = random.Random(0)
    tried: list[Move] = []
    for _ in range(_MOVES):
        index = rng.randrange(len(values))
        tried.append((Change("weight", index, values[index] + 1),))
    opened = moves.open(spec.id, q_step, integers, choices)
    rates = []
    for ask in (opened.measure, opened.screen):
        begun = time.process_time()
        for i in range(0, _MOVES, _TOGETHER):
            ask(tried[i : i + _TOGETHER])
        rates.append(_MOVES / (time.process_time() - begun))
    return rates[0], rates[1]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
