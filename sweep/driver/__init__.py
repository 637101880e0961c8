"""Keeps replicas at work, in this process or on Ray, and tells whoever watches."""

from sweep.driver.connection import connect
from sweep.driver.display import Lines, show
from sweep.driver.driver import Driver, LocalPool, Pool, Progress
from sweep.driver.metrics import Metrics
from sweep.driver.observer import Observer, Observers
from sweep.driver.ray_pool import RayPool
from sweep.driver.single import run_one
from sweep.driver.tally import Tally

__all__ = [
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
