"""The compiled kernel of training: what torch gives, and its gradients."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.making_5 import make_frame_encoder_5
from workers.candidates import RESIDUE
from workers.codec import ARCHITECTURES, FrameEncoder, Planes
from workers.codec.family import FAMILIES
from workers.fit.kernel import library
from workers.fit.kernel.library import builds, load, open_build
from workers.fit.training_forward import TrainingForward
from workers.objective.loss import loss_function

OPTIONS: dict[str, dict[str, Any]] = {
    "small": {},
    "one pixel": {"img_size": (1, 1)},
    "one row": {"img_size": (1, 40)},
    "one column": {"img_size": (37, 1)},
    "wide": {"img_size": (5, 133)},
    "no ifce": {"ifce_resolution": None, "output_feature_ifce": 0},
    "no hyperlatents": {"hyperlatent_resolution": None},
    "no stabilisers": {"linear_stabiliser_arm": False, "linear_stabiliser_synth": False},
    "linear arm": {"n_hidden_layers_arm": 0},
    "wide arm": {"spatial_context_arm": 30, "n_hidden_layers_arm": 3},
    "kernels": {"ups_k_size": 10, "ups_preconcat_k_size": 1},
    "no pointwise layer": {"layers_synthesis": ["3-5-linear-relu", "3-1-residual-relu", "3-3-linear-none"]},
    "pointwise alone": {"layers_synthesis": ["4-1-residual-relu", "3-1-linear-none"], "img_size": (9, 21)},
    "common randomness": {"flag_common_randomness": True},
    "yuv420": {"frame_data_type": "yuv420", "img_size": (13, 18)},
}


@pytest.fixture(params=builds())
def _build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each build that this machine can run, in turn."""
    compiled = open_build(request.param)
    if compiled is None:
        pytest.skip(f"{request.param} was not built")
    monkeypatch.setattr("workers.fit.training_forward.load", lambda: compiled)


def outcomes(frame_encoder: FrameEncoder, forward: Any, latent: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Samples, bits, and gradients of a loss by everything."""
    inputs = [latent, *(p for name, p in frame_encoder.named_parameters() if "latent_grids" not in name)]
    decoded, rate = forward(latent)
    target = Planes(tuple(torch.full_like(plane, 0.4) for plane in decoded.tensors))
    gradients = torch.autograd.grad(loss_function(decoded, rate, target, 0.1).loss, inputs, allow_unused=True)
    flat = torch.cat([plane.flatten() for plane in decoded.tensors])
    return flat, rate.sum(), [g for g in gradients if g is not None]


def check(frame_encoder: FrameEncoder) -> None:
    frame_encoder.train()
    sizes = frame_encoder.coolchics[RESIDUE].param.grid_sizes
    generator = torch.Generator().manual_seed(2)
    latent = 2 * torch.randn(sum(h * w for h, w in sizes), generator=generator)
    ours = outcomes(frame_encoder, TrainingForward(frame_encoder, compiled=True), latent.requires_grad_())
    plain = outcomes(
        frame_encoder.double(), TrainingForward(frame_encoder), latent.detach().double().requires_grad_()
    )
    assert ours[1].dtype == torch.float32
    assert torch.allclose(ours[0].double(), plain[0], atol=1e-5)
    assert ours[1].item() == pytest.approx(plain[1].item(), rel=1e-5)
    assert len(ours[2]) == len(plain[2])
    for of_ours, of_plain in zip(ours[2], plain[2], strict=True):
        assert torch.allclose(of_ours.double(), of_plain, rtol=1e-3, atol=1e-4 * of_plain.abs().max().item() + 1e-9)


@pytest.mark.usefixtures("_build")
@pytest.mark.parametrize("changed", OPTIONS.values(), ids=OPTIONS)
def test_it_gives_torch_s_samples_bits_and_gradients(changed: dict[str, Any]) -> None:
    sizes = {"latent_resolution": [0, 3 if "img_size" not in changed else 6]}
    if changed.get("layers_synthesis", [""])[0].startswith("4-1-residual"):
        sizes["latent_resolution"] = [0, 3]
    check(make_frame_encoder_5(**sizes | {"img_size": (12, 17)} | changed))


def test_it_has_arms_of_the_other_family() -> None:
    param = ARCHITECTURES["lop"].parameter((9, 30), "rgb", 8, 1e-3)
    frame_encoder = FrameEncoder(replace(param, n_ft_per_res=(1,) * 4))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in frame_encoder.named_parameters():
            if "latent_grids" not in name:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    check(frame_encoder)


def test_layers_beyond_its_sizes_are_torch_s() -> None:
    layers = ["70-1-linear-relu", "3-1-linear-none"]
    frame_encoder = make_frame_encoder_5(spatial_context_arm=40, layers_synthesis=layers)
    check(frame_encoder)


def test_probabilities_of_the_tails_have_no_gradient_beyond_the_least() -> None:
    frame_encoder = make_frame_encoder_5()
    forward = TrainingForward(frame_encoder, compiled=True)
    n = sum(h * w for h, w in frame_encoder.coolchics[RESIDUE].param.grid_sizes)
    latent = torch.full((n,), 1e6, requires_grad=True)
    _, rate = forward(latent)
    assert rate.sum().item() == pytest.approx(16 * n)
    (gradient,) = torch.autograd.grad(rate.sum(), latent)
    assert not gradient.any()


def test_what_is_forced_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QSWEEP_KERNEL", "none")
    assert load.__wrapped__() is None
    monkeypatch.setattr(library, "builds", list)
    monkeypatch.setenv("QSWEEP_KERNEL", "any")
    with pytest.raises(Exception, match="no such build that it can run"):
        load.__wrapped__()


def test_every_published_architecture_is_compiled() -> None:
    assert load() is not None, "scripts/setup builds it"
    for name in ("coolchic-3.4", "coolchic-5"):
        for architecture in FAMILIES[name].architectures.values():
            param = architecture.parameter((8, 8), "rgb", 8, 1e-3)
            forward = TrainingForward(param.family.assemble(param), compiled=True)
            assert forward._compiled_arm is not None
            assert forward._compiled_synthesis is not None
