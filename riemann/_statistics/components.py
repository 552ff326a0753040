"""Principal geodesics, and clusters, around means."""

import operator
from typing import Any, NamedTuple, SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor

from riemann._curves.logarithm import log_map, relaxed_log
from riemann._curves.ode import Status
from riemann._indices import bilinear
from riemann._metric import jets_of
from riemann._points.checks import carry_derivatives, check_count, door
from riemann._statistics.mean import frechet_mean
from riemann._statistics.sets import checked_sets, loosened, one_each
from riemann._types import Metric


class PrincipalGeodesics(NamedTuple):
    r"""The directions through the mean in which points of a curved space vary most.

    Attributes:
        mean: $m$, `(*batch, n)`.
        directions: unit tangent vectors at the mean, orthogonal to each other, `(*batch, k, n)`: $\exp_m(t\, u)$ is a
            principal geodesic. Each is known up to its sign.
        variances: along them, the largest first, `(*batch, k)`.
        explained: their parts of the whole variance, `(*batch, k)`.
        scores: the coordinates of the points' logarithms in these directions, `(*batch, N, k)`.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor
    explained: Tensor
    scores: Tensor


@door
def principal_geodesics(
    metric: Metric,
    points: Float[Tensor, "*batch N n"],
    k: int | None = None,
    *,
    weights: Float[Tensor, "*#batch N"] | None = None,
    mean: Float[Tensor, "*batch n"] | None = None,
    **options: Any,
) -> PrincipalGeodesics:
    r"""Principal directions of points at their mean: tangent PCA, of $\sum_i w_i \log_m x_i\, \log_m x_i$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`, positive definite.
        points: sets of N points, `(*batch, N, n)`.
        k: number of directions; n by default.
        weights: as for `frechet_mean`.
        mean: m, where it is known; `frechet_mean` by default.
        **options: as for `log_map`.

    Returns:
        The record; variances divide by N. Distances between points are those of their logarithms near the mean only.

    Raises:
        TypeError, ValueError, RuntimeError: as `frechet_mean`.

    Note:
        Derivatives to directions are infinite where two variances are the same.

    Reference:
        Fletcher, Lu, Pizer, Joshi, *Principal geodesic analysis for the study of nonlinear statistics of shape*, IEEE
        Trans. Med. Imaging 23 (2004).

    Example:
        >>> flat = lambda x: torch.eye(2, dtype=torch.float64)
        >>> x = torch.tensor([[0.0, 0.0], [2.0, 2.0], [1.5, 0.5], [0.5, 1.5]], dtype=torch.float64)
        >>> principal_geodesics(flat, x).variances
        tensor([1.0000, 0.2500], dtype=torch.float64)
    """
    points, w = checked_sets(metric, points, weights, options)
    n = points.shape[-1]
    k = n if k is None else k
    check_count("k", k, 1)
    if k > n:
        raise ValueError(f"`k` is {k}, and a space of {n} dimensions has no more directions")
    if mean is None:
        mean = frechet_mean(metric, points, weights, **options)
    else:
        mean = one_each("mean", mean, points)
    v = log_map(metric, mean.unsqueeze(-2), points, **options)
    (g,) = jets_of(metric, mean, 0)
    L = torch.linalg.cholesky(g)
    a = v @ L  # coordinates in an orthonormal frame
    variances, E = torch.linalg.eigh(torch.einsum("...N,...Ni,...Nj->...ij", w, a, a))
    variances, E = variances.flip(-1).clamp(min=0), E.flip(-1)
    directions = torch.linalg.solve_triangular(L.mT, E, upper=True).mT
    whole = variances.sum(-1, keepdim=True)
    explained = variances / torch.where(whole > 0, whole, 1.0)
    return PrincipalGeodesics(mean, directions[..., :k, :], variances[..., :k], explained[..., :k], (a @ E)[..., :k])


class KMeans(NamedTuple):
    r"""Clusters of points of a curved space.

    Attributes:
        centres: their means, `(*batch, k, n)`, differentiable to the points for these labels.
        labels: the cluster of each point, `(*batch, N)`.
        variance: the mean of squared distances to the centres, `(*batch,)`.
        status: whether labels stood still in the end, `(*batch,)`, values of `riemann.Status`.
    """

    centres: Tensor
    labels: Tensor
    variance: Tensor
    status: Tensor


@door
def k_means(
    metric: Metric,
    points: Float[Tensor, "*batch N n"],
    k: SupportsIndex,
    *,
    generator: torch.Generator | None = None,
    max_iterations: int = 30,
    **options: Any,
) -> KMeans:
    r"""k clusters of points, each next to its own mean: Lloyd's algorithm by distances of the metric.

    The first centres are points, drawn with probabilities that grow with their squared distance to those before
    (k-means++); then labels and Fréchet means take turns until no label changes.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`, positive definite.
        points: sets of N points, `(*batch, N, n)`.
        k: number of clusters, N at most.
        generator: of the draws.
        max_iterations: turns.
        **options: as for `log_map`.

    Returns:
        The record: a local minimum, as of every k-means; draw again for another.

    Raises:
        TypeError, ValueError, RuntimeError: as `frechet_mean`.

    Reference:
        Arthur, Vassilvitskii, *k-means++: the advantages of careful seeding*, SODA (2007).

    Example:
        >>> half_plane = lambda x: torch.eye(2, dtype=torch.float64) / x[1] ** 2
        >>> x = torch.tensor([[0.0, 1.0], [0.0, 1.2], [5.0, 1.0], [5.0, 1.1]], dtype=torch.float64)
        >>> labels = k_means(half_plane, x, 2, generator=torch.Generator().manual_seed(0)).labels
        >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
        True
    """
    points, _ = checked_sets(metric, points, None, options)
    check_count("k", k, 1)
    check_count("max_iterations", max_iterations, 1)
    (N, n), k = points.shape[-2:], operator.index(k)
    if k > N:
        raise ValueError(f"`k` is {k}, and there are {N} points: a cluster has at least one")
    found = [_clusters(metric, x, k, generator, max_iterations, options) for x in points.reshape(-1, N, n)]
    batch = points.shape[:-2]
    return KMeans(*(torch.stack(parts).reshape((*batch, *parts[0].shape)) for parts in zip(*found, strict=True)))


def _clusters(
    metric: Metric, x: Tensor, k: int, generator: torch.Generator | None, max_iterations: int, options: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Roughly until labels stand still, then by the tolerance that is asked for."""
    status = Status.NOT_CONVERGED
    accuracy = rough = loosened(options, x)
    with torch.no_grad():
        points = x.detach()
        centres = _seeds(metric, points, k, generator, rough)
        squares = _squares(metric, centres, points, rough, rough=True)
        for turn in range(max_iterations):
            labels = squares.argmin(0)
            if turn == max_iterations - 1:
                accuracy = options
            centres = _means(metric, points, labels, centres, accuracy)
            squares = _squares(metric, centres, points, accuracy, rough=accuracy is rough)
            if bool((squares.argmin(0) == labels).all()):
                if accuracy is options:
                    status = Status.SUCCESS
                    break
                accuracy = options
    if torch.is_grad_enabled() and carry_derivatives(x, jets_of(metric, x, 0)[0]):
        centres = _means(metric, x, labels, centres, options)
        squares = _squares(metric, centres, x, options)
    variance = squares.gather(0, labels[None])[0].mean()
    return centres, labels, variance, torch.tensor(status, device=x.device)


def _squares(metric: Metric, centres: Tensor, x: Tensor, options: dict[str, Any], rough: bool = False) -> Tensor:
    """Squared distances, `(k, N)`."""
    v = relaxed_log(metric, centres[:, None], x, **options) if rough else torch.full_like(x[:1], torch.nan)
    if not bool(v.isfinite().all()):
        v = log_map(metric, centres[:, None], x, **options)
    return bilinear(jets_of(metric, centres, 0)[0][:, None], v, v)


def _seeds(metric: Metric, x: Tensor, k: int, generator: torch.Generator | None, options: dict[str, Any]) -> Tensor:
    chosen = torch.randint(len(x), (1,), generator=generator, device=x.device)
    nearest = torch.full_like(x[:, 0], torch.inf)
    for _ in range(k - 1):
        nearest = torch.minimum(nearest, _squares(metric, x[chosen[-1:]], x, options, rough=True)[0])
        chances = nearest.clone()
        chances[chosen] = 0
        if not bool((chances > 0).any()):  # all points are at the seeds
            chances = torch.ones_like(chances).index_fill(0, chosen, 0.0)
        chosen = torch.cat((chosen, torch.multinomial(chances, 1, generator=generator)))
    return x[chosen]


def _means(metric: Metric, x: Tensor, labels: Tensor, centres: Tensor, options: dict[str, Any]) -> Tensor:
    """The mean of each cluster; where one is empty, its centre stays."""
    member = labels == torch.arange(len(centres), device=x.device)[:, None]
    most = int(member.sum(1).max())
    at = member.int().argsort(dim=1, descending=True, stable=True)[
        :, :most
    ]  # sets of one size; what is beyond weighs 0
    empty = ~member.any(1, keepdim=True)
    sets = torch.where(empty[..., None], centres.detach()[:, None], x[at])
    weights = (member.gather(1, at) | empty).to(x.dtype)
    return frechet_mean(metric, sets, weights, start=centres.detach(), **options)
