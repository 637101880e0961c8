"""The driver: every call it makes is answered, every frame ends, and a bad one takes no other with it."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from sweep.config import FitConfig, Grid, make_grid, search_factory
from sweep.config.fit_config import FitIterations
from sweep.driver import Driver, LocalPool, Pool, Progress
from sweep.schedule import (
    STREAMING,
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
)
from tests.cases import ARM, CASES, CASES_5, SYNTHESIS, UPSAMPLING, Case, load_case
from tests.making import make_frame_encoder
from workers.bitstream import decode_frame
from workers.candidates import split_id
from workers.codec import dump_frame_encoder, parse_frame_encoder, read_frame, read_frame_encoder
from workers.errors import CheckpointError, FrameFileError, InfeasibleModuleError, MismatchError, ResultsError
from workers.fit import FitProgress
from workers.objective.loss import mean_squared_error
from workers.replica import Replica
from workers.source import FrameSource

GRID = make_grid(
    {
        "arm": {"weight": [0.0625, 0.125], "bias": [0.0625, 0.125]},
        "synthesis": {"weight": [0.00390625, 0.0078125], "bias": [0.00390625]},
        "upsampling": {"weight": [0.0078125], "bias": [1]},
    }
)
ONE_PAIR = make_grid({m: {"weight": [0.0078125], "bias": [0.0078125]} for m in GRID})
N_PAIRS = 4 + 2 + 1
SEARCH_OF = search_factory("full", GRID)
FOLDER = CASES / "astronaut_64x96_lop"
FRAME, ENCODER = FOLDER / "frame.png", FOLDER / "encoder.safetensors"


_Shared = TypeVar("_Shared")


class Witness:
    """An observer that checks the order of what it is told."""

    def __init__(self) -> None:
        self.open: dict[int, Call] = {}
        self.calls: list[Call] = []
        self.failures: list[CallFailed] = []
        self.progress: list[FitProgress] = []
        self.checkpoints: dict[str, bytes] = {}
        self.frames: dict[str, FrameEnded] = {}
        self.sweeps: dict[str, FrameSwept] = {}
        self.rounds = 0

    def called(self, call: Call) -> None:
        assert call.frame not in self.frames
        assert call.id not in self.open
        self.calls.append(call)
        self.open[call.id] = call

    def answered(self, call: Call, event: CallDone | CallFailed) -> None:
        assert self.open.pop(event.call) == call
        if isinstance(event, CallFailed):
            self.failures.append(event)

    def lost(self, call: Call, reason: str) -> None:
        assert reason
        assert self.open.pop(call.id) == call

    def fitting(self, frame: str, progress: FitProgress) -> None:
        assert any(call.frame == frame and isinstance(call.work, STREAMING) for call in self.open.values())
        self.progress.append(progress)

    def fitted(self, frame: str, checkpoint: bytes) -> None:
        assert frame not in self.checkpoints
        self.checkpoints[frame] = checkpoint

    def swept(self, frame: FrameSwept) -> None:
        assert frame.frame not in self.sweeps
        self.sweeps[frame.frame] = frame

    def waited(self) -> None:
        self.rounds += 1

    def ended(self, frame: FrameEnded) -> None:
        assert frame.frame not in self.frames
        self.frames[frame.frame] = frame


def source(name: str = "a", frame: Path = FRAME, encoder: Path = ENCODER) -> FrameSource:
    return FrameSource(name, partial(read_frame, frame), partial(read_frame_encoder, encoder))


UNFITTED = FrameSource("a", partial(read_frame, FRAME), None, lmbda=0.02)
SHORT_FIT = FitConfig(arch="vlop", recipe="example", iterations=FitIterations(warmup=1, phase_1=3, phase_2=2))


def drive(
    sources: list[FrameSource],
    pool: Pool | None = None,
    grid: Grid = GRID,
    fit: FitConfig | None = None,
    pairs_per_call: int | str = "auto",
) -> Witness:
    witness = Witness()
    pool = pool or LocalPool(Replica("cpu"))
    search_of = search_factory("full", grid)
    Driver(pool, sources, search_of, fit or FitConfig(), witness, pairs_per_call=pairs_per_call).run()  # type: ignore[arg-type]
    return witness


# --- in this process


def test_what_a_user_should_know_of_a_frame_is_logged_once_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    frame = replace(read_frame(FRAME), warnings=("it lies on its side", "its colours are odd"))

    drive([FrameSource("a", lambda: frame, partial(read_frame_encoder, ENCODER)), source("b")])

    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == ["frame a: it lies on its side", "frame a: its colours are odd"]


def test_a_frame_goes_from_its_files_to_its_quantized_encoder(smallest_case: Case) -> None:
    witness = drive([source()], pairs_per_call=3)
    assert witness.open == {}, "every call was answered"
    measured = [call.work.request for call in witness.calls if isinstance(call.work, Measure)]
    assert not any(request.plain for request in measured)
    assert [request.candidates[0].network for request in measured] == [ARM, ARM, SYNTHESIS, UPSAMPLING]
    assert [type(call.work) for call in witness.calls] == [Open, *[Measure] * 4, Quantize]

    frame = witness.frames["a"]
    assert (frame.status, frame.error, len(frame.rows)) == ("done", None, N_PAIRS)
    assert {row.arithmetic for row, _ in frame.rows} == {"staged"}
    expected = smallest_case.table.set_index(["module", "q_step_weight", "q_step_bias"]).loss
    of_arm = {row.candidate.edit: row.loss for row, _ in frame.rows if row.candidate.network == ARM}
    for pair, loss in of_arm.items():
        assert loss == pytest.approx(expected["arm", pair.weight, pair.bias], rel=1e-5)
    assert frame.choices[ARM].q_step == min(of_arm, key=lambda pair: of_arm[pair])
    assert frame.quantized is not None
    quantized, manager = parse_frame_encoder(frame.quantized.checkpoint, "")
    assert quantized.nn_q_step == {
        split_id(network)[1]: choice.q_step._asdict() for network, choice in frame.choices.items()
    }
    assert manager.lmbda == smallest_case.manager.lmbda
    last = next(row for row, _ in reversed(frame.rows) if row.candidate.edit == frame.choices[UPSAMPLING].q_step)
    assert sum(frame.quantized.rate_grid_bit) == pytest.approx(last.measured.rate_latent_bit, rel=1e-6)


def test_a_frame_without_an_encoder_is_fitted_and_then_measured() -> None:
    witness = drive([UNFITTED], fit=SHORT_FIT)
    assert [type(call.work) for call in witness.calls[:2]] == [Fit, Open]
    assert witness.progress[-1].iteration == witness.progress[-1].n_iterations == 2 + 3 + 2
    frame = witness.frames["a"]
    assert frame.status == "done"
    assert frame.info is not None
    assert frame.info.lmbda == 0.02
    _, manager = parse_frame_encoder(witness.checkpoints["a"], "")
    assert manager.lmbda == 0.02


def test_an_entrys_lmbda_takes_the_place_of_the_encoders() -> None:
    frames = [source("own"), FrameSource("other", source().read_frame, source().read_encoder, lmbda=0.5)]
    witness = drive(frames, grid=ONE_PAIR)
    losses = {}
    for name, frame in witness.frames.items():
        measured = frame.rows[0].measurement.measured
        assert measured is not None
        assert frame.info is not None
        bpp = (measured.rate_latent_bit + measured.rate_nn_bit) / (frame.info.height * frame.info.width)
        losses[name] = (measured.loss - measured.mse) / bpp
    assert losses == pytest.approx({"own": 0.001, "other": 0.5})


# --- bad frames


def truncated(folder: Path) -> FrameSource:
    path = folder / "frame.png"
    path.write_bytes(FRAME.read_bytes()[:3000])
    return source("bad", frame=path)


def with_content(content: bytes, name: str = "frame.png") -> Callable[[Path], FrameSource]:
    def make(folder: Path) -> FrameSource:
        path = folder / name
        path.write_bytes(content)
        return source("bad", frame=path)

    return make


def with_encoder(content: bytes) -> Callable[[Path], FrameSource]:
    def make(folder: Path) -> FrameSource:
        path = folder / "encoder.safetensors"
        path.write_bytes(content)
        return source("bad", encoder=path)

    return make


def changed_encoder(metadata: dict[str, str], tensors: dict[str, torch.Tensor]) -> bytes:
    """The good encoder, but for some metadata and tensors."""
    content = ENCODER.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    before = safetensors.torch.load(content)
    return safetensors.torch.save(before | tensors, header["__metadata__"] | metadata)


def transparent(folder: Path) -> FrameSource:
    Image.fromarray(np.zeros((64, 96, 4), np.uint8), "RGBA").save(folder / "frame.png")
    return source("bad", frame=folder / "frame.png")


NOT_FINITE = changed_encoder({}, {"arm.mlp.0.bias": torch.full((8,), torch.nan)})
TOO_LARGE = changed_encoder({}, {"arm.mlp.0.bias": torch.full((8,), 1e9)})

BAD: dict[str, tuple[Callable[[Path], FrameSource], type[Exception], str]] = {
    "missing": (lambda folder: source("bad", frame=folder / "no.png"), FrameFileError, "no.png: .* No such file"),
    "folder": (lambda folder: source("bad", frame=folder), FrameFileError, "cannot be read: Is a directory"),
    "empty": (with_content(b""), FrameFileError, r"frame\.png: the frame file is empty"),
    "truncated": (truncated, FrameFileError, r"frame\.png: the picture is damaged or truncated"),
    "text": (with_content(b"not a picture"), FrameFileError, r"frame\.png: not a picture"),
    "transparent": (transparent, FrameFileError, r"frame\.png: transparency is not supported"),
    "yuv": (with_content(bytes(9216), "frame.yuv"), FrameFileError, r"frame\.yuv: a \.yuv file is named"),
    "no encoder": (lambda folder: source("bad", encoder=folder / "e"), CheckpointError, "/e: .* No such file"),
    "pickle": (with_encoder(pickle.dumps({"a": 1})), CheckpointError, "no zip file of torch.save"),
    "cut encoder": (with_encoder(ENCODER.read_bytes()[:-8]), CheckpointError, "is a safetensors file"),
    "other size": (
        with_encoder(dump_frame_encoder(make_frame_encoder(), 0.001)),
        MismatchError,
        "is for a frame of 17×12 rgb 8 bits; the frame is 96×64 rgb 8 bits",
    ),
    "NaN": (with_encoder(NOT_FINITE), CheckpointError, r"'arm\.mlp\.0\.bias' has values that are NaN"),
    "n_ft_per_res": (
        with_encoder(changed_encoder({"n_ft_per_res": "1,x"}, {})),
        CheckpointError,
        "n_ft_per_res.*1,x",
    ),
    "format": (with_encoder(changed_encoder({"format": "coolchic-9"}, {})), CheckpointError, "format.*coolchic-9"),
    "overflow": (with_encoder(TOO_LARGE), InfeasibleModuleError, "frame bad, module arm: .*4 overflow"),
    "unfit": (
        lambda folder: FrameSource("bad", partial(read_frame, folder / "no.png"), None, 0.001),
        FrameFileError,
        "No such file",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_frame_fails_alone_with_its_reason(tmp_path: Path, kind: str) -> None:
    make, error, reason = BAD[kind]
    witness = drive(
        [source("before"), make(tmp_path), source("after")], grid=GRID if kind == "overflow" else ONE_PAIR
    )
    assert {name: frame.status for name, frame in witness.frames.items()} == {
        "before": "done",
        "bad": "failed",
        "after": "done",
    }
    bad = witness.frames["bad"]
    with pytest.raises(error, match=reason):
        raise bad.error  # type: ignore[misc]
    assert bad.quantized is None
    assert witness.open == {}
    assert all(failure.final for failure in witness.failures)


# --- bitstreams


def test_a_frame_goes_from_its_picture_to_a_file_that_decodes_to_what_is_reported() -> None:
    witness = Witness()
    fit = FitConfig(
        arch="vlop", recipe="example", iterations=SHORT_FIT.iterations.model_copy(update={"phase_3": 20})
    )
    Driver(LocalPool(Replica("cpu")), [UNFITTED], SEARCH_OF, fit, witness, bitstream="qsw").run()

    assert [progress.phase for progress in witness.progress][-2:] == ["phase 3", "phase 3"]
    ended = witness.frames["a"]
    assert ended.status == "done"
    assert ended.encoded is not None
    decoded = decode_frame(ended.encoded.bitstream)
    assert mean_squared_error(decoded.data, read_frame(FRAME).data).item() == ended.encoded.mse
    rate_nn_bit = sum(choice.rate_bit for choice in ended.choices.values())
    assert ended.quantized is not None
    estimate = (sum(ended.quantized.rate_grid_bit) + rate_nn_bit) / 8
    assert abs(len(ended.encoded.bitstream) - estimate) < 100 + 0.005 * estimate
    assert witness.sweeps["a"].rows == ended.rows


def test_what_was_swept_before_is_not_measured_again() -> None:
    first = Witness()
    Driver(LocalPool(Replica("cpu")), [source()], SEARCH_OF, FitConfig(), first, bitstream="qsw").run()
    second = Witness()
    Driver(
        LocalPool(Replica("cpu")),
        [source()],
        SEARCH_OF,
        FitConfig(),
        second,
        bitstream="qsw",
        swept=first.sweeps.get,
    ).run()
    assert [type(call.work) for call in second.calls] == [Encode]
    files = [witness.frames["a"].encoded for witness in (first, second)]
    assert files[0] is not None
    assert files[1] is not None
    assert files[0].bitstream == files[1].bitstream


@pytest.mark.parametrize("name", ["astronaut_64x96_lop", "coffee_64x96_yuv420_lop"])
def test_frames_of_both_families_become_files_in_one_job(name: str) -> None:
    case = load_case(name, CASES_5)
    (frame,) = case.folder.glob("frame*")
    of_5 = FrameSource(
        "b", partial(read_frame, frame), partial(read_frame_encoder, case.folder / "encoder.safetensors")
    )
    witness = Witness()
    fit = FitConfig(iterations=SHORT_FIT.iterations.model_copy(update={"phase_3": 20}))
    search_of = search_factory("winner", {})
    Driver(LocalPool(Replica("cpu")), [source(), of_5], search_of, fit, witness, bitstream="qsw").run()

    assert [witness.frames[frame].status for frame in "ab"] == ["done", "done"]
    encoded, choices = witness.frames["b"].encoded, witness.frames["b"].choices
    assert encoded is not None
    row = case.table[case.table.chosen].iloc[-1]
    assert {choice.network: choice.q_step for choice in choices.values()} == {
        network: choice.q_step for network, choice in case.choices().items()
    }
    # Its latents are as they were: the file has the rate and the error of the reference's last choice.
    estimate = (row.rate_latent_bit + row.rate_nn_bit) / 8
    assert 0 <= len(encoded.bitstream) - estimate <= 0.005 * estimate + 50
    assert encoded.mse == pytest.approx(row.mse, rel=1e-3)
    decoded = decode_frame(encoded.bitstream)
    assert mean_squared_error(decoded.data, case.frame.data).item() == encoded.mse


# --- on a pool that misbehaves


class UnreliablePool:
    """Replicas in this process that die at some calls, by number, and are replaced; their answers come late."""

    def __init__(self, deaths: set[int]) -> None:
        self._replica = Replica("cpu")
        self._deaths = deaths
        self._n_calls = 0
        self._events: list[Event | Progress] = [ReplicaReady("r0"), ReplicaReady("r1")]
        self._late: list[Event | Progress] = []
        self.waits = 0
        self.n_replicas = 2

    def submit(self, call: Call, source: FrameSource, fit: FitConfig) -> None:
        local = LocalPool(self._replica)
        local.wait(0)
        local.submit(call, source, fit)
        answers = [*iter(lambda: next(iter(local.wait(0)), None), None)]
        self._n_calls += 1
        if self._n_calls in self._deaths:
            self._events += [ReplicaLost(call.replica, "killed"), ReplicaReady(f"r{self._n_calls + 1}")]
            self._late += answers
        else:
            self._events += [*answers, *self._late]

    def wait(self, timeout: float) -> list[Event | Progress]:
        assert timeout > 0
        self.waits += 1
        if self.waits % 3 == 0:
            return []  # nothing happened for a while
        events, self._events = self._events, []
        return events

    def share(self, content: _Shared) -> Callable[[], _Shared]:
        return lambda: content

    def retire(self, replica: str, reason: str) -> None:
        raise AssertionError((replica, reason))


def facts(witness: Witness) -> object:
    return {
        name: (frame.status, [row._replace(seconds=0.0) for row, _ in frame.rows], frame.choices)
        for name, frame in sorted(witness.frames.items())
    }


@pytest.mark.parametrize("deaths", [set(), {1}, {2, 7, 11}])
def test_replicas_that_die_and_answers_that_come_late_change_nothing(deaths: set[int]) -> None:
    frames = [UNFITTED, source("b")]
    witness = drive(frames, UnreliablePool(deaths), fit=SHORT_FIT, pairs_per_call=1)
    assert facts(witness) == facts(drive(frames, fit=SHORT_FIT, pairs_per_call=1))


def test_an_observer_that_cannot_write_ends_the_run() -> None:
    class Full(Witness):
        def ended(self, frame: FrameEnded) -> None:
            raise ResultsError(f"no room for {frame.frame}")

    with pytest.raises(ResultsError, match="no room for a"):
        Driver(LocalPool(Replica("cpu")), [source()], search_factory("full", ONE_PAIR), FitConfig(), Full()).run()


def test_an_observer_is_told_that_time_has_passed_even_if_nothing_happens() -> None:
    pool = UnreliablePool(set())
    witness = drive([source()], pool, grid=ONE_PAIR)
    assert witness.rounds == pool.waits
