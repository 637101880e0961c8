"""What a picture file says of how it is to be shown, which its samples alone do not keep."""

import io
import struct

from PIL import Image, ImageCms

from workers.codec.picture_header import png_chunks

_ORIENTATION = 0x0112
_TURNS = {
    2: "mirrored left to right",
    3: "turned by 180°",
    4: "mirrored top to bottom",
    5: "mirrored and turned by 90° anticlockwise",
    6: "turned by 90° clockwise",
    7: "mirrored and turned by 90° clockwise",
    8: "turned by 90° anticlockwise",
}
_SRGB_GAMMA = 45455
_GAMMA_TOLERANCE = 500


def stored_orientation(picture: Image.Image) -> int:
    """EXIF orientation of a picture, from whichever field its format has for it; 1 for none."""
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata, of which Pillow raises several unrelated types
        return 1
    return orientation if orientation in _TURNS else 1


def display_hints(kind: str, content: bytes, picture: Image.Image, orientation: int) -> tuple[str, ...]:
    """What a viewer would do to the samples, one sentence each.

    Args:
        kind: format of the file, as Pillow calls it.
        content: the file.
        picture: the same, opened.
        orientation: see :func:`stored_orientation`.
    """
    hints = []
    if orientation != 1:
        hints.append(
            f"samples are taken as they are stored; to be shown, the file says, they are {_TURNS[orientation]} "
            f"(orientation {orientation})"
        )
    profile = _profile(picture)
    if profile is not None:
        hints.append(f"samples are taken as they are stored, without their colour profile {profile!r}")
    if kind == "PNG" and profile is None and (gamma := _gamma(content)) is not None:
        hints.append(f"samples are taken as they are stored, without their gamma of {gamma / 100_000:g}")
    return tuple(hints)


def _profile(picture: Image.Image) -> str | None:
    """Name of a picture's ICC profile, unless that is sRGB or a plain grey one."""
    content = picture.info.get("icc_profile")
    if not content:
        return None
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(content))).strip()
    except (ImageCms.PyCMSError, OSError, ValueError):
        name = "of a kind that is not known"
    return None if "srgb" in name.lower() else name


def _gamma(content: bytes) -> int | None:
    """Gamma of a PNG times 100,000, if it states one that is not that of sRGB."""
    chunks = dict(png_chunks(content))
    if b"sRGB" in chunks or len(chunks.get(b"gAMA", b"")) != 4:
        return None
    (gamma,) = struct.unpack(">I", chunks[b"gAMA"])
    return None if abs(gamma - _SRGB_GAMMA) <= _GAMMA_TOLERANCE else int(gamma)
