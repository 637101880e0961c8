"""What is in a ``.cool`` file, for people."""

from collections.abc import Iterator

from workers.bitstream.cool.coding import CoolPicture, part_bits, read_cool, write_cool
from workers.bitstream.cool.file import CoolFile, parse_cool
from workers.bitstream.cool.order import ARM, SYNTHESIS
from workers.bitstream.limits import MAX_PIXELS
from workers.candidates import KINDS
from workers.codec.coolchic_parameter import CoolChicParameter


def describe_cool(content: bytes, max_pixels: int = MAX_PIXELS) -> list[str]:
    """Lines that say what a file holds: headers, architecture, bytes of each part, and checks.

    Of several frames, the sizes of their parts alone.

    Args:
        content: the file; it may be anything.
        max_pixels: luma samples of the largest frame whose latents are decoded.

    Raises:
        BitstreamError: it is no such file, truncated, altered, or larger than is accepted.
    """
    parsed = parse_cool(content)
    title = _title(parsed, content)
    if len(parsed.frames) > 1:
        return [title, *_frames(parsed)]
    picture = read_cool(content, max_pixels=max_pixels)
    return [title, *_architecture(picture.architecture), *_parts(picture, content)]


def _title(file: CoolFile, content: bytes) -> str:
    height, width = file.img_size
    header = file.frames[0].header
    n = len(file.frames)
    what = "picture" if n == 1 else f"video of {n} frames"
    bpp = 8 * len(content) / (height * width * n)
    return (
        f"Cool-Chic 5 {what}, {width}×{height}, {header.frame_data_type} of {header.bitdepth} bits; "
        f"{len(content)} bytes, {bpp:.4f} bpp"
    )


def _frames(file: CoolFile) -> Iterator[str]:
    """A line for each cool-chic of each frame, in coding order."""
    for frame in file.frames:
        place = frame.header.place
        of = f" of {', '.join(map(str, place.references))}" if place.references else ""
        for part in frame.coolchics.values():
            yield f"  {place.frame_type}{of}, {part.name}: {len(part.parameters)} + {len(part.latents)} bytes"


def _architecture(a: CoolChicParameter) -> Iterator[str]:
    ifce = "none" if a.ifce_resolution is None else f"{a.output_feature_ifce} features, {_range(a.ifce_resolution)}"
    hyper = "none" if a.hyperlatent_resolution is None else _range(a.hyperlatent_resolution)
    stabilisers = {ARM: a.linear_stabiliser_arm, SYNTHESIS: a.linear_stabiliser_synth}
    stabilised = ", ".join(name for name, there in stabilisers.items() if there) or "none"
    noise = "common randomness" if a.flag_common_randomness else "no common randomness"
    yield f"  latents      resolutions {_range(a.latent_resolution)}, hyperlatents {hyper}"
    yield f"  arm          {a.spatial_context_arm} contexts, {a.n_hidden_layers_arm} hidden layers; IFCE: {ifce}"
    yield f"  upsampling   kernels of {a.ups_k_size} and {a.ups_preconcat_k_size}, then {a.final_upsampling_type}"
    yield f"  synthesis    {','.join(map(str, a.layers_synthesis))}"
    yield f"  stabilisers  {stabilised}; {noise}"


def _range(resolutions: tuple[int, int]) -> str:
    return f"{resolutions[0]}–{resolutions[1]}"


def _parts(picture: CoolPicture, content: bytes) -> Iterator[str]:
    """Bytes of the header, the networks and each grid; and what was checked."""
    again, sizes = write_cool(picture)
    of_parameters, of_latents = part_bits(picture)
    yield f"  header       {sizes.header:8d} bytes"
    yield f"  networks     {sizes.networks:8d}"
    for module in dict.fromkeys(module for module, _ in of_parameters):
        codings = [picture.codings[module, kind] for kind in KINDS]
        bits = sum(of_parameters[module, kind] for kind in KINDS)
        steps = ", ".join(f"2^{coding.exponent}" for coding in codings)
        counts = ", ".join(str(coding.expgol_cnt) for coding in codings)
        yield f"    {module:10s} {bits / 8:8.0f}   steps {steps}; counts {counts}"
    yield f"  latents      {sizes.latents:8d}"
    grids = zip(picture.architecture.grids, picture.architecture.grid_sizes, of_latents, strict=True)
    for grid, (height, width), of_grid in grids:
        name = f"{grid.resolution}{' hyper' if grid.hyperlatent else ''}"
        yield f"    {name:10s} {of_grid / 8:8.0f}   {width}×{height}"
    same = "the same bytes" if again == content else "other bytes: its headers are longer than they need be"
    yield f"  written again, it gives {same}"
