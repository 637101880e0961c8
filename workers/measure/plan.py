"""What a candidate invalidates, computed from the networks' specs: which sums change, and which are constant."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from workers.codec.network import Effect, NetworkSpec, last_networks


class Output(NamedTuple):
    """A sum over the tiles of a frame: bits of latents, or squared error of the picture.

    Attributes:
        network: the last network that it depends on: many candidates of it are evaluated at a time.
        upstream: the networks whose output that one reads, directly or through others. A candidate of these changes
            its input, so each is evaluated with an input of its own.
    """

    network: NetworkSpec
    upstream: tuple[NetworkSpec, ...]

    def together(self, network: str) -> bool:
        """Whether candidates of one of its networks are evaluated together, as far as they share their weights."""
        return network == self.network.id or any(spec.id == network and spec.linear for spec in self.upstream)

    @property
    def effect(self) -> Effect:
        """Whether it is the rate or the picture."""
        return self.network.effect


class Plan:
    """The outputs of a frame encoder, and which of them each network changes.

    Args:
        networks: of the frame encoder.

    Attributes:
        outputs: all of them.

    Raises:
        ValueError: networks that read each other do not change the same thing.
    """

    def __init__(self, networks: Sequence[NetworkSpec]) -> None:
        by_id = {spec.id: spec for spec in networks}
        self.outputs = tuple(Output(spec, tuple(_upstream(spec, by_id))) for spec in last_networks(networks))
        self._of: dict[str, Output] = {}
        for output in self.outputs:
            for spec in (output.network, *output.upstream):
                if spec.effect is not output.effect:
                    reader = output.network.id
                    raise ValueError(f"{spec.id} is read by {reader}, but changes the {spec.effect.value}")
                self._of[spec.id] = output

    def output_of(self, network: str) -> Output:
        """The output that a network changes."""
        return self._of[network]

    def unchanged_by(self, network: str) -> list[Output]:
        """The outputs that a network does not change."""
        return [output for output in self.outputs if output is not self._of[network]]


def _upstream(spec: NetworkSpec, by_id: dict[str, NetworkSpec]) -> Iterator[NetworkSpec]:
    for name in spec.reads:
        yield by_id[name]
        yield from _upstream(by_id[name], by_id)
