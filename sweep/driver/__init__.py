"""Keeps replicas at work, in this process or on Ray, and reports every event to observers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
