from .connection import connect
from .display import Lines, show
from .driver import SEARCH_SECONDS, Driver, LocalPool, Pool, Progress
from .metrics import Metrics
from .observer import Observer, Observers
from .ray_pool import RayPool
from .single import run_one
from .tally import Tally

__all__ = [
    "SEARCH_SECONDS",
    "Driver",
    "Lines",
    "LocalPool",
    "Metrics",
    "Observer",
    "Observers",
    "Pool",
    "Progress",
    "RayPool",
    "Tally",
    "connect",
    "run_one",
    "show",
]
