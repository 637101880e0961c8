"""What the measuring of a candidate adds up: a sum of parts, tile by tile, none of which is negative."""

import operator
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]
Tile = TypeVar("Tile")

Sums = tuple[float, ...]
"""What a candidate adds up: bits of the latents alone, or squared errors of the frame for each of its planes."""


class Cost(Protocol[Tile]):
    """Bits of the latents, or squared errors of the frame."""

    @property
    def tiles(self) -> Sequence[Tile]:
        """Parts of the frame; together they are all of it."""

    @property
    def poll(self) -> Sequence[int]:
        """Which tiles tell best, for how few they are, how candidates compare over all of them."""

    @property
    def parallel(self) -> bool:
        """Whether tiles may be evaluated in several threads at a time."""

    def evaluator(self, candidates: Sequence[Parameters]) -> Callable[[Tile], Tensor]:
        """Part of a tile, for candidates with the same weights.

        Returns:
            Their :data:`Sums`, ``[n_candidates, 1 or 3]`` float64, none negative.
        """


class Workspace:
    """Buffers that are used again and again, a set of them for every thread."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._local = threading.local()

    def floats(self, name: str, *shape: int) -> Tensor:
        """A float32 buffer of this shape; its content is whatever was left there."""
        buffers = self._local.__dict__
        size = torch.Size(shape).numel()
        if name not in buffers or buffers[name].numel() < size:
            buffers[name] = None  # the old one is freed first
            buffers[name] = torch.empty(size, device=self._device)
        buffer: Tensor = buffers[name][:size].view(shape)
        return buffer


def add(sums: Sums, others: Iterable[float]) -> Sums:
    """Both together."""
    return tuple(map(operator.add, sums, others))


def stack(candidates: Sequence[Parameters], name: str) -> Tensor:
    """A parameter of every candidate, ``[n_candidates, …]``."""
    return torch.stack([candidate[name] for candidate in candidates])
