"""One frame, taken through all its stages on any pool."""

from sweep.config import FitConfig
from sweep.driver.driver import Driver, Pool
from sweep.driver.observer import Observer, Observers
from sweep.schedule import FrameEnded, RefinementOf, SearchOf
from workers.source import FrameSource


def run_one(
    pool: Pool,
    source: FrameSource,
    search_of: SearchOf,
    fit: FitConfig,
    *,
    bitstream: bool = False,
    refinement_of: RefinementOf | None = None,
    display: Observer | None = None,
) -> FrameEnded:
    """Run until the frame is done.

    Args:
        pool: the replicas.
        source: of the frame.
        search_of: makes its search, once it has been opened.
        fit: how it is fitted, if it has no encoder, and how its latents are trained on.
        bitstream: whether it ends as a bitstream.
        refinement_of: makes the refinement of its choices; ``None`` if they are not refined.
        display: is told of everything, if there is one.

    Raises:
        QsweepError: why the frame failed.
        ReplicaError: there are no replicas to go on with.
    """
    outcome = _Outcome([] if display is None else [display])
    Driver(pool, [source], search_of, fit, outcome, bitstream=bitstream, refinement_of=refinement_of).run()
    assert outcome.frame is not None
    if outcome.frame.error is not None:
        raise outcome.frame.error
    return outcome.frame


class _Outcome(Observers):
    """Waits for the one frame."""

    frame: FrameEnded | None = None

    def ended(self, frame: FrameEnded) -> None:
        self.frame = frame
        if frame.error is None:  # else whoever waits is told, by the error
            super().ended(frame)
