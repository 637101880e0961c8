"""Measurement of candidates: one rate–distortion row per pair of quantization steps."""

from workers.measure.engine import Measurer
from workers.measure.error_bound import ErrorBound
from workers.measure.options import EngineOptions
from workers.measure.row import Arithmetic, Measured, RDRow, Status

__all__ = ["Arithmetic", "EngineOptions", "ErrorBound", "Measured", "Measurer", "RDRow", "Status"]
