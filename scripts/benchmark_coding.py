"""Time and size of bitstreams, and time of an iteration of a fit, beside a plain training loop.

Usage, in the root of the repository: .venv/bin/python -m scripts.benchmark_coding [--threads 1]

Ratios within one run are what to look at; run it with nothing else on the machine.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from tests.cases import CASE_5_NAMES, CASE_NAMES, CASES, CASES_5, load_case
from tests.workers.bitstream.encoding import quantized_case, rate_latent_bit
from workers.bitstream import decode_frame, encode_frame
from workers.bitstream.formats import FORMATS
from workers.candidates import RESIDUE
from workers.codec import Frame, FrameEncoder, FrameEncoderParameter, Planes
from workers.codec.coolchic_5.parameter import Coolchic5Parameter
from workers.codec.family import FAMILIES
from workers.fit import RECIPES, Phase, soft_round_twice
from workers.fit.optimizers import make_optimizer
from workers.fit.training import train
from workers.objective.loss import loss_function

REPEATS = 5
SIZE = (512, 768)
FIT_SIZE = (256, 256)
FITS = (("coolchic-3.4", "lop"), ("coolchic-3.4", "hop"), ("coolchic-5", "mop"), ("coolchic-5", "hop"))
ITERATIONS = 10
CONSOLE = Console(width=100)


def seconds(action: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def cpu_seconds(action: Callable[[], object]) -> float:
    """Of CPU, of one call."""
    start = time.process_time()
    action()
    return time.process_time() - start


def large_frame_encoder(cases: Path) -> FrameEncoder:
    """A real frame encoder of hop, quantized, its latents repeated until they fill the size."""
    small, _ = quantized_case(load_case("chelsea_99x149_hop", cases))
    param = small.param
    if isinstance(param, Coolchic5Parameter):
        large = FrameEncoder(replace(param, residue=replace(param.residue, img_size=SIZE)))
    else:
        assert isinstance(param, FrameEncoderParameter)
        large = FrameEncoder(replace(param, img_size=SIZE))
    state = small.state_dict()
    for name, value in large.state_dict().items():
        if "latent_grids" in name:
            height, width = value.shape[-2:]
            tile = state[name]
            tile = tile.repeat(1, 1, -(-height // tile.shape[-2]), -(-width // tile.shape[-1]))
            state[name] = tile[..., :height, :width]
    large.load_state_dict(state)
    large.nn_q_step, large.nn_expgol_cnt = small.nn_q_step, small.nn_expgol_cnt
    return large.eval()


def sizes() -> None:
    """What was estimated, and the bytes it became."""
    table = Table("frame", "latents: estimate", "bytes", "", "networks: estimate", "bytes", "file", "", box=None)
    for name, cases in [*((name, CASES) for name in CASE_NAMES), *((name, CASES_5) for name in CASE_5_NAMES)]:
        frame_encoder, rate_nn_bit = quantized_case(load_case(name, cases))
        estimate = rate_latent_bit(frame_encoder) / 8
        encoded = encode_frame(frame_encoder)
        more = len(encoded.content) - estimate - rate_nn_bit / 8
        latents = f"{encoded.sizes.latents / estimate - 1:+.2%}"
        table.add_row(
            name,
            *(f"{estimate:.1f}", str(encoded.sizes.latents), latents),
            *(f"{rate_nn_bit / 8:.1f}", str(encoded.sizes.networks)),
            *(str(len(encoded.content)), f"{more:+.0f}"),
        )
    CONSOLE.print(table)


def formats() -> None:
    """Files of every format that holds them, of the same choices, and of what parts they consist."""
    parts = ("header", "networks", "latents")
    table = Table("frame", "format", *parts, "file", "to the estimate", box=None)
    for name in CASE_5_NAMES:
        frame_encoder, rate_nn_bit = quantized_case(load_case(name, CASES_5))
        estimate = (rate_latent_bit(frame_encoder) + rate_nn_bit) / 8
        for format_name in FORMATS:
            bitstream = FORMATS[format_name]
            if bitstream.unencodable(frame_encoder.param) is None:
                sizes = bitstream.encode(frame_encoder).sizes
                more = f"{sizes.total - estimate:+.0f}"
                table.add_row(name, format_name, *map(str, sizes), str(sizes.total), more)
    CONSOLE.print(table)


def coding() -> None:
    """Encoding and decoding of a large frame."""
    height, width = SIZE
    for cases in (CASES, CASES_5):
        frame_encoder = large_frame_encoder(cases)
        content = encode_frame(frame_encoder).content
        decoding = [seconds(lambda content=content: decode_frame(content)) for _ in range(REPEATS)]  # type: ignore[misc]
        encoding = [seconds(lambda encoder=frame_encoder: encode_frame(encoder)) for _ in range(REPEATS)]  # type: ignore[misc]
        CONSOLE.print(
            f"{frame_encoder.family.name}, {width}×{height} hop, {len(content)} bytes: "
            f"decoded in {statistics.median(decoding):.2f} s, written in {statistics.median(encoding):.2f} s"
        )


def iterations() -> None:
    """A fit beside a plain loop over the same networks, in turns, in CPU time."""
    height, width = FIT_SIZE
    picture = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.interpolate(picture, FIT_SIZE, mode="bicubic").clamp(0, 1)
    frame = Frame(Planes((picture,)), "rgb", 8)
    for family, name in (
        ("coolchic-3.4", "lop"),
        ("coolchic-3.4", "hop"),
        ("coolchic-5", "mop"),
        ("coolchic-5", "hop"),
    ):
        param = FAMILIES[family].architectures[name].parameter(FIT_SIZE, "rgb", 8, 1e-3)
        ours, plain = FrameEncoder(param), FrameEncoder(param)
        phase = RECIPES[family]["fast"](None).phases[0]
        loop = PlainLoop(plain, phase, frame)
        fit = train(ours, frame, 1e-3, phase, torch.Generator().manual_seed(0))
        next(fit)  # a hundred iterations and a validation; the plain loop is warmed as well
        loop.run(ITERATIONS)
        times: dict[str, list[float]] = {"ours": [], "plain": []}
        for _ in range(REPEATS):
            times["ours"].append(cpu_seconds(lambda fit=fit: next(fit)) / phase.validate_every)  # type: ignore[misc]
            times["plain"].append(cpu_seconds(lambda loop=loop: loop.run(ITERATIONS)) / ITERATIONS)  # type: ignore[misc]
        ms = {way: 1e3 * statistics.median(values) for way, values in times.items()}
        CONSOLE.print(
            f"{width}×{height} {family} {name}, an iteration: {ms['ours']:.1f} ms of CPU, validations included; "
            f"plain loop {ms['plain']:.1f} ms, {ms['plain'] / ms['ours']:.2f}×"
        )


class PlainLoop:
    """What a person would write, with the optimizer of a phase."""

    def __init__(self, frame_encoder: FrameEncoder, phase: Phase, frame: Frame) -> None:
        self._frame_encoder, self._phase, self._frame = frame_encoder.train(), phase, frame
        named = dict(frame_encoder.named_parameters())
        latents = [value for key, value in named.items() if "latent_grids." in key]
        self._networks = [value for key, value in named.items() if "latent_grids." not in key]
        self._optimizer = make_optimizer(phase.optimizer, {"latents": latents, "networks": self._networks})
        for group in self._optimizer.param_groups:
            group["lr"] = phase.lr[0]

    def run(self, n: int) -> None:
        """Do some iterations."""
        coolchic = self._frame_encoder.coolchics[RESIDUE]
        for _ in range(n):
            self._optimizer.zero_grad()
            latents = [grid * coolchic.param.encoder_gain for grid in coolchic.latent_grids]
            latents = [soft_round_twice(y, 0.3, 0.25 * torch.randn_like(y)) for y in latents]
            decoded, rate = self._frame_encoder(latents)
            loss_function(decoded, rate, self._frame.data, 1e-3).loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self._networks, self._phase.optimizer.max_norm)
            self._optimizer.step()


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    sizes()
    formats()
    coding()
    iterations()


if __name__ == "__main__":
    main()
