"""Files on this machine that are replaced as a whole: through links, with their permissions, durably."""

import errno
import os
import re
import stat
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

# Version 0.1.0 left out the ending.
_PARTIAL = re.compile(r"\.[0-9a-f]{32}(\.partial)?")

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}
_NO_FOLDER_SYNC = (errno.EINVAL, errno.EBADF, errno.EACCES, errno.EPERM, errno.ENOTSUP)


def is_partial(name: str) -> bool:
    """Whether a name is that of a file that :func:`replace_file` is, or was, still writing."""
    return bool(_PARTIAL.fullmatch(name))


def kind_of(mode: int) -> str | None:
    """What something is, by its mode, in words; ``None`` for a regular file."""
    return _KINDS.get(stat.S_IFMT(mode))


def replace_file(
    path: str, content: bytes | pa.Buffer, *, durable: bool = True, before: Callable[[], None] = lambda: None
) -> None:
    """Write a file that appears when it is complete, in place of the one that was there, if any.

    Missing folders are made. A symbolic link is followed; one that leads nowhere has its target made. The file
    keeps the permissions, and where that is allowed the owner, of the one it replaces.

    Args:
        path: of the file.
        content: of the file.
        durable: whether it survives a power failure from when this returns.
        before: called when the content is written and the file is about to take its place.

    Raises:
        OSError: it cannot be written, or what is there is no regular file. What was there is unchanged.
    """
    target = os.path.realpath(path)
    if os.path.islink(target):  # noqa: PTH114
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    try:
        replaced = os.stat(target)  # noqa: PTH116
    except FileNotFoundError:
        replaced = None
    if replaced is not None and (kind := kind_of(replaced.st_mode)) is not None:
        raise OSError(errno.EEXIST, f"there is {kind} of this name")
    folder = Path(target).parent
    made = _make_folders(folder)
    partial = folder / f".{uuid.uuid4().hex}.partial"
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with open(descriptor, "wb", buffering=0) as sink:  # noqa: PTH123
            write_all(sink.fileno(), content)
            if replaced is not None:
                _keep_permissions(descriptor, replaced)
            if durable:
                os.fsync(descriptor)
        before()
        os.replace(partial, target)  # noqa: PTH105
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    if durable:
        for changed in (folder, *made):
            sync_folder(changed)


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder, and give those that it and its missing parents were made in."""
    made = []
    missing = folder
    while not missing.exists():
        missing = missing.parent
        made.append(missing)
    folder.mkdir(parents=True, exist_ok=True)
    return made


def write_all(descriptor: int, content: bytes | pa.Buffer) -> None:
    """Write into an open file, pipe or device, which may take a part at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _keep_permissions(descriptor: int, replaced: os.stat_result) -> None:
    with suppress(OSError):  # only an administrator may give files away
        os.fchown(descriptor, replaced.st_uid, replaced.st_gid)
    with suppress(OSError):  # some file systems have no permissions
        os.fchmod(descriptor, stat.S_IMODE(replaced.st_mode))


def sync_folder(folder: Path) -> None:
    """Make what a folder lists survive a power failure, where its file system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
