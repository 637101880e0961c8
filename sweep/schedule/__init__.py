"""What may run now, and what an answer means: events in, instructions out. No Ray, no clock, no files."""

from sweep.schedule.course import Task
from sweep.schedule.messages import (
    TRAINING,
    Call,
    CallDone,
    CallFailed,
    Encode,
    Event,
    Fit,
    FrameEnded,
    FrameSwept,
    Instruction,
    Measure,
    MeasuredRow,
    Open,
    Quantize,
    ReplicaId,
    ReplicaLost,
    ReplicaReady,
    Retire,
    Work,
)
from sweep.schedule.schedule import Schedule

__all__ = [
    "TRAINING",
    "Call",
    "CallDone",
    "CallFailed",
    "Encode",
    "Event",
    "Fit",
    "FrameEnded",
    "FrameSwept",
    "Instruction",
    "Measure",
    "MeasuredRow",
    "Open",
    "Quantize",
    "ReplicaId",
    "ReplicaLost",
    "ReplicaReady",
    "Retire",
    "Schedule",
    "Task",
    "Work",
]
