"""Configuration: what every key means, and that whatever is wrong with it is named before anything starts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep.config import FrameItem, Job, load_job, make_grid, named_grid, pairs_of, parse_yaml
from tests.making import make_param
from workers.candidates import split_id
from workers.codec.family import FAMILIES
from workers.errors import ConfigError

MINIMAL = "frames: [a.png]\nout: o\n"
UNIT_GRID = (
    "{arm: {weight: [1], bias: [1]}, synthesis: {weight: [1], bias: [1]}, upsampling: {weight: [1], bias: [1]}}"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of the configuration file; it has brackets in its name, which are no pattern."""
    folder = tmp_path / "jobs [2]"
    folder.mkdir()
    return folder


def load(folder: Path, text: str, *overrides: str, out: str | None = None) -> Job:
    path = folder / "job.yaml"
    path.write_text(text, "utf-8")
    return load_job(path, overrides, out)


def error_of(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load(folder, text, *overrides)
    return str(raised.value)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def ids(job: Job) -> list[str]:
    return [item.id for item in job.frames]


# --- what is accepted


def test_every_key_is_taken_as_it_stands(folder: Path) -> None:
    job = load(
        folder,
        """
        frames:
          - {frame: a.png, encoder: a.safetensors, lmbda: 0.004}
          - b.png
        out: s3://bucket/results
        grid:
          arm: {weight: [0.5, "2^-8"], bias: [2^-16]}
          synthesis: {weight: [1, 2], bias: [1.0]}
          upsampling: {weight: ["2^1"], bias: [4]}
        fit:
          arch: mop
          recipe: slow
          seed: 7
          lmbda: 0.02
          iterations: {warmup: 3, phase_1: 5, phase_2: 4, phase_3: 6}
        bitstream: true
        ray:
          address: "ray.example:6379"
          replicas: 3
          gpus_per_replica: 0.5
          cpus_per_replica: 2
          pairs_per_call: 2
          tries: 5
          patience: 7
        """,
    )
    assert job.config.out == "s3://bucket/results"
    assert job.config.fit.model_dump() == {
        "family": "coolchic-3.4",
        "arch": "mop",
        "recipe": "slow",
        "seed": 7,
        "lmbda": 0.02,
        "iterations": {"warmup": 3, "phase_1": 5, "phase_2": 4, "phase_3": 6},
    }
    assert job.config.fit.resolve().iterations == (5 + 2) * 3 + 5 + 4
    assert job.config.fit.resolve().retuning.iterations == 6
    assert job.config.bitstream
    assert job.config.ray.model_dump() == {
        "address": "ray.example:6379",
        "replicas": 3,
        "gpus_per_replica": 0.5,
        "cpus_per_replica": 2,
        "pairs_per_call": 2,
        "tries": 5,
        "patience": 7,
    }
    assert list(job.frames) == [
        FrameItem("a", str(folder / "a.png"), str(folder / "a.safetensors"), 0.004, relative="a.png"),
        FrameItem("b", str(folder / "b.png"), None, 0.02, relative="b.png"),
    ]
    assert job.grid == make_grid(
        {
            "arm": {"weight": [2**-8, 0.5], "bias": [2**-16]},
            "synthesis": {"weight": [1, 2], "bias": [1]},
            "upsampling": {"weight": [2], "bias": [4]},
        }
    )


def test_frames_and_out_are_all_that_is_needed(folder: Path) -> None:
    job = load(folder, MINIMAL)
    assert list(job.frames) == [FrameItem("a", str(folder / "a.png"), None, 1e-3, relative="a.png")]
    assert job.config.grid == "auto"
    of_family = pairs_of(make_param().networks, job.grid)
    assert {split_id(network)[1]: pairs for network, pairs in of_family.items()} == named_grid("coolchic-3.4")
    fit, ray = job.config.fit, job.config.ray
    assert (fit.arch, fit.recipe, fit.seed, fit.lmbda) == ("hop", "fast", 0, 1e-3)
    assert fit.resolve().phases[0].iterations == 10_000
    assert ray.address is None
    assert {ray.replicas, ray.gpus_per_replica, ray.cpus_per_replica, ray.pairs_per_call} == {"auto"}


@pytest.mark.parametrize(("family", "total"), [("coolchic-3.4", 700), ("coolchic-5", 2000)])
def test_one_number_of_iterations_is_that_of_the_whole_fit(folder: Path, family: str, total: int) -> None:
    fit = load(folder, MINIMAL + f"fit: {{family: {family}, arch: lop, iterations: {total}}}").config.fit
    assert fit.resolve().iterations == total
    assert fit.architecture() is FAMILIES[family].architectures["lop"]


def test_a_fit_of_coolchic_3_4_is_the_same_job_as_one_of_an_earlier_version(folder: Path) -> None:
    identity = load(folder, MINIMAL).identity()["fit"]
    assert identity == {
        "arch": "hop",
        "recipe": "fast",
        "seed": 0,
        "iterations": {"warmup": None, "phase_1": None, "phase_2": None},
    }
    assert load(folder, MINIMAL + "fit: {family: coolchic-5}").identity()["fit"]["family"] == "coolchic-5"


def test_a_bitstream_that_cannot_hold_what_is_fitted_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = "bitstream: frame a has no encoder and would be fitted; "
    assert fitted + "a .cool file holds" in error_of(folder, MINIMAL + "bitstream: cool")
    monkeypatch.setitem(FAMILIES._loaded, "coolchic-5", replace(FAMILIES["coolchic-5"], bitstream=False))
    reason = error_of(folder, MINIMAL + "bitstream: true\nfit: {family: coolchic-5}")
    assert fitted in reason
    assert reason.endswith("found coolchic-5")


def test_paths_are_relative_to_the_file_but_those_of_the_command_line_to_the_working_directory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    text = "frames: [{frame: ../data/a.png, encoder: e/a.safetensors}, /abs/b.png]\nout: ../out"
    (folder / "job.yaml").write_text(text)
    job = load_job(Path("..") / folder.name / "job.yaml")
    assert [item.frame for item in job.frames] == [str(tmp_path / "data" / "a.png"), "/abs/b.png"]
    assert job.frames[0].encoder == str(folder / "e" / "a.safetensors")
    assert job.config.out == str(tmp_path / "out")
    assert load(folder, text, out="here").config.out == str(elsewhere / "here")
    assert load(folder, text, out="file:///the%20re").config.out == "/the re"
    assert load(folder, text, out="s3://bucket/there").config.out == "s3://bucket/there"
    assert load(folder, text, "out=there").config.out == str(folder / "there")


@pytest.mark.parametrize("entry", ["'p/*.png'", "{frame: 'p/*.png'}"])
def test_a_pattern_stands_for_the_files_that_match_in_order(folder: Path, entry: str) -> None:
    touch(folder, "p/c.png", "p/a.png", "p/b.png", "p/d.jpg", "p/folder.png/inside")
    job = load(folder, f"frames: [{entry}, p/d.jpg]\nout: o")
    assert ids(job) == ["a", "b", "c", "d"]
    assert job.frames[0].frame == str(folder / "p" / "a.png")


def test_a_pattern_may_be_absolute_and_go_through_all_folders(folder: Path) -> None:
    touch(folder, "p/q/a.png", "b.png")
    escaped = str(folder).replace("[", "[[]")
    assert ids(load(folder, f"frames: ['{escaped}/**/*.png']\nout: o")) == ["b", "a"]


def test_a_name_with_brackets_is_itself_if_there_is_such_a_file_and_else_a_pattern(folder: Path) -> None:
    touch(folder, "x[1].png", "x1.png", "y1.png")
    assert ids(load(folder, "frames: ['x[1].png', 'y[1].png']\nout: o")) == ["x[1]", "y1"]


def test_stem_in_an_encoder_is_that_of_each_frame(folder: Path) -> None:
    touch(folder, "a.b.png", "c.png")
    job = load(folder, "frames: [{frame: '*.png', encoder: 'e/{stem}/{stem}.safetensors'}]\nout: o")
    names = [str(folder / "e" / stem / f"{stem}.safetensors") for stem in ("a.b", "c")]
    assert [item.encoder for item in job.frames] == names


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (["a.png", "b.png"], ["a", "b"]),
        (["p/a.png", "b.png", "q/a.png"], ["a-1", "b", "a-2"]),
        (["a.png", "a.png"], ["a-1", "a-2"]),
        (["a.png", "a.yuv", "a-1.png"], ["a-2", "a-3", "a-1"]),
        (["a.png", "p/a.png", "a-1.png", "p/a-1.png"], ["a-1", "a-2", "a-1-1", "a-1-2"]),
    ],
)
def test_stems_that_collide_are_numbered_around_those_that_are_taken(
    folder: Path, frames: list[str], expected: list[str]
) -> None:
    assert ids(load(folder, f"frames: {frames}\nout: o")) == expected


def test_lmbda_is_the_entrys_or_else_the_encoders_or_else_the_fits(folder: Path) -> None:
    encoder = "encoder: e.safetensors"
    frames = f"[{{frame: a, lmbda: 0}}, {{frame: b, {encoder}, lmbda: 3}}, {{frame: c, {encoder}}}, d]"
    job = load(folder, f"frames: {frames}\nout: o\nfit: {{lmbda: 2}}")
    assert [item.lmbda for item in job.frames] == [0.0, 3.0, None, 2.0]


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "+1.e-3", "0.001"])
def test_a_number_may_be_written_as_everyone_writes_it(folder: Path, number: str) -> None:
    assert load(folder, f"frames: [{{frame: a, lmbda: {number}}}]\nout: o").frames[0].lmbda == 1e-3


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("10", 10),
        ("08", 8),
        ("+7", 7),
        ("0o10", 8),
        ("0x1F", 31),
        ("0", 0),
        ("00", 0),
        ("12345678901", 12345678901),
    ],
)
def test_an_integer_is_that_of_yaml_1_2(folder: Path, written: str, number: int) -> None:
    assert load(folder, MINIMAL + f"fit: {{seed: {written}}}").config.fit.seed == number
    assert load(folder, MINIMAL, f"fit.seed={written}").config.fit.seed == number


@pytest.mark.parametrize(
    ("written", "first", "second"),
    [
        ("010", "8", "10"),
        ("-010", "-8", "-10"),
        ("0777", "511", "777"),
        ("1:30", "90", "text"),
        ("1:30:05.5", "5405.5", "text"),
        ("1_000", "1000", "text"),
        ("1_000.5", "1000.5", "text"),
        ("0b11", "3", "text"),
        ("0x_F", "15", "text"),
        ("yes", "true", "text"),
        ("No", "false", "text"),
        ("on", "true", "text"),
        ("OFF", "false", "text"),
        ("2026-11-25", "a date", "text"),
        ("2001-12-14 21:59:43", "a date", "text"),
    ],
)
@pytest.mark.parametrize(
    ("key", "accepted"),
    [
        ("fit.seed", "an integer"),
        ("out", "path or URI"),
        ("bitstream", "true, to write"),
        ("fit.lmbda", "a number"),
    ],
)
def test_what_yaml_1_1_reads_otherwise_is_refused_with_both_readings(
    folder: Path, written: str, first: str, second: str, key: str, accepted: str
) -> None:
    for message in (
        error_of(folder, "frames: [a.png]\nout: o", f"{key}={written}"),
        error_of(folder, f"frames: [a.png]\n{key.replace('.', ': {')}: {written}{'}' * key.count('.')}\nout: o")
        if key != "out"
        else error_of(folder, f"frames: [a.png]\nout: {written}"),
    ):
        assert message.startswith(f"{folder / 'job.yaml'}: {key}: accepted: {accepted}")
        found = f"found {written} ({first} in YAML 1.1, {second} in YAML 1.2; text is written in quotes)"
        assert message.endswith(found)


@pytest.mark.parametrize("text", ["010", "1:30", "yes", "2026-11-25", "1_000", "="])
def test_text_in_quotes_is_text(folder: Path, text: str) -> None:
    job = load(folder, f"frames: ['{text}', {{frame: \"{text}\"}}]\nout: '{text}'")
    assert {Path(item.frame).name for item in job.frames} == {text}
    assert Path(job.config.out).name == text
    assert Path(load(folder, MINIMAL, f"out='{text}'").config.out).name == text


def test_what_is_written_down_of_a_job_is_read_again_as_it_was() -> None:
    values = ["010", "1:30", "yes", "~", 1e-5, 1e22, 10, True, None, "", "2026-11-25", "2.13.0", "a: b"]
    assert parse_yaml(yaml.safe_dump(values)) == values


def test_a_mapping_may_take_over_another_one(folder: Path) -> None:
    job = load(folder, MINIMAL + "fit: {<<: {arch: lop, seed: 1}, seed: 2}")
    assert (job.config.fit.arch, job.config.fit.seed) == ("lop", 2)


# --- what is not


@pytest.mark.parametrize(
    ("text", "key", "accepted", "found"),
    [
        ("out: o", "frames", "required", "a list"),
        ("frames: [a]", "out", "required", "path or URI"),
        ("frames: []\nout: o", "frames", "a list, not empty", "found []"),
        ("frames: a.png\nout: o", "frames", "a list, not empty", "found 'a.png'"),
        ("frames: [{frame: a, lmbda: []}]\nout: o", "frames[0].lmbda", "a list of them", "found []"),
        ("frames: [{frame: a, lmbda: [1, 2, 1]}]\nout: o", "frames[0].lmbda", "no two the same", "[1, 2, 1]"),
        ("frames: [{frame: a, lmbda: [1, -2]}]\nout: o", "frames[0].lmbda[1]", "0 or more", "-2"),
        ("frames: [3]\nout: o", "frames[0]", "a path or glob pattern, or a mapping with frame", "found 3"),
        ("frames: [a, {lmbda: 1}]\nout: o", "frames[1].frame", "required", "glob pattern"),
        ("frames: [{frame: ''}]\nout: o", "frames[0].frame", "glob pattern", "found ''"),
        ("frames: [{frame: a, encoder: 3}]\nout: o", "frames[0].encoder", ".safetensors", "found 3"),
        ("frames: [{frame: a, encoder: ''}]\nout: o", "frames[0].encoder", ".safetensors", "found ''"),
        ("frames: [{frame: a, lmbda: .nan}]\nout: o", "frames[0].lmbda", "0 or more", "found nan"),
        ("frames: [{frame: a, lmbda: .inf}]\nout: o", "frames[0].lmbda", "0 or more", "found inf"),
        ("frames: [{frame: a, lmbda: -1}]\nout: o", "frames[0].lmbda", "0 or more", "found -1"),
        ("frames: [{frame: a, lmbda: true}]\nout: o", "frames[0].lmbda", "a number", "found True"),
        ("frames: [{frame: a, lmbda: '1e-3'}]\nout: o", "frames[0].lmbda", "a number", "found '1e-3'"),
        ("frames: [{frame: a, lambda: 1}]\nout: o", "frames[0].lambda", "unknown key", "frame, encoder, lmbda"),
        ("frames: [a]\nout: 3", "out", "path or URI", "found 3"),
        (MINIMAL + "frame: b", "frame", "unknown key", "frames, out, grid, fit, sweep, plugins, bitstream, ray"),
        (MINIMAL + "grid: coolchic", "grid", "coolchic-3.4", "found 'coolchic'"),
        (MINIMAL + "grid: null", "grid", "a list of powers of two", "found None"),
        (MINIMAL + "grid: {arm: 3}", "grid.arm", "a list of powers of two", "found 3"),
        (MINIMAL + "grid: {arm: {weight: [1, x]}}", "grid.arm.weight[1]", "powers of two", "found 'x'"),
        (MINIMAL + "grid: {arm: {weight: [true]}}", "grid.arm.weight[0]", "powers of two", "found True"),
        (MINIMAL + "grid: {arm: {weight: [1]}}", "grid", "arm", "found ['arm']"),
        (MINIMAL + f"grid: {UNIT_GRID.replace('[1]', '[3]', 1)}", "grid", "arm.weight: a step is a power", "3.0"),
        (MINIMAL + "fit: null", "fit", "a mapping", "found None"),
        (MINIMAL + "fit: {arch: xop}", "fit.arch", "vlop, lop, mop, hop", "found 'xop'"),
        (MINIMAL + "fit: {recipe: quick}", "fit.recipe", "example, fast, medium, slow", "found 'quick'"),
        (MINIMAL + "fit: {seed: '0'}", "fit.seed", "an integer", "found '0'"),
        (MINIMAL + "fit: {seed: true}", "fit.seed", "an integer", "found True"),
        (MINIMAL + "fit: {seed: 1.0}", "fit.seed", "an integer", "found 1.0"),
        (MINIMAL + "fit: {seed: -1}", "fit.seed", "0 to", "found -1"),
        (MINIMAL + "fit: {seeds: 1}", "fit.seeds", "unknown key", "arch, recipe, seed, lmbda, iterations"),
        (MINIMAL + "fit: {iterations: {phase_1: 0}}", "fit.iterations.phase_1", "1 or more", "found 0"),
        (MINIMAL + "fit: {iterations: {phase: 1}}", "fit.iterations.phase", "unknown key", "warmup, phase_1"),
        (MINIMAL + "fit: {iterations: 0}", "fit.iterations", "an integer, 1 or more", "found 0"),
        (MINIMAL + "fit: {family: coolchic-6}", "fit.family", "coolchic-3.4, coolchic-5", "found 'coolchic-6'"),
        (MINIMAL + "fit: {family: coolchic-5, arch: vlop}", "fit.arch", "lop, mop, hop, vhop", "found 'vlop'"),
        (MINIMAL + "fit: {family: coolchic-5, recipe: slow}", "fit.recipe", "fast, default", "found 'slow'"),
        (MINIMAL + "sweep: {mode: fast}", "sweep.mode", "full", "found 'fast'"),
        (MINIMAL + "sweep: {precision: fp16}", "sweep.precision", "tf32", "found 'fp16'"),
        (MINIMAL + "sweep: {workspace_mib: 0}", "sweep.workspace_mib", "1 or more", "found 0"),
        (
            MINIMAL + "sweep: {tile: 1}",
            "sweep.tile",
            "unknown key",
            "mode, metric, refine, refine_passes, refine_tolerance, precision, workspace_mib",
        ),
        (MINIMAL + "ray: []", "ray", "a mapping", "found []"),
        (MINIMAL + "ray: {address: 6379}", "ray.address", "address of a Ray cluster", "found 6379"),
        (MINIMAL + "ray: {replicas: 0}", "ray.replicas", "1 or more", "found 0"),
        (MINIMAL + "ray: {replicas: all}", "ray.replicas", "auto", "found 'all'"),
        (MINIMAL + "ray: {pairs_per_call: 1.5}", "ray.pairs_per_call", "auto", "found 1.5"),
        (MINIMAL + "ray: {gpus_per_replica: 1.5}", "ray.gpus_per_replica", "fraction below 1", "found 1.5"),
        (MINIMAL + "ray: {gpus_per_replica: -1}", "ray.gpus_per_replica", "0 or more", "found -1"),
        (MINIMAL + "ray: {cpus_per_replica: 0}", "ray.cpus_per_replica", "1 or more", "found 0"),
        (MINIMAL + "ray: {tries: 0}", "ray.tries", "1 or more", "found 0"),
        (MINIMAL + "ray: {patience: 0}", "ray.patience", "above 0", "found 0"),
        (MINIMAL + "ray: {patience: .inf}", "ray.patience", "above 0", "found inf"),
        (MINIMAL + "ray: {cpus: 1}", "ray.cpus", "unknown key", "address, replicas, gpus_per_replica"),
        ("frames: [a, 'nothing*.png']\nout: o", "frames[1].frame", "no file matches", "nothing*.png'"),
    ],
)
def test_an_error_is_one_line_with_the_file_the_key_what_is_accepted_and_what_was_found(
    folder: Path, text: str, key: str, accepted: str, found: str
) -> None:
    message = error_of(folder, text)
    assert "\n" not in message
    assert message.startswith(f"{folder / 'job.yaml'}: {key}: ")
    assert accepted in message
    assert found in message


def test_all_keys_that_are_wrong_are_named_at_once(folder: Path) -> None:
    lines = error_of(folder, "frames: [{frame: 1, lmbda: x}]\nfits: 2\nray: {replicas: 0.5}").splitlines()
    prefix = f"{folder / 'job.yaml'}: "
    keys = [line.removeprefix(prefix).partition(":")[0] for line in lines]
    assert sorted(keys) == ["fits", "frames[0].frame", "frames[0].lmbda", "out", "ray.replicas"]


def test_what_was_found_is_cut_where_it_is_long(folder: Path) -> None:
    assert len(error_of(folder, MINIMAL + f"fit: {'x' * 5000}")) < 300 + len(str(folder))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a configuration is a mapping; found NoneType"),
        (b"- frames", "a configuration is a mapping; found list"),
        (b"frames: [a.png", "not proper YAML"),
        (b"frames: [a]\nout: o\nout: p", "a key stands once; 'out' is there twice"),
        (b"fit: {seed: 1, arch: lop, seed: 2}", "a key stands once; 'seed' is there twice"),
        (b"on: 1", "a key is text; found 'on'"),
        (b"? [a]\n: 1", "a key is text; found a sequence"),
        (b"fit: 2024-02-31", "fit: accepted: a mapping; found 2024-02-31 (a date in YAML 1.1, text in YAML 1.2"),
        (b"out: " + b"[" * 3000, "not proper YAML"),
        (b"fit: !!python/object/apply:os.getcwd []", "not proper YAML: could not determine a constructor"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not proper YAML: 'utf-8' codec can't decode"),
        (b"out: \x00", "not proper YAML: unacceptable character"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(folder: Path, content: bytes, message: str) -> None:
    path = folder / "job.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        load_job(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)


def test_a_file_that_cannot_be_read_is_refused(folder: Path) -> None:
    for path, reason in ((folder / "none.yaml", "No such file"), (folder, "Is a directory")):
        with pytest.raises(ConfigError, match=f"the configuration cannot be read: {reason}"):
            load_job(path)


def test_a_frame_whose_name_is_no_text_is_refused(folder: Path) -> None:
    touch(folder, "\udcff.png")
    assert "frames[0].frame: a path is text in UTF-8" in error_of(folder, "frames: ['*.png']\nout: o")


# --- --set


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("ray.replicas=2", lambda job: job.config.ray.replicas == 2),
        ("fit.iterations.phase_1=9", lambda job: job.config.fit.iterations.phase_1 == 9),
        ("fit={arch: lop}", lambda job: job.config.fit.arch == "lop"),
        ("fit.lmbda=1e-2", lambda job: job.config.fit.lmbda == 0.01),
        ("frames.0.lmbda=4", lambda job: job.frames[0].lmbda == 4),
        ("frames.-1.frame=c", lambda job: job.frames[1].id == "c"),
        ("frames=[x, y, z]", lambda job: ids(job) == ["x", "y", "z"]),
        (f"grid={UNIT_GRID}", lambda job: sum(map(len, job.grid.values())) == 3),
        ("out=a=b", lambda job: job.config.out.endswith("/a=b")),
        ("ray.address=null", lambda job: job.config.ray.address is None),
    ],
)
def test_set_changes_a_key_and_makes_sections_that_are_missing(folder: Path, override: str, found: Any) -> None:
    assert found(load(folder, "frames: [{frame: a}, {frame: b}]\nout: o", override))


def test_set_is_applied_in_order(folder: Path) -> None:
    job = load(folder, MINIMAL, "fit.seed=1", "fit={seed: 2, arch: lop}", "fit.seed=3")
    assert (job.config.fit.seed, job.config.fit.arch) == (3, "lop")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fit.seed", "--set: written key.path=value; found 'fit.seed'"),
        ("=1", "--set: written key.path=value"),
        ("fit..seed=1", "--set: written key.path=value"),
        ("fit=[", "--set fit: the value is YAML; found '['"),
        ("frames.5.lmbda=1", "--set frames.5.lmbda: there is no such key to set; '5' leads nowhere"),
        ("frames.first=a", "--set frames.first: there is no such key to set; 'first' leads nowhere"),
        ("out.path=a", "--set out.path: there is no such key to set; 'path' leads nowhere"),
        ("fit.sede=1", "fit.sede: unknown key"),
        ("fit.seed=one", "fit.seed: accepted: an integer, 0 to 2^63 - 1; found 'one'"),
    ],
)
def test_set_of_nonsense_is_refused(folder: Path, override: str, message: str) -> None:
    assert message in error_of(folder, MINIMAL, override)


# --- identity


def test_two_jobs_are_the_same_whatever_they_run_on_and_wherever_results_go(folder: Path) -> None:
    text = f"frames: [a.png]\nout: o\ngrid: {UNIT_GRID.replace('[1]', '[1, 2]', 1)}"
    expected = load(folder, text).identity()
    for override in (
        "ray={replicas: 5, pairs_per_call: 1, address: x}",
        "out=p",
        "frames=[b.png, {frame: a.png, lmbda: 2}]",
        "fit.lmbda=[1, 2]",
        "sweep.workspace_mib=1",
        "grid.arm.weight=['2^1', 1]",
    ):
        assert load(folder, text, override).identity() == expected, override


@pytest.mark.parametrize(
    ("override", "part"),
    [
        (f"grid={UNIT_GRID}", "grid"),
        ("fit.seed=1", "fit"),
        ("fit.iterations.phase_2=1", "fit"),
        ("sweep.mode=winner", "sweep"),
        ("sweep.precision=tf32", "sweep"),
    ],
)
def test_two_jobs_differ_in_what_their_results_depend_on(folder: Path, override: str, part: str) -> None:
    one, other = load(folder, MINIMAL).identity(), load(folder, MINIMAL, override).identity()
    assert one[part] != other[part]


def test_how_to_fit_is_nothing_to_a_job_without_fits(folder: Path) -> None:
    text = "frames: [{frame: a.png, encoder: e}]\nout: o"
    assert load(folder, text).identity() == load(folder, text, "fit.seed=1").identity()
