"""A job from its configuration to its results."""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sweep.cluster import RayPool, connect
from sweep.config import FrameItem, Job
from sweep.driver import Driver, Observer
from sweep.messages import Call, CallDone, CallFailed, FrameEnded
from sweep.progress import Tally
from sweep.report import write_report
from sweep.results import Results
from workers.codec import read_frame, read_frame_encoder
from workers.fit import FitProgress
from workers.source import FrameSource, parse_shared

_log = logging.getLogger(__name__)

Display = Callable[[Tally], AbstractContextManager[Observer]]


class Outcome(NamedTuple):
    """What a job came to.

    Attributes:
        done: rows of ``frames.parquet`` for the frames that are done.
        failed: likewise for those that failed.
    """

    done: list[Mapping[str, Any]]
    failed: list[Mapping[str, Any]]


class _Recorder:
    """Writes what a job comes to, and passes everything on to a display."""

    def __init__(self, results: Results, display: Observer) -> None:
        self._results = results
        self._display = display

    def called(self, call: Call) -> None:
        self._display.called(call)

    def answered(self, call: Call, event: CallDone | CallFailed) -> None:
        self._display.answered(call, event)

    def fitting(self, frame: str, progress: FitProgress) -> None:
        self._display.fitting(frame, progress)

    def fitted(self, frame: str, checkpoint: bytes) -> None:
        self._results.write_fitted(frame, checkpoint)
        self._display.fitted(frame, checkpoint)

    def ended(self, frame: FrameEnded) -> None:
        self._results.write_frame(frame)
        self._display.ended(frame)


def run_job(job: Job, results: Results, display: Display) -> Outcome:
    """Run a job, or go on with it.

    What is finished is kept whatever happens: the tables over all frames are written also when this is
    interrupted.

    Args:
        job: the resolved configuration.
        results: where they go.
        display: shows how far the job is.

    Raises:
        ResultsError: the results cannot be written.
        ClusterError: the cluster cannot be used; nothing was started.
        ReplicaError: its replicas die one after the other.
    """
    try:
        if results.unfinished:
            with connect(job.config.ray):
                _run(job, results, display)
        else:
            _log.info("every frame is done already")
    finally:
        results.write_summary()
        write_report(job.config.out)
    by_status: dict[str, list[Mapping[str, Any]]] = {"done": [], "failed": []}
    for record in results.records:
        by_status[record["status"]].append(record)
    return Outcome(**by_status)


def _run(job: Job, results: Results, display: Display) -> None:
    pool = RayPool(job.config.ray.replicas, job.config.sweep.engine_options())
    try:
        sources = {item.id: _source(item, results, pool) for item in results.unfinished}
        tally = Tally(
            len(sources),
            sum(len(pairs) for pairs in job.grid.values()),
            sum(source.read_encoder is None for source in sources.values()),
            job.config.fit.resolve().iterations,
            pool.n_replicas,
        )
        with display(tally) as shown:
            recorder = _Recorder(results, shown)
            config = job.config
            driver = Driver(
                pool, sources, job.grid, config.fit, config.ray.pairs_per_call, recorder, config.sweep.mode
            )
            driver.run()
    finally:
        pool.close()


def _source(item: FrameItem, results: Results, pool: RayPool) -> FrameSource:
    read_encoder: Callable[[], object] | None = None
    if item.encoder is not None:
        read_encoder = partial(read_frame_encoder, Path(item.encoder))
    elif (fitted := results.read_fitted(item.id)) is not None:
        read_encoder = partial(parse_shared, pool.share(fitted), item.id)
    return FrameSource(item.id, partial(read_frame, Path(item.frame)), read_encoder, item.lmbda)  # type: ignore[arg-type]
