"""Fitting: a frame encoder is trained until its latents and networks are the compressed frame."""

from workers.fit.fitting import FitProgress, fit, retune
from workers.fit.quantizer import soft_round, soft_round_twice, straight_through
from workers.fit.recipe import RECIPES, RETUNING, TRAINABLE, Phase, Recipe, TrainingQuantizer, Warmup
from workers.fit.training import validate

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
    "retune",
    "soft_round",
    "soft_round_twice",
    "straight_through",
    "validate",
]
