"""From sums over the tiles to the loss."""

from dataclasses import dataclass

from workers.measure.cost import Sums
from workers.measure.target import Target


@dataclass(frozen=True)
class Account:
    """What the loss of a candidate is made of beside its sums over the tiles, which are the module's own part.

    Attributes:
        target: the original frame.
        bit_price: loss of a bit.
        chosen_bit: of the networks that choices have been made for.
        rate: bits of the latents, unless the sums give them.
        squared_errors: of the planes of the frame, unless the sums give them.
    """

    target: Target
    bit_price: float
    chosen_bit: int
    rate: float | None
    squared_errors: Sums | None

    def numbers(self, total: Sums) -> tuple[float, Sums]:
        """Bits of the latents and squared errors of the planes, for sums over the tiles."""
        rate = total[0] if self.rate is None else self.rate
        return rate, total if self.squared_errors is None else self.squared_errors

    def loss(self, total: Sums, rate_nn_bit: float) -> float:
        """The loss, for sums over the tiles; it never falls where the sums or the bits grow."""
        rate, errors = self.numbers(total)
        return self.target.distortion(errors) + self.bit_price * (rate + rate_nn_bit)
