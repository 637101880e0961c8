"""What the header of a picture file says: its format, and whether its samples can be read as they are.

The decoders hand out 8 bits whatever the file holds, some of them without a word. So depth is read from the header,
and what would be rounded is refused.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

ACCEPTED: Mapping[str, str] = {
    "PNG": "PNG",
    "JPEG": "JPEG",
    "WEBP": "WebP",
    "AVIF": "AVIF",
    "TIFF": "TIFF",
    "BMP": "BMP",
    "PPM": "PPM (PGM, PBM)",
    "JPEG2000": "JPEG 2000",
    "GIF": "GIF",
}
"""Formats that are read: as Pillow calls them, and their names for people.

These are what cameras, browsers and data sets have. Each states its depth in its header, and no decoder of them
runs a program or opens another file, as that of PostScript does.
"""

HOW_TO_CONVERT = (
    "convert it to an 8-bit PNG, to a PPM of maxval 1023 or to .yuv of 8 or 10 bits "
    "(ffmpeg -i FILE -pix_fmt yuv444p10le -f rawvideo NAME_WxH_1p_yuv444_10b.yuv)"
)

_MAGIC = (
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("JPEG", rb"\xff\xd8\xff"),
    ("WEBP", rb"RIFF....WEBP"),
    ("AVIF", rb"....ftyp(?=avif|avis|[^\0]{4}.{4}(.{4})*avi[fs])"),
    ("TIFF", rb"II[*+]\0|MM\0[*+]"),
    ("BMP", rb"BM"),
    ("PPM", rb"P[1-6][\s#]"),
    ("JPEG2000", rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    ("GIF", rb"GIF8[79]a"),
    ("PostScript", rb"%!PS|\xc5\xd0\xd3\xc6"),
    ("PDF", rb"%PDF"),
    ("HEIF", rb"....ftyp(hei|hev|mif|msf)"),
    ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL "),
    ("OpenEXR", rb"\x76\x2f\x31\x01"),
    ("Radiance HDR", rb"#\?R"),
    ("PAM", rb"P7\s"),
    ("PFM", rb"P[fF]\s"),
    ("Photoshop", rb"8BPS"),
    ("SGI", rb"\x01\xda"),
    ("QOI", rb"qoif"),
    ("DDS", rb"DDS "),
    ("FITS", rb"SIMPLE"),
    ("WMF or EMF", rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF"),
    ("SVG or XML", rb"\s*<(\?xml|svg)"),
)
_COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946, 34925, 50000)  # of a TIFF; 6 is the JPEG of before 1995
_PREDICTED = (5, 8, 32946, 34925, 50000)  # compressions of which the decoder knows that differences are stored


class InexactError(ValueError):
    """The samples of a picture would not be read as they are in the file."""


def format_of(content: bytes) -> str | None:
    """The format of a file by its first bytes: a key of :data:`ACCEPTED`, the name of another, or ``None``."""
    start = content[:64]
    return next((name for name, magic in _MAGIC if re.match(magic, start, re.DOTALL)), None)


def check_header(kind: str, content: bytes) -> None:
    """Refuse what is deeper than 8 bits or would be changed by its decoder; a TIFF is left to :func:`check_tiff`.

    Args:
        kind: key of :data:`ACCEPTED`.
        content: the file.

    Raises:
        InexactError: why its samples cannot be read as they are.
        IndexError, struct.error: the header ends early.
    """
    if check := _CHECKS.get(kind):
        check(content)


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of the chunks of a PNG before its samples."""
    at = 8
    while at + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        if name == b"IDAT":
            return
        yield name, content[at + 8 : at + 8 + length]
        at += 12 + length


def check_tiff(tags: Mapping[int, Any]) -> None:
    """Refuse a page of a TIFF whose samples would be rounded or misread.

    Args:
        tags: of its directory, by number.

    Raises:
        InexactError: why its samples cannot be read as they are.
    """
    bits, formats = tags.get(258, (1,)), tags.get(339, (1,))
    if set(formats) != {1}:
        what = {2: "signed", 3: "floating-point"}.get(formats[0], "undefined")
        raise InexactError(f"its samples are {what}, of {bits[0]} bits")
    _limit(max(bits))
    if len(set(bits)) > 1:
        raise InexactError(f"its channels have {', '.join(map(str, bits))} bits")
    if tags.get(259, 1) not in _COMPRESSIONS:
        raise InexactError(f"its compression, number {tags.get(259)}, is not supported")
    if tags.get(317, 1) != 1 and tags.get(259, 1) not in _PREDICTED:
        raise InexactError("it stores differences of samples, which its compression does not provide for")
    if 0 in tags.get(338, ()):
        raise InexactError("it has a further channel, and does not say what that is")
    if any(entry % 257 and entry % 256 for entry in tags.get(320, ())):
        raise InexactError("the colours of its palette have 16 bits")


def is_preview(tags: Mapping[int, Any]) -> bool:
    """Whether a page of a TIFF is a smaller version of another one, or its mask."""
    return bool(tags.get(254, 0) & 0b101)


def _limit(bits: int) -> None:
    if bits > 8:
        raise InexactError(f"its samples have {bits} bits")


def _png(content: bytes) -> None:
    bits, colour_type = content[24], content[25]
    _limit(bits)
    if bits < 8 and colour_type == 0 and any(name == b"tRNS" for name, _ in png_chunks(content)):
        raise InexactError(f"one of its {2**bits} shades of grey is transparent")


def _jpeg(content: bytes) -> None:
    at = 2
    while True:
        while content[at + 1] == 0xFF:  # bytes that fill
            at += 1
        marker = content[at + 1]
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            if marker == 0xF7:
                raise InexactError("it is a JPEG-LS")
            _limit(content[at + 4])
            return
        if content[at] != 0xFF or marker in (0xD9, 0xDA):
            raise IndexError("no frame header")
        at += 2 + struct.unpack_from(">H", content, at + 2)[0]


def _jpeg_2000(content: bytes) -> None:
    raw = content.startswith(b"\xff\x4f")
    start = 0 if raw else next((at for at, _ in _boxes(content, (b"jp2c",))), len(content))
    n_components = struct.unpack_from(">H", content, start + 40)[0]
    components = [struct.unpack_from("3B", content, start + 42 + 3 * i) for i in range(n_components)]
    for sample, x_step, y_step in components:
        if sample & 0x80:
            raise InexactError("its samples are signed")
        _limit((sample & 0x7F) + 1)
        if sample != 7:
            raise InexactError(f"its samples have {sample + 1} bits")
        if (x_step, y_step) != (1, 1):
            raise InexactError("it has less samples of chroma than of luma")
    header = content[:start]
    if (palette := header.find(b"pclr")) >= 0:  # its size, the number of its columns, and the depth of each
        n_columns = header[palette + 6]
        _limit(max((depth & 0x7F) + 1 for depth in header[palette + 7 : palette + 7 + n_columns]))


def _avif(content: bytes) -> None:
    boxes = (content[start:end] for start, end in _boxes(content, (b"meta", b"moov")))
    found = [box[match.end() : match.end() + 3] for box in boxes for match in re.finditer(b"av1C", box)]
    if not found:
        raise InexactError("it does not say how many bits its samples have")
    for configuration in found:
        _limit(12 if configuration[2] & 0x20 else 10 if configuration[2] & 0x40 else 8)


def _boxes(content: bytes, names: tuple[bytes, ...]) -> Iterator[tuple[int, int]]:
    """Start and end of the outermost boxes of these names."""
    at = 0
    while at + 8 <= len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        if size == 1:
            size = struct.unpack_from(">Q", content, at + 8)[0]
        end = len(content) if size == 0 else at + size
        if end < at + 8:
            raise IndexError("a box is shorter than its header")
        if name in names:
            if name != b"jp2c" and end > len(content):
                raise IndexError("a box ends early")
            yield at + 8, end
        at = end


def _bmp(content: bytes) -> None:
    (header_size,) = struct.unpack_from("<I", content, 14)
    (bits,) = struct.unpack_from("<H", content, 24 if header_size == 12 else 28)
    if bits == 16:
        raise InexactError("its samples have 5 or 6 bits, which 8 bits do not hold exactly")


_CHECKS: Mapping[str, Callable[[bytes], None]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "JPEG2000": _jpeg_2000,
    "AVIF": _avif,
    "BMP": _bmp,
}
