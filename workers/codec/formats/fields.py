"""Typed access to what an official file holds: a clear error for whatever is missing or of another type."""

import math
from collections.abc import Iterator, Mapping
from typing import TypeVar

from workers.codec.formats.stored import InertObject, StoredTensor, Value, kind_of
from workers.errors import OfficialFileError

Item = TypeVar("Item", bool, int, float, str)

_MAX_ITEMS = 1 << 16


class Fields:
    """Entries of a dict, or attributes of an object.

    Args:
        values: by name.
        where: what they belong to, for messages.
    """

    def __init__(self, values: Mapping[str, Value], where: str) -> None:
        self._values = values
        self.where = where

    @classmethod
    def of(cls, value: Value, where: str) -> "Fields":
        """Entries of a value that is a dict, or attributes of one that is an object of the official program.

        Raises:
            OfficialFileError: it is neither.
        """
        if isinstance(value, InertObject):
            return cls(value.attributes, where)
        if isinstance(value, dict):
            return cls(value, where)
        raise OfficialFileError(f"{where} is a dict or an object with attributes; found {kind_of(value)}")

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def value(self, key: str) -> Value:
        """Whatever is there.

        Raises:
            OfficialFileError: nothing is.
        """
        if key not in self._values:
            raise OfficialFileError(f"{self.where}: {key!r} is missing")
        return self._values[key]

    def fields(self, key: str) -> "Fields":
        """Entries or attributes of what is there; see :meth:`of`."""
        return Fields.of(self.value(key), f"{self.where}.{key}")

    def item(self, key: str, kind: type[Item]) -> Item:
        """A plain value of a type; a bool is no int.

        Raises:
            OfficialFileError: it is missing, or of another type.
        """
        return self._checked(self.value(key), key, kind)

    def _checked(self, value: Value, key: str, kind: type[Item]) -> Item:
        if type(value) is not kind:
            raise OfficialFileError(f"{self.where}: {key!r} is of type {kind.__name__}; found {kind_of(value)}")
        return value

    def number(self, key: str) -> float:
        """A finite number, an int as a float too."""
        value = self.value(key)
        if type(value) is int and abs(value) < 2**53:
            value = float(value)
        number = self._checked(value, key, float)
        if not math.isfinite(number):
            raise OfficialFileError(f"{self.where}: {key!r} is finite; found {number}")
        return number

    def items(self, key: str, kind: type[Item]) -> list[Item]:
        """Items of a list or tuple, all of one type."""
        value = self.value(key)
        if not isinstance(value, list | tuple) or len(value) > _MAX_ITEMS:
            raise OfficialFileError(
                f"{self.where}: {key!r} is a list of at most {_MAX_ITEMS}; found {kind_of(value)}"
            )
        return [self._checked(item, key, kind) for item in value]

    def tensor(self, key: str) -> StoredTensor:
        """A tensor."""
        value = self.value(key)
        if not isinstance(value, StoredTensor):
            raise OfficialFileError(f"{self.where}: {key!r} is a tensor; found {kind_of(value)}")
        return value

    def tensors(self, key: str) -> dict[str, StoredTensor]:
        """A state dict."""
        state = self.fields(key)
        return {name: state.tensor(name) for name in state}
