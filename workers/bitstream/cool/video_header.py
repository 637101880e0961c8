"""The header of a ``.cool`` file, the headers of its frames, and the order in which frames are coded."""

from bisect import bisect_left
from itertools import pairwise
from typing import Literal, NamedTuple

from workers.bitstream.cool.fields import FieldReader, FieldWriter
from workers.errors import BitstreamError

FrameType = Literal["I", "P", "B"]
FRAME_TYPES: tuple[FrameType, ...] = ("I", "P", "B")
CoolFrameDataType = Literal["rgb", "yuv420", "yuv444"]
COOL_FRAME_DATA_TYPES: tuple[CoolFrameDataType, ...] = ("rgb", "yuv420", "yuv444")

MAX_FRAMES = (1 << 12) - 1
BITDEPTHS = range(8, 17)
_INDEX_BITS = 12
_FLOW_BITS = 14


class CodedFrame(NamedTuple):
    """A frame's place in the coding order.

    Attributes:
        display_index: when it is shown.
        frame_type: ``I``, ``P`` or ``B``.
        references: display indices of the frames that it is predicted from, ascending: none, one or two.
    """

    display_index: int
    frame_type: FrameType
    references: tuple[int, ...]


class VideoHeader(NamedTuple):
    """The file's header.

    Attributes:
        n_frames: of the file.
        intra_positions: display indices of the I frames, ascending; 0 is one of them.
        p_positions: of the P frames, ascending; all others are B.
    """

    n_frames: int
    intra_positions: tuple[int, ...]
    p_positions: tuple[int, ...]

    def coding_order(self) -> list[CodedFrame]:
        """All frames in coding order: each after its references."""
        listed = [CodedFrame(index, "I", ()) for index in self.intra_positions]
        nearest_p = 0
        for index in self.p_positions:
            nearest_intra = self.intra_positions[bisect_left(self.intra_positions, index) - 1]
            listed.append(CodedFrame(index, "P", (max(nearest_intra, nearest_p),)))
            nearest_p = index
        # Gaps between two neighbours of those so far, the last one first; the middle of a gap comes first.
        known = sorted(frame.display_index for frame in listed)
        gaps = list(pairwise(known))[::-1]
        while gaps:
            first, last = gaps.pop()
            if last - first > 1:
                middle = first + (last - first) // 2
                listed.append(CodedFrame(middle, "B", (first, last)))
                gaps += [(middle, last), (first, middle)]
        return listed


PICTURE = VideoHeader(1, (0,), ())
"""Of a file of one picture."""


class FrameHeader(NamedTuple):
    """The header of a frame.

    Attributes:
        place: in the coding order.
        frame_data_type: ``rgb``, ``yuv420`` or ``yuv444``.
        bitdepth: bits of a sample, 8 to 16.
        global_flow: ``(x, y)`` of each reference.
        warp_filter_size: taps of the warp; ``None`` without references.
    """

    place: CodedFrame
    frame_data_type: CoolFrameDataType
    bitdepth: int
    global_flow: tuple[tuple[int, int], ...] = ()
    warp_filter_size: int | None = None


def read_video_header(content: bytes) -> tuple[VideoHeader, int]:
    """The file's header, and where it ends.

    Raises:
        BitstreamError: the file ends within it, or it breaks a rule of the format.
    """
    fields = FieldReader(content, 0, "video header")
    n_frames, n_intras, n_p = (fields.unsigned(_INDEX_BITS) for _ in range(3))
    fields.size()
    if not n_frames or n_intras + n_p > n_frames:
        raise BitstreamError(
            f"video header: of at least one frame, some are I and P; found {n_frames}, {n_intras} and {n_p}"
        )
    intra = tuple(fields.unsigned(_INDEX_BITS) for _ in range(n_intras))
    p = tuple(fields.unsigned(_INDEX_BITS) for _ in range(n_p))
    for name, positions in (("I", intra), ("P", p)):
        if list(positions) != sorted(set(positions)) or any(index >= n_frames for index in positions):
            raise BitstreamError(
                f"video header: positions of {name} frames ascend, below {n_frames}; found {_some(positions)}"
            )
    if set(intra) & set(p):
        raise BitstreamError(f"video header: a frame is either I or P; found {_some(sorted(set(intra) & set(p)))}")
    if 0 not in intra:
        raise BitstreamError("video header: the first frame is I; found another type")
    if n_frames - 1 not in (*intra, *p):
        raise BitstreamError("video header: the last frame is I or P; found B")
    return VideoHeader(n_frames, intra, p), fields.finish()


def write_video_header(header: VideoHeader) -> bytes:
    """What :func:`read_video_header` reads."""
    fields = FieldWriter()
    for number in (header.n_frames, len(header.intra_positions), len(header.p_positions)):
        fields.unsigned(number, _INDEX_BITS)
    fields.size()
    for index in (*header.intra_positions, *header.p_positions):
        fields.unsigned(index, _INDEX_BITS)
    return fields.to_bytes()


def read_frame_header(content: bytes, start: int, place: CodedFrame) -> tuple[FrameHeader, int]:
    """The header of a frame, and where it ends.

    Args:
        content: the file.
        start: where the header begins.
        place: that the frame must have.

    Raises:
        BitstreamError: the file ends within it, or it breaks a rule of the format.
    """
    part = f"header of frame {place.display_index}"
    fields = FieldReader(content, start, part)
    index, frame_type, data_type = fields.unsigned(_INDEX_BITS), fields.unsigned(2), fields.unsigned(2)
    bitdepth = BITDEPTHS[0] + fields.unsigned(4)
    fields.size()
    if index != place.display_index:
        raise BitstreamError(f"{part}: expected by the coding order; found frame {index}")
    if frame_type != FRAME_TYPES.index(place.frame_type):
        found = "none that is known" if frame_type == len(FRAME_TYPES) else FRAME_TYPES[frame_type]
        raise BitstreamError(f"{part}: its type is {place.frame_type} by the video header; found {found}")
    if data_type >= len(COOL_FRAME_DATA_TYPES):
        raise BitstreamError(
            f"{part}: frame_data_type is one of {', '.join(COOL_FRAME_DATA_TYPES)}; found number {data_type}"
        )
    if bitdepth not in BITDEPTHS:
        raise BitstreamError(f"{part}: samples have at most {BITDEPTHS[-1]} bits; found {bitdepth}")
    references = tuple(fields.unsigned(_INDEX_BITS) for _ in place.references)
    flows = tuple((fields.signed(_FLOW_BITS), fields.signed(_FLOW_BITS)) for _ in place.references)
    warp_filter_size = fields.unsigned(4) if references else None
    if references != place.references:
        raise BitstreamError(
            f"{part}: its references are {list(place.references)} by the coding order; found {list(references)}"
        )
    if references and COOL_FRAME_DATA_TYPES[data_type] == "rgb":
        raise BitstreamError(f"{part}: frames with references are yuv420 or yuv444; found rgb")
    if warp_filter_size is not None and (warp_filter_size == 0 or warp_filter_size % 2):
        raise BitstreamError(f"{part}: a warp filter has an even number of taps; found {warp_filter_size}")
    header = FrameHeader(place, COOL_FRAME_DATA_TYPES[data_type], bitdepth, flows, warp_filter_size)
    return header, fields.finish()


def write_frame_header(header: FrameHeader) -> bytes:
    """What :func:`read_frame_header` reads."""
    fields = FieldWriter()
    fields.unsigned(header.place.display_index, _INDEX_BITS)
    fields.unsigned(FRAME_TYPES.index(header.place.frame_type), 2)
    fields.unsigned(COOL_FRAME_DATA_TYPES.index(header.frame_data_type), 2)
    fields.unsigned(header.bitdepth - BITDEPTHS[0], 4)
    fields.size()
    for index in header.place.references:
        fields.unsigned(index, _INDEX_BITS)
    for x, y in header.global_flow:
        fields.signed(x, _FLOW_BITS)
        fields.signed(y, _FLOW_BITS)
    if header.warp_filter_size is not None:
        fields.unsigned(header.warp_filter_size, 4)
    return fields.to_bytes()


def _some(positions: "tuple[int, ...] | list[int]") -> str:
    shown = ", ".join(map(str, positions[:8]))
    return shown + (", …" if len(positions) > 8 else "")
