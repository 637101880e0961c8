"""The parts of a file, of any format, and how large they are."""

from typing import NamedTuple


class SectionBytes(NamedTuple):
    """Sizes of the parts of a file, in bytes."""

    header: int
    networks: int
    latents: int

    @property
    def total(self) -> int:
        """Of the file."""
        return sum(self)
