"""Recipes: how long, how fast and with which quantizer a frame encoder is trained. Pure data."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

Schedule = tuple[float, float]
"""A value at the start of a phase, and the one it approaches at its end."""

TrainingQuantizer = Literal["softround", "ste", "hardround"]
"""What replaces rounding in training: soft rounding twice with noise between; hard rounding with the derivative of
soft rounding (straight-through estimation); or hard rounding, whose derivative is 0."""

Noise = Literal["gaussian", "kumaraswamy"]
"""Distribution of the noise between two soft roundings."""

TRAINABLE = ("latents", "networks")
"""The parts of a frame encoder that a phase may train."""

FINAL_LR = 1e-5
"""Learning rate at the end of every published phase."""


@dataclass(frozen=True)
class Adam:
    """Adam for everything that is trained.

    Attributes:
        betas: decay rates of the moments. With a second one of 0.999, its usual value, steps are still set by the
            gradients of a thousand iterations before, and fits of a few thousand iterations end at losses a few
            percent higher.
        max_norm: gradients are scaled down to this norm, taken over all parts of :attr:`clipped`.
        clipped: parts whose gradients are.
    """

    betas: tuple[float, float] = (0.9, 0.99)
    max_norm: float = 0.1
    clipped: tuple[str, ...] = TRAINABLE


@dataclass(frozen=True)
class Soap:
    """SOAP for the networks, Adam's steps for the latents (Cool-Chic 5.0.1).

    Attributes:
        network_betas: decay rates of the networks' moments, the second one that of their preconditioners as well.
        latent_betas: decay rates of the latents' moments.
        frequency: steps from one change of the preconditioners' bases to the next.
        weight_decay: of the networks.
        max_norm: see :class:`Adam`.
        clipped: see :class:`Adam`.
    """

    network_betas: tuple[float, float] = (0.95, 0.95)
    latent_betas: tuple[float, float] = (0.9, 0.999)
    frequency: int = 10
    weight_decay: float = 0.01
    max_norm: float = 0.1
    clipped: tuple[str, ...] = ("networks",)


OptimizerRule = Adam | Soap


def _require(holds: bool, rule: str, found: object) -> None:
    if not holds:
        raise ValueError(f"{rule}; found {found!r}")


def _within(values: Schedule, above: float | None = None) -> bool:
    return all(math.isfinite(v) and (v >= 0 if above is None else v > above) for v in values)


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one optimizer.

    Attributes:
        iterations: gradient steps.
        lr: learning rate, annealed from the first value to the second by half a cosine.
        quantizer: what replaces rounding.
        temperature: of the soft rounding, linear in the iterations.
        noise: of the noise between two soft roundings, likewise, its standard deviation, or the parameter of its
            distribution if that is ``kumaraswamy``; hard rounding has none.
        noise_kind: distribution of the noise.
        optimizer: what makes steps of gradients.
        validate_every: iterations between validations. The best parameters seen at one are kept, and learning
            rate, temperature and noise change there and only there.
        patience: iterations without a better loss after which the best parameters are reloaded, the optimizer's
            state with them; ``None`` for never.
        stops: whether the phase ends when patience is lost, in place of going on from the best.
        trained: the parts that are trained, of :data:`TRAINABLE`; the others stay as they are.
        network_rate: weight of the networks' own bits in the loss, by a smooth estimate of them; 1 for that of the
            latents' bits.
        compiled: whether the compiled kernel may be used: it is faster, and its last digits are others.

    Raises:
        ValueError: a value breaks the rule that the message names.
    """

    iterations: int
    lr: Schedule
    quantizer: TrainingQuantizer
    temperature: Schedule
    noise: Schedule = (0.0, 0.0)
    noise_kind: Noise = "gaussian"
    optimizer: OptimizerRule = Adam()
    validate_every: int = 100
    patience: int | None = None
    stops: bool = False
    trained: tuple[str, ...] = TRAINABLE
    network_rate: float = 0.0
    compiled: bool = False

    def __post_init__(self) -> None:
        _require(self.iterations >= 1, "iterations: at least 1", self.iterations)
        _require(_within(self.lr), "lr: finite and not negative", self.lr)
        _require(
            self.quantizer in get_args(TrainingQuantizer),
            f"quantizer: one of {get_args(TrainingQuantizer)}",
            self.quantizer,
        )
        _require(_within(self.temperature, above=0), "temperature: finite and above 0", self.temperature)
        _require(_within(self.noise), "noise: finite and not negative", self.noise)
        _require(self.noise_kind in get_args(Noise), f"noise_kind: one of {get_args(Noise)}", self.noise_kind)
        if self.noise_kind == "kumaraswamy":
            _require(min(self.noise) >= 1, "noise: 1 or more for kumaraswamy", self.noise)
        _require(_within((self.network_rate,) * 2), "network_rate: finite and not negative", self.network_rate)
        _require(self.validate_every >= 1, "validate_every: at least 1", self.validate_every)
        _require(self.patience is None or self.patience >= 1, "patience: at least 1, or none", self.patience)
        _require(
            bool(self.trained) and set(self.trained) <= set(TRAINABLE),
            f"trained: at least one of {TRAINABLE}",
            self.trained,
        )

    def progress(self, iteration: int) -> float:
        """How far, in [0, 1], the phase is at the last validation point up to an iteration."""
        return iteration // self.validate_every * self.validate_every / self.iterations

    def lr_at(self, iteration: int) -> float:
        """Learning rate of an iteration, counted from 0."""
        start, end = self.lr
        return end + (start - end) * (1 + math.cos(math.pi * self.progress(iteration))) / 2

    def temperature_at(self, iteration: int) -> float:
        """Temperature of the soft rounding in an iteration, counted from 0."""
        return _linear(self.temperature, self.progress(iteration))

    def noise_at(self, iteration: int) -> float:
        """Standard deviation of the noise in an iteration, counted from 0."""
        return _linear(self.noise, self.progress(iteration))


@dataclass(frozen=True)
class Warmup:
    """A race of random initializations, with the quantizer that the first phase starts with.

    Attributes:
        candidates: how many take part in each stage, so ``(5, 2)`` trains five, keeps the best two, trains those
            on, and keeps one.
        iterations: of each candidate in each stage.
        lr: learning rate, constant.
        temperature: of the soft rounding, constant; ``None`` for that of the first phase's start.
        noise: ``(a, b)`` for noise of the standard deviation ``a · log10(lmbda) + b``; ``None`` for that of the
            first phase's start.
        optimizer: ``None`` for that of the first phase.

    Raises:
        ValueError: a value breaks the rule that the message names.
    """

    candidates: tuple[int, ...] = (5, 2)
    iterations: int = 400
    lr: float = 1e-2
    temperature: float | None = None
    noise: tuple[float, float] | None = None
    optimizer: OptimizerRule | None = None

    def __post_init__(self) -> None:
        descending = all(more > fewer for more, fewer in zip(self.candidates, self.candidates[1:], strict=False))
        _require(
            bool(self.candidates) and min(self.candidates) >= 1 and descending,
            "candidates: at least one stage, at least 1 in each, fewer from stage to stage",
            self.candidates,
        )
        _require(self.iterations >= 1, "iterations: at least 1", self.iterations)
        _require(_within((self.lr, self.lr)), "lr: finite and not negative", self.lr)

    def phase(self, first: Phase, lmbda: float) -> Phase:
        """What a stage does to a candidate: the recipe's first phase held at its start, but for what is given here.

        Args:
            first: phase of the recipe.
            lmbda: weight of the rate.
        """
        temperature = first.temperature[0] if self.temperature is None else self.temperature
        noise = first.noise[0] if self.noise is None else _noise_at_rate(*self.noise, lmbda)
        return replace(
            first,
            iterations=self.iterations,
            lr=(self.lr, self.lr),
            temperature=(temperature, temperature),
            noise=(noise, noise),
            patience=None,
            optimizer=self.optimizer or first.optimizer,
        )


_LEAST_LMBDA = 1e-6
"""Noise grows no more for smaller weights of the rate."""


def _noise_at_rate(slope: float, offset: float, lmbda: float) -> float:
    return max(0.0, slope * math.log10(max(lmbda, _LEAST_LMBDA)) + offset)


RETUNING = Phase(
    iterations=1000,
    lr=(1e-4, FINAL_LR),
    quantizer="ste",
    temperature=(1e-4, 1e-4),
    validate_every=10,
    patience=50,
    stops=True,
    trained=("latents",),
)
"""The standard recipe's third phase (§5 of the format), with quantized networks."""


@dataclass(frozen=True)
class Recipe:
    """A whole fit.

    Attributes:
        phases: in order; each starts from the best parameters of the one before.
        warmup: what comes before them, if anything; without it there is one random initialization.
        retuning: what comes after the quantization sweep, where a bitstream is made: the latents alone are trained.

    Raises:
        ValueError: there is no phase.
    """

    phases: tuple[Phase, ...]
    warmup: Warmup | None = None
    retuning: Phase = RETUNING

    def __post_init__(self) -> None:
        _require(bool(self.phases), "phases: at least one", self.phases)
        _require(self.retuning.trained == ("latents",), "retuning: trains the latents alone", self.retuning.trained)

    @property
    def iterations(self) -> int:
        """Iterations of the fit, those of all candidates of the warm-up included, and none of the retuning."""
        warmup = sum(self.warmup.candidates) * self.warmup.iterations if self.warmup else 0
        return warmup + sum(phase.iterations for phase in self.phases)


def _linear(schedule: Schedule, progress: float) -> float:
    start, end = schedule
    return start + (end - start) * progress
