"""A job from its configuration to its results."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from sweep.config import FrameItem, Job, pairs_of, search_factory, usual_pairs
from sweep.driver import SEARCH_SECONDS, Driver, Metrics, Observer, Observers, Pool, RayPool, Tally, connect
from sweep.logs import log_file
from sweep.report import write_report
from sweep.results import Results
from sweep.schedule import Call, FrameEnded, FrameRefining, FrameSwept
from sweep.search.refine.factory import refinement_factory
from workers.codec import read_frame, read_frame_encoder
from workers.errors import QsweepError, ResultsError
from workers.files import PATIENCE_SECONDS, describe, is_uri
from workers.measure.kernel import forced_build
from workers.reasons import describe_error
from workers.source import FrameSource, parse_shared

_log = logging.getLogger(__name__)

Display = Callable[[Tally], AbstractContextManager[Observer]]

_WRITERS = 8  # frames that are written at a time
_WRITE_SECONDS = 0.5  # between two looks at whether a write that is waited for meets an outage
_NAMED = 3  # files that are missing, in a message
_STORE_SECONDS = 1.5 * PATIENCE_SECONDS  # to read a file from a store: the last attempt takes some of them as well


class Outcome(NamedTuple):
    """Outcome of a job.

    Attributes:
        frames: as in ``frames.parquet``.
    """

    frames: pa.Table

    def of(self, status: str) -> pa.Table:
        """Those that are ``done``, or that ``failed``."""
        return self.frames.filter(pc.field("status") == status)


def run_job(job: Job, results: Results, display: Display) -> Outcome:
    """Do what is unfinished of a job.

    Args:
        job: what is to be done.
        results: where it goes; frames that are done there are left out.
        display: shows the progress of the job while its context is open.

    Returns:
        Every frame of the job.

    Raises:
        ConfigError: the environment forces a kernel that does not exist.
        ClaimError: another driver is at work on the results.
        ClusterError: the cluster cannot be used.
        ResultsError: the results cannot be written.
        ReplicaError: its replicas die one after the other.

        Each says by ``started`` whether any work had been handed to a replica.
    """
    try:
        forced_build()  # replicas have the environment of the driver, and would die of it one after the other
        _run_claimed(job, results, display)
    except QsweepError as error:
        error.started = results.started
        raise
    return Outcome(results.frames())


def _run_claimed(job: Job, results: Results, display: Display) -> None:
    with results.claimed(), log_file(job.config.out) if results.n_unfinished else nullcontext():
        has_time = True
        try:
            if results.n_unfinished:
                _warn_of_missing(results)
                with connect(job.config.ray, trains=bool(results.n_fits or job.config.bitstream)):
                    pool = RayPool(job.config.ray, job.config.sweep.engine_options(), job.plugins)
                    try:
                        run_on(pool, job, results, display, lambda tally: [Metrics(tally)])
                    finally:
                        pool.close()
            else:
                _log.info("every frame is done already")
        except BaseException as error:
            has_time = isinstance(error, Exception)  # an interrupted job ends at once
            if not has_time:
                results.storage.hurry()
            raise
        finally:
            _conclude(results, job.config.out, has_time)


def _conclude(results: Results, out: str, has_time: bool) -> None:
    """Write the tables over all frames and, in time, the report; unless the folder is another driver's now."""
    if results.taken_over:
        return
    try:
        results.write_summary()
    except ResultsError as error:
        if has_time:
            raise
        _log.error("%s", error)  # the interrupt is raised on
    if has_time:
        _try_report(out)


def _try_report(out: str) -> None:
    """Write the report; whatever it fails of, the results are there, and it can be written from them again."""
    try:
        write_report(out)
    except Exception as error:
        unforeseen = not isinstance(error, QsweepError)
        _log.error(
            "the report could not be written, all else is there: %s", describe_error(error), exc_info=unforeseen
        )


def run_on(
    pool: Pool,
    job: Job,
    results: Results,
    display: Display,
    others: Callable[[Tally], Sequence[Observer]] = lambda _: (),
) -> None:
    """Do what is unfinished of a job on the replicas of a pool.

    Args:
        pool: the replicas.
        job: what is to be done.
        results: where it goes.
        display: shows the progress of the job while its context is open.
        others: observers after the display.
    """
    config = job.config
    recipe = config.fit.resolve()
    tally = Tally(
        results.n_unfinished,
        usual_pairs(job.grid),
        results.n_fits,
        recipe.iterations,
        recipe.retuning.iterations if config.bitstream else 0,
        refines=config.sweep.refining is not None,
        n_replicas=lambda: pool.n_replicas,
        count_pairs=lambda info: sum(map(len, pairs_of(info.networks, job.grid).values())),
    )
    with display(tally) as shown:
        timeline = results.begin_timeline(lambda: pool.n_replicas)
        recorder = _Recorder(results, [shown, timeline, *others(tally)])
        driver = Driver(
            pool,
            _sources(results, pool, job),
            search_factory(config.sweep.mode, job.grid),
            config.fit,
            recorder,
            pairs_per_call=config.ray.pairs_per_call,
            tries=config.ray.tries,
            bitstream=config.bitstream_format,
            refinement_of=refinement_factory(config.sweep.refining, job.grid),
            swept=results.read_swept,
            refinement=results.refinements.read,
            may_begin=recorder.has_room,
        )
        try:
            driver.run()
        except BaseException as error:
            if not isinstance(error, Exception):
                results.storage.hurry()
            try:
                recorder.close()
            except QsweepError as other:  # the first error is raised
                _log.error("%s", other)
            raise
        recorder.close()


def _warn_of_missing(results: Results) -> None:
    """Files that are not there make their frames fail, sooner or later: that can be said at once."""
    named, n_missing = list[str](), 0
    for item in results.unfinished:
        for path in (item.frame, item.encoder):
            if path is not None and "://" not in path and not os.path.exists(path):  # noqa: PTH110  # many
                n_missing += 1
                if len(named) < _NAMED:
                    named.append(path)
    if n_missing:
        more = f" and {n_missing - len(named)} more" if n_missing > len(named) else ""
        _log.warning("files that cannot be found from here: %s%s", ", ".join(named), more)


def _sources(results: Results, pool: Pool, job: Job) -> Iterator[FrameSource]:
    return (_source(item, results, pool, job) for item in results.unfinished)


def _source(item: FrameItem, results: Results, pool: Pool, job: Job) -> FrameSource:
    """Where a frame and its encoder come from.

    Args:
        item: the frame.
        results: hold the encoders that were fitted.
        pool: shares those with its replicas.
        job: gives the metric, and the weight of the rate for an encoder whose file holds none.
    """
    read_encoder: Callable[[], object] | None = None
    storage, fitted = results.storage, results.fitted_path(item.id)
    if item.encoder is not None:
        fallback = job.lmbda_of_encoders if item.lmbda is None else item.lmbda
        read_encoder = partial(read_frame_encoder, item.encoder, item.encoder_frame, fallback)
    elif results.is_fitted(item.id) and storage.local:  # a folder that other nodes may not see
        read_encoder = partial(parse_shared, pool.share(storage.read(fitted)), item.id)
    elif results.is_fitted(item.id):
        read_encoder = partial(read_frame_encoder, storage.location(fitted))
    locations = [item.frame, item.encoder or storage.location(fitted)]
    return FrameSource(
        item.id,
        partial(read_frame, item.frame, item.frame_index),
        read_encoder,  # type: ignore[arg-type]
        item.lmbda,
        job.config.sweep.metric,
        loading_seconds=_STORE_SECONDS * sum(map(is_uri, locations)),
        frame_name=describe(item.frame),
        encoder_name=item.encoder and describe(item.encoder),
    )


class _Recorder(Observers):
    """Writes the results of a job in the background, and passes every event on to other observers.

    The end of a frame is reported once its results are written. While the storage of the results cannot be reached,
    what is to be written waits in memory, and the frames in flight are worked on.
    """

    def __init__(self, results: Results, observers: Sequence[Observer]) -> None:
        super().__init__(observers)
        self._results = results
        self._writers = ThreadPoolExecutor(_WRITERS, "qsweep-write")
        self._written: deque[tuple[Future[Any], Callable[[], None]]] = deque()
        self._before: dict[str, Future[Any]] = {}  # what is kept of frames in flight, by frame
        self._refinement_kept: dict[str, float] = {}  # when how far their refinement is was kept last

    def called(self, call: Call) -> None:
        self._results.started = True
        super().called(call)

    def fitted(self, frame: str, checkpoint: bytes) -> None:
        self._keep(
            frame,
            partial(self._results.write_fitted, frame, checkpoint),
            partial(super().fitted, frame, checkpoint),
        )

    def swept(self, frame: FrameSwept) -> None:
        self._keep(frame.frame, partial(self._results.write_swept, frame), partial(super().swept, frame))

    def refining(self, frame: FrameRefining) -> None:
        super().refining(frame)
        name, refinements = frame.frame, self._results.refinements
        before, now = self._before.get(name), time.monotonic()
        is_due = frame.state.refinement.finished or now - self._refinement_kept.get(name, 0.0) >= SEARCH_SECONDS
        if not is_due or (before is not None and not before.done()):
            return
        # Packed here and now: on this machine, the search that continues is the same object.
        packed = refinements.pack(frame.state)
        if packed is not None:
            self._refinement_kept[name] = now
            self._keep(name, partial(refinements.write, name, packed), lambda: None)

    def ended(self, frame: FrameEnded) -> None:
        self._refinement_kept.pop(frame.frame, None)
        written = self._submit(partial(self._results.write_frame, frame), self._before.pop(frame.frame, None))
        self._written.append((written, partial(super().ended, frame)))
        self._report_written(2 * _WRITERS)

    def _keep(self, frame: str, write: Callable[[], object], report: Callable[[], None]) -> None:
        """Write what is kept of a frame in flight."""
        written = self._before[frame] = self._submit(write, self._before.get(frame))
        self._written.append((written, report))

    def _submit(self, write: Callable[[], object], before: Future[Any] | None) -> Future[Any]:
        """Write something of a frame, after what was kept of it until then: that began earlier, and ends."""

        def run() -> None:
            if before is not None:
                before.result()
            write()

        return self._writers.submit(run)

    def waited(self) -> None:
        self._results.check_owner()
        self._report_written(2 * _WRITERS)
        super().waited()

    def has_room(self) -> bool:
        """Whether what waits to be written is little enough for more frames to be begun."""
        return len(self._written) <= 2 * _WRITERS

    def _report_written(self, n_waiting: int) -> None:
        """Report what has been written.

        While more than so much has not, wait for it; but not for an outage of the storage to end.
        """
        while self._written:
            written, report = self._written[0]
            if not written.done():
                if len(self._written) <= n_waiting or self._results.storage.outage.lasts:
                    return
                wait([written], timeout=_WRITE_SECONDS)
                continue
            self._written.popleft()
            written.result()
            report()
            self._results.write_summary(due=False)

    def close(self) -> None:
        """Wait until everything is written that can be, and report it.

        Raises:
            ResultsError: something could not be written; all else is.
        """
        first: QsweepError | None = None
        try:
            while self._written:
                written, report = self._written.popleft()
                try:
                    written.result()
                except QsweepError as error:
                    first = first or error
                else:
                    report()
        except BaseException:  # the writers are waited for, and must not wait for the end of an outage
            self._results.storage.hurry()
            raise
        finally:
            self._writers.shutdown(cancel_futures=True)
        if first is not None:
            raise first
