"""Time and size of bitstreams, and time of an iteration of a fit, beside a plain training loop.

Usage, in the root of the repository: .venv/bin/python -m scripts.benchmark_coding [--threads 1]

Ratios within one run are what to look at; run it with nothing else on the machine.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table

from tests.cases import CASE_NAMES, load_case
from tests.workers.bitstream.encoding import quantized_case, rate_latent_bit
from workers.bitstream import decode_frame, encode_frame
from workers.codec import ARCHITECTURES, Frame, FrameEncoder, FrameEncoderParameter, Planes
from workers.fit import RECIPES, Adam, soft_round_twice
from workers.fit.training import train
from workers.objective.loss import loss_function

REPEATS = 5
SIZE = (512, 768)
FIT_SIZE = (256, 256)
ITERATIONS = 10
CONSOLE = Console(width=100)


def seconds(action: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def large_frame_encoder() -> FrameEncoder:
    """A real frame encoder of hop, quantized, its latents repeated until they fill the size."""
    small, _ = quantized_case(load_case("chelsea_99x149_hop"))
    large = FrameEncoder(replace(small.param, img_size=SIZE))
    state = small.state_dict()
    for name, value in large.state_dict().items():
        if name.startswith("latent_grids"):
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
    for name in CASE_NAMES:
        frame_encoder, rate_nn_bit = quantized_case(load_case(name))
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


def coding() -> None:
    """Encoding and decoding of a large frame."""
    frame_encoder = large_frame_encoder()
    content = encode_frame(frame_encoder).content
    decoding = [seconds(lambda: decode_frame(content)) for _ in range(REPEATS)]
    encoding = [seconds(lambda: encode_frame(frame_encoder)) for _ in range(REPEATS)]
    height, width = SIZE
    CONSOLE.print(
        f"{width}×{height} hop, {len(content)} bytes: decoded in {statistics.median(decoding):.2f} s, "
        f"written in {statistics.median(encoding):.2f} s"
    )


def iterations() -> None:
    """A fit beside a plain loop over the same networks, in turns."""
    height, width = FIT_SIZE
    picture = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.interpolate(picture, FIT_SIZE, mode="bicubic").clamp(0, 1)
    frame = Frame(Planes((picture,)), "rgb", 8)
    for name in ("lop", "hop"):
        arch = ARCHITECTURES[name]
        param = FrameEncoderParameter(FIT_SIZE, arch.layers_synthesis, arch.dim_arm, arch.n_hidden_layers_arm)
        ours, plain = FrameEncoder(param), FrameEncoder(param)
        optimizer = torch.optim.Adam(plain.parameters(), lr=1e-2, betas=Adam().betas)
        phase = RECIPES["coolchic-3.4"]["fast"](None).phases[0]
        generator = torch.Generator().manual_seed(0)
        fit = train(ours, frame, 1e-3, phase, generator)
        next(fit)  # a hundred iterations and a validation; the plain loop is warmed as well
        times: dict[str, list[float]] = {"ours": [], "plain": []}
        plain_loop(plain, optimizer, frame, ITERATIONS)
        for _ in range(REPEATS):
            times["ours"].append(seconds(lambda fit=fit: next(fit)) / phase.validate_every)  # type: ignore[misc]
            loop = seconds(lambda plain=plain, optimizer=optimizer: plain_loop(plain, optimizer, frame, ITERATIONS))  # type: ignore[misc]
            times["plain"].append(loop / ITERATIONS)
        ms = {way: 1e3 * statistics.median(values) for way, values in times.items()}
        CONSOLE.print(
            f"{width}×{height} {name}, an iteration: {ms['ours']:.1f} ms, validations included; "
            f"plain loop {ms['plain']:.1f} ms, {ms['plain'] / ms['ours']:.2f}×"
        )


def plain_loop(frame_encoder: FrameEncoder, optimizer: torch.optim.Optimizer, frame: Frame, n: int) -> None:
    """What a person would write."""
    frame_encoder.train()
    for _ in range(n):
        optimizer.zero_grad()
        latents = [grid * frame_encoder.param.encoder_gain for grid in frame_encoder.latent_grids]
        latents = [soft_round_twice(y, 0.3, 0.25 * torch.randn_like(y)) for y in latents]
        decoded, rate = frame_encoder(latents)
        loss_function(decoded, rate, frame.data, 1e-3).loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(frame_encoder.parameters(), Adam().max_norm)
        optimizer.step()


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    sizes()
    coding()
    iterations()


if __name__ == "__main__":
    main()
