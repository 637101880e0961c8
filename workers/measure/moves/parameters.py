"""The integers of a network as one vector per kind, and where each of them enters its computation."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from workers.candidates import KINDS, Choice, Kind, QStepPair
from workers.codec.network import NetworkSpec
from workers.codec.quantization import quantized_as_chosen
from workers.moves import Integers, Move

Doubles = dict[str, Tensor]
"""Parameters of a network by name, float64, multiples of their steps."""


class Layer(NamedTuple):
    """A linear layer of a network.

    Attributes:
        number: by which the kernel knows it.
        weight: name of its tensor of weights ``[out, in, …]``.
        bias: name of its biases ``[out]``.
    """

    number: int
    weight: str
    bias: str


class Place(NamedTuple):
    """Where one parameter enters a network.

    Attributes:
        layer: number of the layer.
        out: its output channel.
        input: its input channel; −1 for a bias.
        tap: place in the kernel, row-major.
    """

    layer: int
    out: int
    input: int
    tap: int


class Edit(NamedTuple):
    """What a change adds to a parameter.

    Attributes:
        name: of its tensor.
        offset: in the tensor.
        delta: what is added.
        place: where it enters; ``None`` for a parameter that is in no linear layer.
    """

    name: str
    offset: int
    delta: float
    place: Place | None


class Model(Protocol):
    """Computes costs of one network's parameters, the others as they are."""

    @property
    def cost(self) -> int:
        """With the parameters as they are."""

    def measure(self, moves: Sequence[Sequence[Edit]]) -> list[int]:
        """Cost after each of some moves."""

    def screen(self, moves: Sequence[Sequence[Edit]]) -> list[int]:
        """Estimated change of the cost by each of some moves."""

    def accept(self, move: Sequence[Edit]) -> None:
        """Make a move."""


def doubles(spec: NetworkSpec, integers: Integers, q_step: QStepPair, like: Mapping[str, Tensor]) -> Doubles:
    """Parameters of a network whose integers are these."""
    return {
        name: torch.tensor(list(integers[name]), dtype=torch.float64).view(like[name].shape) * step
        for kind, step in zip(KINDS, q_step, strict=True)
        for name in spec.names(kind)
    }


def doubles_as_chosen(spec: NetworkSpec, choice: Choice, like: Mapping[str, Tensor]) -> Doubles:
    """Parameters of a network as it was chosen, from those in full precision."""
    return {name: value.double() for name, value in quantized_as_chosen(spec, like, choice).items()}


def edited(parameters: Doubles, move: Sequence[Edit]) -> Doubles:
    """Parameters after a move; what it does not change is shared."""
    result = dict(parameters)
    for name in {edit.name for edit in move}:
        result[name] = parameters[name].clone()
    for edit in move:
        result[edit.name].view(-1)[edit.offset] += edit.delta
    return result


class MovingIntegers:
    """The integers of a network while they move, and what moves of them change.

    Args:
        spec: of the network.
        integers: that it begins with.
        q_step: its steps.
        like: its parameters, for their shapes.
        layers: its linear layers.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        integers: Integers,
        q_step: QStepPair,
        like: Mapping[str, Tensor],
        layers: Sequence[Layer],
    ) -> None:
        self._steps: dict[Kind, float] = dict(zip(KINDS, q_step, strict=True))
        self._values: dict[Kind, list[int]] = {}
        self._places: dict[Kind, list[tuple[str, int, Place | None]]] = {}
        by_name = {name: layer for layer in layers for name in (layer.weight, layer.bias)}
        for kind in KINDS:
            names = spec.names(kind)
            self._values[kind] = [int(value) for name in names for value in integers[name]]
            self._places[kind] = [
                (name, i, _place(by_name[name], like[name], i, kind) if name in by_name else None)
                for name in names
                for i in range(like[name].numel())
            ]

    def edits(self, move: Move) -> list[Edit]:
        """What a move adds to parameters."""
        found = []
        for change in move:
            name, offset, place = self._places[change.kind][change.index]
            difference = change.value - self._values[change.kind][change.index]
            found.append(Edit(name, offset, difference * self._steps[change.kind], place))
        return found

    def accept(self, move: Move) -> None:
        """Make a move."""
        for change in move:
            self._values[change.kind][change.index] = change.value


def _place(layer: Layer, like: Tensor, i: int, kind: Kind) -> Place:
    if kind == "bias":
        return Place(layer.number, i, -1, 0)
    n_out, n_in = like.shape[:2]
    taps = like.numel() // (n_out * n_in)
    return Place(layer.number, i // (n_in * taps), i // taps % n_in, i % taps)
