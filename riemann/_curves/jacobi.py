r"""Jacobi fields, the variations of geodesics: $\ddot \xi = D a(x, \dot x)[\xi, \dot \xi]$ for the acceleration a."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Unpack, overload

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _jets, formulas
from riemann._curvature import christoffel_vector
from riemann._curvature.directional import connection_covector, connection_vector, lowering
from riemann._curvature.tensors import FULL_JETS
from riemann._curves.geodesic import checked_times, fault_at, integrated, message, raise_unless
from riemann._curves.ode import Solution, Status
from riemann._metric import jets_of, metric_field, metric_jet
from riemann._points.checks import alike, door
from riemann._types import CurveOptions, Field, Metric


def varied_acceleration(metric: Metric, x: Tensor, v: Tensor, X: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """The acceleration a, `(b, n)`, and its change along columns X of x and V of v, `(b, n, c)` each."""
    if x.shape[-1] <= FULL_JETS:
        return formulas.varied_acceleration(*jets_of(metric, x, 2), v, X, V)
    return _without_cubes(metric, x, v, X, V)


def _without_cubes(metric: Metric, x: Tensor, v: Tensor, X: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    r"""`varied_acceleration` without an array of n³.

    From $-g a = D_v (g v) - \tfrac12 \partial\, g(v, v)$:
    $-g\, \delta a = D_\xi D_v (g v) - \tfrac12 \partial D_\xi g(v, v) + 2 \Gamma(v, \dot \xi) + (D_\xi g)\, a$.
    """
    g, inverse = metric_field(metric, x), formulas.inverse_metric(jets_of(metric, x, 0)[0])
    lower, a = lowering(g), -connection_vector(g, x, inverse, v, v)

    xi, dxi = X.movedim(-1, 0), V.movedim(-1, 0)  # each column at the same points
    p, w, b = (y.expand_as(xi) for y in (x, v, a))
    both = torch.stack((w, b), -2)
    _, d, dd = _jets.jets_along(lower, p, (xi, w), 2, both)
    (slope,) = _jets.gradients(lambda y, both: lower(y, both)[0] @ both[0], p, both, along=((xi,),))
    changes = dd[..., 0, :, 0, 1] - 0.5 * slope + 2 * connection_covector(lower, p, w, dxi) + d[..., 1, :, 0]
    return a, -inverse @ changes.movedim(0, -1)


def varied_geodesics(
    metric: Metric, x: Tensor, v: Tensor, X: Tensor, V: Tensor, t: Tensor, **options: Any
) -> tuple[Solution, tuple[Tensor, ...]]:
    """Geodesics and variations of them, `(b, n, c)`: the solution, and its parts x, v, X, V with t first."""
    n, c = x.shape[-1], X.shape[-1]
    sizes = (n, n, n * c, n * c)

    def parts(y: Tensor) -> tuple[Tensor, ...]:
        x, v, X, V = y.split(sizes, -1)
        return x, v, X.unflatten(-1, (n, c)), V.unflatten(-1, (n, c))

    def flow(_: Tensor, y: Tensor) -> Tensor:
        x, v, X, V = parts(y)
        a, A = varied_acceleration(metric, x, v, X, V)
        return torch.cat((v, a, V.flatten(-2), A.flatten(-2)), -1)

    y = torch.cat((x, v, X.flatten(-2), V.flatten(-2)), -1)
    solution = integrated(flow, y, t, n=n, **options)
    return solution, parts(solution.states)


class JacobiField(NamedTuple):
    r"""A Jacobi field at parameters; NaN where they were not reached.

    Attributes:
        t: parameters, `(t,)`.
        fields: $J(t)$, `(t, *batch, n)`.
        derivatives: the covariant derivative $\frac{D J}{dt}(t)$, `(t, *batch, n)`.
        status: what became of each point, `(*batch,)`, values of `riemann.Status`.
        reached: the parameter where each point stopped, `(*batch,)`.
    """

    t: Tensor
    fields: Tensor
    derivatives: Tensor
    status: Tensor
    reached: Tensor

    @property
    def message(self) -> str:
        """What happened, in a sentence, with the first point where something did."""
        return message("Jacobi field", self.status, self.reached)


@overload
def jacobi_field(
    metric: Metric,
    x: Tensor,
    v: Tensor,
    J0: Tensor,
    dJ0: Tensor,
    t: Tensor | float | Sequence[float],
    *,
    throw: Literal[True] = ...,
    **options: Unpack[CurveOptions],
) -> Tensor: ...


@overload
def jacobi_field(
    metric: Metric,
    x: Tensor,
    v: Tensor,
    J0: Tensor,
    dJ0: Tensor,
    t: Tensor | float | Sequence[float],
    *,
    throw: Literal[False],
    **options: Unpack[CurveOptions],
) -> JacobiField: ...


@door
def jacobi_field(
    metric: Metric,
    x: Float[Tensor, "*#batch n"],
    v: Float[Tensor, "*#batch n"],
    J0: Float[Tensor, "*#batch n"],
    dJ0: Float[Tensor, "*#batch n"],
    t: Float[Tensor, "t"] | float | Sequence[float],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 10_000,
    chart: Field | None = None,
    throw: bool = True,
) -> Any:
    r"""Jacobi field along a geodesic, $\frac{D^2 J}{dt^2} = -R(J, \dot \gamma) \dot \gamma$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points $\gamma(0)$, `(*batch, n)`.
        v: velocities $\dot \gamma(0)$, broadcast against `x`.
        J0: $J(0)$, broadcast against `x`.
        dJ0: covariant derivative $\frac{D J}{dt}(0)$, broadcast against `x`.
        t: parameters of output, `(t,)`; the curve starts at 0.
        rtol: as for `geodesic`.
        atol: as for `geodesic`.
        max_steps: as for `geodesic`.
        chart: as for `geodesic`.
        throw: whether to raise where a point of the batch fails; otherwise the `JacobiField` is returned.

    Returns:
        $J$, `(t, *batch, n)`; the `JacobiField` if `throw` is false.

    Raises:
        TypeError, ValueError, RuntimeError: as `geodesic`.

    Note:
        Computed as a variation of geodesics: second derivatives of the metric; in more than 16 dimensions none but
        those along J and the velocity.

    Reference:
        do Carmo, *Riemannian Geometry* (1992), chapter 5, section 2.

    Example:
        >>> sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
        >>> x, south, east = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        >>> t = torch.tensor([0.5], dtype=torch.float64)
        >>> J = jacobi_field(sphere, x, south, 0 * east, east / torch.sin(x[0]), t)
        >>> J[0, 1] * torch.sin(x[0] + 0.5) - torch.sin(t[0]) < 1e-9
        tensor(True)
    """
    x, v, J0, dJ0 = alike(x, v=v, J0=J0, dJ0=dJ0)
    t = checked_times(t, x)
    metric_jet(metric, x.detach(), 1)  # warns where it is no metric
    batch, n = x.shape[:-1], x.shape[-1]
    xi, dxi = J0, dJ0 - christoffel_vector(metric, x, v, J0)
    flat = [a.reshape(-1, n) for a in (x, v, xi, dxi)]
    solution, (points, velocities, X, V) = varied_geodesics(
        metric,
        *flat[:2],
        *(a.unsqueeze(-1) for a in flat[2:]),
        t,
        rtol=rtol,
        atol=atol,
        max_steps=max_steps,
        chart=chart,
    )
    J = X.squeeze(-1).reshape(len(t), *batch, n)
    status, reached = solution.status.reshape(batch), solution.reached.reshape(batch)
    if throw:
        stuck = (status == Status.NOT_FINITE) & (reached == 0)
        raise_unless(status, message("Jacobi field", status, reached) + fault_at(metric, x, stuck))
        return J
    good = torch.isfinite(points).all(-1)
    mixed = torch.full_like(points, torch.nan)
    mixed[good] = christoffel_vector(metric, points[good], velocities[good], X.squeeze(-1)[good])
    return JacobiField(t, J, (V.squeeze(-1) + mixed).reshape(J.shape), status, reached)
