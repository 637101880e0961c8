"""One row of the rate–distortion table: what a candidate pair of quantization steps gives."""

import math
from typing import Literal, NamedTuple

from workers.codec import psnr_db
from workers.quantize import Counts, QStepPair, Settled

Status = Literal["ok", "overflow", "non_finite", "pruned"]

Arithmetic = Literal["staged", "plain"]
"""How a row was measured: by the engine, or by the arithmetic of the plain reference."""


class Measured(NamedTuple):
    """The numbers of a row whose status is ``ok``.

    Attributes:
        expgol_cnt: cheapest exp-Golomb counts.
        rate_weight_bit: bits of the module's weights.
        rate_bias_bit: bits of the module's biases.
        rate_nn_bit: bits of the networks quantized so far, this module with them.
        rate_latent_bit: bits of all latents.
        mse: mean squared error of the decoded frame, samples in [0, 1].
        loss: ``mse + lmbda · (rate_latent_bit + rate_nn_bit) / (H · W)``.
    """

    expgol_cnt: Counts
    rate_weight_bit: int
    rate_bias_bit: int
    rate_nn_bit: int
    rate_latent_bit: float
    mse: float
    loss: float

    @property
    def psnr_db(self) -> float:
        """Peak signal-to-noise ratio, in dB."""
        return psnr_db(self.mse)


class RDRow(NamedTuple):
    """Outcome of one candidate.

    Attributes:
        module: the module that was quantized.
        q_step: the pair of steps it was quantized with.
        status: ``ok``; ``overflow`` if a parameter cannot be sent; ``non_finite`` if the loss is NaN or infinite;
            ``pruned`` if it was cut, for it cannot win.
        measured: the numbers, if the status is ``ok``.
        arithmetic: how it was measured.
        seconds: time of one core, or of the GPU, its share where candidates were measured together.
        loss_lower_bound: if the status is ``pruned``, what the loss would not have been less than.
    """

    module: str
    q_step: QStepPair
    status: Status
    measured: Measured | None = None
    arithmetic: Arithmetic = "staged"
    seconds: float = 0.0
    loss_lower_bound: float | None = None

    @property
    def loss(self) -> float:
        """The loss, infinite for a candidate that can never win."""
        return math.inf if self.measured is None else self.measured.loss

    def settle(self) -> Settled:
        """The choice of this candidate for its module.

        Raises:
            ValueError: the candidate's status is not ``ok``.
        """
        if self.measured is None:
            raise ValueError(f"{self.module}: a candidate with status {self.status!r} cannot be chosen")
        rate_bit = self.measured.rate_weight_bit + self.measured.rate_bias_bit
        return Settled(self.q_step, self.measured.expgol_cnt, rate_bit)
