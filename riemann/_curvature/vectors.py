"""The connection and curvature of given vectors, matrix-free: memory O(n²)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import formulas
from riemann._curvature.directional import (
    connection_vector,
    curvature_covector,
    curvature_form,
    ricci_form,
)
from riemann._curvature.tensors import FULL_JETS
from riemann._metric import checked_jet, judged, metric_field, metric_jet
from riemann._open import open_function
from riemann._points.checks import alike, has_values
from riemann._points.faults import first
from riemann._rounding import judged_forms, judged_images
from riemann._types import ChunkSize, Field, Metric, Progress

__all__ = ["christoffel_vector", "sectional_form", "sectional_curvature", "curvature_endomorphism", "ricci_curvature"]


def _along_vectors(form: Callable[..., Tensor], metric: Metric, x: Tensor, g: Tensor, *vectors: Tensor) -> Tensor:
    """`form(metric, x, inverse of g, *vectors)`, a form of `directional`."""
    return form(metric_field(metric, x), x, formulas.inverse_metric(g), *vectors)


@open_function(rank=2, judge=judged)
def christoffel_vector(
    metric: Metric,
    x: Float[Tensor, "*#batch n"],
    u: Float[Tensor, "*#batch n"],
    v: Float[Tensor, "*#batch n"],
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "... n"]:
    r"""Christoffel symbols applied to vectors, $\Gamma^k_{ij} u^i v^j$: $\nabla_u v$ of constant components.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        u: vectors, broadcast against `x`.
        v: vectors, broadcast against `x`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, n)`.

    Note:
        Matrix-free: three first derivatives, memory O(n²). A geodesic has $\ddot x = -\Gamma(\dot x, \dot x)$.

    Reference:
        MTW eq. 8.24.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> u = torch.tensor([1.0, 0.0])
        >>> christoffel_vector(half_plane, torch.tensor([0.0, 2.0]), u, u)
        tensor([0.0000, 0.5000])
    """
    x, u, v = alike(x, u=u, v=v)
    if x.shape[-1] <= FULL_JETS:
        return formulas.christoffel_vector(*metric_jet(metric, x, 1), u, v)
    g = metric_jet(metric, x, 0)[0]
    return _along_vectors(connection_vector, metric, x, g, u, v)


@open_function(rank=2, judge=judged)
def sectional_form(
    metric: Metric,
    x: Float[Tensor, "*#batch n"],
    u: Float[Tensor, "*#batch n"],
    v: Float[Tensor, "*#batch n"],
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "..."]:
    r"""Numerator of the sectional curvature, $\langle R(u,v)v, u \rangle = R_{abcd} u^a v^b u^c v^d$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        u: vectors, broadcast against `x`; axes before those of `x` hold many vectors at the same points.
        v: vectors, likewise.
        chunk_size: planes at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the planes done and of all.

    Returns:
        `(*batch,)`.

    Note:
        Matrix-free: a fixed number of derivative passes, memory O(n²) a plane. `sectional_curvature` and the
        estimates are made of it: a type that registers a route here brings one to all three.

    Reference:
        do Carmo, *Riemannian Geometry* (1992), section 4.3.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> u, v = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])
        >>> sectional_form(half_plane, torch.tensor([0.0, 2.0]), u, v)
        tensor(-0.0625)
    """
    points, u, v = alike(x, u=u, v=v)
    samples = points.shape[: points.ndim - x.ndim]
    x = x.expand(points.shape[len(samples) :])
    if samples.numel() == 0:  # no planes
        return x.new_zeros(points.shape[:-1])
    inverse = formulas.inverse_metric(metric_jet(metric, x, 0)[0])
    forms = curvature_form(metric_field(metric, x), points, inverse.expand(*points.shape, x.shape[-1]), u, v)
    return judged_forms(forms)


@open_function(rank=None)
def sectional_curvature(
    metric: Metric,
    x: Float[Tensor, "*#batch n"],
    u: Float[Tensor, "*#batch n"],
    v: Float[Tensor, "*#batch n"],
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "..."]:
    r"""Sectional curvature of the plane of u and v; 1 on the unit sphere.

    $K(u,v) = \langle R(u,v)v, u \rangle / (|u|^2 |v|^2 - \langle u,v \rangle^2)$

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        u: vectors, broadcast against `x`.
        v: vectors, broadcast against `x`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch,)`.

    Raises:
        ValueError: u and v are parallel somewhere, or span a plane on which g is degenerate (NaN inside transforms).

    Note:
        Matrix-free: a fixed number of derivative passes, memory O(n²).

    Reference:
        do Carmo, *Riemannian Geometry* (1992), section 4.3.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> u, v = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])
        >>> sectional_curvature(half_plane, torch.tensor([0.0, 2.0]), u, v)
        tensor(-1.)
    """
    area = squared_area(metric, x, u, v, chunk_size=chunk_size)
    _, u, v = alike(x, u=u, v=v)
    degenerate = area.isnan()
    if has_values(area) and bool(degenerate.any()):
        degenerate = degenerate & ~checked_jet(metric, x, 0)[0][0].isnan().any(-1).any(-1)
    if has_values(area) and bool(degenerate.any()):
        where = first(degenerate)
        raise ValueError(
            f"`u` and `v` span no plane with area at point {list(where)} of the batch (parallel, zero, or a plane on "
            f"which g is degenerate): u = {u[where].tolist()}, v = {v[where].tolist()}"
        )
    return sectional_form(metric, x, u, v, chunk_size=chunk_size, progress=progress) / area


@open_function(rank=2)
def squared_area(
    metric: Metric, x: Tensor, u: Tensor, v: Tensor, *, chunk_size: ChunkSize = "auto", progress: Progress = False
) -> Tensor:
    r"""$|u|^2 |v|^2 - \langle u, v \rangle^2$, `(*batch,)`; NaN where it is 0 to rounding, or g is not a metric."""
    return formulas.squared_area(checked_jet(metric, x, 0)[0][0], u, v)


@open_function(rank=2, judge=judged)
def curvature_endomorphism(
    metric: Metric,
    x: Float[Tensor, "*#batch n"],
    u: Float[Tensor, "*#batch n"],
    v: Float[Tensor, "*#batch n"],
    w: Float[Tensor, "*#batch n"],
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "... n"]:
    r"""Curvature applied to vectors, $R(u,v)w = \nabla_u \nabla_v w - \nabla_v \nabla_u w - \nabla_{[u,v]} w$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        u: vectors, broadcast against `x`.
        v: vectors, broadcast against `x`.
        w: vectors, broadcast against `x`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        Vectors $R^a{}_{bcd} w^b u^c v^d$, `(*batch, n)`.

    Note:
        Matrix-free: a fixed number of derivative passes, memory O(n²).

    Reference:
        MTW eq. 11.9.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> u, v = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])
        >>> curvature_endomorphism(half_plane, torch.tensor([0.0, 2.0]), u, v, v)
        tensor([-0.2500,  0.2500])
    """

    def image(g: Field, p: Tensor, inverse: Tensor, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
        covector, terms = curvature_covector(g, p, inverse, u, v, w).unsqueeze(-1).unbind(-3)
        return torch.stack((inverse @ covector, inverse.abs() @ terms), -3).squeeze(-1)

    x, u, v, w = alike(x, u=u, v=v, w=w)
    g = metric_jet(metric, x, 0)[0]
    return judged_images(_along_vectors(image, metric, x, g, u, v, w), g, u, v, w)


@open_function(rank=3, judge=judged)
def ricci_curvature(
    metric: Metric,
    x: Float[Tensor, "*#batch n"],
    v: Float[Tensor, "*#batch n"],
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "..."]:
    r"""Ricci curvature of a vector, $\mathrm{Ric}(v,v)$; $(n-1) |v|^2$ on the unit sphere.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        v: vectors, broadcast against `x`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch,)`.

    Note:
        Matrix-free: O(n) derivative passes, memory O(n²) times the passes done at a time.

    Reference:
        Lee, *Introduction to Riemannian Manifolds* (2018), chapter 8.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> ricci_curvature(half_plane, torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0]))
        tensor(-0.5000)
    """
    x, v = alike(x, v=v)
    g = metric_jet(metric, x, 0)[0]
    return judged_images(_along_vectors(ricci_form, metric, x, g, v), g, v, v)
