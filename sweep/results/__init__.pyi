from .analysis import (
    choose_at,
    compare_jobs,
    cost_of_steps,
    pareto_front,
    read_choices,
    read_frames,
    read_refined,
    read_trials,
)
from .layout import (
    BITSTREAM_FOLDER,
    CHOICES_FILE,
    FRAMES_FILE,
    JOB_FILE,
    MANIFEST_FILE,
    QUANTIZED_FOLDER,
    REFINED_FILE,
    bitstream_path,
    result_files,
)
from .manifest import job_frames
from .output import Output, describe_output, goes_to_stdout
from .parquet import read_as, read_table, write_table
from .reading import iter_rd_table, read_rd_table, to_pandas
from .refined import REFINED
from .results import Results
from .runs import read_timeline
from .status import is_running, read_status
from .storage import Storage
from .swept import SweptFrame, bitstream_format, find_swept, listed
from .table import CHOICES, FRAMES, rd_table
from .timeline import stages_of

__all__ = [
    "BITSTREAM_FOLDER",
    "CHOICES",
    "CHOICES_FILE",
    "FRAMES",
    "FRAMES_FILE",
    "JOB_FILE",
    "MANIFEST_FILE",
    "QUANTIZED_FOLDER",
    "REFINED",
    "REFINED_FILE",
    "Output",
    "Results",
    "Storage",
    "SweptFrame",
    "bitstream_format",
    "bitstream_path",
    "choose_at",
    "compare_jobs",
    "cost_of_steps",
    "describe_output",
    "find_swept",
    "goes_to_stdout",
    "is_running",
    "iter_rd_table",
    "job_frames",
    "listed",
    "pareto_front",
    "rd_table",
    "read_as",
    "read_choices",
    "read_frames",
    "read_rd_table",
    "read_refined",
    "read_status",
    "read_table",
    "read_timeline",
    "read_trials",
    "result_files",
    "stages_of",
    "to_pandas",
    "write_table",
]
