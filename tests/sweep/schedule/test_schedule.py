"""The state machine under every order of events: each row exactly once, and always the same choices."""

import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.config import make_grid, search_factory
from sweep.schedule import (
    Call,
    CallDone,
    CallFailed,
    Encode,
    Event,
    Fit,
    FrameEnded,
    FrameSwept,
    Measure,
    Open,
    Quantize,
    ReplicaLost,
    ReplicaReady,
    Retire,
    Schedule,
    SearchOf,
    Task,
)
from tests.cases import ARM, SYNTHESIS, UPSAMPLING
from tests.making import make_param
from workers.answers import EncodedAnswer, QuantizedAnswer
from workers.bitstream import SectionBytes
from workers.candidates import Candidate, Choice, Counts, Measured, Measurement, QStepPair, by_network
from workers.errors import FrameFileError, InfeasibleModuleError, ReplicaError, SearchError
from workers.search import Request
from workers.source import FrameInfo

GRID = make_grid(
    {
        ARM: {"weight": [0.25, 0.5, 1], "bias": [0.125, 0.25, 0.5, 1]},
        SYNTHESIS: {"weight": [0.5, 1], "bias": [0.25, 0.5, 1]},
        UPSAMPLING: {"weight": [0.25, 0.5, 1], "bias": [1]},
    }
)
N_PAIRS = 12 + 6 + 3
ONES = QStepPair(1, 1)
FULL, WINNER = (search_factory(mode, GRID) for mode in ("full", "winner"))
INFO = FrameInfo(4, 4, 1e-3, "rgb", 8, networks=make_param().networks)


def loss_of(frame: str, candidate: Candidate, base: tuple[Choice, ...], plain: bool) -> float:
    """A loss that depends on everything a call carries; in some frames it has near-ties and exact ties."""
    seed = repr((frame, candidate, [(choice.network, choice.q_step) for choice in base]))
    loss = 1.0 + random.Random(seed).randrange(1, 8)
    if frame.startswith("tie"):  # the engine sees pairs apart that the plain arithmetic finds to be equal
        loss = 2.0 + (0 if plain else 1e-6 * random.Random(seed).random())
    if frame == "tf32":  # the engine's order is that of nothing
        loss = 2.0 + 5e-3 * random.Random(seed + str(plain)).random()
    return loss


def row_of(call: Call, request: Request, candidate: Candidate) -> Measurement:
    if candidate.edit == ONES and candidate.network != UPSAMPLING:
        return Measurement(candidate, "overflow")
    if call.frame.startswith("infeasible") and candidate.network == SYNTHESIS:
        return Measurement(candidate, "non_finite")
    loss = loss_of(call.frame, candidate, request.base, request.plain)
    if request.best is not None and loss > request.best:
        return Measurement(candidate, "pruned", loss_lower_bound=loss)
    measured = Measured(Counts(1, 2), 10, 20, 30, 40.0, 0.5, loss, 0.5)
    return Measurement(candidate, "ok", measured, "plain" if request.plain else "staged")


def requests(calls: Iterable[Call], *, plain: bool = False) -> list[Request]:
    """Of the calls that measure candidates; those that the plain arithmetic is asked for, or the others."""
    found = [call.work.request for call in calls if isinstance(call.work, Measure)]
    return [request for request in found if request.plain is plain]


def network_of(request: Request) -> str:
    """The one network of its candidates."""
    (network,) = {candidate.network for candidate in request.candidates}
    return network


def answer(call: Call) -> Event:
    work = call.work
    if isinstance(work, Fit):
        return CallDone(call.id, b"fitted", 1.0)
    if isinstance(work, Open):
        if call.frame.startswith("bad"):
            return CallFailed(call.id, FrameFileError("empty"), final=True)
        if call.frame == "tf32":
            return CallDone(call.id, INFO._replace(height=512, width=512, precision="tf32"), 1.0)
        return CallDone(call.id, INFO, 1.0)
    if isinstance(work, Quantize):
        return CallDone(call.id, QuantizedAnswer(repr(work.choices).encode(), (30.0, 10.0)), 1.0)
    if isinstance(work, Encode):
        quantized = QuantizedAnswer(repr(work.choices).encode(), (30.0, 10.0))
        return CallDone(call.id, EncodedAnswer(quantized, b"file", SectionBytes(1, 2, 3), 0.5, 0.5), 1.0)
    assert isinstance(work, Measure)
    return CallDone(call.id, [row_of(call, work.request, each) for each in work.request.candidates], 1.0)


def run(
    tasks: list[Task],
    *,
    replicas: int = 2,
    pairs_per_call: int | str = "auto",
    search_of: SearchOf = FULL,
    bitstream: str | None = None,
    disturb: random.Random | None = None,
    disturbances: int = 0,
) -> tuple[dict[str, FrameEnded], list[Call]]:
    """Play a job to its end: calls are answered in a random order; some are lost, some answered twice."""
    schedule = Schedule(tasks, search_of, pairs_per_call=pairs_per_call, tries=10**6, bitstream=bitstream)  # type: ignore[arg-type]
    calls: list[Call] = []
    open_calls: dict[int, Call] = {}
    ended: dict[str, FrameEnded] = {}
    swept = {task.frame: task.swept for task in tasks if task.swept is not None}
    names = iter(f"r{n}" for n in range(10**6))
    retired: list[str] = []

    def send(event: Event) -> None:
        for instruction in schedule.handle(event):
            if isinstance(instruction, Call):
                assert all(call.replica != instruction.replica for call in open_calls.values())
                open_calls[instruction.id] = instruction
                calls.append(instruction)
            elif isinstance(instruction, Retire):
                assert all(call.replica != instruction.replica for call in open_calls.values())
                retired.append(instruction.replica)
            elif isinstance(instruction, FrameSwept):
                assert bitstream is not None
                assert instruction.frame not in swept, "a frame is swept once"
                swept[instruction.frame] = instruction
            else:
                assert instruction.frame not in ended, "a frame ends once"
                ended[instruction.frame] = instruction
                if bitstream is not None and instruction.status == "done":
                    assert swept[instruction.frame].rows == instruction.rows
        schedule.check_invariants()
        while retired:
            send(ReplicaLost(retired.pop(), "retired"))
            send(ReplicaReady(next(names)))

    for _ in range(replicas):
        send(ReplicaReady(next(names)))
    order = disturb or random.Random(0)
    while not schedule.finished:
        assert open_calls, "a job that is not finished has something under way"
        call = order.choice(list(open_calls.values()))
        kind = order.randrange(4) if disturbances > 0 and disturb else None
        disturbances -= 1
        if kind == 0:  # its replica dies, and a late answer of the dead one still arrives
            del open_calls[call.id]
            send(ReplicaLost(call.replica, "killed"))
            send(answer(call))
            send(ReplicaReady(next(names)))
        elif kind == 1:  # it fails for a reason of its own
            del open_calls[call.id]
            send(CallFailed(call.id, MemoryError("no room"), final=False))
        elif kind == 2:  # the same answer twice
            del open_calls[call.id]
            send(answer(call))
            send(answer(call))
        else:
            del open_calls[call.id]
            send(answer(call))
    return ended, calls


TASKS = [Task("plain"), Task("tie"), Task("fitted", needs_fit=True), Task("bad"), Task("infeasible"), Task("tie-2")]


def facts(ended: dict[str, FrameEnded]) -> dict[str, object]:
    """What must not depend on the order of events: everything but who measured a row, and for how long."""
    return {
        name: (frame.status, str(frame.error), [row for row, _ in frame.rows], frame.choices, frame.quantized)
        for name, frame in ended.items()
    }


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    replicas=st.integers(1, 9),
    pairs_per_call=st.sampled_from(["auto", 1, 2, 5, 1000]),
    disturbances=st.integers(0, 60),
    bitstream=st.sampled_from([None, "qsw"]),
)
def test_any_order_of_completion_loss_and_repetition_gives_the_same(
    seed: int, replicas: int, pairs_per_call: int | str, disturbances: int, bitstream: str | None
) -> None:
    undisturbed, _ = run(TASKS, replicas=1, bitstream=bitstream)
    ended, _ = run(
        TASKS,
        replicas=replicas,
        pairs_per_call=pairs_per_call,
        bitstream=bitstream,
        disturb=random.Random(seed),
        disturbances=disturbances,
    )
    assert facts(ended) == facts(undisturbed)


def test_a_bitstream_is_made_last_and_of_what_was_chosen() -> None:
    ended, calls = run([Task("plain")], bitstream="qsw")
    assert isinstance(calls[-1].work, Encode)
    assert by_network(calls[-1].work.choices) == ended["plain"].choices
    assert ended["plain"].encoded is not None
    assert not any(isinstance(call.work, Quantize) for call in calls)


def test_a_frame_that_was_swept_before_is_only_encoded() -> None:
    before, _ = run([Task("plain")], bitstream="qsw")
    whole = before["plain"]
    assert whole.info is not None
    swept = FrameSwept("plain", whole.info, whole.rows, whole.choices, 5.0)
    ended, calls = run([Task("plain", swept=swept)], bitstream="qsw")
    assert [type(call.work) for call in calls] == [Encode]
    assert facts(ended) == facts(before)
    assert ended["plain"].seconds == 6.0


def test_every_row_of_a_finished_frame_is_there_once_in_grid_order() -> None:
    ended, _ = run(TASKS)
    keys = [row.candidate for row, _ in ended["plain"].rows]
    assert keys == [(module, pair) for module, pairs in GRID.items() for pair in pairs]
    assert len(keys) == N_PAIRS


@pytest.mark.parametrize(("frame", "arithmetic"), [("plain", "staged"), ("tf32", "plain")])
def test_the_winner_is_the_first_smallest_loss_given_the_modules_before(frame: str, arithmetic: str) -> None:
    """In tf32 by the plain arithmetic, although the engine has the losses 0.25 % apart in another order."""
    ended, _ = run([Task(frame)])
    base: tuple[Choice, ...] = ()
    for network, pairs in GRID.items():
        feasible = [Candidate(network, p) for p in pairs if not (p == ONES and network != UPSAMPLING)]
        best = min(feasible, key=lambda each: loss_of(frame, each, base, plain=arithmetic == "plain"))
        assert ended[frame].choices[network].q_step == best.edit
        base = (*base, ended[frame].choices[network])


def test_near_ties_are_decided_by_one_plain_call_and_the_first_in_grid_order_wins() -> None:
    ended, calls = run([Task("tie")], replicas=3, pairs_per_call=1)
    plain = requests(calls, plain=True)
    assert [network_of(request) for request in plain] == [ARM, SYNTHESIS, UPSAMPLING]
    assert all(len(request.candidates) > 1 for request in plain)
    for network, pairs in GRID.items():
        assert ended["tie"].choices[network].q_step == pairs[0]
    assert {row.arithmetic for row, _ in ended["tie"].rows if row.status == "ok"} == {"plain"}


def test_no_plain_call_is_made_where_the_best_stands_alone() -> None:
    frame = next(name for name in (f"f{n}" for n in range(1000)) if _stands_alone(name))
    _, calls = run([Task(frame)])
    assert requests(calls, plain=True) == []


def _stands_alone(frame: str) -> bool:
    _, calls = run([Task(frame)])
    return not requests(calls, plain=True)


def test_one_pair_per_call_is_one_call_per_module_and_pair() -> None:
    _, calls = run([Task("plain"), Task("other")], replicas=4, pairs_per_call=1)
    measured = [
        (call.frame, candidate)
        for call in calls
        for request in requests([call])
        for candidate in request.candidates
    ]
    assert len(measured) == len(set(measured)) == 2 * N_PAIRS
    assert all(len(request.candidates) == 1 for request in requests(calls))


def test_auto_keeps_a_weight_step_together_and_gives_every_replica_a_share() -> None:
    _, calls = run([Task("plain")], replicas=2)
    arm = [(call, request) for call in calls for request in requests([call]) if network_of(request) == ARM]
    weights = [{candidate.edit.weight for candidate in request.candidates} for _, request in arm]
    assert sum(map(len, weights)) == 3, "no weight step is in two calls"
    assert len({call.replica for call, _ in arm}) == 2


def test_a_call_carries_the_choices_of_the_modules_before() -> None:
    ended, calls = run(TASKS)
    for call in calls:
        if isinstance(call.work, Measure):
            before = [network for network in GRID if network < network_of(call.work.request)]
            assert call.work.request.base == tuple(ended[call.frame].choices[network] for network in before)


def test_a_bad_frame_fails_alone_with_its_reason() -> None:
    ended, _ = run(TASKS)
    assert ended["bad"].status == "failed"
    assert isinstance(ended["bad"].error, FrameFileError)
    assert ended["bad"].rows == ()
    assert [name for name, frame in ended.items() if frame.status == "failed"] == ["bad", "infeasible"] or {
        name for name, frame in ended.items() if frame.status == "failed"
    } == {"bad", "infeasible"}


def test_a_module_without_a_feasible_pair_fails_its_frame_and_keeps_what_was_measured() -> None:
    ended, _ = run([Task("infeasible")])
    frame = ended["infeasible"]
    assert isinstance(frame.error, InfeasibleModuleError)
    assert "frame infeasible" in str(frame.error)
    assert "module synthesis" in str(frame.error)
    assert len(frame.rows) == 12 + 6
    assert list(frame.choices) == [ARM]


def test_a_frame_whose_calls_are_always_lost_is_given_up_and_the_others_go_on() -> None:
    schedule = Schedule([Task("cursed"), Task("plain")], FULL, tries=3)
    ended: dict[str, FrameEnded] = {}
    waiting: list[Call] = []
    names: Iterator[str] = iter(f"r{n}" for n in range(1000))

    def send(event: Event) -> None:
        for instruction in schedule.handle(event):
            if isinstance(instruction, Call):
                waiting.append(instruction)
            elif isinstance(instruction, FrameEnded):
                ended[instruction.frame] = instruction
        schedule.check_invariants()

    send(ReplicaReady(next(names)))
    while not schedule.finished:
        call = waiting.pop()
        if call.frame == "cursed" and isinstance(call.work, Measure):
            send(ReplicaLost(call.replica, "out of memory"))
            send(ReplicaReady(next(names)))
        else:
            send(answer(call))
    assert ended["plain"].status == "done"
    assert isinstance(ended["cursed"].error, ReplicaError)
    assert "3 lost calls" in str(ended["cursed"].error)
    assert "out of memory" in str(ended["cursed"].error)


def test_nothing_is_done_to_a_frame_before_its_fit() -> None:
    _, calls = run([Task("a"), Task("fitted", needs_fit=True)], replicas=3)
    of_fitted = [type(call.work) for call in calls if call.frame == "fitted"]
    assert of_fitted[:2] == [Fit, Open]
    assert of_fitted[-1] is Quantize


def test_no_replica_idles_while_another_frame_has_work() -> None:
    schedule = Schedule([Task(f"f{n}") for n in range(6)], FULL, pairs_per_call="auto")
    open_calls: dict[int, Call] = {}
    idle_rounds = 0
    for name in ("r0", "r1", "r2"):
        open_calls |= {c.id: c for c in schedule.handle(ReplicaReady(name)) if isinstance(c, Call)}
    ended = 0
    while not schedule.finished:
        call = open_calls.pop(min(open_calls))
        for instruction in schedule.handle(answer(call)):
            if isinstance(instruction, Call):
                open_calls[instruction.id] = instruction
            else:
                ended += 1
        idle_rounds += len(open_calls) < 3 and ended < 3
    assert idle_rounds == 0


def test_a_replica_stays_with_the_frame_it_holds_while_there_are_frames_enough() -> None:
    _, calls = run([Task(f"f{n}") for n in range(8)], replicas=2, pairs_per_call=2)
    by_replica: dict[str, list[str]] = {}
    for call in calls:
        by_replica.setdefault(call.replica, []).append(call.frame)
    switches = sum(a != b for frames in by_replica.values() for a, b in pairwise(frames))
    assert switches < 4 * len(by_replica) * 8 / 2


def test_ids_must_differ() -> None:
    schedule = Schedule([Task("a"), Task("a")], FULL)
    schedule.handle(ReplicaReady("r0"))
    with pytest.raises(ValueError, match="id of its own"):
        schedule.handle(ReplicaReady("r1"))


@pytest.mark.parametrize("pairs_per_call", [1, 3, "auto"])
@pytest.mark.parametrize("frame", ["a", "b", "tie"])
def test_who_wants_the_winner_alone_gets_the_same_choices(frame: str, pairs_per_call: int | str) -> None:
    full, _ = run([Task(frame)], pairs_per_call=pairs_per_call)
    winner, calls = run([Task(frame)], pairs_per_call=pairs_per_call, search_of=WINNER)

    assert winner[frame].choices == full[frame].choices
    measured = [[row.measurement.candidate for row in ended[frame].rows] for ended in (winner, full)]
    assert measured[0] == measured[1]
    assert all(request.best is not None for request in requests(calls))


def test_a_call_carries_the_best_loss_of_its_module_so_far() -> None:
    _, calls = run([Task("a")], replicas=1, pairs_per_call=1, search_of=WINNER)

    for network in GRID:
        best = math.inf
        for call in calls:
            for request in requests([call]):
                if network_of(request) == network:
                    assert request.best == best
                    best = min(best, row_of(call, request, request.candidates[0]).loss)


def test_in_full_nothing_is_said_of_the_best() -> None:
    _, calls = run([Task("a")])

    assert all(call.work.request.best is None for call in calls if isinstance(call.work, Measure))


# --- searches that go wrong


class Broken:
    """A search that is ready, or finished, as it is told, and makes no choice."""

    nested = False
    choices: Mapping[str, Choice] = {}
    measurements: Sequence[Measurement] = ()

    def __init__(self, *, finished: bool, n_requests: int) -> None:
        self.finished, self._n_requests = finished, n_requests

    @property
    def ready(self) -> bool:
        return self._n_requests > 0

    def ask(self, size: int | None = None, parts: int = 1) -> Request:  # noqa: ARG002
        self._n_requests -= 1
        return Request((Candidate(ARM, GRID[ARM][self._n_requests]),), ())

    def tell(self, request: Request, measurements: Sequence[Measurement]) -> None: ...

    def put_back(self, request: Request) -> None: ...


@pytest.mark.parametrize(
    ("finished", "n_requests", "message"),
    [
        (True, 0, r"^frame a: its search ended without a choice for residue\.arm, residue\.synthesis, "),
        (False, 0, r"^frame a: its search is not finished, and asks for nothing$"),
        (False, 2, r"^frame a: its search is not finished, and asks for nothing$"),
    ],
)
def test_a_search_that_leads_nowhere_fails_its_frame_and_the_job_ends(
    finished: bool, n_requests: int, message: str
) -> None:
    ended, calls = run([Task("a")], search_of=lambda _: Broken(finished=finished, n_requests=n_requests))
    assert isinstance(ended["a"].error, SearchError)
    assert re.search(message, str(ended["a"].error))
    assert len(requests(calls)) == n_requests


# --- many frames, many replicas


class Player:
    """A schedule and the calls it has open, answered as a test likes."""

    def __init__(self, tasks: Iterable[Task], replicas: int = 0, **options: Any) -> None:
        self.schedule = Schedule(tasks, FULL, **options)
        self.open: dict[str, Call] = {}
        self.ended: list[FrameEnded] = []
        self.retired: list[Retire] = []
        for n in range(replicas):
            self.send(ReplicaReady(f"r{n}"))

    def send(self, event: Event) -> list[Call]:
        calls = []
        for instruction in self.schedule.handle(event):
            if isinstance(instruction, Call):
                assert instruction.replica not in self.open
                self.open[instruction.replica] = instruction
                calls.append(instruction)
            elif isinstance(instruction, Retire):
                self.retired.append(instruction)
            else:
                self.ended.append(instruction)
        self.schedule.check_invariants()
        return calls

    def answer(self, replica: str) -> list[Call]:
        return self.send(answer(self.open.pop(replica)))

    def fail(self, replica: str) -> list[Call]:
        call = self.open.pop(replica)
        return self.send(CallFailed(call.id, MemoryError("no room"), final=False))

    def lose(self, replica: str) -> list[Call]:
        self.open.pop(replica, None)
        return self.send(ReplicaLost(replica, "killed"))


def test_frames_are_asked_for_as_replicas_get_free_and_no_more_are_in_flight_than_that() -> None:
    asked: list[str] = []

    def tasks() -> Iterator[Task]:
        for n in range(1000):
            asked.append(f"f{n}")
            yield Task(f"f{n}")

    player = Player(tasks(), replicas=4)
    assert len(asked) == 4 + 1, "one ahead, to know whether there are more"
    while len(player.ended) < 50:
        player.answer(min(player.open))
        assert len(asked) - len(player.ended) <= 2 * 4 + 1


def test_while_the_schedule_is_held_frames_in_flight_are_finished_and_none_is_begun() -> None:
    schedule = Schedule([Task("a", False), Task("b", False)], FULL)
    (call,) = schedule.handle(ReplicaReady("r0"))
    assert schedule.hold(True) == []
    calls = 0
    while isinstance(call, Call):
        assert call.frame == "a"
        calls += 1
        call, *_ = [*schedule.handle(answer(call)), None]  # type: ignore[misc, list-item]
    assert isinstance(call, FrameEnded)
    assert calls >= 5
    assert schedule.handle(ReplicaReady("r1")) == []
    assert not schedule.finished
    begun = schedule.hold(False)
    assert [(call.frame, call.replica) for call in begun if isinstance(call, Call)] == [("b", "r0")]
    schedule.check_invariants()


def test_while_there_is_a_frame_for_every_replica_a_module_is_one_call() -> None:
    _, calls = run([Task(f"f{n}") for n in range(40)], replicas=4)
    first = requests(calls[:100])
    assert {len(request.candidates) == len(GRID[network_of(request)]) for request in first} == {True}


def test_when_fewer_frames_than_replicas_remain_one_is_shared_out_over_all() -> None:
    player = Player([Task("a")], replicas=3)
    player.answer("r0")
    assert {call.frame for call in player.open.values()} == {"a"}
    assert len(player.open) == 3


def test_replicas_may_join_and_leave_at_any_time() -> None:
    player = Player([Task(f"f{n}") for n in range(20)], replicas=1)
    player.answer("r0")
    assert [call.replica for call in player.send(ReplicaReady("late"))] == ["late"]
    before = player.open["late"]
    player.lose("late")
    player.lose("unknown")
    (again,) = player.send(ReplicaReady("later"))
    assert (again.frame, again.work) == (before.frame, before.work), "what was lost comes first"


def test_a_call_that_failed_is_made_elsewhere() -> None:
    player = Player([Task("a"), Task("b"), Task("c")], replicas=2)
    assert player.open["r0"].frame == "a"
    (call,) = player.fail("r0")
    assert call.frame == "c", "r0 goes on with another frame"
    (call,) = player.answer("r1")
    assert call.frame == "b", "r1 stays with its own"
    while player.open["r1"].frame == "b":
        player.answer("r1")
    assert player.open["r1"].frame == "a"


def test_where_it_failed_everywhere_it_is_tried_again_until_there_were_too_many_tries() -> None:
    player = Player([Task("a")], replicas=1, tries=3)
    player.fail("r0")
    player.fail("r0")
    player.fail("r0")
    assert [frame.status for frame in player.ended] == ["failed"]
    assert "frame a: given up after 3 lost calls, the last one: on replica r0: MemoryError" in str(
        player.ended[0].error
    )


def test_losses_are_counted_for_each_piece_of_work_so_that_a_long_frame_outlives_many() -> None:
    player = Player([Task("a")], replicas=1, pairs_per_call=1, tries=2)
    n_lost = 0
    while not player.schedule.finished:
        (name,) = player.open
        if n_lost < 10 and n_lost % 2 == 0:
            player.lose(name)
            player.send(ReplicaReady(f"{name}+"))
            name += "+"
        n_lost += 1
        player.answer(name)
    assert [frame.status for frame in player.ended] == ["done"]


def test_a_replica_on_which_calls_keep_failing_is_retired_and_its_frames_are_done_elsewhere() -> None:
    player = Player([Task(f"f{n}") for n in range(6)], replicas=2)
    while not player.retired:
        player.fail("r0")
    assert [retire.replica for retire in player.retired] == ["r0"]
    assert "3 calls in a row failed on it, the last one: no room" in player.retired[0].reason
    assert "r0" not in player.open
    while not player.schedule.finished:
        player.answer("r1")
    assert [frame.status for frame in player.ended] == ["done"] * 6


def test_an_answer_in_between_shows_that_a_replica_is_sound() -> None:
    player = Player([Task(f"f{n}") for n in range(6)], replicas=1, tries=100)
    for _ in range(4):
        player.fail("r0")
        player.fail("r0")
        player.answer("r0")
    assert player.retired == []


def test_input_that_is_bad_everywhere_speaks_against_no_replica() -> None:
    player = Player([Task(f"bad{n}") for n in range(6)], replicas=1)
    while not player.schedule.finished:
        player.answer("r0")
    assert len(player.ended) == 6
    assert player.retired == []
