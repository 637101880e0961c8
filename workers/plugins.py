"""Plugins: Python modules from outside, that register families, searches, metrics or backends when imported.

Their sources travel with a job. In the driver, and in every replica, they are imported from these sources alone, so
that all run the same code, whatever else is installed there.
"""

import hashlib
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import CodeType
from typing import NamedTuple


class Plugin(NamedTuple):
    """A module that is imported, and the sources that it is imported from.

    Attributes:
        name: of the module, such as ``toy`` or ``toys.searches``.
        files: sources of its topmost module or package, by path below the folder that this is in.
    """

    name: str
    files: Mapping[str, bytes]

    @property
    def top(self) -> str:
        """Name of the topmost module or package."""
        return self.name.partition(".")[0]

    @property
    def digest(self) -> str:
        """Of the sources, in hexadecimal."""
        digest = hashlib.sha256()
        for path in sorted(self.files):
            digest.update(path.encode() + b"\0" + hashlib.sha256(self.files[path]).digest())
        return digest.hexdigest()


def import_plugins(plugins: Sequence[Plugin]) -> None:
    """Import modules from their sources; those that were imported from the same sources before stay as they are.

    Raises:
        ImportError: a module of this name was imported from somewhere else.
        Exception: whatever a module raises when it is imported.
    """
    for plugin in plugins:
        known = (finder for finder in sys.meta_path if isinstance(finder, _Finder) and finder.top == plugin.top)
        finder = next(known, None)
        if finder is not None and finder.digest != plugin.digest:
            raise ImportError(f"a module {plugin.top!r} has been imported from other sources in this process")
        if finder is None and plugin.top in sys.modules:
            raise ImportError(f"a module {plugin.top!r} has been imported from elsewhere in this process")
        if finder is not None:
            importlib.import_module(plugin.name)
            continue
        finder = _Finder(plugin)
        sys.meta_path.insert(0, finder)
        try:
            importlib.import_module(plugin.name)
        except BaseException:
            sys.meta_path.remove(finder)
            raise


class _Finder(InspectLoader):
    """Finds the modules of one plugin among its sources, and loads them."""

    def __init__(self, plugin: Plugin) -> None:
        self.top, self.digest = plugin.top, plugin.digest
        self._paths = {_module_of(path): path for path in plugin.files}
        self._files = dict(plugin.files)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        return spec_from_loader(name, self) if name in self._paths else None

    def is_package(self, fullname: str) -> bool:
        return self._paths[fullname].endswith("/__init__.py")

    def get_source(self, fullname: str) -> str:
        return self._files[self._paths[fullname]].decode()

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self.get_source(fullname), f"plugins/{self._paths[fullname]}", "exec")
        return code


def _module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
