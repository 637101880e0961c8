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
    bitstream: str | None = None,
    refinement_of: RefinementOf | None = None,
    display: Observer | None = None,
) -> FrameEnded:
    """Run until the frame is done.

    Args:
        pool: the replicas.
        source: of the frame.
        search_of: makes its search, once it has been opened.
        fit: how it is fitted, if it has no encoder, and how its latents are trained on.
        bitstream: name of the format of the bitstream that it ends as, if it does.
        refinement_of: makes the refinement of its choices; ``None`` if they are not refined.
        display: receives every event, if there is one.

    Raises:
        QsweepError: why the frame failed.
        ReplicaError: no replica is left.
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
        if frame.error is None:  # else the error is raised
            super().ended(frame)
