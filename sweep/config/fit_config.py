"""How frame encoders are fitted, and trained on: in the configuration, and on the command line."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from workers.codec import ARCHITECTURES
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


class FitConfig(BaseModel):
    """How a frame encoder is fitted where an entry has none."""

    model_config = STRICT
    arch: Literal["vlop", "lop", "mop", "hop"] = Field("hop", description=f"one of {', '.join(ARCHITECTURES)}")
    recipe: str = Field("fast", description=f"one of {', '.join(RECIPES)}")
    seed: int = Field(0, ge=0, lt=2**63, description="an integer, 0 to 2^63 - 1")
    lmbda: Lmbda | Lmbdas = Field(
        1e-3, description="a number, 0 or more, or a list of them, no two the same; for entries that give none"
    )
    iterations: FitIterations = Field(
        default_factory=FitIterations,
        description=f"a mapping with {', '.join(FitIterations.model_fields)}; null is the recipe's",
    )

    @property
    def lmbdas(self) -> tuple[float, ...]:
        """All weights of the rate that are given."""
        return tuple(self.lmbda) if isinstance(self.lmbda, list) else (self.lmbda,)

    def resolve(self) -> Recipe:
        """The recipe, with the iterations that are given here."""
        recipe = RECIPES[self.recipe]
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
        key = error.errors()[0]["loc"][0]
        raise _not_accepted(f"--{key}", str(key), content) from None
    if fit.recipe not in RECIPES:
        raise _not_accepted("--recipe", "recipe", content)
    return fit


def _not_accepted(where: str, key: str, content: Mapping[str, Any]) -> ConfigError:
    return ConfigError(f"{where}: accepted: {FitConfig.model_fields[key].description}; found {content[key]!r}")
