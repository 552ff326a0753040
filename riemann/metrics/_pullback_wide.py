r"""Geodesics of induced metrics in many dimensions: $g\, a = -J^T G\, \bar\nabla_v (df\, v)$ by conjugate gradients.

No g is formed but at a few points: its inverse at one makes the equations of points nearby easy, and learns from them
as the geodesic moves on. That is the state of one solver, and gone with it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from riemann import _curvature, _jets, formulas
from riemann._curvature.variation import solver
from riemann._indices import matvec
from riemann._metric import jets_of
from riemann._points.checks import carry_derivatives
from riemann._rank import is_singular
from riemann.metrics._pullback import _MAP, Pullback, _ambient, _curved, _each, _inner, _lower, _shortened
from riemann.metrics._structure import part_field

DENSE = 100  # dimensions up to which g is formed at every point
MOST = 60  # products, after which the inverse is taken anew
PRECISION = {torch.float64: 1e-13, torch.float32: 1e-6}  # of accelerations, by their lengths


class Accelerations:
    """Accelerations at points that a solver comes by, where no derivatives are asked for; with them, of the route."""

    def __init__(self, metric: Pullback):
        self.metric, self.short = metric, _shortened(metric)
        self.known: list[tuple[Tensor, Tensor]] = []  # points, and the inverses there

    def __call__(self, x: Tensor, v: Tensor) -> Tensor:
        r"""$-\Gamma(v, v)$ at points and velocities `(points, n)`."""
        if torch.is_grad_enabled():
            y = _jets.jets_at(self.short.map, x, 0, _MAP)[0]
            G = _ambient(self.short, y)
            if carry_derivatives(x, v, y, *(() if G is None else (G,))):
                return -_curvature.christoffel_vector(self.metric, x, v, v, chunk_size=None)
        with torch.no_grad():
            return torch.stack([self.at(p, u) for p, u in zip(x, v, strict=True)]) if len(x) else x

    def squared_speed(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """`g(v, v)`, and the size of its terms, at points and velocities `(*batch, n)`: of the images of velocities."""
        y, pushed = _jets.jets_along(part_field(self.short.map, x, (None,), _MAP), x, (v,), 1)
        G, w = _ambient(self.short, y), pushed.mT
        size = _inner(None if G is None else G.abs(), w.abs(), w.abs())
        return _inner(G, w, w).detach(), size.detach()

    def at(self, x: Tensor, v: Tensor) -> Tensor:
        """The acceleration at one point."""
        f = part_field(self.short.map, x, (None,), _MAP)
        y, push, pull = _jets.linearised(f, x, _MAP)
        G = _ambient(self.short, y)
        lowered = lambda w: pull(_lower(G, w.unsqueeze(0)).squeeze(0))  # noqa: E731
        second = _jets.jets_along(f, x, (v,), 2)[2][..., 0, 0]
        if _curved(self.short):
            pushed = _each(self.short, push(v))
            gamma = _curvature.christoffel_vector(self.short.ambient, _each(self.short, y), pushed, pushed)
            second = second + gamma.reshape(second.shape)
        force = -lowered(second)
        if not bool((force.sum() + y.sum()).isfinite()):  # the map, or what is made of it, has no value
            return torch.full_like(x, torch.nan)
        product = lambda a: lowered(push(a))  # noqa: E731
        solution = None
        if self.known:
            near = min(range(len(self.known)), key=lambda k: float((self.known[k][0] - x).norm()))
            solution, M = solved(product, self.known[near][1], force)
            if solution is not None:
                self.known[near] = x, M
        if solution is None:
            (g,) = jets_of(self.metric, x, 0)
            M = formulas.inverse_metric(g)
            if bool(is_singular(M, g.abs())):
                return torch.full_like(x, torch.nan)
            if bool(g.norm() * M.norm() < torch.finfo(x.dtype).eps ** -0.6):
                solution, M = solved(product, M, force)
                self.known.append((x, M))
        if solution is None:  # g is nearly singular
            return -_curvature.christoffel_vector(self.metric, x, v, v, chunk_size=None)
        return solution


def solved(product: Callable[[Tensor], Tensor], M: Tensor, b: Tensor) -> tuple[Tensor | None, Tensor]:
    """a of $A a = b$ by conjugate gradients; None if M is not nearly the inverse of A, as quotients say on the way.

    With M, which has learned from each product what the inverse of A is along it (the update of Broyden, Fletcher,
    Goldfarb and Shanno): the next point's equations are next to these.
    """
    a, r, z = torch.zeros_like(b), b, matvec(M, b)
    p, rz, better = z, r @ z, M
    goal = PRECISION[b.dtype] ** 2 * rz
    for _ in range(MOST):
        if not bool(rz > goal):
            return (a if bool(rz >= 0) else None), better
        Ap = product(p)
        step = rz / (p @ Ap)  # 1 over a mean of eigenvalues of M A
        if not 0.1 < float(step) < 10:
            return None, M
        better = _learned(better, p, Ap)
        a, r = a + step * p, r - step * Ap
        z = matvec(M, r)
        before, rz = rz, r @ z
        p = z + (rz / before) * p
    return None, M


def _learned(M: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """The symmetric matrix next to M that takes y to s."""
    size, My = s @ y, matvec(M, y)
    across = torch.outer(My, s)
    return M - (across + across.mT) / size + (1 + (y @ My) / size) / size * torch.outer(s, s)


@solver.register(Pullback)
def accelerations(metric: Pullback, x: Tensor) -> Accelerations | None:
    """In many dimensions."""
    return Accelerations(metric) if x.shape[-1] > DENSE else None
