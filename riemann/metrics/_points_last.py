r"""Scalar curvature of an `MLPCholesky` with the points on the last axis: for many points and small n, and a compiler.

The jets of all units go through each layer as one product of matrices, `(H, 1 + n + n(n+1)/2, z)`: value, first and
second derivatives along the coordinates. What is done unit by unit is then one loop over contiguous points.
"""

import torch
from torch import Tensor

from riemann.metrics._mlp_cholesky import MLPCholesky
from riemann.metrics.elementwise import elementwise_jet

SMALL = 6  # the largest n: beyond, pushing the frame back through the layers needs fewer operations


def scalar_curvature(metric: MLPCholesky, x: Tensor) -> Tensor:
    r"""S at points `(z, n)`, `(z,)`: `_moving_frame.scalar_curvature` from derivatives along coordinates.

    $\sum_{ak} N_{aakk} - N_{akak} = (g^{jl} E_{ki} - g^{ij} E_{kl})\, \partial_j \partial_l L_{ik}$.
    """
    L, dL, ddL = _factor_jets(metric, x)
    E = _inverse(L)
    n = len(E)
    if n == 1:
        return 0 * L[0, 0]
    along = (E[None, :, :, None] * dL.movedim(2, 0)[:, None]).sum(2)  # E_bi d_j L_ik, [j, b, k]
    M = (E[:, :, None, None] * along[None]).sum(1)  # [a, b, k]
    C = M - M.transpose(0, 1)
    products = (C * (1.5 * M.transpose(1, 2) - 0.5 * M - 0.5 * M.transpose(0, 2))).sum((0, 1, 2))
    u = sum(M[a, a] for a in range(n))
    v = sum(M[:, k, k] - M[k, :, k] for k in range(n))
    inverse = (E[:, :, None] * E[:, None]).sum(0)
    js, ls = _pairs(n)
    twice = ddL * torch.tensor([1.0 if j == l else 2.0 for j, l in zip(js, ls, strict=True)]).to(ddL)[:, None]
    outer = _taken(inverse.flatten(0, 1), 0, [j * n + l for j, l in zip(js, ls, strict=True)])
    second = (outer * (E.transpose(0, 1)[:, :, None] * twice).sum((0, 1))).sum(0)
    for a, b in ((js, ls), (ls, js)):
        second = second - 0.5 * (_taken(inverse, 1, a)[:, None] * _taken(E, 1, b)[None] * twice).sum((0, 1, 2))
    return products + (v * (2 * u - v)).sum(0) - 2 * second


def _pairs(n: int) -> tuple[list[int], list[int]]:
    """The lower triangle, row by row: j and l."""
    pairs = [(j, l) for j in range(n) for l in range(j + 1)]
    return [j for j, _ in pairs], [l for _, l in pairs]


def _taken(a: Tensor, dim: int, places: list[int]) -> Tensor:
    return a.index_select(dim, torch.tensor(places, dtype=torch.int64, device=a.device))


def _factor_jets(metric: MLPCholesky, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""`L[i, k]`, `dL[i, k, j]` and `ddL[i, k, jl]` for $l \le j$, points last."""
    n, jets = metric.dim, _output_jets(metric, x)
    rows, columns = _pairs(n)
    on = [p for p, (i, k) in enumerate(zip(rows, columns, strict=True)) if i == k]
    off = [p for p in range(len(rows)) if p not in on]
    found, order = [], off + on
    for head, some in ((metric.off_diagonal, off), (metric.diagonal, on)):
        o, do, ddo = (_taken(a, 0, some) for a in jets)
        if head is not None and some:
            o, *slopes = elementwise_jet(head, o)
            first, second = (a[:, None] for a in slopes)
            ddo = first * ddo + second * (_taken(do, 1, rows) * _taken(do, 1, columns))
            do = first * do
        found.append((o, do, ddo))
    places = {(rows[p], columns[p]): k for k, p in enumerate(order)}
    lower = [places.get((i, k), len(order)) for i in range(n) for k in range(n)]
    entries = (torch.cat([*parts, torch.zeros_like(parts[0][:1])]) for parts in zip(*found, strict=True))
    L, dL, ddL = (_taken(a, 0, lower).unflatten(0, (n, n)) for a in entries)
    sound = (L.isfinite().all(1) & (L.diagonal().mT > 0)).all(0)
    return torch.where(sound, L, torch.nan), dL, ddL


def _output_jets(metric: MLPCholesky, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The network's outputs and their derivatives: `(m, z)`, `(m, n, z)` and `(m, n(n+1)/2, z)`."""
    n, (rows, columns) = metric.dim, _pairs(metric.dim)
    layer, *others = metric.layers
    s, ds, dds = torch.addmm(layer.bias[:, None], layer.weight, x.mT), layer.weight[:, :, None], None
    for k, layer in enumerate(others):
        h, first, second = (a[:, None] for a in metric.units_jet(k, s, 0))
        bent = second * (_taken(ds, 1, rows) * _taken(ds, 1, columns))
        jets = torch.cat([h, first * ds, bent if dds is None else bent + first * dds], 1)
        jets = (layer.weight @ jets.flatten(1)).unflatten(1, (jets.shape[1], -1))
        s, ds, dds = jets[:, 0] + layer.bias[:, None], jets[:, 1 : n + 1], jets[:, n + 1 :]
    if dds is None:
        ds = ds.expand(-1, -1, s.shape[-1])
        dds = s.new_zeros((len(s), len(rows), s.shape[-1]))
    return s, ds, dds


def _inverse(L: Tensor) -> Tensor:
    """Of lower triangular matrices, row by row."""
    rows: list[Tensor] = []
    for i in range(len(L)):
        row = torch.zeros_like(L[i])
        row[i] = 1.0
        for k in range(i):
            row = row - L[i, k] * rows[k]
        rows.append(row / L[i, i])
    return torch.stack(rows)
