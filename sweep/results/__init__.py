"""The folder of a job's results: who may write there, its tables, and what they tell."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
