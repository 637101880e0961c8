"""A bitstream to a picture, in this process; torch is loaded only for the formats that need it."""

from sweep.results import Output
from workers.bitstream.formats import format_of_content
from workers.bitstream.limits import MAX_PIXELS
from workers.codec.sample_file import check_suffix, dump_samples, suffixes_of
from workers.errors import BitstreamError
from workers.files import describe, read_bytes
from workers.reasons import reason_of


def decode_file(file: str, target: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Decode a bitstream of any format.

    Args:
        file: its path or URI.
        target: path or URI of the picture: ``.png`` for rgb of 8 bits, ``.ppm`` for any rgb, ``.yuv`` for yuv; see
            :class:`~sweep.results.Output`. Streams, which have no suffix, are given the same.
        max_pixels: luma samples of the largest frame that is accepted.

    Returns:
        Height and width.

    Raises:
        BitstreamError: the file cannot be read, or is no bitstream, truncated, altered or too large.
        FrameFileError: the picture's suffix is not that of the frame's format.
        ResultsError: the picture cannot be written.
    """
    with Output(target, [file]) as output:
        try:
            content = read_bytes(file)
        except (OSError, ValueError) as error:
            raise BitstreamError(f"{describe(file)}: the bitstream cannot be read: {reason_of(error)}") from None
        bitstream = format_of_content(content, describe(file))
        try:
            name = _checked_name(None if output.is_stream else describe(target), *bitstream.frame_format(content))
            picture = bitstream.decode(content, max_pixels=max_pixels)
        except BitstreamError as error:
            raise BitstreamError(f"{describe(file)}: {error}") from None
        planes = [plane[None] for plane in picture.planes]
        output.write(dump_samples(planes, picture.frame_data_type, picture.bitdepth, name), started=True)
    return picture.img_size


def _checked_name(name: str | None, frame_data_type: str, bitdepth: int) -> str:
    """A name with the suffix of the picture's file: the one that is given, or else one that fits."""
    name = f"frame{suffixes_of(frame_data_type, bitdepth)[0]}" if name is None else name
    check_suffix(frame_data_type, bitdepth, name)
    return name
