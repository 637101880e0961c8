"""The drop-in for objects of an installed Cool-Chic."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sweep import quantize_model as quantize_ours
from sweep.official import quantize_model
from tests.workers.codec.formats import stand_ins
from tests.workers.codec.formats.files import FILES
from workers.codec import read_frame
from workers.codec.formats.official import read_official
from workers.errors import InputError, MismatchError

SAMPLES = [name for name in FILES if name != "before-3.4.1"]


def load(name: str) -> tuple[Any, Any, Any]:
    """Frame encoder, frame and manager, which 5 has not."""
    encoder = stand_ins.FrameEncoder(FILES[name].read_bytes())
    frame = stand_ins.make_frame(read_frame(FILES[name].parent / "frame.png").data.tensors[0])
    if name.endswith("5.0.1"):
        return encoder, frame, None
    lmbda = json.loads((FILES[name].parent / "choice.json").read_text())["lmbda"]
    manager = SimpleNamespace(lmbda=lmbda, total_training_time_sec=10.0)
    if name.endswith("4.2.1"):
        manager.dist_weight = {"mse": 1.0}
    return encoder, frame, manager


@pytest.mark.parametrize("name", SAMPLES)
def test_the_objects_come_back_as_the_official_sweep_leaves_them(name: str) -> None:
    encoder, frame, manager = load(name)
    (state,) = read_official(FILES[name].read_bytes()).states.values()

    if manager is None:
        back = quantize_model(frame_encoder=encoder, frame=frame, dist_weight={"mse": 1.0}, lmbda=0.001)
        timed = encoder.encoder_monitor
    else:
        back = quantize_model(encoder, frame, manager)
        timed = manager

    assert back is encoder
    assert encoder.evaluates
    assert timed.total_training_time_sec > 10
    coolchic = encoder.coolchic_encoder if name.endswith("3.4.1") else encoder.coolchic_enc["residue"]
    for module, pair in state.q_steps.items():
        of_module = [
            getattr(values, module) if manager is None else SimpleNamespace(**values[module])
            for values in (coolchic.nn_q_step, coolchic.nn_expgol_cnt)
        ]
        steps, counts = of_module
        assert stand_ins.is_0_d(steps.weight)
        assert stand_ins.is_0_d(steps.bias)
        assert (steps.weight, steps.bias) == pair
        assert (counts.weight, counts.bias) == state.expgol_cnts[module]
        assert type(counts.weight) is type(counts.bias) is int
        for key, value in getattr(coolchic, module).get_param().items():
            step = pair.weight if ".weight" in key else pair.bias
            full = state.full_precision[f"{module}.{key}"].read()
            assert torch.equal(value, torch.round(full / step) * step)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("name", ["lop-3.4.1", "lop-5.0.1"])
def test_on_ray_the_objects_come_back_the_same(name: str) -> None:
    encoders = []
    for replicas in (None, 2):
        encoder, frame, manager = load(name)
        options: dict[str, Any] = {"dist_weight": {"mse": 1.0}, "lmbda": 0.001} if manager is None else {}
        quantize_model(encoder, frame, manager, replicas=replicas, **options)
        encoders.append(encoder.coolchic_encoder if name.endswith("3.4.1") else encoder.coolchic_enc["residue"])
    here, on_ray = encoders
    for module in ("arm", "synthesis", "upsampling"):
        for key, value in getattr(here, module).get_param().items():
            assert torch.equal(value, getattr(on_ray, module).get_param()[key])


def test_other_objects_are_refused_with_the_reason() -> None:
    encoder, frame, manager = load("lop-4.2.1")
    cases: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("an attribute coolchic_encoder or coolchic_enc", (object(), frame, manager), {}),
        ("frame_encoder_manager is missing", (encoder, frame), {}),
        (
            "trained for a perceptual distance",
            (encoder, frame, SimpleNamespace(lmbda=1, dist_weight={"vgg": 1})),
            {},
        ),
        ("lmbda is missing", load("lop-5.0.1")[:2], {"dist_weight": {"mse": 1.0}}),
        ("trained for a perceptual", load("lop-5.0.1")[:2], {"dist_weight": {"mse": 0.2, "w": 0.8}, "lmbda": 0.1}),
    ]
    for reason, arguments, keywords in cases:
        with pytest.raises(InputError, match=reason):
            quantize_model(*arguments, **keywords)
    encoder.frame_type = "P"
    with pytest.raises(InputError, match="I frames are supported; found type 'P'"):
        quantize_model(encoder, frame, manager)


def test_a_frame_of_another_size_is_refused() -> None:
    encoder, frame, manager = load("lop-4.2.1")
    frame.data.data = frame.data.data[..., 1:]
    with pytest.raises(MismatchError, match="88×56 rgb 8 bits; the frame is 87×56"):
        quantize_model(encoder, frame, manager)


def test_the_function_for_our_own_objects_says_where_to_go() -> None:
    with pytest.raises(InputError, match=r"there is sweep\.official\.quantize_model"):
        quantize_ours(*load("lop-4.2.1"))
