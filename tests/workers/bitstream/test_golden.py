"""Files that were written once decode to the same samples for ever; new versions of the container read them too."""

import hashlib
from pathlib import Path

import pytest
import torch

from tests.cases import CASE_NAMES, load_case
from tests.workers.bitstream.encoding import quantized_case
from workers.bitstream import decode_frame, encode_frame

GOLDEN = Path(__file__).parent / "golden"

# SHA-256 of all samples as 16-bit little-endian words, plane after plane.
SAMPLES = {
    "astronaut_64x96_lop": "63c4df46033adf2bda00d290e0183762ce9540b1a80c9292608bbb4689aa4e80",
    "chelsea_99x149_hop": "f7abef05818f630af8d8f37eb6b076e41d91ea116c91c165db7b901f60d8cc0f",
    "coffee_128x192_mop": "3bf71e78da9996a0e475ee1348f3f007498e3cfa18c95a610eb50b975b4c674b",
    "coffee_64x96_yuv420": "056e6443acd165f9e864a70105688f807134a32e11d771ca72612483cc45d02a",
    # Random networks and latents of thousands: every kind of code, clamped activations, 10 bits, 32 neighbours.
    "random_13x22_yuv444_10b": "126379fb0eaa303319814bc2c1991bc7d3a7248d6b3023b037cd9419c9ca1a11",
}


def test_every_golden_file_is_known() -> None:
    assert sorted(file.stem for file in GOLDEN.iterdir()) == sorted(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_golden_file_decodes_to_the_same_samples(name: str) -> None:
    frame = decode_frame((GOLDEN / f"{name}.qsw").read_bytes())
    maximum = 2**frame.bitdepth - 1
    words = [torch.round(plane * maximum).to(torch.int32).numpy().astype("<u2") for plane in frame.data.tensors]
    assert hashlib.sha256(b"".join(plane.tobytes() for plane in words)).hexdigest() == SAMPLES[name]


@pytest.mark.parametrize("name", CASE_NAMES)
def test_the_same_frame_gives_the_same_file(name: str) -> None:
    frame_encoder, _ = quantized_case(load_case(name))
    assert encode_frame(frame_encoder).content == (GOLDEN / f"{name}.qsw").read_bytes()
