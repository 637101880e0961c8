"""The choice of a module's pair: argmin of the loss, and the candidates too close to the best for that."""

import math
from collections.abc import Sequence

from workers.errors import InfeasibleModuleError
from workers.measure import ErrorBound, RDRow


def argmin(rows: Sequence[RDRow]) -> RDRow:
    """The row of the smallest loss, the first one in grid order on an exact tie.

    Args:
        rows: of one module, in grid order.

    Raises:
        InfeasibleModuleError: none has a finite loss; the message says how they failed.
    """
    finite = [row for row in rows if math.isfinite(row.loss)]
    if not finite:
        statuses = [row.status for row in rows]
        found = ", ".join(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))
        raise InfeasibleModuleError(
            f"module {rows[0].module}: a module needs a pair of quantization steps with a finite loss and no "
            f"overflow; none of its {len(rows)} pairs has ({found})"
        )
    return min(finite, key=lambda row: row.loss)


def near_ties(rows: Sequence[RDRow], bound: ErrorBound) -> list[RDRow]:
    """Rows that the plain arithmetic has to measure before one can be chosen, in the order given.

    Args:
        rows: of one module, in grid order.
        bound: of the error of a loss that the engine measured.

    Returns:
        Those too close to the best for the engine's arithmetic to decide, the best among them; nothing where it
        stands alone. Once some are plain, those of the others that are as close to the best of these: where the
        bound holds there are none.

    Raises:
        InfeasibleModuleError: see :func:`argmin`.
    """
    plain = [row for row in rows if row.arithmetic == "plain"]
    limit = bound.limit(argmin(plain or rows).loss)
    close = [row for row in rows if row.arithmetic != "plain" and row.loss <= limit]
    return close if plain or len(close) > 1 else []


def winner(rows: Sequence[RDRow]) -> RDRow:
    """The row that is chosen once there are no near-ties left: only what one arithmetic measured is compared.

    Raises:
        InfeasibleModuleError: see :func:`argmin`.
    """
    return argmin([row for row in rows if row.arithmetic == "plain"] or rows)
