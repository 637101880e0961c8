"""Things that are known by a name: families, searches, metrics, backends; loaded when they are first used."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """A table of names. What a name stands for is imported when it is first asked for.

    Args:
        kind: what is registered, for messages, such as ``family``.
        entries: per name, ``<module>:<attribute>`` of what it stands for.
    """

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self._kind = kind
        self._paths = dict(entries)
        self._loaded: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[str]:
        return iter({**self._paths, **self._loaded})

    def __contains__(self, name: object) -> bool:
        return name in self._paths or name in self._loaded

    def register(self, name: str, entry: Entry) -> None:
        """Add an entry, as plugins do.

        Raises:
            ValueError: the name stands for something else already.
        """
        if name in self._paths or self._loaded.get(name, entry) is not entry:
            raise ValueError(f"the {self._kind} {name!r} is registered already")
        self._loaded[name] = entry

    def __getitem__(self, name: str) -> Entry:
        """What a name stands for.

        Raises:
            KeyError: there is no such name; the message lists those that there are.
        """
        if name not in self._loaded:
            if name not in self._paths:
                raise KeyError(f"there is no {self._kind} {name!r}; known: {', '.join(self)}")
            module, _, attribute = self._paths[name].partition(":")
            self._loaded[name] = cast(Entry, getattr(importlib.import_module(module), attribute))
        return self._loaded[name]
