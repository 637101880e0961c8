"""Official files as bytes, and what is in them, to be changed and written again."""

import io
import zipfile
from pathlib import Path

CHECKPOINTS = Path(__file__).parents[3] / "conformance" / "checkpoints"
"""Real files, one folder each; see the tables beside them."""

FILES = {
    "before-3.4.1": CHECKPOINTS / "lop-3.4.1" / "before.pt",
    "lop-3.4.1": CHECKPOINTS / "lop-3.4.1" / "video_encoder.pt",
    "options-3.4.1": CHECKPOINTS / "options-3.4.1" / "video_encoder.pt",
    **{
        name: CHECKPOINTS / name / "0000-frame_encoder.pt"
        for name in ("zeros-4.0.0", "zeros-4.2.1", "lop-4.2.1", "lop-5.0.1")
    },
}
"""By the name of their folder."""


def members(content: bytes) -> dict[str, bytes]:
    """Contents of a zip file's members, by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file of members."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", compression) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return sink.getvalue()


def pickle_name(parts: dict[str, bytes]) -> str:
    """Name of the member that is the pickle."""
    (name,) = (name for name in parts if name.endswith("/data.pkl"))
    return name


def with_pickle(data: bytes, parts: dict[str, bytes] | None = None) -> bytes:
    """A file of ``torch.save`` with another pickle."""
    parts = {"a/data.pkl": b"", "a/byteorder": b"little"} if parts is None else parts
    return zipped({**parts, pickle_name(parts): data})
