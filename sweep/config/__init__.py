"""What a job is: its configuration, its frames, its grid."""

from sweep.config.fit_config import FitConfig, make_fit
from sweep.config.frames import FrameItem, FrameList, escape, is_manifest, place_entry, read_manifest_at
from sweep.config.grid import Grid, Mode, as_grid, make_grid, named_grid
from sweep.config.job_config import FrameEntry, Job, JobConfig, RayConfig, load_job, read_config
from sweep.config.paths import expand, resolve, unexpanded
from sweep.config.yaml_file import parse_yaml

__all__ = [
    "FitConfig",
    "FrameEntry",
    "FrameItem",
    "FrameList",
    "Grid",
    "Job",
    "JobConfig",
    "Mode",
    "RayConfig",
    "as_grid",
    "escape",
    "expand",
    "is_manifest",
    "load_job",
    "make_fit",
    "make_grid",
    "named_grid",
    "parse_yaml",
    "place_entry",
    "read_config",
    "read_manifest_at",
    "resolve",
    "unexpanded",
]
