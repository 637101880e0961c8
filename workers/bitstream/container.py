"""The container: which version of the format a file has, and which one a frame encoder gets."""

from workers.bitstream import container_1, container_2
from workers.bitstream.content import Bitstream
from workers.bitstream.sections import SectionBytes
from workers.errors import BitstreamError

MAGIC = b"qsw"


def pack(bitstream: Bitstream) -> tuple[bytes, SectionBytes]:
    """A file, and the sizes of its parts: of version 1 where that can hold it, which older decoders read too.

    Raises:
        InputError: a file cannot hold it.
    """
    if container_1.holds(bitstream.networks.param):
        version, parts = 1, container_1.pack(bitstream)
    else:
        version, parts = 2, container_2.pack(bitstream)
    content = MAGIC + bytes([version]) + parts.content
    n_header = len(content) - parts.n_networks - parts.n_latents
    return content, SectionBytes(n_header, parts.n_networks, parts.n_latents)


def unpack(content: bytes) -> Bitstream:
    """What is in a file.

    Raises:
        BitstreamError: it is none, of another version, truncated or altered.
    """
    header = len(MAGIC) + 1
    if not content.startswith(MAGIC):
        begin = f"it begins with {repr(content[:4])[1:]}" if content else "it is empty"
        raise BitstreamError(f"not a .qsw or .cool file: {begin}")
    if len(content) < header:
        raise BitstreamError("truncated: the version is missing")
    version = content[header - 1]
    if version == 1:
        return container_1.unpack(content[header:])
    if version == 2:
        return container_2.unpack(content[header:])
    raise BitstreamError(f"bitstreams of versions 1 and 2 can be read; found version {version}")
