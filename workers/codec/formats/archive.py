"""The zip files that ``torch.save`` writes: taken apart without copying or inflating anything, and written."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping

from workers.errors import OfficialFileError

_END = struct.Struct("<4s4H2IH")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 1
_ALIGNMENT = 64
_PADDING = b"FB"
"""Of a member's extra field: ``torch.save`` aligns contents by it, so that they can be mapped into memory."""
_MAX_MEMBERS = 1 << 15
"""An official file has some 50 for each cool-chic and state of its parameters."""


def read_members(content: bytes) -> dict[str, memoryview]:
    """Contents of the members of a zip file, by name.

    Every member is stored, not compressed; the views share the file's memory.

    Raises:
        OfficialFileError: it is no zip file, or truncated; or a member is compressed, encrypted, damaged or
            there twice.
    """
    if not content.startswith(b"PK\x03\x04"):
        raise OfficialFileError(
            f"it is no zip file of torch.save, and nothing else is read; it begins with {content[:4]!r}"
        )
    if len(content) < _END.size or content[-_END.size : 4 - _END.size] != b"PK\x05\x06":
        raise OfficialFileError("the zip file's end is missing: it is truncated, or something follows it")
    *_, count, size, start, _ = _END.unpack(content[-_END.size :])
    if start + size > len(content) - _END.size:
        raise OfficialFileError("the zip file's directory does not lie in it; files of 4 GB are not supported")
    if count > _MAX_MEMBERS:
        raise OfficialFileError(f"a checkpoint has at most {_MAX_MEMBERS} members; found {count}")

    view = memoryview(content)
    members: dict[str, memoryview] = {}
    for name, position, length, checksum in _entries(content, start, start + size, count):
        if name in members:
            raise OfficialFileError(f"the zip file has two members of one name: {name[:80]!r}")
        members[name] = _member(view[:start], name, position, length, checksum)
    if sum(map(len, members.values())) > len(content):
        raise OfficialFileError("the members of the zip file are larger together than the file")
    return members


def _entries(content: bytes, start: int, end: int, count: int) -> Iterator[tuple[str, int, int, int]]:
    """Name, position of the header, length and checksum of each member, as the directory says."""
    for _ in range(count):
        if start + _ENTRY.size > end:
            raise OfficialFileError("the zip file's directory ends early")
        fields = _ENTRY.unpack_from(content, start)
        signature, flags, method = fields[0], fields[3], fields[4]
        checksum, stored, length, n_name, n_extra, n_comment = fields[7:13]
        start += _ENTRY.size
        if signature != b"PK\x01\x02" or start + n_name + n_extra + n_comment > end:
            raise OfficialFileError("the zip file's directory is damaged")
        try:
            name = content[start : start + n_name].decode()
        except UnicodeDecodeError:
            raise OfficialFileError("the name of a member of the zip file is not UTF-8") from None
        if flags & _ENCRYPTED:
            raise OfficialFileError(f"the member {name[:80]!r} is encrypted")
        if method or stored != length:
            raise OfficialFileError(f"the member {name[:80]!r} is compressed; torch.save compresses none")
        start += n_name + n_extra + n_comment
        yield name, fields[-1], length, checksum


def _member(view: memoryview, name: str, position: int, length: int, checksum: int) -> memoryview:
    """Content of a member whose header is at a position before the directory."""
    if position + _HEADER.size > len(view):
        raise OfficialFileError(f"the member {name[:80]!r} does not lie in the file")
    signature, *_, n_name, n_extra = _HEADER.unpack_from(view, position)
    first = position + _HEADER.size + n_name + n_extra
    own_name = view[position + _HEADER.size : position + _HEADER.size + n_name]
    if signature != b"PK\x03\x04" or own_name != name.encode() or first + length > len(view):
        raise OfficialFileError(f"the member {name[:80]!r} is damaged or does not lie in the file")
    member = view[first : first + length]
    if zlib.crc32(member) != checksum:
        raise OfficialFileError(f"the member {name[:80]!r} is damaged: its checksum does not match")
    return member


def write_members(members: Mapping[str, bytes]) -> bytes:
    """A zip file of some members, all stored, their contents aligned to 64 bytes; the same for the same members."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name)  # dated 1980, as torch.save does
            entry.create_system = 0  # whatever this system is
            start = sink.tell() + _HEADER.size + len(name.encode()) + len(_PADDING) + 2
            padding = -start % _ALIGNMENT
            entry.extra = _PADDING + struct.pack("<H", padding) + b"Z" * padding
            archive.writestr(entry, content)
    return sink.getvalue()
