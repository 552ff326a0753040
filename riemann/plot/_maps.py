"""Maps of a quantity over a plane of coordinates, and surfaces in space."""

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

import riemann as rm
from riemann._types import Field, Metric
from riemann.plot._plane import (
    Box,
    Colours,
    Plane,
    Quantity,
    axes_of,
    light_of,
    name_of,
)


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
    plane = Plane(metric, box, resolution)
    values = scalar(metric, plane.centres).detach().cpu().numpy()
    if values.shape != plane.centres.shape[:-1]:
        raise ValueError(f"`quantity` is {values.shape} at points {tuple(plane.centres.shape)}: no scalar at each")
    ax = axes_of(ax)
    colours = Colours(values)
    mesh = ax.pcolormesh(*plane.edges, values.T, cmap=colours.name, norm=colours.norm, shading="flat", rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label=name_of(scalar) if label is None else label, extend=colours.extend)
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
    plane = Plane(map, box, resolution)
    corners = plane.points(*plane.edges)
    vertices = rm.jet(map, corners, 0)[0].detach().cpu().numpy()
    if vertices.shape[-1] != 3:
        raise ValueError(f"`map` goes to {vertices.shape[-1]} dimensions, and a picture has three")
    values = quantity(map, plane.centres).detach().cpu().numpy()
    ax = space_of(ax)
    colours = Colours(values)
    scale = ScalarMappable(colours.norm, colours.name)
    faces = scale.to_rgba(values)
    faces[..., :3] *= light_of(vertices)[..., None]
    options = {"rstride": 1, "cstride": 1, "linewidth": 0, "antialiased": False, "shade": False}
    ax.plot_surface(*np.moveaxis(vertices, -1, 0), facecolors=faces, **options)
    return framed(ax, vertices, scale, name_of(quantity) if label is None else label, colours.extend)


def space_of(ax: Any | None) -> Any:
    """Three-dimensional axes: those given, or new ones."""
    ax = plt.figure(layout="constrained").add_subplot(projection="3d") if ax is None else ax
    if getattr(ax, "name", "") != "3d":
        raise ValueError('`ax` is not three-dimensional; make it with `figure.add_subplot(projection="3d")`')
    return ax


def framed(ax: Any, vertices: np.ndarray, scale: ScalarMappable, label: str, extend: str) -> Any:
    """The axes around a surface, with equal scales, and its colour bar."""
    low, high = vertices.reshape(-1, 3).min(0), vertices.reshape(-1, 3).max(0)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    ax.set_box_aspect(np.maximum(high - low, 1e-3 * (high - low).max()), zoom=1.0)
    ax.set_axis_off()
    ax.figure.colorbar(scale, ax=ax, label=label, extend=extend, shrink=0.6)
    return ax
