"""The README's Python is real: its examples run on this repository and print what it shows."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from sweep.config import load_job
from sweep.grid import STEPS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def test_the_in_memory_example_prints_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = BLOCK.findall(README)
    (index,) = (i for i, (kind, code) in enumerate(blocks) if kind == "python" and "quantize_model" in code)
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(blocks[index][1], {})
    assert printed.getvalue() == blocks[index + 1][1]


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


def test_every_column_of_the_table_is_explained() -> None:
    from sweep.table import RD_TABLE

    explained = set(re.findall(r"`(\w+)`", README.split("Columns of `rd_table`")[1].split("In pandas")[0]))
    assert set(RD_TABLE.names) <= explained


def test_the_files_that_are_named_exist() -> None:
    for name in re.findall(r"`((?:scripts|sweep|workers|configs)/[\w./]+)`", README):
        assert (ROOT / name).exists(), name
