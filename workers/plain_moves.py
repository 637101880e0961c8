"""Moves of integers, measured by the plain arithmetic: one forward pass each."""

from copy import deepcopy

from workers.candidates import KINDS, Choices, QStepPair
from workers.codec import Frame, FrameEncoder
from workers.codec.quantization import apply_choices, quantize
from workers.moves import Integers, NetworkMoves
from workers.reference import measure_choices


class PlainMoves:
    """See :class:`~workers.moves.MoveEvaluator`."""

    def __init__(self, frame_encoder: FrameEncoder, frame: Frame, lmbda: float) -> None:
        self._frame_encoder, self._frame, self._lmbda = frame_encoder, frame, lmbda

    def rounded(self, network: str, q_step: QStepPair) -> Integers | None:
        """Integers of a network, plainly rounded; ``None`` on an overflow."""
        (spec,) = (spec for spec in self._frame_encoder.networks if spec.id == network)
        parameters = self._frame_encoder.get_network_parameters(network)
        found = {}
        for kind, step in zip(KINDS, q_step, strict=True):
            for name in spec.names(kind):
                values = quantize(parameters[name], step)
                if values is None:
                    return None
                found[name] = [int(value) for value in values.flatten().tolist()]
        return found

    def open(self, network: str, q_step: QStepPair, integers: Integers, base: Choices) -> NetworkMoves:
        """Not needed."""
        raise NotImplementedError

    def loss(self, choices: Choices) -> float:
        """By one forward pass."""
        frame_encoder = deepcopy(self._frame_encoder)
        apply_choices(frame_encoder, choices)
        return measure_choices(frame_encoder, self._frame, self._lmbda, choices).loss
