"""The folder of a job's results: who may write there, its tables, and what they tell."""

from sweep.results.analysis import choose_at, compare_jobs, cost_of_steps, pareto_front, read_frames
from sweep.results.layout import BITSTREAM_FOLDER, CHOICES_FILE, FRAMES_FILE, QUANTIZED_FOLDER, result_files
from sweep.results.output import Output, describe_output, goes_to_stdout
from sweep.results.ownership import JOB_FILE, MANIFEST_FILE
from sweep.results.parquet import read_as, read_table, write_table
from sweep.results.reading import iter_rd_table, read_rd_table, to_pandas
from sweep.results.results import Results
from sweep.results.status import is_running, read_status
from sweep.results.storage import Storage
from sweep.results.table import CHOICES, FRAMES, rd_table
from sweep.results.timeline import STAGES, read_timeline

__all__ = [
    "BITSTREAM_FOLDER",
    "CHOICES",
    "CHOICES_FILE",
    "FRAMES",
    "FRAMES_FILE",
    "JOB_FILE",
    "MANIFEST_FILE",
    "QUANTIZED_FOLDER",
    "STAGES",
    "Output",
    "Results",
    "Storage",
    "choose_at",
    "compare_jobs",
    "cost_of_steps",
    "describe_output",
    "goes_to_stdout",
    "is_running",
    "iter_rd_table",
    "pareto_front",
    "rd_table",
    "read_as",
    "read_frames",
    "read_rd_table",
    "read_status",
    "read_table",
    "read_timeline",
    "result_files",
    "to_pandas",
    "write_table",
]
