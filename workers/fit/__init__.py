"""Fitting: a frame encoder is trained until its latents and networks are the compressed frame."""

from workers.fit.fitting import FitProgress, fit
from workers.fit.quantizer import soft_round, soft_round_twice, straight_through
from workers.fit.recipe import RECIPES, TRAINABLE, Phase, Recipe, TrainingQuantizer, Warmup

__all__ = [
    "RECIPES",
    "TRAINABLE",
    "FitProgress",
    "Phase",
    "Recipe",
    "TrainingQuantizer",
    "Warmup",
    "fit",
    "soft_round",
    "soft_round_twice",
    "straight_through",
]
