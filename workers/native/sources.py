"""Which C sources a build of a kernel was made of.

Known without loading the build: setuptools asks when it builds (see ``build.py``), a kernel's loader before it
loads one.
"""

import hashlib
from pathlib import Path

_MARK = b"qsweep kernel sources "  # followed by the digest; in sources.c


def sources_digest(folder: Path) -> str:
    """Digest of the C files of a folder, in hexadecimal; empty where there are none."""
    files = sorted((path for path in folder.iterdir() if path.suffix in (".c", ".h")), key=lambda path: path.name)
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest() if files else ""


def is_current(build: Path, folder: Path) -> bool:
    """Whether a build was made of the C files of a folder.

    Args:
        build: a shared library.
        folder: of its sources.

    Raises:
        OSError: it cannot be read.
    """
    digest = sources_digest(folder)
    return bool(digest) and _MARK + digest.encode() + b"\0" in build.read_bytes()
