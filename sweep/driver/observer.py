"""Observers of a job: the display, the metrics, the writer of the results."""

from collections.abc import Sequence
from typing import Protocol

from sweep.schedule import Call, CallDone, CallFailed, FrameEnded, FrameRefining, FrameSwept
from workers.fit import FitProgress


class Observer(Protocol):
    """Receives the events of a job."""

    def called(self, call: Call) -> None:
        """A call was handed to a replica."""

    def answered(self, call: Call, event: CallDone | CallFailed) -> None:
        """A call was answered."""

    def lost(self, call: Call, reason: str) -> None:
        """A call will not be answered: its replica is gone."""

    def fitting(self, frame: str, progress: FitProgress) -> None:
        """A fit went on."""

    def fitted(self, frame: str, checkpoint: bytes) -> None:
        """A frame encoder has been fitted."""

    def swept(self, frame: FrameSwept) -> None:
        """The sweep of a frame is complete, and its refinement or its bitstream is still to be made."""

    def refining(self, frame: FrameRefining) -> None:
        """The refinement of a frame has come further."""

    def ended(self, frame: FrameEnded) -> None:
        """A frame is finished."""

    def waited(self) -> None:
        """A second or less has passed, whether anything happened or not."""


class Observers:
    """Passes on everything to some others, in their order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def called(self, call: Call) -> None:
        """See :class:`Observer`, like all that follows."""
        for observer in self._observers:
            observer.called(call)

    def answered(self, call: Call, event: CallDone | CallFailed) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.answered(call, event)

    def lost(self, call: Call, reason: str) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.lost(call, reason)

    def fitting(self, frame: str, progress: FitProgress) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.fitting(frame, progress)

    def fitted(self, frame: str, checkpoint: bytes) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.fitted(frame, checkpoint)

    def swept(self, frame: FrameSwept) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.swept(frame)

    def refining(self, frame: FrameRefining) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.refining(frame)

    def ended(self, frame: FrameEnded) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.ended(frame)

    def waited(self) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.waited()
