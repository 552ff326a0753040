"""What takes derivatives of curvature: third derivatives of g, and more."""

from jaxtyping import Float
from torch import Tensor

from riemann._curvature.snapshot import local
from riemann._metric import judged
from riemann._open import open_function
from riemann._types import ChunkSize, Metric, Progress

__all__ = ["bach_tensor", "cotton_tensor", "cotton_york_tensor", "nabla_riemann"]


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
        ValueError: `indices` is not such a string, or n < 3, where it is not defined.

    Note:
        Needs third derivatives of g; for n = 3 it is 0 exactly where g is conformally flat.

    Reference:
        Lee, *Introduction to Riemannian Manifolds* (2018), chapter 7.

    Example:
        >>> import torch
        >>> half_space = lambda x: torch.eye(3) / x[2] ** 2
        >>> cotton_tensor(half_space, torch.tensor([0.0, 0.0, 2.0])).abs().max() < 1e-5
        tensor(True)
    """
    return local("cotton_tensor", metric, x, indices=indices)


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

    Reference:
        MTW eq. 10.18.

    Example:
        >>> import torch
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> nabla_riemann(half_plane, torch.tensor([0.0, 2.0])).abs().max() < 1e-5
        tensor(True)
    """
    return local("nabla_riemann", metric, x)


@open_function(rank=6, judge=judged)
def bach_tensor(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    indices: str = "ll",
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "*batch n n"]:
    r"""Bach tensor of a four-dimensional metric, $B_{ij} = \nabla^k \nabla^l W_{ikjl} + \tfrac12 R^{kl} W_{ikjl}$.

    W is the Weyl tensor. B is symmetric, and its trace and divergence are 0; so is B itself where g is conformal to an
    Einstein metric. For $e^{2p} g$ it is $e^{-2p} B$.

    Args:
        metric: callable, one point `(4,)` to `(4, 4)`.
        x: points, `(*batch, 4)`.
        indices: position of each index, `u` or `l`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, 4, 4)`, `[..., i, j]`.

    Raises:
        ValueError: `indices` is not such a string, or n is not 4.

    Note:
        Needs fourth derivatives of g.

    Reference:
        Bach, Math. Z. 9 (1921) 110; Besse, *Einstein Manifolds* (1987), 4.76.

    Example:
        >>> import torch
        >>> half_space = lambda x: torch.eye(4, dtype=x.dtype) / x[3] ** 2
        >>> bach_tensor(half_space, torch.tensor([0.0, 0.0, 0.0, 2.0], dtype=torch.float64)).abs().max() < 1e-12
        tensor(True)
    """
    return local("bach_tensor", metric, x, indices=indices)


@open_function(rank=5, judge=judged)
def cotton_york_tensor(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    indices: str = "ll",
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Float[Tensor, "*batch n n"]:
    r"""Cotton-York tensor of a three-dimensional metric, $C_{ij} = \epsilon_i{}^{kl} \nabla_k P_{lj}$.

    P is the Schouten tensor, $\epsilon_{012} = \sqrt{|\det g|}$: coordinates in another order may change the sign. C is
    symmetric, and its trace and divergence are 0; C itself is 0 exactly where g is conformally flat.

    Args:
        metric: callable, one point `(3,)` to `(3, 3)`.
        x: points, `(*batch, 3)`.
        indices: position of each index, `u` or `l`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, 3, 3)`, `[..., i, j]`.

    Raises:
        ValueError: `indices` is not such a string, or n is not 3.

    Note:
        Needs third derivatives of g.

    Reference:
        York, Phys. Rev. Lett. 26 (1971) 1656.

    Example:
        >>> import torch
        >>> nil = lambda x: torch.eye(3) + x[0] ** 2 * torch.diag(torch.tensor([0.0, 1.0, 0.0])) - x[0] * torch.tensor(
        ...     [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
        >>> cotton_york_tensor(nil, torch.zeros(3)).diagonal()
        tensor([ 0.5000,  0.5000, -1.0000])
    """
    return local("cotton_york_tensor", metric, x, indices=indices)
