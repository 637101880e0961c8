"""The frame encoder of the Cool-Chic family, format ``coolchic-3.4``: one file per network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
