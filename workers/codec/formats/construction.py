"""What may be made of a pickle's names and calls: inert objects and tensors that lie in the file.

A name is a text, never imported. What is not listed here is refused by its name.
"""

from collections.abc import Mapping, Sequence

from workers.codec.formats.stored import (
    BytesFile,
    EncodedText,
    InertObject,
    Reference,
    Sizes,
    StateDict,
    Storage,
    StoredTensor,
    Value,
    checked_tensor,
    kind_of,
)
from workers.errors import OfficialFileError

ORDERED_DICT, TENSOR, SIZE = "collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch.Size"
ENCODE, BYTES_FILE, FLOATS = "_codecs.encode", "_io.BytesIO", "torch.FloatStorage"

CLASSES = frozenset(
    f"{module}.{name}"
    for module, names in {
        "enc.utils.codingstructure": "CodingStructure Frame",
        "enc.component.coolchic": "CoolChicEncoderParameter",
        "enc.component.intercoding.warp": "WarpParameter",
        "enc.utils.manager": "FrameEncoderManager",
        "enc.training.manager": "FrameEncoderManager",
        "enc.training.presets": "PresetC3x PresetC3xIntra PresetC3xInter PresetDebug PresetMeasureSpeed "
        "TrainerPhase Warmup WarmupPhase",
        "coolchic.component.frame": "EncoderMonitor",
        "coolchic.component.core.coolchic": "CoolChicEncoderParameter",
        "coolchic.component.core.types": "DescriptorCoolChic DescriptorNN",
        "coolchic.component.intercoding.warp": "WarpParameter",
    }.items()
    for name in names.split()
)
"""Of the official program, all releases that are known."""

_NAMES = CLASSES | {ORDERED_DICT, TENSOR, SIZE, ENCODE, BYTES_FILE, FLOATS, "typing.OrderedDict"}

_MAX_SIZES = 8


def check_name(name: str) -> None:
    """Refuse a name that is in no official file.

    Raises:
        OfficialFileError: it is none.
    """
    if name not in _NAMES:
        raise OfficialFileError(f"the name {name[:200]!r} is in no official file; nothing is imported")


def new_object(of: Value, arguments: Value) -> InertObject | BytesFile:
    """An object without attributes.

    Raises:
        OfficialFileError: its class is not one of the official program, or it has arguments.
    """
    if not isinstance(of, Reference) or of.name not in CLASSES | {BYTES_FILE}:
        raise OfficialFileError(f"{kind_of(of)} is no class of the official program")
    if not isinstance(arguments, tuple) or arguments:
        raise OfficialFileError(f"an object of {of.name} is made without arguments")
    return BytesFile() if of.name == BYTES_FILE else InertObject(of.name)


def set_state(target: Value, state: Value) -> None:
    """Attributes of an object. Those of a state dict, such as the type it was annotated with, are left out.

    Raises:
        OfficialFileError: the state is none for such an object.
    """
    if isinstance(target, InertObject) and isinstance(state, dict):
        target.attributes.update(state)
    elif isinstance(target, BytesFile) and isinstance(state, tuple) and len(state) == 3:
        if not isinstance(state[0], EncodedText):
            raise OfficialFileError(f"a file within the file consists of bytes; found {kind_of(state[0])}")
        target.encoded = state[0]
    elif not (isinstance(target, dict) and isinstance(state, dict)):
        raise OfficialFileError(f"{kind_of(state)} cannot be the state of {kind_of(target)}")


class Tensors:
    """Makes the tensors of a file.

    Args:
        storages: numbers of the tensors, by key.
    """

    def __init__(self, storages: Mapping[str, memoryview]) -> None:
        self._storages = {key: Storage(numbers, len(numbers) // 4) for key, numbers in storages.items()}
        self._elements_left = sum(storage.numel for storage in self._storages.values())

    def storage(self, identity: Value) -> Storage:
        """The storage that a pickle refers to.

        Raises:
            OfficialFileError: it is not in the file, of another type, or of another size.
        """
        match identity:
            case ("storage", Reference(name=kind), str(key), str(), int(numel)) if not isinstance(numel, bool):
                pass
            case _:
                raise OfficialFileError("a storage has a type, a key, a device and a size")
        if kind != FLOATS:
            raise OfficialFileError(f"every storage is a {FLOATS}; found {kind}")
        if key not in self._storages:
            raise OfficialFileError(f"the storage {key[:20]!r} is not in the file")
        storage = self._storages[key]
        if len(storage.data) != 4 * numel:
            raise OfficialFileError(f"the storage {key!r} of {numel} numbers has {len(storage.data)} bytes")
        return storage

    def call(self, function: Value, arguments: Value) -> Value:
        """Result of one of the four calls that official files ask for; none of them is executed.

        Raises:
            OfficialFileError: it is none of them, or has other arguments.
        """
        name = function.name if isinstance(function, Reference) else None
        match name, arguments:
            case "collections.OrderedDict", ():
                return StateDict()
            case "torch.Size", (tuple(sizes) | list(sizes),):
                return Sizes(_integers(sizes))
            case "_codecs.encode", (str(text), "latin1"):
                return EncodedText(text)
            case "torch._utils._rebuild_tensor_v2", (
                Storage() as storage,
                start,
                tuple(shape),
                tuple(stride),
                False,
                {},
            ):
                return self._tensor(storage, _integers((start,))[0], _integers(shape), _integers(stride))
        raise OfficialFileError(f"the call of {kind_of(function)} is in no official file; nothing is called")

    def _tensor(
        self, storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
    ) -> StoredTensor:
        tensor = checked_tensor(storage, offset, shape, stride)
        # Other tensors of one storage are small views, so copies of all of them are no larger than the file.
        self._elements_left -= tensor.numel
        if self._elements_left < 0:
            raise OfficialFileError("the tensors have more elements together than the file's storages")
        return tensor


def _integers(values: Sequence[Value]) -> tuple[int, ...]:
    numbers = tuple(
        value for value in values[:_MAX_SIZES] if isinstance(value, int) and not isinstance(value, bool)
    )
    if len(numbers) != len(values):
        raise OfficialFileError(f"sizes, strides and offsets are integers, at most {_MAX_SIZES} of them")
    return numbers
