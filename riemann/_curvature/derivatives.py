"""What takes derivatives of curvature: third derivatives of g, and more."""

from jaxtyping import Float
from torch import Tensor

from riemann._curvature.snapshot import local
from riemann._metric import judged
from riemann._open import open_function
from riemann._types import ChunkSize, Metric, Progress

__all__ = ["cotton_tensor", "nabla_riemann"]


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

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> nabla_riemann(half_plane, torch.tensor([0.0, 2.0])).abs().max() < 1e-5
        tensor(True)
    """
    return local("nabla_riemann", metric, x)
