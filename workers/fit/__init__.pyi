from .fitting import fit, retune
from .progress import FitProgress
from .quantizer import kumaraswamy_noise, soft_round, soft_round_twice, straight_through
from .recipe import RETUNING, TRAINABLE, Adam, Phase, Recipe, Soap, TrainingQuantizer, Warmup
from .recipes import RECIPES
from .training import validate

__all__ = [
    "RECIPES",
    "RETUNING",
    "TRAINABLE",
    "Adam",
    "FitProgress",
    "Phase",
    "Recipe",
    "Soap",
    "TrainingQuantizer",
    "Warmup",
    "fit",
    "kumaraswamy_noise",
    "retune",
    "soft_round",
    "soft_round_twice",
    "straight_through",
    "validate",
]
