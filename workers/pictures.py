"""A frame as pictures to look at: the original, what a decoder makes of it, and where they differ."""

import io
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from workers.bitstream.formats import DEFAULT_FORMAT, FORMATS
from workers.codec import Frame, FrameEncoder, check_match

_LOSSLESS_PIXELS = 1 << 16
_QUALITY = 90  # of larger ones, which are for an overview
_NO_CHROMA = 0.5
_BRIGHTEST = 0.999  # quantile of the error that is white: a few samples do not make all others black


class Pictures(NamedTuple):
    """Pictures of a frame, WebP files of one size.

    Attributes:
        decoded: what a decoder makes of it.
        original: what was encoded, if it is known.
        error: root mean squared difference of the samples of each pixel, black for none; if the original is known.
        white: difference that is white, samples in [0, 1]; 0 without an error.
    """

    decoded: bytes
    original: bytes | None
    error: bytes | None
    white: float


def draw_pictures(
    frame_encoder: FrameEncoder, frame: Frame | None, max_side: int, bitstream: str = DEFAULT_FORMAT
) -> Pictures:
    """Pictures of a frame whose networks have been quantized.

    Where a bitstream cannot hold the frame encoder, the decoded frame is that of its evaluation.

    Args:
        frame_encoder: of it.
        frame: the original, if it is known.
        max_side: pixels of the longer side, at most.
        bitstream: name of the format that is decoded.

    Raises:
        MismatchError: the frame encoder was fitted for a frame of another size or format.
        InputError: the networks have not been quantized.
    """
    if frame is not None:
        check_match(frame, frame_encoder)
    written = FORMATS[bitstream]
    if written.unencodable(frame_encoder.param) is None:
        decoded = written.decoded_frame(frame_encoder)
    else:
        decoded = _evaluated(frame_encoder)
    of_decoded = _webp(_shrink(_rgb(decoded), max_side))
    if frame is None:
        return Pictures(of_decoded, None, None, 0.0)
    squared = _full_size(decoded).sub_(_full_size(frame)).square_().mean(dim=1, keepdim=True)
    error = _shrink(squared, max_side).sqrt_()
    white = torch.quantile(error.flatten()[:: math.ceil(error.numel() / (1 << 20))], _BRIGHTEST).item()
    shades = error.div_(white) if white > 0 else error
    return Pictures(of_decoded, _webp(_shrink(_rgb(frame), max_side)), _webp(shades), white)


def _evaluated(frame_encoder: FrameEncoder) -> Frame:
    param = frame_encoder.param
    with torch.inference_mode():
        return Frame(frame_encoder().decoded_image, param.frame_data_type, param.bitdepth)


def _full_size(frame: Frame) -> Tensor:
    """Samples ``[1, 3, H, W]`` of any format, chroma repeated where there is less of it."""
    if frame.frame_data_type != "yuv420":
        return frame.data.tensors[0].clone()
    height, width = frame.img_size
    y, *chroma = frame.data.tensors
    return torch.cat([y, *(_double(plane, height, width) for plane in chroma)], dim=1)


def _double(plane: Tensor, height: int, width: int) -> Tensor:
    """Chroma ``[1, 1, h, w]`` at the size of luma; where there is less than half of it, its border is repeated."""
    if not plane.numel():  # of a frame of one row or column, where means of 2×2 samples are of nothing
        return plane.new_full((1, 1, height, width), _NO_CHROMA)
    rows, columns = (
        torch.arange(wanted, device=plane.device).div(2, rounding_mode="floor").clamp_max(found - 1)
        for wanted, found in ((height, plane.shape[2]), (width, plane.shape[3]))
    )
    return plane[:, :, rows[:, None], columns]


def _rgb(frame: Frame) -> Tensor:
    """A frame as a screen shows it, ``[1, 3, H, W]``; yuv is taken as BT.709 of limited range."""
    samples = _full_size(frame)
    if frame.frame_data_type == "rgb":
        return samples
    scale = (2**frame.bitdepth - 1) / 2 ** (frame.bitdepth - 8)
    y, u, v = ((samples * scale)[:, channel] for channel in range(3))
    y, u, v = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    red, blue = y + 1.5748 * v, y + 1.8556 * u
    return torch.stack([red, (y - 0.2126 * red - 0.0722 * blue) / 0.7152, blue], dim=1)


def _shrink(image: Tensor, max_side: int) -> Tensor:
    """Means of areas ``[1, C, H, W]``, where the longer side is too long."""
    height, width = image.shape[-2:]
    if max(height, width) <= max_side:
        return image
    factor = max_side / max(height, width)
    size = [max(1, round(side * factor)) for side in (height, width)]
    return F.interpolate(image, size=size, mode="area")


def _webp(image: Tensor) -> bytes:
    samples = (image[0].clamp(0, 1) * 255).round_().to(torch.uint8).permute(1, 2, 0).numpy()  # [H, W, C]
    sink = io.BytesIO()
    picture = Image.fromarray(samples if samples.shape[2] == 3 else samples[..., 0])
    lossless = picture.width * picture.height <= _LOSSLESS_PIXELS
    picture.save(sink, "WEBP", lossless=lossless, quality=_QUALITY)
    return sink.getvalue()
