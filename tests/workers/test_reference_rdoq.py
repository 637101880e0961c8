"""The plain refinement of integers: those of Cool-Chic 5.0.1, one for one."""

import json

import pytest
import safetensors.torch
import torch

from tests.cases import CASES_5, load_case
from workers.candidates import Choice
from workers.codec.quantization import apply_choices
from workers.reference_rdoq import reference_rdoq

# In the other cases it depends on the last digit of torch's convolutions, and so on the processor.
NAMES = ["astronaut_64x96_lop", "coffee_64x96_yuv420_lop", "astronaut_20x198_ifce35"]


@pytest.mark.parametrize("name", NAMES)
def test_integers_and_loss_are_those_of_the_reference(name: str) -> None:
    case = load_case(name, CASES_5)
    rdoq = json.loads((case.folder / "choice.json").read_text())["rdoq"]

    refined = reference_rdoq(
        case.frame_encoder, case.frame, case.manager.lmbda, case.choices(), rdoq["torch_manual_seed"]
    )

    state = case.frame_encoder.state_dict()
    expected = safetensors.torch.load_file(case.folder / "rdoq.safetensors")
    assert all(torch.equal(state[key], value) for key, value in expected.items())
    assert refined.loss == pytest.approx(rdoq["loss"], rel=1e-5)
    assert refined.scores["residue.arm"] == rdoq["evaluations"]["score_arm"]
    assert refined.scores["residue.synthesis"] == rdoq["evaluations"]["score_syn_image"]


def test_its_choices_give_the_same_networks_again() -> None:
    case = load_case(NAMES[0], CASES_5)
    again = load_case(NAMES[0], CASES_5).frame_encoder

    refined = reference_rdoq(case.frame_encoder, case.frame, case.manager.lmbda, case.choices(), seed=0)
    apply_choices(again, {name: Choice.from_json(choice.to_json()) for name, choice in refined.choices.items()})

    state, same = case.frame_encoder.state_dict(), again.state_dict()
    assert all(torch.equal(state[key], same[key]) for key in state)


@pytest.mark.parametrize(
    ("integers", "message"),
    [
        ([1, 2], "mlp.0.weight has 64 parameters; the choice has 2 integers"),
        ([65536] * 64, "an integer of mlp.0.weight exceeds 65535 in magnitude"),
    ],
)
def test_integers_of_another_network_are_refused(integers: list[int], message: str) -> None:
    case = load_case(NAMES[0], CASES_5)
    choice = case.choice("residue.arm")
    own = {name: value.numel() for name, value in case.frame_encoder.get_network_parameters("residue.arm").items()}
    wrong = Choice(
        *(getattr(choice, name) for name in list(choice.__dataclass_fields__)[:-1]),
        {
            **{name: [0] * n for name, n in own.items()},
            "mlp.0.weight": integers,
        },
    )

    with pytest.raises(ValueError, match=message):
        apply_choices(case.frame_encoder, {"residue.arm": wrong})
