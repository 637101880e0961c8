"""The folder of a job's results: who may write there, what is finished, and the tables that sum it up."""

import platform
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import yaml

from sweep.config import FrameItem, Job
from sweep.messages import FrameEnded
from sweep.storage import Storage
from sweep.table import (
    CHOICES,
    FRAMES,
    chosen_rows,
    frame_record,
    read_record,
    write_rd_table,
    write_table,
)
from sweep.yaml_file import parse_yaml
from workers.errors import ResultsError

JOB_FILE, FRAMES_FILE, CHOICES_FILE = "job.yaml", "frames.parquet", "choices.parquet"


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
        self._items = {item.id: item for item in job.frames}
        self._ended: dict[str, Mapping[str, Any]] = {}
        self._claim(job)
        for frame in self._items:
            record = read_record(self.storage, frame)
            if record is not None and record["status"] == "done":
                self._ended[frame] = record

    def _claim(self, job: Job) -> None:
        where = self.storage.describe("")
        identity = job.identity()
        if self.storage.is_file(JOB_FILE):
            try:
                before = parse_yaml(self.storage.read(JOB_FILE).decode())["job"]
                different = [key for key in identity if before.get(key) != identity[key]]
            except (AttributeError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
                raise ResultsError(f"{self.storage.describe(JOB_FILE)}: damaged, or not of this program") from None
            if different:
                raise ResultsError(
                    f"{where}: holds the results of another job, which differs in: {', '.join(different)}; "
                    "choose another folder with --out, or remove this one"
                )
            return
        if not self.storage.is_empty():
            raise ResultsError(
                f"{where}: is not empty, and what it holds is not of this program ({JOB_FILE} is missing)"
            )
        content = {
            "job": identity,
            "configuration": job.config.model_dump(),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("qsweep", "torch", "ray", "pyarrow", "pandas", "numpy")},
            },
        }
        self.storage.write(JOB_FILE, yaml.safe_dump(content, sort_keys=False).encode())

    @property
    def unfinished(self) -> list[FrameItem]:
        """Frames that are not done, in the order of the configuration; failed ones are tried again."""
        done = {frame for frame, record in self._ended.items() if record["status"] == "done"}
        return [item for frame, item in self._items.items() if frame not in done]

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """Records of the frames that have ended, in the order of the configuration."""
        return [self._ended[frame] for frame in self._items if frame in self._ended]

    def fitted_path(self, frame: str) -> str:
        """Where, below ``out``, the encoder that was fitted for a frame is."""
        return f"fitted/{frame}.safetensors"

    def write_fitted(self, frame: str, checkpoint: bytes) -> None:
        """Keep an encoder that was fitted for a frame, so that it is never fitted again."""
        self.storage.write(self.fitted_path(frame), checkpoint)

    def read_fitted(self, frame: str) -> bytes | None:
        """Checkpoint of an encoder that was fitted for a frame before, if any."""
        path = self.fitted_path(frame)
        return self.storage.read(path) if self.storage.is_file(path) else None

    def write_frame(self, ended: FrameEnded) -> Mapping[str, Any]:
        """Write what a frame came to; give its record.

        Raises:
            ResultsError: there is no room, or no right, to write.
        """
        item = self._items[ended.frame]
        encoder = item.encoder
        if encoder is None and self.storage.is_file(self.fitted_path(ended.frame)):
            encoder = self.storage.describe(self.fitted_path(ended.frame))
        record = frame_record(ended, item.frame, encoder)
        if ended.checkpoint is not None:
            self.storage.write(f"quantized/{ended.frame}.safetensors", ended.checkpoint)
        if ended.rows:
            write_rd_table(self.storage, ended, record)
        self._ended[ended.frame] = record
        return record

    def write_summary(self) -> None:
        """Write the tables over all frames that have ended so far."""
        write_table(self.storage, FRAMES_FILE, self.records, FRAMES)
        with_rows = _done(self.records)
        write_table(self.storage, CHOICES_FILE, chosen_rows(self.storage, with_rows), CHOICES)


def _done(records: Iterable[Mapping[str, Any]]) -> list[str]:
    return [record["frame"] for record in records if record["status"] == "done"]
