"""Pictures of metrics: each function takes a metric and a coordinate box, draws, and returns the axes.

matplotlib is an extra: `pip install riemann-torch[plot]`. Every function takes `ax=` to draw into axes of yours, and
leaves the rest (limits, titles, saving) to matplotlib.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import riemann as rm
from riemann._types import Field, Metric

try:
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Circle, Ellipse
except ImportError as error:
    raise ImportError("`riemann.plot` needs matplotlib; install it with `pip install 'riemann-torch[plot]'`") from error

Box = Sequence[Sequence[float] | float]
Quantity = Callable[[Metric, Tensor], Tensor]
PRECISION = 1e-6  # of curves, relative; finer than a picture shows

# ---------------------------------------------------------------------------------------------- maps of a quantity


def curvature_map(
    metric: Metric,
    box: Box,
    quantity: Quantity | None = None,
    *,
    resolution: int = 120,
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Colours a plane of coordinates by a scalar of the metric, the scalar curvature by default.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        box: for each coordinate `(low, high)`, or a number where it is held: two intervals in all.
        quantity: `quantity(metric, x)` at points `(*batch, n)` to `(*batch,)`, such as `rm.kretschmann_scalar`.
        resolution: cells along the longer side.
        label: of the colour bar; the name of the quantity by default.
        ax: axes to draw into; new ones by default.

    Returns:
        The axes; their first collection holds the values, at the centres of the cells. Colours that diverge from white
        are around 0; the extreme half percent of values at each end is clipped, as the pointed colour bar says.

    Raises:
        ValueError: a box with other than two intervals.

    Example:
        >>> from riemann import spaces
        >>> axes = curvature_map(spaces.torus(2, 1), ((0, 6.28), (0, 6.28)), resolution=20)
        >>> axes.collections[0].get_array().shape
        (20, 20)
    """
    scalar: Quantity = quantity or rm.scalar_curvature
    plane = _Plane(metric, box, resolution)
    values = scalar(metric, plane.centres).detach().cpu().numpy()
    if values.shape != plane.centres.shape[:-1]:
        raise ValueError(f"`quantity` is {values.shape} at points {tuple(plane.centres.shape)}: no scalar at each")
    ax = _axes(ax)
    colours = _Colours(values)
    mesh = ax.pcolormesh(*plane.edges, values.T, cmap=colours.name, norm=colours.norm, shading="flat", rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label=_name(scalar) if label is None else label, extend=colours.extend)
    return plane.finish(ax)


def volume_map(metric: Metric, box: Box, *, log: bool = True, resolution: int = 120, ax: Axes | None = None) -> Axes:
    r"""Colours a plane of coordinates by the volume element $\sqrt{|\det g|}$: where the metric magnifies.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        box: for each coordinate `(low, high)`, or a number where it is held: two intervals in all.
        log: whether to show the decimal logarithm.
        resolution: cells along the longer side.
        ax: axes to draw into; new ones by default.

    Returns:
        The axes, as `curvature_map`.

    Raises:
        ValueError: as `curvature_map`.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> axes = volume_map(half_plane, ((-1, 1), (0.1, 2.1)), resolution=20)
        >>> axes.collections[0].get_array().shape
        (20, 20)
    """
    if log:
        decimal = lambda metric, x: rm.log_volume_element(metric, x) / math.log(10)
        label = r"$\log_{10} \sqrt{|\det g|}$"
    else:
        decimal, label = rm.volume_element, r"$\sqrt{|\det g|}$"
    return curvature_map(metric, box, decimal, resolution=resolution, label=label, ax=ax)


def surface(
    map: Field,
    box: Box,
    quantity: Quantity | None = None,
    *,
    resolution: int = 90,
    label: str | None = None,
    ax: Any | None = None,
) -> Any:
    """Draws the surface of a map into space, coloured by its Gauss curvature or another scalar.

    Args:
        map: one point `(2,)` to `(3,)`.
        box: `((low, high), (low, high))` of its coordinates.
        quantity: `quantity(map, x)` at points `(*batch, 2)` to `(*batch,)`; `rm.gauss_curvature` by default.
        resolution: faces along the longer side.
        label: of the colour bar; the name of the quantity by default.
        ax: three-dimensional axes to draw into; new ones by default.

    Returns:
        The axes, of `mpl_toolkits.mplot3d`.

    Raises:
        ValueError: a map to other than three dimensions; axes that are not three-dimensional.

    Example:
        >>> sphere = lambda x: torch.stack([x[0].sin() * x[1].cos(), x[0].sin() * x[1].sin(), x[0].cos()])
        >>> surface(sphere, ((0, 3.14), (0, 6.28)), resolution=12).name
        '3d'
    """
    quantity = quantity or rm.gauss_curvature
    plane = _Plane(map, box, resolution)
    corners = plane.points(*plane.edges)
    vertices = rm.jet(map, corners, 0)[0].detach().cpu().numpy()
    if vertices.shape[-1] != 3:
        raise ValueError(f"`map` goes to {vertices.shape[-1]} dimensions, and a picture has three")
    values = quantity(map, plane.centres).detach().cpu().numpy()
    ax = plt.figure(layout="constrained").add_subplot(projection="3d") if ax is None else ax
    if getattr(ax, "name", "") != "3d":
        raise ValueError('`ax` is not three-dimensional; make it with `figure.add_subplot(projection="3d")`')
    colours = _Colours(values)
    scale = ScalarMappable(colours.norm, colours.name)
    faces = scale.to_rgba(values)
    faces[..., :3] *= _light(vertices)[..., None]
    options = {"rstride": 1, "cstride": 1, "linewidth": 0, "antialiased": False, "shade": False}
    ax.plot_surface(*np.moveaxis(vertices, -1, 0), facecolors=faces, **options)
    low, high = vertices.reshape(-1, 3).min(0), vertices.reshape(-1, 3).max(0)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    ax.set_box_aspect(np.maximum(high - low, 1e-3 * (high - low).max()), zoom=1.15)
    ax.set_axis_off()
    label = _name(quantity) if label is None else label
    ax.figure.colorbar(scale, ax=ax, label=label, extend=colours.extend, shrink=0.6)
    return ax


# -------------------------------------------------------------------------------------------------- in the plane


def metric_ellipses(
    metric: Metric,
    box: Box,
    *,
    shape: tuple[int, int] = (9, 9),
    radius: float | None = None,
    color: str = "tab:blue",
    ax: Axes | None = None,
) -> Axes:
    r"""Draws the unit circles of a metric on a plane (Tissot's indicatrix): ellipses $g(v, v) = $ `radius`².

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
    plane = _Plane(metric, box, shape)
    g = plane.restricted(metric, plane.centres).reshape(-1, 2, 2)
    points = plane.centres[..., list(plane.free)].reshape(-1, 2)
    w, V = _definite(g, points)
    if radius is None:
        cells = torch.tensor([edges[1] - edges[0] for edges in plane.edges]).to(g)
        widths = torch.linalg.inv(g).diagonal(dim1=-2, dim2=-1).sqrt()
        radius = 0.46 * float((cells / widths).min())
    half = (radius / w.sqrt()).tolist()
    angles = torch.atan2(V[:, 1, 0], V[:, 0, 0]).rad2deg().tolist()
    ax = _axes(ax)
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
    plane = _Plane(metric, box, 2)
    plane.check_two("geodesic_fan")
    low, high = plane.bounds
    x = (low + high) / 2 if x is None else x.detach().to(low)
    w, V = _definite(rm.at(metric, x, 0).g.detach(), x)
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
    ax = _axes(ax)
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
    plane = _Plane(metric, box, 2)
    plane.check_two("geodesic")
    x, y = torch.broadcast_tensors(x.detach().to(plane.bounds[0]), y.detach().to(plane.bounds[0]))
    x, y = x.reshape(-1, 2), y.reshape(-1, 2)
    with torch.no_grad():
        v = rm.log_map(metric, x, y, rtol=PRECISION, **options)
        points = rm.geodesic(metric, x, v, torch.linspace(0, 1, 201).to(x), rtol=PRECISION).points.cpu()
    ax = _axes(ax)
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
    ends = [a.detach().double().cpu().numpy() for a in torch.broadcast_tensors(x, x if y is None else y)]
    if ends[0].shape[-1] != 2 or not all(bool((np.linalg.norm(a, axis=-1) < 1).all()) for a in ends):
        raise ValueError(f"`x` and `y` are points {tuple(x.shape)}, expected (*batch, 2) with |x| < 1")
    start, end = (a.reshape(-1, 2) @ np.array([1, 1j]) for a in ends)
    ax = _axes(ax)
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
    plane = _Plane(metric, box, 2)
    plane.check_two("parallel_transport")
    low, high = plane.bounds
    t = torch.linspace(0, 1, num + 1).to(low)
    points = torch.stack([loop(s) for s in t]).detach()
    g = rm.at(metric, points[0], 0).g.detach()
    _definite(g, points[0])
    w = low.new_tensor([1.0, 0.0]) / g[0, 0].sqrt() if w is None else w.detach().to(low)
    vectors = rm.parallel_transport(metric, loop, w, t).detach()
    angle = _angle(g, vectors[0], vectors[-1])
    size = 0.2 * float((high - low).max()) if scale is None else scale
    drawn = (vectors * size / vectors.norm(dim=-1).max()).cpu()
    ax = _axes(ax)
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
    plane = _Plane(metric, box, 2)
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
    ax = _axes(ax)
    for k in range(len(b)):
        color = "tab:orange" if captured[k] else "tab:blue"
        ax.plot(r[:, k] * phi[:, k].cos(), r[:, k] * phi[:, k].sin(), color=color, lw=1.1)
    if horizon is not None:
        ax.add_patch(Circle((0, 0), horizon, color="black", zorder=3))
    ax = plane.finish(ax)
    ax.set(xlabel=r"$r\, \cos \phi$", ylabel=r"$r\, \sin \phi$")
    return ax


# ------------------------------------------------------------------------------------------- what pictures share


class _Plane:
    """The plane of two free coordinates of a box, cut into cells."""

    def __init__(self, metric: Any, box: Box, resolution: int | tuple[int, int]):
        intervals = [not isinstance(b, int | float) for b in box]
        if sum(intervals) != 2 or any(len(b) != 2 or not b[0] < b[1] for b in box if not isinstance(b, int | float)):
            raise ValueError(
                f"`box` is {box!r}, expected two intervals (low, high) with low < high, and a number for each other "
                "coordinate"
            )
        self.n = len(intervals)
        self.free = tuple(k for k, free in enumerate(intervals) if free)
        like = next(iter(metric.parameters()), None) if isinstance(metric, torch.nn.Module) else None
        like = torch.empty(0, dtype=torch.float64) if like is None else like.detach()
        self.held = like.new_tensor([0.0 if free else b for b, free in zip(box, intervals, strict=True)])
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
        self.labels = [_latex(names[k]) if names else rf"$x^{{{k + 1}}}$" for k in self.free]

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


class _Colours:
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


def _name(quantity: Quantity) -> str:
    """A function's name in words; people keep their capitals."""
    words = getattr(quantity, "__name__", "").split("_")
    return " ".join(w.capitalize() if w in ("gauss", "kretschmann") else w for w in words if w != "<lambda>")


def _light(vertices: np.ndarray) -> np.ndarray:
    """How bright each face of a net `(rows, columns, 3)` is: soft, so that colours can be read, and on both sides."""
    normals = np.cross(vertices[1:, 1:] - vertices[:-1, :-1], vertices[1:, :-1] - vertices[:-1, 1:])
    length = np.linalg.norm(normals, axis=-1)
    return 0.65 + 0.35 * np.abs(normals @ np.array([0.36, -0.48, 0.8])) / np.where(length > 0, length, 1)


def _axes(ax: Axes | None) -> Axes:
    return plt.figure(layout="constrained").add_subplot() if ax is None else ax


def _latex(name: str) -> str:
    import sympy as sp

    return f"${sp.latex(sp.Symbol(name))}$"


def _definite(g: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of a metric; raises where it is not positive definite."""
    bad = ~torch.isfinite(g).all(-1).all(-1)
    w, V = torch.linalg.eigh(torch.where(bad[..., None, None], torch.zeros_like(g), g))
    bad = w[..., 0] <= 0
    if bool(bad.any()):
        where = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(f"`metric` is not positive definite at {x[where].tolist()}, so it has no unit circle there")
    return w, V


def _angle(g: Tensor, u: Tensor, v: Tensor) -> float:
    """The oriented angle from u to v."""
    area = g.det().sqrt() * (u[0] * v[1] - u[1] * v[0])
    return math.atan2(float(area), float(u @ g @ v))
