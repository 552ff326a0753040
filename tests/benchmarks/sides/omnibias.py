"""omnibias-geometry on torch."""
# pip install torch==2.13.0 numpy==2.4.6
# pip install omnibias-geometry==0.2.0 omnibias-core==0.4.0 omnibias-torch==0.4.0
# pyright: reportMissingImports=false

import omnibias.geometry.torch.ops as ops
import torch
from omnibias.geometry import ManifoldSpec, MetricSpec

torch.set_default_dtype(torch.float64)


def scalar_curvature(x, **weights):
    W0, b0, W1, b1, W2, b2 = (torch.tensor(weights[name]) for name in ("W0", "b0", "W1", "b1", "W2", "b2"))
    n = x.shape[1]
    rows, columns = torch.tril_indices(n, n)

    def g(x):
        p = W2 @ torch.tanh(W1 @ torch.tanh(W0 @ x + b0) + b1) + b2
        L = torch.zeros(n, n).index_put((rows, columns), p)
        L = torch.tril(L, -1) + torch.diag(torch.nn.functional.softplus(torch.diagonal(L)) + 0.1)
        return L @ L.T

    return _scalar_curvature(g, x)


def unstructured_scalar_curvature(x, **weights):
    W0, b0, W1, b1, W2, b2 = (torch.tensor(weights[name]) for name in ("W0", "b0", "W1", "b1", "W2", "b2"))
    n = x.shape[1]

    def g(x):
        p = W2 @ torch.tanh(W1 @ torch.tanh(W0 @ x + b0) + b1) + b2
        s, U = torch.nn.functional.softplus(p[:n]), p[n:].reshape(n, n)
        S = torch.tanh(U) @ U
        return torch.eye(n) + U.T @ torch.diag(s) @ U + 0.05 * (S + S.T)

    return _scalar_curvature(g, x)


def _scalar_curvature(g, x):
    manifold = ManifoldSpec(name="network", dim=x.shape[1], metric=MetricSpec(g_point=g, dim=x.shape[1]))
    x = torch.tensor(x)
    return lambda: ops.scalar_curvature(x, manifold)
