r"""The connections of information geometry: $\Gamma^{(\alpha)} = \Gamma - \tfrac{\alpha}{2} T$."""

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _curvature, _jets
from riemann._points.checks import door, is_number
from riemann._precision import full_precision
from riemann.metrics._families import masses
from riemann.metrics._fisher import Family, Fisher, Part, parts_of
from riemann.metrics._scores import Scores, say


@door
def alpha_christoffel(
    family: Family | Fisher, x: Float[Tensor, "*batch n"], alpha: float | int
) -> Float[Tensor, "*batch n n n"]:
    r"""Christoffel symbols of Amari's $\alpha$-connection.

    $\Gamma^{(\alpha)k}{}_{ij} = \Gamma^k{}_{ij} - \tfrac{\alpha}{2} g^{kl} T_{lij}$, with
    $T_{ijk} = E[\partial_i l\, \partial_j l\, \partial_k l]$ and $\Gamma$ that of Fisher's metric g. The connections of
    $\alpha$ and $-\alpha$ are dual: $\partial_k g_{ij} = \Gamma^{(\alpha)}_{i,jk} + \Gamma^{(-\alpha)}_{j,ik}$ with the
    first index down. 1 is the exponential connection, 0 in natural parameters; -1 that of mixtures.

    Args:
        family: one point `(n,)` to a distribution, as for `metrics.Fisher`, or such a metric.
        x: points, `(*batch, n)`.
        alpha: $\alpha$, a number.

    Returns:
        `(*batch, n, n, n)`, `[..., k, i, j]`, symmetric in i and j.

    Raises:
        TypeError, ValueError: as `metrics.Fisher`.

    Warns:
        UserWarning: where T is an average over samples, with its error.

    Reference:
        Amari, Nagaoka, *Methods of Information Geometry* (2000), section 2.3.

    Example:
        >>> from torch.distributions import Poisson
        >>> alpha_christoffel(lambda x: Poisson(x[0].exp()), torch.tensor([0.3]), 1.0).abs() < 1e-6
        tensor([[[True]]])
    """
    metric = family if isinstance(family, Fisher) else Fisher(family)
    if not is_number(alpha):
        raise TypeError(f"`alpha` is {alpha!r}, expected a number")
    with full_precision():
        gamma, inverse = _curvature.christoffel(metric, x), _curvature.inverse_metric(metric, x)
        skewness = sum(_skewness(metric, part, x) for part in parts_of(metric, x))
        return gamma - 0.5 * float(alpha) * torch.einsum("...kl,...lij->...kij", inverse, skewness)


def _skewness(metric: Fisher, part: Part, x: Tensor) -> Tensor:
    """$T_{ijk}$ of independent data, their sum."""
    if part.kind is None or (part.kind.metric is not None and part.kind.skewness is None):
        return _by_nodes(metric, part, x)
    pullback = part.metric
    y, J = _jets.jets_at(pullback.map, x, 1, "family")  # type: ignore[attr-defined]
    if part.kind.skewness is None:
        return _cubed(masses(y), J)
    y, J = (a.unflatten(x.ndim - 1, (pullback.copies, -1)) for a in (y, J))  # type: ignore[attr-defined]
    return torch.einsum("...kABC,...kAi,...kBj,...kCl->...ijl", part.kind.skewness(y), J, J, J)


def _cubed(weights: Tensor, J: Tensor) -> Tensor:
    return torch.einsum("...A,...Ai,...Aj,...Al->...ijl", weights, J, J, J)


def _by_nodes(metric: Fisher, part: Part, x: Tensor) -> Tensor:
    found = []
    for distribution in part.families:
        scores = Scores(distribution, metric.num_samples, metric.generator)
        found.append(torch.stack([_of_point(scores, p) for p in x.reshape(-1, x.shape[-1])]))
    return sum(found[1:], found[0]).reshape(*x.shape, x.shape[-1], x.shape[-1])


def _of_point(scores: Scores, p: Tensor) -> Tensor:
    amplitudes, way = scores.pulled_back(p)
    say([way], 0)
    f, J = _jets.jets_at(amplitudes.map, p, 1, "family")
    used = f > 0  # where the density is 0 to the last bit, so is what it adds
    return _cubed(torch.where(used, masses(torch.where(used, f, torch.ones_like(f))), torch.zeros_like(f)), J)
