"""What the schedule and the replicas say to each other: work, events, instructions. Data alone."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from workers.answers import EncodedAnswer, QuantizedAnswer
from workers.candidates import Choice, Measurement
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
class Quantize:
    """Quantize the networks for good; the answer is a :class:`~workers.answers.QuantizedAnswer`."""

    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Encode:
    """Quantize the networks, train the latents on, and write the bitstream.

    The answer is an :class:`~workers.answers.EncodedAnswer`.
    """

    choices: tuple[Choice, ...]
    bitstream: str


Work = Fit | Open | Measure | RunSearch | Quantize | Encode

STREAMING = (Fit, RunSearch, Encode)
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
    search: Search


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
    """The sweep of a frame is complete; what is left is its bitstream.

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


class FrameEnded(NamedTuple):
    """A frame is finished: done, or failed.

    Attributes:
        frame: which one.
        status: ``done`` or ``failed``.
        error: why it failed, else ``None``.
        info: size and format; ``None`` if it was never opened.
        rows: everything that was measured, in grid order.
        choices: those that were made.
        quantized: the frame encoder with its networks quantized, if it is done.
        seconds: time that replicas spent on it.
        encoded: its bitstream, if it is done and there is to be one.
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


Instruction = Call | Retire | FrameSwept | FrameEnded
