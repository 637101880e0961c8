"""What a job is: its configuration, its frames, its grid."""

from sweep.config.fit_config import FitConfig, make_fit
from sweep.config.frames import FrameItem, FrameList, escape, resolve
from sweep.config.grid import Grid, Mode, make_grid, named_grid
from sweep.config.job_config import FrameEntry, Job, JobConfig, RayConfig, load_job, read_config
from sweep.config.manifest import MANIFESTS, read_manifest
from sweep.config.yaml_file import parse_yaml

__all__ = [
    "MANIFESTS",
    "FitConfig",
    "FrameEntry",
    "FrameItem",
    "FrameList",
    "Grid",
    "Job",
    "JobConfig",
    "Mode",
    "RayConfig",
    "escape",
    "load_job",
    "make_fit",
    "make_grid",
    "named_grid",
    "parse_yaml",
    "read_config",
    "read_manifest",
    "resolve",
]
