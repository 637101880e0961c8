"""Pictures of the frames of a job, drawn from what is in its results and from the originals."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pandas as pd

from sweep.results import QUANTIZED_FOLDER, Storage
from workers.bitstream.formats import DEFAULT_FORMAT
from workers.errors import InputError, ResultsError
from workers.files import describe, is_uri
from workers.reasons import reason_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from workers.codec import Frame

MAX_SIDE = 768
"""Pixels of the longer side of a picture."""


class FramePictures:
    """Draws the pictures of some frames; an original that cannot be reached holds nobody up.

    Args:
        storage: the results.
        frames: those whose pictures are drawn, which takes a while.
        bitstream: name of the format of the job's bitstreams; ``None`` if it writes none.
    """

    def __init__(self, storage: Storage, frames: Collection[str], bitstream: str | None = None) -> None:
        self._storage = storage
        self._frames = frames
        self._bitstream = bitstream or DEFAULT_FORMAT
        self._unreachable: dict[str, str] = {}  # places of originals, each with the reason

    def draw(self, record: Mapping[str, Any], notes: list[str]) -> dict[str, Any] | None:
        """Pictures of a frame that is done, ready for JSON.

        Args:
            record: of ``frames.parquet``.
            notes: on whatever cannot be shown, with the reason; there may be more of them afterwards.

        Returns:
            ``original``, ``decoded`` and ``error`` as data URIs, the first and the last of them ``None`` if the
            original cannot be read; and ``white``, the error that is white. ``None`` if nothing is drawn.
        """
        from workers.codec import parse_frame_encoder  # load torch, which the rest of a report does without
        from workers.pictures import draw_pictures

        if record["frame"] not in self._frames:
            notes.append("Pictures are drawn of the first frames alone: see qsweep report --pictures.")
            return None
        path = f"{QUANTIZED_FOLDER}/{record['frame']}.safetensors"
        frame: Frame | None = None
        try:
            frame = self._original(record["path"], _integer(record["frame_index"]))
        except InputError as error:
            notes.append(f"The original cannot be shown: {error}")
        try:
            frame_encoder, _ = parse_frame_encoder(self._storage.read(path), self._storage.describe(path))
            drawn = draw_pictures(frame_encoder, frame, MAX_SIDE, self._bitstream)
        except (InputError, ResultsError) as error:
            notes.append(f"The pictures cannot be drawn: {error}")
            return None
        files = {"original": drawn.original, "decoded": drawn.decoded, "error": drawn.error}
        return {name: None if file is None else _data_uri(file) for name, file in files.items()} | {
            "white": drawn.white
        }

    def _original(self, location: str, frame_index: int | None) -> Frame:
        """The frame as it was; a server that was asked in vain is not asked again for another one."""
        from workers.codec import load_frame

        name = describe(location)
        place = "/".join(location.split("/")[:3]) if is_uri(location) else ""
        if place in self._unreachable:
            raise InputError(f"{name}: {self._unreachable[place]}")
        try:
            return load_frame(location, frame_index, patience=0)
        except (OSError, ValueError) as error:
            if place and not isinstance(error, FileNotFoundError):
                self._unreachable[place] = f"{describe(place)} cannot be reached from here: {reason_of(error)}"
            raise InputError(f"{name}: {self._unreachable.get(place) or reason_of(error)}") from None


def _integer(value: float | None) -> int | None:
    """A value of a column that has nulls, which pandas makes numbers with a fraction."""
    return None if pd.isna(value) else int(value)


def _data_uri(webp: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(webp).decode()
