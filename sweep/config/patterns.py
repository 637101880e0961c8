"""Glob patterns for files of this machine, in which links make no circles and no file is found twice."""

import glob
import os
import re
from collections.abc import Callable, Iterator
from fnmatch import translate
from pathlib import Path
from typing import NamedTuple


class _Place(NamedTuple):
    """A file or folder: the path it was reached by, and the one without links."""

    path: str
    real: str


def find_files(pattern: str) -> list[str]:
    """Paths of the files that match, sorted, and of each file one: that which has no link in it, or the first.

    Args:
        pattern: absolute, as for :func:`glob.glob`: ``**`` stands for any number of folders, also behind links, and
            names that begin with a dot match only where the pattern's name does.
    """
    _, *parts = pattern.split("/")
    # A path without links is its own real path, and False sorts before True.
    found = sorted({(path != real, path, real) for path, real in _match(_Place("/", "/"), parts)})
    unique: dict[object, str] = {}
    for _, path, real in found:
        unique.setdefault(_identity(path, real), path)
    return sorted(unique.values())


def identity(path: str) -> object:
    """The same for two paths if they lead to the same file, by links or hard links."""
    return _identity(path, os.path.realpath(path))


def _identity(path: str, real: str) -> object:
    try:
        status = Path(path).stat()
    except OSError:  # replicas may see it where this machine does not
        return real
    # Only where it has several names: some network file systems number their files anew each time.
    return (status.st_dev, status.st_ino) if status.st_nlink > 1 else real


def _match(folder: _Place, parts: list[str]) -> Iterator[_Place]:
    """Every regular file below a folder that matches."""
    part, *rest = parts
    if part == "**":
        for below in _folders_below(folder):
            yield from _match(below, rest or ["*"])
        return
    if not glob.has_magic(part):
        path = Path(folder.path, part)
        below = _below(folder, part, path.is_symlink())
        if rest:
            yield from _match(below, rest)
        elif path.is_file():
            yield below
        return
    is_match = re.compile(translate(part)).match
    for entry in _entries(folder):
        if not is_match(entry.name) or (entry.name.startswith(".") and not part.startswith(".")):
            continue
        if rest and _is(entry.is_dir):
            yield from _match(_below(folder, entry.name, entry.is_symlink()), rest)
        elif not rest and _is(entry.is_file):
            yield _below(folder, entry.name, entry.is_symlink())


def _folders_below(top: _Place) -> Iterator[_Place]:
    """A folder and all in it but hidden ones, each once; links are followed when all that is no link is known."""
    seen: set[str] = set()
    folders: list[_Place] = [top]
    links: list[_Place] = []
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        if folder.real in seen:
            continue
        seen.add(folder.real)
        yield folder
        for entry in _entries(folder):
            if entry.name.startswith(".") or not _is(entry.is_dir):
                continue
            (links if entry.is_symlink() else folders).append(_below(folder, entry.name, entry.is_symlink()))


def _entries(folder: _Place) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted by name; nothing if it cannot be read, as for :func:`glob.glob`."""
    try:
        with os.scandir(folder.path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _is(test: Callable[[], bool]) -> bool:
    try:
        return test()
    except OSError:  # a link to itself
        return False


def _below(folder: _Place, name: str, is_link: bool) -> _Place:
    real = f"{folder.real.rstrip('/')}/{name}"
    return _Place(f"{folder.path.rstrip('/')}/{name}", os.path.realpath(real) if is_link else real)
