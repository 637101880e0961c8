"""From latents and networks of an I frame to its samples."""

from collections.abc import Sequence

import numpy as np

from workers.bitstream.cool.coolchic_header import CoolChicHeader
from workers.bitstream.cool.features import Latents
from workers.bitstream.cool.kernel.convolution import Floats
from workers.bitstream.cool.networks import Networks
from workers.bitstream.cool.noise import common_randomness
from workers.bitstream.cool.parameters import Parameters
from workers.bitstream.cool.resizing import resize
from workers.bitstream.cool.video_header import CoolFrameDataType
from workers.bitstream.decoded_picture import DecodedPicture


def coolchic_output(header: CoolChicHeader, parameters: Parameters, latents: Sequence[Latents]) -> Floats:
    """Output of a cool-chic's synthesis, ``[out, H, W]``.

    Args:
        header: of the cool-chic.
        parameters: of its networks.
        latents: of all grids, ``[h, w]`` each.

    Raises:
        ValueError: it is not finite.
    """
    architecture, networks = header.architecture, Networks(header, parameters)
    with np.errstate(over="ignore", invalid="ignore"):
        grids = zip(architecture.grids, latents, strict=True)
        used = [grid_latents.astype(np.float32) for grid, grid_latents in grids if not grid.hyperlatent]
        dense = networks.upsample(used)
        if architecture.flag_common_randomness:
            sizes = [(height, width) for height, width in (grid.shape for grid in used)]
            dense = np.concatenate([dense, common_randomness(sizes)])
        output = networks.synthesize(dense)
        if output.shape[1:] != architecture.img_size:
            output = resize(output, architecture.img_size, architecture.final_upsampling_type)
    if not np.isfinite(output).all():
        raise ValueError("the networks give values that are not finite")
    return output


def to_samples(image: Floats, frame_data_type: CoolFrameDataType, bitdepth: int) -> DecodedPicture:
    """Samples of an image ``[3, H, W]`` in [0, 1], each operation rounded to single precision."""
    maximum = np.float32(2**bitdepth - 1)
    planes = [np.rint(plane * maximum) / maximum for plane in image]
    if frame_data_type == "yuv420":
        planes[1:] = map(_halve, planes[1:])
    y, u, v = (np.rint(np.clip(plane, np.float32(0), np.float32(1)) * maximum) for plane in planes)
    return DecodedPicture(
        (y.astype(np.uint16), u.astype(np.uint16), v.astype(np.uint16)), frame_data_type, bitdepth
    )


def _halve(plane: Floats) -> Floats:
    """Means of two by two samples, the last row and column of odd sizes left out."""
    height, width = (side // 2 * 2 for side in plane.shape)
    a, b, c, d = (plane[y:height:2, x:width:2] for y in (0, 1) for x in (0, 1))
    return (((a + b) + c) + d) / np.float32(4)
