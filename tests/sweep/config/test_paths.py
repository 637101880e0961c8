"""Home folders and environment variables in paths, wherever a path is read."""

import glob
from pathlib import Path

import pytest

from sweep.config import expand, load_job, resolve, unexpanded
from workers.errors import ConfigError
from workers.files import read_bytes


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder; it has brackets in its name, which are no pattern, and a variable, which is none."""
    folder = tmp_path / "home [1] $USER"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("DATA", str(folder / "data"))
    monkeypatch.setenv("BUCKET", "bucket")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("MISSING", raising=False)
    return folder


def test_home_folders_and_variables_are_put_in(home: Path) -> None:
    assert expand("~") == str(home)
    assert expand("~/a") == f"{home}/a"
    assert expand("~root/a") == f"{Path('~root').expanduser()}/a"
    assert expand("$DATA/a") == expand("${DATA}/a") == f"{home}/data/a"
    assert expand("x${BUCKET}y/$BUCKET.png") == "xbuckety/bucket.png"
    assert expand("s3://$BUCKET/~/a") == "s3://bucket/~/a"


@pytest.mark.parametrize("literal", ["a~b/~c", "./~a", "a$.png", "$1.png", "x[$]y", "a$ b", "s3://~a/b"])
@pytest.mark.usefixtures("home")
def test_what_is_no_variable_is_itself(literal: str) -> None:
    assert expand(literal) == literal


@pytest.mark.usefixtures("home")
def test_a_dollar_sign_is_written_twice() -> None:
    assert expand("$$DATA/$$$BUCKET") == "$DATA/$bucket"
    assert expand(unexpanded("/a$DATA$$/${b}")) == "/a$DATA$$/${b}"


@pytest.mark.usefixtures("home")
def test_a_name_that_begins_with_a_tilde_is_written_behind_its_folder(tmp_path: Path) -> None:
    assert resolve(tmp_path, "./~a") == str(tmp_path / "~a")


def test_what_is_put_in_may_be_quoted(home: Path) -> None:
    assert expand("~/*.png", glob.escape) == f"{glob.escape(str(home))}/*.png"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("$MISSING/a", "'$MISSING/a': the environment variable MISSING is not set; a dollar sign is written $$"),
        ("${MISSING}", "the environment variable MISSING is not set"),
        ("$EMPTY/out", "the environment variable EMPTY is empty"),
        ("${a/b", "a variable is written $NAME or ${NAME}"),
        ("${}/b", "a variable is written $NAME or ${NAME}"),
        (
            "~no-such-user/a",
            "there is no home folder for ~no-such-user; a name that begins with ~ is written",
        ),
    ],
)
@pytest.mark.usefixtures("home")
def test_what_is_not_there_is_named(location: str, message: str) -> None:
    with pytest.raises(ValueError, match="'") as raised:
        expand(location)
    assert message in str(raised.value)


# --- in a configuration


def write(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text)
    return path


def test_they_are_put_in_wherever_a_configuration_has_a_path(home: Path, tmp_path: Path) -> None:
    (home / "data").mkdir()
    (home / "data" / "b.png").touch()
    (home / "list.csv").write_text("frame,encoder\n$DATA/c.png,~/c.safetensors\n")
    job = load_job(
        write(
            tmp_path,
            """
            frames:
              - ~/pictures/a.png
              - {frame: "$DATA/*.png", encoder: "${DATA}/{stem}.safetensors"}
              - ~/list.csv
              - s3://$BUCKET/d.png
            out: ~/results
            """,
        )
    )
    assert [(item.frame, item.encoder) for item in job.frames] == [
        (f"{home}/pictures/a.png", None),
        (f"{home}/data/b.png", f"{home}/data/b.safetensors"),
        (f"{home}/data/c.png", f"{home}/c.safetensors"),
        ("s3://bucket/d.png", None),
    ]
    assert job.config.out == f"{home}/results"
    written = job.config.described()
    assert written["out"] == f"{home}/results"
    assert [entry["frame"] for entry in written["frames"]][:2] == [f"{home}/pictures/a.png", f"{home}/data/*.png"]


@pytest.mark.usefixtures("home")
def test_a_variable_may_name_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIST", str(tmp_path / "list.csv"))
    (tmp_path / "list.csv").write_text("frame\na.png\n")
    (item,) = load_job(write(tmp_path, "frames: [$LIST]\nout: o")).frames
    assert item.frame == str(tmp_path / "a.png")


def test_they_are_put_in_on_the_command_line(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, "frames: [a.png]\nout: o")
    for out, expected in (
        ("~/x", f"{home}/x"),
        ("$DATA", f"{home}/data"),
        ("./~x", f"{tmp_path}/~x"),
        ("a$$b", f"{tmp_path}/a$b"),
        ("s3://$BUCKET/x", "s3://bucket/x"),
    ):
        assert load_job(path, out=out).config.out == expected
        assert load_job(path, [f"out={out}"]).config.out == expected
    assert load_job(path, ["frames=[~/b.png]"]).frames[0].frame == f"{home}/b.png"


@pytest.mark.usefixtures("home")
def test_names_that_a_pattern_finds_are_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "$DATA.png").touch()
    (tmp_path / "~a.png").touch()
    job = load_job(write(tmp_path, "frames: [{frame: '*.png', encoder: 'e/{stem}.safetensors'}]\nout: o"))
    assert [Path(item.frame).name for item in job.frames] == ["$DATA.png", "~a.png"]
    assert [Path(str(item.encoder)).name for item in job.frames] == ["$DATA.safetensors", "~a.safetensors"]


@pytest.mark.parametrize(
    ("text", "overrides", "out", "where"),
    [
        ("frames: [a]\nout: $MISSING/o", [], None, "job.yaml: out: "),
        ("frames: [b, $MISSING/a]\nout: o", [], None, "job.yaml: frames[1].frame: "),
        ("frames: [{frame: '$MISSING/*.png'}]\nout: o", [], None, "job.yaml: frames[0].frame: "),
        ("frames: [{frame: a, encoder: $MISSING}]\nout: o", [], None, "job.yaml: frames[0].encoder: "),
        ("frames: [list.csv]\nout: o", [], None, "list.csv, row 2: "),
        ("frames: [a]\nout: o", ["out=$MISSING"], None, "job.yaml: out: "),
        ("frames: [a]\nout: o", [], "$MISSING/o", "--out: "),
    ],
)
@pytest.mark.usefixtures("home")
def test_a_variable_that_is_not_set_is_an_error_that_names_its_key(
    tmp_path: Path, text: str, overrides: list[str], out: str | None, where: str
) -> None:
    (tmp_path / "list.csv").write_text("frame\nb.png\n$MISSING/a.png\n")
    with pytest.raises(ConfigError) as raised:
        load_job(write(tmp_path, text), overrides, out)
    assert f"{where}'$MISSING" in str(raised.value)
    assert "the environment variable MISSING is not set" in str(raised.value)


def test_python_functions_know_the_home_folder(home: Path) -> None:
    (home / "a").write_bytes(b"x")
    assert read_bytes("~/a") == b"x"


def test_credentials_in_a_uri_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISSING", raising=False)
    for uri in (
        "s3://key:secret@bucket/$MISSING",
        "s3://bucket/$MISSING?secret_key=secret",
        "s3://k:secret@b/${a b}",
    ):
        with pytest.raises(ValueError, match="s3://b") as error:
            expand(uri)
        assert "secret" not in str(error.value)
