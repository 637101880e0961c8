"""Costs of moves: the compiled kernel's are torch's, bit for bit, and about those of the plain arithmetic."""

import random
from collections.abc import Callable

import pytest
import torch

from tests.making import make_choice, make_frame, make_frame_encoder
from tests.making_5 import make_frame_encoder_5
from workers.candidates import KINDS, Choice, QStepPair
from workers.codec import FrameEncoder
from workers.codec.network import Effect
from workers.codec.quantization import apply_choices
from workers.errors import MismatchError
from workers.measure.kernel.library import builds
from workers.measure.moves import frame_moves
from workers.measure.moves.frame_moves import FrameMoves
from workers.measure.moves.kernel.library import open_build
from workers.measure.moves.picture_source import PictureSource
from workers.moves import Change, Integers, Move
from workers.objective.loss import loss_function

LMBDA = 1e-3
PAIR = QStepPair(2.0**-6, 2.0**-7)

ENCODERS: dict[str, Callable[[], FrameEncoder]] = {
    "rgb": lambda: make_frame_encoder("6-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none"),
    "a kernel of 5, odd yuv420": lambda: make_frame_encoder(
        "4-5-linear-relu,3-3-linear-none", img_size=(13, 17), frame_data_type="yuv420"
    ),
    "no hidden layer, several features, 10 bits": lambda: make_frame_encoder(
        n_hidden_layers_arm=0, n_ft_per_res=(0, 1, 2), release="4.2.1", bitdepth=10
    ),
    "features and stabilisers": make_frame_encoder_5,
    "means of chroma": lambda: make_frame_encoder_5(img_size=(21, 18), frame_data_type="yuv420"),
    "resized": lambda: make_frame_encoder_5(latent_resolution=[1, 3], hyperlatent_resolution=None),
    "noise": lambda: make_frame_encoder_5(flag_common_randomness=True),
}


@pytest.fixture(params=list(ENCODERS))
def encoder(request: pytest.FixtureRequest) -> FrameEncoder:
    return ENCODERS[request.param]()


def some_moves(encoder: FrameEncoder, network: str, integers: Integers, rng: random.Random) -> list[Move]:
    """Moves of one to three integers, the same for the same state of the generator."""
    (spec,) = (spec for spec in encoder.networks if spec.id == network)
    values = {kind: [v for name in spec.names(kind) for v in integers[name]] for kind in KINDS}
    places = [(kind, i) for kind in KINDS for i in range(len(values[kind]))]
    return [
        tuple(
            Change(kind, i, values[kind][i] + rng.choice((-3, -1, 1, 2)))
            for kind, i in rng.sample(places, rng.randint(1, 3))
        )
        for _ in range(8)
    ]


def choices_of(encoder: FrameEncoder) -> dict[str, Choice]:
    return {spec.id: make_choice(encoder, spec.id, PAIR) for spec in encoder.networks}


@pytest.mark.parametrize("build", builds())
def test_every_build_gives_torchs_costs(encoder: FrameEncoder, build: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = open_build(build)
    if library is None:
        pytest.skip("there is no such build")
    monkeypatch.setattr(frame_moves, "load", lambda: library)
    frame, choices = make_frame(encoder), choices_of(encoder)
    kernel = FrameMoves(encoder, frame, LMBDA)
    plain = FrameMoves(encoder, frame, LMBDA, compiled=False)
    for spec in encoder.networks:
        integers = kernel.rounded(spec.id, PAIR)
        assert integers is not None
        ours, theirs = (moves.open(spec.id, PAIR, integers, choices) for moves in (kernel, plain))
        assert ours.cost == theirs.cost
        moves = some_moves(encoder, spec.id, integers, random.Random(0))
        expected = theirs.measure(moves)
        assert ours.measure(moves) == expected
        assert len(set(expected)) > 1
        assert ours.screen(moves) == theirs.screen(moves)
        for i in (0, 1):  # the second one stands on the first one
            ours.accept(moves[i])
            theirs.accept(moves[i])
            assert ours.cost == theirs.cost
        assert ours.measure(moves[2:]) == theirs.measure(moves[2:])


def test_costs_are_about_those_of_the_plain_arithmetic(encoder: FrameEncoder) -> None:
    frame, choices = make_frame(encoder), choices_of(encoder)
    moves = FrameMoves(encoder, frame, LMBDA)
    costs = {}
    for spec in encoder.networks:
        integers = moves.rounded(spec.id, PAIR)
        assert integers is not None
        opened = moves.open(spec.id, PAIR, integers, choices)
        costs[spec.effect] = opened.cost * opened.unit

    apply_choices(encoder, choices)
    with torch.inference_mode():
        loss, mse, bits, _ = loss_function(*encoder(), frame.data, LMBDA)

    price = LMBDA / (frame.img_size[0] * frame.img_size[1])
    assert costs[Effect.PICTURE] == pytest.approx(mse.item(), rel=2e-3)
    assert costs[Effect.RATE] == pytest.approx(bits.item() * price, rel=1e-3)
    rate_nn_bit = sum(choice.rate_bit for choice in choices.values())
    assert moves.loss(choices) == pytest.approx(loss.item() + price * rate_nn_bit)


def test_large_frames_are_estimated_from_a_part_of_them() -> None:
    encoder = make_frame_encoder(img_size=(260, 260))
    frame, choices = make_frame(encoder), choices_of(encoder)
    source = PictureSource(encoder, frame)
    assert 0 < source.poll_ratio[1] < source.poll_ratio[0] == 260
    for spec in encoder.networks[:2]:
        opened = FrameMoves(encoder, frame, LMBDA).open(
            spec.id, PAIR, FrameMoves(encoder, frame, LMBDA).rounded(spec.id, PAIR) or {}, choices
        )
        moves: list[Move] = [(Change("bias", 0, 40),)]
        for estimate, cost in zip(opened.screen(moves), opened.measure(moves), strict=True):
            assert estimate == pytest.approx(cost - opened.cost, rel=0.5)


def test_what_cannot_be_summed_up_exactly_is_an_overflow() -> None:
    encoder = make_frame_encoder()
    moves = FrameMoves(encoder, make_frame(encoder), LMBDA)
    with torch.no_grad():
        next(encoder.synthesis.parameters()).fill_(3.0)
    changed = FrameMoves(encoder, make_frame(encoder), LMBDA)

    assert moves.rounded("residue.synthesis", QStepPair(2.0**-10, 1.0)) is not None
    assert changed.rounded("residue.synthesis", QStepPair(2.0**-30, 1.0)) is None


def test_a_frame_of_another_size_is_refused() -> None:
    encoder = make_frame_encoder()
    with pytest.raises(MismatchError):
        FrameMoves(encoder, make_frame(make_frame_encoder(img_size=(8, 8))), LMBDA)
