"""What is finished of a job, found from its files when it begins or resumes."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from sweep.config import FrameItem
from sweep.results.changes import find_changes, picture_has_changed
from sweep.results.damage import find_damaged
from sweep.results.layout import (
    BITSTREAM_FOLDER,
    CHOICES_FILE,
    FITTED_FOLDER,
    FRAMES_FILE,
    QUANTIZED_FOLDER,
    RD_FOLDER,
    REFINED_FILE,
    TRIALS_FOLDER,
    bitstream_path,
    fitted_path,
    quantized_path,
    trials_path,
)
from sweep.results.parquet import Columns, read_as
from sweep.results.refined import REFINED
from sweep.results.rows import rd_path, read_choices, read_record, read_refined_rows
from sweep.results.storage import FileFound, Storage
from sweep.results.table import CHOICES, FRAMES, IDENTITY
from workers.bitstream.formats import FORMATS
from workers.codec import FITTED_FRAME, checkpoint_metadata
from workers.errors import DamagedError, ResultsError

_Read = TypeVar("_Read")

_TABLES = ((FRAMES_FILE, FRAMES), (CHOICES_FILE, CHOICES))

GARBLED = "damaged, or not of this program"

_SUFFIXES = (".parquet", ".safetensors", *(FORMATS[name].suffix for name in FORMATS))

_READERS = 16  # files that are read at a time


class Finished:
    """What is finished of a job.

    Files that are empty, cut off or garbled count as missing, and a frame that lacks one of its files is not done.

    Args:
        storage: the folder of its results.
        items: its frames.
        bitstream: name of the format of its bitstreams, if it writes any.
        refining: how their choices are to be refined, see :class:`~sweep.config.Refining`; ``None`` for not at all.

    Attributes:
        done: frames that are complete.
        failed: frames of which there are rows of a failure.
        swept: frames of which there are rows of a sweep that was still to be refined, or to be made a bitstream of.
        unrefined: frames that were complete, but not refined as is asked for now, with their luma samples: their
            sweep is complete.
        fitted: frames whose encoder was fitted.
        frames: records of the frames that are done, as in ``frames.parquet``.
        choices: theirs, as in ``choices.parquet``.
        refined: theirs, as in ``refined.parquet``.
        failures: records of frames that failed and are not done, by frame.
        damaged: what is wrong with files that cannot be used, and with those that are missing, by path.
        changed: what has changed of frames whose results are of other inputs, by frame: they are not done.
    """

    def __init__(
        self,
        storage: Storage,
        items: Sequence[FrameItem],
        bitstream: str | None = None,
        refining: str | None = None,
    ) -> None:
        self._storage = storage
        self._refining = refining
        self.damaged: dict[str, str] = {}
        self.changed: dict[str, str] = {}
        ids = [item.id for item in items]
        rows = self._intact(RD_FOLDER)
        fitted, quantized = self._intact(FITTED_FOLDER), self._intact(QUANTIZED_FOLDER)
        self.fitted = {frame for frame in ids if fitted and fitted_path(frame) in fitted}
        self.failed = {frame for frame in ids if rows and rd_path(frame, "failed") in rows}
        self.swept = {frame for frame in ids if rows and rd_path(frame, "swept") in rows}
        self.done = {frame for frame in ids if rows and rd_path(frame) in rows}
        for frame in [frame for frame in self.done if quantized_path(frame) not in quantized]:
            self._distrust(frame, quantized_path(frame))
        self.frames, self.choices, self.refined = Columns(FRAMES), Columns(CHOICES), Columns(REFINED)
        self._sum_up_done()
        self._check_inputs(items)
        if bitstream is not None:
            self._check_bitstreams(bitstream)
        self._check_refinements()
        self.failures: dict[str, Mapping[str, Any]] = {}
        failed = sorted(self.failed - self.done)
        for frame, record in zip(
            failed, self._read_each(partial(read_record, status="failed"), failed), strict=True
        ):
            if record is None:
                self.damaged[rd_path(frame, "failed")] = GARBLED
                self.failed.remove(frame)
            else:
                self.failures[frame] = record

    def _intact(self, folder: str) -> dict[str, FileFound]:
        """Files in a folder, but for those that are empty or cut off."""
        files = [file for file in self._storage.files(folder) if file.path.endswith(_SUFFIXES)]
        damaged = find_damaged(self._storage, files)
        self.damaged |= damaged
        return {file.path: file for file in files if file.path not in damaged}

    def _distrust(self, frame: str, path: str) -> None:
        """Treat a frame as not done, because this file of it is missing or damaged."""
        self.damaged.setdefault(path, "missing")
        self.damaged[rd_path(frame)] = f"what belongs to it is {self.damaged[path]}"
        self.done.remove(frame)

    def _sum_up_done(self) -> None:
        """Take the records of what is done from the tables of the time before, and else from the rows.

        Frames whose rows turn out to be damaged are removed.
        """
        if not self.done:
            return
        wanted = pa.array(sorted(self.done), pa.string())
        known = pa.chunked_array([], pa.string())
        try:
            frames, choices = (read_as(self._storage, path, schema) for path, schema in _TABLES)
            refined = REFINED.empty_table()
            if self._storage.is_file(REFINED_FILE):
                refined = read_as(self._storage, REFINED_FILE, REFINED)
            is_refined = pc.is_in(frames["frame"], refined["frame"].combine_chunks())
            frames = frames.filter(pc.or_(pc.is_null(frames["refine"]), is_refined))
            known = frames.filter((pc.field("status") == "done") & pc.field("frame").isin(wanted))["frame"]
            known = known.filter(pc.is_in(known, choices["frame"].combine_chunks()))
            for columns, table in ((self.frames, frames), (self.choices, choices), (self.refined, refined)):
                columns.add_table(table.filter(pc.is_in(table["frame"], known.combine_chunks())))
        except ResultsError:  # missing or damaged: the rows say it all
            pass
        rest = wanted.filter(pc.invert(pc.is_in(wanted, known.combine_chunks()))).to_pylist()
        read_all = (read_record, read_choices, read_refined_rows)
        for frame, *read in zip(rest, *(self._read_each(read, rest) for read in read_all), strict=True):
            record, choices, refined = read
            if record is None or choices is None or refined is None:
                self.damaged[rd_path(frame)] = GARBLED
                self.done.remove(frame)
            else:
                self.frames.add(record)
                self.choices.add_table(choices)
                self.refined.add_table(refined)

    def _read_each(self, read: Callable[[Storage, str], _Read], frames: Sequence[str]) -> list[_Read | None]:
        """What is read of each of some frames; ``None`` where it is damaged."""

        def attempt(frame: str) -> _Read | None:
            try:
                return read(self._storage, frame)
            except DamagedError:
                return None

        with ThreadPoolExecutor(_READERS) as readers:
            return list(readers.map(attempt, frames))

    def _check_inputs(self, items: Sequence[FrameItem]) -> None:
        """Find frames whose results, or whose fit, are of other files than they have now: they are not done."""
        by_id = {item.id: item for item in items}
        records = self.frames.table().select(["frame", *IDENTITY.names]).to_pylist()
        self.changed = find_changes((by_id[record["frame"]], record) for record in records)
        if self.changed:
            self.done -= self.changed.keys()
            self._keep_done()
        for frame in sorted(self.fitted - self.done - self.changed.keys()):
            digest = self._fitted_frame(frame)
            if digest is not None and picture_has_changed(by_id[frame], digest):
                self.changed[frame] = "the picture that its encoder was fitted to has changed"

    def _fitted_frame(self, frame: str) -> str | None:
        """Digest of the file that an encoder was fitted to, if that is known."""
        try:
            return checkpoint_metadata(self._storage.read(fitted_path(frame))).get(FITTED_FRAME)
        except ValueError:  # it is no checkpoint: the replica that opens it says so
            return None

    def _check_bitstreams(self, bitstream: str) -> None:
        """Frames whose bitstream is missing or damaged are not done."""
        frames = self.frames.table()
        with_file = frames.filter(pc.field("file_bytes").is_valid()).select(["frame", "file_bytes"]).to_pylist()
        if not with_file:
            return
        files = self._intact(BITSTREAM_FOLDER)
        n_done = len(self.done)
        for frame, n_bytes in (record.values() for record in with_file):
            path = bitstream_path(frame, bitstream)
            if path in files and files[path].size in (None, n_bytes):
                continue
            if path in files:
                self.damaged[path] = "cut off"
            self._distrust(frame, path)
        if len(self.done) < n_done:
            self._keep_done()

    def _check_refinements(self) -> None:
        """Frames that were refined in another way than is asked for now, or whose trials are lost, are not done."""
        trials = self._intact(TRIALS_FOLDER)
        frames = self.frames.table().select(["frame", "refine", "width", "height"])
        self.unrefined = {
            frame: width * height
            for frame, refine, width, height in zip(*(column.to_pylist() for column in frames.columns), strict=True)
            if refine != self._refining or (refine is not None and trials_path(frame) not in trials)
        }
        if self.unrefined:
            self.done -= self.unrefined.keys()
            self._keep_done()

    def _keep_done(self) -> None:
        """Keep the records of the frames that are done alone."""
        condition = pc.field("frame").isin(pa.array(sorted(self.done), pa.string()))
        self.frames, self.choices, self.refined = (
            columns.only(condition) for columns in (self.frames, self.choices, self.refined)
        )
