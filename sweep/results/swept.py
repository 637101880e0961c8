"""A frame of a job's results by its id: its quantized encoder, and where the one that was swept is."""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from sweep.config import parse_yaml
from sweep.results.layout import JOB_FILE, MANIFEST_FILE, fitted_path, quantized_path
from sweep.results.parquet import read_table
from sweep.results.storage import Storage
from workers.bitstream.formats import DEFAULT_FORMAT
from workers.errors import DamagedError, ResultsError

_LISTED_IDS = 20


class SweptFrame(NamedTuple):
    """A frame that was swept.

    Attributes:
        picture: path or URI of its picture.
        quantized: checkpoint of its quantized encoder.
        quantized_name: path or URI of that, for messages.
        encoder: path or URI of the encoder that was swept.
        encoder_frame: display index of the frame in that, where the job says it.
    """

    picture: str
    quantized: bytes
    quantized_name: str
    encoder: str
    encoder_frame: int | None


def find_swept(out: str, frame: str) -> SweptFrame:
    """A frame that a job has swept.

    Args:
        out: folder or URI of its results.
        frame: id of the frame.

    Raises:
        ResultsError: there are no results of a job, or none of such a frame; the message lists ids.
    """
    storage = open_job(out)
    manifest = read_table(storage, MANIFEST_FILE)
    ids = manifest["id"]
    found = manifest.filter(pc.field("id") == pa.scalar(frame, ids.type)).to_pylist()
    if not found:
        raise ResultsError(
            f"{storage.describe('')}: there is no frame {frame[:200]!r}; found {listed(ids.to_pylist())}"
        )
    (row,) = found
    path = quantized_path(frame)
    if not storage.is_file(path):
        raise ResultsError(f"{storage.describe(path)}: the frame is not done: its quantized encoder is missing")
    encoder = storage.location(fitted_path(frame)) if row["encoder"] is None else row["encoder"]
    return SweptFrame(row["frame"], storage.read(path), storage.describe(path), encoder, row.get("encoder_frame"))


def bitstream_format(storage: Storage) -> str | None:
    """Name of the format of the bitstreams of a job; ``None`` if it writes none.

    Raises:
        ResultsError: there are no results of a job, or what is written down of it is damaged.
    """
    if not storage.is_file(JOB_FILE):
        return None
    try:
        written = (parse_yaml(storage.read(JOB_FILE).decode()) or {}).get("job", {}).get("bitstream")
        return None if written is None else str(written.get("format", DEFAULT_FORMAT))
    except (AttributeError, yaml.YAMLError, UnicodeDecodeError, ValueError):
        raise DamagedError(f"{storage.describe(JOB_FILE)}: damaged, or not of this program") from None


def open_job(out: str) -> Storage:
    """The folder of a job's results.

    Raises:
        ResultsError: there are none.
    """
    storage = Storage(out)
    if not storage.is_file(JOB_FILE):
        raise ResultsError(f"{storage.describe('')}: there are no results of a job ({JOB_FILE} is missing)")
    return storage


def listed(ids: list[str]) -> str:
    """Ids of frames for a message, the first few of them."""
    more = f", … ({len(ids)} in all)" if len(ids) > _LISTED_IDS else ""
    return ", ".join(map(repr, ids[:_LISTED_IDS])) + more
