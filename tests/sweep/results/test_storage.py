"""Files of results appear whole or not at all, wherever the results are."""

import os
import resource
import stat
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


def test_a_file_is_not_there_before_it_is_complete_and_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))
    (tmp_path / "folder").mkdir()
    storage.write("folder/a", b"old")
    events: list[str] = []
    sync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        events.append("folder" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes")
        sync(descriptor)

    def note_replace(partial: Path, target: str) -> None:
        assert (partial.stat().st_size, Path(target).read_bytes()) == (7, b"old")
        assert partial.name.startswith("."), "readers of data sets pass over it"
        assert [file.path for file in storage.files("folder")] == ["folder/a"]
        events.append("renamed")
        replace(partial, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    storage.write("folder/a", b"content")
    assert events == ["7 bytes", "renamed", "folder"]
    events.clear()
    monkeypatch.setattr(os, "replace", replace)
    storage.write("new/inner/a", b"content")
    assert events == ["7 bytes", "folder", "folder", "folder"], "and those that it and its parents were made in"
    events.clear()
    storage.write("summary", b"content", durable=False)
    assert events == []


def test_links_are_followed_and_permissions_kept(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "page").write_bytes(b"before")
    (tmp_path / "www" / "page").chmod(0o604)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report").symlink_to("../www/page")
    Storage(str(tmp_path / "out")).write("report", b"content")
    assert (tmp_path / "www" / "page").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "www" / "page").stat().st_mode) == 0o604
    assert (tmp_path / "out" / "report").is_symlink()


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report")
    with pytest.raises(ResultsError, match="report: cannot be written: there is a named pipe of this name"):
        Storage(str(tmp_path)).write("report", b"content")
    assert everything(tmp_path) == ["report"]


@pytest.mark.parametrize("where", ["disk", "memory://aside"])
def test_a_file_that_is_set_aside_is_kept_outside_its_folder_and_not_listed(tmp_path: Path, where: str) -> None:
    storage = Storage(str(tmp_path) if where == "disk" else where)
    asides = []
    for content in (b"first", b"second", b"third"):
        storage.write("a/b.parquet", content)
        asides.append(storage.set_aside("a/b.parquet"))
    assert asides == ["damaged/a/b.parquet", "damaged/a/b.parquet-2", "damaged/a/b.parquet-3"]
    assert [*map(storage.read, asides)] == [b"first", b"second", b"third"]
    storage.write("c", b"")
    assert [file.path for file in storage.files("")] == ["c"]
    assert storage.files("a") == []


def test_files_whose_name_begins_with_a_dot_are_listed_but_not_those_that_are_being_written(tmp_path: Path) -> None:
    for name in (".a.png", "_b", "." + "0" * 32, "." + "0" * 32 + ".partial", "." + "0" * 32 + ".safetensors"):
        (tmp_path / name).touch()
    names = [file.path for file in Storage(str(tmp_path)).files("")]
    assert names == ["." + "0" * 32 + ".safetensors", ".a.png", "_b"]


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
