"""What family coolchic-5 has that coolchic-3.4 has not, against slow and plain arithmetic."""

import json
import math
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch

from tests.making_5 import PARAM, make_frame_encoder_5, make_metadata_5
from workers.candidates import RESIDUE
from workers.codec import FrameEncoder, Planes, dump_frame_encoder, parse_frame_encoder
from workers.codec.common_randomness import gaussian, noise
from workers.codec.coolchic_3_4 import COOLCHIC_3_4
from workers.codec.coolchic_5.family import COOLCHIC_5
from workers.codec.coolchic_5.parameter import Coolchic5Parameter
from workers.codec.family import Chroma
from workers.codec.resize import resize
from workers.errors import CheckpointError
from workers.objective.network_rate import exp_golomb_bit

# Grids and contexts


def test_hyperlatents_follow_the_latents_of_their_resolution() -> None:
    param = make_frame_encoder_5(img_size=(99, 149), latent_resolution=[0, 6], hyperlatent_resolution=[4, 6]).param
    grids = param.coolchics[RESIDUE].grids

    names = [f"{grid.resolution}{'h' * grid.hyperlatent}" for grid in grids]
    assert " ".join(names) == "0 1 2 3 4 4h 5 5h 6 6h"
    sizes = param.coolchics[RESIDUE].grid_sizes
    assert sizes[0] == (99, 149)
    assert sizes[4] == sizes[5] == (math.ceil(99 / 16), math.ceil(149 / 16))


@pytest.mark.parametrize("n", [8, 16, 24, 32])
def test_as_sets_the_first_contexts_are_those_of_3_4(n: int) -> None:
    assert set(COOLCHIC_5.contexts[n]) == set(COOLCHIC_3_4.contexts[n])
    assert sorted(COOLCHIC_5.contexts[40]) == list(range(40))


@pytest.mark.parametrize("ifce", [[0, 2], [0, 3], [1, 3], [3, 3]], ids=str)
@pytest.mark.parametrize("img_size", [(12, 17), (3, 40), (1, 1)], ids=str)
def test_features_are_those_of_a_loop_over_latents(img_size: tuple[int, int], ifce: list[int]) -> None:
    frame_encoder = make_frame_encoder_5(img_size=img_size, ifce_resolution=ifce)
    coolchic = frame_encoder.coolchics[RESIDUE]
    latents = [grid[0, 0].detach().double().numpy() for grid in coolchic.decoder_side_latents()]

    def twice(x: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        return x.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]

    expected, arms = [], iter(coolchic.ifce.arms)
    for i, grid in enumerate(latents):
        features = np.zeros((3, *grid.shape))
        if ifce[0] <= math.ceil(math.log2(img_size[0] / grid.shape[0])) <= ifce[1]:
            inputs = [np.zeros_like(grid)]
            if i < len(latents) - 1:
                inputs = [latents[-1]]
                for finer in reversed(latents[i + 1 : -1]):
                    if finer.shape != inputs[0].shape:
                        inputs = [twice(channel, finer.shape) for channel in inputs]
                    inputs = [finer, *inputs]
            layer = next(arms).mlp[0]
            weight, bias = (value.detach().double().numpy() for value in (layer.weight, layer.bias))
            coarse = np.einsum("fi,ihw->fhw", weight, np.stack(inputs)) + bias[:, None, None]
            features = np.stack([twice(channel, grid.shape) for channel in coarse])
        expected.append(features.reshape(3, -1).T)

    with torch.inference_mode():
        found = coolchic.ifce(coolchic.decoder_side_latents())

    np.testing.assert_allclose(found.numpy(), np.concatenate(expected), atol=1e-5)
    assert next(arms, None) is None


# The picture


def test_the_output_is_stabilised_then_transformed() -> None:
    coolchic = make_frame_encoder_5().coolchics[RESIDUE]
    synthesis = coolchic.synthesis
    with torch.inference_mode():
        dense = coolchic.dense(coolchic.decoder_side_latents())
        main = synthesis.main_branch(dense)
        stable = torch.einsum("oi,bihw->bohw", synthesis.stabiliser_branch.weight[:, :, 0, 0], dense)
        added = main + stable + synthesis.stabiliser_branch.bias[:, None, None]
        expected = torch.einsum("oi,bihw->bohw", synthesis.output_transform.weight[:, :, 0, 0], added)
        expected += synthesis.output_transform.bias[:, None, None]

        assert torch.allclose(synthesis(dense), expected, atol=1e-5)


def test_noise_is_that_of_a_loop_and_its_finest_channel_comes_first() -> None:
    z, expected = 18101995, []
    for _ in range(5000):
        u = []
        for _ in range(2):
            z = 16807 * z % (2**31 - 1)
            u.append(z / (2**31 - 1))
        expected.append(math.sqrt(-2 * math.log(u[0])) * math.cos(2 * 3.14159265359 * u[1]))

    np.testing.assert_allclose(gaussian(5000), np.array(expected), rtol=1e-6, atol=1e-7)
    channels = noise((5, 7), (1, 1, 1))
    assert channels.shape == (1, 3, 5, 7)
    assert torch.equal(channels[0, 0].flatten(), torch.from_numpy(gaussian(35)))


def test_nearest_takes_the_product_in_float32() -> None:
    columns = torch.arange(50.0)[None, None, None]
    scale = np.float32(50 / 198)
    expected = [min(math.floor(np.float32(x) * scale), 49) for x in range(198)]

    assert resize(columns, 1, 198, "nearest").flatten().tolist() == expected


def test_chroma_is_the_mean_before_it_is_clamped_and_rounded() -> None:
    image = torch.zeros(1, 3, 3, 5)
    image[0, 1, :2, :2] = torch.tensor([[3.0, -1.0], [0.5, 0.1]])

    planes = Planes.from_444(image, "yuv420", Chroma.MEAN)

    assert [tuple(plane.shape) for plane in planes.tensors] == [(1, 1, 3, 5), (1, 1, 1, 2), (1, 1, 1, 2)]
    assert planes.clamp().round(8).tensors[1][0, 0, 0].tolist() == pytest.approx([round(0.65 * 255) / 255, 0])


def test_a_zero_costs_as_many_bits_as_the_count() -> None:
    values = torch.tensor([0.0, 1.0, -3.0])
    costs = [
        sum(2 * math.floor(math.log2(2 * abs(q) / 2**k + 1)) + k + (q != 0) for q in (0, 1, 3)) for k in range(13)
    ]

    assert exp_golomb_bit(values, range(13), COOLCHIC_5.exp_golomb) == costs


# Checkpoints


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"frame_data_type": "yuv420", "bitdepth": "10"},
        {"hyperlatent_resolution": None, "ifce_resolution": None, "output_feature_ifce": 0},
        {"latent_resolution": [2, 3], "ifce_resolution": [2, 3], "final_upsampling_type": "nearest"},
        {"flag_common_randomness": True, "linear_stabiliser_synth": False, "linear_stabiliser_arm": False},
    ],
    ids=str,
)
def test_what_was_written_is_read_again(changes: dict[str, Any]) -> None:
    frame_encoder = make_frame_encoder_5(**changes)
    frame_encoder.nn_q_step["residue.ifce"] = {"weight": 0.5, "bias": 0.25}
    frame_encoder.nn_expgol_cnt["residue.ifce"] = {"weight": 1, "bias": 2}
    has_ifce = any(spec.prefix == "residue.ifce" for spec in frame_encoder.networks)

    again, manager = parse_frame_encoder(dump_frame_encoder(frame_encoder, 0.002), "again")

    assert again.param == frame_encoder.param
    assert again.param.to_metadata() == frame_encoder.param.to_metadata()
    assert manager.lmbda == 0.002
    assert again.nn_q_step == (frame_encoder.nn_q_step if has_ifce else {})
    state = again.state_dict()
    assert all(torch.equal(state[key], value) for key, value in frame_encoder.state_dict().items())
    assert torch.equal(again().rate, frame_encoder().rate)


def test_tensors_are_listed_in_the_order_in_which_they_are_refined() -> None:
    networks = {spec.module: spec for spec in make_frame_encoder_5().networks}

    assert list(networks) == ["arm", "ifce", "synthesis", "upsampling"]
    assert networks["arm"].weights == ("mlp.0.weight", "mlp.2.weight", "stabiliser_branch.weight")
    assert networks["synthesis"].biases == (
        *("output_transform.bias", "stabiliser_branch.bias"),
        *("main_branch.0.bias", "main_branch.2.bias", "main_branch.4.bias"),
    )
    assert [name.split(".")[0] for name in networks["upsampling"].weights] == ["conv_transpose2ds"] * 3 + [
        "conv2ds"
    ] * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_type": "P"}, "'frame_type' is 'P': frames with references cannot be measured yet"),
        ({"frame_type": "X"}, "'frame_type' is I, P or B; found 'X'"),
        ({"coolchics": "[]"}, "'coolchics' is .*residue.* found \\[\\]"),
        ({"coolchics": "[" * 100_000}, "'coolchics' is JSON"),
        ({"bitdepth": "7"}, "bitdepth: 8 to 16; found 7"),
        ({"bitdepth": "NaN"}, "bitdepth: an integer that is not negative; found 'nan'"),
        ({"frame_data_type": "gray"}, "frame_data_type: rgb, yuv444 or yuv420; found 'gray'"),
        ({"spatial_context_arm": 41}, "spatial_context_arm: one of 1 to 40; found 41"),
        ({"spatial_context_arm": True}, "spatial_context_arm: an integer"),
        ({"latent_resolution": [3, 1]}, "latent_resolution: 0 to 15; found \\(3, 1\\)"),
        ({"latent_resolution": [0, 99]}, "latent_resolution: 0 to 15"),
        ({"latent_resolution": "0-6"}, "latent_resolution: two integers; found '0-6'"),
        ({"ifce_resolution": None}, "output_feature_ifce: 1 to 64, or 0 without ifce_resolution; found 3"),
        ({"output_feature_ifce": 0}, "output_feature_ifce: 1 to 64"),
        ({"hyperlatent_resolution": [5, 6]}, "ifce_resolution: grids of successive resolutions"),
        ({"layers_synthesis": []}, "layers_synthesis: at least one layer"),
        ({"layers_synthesis": ["4-1-linear-relu"]}, "the last layer has 3 channels; found 4"),
        ({"layers_synthesis": ["5-1-residual-relu"]}, "a residual layer keeps its 4 channels"),
        ({"layers_synthesis": "3-1-linear-none"}, "layers_synthesis: a list of layers"),
        ({"final_upsampling_type": "lanczos"}, "final_upsampling_type: bicubic, bilinear or nearest"),
        (
            {"flag_common_randomness": True, "latent_resolution": [1, 3]},
            "the noise fits a synthesis at full resolution alone",
        ),
        ({"linear_stabiliser_arm": 1}, "linear_stabiliser_arm: true or false; found '1'"),
        ({"unheard_of": 1}, "'residue.param' has fields that are not known: unheard_of"),
    ],
    ids=str,
)
def test_metadata_that_are_wrong_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        Coolchic5Parameter.from_metadata(make_metadata_5(**changes))


def test_metadata_that_are_missing_or_do_not_agree_are_refused() -> None:
    metadata = make_metadata_5()
    for key in metadata.keys() - {"format", "lmbda", "index_references"}:
        with pytest.raises(CheckpointError, match=f"metadata key '{key}' is missing"):
            Coolchic5Parameter.from_metadata({name: metadata[name] for name in metadata if name != key})
    for field in PARAM:
        param = json.loads(metadata["residue.param"])
        del param[field]
        with pytest.raises(CheckpointError, match=f"'residue.param' has no {field}"):
            Coolchic5Parameter.from_metadata(metadata | {"residue.param": json.dumps(param)})
    with pytest.raises(CheckpointError, match=r"'img_size' is \[12, 18\]; that of 'residue.param' is \[12, 17\]"):
        Coolchic5Parameter.from_metadata(metadata | {"img_size": "[12, 18]"})
    with pytest.raises(CheckpointError, match=r"'residue\.param' is a JSON object; found '3'"):
        Coolchic5Parameter.from_metadata(metadata | {"residue.param": "3"})


def test_a_frame_encoder_is_copied_with_its_coolchics() -> None:
    frame_encoder: FrameEncoder = make_frame_encoder_5()
    copied = deepcopy(frame_encoder)
    with torch.no_grad():
        copied.get_submodule("residue.arm.mlp.0").weight.zero_()

    assert not copied.coolchics[RESIDUE].arm.mlp[0].weight.any()
    assert frame_encoder.coolchics[RESIDUE].arm.mlp[0].weight.any()
    assert copied.family is frame_encoder.family
