"""The choice of a module's pair: argmin of the loss, and the candidates too close to the best for that."""

import math
from collections.abc import Sequence

from workers.errors import InfeasibleModuleError
from workers.measure import NEAR_TIE, RDRow


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


def near_ties(rows: Sequence[RDRow]) -> list[RDRow]:
    """Rows too close to the best for their arithmetic to decide, the best among them, in the order given.

    Returns:
        Nothing where the best stands alone.
    """
    best = argmin(rows)
    close = [row for row in rows if row.loss <= best.loss * (1 + NEAR_TIE)]
    return close if len(close) > 1 else []
