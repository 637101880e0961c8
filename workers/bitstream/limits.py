"""How much time and memory a file may ask for."""

from workers.errors import BitstreamError

MAX_PIXELS = 1 << 25
"""Luma samples of the largest frame that is decoded unless more are asked for; 7680×4320 are less."""

PRODUCTS_A_PIXEL = 4096
"""That may be asked for in the largest frame; hop needs about 1,300."""

NUMBERS_A_PIXEL = 32
"""Latents and inputs of the synthesis that may be asked for in the largest frame; hop has about 8."""


def check_size(img_size: tuple[int, int], max_pixels: int) -> None:
    """Check height and width before anything is made of this size.

    Raises:
        BitstreamError: the frame is too large.
    """
    height, width = img_size
    if height * width > max_pixels:
        raise BitstreamError(f"frames of at most {max_pixels} luma samples are accepted; found {width}×{height}")
