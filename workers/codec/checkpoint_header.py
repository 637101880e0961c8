"""Metadata of checkpoints, read without torch."""

import json

FITTED_MSE, FITTED_FRAME = "fitted_mse", "fitted_frame"
"""Metadata keys of our own: what the fit ended with, and the digest of the frame file that it was of. Readers of
the format ignore keys that they do not know."""


def checkpoint_metadata(content: bytes) -> dict[str, str]:
    """Metadata of a safetensors file, whose header is known to be valid; the library reads only those on disk."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata: dict[str, str] = header.get("__metadata__") or {}
    return metadata
