"""Official ``.cool`` files, with the integers and pictures that the official decoder made of them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

FILES = Path(__file__).parents[3] / "conformance" / "cool-5"
PICTURES = sorted(path.stem for path in FILES.glob("*.cool") if not path.stem.startswith("video"))
"""Files of one picture."""
VIDEO = "video_48x64_yuv420"
SMALL = [name for name in PICTURES if name != "kodim14"]
TRAINED = [path.name.removesuffix(".frame_encoder.pt") for path in sorted(FILES.glob("*.pt"))]


def content_of(name: str) -> bytes:
    """The file."""
    return (FILES / f"{name}.cool").read_bytes()


def headers_of(name: str) -> list[dict[str, Any]]:
    """Every header field under its official name, header by header."""
    headers: list[dict[str, Any]] = json.loads((FILES / f"{name}.json").read_text())["headers"]
    return headers


def arrays_of(name: str) -> "dict[str, npt.NDArray[Any]]":
    """Parameters, latents and what lies between, by key."""
    with np.load(FILES / f"{name}.npz") as arrays:
        return dict(arrays)


def planes_of(name: str, shapes: list[tuple[int, int]], bitdepth: int) -> "list[npt.NDArray[Any]]":
    """The official decoder's samples, plane by plane."""
    picture = FILES / f"{name}.png"
    if picture.exists():
        return list(np.array(Image.open(io.BytesIO(picture.read_bytes()))).transpose(2, 0, 1))
    samples = np.frombuffer((FILES / f"{name}.yuv").read_bytes(), "u1" if bitdepth == 8 else "<u2")
    planes = []
    for height, width in shapes:
        planes.append(samples[: height * width].reshape(height, width))
        samples = samples[height * width :]
    assert not len(samples)
    return planes
