"""Plugins of a configuration: looked for, read, and imported."""

import re
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from workers.errors import ConfigError
from workers.plugins import Plugin, import_plugins
from workers.reasons import describe_error, reason_of

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_TAKEN = frozenset({"sweep", "workers", *sys.stdlib_module_names})


def load_plugins(names: Sequence[str], folder: Path) -> tuple[Plugin, ...]:
    """Find the modules that a configuration names, and import them.

    Args:
        names: of the modules, as in an ``import`` statement.
        folder: of the configuration: modules are looked for there first, and then on the import path.

    Raises:
        ConfigError: a module cannot be found, read or imported.
    """
    plugins = tuple(_find(name, folder) for name in names)
    for plugin in plugins:
        try:
            import_plugins([plugin])
        except Exception as error:  # whatever the module does when it is imported
            raise ConfigError(f"plugins: {plugin.name} cannot be imported: {describe_error(error)}") from error
    return plugins


def _find(name: str, folder: Path) -> Plugin:
    top = name.partition(".")[0]
    if not _NAME.fullmatch(name) or top in _TAKEN:
        raise ConfigError(
            "plugins: accepted: names of Python modules, none of this program or of Python itself; "
            f"found {name[:80]!r}"
        )
    spec = PathFinder.find_spec(top, [str(folder), *sys.path])
    if spec is None:
        raise ConfigError(f"plugins: there is no module {top!r} in {folder} or on the import path")
    origin = Path(spec.origin or "")
    if origin.suffix != ".py":
        found = spec.origin or "a folder without __init__.py"
        raise ConfigError(f"plugins: accepted: modules written in Python; {top!r} is {found}")
    paths = sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
    base = origin.parent.parent if spec.submodule_search_locations else origin.parent
    try:
        files = {path.relative_to(base).as_posix(): path.read_bytes() for path in paths}
    except OSError as error:
        raise ConfigError(f"plugins: {top!r} cannot be read: {reason_of(error)}") from None
    return Plugin(name, files)
