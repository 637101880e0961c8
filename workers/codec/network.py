"""The networks of a frame encoder as data: their tensors, the steps they are quantized with, what they change.

Everything outside :mod:`workers.codec` learns of a network from its :class:`NetworkSpec`: the order of the sweep,
the rows of tables, the stages of the engine and the pages of the report follow from an ordered list of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from workers.candidates import Kind, network_id


class Effect(Enum):
    """What a change of a network's parameters changes, beside the network's own rate."""

    RATE = "rate"
    """The bits of the latents of its cool-chic."""

    PICTURE = "picture"
    """The decoded picture."""


@dataclass(frozen=True)
class NetworkSpec:
    """One network that is sent with a frame.

    Attributes:
        coolchic: the part of the frame encoder that it belongs to, such as ``residue``.
        module: its name there.
        prefix: what the names of its tensors begin with in a state dict, and its name in a checkpoint's metadata.
        effect: what a change of it changes.
        reads: ids of the networks whose output it takes.
        weights: names, without the prefix, of its tensors that are quantized with the weight step, in the order in
            which they are sent.
        biases: likewise with the bias step.
        steps: per kind, the quantization steps of the family's default grid, ascending.
        ignored: kinds whose values the forward pass never uses: they cost bits and change nothing else.
        linear: whether its output is linear in its parameters, and enters its reader by linear layers alone: then
            candidates that share their weights differ in the biases of the reader alone.
    """

    coolchic: str
    module: str
    prefix: str
    effect: Effect
    reads: tuple[str, ...]
    weights: tuple[str, ...]
    biases: tuple[str, ...]
    steps: Mapping[Kind, tuple[float, ...]]
    ignored: frozenset[Kind] = frozenset()
    linear: bool = False

    @property
    def id(self) -> str:
        """``<coolchic>.<module>``, unique within a frame encoder."""
        return network_id(self.coolchic, self.module)

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Names of the tensors of one kind."""
        return self.weights if kind == "weight" else self.biases


def last_networks(networks: Sequence[NetworkSpec]) -> list[NetworkSpec]:
    """Those that no other network reads: they give the rate of the latents, or the picture."""
    read = {name for spec in networks for name in spec.reads}
    return [spec for spec in networks if spec.id not in read]


def powers_of_two(lowest: int, highest: int) -> tuple[float, ...]:
    """``2^lowest … 2^highest``, ascending."""
    return tuple(math.ldexp(1.0, exponent) for exponent in range(lowest, highest + 1))
