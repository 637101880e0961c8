"""One local Ray for all tests that need it: starting it takes seconds."""

from collections.abc import Iterator

import pytest

from sweep.cluster import connect
from sweep.config import RayConfig


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A Ray with two CPUs, to which every job of the session connects."""
    with connect(RayConfig(replicas=2)):
        yield
