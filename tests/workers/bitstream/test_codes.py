"""The codes of the bitstream by themselves: exp-Golomb, the table of distributions, latents."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.making import make_frame_encoder
from tests.workers.bitstream.encoding import quantized
from workers.bitstream import decode_frame, encode_frame
from workers.bitstream.exp_golomb import BitReader, BitWriter
from workers.bitstream.laplace import ESCAPE, FIRST_SCALE, REACH, laplace_table
from workers.codec.arm import laplace_cdf
from workers.codec.coolchic_3_4 import COOLCHIC_3_4
from workers.codec.quantization import MAX_ABS_QUANTIZED
from workers.errors import BitstreamError
from workers.objective.network_rate import exp_golomb_bit


@given(values=st.lists(st.integers(-MAX_ABS_QUANTIZED, MAX_ABS_QUANTIZED), max_size=40), count=st.integers(0, 31))
def test_integers_come_back_and_take_the_bits_that_were_counted(values: list[int], count: int) -> None:
    writer = BitWriter()
    writer.write_integers(values, count)
    content = writer.to_bytes()
    (n_bits,) = exp_golomb_bit(torch.tensor(values, dtype=torch.float64), [count], COOLCHIC_3_4.exp_golomb)
    assert len(content) == -(-n_bits // 8)
    reader = BitReader(content, "integers")
    assert reader.read_integers(len(values), count, MAX_ABS_QUANTIZED).tolist() == values
    reader.finish()


def test_what_is_left_over_or_too_large_is_told() -> None:
    writer = BitWriter()
    writer.write_integers([3, 300], 0)
    content = writer.to_bytes()
    with pytest.raises(BitstreamError, match="the integers: a magnitude is at most 255; found 300"):
        BitReader(content, "integers").read_integers(2, 0, 255)
    with pytest.raises(BitstreamError, match="one exceeds 63"):
        BitReader(content, "integers").read_integers(2, 0, 63)
    reader = BitReader(content, "integers")
    reader.read_integers(1, 0, 255)
    with pytest.raises(BitstreamError, match="bits are left over"):
        reader.finish()


@pytest.mark.parametrize("mean", [-32, -7, 0, 13, 31])
@pytest.mark.parametrize("scale", [0, 50, 147, 200, 250, 307])
def test_the_table_is_the_laplace_distribution(mean: int, scale: int) -> None:
    weights, bucket_bits = laplace_table()
    width = 2.0 ** bucket_bits[scale]
    beta = torch.tensor(np.exp((FIRST_SCALE + scale) / 32), dtype=torch.float64)
    edges = torch.arange(-REACH, REACH + 2, dtype=torch.float64) * width - 0.5
    cdf = laplace_cdf(edges, torch.full_like(edges, mean / 64), beta.expand_as(edges))
    expected = torch.diff(cdf).numpy()
    found = (weights[scale, mean + 32].astype(np.float64) + 1) / 2**24
    assert found.sum() == 1
    lent = 8 * 2.0**-17 + 128 * 2.0**-24  # to the neighbours of the most probable one, and to all
    assert np.abs(found[:ESCAPE] - expected).max() < lent + 1e-6
    assert found[ESCAPE] == pytest.approx(1 - expected.sum(), abs=1e-6)
    assert found[REACH - 4 : REACH + 5].min() >= 2.0**-17, "nothing nearby is a great surprise"


@settings(max_examples=40)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    dim_arm=st.sampled_from([8, 16, 24, 32]),
    n_grids=st.integers(1, 8),
    gain=st.sampled_from([0.0, 0.3, 1.0, 30.0]),
)
def test_any_frame_encoder_comes_back(height: int, width: int, dim_arm: int, n_grids: int, gain: float) -> None:
    frame_encoder = make_frame_encoder(img_size=(height, width), dim_arm=dim_arm, n_grids=n_grids)
    with torch.no_grad():
        for grid in frame_encoder.latent_grids:
            grid.mul_(gain)
    encoded = encode_frame(quantized(frame_encoder))
    (ours,), (theirs,) = decode_frame(encoded.content).data.tensors, encoded.frame.data.tensors
    assert torch.equal(ours, theirs)
