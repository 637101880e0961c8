"""The folder of a job's results: who may write there, what is finished, and the tables that sum it up."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sweep.config import FrameItem, Job
from sweep.results.claim import Claim
from sweep.results.ownership import begin
from sweep.results.parquet import Columns, read_as, write_table
from sweep.results.rows import (
    RD_FOLDER,
    rd_path,
    read_choices,
    read_record,
    read_swept,
    write_rd_table,
    write_swept,
)
from sweep.results.storage import Storage
from sweep.results.table import CHOICES, FRAMES, chosen_rows, frame_record
from sweep.results.timeline import REPLICAS_FILE, TIMELINE_FILE, Timeline, next_run, read_timeline
from sweep.schedule import FrameEnded, FrameSwept
from workers.errors import ResultsError
from workers.files import describe

FRAMES_FILE, CHOICES_FILE = "frames.parquet", "choices.parquet"
FITTED_FOLDER, QUANTIZED_FOLDER, BITSTREAM_FOLDER = "fitted", "quantized", "bitstreams"

SUMMARY_SECONDS = 60.0
"""The tables that sum a job up are written this often; if writing takes long, less often."""

_TABLES = ((FRAMES_FILE, FRAMES), (CHOICES_FILE, CHOICES))

_READERS = 16  # files that are read at a time when a job goes on


class Results:
    """Results of one job.

    A frame is finished when its rows are there: they are written last, as one file, and hold its record. The
    tables over all frames only sum those files up, so a killed job loses none of what it finished.

    Args:
        job: whose results these are. A folder that holds results of the same job is gone on with.

    Raises:
        ResultsError: the folder cannot be written, or it holds another job's results or something else.
    """

    def __init__(self, job: Job) -> None:
        self.storage = Storage(job.config.out)
        self._job = job
        self._ids = job.frames.table["id"]
        begin(self.storage, job)
        self._lock = threading.Lock()
        self._summed_up, self._summing_seconds = time.monotonic(), 0.0
        self.taken_over = False
        """Whether another driver has the folder now, because this one gave no sign of life."""
        self._runs_before: tuple[pa.Table, ...] = ()
        self._timeline: Timeline | None = None
        self._look()

    # --- whose folder it is

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Nobody else writes into the folder until the context is left.

        Raises:
            ClaimError: another driver is at work there.
            ResultsError: the folder is another job's now.
        """
        self.storage.be_patient()
        claim = Claim(self.storage, self._lose)
        try:
            begin(self.storage, self._job)  # two that began at once have both written
            self._look()  # whoever had it before has gone on meanwhile
            self._tidy()
            yield
        finally:
            claim.release()

    def _lose(self) -> None:
        self.taken_over = True

    def _check_owner(self) -> None:
        if self.taken_over:
            raise ResultsError(f"{self.storage.describe('')}: another driver has taken over")

    # --- what is finished

    def _look(self) -> None:
        """See what is there, and what became of the frames."""
        ids = self._ids.to_pylist()
        found = {file.path for file in self.storage.files(RD_FOLDER)}
        self._done = np.array([rd_path(frame) in found for frame in ids], dtype=bool)
        self._failed = {frame for frame in ids if found and rd_path(frame, "failed") in found}
        self._swept = {frame for frame in ids if found and rd_path(frame, "swept") in found}
        fitted = {file.path for file in self.storage.files(FITTED_FOLDER)}
        self._fitted = {frame for frame in ids if fitted and self.fitted_path(frame) in fitted}
        self._frames, self._choices = Columns(FRAMES), Columns(CHOICES)
        done = self._ids.filter(pa.array(self._done))
        self._sum_up_done(done)
        failed = sorted(self._failed.difference(done.to_pylist()))
        with ThreadPoolExecutor(_READERS) as readers:
            records = readers.map(lambda frame: read_record(self.storage, frame, "failed"), failed)
            self._failures: dict[str, Mapping[str, Any]] = dict(zip(failed, records, strict=True))

    def _sum_up_done(self, done: pa.ChunkedArray) -> None:
        """Take the records of what is done from the tables of the time before, and else from the rows."""
        if not len(done):
            return
        known = pa.chunked_array([], pa.string())
        try:
            frames, choices = (read_as(self.storage, path, schema) for path, schema in _TABLES)
            known = frames.filter((pc.field("status") == "done") & pc.field("frame").isin(done))["frame"]
            known = known.filter(pc.is_in(known, choices["frame"].combine_chunks()))
            for columns, table in ((self._frames, frames), (self._choices, choices)):
                columns.add_table(table.filter(pc.is_in(table["frame"], known.combine_chunks())))
        except ResultsError:  # damaged: the rows say it all
            pass
        rest = done.filter(pc.invert(pc.is_in(done, known.combine_chunks()))).to_pylist()
        with ThreadPoolExecutor(_READERS) as readers:
            for record in readers.map(lambda frame: read_record(self.storage, frame), rest):
                self._frames.add(record)
            for table in readers.map(lambda frame: read_choices(self.storage, frame), rest):
                self._choices.add_table(table)

    def _tidy(self) -> None:
        """Delete what a driver that was killed at the wrong moment has left, so that no row is there twice."""
        for frame in self._ids.filter(pa.array(self._done)).to_pylist():
            self._delete_rows(frame, "failed", self._failed)
            self._delete_rows(frame, "swept", self._swept)
        for frame in self._failures:
            self._delete_rows(frame, "swept", self._swept)

    def _delete_rows(self, frame: str, status: str, frames: set[str]) -> None:
        """Delete the rows of a frame that its status is past, if it is one of those that have any."""
        if frame in frames:
            self.storage.delete(rd_path(frame, status))
            frames.discard(frame)

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
        """Frames that are not done, failed ones among them: first those that are fitted, which takes longest.

        As it is when the first one is asked for: what happens to them meanwhile brings none of them twice.
        """
        unfinished = np.flatnonzero(~self._done)
        needs_fit = np.fromiter(map(self._needs_fit, self._unfinished()), bool, len(unfinished))
        for index in np.concatenate([unfinished[needs_fit], unfinished[~needs_fit]]).tolist():
            yield self._job.frames[index]

    def _unfinished(self) -> Iterator[FrameItem]:
        return (item for item, done in zip(self._job.frames, self._done, strict=True) if not done)

    def _needs_fit(self, item: FrameItem) -> bool:
        return item.encoder is None and item.id not in self._fitted

    # --- what is written

    def begin_timeline(self, n_replicas: Callable[[], int]) -> Timeline:
        """Follow a run of the job, whose timeline is written with the tables over all frames."""
        self._runs_before = read_timeline(self.storage)
        self._timeline = Timeline(next_run(self._runs_before[0]), n_replicas)
        return self._timeline

    def fitted_path(self, frame: str) -> str:
        """Where, below ``out``, the encoder that was fitted for a frame is."""
        return f"{FITTED_FOLDER}/{frame}.safetensors"

    def write_fitted(self, frame: str, checkpoint: bytes) -> None:
        """Keep an encoder that was fitted for a frame, so that it is never fitted again.

        Raises:
            ResultsError: it cannot be written; or another driver has taken over.
        """
        self._check_owner()
        self.storage.write(self.fitted_path(frame), checkpoint)
        self._fitted.add(frame)

    def is_fitted(self, frame: str) -> bool:
        """Whether an encoder was fitted for a frame before."""
        return frame in self._fitted

    def write_swept(self, swept: FrameSwept) -> None:
        """Keep the rows of a frame whose bitstream is still to be made, so that they are never measured again."""
        self._check_owner()
        write_swept(self.storage, swept)
        self._swept.add(swept.frame)

    def read_swept(self, frame: str) -> FrameSwept | None:
        """What the sweep of a frame came to, if it was complete before the job ended."""
        return read_swept(self.storage, frame) if frame in self._swept else None

    def write_frame(self, ended: FrameEnded) -> Mapping[str, Any]:
        """Write what a frame came to, from any thread; give its record.

        Raises:
            ResultsError: there is no room, or no right, to write; or another driver has taken over.
        """
        self._check_owner()
        index = pc.index(self._ids, ended.frame).as_py()
        item = self._job.frames[index]
        encoder = None if item.encoder is None else describe(item.encoder)
        if encoder is None and self.is_fitted(ended.frame):
            encoder = self.storage.describe(self.fitted_path(ended.frame))
        record = frame_record(ended, describe(item.frame), encoder, item.frame_index)
        if ended.quantized is not None:
            self.storage.write(f"{QUANTIZED_FOLDER}/{ended.frame}.safetensors", ended.quantized.checkpoint)
        if ended.encoded is not None:
            self.storage.write(f"{BITSTREAM_FOLDER}/{ended.frame}.qsw", ended.encoded.bitstream)
        rows = write_rd_table(self.storage, ended, record)
        self._delete_rows(ended.frame, "swept", self._swept)
        if ended.status == "done":
            self._delete_rows(ended.frame, "failed", self._failed)
        with self._lock:
            if ended.status == "done":
                self._done[index] = True
                self._failures.pop(ended.frame, None)
                self._frames.add(record)
                self._choices.add_table(chosen_rows(rows))
            else:
                self._failed.add(ended.frame)
                self._failures[ended.frame] = record
        return record

    def frames(self) -> pa.Table:
        """Frames that have ended, in the order of the configuration, as in ``frames.parquet``."""
        with self._lock:
            failures = pa.Table.from_pylist(list(self._failures.values()), FRAMES)
            return self._in_order(pa.concat_tables([self._frames.table(), failures]))

    def _choices_so_far(self) -> pa.Table:
        """Choices of the frames that are done, in the same order, as in ``choices.parquet``."""
        with self._lock:
            return self._in_order(self._choices.table())

    def _in_order(self, table: pa.Table) -> pa.Table:
        order = pc.index_in(table["frame"], self._ids.combine_chunks())
        return table.take(pc.array_sort_indices(order.combine_chunks()))

    def write_summary(self, *, due: bool = True) -> None:
        """Write the tables over all frames that have ended so far.

        Args:
            due: whether in any case, or only if the last time is a while ago.

        Raises:
            ResultsError: they cannot be written; or another driver has taken over.
        """
        start = time.monotonic()
        if not due and start - self._summed_up < max(SUMMARY_SECONDS, 50 * self._summing_seconds):
            return
        self._check_owner()
        write_table(self.storage, FRAMES_FILE, self.frames())
        write_table(self.storage, CHOICES_FILE, self._choices_so_far())
        if self._timeline is not None:
            tables = zip(self._runs_before, self._timeline.tables(), strict=True)
            for path, parts in zip((TIMELINE_FILE, REPLICAS_FILE), tables, strict=True):
                write_table(self.storage, path, pa.concat_tables(parts))
        self._summed_up = time.monotonic()
        self._summing_seconds = self._summed_up - start
