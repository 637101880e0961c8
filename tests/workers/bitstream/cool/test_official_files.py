"""Official files: the integers in them, the pictures they decode to, and the same bytes when written again."""

import numpy as np
import pytest

from tests.workers.bitstream.cool.official import (
    FILES,
    PICTURES,
    SMALL,
    VIDEO,
    arrays_of,
    content_of,
    headers_of,
    planes_of,
)
from workers.bitstream.cool.coding import CoolPicture, decoded_picture, read_cool, write_cool
from workers.bitstream.cool.coolchic_header import CoolChicHeader
from workers.bitstream.cool.file import assemble_cool, parse_cool
from workers.bitstream.cool.fixed_arm import FixedLayer, fixed_arm, fixed_features
from workers.bitstream.cool.laplace import scale_table
from workers.bitstream.cool.parameters import read_parameters
from workers.bitstream.cool.picture import coolchic_output


@pytest.fixture(scope="module", params=PICTURES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def picture(name: str) -> CoolPicture:
    return read_cool(content_of(name))


def test_integers_are_those_of_the_official_decoder(name: str, picture: CoolPicture) -> None:
    arrays = arrays_of(name)
    for tensor, values in picture.parameters.items():
        assert np.array_equal(values, arrays.pop(f"f0.residue.{tensor}")), tensor
    for i, latents in enumerate(picture.latents):
        assert np.array_equal(latents, arrays.pop(f"f0.residue.grid{i}.latent")), f"grid {i}"
    assert not [key for key in arrays if key.endswith((".weight", ".bias", ".original", ".latent"))]


def test_matrices_of_arm_and_ifce_are_those_of_the_official_decoder(name: str, picture: CoolPicture) -> None:
    arrays = {key: values for key, values in arrays_of(name).items() if ".fixed." in key}

    def check(layer: FixedLayer, weight: str, bias: str) -> None:
        assert np.array_equal(layer.weight, arrays.pop(f"f0.residue.fixed.{weight}"))
        assert np.array_equal(layer.bias, arrays.pop(f"f0.residue.fixed.{bias}"))

    arm = fixed_arm(picture.architecture, picture.codings, picture.parameters)
    for j, layer in enumerate((*arm.hidden, arm.output)):
        check(layer, f"arm.w{j}", f"arm.b{j}")
    if picture.architecture.linear_stabiliser_arm:
        check(arm.stabiliser, "arm.ws", "arm.bs")
    for i, layer in fixed_features(picture.architecture, picture.codings, picture.parameters).items():
        check(layer, f"ifce.grid{i}.w0", f"ifce.grid{i}.b0")
    assert not arrays


def test_the_picture_is_that_of_the_official_decoder(name: str, picture: CoolPicture) -> None:
    ours = decoded_picture(picture)
    theirs = planes_of(name, [plane.shape for plane in ours.planes], ours.bitdepth)  # type: ignore[misc]
    differences = np.concatenate([(a - b.astype(int)).ravel() for a, b in zip(ours.planes, theirs, strict=True)])
    # The order of a library's sums decides what is within rounding of the edge between two samples.
    assert np.abs(differences).max() <= 1
    assert np.count_nonzero(differences) <= len(differences) / 20_000


@pytest.mark.parametrize("name", SMALL)
def test_the_output_is_that_of_the_official_decoder_before_it_is_rounded(name: str) -> None:
    picture = read_cool(content_of(name))
    header = CoolChicHeader(picture.architecture, picture.codings, 0, 0, 0)
    ours = coolchic_output(header, picture.parameters, picture.latents)
    np.testing.assert_allclose(ours, arrays_of(name)["f0.residue.output"][0], atol=3e-6, rtol=0)


def test_what_was_decoded_is_written_as_the_same_bytes(name: str, picture: CoolPicture) -> None:
    content, sizes = write_cool(picture)
    assert content == content_of(name)
    assert sizes.total == len(content)
    header = headers_of(name)[-1]
    assert (sizes.networks, sizes.latents) == (header["nn_n_bytes"], header["n_bytes_latent"])


def test_headers_say_what_the_official_reader_finds_in_them(name: str, picture: CoolPicture) -> None:
    _, frame, coolchic = headers_of(name)
    ours, architecture = picture, picture.architecture
    assert (ours.frame_data_type, ours.bitdepth) == (frame["frame_data_type"], frame["bitdepth"])
    for field in (
        *("ups_k_size", "ups_preconcat_k_size", "output_feature_ifce", "spatial_context_arm"),
        *("linear_stabiliser_synth", "linear_stabiliser_arm", "n_hidden_layers_arm"),
        *("flag_common_randomness", "final_upsampling_type"),
    ):
        assert getattr(architecture, field) == coolchic[field], field
    for field in ("img_size", "latent_resolution", "ifce_resolution", "hyperlatent_resolution"):
        found = getattr(architecture, field)
        assert (None if found is None else list(found)) == coolchic.get(field), field
    assert [str(layer) for layer in architecture.layers_synthesis] == [
        coolchic[f"syn_layer_{j}"] for j in range(coolchic["n_layer_synthesis"])
    ]
    for (module, kind), (exponent, count) in picture.codings.items():
        assert (2.0**exponent, count) == (
            coolchic["nn_q_step"][module][kind],
            coolchic["nn_expgol_cnt"][module][kind],
        )


def test_a_file_of_several_frames_is_taken_apart_and_put_together() -> None:
    content, arrays = content_of(VIDEO), arrays_of(VIDEO)
    file = parse_cool(content)
    assert assemble_cool(file) == content
    places = [frame.header.place for frame in file.frames]
    assert [(place.display_index, place.frame_type, place.references) for place in places] == [
        (0, "I", ()),
        (2, "P", (0,)),
        (1, "B", (0, 2)),
    ]
    headers = [header for header in headers_of(VIDEO) if header["header"] == "frame"]
    for frame, header in zip(file.frames, headers, strict=True):
        flows = [number for flow in frame.header.global_flow for number in flow]
        assert flows == header["global_flow"]
        assert frame.header.warp_filter_size == header.get("warp_filter_size")
    for f, frame in enumerate(file.frames):
        for role, part in frame.coolchics.items():
            architecture, codings = part.header.architecture, part.header.codings
            parameters = read_parameters(part.parameters, part.header.n_pad_bits, architecture, codings, part.name)
            for tensor, values in parameters.items():
                assert np.array_equal(values, arrays[f"f{f}.{role}.{tensor}"]), (f, role, tensor)


def test_scales_are_those_of_the_official_table() -> None:
    assert np.array_equal(scale_table(), np.load(FILES / "scale.npy").astype(np.float64))
