"""How long a call may take before its replica is taken to hang."""

from sweep.schedule import Call, Encode, Measure

_FACTOR = 10.0
"""Of the longest that such calls have taken; and of the patience, while none has been answered yet."""


class Deadlines:
    """Learns from the calls that are answered.

    Args:
        patience: seconds that any call may take.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._longest: dict[object, float] = {}  # seconds of one unit

    def answered(self, call: Call, seconds: float) -> None:
        """Note what a call took; or, of a training, its way from one sign of life to the next."""
        kind, units = _kind(call)
        self._longest[kind] = max(self._longest.get(kind, 0.0), seconds / units)

    def seconds(self, call: Call) -> float:
        """How long a call may take."""
        kind, units = _kind(call)
        if kind not in self._longest:
            return _FACTOR * self._patience
        return max(self._patience, _FACTOR * self._longest[kind] * units)


def _kind(call: Call) -> tuple[object, float]:
    """Calls with which it can be compared, and how much there is to do in units of these."""
    work = call.work
    if isinstance(work, Measure):
        return (work.module, work.plain), max(1, call.pixels) * len(work.pairs)
    return type(work), max(1, call.pixels) if isinstance(work, Encode) else 1.0
