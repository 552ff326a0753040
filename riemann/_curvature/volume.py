"""What the metric alone makes: its inverse, its volume element, indices moved up and down."""

from jaxtyping import Float
from torch import Tensor

from riemann import formulas
from riemann._curvature.snapshot import local
from riemann._metric import judged, metric_jet
from riemann._open import open_function
from riemann._types import ChunkSize, Metric, Progress

__all__ = ["inverse_metric", "volume_element", "log_volume_element", "change_indices"]


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

    Reference:
        Lee, *Introduction to Riemannian Manifolds* (2018), chapter 2.

    Example:
        >>> import torch
        >>> inverse_metric(lambda x: torch.diag(x), torch.tensor([2.0, 4.0]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    return local("inverse_metric", metric, x)


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

    Reference:
        Lee, *Introduction to Riemannian Manifolds* (2018), chapter 2.

    Example:
        >>> import torch
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> volume_element(half_plane, torch.tensor([0.0, 2.0]))
        tensor(0.2500)
    """
    return local("volume_element", metric, x)


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
        >>> import torch
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> log_volume_element(half_plane, torch.tensor([0.0, 2.0]))
        tensor(-1.3863)
    """
    return local("log_volume_element", metric, x)


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

    Reference:
        Lee, *Introduction to Riemannian Manifolds* (2018), chapter 2.

    Example:
        >>> import torch
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> change_indices(half_plane, torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0]), "u", "l")
        tensor([0.2500, 0.0000])
    """
    return formulas.change_indices(metric_jet(metric, x, 0)[0], T, old, new)
