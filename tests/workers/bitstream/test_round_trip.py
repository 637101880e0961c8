"""A frame goes into a file and comes out of it, sample for sample, wherever it is decoded."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.cases import ARM, CASE_NAMES, SYNTHESIS, UPSAMPLING, load_case
from tests.making import make_frame_encoder
from tests.workers.bitstream.encoding import quantized, quantized_case, rate_latent_bit
from workers.bitstream import decode_frame, encode_frame, reconstruction
from workers.bitstream.laplace import laplace_table
from workers.candidates import QStepPair
from workers.codec import ARCHITECTURES, Frame, dump_frame, parse_frame, read_frame
from workers.codec.coolchic_3_4 import COOLCHIC_3_4
from workers.codec.latent import context_offsets
from workers.objective.loss import mean_squared_error

REAL = [ARCHITECTURES["lop"], ARCHITECTURES["mop"]]


def same(first: Frame, second: Frame) -> bool:
    planes = zip(first.data.tensors, second.data.tensors, strict=True)
    return (first.frame_data_type, first.bitdepth) == (second.frame_data_type, second.bitdepth) and all(
        torch.equal(ours, theirs) for ours, theirs in planes
    )


# --- real frames


@pytest.mark.parametrize("name", CASE_NAMES)
def test_a_real_frame_is_decoded_as_it_was_reconstructed(name: str) -> None:
    case = load_case(name)
    frame_encoder, rate_nn_bit = quantized_case(case)
    encoded = encode_frame(frame_encoder)

    assert same(decode_frame(encoded.content), encoded.frame)
    # Fixed point loses nothing to speak of against the float arithmetic that the sweep measured with.
    with torch.inference_mode():
        in_float = mean_squared_error(frame_encoder().decoded_image, case.frame.data).item()
    assert mean_squared_error(encoded.frame.data, case.frame.data).item() == pytest.approx(in_float, rel=1e-3)
    # And each part of the file is as large as was estimated.
    latent_bytes = rate_latent_bit(frame_encoder) / 8
    assert encoded.sizes.total == len(encoded.content)
    assert encoded.sizes.networks == -(-rate_nn_bit // 8)
    assert latent_bytes <= encoded.sizes.latents + 1
    assert encoded.sizes.latents <= 1.005 * latent_bytes + 10
    assert len(encoded.content) <= 1.005 * (latent_bytes + rate_nn_bit / 8) + 100


@pytest.mark.usefixtures("threads")
def test_threads_and_bands_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    frame_encoder, _ = quantized_case(load_case("coffee_128x192_mop"))
    first = encode_frame(frame_encoder)
    monkeypatch.setattr(reconstruction, "_BAND_BYTES", 50_000)
    assert encode_frame(frame_encoder).content == first.content
    monkeypatch.setattr(reconstruction, "_BAND_BYTES", 1)
    assert same(decode_frame(first.content), first.frame)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_another_process_decodes_the_same(tmp_path: Path, n_threads: int) -> None:
    frame_encoder, _ = quantized_case(load_case("chelsea_99x149_hop"))
    encoded = encode_frame(frame_encoder)
    (tmp_path / "a.qsw").write_bytes(encoded.content)
    program = (
        "import sys, torch; from pathlib import Path; from workers.bitstream import decode_frame\n"
        "from workers.codec import dump_frame\n"
        f"torch.set_num_threads({n_threads}); frame = decode_frame(Path('a.qsw').read_bytes())\n"
        "Path('a.png').write_bytes(dump_frame(frame, 'a.png'))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
    assert same(read_frame(tmp_path / "a.png"), encoded.frame)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", CASE_NAMES)
def test_a_gpu_decodes_the_same(name: str) -> None:
    frame_encoder, _ = quantized_case(load_case(name))
    encoded = encode_frame(frame_encoder)
    assert same(decode_frame(encoded.content, "cuda"), encoded.frame)
    assert encode_frame(frame_encoder, "cuda").content == encoded.content


# --- awkward frames


@pytest.mark.parametrize("img_size", [(1, 1), (1, 2), (1, 97), (97, 1), (2, 2), (3, 5), (63, 65), (31, 200)])
@pytest.mark.parametrize("architecture", REAL)
def test_any_size(img_size: tuple[int, int], architecture: tuple[int, int, object]) -> None:
    layers = ",".join(map(str, architecture[2]))  # type: ignore[call-overload]
    frame_encoder = quantized(
        make_frame_encoder(
            layers, img_size=img_size, dim_arm=architecture[0], n_hidden_layers_arm=architecture[1], n_grids=7
        )
    )
    encoded = encode_frame(frame_encoder)
    assert encoded.frame.img_size == img_size
    assert same(decode_frame(encoded.content), encoded.frame)
    with torch.inference_mode():
        assert torch.allclose(
            encoded.frame.data.tensors[0], frame_encoder().decoded_image.tensors[0], atol=1.01 / 255
        )


@pytest.mark.parametrize("dim_arm", [8, 16, 24, 32])
@pytest.mark.parametrize("n_hidden", [0, 1, 3])
def test_any_arm(dim_arm: int, n_hidden: int) -> None:
    frame_encoder = quantized(
        make_frame_encoder(img_size=(21, 34), dim_arm=dim_arm, n_hidden_layers_arm=n_hidden, n_grids=4)
    )
    encoded = encode_frame(frame_encoder)
    assert same(decode_frame(encoded.content), encoded.frame)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_grids": 1},
        {"ups_k_size": 4, "ups_preconcat_k_size": 1},
        {"ups_k_size": 14, "ups_preconcat_k_size": 9},
        {"frame_data_type": "yuv444", "bitdepth": 10},
        {"frame_data_type": "yuv420", "bitdepth": 8, "img_size": (13, 1)},
        {"frame_data_type": "yuv420", "bitdepth": 10, "img_size": (7, 10)},
        {"layers": "5-5-linear-none,5-3-residual-relu,3-1-linear-none"},
    ],
)
def test_any_architecture_and_format(changes: dict[str, object]) -> None:
    frame_encoder = quantized(make_frame_encoder(**changes))  # type: ignore[arg-type]
    encoded = encode_frame(frame_encoder)
    decoded = decode_frame(encoded.content)
    assert same(decoded, encoded.frame)
    with torch.inference_mode():
        expected = frame_encoder().decoded_image.tensors
    maximum = 2**frame_encoder.param.bitdepth - 1
    for ours, theirs in zip(decoded.data.tensors, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1.01 / maximum)
    name = "a.png" if decoded.frame_data_type == "rgb" else _yuv_name(decoded)
    assert same(parse_frame(dump_frame(decoded, name), name), decoded), "a frame's file holds the same"


def _yuv_name(frame: Frame) -> str:
    height, width = frame.img_size
    return f"a_{width}x{height}_1p_{frame.frame_data_type}_{frame.bitdepth}b.yuv"


@pytest.mark.parametrize("gain", [1.0, 40.0, 3000.0, 60_000.0])
def test_latents_of_any_magnitude(gain: float) -> None:
    """Escapes, plain bits, and activations that are clamped."""
    frame_encoder = make_frame_encoder(img_size=(24, 40), n_grids=4)
    with torch.no_grad():
        for grid in frame_encoder.latent_grids:
            grid.mul_(gain)
        frame_encoder.arm.linears[-1].bias[1] += {1.0: 0.0, 40.0: 3.0}.get(gain, 12.0)
    encoded = encode_frame(quantized(frame_encoder))
    assert same(decode_frame(encoded.content), encoded.frame)


def test_parameters_beyond_what_is_exact_are_rounded_alike() -> None:
    frame_encoder = make_frame_encoder(img_size=(16, 16))
    with torch.no_grad():
        for parameter in (*frame_encoder.arm.parameters(), *frame_encoder.synthesis.parameters()):
            parameter.mul_(20_000)
    steps = {module: QStepPair(1.0, 2.0**5) for module in (ARM, SYNTHESIS, UPSAMPLING)}
    encoded = encode_frame(quantized(frame_encoder, steps))
    assert same(decode_frame(encoded.content), encoded.frame)


# --- what both sides share


def test_the_table_shares_out_what_the_coder_has() -> None:
    weights, bucket_bits = laplace_table()
    assert (weights.astype("int64").sum(axis=2) == 2**24 - weights.shape[2]).all()
    assert weights.min() >= 0
    assert bucket_bits[0] == 0
    assert (bucket_bits[1:] >= bucket_bits[:-1]).all()


@pytest.mark.parametrize("dim_arm", [8, 16, 24, 32])
def test_every_neighbour_is_in_an_earlier_wave(dim_arm: int) -> None:
    from workers.bitstream.wave_fronts import wave_fronts, wave_slant

    context = COOLCHIC_3_4.contexts[dim_arm]
    slant = wave_slant(context)
    assert all(dx + slant * dy < 0 for dy, dx in context_offsets(context))
    order, ends = wave_fronts([(5, 7), (3, 4), (1, 1)], context)
    assert sorted(order.tolist()) == list(range(35 + 12 + 1))
    assert ends[-1] == 48
