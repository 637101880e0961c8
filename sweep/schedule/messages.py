"""What the schedule and the replicas say to each other: work, events, instructions. Data alone."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from sweep.search.refine.interface import Refinement
from workers.answers import EncodedAnswer, QuantizedAnswer
from workers.candidates import Choice, Measurement, Trial
from workers.moves import Piece
from workers.search import Request, Search
from workers.source import FrameInfo

ReplicaId = str

LOCAL_REPLICA = "local"
"""Of the one replica in the process of a command, where there is no pool of them."""

# --- work: what a call asks of a replica, the frame aside


@dataclass(frozen=True)
class Fit:
    """Fit a frame encoder; the answer is its checkpoint, ``bytes``, which stays with the caller."""


@dataclass(frozen=True)
class Open:
    """Read frame and encoder; the answer is a :class:`~workers.source.FrameInfo`.

    Attributes:
        bitstream: name of the format that the frame is to end in, if any.
    """

    bitstream: str | None = None


@dataclass(frozen=True)
class Measure:
    """Measure some candidates; the answer is a list of :class:`~workers.candidates.Measurement`, in their order."""

    request: Request


@dataclass(frozen=True)
class RunSearch:
    """Run a search to its end; the answer is the search, finished. On the way it is given as far as it is."""

    search: Search


@dataclass(frozen=True)
class Refine:
    """Work at a piece of a refinement; the answer is the piece, finished. Its state is given on the way."""

    piece: Piece


@dataclass(frozen=True)
class Quantize:
    """Quantize the networks for good; the answer is a :class:`~workers.answers.QuantizedAnswer`.

    Attributes:
        choices: of every network.
        measured: whether what that costs is measured, since no table has it: of choices that were refined.
    """

    choices: tuple[Choice, ...]
    measured: bool = False


@dataclass(frozen=True)
class Encode:
    """Quantize the networks, train the latents on, and write the bitstream.

    The answer is an :class:`~workers.answers.EncodedAnswer`.
    """

    choices: tuple[Choice, ...]
    bitstream: str


Work = Fit | Open | Measure | RunSearch | Refine | Quantize | Encode

STREAMING = (Fit, RunSearch, Refine, Encode)
"""Work that reports its progress before it answers."""

# --- events


class ReplicaReady(NamedTuple):
    """A replica waits for calls."""

    replica: ReplicaId


class ReplicaLost(NamedTuple):
    """A replica is gone, and with it the call it was at, if any."""

    replica: ReplicaId
    reason: str


class CallDone(NamedTuple):
    """A call was answered."""

    call: int
    answer: object
    seconds: float


class CallFailed(NamedTuple):
    """A call ended in an error.

    Attributes:
        call: which one.
        error: what went wrong.
        final: whether it would go wrong everywhere, so that another try is of no use.
    """

    call: int
    error: Exception
    final: bool


class CallProgressed(NamedTuple):
    """A call has come so far; if it is lost, it is resumed from here."""

    call: int
    reached: Search | Piece


Event = ReplicaReady | ReplicaLost | CallDone | CallFailed | CallProgressed

# --- instructions


class Call(NamedTuple):
    """Ask a replica for some work on a frame.

    Attributes:
        id: of the call.
        replica: who is asked.
        frame: id of the frame.
        work: what to do.
        pixels: of the frame, 0 before it has been opened.
    """

    id: int
    replica: ReplicaId
    frame: str
    work: Work
    pixels: int = 0


class Retire(NamedTuple):
    """Do without a replica: its calls fail, and those of others do not."""

    replica: ReplicaId
    reason: str


class SweptRow(NamedTuple):
    """A row of the table: a measurement, and the replica that made it."""

    measurement: Measurement
    replica: ReplicaId


class FrameSwept(NamedTuple):
    """The sweep of a frame is complete; what is left is its refinement, or its bitstream.

    Attributes:
        frame: which one.
        info: size and format.
        rows: everything that was measured, in grid order.
        choices: of every network.
        seconds: time that replicas spent on it.
    """

    frame: str
    info: FrameInfo
    rows: tuple[SweptRow, ...]
    choices: dict[str, Choice]
    seconds: float


class RefinementState(NamedTuple):
    """How far the refinement of a frame is.

    Attributes:
        refinement: with what is complete of it.
        pieces: those that have been begun and are not finished, as they were last reported, by their names.
    """

    refinement: Refinement
    pieces: dict[str, Piece]


class FrameRefining(NamedTuple):
    """The refinement of a frame has come further.

    Attributes:
        frame: which one.
        state: where it is resumed if the job ends now.
    """

    frame: str
    state: RefinementState


class RefinedChoices(NamedTuple):
    """What a refinement came to.

    Attributes:
        choices: of every network.
        trials: that it made.
        loss_before: of the frame, with the choices of the sweep.
        loss_after: with these.
    """

    choices: dict[str, Choice]
    trials: tuple[Trial, ...]
    loss_before: float
    loss_after: float


class FrameEnded(NamedTuple):
    """A frame is finished: done, or failed.

    Attributes:
        frame: which one.
        status: ``done`` or ``failed``.
        error: why it failed, else ``None``.
        info: size and format; ``None`` if it was never opened.
        rows: everything that was measured, in grid order.
        choices: those that the sweep made, before any refinement.
        quantized: the frame encoder with its networks quantized, if it is done.
        seconds: time that replicas spent on it.
        encoded: its bitstream, if it is done and there is to be one.
        refined: what its refinement came to, if it is done and was refined.
        sweep_seconds: time that replicas had spent on it when its sweep was complete; ``None`` if it never was.
    """

    frame: str
    status: Literal["done", "failed"]
    error: Exception | None
    info: FrameInfo | None
    rows: tuple[SweptRow, ...]
    choices: dict[str, Choice]
    quantized: QuantizedAnswer | None
    seconds: float
    encoded: EncodedAnswer | None = None
    refined: RefinedChoices | None = None
    sweep_seconds: float | None = None


Instruction = Call | Retire | FrameSwept | FrameRefining | FrameEnded
