"""PBM, PGM and PPM files: their headers, and those of more than 8 bits, which Pillow would cut to 8."""

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.codec.picture_header import InexactError

DEEP_MAXVALS = {2**bits - 1: bits for bits in range(9, 17)}
"""Largest sample of a file of more than 8 bits, and how many these are."""

_HEADER = re.compile(rb"P([1-6])" + 3 * rb"(?:(?:\s|#[^\r\n]*[\r\n])+(\d{1,10}))")
_BITMAP_HEADER = re.compile(rb"P([14])" + 2 * rb"(?:(?:\s|#[^\r\n]*[\r\n])+(\d{1,10}))")


class NetpbmHeader(NamedTuple):
    """What a file begins with.

    Attributes:
        kind: digit of its magic number: 1 to 3 for text, 4 to 6 for binary samples.
        width: in samples.
        height: in samples.
        maxval: largest sample.
        size: bytes before the first sample.
    """

    kind: int
    width: int
    height: int
    maxval: int
    size: int


def parse_header(content: bytes) -> NetpbmHeader:
    """Header of a file.

    Raises:
        IndexError: it is none, or it ends early.
    """
    if match := _BITMAP_HEADER.match(content):
        return NetpbmHeader(int(match[1]), int(match[2]), int(match[3]), 1, match.end() + 1)
    if match := _HEADER.match(content):
        kind, width, height, maxval = (int(group) for group in match.groups())
        return NetpbmHeader(kind, width, height, maxval, match.end() + 1)
    raise IndexError("no header of a PBM, PGM or PPM file")


def check_netpbm(content: bytes) -> None:
    """Refuse samples that Pillow would rescale, and a second picture behind the first.

    Raises:
        InexactError: why it cannot be read as it is.
        IndexError: see :func:`parse_header`.
    """
    header = parse_header(content)
    is_deep = header.maxval in DEEP_MAXVALS and header.kind in (5, 6)
    if (header.maxval not in (1, 255) and not is_deep) or (header.maxval == 1 and header.kind not in (1, 4)):
        raise InexactError(
            f"its maxval is {header.maxval}; accepted: 255, or 511, 1023, … 65535 where samples are binary (P5, P6)"
        )
    if header.kind >= 4:
        row = -(-header.width // 8) if header.kind == 4 else header.width * (3 if header.kind == 6 else 1)
        end = header.size + row * header.height * (2 if is_deep else 1)
        if content[end : end + 1024].strip():
            raise InexactError("there is more than one picture in it")


def read_deep(content: bytes) -> tuple[NDArray[np.uint16], int] | None:
    """Samples ``[H, W, 3]`` of a file of more than 8 bits, and how many; ``None`` for files of 8 bits.

    Raises:
        ValueError: the file is truncated, or a sample exceeds the largest one.
    """
    header = parse_header(content)
    if header.maxval not in DEEP_MAXVALS:
        return None
    channels = 3 if header.kind == 6 else 1
    n = header.height * header.width * channels
    if not n or len(content) - header.size < 2 * n:
        raise ValueError(f"{2 * n} bytes of samples are expected, {max(0, len(content) - header.size)} are there")
    samples = np.frombuffer(content, ">u2", n, header.size).astype(np.uint16)
    if samples.max() > header.maxval:
        raise ValueError(f"a sample is at most {header.maxval}; found {samples.max()}")
    samples = samples.reshape(header.height, header.width, channels)
    return np.broadcast_to(samples, (header.height, header.width, 3)), DEEP_MAXVALS[header.maxval]


def write_ppm(samples: NDArray[np.generic], bitdepth: int) -> bytes:
    """A binary PPM of samples ``[H, W, 3]``, two bytes each for more than 8 bits."""
    height, width, _ = samples.shape
    header = f"P6\n{width} {height}\n{2**bitdepth - 1}\n".encode()
    return header + samples.astype("u1" if bitdepth == 8 else ">u2").tobytes()
