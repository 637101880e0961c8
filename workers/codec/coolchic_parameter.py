"""One cool-chic: the sizes of its grids and networks, and the tensors that follow from them."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from workers.codec.synthesis_layer import MAX_KERNEL, SynthesisLayer
from workers.errors import CheckpointError

if TYPE_CHECKING:
    from workers.codec.family import Family

FinalUpsampling = Literal["bicubic", "bilinear", "nearest"]

ARM, IFCE, SYNTHESIS, UPSAMPLING = "arm", "ifce", "synthesis", "upsampling"
"""Networks of a cool-chic, also what the names of their tensors begin with."""

MAX_SIDE = 1 << 16
"""Of a frame, in luma samples."""

_MAX_FEATURES = 64
_MAX_RESOLUTION = 15


class Grid(NamedTuple):
    """A latent grid, of ``ceil(H / 2^resolution) × ceil(W / 2^resolution)``.

    Attributes:
        resolution: 0 is the frame's own.
        hyperlatent: whether it is a context of other grids alone, and no input of the upsampling.
        n_features: channels; a grid may be empty.
    """

    resolution: int
    hyperlatent: bool = False
    n_features: int = 1


@dataclass(frozen=True)
class CoolChicParameter:
    """Sizes of one cool-chic; options that a family does not have keep their defaults.

    Attributes:
        family: whose conventions it follows.
        img_size: height and width of its output, in luma samples.
        layers_synthesis: convolutions of the synthesis, first to last.
        latent_resolution: finest and coarsest resolution of the latents.
        spatial_context_arm: number of causal neighbours of a latent.
        n_hidden_layers_arm: hidden layers of the arm; 0 for a linear one.
        hyperlatent_resolution: finest and coarsest resolution of the hyperlatents, if there are any.
        ifce_resolution: of the grids that have inter-feature contexts, finest and coarsest, if there are any.
        output_feature_ifce: inter-feature contexts of a latent, ``F``.
        linear_stabiliser_arm: whether a linear layer is added to the arm.
        linear_stabiliser_synth: whether a 1×1 convolution is added to the synthesis.
        output_transform: whether a 1×1 convolution ends the synthesis.
        n_ups_kernels: upsampling kernels of either kind; those beyond the steps are never used.
        ups_k_size: even size of the ×2 upsampling kernels.
        ups_preconcat_k_size: odd size of the filters before concatenation.
        encoder_gain: factor of the latents before they are rounded.
        final_upsampling_type: how the output is resized to ``img_size``, where the latents end at a coarser one.
        flag_common_randomness: whether the synthesis also takes fixed noise, a channel for each latent grid.
        n_outputs: channels of the output.
        n_ft_per_res: features of the latents of each resolution, the finest first; ``None`` for one each.
        n_ft_per_res_cr: channels of fixed noise of each resolution, from 0 on, that the synthesis also takes.
        ends_before_empty: whether the upsampling ends before the first grid without features, counted from the
            coarsest on; else it goes on to the finest grid.
    """

    family: "Family"
    img_size: tuple[int, int]
    layers_synthesis: tuple[SynthesisLayer, ...]
    latent_resolution: tuple[int, int]
    spatial_context_arm: int
    n_hidden_layers_arm: int
    hyperlatent_resolution: tuple[int, int] | None = None
    ifce_resolution: tuple[int, int] | None = None
    output_feature_ifce: int = 0
    linear_stabiliser_arm: bool = False
    linear_stabiliser_synth: bool = False
    output_transform: bool = False
    n_ups_kernels: int = 6
    ups_k_size: int = 8
    ups_preconcat_k_size: int = 7
    encoder_gain: float = 16
    final_upsampling_type: FinalUpsampling = "bicubic"
    flag_common_randomness: bool = False
    n_outputs: int = 3
    n_ft_per_res: tuple[int, ...] | None = None
    n_ft_per_res_cr: tuple[int, ...] = ()
    ends_before_empty: bool = False

    def __post_init__(self) -> None:
        ranges = [self.latent_resolution, self.hyperlatent_resolution, self.ifce_resolution]
        rules = {
            "img_size": (all(1 <= side <= MAX_SIDE for side in self.img_size), f"sides of 1 to {MAX_SIDE}"),
            "spatial_context_arm": (
                self.spatial_context_arm in self.family.contexts,
                f"one of {_listed(self.family.contexts)}",
            ),
            "n_hidden_layers_arm": (0 <= self.n_hidden_layers_arm <= 16, "0 to 16"),
            **{
                name: (given is None or 0 <= given[0] <= given[1] <= _MAX_RESOLUTION, f"0 to {_MAX_RESOLUTION}")
                for name, given in zip(
                    ("latent_resolution", "hyperlatent_resolution", "ifce_resolution"), ranges, strict=True
                )
            },
            "output_feature_ifce": (
                1 <= self.output_feature_ifce <= _MAX_FEATURES
                if self.ifce_resolution
                else self.output_feature_ifce == 0,
                f"1 to {_MAX_FEATURES}, or 0 without ifce_resolution",
            ),
            "ups_k_size": (
                4 <= self.ups_k_size <= MAX_KERNEL and self.ups_k_size % 2 == 0,
                f"even, 4 to {MAX_KERNEL}",
            ),
            "ups_preconcat_k_size": (
                1 <= self.ups_preconcat_k_size <= MAX_KERNEL and self.ups_preconcat_k_size % 2 == 1,
                f"odd, 1 to {MAX_KERNEL}",
            ),
            "encoder_gain": (0 < abs(self.encoder_gain) <= 1 << 16, f"a number other than 0, at most {1 << 16}"),
            "final_upsampling_type": (
                self.final_upsampling_type in get_args(FinalUpsampling),
                "bicubic, bilinear or nearest",
            ),
            "layers_synthesis": (bool(self.layers_synthesis), "at least one layer"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise CheckpointError(f"{name}: {rule}; found {getattr(self, name)!r}")
        if self.noise_channels and self.resolution_synthesis > 0:
            raise CheckpointError(
                "common randomness: the noise fits a synthesis at full resolution alone; found resolution "
                f"{self.resolution_synthesis}"
            )
        if not self.n_latents:
            raise CheckpointError("n_ft_per_res: some of the grids that are upsampled have features; found none")
        self._check_layers()
        self._check_ifce()

    def _check_layers(self) -> None:
        channels = self.n_inputs_synthesis
        for layer in self.layers_synthesis:
            if layer.residual and layer.out_channels != channels:
                raise CheckpointError(
                    f"layers_synthesis: a residual layer keeps its {channels} channels; found {str(layer)!r}"
                )
            channels = layer.out_channels
        if channels != self.n_outputs:
            raise CheckpointError(
                f"layers_synthesis: the last layer has {self.n_outputs} channels; found {channels}"
            )

    def _check_ifce(self) -> None:
        """The input of an IFCE is enlarged from resolution to resolution, so none may be missing."""
        for i in self.ifce_grids:
            resolutions = sorted({grid.resolution for grid in self.grids[i:]})
            if resolutions != list(range(resolutions[0], resolutions[-1] + 1)):
                raise CheckpointError(
                    f"ifce_resolution: grids of successive resolutions; found {resolutions} from grid {i} on"
                )

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """The grids, latents before hyperlatents of the same resolution."""
        ranges = [(self.latent_resolution, False)]
        if self.hyperlatent_resolution is not None:
            ranges.append((self.hyperlatent_resolution, True))
        found = [Grid(r, hyper) for (low, high), hyper in ranges for r in range(low, high + 1)]
        features = self.n_ft_per_res
        if features is not None:
            found = [Grid(grid.resolution, n_features=n) for grid, n in zip(found, features, strict=True)]
        return tuple(sorted(found))

    @cached_property
    def grid_sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each grid."""
        height, width = self.img_size
        return tuple((-(-height >> grid.resolution), -(-width >> grid.resolution)) for grid in self.grids)

    @property
    def channel_sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each channel of each grid."""
        grids = zip(self.grids, self.grid_sizes, strict=True)
        return tuple(size for grid, size in grids for _ in range(grid.n_features))

    @cached_property
    def resolution_synthesis(self) -> int:
        """Resolution at which the upsampling ends, and the synthesis is evaluated."""
        low, high = self.latent_resolution
        if not self.ends_before_empty:
            return low
        empty = [grid.resolution for grid in self.grids if grid.resolution < high and not grid.n_features]
        return max(empty, default=low - 1) + 1

    @cached_property
    def upsampled_grids(self) -> tuple[int, ...]:
        """Indices of the grids that the upsampling takes, the finest first."""
        return tuple(
            i
            for i, grid in enumerate(self.grids)
            if not grid.hyperlatent and grid.resolution >= self.resolution_synthesis
        )

    @property
    def n_latents(self) -> int:
        """Channels that come out of the upsampling."""
        return sum(self.grids[i].n_features for i in self.upsampled_grids)

    @property
    def noise_channels(self) -> tuple[int, ...]:
        """Channels of noise of each resolution, from 0 on."""
        return (1,) * len(self.upsampled_grids) if self.flag_common_randomness else self.n_ft_per_res_cr

    @property
    def dim_arm(self) -> int:
        """Numbers in the context of a latent, and width of the arm's hidden layers."""
        return self.spatial_context_arm + self.output_feature_ifce

    @property
    def n_inputs_synthesis(self) -> int:
        """Channels of the input of the synthesis."""
        return self.n_latents + sum(self.noise_channels)

    @cached_property
    def ifce_grids(self) -> tuple[int, ...]:
        """Indices of the grids that have an IFCE: heights alone decide."""
        if self.ifce_resolution is None:
            return ()
        low, high = self.ifce_resolution
        frame = self.img_size[0]
        # ceil(log2(frame / height)), in integers.
        scales = [((frame - 1) // height).bit_length() for height, _ in self.grid_sizes]
        return tuple(i for i, scale in enumerate(scales) if low <= scale <= high)

    def n_inputs_ifce(self, grid: int) -> int:
        """Channels of the input of a grid's IFCE: the grids after it, or one of zeros."""
        return max(len(self.grids) - 1 - grid, 1)

    @property
    def context_indices(self) -> tuple[int, ...]:
        """Flat indices, in a 9×9 window whose centre is 40, of a latent's causal neighbours, in order."""
        return self.family.contexts[self.spatial_context_arm]

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of its state dict."""
        shapes: dict[str, tuple[int, ...]] = {
            f"latent_grids.{i}": (1, grid.n_features, *size)
            for i, (grid, size) in enumerate(zip(self.grids, self.grid_sizes, strict=True))
        }

        def add(name: str, *shape: int) -> None:
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

        for j in range(self.n_hidden_layers_arm + 1):
            add(f"arm.mlp.{2 * j}", self.dim_arm if j < self.n_hidden_layers_arm else 2, self.dim_arm)
        if self.linear_stabiliser_arm:
            add("arm.stabiliser_branch", 2, self.dim_arm)
        for j, grid in enumerate(self.ifce_grids):
            add(f"ifce.arms.{j}.mlp.0", self.output_feature_ifce, self.n_inputs_ifce(grid))
        if self.output_transform:
            add("synthesis.output_transform", self.n_outputs, self.n_outputs, 1, 1)
        if self.linear_stabiliser_synth:
            add("synthesis.stabiliser_branch", self.n_outputs, self.n_latents, 1, 1)
        channels = self.n_inputs_synthesis
        for j, layer in enumerate(self.layers_synthesis):
            k = layer.kernel_size
            add(f"synthesis.{self.family.synthesis_layers}.{2 * j}", layer.out_channels, channels, k, k)
            channels = layer.out_channels
        for name, k_size in (("conv_transpose2ds", self.ups_k_size), ("conv2ds", self.ups_preconcat_k_size)):
            for j in range(self.n_ups_kernels):
                shapes[f"upsampling.{name}.{j}.parametrizations.weight.original"] = ((k_size + 1) // 2,)
                shapes[f"upsampling.{name}.{j}.bias"] = (1,)
        return shapes


def _listed(numbers: "object") -> str:
    given = sorted(numbers)  # type: ignore[call-overload]
    if given == list(range(given[0], given[-1] + 1)):
        return f"{given[0]} to {given[-1]}"
    return str(given)
