"""Eigenpairs of induced metrics in many dimensions: vectors times the Jacobian and its transpose."""

from collections.abc import Callable

import torch
from torch import Tensor

from riemann import _jets
from riemann._curvature.eigenpairs import largest, of_matrix
from riemann._metric import jets_of
from riemann.metrics._pullback import _MAP, Pullback, _ambient, _lower, _shortened
from riemann.metrics._structure import part_field, route

DENSE = 400  # dimensions up to which g is formed
MORE = 4  # vectors of a block beyond those asked for
BLOCKS = 32  # of a basis, before it starts again from the best vectors in it
RESTARTS = 8
PRECISION = {torch.float64: 1e-9, torch.float32: 1e-5}  # of residuals, by the largest eigenvalue


@route(largest, Pullback)
def eigenpairs(metric: Pullback, x: Tensor, *, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """One point after the other, in many dimensions."""
    n = x.shape[-1]
    if n <= DENSE or k + MORE > n // 2 or x.shape[:-1].numel() == 0:
        return of_matrix(jets_of(metric, x, 0)[0], k)
    found = [block_krylov(_product(metric, p), p, k) for p in x.reshape(-1, n)]
    values, vectors, residuals = (torch.stack(parts) for parts in zip(*found, strict=True))
    batch = x.shape[:-1]
    return values.reshape(*batch, k), vectors.reshape(*batch, n, k), residuals.reshape(*batch, k)


def _product(metric: Pullback, x: Tensor) -> Callable[[Tensor], Tensor]:
    r"""$V \mapsto J^T G J V$, of columns `(n, b)` at a point `(n,)`."""
    metric = _shortened(metric)
    y, push, pull = _jets.linearised(part_field(metric.map, x, (None,), _MAP), x, _MAP)
    G = _ambient(metric, y)

    def product(V: Tensor) -> Tensor:
        pushed = torch.stack([push(v) for v in V.mT])
        lowered = _lower(G, pushed) + 0 * y  # NaN where the map has no value
        return torch.stack([pull(w) for w in lowered], -1)

    return product


def block_krylov(product: Callable[[Tensor], Tensor], x: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenpairs of a symmetric matrix by its products: Ritz vectors of the span of X, A X, A A X, ….

    Blocks find eigenvalues that are equal, as single vectors do not.
    """
    n, b = len(x), k + MORE
    noise = torch.randn(n, b, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    start = torch.linalg.qr(noise.to(x.device))[0]
    for _ in range(RESTARTS):
        Q, AQ = start, product(start)
        while True:
            values, S = torch.linalg.eigh(_symmetric(Q.mT @ AQ).nan_to_num())
            order = values.abs().argsort(descending=True)[:b]
            values, S = values[order], S[:, order]
            vectors = Q @ S
            residuals = torch.linalg.vector_norm(AQ @ S - vectors * values, dim=0)[:k]
            done = bool((residuals <= PRECISION[x.dtype] * values[0].abs()).all()) or not bool(AQ.isfinite().all())
            if done or Q.shape[1] + b > min(n, BLOCKS * b):
                break
            new = torch.linalg.qr(torch.cat((Q, AQ[:, -b:]), 1))[0][:, -b:]  # orthogonal to Q, of any rank
            Q, AQ = torch.cat((Q, new), 1), torch.cat((AQ, product(new)), 1)
        if done:
            break
        start = torch.linalg.qr(vectors)[0]
    nan = 0 * residuals.sum()
    return values[:k] + nan, vectors[:, :k] + nan, residuals


def _symmetric(T: Tensor) -> Tensor:
    return 0.5 * (T + T.mT)
