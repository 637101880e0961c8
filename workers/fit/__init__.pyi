from .fitting import fit, fitted_parameter, retune
from .progress import FitProgress
from .quantizer import soft_round, soft_round_twice, straight_through
from .recipe import RECIPES, RETUNING, TRAINABLE, Phase, Recipe, TrainingQuantizer, Warmup
from .training import validate

__all__ = [
    "RECIPES",
    "RETUNING",
    "TRAINABLE",
    "FitProgress",
    "Phase",
    "Recipe",
    "TrainingQuantizer",
    "Warmup",
    "fit",
    "fitted_parameter",
    "retune",
    "soft_round",
    "soft_round_twice",
    "straight_through",
    "validate",
]
