"""Which C sources a build of the kernel was made of.

Known without torch and without loading the build: setuptools asks when it builds (see ``build.py``), the engine
before it loads one.
"""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent

_MARK = b"qsweep kernel sources "  # followed by the digest; in sources.c


def sources_digest() -> str:
    """Digest of the C files beside this one, in hexadecimal; empty where there are none."""
    files = sorted((path for path in FOLDER.iterdir() if path.suffix in (".c", ".h")), key=lambda path: path.name)
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest() if files else ""


def is_current(build: Path) -> bool:
    """Whether a build was made of the C files beside this one.

    Args:
        build: a shared library.

    Raises:
        OSError: it cannot be read.
    """
    digest = sources_digest()
    return bool(digest) and _MARK + digest.encode() + b"\0" in build.read_bytes()
