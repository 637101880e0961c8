"""Frame encoders of the Cool-Chic families: one file per network, and the families that assemble them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
