"""Unbiased estimates of curvature from random vectors, with their standard errors."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from riemann._curvature.vectors import sectional_form
from riemann._metric import checked_jet
from riemann._open import open_function
from riemann._points.checks import alike, check_count
from riemann._points.chunks import in_chunks
from riemann._types import ChunkSize, Metric, Progress

__all__ = ["Estimate", "estimate_ricci_curvature", "estimate_scalar_curvature"]


class Estimate(NamedTuple):
    """A mean over independent samples and its standard error, NaN for one sample; `(*batch,)` each."""

    value: Tensor
    standard_error: Tensor


@open_function(rank=None)
def estimate_scalar_curvature(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    num_samples: int,
    generator: torch.Generator | None = None,
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Estimate:
    r"""Unbiased estimate of the scalar curvature from sectional curvatures of random planes.

    $S = n(n-1)\, E[K(e_a, e_b)]$ over two vectors of a random pseudo-orthonormal frame: exact with one sample
    where K is constant and for n = 2, any signature.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        num_samples: independent planes at each point, 1 or more.
        generator: source of randomness, on the device of `x`.
        chunk_size: planes at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the planes done and of all.

    Returns:
        `.value` and `.standard_error`, `(*batch,)` each.

    Raises:
        ValueError: `num_samples` < 1.

    Note:
        Matrix-free: memory O(n²) a plane. Unbiased in its gradients, too; its square is not an unbiased square.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> estimate_scalar_curvature(half_plane, torch.tensor([0.0, 2.0]), 1).value.round(decimals=5)
        tensor(-2.)
    """
    check_count("num_samples", num_samples, 1)
    n, shape = x.shape[-1], (num_samples, *x.shape[:-1])
    if n == 1:
        zero = 0 * checked_jet(metric, x, 0)[0][0][..., 0, 0]
        return _mean(zero.unsqueeze(0).expand(shape))
    a = torch.randint(n, shape, generator=generator, device=x.device)
    b = torch.randint(n - 1, shape, generator=generator, device=x.device)
    normal = [torch.randn((*shape, n), generator=generator, dtype=x.dtype, device=x.device) for _ in "pq"]

    def planes(x: Tensor, a: Tensor, b: Tensor, z_p: Tensor, z_q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        frame, eta = _frame(metric, x)
        p, sign_a = _random_unit(eta, a, z_p)
        q, sign_b = _random_unit(eta, b + (b >= a), z_q, orthogonal_to=p)
        return _combine(p, frame), _combine(q, frame), sign_a * sign_b

    u, v, sign = _of_points(planes, x, a, b, *normal, chunk_size=chunk_size)
    return _mean(n * (n - 1) * sign * sectional_form(metric, x, u, v, chunk_size=chunk_size, progress=progress))


@open_function(rank=None)
def estimate_ricci_curvature(
    metric: Metric,
    x: Float[Tensor, "*#batch n"],
    v: Float[Tensor, "*#batch n"],
    num_samples: int,
    generator: torch.Generator | None = None,
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Estimate:
    r"""Unbiased estimate of the Ricci curvature of a vector.

    $\mathrm{Ric}(v,v) = n\, E[\epsilon_a \langle R(e_a,v)v, e_a \rangle]$ over one vector of a random
    pseudo-orthonormal frame, $\epsilon_a = \langle e_a, e_a \rangle$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        v: vectors, broadcast against `x`.
        num_samples: independent vectors at each point, 1 or more.
        generator: source of randomness, on the device of `x`.
        chunk_size: vectors at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the vectors done and of all.

    Returns:
        `.value` and `.standard_error`, `(*batch,)` each.

    Raises:
        ValueError: `num_samples` < 1.

    Note:
        Matrix-free: memory O(n²) a sample. `ricci_curvature` is exact, in n times the time.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> x, v = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0])
        >>> estimate = estimate_ricci_curvature(half_plane, x, v, 1000, torch.Generator().manual_seed(0))
        >>> abs(estimate.value + 0.5) < 4 * estimate.standard_error
        tensor(True)
    """
    check_count("num_samples", num_samples, 1)
    x, v = alike(x, v=v)
    n, shape = x.shape[-1], (num_samples, *x.shape[:-1])
    a = torch.randint(n, shape, generator=generator, device=x.device)
    normal = torch.randn((*shape, n), generator=generator, dtype=x.dtype, device=x.device)

    def units(x: Tensor, a: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        frame, eta = _frame(metric, x)
        p, sign = _random_unit(eta, a, z)
        return _combine(p, frame), sign

    u, sign = _of_points(units, x, a, normal, chunk_size=chunk_size)
    return _mean(n * sign * sectional_form(metric, x, u, v, chunk_size=chunk_size, progress=progress))


def _mean(samples: Tensor) -> Estimate:
    count = samples.shape[0]
    spread = samples.std(0) if count > 1 else torch.full_like(samples[0], torch.nan)
    return Estimate(samples.mean(0), spread / count**0.5)


def _of_points(
    f: Callable[..., tuple[Tensor, ...]], x: Tensor, *samples: Tensor, chunk_size: ChunkSize
) -> tuple[Tensor, ...]:
    """`f(x, *samples)`, all `(samples, *batch, …)`, in pieces of whole points: the frame of a point is made once."""
    axis, count = x.ndim - 1, samples[0].shape[0]

    def batch_first(x: Tensor, *samples: Tensor) -> tuple[Tensor, ...]:
        axis = x.ndim - 1
        return tuple(y.movedim(0, axis) for y in f(x, *(s.movedim(axis, 0) for s in samples)))

    size = max(1, chunk_size // count) if isinstance(chunk_size, int) else chunk_size
    results = in_chunks(batch_first, x, *(s.movedim(0, axis) for s in samples), rank=2, chunk_size=size)
    return tuple(y.movedim(axis, 0) for y in results)


def _frame(metric: Metric, x: Tensor) -> tuple[Tensor, Tensor]:
    """A pseudo-orthonormal frame (rows of E, `E g E^T = eta`) and the diagonal of eta, at each point.

    An eigenvector frame has no derivatives where eigenvalues repeat. Two Newton steps towards `E g E^T = eta`, from the
    frozen frame, change no value and give it derivatives that are right to third order.
    """
    g = checked_jet(metric, x, 0)[0][0]  # `sectional_form` says where it is not a metric
    w, V = torch.linalg.eigh(torch.nan_to_num(g.detach()))
    eta = torch.sign(w)
    frame = V.mT * w.abs().rsqrt().unsqueeze(-1)
    for _ in range(2):
        defect = frame @ g @ frame.mT - torch.diag_embed(eta)
        frame = frame - 0.5 * defect @ (eta.unsqueeze(-1) * frame)
    return frame, eta


def _random_unit(eta: Tensor, index: Tensor, z: Tensor, orthogonal_to: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Unit vectors along normal z in the frame's block that holds `index`, `(samples, *batch, n)`, and their signs."""
    sign = eta.expand(z.shape).gather(-1, index.unsqueeze(-1))
    z = torch.where(eta == sign, z, torch.zeros_like(z))
    if orthogonal_to is not None:
        z = z - (z * orthogonal_to).sum(-1, keepdim=True) * orthogonal_to
    return z / z.square().sum(-1, keepdim=True).sqrt(), sign.squeeze(-1)


def _combine(p: Tensor, frame: Tensor) -> Tensor:
    """The vectors with components p, `(samples, *batch, n)`, in the frame."""
    return torch.einsum("s...a,...ai->s...i", p, frame)
