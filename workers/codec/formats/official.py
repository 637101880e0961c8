"""Checkpoints of Cool-Chic's own encoder, releases 3.4, 4.x and 5.x, as checkpoints of this project.

A sweep starts from the parameters in full precision, the latents included. A file that holds a quantized encoder
holds them as well, with one exception that is refused.
"""

from collections.abc import Iterator

from workers.codec.formats import layout_3_4, layout_5
from workers.codec.formats.fields import Fields
from workers.codec.formats.official_frame import OfficialFrame
from workers.codec.formats.torch_file import read_torch_file
from workers.errors import OfficialFileError

ZIP = b"PK\x03\x04"
"""What every official file begins with."""


def read_official(content: bytes, encoder_frame: int | None = None) -> OfficialFrame:
    """The frame encoder in an official file.

    Args:
        content: of ``video_encoder.pt`` (3.4) or ``NNNN-frame_encoder.pt`` (4.x, 5.x). Nothing in it is executed.
        encoder_frame: display index of the frame; ``None`` for the only one in the file.

    Raises:
        OfficialFileError: the file is damaged, of a release that is not known, of a kind that is not supported, or
            without such a frame.
    """
    return _read_frame(Fields.of(read_torch_file(content), "the file"), encoder_frame)


def read_official_frames(content: bytes) -> Iterator[tuple[int, OfficialFrame | OfficialFileError]]:
    """All frame encoders in an official file, by display index, each with why it cannot be used, if it cannot.

    Args:
        content: see :func:`read_official`.

    Raises:
        OfficialFileError: the file is damaged, or holds no frame encoder.
    """
    file = Fields.of(read_torch_file(content), "the file")
    if "all_frame_encoders" in file:
        indices = sorted(layout_3_4.coded_frames(file))
        if not indices:
            _read_frame(file, None)  # says so
    else:
        _check_known(file)
        indices = [file.item("frame_display_index", int)]
    for index in indices:
        try:
            yield index, _read_frame(file, index)
        except OfficialFileError as error:
            yield index, error


def _read_frame(file: Fields, encoder_frame: int | None) -> OfficialFrame:
    if "all_frame_encoders" in file:
        return layout_3_4.read_3_4(file, encoder_frame)
    _check_known(file)
    index = file.item("frame_display_index", int)
    if encoder_frame not in (None, index):
        raise OfficialFileError(f"it holds frame {index} alone; found encoder_frame {encoder_frame}")
    return layout_5.read_5(file) if "encoder_monitor" in file else layout_3_4.read_4(file)


def _check_known(file: Fields) -> None:
    """Refuse a file of a release that is not known."""
    if not ("encoder_monitor" in file or "keys_cc_enc" in file):
        found = ", ".join(repr(key[:40]) for key in list(file)[:8]) or "nothing"
        raise OfficialFileError(f"it is of no release that is known (3.4, 4.0, 4.1, 4.2, 5.0); found {found}")
