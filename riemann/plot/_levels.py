"""Surfaces that are given by an equation, level sets in space, and the curvature of surfaces however given."""

import itertools
from typing import Any

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from torch import Tensor

import riemann as rm
from riemann._types import Field
from riemann.plot._maps import curvature_map, framed, space_of, surface
from riemann.plot._plane import Box, Colours, Quantity, light_on, name_of


def curvature(f: Field, box: Box, quantity: Quantity | None = None, **options: Any) -> Any:
    """Draws the curvature of a surface: of a map into space, of an equation, or of a metric, by what f returns.

    Args:
        f: one point `(2,)` to a point `(3,)` of space, as `surface` takes it; one point `(3,)` to a number that is 0 on
            the surface, as `level_set`; or a metric, as `curvature_map`.
        box: for each coordinate `(low, high)`; of a metric, a number where it is held.
        quantity: as there; the Gauss curvature by default, the scalar curvature of a metric.
        **options: as there: `resolution`, `label`, `ax`.

    Returns:
        The axes.

    Raises:
        ValueError: f is none of these.

    Example:
        >>> curvature(lambda x: torch.stack([x[0], x[1], x[0] * x[1]]), ((-1, 1), (-1, 1)), resolution=8).name
        '3d'
    """
    centre = torch.tensor([float(np.mean(side)) for side in box], dtype=torch.float64)
    shape = tuple(rm.jet(f, centre, 0)[0].shape)
    drawn = {(): level_set, (3,): surface, (len(box), len(box)): curvature_map}.get(shape)
    if drawn is None:
        raise ValueError(
            f"`f` returned shape {shape} at a point of {len(box)} coordinates, expected (3,), of a surface in space; "
            f"(), of an equation; or {(len(box),) * 2}, of a metric"
        )
    return drawn(f, box, quantity, **options)


def level_set(
    f: Field,
    box: Box,
    quantity: Quantity | None = None,
    *,
    resolution: int = 32,
    label: str | None = None,
    ax: Any | None = None,
) -> Any:
    """Draws the surface f(x) = 0 in space, coloured by its Gauss curvature or another scalar.

    Args:
        f: one point `(3,)` to a number: a signed distance, a network that learned one, an isosurface minus its level.
        box: `((low, high), (low, high), (low, high))`, where to look for it.
        quantity: `quantity(f, x)` at points `(*batch, 3)` to `(*batch,)`; `rm.level_set_gauss_curvature` by default.
        resolution: cells along the longest side.
        label: of the colour bar; the name of the quantity by default.
        ax: three-dimensional axes to draw into; new ones by default.

    Returns:
        The axes, of `mpl_toolkits.mplot3d`; their first collection holds the triangles.

    Raises:
        ValueError: a box with other than three intervals; no point of the level set in it; axes that are not
            three-dimensional.

    Example:
        >>> level_set(lambda x: x.norm() - 1, ((-1.2, 1.2),) * 3, resolution=8).name
        '3d'
    """
    quantity = quantity or rm.level_set_gauss_curvature
    sides = np.array(box, dtype=float) if len(box) == 3 and all(np.shape(b) == (2,) for b in box) else None
    if sides is None or not (sides[:, 0] < sides[:, 1]).all():
        raise ValueError(f"`box` is {box!r}, expected three intervals (low, high) with low < high")
    lengths = sides[:, 1] - sides[:, 0]
    counts = np.maximum(2, np.round(resolution * lengths / lengths.max())).astype(int)
    grid = np.meshgrid(
        *(np.linspace(*side, count + 1) for side, count in zip(sides, counts, strict=True)), indexing="ij"
    )
    points = np.stack(grid, -1)
    values = rm.jet(f, torch.from_numpy(points), 0)[0].detach().cpu().numpy()
    if values.shape != points.shape[:-1]:
        raise ValueError(f"`f` is {values.shape[3:]} at one point, expected a number")
    triangles = _triangles(points, values)
    if not len(triangles):
        raise ValueError(f"f = 0 nowhere in `box`: it goes from {np.nanmin(values):.3g} to {np.nanmax(values):.3g}")
    ax = space_of(ax)
    centres, normals = _onto(f, torch.from_numpy(triangles.mean(1)), (lengths / counts).max())
    values = quantity(f, centres).detach().cpu().numpy()
    colours = Colours(values)
    scale = ScalarMappable(colours.norm, colours.name)
    faces = scale.to_rgba(values)
    faces[:, :3] *= light_on(normals.cpu().numpy())[:, None]
    ax.add_collection3d(Poly3DCollection(triangles, facecolors=faces, linewidths=0, antialiased=False))
    return framed(ax, triangles, scale, name_of(quantity) if label is None else label, colours.extend)


def _onto(f: Field, x: Tensor, cell: float) -> tuple[Tensor, Tensor]:
    """Points moved onto f = 0 by steps of Newton, and the gradient: beside it the curvature is of others."""
    for _ in range(4):
        value, slope = (d.detach() for d in rm.jet(f, x, 1))
        step = -value[:, None] * slope / slope.square().sum(-1, keepdim=True)
        x = torch.where(step.norm(dim=-1, keepdim=True) < cell, x + step, x)  # else it is no step, or f has a kink
    return x, slope


def _triangles(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Triangles `(T, 3, 3)` of the zeros of a function on a grid: each cube is six tetrahedra, where it is linear."""
    found = []
    corner = [np.array(c) for c in itertools.product((0, 1), repeat=3)]
    at = {tuple(c): tuple(slice(k, k - 1 or None) for k in c) for c in corner}
    for axes in itertools.permutations(range(3)):  # from corner to corner along the axes in this order
        steps = np.cumsum([np.zeros(3, int), *(np.eye(3, dtype=int)[a] for a in axes)], 0)
        p = np.stack([points[at[tuple(c)]].reshape(-1, 3) for c in steps], 1)
        v = np.stack([values[at[tuple(c)]].reshape(-1) for c in steps], 1)
        p, v = p[np.isfinite(v).all(1)], v[np.isfinite(v).all(1)]
        order = v.argsort(1)
        p, v = np.take_along_axis(p, order[..., None], 1), np.take_along_axis(v, order, 1)
        below = (v < 0).sum(1)
        for count, faces in _FACES.items():
            q, w = p[below == count], v[below == count]
            found += [np.stack([_zero(q, w, *edge) for edge in face], 1) for face in faces]
    return np.concatenate(found)


_FACES = {
    1: [((0, 1), (0, 2), (0, 3))],
    2: [((0, 2), (0, 3), (1, 3)), ((0, 2), (1, 3), (1, 2))],
    3: [((0, 3), (1, 3), (2, 3))],
}
"""Triangles in a tetrahedron with so many corners below 0, by the edges that their corners are on; by rising values."""


def _zero(p: np.ndarray, v: np.ndarray, a: int, b: int) -> np.ndarray:
    return p[:, a] + (p[:, b] - p[:, a]) * (v[:, a] / (v[:, a] - v[:, b]))[:, None]
