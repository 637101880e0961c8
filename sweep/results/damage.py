"""Files that a power failure or a full disk has left empty or cut off, told by their ends and sizes."""

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from sweep.results.storage import FileFound, Storage

_READERS = 16  # files that are looked at at a time
_PARQUET_MAGIC = b"PAR1"
_OFFSETS = re.compile(rb'"data_offsets":\[\d+,(\d+)\]')


def find_damaged(storage: Storage, files: Iterable[FileFound]) -> dict[str, str]:
    """Those of some files that are empty or cut off, each with what is wrong.

    Object stores keep whole files only: there it is the size alone that is looked at.
    """
    files = list(files)
    with ThreadPoolExecutor(_READERS if storage.local else 1) as readers:
        found = readers.map(lambda file: _damage(storage, file), files)
        return {file.path: damage for file, damage in zip(files, found, strict=True) if damage}


def _damage(storage: Storage, file: FileFound) -> str:
    if file.size == 0:
        return "empty"
    if not storage.local or file.size is None:
        return ""
    if file.path.endswith(".parquet"):
        return _damage_of_parquet(storage, file.path, file.size)
    if file.path.endswith(".safetensors"):
        return _damage_of_safetensors(storage, file.path, file.size)
    return "" if storage.read_range(file.path, 0, 3).strip(b"\0") else "zeros"


def _damage_of_parquet(storage: Storage, path: str, size: int) -> str:
    end = storage.read_range(path, max(0, size - len(_PARQUET_MAGIC)), len(_PARQUET_MAGIC))
    return "" if end == _PARQUET_MAGIC else "cut off"


def _damage_of_safetensors(storage: Storage, path: str, size: int) -> str:
    """A header says how long the file is; what has no such header is left to the parser."""
    start = storage.read_range(path, 0, 9)
    if not start.strip(b"\0"):
        return "zeros"
    if start[8:] != b"{":
        return ""
    n_header = int.from_bytes(start[:8], "little")
    if 8 + n_header > size:
        return "cut off"
    ends = map(int, _OFFSETS.findall(storage.read_range(path, 8, n_header)))
    return "cut off" if 8 + n_header + max(ends, default=0) > size else ""
