import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cases import ARM, SYNTHESIS, UPSAMPLING
from tests.making import make_frame_encoder
from tests.workers import expgolomb
from workers.candidates import KINDS, RESIDUE, Choice, Counts, QStepPair
from workers.codec.coolchic_3_4 import COOLCHIC_3_4
from workers.codec.network import Effect, NetworkSpec
from workers.codec.quantization import apply_choices, quantize, quantize_network
from workers.objective.network_rate import NetworkRate, best_count, exp_golomb_bit, network_rate

LARGEST = 65535

RULE = COOLCHIC_3_4.exp_golomb

SPEC = NetworkSpec(RESIDUE, "any", "any", Effect.RATE, (), ("mlp.0.weight",), ("mlp.0.bias", "mlp.2.bias"), {})


@st.composite
def quantized_values(draw: st.DrawFn) -> int:
    """Integers that can be sent; often where one more needs a longer code, for some count."""
    where_the_length_changes = st.builds(
        lambda power, count, beside: ((1 << power) - 1 << count) + beside,
        st.integers(0, 16),
        st.integers(0, 12),
        st.integers(-1, 1),
    )
    magnitude = draw(st.one_of(where_the_length_changes, st.integers(0, LARGEST), st.just(LARGEST)))
    return draw(st.sampled_from([-1, 1])) * min(abs(magnitude), LARGEST)


ANY_COUNT = st.integers(0, 12)


@given(st.lists(quantized_values(), max_size=20), ANY_COUNT)
@settings(max_examples=300)
def test_the_exp_golomb_rate_is_the_length_of_a_code_that_can_be_read_back(values: list[int], count: int) -> None:
    bits = expgolomb.write(values, count)

    assert expgolomb.read(bits, count) == values
    assert exp_golomb_bit(torch.tensor(values, dtype=torch.float32), [count], RULE) == [len(bits)]


@given(st.lists(quantized_values(), min_size=1, max_size=20))
def test_the_best_count_is_the_cheapest_and_the_smallest_of_the_cheapest(values: list[int]) -> None:
    bits, count = min((len(expgolomb.write(values, count)), count) for count in range(13))

    assert best_count(torch.tensor(values, dtype=torch.float32), RULE) == (count, bits)


@pytest.mark.parametrize(
    ("values", "count", "bits"),
    [
        ([0] * 12, 0, 12),
        ([0, 1], 0, 5),  # 5 bits with count 1 as well
        ([LARGEST], 12, 22),
        ([], 0, 0),
    ],
)
def test_the_best_count_of_known_values(values: list[int], count: int, bits: int) -> None:
    assert best_count(torch.tensor(values, dtype=torch.float32), RULE) == (count, bits)


FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(FLOAT32 | st.floats(-100, 100, width=32), min_size=1, max_size=8), st.integers(-24, 0))
@settings(max_examples=300)
def test_quantization_divides_exactly_rounds_to_even_and_overflows_beyond_65535(
    values: list[float], exponent: int
) -> None:
    step = 2.0**exponent
    exact = [round(Fraction(value) / Fraction(step)) for value in values]

    found = quantize(torch.tensor(values, dtype=torch.float32), step)

    if any(abs(q) > LARGEST for q in exact):
        assert found is None
    else:
        assert found is not None
        assert found.tolist() == exact


@pytest.mark.parametrize("step", [2.0**-24, 2.0**-3, 1.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_parameter_overflows_from_65536_on(step: float, sign: int) -> None:
    def found(multiple: float) -> object:
        quantized = quantize(torch.tensor([0.0, sign * multiple * step]), step)
        return None if quantized is None else quantized.tolist()

    assert found(65535) == [0, sign * 65535]
    assert found(65535.49) == [0, sign * 65535]
    assert found(65535.5) is None  # a tie, and 65536 is even
    assert found(65536) is None


def test_halves_are_rounded_to_the_even_multiple() -> None:
    quantized = quantize(torch.tensor([0.125, 0.375, 0.625, -0.125, -0.375]), 0.25)

    assert quantized is not None
    assert quantized.tolist() == [0, 2, 2, 0, -2]


def test_infinite_parameters_overflow_and_nan_ones_are_left_to_the_loss() -> None:
    infinite, nan = {"a.weight": torch.tensor([1.0, math.inf])}, {"a.weight": torch.tensor([1.0, math.nan])}

    assert quantize(infinite["a.weight"], 1.0) is None
    assert network_rate(infinite, 1.0, RULE) is None
    quantized = quantize(nan["a.weight"], 1.0)
    assert quantized is not None
    assert quantized.isnan().tolist() == [False, True]
    assert network_rate(nan, 1.0, RULE) == NetworkRate(expgol_cnt=0, rate_bit=5)  # 1 for the NaN, 4 for the 1


def test_a_family_tells_weights_from_biases_by_their_names() -> None:
    specs = {spec.module: spec for spec in make_frame_encoder(n_grids=2).networks}

    assert specs["arm"].weights == ("mlp.0.weight", "mlp.2.weight")
    assert specs["arm"].biases == ("mlp.0.bias", "mlp.2.bias")
    assert specs["upsampling"].weights == (
        "conv_transpose2ds.0.parametrizations.weight.original",
        "conv2ds.0.parametrizations.weight.original",
    )
    assert specs["upsampling"].biases == ("conv_transpose2ds.0.bias", "conv2ds.0.bias")


def test_a_tensor_that_is_neither_weight_nor_bias_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"found 'scale'"):
        COOLCHIC_3_4.specs(RESIDUE, ["arm.mlp.0.weight", "arm.scale"])


PARAMETERS = {
    "mlp.0.weight": torch.tensor([[0.3, -0.8], [0.0, 5.1]]),
    "mlp.0.bias": torch.tensor([0.3, -0.9]),
    "mlp.2.bias": torch.tensor([3.2]),
}

WEIGHTS, BIASES = ({name: PARAMETERS[name] for name in SPEC.names(kind)} for kind in KINDS)


def test_weights_and_biases_are_quantized_each_with_its_step() -> None:
    quantized = quantize_network(SPEC, PARAMETERS, QStepPair(weight=0.5, bias=2.0))

    assert quantized is not None
    assert {name: value.tolist() for name, value in quantized.items()} == {
        "mlp.0.weight": [[0.5, -1.0], [0.0, 5.0]],
        "mlp.0.bias": [0.0, 0.0],
        "mlp.2.bias": [4.0],
    }


@pytest.mark.parametrize("pair", [QStepPair(2.0**-24, 1.0), QStepPair(1.0, 2.0**-24)])
def test_one_parameter_that_overflows_is_enough(pair: QStepPair) -> None:
    assert quantize_network(SPEC, PARAMETERS, pair) is None


def test_the_network_rate_is_that_of_all_parameters_of_one_kind_together() -> None:
    def cheapest(values: list[int]) -> NetworkRate:
        bits, count = min((len(expgolomb.write(values, count)), count) for count in range(13))
        return NetworkRate(count, bits)

    assert network_rate(WEIGHTS, 0.125, RULE) == cheapest([2, -6, 0, 41])
    assert network_rate(BIASES, 0.125, RULE) == cheapest([2, -7, 26])
    assert network_rate(BIASES, 2.0**-24, RULE) is None


def test_the_biases_of_the_upsampling_cost_a_bit_each() -> None:
    frame_encoder = make_frame_encoder(n_grids=7)
    for part in (frame_encoder.upsampling.conv2ds, frame_encoder.upsampling.conv_transpose2ds):
        for convolution in part:
            torch.nn.init.zeros_(convolution.bias)

    biases = frame_encoder.get_network_parameters(UPSAMPLING)
    rate = network_rate({name: biases[name] for name in biases if name.endswith(".bias")}, 1.0, RULE)

    assert rate == NetworkRate(expgol_cnt=0, rate_bit=12)


def test_settled_modules_are_quantized_in_place_and_the_others_left() -> None:
    frame_encoder = make_frame_encoder()
    before = {module: frame_encoder.get_network_parameters(module) for module in (ARM, SYNTHESIS, UPSAMPLING)}
    pair, counts = QStepPair(2.0**-6, 2.0**-9), Counts(weight=3, bias=5)

    apply_choices(frame_encoder, {SYNTHESIS: Choice(SYNTHESIS, pair, counts, 60, 40)})

    for name, value in frame_encoder.get_network_parameters(SYNTHESIS).items():
        step = pair.weight if name.endswith("weight") else pair.bias
        assert torch.equal(value, torch.round(before[SYNTHESIS][name] / step) * step)
    for module in (ARM, UPSAMPLING):
        after = frame_encoder.get_network_parameters(module)
        assert all(torch.equal(after[name], value) for name, value in before[module].items())
    assert frame_encoder.nn_q_step == {"synthesis": {"weight": 2.0**-6, "bias": 2.0**-9}}
    assert frame_encoder.nn_expgol_cnt == {"synthesis": {"weight": 3, "bias": 5}}


def test_a_choice_that_overflows_is_refused() -> None:
    choice = Choice(ARM, QStepPair(2.0**-30, 1.0), Counts(0, 0), 0, 0)

    with pytest.raises(ValueError, match=r"arm: the chosen pair .* overflows"):
        apply_choices(make_frame_encoder(), {ARM: choice})
