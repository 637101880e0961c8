"""The README's Python is real: its examples run on this repository and print what it shows."""

import contextlib
import io
import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sweep.cli import app
from sweep.config import load_job
from sweep.config.grid import STEPS
from sweep.driver import Lines, LocalPool
from sweep.job import run_on
from sweep.results import FRAMES, Results
from sweep.results.table import RD_TABLE
from sweep.results.timeline import REPLICAS, TIMELINE
from workers.replica import Replica

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
READING = (ROOT / "sweep" / "report" / "READING.md").read_text("utf-8")
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def run(code: str, names: dict[str, object]) -> str:
    """What an example prints by itself: a Ray that another test uses writes to this process's output as well."""
    printed = io.StringIO()
    names["print"] = partial(print, file=printed)
    exec(code, names)
    return printed.getvalue()


def test_the_in_memory_example_prints_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = BLOCK.findall(README)
    (index,) = (i for i, (kind, code) in enumerate(blocks) if kind == "python" and "quantize_model" in code)
    monkeypatch.chdir(ROOT)
    assert run(blocks[index][1], {}) == blocks[index + 1][1]


def test_the_section_on_analysis_prints_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = yaml.safe_load((ROOT / "configs" / "example.yaml").read_text("utf-8"))
    fitted = [entry for entry in example["frames"] if "encoder" in entry]
    assert len(fitted) == 2
    (tmp_path / "example").symlink_to(ROOT / "configs" / "example")
    config = tmp_path / "example.yaml"
    config.write_text(yaml.safe_dump(example | {"frames": fitted, "out": "out/example"}))
    job = load_job(config)
    results = Results(job)
    run_on(LocalPool(Replica("cpu", 2)), job, results, lambda tally: contextlib.nullcontext(Lines(tally)))
    results.write_summary()
    monkeypatch.chdir(tmp_path)
    section = README[README.index("## Looking at them") : README.index("For a frame that is in memory already:")]
    blocks = BLOCK.findall(section)
    names: dict[str, object] = {}
    n_run = 0
    for (kind, code), (_, shown) in pairwise(blocks):
        if kind == "python":
            assert run(code, names) == shown, code
            n_run += 1
    assert n_run == section.count("```python") == 6
    arguments = re.findall(r"^\.venv/bin/qsweep (plot .*?) +#", section, re.MULTILINE)
    for line in arguments:
        assert CliRunner().invoke(app, line.split()).exit_code == 0
    assert len(arguments) == 1


def test_the_page_on_reading_has_a_grid_that_is_accepted(tmp_path: Path) -> None:
    (text,) = (code for kind, code in BLOCK.findall(READING) if kind == "yaml")
    (tmp_path / "a.png").touch()
    (tmp_path / "job.yaml").write_text(f"frames: [a.png]\nout: out\n{text}", "utf-8")
    assert set(load_job(tmp_path / "job.yaml").grid) == {"arm", "synthesis", "upsampling"}


def test_the_example_configuration_is_accepted(tmp_path: Path) -> None:
    (text,) = (code for kind, code in BLOCK.findall(README) if kind == "yaml")
    for folder, names in (("kodak", ["kodim01.png"]), ("kodak/more", ["a.png", "b.png"]), ("to_fit", ["c.png"])):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name in names:
            (tmp_path / folder / name).touch()
    (tmp_path / "frames.csv").write_text("frame,encoder,lmbda\nd.png,,0.02\n")
    (tmp_path / "kodak.yaml").write_text(text, "utf-8")
    job = load_job(tmp_path / "kodak.yaml")
    assert [item.id for item in job.frames] == ["kodim01", "a-1", "a-2", "b-1", "b-2", "c", "kodim02", "d"]
    assert job.frames[1].encoder == str(tmp_path / "kodak/more/a.safetensors")
    assert [item.lmbda for item in job.frames] == [None, 0.001, 0.004, 0.001, 0.004, 0.001, 0.001, 0.02]
    assert job.config.grid in STEPS


def test_every_column_of_the_tables_is_explained() -> None:
    _, _, tables = README.partition("Those of the other tables:")
    rest = set(re.findall(r"`(\w+)`", tables.partition("## ")[0]))
    assert {*FRAMES.names, *TIMELINE.names, *REPLICAS.names} <= rest

    explained = set(re.findall(r"`(\w+)`", README.split("Columns of `rd_table`")[1].split("## Looking")[0]))
    assert set(RD_TABLE.names) <= explained


def test_the_files_that_are_named_exist() -> None:
    for name in re.findall(r"`((?:scripts|sweep|workers|configs)/[\w./]+)`", README):
        assert (ROOT / name).exists(), name
