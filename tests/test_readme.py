"""README and documents are real: their examples run and print what they show, their links lead somewhere."""

import contextlib
import io
import re
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from sweep.cli import app
from sweep.config import load_job
from sweep.config.fit_config import FitConfig, FitIterations
from sweep.config.grid import AUTO
from sweep.config.job_config import FrameEntry, JobConfig, RayConfig, SweepConfig
from sweep.driver import Lines, LocalPool
from sweep.evaluate import BD_RATES, POINTS
from sweep.job import run_on
from sweep.results import FRAMES, Results
from sweep.results.manifest import MANIFEST
from sweep.results.table import CHOICES, RD_TABLE
from sweep.results.timeline import REPLICAS, TIMELINE
from tests.cases import CASE_NAMES, load_case
from workers.codec.checkpoint import FITTED_MSE, dump_frame_encoder, parse_frame_encoder
from workers.codec.family import FAMILIES, modules
from workers.codec.picture_header import ACCEPTED
from workers.native.library import FORCED
from workers.replica import Replica

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    path
    for pattern in ("*.md", ".github/*.md", "configs/**/*.md", "sweep/**/*.md", "workers/**/*.md")
    for path in sorted(ROOT.glob(pattern))
]
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)

MOST_LINES = 250

COMMANDS = ("run", "encode", "decode", "import", "export", "show")


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


README = read("README.md")
CONFIGURATION = read("sweep/config/CONFIGURATION.md")
TABLES = read("sweep/results/TABLES.md")


def prose(text: str) -> str:
    """A document without its blocks of code."""
    return BLOCK.sub("", text)


def run(code: str, names: dict[str, object]) -> str:
    """What an example prints by itself: a Ray that another test uses writes to this process's output as well."""
    printed = io.StringIO()
    names["print"] = partial(print, file=printed)
    exec(code, names)
    return printed.getvalue()


def check_examples(text: str) -> int:
    """Run the Python of a text, block by block, and compare what it prints; give the number of blocks."""
    names: dict[str, object] = {}
    n_run = 0
    for (kind, code), (_, shown) in pairwise(BLOCK.findall(text)):
        if kind == "python":
            assert run(code, names) == shown, code
            n_run += 1
    assert n_run == text.count("```python"), "each is followed by what it prints"
    return n_run


def test_the_in_memory_example_prints_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    section = README[README.index("## In Python") : README.index("## On a cluster")]
    assert "quantize_model" in section
    assert check_examples(section) == 1


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example was run, with a short fit, on which nothing that is shown depends."""
    folder = tmp_path_factory.mktemp("example")
    content = yaml.safe_load(read("configs/example.yaml"))
    (folder / "example").symlink_to(ROOT / "configs" / "example")
    config = folder / "example.yaml"
    few = content["fit"] | {"iterations": {"warmup": 1, "phase_1": 2, "phase_2": 1}}
    config.write_text(yaml.safe_dump(content | {"fit": few, "out": "out/example"}))
    job = load_job(config)
    results = Results(job)
    with results.claimed():
        run_on(LocalPool(Replica("cpu", 2)), job, results, lambda tally: contextlib.nullcontext(Lines(tally)))
        results.write_summary()
    return folder


def test_the_examples_of_analysis_print_what_is_shown(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(example)
    assert check_examples(README[README.index("## Results") : README.index("## In Python")]) == 1
    assert check_examples(TABLES) == 6


def test_the_line_that_plots_is_a_command(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(example)
    (line,) = re.findall(r"^\.venv/bin/qsweep (plot .*?) +#", README, re.MULTILINE)
    assert CliRunner().invoke(app, line.split()).exit_code == 0


def test_every_option_that_is_named_exists() -> None:
    help_texts = {name: CliRunner().invoke(app, [name, "--help"]).output for name in COMMANDS}
    lines = re.findall(r"^\.venv/bin/qsweep (\w+) (.*)$", README, re.MULTILINE)
    named = {(command, option) for command, rest in lines for option in re.findall(r"--[a-z-]+", rest)}
    assert len(named) > 8
    for command, option in named:
        if command in help_texts:
            assert option in help_texts[command], (command, option)


# --- configuration


@pytest.mark.parametrize(
    "name", ["sweep/report/READING.md", "sweep/config/CONFIGURATION.md"], ids=["READING", "CONFIGURATION"]
)
def test_grids_that_are_shown_are_accepted(name: str, tmp_path: Path) -> None:
    (text,) = (code for kind, code in BLOCK.findall(read(name)) if kind == "yaml" and "grid:" in code)
    (tmp_path / "a.png").touch()
    (tmp_path / "job.yaml").write_text(f"frames: [a.png]\nout: out\n{text}", "utf-8")
    assert set(load_job(tmp_path / "job.yaml").grid) == {"arm", "synthesis", "upsampling"}


def test_the_example_configuration_is_accepted(tmp_path: Path) -> None:
    (text,) = (code for kind, code in BLOCK.findall(README) if kind == "yaml")
    for folder, names in (("kodak", ["kodim01.png"]), ("kodak/more", ["a.png", "b.png"]), ("to_fit", ["c.png"])):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name in names:
            (tmp_path / folder / name).touch()
    (tmp_path / "frames.csv").write_text("frame,encoder,lmbda,frame_index\nd.png,,0.02,\n")
    (tmp_path / "kodak.yaml").write_text(text, "utf-8")
    job = load_job(tmp_path / "kodak.yaml")
    assert [item.id for item in job.frames] == [
        "kodim01",
        "a@0.001",
        "a@0.004",
        "b@0.001",
        "b@0.004",
        "c",
        "kodim03",
        "kodim02",
        "d",
    ]
    assert job.frames[1].encoder == str(tmp_path / "kodak/more/a.safetensors")
    assert [item.lmbda for item in job.frames] == [None, 0.001, 0.004, 0.001, 0.004, 0.001, None, 0.001, 0.02]
    assert job.config.grid in (AUTO, *FAMILIES)


def test_the_frames_that_the_configuration_shows_are_accepted(tmp_path: Path) -> None:
    (text,) = (code for kind, code in BLOCK.findall(CONFIGURATION) if kind == "yaml" and "frames:" in code)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.png").touch()
    (tmp_path / "job.yaml").write_text(f"out: out\n{text}", "utf-8")
    job = load_job(tmp_path / "job.yaml")
    assert [item.id for item in job.frames] == ["a-0000@0.001", "a-0000@0.004", "b", "just_a_path"]
    assert job.frames[2].encoder == str(tmp_path / "encoders/b.safetensors")


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    parts = {"fit": FitConfig, "iterations": FitIterations, "sweep": SweepConfig, "ray": RayConfig}
    for name in model.model_fields:
        if name in parts:
            yield from _keys(parts[name], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _as_yaml(value: object) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def test_every_key_is_explained_with_its_default() -> None:
    section = CONFIGURATION[CONFIGURATION.index("## Keys") : CONFIGURATION.index("## Frames")]
    rows = dict(re.findall(r"^\| (`[a-z].*?) \| (.*?) \|", section, re.MULTILINE))
    explained = {}
    for names, default in rows.items():
        first, *others = re.findall(r"`([\w.]+)`", names)
        for name in (first, *(f"{first.rpartition('.')[0]}{other}" for other in others)):
            explained[name] = default.strip("`")
    keys = list(_keys(JobConfig))
    assert len(keys) > 15
    assert set(keys) <= set(explained)
    assert {*FrameEntry.model_fields} <= set(re.findall(r"`(\w+)`", CONFIGURATION))
    for part, model in (("sweep", SweepConfig), ("fit", FitConfig), ("ray", RayConfig)):
        for name, field in model.model_fields.items():
            if name != "iterations":
                shown = _as_yaml(field.default)
                assert explained[f"{part}.{name}"] == shown, name


def test_values_that_are_said_to_be_refused_are(tmp_path: Path) -> None:
    section = CONFIGURATION[CONFIGURATION.index("## YAML") : CONFIGURATION.index("## Grid")]
    rows = re.findall(r"^\| (`.*?) \| .* \| (.*?) \|$", section, re.MULTILINE)
    values = {value: verdict for cell, verdict in rows for value in re.findall(r"`(.+?)`", cell)}
    assert len(values) == 11
    for value, verdict in values.items():
        (tmp_path / "job.yaml").write_text(f"frames: [a.png]\nout: out\nray: {{patience: {value}}}\n")
        shown = CliRunner().invoke(app, ["run", str(tmp_path / "job.yaml"), "--set", "out=[]"]).output
        assert ("YAML 1.1" in shown) == verdict.startswith("refused"), (value, shown)


# --- tables, formats, statuses


def test_every_column_of_the_tables_is_explained() -> None:
    explained = set(re.findall(r"`(\w+)`", TABLES.partition("## Reading with qsweep")[0]))
    for schema in (RD_TABLE, FRAMES, CHOICES, TIMELINE, REPLICAS, POINTS, BD_RATES, MANIFEST):
        assert set(schema.names) <= explained

    of_rows = TABLES[TABLES.index("## `rd_table`") : TABLES.index("## The other tables")]
    assert set(RD_TABLE.names) == set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| .*? \|", of_rows, re.M))))


def test_every_format_of_pictures_is_explained() -> None:
    rows = re.findall(r"^\| (.*?) \|", read("workers/codec/PICTURES.md"), re.MULTILINE)
    for name in ", ".join(ACCEPTED.values()).replace(" (", ", ").replace(")", "").split(", "):
        assert any(name in row for row in rows), name
        assert name in README or name == "PBM", name


def test_every_key_of_a_checkpoint_is_explained() -> None:
    text = read("workers/codec/CHECKPOINTS.md")
    case = load_case(CASE_NAMES[0])
    for name in [*case.frame_encoder.param.to_metadata(), "lmbda", FITTED_MSE]:
        assert f"| `{name}` |" in text, name
    written = dump_frame_encoder(case.frame_encoder, 0.5, fitted_mse=0.25)
    assert parse_frame_encoder(written, "a")[1].fitted_mse == 0.25
    for name in case.frame_encoder.state_dict():
        module = name.partition(".")[0]
        assert module in text
        assert module in (*modules(), "latent_grids")


def test_every_build_of_the_kernel_is_explained() -> None:
    text = read("workers/measure/PERFORMANCE.md")
    assert all(f"`{name}`" in text for name in FORCED)


def test_every_exit_status_is_explained() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE)
    explained = {status for row in rows for status in row.split(", ")}
    assert explained == {"0", "1", "2", "130", "143"}
    shown = CliRunner().invoke(app, ["run", "--help"]).output
    assert explained <= set(re.findall(r"\b\d+\b", shown[shown.index("Exit status") :]))

    rows = re.findall(r"^\| ([\d, ]+) \|", read("configs/cluster/README.md"), re.MULTILINE)
    assert {"0", "1", "2", "143", "137"} <= {status for row in rows for status in row.split(", ")}


# --- documents


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text("utf-8"))):
        if "://" in link:
            continue
        name, _, heading = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if heading:
            assert heading in headings(target.read_text("utf-8")), link


def headings(text: str) -> set[str]:
    """Anchors of a document, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(path: Path) -> None:
    pattern = r"(?<![\w/.])((?:scripts|sweep|workers|configs|tests)/[\w./]*\w)"
    for name in re.findall(pattern, path.read_text("utf-8")):
        assert (ROOT / name).exists() or (ROOT / f"{name}.py").exists(), name


def test_every_document_is_linked_from_the_readme() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)\s]+)\)", README)}
    assert set(DOCUMENTS) - {ROOT / "README.md"} <= linked


UNPLAIN = re.compile(
    r"\b(go(es|ing|ne)? on|went on|c[ao]mes? to nothing|whoever|nobody|(is|are|was|be) told|see there|course"
    r"|(is|are) at work|at a call|rides with|a room of|is asked of)\b",
    re.IGNORECASE,
)
"""Metaphors, and phrases that a reader has to read twice."""


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_plain(path: Path) -> None:
    found = [match[0] for match in UNPLAIN.finditer(prose(path.read_text("utf-8")))]
    assert not found
