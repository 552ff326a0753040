r"""Fisher's metric from a divergence: $g_{ij}(x) = \partial_{b_i} \partial_{b_j} KL(p_x, p_{x + b})$ at $b = 0$."""

from typing import Any

import torch
from torch import Tensor
from torch import distributions as D
from torch.distributions import kl

from riemann import _jets
from riemann._arithmetic.jet import Refusal
from riemann._curvature import at
from riemann._points.checks import has_values
from riemann._types import Field
from riemann.metrics._known import Unvalidated
from riemann.metrics._structure import Jets, route


class Divergence(torch.nn.Module):
    """The Hessian of torch's `kl_divergence` where both arguments agree.

    Args:
        family: one point `(n,)` to a distribution.
    """

    def __init__(self, family: Any):
        super().__init__()
        self.family = family

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        return jets(self, x, 0)[0]


def _of_pairs(family: Any) -> Field:
    def divergence(z: Tensor) -> Tensor:
        a, b = z.chunk(2)
        with Unvalidated():
            return D.kl_divergence(family(a), family(a + b)).sum()

    return divergence


@route(at, Divergence)
def jets(metric: Divergence, x: Tensor, order: int) -> Jets:
    """Second derivatives by b, and further ones by x."""
    n, z = x.shape[-1], torch.cat([x, torch.zeros_like(x)], -1)
    found = _jets.jets_at(_of_pairs(metric.family), z, order + 2, "family")[2:]
    return tuple(T[(..., slice(n, None), slice(n, None), *[slice(None, n)] * k)] for k, T in enumerate(found))


def is_trusted(d: Any, family: Any, x: Tensor) -> bool:
    """Whether torch knows a divergence of this very distribution, and its derivatives where both arguments agree.

    There the divergence and its first derivatives are 0. They are unknown at a kink, as |d| in that of Laplace.
    """
    if not _has_divergence(d):
        return False
    if not has_values(x):
        return True
    n, z = x.shape[-1], torch.cat([x, torch.zeros_like(x)], -1)
    try:
        value, first, second = (y.detach() for y in _jets.jets_at(_of_pairs(family), z, 2, "family"))
    except (NotImplementedError, Refusal):  # the divergence branches on values
        return False
    size = 1 + second[n:, n:].abs().max()
    return bool(second.isfinite().all() and value.abs() < 1e-5 * size and (first[n:].abs() < 1e-5 * size).all())


def _has_divergence(d: Any) -> bool:
    pairs = (p for p, q in kl._KL_REGISTRY if p is q and isinstance(d, p) and p is not D.TransformedDistribution)
    return any(type(d).log_prob is p.log_prob for p in pairs)
