"""Families of frame encoders: what is fixed for all encoders of one format, as data."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from workers.candidates import Kind, network_id
from workers.codec.network import Effect, NetworkSpec
from workers.registry import Registry

if TYPE_CHECKING:
    from workers.codec.encoder_parameter import EncoderParameter, FrameDataType
    from workers.codec.frame_encoder import FrameEncoder


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
        linear: whether its output is linear in its parameters, and enters its reader by linear layers alone.
    """

    effect: Effect
    steps: Mapping[Kind, tuple[float, ...]]
    reads: tuple[str, ...] = ()
    ignored: frozenset[Kind] = frozenset()
    optional: bool = False
    linear: bool = False


class Chroma(Enum):
    """How chroma is sampled in yuv420."""

    EVEN = "even"
    """Every second row and column, the first ones included: ``ceil(H/2) × ceil(W/2)``."""

    MEAN = "mean"
    """Means of 2×2 samples: ``floor(H/2) × floor(W/2)``."""

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a chroma plane of a frame of so many luma samples."""
        more = 1 if self is Chroma.EVEN else 0
        return (height + more) // 2, (width + more) // 2


class Architecture(Protocol):
    """A published choice of the networks' sizes."""

    def parameter(
        self, img_size: tuple[int, int], frame_data_type: "FrameDataType", bitdepth: int, lmbda: float
    ) -> "EncoderParameter":
        """All sizes of a frame encoder for a frame and a weight of the rate."""


def _assemble(param: "EncoderParameter") -> "FrameEncoder":
    from workers.codec.frame_encoder import FrameEncoder  # loads torch

    return FrameEncoder(param)


@dataclass(frozen=True)
class Family:
    """A family of frame encoders.

    Attributes:
        name: of its checkpoint format, such as ``coolchic-3.4``.
        exp_golomb: cost of its network parameters.
        networks: rules by module, in the order in which the networks of a cool-chic are swept.
        contexts: per number of causal neighbours of a latent, their flat indices, in a 9×9 window whose centre is
            40, in the order in which the arm takes them.
        least_log_scale: of the Laplace distribution of a latent; smaller ones are clamped.
        synthesis_layers: name of the list of the synthesis' convolutions.
        prefixed: whether the names of tensors begin with that of their cool-chic.
        chroma: how it is sampled in yuv420.
        loss_limit: a loss of this size, or more, never wins.
        plain_threads: threads of torch that the tables of the reference were measured with: the last digits of sums
            depend on them.
        read_metadata: architecture of the metadata of a checkpoint; raises
            :class:`~workers.errors.CheckpointError`.
        assemble: a frame encoder of an architecture, its parameters still to be loaded.
        bitstream: whether a ``.qsw`` can hold its frame encoders.
        architectures: those that a frame can be fitted with, by name.
        untrained: what the names of tensors begin with, without that of the cool-chic, that a fit leaves as they
            start.
    """

    name: str
    exp_golomb: ExpGolombRule
    networks: Mapping[str, NetworkRule]
    contexts: Mapping[int, tuple[int, ...]]
    least_log_scale: float
    synthesis_layers: str
    prefixed: bool
    chroma: Chroma
    loss_limit: float
    plain_threads: int
    read_metadata: Callable[[Mapping[str, str]], "EncoderParameter"]
    assemble: Callable[["EncoderParameter"], "FrameEncoder"] = _assemble
    bitstream: bool = False
    architectures: Mapping[str, Architecture] = field(default_factory=dict)
    untrained: tuple[str, ...] = ()

    @property
    def required_modules(self) -> frozenset[str]:
        """Modules that every cool-chic has."""
        return frozenset(module for module, rule in self.networks.items() if not rule.optional)

    def __reduce__(self) -> tuple[Callable[[str], "Family"], tuple[str]]:
        """A family is sent to other processes by its name."""
        return family_named, (self.name,)

    def prefix(self, coolchic: str) -> str:
        """What the names of a cool-chic's tensors begin with."""
        return f"{coolchic}." if self.prefixed else ""

    def can_win(self, loss: float) -> bool:
        """Whether a loss is one that can be chosen; NaN is none."""
        return loss < self.loss_limit

    def specs(self, coolchic: str, tensors: Iterable[str]) -> tuple[NetworkSpec, ...]:
        """Networks of one cool-chic, in the order of the sweep.

        Args:
            coolchic: its name.
            tensors: names of the tensors in the frame encoder's state dict, in order; those of no network, and of
                other cool-chics, are left out.

        Raises:
            ValueError: a tensor of a network is neither a weight nor a bias by its name.
        """
        own: dict[str, list[str]] = {module: [] for module in self.networks}
        prefix = self.prefix(coolchic)
        for name in tensors:
            module, _, rest = name.removeprefix(prefix).partition(".")
            if name.startswith(prefix) and module in own:
                own[module].append(rest)
        present = {module: rule for module, rule in self.networks.items() if own[module] or not rule.optional}
        return tuple(
            NetworkSpec(
                coolchic,
                module,
                f"{prefix}{module}",
                rule.effect,
                tuple(network_id(coolchic, other) for other in rule.reads if other in present),
                tuple(name for name in own[module] if _kind_of(name) == "weight"),
                tuple(name for name in own[module] if _kind_of(name) == "bias"),
                rule.steps,
                rule.ignored,
                rule.linear,
            )
            for module, rule in present.items()
        )


def _kind_of(name: str) -> Kind:
    """The formats call a parameter a weight, or a bias, by its name."""
    if ".weight" in f".{name}":
        return "weight"
    if ".bias" in f".{name}":
        return "bias"
    raise ValueError(f"a parameter's name contains .weight or .bias; found {name!r}")


FAMILIES: Registry[Family] = Registry(
    "family",
    {
        "coolchic-3.4": "workers.codec.coolchic_3_4:COOLCHIC_3_4",
        "coolchic-5": "workers.codec.coolchic_5.family:COOLCHIC_5",
    },
)
"""Families by name; plugins add to them."""


def family_named(name: str) -> Family:
    """A family by its name.

    Raises:
        KeyError: there is none of this name.
    """
    return FAMILIES[name]


def modules() -> list[str]:
    """Modules of all families."""
    return list(dict.fromkeys(module for name in FAMILIES for module in FAMILIES[name].networks))
