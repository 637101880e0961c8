"""Files of version 2: what they hold comes back sample for sample, and takes the bits that were estimated."""

from dataclasses import dataclass, fields, replace

import pytest
import torch

from tests.cases import CASE_5_NAMES, CASES_5, load_case
from tests.making import make_frame_encoder
from tests.making_5 import make_frame_encoder_5
from tests.workers.bitstream.encoding import quantized, quantized_case, rate_latent_bit
from tests.workers.bitstream.test_round_trip import same
from tests.workers.bitstream.version_2 import FRAME_ENCODERS
from workers.bitstream import (
    check_encodable,
    container_2,
    decode_frame,
    decoded_frame,
    encode_frame,
    format_of,
    reconstruction,
    unencodable,
)
from workers.bitstream.architecture_fields import read_architecture, write_architecture
from workers.bitstream.container import unpack
from workers.bitstream.exp_golomb import BitReader, BitWriter
from workers.bitstream.fixed_noise import fixed_noise
from workers.bitstream.wave_fronts import wave_fronts
from workers.candidates import RESIDUE
from workers.codec import FrameEncoder, FrameEncoderParameter
from workers.codec.common_randomness import noise
from workers.codec.coolchic_5.parameter import Coolchic5Parameter
from workers.codec.family import Family
from workers.codec.ifce import ifce_input
from workers.errors import InputError
from workers.objective.loss import mean_squared_error

LEAST_OF_AN_ACTIVATION = 2.0**-16


@pytest.mark.parametrize("name", FRAME_ENCODERS)
def test_a_frame_comes_back_as_it_was_reconstructed(name: str) -> None:
    frame_encoder = FRAME_ENCODERS[name]()
    encoded = encode_frame(frame_encoder)
    assert encoded.content[:4] == b"qsw\x02"
    assert encoded.sizes.total == len(encoded.content)
    decoded = decode_frame(encoded.content)
    assert same(decoded, encoded.frame)
    assert same(decoded_frame(frame_encoder), encoded.frame)
    param = frame_encoder.param
    assert format_of(encoded.content) == (param.frame_data_type, param.bitdepth)
    # It is the frame of the evaluation, but for the last bit of an activation in each of some roundings.
    with torch.inference_mode():
        evaluated = frame_encoder().decoded_image.tensors
    for ours, theirs in zip(decoded.data.tensors, evaluated, strict=True):
        assert ours.shape == theirs.shape
        assert torch.allclose(
            ours, theirs, rtol=0, atol=1.01 / (2**param.bitdepth - 1) + 8 * LEAST_OF_AN_ACTIVATION
        )


@pytest.mark.parametrize("name", CASE_5_NAMES)
def test_a_real_frame_takes_what_was_estimated_and_has_the_error_that_was_measured(name: str) -> None:
    case = load_case(name, CASES_5)
    row = case.table[case.table.chosen].iloc[-1]  # of the last network: all are quantized
    frame_encoder, rate_nn_bit = quantized_case(case)
    assert rate_nn_bit == row.rate_nn_bit
    encoded = encode_frame(frame_encoder)
    assert mean_squared_error(encoded.frame.data, case.frame.data).item() == pytest.approx(row.mse, rel=1e-3)
    latent_bytes = row.rate_latent_bit / 8
    assert -1 <= encoded.sizes.latents - latent_bytes <= 0.005 * latent_bytes + 10
    # By the estimate a zero takes no bits where the count is 0; here it takes one, but where all are zeros.
    of_counts_0 = 0
    for spec in frame_encoder.networks:
        for kind, count in frame_encoder.nn_expgol_cnt[spec.prefix].items():
            values = [frame_encoder.get_network_parameters(spec.id)[own] for own in spec.names(kind)]  # type: ignore[arg-type]
            if count == 0 and any(value.any() for value in values):
                of_counts_0 += sum(value.numel() for value in values)
    assert -(-rate_nn_bit // 8) <= encoded.sizes.networks <= -(-(rate_nn_bit + of_counts_0) // 8)
    assert encoded.sizes.header <= 35


def test_counts_of_a_file_are_those_of_the_sweep_where_it_can_have_them() -> None:
    frame_encoder, _ = quantized_case(load_case("astronaut_64x96_lop", CASES_5))
    for (prefix, kind), quantization in unpack(encode_frame(frame_encoder).content).networks.quantization.items():
        count = frame_encoder.nn_expgol_cnt[prefix][kind]
        assert quantization.expgol_cnt == max(count, 0 if kind == "bias" and count == 0 else 1), (prefix, kind)


@pytest.mark.parametrize("name", FRAME_ENCODERS)
def test_an_architecture_comes_back_but_for_what_only_its_encoder_needs(name: str) -> None:
    param = FRAME_ENCODERS[name]().param
    bits = BitWriter()
    write_architecture(bits, param)
    found = read_architecture(BitReader(bits.to_bytes(), "architecture"))
    assert found.networks == param.networks
    if isinstance(param, Coolchic5Parameter):
        assert found == replace(
            param, residue=replace(param.residue, encoder_gain=found.coolchics[RESIDUE].encoder_gain)
        )
    else:
        assert found == replace(param, encoder_gain=16)  # type: ignore[type-var]


def code(value: int, count: int) -> str:
    """The exp-Golomb code of a number, as it is documented."""
    u = f"{value + 2**count:b}"
    return "0" * (len(u) - 1 - count) + u


def test_fields_of_a_header_are_those_that_are_documented() -> None:
    content = encode_frame(quantized(make_frame_encoder_5(img_size=(12, 300), flag_common_randomness=True))).content
    expected = [
        *(code(0, 0), code(11, 8), code(299, 8), code(0, 0), code(0, 0)),  # kind, sides, rgb, 8 bits
        *(code(5, 3), code(1, 1)),  # 6 contexts, one hidden layer
        *(code(2, 1), code(3, 2), code(0, 0), "01", code(2, 2), code(0, 0), "00", code(2, 2), code(1, 0), "10"),
        *(code(2, 2), code(3, 2)),  # kernels of 8 and 7
        *(code(0, 0), code(3, 2), "1", code(2, 0), code(1, 2), "1", code(0, 0), code(2, 2), code(3, 2)),
        *("11", "1", code(0, 0)),  # both stabilisers, common randomness, bicubic
        *(code(6, 3), "1"),  # the first step, 2^−6
    ]
    bits = "".join(f"{byte:08b}" for byte in content[10:])
    assert bits.startswith("".join(expected))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", ["chelsea_99x149_hop", "5: resized yuv420", "5: common randomness"])
def test_threads_and_bands_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = encode_frame(FRAME_ENCODERS[name]())
    for n_bytes in (5_000, 1):
        monkeypatch.setattr(reconstruction, "_BAND_BYTES", n_bytes)
        assert same(decode_frame(first.content), first.frame)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", FRAME_ENCODERS)
def test_a_gpu_decodes_the_same(name: str) -> None:
    encoded = encode_frame(FRAME_ENCODERS[name]())
    assert same(decode_frame(encoded.content, "cuda"), encoded.frame)
    assert encode_frame(FRAME_ENCODERS[name](), "cuda").content == encoded.content


def test_encoders_of_version_1_go_on_being_written_so() -> None:
    assert encode_frame(quantized(make_frame_encoder())).content[3] == 1


# --- what is refused


@dataclass(frozen=True)
class OtherParameter(FrameEncoderParameter):
    """An architecture of a plugin: like that of Cool-Chic 3.4, but for what files know nothing of."""

    @property
    def family(self) -> Family:
        return replace(super().family, name="other", bitstream=False)


def test_other_families_and_networks_beyond_all_measure_are_refused() -> None:
    param = make_frame_encoder().param
    assert isinstance(param, FrameEncoderParameter)
    other = OtherParameter(**{field.name: getattr(param, field.name) for field in fields(param)})
    with pytest.raises(InputError, match=r"of the families coolchic-3\.4 and coolchic-5; found other"):
        check_encodable(other)
    layers = ["3-1-linear-none"] * 257
    assert unencodable(make_frame_encoder_5(layers_synthesis=layers).param) == (
        "a .qsw holds a synthesis of at most 256 layers; found 257"
    )
    param = make_frame_encoder_5().param
    assert isinstance(param, Coolchic5Parameter)
    wide = [layer._replace(out_channels=1024, kernel_size=31) for layer in param.residue.layers_synthesis[:1]]
    layers_synthesis = (*wide, *param.residue.layers_synthesis[1:])
    large = replace(param, residue=replace(param.residue, layers_synthesis=layers_synthesis))
    reason = unencodable(large)
    assert reason is None
    much = replace(large, residue=replace(large.residue, layers_synthesis=(*wide * 2, *layers_synthesis[1:])))
    reason = unencodable(much)
    assert reason is not None
    assert reason.startswith(
        f"a .qsw holds networks of at most {container_2.MAX_PARAMETERS} parameters; found 1011"
    )


# --- what both sides share


@pytest.mark.parametrize(
    ("img_size", "channels"), [((33, 47), (1, 1, 1, 1)), ((40, 5), (1, 0, 1)), ((5, 3), (0, 1, 1)), ((4, 4), (1,))]
)
def test_noise_in_fixed_point_is_the_noise_of_the_evaluation(
    img_size: tuple[int, int], channels: tuple[int, ...]
) -> None:
    fixed = fixed_noise(img_size, channels)
    expected = noise(img_size, channels)[0]
    assert fixed.shape == expected.shape
    assert torch.equal(fixed, fixed.round())
    assert torch.allclose(
        fixed * LEAST_OF_AN_ACTIVATION, expected.double(), rtol=0, atol=4 * LEAST_OF_AN_ACTIVATION
    )


def test_what_an_ifce_takes_in_is_known_in_time() -> None:
    """Everything in its input is of an earlier wave."""
    frame_encoder = make_frame_encoder_5(img_size=(21, 34), ifce_resolution=[0, 4])
    coolchic = frame_encoder.coolchics[RESIDUE].param
    sizes = coolchic.grid_sizes
    order, ends = wave_fronts(sizes, coolchic.context_indices, coarser_first=True)
    n = len(order)
    wave = torch.empty(n)
    wave[torch.from_numpy(order)] = torch.searchsorted(torch.from_numpy(ends), torch.arange(n), right=True).float()
    parts = torch.split(wave, [height * width for height, width in sizes])
    grids = [part.view(1, 1, *size) for part, size in zip(parts, sizes, strict=True)]
    for i in coolchic.ifce_grids[:-1]:
        latest = ifce_input(grids, i).amax(dim=1, keepdim=True)
        height, width = sizes[i]
        doubled = latest.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., :height, :width]
        assert (doubled < grids[i]).all()


def test_latents_of_any_magnitude() -> None:
    """Escapes, plain bits, and activations that are clamped."""
    frame_encoder: FrameEncoder = make_frame_encoder_5(img_size=(24, 40))
    with torch.no_grad():
        for i, grid in enumerate(frame_encoder.coolchics[RESIDUE].latent_grids):
            grid.mul_((1.0, 40.0, 3000.0)[i % 3])
        frame_encoder.coolchics[RESIDUE].arm.linears[-1].bias[1] += 3.0
    encoded = encode_frame(quantized(frame_encoder))
    assert same(decode_frame(encoded.content), encoded.frame)
    assert len(unpack(encoded.content).latents.plain) > 10
    assert rate_latent_bit(frame_encoder) > 0
