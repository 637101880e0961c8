"""Files of ``torch.save``: a zip file with one pickle, and the storages of its tensors."""

from workers.codec.formats.archive import read_members, write_members
from workers.codec.formats.pickle_reader import read_pickle
from workers.codec.formats.pickle_writer import write_pickle
from workers.codec.formats.stored import Value
from workers.errors import OfficialFileError

_PICKLE, _STORAGES = "data.pkl", "data/"


def read_torch_file(content: bytes) -> Value:
    """The value in a file of ``torch.save``, of the kinds in :mod:`workers.codec.formats.stored`.

    Tensors are views of the content; nothing in the file is executed.

    Raises:
        OfficialFileError: the file is damaged, or holds what no official file holds.
    """
    members = read_members(content)
    roots = [name.removesuffix(_PICKLE) for name in members if name.endswith(f"/{_PICKLE}")]
    if len(roots) != 1 or not all(name.startswith(roots[0]) for name in members):
        raise OfficialFileError("it is no file of torch.save: that has one folder with one data.pkl")
    (root,) = roots
    order = bytes(members.get(f"{root}byteorder", b"little")[:20])
    if order != b"little":
        raise OfficialFileError(f"its numbers are little-endian; found {order!r}")
    prefix = root + _STORAGES
    storages = {name.removeprefix(prefix): data for name, data in members.items() if name.startswith(prefix)}
    return read_pickle(members[root + _PICKLE], storages)


def write_torch_file(value: Value, root: str) -> bytes:
    """A file of ``torch.save`` that holds a value; ``torch.load`` reads it as well as :func:`read_torch_file`.

    Args:
        value: of the kinds in :mod:`workers.codec.formats.stored`.
        root: name of the folder in the zip file: official files have the stem of their name, nested ones
            ``archive``.

    Raises:
        OfficialFileError: the value holds itself, or is nested too deeply.
    """
    data, storages = write_pickle(value)
    parts = {_PICKLE: data, "byteorder": b"little"}
    parts |= {f"{_STORAGES}{key}": bytes(numbers) for key, numbers in enumerate(storages)}
    parts["version"] = b"3\n"
    return write_members({f"{root}/{name}": part for name, part in parts.items()})
