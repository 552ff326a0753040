"""Rejection under an empirical supremum, lane by lane: each lane has a law of its own."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

PROPOSALS = 2**12  # at a time


def by_rejection(
    propose: Callable[[Tensor], tuple[Tensor, Tensor]], count: int, generator: torch.Generator | None
) -> Tensor:
    """One point a lane, of density proportional to that of the proposals times the exponential of their scores.

    The bound of the scores is the largest one seen so far and log 1.1; all lanes are drawn anew when a larger is seen.

    Args:
        propose: from the numbers of lanes to points `(lanes, n)`, independent, and their scores `(lanes,)`.
        count: number of lanes.
        generator: source of randomness.

    Raises:
        ValueError: scores that are NaN or infinite, or fewer than one proposal in 10,000 is kept.
    """
    points, _ = propose(torch.arange(count))
    left, bound, kept, tried = torch.arange(count), -math.inf, 0, 0
    while len(left):
        if tried > 20_000 and kept * 10_000 < tried:
            raise ValueError(
                f"{kept} of {tried} proposals were kept: the weight has a peak where the density is small, or is 0 "
                "almost everywhere; make it flatter, or `mass` smaller"
            )
        lanes = left.repeat(-(-PROPOSALS // len(left)))
        x, score = propose(lanes)
        if bool((score.isnan() | (score == math.inf)).any()):
            raise ValueError("the logarithm of the weight is NaN or infinite at a point of the model")
        if (largest := float(score.max())) > bound:
            bound, left, kept, tried = largest + math.log(1.1), torch.arange(count), 0, 0
            continue
        u = torch.rand(len(lanes), generator=generator, dtype=x.dtype, device=x.device)
        good = (u.log() < score - bound).nonzero()[:, 0]
        points[lanes[good.to(lanes.device)]] = x[good]  # of several for a lane whichever comes, none by its value
        left = left[~torch.isin(left, lanes[good.to(lanes.device)])]
        kept, tried = kept + len(good), tried + len(lanes)
    return points
