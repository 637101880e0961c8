"""Names of the files and folders of a job's results."""

from collections.abc import Iterator

from sweep.results.storage import Storage
from workers.bitstream.formats import FORMATS

JOB_FILE, MANIFEST_FILE = "job.yaml", "manifest.parquet"
FRAMES_FILE, CHOICES_FILE, REFINED_FILE = "frames.parquet", "choices.parquet", "refined.parquet"
TIMELINE_FILE, REPLICAS_FILE = "timeline.parquet", "replicas.parquet"
RD_FOLDER, TRIALS_FOLDER, REFINING_FOLDER = "rd_table", "trials", "refining"
FITTED_FOLDER, QUANTIZED_FOLDER, BITSTREAM_FOLDER = "fitted", "quantized", "bitstreams"


def fitted_path(frame: str) -> str:
    """Where, below ``out``, the encoder that was fitted for a frame is."""
    return f"{FITTED_FOLDER}/{frame}.safetensors"


def quantized_path(frame: str) -> str:
    """Where a frame's quantized encoder is."""
    return f"{QUANTIZED_FOLDER}/{frame}.safetensors"


def bitstream_path(frame: str, format_name: str) -> str:
    """Where a frame's bitstream of a format is."""
    return f"{BITSTREAM_FOLDER}/{frame}{FORMATS[format_name].suffix}"


def trials_path(frame: str) -> str:
    """Where the trials of a frame's refinement are."""
    return f"{TRIALS_FOLDER}/{frame}.parquet"


def refining_path(frame: str) -> str:
    """Where it is kept how far the refinement of a frame is, until the frame is done."""
    return f"{REFINING_FOLDER}/{frame}.state"


def result_files(out: str) -> Iterator[str]:
    """Paths or URIs of everything that a job writes, as far as it is there."""
    storage = Storage(out)
    names = (JOB_FILE, MANIFEST_FILE, FRAMES_FILE, CHOICES_FILE, REFINED_FILE, TIMELINE_FILE, REPLICAS_FILE)
    yield from map(storage.location, names)
    for folder in (RD_FOLDER, TRIALS_FOLDER, QUANTIZED_FOLDER, FITTED_FOLDER, BITSTREAM_FOLDER):
        yield from (storage.location(file.path) for file in storage.files(folder))
