"""A plane of coordinates to draw in, its axes, and how colours and words are chosen."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from torch import Tensor

import riemann as rm
from riemann._points.checks import is_number
from riemann._types import Metric

Box = Sequence[Sequence[float] | float]
Quantity = Callable[[Metric, Tensor], Tensor]
PRECISION = 1e-6  # of curves, relative; finer than a picture shows


class Plane:
    """The plane of two free coordinates of a box, cut into cells."""

    def __init__(self, metric: Any, box: Box, resolution: int | tuple[int, int]):
        intervals = [not is_number(b) for b in box]
        if sum(intervals) != 2 or any(len(b) != 2 or not b[0] < b[1] for b in box if not is_number(b)):
            raise ValueError(
                f"`box` is {box!r}, expected two intervals (low, high) with low < high, and a number for each other "
                "coordinate"
            )
        self.n = len(intervals)
        self.free = tuple(k for k, free in enumerate(intervals) if free)
        like = next(iter(metric.parameters()), None) if isinstance(metric, torch.nn.Module) else None
        like = torch.empty(0, dtype=torch.float64) if like is None else like.detach()
        self.held = like.new_tensor([0.0 if free else float(b) for b, free in zip(box, intervals, strict=True)])
        self.bounds = like.new_tensor([box[k] for k in self.free]).unbind(-1)
        low, high = self.bounds
        sides = (high - low).tolist()
        counts = resolution
        if isinstance(resolution, int):
            counts = tuple(max(2, round(resolution * side / max(sides))) for side in sides)
            counts = tuple(max(count, resolution // 3) for count in counts)
        self.edges = [
            np.linspace(a, b, count + 1) for a, b, count in zip(low.tolist(), high.tolist(), counts, strict=True)
        ]
        self.centres = self.points(*((edges[1:] + edges[:-1]) / 2 for edges in self.edges))
        names = getattr(metric, "coordinates", None)
        self.labels = [latex_of(names[k]) if names else rf"$x^{{{k + 1}}}$" for k in self.free]

    def points(self, first: np.ndarray, second: np.ndarray) -> Tensor:
        """Points `(first, second, n)` of a grid."""
        x = self.held.repeat(len(first), len(second), 1)
        x[..., self.free[0]] = torch.from_numpy(first).to(x)[:, None]
        x[..., self.free[1]] = torch.from_numpy(second).to(x)
        return x

    def restricted(self, metric: Metric, x: Tensor) -> Tensor:
        """The metric on the plane, `(*batch, 2, 2)`."""
        g, free = rm.at(metric, x, 0).g.detach(), list(self.free)
        return g[..., free, :][..., free]

    def check_two(self, name: str) -> None:
        """Raises where other coordinates are held: geodesics would leave the plane."""
        if self.n != 2:
            raise ValueError(f"`box` has {self.n} coordinates, and `{name}` takes a plane: ((low, high), (low, high))")

    def finish(self, ax: Axes) -> Axes:
        """Limits, equal scales and names of the coordinates."""
        (left, down), (right, up) = (bound.tolist() for bound in self.bounds)
        ax.set(xlim=(left, right), ylim=(down, up), xlabel=self.labels[0], ylabel=self.labels[1])
        ax.set_aspect("equal")
        return ax


class Colours:
    """A perceptually uniform scale: diverging around 0 where values change their sign."""

    def __init__(self, values: np.ndarray):
        finite = values[np.isfinite(values)]
        if not finite.size:
            raise ValueError("the quantity is finite nowhere in `box`")
        low, high = np.quantile(finite, [0.005, 0.995])
        size = max(abs(low), abs(high))
        if high - low <= 1e-6 * size or size == 0:  # constant to rounding: one colour, not a picture of rounding
            low, high = low - 0.5 * (size or 1), high + 0.5 * (size or 1)
        self.name = "viridis"
        if low < 0 < high:
            self.name, low, high = "RdBu_r", -size, size
        self.norm = Normalize(low, high)
        below, above = finite.min() < low - 1e-9 * size, finite.max() > high + 1e-9 * size
        self.extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")


def name_of(quantity: Quantity) -> str:
    """A function's name in words; people keep their capitals."""
    words = getattr(quantity, "__name__", "").split("_")
    return " ".join(w.capitalize() if w in ("gauss", "kretschmann") else w for w in words if w != "<lambda>")


def light_of(vertices: np.ndarray) -> np.ndarray:
    """`light_on` the faces of a net `(rows, columns, 3)`."""
    return light_on(np.cross(vertices[1:, 1:] - vertices[:-1, :-1], vertices[1:, :-1] - vertices[:-1, 1:]))


def light_on(normals: np.ndarray) -> np.ndarray:
    """How bright faces with these normals are: soft, so that colours can be read, and on both sides."""
    length = np.linalg.norm(normals, axis=-1)
    return 0.65 + 0.35 * np.abs(normals @ np.array([0.36, -0.48, 0.8])) / np.where(length > 0, length, 1)


def axes_of(ax: Axes | None) -> Axes:
    return plt.figure(layout="constrained").add_subplot() if ax is None else ax


def latex_of(name: str) -> str:
    import sympy as sp

    return f"${sp.latex(sp.Symbol(name))}$"


def is_definite(g: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of a metric; raises where it is not positive definite."""
    bad = ~torch.isfinite(g).all(-1).all(-1)
    w, V = torch.linalg.eigh(torch.where(bad[..., None, None], torch.zeros_like(g), g))
    bad = w[..., 0] <= 0
    if bool(bad.any()):
        where = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(f"`metric` is not positive definite at {x[where].tolist()}, so it has no unit circle there")
    return w, V


def angle_of(g: Tensor, u: Tensor, v: Tensor) -> float:
    """The oriented angle from u to v."""
    area = g.det().sqrt() * (u[0] * v[1] - u[1] * v[0])
    return math.atan2(float(area), float(u @ g @ v))
