"""Patterns: links make no circles, and no file is a frame twice."""

import os
from pathlib import Path

import pytest

from sweep.config import load_job
from sweep.config.patterns import find_files


def found(folder: Path, pattern: str) -> list[str]:
    return [os.path.relpath(path, folder) for path in find_files(str(folder / pattern))]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def frames(folder: Path, text: str) -> list[str]:
    (folder / "job.yaml").write_text(f"frames: {text}\nout: o")
    return [os.path.relpath(item.frame, folder) for item in load_job(folder / "job.yaml").frames]


def test_a_link_to_its_parent_is_no_circle(tmp_path: Path) -> None:
    touch(tmp_path, "p/a.png", "p/q/b.png")
    (tmp_path / "p" / "q" / "up").symlink_to("..")
    (tmp_path / "p" / "again").symlink_to(tmp_path / "p", target_is_directory=True)
    assert found(tmp_path, "p/**/*.png") == ["p/a.png", "p/q/b.png"]
    assert frames(tmp_path, "['p/**/*.png']") == ["p/a.png", "p/q/b.png"]


def test_folders_behind_links_are_found_once_and_by_their_own_name_if_they_have_one(tmp_path: Path) -> None:
    touch(tmp_path, "store/x.png", "set/z/c.png")
    (tmp_path / "set" / "a").symlink_to("z")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "store")
    (tmp_path / "set" / "c").symlink_to(tmp_path / "store")
    assert found(tmp_path, "set/**/*.png") == ["set/b/x.png", "set/z/c.png"]
    assert found(tmp_path, "set/*/*.png") == ["set/b/x.png", "set/z/c.png"]


def test_a_file_with_several_names_is_found_once(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "other/d.png")
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "c.png").hardlink_to(tmp_path / "b.png")
    (tmp_path / "d.png").symlink_to("other/d.png")
    assert found(tmp_path, "*.png") == ["b.png", "d.png"]
    assert found(tmp_path, "**/*.png") == ["b.png", "other/d.png"]


def test_links_that_lead_nowhere_and_folders_are_no_files(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "folder.png/x.jpg")
    (tmp_path / "b.png").symlink_to("nothing.png")
    (tmp_path / "c.png").symlink_to("c.png")
    assert found(tmp_path, "*.png") == ["a.png"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["a.png"]),
        ("?.png", ["a.png"]),
        ("**/*.png", ["a.png", "p/b.png", "p/q/c.png"]),
        ("**/q/*.png", ["p/q/c.png"]),
        ("p/**/c.png", ["p/q/c.png"]),
        ("**/p/**/*.png", ["p/b.png", "p/q/c.png"]),
        ("p/**", ["p/b.png", "p/q/c.png"]),
        (".*.png", [".h.png"]),
        (".hidden/*.png", [".hidden/d.png"]),
        ("[ab].png", ["a.png"]),
        ("[!a].png", []),
        ("*/q/*", ["p/q/c.png"]),
        ("nothing/*.png", []),
        ("a.png/*", []),
    ],
)
def test_a_pattern_means_what_it_means_to_a_shell(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    touch(tmp_path, "a.png", ".h.png", "p/b.png", "p/q/c.png", ".hidden/d.png")
    assert found(tmp_path, pattern) == expected


# --- of several entries


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ("['*.png', 'a*']", ["a.png", "b.png"]),
        ("['**/*.png', '*.png']", ["a.png", "b.png"]),
        ("[b.png, '*.png']", ["b.png", "a.png"]),
        ("['*.png', ./a.png]", ["a.png", "b.png"]),
        ("['*.png', linked.png]", ["a.png", "b.png"]),
        ("['*.png', {frame: '*.png', lmbda: 0.001}]", ["a.png", "b.png"]),
        ("['*.png', {frame: 'a*', lmbda: 2}]", ["a.png", "b.png", "a.png"]),
        ("['*.png', {frame: 'a*', encoder: e}]", ["a.png", "b.png", "a.png"]),
        ("[a.png, a.png, '*.png']", ["a.png", "a.png", "b.png"]),
    ],
)
def test_what_a_pattern_finds_again_is_no_second_frame(tmp_path: Path, entries: str, expected: list[str]) -> None:
    touch(tmp_path, "a.png", "b.png")
    (tmp_path / "linked.png").symlink_to("a.png")
    assert frames(tmp_path, entries) == expected
