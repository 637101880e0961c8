"""The bits of a cool-chic's latents, kept for as long as candidates do not change them."""

from collections.abc import Callable, Sequence

from torch import Tensor

from workers.codec import CoolChicParameter
from workers.measure.arm_rate import ArmRate
from workers.measure.cost import Cost, Parameters
from workers.measure.latent_tiles import LatentTile
from workers.measure.parallel import Threads
from workers.measure.plan import Output

ParametersOf = Callable[[str], Parameters]
"""Parameters of a network, by its id, as they are in force."""


class RateStage:
    """Gives what an output adds up whose last network is an arm.

    Args:
        output: of the plan.
        param: of the cool-chic.
        latents: decoder-side latents, ``[1, n_i, H_i, W_i]`` each.
        tile: latents that are evaluated together, at most.
        compiled: whether to use the compiled kernel, if there is one.
    """

    def __init__(
        self, output: Output, param: CoolChicParameter, latents: Sequence[Tensor], tile: int, *, compiled: bool
    ) -> None:
        self._arm = output.network.id
        self._ifce = next((spec.id for spec in output.upstream), None)
        self._rate = ArmRate(latents, param, tile, compiled=compiled)
        self._ordered: tuple[ArmRate, list[float]] | None = None

    @property
    def tiles(self) -> Sequence[LatentTile]:
        """Of the cost, in its first order."""
        return self._rate.tiles

    def cost(self, network: str, parameters: ParametersOf) -> Cost[LatentTile]:
        """Bits of the latents for candidates of one of the networks."""
        return self._of(self._rate, network, parameters)

    def contest(
        self, network: str, parameters: ParametersOf, full_precision: ParametersOf, threads: Threads
    ) -> tuple[Cost[LatentTile], list[float]]:
        """The same, those latents first that cost most in full precision.

        Returns:
            The cost; and what each tile adds in full precision.
        """
        if self._ordered is None:
            rate = self._behind(self._rate, full_precision)
            bits = rate.bits(full_precision(self._arm))
            self._ordered = rate.heaviest_first(threads.map(bits, rate.tiles, parallel=rate.parallel))
        ordered, expected = self._ordered
        return self._of(ordered, network, parameters), expected

    def _of(self, rate: ArmRate, network: str, parameters: ParametersOf) -> Cost[LatentTile]:
        if network == self._arm:
            return self._behind(rate, parameters)
        return _IfceRate(rate, parameters(self._arm))

    def _behind(self, rate: ArmRate, parameters: ParametersOf) -> ArmRate:
        return rate.behind(None if self._ifce is None else parameters(self._ifce))


class _IfceRate:
    """Bits of the latents for candidates of the IFCE, before one arm; see :class:`~workers.measure.cost.Cost`."""

    def __init__(self, rate: ArmRate, arm: Parameters) -> None:
        self._rate = rate
        self._arm = arm
        self.tiles, self.poll, self.parallel = rate.tiles, rate.poll, rate.parallel

    def evaluator(self, candidates: Sequence[Parameters]) -> Callable[[LatentTile], Tensor]:
        return self._rate.evaluator_of_ifce(candidates, self._arm)
