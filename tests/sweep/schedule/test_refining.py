"""Refinement in the schedule: pieces side by side, resumed where they were, whatever is lost."""

import copy
import pickle
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.config import make_grid, search_factory
from sweep.schedule import (
    Call,
    CallDone,
    CallFailed,
    CallProgressed,
    Encode,
    Event,
    FrameEnded,
    FrameRefining,
    FrameSwept,
    Measure,
    Open,
    Quantize,
    Refine,
    RefinementState,
    ReplicaLost,
    ReplicaReady,
    Schedule,
    Task,
)
from tests.making import make_param
from workers.answers import EncodedAnswer, QuantizedAnswer
from workers.bitstream import SectionBytes
from workers.candidates import Choice, Choices, Counts, Measured, Measurement, QStepPair, Trial
from workers.errors import ReplicaError, SearchError
from workers.moves import MoveEvaluator, Piece
from workers.source import FrameInfo

NETWORKS = make_param().networks
GRID = make_grid({spec.module: {"weight": [0.25, 0.5], "bias": [1]} for spec in NETWORKS})
INFO = FrameInfo(4, 4, 1e-3, "rgb", 8, networks=NETWORKS)
STEPS = 3
SEARCH_OF = search_factory("full", GRID)
PAIRS_A_NETWORK = 3


class StandInPiece:
    """A few steps of work, whose outcome depends on each of them."""

    def __init__(self, network: str, number: int) -> None:
        self.name = f"{network} {number}"
        self.network, self.number = network, number
        self.steps: list[int] = []

    @property
    def finished(self) -> bool:
        return len(self.steps) == STEPS

    def advance(self, evaluator: MoveEvaluator, seconds: float) -> None:  # noqa: ARG002
        self.steps.append(len(self.steps) * 7 + self.number)


class StandInRefinement:
    """Network after network, several pieces side by side; the last network has none where ``stuck``."""

    nested = True
    loss_before, loss_after = 2.0, 1.0

    def __init__(self, choices: Choices, *, stuck: bool = False, forgetful: bool = False) -> None:
        self._choices = dict(choices)
        self._todo = list(choices)
        self._told: dict[str, StandInPiece] = {}
        self._trials: list[Trial] = []
        self._stuck, self._forgetful = stuck, forgetful

    @property
    def pieces(self) -> Sequence[Piece]:
        if not self._todo or (self._stuck and len(self._todo) == 1):
            return []
        pieces = [StandInPiece(self._todo[0], number) for number in range(PAIRS_A_NETWORK)]
        return [piece for piece in pieces if piece.name not in self._told]

    @property
    def finished(self) -> bool:
        return not self._todo

    @property
    def choices(self) -> Mapping[str, Choice]:
        kept = list(self._choices.values())[1 if self._forgetful else 0 :]
        return {choice.network: choice for choice in kept}

    @property
    def trials(self) -> Sequence[Trial]:
        return self._trials

    def tell(self, piece: Piece) -> None:
        assert isinstance(piece, StandInPiece)
        assert piece.finished
        self._told[piece.name] = piece
        if self.pieces or self._stuck:
            return
        network = self._todo.pop(0)
        told = [self._told[f"{network} {number}"] for number in range(PAIRS_A_NETWORK)]
        before = self._choices[network]
        integers = {"all": [step for each in told for step in each.steps]}
        self._choices[network] = Choice(network, before.q_step, before.expgol_cnt, 1, 1, integers)
        for each in told:
            counts = Counts(1, 1)
            trial = Trial(network, QStepPair(1, 1), each.number, counts, 2.0, 1.0, 0, len(each.steps), 1, 0.0)
            self._trials.append(trial)

    def advance(self, evaluator: MoveEvaluator, seconds: float) -> None:  # noqa: ARG002
        raise AssertionError("the schedule hands out pieces")


def refinement_of(info: FrameInfo, choices: Choices) -> StandInRefinement:
    assert info.networks == NETWORKS
    return StandInRefinement(choices)


def answer(call: Call) -> object:
    work = call.work
    if isinstance(work, Open):
        return INFO
    if isinstance(work, Measure):
        numbers = Measured(Counts(1, 2), 10, 20, 30, 40.0, 0.5, 1.0, 0.5)
        losses = (1.0 + candidate.edit.weight for candidate in work.request.candidates)
        return [
            Measurement(candidate, "ok", numbers._replace(loss=loss))
            for candidate, loss in zip(work.request.candidates, losses, strict=True)
        ]
    if isinstance(work, Refine):
        piece = pickle.loads(pickle.dumps(work.piece))  # as it arrives on a replica
        while not piece.finished:
            piece.advance(None, 0.0)
        return piece
    quantized = QuantizedAnswer(b"quantized", (1.0,))
    if isinstance(work, Quantize):
        assert work.measured
        return quantized
    assert isinstance(work, Encode)
    return EncodedAnswer(quantized, b"file", SectionBytes(1, 2, 3), 0.5, 0.5)


class Job:
    """A schedule that is played, with all that it said."""

    def __init__(
        self,
        tasks: list[Task],
        replicas: int,
        *,
        tries: int = 3,
        bitstream: str | None = None,
        refine: Callable[[FrameInfo, Choices], StandInRefinement] | None = refinement_of,
    ) -> None:
        self.schedule = Schedule(tasks, SEARCH_OF, tries=tries, bitstream=bitstream, refinement_of=refine)
        self.calls: list[Call] = []
        self.open: dict[int, Call] = {}
        self.ended: dict[str, FrameEnded] = {}
        self.swept: dict[str, FrameSwept] = {}
        self.states: dict[str, RefinementState] = {}
        self.retired: list[str] = []
        for number in range(replicas):
            self.send(ReplicaReady(f"r{number}"))

    def send(self, event: Event) -> None:
        for instruction in self.schedule.handle(event):
            if isinstance(instruction, Call):
                self.calls.append(instruction)
                self.open[instruction.id] = instruction
            elif isinstance(instruction, FrameEnded):
                assert instruction.frame not in self.ended, "a frame ends once"
                self.ended[instruction.frame] = instruction
            elif isinstance(instruction, FrameSwept):
                assert instruction.frame not in self.swept, "a frame is swept once"
                self.swept[instruction.frame] = instruction
            elif isinstance(instruction, FrameRefining):
                self.states[instruction.frame] = copy.deepcopy(instruction.state)
            else:
                self.retired.append(instruction.replica)
        self.schedule.check_invariants()
        while self.retired:
            self.send(ReplicaLost(name := self.retired.pop(), "retired"))
            self.send(ReplicaReady(f"{name}+"))

    def end(self, call: Call, event: Event) -> None:
        del self.open[call.id]
        self.send(event)

    def progress(self, call: Call, steps: int) -> None:
        """A replica reports how far a piece is."""
        assert isinstance(call.work, Refine)
        piece = copy.deepcopy(call.work.piece)
        assert isinstance(piece, StandInPiece)
        while len(piece.steps) < min(steps, STEPS - 1):
            piece.advance(None, 0.0)  # type: ignore[arg-type]
        self.send(CallProgressed(call.id, piece))

    def finish(self, until: Callable[[Call], bool] = lambda _: False) -> None:
        """Answer calls in order, until the job is finished or a call is one of those wanted."""
        while not self.schedule.finished:
            call = next(iter(self.open.values()))
            if until(call):
                return
            self.end(call, CallDone(call.id, answer(call), 1.0))


def outcome(ended: dict[str, FrameEnded]) -> dict[str, object]:
    return {name: (frame.status, frame.choices, frame.refined) for name, frame in ended.items()}


def is_refining(call: Call) -> bool:
    return isinstance(call.work, Refine)


TASKS = [Task("a"), Task("b"), Task("c")]


@settings(max_examples=100)
@given(
    seed=st.integers(0, 2**32),
    replicas=st.integers(1, 9),
    disturbances=st.integers(0, 60),
    bitstream=st.sampled_from([None, "qsw"]),
)
def test_any_order_loss_and_resumption_gives_the_same(
    seed: int, replicas: int, disturbances: int, bitstream: str | None
) -> None:
    plain = Job(TASKS, 1)
    plain.finish()
    job = Job(TASKS, replicas, tries=10**6, bitstream=bitstream)
    order, names = random.Random(seed), iter(f"n{number}" for number in range(10**6))
    while not job.schedule.finished:
        call = order.choice(list(job.open.values()))
        kind = order.randrange(4) if disturbances > 0 else 3
        disturbances -= 1
        if kind == 0:  # its replica dies, and a late answer of the dead one still arrives
            job.end(call, ReplicaLost(call.replica, "killed"))
            job.send(CallDone(call.id, answer(call), 1.0))
            job.send(ReplicaReady(next(names)))
        elif kind == 1:
            job.end(call, CallFailed(call.id, MemoryError("no room"), final=False))
        elif kind == 2 and is_refining(call):
            job.progress(call, order.randrange(STEPS))
        else:
            job.end(call, CallDone(call.id, answer(call), 1.0))
    assert outcome(job.ended) == outcome(plain.ended)
    for frame in job.ended.values():
        assert frame.refined is not None
        assert all(choice.integers for choice in frame.refined.choices.values())
        assert not any(choice.integers for choice in frame.choices.values()), "the sweep's stay as they were"


def test_pieces_of_a_frame_are_worked_at_side_by_side() -> None:
    job = Job([Task("a")], 4)
    job.finish(is_refining)
    assert len([call for call in job.open.values() if is_refining(call)]) == PAIRS_A_NETWORK


def test_some_frames_are_refined_while_others_are_swept() -> None:
    job = Job([Task("a"), Task("b"), Task("c"), Task("d")], 2)
    busy = Counter[frozenset[str]]()
    while not job.schedule.finished:
        busy[frozenset(type(call.work).__name__ for call in job.open.values())] += 1
        order = sorted(job.open.values(), key=lambda call: (call.replica == "r0", call.id))
        job.end(order[0], CallDone(order[0].id, answer(order[0]), 1.0))
        assert len(job.open) == 2 or not job.schedule._open, "no replica waits while there is work"
    assert busy[frozenset({"Refine", "Open"})] or busy[frozenset({"Refine", "Measure"})]


def test_a_lost_piece_is_resumed_where_it_was_reported_last() -> None:
    job = Job([Task("a")], 1)
    job.finish(is_refining)
    (call,) = job.open.values()
    job.progress(call, 2)
    job.end(call, ReplicaLost(call.replica, "killed"))
    job.send(ReplicaReady("other"))
    (again,) = job.open.values()
    assert isinstance(again.work, Refine)
    assert isinstance(again.work.piece, StandInPiece)
    assert len(again.work.piece.steps) == 2


def test_a_frame_whose_piece_is_lost_too_often_fails_but_not_one_that_makes_progress() -> None:
    for progresses in (False, True):
        job = Job([Task("a")], 1, tries=3)
        job.finish(is_refining)
        for number in range(5):
            if job.schedule.finished:
                break
            (call,) = job.open.values()
            if progresses:
                job.progress(call, 1)
            job.end(call, ReplicaLost(call.replica, "killed"))
            job.send(ReplicaReady(f"n{number}"))
        if progresses:
            job.finish()
            assert job.ended["a"].status == "done"
        else:
            assert job.ended["a"].status == "failed"
            assert isinstance(job.ended["a"].error, ReplicaError)
            assert job.ended["a"].rows, "what was measured is kept"
            assert job.ended["a"].refined is None
            assert job.ended["a"].sweep_seconds is not None


@pytest.mark.parametrize("bitstream", [None, "qsw"])
def test_a_job_that_ended_is_resumed_with_what_was_kept(bitstream: str | None) -> None:
    whole = Job([Task("a")], 2, bitstream=bitstream)
    whole.finish()
    for n_refined in range(1, len(NETWORKS) * PAIRS_A_NETWORK + 1):
        job = Job([Task("a")], 2, bitstream=bitstream)
        while sum(is_refining(call) for call in job.calls) - sum(map(is_refining, job.open.values())) < n_refined:
            refining = [call for call in job.open.values() if is_refining(call)]
            if refining:
                job.progress(refining[-1], 1)
            call = next(iter(job.open.values()))
            job.end(call, CallDone(call.id, answer(call), 1.0))
        resumed = Job([Task("a", swept=job.swept["a"], refinement=job.states["a"])], 2, bitstream=bitstream)
        resumed.finish()
        assert outcome(resumed.ended) == outcome(whole.ended)
        works = Counter(type(call.work).__name__ for call in resumed.calls)
        assert works["Measure"] == 0
        assert works["Refine"] == len(NETWORKS) * PAIRS_A_NETWORK - n_refined


def test_a_frame_that_was_swept_is_only_refined_and_one_that_is_not_refined_any_more_only_quantized() -> None:
    job = Job([Task("a")], 2)
    job.finish()
    works = {}
    for refine in (refinement_of, None):
        bitstream = "qsw" if refine is None else None
        again = Job([Task("a", swept=job.swept["a"])], 2, refine=refine, bitstream=bitstream)
        again.finish()
        works[refine] = [type(call.work).__name__ for call in again.calls]
    assert works[refinement_of] == ["Open", *["Refine"] * len(NETWORKS) * PAIRS_A_NETWORK, "Quantize"]
    assert works[None] == ["Encode"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"stuck": True}, "not finished, and has no pieces"),
        ({"forgetful": True}, f"without a choice for {NETWORKS[0].id}"),
    ],
)
def test_a_refinement_that_cannot_end_fails_its_frame_alone(option: dict[str, bool], message: str) -> None:
    made = iter([option, {}])
    job = Job([Task("a"), Task("b")], 1, refine=lambda _, choices: StandInRefinement(choices, **next(made)))
    job.finish()
    assert job.ended["a"].status == "failed"
    assert isinstance(job.ended["a"].error, SearchError)
    assert message in str(job.ended["a"].error)
    assert job.ended["b"].status == "done"
