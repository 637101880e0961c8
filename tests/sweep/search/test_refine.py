"""Refinement of choices: what it finds, and that it depends on no interruption and no order."""

import pickle

import pytest
import torch

from sweep.config.refining import RefineMode, RefineOptions
from sweep.search.refine.account import BitAccount, code_bits
from sweep.search.refine.refinement import FrameRefinement, refinement
from tests.making import make_choice, make_frame, make_frame_encoder
from tests.making_5 import make_frame_encoder_5
from workers.candidates import Choice, Choices, Counts, QStepPair
from workers.codec import Frame, FrameEncoder
from workers.codec.family import FAMILIES
from workers.measure.moves.frame_moves import FrameMoves
from workers.moves import Change
from workers.objective.network_rate import EXPGOL_COUNTS, best_count, exp_golomb_bit
from workers.source import FrameInfo

LMBDA = 0.01
SHORT = RefineOptions(passes=1)


def tiny() -> FrameEncoder:
    return make_frame_encoder("3-1-linear-relu,3-3-linear-none", n_grids=2)


def tiny_5() -> FrameEncoder:
    return make_frame_encoder_5(
        layers_synthesis=["3-1-linear-relu", "3-3-linear-none"],
        latent_resolution=[0, 1],
        hyperlatent_resolution=[1, 1],
        ifce_resolution=[0, 1],
        output_feature_ifce=1,
        spatial_context_arm=3,
    )


class Small:
    """A small frame whose networks are all quantized with one pair."""

    def __init__(self, encoder: FrameEncoder) -> None:
        self.encoder = encoder
        self.frame: Frame = make_frame(encoder)
        pair = QStepPair(2.0**-5, 2.0**-5)
        self.choices: dict[str, Choice] = {}
        for spec in encoder.networks:
            bias = 1.0 if "bias" in spec.ignored else pair.bias
            self.choices[spec.id] = make_choice(encoder, spec.id, QStepPair(pair.weight, bias))
        frame = self.frame
        self.info = FrameInfo(
            *frame.img_size, LMBDA, frame.frame_data_type, frame.bitdepth, networks=encoder.networks
        )
        # Its own pair, and one with coarser weights.
        self.grid = {
            name: (choice.q_step, QStepPair(choice.q_step.weight * 2, choice.q_step.bias))
            for name, choice in self.choices.items()
        }

    def moves(self) -> FrameMoves:
        return FrameMoves(self.encoder, self.frame, LMBDA)

    def refinement(self, mode: RefineMode, options: RefineOptions = SHORT) -> FrameRefinement:
        return refinement(mode, self.info, self.grid, self.choices, options)


def run(search: FrameRefinement, moves: FrameMoves) -> FrameRefinement:
    search.advance(moves, 1e9)
    assert search.finished
    assert not search.pieces
    return search


def outcome(search: FrameRefinement) -> object:
    """All but the time that it took."""
    trials = [trial._replace(seconds=0.0) for trial in search.trials]
    return dict(search.choices), trials, search.loss_before, search.loss_after


@pytest.fixture(scope="module", params=[tiny, tiny_5], ids=["3.4", "5"])
def small(request: pytest.FixtureRequest) -> Small:
    return Small(request.param())


@pytest.fixture(scope="module")
def joint(small: Small) -> FrameRefinement:
    return run(small.refinement("joint"), small.moves())


# --- bits


@pytest.mark.parametrize("family", ["coolchic-3.4", "coolchic-5"])
def test_bits_are_those_of_the_codes(family: str) -> None:
    rule = FAMILIES[family].exp_golomb
    for magnitude in (0, 1, 2, 3, 7, 8, 100, 4095, 4096, 65535):
        value = torch.tensor([float(magnitude)])
        assert list(code_bits(magnitude, rule)) == exp_golomb_bit(value, EXPGOL_COUNTS, rule)
    account = BitAccount({"weight": [5, -3, 0, 40], "bias": [1]}, rule, None)
    move = (Change("weight", 3, 2), Change("bias", 0, -9))
    after = account.after(move)
    account.accept(move)
    expected = [best_count(torch.tensor(values), rule) for values in ([5.0, -3, 0, 2], [-9.0])]
    assert account.counts == Counts(*(count for count, _ in expected))
    assert account.total == after == sum(bits for _, bits in expected)
    for value in (-40, -1, 0, 7, 8, 9, 1000):
        cheaper = account.cheaper("weight", value)
        bits = code_bits(abs(cheaper), rule)[account.count("weight")]
        assert cheaper == value or (abs(cheaper) < abs(value) and cheaper * value >= 0)
        assert cheaper == value or bits < code_bits(abs(value), rule)[account.count("weight")]


# --- what it finds


def test_the_loss_falls_and_is_that_of_the_plain_arithmetic(small: Small, joint: FrameRefinement) -> None:
    assert joint.loss_before is not None
    assert joint.loss_after is not None
    assert joint.loss_after < joint.loss_before * 0.99
    assert joint.loss_before == small.moves().loss(small.choices)
    assert joint.loss_after == small.moves().loss(joint.choices)
    chosen = {trial.network: trial for trial in joint.trials if trial.chosen}
    for network, choice in joint.choices.items():
        if network in chosen:
            assert (choice.q_step, choice.expgol_cnt) == (chosen[network].q_step, chosen[network].expgol_cnt)
        else:
            assert choice == small.choices[network]


def test_bits_of_refined_choices_are_those_of_their_integers(small: Small, joint: FrameRefinement) -> None:
    rule = small.encoder.family.exp_golomb
    for spec in small.encoder.networks:
        choice = joint.choices[spec.id]
        integers = choice.integers or small.moves().rounded(spec.id, choice.q_step) or {}
        weight, bias = (
            best_count(torch.tensor([float(v) for name in names for v in integers[name]]), rule)
            for names in (spec.weights, spec.biases)
        )
        assert (choice.expgol_cnt.weight, choice.rate_weight_bit) == weight
        assert (choice.expgol_cnt.bias, choice.rate_bias_bit) == bias


def test_rdoq_keeps_steps_and_counts(small: Small, joint: FrameRefinement) -> None:
    rdoq = run(small.refinement("rdoq"), small.moves())

    assert rdoq.loss_before is not None
    assert rdoq.loss_after is not None
    assert joint.loss_after is not None
    assert joint.loss_after < rdoq.loss_after < rdoq.loss_before
    for network, choice in rdoq.choices.items():
        assert choice.q_step == small.choices[network].q_step
        assert choice.expgol_cnt == small.choices[network].expgol_cnt


class Misjudging(FrameMoves):
    """Its plain arithmetic finds everything worse than the sweep's choices."""

    swept: Choices

    def loss(self, choices: Choices) -> float:
        return 1.0 if dict(choices) == self.swept else 2.0


def test_it_is_never_worse_than_the_sweep_by_the_plain_arithmetic(small: Small) -> None:
    moves = Misjudging(small.encoder, small.frame, LMBDA)
    moves.swept = small.choices

    search = run(small.refinement("rdoq"), moves)

    assert search.choices == small.choices
    assert search.loss_after == search.loss_before == 1.0


# --- what it does not depend on


def test_neither_kills_nor_replicas_nor_the_kernel_change_it(small: Small, joint: FrameRefinement) -> None:
    search = small.refinement("joint")
    several = [small.moves(), FrameMoves(small.encoder, small.frame, LMBDA, compiled=False)]
    turn = 0
    while not search.finished:
        piece = search.pieces[-1]  # the last one first, one group of parameters at a time; told twice
        while not piece.finished:
            turn += 1
            piece = pickle.loads(pickle.dumps(piece))
            piece.advance(several[turn % 20 == 0], 0)
        search = pickle.loads(pickle.dumps(search))
        search.tell(piece)
        search.tell(piece)

    assert outcome(search) == outcome(joint)


def test_another_pass_is_made_while_it_gains() -> None:
    small = Small(tiny())
    once = run(small.refinement("joint"), small.moves())
    never = run(small.refinement("joint", RefineOptions(passes=3, tolerance=0.99)), small.moves())
    again = run(small.refinement("joint", RefineOptions(passes=2, tolerance=0.0)), small.moves())

    assert outcome(never) == outcome(once)
    assert once.loss_after is not None
    assert again.loss_after is not None
    assert again.loss_after <= once.loss_after
    assert {trial.number for trial in again.trials} == {0, 1}


def test_choices_are_those_of_the_sweep_until_something_is_found(small: Small) -> None:
    search = small.refinement("joint")

    assert search.choices == small.choices
    assert search.loss_before is None
    assert search.loss_after is None
    assert not search.trials
