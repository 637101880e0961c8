"""Rate of quantized network parameters: exp-Golomb codes, as each family defines them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from workers.codec.family import ExpGolombRule
from workers.codec.quantization import quantize

EXPGOL_COUNTS = range(13)
"""Counts of the exp-Golomb code that are tried for each kind of parameters."""


class NetworkRate(NamedTuple):
    """What the parameters of one kind cost when quantized with one step.

    Attributes:
        expgol_cnt: cheapest count.
        rate_bit: their bits with it.
    """

    expgol_cnt: int
    rate_bit: int


def exp_golomb_bit(quantized: Tensor, counts: Sequence[int], rule: ExpGolombRule) -> list[int]:
    """Bits of integers in exp-Golomb codes of the given counts, exactly.

    ``2⌊log2(scale · |q| / 2^k + 1)⌋ + k + constant + [q ≠ 0]`` for each; the rule gives scale and constant.

    Args:
        quantized: integers of any shape, of magnitude at most 65535.
        counts: ``k`` each.
        rule: of the family.

    Returns:
        Bits of all the integers together, with each count.
    """
    magnitude = quantized.abs().to(torch.float64).reshape(-1)
    k = torch.tensor(counts)[:, None]
    # The argument of the logarithm is exact in double precision, and so is the exponent that frexp gives:
    # x = m · 2^e, m in [½, 1).
    exponent = torch.frexp(rule.scale * magnitude / 2**k + 1).exponent.to(torch.int64) - 1
    bits: list[int] = (2 * exponent + (magnitude != 0) + k + rule.constant).sum(dim=1).tolist()
    return bits


def best_count(quantized: Tensor, rule: ExpGolombRule) -> tuple[int, int]:
    """Cheapest exp-Golomb count of some integers, the smallest one on a tie, and its bits."""
    bits = exp_golomb_bit(quantized, EXPGOL_COUNTS, rule)
    cheapest = min(range(len(bits)), key=bits.__getitem__)
    return EXPGOL_COUNTS[cheapest], bits[cheapest]


def network_rate(parameters: Mapping[str, Tensor], q_step: float, rule: ExpGolombRule) -> NetworkRate | None:
    """Rate of parameters of one kind; it depends on nothing but their step.

    Returns:
        ``None`` on an overflow. Parameters that are not finite have no rate either, but are no overflow when NaN:
        they cost nothing here, and a measurement with them has a loss that is not finite.
    """
    flat = [torch.empty(0)]
    for value in parameters.values():
        quantized = quantize(value, q_step)
        if quantized is None:
            return None
        flat.append(quantized.reshape(-1))
    return NetworkRate(*best_count(torch.nan_to_num(torch.cat(flat)), rule))
