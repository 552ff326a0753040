"""Derivatives of the factor of an `MLPCholesky` along given vectors: the chain rule, layer by layer, no transforms.

Every function works on a flat batch of points, `(z, n)`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from riemann_nn._elementwise import elementwise_jet
from riemann_nn._mlp_cholesky import MLPCholesky


class Values(NamedTuple):
    """One pass through the network at points `(z, n)`.

    Attributes:
        slopes: the activation's first and second derivatives in each hidden layer, `(z, H)` each.
        L: the factor, `(z, n, n)`; NaN at a point where it is not finite or its diagonal not positive.
        slope: first derivative of the head at its n(n+1)/2 entries.
        bent: the entries whose second derivative is not 0: positions among the n(n+1)/2.
        bend: their second derivatives, `(z, len(bent))`.
    """

    slopes: list[tuple[Tensor, Tensor]]
    L: Tensor
    slope: Tensor
    bent: Tensor
    bend: Tensor


def values(metric: MLPCholesky, x: Tensor) -> Values:
    """The network, the factor and the slopes at points."""
    h, slopes = x, []
    for layer in metric.layers[:-1]:
        h, first, second = elementwise_jet(metric.activation, layer(h))
        slopes.append((first, second))
    o = metric.layers[-1](h)
    k = torch.arange(metric.dim, device=x.device)
    on_diagonal = k * (k + 3) // 2
    diagonal = elementwise_jet(metric.diagonal, o.index_select(-1, on_diagonal))
    if metric.off_diagonal is None:
        lower, bent, bend = (o, torch.ones_like(o)), on_diagonal, diagonal[2]
    else:
        *lower, bend = elementwise_jet(metric.off_diagonal, o)
        bent = torch.arange(o.shape[-1], device=x.device)
        bend = bend.index_copy(-1, on_diagonal, diagonal[2])
    entries, slope = (a.index_copy(-1, on_diagonal, d) for a, d in zip(lower, diagonal, strict=False))
    sound = (entries.isfinite().all(-1) & (diagonal[0] > 0).all(-1))[:, None]
    entries = torch.where(sound, entries, torch.full_like(entries, torch.nan))  # no metric, no curvature
    return Values(slopes, metric.triangle(entries), slope, bent, bend)


def tangents(metric: MLPCholesky, here: Values, vectors: Tensor, order: int = 2) -> tuple[Tensor, ...]:
    r"""Derivatives of the last hidden layer along vectors `(z, r, n)`: `Dh[..., a, h]`, `DDh[..., a, b, h]`.

    $D_a D_b \sigma(s) = \sigma''(s)\, D_a s\, D_b s + \sigma'(s)\, D_a D_b s$.
    """
    Dh = vectors
    DDh = vectors.new_zeros((*vectors.shape[:-1], *vectors.shape[-2:])) if order > 1 else None
    for i, (layer, (first, second)) in enumerate(zip(metric.layers, here.slopes, strict=False)):
        Ds = Dh @ layer.weight.mT
        if DDh is not None:
            DDs = DDh @ layer.weight.mT if i else None  # the first layer is linear in x
            DDh = second[:, None, None] * Ds[:, :, None] * Ds[:, None]
            DDh = DDh if DDs is None else DDh + first[:, None, None] * DDs
        Dh = first[:, None] * Ds
    return (Dh,) if DDh is None else (Dh, DDh)


def factor_jet(metric: MLPCholesky, here: Values, vectors: Tensor, order: int = 2) -> tuple[Tensor, ...]:
    """`L`, `DL[..., a, i, k]` and `DDL[..., a, b, i, k]`, the factor's derivatives along vectors `(z, r, n)`."""
    if order == 0:
        return (here.L,)
    W = metric.layers[-1].weight
    Dh, *DDh = tangents(metric, here, vectors, order)
    Do = Dh @ W.mT
    DL = metric.triangle(here.slope[:, None] * Do)
    if order == 1:
        return here.L, DL
    bent = Do.index_select(-1, here.bent)
    bent = here.bend[:, None, None] * bent[:, :, None] * bent[:, None]
    DDo = here.slope[:, None, None] * (DDh[0] @ W.mT)
    return here.L, DL, metric.triangle(DDo.index_add(-1, here.bent, bent))


def pull_back(metric: MLPCholesky, here: Values, covectors: Tensor) -> Tensor:
    """Gradients `(z, s, n)` of `covectors . L`, for lower triangular `covectors` of shape `(z, s, n, n)`."""
    w = covectors[..., metric.rows, metric.columns] * here.slope[:, None]
    w = w @ metric.layers[-1].weight
    for layer, (first, _) in reversed(list(zip(metric.layers, here.slopes, strict=False))):
        w = (w * first[:, None]) @ layer.weight
    return w
