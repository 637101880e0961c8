"""What the schedule and the replicas say to each other: work, events, instructions. Data alone."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from workers.measure import RDRow
from workers.quantize import QStepPair, Settled
from workers.replica import EncodedAnswer, QuantizedAnswer
from workers.source import FrameInfo

ReplicaId = str

# --- work: what a call asks of a replica, the frame aside


@dataclass(frozen=True)
class Fit:
    """Fit a frame encoder; the answer is its checkpoint, ``bytes``, which stays with whoever made the call."""


@dataclass(frozen=True)
class Open:
    """Read frame and encoder; the answer is a :class:`~workers.source.FrameInfo`."""


@dataclass(frozen=True)
class Measure:
    """Measure some pairs of a module; the answer is their rows.

    Attributes:
        module: to quantize with each pair.
        pairs: the candidates.
        choices: modules that have been settled, with their choices.
        plain: whether with the plain arithmetic, to decide near-ties.
        best: ``None`` to measure every pair in full; else the best loss that is known so far, infinity at first:
            pairs that cannot win are pruned.
    """

    module: str
    pairs: tuple[QStepPair, ...]
    choices: tuple[tuple[str, Settled], ...]
    plain: bool = False
    best: float | None = None


@dataclass(frozen=True)
class Quantize:
    """Quantize the networks for good; the answer is a :class:`~workers.replica.QuantizedAnswer`."""

    choices: tuple[tuple[str, Settled], ...]


@dataclass(frozen=True)
class Encode:
    """Quantize the networks, train the latents on, and write the bitstream.

    The answer is an :class:`~workers.replica.EncodedAnswer`.
    """

    choices: tuple[tuple[str, Settled], ...]


Work = Fit | Open | Measure | Quantize | Encode

TRAINING = (Fit, Encode)
"""Work that tells how far it is before it answers."""

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


Event = ReplicaReady | ReplicaLost | CallDone | CallFailed

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


class MeasuredRow(NamedTuple):
    """A row, and the replica that measured it."""

    row: RDRow
    replica: ReplicaId


class FrameSwept(NamedTuple):
    """The sweep of a frame is complete; what is left is its bitstream.

    Attributes:
        frame: which one.
        info: size and format.
        rows: everything that was measured, in grid order.
        choices: of every module.
        seconds: time that replicas spent on it.
    """

    frame: str
    info: FrameInfo
    rows: tuple[MeasuredRow, ...]
    choices: dict[str, Settled]
    seconds: float


class FrameEnded(NamedTuple):
    """A frame is finished, for better or worse.

    Attributes:
        frame: which one.
        status: ``done`` or ``failed``.
        error: why it failed, else ``None``.
        info: size and format; ``None`` if it was never opened.
        rows: everything that was measured, in grid order.
        choices: modules that were settled.
        quantized: the frame encoder with its networks quantized, if it is done.
        seconds: time that replicas spent on it.
        encoded: its bitstream, if it is done and there is to be one.
    """

    frame: str
    status: Literal["done", "failed"]
    error: Exception | None
    info: FrameInfo | None
    rows: tuple[MeasuredRow, ...]
    choices: dict[str, Settled]
    quantized: QuantizedAnswer | None
    seconds: float
    encoded: EncodedAnswer | None = None


Instruction = Call | Retire | FrameSwept | FrameEnded
