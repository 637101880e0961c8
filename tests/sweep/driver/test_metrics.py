"""What a job counts reaches whoever scrapes the metrics of the cluster."""

import re
import time
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
import ray

from sweep.driver import Metrics, Tally
from sweep.driver import metrics as metrics_module
from sweep.schedule import Call, CallDone, CallFailed, Measure, Open
from tests.sweep.ended import done, failed
from workers.quantize import QStepPair

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

PAIRS = tuple(QStepPair(1.0, 2.0**-n) for n in range(10))


def scraped() -> Iterator[tuple[str, str, float]]:
    """Name, labels and value of each of this job's metrics."""
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        page = urlopen(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics").read().decode()
        for name, labels, value in re.findall(r"^ray_(qsweep_\w+)(\{.*\}) ([\d.e+]+)$", page, re.MULTILINE):
            yield name, labels, float(value)


def value_of(name: str, label: str) -> float:
    """Value of the one metric of a name and with a label."""
    (value,) = (value for found, labels, value in scraped() if found.startswith(name) and label in labels)
    return value


@pytest.fixture
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics that no other job of this process has counted in."""
    for kind in ("Counter", "Gauge", "Histogram"):
        original = getattr(metrics_module, kind)
        monkeypatch.setattr(
            metrics_module, kind, lambda name, *more, original=original: original(f"{name}_test", *more)
        )


@pytest.mark.usefixtures("_own_names")
def test_pairs_frames_retries_seconds_and_the_queue_are_counted() -> None:
    tally = Tally(n_frames=5, n_pairs=10)
    metrics = Metrics(tally)
    measure = Call(0, "r0", "a", Measure("arm", PAIRS, ()))
    metrics.answered(measure, CallDone(0, [], 2.0))
    metrics.answered(measure._replace(work=Measure("arm", PAIRS[:2], (), plain=True)), CallDone(0, [], 2.0))
    metrics.answered(Call(1, "r0", "b", Open()), CallDone(1, None, 1.0))
    metrics.answered(measure, CallFailed(0, MemoryError(), final=False))
    metrics.answered(measure, CallFailed(0, MemoryError(), final=True))
    metrics.lost(measure, "killed")
    for frame in (done("a"), done("c"), failed("b")):
        tally.ended(frame)
        metrics.ended(frame)
    end = time.monotonic() + 60
    while not any(name.startswith("qsweep_frames_test") for name, _, _ in scraped()):
        assert time.monotonic() < end
        time.sleep(1.0)
    assert value_of("qsweep_pairs_test", "") == 10
    assert value_of("qsweep_frames_test", 'status="done"') == 2
    assert value_of("qsweep_frames_test", 'status="failed"') == 1
    assert value_of("qsweep_retries_test", "") == 2
    assert value_of("qsweep_queue_depth_test", "") == 2
    assert value_of("qsweep_call_seconds_test_count", 'work="measure"') == 2
    assert value_of("qsweep_call_seconds_test_sum", 'work="measure"') == 4
