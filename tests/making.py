"""Frame encoders and frames made of random numbers, for shapes that no real one has."""

from collections.abc import Iterable
from typing import Any

import torch

from workers.candidates import KINDS, Candidate, Choice, Counts, QStepPair
from workers.codec import Frame, FrameEncoder, FrameEncoderParameter, Planes, SynthesisLayer
from workers.objective.network_rate import network_rate
from workers.search import Request


def make_param(layers: str = "4-1-linear-relu,3-3-linear-none", **changes: Any) -> FrameEncoderParameter:
    """A small architecture; what matters to a test it says itself."""
    values: dict[str, Any] = {"img_size": (12, 17), "dim_arm": 8, "n_hidden_layers_arm": 1, "n_grids": 3} | changes
    values.setdefault("n_ft_per_res", (1,) * values.pop("n_grids"))
    layers_synthesis = tuple(SynthesisLayer.parse(text) for text in layers.split(","))
    return FrameEncoderParameter(layers_synthesis=layers_synthesis, **values)


def make_frame_encoder(layers: str = "4-1-linear-relu,3-3-linear-none", **changes: Any) -> FrameEncoder:
    """A frame encoder whose every parameter is random, and whose decoded frame fills [0, 1] and a bit more."""
    frame_encoder = FrameEncoder(make_param(layers, **changes)).eval()
    generator = torch.Generator().manual_seed(0)

    def normal(like: torch.Tensor, deviation: float) -> torch.Tensor:
        return deviation * torch.randn(like.shape, generator=generator)

    with torch.no_grad():
        for grid in frame_encoder.latent_grids:
            grid.copy_(normal(grid, 0.1))
        for parameter in frame_encoder.arm.parameters():
            parameter.copy_(normal(parameter, 0.2))
        for parameter in frame_encoder.upsampling.parameters():
            parameter.add_(normal(parameter, 0.02))
        for parameter in frame_encoder.synthesis.parameters():
            fan_in = parameter[0].numel()
            parameter.copy_(normal(parameter, 0.5 / fan_in**0.5 if parameter.ndim > 1 else 0.1))
        last = frame_encoder.synthesis.layers[-2]
        last.bias.add_(0.5)
    return frame_encoder


def make_choice(frame_encoder: FrameEncoder, network: str, pair: QStepPair) -> Choice:
    """A network's choice of some pair, with the cheapest counts."""
    (spec,) = (spec for spec in frame_encoder.networks if spec.id == network)
    parameters, rates = frame_encoder.get_network_parameters(network), []
    for kind, step in zip(KINDS, pair, strict=True):
        own = {name: parameters[name] for name in spec.names(kind)}
        rate = network_rate(own, step, frame_encoder.family.exp_golomb)
        assert rate is not None
        rates.append(rate)
    weight, bias = rates
    return Choice(network, pair, Counts(weight.expgol_cnt, bias.expgol_cnt), weight.rate_bit, bias.rate_bit)


def request(
    network: str, pairs: Iterable[QStepPair], choices: Iterable[Choice] = (), *, plain: bool = False
) -> Request:
    """A request for some pairs of one network."""
    return Request(tuple(Candidate(network, pair) for pair in pairs), tuple(choices), plain=plain)


def make_frame(frame_encoder: FrameEncoder, *, whole_samples: bool = True, noise: float = 0.03) -> Frame:
    """A frame that the frame encoder decodes to but for some noise, its samples those of its bit depth or any."""
    param = frame_encoder.param
    maximum = 2**param.bitdepth - 1
    generator = torch.Generator().manual_seed(1)
    planes = []
    with torch.no_grad():
        for plane in frame_encoder().decoded_image.tensors:
            noisy = (plane + noise * torch.randn(plane.shape, generator=generator)).clamp(0, 1)
            planes.append(torch.round(noisy * maximum) / maximum if whole_samples else noisy)
    return Frame(Planes(tuple(planes)), param.frame_data_type, param.bitdepth)
