"""The plain refinement of integers after the sweep, in the manner and order of Cool-Chic 5.0.1.

The yardstick of refinement: slow on purpose, and never optimised. Steps and counts stay as they were chosen; the
integers move, one at a time, in a random order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.candidates import KINDS, Choice, Choices, Kind
from workers.codec import Frame, FrameEncoder, Planes, check_match
from workers.codec.coolchic import CoolChic, upsampled_latents, with_noise
from workers.codec.network import Effect, NetworkSpec
from workers.codec.quantization import apply_choices, quantize_network
from workers.codec.resize import resize
from workers.codec.upsampling import Upsampling
from workers.objective.loss import loss_function, mean_squared_error
from workers.objective.network_rate import exp_golomb_bit
from workers.plain import plain_arithmetic

_MAX_SHIFT = 15
"""Steps that an integer moves in one direction, at most."""

Score = Callable[[int], Tensor]
"""What is minimised, as the networks then are, with so many bits of the network that is refined."""


class ReferenceRdoq(NamedTuple):
    """Outcome of the plain refinement.

    Attributes:
        choices: of all networks, with their integers.
        loss: of the frame with them.
        scores: that were computed, per network.
    """

    choices: dict[str, Choice]
    loss: float
    scores: dict[str, int]


def reference_rdoq(
    frame_encoder: FrameEncoder, frame: Frame, lmbda: float, choices: Choices, seed: int
) -> ReferenceRdoq:
    """Refine the integers of a frame encoder's networks, in place, one network after the other.

    Args:
        frame_encoder: with all networks in full precision; comes back refined.
        frame: the frame it was fitted for.
        lmbda: weight of the rate.
        choices: of the sweep, for all networks.
        seed: of torch's own generator, which is set to it.

    Raises:
        MismatchError: the frame encoder was fitted for a frame of another size or format.
    """
    check_match(frame, frame_encoder)
    frame_encoder.eval()
    full_precision = {spec.id: frame_encoder.get_network_parameters(spec.id) for spec in frame_encoder.networks}
    apply_choices(frame_encoder, choices)
    torch.manual_seed(seed)
    refined, scores = dict(choices), {}
    with plain_arithmetic(frame_encoder.family.plain_threads):
        for spec in frame_encoder.networks:
            network = _Network(frame_encoder, frame, lmbda, refined, spec)
            for kind in KINDS:
                network.refine(kind)
            refined[spec.id] = network.choice(full_precision[spec.id])
            scores[spec.id] = network.scores
        rate_nn_bit = sum(choice.rate_bit for choice in refined.values())
        decoded, rate = frame_encoder()
        loss = loss_function(decoded, rate, frame.data, lmbda, rate_nn_bit).loss.item()
    return ReferenceRdoq(refined, loss, scores)


class _Network:
    """One network while it is refined."""

    def __init__(
        self, frame_encoder: FrameEncoder, frame: Frame, lmbda: float, choices: Choices, spec: NetworkSpec
    ) -> None:
        self._frame_encoder, self._spec = frame_encoder, spec
        self._choice = choices[spec.id]
        others_bit = sum(choice.rate_bit for name, choice in choices.items() if name != spec.id)
        self._score = _score(frame_encoder, frame, lmbda, others_bit, spec)
        self._parameters = dict(frame_encoder.network(spec.id).named_parameters())
        self.scores = 0

    def _integers(self, kind: Kind) -> Tensor:
        step = getattr(self._choice.q_step, kind)
        names = self._spec.names(kind)
        return torch.cat([self._parameters[name].reshape(-1) / step for name in names])

    def _bits(self, kind: Kind, integers: Tensor) -> int:
        (bits,) = exp_golomb_bit(
            integers, [getattr(self._choice.expgol_cnt, kind)], self._frame_encoder.family.exp_golomb
        )
        return bits

    def refine(self, kind: Kind) -> None:
        """Move every integer of one kind as far as the score falls."""
        integers, step = self._integers(kind), getattr(self._choice.q_step, kind)
        views = [self._parameters[name].data.view(-1) for name in self._spec.names(kind)]
        places = [(view, i) for view in views for i in range(view.numel())]
        (other,) = (self._bits(name, self._integers(name)) for name in KINDS if name != kind)

        def score() -> float:
            self.scores += 1
            return self._score(other + self._bits(kind, integers)).item()

        order = torch.randperm(len(places)).tolist()
        best = score()
        for index in order:
            view, i = places[index]
            start = best_value = integers[index].item()
            for sign in (-1, 1):
                for shift in range(1, _MAX_SHIFT + 1):
                    integers[index] = start + sign * shift
                    view[i] = integers[index] * step
                    found = score()
                    if not found < best:
                        break
                    best, best_value = found, integers[index].item()
            integers[index] = best_value
            view[i] = best_value * step

    def choice(self, full_precision: Mapping[str, Tensor]) -> Choice:
        """The choice with the integers as they are; none where they are the rounded ones."""
        weight, bias = (self._bits(kind, self._integers(kind)) for kind in KINDS)
        rounded = quantize_network(self._spec, full_precision, self._choice.q_step)
        integers = {}
        if rounded is None or any(not torch.equal(rounded[name], self._parameters[name]) for name in rounded):
            for kind in KINDS:
                step = getattr(self._choice.q_step, kind)
                for name in self._spec.names(kind):
                    integers[name] = (self._parameters[name].reshape(-1) / step).to(torch.int64).tolist()
        return Choice(self._spec.id, self._choice.q_step, self._choice.expgol_cnt, weight, bias, integers)


def _score(frame_encoder: FrameEncoder, frame: Frame, lmbda: float, others_bit: int, spec: NetworkSpec) -> Score:
    """What the network is refined for: of a picture, its latents' bits or its error alone."""
    height, width = frame.img_size
    coolchic = frame_encoder.coolchics[spec.coolchic]
    alone = len(frame_encoder.coolchics) == 1
    if spec.effect is Effect.RATE:
        latents = coolchic.decoder_side_latents()
        return lambda bits: coolchic.rate(latents).sum() + bits
    if alone and spec.reads:
        dense = _dense_in_training(coolchic)
        param = frame_encoder.param

        def error(bits: int) -> Tensor:
            image = resize(coolchic.synthesis(dense), height, width, coolchic.param.final_upsampling_type)
            planes = Planes.from_444(image, param.frame_data_type, param.family.chroma)
            decoded = planes.clamp().round(param.bitdepth)
            return mean_squared_error(decoded, frame.data) + lmbda * (bits / (height * width))

        return error
    rate = frame_encoder.rate(frame_encoder.decoder_side_latents())

    def loss(bits: int) -> Tensor:
        decoded = frame_encoder.decode(frame_encoder.decoder_side_latents())
        return loss_function(decoded, rate, frame.data, lmbda, others_bit + bits).loss

    return loss


def _dense_in_training(coolchic: CoolChic) -> Tensor:
    """Input of the synthesis, each separable filter of the upsampling applied as one 2-D kernel.

    Last digits differ from those of the evaluation; the refinement of Cool-Chic 5.0.1 stands on these.
    """
    latents = upsampled_latents(coolchic.decoder_side_latents(), coolchic.param)
    return with_noise(_upsampled_in_training(coolchic.upsampling, latents), coolchic.param)


def _upsampled_in_training(upsampling: Upsampling, latents: Sequence[Tensor]) -> Tensor:
    *larger, z = latents
    pairs = zip(upsampling.conv_transpose2ds, upsampling.conv2ds, strict=True)
    for target, (conv_transpose, conv) in zip(reversed(larger), pairs, strict=False):
        height, width = target.shape[-2:]
        kernel = cast(Tensor, conv_transpose.weight)
        k = len(kernel)
        pad, crop = k // 2, 2 * (k // 2) - 1 + k // 2
        x = F.pad(z.transpose(0, 1), (pad, pad, pad, pad), mode="replicate")
        u = F.conv_transpose2d(x, torch.outer(kernel, kernel)[None, None], stride=2)
        u = u[..., crop:-crop, crop:-crop].transpose(0, 1)[..., :height, :width]
        kernel = cast(Tensor, conv.weight)
        t = target.transpose(0, 1)
        f = F.conv2d(t, torch.outer(kernel, kernel)[None, None], padding=len(kernel) // 2) + t
        z = torch.cat([f.transpose(0, 1), u], dim=1)
    return z
