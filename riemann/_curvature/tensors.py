"""The connection and curvature: a metric and points in, tensors out."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor

from riemann import formulas
from riemann._curvature.blocks import ricci_in_blocks
from riemann._curvature.snapshot import local
from riemann._indices import check_positions
from riemann._metric import jets_of, judged, metric_pairs
from riemann._open import open_function
from riemann._types import ChunkSize, Metric, Progress

__all__ = [
    "christoffel",
    "riemann_tensor",
    "ricci_tensor",
    "scalar_curvature",
    "einstein_tensor",
    "schouten_tensor",
    "weyl_tensor",
    "kretschmann_scalar",
]

FULL_JETS = 16  # up to this dimension all second derivatives in one pass are faster than blocks of them


def _of_ricci(name: str, formula: Callable[..., Tensor], metric: Metric, x: Tensor, **options: Any) -> Tensor:
    """A quantity of the table; in many dimensions by its formula `(g, ricci, **options)`, from blocks."""
    if x.shape[-1] <= FULL_JETS:
        return local(name, metric, x, **options)
    return formula(*ricci_in_blocks(metric, x), **options)


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
        >>> import torch
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> christoffel(half_plane, torch.tensor([0.0, 2.0]))[0]
        tensor([[ 0.0000, -0.5000],
                [-0.5000,  0.0000]])
    """
    return local("christoffel", metric, x, kind=kind)


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
        ValueError: `indices` is not such a string.

    Note:
        Memory O(n⁴) a point; for given vectors use `sectional_curvature` or `curvature_endomorphism`.

    Reference:
        MTW eq. 11.12.

    Example:
        >>> import torch
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> riemann_tensor(half_plane, torch.tensor([0.0, 2.0]))[0, 1]
        tensor([[ 0.0000, -0.2500],
                [ 0.2500,  0.0000]])
    """
    return local("riemann_tensor", metric, x, indices=indices)


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
        ValueError: `indices` is not such a string.

    Note:
        The Riemann tensor is not formed. For n > 16 second derivatives are contracted as they come, a block of rows at
        a time that fits in cache: memory O(n³) a point where no gradient is recorded.

    Reference:
        MTW eq. 8.47.

    Example:
        >>> import torch
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> ricci_tensor(half_plane, torch.tensor([0.0, 2.0]))
        tensor([[-0.2500,  0.0000],
                [ 0.0000, -0.2500]])
    """
    check_positions(indices, 2, "the Ricci tensor")
    return _of_ricci("ricci_tensor", _positioned, metric, x, indices=indices)


def _positioned(g: Tensor, ricci: Tensor, indices: str) -> Tensor:
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
        >>> import torch
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> scalar_curvature(half_plane, torch.tensor([0.0, 2.0]))
        tensor(-2.)
    """
    if x.shape[-1] <= FULL_JETS and jets_of.route(metric) == "generic":
        jets, pairs = metric_pairs(metric, x)
        return formulas.scalar_curvature_of_pairs(*jets, *pairs)
    return _of_ricci("scalar_curvature", formulas.scalar_from_ricci, metric, x)


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
        ValueError: `indices` is not such a string.

    Note:
        Made of `ricci_tensor`, with its memory.

    Reference:
        MTW eq. 8.49.

    Example:
        >>> import torch
        >>> half_space = lambda x: torch.eye(3) / x[2] ** 2
        >>> einstein_tensor(half_space, torch.tensor([0.0, 0.0, 2.0])).diagonal()
        tensor([0.2500, 0.2500, 0.2500])
    """
    return _of_ricci("einstein_tensor", formulas.einstein_from_ricci, metric, x, indices=indices)


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
        ValueError: `indices` is not such a string, or n < 3, where it is not defined.

    Note:
        Made of `ricci_tensor`, with its memory.

    Reference:
        Lee, *Introduction to Riemannian Manifolds* (2018), chapter 7.

    Example:
        >>> import torch
        >>> half_space = lambda x: torch.eye(3) / x[2] ** 2
        >>> schouten_tensor(half_space, torch.tensor([0.0, 0.0, 2.0])).diagonal()
        tensor([-0.1250, -0.1250, -0.1250])
    """
    return _of_ricci("schouten_tensor", formulas.schouten_from_ricci, metric, x, indices=indices)


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
        ValueError: `indices` is not such a string.

    Note:
        $C^a{}_{bcd}$ does not change when g is multiplied by a positive function.

    Reference:
        MTW eq. 13.50.

    Example:
        >>> import torch
        >>> half_space = lambda x: torch.eye(3) / x[2] ** 2
        >>> weyl_tensor(half_space, torch.tensor([0.0, 0.0, 2.0])).abs().max()
        tensor(0.)
    """
    return local("weyl_tensor", metric, x, indices=indices)


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

    Reference:
        Henry, *Kretschmann scalar for a Kerr-Newman black hole*, Astrophys. J. 535 (2000) 350.

    Example:
        >>> import torch
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> kretschmann_scalar(half_plane, torch.tensor([0.0, 2.0]))
        tensor(4.)
    """
    return local("kretschmann_scalar", metric, x)
