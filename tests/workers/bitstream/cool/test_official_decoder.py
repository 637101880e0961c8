"""Files of ours in the official decoder: the picture that was reported, where Cool-Chic 5.0.1 is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases import CASE_5_NAMES, CASES_5, load_case
from tests.workers.bitstream.encoding import quantized_case
from workers.bitstream.cool.encoder import encode_cool
from workers.codec import read_frame

OFFICIAL = os.environ.get("COOLCHIC5_PATH", "")
"""Folders for the import path: those of Cool-Chic 5.0.1, and of what it needs."""

PROGRAM = (
    "import sys, torch\n"
    "torch.set_num_threads(1)\n"
    "from coolchic.bitstream.decode import decode_video\n"
    "decode_video(sys.argv[1], decoded_path=sys.argv[2], verbosity=0)\n"
)


@pytest.mark.skipif(not OFFICIAL, reason="Cool-Chic 5.0.1 is not installed: COOLCHIC5_PATH is not set")
@pytest.mark.parametrize("name", CASE_5_NAMES)
def test_the_official_decoder_shows_the_picture_that_is_reported(name: str, tmp_path: Path) -> None:
    frame_encoder, _ = quantized_case(load_case(name, CASES_5))
    encoded = encode_cool(frame_encoder)
    (tmp_path / "a.cool").write_bytes(encoded.content)
    height, width = frame_encoder.param.img_size
    rgb = frame_encoder.param.frame_data_type == "rgb"
    target = tmp_path / ("a.png" if rgb else f"a_{width}x{height}_1p_yuv420_8b.yuv")

    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "a.cool"), str(target)]
    environment = os.environ | {"PYTHONPATH": OFFICIAL.replace(":", os.pathsep)}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr

    steps = 2**frame_encoder.param.bitdepth - 1
    differences = [
        ((ours - theirs) * steps).round().abs()
        for ours, theirs in zip(encoded.frame.data.tensors, read_frame(target).data.tensors, strict=True)
    ]
    assert max(each.max().item() for each in differences) <= 1
    n_different = sum(each.count_nonzero().item() for each in differences)
    assert n_different <= max(1, 1e-4 * sum(each.numel() for each in differences))
