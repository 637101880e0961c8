"""Moves: what becomes of the loss when integers of quantized networks change, exactly and the same everywhere."""
