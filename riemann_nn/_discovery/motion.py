r"""Free motion under a metric, $\ddot x = -\Gamma(\dot x, \dot x) - g^{-1} dV$, between samples, and its derivatives.

Runge and Kutta's method of order 4. The equation of variations goes through the same stages, so that derivatives to the
state at the start and to the parameters are those of the steps taken.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann import formulas, recorded_gradients
from riemann._shared import field, jets_along, jets_at, jets_of, with_tensors


class Motion:
    """Metrics, and potentials, of one vector of parameters, `theta`; the modules are copies and hold its values."""

    def __init__(self, metric: torch.nn.Module, potential: Any = None):
        self.metric, self.potential = copy.deepcopy(metric), copy.deepcopy(potential)
        self._of_metric = [(name, p) for name, p in self.metric.named_parameters() if p.requires_grad]
        self._of_potential = (
            [(name, p) for name, p in self.potential.named_parameters() if p.requires_grad]
            if isinstance(potential, torch.nn.Module)
            else []
        )

    @property
    def parameters(self) -> list[Tensor]:
        """The parameters that are fitted, those of the metric first."""
        return [p for _, p in self._of_metric + self._of_potential]

    @property
    def learned_potential(self) -> bool:
        """Whether some of them are the potential's."""
        return bool(self._of_potential)

    @property
    def names(self) -> list[str]:
        """A name for each number of `theta`."""
        named = self._of_metric + [(f"potential.{name}", p) for name, p in self._of_potential]
        return [f"{name}[{k}]" if p.numel() > 1 else name for name, p in named for k in range(p.numel())]

    @property
    def theta(self) -> Tensor:
        """Their values, `(P,)`."""
        return torch.cat([p.detach().reshape(-1) for p in self.parameters])

    def set(self, theta: Tensor) -> None:
        """Gives the modules other values."""
        with torch.no_grad():
            for p, values in zip(self.parameters, self._split(theta), strict=True):
                p.copy_(values.reshape(p.shape))

    def _split(self, theta: Tensor) -> tuple[Tensor, ...]:
        return theta.split([p.numel() for p in self.parameters], -1)

    def acceleration(self, x: Tensor, v: Tensor) -> Tensor:
        """At points and velocities `(points, n)`."""
        with torch.no_grad():
            dV = None if self.potential is None else jets_at(self.potential, x, 1, "potential")[1]
            return _acceleration(*jets_of(self.metric, x, 1), v, dV)

    def signature(self, x: Tensor) -> Tensor:
        """Signs of the eigenvalues of g, `(points, n)`; NaN where it is not finite."""
        with torch.no_grad():
            (g,) = jets_of(self.metric, x, 0)
            finite = g.isfinite().all(-1).all(-1)
            eye = torch.eye(x.shape[-1]).to(x)
            signs = torch.linalg.eigvalsh(torch.where(finite[:, None, None], g, eye)).sign()
            return torch.where(finite[:, None], signs, torch.nan)

    def derivatives(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The acceleration and its derivatives to x, v, theta, `(points, n, …)`."""
        # each point has parameters of its own, so that one gradient is that of every point
        own = self._own(len(x))
        x, v = (a.detach().requires_grad_() for a in (x, v))
        with torch.enable_grad():
            jet = lambda f, tensors, name: jets_along(f, x, None, 1, *tensors, name=name)
            count, dV = len(self._of_metric), None
            if self.potential is not None:
                V = _called(self.potential, self._of_potential, x, "potential")
                dV = jet(V, own[count:], "potential")[1]
            a = _acceleration(*jet(_called(self.metric, self._of_metric, x, "metric"), own[:count], "metric"), v, dV)
            rows = [recorded_gradients(component.sum(), [x, v, *own]) for component in a.unbind(-1)]
        joined = [(to_x, to_v, torch.cat([t.reshape(len(x), -1) for t in rest], 1)) for to_x, to_v, *rest in rows]
        return a.detach(), *(torch.stack(row, 1) for row in zip(*joined, strict=True))

    def squares(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """g(v, v) at points and velocities `(points, n)`, and its derivatives to theta, `(points, P)`."""
        own = self._own(len(x))
        with torch.enable_grad():
            (g,) = jets_along(_called(self.metric, self._of_metric, x, "metric"), x, None, 0, *own, name="metric")
            square = torch.einsum("zij,zi,zj->z", g, v, v)
            rows = recorded_gradients(square.sum(), own)
        return square.detach(), torch.cat([row.reshape(len(x), -1) for row in rows], 1)

    def _own(self, count: int) -> list[Tensor]:
        return [p.detach().expand(count, *p.shape).clone().requires_grad_() for p in self.parameters]


def _called(function: Any, named: list[tuple[str, Tensor]], x: Tensor, name: str) -> Callable[..., Tensor]:
    """A function of a point and of those parameters."""

    def at(point: Tensor, *tensors: Tensor) -> Tensor:
        those = {name: t for (name, _), t in zip(named, tensors, strict=True)}
        return field(lambda p: with_tensors(function, those, p), x, name)(point)

    return at if named else field(function, x, name)


def _acceleration(g: Tensor, dg: Tensor, v: Tensor, dV: Tensor | None) -> Tensor:
    a = formulas.geodesic_acceleration(g, dg, v)
    return a if dV is None else a - torch.einsum("...ij,...j->...i", formulas.inverse_metric(g), dV)


def flow(motion: Motion, states: Tensor, steps: Tensor, substeps: int) -> Tensor:
    """States `(points, 2n)` after times `(points,)`."""
    h = (steps / substeps).unsqueeze(-1)

    def slope(states: Tensor) -> Tensor:
        x, v = states.chunk(2, -1)
        return torch.cat((v, motion.acceleration(x, v)), -1)

    return _stepped(slope, states, h, substeps)


def flow_and_derivatives(motion: Motion, states: Tensor, steps: Tensor, substeps: int) -> tuple[Tensor, Tensor]:
    """`flow`, and its derivatives to the states and to theta, `(points, 2n, 2n + P)`."""
    n = states.shape[-1] // 2
    h = (steps / substeps).reshape(-1, 1, 1)

    def slope(both: Tensor) -> Tensor:
        """Of states and their derivatives beside each other, `(points, 2n, 1 + 2n + P)`."""
        x, v = both[:, :n], both[:, n:]
        a, to_x, to_v, to_theta = motion.derivatives(x[..., 0], v[..., 0])
        down = to_x @ x[..., 1:] + to_v @ v[..., 1:]
        down[..., 2 * n :] += to_theta
        return torch.cat((v, torch.cat((a.unsqueeze(-1), down), -1)), 1)

    start = torch.eye(2 * n, 2 * n + len(motion.theta)).to(states).expand(len(states), -1, -1)
    both = torch.cat((states.unsqueeze(-1), start), -1)
    both = _stepped(slope, both, h, substeps)
    return both[..., 0], both[..., 1:]


def _stepped(slope: Callable[[Tensor], Tensor], y: Tensor, h: Tensor, steps: int) -> Tensor:
    """Runge and Kutta's steps of order 4."""
    for _ in range(steps):
        k1 = slope(y)
        k2 = slope(y + h / 2 * k1)
        k3 = slope(y + h / 2 * k2)
        k4 = slope(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y
