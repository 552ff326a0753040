r"""Metrics from another package's inner product: $g_{ij} = \langle E_i, E_j \rangle$ at the point $x^i E_i$."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann.metrics import Pullback

Basis = Callable[[int], Tensor]
InnerProduct = Callable[[Tensor, Tensor, Tensor], Any]  # of a point and two tangent vectors


class Inner(torch.nn.Module):
    r"""The metric of an object that has an inner product $\langle u, v \rangle_p$ of tangent vectors.

    Args:
        owner: the object, whose parameters are the metric's if it is a module.
        product: its inner product, of p, u and v, each of the shape that the object's points have.
        basis: by the dimension n, the vectors $E_i$, `(n, *shape)`; those of the coordinates by default.
    """

    def __init__(self, owner: Any, product: InnerProduct, basis: Basis = torch.eye):
        super().__init__()
        self.owner, self.product, self.basis = owner, product, basis

    def vectors(self, x: Tensor) -> Tensor:
        """The basis at a point `(n,)`, in its dtype."""
        E = self.basis(x.shape[-1]).to(x.device)
        return E.to(torch.promote_types(E.dtype, x.dtype) if E.is_complex() else x.dtype)

    def point(self, x: Tensor) -> Tensor:
        """The point as the other package writes it, `(*batch, n)` to `(*batch, *shape)`."""
        E = self.vectors(x)
        return torch.tensordot(x.to(E.dtype), E, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        n, p, E = x.shape[-1], self.point(x), self.vectors(x)
        products = {(i, j): self._entry(p, E[i], E[j]) for i in range(n) for j in range(i, n)}
        return torch.stack([products[min(i, j), max(i, j)] for i in range(n) for j in range(n)]).reshape(n, n)

    def _entry(self, p: Tensor, u: Tensor, v: Tensor) -> Tensor:
        value = self.product(p, u, v)
        if not isinstance(value, Tensor):
            raise TypeError(
                f"the inner product of {named(self.owner)} is a {type(value).__name__}, expected a torch.Tensor: what "
                "is not computed by torch has no derivatives"
            )
        if value.numel() != 1:
            raise ValueError(
                f"the inner product of {named(self.owner)} has shape {tuple(value.shape)} for two vectors of shape "
                f"{tuple(u.shape)}, expected a number; give `chart=`, coordinates to one point of it"
            )
        value = value.reshape(())
        return value.real if value.is_complex() else value


class Charted(Pullback):
    """The metric of points of another package's manifold, in the coordinates of a chart of it.

    Args:
        chart: one point `(n,)` of coordinates to a point of the manifold, of whatever shape.
        owner: the manifold.
        product: its inner product, as of `Inner`; that of all entries if it is None.
    """

    def __init__(self, chart: Callable[[Tensor], Tensor], owner: Any = None, product: InnerProduct | None = None):
        shapes = [(-1,)]  # of the chart's points, known when it has been called

        def flat(x: Tensor) -> Tensor:
            p = chart(x)
            shapes[0] = tuple(p.shape)
            return p.flatten()

        def entries(m: int) -> Tensor:
            return torch.eye(m).reshape(m, *shapes[0])

        super().__init__(flat, None if product is None else Inner(owner, product, entries))
        self.chart = chart

    def point(self, x: Tensor) -> Tensor:
        """The point as the other package writes it, `(n,)` to its shape."""
        return self.chart(x)


def named(owner: Any) -> str:
    """An object of another package, for messages."""
    return f"{type(owner).__module__.split('.')[0]}'s {type(owner).__name__}"


def needs_chart(owner: Any) -> ValueError:
    """The error of a manifold whose points' entries are not coordinates."""
    return ValueError(
        f"points of {named(owner)} obey equations, so their entries are not coordinates; give `chart=`, one point (n,) "
        "of coordinates to a point of the manifold, as in `chart=lambda x: torch.matrix_exp(skew(x))[:, :2]`"
    )


def symmetric(n: int) -> Tensor:
    """The basis of symmetric matrices with n = m (m + 1) / 2: the upper triangle, row by row, is the coordinates."""
    m = _side(n, "symmetric")
    row, column = torch.triu_indices(m, m)
    E = torch.zeros(n, m, m)
    E[torch.arange(n), row, column] = 1.0
    E[torch.arange(n), column, row] = 1.0
    return E


def complex_symmetric(n: int) -> Tensor:
    """The basis of complex symmetric matrices: the upper triangles of the real and of the imaginary part."""
    if n % 2:
        raise ValueError(f"a complex symmetric matrix has an even number of coordinates, m (m + 1), not {n}")
    E = symmetric(n // 2)
    return torch.cat((torch.complex(E, 0 * E), torch.complex(0 * E, E)))


def _side(n: int, what: str) -> int:
    m = round((2 * n + 0.25) ** 0.5 - 0.5)
    if m * (m + 1) // 2 != n:
        raise ValueError(
            f"points of {n} coordinates are no {what} matrices: m x m ones have m (m + 1) / 2, their upper triangle "
            "row by row"
        )
    return m


# -------------------------------------------------------------------------------------------------------- charts


def stereographic(x: Tensor) -> Tensor:
    """The unit sphere from its south pole: 0 is the north pole, the last coordinate is the axis."""
    square = x @ x
    return torch.cat((2 * x, (1 - square).unsqueeze(0))) / (1 + square)


def upper_sheet(x: Tensor, k: Any = 1.0) -> Tensor:
    """The hyperboloid $-t^2 + |x|^2 = -k$ over its spatial coordinates; time comes first."""
    return torch.cat(((k + x @ x).sqrt().unsqueeze(0), x))


def minkowski(p: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The product of the space around a hyperboloid, time first."""
    return u[1:] @ v[1:] - u[0] * v[0]


def doubly_stochastic(x: Tensor) -> Tensor:
    """Matrices whose rows and columns add up to 1, by their upper left block, row by row."""
    m = round(x.shape[-1] ** 0.5)
    if m * m != x.shape[-1]:
        raise ValueError(f"doubly stochastic matrices have (m - 1)^2 coordinates, not {x.shape[-1]}")
    rows = x.reshape(m, m)
    rows = torch.cat((rows, 1 - rows.sum(1, keepdim=True)), 1)
    return torch.cat((rows, 1 - rows.sum(0, keepdim=True)))
