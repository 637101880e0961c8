"""Fixtures that the whole suite shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.browser import browser, reader  # noqa: F401  # fixtures
from tests.cases import CASE_NAMES, CASES, Case, load_case
from tests.object_store import object_store  # noqa: F401  # a fixture
from tests.ray_cluster import local_ray  # noqa: F401  # a fixture

# How long an example takes says more of what else runs on the machine.
settings.register_profile("qsweep", deadline=None)
settings.load_profile("qsweep")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option of the tests that take minutes each."""
    parser.addoption("--thorough", action="store_true", help="run also the tests that are marked as thorough")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out thorough tests unless they are asked for, and let files with slow tests come first.

    A slow file that came last would be waited for alone.
    """
    if not config.getoption("--thorough"):
        thorough = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=thorough)
        items[:] = [item for item in items if item not in thorough]
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def case_paths() -> dict[str, Path]:
    """Folder of every conformance case, by name."""
    return {name: CASES / name for name in CASE_NAMES}


@pytest.fixture(scope="module", params=CASE_NAMES)
def case(request: pytest.FixtureRequest) -> Case:
    """Every conformance case in turn, shared by a module's tests: they do not change it."""
    return load_case(request.param)


@pytest.fixture
def smallest_case() -> Case:
    """One conformance case that is quick to measure."""
    return load_case("astronaut_64x96_lop")


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Threads that torch is set to, for the time of the test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
