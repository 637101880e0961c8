"""Several tiles at a time, each in a thread of its own with one thread of torch.

Torch's own threads share every single operation: on tiles that fit the cache most of the time goes into waiting for
each other. And they spin meanwhile, which on a busy machine costs many times what it saves.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Threads:
    """Applies functions to many items.

    Args:
        n_threads: at a time.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._pool = None
        if n_threads > 1:
            self._pool = ThreadPoolExecutor(n_threads, "qsweep", initializer=_use_one_thread)

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, parallel: bool = True
    ) -> list[Result]:
        """The function of each item, in order, in inference mode; in this thread unless ``parallel``."""
        with one_thread() if self._pool is not None and parallel else nullcontext():
            return self.start(function, items, parallel=parallel)()

    def start(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, parallel: bool = True
    ) -> Callable[[], list[Result]]:
        """Begin what :meth:`map` does, in :func:`one_thread`; what this gives waits for the results."""

        def inferred(item: Item) -> Result:
            with torch.inference_mode():
                return function(item)

        if self._pool is None or not parallel:
            done = [inferred(item) for item in items]
            return lambda: done
        under_way = self._pool.map(inferred, items)
        return lambda: list(under_way)


def _use_one_thread() -> None:
    torch.set_num_threads(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch with one thread, for everything in this thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
