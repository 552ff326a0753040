r"""The logarithm, the v with $\exp_x(v) = y$, by shooting, and the distance it gives."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _jets
from riemann._chunks import BUDGET
from riemann._curvature import FULL_JETS
from riemann._geodesic import exp_map, geodesic_acceleration, message, tolerance
from riemann._jacobi import varied_acceleration, varied_geodesics
from riemann._metric import jets_of, metric_jet
from riemann._ode import Status
from riemann._types import Field, Metric

_SHIFT = 10.0  # of the first step: about the least eigenvalue, π², of the second derivative on [0, 1]
_KRYLOV = 40  # steps of GMRES


class Logarithm(NamedTuple):
    r"""Velocities of geodesics between points of a batch.

    Attributes:
        velocities: the v with $\exp_x(v) = y$, `(*batch, n)`; NaN where none was found.
        error: $|\exp_x(v) - y|$, the largest of the coordinates, of the best v found, `(*batch,)`.
        status: what became of each point, `(*batch,)`, values of `riemann.Status`.
    """

    velocities: Tensor
    error: Tensor
    status: Tensor

    @property
    def message(self) -> str:
        """What happened, in a sentence, with the first point where something did."""
        text = message("geodesic between two points", self.status, self.error)
        bad = self.status != Status.SUCCESS
        if not bool(bad.any()):
            return text
        error = float(self.error[_jets.first(bad)] if bad.ndim else self.error)
        return f"{text}; the best one found misses `y` by {error:.3g} in a coordinate"


def log_map(
    metric: Metric,
    x: Float[Tensor, "*#batch n"],
    y: Float[Tensor, "*#batch n"],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 10_000,
    max_iterations: int = 30,
    chart: Field | None = None,
    throw: bool = True,
) -> Any:
    r"""Logarithm, the tangent vector v at x with $\exp_x(v) = y$ of the geodesic that continues the straight line.

    Newton's method on $v \mapsto \exp_x(v) - y$ from $v = y - x$, its derivative by Jacobi fields; where it fails, on
    the path cut into pieces that are shot separately.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        y: points, broadcast against `x`.
        rtol: as for `geodesic`; `y` is to be met to 5 times that, relative to the largest coordinate, if over 1.
        atol: as for `geodesic`.
        max_steps: as for `geodesic`.
        max_iterations: Newton steps of a round.
        chart: as for `geodesic`.
        throw: whether to raise where a point of the batch fails; otherwise the `Logarithm` is returned.

    Returns:
        `(*batch, n)`; the `Logarithm` if `throw` is false.

    Raises:
        TypeError, ValueError: as `at`.
        RuntimeError: no geodesic was found for some point (with `throw`); called under `vmap`.

    Note:
        A geodesic of the chart, the shortest one within the injectivity radius; there may be others beyond. First
        derivatives, to x, y and the parameters of the metric, are those of the implicit function; second ones raise.

    Example:
        >>> half_plane = lambda x: torch.eye(2, dtype=torch.float64) / x[1] ** 2
        >>> x, y = torch.tensor([[0.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
        >>> log_map(half_plane, x, y)[1].exp().round(decimals=6)
        tensor(2., dtype=torch.float64)
    """
    x, y = _jets.broadcast_vectors(x, y=y)
    options = dict(rtol=rtol, atol=atol, max_steps=max_steps, chart=chart)
    _jets.check_unmapped(x, y)
    metric_jet(metric, torch.stack((x.detach(), y.detach())), 1)  # warns where it is no metric
    n, batch = x.shape[-1], x.shape[:-1]
    with torch.no_grad():
        flat = x.detach().reshape(-1, n), y.detach().reshape(-1, n)
        found, error = _search(metric, *flat, max_iterations, options)
    good = ~found.isnan().any(-1)
    v = _implicit(metric, x.reshape(-1, n), y.reshape(-1, n), found, good, options)
    status = torch.where(good, Status.SUCCESS, Status.NOT_CONVERGED)
    result = Logarithm(v.reshape(*batch, n), error.reshape(batch), status.reshape(batch))
    if not throw:
        return result
    if not bool(good.all()):
        raise RuntimeError(f"{result.message}. `throw=False` returns what was found, with a status for each point")
    return result.velocities


def _implicit(metric: Metric, x: Tensor, y: Tensor, v: Tensor, good: Tensor, options: dict[str, Any]) -> Tensor:
    r"""One Newton step from the solution, $v - (\partial \exp)^{-1} (\exp_x(v) - y)$: its derivatives are implicit."""
    if not bool(good.any()):
        return v
    n = x.shape[-1]
    if not _jets.carry_derivatives(x, y, geodesic_acceleration(metric, x[good], v[good])):
        return v
    miss = exp_map(metric, x[good], v[good], throw=False, **options).points[0] - y[good]
    with torch.no_grad():
        one = torch.eye(n, dtype=x.dtype, device=x.device).expand(len(v[good]), n, n)
        start = (x.detach()[good], v[good], torch.zeros_like(one), one)
        _, (_, _, J, _) = varied_geodesics(metric, *start, x.new_ones(1), **options)
        inverse = torch.linalg.inv_ex(J[0])[0]
    better = v[good] - (inverse @ miss.unsqueeze(-1)).squeeze(-1)
    return v.index_put((good.nonzero()[:, 0],), _jets.once(better, "log_map"))


def _search(
    metric: Metric, x: Tensor, y: Tensor, max_iterations: int, options: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Velocities, NaN where none was found, and the least miss of `y`."""
    found, error = torch.full_like(x, torch.nan), torch.full_like(x[:, 0], torch.inf)
    n = x.shape[-1]
    room = max(1, BUDGET // (32 * (max(_grids(n)) * n) ** (2 if n <= FULL_JETS else 1)))
    for lanes in torch.arange(len(x), device=x.device).split(room):
        path = _relaxed(metric, x[lanes], y[lanes], max_iterations, options)
        v, miss = _polish(metric, x[lanes], y[lanes], path, options)
        met = miss <= _goal(y[lanes], options)
        found[lanes[met]], error[lanes] = v[met], miss
    return found, error


def _goal(y: Tensor, options: dict[str, Any]) -> Tensor:
    """How far from y, in its largest coordinate, a geodesic may end."""
    return 5 * tolerance(options["rtol"], y) * y.abs().amax(-1).clamp(min=1.0)


def _polish(metric: Metric, x: Tensor, y: Tensor, path: Tensor, options: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Newton steps with the derivative at a relaxed path: the best v of each point, and its miss of y."""
    curves = _Curves(metric, path, x.dtype)
    trial = curves.velocity[:, 0].to(x.dtype)
    best, size = trial.clone(), torch.full_like(trial[:, 0], torch.inf)
    on = torch.isfinite(trial).all(-1).nonzero()[:, 0]
    while len(on):
        shot = exp_map(metric, x[on], trial[on], throw=False, **options)
        miss = torch.where((shot.status == Status.SUCCESS)[:, None], shot.points[0] - y[on], torch.nan)
        new = miss.abs().amax(-1).nan_to_num(torch.inf)
        better, again = new < size[on], (new < 0.3 * size[on]) & (new > 0.2 * _goal(y[on], options))
        best[on[better]], size[on[better]] = trial[on[better]], new[better]
        on, miss = on[again], miss[again]
        if len(on):
            trial[on] = best[on] - _Curves(metric, path[on], x.dtype).turned(miss.to(path)).to(x.dtype)
            on = on[torch.isfinite(trial[on]).all(-1)]
    return best, size


# ------------------------------------------------------------------------------------------------- relaxed paths


class _Curves:
    r"""Curves by their values at the nodes of Chebyshev, `(b, N + 1, n)`: tension $\ddot \gamma - a$ and its change.

    Algebra is in float64, whatever the metric computes in: second derivatives lose $N^4$ roundings.
    """

    def __init__(self, metric: Metric, path: Tensor, dtype: torch.dtype):
        self.D = _differentiation(path.shape[1] - 1, path)
        self.metric, self.path, self.velocity = metric, path, self.D @ path
        self.arguments = [a[:, 1:-1].to(dtype) for a in (path, self.velocity)]

    def tension(self) -> Tensor:
        """$\\ddot \\gamma - a(\\gamma, \\dot \\gamma)$ at the inner nodes, `(b, N - 1, n)`."""
        return (self.D @ self.velocity)[:, 1:-1] - geodesic_acceleration(self.metric, *self.arguments).to(self.path)

    def _varied(self, X: Tensor, V: Tensor) -> Tensor:
        """Change of the acceleration along columns, `(b, N - 1, n, c)` each."""
        x, v = self.arguments
        flat = [a.flatten(0, 1) for a in (x, v, X.to(x), V.to(x))]
        return varied_acceleration(self.metric, *flat)[1].unflatten(0, x.shape[:2]).to(self.path)

    def change(self, W: Tensor) -> Tensor:
        """Of the tension by a change of the curve, `(b, N + 1, n)`."""
        V = self.D @ W
        return (self.D @ V)[:, 1:-1] - self._varied(W[:, 1:-1, :, None], V[:, 1:-1, :, None]).squeeze(-1)

    def solve(self, r: Tensor, shift: Tensor) -> Tensor:
        """The change of the inner nodes, whose change of the tension less `shift`, `(b,)`, times itself is r."""
        _, m, n = r.shape
        inner, second = self.D[1:-1, 1:-1], (self.D @ self.D)[1:-1, 1:-1]
        one = torch.eye(m, dtype=r.dtype, device=r.device)
        shifted = second - shift[:, None, None] * one
        if n > FULL_JETS:
            pad = torch.nn.functional.pad
            operator = lambda w: self.change(pad(w, (0, 0, 1, 1))) - shift[:, None, None] * w  # noqa: E731
            inverse = torch.linalg.inv_ex(shifted)[0]
            return _minimal_residual(lambda w: inverse @ operator(w), inverse @ r)
        unit = torch.eye(n, dtype=r.dtype, device=r.device).expand(*r.shape[:2], n, n)
        A_x, A_v = self._varied(torch.cat((unit, 0 * unit), -1), torch.cat((0 * unit, unit), -1)).split(n, -1)
        L = shifted[:, :, None, :, None] * unit[0, 0][:, None, :] - torch.einsum("bikl,ij->bikjl", A_v, inner)
        L = L - torch.einsum("bikl,ij->bikjl", A_x, one)
        return torch.linalg.solve_ex(L.reshape(-1, m * n, m * n), r.flatten(1))[0].unflatten(1, (m, n))

    def turned(self, end: Tensor) -> Tensor:
        """Change of the first velocity of a geodesic that moves its end by `end`, `(b, n)`."""
        W = torch.zeros_like(self.path)
        W[:, -1] = end
        W[:, 1:-1] = self.solve(-self.change(W), torch.zeros_like(end[:, 0]))
        return self.D[0] @ W


def _relaxed(metric: Metric, x: Tensor, y: Tensor, max_iterations: int, options: dict[str, Any]) -> Tensor:
    r"""Curves from x to y of vanishing tension, by Newton's method from the straight line, on finer and finer nodes.

    Where a step does not help, it is shortened by an implicit step of the heat flow $\partial_t \gamma = \ddot \gamma -
    a$ instead, $(1/t - D) \delta = \ddot \gamma - a$: it leads to a stable geodesic, and Newton's step is that of t = ∞.
    """
    x, y, dtype = x.double(), y.double(), x.dtype
    goal = 0.2 * _goal(y.to(dtype), options).double()
    path = torch.stack((x, y), 1)
    on = torch.arange(len(x), device=x.device)
    for nodes in _grids(x.shape[-1]):
        path = _interpolation(path.shape[1] - 1, nodes, path) @ path
        size, tension = _misfit(metric, path, dtype)
        on = (size > goal).nonzero()[:, 0]  # what finer nodes find, too, is found
        lanes = on[size[on].isfinite()]
        shift = torch.full_like(size, _SHIFT)
        for _ in range(max_iterations):
            if len(lanes) == 0:
                break
            trial = path[lanes].clone()
            trial[:, 1:-1] -= _Curves(metric, path[lanes], dtype).solve(tension[lanes], shift[lanes])
            trial = trial.nan_to_num(torch.inf)
            new, rest = _misfit(metric, trial, dtype)
            better = new < size[lanes]
            gain = lanes[better]
            path[gain], size[gain], tension[gain] = trial[better], new[better], rest[better]
            shift[lanes] = torch.where(better, shift[lanes] / 10, (10 * shift[lanes]).clamp(min=_SHIFT))
            lanes = lanes[(size[lanes] > goal[lanes]) & (shift[lanes] < _SHIFT * 1e5)]
        if len(on) == 0:
            break
    return path


def _misfit(metric: Metric, path: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """How far curves are from geodesics, as a distance `(b,)`, infinite where not finite; their tension."""
    finite = path.isfinite().flatten(1).all(1)
    curves = _Curves(metric, torch.where(finite[:, None, None], path, path[:, :1].nan_to_num(0, 0, 0)), dtype)
    tension = curves.tension()
    flat = torch.linalg.solve((curves.D @ curves.D)[1:-1, 1:-1], tension)
    size = flat.abs().flatten(1).amax(1)
    return torch.where(finite, size, torch.inf).nan_to_num(torch.inf), tension


def _minimal_residual(operator: Callable[[Tensor], Tensor], r: Tensor) -> Tensor:
    """GMRES for each point of a batch: `operator(w) = r`, `(b, m, n)`, in a fixed number of steps."""
    shape, flat = r.shape, r.flatten(1)
    norm = flat.norm(dim=1)
    basis = [flat / norm.clamp(min=1e-300)[:, None]]
    images = []
    for _ in range(_KRYLOV):
        w = operator(basis[-1].reshape(shape)).flatten(1)
        images.append(w)
        B = torch.stack(basis, 1)
        coefficients = torch.linalg.lstsq(torch.stack(images, 2), flat.unsqueeze(-1)).solution
        rest = flat - (torch.stack(images, 2) @ coefficients).squeeze(-1)
        if bool((rest.norm(dim=1) <= 1e-8 * norm).all()):
            break
        for _ in range(2):
            w = w - (B.mT @ (B @ w.unsqueeze(-1))).squeeze(-1)
        basis.append(w / w.norm(dim=1).clamp(min=1e-300)[:, None])
    solution = (torch.stack(basis[: len(images)], 2) @ coefficients).squeeze(-1)
    return solution.reshape(shape)


def _grids(n: int) -> tuple[int, ...]:
    """Numbers of intervals between nodes, coarse to fine."""
    return (16, 32, 64, 128) if n <= 4 else (12, 24, 48)


def _nodes(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes of Chebyshev on [0, 1], and the barycentric weights."""
    k = torch.arange(count + 1, dtype=like.dtype, device=like.device)
    weights = (1 - 2 * (k % 2)) * torch.where((k == 0) | (k == count), 0.5, 1.0)
    return torch.sin(torch.pi / 2 * k / count) ** 2, weights


def _differentiation(count: int, like: Tensor) -> Tensor:
    s, w = _nodes(count, like)
    one = torch.eye(count + 1, dtype=like.dtype, device=like.device)
    D = (w / w[:, None]) / (s[:, None] - s + one) * (1 - one)
    return D - torch.diag(D.sum(1))


def _interpolation(count: int, finer: int, like: Tensor) -> Tensor:
    """Values at the nodes to values at other nodes."""
    (s, w), (t, _) = _nodes(count, like), _nodes(finer, like)
    gap = t[:, None] - s
    same = gap.abs() < 1e-14
    P = torch.where(same.any(1, keepdim=True), same.to(like), w / torch.where(same, 1.0, gap))
    return P / P.sum(1, keepdim=True)


def distance(
    metric: Metric, x: Float[Tensor, "*#batch n"], y: Float[Tensor, "*#batch n"], *, throw: bool = True, **options: Any
) -> Any:
    r"""Length of the geodesic that `log_map` finds, $\sqrt{|g_x(v, v)|}$ with $v = \log_x y$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        y: points, broadcast against `x`.
        throw: whether to raise where a point of the batch fails; otherwise the `Logarithm` is returned.
        **options: as for `log_map`.

    Returns:
        `(*batch,)`; the `Logarithm` if `throw` is false.

    Raises:
        TypeError, ValueError, RuntimeError: as `log_map`.

    Note:
        The Riemannian distance within the injectivity radius. Proper time or proper length, if g is Lorentzian. At
        x = y, where it has no derivative, and between points on one light ray, the derivative given is 0.

    Example:
        >>> half_plane = lambda x: torch.eye(2, dtype=torch.float64) / x[1] ** 2
        >>> x, y = torch.tensor([[0.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
        >>> distance(half_plane, x, y).exp().round(decimals=6)
        tensor(2., dtype=torch.float64)
    """
    result = log_map(metric, x, y, throw=throw, **options)
    if not throw:
        return result
    (g,) = jets_of(metric, _jets.broadcast_vectors(x, y=y)[0], 0)
    squared = torch.einsum("...ij,...i,...j->...", g, result, result).abs()
    length = squared > 0
    return torch.where(length, torch.where(length, squared, 1.0).sqrt(), 0.0)
