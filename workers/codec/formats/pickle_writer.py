"""Writes the pickles that official checkpoints consist of, in the opcodes that they have."""

import pickle
import struct
from collections.abc import Mapping, Sequence

from workers.codec.formats.construction import BYTES_FILE, ENCODE, FLOATS, ORDERED_DICT, SIZE, TENSOR
from workers.codec.formats.stored import (
    BytesFile,
    EncodedText,
    InertObject,
    Sizes,
    StateDict,
    StoredTensor,
    Value,
    kind_of,
)
from workers.errors import OfficialFileError

_MAX_DEPTH = 60
"""An official file has some ten levels."""

_TUPLES = {0: pickle.EMPTY_TUPLE, 1: pickle.TUPLE1, 2: pickle.TUPLE2, 3: pickle.TUPLE3}
_INTEGERS = (
    (0, 1 << 8, pickle.BININT1, "<B"),
    (0, 1 << 16, pickle.BININT2, "<H"),
    (-(1 << 31), 1 << 31, pickle.BININT, "<i"),
)


def write_pickle(value: Value) -> tuple[bytes, list[memoryview]]:
    """A pickle of protocol 2, and the storages of its tensors: one each, named by its number.

    A part that stands in several places is written once: the pickle is about as large as what it was read from.

    Raises:
        OfficialFileError: the value holds itself, or is nested too deeply.
    """
    writer = _Writer()
    writer.value(value)
    return pickle.PROTO + b"\x02" + b"".join(writer.parts) + pickle.STOP, writer.storages


class _Writer:
    """State of the writer."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.storages: list[memoryview] = []
        self._memo: dict[int, int] = {}
        self._written: list[Value] = []  # kept, so that no other value is given the id of one of them
        self._open: set[int] = set()

    def value(self, value: Value) -> None:
        """Write a value."""
        if value is None or isinstance(value, bool | int | float | str | EncodedText):
            self._plain(value)
        elif id(value) in self._memo:
            self._add(pickle.LONG_BINGET, struct.pack("<I", self._memo[id(value)]))
        elif id(value) in self._open or len(self._open) >= _MAX_DEPTH:
            raise OfficialFileError(
                f"{kind_of(value)} in it holds itself, or is nested in more than {_MAX_DEPTH} others"
            )
        else:
            self._open.add(id(value))
            self._compound(value)
            self._open.remove(id(value))
            self._memo[id(value)] = len(self._written)
            self._written.append(value)
            self._add(pickle.LONG_BINPUT, struct.pack("<I", self._memo[id(value)]))

    def _add(self, *parts: bytes) -> None:
        self.parts += parts

    def _plain(self, value: bool | int | float | str | EncodedText | None) -> None:
        if value is None:
            self._add(pickle.NONE)
        elif isinstance(value, bool):
            self._add(pickle.NEWTRUE if value else pickle.NEWFALSE)
        elif isinstance(value, int):
            self._integer(value)
        elif isinstance(value, float):
            self._add(pickle.BINFLOAT, struct.pack(">d", value))
        elif isinstance(value, str):
            content = value.encode()
            self._add(pickle.BINUNICODE, struct.pack("<I", len(content)), content)
        else:
            self._call(ENCODE, value.text, "latin1")

    def _integer(self, value: int) -> None:
        for low, end, opcode, layout in _INTEGERS:
            if low <= value < end:
                self._add(opcode, struct.pack(layout, value))
                return
        content = value.to_bytes(8, "little", signed=True)
        self._add(pickle.LONG1, bytes([len(content)]), content)

    def _compound(self, value: Value) -> None:
        if isinstance(value, Sizes):
            self._call(SIZE, tuple(value))
        elif isinstance(value, tuple):
            self._tuple(value)
        elif isinstance(value, list):
            self._add(pickle.EMPTY_LIST)
            self._filled(value, pickle.APPENDS)
        elif isinstance(value, dict):
            self._dict(value)
        elif isinstance(value, StoredTensor):
            self._tensor(value)
        elif isinstance(value, InertObject):
            self._object(value.name, value.attributes)
        elif isinstance(value, BytesFile) and value.encoded is not None:
            self._object(BYTES_FILE, (value.encoded, len(value.encoded.text), None))
        else:
            raise OfficialFileError(f"{kind_of(value)} alone is no value of an official file")

    def _name(self, name: str) -> None:
        module, _, attribute = name.rpartition(".")
        self._add(pickle.GLOBAL, f"{module}\n{attribute}\n".encode())

    def _call(self, name: str, *arguments: Value) -> None:
        self._name(name)
        self._tuple(arguments)
        self._add(pickle.REDUCE)

    def _tuple(self, values: Sequence[Value]) -> None:
        if len(values) not in _TUPLES:
            self._add(pickle.MARK)
        for value in values:
            self.value(value)
        self._add(_TUPLES.get(len(values), pickle.TUPLE))

    def _filled(self, values: Sequence[Value], opcode: bytes) -> None:
        self._add(pickle.MARK)
        for value in values:
            self.value(value)
        self._add(opcode)

    def _dict(self, values: Mapping[str, Value]) -> None:
        if isinstance(values, StateDict):
            self._call(ORDERED_DICT)
        else:
            self._add(pickle.EMPTY_DICT)
        self._filled([part for item in values.items() for part in item], pickle.SETITEMS)

    def _object(self, name: str, state: Value) -> None:
        self._name(name)
        self._add(pickle.EMPTY_TUPLE, pickle.NEWOBJ)
        self.value(state)
        self._add(pickle.BUILD)

    def _tensor(self, tensor: StoredTensor) -> None:
        """A view of a storage becomes a contiguous tensor with one of its own."""
        own = tensor.contiguous()
        self._name(TENSOR)
        self._add(pickle.MARK, pickle.MARK)
        self._plain("storage")
        self._name(FLOATS)
        for value in (str(len(self.storages)), "cpu", own.storage.numel):
            self._plain(value)
        self._add(pickle.TUPLE, pickle.BINPERSID)
        self.storages.append(own.storage.data)
        self._plain(0)
        self._tuple(own.shape)
        self._tuple(own.stride)
        self._plain(False)
        self._call(ORDERED_DICT)
        self._add(pickle.TUPLE, pickle.REDUCE)
