"""Limits of what is decoded, so that a hostile file cannot ask for any amount of work."""

MAX_PIXELS = 1 << 25
"""Luma samples of the largest frame that is decoded unless more are asked for; 7680×4320 are less."""
