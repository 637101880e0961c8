"""An architecture, whatever its family, as plain data and as lines for people."""

from collections.abc import Mapping
from typing import Any

from workers.candidates import KINDS
from workers.codec.coolchic_parameter import CoolChicParameter
from workers.codec.encoder_parameter import EncoderParameter

FULL_PRECISION, SWEPT, REFINED = "full precision", "swept", "refined"
"""States of an encoder: its networks are in full precision, as a sweep left them, or have changed after it."""


def architecture_of(param: EncoderParameter) -> dict[str, Any]:
    """An architecture as plain data."""
    height, width = param.img_size
    return {
        "family": param.family.name,
        "release": param.release,
        "height": height,
        "width": width,
        "frame_data_type": param.frame_data_type,
        "bitdepth": param.bitdepth,
        "coolchics": {name: _coolchic(of_coolchic) for name, of_coolchic in param.coolchics.items()},
    }


def _coolchic(param: CoolChicParameter) -> dict[str, Any]:
    return {
        "grids": [
            {
                "height": height,
                "width": width,
                "features": grid.n_features,
                "hyperlatent": grid.hyperlatent,
                "rate_bit": None,
            }
            for grid, (height, width) in zip(param.grids, param.grid_sizes, strict=True)
        ],
        "contexts": param.spatial_context_arm,
        "ifce_features": param.output_feature_ifce,
        "n_hidden_layers_arm": param.n_hidden_layers_arm,
        "layers_synthesis": [str(layer) for layer in param.layers_synthesis],
        "linear_stabilisers": [
            module
            for module, there in (
                ("arm", param.linear_stabiliser_arm),
                ("synthesis", param.linear_stabiliser_synth),
            )
            if there
        ],
        "ups_k_size": param.ups_k_size,
        "ups_preconcat_k_size": param.ups_preconcat_k_size,
        "final_upsampling_type": param.final_upsampling_type if param.resolution_synthesis else None,
        "encoder_gain": param.encoder_gain,
        "noise_channels": sum(param.noise_channels),
    }


def network_row(
    network: str,
    n_parameters: int,
    steps: Mapping[Any, float] | None = None,
    counts: Mapping[Any, int] | None = None,
    rates: Mapping[Any, int | None] | None = None,
) -> dict[str, Any]:
    """One network as plain data; steps, counts and bits by kind where it is quantized.

    Args:
        network: its id.
        n_parameters: numbers in it.
        steps: of its quantization.
        counts: of its exp-Golomb codes.
        rates: its bits; ``None`` where a parameter cannot be sent.
    """
    of_kinds = {"q_step": steps, "expgol_cnt": counts, "rate_bit": rates}
    return {"network": network, "parameters": n_parameters} | {
        name: None if values is None else {kind: values[kind] for kind in KINDS}
        for name, values in of_kinds.items()
    }


def put_rates(found: dict[str, Any], coolchic: str, rates: tuple[float, ...]) -> None:
    """Put the bits of the latents of each grid of a cool-chic into what :func:`architecture_of` gave."""
    for grid, rate_bit in zip(found["coolchics"][coolchic]["grids"], rates, strict=True):
        grid["rate_bit"] = rate_bit


def architecture_lines(found: dict[str, Any]) -> list[str]:
    """What :func:`architecture_of` gave, as lines for people."""
    lines = [
        f"Cool-Chic {found['release']}, family {found['family']}",
        f"frame: {found['width']}×{found['height']} {found['frame_data_type']}, {found['bitdepth']} bits",
    ]
    for name, coolchic in found["coolchics"].items():
        lines += _lines_of(name, coolchic)
    return lines


def _lines_of(name: str, coolchic: dict[str, Any]) -> list[str]:
    grids = ", ".join(map(_grid, coolchic["grids"]))
    contexts = f"{coolchic['contexts']} contexts"
    if coolchic["ifce_features"]:
        contexts += f" and {coolchic['ifce_features']} features of IFCE"
    stabilisers = " and ".join(coolchic["linear_stabilisers"]) or "none"
    gain = "" if coolchic["encoder_gain"] is None else f"; gain {coolchic['encoder_gain']:g}"
    final = coolchic["final_upsampling_type"]
    lines = [
        f"{name}: grids {grids}{gain}",
        f"  arm: {contexts}, hidden layers: {coolchic['n_hidden_layers_arm']}; linear stabilisers: {stabilisers}",
        f"  synthesis: {', '.join(coolchic['layers_synthesis'])}",
        f"  upsampling: kernels of {coolchic['ups_k_size']} and {coolchic['ups_preconcat_k_size']}"
        + ("" if final is None else f", then {final}"),
    ]
    if coolchic["noise_channels"]:
        lines.append(f"  common randomness: {coolchic['noise_channels']} channels")
    return lines


def _grid(grid: dict[str, Any]) -> str:
    size = f"{grid['width']}×{grid['height']}"
    if grid["hyperlatent"]:
        return f"{size} (hyper)"
    return size if grid["features"] == 1 else f"{size} ({grid['features']} features)"
