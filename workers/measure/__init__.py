"""Measurement of candidates: one rate–distortion row per pair of quantization steps."""

from workers.measure.engine import Measurer
from workers.measure.options import EngineOptions
from workers.measure.row import NEAR_TIE, Arithmetic, Measured, RDRow, Status

__all__ = ["NEAR_TIE", "Arithmetic", "EngineOptions", "Measured", "Measurer", "RDRow", "Status"]
