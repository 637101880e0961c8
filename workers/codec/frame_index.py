"""Which frame of a file of several is meant."""

from workers.errors import FrameIndexError


def choose_frame(n_frames: int, frame_index: int | None, name: str) -> int:
    """Index of the frame that is meant: the one that was chosen, or the only one.

    Args:
        n_frames: in the file.
        frame_index: the one that was chosen, from 0, if any.
        name: of the file, for messages.

    Raises:
        FrameIndexError: there is no such frame, or none was chosen of several.
    """
    if frame_index is None and n_frames > 1:
        raise FrameIndexError(
            f"{name}: a frame is one picture; found {n_frames}: choose one by frame_index, from 0 to {n_frames - 1}"
        )
    if frame_index is not None and not 0 <= frame_index < n_frames:
        accepted = "0, since the file is one picture" if n_frames == 1 else f"0 to {n_frames - 1}"
        raise FrameIndexError(f"{name}: there is no frame of frame_index {frame_index}; accepted: {accepted}")
    return frame_index or 0
