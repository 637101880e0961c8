"""Measurement of candidates: one rate–distortion row per pair of quantization steps."""

from workers.measure.engine import EngineOptions, Measurer
from workers.measure.row import NEAR_TIE, Arithmetic, Measured, RDRow, Status

__all__ = ["NEAR_TIE", "Arithmetic", "EngineOptions", "Measured", "Measurer", "RDRow", "Status"]
