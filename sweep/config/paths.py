"""Paths as people write them: home folders and environment variables in them, relative to a folder."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from workers.files import describe, is_uri, locate

_VARIABLE = re.compile(r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*)|\{([^{}]*)\}|(?=\{))")


def expand(location: str, quote: Callable[[str], str] = str) -> str:
    """Put in the home folder for ``~`` or ``~user`` at the beginning, and the values of ``$NAME`` and ``${NAME}``.

    What is put in is taken as it is: nothing in it is expanded again. ``$$`` is a dollar sign, and so is one
    that no name follows; a name that begins with ``~`` is written ``./~name``. URIs have no home folder.

    Args:
        location: path, URI or pattern.
        quote: applied to everything that is put in.

    Raises:
        ValueError: there is no such user or variable, or the variable is empty: ``$SCRATCH/out`` would be ``/out``.
    """

    def value_of(match: re.Match[str]) -> str:
        dollar, plain, braced = match.groups()
        if dollar:
            return dollar
        name = plain or braced
        if not name:
            raise ValueError(
                f"{describe(location)!r}: a variable is written $NAME or ${{NAME}}, and a dollar sign $$"
            )
        if not (value := os.environ.get(name)):
            state = "empty" if value == "" else "not set"
            rule = "a dollar sign is written $$"
            raise ValueError(f"{describe(location)!r}: the environment variable {name} is {state}; {rule}")
        return quote(value)

    home, rest = "", location
    if location.startswith("~") and not is_uri(location):
        user, slash, rest = location.partition("/")
        try:
            home, rest = str(Path(user).expanduser()), slash + rest
        except RuntimeError:
            rule = f"a name that begins with ~ is written ./{user}"
            raise ValueError(f"{describe(location)!r}: there is no home folder for {user}; {rule}") from None
    return quote(home) + _VARIABLE.sub(value_of, rest)


def unexpanded(location: str) -> str:
    """What :func:`expand` makes this absolute path or URI of."""
    return location.replace("$", "$$")


def resolve(base: Path, location: str) -> str:
    """Path or URI of a location as it is written, relative to a folder; a file's URI becomes a path.

    Raises:
        ValueError: see :func:`expand`.
    """
    return place(base, expand(location))


def place(base: Path, location: str) -> str:
    """Path or URI of a location in which nothing is to be expanded, relative to a folder."""
    if location.startswith("file:///"):
        return locate(location)[1]
    return location if is_uri(location) else os.path.normpath(base / location)


def escape(value: str) -> str:
    """Percent-encode what a Hive partition folder cannot hold as it is."""
    return "".join(f"%{ord(char):02X}" if char in '%=/\\:"#?*' or ord(char) < 32 else char for char in value)
