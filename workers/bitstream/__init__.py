"""Bitstreams: a frame encoder as the bytes of a file, and back as the samples of a frame, the same everywhere."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
