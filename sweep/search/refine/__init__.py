"""Refinement of the integers of quantized networks, and of their steps with them. Pure."""
