"""Derivatives of the factor of an `MLPCholesky` along given vectors: the chain rule, layer by layer, no transforms.

Every function works on a flat batch of points, `(z, n)`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from riemann.metrics._mlp_cholesky import MLPCholesky
from riemann.metrics.elementwise import elementwise_jet


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
    for k, layer in enumerate(metric.layers[:-1]):
        h, first, second = metric.units_jet(k, layer(h))
        slopes.append((first, second))
    o = metric.layers[-1](h)
    on_diagonal = metric.on_diagonal
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


class Units(NamedTuple):
    """A hidden layer's units at points, `h = sigma(s)`.

    Attributes:
        J: derivatives of the network's outputs by h, `(z, m, H)` or, the same at all points, `(m, H)`.
        Ds: derivatives of s along given vectors, `(z, r, H)`.
        bend: the activation's second derivative, `(z, H)`.
    """

    J: Tensor
    Ds: Tensor
    bend: Tensor


def units(metric: MLPCholesky, here: Values, vectors: Tensor) -> tuple[Tensor, list[Units]]:
    r"""Derivatives of the last hidden layer along vectors `(z, r, n)`, `Dh[..., a, h]`; and the units of each layer.

    $D_a D_b\, o = \sum_h J_h\, \sigma''_h\, D_a s_h\, D_b s_h$, a sum over the units of all hidden layers.
    """
    layers = list(zip(metric.layers[:-1], here.slopes, strict=True))
    Dh, slopes = vectors, []
    for layer, (first, _) in layers:
        slopes.append(Dh @ layer.weight.mT)
        Dh = first[:, None] * slopes[-1]
    J, found = metric.layers[-1].weight, []
    for (layer, (first, second)), Ds in reversed(list(zip(layers, slopes, strict=True))):
        found.append(Units(J, Ds, second))
        if len(found) < len(layers):
            J = (J * first[:, None]) @ layer.weight
    return Dh, found


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
