"""From a sum over the tiles to the loss."""

from dataclasses import dataclass

from workers.measure.target import Target


@dataclass(frozen=True)
class Account:
    """What the loss of a candidate is made of beside its sum over the tiles, which is the module's own part.

    Attributes:
        target: the original frame.
        bit_price: loss of a bit.
        chosen_bit: of the networks that choices have been made for.
        rate: bits of the latents, unless the sum gives them.
        squared_error: of the frame, unless the sum gives it.
    """

    target: Target
    bit_price: float
    chosen_bit: int
    rate: float | None
    squared_error: float | None

    def numbers(self, total: float) -> tuple[float, float]:
        """Bits of the latents and mean squared error, for a sum over the tiles."""
        rate = total if self.rate is None else self.rate
        error = total if self.squared_error is None else self.squared_error
        return rate, self.target.mean_squared_error(error)

    def loss(self, total: float, rate_nn_bit: float) -> float:
        """The loss, for a sum over the tiles; it never falls where the sum or the bits grow."""
        rate, mse = self.numbers(total)
        return mse + self.bit_price * (rate + rate_nn_bit)
