"""What a job counts reaches whoever scrapes the metrics of the cluster."""

import re
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
import ray

from sweep.driver import Metrics, Tally
from sweep.driver import metrics as metrics_module
from sweep.schedule import Call, CallDone, CallFailed, Measure, Open
from tests.cases import ARM
from tests.making import request
from tests.sweep.ended import done, failed
from tests.waiting import wait_until
from workers.candidates import QStepPair

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

PAIRS = tuple(QStepPair(1.0, 2.0**-n) for n in range(10))


def scraped() -> Iterator[tuple[str, str, float]]:
    """Name, labels and value of each of this job's metrics."""
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        page = urlopen(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics").read().decode()
        for name, labels, value in re.findall(r"^ray_(qsweep_\w+)(\{.*\}) ([\d.e+]+)$", page, re.MULTILINE):
            yield name, labels, float(value)


EXPECTED = {
    ("qsweep_pairs_test", ""): 10,
    ("qsweep_frames_test", 'status="done"'): 2,
    ("qsweep_frames_test", 'status="failed"'): 1,
    ("qsweep_retries_test", ""): 2,
    ("qsweep_queue_depth_test", ""): 2,
    ("qsweep_call_seconds_test_count", 'work="measure"'): 2,
    ("qsweep_call_seconds_test_sum", 'work="measure"'): 4,
}


def values() -> dict[tuple[str, str], list[float]]:
    """What is found of each metric, by the beginning of its name and a label."""
    found = list(scraped())
    return {
        (name, label): [value for full, labels, value in found if full.startswith(name) and label in labels]
        for name, label in EXPECTED
    }


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
    measure = Call(0, "r0", "a", Measure(request(ARM, PAIRS)))
    metrics.answered(measure, CallDone(0, [], 2.0))
    metrics.answered(measure._replace(work=Measure(request(ARM, PAIRS[:2], plain=True))), CallDone(0, [], 2.0))
    metrics.answered(Call(1, "r0", "b", Open()), CallDone(1, None, 1.0))
    metrics.answered(measure, CallFailed(0, MemoryError(), final=False))
    metrics.answered(measure, CallFailed(0, MemoryError(), final=True))
    metrics.lost(measure, "killed")
    for frame in (done("a"), done("c"), failed("b")):
        tally.ended(frame)
        metrics.ended(frame)
    # They are sent on every few seconds, some of them perhaps before others.
    wait_until(lambda: values() == {metric: [value] for metric, value in EXPECTED.items()}, values)
