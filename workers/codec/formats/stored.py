"""What a pickle of Cool-Chic's encoder is made of: plain values, inert objects, and tensors in their storages."""

import math
from dataclasses import dataclass, field
from typing import TypeAlias, Union

import numpy as np
import torch
from torch import Tensor

from workers.errors import OfficialFileError

_MAX_DIMENSIONS = 4
_MAX_EMPTY_SIDE = 1 << 16


@dataclass(frozen=True)
class Reference:
    """A name in a pickle. It is never imported.

    Attributes:
        name: with its module, such as ``torch.FloatStorage``.
    """

    name: str


@dataclass(frozen=True)
class EncodedText:
    """Bytes as pickles of protocol 2 hold them: as a text of which each character is a byte."""

    text: str

    def content(self) -> bytes:
        """The bytes.

        Raises:
            OfficialFileError: a character is none.
        """
        try:
            return self.text.encode("latin1")
        except UnicodeEncodeError:
            raise OfficialFileError("a text that stands for bytes has other characters") from None


@dataclass(eq=False, repr=False)  # its attributes may hold it
class InertObject:
    """An object of the official program: its class's name and its attributes, and no more.

    Attributes without an entry have the default value of their class.
    """

    name: str
    attributes: dict[str, "Value"] = field(default_factory=dict)


@dataclass(eq=False)
class BytesFile:
    """An ``io.BytesIO``: a file within the file."""

    encoded: EncodedText | None = None


@dataclass(frozen=True)
class Storage:
    """Numbers of one or more tensors.

    Attributes:
        data: float32, little-endian.
        numel: how many.
    """

    data: memoryview
    numel: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a view of its storage; it lies in it for certain."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def read(self) -> Tensor:
        """A copy, contiguous float32."""
        if not self.numel:
            return torch.empty(self.shape)
        numbers = np.frombuffer(self.storage.data, "<f4")[self.offset :]
        strides = [4 * step for step in self.stride]
        view = np.lib.stride_tricks.as_strided(numbers, self.shape, strides, writeable=False)
        return torch.from_numpy(view.astype(np.float32, order="C", copy=True).reshape(self.shape))

    def contiguous(self) -> "StoredTensor":
        """The same numbers in a storage of their own."""
        return store(self.read())


def checked_tensor(storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> StoredTensor:
    """A tensor that lies within its storage and has no more elements than that.

    Raises:
        OfficialFileError: it does not.
    """
    tensor = StoredTensor(storage, offset, shape, stride)
    if len(shape) != len(stride) or len(shape) > _MAX_DIMENSIONS or min((offset, *shape, *stride)) < 0:
        raise OfficialFileError(f"a tensor has at most {_MAX_DIMENSIONS} sizes, and as many strides, none negative")
    if not tensor.numel:
        if max(shape) > _MAX_EMPTY_SIDE:
            raise OfficialFileError(f"a side of a tensor without elements is at most {_MAX_EMPTY_SIDE}")
        return tensor
    if tensor.numel > storage.numel:
        raise OfficialFileError(f"a tensor has {tensor.numel} elements, and its storage {storage.numel}")
    last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
    if last >= storage.numel:
        raise OfficialFileError(f"a tensor reaches to element {last} of a storage that has {storage.numel}")
    return tensor


def store(tensor: Tensor) -> StoredTensor:
    """A tensor in a storage of its own, contiguous float32, as official files hold their parameters."""
    numbers = tensor.detach().cpu().contiguous().numpy().astype("<f4")
    stride = tuple(torch.empty(tensor.shape, device="meta").stride())
    return StoredTensor(Storage(memoryview(numbers.tobytes()), numbers.size), 0, tuple(tensor.shape), stride)


class StateDict(dict[str, "Value"]):
    """A ``collections.OrderedDict``: official programs keep parameters in these, and other items in dicts."""


class Sizes(tuple[int, ...]):
    """A ``torch.Size``."""

    __slots__ = ()


Value: TypeAlias = Union[
    bool,
    int,
    float,
    str,
    "list[Value]",
    "tuple[Value, ...]",
    "dict[str, Value]",
    Reference,
    EncodedText,
    BytesFile,
    InertObject,
    Storage,
    StoredTensor,
    None,
]
"""What a pickle may hold."""


def kind_of(value: Value) -> str:
    """What a value is, for messages; it may be of any size."""
    if isinstance(value, InertObject | Reference):
        return value.name
    return "nothing" if value is None else f"a {type(value).__name__}"
