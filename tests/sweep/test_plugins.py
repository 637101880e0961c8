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


PLAIN_LOOP = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import toy_metrics
from workers.codec import read_frame, read_frame_encoder
from workers.objective.metric import METRICS
from workers.reference import reference_sweep
from sweep.config import make_grid, pairs_of
frame_encoder, manager = read_frame_encoder(sys.argv[2])
grid = pairs_of(frame_encoder.networks, make_grid(json.loads(sys.argv[4])))
metric = METRICS[sys.argv[5]]
swept = reference_sweep(frame_encoder, read_frame(sys.argv[3]), manager, grid, metric)
numbers = [(row.candidate.edit, row.measured) for row in swept.measurements]
print(json.dumps([[*pair, measured.mse, measured.distortion, measured.loss] for pair, measured in numbers]))
print(json.dumps([choice.to_json() for choice in swept.choices.values()]))
"""


@pytest.mark.ray
@pytest.mark.parametrize(
    ("metric", "mode", "case", "arithmetic"),
    [
        ("of_planes", "winner", "coffee_64x96_yuv420", "staged"),
        ("absolute_of_luma", "full", "astronaut_64x96_lop", "plain"),
    ],
)
def test_a_metric_from_outside_is_swept_as_a_plain_loop_does(
    tmp_path: Path, metric: str, mode: str, case: str, arithmetic: str
) -> None:
    (frame,), encoder = (CASES / case).glob("frame*"), CASES / case / "encoder.safetensors"
    frames = [{"frame": str(frame), "encoder": str(encoder)}]
    config = make_job(tmp_path, "toy_metrics", frames=frames, sweep={"metric": metric, "mode": mode})
    program = [sys.executable, "-c", PLAIN_LOOP, tmp_path, encoder, frame, json.dumps(GRID), metric]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows, choices = map(json.loads, done.stdout.splitlines())

    table = table_of(config, tmp_path)

    expected = pd.DataFrame(rows, columns=["q_step_weight", "q_step_bias", "mse", "distortion", "loss"])
    for column in expected.columns:
        assert table[column].tolist() == pytest.approx(expected[column].tolist(), rel=1e-4), column
    assert (table.distortion / table.mse - 1).abs().min() > 1e-3, "another number than the mean squared error"
    assert arithmetic in set(table.arithmetic)
    assert choices_in(table) == choices
    (record,) = read_frames(tmp_path / "out").to_dict("records")
    last = table[table.chosen].iloc[-1]
    assert [record[name] for name in ("mse", "distortion", "loss")] == [last.mse, last.distortion, last.loss]


def choices_in(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The chosen rows as choices, in their serialised form."""
    return [
        {
            "network": f"{row.coolchic}.{row.module}",
            "q_step": [row.q_step_weight, row.q_step_bias],
            "expgol_cnt": [row.expgol_cnt_weight, row.expgol_cnt_bias],
            "rate_bit": [row.rate_weight_bit, row.rate_bias_bit],
            "integers": {},
        }
        for row in table[table.chosen].itertuples()
    ]


@pytest.mark.ray
def test_weights_that_are_none_fail_the_frame_with_what_was_found(tmp_path: Path) -> None:
    config = make_job(tmp_path, "toy_metrics", sweep={"metric": "negative"})
    assert qsweep("run", config, cwd=tmp_path).returncode == 1
    (error,) = read_frames(tmp_path / "out").error
    assert "a metric's weights of planes are finite, 0 or more and not all 0; found (1.0, -1.0, 1.0)" in error


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


def test_a_metric_that_no_plugin_registers_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    config = make_job(tmp_path, "toy_searches", plugins=[], sweep={"metric": "of_nobody"})
    with pytest.raises(ConfigError, match=r"sweep.metric: accepted: one of mse.*; found 'of_nobody'"):
        load_job(config)


def test_results_by_another_metric_need_a_folder_of_their_own(tmp_path: Path) -> None:
    config = make_job(tmp_path, "toy_searches", plugins=["toy_metric_f"])
    (tmp_path / "toy_metric_f.py").write_text(
        "from workers.objective.loss import MeanSquaredError\n"
        "from workers.objective.metric import METRICS\n"
        "METRICS.register('toy_metric_f', MeanSquaredError())\n"
    )
    Results(load_job(config))
    with pytest.raises(ResultsError, match=r"holds the results of another job \(sweep"):
        Results(load_job(config, ["sweep.metric=toy_metric_f"]))
    Results(load_job(config))


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


# --- in Python

IN_PYTHON = """
import sys
from pathlib import Path
from sweep import quantize_model
from sweep.config import make_grid
from workers.codec import read_frame, read_frame_encoder
grid = make_grid({"arm": {"weight": [0.25], "bias": [0.25]}, "upsampling": {"weight": [0.0078125], "bias": [1]},
                  "synthesis": {"weight": [0.001953125, 0.015625], "bias": [0.00390625]}})
def quantized(**options):
    frame_encoder, manager = read_frame_encoder(Path(sys.argv[1]) / "encoder.safetensors")
    quantize_model(frame_encoder, read_frame(Path(sys.argv[1]) / "frame.png"), manager, grid=grid, **options)
    return frame_encoder.nn_q_step
of_luma = {"metric": "absolute_of_luma", "plugins": ["toy_metrics"]}
print(quantized(**of_luma) == quantized(**of_luma, replicas=1) != quantized())
try:
    quantized(metric="nothing")
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.ray
def test_a_model_is_quantized_by_a_metric_of_a_plugin_here_and_on_replicas(tmp_path: Path) -> None:
    shutil.copy(PLUGINS / "toy_metrics.py", tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    program = [sys.executable, "-c", IN_PYTHON, str(CASE)]
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "True",
        "ConfigError metric: accepted: one of mse: the distortion in the loss; found 'nothing'",
    ]
