r"""Parallel transport along curves, $\dot w^k = -\Gamma^k_{ij} \dot \gamma^i w^j$, and holonomy around loops."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Unpack, overload

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _jets
from riemann._curvature import christoffel, christoffel_vector
from riemann._curvature.tensors import FULL_JETS
from riemann._curves.geodesic import Geodesic, checked_times, geodesic_acceleration, integrated, message, raise_unless
from riemann._metric import metric_jet
from riemann._points.checks import check_points, inside
from riemann._types import Metric, SolverOptions

Curve = Callable[[Tensor], Tensor]  # one parameter () to a point (n,)


class Transport(NamedTuple):
    """Transported vectors at parameters; NaN where they were not reached.

    Attributes:
        t: parameters, `(t,)`.
        vectors: `(t, *batch, n)`.
        status: what became of each curve, a value of `riemann.Status`: `()`, or `(*batch,)` along geodesics.
        reached: the parameter where each curve stopped, of that shape.
    """

    t: Tensor
    vectors: Tensor
    status: Tensor
    reached: Tensor

    @property
    def message(self) -> str:
        """What happened, in a sentence, with the first curve where something did."""
        return message("transport", self.status, self.reached)


@overload
def parallel_transport(
    metric: Metric,
    curve: Curve | Geodesic,
    w: Tensor,
    t: Tensor,
    *,
    throw: Literal[True] = ...,
    **options: Unpack[SolverOptions],
) -> Tensor: ...


@overload
def parallel_transport(
    metric: Metric,
    curve: Curve | Geodesic,
    w: Tensor,
    t: Tensor,
    *,
    throw: Literal[False],
    **options: Unpack[SolverOptions],
) -> Transport: ...


def parallel_transport(
    metric: Metric,
    curve: Curve | Geodesic,
    w: Float[Tensor, "*batch n"],
    t: Float[Tensor, "t"],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 10_000,
    throw: bool = True,
) -> Any:
    r"""Parallel transport of vectors along a curve, $\nabla_{\dot \gamma} w = 0$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        curve: $\gamma$, a function of one parameter `()` to a point `(n,)`, smooth; or a `Geodesic`, of a batch.
        w: vectors at $\gamma(0)$, `(*batch, n)`: of any batch along a function, of that of a `Geodesic` along it.
        t: parameters of output, `(t,)`; transport starts at parameter 0.
        rtol: as for `geodesic`.
        atol: as for `geodesic`.
        max_steps: as for `geodesic`.
        throw: whether to raise where a curve fails; otherwise the `Transport` is returned.

    Returns:
        `(t, *batch, n)`; the `Transport` if `throw` is false.

    Raises:
        TypeError, ValueError, RuntimeError: as `geodesic`; `curve` does not return a point.

    Note:
        Differentiable to w, to what `curve` is made of and to the parameters of the metric.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> level = lambda t: torch.stack([t, torch.ones_like(t)])
        >>> up, quarter = torch.tensor([0.0, 1.0]), torch.tensor([torch.pi / 2])
        >>> parallel_transport(half_plane, level, up, quarter).abs().round(decimals=4)
        tensor([[1., 0.]])
    """
    options: dict[str, Any] = dict(rtol=rtol, atol=atol, max_steps=max_steps)
    check_points(w, "w")
    t = checked_times(t, w, "w")
    along = _along_geodesic if isinstance(curve, Geodesic) else _along_curve
    with inside(w):
        result = along(metric, curve, w, t, options)
    if throw:
        raise_unless(result.status, result.message)
        return result.vectors
    return result


def _along_curve(metric: Metric, curve: Curve, w: Tensor, t: Tensor, options: dict[str, Any]) -> Transport:
    """All vectors together: the curve is one point of a batch for the solver."""
    n = w.shape[-1]

    def at(s: Tensor) -> tuple[Tensor, Tensor]:
        return _jets.jvp(_point_of(curve, n), s[:, None], torch.ones_like(s)[:, None])

    def flow(s: Tensor, y: Tensor) -> Tensor:
        W = y.unflatten(-1, (-1, n))
        return -_connection(metric, *at(s), W).flatten(-2)

    metric_jet(metric, at(w.new_zeros(1))[0].detach(), 1)  # warns where it is no metric
    start = w.reshape(1, -1) if w.numel() else w.new_zeros(1, n)  # a vector stands in for none
    solution = integrated(flow, start, t, chart=None, n=n, **options)
    vectors = solution.states[..., : w.numel()].reshape(len(t), *w.shape)
    return Transport(t, vectors, solution.status[0], solution.reached[0])


def _point_of(curve: Curve, n: int) -> Callable[[Tensor], Tensor]:
    if not callable(curve):
        raise TypeError(f"`curve` is a {type(curve).__name__}, expected a function of a parameter () to a point ({n},)")

    def point(s: Tensor) -> Tensor:
        value = curve(s[0])
        if isinstance(value, Tensor) and value.shape != (n,):
            raise ValueError(f"`curve` returned shape {tuple(value.shape)} at one parameter, expected a point ({n},)")
        return value

    return point


def _connection(metric: Metric, x: Tensor, v: Tensor, W: Tensor) -> Tensor:
    r"""$\Gamma(v, w)$ for rows w, `(b, k, n)`."""
    if x.shape[-1] <= FULL_JETS and christoffel_vector.route(metric) == "generic":
        matrix = (christoffel(metric, x) @ v[:, None, :, None]).squeeze(-1)
        return W @ matrix.mT
    rows = W.shape[-2]
    x, v = (a[:, None].expand(-1, rows, -1) for a in (x, v))
    return christoffel_vector(metric, x, v, W)


def _along_geodesic(metric: Metric, curve: Geodesic, w: Tensor, t: Tensor, options: dict[str, Any]) -> Transport:
    """The geodesic is solved once more, together with the vector."""
    x, v = curve.start
    if w.shape != x.shape:
        raise ValueError(
            f"`w` has shape {tuple(w.shape)}, expected {tuple(x.shape)}: a vector at each start of `curve`"
        )
    n = w.shape[-1]

    def flow(_: Tensor, y: Tensor) -> Tensor:
        x, v, w = y.split(n, -1)
        a = geodesic_acceleration(metric, x, v)
        return torch.cat((v, a, -_connection(metric, x, v, w[:, None])[:, 0]), -1)

    y = torch.cat((x, v, w), -1).reshape(-1, 3 * n)
    solution = integrated(flow, y, t, chart=None, n=n, **options)
    vectors = solution.states[..., 2 * n :].reshape(len(t), *w.shape)
    status, reached = (a.reshape(w.shape[:-1]) for a in (solution.status, solution.reached))
    return Transport(t, vectors, status, reached)


@overload
def holonomy(
    metric: Metric,
    loop: Curve,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
    throw: Literal[True] = ...,
    **options: Unpack[SolverOptions],
) -> Tensor: ...


@overload
def holonomy(
    metric: Metric,
    loop: Curve,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
    throw: Literal[False],
    **options: Unpack[SolverOptions],
) -> Transport: ...


def holonomy(
    metric: Metric,
    loop: Curve,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 10_000,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
    throw: bool = True,
) -> Any:
    r"""Holonomy of a loop: parallel transport of tangent vectors once around it.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        loop: a function of one parameter `()` in [0, 1] to a point `(n,)`, smooth, with the same point at both ends.
        rtol: as for `geodesic`.
        atol: as for `geodesic`.
        max_steps: as for `geodesic`.
        dtype: of the computation.
        device: of the computation.
        throw: whether to raise where the transport fails; otherwise the `Transport` of the basis vectors is returned.

    Returns:
        `(n, n)`, `[k, j]`: the component k of what becomes of the basis vector j. An isometry of g at the point: on an
        oriented surface, a rotation by the integral of the Gauss curvature over what the loop encloses on its left.

    Raises:
        TypeError, ValueError, RuntimeError: as `geodesic`; the metric differs between the ends of the loop.

    Note:
        Coordinates may differ at the ends by a period (an angle by 2π). That the ends are one point is checked by what
        the metric is there.

    Example:
        >>> sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
        >>> circle = lambda s: torch.stack([torch.full_like(s, torch.pi / 3), 2 * torch.pi * s])
        >>> holonomy(sphere, circle).diagonal().round(decimals=6)  # rotation by the area π
        tensor([-1., -1.], dtype=torch.float64)
    """
    if not callable(loop):
        raise TypeError(f"`loop` is a {type(loop).__name__}, expected a function of one parameter to a point (n,)")
    ends = torch.tensor([[0.0], [1.0]], dtype=dtype, device=device)
    points = _jets.jet(lambda s: loop(s[0]), ends, 0)[0]
    if points.ndim != 2:
        raise ValueError(f"`loop` returned shape {tuple(points.shape[1:])} at one parameter, expected a point (n,)")
    (g,) = metric_jet(metric, points.detach(), 0)
    tolerance = torch.finfo(dtype).eps ** 0.5 * g.abs().amax()
    if bool(((g[0] - g[1]).abs() > tolerance).any()):
        raise ValueError(
            f"`loop` does not close: the metric differs between {points[0].tolist()} at 0 and {points[1].tolist()} at 1"
        )
    basis = torch.eye(points.shape[-1], dtype=dtype, device=device)
    options: dict[str, Any] = dict(rtol=rtol, atol=atol, max_steps=max_steps, throw=throw)
    result = parallel_transport(metric, loop, basis, ends[1], **options)
    return result[0].mT if throw else result
