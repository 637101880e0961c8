"""What is in a ``.qsw`` file: as plain data, and as a frame encoder."""

import math
from typing import Any

import numpy as np
import torch

from workers.bitstream.assembly import assemble
from workers.bitstream.coding import check_accepted
from workers.bitstream.container import pack, unpack
from workers.bitstream.content import Bitstream
from workers.bitstream.latent_coder import decode_latents
from workers.candidates import KINDS
from workers.codec import FrameEncoder
from workers.codec.architecture import SWEPT, architecture_of, network_row
from workers.codec.latent_rates import MAX_LATENTS, put_latents
from workers.objective.network_rate import exp_golomb_bit


def describe_qsw(content: bytes, max_pixels: int) -> dict[str, Any]:
    """What a file holds, as plain data; the samples are not reconstructed.

    Bits of the grids are estimated, as those of a checkpoint.

    Raises:
        BitstreamError: it is no bitstream, truncated, altered, or larger than is accepted.
    """
    bitstream = unpack(content)
    again, sizes = pack(bitstream)
    networks = bitstream.networks
    check_accepted(networks.param, max_pixels)
    found = architecture_of(networks.param)
    if sum(h * w for part in networks.param.coolchics.values() for h, w in part.channel_sizes) <= MAX_LATENTS:
        put_latents(found, _assemble(bitstream))
    none = np.empty(0, np.int64)  # one grid alone is not upsampled
    rows = []
    for spec in networks.param.networks:
        coded = {kind: networks.quantization[spec.prefix, kind] for kind in KINDS}
        integers = {
            kind: np.concatenate([none, *(networks.integers[f"{spec.prefix}.{name}"].ravel() for name in names)])
            for kind, names in ((kind, spec.names(kind)) for kind in KINDS)
        }
        rates: dict[str, int | None] = {
            kind: exp_golomb_bit(
                torch.from_numpy(integers[kind]), [coded[kind].expgol_cnt], networks.param.family.exp_golomb
            )[0]
            for kind in KINDS
        }
        steps = {kind: 2.0 ** coded[kind].exponent for kind in KINDS}
        counts = {kind: coded[kind].expgol_cnt for kind in KINDS}
        rows.append(network_row(spec.id, sum(map(len, integers.values())), steps, counts, rates))
    return {
        "form": "qsw",
        **found,
        "lmbda": None,
        "state": SWEPT,
        "networks": rows,
        "header_bytes": sizes.header,
        "networks_bytes": sizes.networks,
        "latents_bytes": sizes.latents,
        "same_when_rewritten": again == content,
        "warnings": [],
    }


def read_encoder(content: bytes, max_pixels: int) -> FrameEncoder:
    """A frame encoder with the integers, steps and counts of a file.

    Raises:
        BitstreamError: it is no bitstream, truncated, altered, or larger than is accepted.
    """
    bitstream = unpack(content)
    check_accepted(bitstream.networks.param, max_pixels)
    return _assemble(bitstream)


def _assemble(bitstream: Bitstream) -> FrameEncoder:
    networks = bitstream.networks
    shapes = networks.param.tensor_shapes()
    ends = np.cumsum([math.prod(shape) for name, shape in shapes.items() if "latent_grids." in name])
    grids = np.split(decode_latents(bitstream.latents, networks), ends[:-1])
    return assemble(networks.param, grids, networks.integers, networks.quantization)
