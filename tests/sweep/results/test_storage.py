"""Files of results appear whole or not at all, wherever the results are."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from sweep.results import Storage
from workers.errors import ResultsError


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """No file may grow beyond this: writing more fails as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("as_uri", [False, True])
@pytest.mark.parametrize(
    "name", ["plain", "with space", "ünï", "100%", "%41", "a=b", "-dash", "a#b?c*[d]", "x/y/z"]
)
def test_what_is_written_is_read_again(tmp_path: Path, name: str, as_uri: bool) -> None:
    out = tmp_path / name
    storage = Storage(f"file://{quote(str(out))}" if as_uri else str(out))
    assert storage.local
    assert storage.is_empty()
    storage.write("a/b.bin", b"first")
    storage.write("a/b.bin", b"content")
    assert storage.read("a/b.bin") == (out / "a" / "b.bin").read_bytes() == b"content"
    assert storage.is_file("a/b.bin")
    assert not storage.is_file("a")
    assert [file.path for file in storage.files("a")] == ["a/b.bin"]
    assert everything(out) == ["a", "a/b.bin"]


def test_a_path_is_relative_to_the_working_directory_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage("out/")
    monkeypatch.chdir("/")
    storage.write("a", b"")
    assert everything(tmp_path) == ["out", "out/a"]
    assert storage.describe("a") == "out/a"


def test_nothing_is_left_of_a_file_that_could_not_take_its_place(tmp_path: Path) -> None:
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(ResultsError, match="taken: cannot be written"):
        Storage(str(tmp_path)).write("taken", b"content")
    assert everything(tmp_path) == ["taken", "taken/inside"]


def test_on_a_full_disk_the_file_that_was_there_stays_and_nothing_is_left_of_the_new_one(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("table", b"before")
    for name in ("table", "other"):
        with full_disk(10_000), pytest.raises(ResultsError, match=f"{name}: cannot be written"):
            storage.write(name, bytes(100_000))
    assert everything(tmp_path) == ["table"]
    assert storage.read("table") == b"before"


def test_a_file_is_not_there_before_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(str(tmp_path))
    seen = []

    class Watched:
        """The file system, that looks at the folder when a complete file is about to take its place."""

        def __getattr__(self, name: str) -> object:
            if name == "move":
                seen.extend([(path.name, path.stat().st_size) for path in tmp_path.iterdir()])
            return getattr(filesystem, name)

    filesystem = storage.filesystem
    storage.write("a", b"old")
    monkeypatch.setattr(storage, "filesystem", Watched())
    monkeypatch.setattr("sweep.results.storage.fs.LocalFileSystem", Watched)
    storage.write("a", b"content")
    ((partial, size),) = [entry for entry in seen if entry[0] != "a"]
    assert ("a", 3) in seen
    assert size == 7
    assert partial.startswith("."), "readers of data sets pass over it"


@pytest.mark.parametrize("out", ["/proc/nothing", "/dev/full/out", "file-as-folder/out"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, out: str) -> None:
    (tmp_path / "file-as-folder").touch()
    where = str(tmp_path / out)
    with pytest.raises(ResultsError, match=f"{where}/a: cannot be written: "):
        Storage(where).write("a", b"")


@pytest.mark.parametrize("out", ["file", "/dev/null"])
def test_results_do_not_go_into_a_file(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").touch()
    where = str(tmp_path / out)
    with pytest.raises(ResultsError, match=f"^{where}: results go into a folder; found a file"):
        Storage(where).is_empty()


def test_a_folder_with_a_file_is_not_empty_but_for_hidden_ones(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    assert storage.is_empty()
    (tmp_path / ".0123").touch()
    assert storage.is_empty()
    (tmp_path / "notes.txt").touch()
    assert not storage.is_empty()


@pytest.mark.parametrize("uri", ["nonsense://bucket/out", "http://example.org/out", "file://relative", "://"])
def test_a_uri_that_is_none_or_cannot_be_written_to_is_refused(uri: str) -> None:
    with pytest.raises(ResultsError) as raised:
        Storage(uri)
    assert str(raised.value).startswith(f"{uri}: not a URI that results can be written to: ")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}")
    assert storage.files("nowhere") == []
    storage.delete("nothing")
    with pytest.raises(ResultsError, match=f"^file://{tmp_path}/a: cannot be read: .*No such file"):
        storage.read("a")
