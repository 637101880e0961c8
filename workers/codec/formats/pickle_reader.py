"""An interpreter of the few pickle opcodes that official checkpoints consist of.

Nothing is imported or executed. Opcodes that no official file has are refused by their name. Time and memory are
bounded by the size of the pickle: each opcode does a bounded amount of work, but for texts, tuples, lists and
dicts, which are no larger than what they are made of.
"""

import pickle
import pickletools
import struct
from collections.abc import Callable, Iterator, Mapping

from workers.codec.formats.construction import Tensors, check_name, new_object, set_state
from workers.codec.formats.stored import Reference, Value, kind_of
from workers.errors import OfficialFileError

_MAX_OPCODES = 1 << 19
"""An official file has some 2000 for each cool-chic, and 300 for each frame of a sequence."""

_MAX_NAME = 200


def read_pickle(data: memoryview, storages: Mapping[str, memoryview]) -> Value:
    """The value that a pickle of protocol 2 describes.

    The value may hold itself, and the same part any number of times, so it must not be walked through as a whole.

    Args:
        data: the pickle.
        storages: numbers of the tensors, by key.

    Raises:
        OfficialFileError: it has an opcode, a name or a call that no official file has, or it is damaged.
    """
    machine = _Machine(data, storages)
    try:
        return machine.run()
    except OfficialFileError as error:
        raise OfficialFileError(f"byte {machine.started} of its pickle: {error.reason}") from None


class _Machine:
    """State of the interpreter."""

    def __init__(self, data: memoryview, storages: Mapping[str, memoryview]) -> None:
        self._data = data
        self._at = self.started = 0
        self._tensors = Tensors(storages)
        self._stack: list[Value] = []
        self._marks: list[int] = []
        self._memo: dict[int, Value] = {}

    def run(self) -> Value:
        for _ in range(_MAX_OPCODES):
            self.started = self._at
            code = bytes(self._take(1))
            if code == pickle.STOP:
                value = self._pop()
                if self._stack or self._at != len(self._data):
                    raise OfficialFileError("something is left over at the pickle's end")
                return value
            if code not in _OPCODES:
                raise OfficialFileError(f"the opcode {_opcode_name(code)} is not in any official file")
            _OPCODES[code](self)
        raise OfficialFileError(f"the pickle has more than {_MAX_OPCODES} opcodes")

    # --- the pickle's bytes

    def _take(self, n: int) -> memoryview:
        part = self._data[self._at : self._at + n]
        if len(part) < n:
            raise OfficialFileError("the pickle ends early: it is truncated")
        self._at += n
        return part

    def _number(self, n_bytes: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._take(n_bytes), "little", signed=signed)

    def _line(self) -> str:
        line = bytes(self._data[self._at : self._at + _MAX_NAME])
        length = line.find(b"\n")
        if length < 0:
            raise OfficialFileError("a name has no end, or is far too long")
        self._at += length + 1
        return line[:length].decode("ascii", "replace")

    # --- the stack

    def push(self, value: Value) -> None:
        self._stack.append(value)

    def _pop(self) -> Value:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise OfficialFileError("an opcode takes more values than there are")
        return self._stack.pop()

    def _top(self) -> Value:
        value = self._pop()
        self._stack.append(value)
        return value

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def _pop_to_mark(self) -> list[Value]:
        if not self._marks:
            raise OfficialFileError("an opcode looks for a mark, and there is none")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    # --- plain values

    def protocol(self) -> None:
        version = self._number(1)
        if version != 2:
            raise OfficialFileError(f"official files are pickled in protocol 2; found protocol {version}")

    def integer(self, n_bytes: int, *, signed: bool = False) -> None:
        self.push(self._number(n_bytes, signed=signed))

    def long_integer(self) -> None:
        n_bytes = self._number(1)
        if n_bytes > 8:
            raise OfficialFileError(f"an integer has at most 64 bits; found {8 * n_bytes}")
        self.integer(n_bytes, signed=True)

    def real(self) -> None:
        self.push(struct.unpack(">d", self._take(8))[0])

    def text(self) -> None:
        try:
            self.push(str(self._take(self._number(4)), "utf-8"))
        except UnicodeDecodeError:
            raise OfficialFileError("a text is not UTF-8") from None

    def tuple_of(self, n: int) -> None:
        values = [self._pop() for _ in range(n)]
        self.push(tuple(reversed(values)))

    def tuple_to_mark(self) -> None:
        self.push(tuple(self._pop_to_mark()))

    # --- what grows

    def append(self, values: list[Value]) -> None:
        target = self._top()
        if type(target) is not list:
            raise OfficialFileError(f"items are appended to a list; found {kind_of(target)}")
        target.extend(values)

    def append_one(self) -> None:
        self.append([self._pop()])

    def append_to_mark(self) -> None:
        self.append(self._pop_to_mark())

    def set_items(self, values: list[Value]) -> None:
        target = self._top()
        if not isinstance(target, dict) or len(values) % 2:
            raise OfficialFileError(f"items, with a key each, are set in a dict; found {kind_of(target)}")
        target.update(_with_text_keys(zip(values[::2], values[1::2], strict=True)))

    def set_one(self) -> None:
        value, key = self._pop(), self._pop()
        self.set_items([key, value])

    def set_to_mark(self) -> None:
        self.set_items(self._pop_to_mark())

    # --- memo

    def put(self, n_bytes: int) -> None:
        self._memo[self._number(n_bytes)] = self._top()

    def get(self, n_bytes: int) -> None:
        index = self._number(n_bytes)
        if index not in self._memo:
            raise OfficialFileError(f"the pickle refers to part {index} before it is there")
        self.push(self._memo[index])

    # --- names, objects and tensors

    def name(self) -> None:
        name = f"{self._line()}.{self._line()}"
        check_name(name)
        self.push(Reference(name))

    def new_object(self) -> None:
        arguments, of = self._pop(), self._pop()
        self.push(new_object(of, arguments))

    def build(self) -> None:
        state = self._pop()
        set_state(self._top(), state)

    def storage(self) -> None:
        self.push(self._tensors.storage(self._pop()))

    def call(self) -> None:
        arguments, function = self._pop(), self._pop()
        self.push(self._tensors.call(function, arguments))


def _with_text_keys(items: Iterator[tuple[Value, Value]]) -> Iterator[tuple[str, Value]]:
    for key, value in items:
        if type(key) is not str:
            raise OfficialFileError(f"a key is a text; found {kind_of(key)}")
        yield key, value


def _opcode_name(code: bytes) -> str:
    names = {opcode.code: opcode.name for opcode in pickletools.opcodes}
    return names.get(code.decode("latin1"), repr(code))


_OPCODES: Mapping[bytes, Callable[[_Machine], None]] = {
    pickle.PROTO: _Machine.protocol,
    pickle.NONE: lambda machine: machine.push(None),
    pickle.NEWTRUE: lambda machine: machine.push(True),
    pickle.NEWFALSE: lambda machine: machine.push(False),
    pickle.EMPTY_DICT: lambda machine: machine.push({}),
    pickle.EMPTY_LIST: lambda machine: machine.push([]),
    pickle.EMPTY_TUPLE: lambda machine: machine.push(()),
    pickle.BININT: lambda machine: machine.integer(4, signed=True),
    pickle.BININT1: lambda machine: machine.integer(1),
    pickle.BININT2: lambda machine: machine.integer(2),
    pickle.LONG1: _Machine.long_integer,
    pickle.BINFLOAT: _Machine.real,
    pickle.BINUNICODE: _Machine.text,
    pickle.MARK: _Machine.mark,
    pickle.TUPLE: _Machine.tuple_to_mark,
    pickle.TUPLE1: lambda machine: machine.tuple_of(1),
    pickle.TUPLE2: lambda machine: machine.tuple_of(2),
    pickle.TUPLE3: lambda machine: machine.tuple_of(3),
    pickle.APPEND: _Machine.append_one,
    pickle.APPENDS: _Machine.append_to_mark,
    pickle.SETITEM: _Machine.set_one,
    pickle.SETITEMS: _Machine.set_to_mark,
    pickle.BINPUT: lambda machine: machine.put(1),
    pickle.LONG_BINPUT: lambda machine: machine.put(4),
    pickle.BINGET: lambda machine: machine.get(1),
    pickle.LONG_BINGET: lambda machine: machine.get(4),
    pickle.GLOBAL: _Machine.name,
    pickle.NEWOBJ: _Machine.new_object,
    pickle.BUILD: _Machine.build,
    pickle.BINPERSID: _Machine.storage,
    pickle.REDUCE: _Machine.call,
}
