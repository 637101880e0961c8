"""The compiled kernel, every build of it, beside numpy, constriction and torch: as exact, and faster."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from tests.workers.bitstream.cool.official import SMALL, content_of
from tests.workers.bitstream.cool.plain_decoder import plain_decode, plain_output
from workers.bitstream.cool import coder, latents, networks
from workers.bitstream.cool.coding import CoolPicture, decode_cool, read_cool, write_cool
from workers.bitstream.cool.coolchic_header import Coding, CoolChicHeader
from workers.bitstream.cool.fixed_arm import fixed_arm
from workers.bitstream.cool.kernel import library
from workers.bitstream.cool.kernel.coder import KernelCoders
from workers.bitstream.cool.order import coded_tensors
from workers.bitstream.cool.picture import coolchic_output
from workers.bitstream.cool.plain_coder import PlainCoders
from workers.errors import ConfigError, InputError, ReplicaError

BUILDS = library.builds()


@pytest.fixture(params=BUILDS)
def build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each build in turn, in place of the fastest."""
    opened = library.open_build(request.param)
    assert opened is not None
    monkeypatch.setattr(latents, "coders", lambda: KernelCoders(opened))
    monkeypatch.setattr(networks, "load", lambda: opened)


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "coders", PlainCoders)
    monkeypatch.setattr(networks, "load", lambda: None)


@pytest.fixture
def load_anew() -> Iterator[None]:
    """What the environment says is read once per process, but for this test."""
    library.load.cache_clear()
    yield
    library.load.cache_clear()


def output_of(picture: CoolPicture) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    header = CoolChicHeader(picture.architecture, picture.codings, 0, 0, 0)
    return coolchic_output(header, picture.parameters, picture.latents)


def test_the_kernel_is_used_where_it_was_built() -> None:
    assert isinstance(coder.coders(), KernelCoders)


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("name", SMALL)
def test_every_build_reads_and_writes_official_files(name: str) -> None:
    content = content_of(name)
    picture = read_cool(content)
    assert write_cool(picture)[0] == content
    np.testing.assert_allclose(output_of(picture), plain_output(picture).numpy(), atol=3e-6, rtol=0)


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize("name", SMALL)
def test_numpy_reads_and_writes_official_files(name: str) -> None:
    content = content_of(name)
    picture = read_cool(content)
    assert write_cool(picture)[0] == content
    np.testing.assert_allclose(output_of(picture), plain_output(picture).numpy(), atol=3e-6, rtol=0)


def extreme(name: str, weight: int, bias: int) -> CoolPicture:
    """An official picture with large parameters in its arm, of steps of 1, and random latents at their limits."""
    picture = read_cool(content_of(name))
    numbers = np.random.default_rng(weight)
    parameters = dict(picture.parameters)
    codings = dict(picture.codings)
    for (module, kind), shapes in coded_tensors(picture.architecture).items():
        if module == "arm":
            codings[module, kind] = Coding(0, 12)
            for tensor, shape in shapes.items():
                parameters[tensor] = numbers.integers(-1, 2, shape) * (weight if kind == "weight" else bias)
    values = np.array([-64, -1, 0, 1, 63], np.int8)
    grids = [numbers.choice(values, size) for size in picture.architecture.grid_sizes]
    return picture._replace(parameters=parameters, codings=codings, latents=grids)


@pytest.mark.parametrize(("weight", "bias", "in_doubles"), [(1, 1, True), (1, 1 << 20, False), (8, 1 << 10, False)])
def test_arms_that_doubles_cannot_hold_are_evaluated_in_64_bits(
    weight: int, bias: int, in_doubles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = extreme("astronaut_64x96_lop", weight, bias)
    arm = fixed_arm(picture.architecture, picture.codings, picture.parameters)
    assert arm.is_exact_in_doubles == in_doubles
    content, _ = write_cool(picture)
    for one, other in zip(read_cool(content).latents, picture.latents, strict=True):
        assert np.array_equal(one, other)
    monkeypatch.setattr(latents, "coders", PlainCoders)
    assert write_cool(picture)[0] == content


def test_an_arm_whose_sums_may_pass_64_bits_is_refused() -> None:
    with pytest.raises(InputError, match=r"sums of the arm may reach 2\^\d+; 64 bits hold less than 2\^63"):
        write_cool(extreme("astronaut_64x96_lop", 65535, 1 << 20))


@pytest.mark.usefixtures("load_anew")
def test_the_environment_forces_a_build_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QSWEEP_KERNEL", "none")
    assert isinstance(coder.coders(), PlainCoders)
    monkeypatch.setenv("QSWEEP_KERNEL", "avx1024")
    library.load.cache_clear()
    with pytest.raises(ConfigError, match="QSWEEP_KERNEL: accepted: avx512, avx2, any, none; found 'avx1024'"):
        coder.coders()
    monkeypatch.setenv("QSWEEP_KERNEL", "avx512")
    monkeypatch.setattr(library, "builds", lambda: ["_any"])
    with pytest.raises(ReplicaError, match="QSWEEP_KERNEL=avx512: this machine has no such build"):
        coder.coders()


def cpu_seconds(action: Callable[[], object]) -> float:
    """The least of a few calls, on one thread."""
    times = []
    for _ in range(3):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def test_a_large_picture_is_decoded_several_times_as_fast_as_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Side by side, in the processor's time: what else the machine does matters little to a ratio."""
    content = content_of("kodim14")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours = cpu_seconds(lambda: decode_cool(content))
        picture = read_cool(content)
        writing = cpu_seconds(lambda: write_cool(picture))
        monkeypatch.setattr(latents, "coders", PlainCoders)
        plainly = cpu_seconds(lambda: plain_decode(content))
    finally:
        torch.set_num_threads(threads)
    print(f"decoding {ours:.3f} s, writing {writing:.3f} s; plainly {plainly:.3f} s")  # noqa: T201
    assert ours < plainly / 3
    assert writing < ours
