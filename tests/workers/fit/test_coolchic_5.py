"""Fits of the family coolchic-5."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.making_5 import make_frame_encoder_5
from workers.candidates import RESIDUE
from workers.codec import Frame, FrameEncoder, Planes, dump_frame_encoder, parse_frame_encoder, read_frame
from workers.codec.family import FAMILIES
from workers.fit import RECIPES, Phase, Recipe, Soap, Warmup, fit, kumaraswamy_noise
from workers.fit.initialization import initialize
from workers.fit.network_rate import estimated_bits
from workers.fit.training import train, validate
from workers.fit.training_forward import TrainingForward

CASES = Path(__file__).parents[2] / "conformance" / "cases"
LMBDA = 1e-3
LOP = FAMILIES["coolchic-5"].architectures["lop"]
PHASE = Phase(
    30, (1e-2, 1e-5), "softround", (0.3, 0.1), (0.2, 0.1), optimizer=Soap(), validate_every=10, compiled=True
)
HARD = replace(PHASE, iterations=10, quantizer="hardround", trained=("networks",))
SMALL = Recipe((PHASE, HARD), Warmup((2,), iterations=6, temperature=0.35, noise=(-0.0432, 0.0747)))


RANGES = ("latent_resolution", "hyperlatent_resolution", "ifce_resolution")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def crop() -> Frame:
    """A face, 32×48."""
    frame = read_frame(CASES / "astronaut_64x96_lop" / "frame.png")
    return Frame(Planes((frame.data.tensors[0][..., 16:48, 24:72].contiguous(),)), "rgb", 8)


def yuv(frame_data_type: str, height: int, width: int) -> Frame:
    generator = torch.Generator().manual_seed(0)
    chroma = (height // 2, width // 2) if frame_data_type == "yuv420" else (height, width)
    planes = [
        0.2 + 0.5 * torch.rand(1, 1, *size, generator=generator) for size in ((height, width), chroma, chroma)
    ]
    return Frame(
        Planes(tuple(planes) if frame_data_type == "yuv420" else (torch.cat(planes, dim=1),)),
        frame_data_type,  # type: ignore[arg-type]
        8,
    )


def run_fit(frame: Frame, recipe: Recipe = SMALL, seed: int = 0) -> FrameEncoder:
    steps = fit(frame, LOP, LMBDA, recipe, seed)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value[0]


def run(frame_encoder: FrameEncoder, frame: Frame, phase: Phase) -> float:
    steps = train(frame_encoder, frame, LMBDA, phase, torch.Generator().manual_seed(0))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


# Architectures


@pytest.mark.parametrize(
    ("name", "contexts", "features", "n_parameters"),
    [("lop", 6, 2, 450), ("mop", 10, 4, 1031), ("hop", 14, 6, 1881), ("vhop", 20, 6, 2645)],
)
def test_published_architectures(name: str, contexts: int, features: int, n_parameters: int) -> None:
    param = FAMILIES["coolchic-5"].architectures[name].parameter((128, 192), "rgb", 8, LMBDA)
    residue = param.coolchics[RESIDUE]
    assert (residue.spatial_context_arm, residue.output_feature_ifce) == (contexts, features)
    assert [grid.resolution for grid in residue.grids] == [0, 1, 2, 3, 4, 4, 5, 5, 6, 6]
    shapes = param.tensor_shapes()
    networks = [shape for key, shape in shapes.items() if "latent_grids" not in key]
    assert sum(torch.Size(shape).numel() for shape in networks) == n_parameters


@pytest.mark.parametrize(("size", "coarsest"), [((999, 1000), 6), ((1000, 1000), 7), ((1500, 2000), 8)])
def test_large_frames_have_coarser_grids(size: tuple[int, int], coarsest: int) -> None:
    residue = LOP.parameter(size, "rgb", 8, LMBDA).coolchics[RESIDUE]
    assert (residue.latent_resolution, residue.hyperlatent_resolution) == ((0, coarsest), (4, coarsest))


@pytest.mark.parametrize(("lmbda", "gain"), [(1e-4, 24), (2e-4, 20), (4.9e-4, 20), (5e-4, 16), (1.0, 16)])
def test_the_gain_follows_the_weight_of_the_rate(lmbda: float, gain: int) -> None:
    assert LOP.parameter((8, 8), "rgb", 8, lmbda).coolchics[RESIDUE].encoder_gain == gain


# Recipes


@pytest.mark.parametrize("name", RECIPES["coolchic-5"])
@pytest.mark.parametrize("total", [100, 2000, 5000, 10_000, 30_000])
def test_a_total_counts_every_gradient_step(name: str, total: int) -> None:
    assert RECIPES["coolchic-5"][name](total).iterations == total


@pytest.mark.parametrize(
    ("total", "in_warmup", "last"), [(2000, 50, 500), (5000, 100, 500), (10_000, 200, 500), (30_000, 400, 500)]
)
def test_the_published_recipe(total: int, in_warmup: int, last: int) -> None:
    recipe = RECIPES["coolchic-5"]["published"](total)
    main, hard = recipe.phases
    assert recipe.warmup is not None
    assert (recipe.warmup.candidates, recipe.warmup.iterations) == ((5, 2), in_warmup)
    assert (main.iterations, hard.iterations) == (total - last - 7 * in_warmup, last)
    assert (main.lr, main.temperature, main.noise) == ((1e-2, 1e-5), (0.35, 0.08), (0.22, 0.15))
    assert main.optimizer == hard.optimizer == Soap((0.95, 0.95), (0.9, 0.999), 10, 0.01, 0.1)
    assert recipe.warmup.optimizer == Soap(latent_betas=(0.725, 0.97), frequency=1)
    assert (hard.lr, hard.quantizer, hard.trained) == ((1e-4, 1e-5), "hardround", ("networks",))
    assert (main.network_rate, hard.network_rate) == (0, 0)


@pytest.mark.parametrize("total", [1500, 2000, 14_300])
def test_recipes_of_the_other_family_keep_their_proportions(total: int) -> None:
    recipe = RECIPES["coolchic-3.4"]["fast"](total)
    assert recipe.iterations == total
    assert recipe.phases[1].iterations == 1500 * total // 14_300


@pytest.mark.parametrize(("lmbda", "noise"), [(1e-3, 0.2043), (1e-2, 0.1611), (100.0, 0.0), (0.0, 0.3339)])
def test_noise_of_the_warm_up_follows_the_weight_of_the_rate(lmbda: float, noise: float) -> None:
    assert SMALL.warmup is not None
    phase = SMALL.warmup.phase(PHASE, lmbda)
    assert phase.noise == pytest.approx((noise, noise), abs=1e-6)
    assert phase.temperature == (0.35, 0.35)


def test_kumaraswamy_noise_is_bounded_and_gathers_at_zero() -> None:
    draw = lambda a: kumaraswamy_noise(torch.Size([20_000]), a, torch.Generator().manual_seed(0))  # noqa: E731
    uniform, gathered = draw(1.0), draw(2.0)
    assert uniform.abs().max() <= 0.5
    assert gathered.abs().max() <= 0.5
    assert uniform.std().item() == pytest.approx(12**-0.5, rel=0.02)
    assert gathered.std() < 0.8 * uniform.std()
    counts = torch.histc(gathered, 10, -0.5, 0.5)
    assert counts.argmax() in (4, 5)
    with pytest.raises(ValueError, match="noise: 1 or more for kumaraswamy"):
        replace(PHASE, noise_kind="kumaraswamy")


# The forward pass


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"img_size": (1, 1), "latent_resolution": [0, 6], "hyperlatent_resolution": [4, 6]},
        {
            "img_size": (33, 70),
            "latent_resolution": [0, 6],
            "hyperlatent_resolution": [0, 6],
            "ifce_resolution": [0, 6],
        },
        {"ifce_resolution": None, "output_feature_ifce": 0, "hyperlatent_resolution": None},
        {"linear_stabiliser_arm": False, "linear_stabiliser_synth": False, "flag_common_randomness": True},
        {"frame_data_type": "yuv420", "img_size": (13, 19)},
    ],
)
def test_latents_of_the_evaluation_give_what_the_codec_gives(changed: dict[str, Any]) -> None:
    frame_encoder = make_frame_encoder_5(**changed).double()
    with torch.no_grad():
        grids = frame_encoder.decoder_side_latents()
        decoded, rate = TrainingForward(frame_encoder)(torch.cat([grid.flatten() for grid in grids]))
        expected_rate = frame_encoder.rate(grids)
        expected = frame_encoder.train().decode(grids)
    assert torch.allclose(rate, expected_rate, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(decoded.tensors, expected.tensors, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)


# The fit


def test_the_same_seed_gives_the_same_bits(crop: Frame) -> None:
    first, second, other = run_fit(crop), run_fit(crop), run_fit(crop, seed=1)
    states = [frame_encoder.state_dict() for frame_encoder in (first, second, other)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert not torch.equal(states[0]["residue.latent_grids.0"], states[2]["residue.latent_grids.0"])


def test_a_fit_learns_the_frame_and_can_be_written(crop: Frame) -> None:
    frame_encoder = run_fit(crop, Recipe((replace(PHASE, iterations=200, validate_every=50), HARD), SMALL.warmup))
    start, _ = initialize(frame_encoder.param, crop, 0, 0)
    final = validate(frame_encoder, crop, LMBDA)
    assert final.loss < validate(start, crop, LMBDA).loss / 1.5
    assert final.mse < crop.data.tensors[0].var().item() / 15
    again, _ = parse_frame_encoder(dump_frame_encoder(frame_encoder, LMBDA), "memory")
    assert validate(again, crop, LMBDA) == final


def test_the_last_phase_trains_the_networks_alone(crop: Frame) -> None:
    frame_encoder = run_fit(crop, Recipe((PHASE,)))
    before = {key: value.clone() for key, value in frame_encoder.state_dict().items()}
    run(frame_encoder, crop, replace(HARD, lr=(1e-3, 1e-3)))
    changed = {key for key, value in frame_encoder.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert not any("latent_grids" in key or "output_transform" in key for key in changed)


@pytest.mark.parametrize("frame_data_type", ["rgb", "yuv420", "yuv444"])
def test_the_output_transform_is_that_of_the_frame_and_stays(frame_data_type: str) -> None:
    frame = yuv(frame_data_type, 12, 18)
    transform = run_fit(frame).coolchics[RESIDUE].synthesis.output_transform
    assert transform is not None
    weight, bias = transform.weight.detach()[:, :, 0, 0], transform.bias.detach()
    if frame_data_type == "rgb":
        assert torch.equal(weight, torch.eye(3))
        assert not bias.any()
        return
    planes = frame.data.tensors if frame_data_type == "yuv420" else frame.data.tensors[0][0]
    assert torch.equal(bias, torch.stack([plane.min() for plane in planes]))
    assert torch.equal(weight, torch.diag(torch.stack([plane.max() - plane.min() for plane in planes])))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (7, 5)])
def test_small_frames(size: tuple[int, int]) -> None:
    for frame in (yuv("yuv420", *size), yuv("rgb", *size)):
        assert validate(run_fit(frame), frame, LMBDA).loss < 1


def test_networks_whose_bits_are_weighed_cost_less(crop: Frame) -> None:
    bits = []
    for weight in (0.0, 1.0):
        phase = replace(PHASE, iterations=150, validate_every=50, network_rate=weight)
        frame_encoder = run_fit(crop, Recipe((phase,)))
        networks = [p for name, p in frame_encoder.named_parameters() if "latent" not in name]
        bits.append(estimated_bits(networks).item())
    assert bits[1] < 0.9 * bits[0]


def test_the_weight_of_the_networks_bits_is_that_of_the_latents(crop: Frame) -> None:
    """The gradient that is added is that of the estimate, in the units of the loss."""
    unclipped = Soap(max_norm=1e9)
    phase = replace(PHASE, optimizer=unclipped, validate_every=1, trained=("networks",), iterations=1)
    gradients = []
    for weight in (0.0, 2.0):
        frame_encoder, _ = initialize(LOP.parameter((32, 48), "rgb", 8, LMBDA), crop, 0, 0)
        steps = train(
            frame_encoder, crop, LMBDA, replace(phase, network_rate=weight), torch.Generator().manual_seed(0)
        )
        next(steps)
        gradients.append({n: p.grad for n, p in frame_encoder.named_parameters() if p.grad is not None})
        parameters = dict(frame_encoder.named_parameters())
    name = "residue.arm.mlp.4.weight"
    copy = parameters[name].detach().clone().requires_grad_()
    with torch.enable_grad():
        estimate = 2 * torch.log2(1 + 16 * copy.abs()).sum()
    (expected,) = torch.autograd.grad(estimate, copy)
    added = gradients[1][name] - gradients[0][name]
    assert torch.allclose(added, 2.0 * LMBDA / (32 * 48) * expected, rtol=1e-3, atol=1e-9)
