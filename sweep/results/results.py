"""The folder of a job's results: who may write there, what is finished, and the tables that sum it up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sweep.results.changes import find_changes
from sweep.results.claim import Claim
from sweep.results.finished import GARBLED, Finished
from sweep.results.layout import (
    CHOICES_FILE,
    FRAMES_FILE,
    REFINED_FILE,
    REPLICAS_FILE,
    TIMELINE_FILE,
    bitstream_path,
    fitted_path,
    quantized_path,
    trials_path,
)
from sweep.results.ownership import begin, update
from sweep.results.parquet import Columns, write_table
from sweep.results.refined import REFINED, refined_rows, trials_table
from sweep.results.refining import KeptRefinements
from sweep.results.rows import prepare_rd_folder, rd_path, read_swept, write_rd_table, write_swept
from sweep.results.runs import join_runs, next_run, take_up_timeline
from sweep.results.storage import Storage
from sweep.results.table import FRAMES, chosen_rows, frame_record, identity_of
from sweep.results.tidying import delete_rows, forget, set_aside, tidy
from sweep.results.timeline import Timeline
from sweep.schedule import FrameEnded, FrameSwept
from workers.errors import ClaimError, DamagedError, OutageError
from workers.files import describe

if TYPE_CHECKING:
    from sweep.config import FrameItem, FrameList, Job

_log = logging.getLogger(__name__)

_WRITERS = 8  # files that are written at a time

SUMMARY_SECONDS = 60.0
"""The tables that sum a job up are written this often; if writing takes long, less often."""


class Results:
    """Results of one job.

    A frame is finished when its rows are there: they are written last, as one file, and hold its record. The
    tables over all frames only sum those files up, so a killed job loses none of what it finished.

    Args:
        job: whose results these are. If the folder holds results of the same job, it is resumed.

    Raises:
        ResultsError: the folder cannot be written, or it holds another job's results or something else.
    """

    def __init__(self, job: Job) -> None:
        self.storage = Storage(job.config.out)
        self._job = job
        self._bitstream = job.config.bitstream_format
        self._refining = job.config.sweep.refining
        self.refinements = KeptRefinements(self.storage, self._refining)
        """How far those of frames in flight are."""
        self._use(begin(self.storage, job))
        self._lock = threading.Lock()
        self._summed_up, self._summing_seconds = time.monotonic(), 0.0
        self.taken_over = False
        """Whether another driver has the folder now, because this one gave no sign of life."""
        self.started = False
        """Whether any work for them was handed to a replica."""
        self._runs_before: tuple[pa.Table, ...] = ()
        self._timeline: Timeline | None = None
        self._look()

    # --- whose folder it is

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Nobody else writes into the folder until the context is left.

        Raises:
            ClaimError: another driver is at work there.
            ResultsError: the folder is another job's now, or it cannot be written.
        """
        claim = Claim(self.storage, self._lose)
        unclaimed, self.storage.guard = self.storage.guard, claim.confirm
        try:
            self._use(begin(self.storage, self._job))  # two that began at once have both written
            self._look()  # another driver may have finished more of it meanwhile
            tidy(self.storage, self._found)
            self.refinements.tidy(set(self._ids.to_pylist()), set(self._found.done))
            prepare_rd_folder(self.storage)
            update(self.storage, self._job, self.items, self._found.frames.table())
            self.storage.be_patient()
            yield
        finally:
            claim.release()
            self.storage.guard = unclaimed

    def _lose(self) -> None:
        self.taken_over = True

    def check_owner(self) -> None:
        """Raise a ``ClaimError`` if another driver has the folder now."""
        if self.taken_over:
            raise ClaimError(f"{self.storage.describe('')}: another driver has taken over")

    # --- what is finished

    def _use(self, items: FrameList) -> None:
        self.items = items
        """Frames of the job, under the ids that the folder has for them."""
        self._ids = items.table["id"]

    def _look(self) -> None:
        """See what is there, and what became of the frames."""
        refining = None if self._refining is None else str(self._refining)
        self._found = Finished(self.storage, list(self.items), self._bitstream, refining)
        self._done = np.array([frame in self._found.done for frame in self._ids.to_pylist()], dtype=bool)

    @property
    def n_unfinished(self) -> int:
        """Frames that are not done."""
        return len(self._done) - int(self._done.sum())

    @property
    def n_fits(self) -> int:
        """Frames among these whose encoder is still to be fitted."""
        return sum(self._needs_fit(item) for item in self._unfinished())

    @property
    def unfinished(self) -> Iterator[FrameItem]:
        """Frames that are not done, failed ones among them, those first that take longest.

        These are those that are fitted; then, the largest first, those that are to be refined in another way. As
        it is when the first one is asked for: what happens to them meanwhile brings none of them twice.
        """
        unfinished = np.flatnonzero(~self._done)
        needs_fit = np.fromiter(map(self._needs_fit, self._unfinished()), bool, len(unfinished))
        pixels = np.fromiter(
            (self._found.unrefined.get(item.id, 0) for item in self._unfinished()), int, len(needs_fit)
        )
        for index in unfinished[np.lexsort([-pixels, ~needs_fit])].tolist():
            yield self.items[index]

    def _unfinished(self) -> Iterator[FrameItem]:
        return (item for item, done in zip(self.items, self._done, strict=True) if not done)

    def _needs_fit(self, item: FrameItem) -> bool:
        return item.encoder is None and item.id not in self._found.fitted

    # --- what is written

    def begin_timeline(self, n_replicas: Callable[[], int]) -> Timeline:
        """Follow a run of the job, whose timeline is written with the tables over all frames."""
        self._runs_before = take_up_timeline(self.storage)
        self._timeline = Timeline(next_run(*self._runs_before), n_replicas)
        return self._timeline

    def fitted_path(self, frame: str) -> str:
        """Where, below ``out``, the encoder that was fitted for a frame is."""
        return fitted_path(frame)

    def write_fitted(self, frame: str, checkpoint: bytes) -> None:
        """Keep an encoder that was fitted for a frame, so that it is never fitted again.

        Raises:
            ResultsError: it cannot be written; or another driver has taken over.
        """
        self.check_owner()
        self.storage.write(self.fitted_path(frame), checkpoint)
        self._found.fitted.add(frame)

    def is_fitted(self, frame: str) -> bool:
        """Whether an encoder was fitted for a frame before."""
        return frame in self._found.fitted

    def write_swept(self, swept: FrameSwept) -> None:
        """Keep the rows of a frame that is still to be refined or encoded: they are never measured again."""
        self.check_owner()
        write_swept(self.storage, swept)
        self._found.swept.add(swept.frame)

    def read_swept(self, frame: str) -> FrameSwept | None:
        """The sweep of a frame, if it was complete when the job ended, or when the frame failed."""
        found = self._found
        status, frames = ("swept", found.swept) if frame in found.swept else ("failed", found.failed)
        if frame not in frames:
            return None
        try:
            swept = read_swept(self.storage, frame, status)
        except DamagedError:
            frames.remove(frame)
            set_aside(self.storage, rd_path(frame, status), GARBLED)
            return None
        if swept is None:
            return None
        item = self.items[pc.index(self._ids, frame).as_py()]
        before = identity_of(swept.info, fitted=item.encoder is None)
        if change := find_changes([(item, before)]).get(frame):
            forget(self.storage, self._found, frame, change)
            return None
        return swept

    def write_frame(self, ended: FrameEnded) -> Mapping[str, Any]:
        """Write the results of a frame, from any thread; give its record.

        Raises:
            ResultsError: there is no room, or no right, to write; or another driver has taken over.
        """
        self.check_owner()
        index = pc.index(self._ids, ended.frame).as_py()
        item = self.items[index]
        encoder = None if item.encoder is None else describe(item.encoder)
        if encoder is None and self.is_fitted(ended.frame):
            encoder = self.storage.describe(self.fitted_path(ended.frame))
        is_fitted = item.encoder is None
        record = frame_record(ended, describe(item.frame), encoder, item.frame_index, fitted=is_fitted)
        record["encoder_frame"] = item.encoder_frame
        if ended.refined is not None:
            record["refine"] = str(self._refining)
            write_table(self.storage, trials_path(ended.frame), trials_table(ended))
        if ended.quantized is not None:
            self.storage.write(quantized_path(ended.frame), ended.quantized.checkpoint)
        if ended.encoded is not None:
            assert self._bitstream is not None
            self.storage.write(bitstream_path(ended.frame, self._bitstream), ended.encoded.bitstream)
        rows = write_rd_table(self.storage, ended, record)
        delete_rows(self.storage, ended.frame, "swept", self._found.swept)
        if ended.status == "done":
            delete_rows(self.storage, ended.frame, "failed", self._found.failed)
        self.refinements.delete(ended.frame)
        with self._lock:
            if ended.status == "done":
                self._done[index] = True
                self._found.failures.pop(ended.frame, None)
                self._found.frames.add(record)
                self._found.choices.add_table(chosen_rows(rows))
                self._found.refined.add_table(pa.Table.from_pylist(refined_rows(ended), REFINED))
            else:
                self._found.failed.add(ended.frame)
                self._found.failures[ended.frame] = record
        return record

    def frames(self) -> pa.Table:
        """Frames that have ended, in the order of the configuration, as in ``frames.parquet``."""
        with self._lock:
            failures = pa.Table.from_pylist(list(self._found.failures.values()), FRAMES)
            return self._located(self._in_order(pa.concat_tables([self._found.frames.table(), failures])))

    def _located(self, frames: pa.Table) -> pa.Table:
        """The same with pictures where they are now: a folder may have moved since a frame was done."""
        place = pc.index_in(frames["frame"], self._ids.combine_chunks())
        paths = pa.array([describe(item.frame) for item in self.items], pa.string()).take(place.combine_chunks())
        return frames.set_column(FRAMES.get_field_index("path"), FRAMES.field("path"), paths)

    def _of_networks(self, columns: Columns) -> pa.Table:
        """Rows of networks of the frames that are done, in the same order."""
        with self._lock:
            return self._in_order(columns.table())

    def _in_order(self, table: pa.Table) -> pa.Table:
        order = pc.index_in(table["frame"], self._ids.combine_chunks())
        return table.take(pc.array_sort_indices(order.combine_chunks()))

    def write_summary(self, *, due: bool = True) -> None:
        """Write the tables over all frames that have ended so far.

        Args:
            due: whether in any case, waiting for the end of an outage; else only if the last time is a while ago
                and the storage can be reached.

        Raises:
            ResultsError: they cannot be written; or another driver has taken over.
        """
        start = time.monotonic()
        if due:
            self._write_summary(self.storage)
        elif (
            start - self._summed_up < max(SUMMARY_SECONDS, 50 * self._summing_seconds) or self.storage.outage.lasts
        ):
            return
        else:
            with suppress(OutageError):  # there is a next time
                self._write_summary(self.storage.with_patience(0.0))
        self._summed_up = time.monotonic()
        self._summing_seconds = self._summed_up - start

    def _write_summary(self, storage: Storage) -> None:
        self.check_owner()
        # Tables can be made again from the rows; the timeline is written here alone.
        write_table(storage, FRAMES_FILE, self.frames(), durable=False)
        write_table(storage, CHOICES_FILE, self._of_networks(self._found.choices), durable=False)
        refined = self._of_networks(self._found.refined)
        if self._refining is not None or storage.is_file(REFINED_FILE):
            write_table(storage, REFINED_FILE, refined, durable=False)
        update(storage, self._job, self.items, self.frames())
        if self._timeline is not None:
            tables = zip(self._runs_before, self._timeline.tables(), strict=True)
            for path, (before, now) in zip((TIMELINE_FILE, REPLICAS_FILE), tables, strict=True):
                write_table(storage, path, join_runs(before, now))
