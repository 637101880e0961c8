"""How frame encoders are fitted, and trained on: in the configuration, and on the command line."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from workers.codec.family import FAMILIES, Architecture
from workers.errors import ConfigError
from workers.fit import RECIPES, Recipe

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
Lmbda = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _differ(values: list[float]) -> list[float]:
    if len(set(values)) < len(values):
        raise ValueError
    return values


Lmbdas = Annotated[list[Lmbda], Field(min_length=1), AfterValidator(_differ)]


class FitIterations(BaseModel):
    """Iterations in place of the recipe's."""

    model_config = STRICT
    warmup: PositiveInt | None = Field(None, description="an integer, 1 or more, per candidate and stage; or null")
    phase_1: PositiveInt | None = Field(None, description="an integer, 1 or more; or null")
    phase_2: PositiveInt | None = Field(None, description="an integer, 1 or more; or null")
    phase_3: PositiveInt | None = Field(None, description="an integer, 1 or more, at most; or null")


class NotAccepted(NamedTuple):
    """A value that does not fit the others.

    Attributes:
        key: of :class:`FitConfig`.
        accepted: what is.
    """

    key: str
    accepted: str


def _one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}"


class FitConfig(BaseModel):
    """How a frame encoder is fitted where an entry has none."""

    model_config = STRICT
    family: str = Field("coolchic-3.4", description=_one_of(RECIPES))
    arch: str = Field("hop", description="the name of one of the family's architectures")
    recipe: str = Field("fast", description="the name of one of the family's recipes")
    seed: int = Field(0, ge=0, lt=2**63, description="an integer, 0 to 2^63 - 1")
    lmbda: Lmbda | Lmbdas = Field(
        1e-3, description="a number, 0 or more, or a list of them, no two the same; for entries that give none"
    )
    iterations: PositiveInt | FitIterations = Field(
        default_factory=FitIterations,
        description="an integer, 1 or more: all of the fit; or a mapping with "
        f"{', '.join(FitIterations.model_fields)}; null is the recipe's",
    )

    @property
    def lmbdas(self) -> tuple[float, ...]:
        """All weights of the rate that are given."""
        return tuple(self.lmbda) if isinstance(self.lmbda, list) else (self.lmbda,)

    def rejected(self) -> NotAccepted | None:
        """The first value that is no name of anything, if there is one."""
        if self.family not in RECIPES:
            return NotAccepted("family", _one_of(RECIPES))
        for key, names in (("arch", FAMILIES[self.family].architectures), ("recipe", RECIPES[self.family])):
            if getattr(self, key) not in names:
                return NotAccepted(key, _one_of(names))
        return None

    def architecture(self) -> Architecture:
        """The architecture that is named here."""
        return FAMILIES[self.family].architectures[self.arch]

    def resolve(self) -> Recipe:
        """The recipe, with the iterations that are given here."""
        of_total = RECIPES[self.family][self.recipe]
        if not isinstance(self.iterations, FitIterations):
            return of_total(self.iterations)
        recipe = of_total(None)
        given = (self.iterations.phase_1, self.iterations.phase_2)
        phases = [
            phase if iterations is None else replace(phase, iterations=iterations)
            for phase, iterations in zip(recipe.phases, given, strict=True)
        ]
        warmup = recipe.warmup
        if warmup is not None and self.iterations.warmup is not None:
            warmup = replace(warmup, iterations=self.iterations.warmup)
        retuning = recipe.retuning
        if self.iterations.phase_3 is not None:
            retuning = replace(retuning, iterations=self.iterations.phase_3)
        return Recipe(tuple(phases), warmup, retuning)


def make_fit(content: Mapping[str, Any]) -> FitConfig:
    """How to fit, from the command line.

    Raises:
        ConfigError: a value is not accepted.
    """
    try:
        fit = FitConfig.model_validate(content)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise _not_accepted(key, FitConfig.model_fields[key].description or "", content) from None
    if wrong := fit.rejected():
        raise _not_accepted(*wrong, content)
    return fit


def _not_accepted(key: str, accepted: str, content: Mapping[str, Any]) -> ConfigError:
    return ConfigError(f"--{key}: accepted: {accepted}; found {content[key]!r}")
