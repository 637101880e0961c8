"""The choice for a network: the least loss, and the candidates too close to it for their arithmetic to decide."""

import math
from collections.abc import Sequence

from workers.candidates import Measurement, split_id
from workers.errors import InfeasibleModuleError
from workers.measure import ErrorBound


def argmin(measurements: Sequence[Measurement]) -> Measurement:
    """The measurement of the smallest loss, the first one in grid order on an exact tie.

    Args:
        measurements: of one network, in grid order.

    Raises:
        InfeasibleModuleError: none has a finite loss; the message says how they failed.
    """
    finite = [measurement for measurement in measurements if math.isfinite(measurement.loss)]
    if not finite:
        statuses = [measurement.status for measurement in measurements]
        found = ", ".join(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))
        _, module = split_id(measurements[0].candidate.network)
        raise InfeasibleModuleError(
            f"module {module}: a module needs a pair of quantization steps with a finite loss and no "
            f"overflow; none of its {len(measurements)} pairs has ({found})"
        )
    return min(finite, key=lambda measurement: measurement.loss)


def near_ties(measurements: Sequence[Measurement], bound: ErrorBound) -> list[Measurement]:
    """Measurements that the plain arithmetic has to repeat before one can be chosen, in the order given.

    Args:
        measurements: of one network, in grid order.
        bound: of the error of a loss that the engine measured.

    Returns:
        Those too close to the best for the engine's arithmetic to decide, the best among them; nothing where it
        stands alone. Once some are plain, those of the others that are as close to the best of these: where the
        bound holds there are none.

    Raises:
        InfeasibleModuleError: see :func:`argmin`.
    """
    plain = [measurement for measurement in measurements if measurement.arithmetic == "plain"]
    limit = bound.limit(argmin(plain or measurements).loss)
    close = [m for m in measurements if m.arithmetic != "plain" and m.loss <= limit]
    return close if plain or len(close) > 1 else []


def winner(measurements: Sequence[Measurement]) -> Measurement:
    """The one that is chosen once there are no near-ties left: only what one arithmetic measured is compared.

    Raises:
        InfeasibleModuleError: see :func:`argmin`.
    """
    return argmin([m for m in measurements if m.arithmetic == "plain"] or measurements)
