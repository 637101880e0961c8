"""Moves of the networks of one frame."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property

import torch

from workers.candidates import KINDS, RESIDUE, Choices, QStepPair
from workers.codec import Frame, FrameEncoder, check_match
from workers.codec.family import ExpGolombRule
from workers.codec.network import Effect, NetworkSpec
from workers.codec.quantization import apply_choices, quantize_network
from workers.measure.moves.filters import Filters, PlainFilters
from workers.measure.moves.fixed_point import MOST_IN_SUM, PICTURE_UNIT, RATE_UNIT
from workers.measure.moves.kernel.filters import FilterKernel
from workers.measure.moves.kernel.library import load
from workers.measure.moves.kernel.picture import PictureKernel, supports
from workers.measure.moves.kernel.rate import RateKernel
from workers.measure.moves.parameters import Doubles, Layer, Model, MovingIntegers, doubles, doubles_as_chosen
from workers.measure.moves.picture_layers import PictureLayers
from workers.measure.moves.picture_source import PictureSource
from workers.measure.moves.plain_picture import PlainPicture
from workers.measure.moves.plain_rate import PlainRate
from workers.measure.moves.rate_layers import RateLayers, RateParameters
from workers.measure.moves.rate_source import RateSource
from workers.measure.moves.upsampled import UpsamplingMoves
from workers.moves import Integers, Move
from workers.objective.loss import loss_function
from workers.plain import plain_arithmetic


def refinable(frame_encoder: FrameEncoder) -> str | None:
    """Why moves of a frame encoder cannot be measured; ``None`` if they can."""
    if list(frame_encoder.coolchics) != [RESIDUE]:
        return "only frames of one cool-chic can be refined"
    return None


class FrameMoves:
    """Measures moves for one frame: a :class:`workers.moves.MoveEvaluator`.

    Args:
        frame_encoder: with its networks in full precision; it is not modified.
        frame: the frame it was fitted for.
        lmbda: weight of the rate.
        compiled: whether to use the compiled kernel, if there is one; costs do not depend on it.

    Raises:
        MismatchError: the frame encoder was fitted for a frame of another size or format.
        ValueError: its moves cannot be measured; see :func:`refinable`.
    """

    def __init__(self, frame_encoder: FrameEncoder, frame: Frame, lmbda: float, *, compiled: bool = True) -> None:
        check_match(frame, frame_encoder)
        if reason := refinable(frame_encoder):
            raise ValueError(reason)
        self._frame_encoder, self._frame, self._lmbda = frame_encoder, frame, lmbda
        self._library = load() if compiled else None
        self._filters: Filters = PlainFilters() if self._library is None else FilterKernel(self._library)
        self._coolchic = frame_encoder.coolchics[RESIDUE]
        self._specs = {spec.id: spec for spec in frame_encoder.networks}
        self._full_precision = {name: frame_encoder.get_network_parameters(name) for name in self._specs}

    @property
    def exp_golomb(self) -> ExpGolombRule:
        """What an integer costs."""
        return self._frame_encoder.family.exp_golomb

    def rounded(self, network: str, q_step: QStepPair) -> Integers | None:
        """Integers of a network, plainly rounded; ``None`` if they overflow, or cannot be summed up exactly."""
        spec, parameters = self._specs[network], self._full_precision[network]
        if not all(value.isfinite().all() for value in parameters.values()):
            return None
        quantized = quantize_network(spec, parameters, q_step)
        if quantized is None:
            return None
        most = MOST_IN_SUM[RATE_UNIT if spec.effect is Effect.RATE else PICTURE_UNIT]
        sums = (value.double().abs().flatten(1).sum(1).max() for value in quantized.values() if value.ndim > 1)
        if max(map(float, sums), default=0.0) > most * q_step.weight:
            return None
        return {
            name: (quantized[name].reshape(-1) / step).to(torch.int64).tolist()
            for kind, step in zip(KINDS, q_step, strict=True)
            for name in spec.names(kind)
        }

    def open(self, network: str, q_step: QStepPair, integers: Integers, base: Choices) -> "NetworkMovesOfFrame":
        """Moves of a network; see :class:`workers.moves.MoveEvaluator`."""
        spec = self._specs[network]
        like = self._full_precision[network]
        with torch.inference_mode():
            own = doubles(spec, integers, q_step, like)
            if spec.effect is Effect.RATE:
                model, layers, unit = self._rate(spec, own, base)
            else:
                model, layers, unit = self._picture(spec, own, base)
        return NetworkMovesOfFrame(model, MovingIntegers(spec, integers, q_step, like, layers), unit)

    def loss(self, choices: Choices) -> float:
        """Loss of the frame by the plain arithmetic."""
        frame_encoder = deepcopy(self._frame_encoder)
        apply_choices(frame_encoder, choices)
        rate_nn_bit = sum(choice.rate_bit for choice in choices.values())
        with plain_arithmetic(frame_encoder.family.plain_threads):
            decoded, rate = frame_encoder()
            return loss_function(decoded, rate, self._frame.data, self._lmbda, rate_nn_bit).loss.item()

    # --- models

    def _chosen(self, network: str, base: Choices) -> Doubles:
        return doubles_as_chosen(self._specs[network], base[network], self._full_precision[network])

    def _rate(self, spec: NetworkSpec, own: Doubles, base: Choices) -> tuple[Model, list[Layer], float]:
        layers = RateLayers.of(self._coolchic)
        of_features = not spec.reads and any(spec.id in other.reads for other in self._specs.values())
        if of_features:
            (reader,) = (other for other in self._specs.values() if spec.id in other.reads)
            parameters = RateParameters(self._chosen(reader.id, base), own)
            moving = list(layers.features)
        else:
            features = self._chosen(spec.reads[0], base) if spec.reads else {}
            parameters = RateParameters(own, features)
            moving = [layer for layer in (*layers.module, layers.stabiliser) if layer is not None]
        model: Model
        if self._library is None:
            model = PlainRate(self._rate_source, layers, parameters, of_features=of_features)
        else:
            model = RateKernel(self._library, self._rate_source, layers, parameters, of_features=of_features)
        height, width = self._frame.img_size
        return model, moving, self._lmbda / (height * width) * RATE_UNIT

    def _picture(self, spec: NetworkSpec, own: Doubles, base: Choices) -> tuple[Model, list[Layer], float]:
        layers, source = PictureLayers.of(self._coolchic), self._picture_source
        of_input = not spec.reads
        if of_input:
            (reader,) = (other for other in self._specs.values() if spec.id in other.reads)
            parameters, halves = self._chosen(reader.id, base), own
        else:
            parameters, halves = own, self._chosen(spec.reads[0], base)
        dense = source.dense(halves, self._filters)
        picture: PictureKernel | PlainPicture
        if self._library is not None and supports(layers):
            picture = PictureKernel(self._library, source, layers, parameters, dense)
        else:
            picture = PlainPicture(source, layers, parameters, dense)
        if of_input:
            return UpsamplingMoves(source, picture, halves, self._filters), [], source.unit
        return picture, layers.all, source.unit

    @cached_property
    def _rate_source(self) -> RateSource:
        return RateSource(self._coolchic)

    @cached_property
    def _picture_source(self) -> PictureSource:
        return PictureSource(self._frame_encoder, self._frame)


class NetworkMovesOfFrame:
    """Moves of one network of one frame: a :class:`workers.moves.NetworkMoves`.

    Args:
        model: computes costs.
        integers: of the network.
        unit: what one unit of cost is worth in the loss.
    """

    def __init__(self, model: Model, integers: MovingIntegers, unit: float) -> None:
        self._model, self._integers = model, integers
        self.unit = unit

    @property
    def cost(self) -> int:
        """Bits of the latents, or squared error of the frame, in units."""
        return self._model.cost

    def measure(self, moves: Sequence[Move]) -> list[int]:
        """Cost after each of some moves, each by itself."""
        with torch.inference_mode():
            return self._model.measure([self._integers.edits(move) for move in moves])

    def screen(self, moves: Sequence[Move]) -> list[int]:
        """Estimated change of the cost by each of some moves, from a fixed part of the frame."""
        with torch.inference_mode():
            return self._model.screen([self._integers.edits(move) for move in moves])

    def accept(self, move: Move) -> None:
        """Make a move."""
        with torch.inference_mode():
            self._model.accept(self._integers.edits(move))
        self._integers.accept(move)
