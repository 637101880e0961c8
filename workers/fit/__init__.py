"""Fitting: a frame encoder is trained until its latents and networks are the compressed frame."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
