"""The free functions of curvature: a metric and points in, tensors out."""

import functools
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import formulas
from riemann._curvature.blocks import ricci_in_blocks
from riemann._curvature.directional import (
    connection_covector,
    curvature_covector,
    curvature_form,
    lowering,
    ricci_form,
)
from riemann._curvature.snapshot import LocalGeometry, at
from riemann._indices import check_positions
from riemann._messages.frames import warn
from riemann._metric import checked_jet, judged, metric_field, metric_jet
from riemann._open import open_function
from riemann._points.checks import broadcast_vectors, check_points, has_values
from riemann._points.faults import first
from riemann._rounding import judged_forms, judged_images
from riemann._types import ChunkSize, Field, Metric, Progress

FULL_JETS = 16  # up to this dimension all second derivatives in one pass are faster than blocks of them


def _local(metric: Metric, x: Tensor, order: int, quantity: Callable[[LocalGeometry], Tensor]) -> Tensor:
    """The quantity from a snapshot of the points."""
    check_points(x)
    if order >= 2 and x.shape[-1] >= 32:
        _say_generic(quantity.__qualname__.partition(".")[0])  # the function in which the quantity is written
    return quantity(at(metric, x, order, chunk_size=None))


@functools.cache
def _say_generic(name: str) -> None:
    """Says once that a function takes the generic route in many dimensions, lest structure be lost in silence."""
    warn(
        f"`{name}` takes the generic route in 32 dimensions or more: n**4 numbers and n**2 derivatives a point. If the "
        "metric has structure, a type of `riemann.metrics` uses it; `sectional_curvature` and "
        "`estimate_scalar_curvature` need n**2 numbers; `chunk_size` bounds the points at a time. This is said once."
    )


# ------------------------------------------------------------------------------------------------ from first jets


@open_function(rank=2, judge=judged)
def inverse_metric(
    metric: Metric, x: Float[Tensor, "*batch n"], *, chunk_size: ChunkSize = "auto", progress: Progress = False
) -> Float[Tensor, "*batch n n"]:
    """Inverse metric $g^{ij}$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, n, n)`; NaN where g is singular to rounding, as all functions here are.

    Raises:
        TypeError, ValueError: as `at`, for all functions here.

    Example:
        >>> inverse_metric(lambda x: torch.diag(x), torch.tensor([2.0, 4.0]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    return _local(metric, x, 0, LocalGeometry.inverse_metric)


@open_function(rank=2, judge=judged)
def volume_element(
    metric: Metric, x: Float[Tensor, "*batch n"], *, chunk_size: ChunkSize = "auto", progress: Progress = False
) -> Float[Tensor, "*batch"]:
    r"""Riemannian volume element $\sqrt{|\det g|}$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch,)`.

    Note:
        It underflows for large n; `log_volume_element` does not.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> volume_element(half_plane, torch.tensor([0.0, 2.0]))
        tensor(0.2500)
    """
    return _local(metric, x, 0, lambda here: here.volume_element())


@open_function(rank=2, judge=judged)
def log_volume_element(
    metric: Metric, x: Float[Tensor, "*batch n"], *, chunk_size: ChunkSize = "auto", progress: Progress = False
) -> Float[Tensor, "*batch"]:
    r"""Logarithm of the volume element, $\tfrac12 \log |\det g|$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch,)`.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> log_volume_element(half_plane, torch.tensor([0.0, 2.0]))
        tensor(-1.3863)
    """
    return _local(metric, x, 0, lambda here: here.log_volume_element())


@open_function(rank=2, judge=judged)
def change_indices(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    T: Float[Tensor, "..."],
    old: str,
    new: str,
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "..."]:
    r"""Raises and lowers indices of a tensor with the metric.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        T: tensor at the points, `(*batch, n, …, n)`.
        old: positions of its indices, `u` or `l` each, as in `"ull"`.
        new: positions wanted, as in `"lll"`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        The tensor, same shape.

    Raises:
        ValueError: positions of different length, or other letters.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> change_indices(half_plane, torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0]), "u", "l")
        tensor([0.2500, 0.0000])
    """
    return formulas.change_indices(metric_jet(metric, x, 0)[0], T, old, new)


# ----------------------------------------------------------------------------------- the connection and curvature


@open_function(rank=3, judge=judged)
def christoffel(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    kind: int = 2,
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "*batch n n n"]:
    r"""Christoffel symbols of the Levi-Civita connection.

    $\Gamma^k_{ij} = \tfrac12 g^{kl} (\partial_i g_{lj} + \partial_j g_{li} - \partial_l g_{ij})$

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        kind: 2 for $\Gamma^k_{ij}$, 1 for $\Gamma_{kij}$.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, n, n, n)`, `[..., k, i, j]`.

    Raises:
        ValueError: `kind` is neither 1 nor 2.

    Reference:
        Misner, Thorne, Wheeler (MTW), eq. 8.24.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> christoffel(half_plane, torch.tensor([0.0, 2.0]))[0]
        tensor([[ 0.0000, -0.5000],
                [-0.5000,  0.0000]])
    """
    return _local(metric, x, 1, lambda here: here.christoffel(kind))


@open_function(rank=4, judge=judged)
def riemann_tensor(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    indices: str = "ulll",
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "*batch n n n n"]:
    r"""Riemann curvature tensor.

    $R^a{}_{bcd} = \partial_c \Gamma^a_{db} - \partial_d \Gamma^a_{cb} + \Gamma^a_{ce} \Gamma^e_{db}
    - \Gamma^a_{de} \Gamma^e_{cb}$, so that $R(u,v)w = R^a{}_{bcd} w^b u^c v^d$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        indices: position of each index, `u` or `l`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, n, n, n, n)`, `[..., a, b, c, d]`.

    Raises:
        ValueError: `indices` is no such string.

    Note:
        Memory O(n⁴) a point; for given vectors use `sectional_curvature` or `curvature_endomorphism`.

    Reference:
        MTW eq. 11.12.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> riemann_tensor(half_plane, torch.tensor([0.0, 2.0]))[0, 1]
        tensor([[ 0.0000, -0.2500],
                [ 0.2500,  0.0000]])
    """
    return _local(metric, x, 2, lambda here: here.riemann_tensor(indices))


@open_function(rank=4, judge=judged)
def ricci_tensor(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    indices: str = "ll",
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "*batch n n"]:
    r"""Ricci tensor, $\mathrm{Ric}_{bd} = R^a{}_{bad}$; $(n-1) g$ on the unit sphere.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        indices: position of each index, `u` or `l`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, n, n)`.

    Raises:
        ValueError: `indices` is no such string.

    Note:
        The Riemann tensor is not formed. For n > 16 second derivatives are contracted as they come, a block of rows at
        a time that fits in cache: memory O(n³) a point where no gradient is recorded.

    Reference:
        MTW eq. 8.47.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> ricci_tensor(half_plane, torch.tensor([0.0, 2.0]))
        tensor([[-0.2500,  0.0000],
                [ 0.0000, -0.2500]])
    """
    check_points(x)
    if x.shape[-1] <= FULL_JETS:
        return _local(metric, x, 2, lambda here: here.ricci_tensor(indices))
    check_positions(indices, 2, "the Ricci tensor")
    g, ricci = ricci_in_blocks(metric, x)
    return formulas.change_indices(g, ricci, "ll", indices)


@open_function(rank=4, judge=judged)
def scalar_curvature(
    metric: Metric, x: Float[Tensor, "*batch n"], *, chunk_size: ChunkSize = "auto", progress: Progress = False
) -> Float[Tensor, "*batch"]:
    r"""Scalar curvature, $S = g^{bd} \mathrm{Ric}_{bd}$; $n(n-1)$ on the unit sphere.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch,)`.

    Note:
        The trace of `ricci_tensor`, with its memory.

    Reference:
        MTW eq. 8.48.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> scalar_curvature(half_plane, torch.tensor([0.0, 2.0]))
        tensor(-2.)
    """
    check_points(x)
    if x.shape[-1] <= FULL_JETS:
        return _local(metric, x, 2, lambda here: here.scalar_curvature())
    g, ricci = ricci_in_blocks(metric, x)
    return torch.einsum("...bd,...bd->...", formulas.inverse_metric(g), ricci)


@open_function(rank=4, judge=judged)
def einstein_tensor(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    indices: str = "ll",
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "*batch n n"]:
    r"""Einstein tensor, $G_{ab} = \mathrm{Ric}_{ab} - \tfrac12 S g_{ab}$; 0 for n < 3.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        indices: position of each index, `u` or `l`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, n, n)`.

    Raises:
        ValueError: `indices` is no such string.

    Note:
        Made of `ricci_tensor`, with its memory.

    Reference:
        MTW eq. 8.49.

    Example:
        >>> half_space = lambda x: torch.eye(3) / x[2] ** 2
        >>> einstein_tensor(half_space, torch.tensor([0.0, 0.0, 2.0])).diagonal()
        tensor([0.2500, 0.2500, 0.2500])
    """
    check_points(x)
    if x.shape[-1] <= FULL_JETS:
        return _local(metric, x, 2, lambda here: here.einstein_tensor(indices))
    return formulas.einstein_from_ricci(*ricci_in_blocks(metric, x), indices)


@open_function(rank=4, judge=judged)
def schouten_tensor(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    indices: str = "ll",
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "*batch n n"]:
    r"""Schouten tensor, $P_{ab} = (\mathrm{Ric}_{ab} - S g_{ab} / (2(n-1))) / (n-2)$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        indices: position of each index, `u` or `l`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, n, n)`.

    Raises:
        ValueError: `indices` is no such string, or n < 3, where it is not defined.

    Note:
        Made of `ricci_tensor`, with its memory.

    Example:
        >>> half_space = lambda x: torch.eye(3) / x[2] ** 2
        >>> schouten_tensor(half_space, torch.tensor([0.0, 0.0, 2.0])).diagonal()
        tensor([-0.1250, -0.1250, -0.1250])
    """
    check_points(x)
    if x.shape[-1] <= FULL_JETS:
        return _local(metric, x, 2, lambda here: here.schouten_tensor(indices))
    return formulas.schouten_from_ricci(*ricci_in_blocks(metric, x), indices)


@open_function(rank=4, judge=judged)
def weyl_tensor(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    indices: str = "ulll",
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "*batch n n n n"]:
    r"""Weyl tensor, the trace-free part of Riemann; 0 for n < 4.

    $C_{abcd} = R_{abcd} - (g_{ac} P_{bd} - g_{ad} P_{bc} + g_{bd} P_{ac} - g_{bc} P_{ad})$ with the Schouten tensor P.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        indices: position of each index, `u` or `l`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, n, n, n, n)`, `[..., a, b, c, d]`.

    Raises:
        ValueError: `indices` is no such string.

    Note:
        $C^a{}_{bcd}$ does not change when g is multiplied by a positive function.

    Reference:
        MTW eq. 13.50.

    Example:
        >>> half_space = lambda x: torch.eye(3) / x[2] ** 2
        >>> weyl_tensor(half_space, torch.tensor([0.0, 0.0, 2.0])).abs().max()
        tensor(0.)
    """
    return _local(metric, x, 2, lambda here: here.weyl_tensor(indices))


@open_function(rank=5, judge=judged)
def cotton_tensor(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    indices: str = "lll",
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "*batch n n n"]:
    r"""Cotton tensor, $C_{ijk} = \nabla_k P_{ij} - \nabla_j P_{ik}$ (no prefactor).

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        indices: position of each index, `u` or `l`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, n, n, n)`, `[..., i, j, k]`.

    Raises:
        ValueError: `indices` is no such string, or n < 3, where it is not defined.

    Note:
        Needs third derivatives of g; for n = 3 it is 0 exactly where g is conformally flat.

    Example:
        >>> half_space = lambda x: torch.eye(3) / x[2] ** 2
        >>> cotton_tensor(half_space, torch.tensor([0.0, 0.0, 2.0])).abs().max() < 1e-5
        tensor(True)
    """
    return _local(metric, x, 3, lambda here: here.cotton_tensor(indices))


@open_function(rank=5, judge=judged)
def nabla_riemann(
    metric: Metric, x: Float[Tensor, "*batch n"], *, chunk_size: ChunkSize = "auto", progress: Progress = False
) -> Float[Tensor, "*batch n n n n n"]:
    r"""Covariant derivative of the Riemann tensor, $\nabla_e R_{abcd}$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, n, n, n, n, n)`, `[..., a, b, c, d, e]`, all indices lower.

    Note:
        Needs third derivatives of g; memory O(n⁵) a point.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> nabla_riemann(half_plane, torch.tensor([0.0, 2.0])).abs().max() < 1e-5
        tensor(True)
    """
    return _local(metric, x, 3, lambda here: here.nabla_riemann())


@open_function(rank=4, judge=judged)
def kretschmann_scalar(
    metric: Metric, x: Float[Tensor, "*batch n"], *, chunk_size: ChunkSize = "auto", progress: Progress = False
) -> Float[Tensor, "*batch"]:
    r"""Kretschmann scalar, $R_{abcd} R^{abcd}$; $48 M^2 / r^6$ in Schwarzschild.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch,)`.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> kretschmann_scalar(half_plane, torch.tensor([0.0, 2.0]))
        tensor(4.)
    """
    return _local(metric, x, 2, lambda here: here.kretschmann_scalar())


# ------------------------------------------------------------------------------------------- of given vectors


def _along_vectors(form: Callable[..., Tensor], metric: Metric, x: Tensor, g: Tensor, *vectors: Tensor) -> Tensor:
    """`form(metric, x, inverse of g, *vectors)`, a form of `_directional`."""
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

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> u = torch.tensor([1.0, 0.0])
        >>> christoffel_vector(half_plane, torch.tensor([0.0, 2.0]), u, u)
        tensor([0.0000, 0.5000])
    """
    x, u, v = broadcast_vectors(x, u=u, v=v)
    if x.shape[-1] <= FULL_JETS:
        gamma = formulas.christoffel(*metric_jet(metric, x, 1))
        return torch.einsum("...kij,...i,...j->...k", gamma, u, v)
    g = metric_jet(metric, x, 0)[0]
    covector = connection_covector(lowering(metric_field(metric, x)), x, u, v)
    return (formulas.inverse_metric(g) @ covector.unsqueeze(-1)).squeeze(-1)


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

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> u, v = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])
        >>> sectional_form(half_plane, torch.tensor([0.0, 2.0]), u, v)
        tensor(-0.0625)
    """
    points, u, v = broadcast_vectors(x, u=u, v=v)
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
    _, u, v = broadcast_vectors(x, u=u, v=v)
    area = squared_area(metric, x, u, v, chunk_size=chunk_size)
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
    r"""$|u|^2 |v|^2 - \langle u, v \rangle^2$, `(*batch,)`; NaN where it is 0 to rounding, or g is no metric."""
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

    x, u, v, w = broadcast_vectors(x, u=u, v=v, w=w)
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

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> ricci_curvature(half_plane, torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0]))
        tensor(-0.5000)
    """
    x, v = broadcast_vectors(x, v=v)
    g = metric_jet(metric, x, 0)[0]
    return judged_images(_along_vectors(ricci_form, metric, x, g, v), g, v, v)
