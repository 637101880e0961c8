"""Families of frame encoders: what is fixed for all encoders of one format, as data."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from workers.candidates import Kind, network_id
from workers.codec.network import Effect, NetworkSpec
from workers.registry import Registry

if TYPE_CHECKING:
    from workers.codec.frame_encoder import FrameEncoder
    from workers.codec.parameter import FrameEncoderParameter


class ExpGolombRule(NamedTuple):
    """What a quantized parameter ``q`` costs with count ``k``, in bits.

    ``2⌊log2(scale · |q| / 2^k + 1)⌋ + k + constant + [q ≠ 0]``.
    """

    scale: int
    constant: int


class NetworkRule(NamedTuple):
    """What a family fixes for a network, whatever its size.

    Attributes:
        effect: what a change of it changes.
        steps: of the default grid, per kind.
        reads: modules, of the same cool-chic, whose output it takes.
        ignored: kinds whose values the forward pass never uses.
        optional: whether a cool-chic may be without it.
    """

    effect: Effect
    steps: Mapping[Kind, tuple[float, ...]]
    reads: tuple[str, ...] = ()
    ignored: frozenset[Kind] = frozenset()
    optional: bool = False


@dataclass(frozen=True)
class Family:
    """A family of frame encoders.

    Attributes:
        name: of its checkpoint format, such as ``coolchic-3.4``.
        exp_golomb: cost of its network parameters.
        networks: rules by module, in the order in which the networks of a cool-chic are swept.
        read_metadata: architecture of the metadata of a checkpoint; raises
            :class:`~workers.errors.CheckpointError`.
        assemble: a frame encoder of an architecture, its parameters still to be loaded.
        bitstream: whether a ``.qsw`` can hold its frame encoders.
    """

    name: str
    exp_golomb: ExpGolombRule
    networks: Mapping[str, NetworkRule]
    read_metadata: Callable[[Mapping[str, str]], "FrameEncoderParameter"]
    assemble: Callable[["FrameEncoderParameter"], "FrameEncoder"]
    bitstream: bool = False

    @property
    def required_modules(self) -> frozenset[str]:
        """Modules that every cool-chic has."""
        return frozenset(module for module, rule in self.networks.items() if not rule.optional)

    def specs(self, coolchic: str, tensors: Iterable[str], prefix: str = "") -> tuple[NetworkSpec, ...]:
        """Networks of one cool-chic, in the order of the sweep.

        Args:
            coolchic: its name.
            tensors: names of the tensors in a state dict, in order; those of no network are left out.
            prefix: what the names of this cool-chic's tensors begin with.

        Raises:
            ValueError: a tensor of a network is neither a weight nor a bias by its name.
        """
        names = [name.removeprefix(prefix) for name in tensors if name.startswith(prefix)]
        specs = []
        for module, rule in self.networks.items():
            own = [name.removeprefix(f"{module}.") for name in names if name.startswith(f"{module}.")]
            if not own and rule.optional:
                continue
            kinds = {name: _kind_of(name) for name in own}
            specs.append(
                NetworkSpec(
                    coolchic,
                    module,
                    f"{prefix}{module}",
                    rule.effect,
                    tuple(network_id(coolchic, other) for other in rule.reads),
                    tuple(name for name, kind in kinds.items() if kind == "weight"),
                    tuple(name for name, kind in kinds.items() if kind == "bias"),
                    rule.steps,
                    rule.ignored,
                )
            )
        return tuple(specs)


def _kind_of(name: str) -> Kind:
    """The formats call a parameter a weight, or a bias, by its name."""
    if ".weight" in f".{name}":
        return "weight"
    if ".bias" in f".{name}":
        return "bias"
    raise ValueError(f"a parameter's name contains .weight or .bias; found {name!r}")


FAMILIES: Registry[Family] = Registry("family", {"coolchic-3.4": "workers.codec.coolchic_3_4:COOLCHIC_3_4"})
"""Families by name; plugins add to them."""


def modules() -> list[str]:
    """Modules of all families."""
    return list(dict.fromkeys(module for name in FAMILIES for module in FAMILIES[name].networks))
