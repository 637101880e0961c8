"""The compiled kernel beside torch: every build of it that this machine can run."""

import ctypes
import logging
import os
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.cases import ARM, SYNTHESIS, UPSAMPLING, Case, load_case
from tests.making import make_frame, make_frame_encoder
from workers.candidates import QStepPair
from workers.codec.coolchic_3_4 import COOLCHIC_3_4
from workers.codec.latent import context_offsets, contexts
from workers.errors import ConfigError, ReplicaError
from workers.measure import EngineOptions, Measurer, kernel
from workers.measure.kernel import library
from workers.native import sources
from workers.plain import plain_arithmetic

pytestmark = pytest.mark.skipif(kernel.load() is None, reason="the kernel was not built: there is no C compiler")

BUILDS = library.builds() if kernel.load() is not None else []
exact = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="bits were compared on CPUs with AVX-512 alone"
)


@pytest.fixture(params=BUILDS)
def build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ctypes.CDLL:
    """Each build in turn, in place of the fastest."""
    opened = library.open_build(request.param)
    assert opened is not None, "all of them are built, or none"
    monkeypatch.setattr(kernel, "load", lambda: opened)
    return opened


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("img_size", [(181, 257), (64, 97)])
def test_every_build_gives_what_torch_gives(img_size: tuple[int, int]) -> None:
    frame_encoder = make_frame_encoder(
        "16-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none",
        img_size=img_size,
        dim_arm=16,
        n_grids=7,
    )
    frame = make_frame(frame_encoder)
    pairs = {ARM: (2.0**-6, 2.0**-8), SYNTHESIS: (2.0**-8, 2.0**-9), UPSAMPLING: (2.0**-6, 1.0)}

    for module, pair in pairs.items():
        (ours,), (theirs,) = (
            Measurer(frame_encoder, frame, 1e-3, options=EngineOptions(compiled=compiled)).measure(
                {}, module, [QStepPair(*pair)]
            )
            for compiled in (True, False)
        )
        assert ours.measured is not None
        assert theirs.measured is not None
        assert ours.measured.rate_latent_bit == pytest.approx(theirs.measured.rate_latent_bit, rel=1e-6)
        assert ours.measured.mse == pytest.approx(theirs.measured.mse, rel=3e-5)


def test_the_fastest_build_that_this_machine_can_run_is_taken() -> None:
    assert kernel.load() is not None
    assert BUILDS[-1] == "_any"
    assert len(BUILDS) == {"AVX512": 3, "AVX2": 2}.get(torch.backends.cpu.get_cpu_capability(), 1)


@exact
@pytest.mark.parametrize("name", ["chelsea_99x149_hop", "coffee_128x192_mop"])
def test_squared_errors_are_those_of_the_codec_to_the_last_bit(name: str) -> None:
    case: Case = load_case(name)
    frame_encoder = case.frame_encoder
    (row,) = Measurer(frame_encoder, case.frame, 1e-3).measure({}, ARM, [QStepPair(0.125, 0.125)])
    with plain_arithmetic(COOLCHIC_3_4.plain_threads):
        decoded = frame_encoder().decoded_image.tensors[0]
    difference = (decoded - case.frame.data.tensors[0]).mul(255).round().to(torch.int64)

    assert row.measured is not None
    assert row.measured.mse == difference.square().sum().item() / (255**2 * difference.numel())


@exact
@pytest.mark.parametrize("dim", [16, 24, 32])
def test_the_arm_s_hidden_layers_are_torch_s_to_the_last_bit_almost_everywhere(dim: int) -> None:
    generator = torch.Generator().manual_seed(0)
    grid = torch.randn(1, 1, 64, 64, generator=generator).round()
    weights = [torch.randn(dim, dim, generator=generator) * 0.1, torch.zeros(2, dim)]
    biases = [torch.randn(3, dim, generator=generator), torch.zeros(3, 2)]
    weights[1][0, dim - 1] = 1.0  # the last hidden unit is looked at alone, for one product is exact
    block = kernel.ArmBlock(
        kernel.load(), kernel.ArmLayers(weights, biases), context_offsets(COOLCHIC_3_4.contexts[dim])
    )
    positions = torch.arange(72 * 72).view(72, 72)[4:-4, 4:-4].flatten().contiguous()
    out = torch.empty(2, 3, 4096)

    block.outputs(F.pad(grid[0, 0], (4, 4, 4, 4)), positions, out)

    context = contexts([grid], COOLCHIC_3_4.contexts[dim])
    for k in range(3):
        with plain_arithmetic(COOLCHIC_3_4.plain_threads):
            hidden = torch.relu(F.linear(context, weights[0], biases[0][k]) + context)
        # Some rows at the end of torch's blocks are added up in another order: for 24 outputs, a fifth of them.
        assert (out[0, k] == hidden[:, -1]).float().mean() > (0.7 if dim == 24 else 0.99)
        assert torch.allclose(out[0, k], hidden[:, -1], atol=1e-5)


def test_latents_in_any_order_have_the_outputs_that_they_have_in_raster_order() -> None:
    generator = torch.Generator().manual_seed(0)
    padded = F.pad(torch.randn(30, 33, generator=generator).round(), (4, 4, 4, 4))
    weights = [torch.randn(8, 8, generator=generator), torch.randn(2, 8, generator=generator)]
    biases = [torch.randn(2, 8, generator=generator), torch.randn(2, 2, generator=generator)]
    block = kernel.ArmBlock(
        kernel.load(), kernel.ArmLayers(weights, biases), context_offsets(COOLCHIC_3_4.contexts[8])
    )
    index = torch.arange(padded.numel()).view(padded.shape)
    raster = index[4:-4, 4:-4].flatten().contiguous()
    # Runs of 15 turned round: the ends of a vector are as far apart as if nothing had been turned.
    for order in (torch.randperm(len(raster), generator=generator), torch.arange(len(raster)).view(-1, 15).flip(1)):
        one, other = torch.empty(2, 2, len(raster)), torch.empty(2, 2, len(raster))
        block.outputs(padded, raster, one)
        block.outputs(padded, raster[order.flatten()].contiguous(), other)

        assert torch.equal(one[..., order.flatten()], other)


@pytest.fixture
def load_anew() -> Iterator[None]:
    """What the environment says is read once per process, but for this test."""
    library.load.cache_clear()
    yield
    library.load.cache_clear()


@pytest.mark.usefixtures("load_anew")
@pytest.mark.parametrize("name", [*(build[1:] for build in BUILDS), "none"])
def test_the_environment_forces_a_build_or_torch_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    open_build = library.open_build

    def watched(build: str) -> ctypes.CDLL | None:
        opened.append(build)
        return open_build(build)

    monkeypatch.setattr(library, "open_build", watched)
    monkeypatch.setenv("QSWEEP_KERNEL", name)

    assert (kernel.load() is None) == (name == "none")
    assert opened == ([] if name == "none" else [f"_{name}"])


@pytest.mark.usefixtures("load_anew")
def test_a_build_that_does_not_exist_or_that_this_machine_cannot_run_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QSWEEP_KERNEL", "avx1024")
    with pytest.raises(ConfigError, match="QSWEEP_KERNEL: accepted: avx512, avx2, any, none; found 'avx1024'"):
        kernel.load()
    monkeypatch.setenv("QSWEEP_KERNEL", "avx512")
    monkeypatch.setattr(library, "builds", lambda: ["_avx2", "_any"])
    with pytest.raises(ReplicaError, match=r"QSWEEP_KERNEL=avx512: this machine cannot .* it can run: avx2, any"):
        kernel.load()
    monkeypatch.setattr(library, "builds", lambda: ["_avx512", "_avx2", "_any"])
    monkeypatch.setattr(library, "open_build", lambda _: None)
    with pytest.raises(ReplicaError, match="QSWEEP_KERNEL=avx512: there is no such build that can be used"):
        kernel.load()


def test_a_machine_without_the_kernel_measures_in_torch(
    smallest_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "open_build", lambda _: None)
    library.load.cache_clear()
    try:
        assert kernel.load() is None
        pairs = [smallest_case.choice(module).q_step for module in (ARM, SYNTHESIS)]
        for module, pair in zip((ARM, SYNTHESIS), pairs, strict=True):
            wanted = smallest_case.rows(module)[lambda rows: rows.chosen]
            measurer = Measurer(smallest_case.frame_encoder, smallest_case.frame, smallest_case.manager.lmbda)
            (row,) = measurer.measure(smallest_case.choices_before(module), module, [pair])
            assert row.loss == pytest.approx(wanted.loss.item(), rel=1e-6)
    finally:
        library.load.cache_clear()


# --- builds and the sources that they were made of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's folder, copied with its builds, in place of the one that is installed."""
    copy = tmp_path / "kernel"
    shutil.copytree(library.FOLDER, copy)
    monkeypatch.setattr(library, "FOLDER", copy)
    return copy


@pytest.mark.parametrize("name", ["lanes.h", "arm.c"])
def test_a_build_of_other_sources_is_never_called_and_is_named(
    folder: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    assert kernel.load() is not None
    assert kernel.refused() == []
    (folder / name).write_text((folder / name).read_text() + "\n/* the next version */\n")
    caplog.set_level(logging.WARNING)
    library.load.cache_clear()
    try:
        assert kernel.load() is None
    finally:
        library.load.cache_clear()
    names = [f"{build}." for build in BUILDS]
    assert len(caplog.messages) == len(kernel.refused()) == len(BUILDS)
    for build, message, refused in zip(names, caplog.messages, reversed(kernel.refused()), strict=True):
        assert f"{folder}/{build}" in message
        assert "was built from other C sources than those beside it" in message
        assert "scripts/setup" in refused
    assert {path.parent for path in kernel.stale_builds()} == {folder}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("content", [b"", b"no library", None])
def test_a_build_that_is_damaged_or_has_no_mark_is_refused(content: bytes | None) -> None:
    path = library.path_of("_any")
    assert path is not None
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)
    assert library.open_build("_any") is None


def test_a_build_without_a_function_is_refused(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    library.path_of("_any").unlink()  # type: ignore[union-attr]
    build_in(folder)
    assert library.open_build("_any") is None
    assert "qsweep_arm" in caplog.text


def test_a_build_of_other_sources_is_made_again_even_if_its_date_is_later(folder: Path) -> None:
    path = build_in(folder)
    assert sources.is_current(path, folder)
    unchanged = path.stat().st_mtime_ns
    assert build_in(folder).stat().st_mtime_ns == unchanged
    (folder / "lanes.h").write_text("/* another version, with an earlier date */")
    os.utime(folder / "lanes.h", (0, 0))
    assert not sources.is_current(path, folder)
    assert sources.is_current(build_in(folder), folder)


def test_builds_for_another_python_are_not_taken(folder: Path) -> None:
    path = library.path_of("_any")
    assert path is not None
    path.rename(folder / "_any.cpython-39-riscv64-linux-gnu.so")
    assert library.path_of("_any") is None


def build_in(folder: Path) -> Path:
    """Build an extension as setuptools does: of ``sources.c`` alone, which is quick."""
    setuptools: Any = pytest.importorskip("setuptools")
    extension = setuptools.Extension("_any", [str(folder / "sources.c")], depends=[str(folder / "lanes.h")])
    command_class = runpy.run_path(str(Path(sources.__file__).with_name("build.py")))["BuildKernel"]
    project = setuptools.Distribution({"ext_modules": [extension], "cmdclass": {"build_ext": command_class}})
    command = project.get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(folder), str(folder.parent / "temp")
    command.ensure_finalized()
    command.run()
    return Path(command.get_ext_fullpath("_any"))
