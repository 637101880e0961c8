"""What is added from outside the packages takes part in a job, travels with it, and is part of its identity."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from sweep import read_frames, read_rd_table
from sweep.config import load_job, load_plugins, read_config
from sweep.results import Results
from sweep.submit import stage
from tests.cases import CASES
from workers.errors import ConfigError, ResultsError
from workers.plugins import Plugin, import_plugins

PLUGINS = Path(__file__).parents[1] / "plugins"
QSWEEP = Path(sys.executable).with_name("qsweep")
CASE = CASES / "astronaut_64x96_lop"
GRID: dict[str, dict[str, list[float]]] = {
    "arm": {"weight": [0.125, 0.25], "bias": [0.125, 0.25]},
    "synthesis": {"weight": [0.00390625, 0.0078125], "bias": [0.00390625]},
    "upsampling": {"weight": [0.0078125, 0.015625], "bias": [1]},
}


def make_job(folder: Path, plugin: str, **changes: Any) -> Path:
    """A configuration with a plugin beside it, over a frame of the conformance cases."""
    shutil.copy(PLUGINS / f"{plugin}.py", folder)
    config = folder / "job.yaml"
    content = {
        "frames": [{"frame": str(CASE / "frame.png"), "encoder": str(CASE / "encoder.safetensors")}],
        "out": "out",
        "plugins": [plugin],
        "grid": GRID,
        "ray": {"replicas": 2},
    }
    config.write_text(yaml.safe_dump(content | changes))
    return config


def qsweep(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, in which nothing has been registered."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [str(QSWEEP), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def table_of(config: Path, cwd: Path) -> pd.DataFrame:
    done = qsweep("run", config, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return read_rd_table(config.parent / "out")


ENCODER_AND_REFERENCE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import toy_family
from workers.codec import read_frame, read_frame_encoder
from workers.reference import reference_sweep
from sweep.config import make_grid, pairs_of
target = Path("toy.safetensors")
toy_family.write_encoder(Path(sys.argv[2]) / "encoder.safetensors", target)
frame_encoder, manager = read_frame_encoder(target)
grid = pairs_of(frame_encoder.networks, make_grid(json.loads(sys.argv[3])))
swept = reference_sweep(frame_encoder, read_frame(Path(sys.argv[2]) / "frame.png"), manager, grid)
print(json.dumps({network: choice.to_json() for network, choice in swept.choices.items()}))
"""


@pytest.mark.ray
def test_a_family_with_a_network_more_is_swept_as_the_reference_does(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "job", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    grid = GRID | {"tint": {"weight": [0.25, 0.5, 1], "bias": [0.5, 0.0625]}}
    frames = [
        {"frame": str(CASE / "frame.png"), "encoder": "toy.safetensors"},
        {"frame": str(CASE / "frame.png"), "encoder": str(CASE / "encoder.safetensors")},
    ]
    config = make_job(folder, "toy_family", frames=frames, grid=grid)
    made = subprocess.run(
        [sys.executable, "-c", ENCODER_AND_REFERENCE, str(folder), str(CASE), json.dumps(grid)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PLUGINS.parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    expected = json.loads(made.stdout)

    table = table_of(config, elsewhere)

    assert set(read_rd_table(folder / "out", modules=["tint"]).module) == {"tint"}, "where the family is not known"
    toy, other = (table[table.frame == frame] for frame in read_frames(folder / "out").index)
    assert list(toy.module.unique()) == ["arm", "synthesis", "upsampling", "tint"]
    assert (toy.module == "tint").sum() == 6
    assert list(other.module.unique()) == ["arm", "synthesis", "upsampling"], "families side by side"
    chosen = toy[toy.chosen].set_index("module")
    for network, choice in expected.items():
        row = chosen.loc[network.partition(".")[2]]
        assert [row.q_step_weight, row.q_step_bias] == choice["q_step"], network
        assert [row.rate_weight_bit, row.rate_bias_bit] == choice["rate_bit"], network


@pytest.mark.ray
@pytest.mark.parametrize("mode", ["every_third", "every_third_nested"])
def test_a_search_from_outside_decides_what_is_measured(tmp_path: Path, mode: str) -> None:
    table = table_of(make_job(tmp_path, "toy_searches", sweep={"mode": mode}), tmp_path)

    assert table.groupby("module", observed=True).size().to_dict() == {"arm": 2, "synthesis": 1, "upsampling": 1}
    chosen = table[table.chosen].set_index("module").loss
    assert chosen.to_dict() == table.groupby("module", observed=True).loss.min().to_dict()


@pytest.mark.ray
def test_a_backend_from_outside_measures_what_it_supports(tmp_path: Path) -> None:
    table = table_of(make_job(tmp_path, "toy_backend"), tmp_path)

    assert len(table) == 4 + 2 + 2
    assert set(table.seconds) == {1234.5}
    assert set(table.arithmetic) == {"plain"}


# --- a part of the job


def test_what_a_plugin_does_is_part_of_what_a_job_is(tmp_path: Path) -> None:
    config = make_job(tmp_path, "toy_searches")
    identities = []
    for more in ("", "", "# other\n"):
        with (tmp_path / "toy_searches.py").open("a") as file:
            file.write(more)
        program = (
            f"import json; from pathlib import Path; from sweep.config import load_job; "
            f"print(json.dumps(load_job(Path({str(config)!r})).identity()))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        identities.append(json.loads(done.stdout)["plugins"])
    assert identities[0] == identities[1]
    assert identities[0].keys() == identities[2].keys() == {"toy_searches"}
    assert identities[0] != identities[2]


def test_a_job_without_plugins_is_what_it_was_before_there_were_any(tmp_path: Path) -> None:
    config = make_job(tmp_path, "toy_searches", plugins=[])
    assert "plugins" not in load_job(config).identity()


def test_results_of_a_job_with_a_plugin_are_not_those_of_one_without_or_with_another(tmp_path: Path) -> None:
    config = make_job(tmp_path, "toy_searches", plugins=["toy_nothing_c"])
    for name in ("toy_nothing_c", "toy_nothing_d"):
        (tmp_path / f"{name}.py").touch()
    Results(load_job(config))
    Results(load_job(config))
    for plugins in ("[]", "[toy_nothing_d]"):
        with pytest.raises(ResultsError, match=r"holds the results of another job \(plugins"):
            Results(load_job(config, [f"plugins={plugins}"]))


# --- what is wrong


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere", None, r"plugins: there is no module 'nowhere' in .* or on the import path"),
        ("torch.nn;", None, r"plugins: accepted: names of Python modules"),
        ("workers", None, r"plugins: accepted: names of Python modules, none of this program"),
        ("json", None, r"plugins: accepted: .*none of this program or of Python itself; found 'json'"),
        ("", None, r"plugins: accepted: names of Python modules"),
        ("broken", "import nothing_like_it\n", r"plugins: broken cannot be imported: .*nothing_like_it"),
        ("no_code", "this is no code\n", r"plugins: no_code cannot be imported: .*SyntaxError|invalid syntax"),
        ("not_text", b"\xff\xfe\x00", r"plugins: not_text cannot be imported"),
        ("folder", {}, r"plugins: accepted: modules written in Python; 'folder' is a folder without __init__.py"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_an_error_of_the_configuration(
    tmp_path: Path, name: str, content: str | bytes | dict[str, str] | None, message: str
) -> None:
    if isinstance(content, dict):
        (tmp_path / name).mkdir()
    elif content is not None:
        path = tmp_path / f"{name}.py"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=message):
        load_plugins([name], tmp_path)


def test_the_configuration_s_file_is_named(tmp_path: Path) -> None:
    config = make_job(tmp_path, "toy_searches", plugins=["nowhere"])
    with pytest.raises(ConfigError, match=rf"^{config}: plugins: there is no module 'nowhere'"):
        load_job(config)


def test_a_mode_that_no_plugin_registers_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    config = make_job(tmp_path, "toy_searches", plugins=[], sweep={"mode": "every_third"})
    with pytest.raises(ConfigError, match=r"sweep.mode: accepted: one of full, winner.*; found 'every_third'"):
        load_job(config)


# --- imported from its sources


def test_a_package_is_imported_from_its_sources_with_all_that_is_in_it(tmp_path: Path) -> None:
    package = tmp_path / "toy_package_a"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "inner" / "__init__.py").write_text("VALUE = 1\n")
    (package / "inner" / "deep.py").write_text("from toy_package_a.inner import VALUE\nTWICE = 2 * VALUE\n")
    (plugin,) = load_plugins(["toy_package_a.inner.deep"], tmp_path)
    expected = {f"toy_package_a/{name}" for name in ("__init__.py", "inner/__init__.py", "inner/deep.py")}
    assert set(plugin.files) == expected
    shutil.rmtree(package)
    module = sys.modules["toy_package_a.inner.deep"]
    assert module.TWICE == 2
    import_plugins([plugin])
    assert sys.modules["toy_package_a.inner.deep"] is module, "once"


def test_other_sources_under_the_same_name_are_refused_in_one_process() -> None:
    import_plugins([Plugin("toy_module_b", {"toy_module_b.py": b"VALUE = 1"})])
    with pytest.raises(ImportError, match="'toy_module_b' has been imported from other sources"):
        import_plugins([Plugin("toy_module_b", {"toy_module_b.py": b"VALUE = 2"})])
    with pytest.raises(ImportError, match="'pytest' has been imported from elsewhere"):
        import_plugins([Plugin("pytest", {"pytest.py": b""})])


def test_a_job_that_is_submitted_takes_its_plugins_along(tmp_path: Path) -> None:
    config, folder = make_job(tmp_path, "toy_searches", plugins=["toy_package_e.inner"]), tmp_path / "sent"
    folder.mkdir()
    package = tmp_path / "toy_package_e"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "inner.py").write_text("VALUE = 1\n")

    stage(read_config(config), config, folder)

    (plugin,) = load_plugins(["toy_package_e.inner"], folder)
    assert plugin.files == {"toy_package_e/__init__.py": b"", "toy_package_e/inner.py": b"VALUE = 1\n"}
