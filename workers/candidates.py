"""Candidates of the sweep, what is measured of them, and the choices that are made: plain data, without torch.

Each has one definition and one serialised form, from the search over the call to a replica into files and tables.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from workers.psnr import psnr_db

ARITHMETIC = 1
"""Version of the arithmetic: raised when the same input may give other numbers or other choices."""

Status = Literal["ok", "overflow", "non_finite", "pruned"]

Arithmetic = Literal["staged", "plain"]
"""How a candidate was measured: by the engine, or by the arithmetic of the plain reference."""


Kind = Literal["weight", "bias"]

KINDS: tuple[Kind, ...] = ("weight", "bias")
"""The two kinds of parameters, each with a quantization step and an exp-Golomb count of its own."""


RESIDUE = "residue"
"""The cool-chic that every frame encoder has. Of a frame without references it is the picture."""


def network_id(coolchic: str, module: str) -> str:
    """Id of a network: ``<coolchic>.<module>``."""
    return f"{coolchic}.{module}"


def split_id(network: str) -> tuple[str, str]:
    """Cool-chic and module of a network's id."""
    coolchic, _, module = network.partition(".")
    return coolchic, module


class QStepPair(NamedTuple):
    """Quantization steps of one network: one for its weights, one for its biases."""

    weight: float
    bias: float


class Counts(NamedTuple):
    """Exp-Golomb counts of one network: one for its weights, one for its biases."""

    weight: int
    bias: int


@dataclass(frozen=True)
class Choice:
    """How a network is quantized for good: networks after it are measured with it in force.

    Attributes:
        network: id of the network.
        q_step: the winning pair.
        expgol_cnt: its counts.
        rate_weight_bit: bits of the quantized weights.
        rate_bias_bit: bits of the quantized biases.
        integers: the quantized parameters by name, where they are not simply the rounded ones; else empty.
    """

    network: str
    q_step: QStepPair
    expgol_cnt: Counts
    rate_weight_bit: int
    rate_bias_bit: int
    integers: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def rate_bit(self) -> int:
        """Bits of this network's parameters."""
        return self.rate_weight_bit + self.rate_bias_bit

    def to_json(self) -> dict[str, Any]:
        """The one serialised form, as plain data."""
        return {
            "network": self.network,
            "q_step": list(self.q_step),
            "expgol_cnt": list(self.expgol_cnt),
            "rate_bit": [self.rate_weight_bit, self.rate_bias_bit],
            "integers": {name: list(values) for name, values in self.integers.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Choice":
        """What :meth:`to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        weight, bias = content["rate_bit"]
        return cls(
            content["network"],
            QStepPair(*content["q_step"]),
            Counts(*content["expgol_cnt"]),
            weight,
            bias,
            dict(content["integers"]),
        )


Choices = Mapping[str, Choice]
"""Choices that have been made, by network."""


def by_network(choices: Iterable[Choice]) -> Choices:
    """Choices by their network."""
    return {choice.network: choice for choice in choices}


class Trial(NamedTuple):
    """What refining the integers of one network with one pair of steps came to.

    Attributes:
        network: its id.
        q_step: the pair.
        number: of the pass over the networks, from 0.
        expgol_cnt: counts at the end.
        loss_before: with the plainly rounded integers, infinite if they overflow.
        loss_after: with the refined ones.
        moves_screened: moves that were estimated on a part of the frame.
        moves_measured: moves that were measured exactly.
        moves_accepted: moves that were made.
        seconds: that it took.
        chosen: whether its integers are those of the network at the end of the pass.
    """

    network: str
    q_step: QStepPair
    number: int
    expgol_cnt: Counts
    loss_before: float
    loss_after: float
    moves_screened: int
    moves_measured: int
    moves_accepted: int
    seconds: float
    chosen: bool = False


class Candidate(NamedTuple):
    """One way to quantize a network, the networks before it as they were chosen.

    Attributes:
        network: its id.
        edit: what is tried: a pair of quantization steps.
    """

    network: str
    edit: QStepPair


class Measured(NamedTuple):
    """The numbers of a measurement whose status is ``ok``.

    Attributes:
        expgol_cnt: cheapest exp-Golomb counts.
        rate_weight_bit: bits of the network's weights.
        rate_bias_bit: bits of the network's biases.
        rate_nn_bit: bits of all networks quantized so far, this one included.
        rate_latent_bit: bits of all latents.
        mse: mean squared error of the decoded frame, samples in [0, 1].
        loss: ``distortion + lmbda · (rate_latent_bit + rate_nn_bit) / (H · W)``.
        distortion: of the decoded frame, by the metric of the sweep.
    """

    expgol_cnt: Counts
    rate_weight_bit: int
    rate_bias_bit: int
    rate_nn_bit: int
    rate_latent_bit: float
    mse: float
    loss: float
    distortion: float

    @property
    def psnr_db(self) -> float:
        """Peak signal-to-noise ratio, in dB."""
        return psnr_db(self.mse)


class Measurement(NamedTuple):
    """Outcome of one candidate.

    Attributes:
        candidate: what was tried.
        status: ``ok``; ``overflow`` if a parameter cannot be sent; ``non_finite`` if the loss is NaN, infinite,
            or not below the limit of the family; ``pruned`` if it was abandoned, since it cannot win.
        measured: the numbers, if the status is ``ok``.
        arithmetic: how it was measured.
        seconds: time of one core, or of the GPU, its share where candidates were measured together.
        loss_lower_bound: if the status is ``pruned``, the loss is not below this.
    """

    candidate: Candidate
    status: Status
    measured: Measured | None = None
    arithmetic: Arithmetic = "staged"
    seconds: float = 0.0
    loss_lower_bound: float | None = None

    @property
    def loss(self) -> float:
        """The loss, infinite for a candidate that can never win."""
        return math.inf if self.measured is None else self.measured.loss

    def choice(self) -> Choice:
        """The choice of this candidate for its network.

        Raises:
            ValueError: the candidate's status is not ``ok``.
        """
        if self.measured is None:
            network = self.candidate.network
            raise ValueError(f"{network}: a candidate with status {self.status!r} cannot be chosen")
        numbers = self.measured
        return Choice(*self.candidate, numbers.expgol_cnt, numbers.rate_weight_bit, numbers.rate_bias_bit)
