"""Keeps replicas at work, in this process or on Ray, and tells whoever watches."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
