"""The fit: quantizers, schedules, the fast forward pass, and the promises that the generator makes."""

import math
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import NETWORKS, Case
from workers.candidates import Choice, Counts, QStepPair
from workers.codec import (
    ARCHITECTURES,
    Frame,
    FrameEncoder,
    FrameEncoderManager,
    FrameEncoderParameter,
    Planes,
    SynthesisLayer,
    dump_frame_encoder,
    parse_frame_encoder,
    read_frame,
)
from workers.errors import InputError
from workers.fit import (
    RECIPES,
    RETUNING,
    TRAINABLE,
    FitProgress,
    Phase,
    Recipe,
    Warmup,
    fit,
    retune,
    soft_round,
    soft_round_twice,
    straight_through,
    training,
)
from workers.fit.training import train, validate
from workers.fit.training_forward import TrainingForward
from workers.objective.loss import loss_function
from workers.replica import Replica
from workers.source import FrameSource

CASES = Path(__file__).parents[1] / "conformance" / "cases"
LMBDA = 1e-3
LOP = ARCHITECTURES["lop"]
SOFT = Phase(12, (1e-2, 1e-5), "softround", (0.3, 0.1), (0.25, 0.1), validate_every=5)
STE = Phase(7, (1e-4, 1e-5), "ste", (1e-4, 1e-4), validate_every=5)
SMALL = Recipe(phases=(SOFT, STE), warmup=Warmup(candidates=(3, 2), iterations=6))


def layers(text: str) -> tuple[SynthesisLayer, ...]:
    return tuple(map(SynthesisLayer.parse, text.split(",")))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads cost such small frames more than they bring, and much more where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def crop() -> Frame:
    """A face, 32×48."""
    frame = read_frame(CASES / "astronaut_64x96_lop" / "frame.png")
    return Frame(Planes((frame.data.tensors[0][..., 16:48, 24:72].contiguous(),)), "rgb", 8)


def noise_frame(height: int, width: int, frame_data_type: str = "rgb") -> Frame:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    sizes = [(3, height, width)]
    if frame_data_type == "yuv420":
        chroma = (1, (height + 1) // 2, (width + 1) // 2)
        sizes = [(1, height, width), chroma, chroma]
    planes = tuple(torch.randint(256, (1, *size), generator=generator) / 255 for size in sizes)
    return Frame(Planes(planes), frame_data_type, 8)  # type: ignore[arg-type]


def run(steps: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
    """Everything a generator yields, and what it returns."""
    yielded = []
    while True:
        try:
            yielded.append(next(steps))
        except StopIteration as end:
            return yielded, end.value


def run_fit(
    frame: Frame, recipe: Recipe = SMALL, seed: int = 0, lmbda: float = LMBDA
) -> tuple[list[FitProgress], FrameEncoder, FrameEncoderManager]:
    progress, (frame_encoder, manager) = run(fit(frame, LOP, lmbda, recipe, seed))
    return progress, frame_encoder, manager


def initial(frame: Frame, **changed: Any) -> FrameEncoder:
    """An initialization of the lop architecture, or of one that differs in what is named."""
    param = FrameEncoderParameter(
        frame.img_size, LOP.layers_synthesis, LOP.dim_arm, LOP.n_hidden_layers_arm,
        frame_data_type=frame.frame_data_type,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return FrameEncoder(replace(param, **changed))


def state(frame_encoder: FrameEncoder) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in frame_encoder.state_dict().items()}


def equal(a: FrameEncoder, b: FrameEncoder) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items())


# Quantizers

latents = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=50).map(torch.tensor)
temperatures = st.floats(1e-4, 50)


@given(latents)
def test_soft_round_is_rounding_when_cold(x: torch.Tensor) -> None:
    away_from_ties = (x - x.floor() - 0.5).abs() > 1e-2
    assert torch.allclose(soft_round(x, 1e-4)[away_from_ties], torch.round(x)[away_from_ties], atol=1e-5)


@given(latents)
def test_soft_round_is_the_identity_when_hot(x: torch.Tensor) -> None:
    assert torch.allclose(soft_round(x, 50.0), x, atol=1e-4)


@given(latents, temperatures)
def test_soft_round_is_monotone_and_within_half_of_its_input(x: torch.Tensor, temperature: float) -> None:
    y = soft_round(x.sort().values, temperature)
    assert (y.diff() >= -1e-5).all()
    assert ((y - x.sort().values).abs() <= 0.5 + 1e-5).all()


@given(st.integers(-100, 100), temperatures)
def test_soft_round_keeps_integers_and_half_integers(n: int, temperature: float) -> None:
    x = torch.tensor([n, n + 0.5])
    assert torch.allclose(soft_round(x, temperature), x, atol=1e-5)


def test_soft_round_value() -> None:
    expected = 2 + 0.5 * math.tanh((0.7 - 0.5) / 0.3) / math.tanh(1 / 0.6) + 0.5
    assert soft_round(torch.tensor(2.7), 0.3).item() == pytest.approx(expected, abs=1e-6)


def test_noise_comes_between_two_soft_roundings() -> None:
    x, noise = torch.tensor([0.2, -1.7]), torch.tensor([0.4, -0.1])
    assert torch.equal(soft_round_twice(x, 0.3, noise), soft_round(soft_round(x, 0.3) + noise, 0.3))


@given(latents)
def test_straight_through_rounds_hard_and_derives_softly(x: torch.Tensor) -> None:
    ties = torch.tensor([0.5, 1.5, -2.5])
    x = torch.cat([x, ties]).requires_grad_()
    hard, soft = straight_through(x, 0.1), soft_round(x, 0.1)
    assert torch.equal(hard, torch.round(x))
    (of_hard,) = torch.autograd.grad(hard.sum(), x)
    (of_soft,) = torch.autograd.grad(soft.sum(), x)
    assert torch.equal(of_hard, of_soft)
    # sech²(0) / (2 T tanh(1 / 2T)) at the ties, where the derivative is largest
    assert torch.allclose(of_hard[-3:], torch.tensor(0.5 / 0.1 / math.tanh(5)))


# Recipes


def test_schedules_go_from_their_start_to_their_end() -> None:
    phase = Phase(1000, (1e-2, 1e-5), "softround", (0.3, 0.1), (0.25, 0.1))
    assert (phase.lr_at(0), phase.temperature_at(0), phase.noise_at(0)) == pytest.approx((1e-2, 0.3, 0.25))
    assert (phase.lr_at(1000), phase.temperature_at(1000)) == pytest.approx((1e-5, 0.1))
    assert phase.noise_at(1000) == pytest.approx(0.1)
    assert phase.lr_at(500) == pytest.approx((1e-2 + 1e-5) / 2)
    assert phase.lr_at(200) == pytest.approx(1e-5 + (1e-2 - 1e-5) * (1 + math.cos(math.pi / 5)) / 2)
    assert phase.temperature_at(500) == pytest.approx(0.2)


def test_schedules_change_at_validations_only() -> None:
    phase = Phase(1000, (1e-2, 1e-5), "softround", (0.3, 0.1), (0.25, 0.1))
    for at in (phase.lr_at, phase.temperature_at, phase.noise_at):
        assert at(100) == at(199)
        assert at(199) > at(200)


def test_published_recipes() -> None:
    recipes = {name: of_total(None) for name, of_total in RECIPES["coolchic-3.4"].items()}
    assert [recipes[name].phases[0].iterations for name in ("fast", "medium", "slow")] == [10_000, 30_000, 100_000]
    for name, recipe in recipes.items():
        main, ste = recipe.phases
        assert (main.lr, main.temperature, main.noise) == ((1e-2, 1e-5), (0.3, 0.1), (0.25, 0.1))
        assert (main.quantizer, main.patience, ste.quantizer) == ("softround", 5000, "ste")
        assert (ste.lr[0], ste.temperature) == (1e-4, (1e-4, 1e-4))
        assert main.validate_every == ste.validate_every == 100
        assert main.trained == ste.trained == TRAINABLE
        if name != "example":
            assert ste.iterations == 1500
            assert recipe.warmup == Warmup(candidates=(5, 2), iterations=400, lr=1e-2)
            assert recipe.iterations == 7 * 400 + main.iterations + 1500


def test_the_warm_up_is_the_first_phase_held_at_its_start() -> None:
    phase = Warmup(iterations=40).phase(SOFT, LMBDA)
    assert (phase.iterations, phase.lr_at(0), phase.lr_at(39)) == (40, 1e-2, 1e-2)
    assert (phase.temperature, phase.noise, phase.quantizer) == ((0.3, 0.3), (0.25, 0.25), "softround")


@pytest.mark.parametrize(
    ("of", "changed", "rule"),
    [
        (SOFT, {"iterations": 0}, "iterations: at least 1"),
        (SOFT, {"lr": (math.nan, 1e-5)}, "lr: finite"),
        (SOFT, {"temperature": (0.3, 0.0)}, "temperature: finite and above 0"),
        (SOFT, {"noise": (-0.1, 0.1)}, "noise: finite and not negative"),
        (SOFT, {"quantizer": "hard"}, "quantizer: one of"),
        (SOFT, {"validate_every": 0}, "validate_every"),
        (SOFT, {"patience": 0}, "patience"),
        (SOFT, {"trained": ("everything",)}, "trained: at least one of"),
        (SOFT, {"trained": ()}, "trained: at least one of"),
        (Warmup(), {"candidates": (2, 5)}, "candidates: .* fewer"),
        (Warmup(), {"candidates": ()}, "candidates: at least one stage"),
        (SMALL, {"phases": ()}, "phases: at least one"),
    ],
)
def test_recipes_refuse_what_cannot_be_run(of: Any, changed: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        replace(of, **changed)


# The forward pass in training


@pytest.mark.parametrize(
    ("size", "frame_data_type", "changed"),
    [
        ((1, 1), "rgb", {}),
        ((1, 37), "rgb", {}),
        ((35, 1), "yuv420", {}),
        ((33, 50), "yuv420", {"dim_arm": 16, "n_hidden_layers_arm": 1}),
        ((32, 64), "rgb", {"dim_arm": 24, "n_hidden_layers_arm": 0}),
        ((19, 21), "rgb", {"ups_k_size": 4, "ups_preconcat_k_size": 1}),
        ((40, 23), "rgb", {"ups_k_size": 6, "ups_preconcat_k_size": 5}),
        ((40, 23), "rgb", {"ups_k_size": 10, "ups_preconcat_k_size": 9}),
        ((9, 11), "yuv444", {"n_ft_per_res": (1,)}),
        ((9, 11), "rgb", {"layers_synthesis": layers("7-1-residual-relu,3-5-linear-relu,3-1-residual-none")}),
    ],
)
def test_the_fast_forward_pass_is_the_codec_s(
    size: tuple[int, int], frame_data_type: str, changed: dict[str, Any]
) -> None:
    frame = noise_frame(*size, frame_data_type)
    frame_encoder = initial(frame, **changed).train()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in frame_encoder.named_parameters():
            if not name.startswith("latent_grids"):
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        frame_encoder.synthesis.layers[-2].bias.fill_(0.5)  # away from the clamp
    grid_sizes = frame_encoder.param.grid_sizes
    flat = 2 * torch.randn(sum(h * w for h, w in grid_sizes), generator=generator)
    flat = flat.double().requires_grad_()
    frame_encoder.double()
    target = Planes(tuple(plane.double() for plane in frame.data.tensors))
    parts = torch.split(flat, [h * w for h, w in grid_sizes])
    grids = [part.view(1, 1, h, w) for part, (h, w) in zip(parts, grid_sizes, strict=True)]

    forward = TrainingForward(frame_encoder)
    inputs = [flat, *(p for name, p in frame_encoder.named_parameters() if "latent" not in name)]
    outcomes = []
    for decoded_image, rate in (frame_encoder(grids), forward(flat)):
        loss = loss_function(decoded_image, rate, target, 0.1).loss
        gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
        outcomes.append((*decoded_image.tensors, rate, *(g for g in gradients if g is not None)))
    plain, fast = outcomes
    assert len(plain) == len(fast)
    for of_plain, of_fast in zip(plain, fast, strict=True):
        assert torch.allclose(of_fast, of_plain, rtol=1e-9, atol=1e-12)


def test_a_phase_does_what_a_plain_loop_does(crop: Frame) -> None:
    """The recipe as it is written, with nothing but the codec and torch's own Adam."""
    phase = Phase(16, (1e-2, 1e-5), "softround", (0.3, 0.1), (0.25, 0.1), validate_every=4)
    plain, ours = initial(crop), initial(crop)
    generator = torch.Generator().manual_seed(5)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-2, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4, eta_min=1e-5)
    expected = []
    temperature, sigma = 0.3, 0.25
    for iteration in range(16):
        plain.train()
        optimizer.zero_grad()
        y = torch.cat([grid.flatten() for grid in plain.latent_grids]) * 16
        noise = sigma * torch.randn(y.shape, generator=generator)
        y = soft_round(soft_round(y, temperature) + noise, temperature)
        sizes = plain.param.grid_sizes
        flat = torch.split(y, [h * w for h, w in sizes])
        decoded_image, rate = plain([grid.view(1, 1, h, w) for grid, (h, w) in zip(flat, sizes, strict=True)])
        loss_function(decoded_image, rate, crop.data, LMBDA).loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
        optimizer.step()
        if iteration % 4 == 3:
            expected.append(validate(plain, crop, LMBDA).loss)
            schedule.step()
            temperature = 0.3 + (0.1 - 0.3) * (iteration + 1) / 16
            sigma = 0.25 + (0.1 - 0.25) * (iteration + 1) / 16
    yielded, _ = run(train(ours, crop, LMBDA, phase, torch.Generator().manual_seed(5)))
    # Adam's first steps divide by gradients of almost nothing: the order of sums shows.
    assert [validation.loss for _, validation in yielded] == pytest.approx(expected, rel=2e-2)
    assert yielded[0][1].loss == pytest.approx(expected[0], rel=1e-3)


# The fit


def test_the_same_seed_gives_the_same_bits_whatever_the_process_draws(crop: Frame) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    progress, first, _ = run_fit(crop, seed=4)
    assert torch.equal(torch.get_rng_state(), before)

    def disturbed() -> Generator[FitProgress, None, Any]:
        steps = fit(crop, LOP, LMBDA, SMALL, 4)
        while True:
            torch.rand(7)
            try:
                yield next(steps)
            except StopIteration as end:
                return end.value

    again, (second, _) = run(disturbed())
    assert again == progress
    assert equal(first, second)


def test_another_seed_gives_other_parameters(crop: Frame) -> None:
    recipe = Recipe(phases=(replace(SOFT, iterations=2),))
    _, first, _ = run_fit(crop, recipe, seed=0)
    _, second, _ = run_fit(crop, recipe, seed=1)
    for name in ("synthesis.layers.0.weight", "arm.mlp.4.weight", "latent_grids.0"):
        assert not torch.equal(first.state_dict()[name], second.state_dict()[name])


def test_the_warm_up_keeps_the_candidate_with_the_smallest_loss(crop: Frame) -> None:
    # Phases that change nothing: what comes out is what the warm-up kept.
    still = replace(SOFT, iterations=1, lr=(0.0, 0.0))
    progress, kept, _ = run_fit(crop, Recipe((still,), Warmup((4,), iterations=6)))
    of_candidates = [p.loss for p in progress if p.phase == "warm-up" and p.iteration % 6 == 0]
    assert len(set(of_candidates)) == 4
    assert validate(kept, crop, LMBDA).loss == min(p.loss for p in progress[:-1])
    # Candidates do not depend on how many there are.
    fewer, _, _ = run_fit(crop, Recipe((still,), Warmup((2,), iterations=6)))
    assert [p.loss for p in fewer if p.phase == "warm-up"] == [p.loss for p in progress[:4]]


def test_progress_counts_every_iteration_once(crop: Frame) -> None:
    progress, _, manager = run_fit(crop)
    total = 3 * 6 + 2 * 6 + 12 + 7
    assert SMALL.iterations == total
    iterations = [p.iteration for p in progress]
    assert iterations == [5, 6, 11, 12, 17, 18, 23, 24, 29, 30, 35, 40, 42, 47, 49]
    assert {p.n_iterations for p in progress} == {total}
    assert [p.phase for p in progress] == ["warm-up"] * 10 + ["phase 1"] * 3 + ["phase 2"] * 2
    assert manager.iterations_counter == total
    assert manager.lmbda == LMBDA
    assert manager.total_training_time_sec > 0
    for p in progress:
        assert p.loss == pytest.approx(10 ** (-p.psnr_db / 10) + LMBDA * p.rate_latent_bpp, rel=1e-4)


def test_time_spent_by_the_consumer_is_not_the_fit_s(crop: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("workers.fit.fitting.time.perf_counter", lambda: now)
    steps = fit(crop, LOP, LMBDA, Recipe((replace(SOFT, iterations=10),)), 0)
    next(steps)
    now += 1000
    _, (_, manager) = run(steps)
    assert manager.total_training_time_sec == 0


def test_reports_between_validations_change_nothing(crop: Frame) -> None:
    quiet, expected, _ = run_fit(crop)
    recorded, (frame_encoder, _) = run(fit(crop, LOP, LMBDA, SMALL, 0, report_seconds=0))
    assert equal(frame_encoder, expected)
    # Before every iteration and validation, and after every validation.
    assert len(recorded) == SMALL.iterations + 2 * len(quiet)
    iterations = [p.iteration for p in recorded]
    assert iterations == sorted(iterations)
    assert [p for p in quiet if p not in recorded] == []
    assert recorded[5] == recorded[0]._replace(iteration=5), "what the last validation found"


@pytest.mark.parametrize("seconds", [0.5, 30.0])
def test_the_longest_time_without_a_report_is_an_iteration_more_than_is_asked_for(
    crop: Frame, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    now = 0.0
    iterate, validation = training._Trainer.iterate, training.validate

    def slow_iteration(trainer: Any, iteration: int) -> None:
        nonlocal now
        now += seconds
        iterate(trainer, iteration)

    def slow_validation(*of: Any) -> Any:
        nonlocal now
        now += seconds
        return validation(*of)

    monkeypatch.setattr(training._Trainer, "iterate", slow_iteration)
    monkeypatch.setattr(training, "validate", slow_validation)
    monkeypatch.setattr(training.time, "perf_counter", lambda: now)
    recipe = Recipe((replace(SOFT, iterations=20, validate_every=20),), Warmup((2,), iterations=10))
    reported = [0.0]
    for _ in fit(crop, LOP, LMBDA, recipe, 0, report_seconds=2.0):
        reported.append(now)
    pauses = [after - before for before, after in pairwise(reported)]
    assert max(pauses) <= 2.0 + seconds
    assert now == (2 * (1 + 10 + 1) + 1 + 20 + 1) * seconds


def test_a_replica_reports_in_time_from_what_it_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.replica.REPORT_SECONDS", 0.0)
    folder = CASES / "astronaut_64x96_lop"
    source = FrameSource("a", partial(read_frame, folder / "frame.png"), None, lmbda=LMBDA)
    replica = Replica("cpu")
    *progress, checkpoint = replica.fit(source, ARCHITECTURES["vlop"], Recipe((replace(SOFT, iterations=3),)), 0)
    assert [p.iteration for p in progress] == [0, 1, 2, 3, 3]
    encoder = partial(parse_frame_encoder, checkpoint, "fitted")
    choices = [Choice(network, QStepPair(2.0**-6, 2.0**-6), Counts(0, 0), 0, 0) for network in NETWORKS]
    phase = replace(RETUNING, iterations=2, validate_every=2)
    *progress, encoded = replica.encode(replace(source, read_encoder=encoder), choices, phase, "qsw")
    assert [p.iteration for p in progress] == [0, 1, 2, 2, 2, 2], "and while the file is written, and read"
    assert encoded.bitstream


def test_a_fit_learns_the_frame(crop: Frame) -> None:
    phases = (replace(SOFT, iterations=250, validate_every=50), replace(STE, iterations=20))
    progress, frame_encoder, _ = run_fit(crop, Recipe(phases))
    flat = crop.data.tensors[0]
    variance = (flat - flat.mean(dim=(2, 3), keepdim=True)).square().mean().item()
    final = validate(frame_encoder, crop, LMBDA)
    assert final.mse < variance / 20
    assert final.loss < progress[0].loss / 1.5
    # At rest the frame encoder is one that can be saved, read back and swept.
    assert not frame_encoder.training
    assert all(p.requires_grad and p.grad is None for p in frame_encoder.parameters())
    assert not frame_encoder.nn_q_step
    again, manager = parse_frame_encoder(dump_frame_encoder(frame_encoder, LMBDA), "memory")
    assert equal(frame_encoder, again)
    assert manager.lmbda == LMBDA


def test_the_best_parameters_are_kept(crop: Frame) -> None:
    # A learning rate that destroys what has been learned: most validations are worse than an earlier one.
    wild = replace(SOFT, iterations=30, lr=(0.3, 0.3), validate_every=3)
    frame_encoder = initial(crop)
    start = validate(frame_encoder, crop, LMBDA).loss
    yielded, best = run(train(frame_encoder, crop, LMBDA, wild, torch.Generator().manual_seed(0)))
    losses = [validation.loss for _, validation in yielded]
    assert losses[-1] > best
    assert best == min(start, *losses)
    assert validate(frame_encoder, crop, LMBDA).loss == best


def test_patience_returns_to_the_best_with_its_optimizer(crop: Frame) -> None:
    frame_encoder = initial(crop)
    # Without noise, an iteration from the same parameters and the same optimizer gives the same loss.
    fast = replace(STE, iterations=15, lr=(0.1, 0.1), validate_every=1, patience=3)
    yielded, best = run(train(frame_encoder, crop, LMBDA, fast, torch.Generator()))
    losses = [validation.loss for _, validation in yielded]
    at = losses.index(best)
    assert at > 0  # so the optimizer has a past to return to
    assert len(set(losses[at : at + 4])) == 4
    assert losses[at + 1 :] == losses[at + 1 : at + 4] * 4
    assert validate(frame_encoder, crop, LMBDA).loss == best


def test_the_gradient_s_norm_is_bounded(crop: Frame) -> None:
    frame_encoder = initial(crop)
    steps = train(frame_encoder, crop, 1e3, replace(SOFT, validate_every=1), torch.Generator())
    next(steps)
    gradients = [p.grad for p in frame_encoder.parameters() if p.grad is not None]
    assert torch.cat([g.flatten() for g in gradients]).norm().item() == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("trained", [("latents",), ("networks",), ("latents", "networks")])
def test_only_what_a_phase_names_is_trained(crop: Frame, trained: tuple[str, ...]) -> None:
    frame_encoder = initial(crop)
    run(train(frame_encoder, crop, LMBDA, replace(SOFT, iterations=20), torch.Generator().manual_seed(0)))
    before = state(frame_encoder)
    steps = train(frame_encoder, crop, LMBDA, replace(SOFT, validate_every=1, trained=trained), torch.Generator())
    next(steps)
    changed = {name for name, v in frame_encoder.state_dict().items() if (v != before[name]).any()}
    assert {"latents" if name.startswith("latent_grids.") else "networks" for name in changed} == set(trained)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(noise_frame(1, 1), id="1×1"),
        pytest.param(noise_frame(1, 29), id="one row"),
        pytest.param(noise_frame(29, 1), id="one column"),
        pytest.param(noise_frame(17, 33), id="odd"),
        pytest.param(noise_frame(17, 33, "yuv420"), id="odd yuv420"),
        pytest.param(noise_frame(1, 1, "yuv420"), id="1×1 yuv420"),
        pytest.param(noise_frame(8, 8, "yuv444"), id="yuv444"),
        pytest.param(Frame(Planes((torch.zeros(1, 3, 9, 9),)), "rgb", 10), id="black, 10 bits"),
        pytest.param(Frame(Planes((torch.ones(1, 3, 9, 9),)), "rgb", 8), id="white"),
    ],
)
def test_awkward_frames(frame: Frame) -> None:
    progress, frame_encoder, _ = run_fit(frame)
    final = validate(frame_encoder, frame, LMBDA)
    assert math.isfinite(final.loss)
    assert final.loss <= validate(initial(frame), frame, LMBDA).loss
    assert frame_encoder.param.img_size == frame.img_size
    assert (frame_encoder.param.frame_data_type, frame_encoder.param.bitdepth) == (
        frame.frame_data_type,
        frame.bitdepth,
    )
    assert all(not math.isnan(p.psnr_db) for p in progress)


def test_a_perfect_frame_has_an_infinite_psnr() -> None:
    black = Frame(Planes((torch.zeros(1, 3, 9, 9),)), "rgb", 8)
    still = Recipe((replace(SOFT, iterations=1, lr=(0.0, 0.0)),))
    progress, _, _ = run_fit(black, still)
    assert progress[-1].psnr_db == math.inf


def test_a_loss_that_is_not_finite_goes_back_to_the_best(crop: Frame, caplog: pytest.LogCaptureFixture) -> None:
    exploding = replace(STE, iterations=6, lr=(1e38, 1e38), validate_every=2)
    frame_encoder = initial(crop)
    run(train(frame_encoder, crop, LMBDA, replace(SOFT, iterations=20), torch.Generator().manual_seed(0)))
    learned = state(frame_encoder)
    yielded, best = run(train(frame_encoder, crop, LMBDA, exploding, torch.Generator().manual_seed(0)))
    # The first iteration explodes, the second one goes back, and so on.
    assert [validation.loss for _, validation in yielded] == [best] * 3
    assert "3 of 6 iterations" in caplog.text
    assert all(torch.equal(value, learned[name]) for name, value in frame_encoder.state_dict().items())


def test_training_goes_on_after_a_loss_that_is_not_finite(crop: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = pairwise(range(1000))

    def sometimes_nan(*args: Any) -> Any:
        output = loss_function(*args)
        number, _ = next(calls)
        return output._replace(loss=output.loss * math.nan) if number == 7 else output

    monkeypatch.setattr("workers.fit.training.loss_function", sometimes_nan)
    frame_encoder = initial(crop)
    yielded, best = run(train(frame_encoder, crop, LMBDA, replace(SOFT, iterations=40), torch.Generator()))
    losses = [validation.loss for _, validation in yielded]
    assert all(map(math.isfinite, losses))
    assert best == min(losses) < losses[0] / 2
    assert all(value.isfinite().all() for value in frame_encoder.state_dict().values())


@pytest.mark.parametrize("lmbda", [math.nan, math.inf, -1e-3])
def test_lmbda_is_finite_and_not_negative(crop: Frame, lmbda: float) -> None:
    with pytest.raises(InputError, match="lmbda is finite and not negative"):
        run_fit(crop, lmbda=lmbda)


def test_a_frame_without_a_finite_loss_is_refused() -> None:
    frame = Frame(Planes((torch.full((1, 3, 8, 8), math.nan),)), "rgb", 8)
    with pytest.raises(InputError, match="finite loss before any training; found loss nan"):
        run_fit(frame)


# --- the latents once more, with quantized networks


def test_retuning_stops_when_patience_is_lost_and_gives_back_the_best(smallest_case: Case) -> None:
    frame_encoder, frame = smallest_case.frame_encoder, smallest_case.frame
    before = validate(frame_encoder, frame, 1e-3).loss
    networks = {name: value.clone() for name, value in frame_encoder.state_dict().items() if "grids" not in name}

    # Steps that do nothing but harm: the best stays what it was.
    harmful = replace(RETUNING, lr=(1.0, 1.0), temperature=(0.3, 0.3))
    progress = list(retune(frame_encoder, frame, 1e-3, harmful))

    assert [step.iteration for step in progress] == [10, 20, 30, 40, 50]
    assert {step.phase for step in progress} == {"phase 3"}
    assert validate(frame_encoder, frame, 1e-3).loss == before
    after = {name: value for name, value in frame_encoder.state_dict().items() if "grids" not in name}
    assert all(torch.equal(after[name], value) for name, value in networks.items())


def test_retuning_trains_the_latents_alone_and_keeps_what_is_better(smallest_case: Case) -> None:
    frame_encoder, frame = smallest_case.frame_encoder, smallest_case.frame
    with torch.no_grad():
        for grid in frame_encoder.latent_grids:
            grid.add_(torch.randn(grid.shape, generator=torch.Generator().manual_seed(0)), alpha=0.05)
    before = validate(frame_encoder, frame, 1e-3).loss
    phase = replace(RETUNING, lr=(1e-2, 1e-3), temperature=(0.3, 0.3), iterations=60, patience=60)
    losses = [step.loss for step in retune(frame_encoder, frame, 1e-3, phase)]
    assert validate(frame_encoder, frame, 1e-3).loss == min(losses) < before


def test_a_recipe_retunes_nothing_but_latents() -> None:
    with pytest.raises(ValueError, match="retuning: trains the latents alone"):
        Recipe((RETUNING,), retuning=replace(RETUNING, trained=("networks",)))
