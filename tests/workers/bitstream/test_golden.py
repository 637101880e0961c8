"""Files that were written once decode to the same samples for ever; new versions of the container read them too."""

import hashlib
from pathlib import Path

import pytest
import torch

from tests.cases import CASE_5_NAMES, CASE_NAMES, CASES_5, load_case
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

GOLDEN_2 = Path(__file__).parent / "golden_2"

# Likewise of version 2. The random ones have what no real frame here has.
SAMPLES_2 = {
    "astronaut_20x198_ifce35": "38a34c1824481914695dea200f86a440da2af15153b82bc41d566ee17b5ea0f2",
    "astronaut_50x70_plain": "fda2d28ad8332457618d8ce3b12651686f6f37e7729deec7ad0a018a41c8dcd5",
    "astronaut_64x96_lop": "0e84e55b8d091ab1b2956a92af62d57c06cf629514e9f67d28da65a3af96b98e",
    "chelsea_99x149_hop": "7758db489da5dd538b194dc0ed8dab49e6e794c575f5917fcabd80f79dae0b1e",
    "coffee_48x80_ifce06": "6544adbb120ec98d3d4583d4fe37f5cc13e7620837b7aac80d3de3050aba253b",
    "coffee_64x96_yuv420_lop": "462dad7789db3bc4bae08f7fb1e0b20f2a7bf10bd6192ce401c33ba87ef35d3e",
    "random_5_common_randomness": "51a61cdede05c554e1240e3468e86d0ebda105a42cd5e1c667c35ed397d84c7b",
    "random_5_bicubic_resize": "efc185f065bd1a64914d55ea7bf963f9154fb19dd900f767af97457b4bfe8643",
    "random_5_bilinear_resize": "4aa383de0c39bdd6fddccff4f068b03278f4b4aa2012706682b3d5c71ee07f95",
    "random_5_yuv444_of_16_bits": "49a1602208f64a9dba27fd6090c351c6a81e6de9ee7afed97460d64b03162069",
    "random_5_yuv420_of_odd_sizes": "7d6ca81d3142376ee663d9e1d958f65e41cc2aca19ca509b23acedce2eb4ee1b",
    "random_3_4_common_randomness": "22ee112728487f67582b6e08fab1cb4ecc4fa4ae8786bc617b914b82fe71afb9",
    "random_3_4_empty_first_grids_resized": "7ec1fe7488cbcf59f84b14331a9f6c58067a4d1ae7ed2369c68d48fb00b54923",
    "random_3_4_several_features": "1eaff5df8703516ebe4561e5681afccc6fc5cead5025e789ace2491929f3998b",
}


def test_every_golden_file_is_known() -> None:
    assert sorted(file.stem for file in GOLDEN.iterdir()) == sorted(SAMPLES)
    assert sorted(file.stem for file in GOLDEN_2.iterdir()) == sorted(SAMPLES_2)


def digest(file: Path) -> str:
    """Of the samples that a file decodes to."""
    frame = decode_frame(file.read_bytes())
    maximum = 2**frame.bitdepth - 1
    words = [torch.round(plane * maximum).to(torch.int32).numpy().astype("<u2") for plane in frame.data.tensors]
    return hashlib.sha256(b"".join(plane.tobytes() for plane in words)).hexdigest()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_golden_file_decodes_to_the_same_samples(name: str) -> None:
    assert digest(GOLDEN / f"{name}.qsw") == SAMPLES[name]


@pytest.mark.parametrize("name", SAMPLES_2)
def test_a_golden_file_of_version_2_decodes_to_the_same_samples(name: str) -> None:
    assert digest(GOLDEN_2 / f"{name}.qsw") == SAMPLES_2[name]


@pytest.mark.parametrize("name", CASE_NAMES)
def test_the_same_frame_gives_the_same_file(name: str) -> None:
    frame_encoder, _ = quantized_case(load_case(name))
    assert encode_frame(frame_encoder).content == (GOLDEN / f"{name}.qsw").read_bytes()


@pytest.mark.parametrize("name", CASE_5_NAMES)
def test_the_same_frame_gives_the_same_file_of_version_2(name: str) -> None:
    frame_encoder, _ = quantized_case(load_case(name, CASES_5))
    assert encode_frame(frame_encoder).content == (GOLDEN_2 / f"{name}.qsw").read_bytes()
