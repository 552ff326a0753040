"""Means over the points of all ranks, with gradients that come out right under DistributedDataParallel."""

import torch
from torch import Tensor


def world_size() -> int:
    """Number of processes of `torch.distributed`, 1 where there are none."""
    return torch.distributed.get_world_size() if _distributed() else 1


def rank() -> int:
    """This process among them."""
    return torch.distributed.get_rank() if _distributed() else 0


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def over_ranks(sums: Tensor) -> Tensor:
    """The sum over all ranks of `torch.distributed`; the tensor itself where there is one process.

    Its gradient is the sum of the gradients of all ranks. DistributedDataParallel takes their mean, so that a loss made
    of such sums, the same on each rank, has the gradients of one process with all points.
    """
    if world_size() == 1:
        return sums
    from torch.distributed._functional_collectives import all_reduce, wait_tensor

    return wait_tensor(all_reduce(sums, "sum", torch.distributed.group.WORLD))


def mean(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """The weighted mean of `values` over all points of all ranks."""
    weights = torch.ones_like(values) if weights is None else weights
    total, weight = over_ranks(torch.stack(((weights * values).sum(), weights.sum()))).unbind()
    return total / weight


def variance(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """The weighted variance over all points of all ranks: unbiased (n - 1 degrees of freedom) for equal weights."""
    center = mean(values, weights)
    if weights is not None:
        return mean((values - center).square(), weights)
    total, count = over_ranks(torch.stack(((values - center).square().sum(), torch.ones_like(values).sum()))).unbind()
    return total / (count - 1)
