"""Pictures as files: their samples as they are stored, whatever the file says of how to show them.

What a viewer would do to the samples (turn them, convert their colours) is not done here, for any format: a warning
says what it is. Samples that cannot be read exactly are refused.
"""

import io
import struct
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from workers.codec.display_hints import display_hints, stored_orientation
from workers.codec.frame import Frame, Planes
from workers.codec.frame_index import choose_frame
from workers.codec.netpbm import check_netpbm, read_deep
from workers.codec.picture_header import (
    ACCEPTED,
    HOW_TO_CONVERT,
    InexactError,
    check_header,
    check_tiff,
    format_of,
    is_preview,
)
from workers.errors import FrameFileError

_MODES = ("RGB", "L", "P", "1", "RGBA", "LA")
_UNTURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What makes a picture that was turned for display as it is stored, by its EXIF orientation."""


def parse_picture(content: bytes, name: str, frame_index: int | None) -> Frame:
    """Frame of a picture file, rgb: of 9 to 16 bits for a binary PGM or PPM of such a maxval, else of 8.

    The format is that of the content, not of the name.

    Args:
        content: the file.
        name: of the file, for messages.
        frame_index: which picture of a file of several.

    Raises:
        FrameFileError: the format is not accepted, the file is damaged, holds several pictures and none is chosen,
            or its samples cannot be read exactly.
    """
    kind = format_of(content)
    if kind is None or kind not in ACCEPTED:
        found = f"found {kind}" if kind else "its content is of none that is known"
        raise FrameFileError(
            f"{name}: not a picture of a format that is supported: {found}; accepted: "
            f"{', '.join(ACCEPTED.values())}, and .yuv"
        )
    try:
        check_header(kind, content)
        if kind == "PPM":
            check_netpbm(content)
            if (deep := read_deep(content)) is not None:
                choose_frame(1, frame_index, name)
                return _frame(*deep, ())
        samples, hints = _decode(kind, content, name, frame_index)
    except FrameFileError:
        raise
    except InexactError as error:
        raise FrameFileError(
            f"{name}: 8-bit samples are supported; this {kind} cannot be read exactly: {error}; {HOW_TO_CONVERT}"
        ) from None
    except UnidentifiedImageError:
        raise FrameFileError(
            f"{name}: the {kind} is damaged, or of a kind that is not supported; {HOW_TO_CONVERT}"
        ) from None
    except Image.DecompressionBombError as error:
        raise FrameFileError(f"{name}: the picture is too large to be a picture: {error}") from None
    except (IndexError, struct.error):
        raise FrameFileError(f"{name}: the picture is damaged or truncated: its header ends early") from None
    except Exception as error:  # the decoders raise several unrelated types
        raise FrameFileError(f"{name}: the picture is damaged or truncated: {error}") from None
    return _frame(samples, 8, tuple(f"{name}: {hint}" for hint in hints))


def _decode(
    kind: str, content: bytes, name: str, frame_index: int | None
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Samples ``[H, W, 3]`` as they are stored, and what the file says of how to show them."""
    with warnings.catch_warnings():
        # Large pictures are what this is for, Pillow still refuses the absurd ones with an error; other warnings
        # are of metadata that does not matter here.
        warnings.simplefilter("ignore")
        picture: Image.Image = Image.open(io.BytesIO(content), formats=[kind])
        _seek(picture, name, frame_index)
        orientation = stored_orientation(picture)
        hints = display_hints(kind, content, picture, orientation)
        picture.load()
        if kind == "TIFF" and stored_orientation(picture) != orientation:
            picture = picture.transpose(_UNTURNED[orientation])  # Pillow turns this format, and no other one
    if picture.mode not in _MODES:
        raise InexactError(f"its samples are neither RGB nor grey nor of a palette, but {picture.mode}")
    if picture.has_transparency_data:
        if np.array(picture.convert("RGBA"))[..., 3].min() < 255:
            raise FrameFileError(
                f"{name}: transparency is not supported; convert it to a picture without an alpha channel"
            )
        picture = picture.convert("RGBA")
    return np.array(picture.convert("RGB"), dtype=np.uint8), hints


def _seek(picture: Image.Image, name: str, frame_index: int | None) -> None:
    """Go to the picture that is meant; previews, which phones and cameras store behind it, do not count."""
    n_frames = getattr(picture, "n_frames", 1)
    pages = [0] if picture.format == "MPO" else list(range(n_frames))
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and n_frames > 1:
        previews = set()
        for page in pages:
            picture.seek(page)
            if is_preview(picture.tag_v2):
                previews.add(page)
        pages = [page for page in pages if page not in previews] or pages
    picture.seek(pages[choose_frame(len(pages), frame_index, name)])
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        check_tiff(picture.tag_v2)


def _frame(samples: NDArray[np.integer], bitdepth: int, hints: tuple[str, ...]) -> Frame:
    image = torch.from_numpy(samples.astype(np.float32)).permute(2, 0, 1)[None] / (2**bitdepth - 1)
    return Frame(Planes((image.contiguous(),)), "rgb", bitdepth, hints)
