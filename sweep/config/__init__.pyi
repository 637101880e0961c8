from .encodable import check_fit
from .fit_config import FitConfig, make_fit
from .frame_ids import added_ids, name_of
from .frames import FrameItem, FrameList, is_manifest, place_entry, read_manifest_at
from .grid import DEFAULT_GRID, Grid, as_grid, default_steps, make_grid, named_grid, pairs_of, usual_pairs
from .job_config import FrameEntry, Job, JobConfig, SweepConfig, check_names, load_job, read_config
from .paths import escape, expand, resolve, unexpanded
from .plugins import load_plugins
from .ray_config import RayConfig
from .refining import RefineOptions, RefineSetting, Refining
from .searches import SEARCHES, search_factory
from .yaml_file import parse_yaml

__all__ = [
    "DEFAULT_GRID",
    "SEARCHES",
    "FitConfig",
    "FrameEntry",
    "FrameItem",
    "FrameList",
    "Grid",
    "Job",
    "JobConfig",
    "RayConfig",
    "RefineOptions",
    "RefineSetting",
    "Refining",
    "SweepConfig",
    "added_ids",
    "as_grid",
    "check_fit",
    "check_names",
    "default_steps",
    "escape",
    "expand",
    "is_manifest",
    "load_job",
    "load_plugins",
    "make_fit",
    "make_grid",
    "name_of",
    "named_grid",
    "pairs_of",
    "parse_yaml",
    "place_entry",
    "read_config",
    "read_manifest_at",
    "resolve",
    "search_factory",
    "unexpanded",
    "usual_pairs",
]
