"""Measurement of candidates: one rate–distortion row per pair of quantization steps."""

from workers.measure.engine import TILE, Measurer
from workers.measure.row import Arithmetic, Measured, RDRow, Status

__all__ = ["TILE", "Arithmetic", "Measured", "Measurer", "RDRow", "Status"]
