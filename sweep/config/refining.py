"""How the choices of a sweep are refined: what ``sweep.refine`` and its options say."""

from typing import Literal, NamedTuple

RefineMode = Literal["rdoq", "joint"]

RefineSetting = Literal["off", "rdoq", "joint"]
"""``off``: the pairs of steps that win are final."""


class RefineOptions(NamedTuple):
    """How far a refinement goes.

    Attributes:
        passes: over the networks, at most.
        tolerance: another pass is made while the last one lowered the loss by more than this share of it.
    """

    passes: int = 3
    tolerance: float = 1e-3


class Refining(NamedTuple):
    """What refined results depend on, beside the sweep's.

    Attributes:
        mode: ``rdoq`` or ``joint``.
        options: how far it goes.
    """

    mode: RefineMode
    options: RefineOptions = RefineOptions()

    def __str__(self) -> str:
        if self.mode == "rdoq":  # one pass, whatever the options are
            return self.mode
        return f"{self.mode} passes={self.options.passes} tolerance={self.options.tolerance:g}"
