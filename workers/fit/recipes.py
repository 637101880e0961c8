"""Recipes by name, for each family of frame encoders."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from workers.fit.recipe import FINAL_LR, Phase, Recipe, Soap, Warmup

RecipeOfTotal = Callable[[int | None], Recipe]
"""A recipe of so many iterations in total, or of its own number."""


def _standard(n_itr: int, n_itr_ste: int, warmup: Warmup, total: int | None) -> Recipe:
    """The standard recipe of Cool-Chic 3.4, all its parts shortened or lengthened alike to a total."""
    main = Phase(
        iterations=n_itr,
        lr=(1e-2, FINAL_LR),
        quantizer="softround",
        temperature=(0.3, 0.1),
        noise=(0.25, 0.1),
        patience=5000,
    )
    ste = Phase(iterations=n_itr_ste, lr=(1e-4, FINAL_LR), quantizer="ste", temperature=(1e-4, 1e-4))
    recipe = Recipe(phases=(main, ste), warmup=warmup)
    return recipe if total is None else _lasting(recipe, total)


def _lasting(recipe: Recipe, total: int) -> Recipe:
    """A recipe of a total number of iterations, its parts in proportion; the first phase takes the rest."""
    first, *others = recipe.phases
    others = [replace(phase, iterations=max(1, phase.iterations * total // recipe.iterations)) for phase in others]
    warmup = recipe.warmup
    rest = total - sum(phase.iterations for phase in others)
    if warmup is not None:
        warmup = replace(warmup, iterations=max(1, warmup.iterations * total // recipe.iterations))
        rest -= sum(warmup.candidates) * warmup.iterations
    return Recipe((replace(first, iterations=max(1, rest)), *others), warmup, recipe.retuning)


def _published(usual: int, total: int | None) -> Recipe:
    """The recipe of Cool-Chic 5.0.1 for frames without references."""
    total = usual if total is None else total
    in_warmup = next((w for below, w in ((4000, 50), (9000, 100), (12_000, 200)) if total < below), 400)
    # The official program refuses fits that are so short.
    in_warmup = max(1, min(in_warmup, total // 40))
    return _intra(total, Warmup(iterations=in_warmup), max(1, min(500, total // 4)), Soap())


def _own(usual: int, total: int | None) -> Recipe:
    """Made of the same parts: fewer candidates, a shorter end, a shorter memory of the latents' gradients.

    And the networks' bits are weighed from the start: at a few ten thousand pixels they are a third of the file.
    """
    total = usual if total is None else total
    warmup = Warmup(candidates=(3,), iterations=max(1, min(50, total // 40)))
    return _intra(total, warmup, max(1, 3 * total // 40), Soap(latent_betas=(0.9, 0.99)), network_rate=1.0)


def _intra(total: int, warmup: Warmup, last: int, optimizer: Soap, network_rate: float = 0.0) -> Recipe:
    """Phases of Cool-Chic 5.0.1 for frames without references.

    Args:
        total: iterations of all of it.
        warmup: candidates and iterations.
        last: iterations of the last phase, in which the networks alone are trained.
        optimizer: of the phases.
        network_rate: see :class:`Phase`.
    """
    main = Phase(
        iterations=max(1, total - last - sum(warmup.candidates) * warmup.iterations),
        lr=(1e-2, FINAL_LR),
        quantizer="softround",
        temperature=(0.35, 0.08),
        noise=(0.22, 0.15),
        optimizer=optimizer,
        patience=5000,
        network_rate=network_rate,
        compiled=True,
    )
    hard = Phase(
        iterations=last,
        lr=(1e-4, FINAL_LR),
        quantizer="hardround",
        temperature=(0.08, 0.08),
        optimizer=optimizer,
        trained=("networks",),
        network_rate=network_rate,
        compiled=True,
    )
    race = Soap(latent_betas=(0.725, 0.97), frequency=1)
    return Recipe((main, hard), replace(warmup, temperature=0.35, noise=(-0.0432, 0.0747), optimizer=race))


RECIPES: Mapping[str, Mapping[str, RecipeOfTotal]] = {
    "coolchic-3.4": {
        "example": partial(_standard, 1200, 200, Warmup(candidates=(2,), iterations=50)),
        "fast": partial(_standard, 10_000, 1500, Warmup()),
        "medium": partial(_standard, 30_000, 1500, Warmup()),
        "slow": partial(_standard, 100_000, 1500, Warmup()),
    },
    "coolchic-5": {
        "example": partial(_own, 1500),
        "fast": partial(_own, 2000),
        "default": partial(_own, 10_000),
        "best": partial(_own, 30_000),
        "published": partial(_published, 10_000),
    },
}
"""Recipes by family and name. ``example`` shows what a fit does within a minute, on a frame of some thousand
pixels."""
