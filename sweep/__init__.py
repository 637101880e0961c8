"""The job: plans, hands out, gathers, chooses, writes and shows.

Names are loaded when they are first used: tables can be read without loading Ray or torch.
"""

from importlib import import_module

import lazy_loader

from sweep.launch import foreign_workers

if not foreign_workers():
    import_module("workers")  # before torch: it sets how threads of torch wait

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name in __all__ and (problem := foreign_workers()):
        raise ImportError(problem)
    return _load(name)
