"""What a metric does to vectors and curves: unit circles, geodesics, transport, light."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Ellipse
from torch import Tensor

import riemann as rm
from riemann._types import Field, Metric
from riemann.plot._plane import (
    PRECISION,
    Box,
    Plane,
    angle_of,
    axes_of,
    is_definite,
)


def metric_ellipses(
    metric: Metric,
    box: Box,
    *,
    shape: tuple[int, int] = (9, 9),
    radius: float | None = None,
    color: str = "tab:blue",
    ax: Axes | None = None,
) -> Axes:
    r"""Draws the unit circles of a metric on a plane (Tissot's indicatrix): ellipses $g(v, v) =$ `radius`².

    Their half axes are `radius` $/ \sqrt{\lambda}$, with the eigenvalues $\lambda$ of g: small where lengths are
    large. In more dimensions the metric is that of the plane of the two coordinates.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        box: for each coordinate `(low, high)`, or a number where it is held: two intervals in all.
        shape: how many along the two coordinates.
        radius: length of the vectors drawn; by default the largest for which ellipses do not touch.
        color: of the ellipses.
        ax: axes to draw into; new ones by default.

    Returns:
        The axes; `ax.patches` holds the ellipses.

    Raises:
        ValueError: a metric that is not positive definite at one of the points.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> axes = metric_ellipses(half_plane, ((-1, 1), (0.1, 2)), shape=(3, 4), radius=0.1)
        >>> len(axes.patches)
        12
    """
    plane = Plane(metric, box, shape)
    g = plane.restricted(metric, plane.centres).reshape(-1, 2, 2)
    points = plane.centres[..., list(plane.free)].reshape(-1, 2)
    w, V = is_definite(g, points)
    if radius is None:
        cells = torch.tensor([edges[1] - edges[0] for edges in plane.edges]).to(g)
        widths = torch.linalg.inv(g).diagonal(dim1=-2, dim2=-1).sqrt()
        radius = 0.46 * float((cells / widths).min())
    half = (radius / w.sqrt()).tolist()
    angles = torch.atan2(V[:, 1, 0], V[:, 0, 0]).rad2deg().tolist()
    ax = axes_of(ax)
    for point, (a, b), angle in zip(points.tolist(), half, angles, strict=True):
        ax.add_patch(Ellipse(point, 2 * a, 2 * b, angle=angle, facecolor=color, edgecolor=color, alpha=0.45, lw=1))
    return plane.finish(ax)


def geodesic_fan(
    metric: Metric,
    box: Box,
    x: Tensor | None = None,
    *,
    num: int = 24,
    length: float | None = None,
    color: str = "tab:blue",
    ax: Axes | None = None,
) -> Axes:
    """Draws the geodesics from a point in all directions, and circles of the points that are equally far along them.

    Args:
        metric: positive definite, one point `(2,)` to `(2, 2)`.
        box: `((low, high), (low, high))`, the window.
        x: where they start, `(2,)`; the centre of the window by default.
        num: how many.
        length: how far; by default about to the corners.
        color: of the lines.
        ax: axes to draw into; new ones by default.

    Returns:
        The axes; `ax.lines` holds the geodesics, then the circles at a quarter, a half, three quarters and all of
        `length`.

    Raises:
        ValueError: other than two coordinates; a metric that is not positive definite at x.

    Example:
        >>> axes = geodesic_fan(lambda x: torch.eye(2) / x[1] ** 2, ((-1, 1), (0.2, 2)), num=6, length=0.5)
        >>> len(axes.lines)
        10
    """
    plane = Plane(metric, box, 2)
    plane.check_two("geodesic_fan")
    low, high = plane.bounds
    x = (low + high) / 2 if x is None else torch.as_tensor(x).detach().to(low)
    w, V = is_definite(rm.at(metric, x, 0).g.detach(), x)
    every = math.ceil(180 / num)  # more of them than are drawn, so that the circles are round
    angles = torch.linspace(0, 2 * math.pi, every * num + 1).to(x)[:-1]
    v = torch.stack([angles.cos(), angles.sin()], -1) / w.sqrt() @ V.mT
    if length is None:
        corners = torch.cartesian_prod(*torch.stack([low, high], -1)) - x
        length = float(torch.einsum("ci,ij,cj->c", corners, V * w @ V.mT, corners).max().sqrt())
    t = torch.linspace(0, length, 201).to(x)
    margin = 2 * (high - low)  # a geodesic ends before the step that leaves, which may be a long one
    inside = lambda p: ((p > low - margin) & (p < high + margin)).all()
    with torch.no_grad():
        points = rm.geodesic(metric, x, v, t, rtol=PRECISION, chart=inside, throw=False).points.cpu()
    ax = axes_of(ax)
    for k in range(0, every * num, every):
        ax.plot(points[:, k, 0], points[:, k, 1], color=color, lw=1.1)
    for k in (50, 100, 150, 200):
        circle = torch.cat([points[k], points[k, :1]])
        ax.plot(circle[:, 0], circle[:, 1], color="tab:orange", lw=0.9)
    ax.scatter(*x.tolist(), color="black", s=14, zorder=3)
    return plane.finish(ax)


def geodesic(
    metric: Metric,
    box: Box,
    x: Tensor,
    y: Tensor,
    *,
    straight: bool = True,
    color: str = "tab:blue",
    ax: Axes | None = None,
    **options: Any,
) -> Axes:
    """Draws geodesics from points to points, beside the straight lines of the coordinates.

    Args:
        metric: callable, one point `(2,)` to `(2, 2)`.
        box: `((low, high), (low, high))`, the window.
        x: where they start, `(*batch, 2)`.
        y: where they end, broadcast against `x`.
        straight: whether to draw the straight lines, dotted.
        color: of the geodesics.
        ax: axes to draw into; new ones by default.
        **options: as for `rm.log_map`, such as `restarts=8`.

    Returns:
        The axes; `ax.lines` holds the geodesics, in the order of the batch, then the straight lines.

    Raises:
        ValueError: other than two coordinates.
        RuntimeError: no geodesic was found for some points.

    Example:
        >>> import riemann as rm
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> x, y = torch.tensor([[-0.8, 0.5], [0.8, 0.5]])
        >>> axes = rm.plot.geodesic(half_plane, ((-1, 1), (0.2, 2)), x, y)
        >>> len(axes.lines)
        2
    """
    plane = Plane(metric, box, 2)
    plane.check_two("geodesic")
    x, y = torch.broadcast_tensors(*(torch.as_tensor(a).detach().to(plane.bounds[0]) for a in (x, y)))
    x, y = x.reshape(-1, 2), y.reshape(-1, 2)
    with torch.no_grad():
        v = rm.log_map(metric, x, y, rtol=PRECISION, **options)
        points = rm.geodesic(metric, x, v, torch.linspace(0, 1, 201).to(x), rtol=PRECISION).points.cpu()
    ax = axes_of(ax)
    for k in range(len(x)):
        ax.plot(points[:, k, 0], points[:, k, 1], color=color, lw=1.4)
    for a, b in zip(x.cpu(), y.cpu(), strict=True) if straight else ():
        ax.plot(*torch.stack((a, b)).mT, color="gray", lw=0.9, ls=":")
    ax.scatter(*torch.cat((x, y)).cpu().mT, color="black", s=14, zorder=3)
    return plane.finish(ax)


def poincare_disc(x: Tensor, y: Tensor | None = None, *, color: str = "tab:blue", ax: Axes | None = None) -> Axes:
    """Draws points of the Poincaré disc, of curvature -1, and the geodesics between them.

    Args:
        x: points, `(*batch, 2)`, inside the unit circle.
        y: ends of geodesics from them, broadcast against `x`.
        color: of the geodesics.
        ax: axes to draw into; new ones by default.

    Returns:
        The axes; `ax.lines` holds the geodesics, at equal steps of their length; the edge is the last of `ax.patches`.

    Raises:
        ValueError: points that are not of the disc.

    Example:
        >>> axes = poincare_disc(torch.tensor([[0.5, 0.0], [0.0, 0.8]]), torch.tensor([0.0, 0.5]))
        >>> len(axes.lines)
        2
    """
    ends = torch.broadcast_tensors(*(torch.as_tensor(a, dtype=torch.float64) for a in (x, x if y is None else y)))
    ends = [a.detach().cpu().numpy() for a in ends]
    if ends[0].shape[-1] != 2 or not all(bool((np.linalg.norm(a, axis=-1) < 1).all()) for a in ends):
        raise ValueError(f"`x` and `y` are points {ends[0].shape}, expected (*batch, 2) with |x| < 1")
    start, end = (a.reshape(-1, 2) @ np.array([1, 1j]) for a in ends)
    ax = axes_of(ax)
    if y is not None:
        moved = (end - start) / (1 - start.conj() * end)  # seen from the start, geodesics are straight
        length = np.arctanh(np.abs(moved))
        along = np.tanh(np.linspace(0, 1, 201)[:, None] * length) * np.exp(1j * np.angle(moved))
        arcs = (along + start) / (1 + start.conj() * along)
        for arc in arcs.T:
            ax.plot(arc.real, arc.imag, color=color, lw=1.2)
    ends = np.concatenate((start, end))
    ax.scatter(ends.real, ends.imag, color="black", s=12, zorder=3)
    ax.add_patch(Circle((0, 0), 1, fill=False, color="black", lw=1.2))
    ax.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), xlabel="$x^{1}$", ylabel="$x^{2}$")
    ax.set_aspect("equal")
    return ax


def parallel_transport(
    metric: Metric,
    box: Box,
    loop: Field,
    w: Tensor | None = None,
    *,
    num: int = 24,
    scale: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draws a vector carried around a loop in parallel, and says by what angle it has turned.

    Args:
        metric: positive definite, one point `(2,)` to `(2, 2)`.
        box: `((low, high), (low, high))`, the window.
        loop: a parameter in [0, 1] to a point `(2,)`.
        w: the vector at the start, `(2,)`; the first coordinate vector, of length 1, by default.
        num: how many vectors to draw.
        scale: length in the picture of the longest; a fifth of the window by default.
        ax: axes to draw into; new ones by default.

    Returns:
        The axes; the title says the angle from the first vector to the last, in degrees, counterclockwise in the
        orientation of the coordinates.

    Raises:
        ValueError: other than two coordinates; a metric that is not positive definite at the start.

    Example:
        >>> sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
        >>> import riemann as rm
        >>> loop = lambda s: torch.stack([torch.pi / 3 + 0 * s, 2 * torch.pi * s])
        >>> rm.plot.parallel_transport(sphere, ((0, 2), (0, 6.28)), loop).get_title()
        'turned by 180.0°'
    """
    plane = Plane(metric, box, 2)
    plane.check_two("parallel_transport")
    low, high = plane.bounds
    t = torch.linspace(0, 1, num + 1).to(low)
    points = torch.stack([loop(s) for s in t]).detach()
    g = rm.at(metric, points[0], 0).g.detach()
    is_definite(g, points[0])
    w = low.new_tensor([1.0, 0.0]) / g[0, 0].sqrt() if w is None else torch.as_tensor(w).detach().to(low)
    vectors = rm.parallel_transport(metric, loop, w, t).detach()
    angle = angle_of(g, vectors[0], vectors[-1])
    size = 0.2 * float((high - low).max()) if scale is None else scale
    drawn = (vectors * size / vectors.norm(dim=-1).max()).cpu()
    ax = axes_of(ax)
    path = torch.stack([loop(s) for s in torch.linspace(0, 1, 401).to(low)]).detach().cpu()
    ax.plot(path[:, 0], path[:, 1], color="0.6", lw=1)
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(drawn)))
    arrows = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.004}
    ax.quiver(*points.cpu().T, *drawn.T, color=colours, zorder=3, **arrows)
    degrees = round(math.degrees(angle), 1) + 0.0  # no minus sign before zero
    ax.set_title(f"turned by {180.0 if degrees == -180 else degrees}°")
    return plane.finish(ax)


def light_rays(
    metric: Metric,
    box: Box,
    *,
    impact: Sequence[float] | None = None,
    horizon: float | None = None,
    length: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draws light in the equatorial plane of a spacetime (t, r, θ, φ), as it comes in parallel from the right.

    Rays start at the right edge of the window, with the direction of a straight line $y = b$ in the coordinates
    $x = r \cos \phi$, $y = r \sin \phi$.

    Args:
        metric: one point `(4,)` to `(4, 4)`, signature (-, +, +, +), static or stationary, with axis $\theta = 0$.
        box: `((low, high), (low, high))` of x and y, the window.
        impact: impact parameters b; 21 across the window by default.
        horizon: radius at which rays end and inside which the picture is black; without it they end where the
            coordinates do.
        length: affine length of the rays; 2.5 times the width of the window by default.
        ax: axes to draw into; new ones by default.

    Returns:
        The axes; `ax.lines` holds the rays. Those that end, at the horizon or where the coordinates do, are orange.

    Raises:
        ValueError: a box with other than two intervals; a metric whose light goes nowhere at the start.

    Example:
        >>> from riemann import spaces
        >>> axes = light_rays(spaces.schwarzschild(M=1), ((-8, 12), (-8, 8)), impact=[-6, 3], horizon=2)
        >>> [line.get_color() for line in axes.lines]
        ['tab:blue', 'tab:orange']
    """
    plane = Plane(metric, box, 2)
    plane.check_two("light_rays")
    (left, down), (right, up) = (bound.tolist() for bound in plane.bounds)
    b = torch.linspace(down, up, 21)[1:-1] if impact is None else torch.as_tensor(impact)
    b = b.to(plane.bounds[0])
    r, phi = torch.hypot(torch.full_like(b, right), b), torch.atan2(b, torch.full_like(b, right))
    zero = torch.zeros_like(b)
    x = torch.stack([zero, r, zero + math.pi / 2, phi], -1)
    u = torch.stack([zero, -phi.cos(), zero, phi.sin() / r], -1)
    g = rm.at(metric, x, 0).g.detach()
    a, mixed, square = g[:, 0, 0], torch.einsum("bi,bi->b", g[:, 0], u), torch.einsum("bi,bij,bj->b", u, g, u)
    k = (-mixed - (mixed**2 - a * square).sqrt()) / a  # the future root of g(k, k) = 0
    if not bool((k > 0).all()):
        raise ValueError(
            f"no light goes to the left at the right edge, x = {right}; t is timelike there, with g_tt < 0?"
        )
    u[:, 0] = k
    length = 2.5 * (right - left) if length is None else length
    t = torch.linspace(0, length, 1001).to(x)
    inner = 0.0 if horizon is None else horizon * (1 + 1e-3)
    with torch.no_grad():
        rays = rm.geodesic(metric, x, u, t, rtol=PRECISION, chart=lambda p: p[1] > inner, throw=False)
    r, phi = rays.points[..., 1].cpu(), rays.points[..., 3].cpu()
    captured = (rays.status != 0).tolist()
    ax = axes_of(ax)
    for k in range(len(b)):
        color = "tab:orange" if captured[k] else "tab:blue"
        ax.plot(r[:, k] * phi[:, k].cos(), r[:, k] * phi[:, k].sin(), color=color, lw=1.1)
    if horizon is not None:
        ax.add_patch(Circle((0, 0), horizon, color="black", zorder=3))
    ax = plane.finish(ax)
    ax.set(xlabel=r"$r\, \cos \phi$", ylabel=r"$r\, \sin \phi$")
    return ax
