"""Where results are: a folder or a URI, and files that appear in it whole or not at all."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import pyarrow as pa
from pyarrow import fs

from workers.errors import ResultsError


class Storage:
    """A folder of results.

    Args:
        location: a path, or a URI that Arrow knows.

    Raises:
        ResultsError: the URI is not one that Arrow knows.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        if "://" in location:
            try:
                self.filesystem, self._root = fs.FileSystem.from_uri(location)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise ResultsError(
                    f"{location}: not a URI that results can be written to: {_first_line(error)}"
                ) from None
        else:
            self.filesystem, self._root = fs.LocalFileSystem(), str(Path(location).absolute())
        self._root = self._root.rstrip("/")

    def inner(self, path: str) -> str:
        """A path below ``out`` as :attr:`filesystem` names it."""
        return f"{self._root}/{path}" if path else self._root

    def describe(self, path: str) -> str:
        """A path below ``out`` for messages."""
        return f"{self._location.rstrip('/')}/{path}" if path else self._location

    def is_file(self, path: str) -> bool:
        """Whether there is a file."""
        return bool(self._info(path).type == fs.FileType.File)

    def is_empty(self) -> bool:
        """Whether nothing is there, or only hidden files, such as those that a killed program was writing.

        Raises:
            ResultsError: what is there is no folder.
        """
        info = self._info("")
        if info.type == fs.FileType.NotFound:
            return True
        if info.type != fs.FileType.Directory:
            raise ResultsError(f"{self._location}: results go into a folder; found a file")
        found = self.filesystem.get_file_info(fs.FileSelector(self._root))
        return all(info.base_name.startswith(".") for info in found)

    def files(self, folder: str, name: str) -> list[str]:
        """Paths below ``out`` of the files of this name in the folders of a folder, sorted."""
        selector = fs.FileSelector(self.inner(folder), allow_not_found=True, recursive=True)
        found = self.filesystem.get_file_info(selector)
        prefix = len(self._root) + 1
        return sorted(info.path[prefix:] for info in found if info.base_name == name)

    @contextmanager
    def open(self, path: str) -> Iterator[pa.NativeFile]:
        """Open a file for reading.

        Raises:
            ResultsError: it cannot be read.
        """
        try:
            source = self.filesystem.open_input_file(self.inner(path))
        except OSError as error:
            raise ResultsError(f"{self.describe(path)}: cannot be read: {error}") from None
        with source:
            yield source

    def read(self, path: str) -> bytes:
        """Content of a file."""
        with self.open(path) as source:
            return cast(bytes, source.read())

    def write(self, path: str, content: bytes | pa.Buffer) -> None:
        """Write a file that appears at its path when it is complete, and not before.

        Raises:
            ResultsError: there is no room, or no right, to write it.
        """
        target = self.inner(path)
        local = isinstance(self.filesystem, fs.LocalFileSystem)
        folder = target.rpartition("/")[0]
        # Object stores show a file once it is closed; a folder shows what is in it as it grows. A name that
        # begins with a dot is none of the dataset's.
        partial = f"{folder}/.{uuid.uuid4().hex}" if local else target
        try:
            self.filesystem.create_dir(folder, recursive=True)
            with self.filesystem.open_output_stream(partial) as sink:
                sink.write(content)
            if local:
                self.filesystem.move(partial, target)
        except OSError as error:
            raise ResultsError(f"{self.describe(path)}: cannot be written: {error}") from None
        finally:
            if local:
                with suppress(OSError):
                    self.filesystem.delete_file(partial)

    def _info(self, path: str) -> fs.FileInfo:
        try:
            return self.filesystem.get_file_info(self.inner(path))
        except OSError as error:
            raise ResultsError(f"{self.describe(path)}: cannot be reached: {error}") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
