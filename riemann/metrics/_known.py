"""What is known of a distribution of torch: its family, and coordinates of its parameters.

Components of a batch are independent, so that each adds its own: a product of equal spaces.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch import distributions as D
from torch.overrides import TorchFunctionMode

from riemann._messages.frames import module_of
from riemann._points.checks import has_values
from riemann.metrics import _families as kinds
from riemann.metrics._families import Kind


class Unvalidated(TorchFunctionMode):
    """Distributions do not look at parameters, which may be those of many points: g is NaN where they are wrong."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if getattr(func, "__name__", "") in ("_is_all_true", "__bool__"):
            place = module_of(sys._getframe(1)), func.__name__
            if place in _ANSWERS:
                return _ANSWERS[place]
        return func(*args, **(kwargs or {}))


_ANSWERS = {
    ("torch.distributions.distribution", "_is_all_true"): True,
    ("torch.distributions.constraints", "__bool__"): True,
    ("torch.distributions.continuous_bernoulli", "__bool__"): True,
    ("torch.distributions.geometric", "__bool__"): True,
    ("torch.distributions.wishart", "__bool__"): False,
}
"""What the checks of torch's distributions are told, by their module."""


def _positive(a: Tensor) -> Tensor:
    """NaN where it is not, with its derivatives: there is not such a distribution."""
    return a + 0 * torch.log(a)


def _columns(*parameters: Tensor) -> Tensor:
    """Components as rows, `(N, d)`."""
    return torch.stack(torch.broadcast_tensors(*parameters), -1).reshape(-1, len(parameters))


def _of_location(d: Any) -> Tensor:
    return _columns(d.loc, _positive(d.scale))


def _amplitudes(d: Any) -> Tensor:
    r"""$\sqrt{p_a}$ of categories, `(*batch, C)`: of logits where these were given."""
    if "logits" in vars(d):
        return torch.exp(0.5 * (d.logits - d.logits.logsumexp(-1, keepdim=True)))
    return torch.sqrt(d.probs)


def _two_amplitudes(d: Any) -> Tensor:
    if "logits" in vars(d):
        log = torch.nn.functional.logsigmoid
        return torch.exp(0.5 * torch.stack([log(d.logits), log(-d.logits)], -1))
    return torch.sqrt(torch.stack([d.probs, 1 - d.probs], -1))


def _times(count: Any, amplitudes: Tensor) -> Tensor:
    """2 sqrt of the expected counts, all in one row."""
    count = torch.as_tensor(count, dtype=amplitudes.dtype, device=amplitudes.device)
    return (2 * torch.sqrt(count).unsqueeze(-1) * amplitudes).reshape(-1)


def _of_vectors(d: Any) -> Tensor:
    L = d.scale_tril
    k = L.shape[-1]
    for given in {"covariance_matrix", "precision_matrix"} & vars(d).keys():
        A = getattr(d, given)
        asymmetric = ((A - A.mT).abs() > 1e-6 * A.abs().amax((-1, -2), keepdim=True)).any(-1, keepdim=True)
        L = L + 0 * torch.log(torch.where(asymmetric.any(-2, keepdim=True), -torch.ones_like(L), torch.ones_like(L)))
    rows, columns = torch.tril_indices(k, k, device=L.device)
    loc = d.loc.expand(*d.batch_shape, k)
    return torch.cat([loc, L.expand(*d.batch_shape, k, k)[..., rows, columns]], -1).reshape(-1, k + len(rows))


def _of_gamma(d: Any) -> Tensor:
    return _columns(_positive(d.concentration), _positive(d.rate))


def _of_generalized_pareto(d: Any) -> Tensor | None:
    """Not known where the end of the support moves with the location, and the likelihood jumps there."""
    if not _is_fixed(d.loc):
        return None
    return _columns(_positive(d.scale), _positive(0.5 + d.concentration) - 0.5)


KNOWN: dict[type, tuple[Kind, Callable[[Any], Tensor | None]]] = {
    D.Categorical: (kinds.MASSES, lambda d: _times(1, _amplitudes(d))),
    D.OneHotCategorical: (kinds.MASSES, lambda d: _times(1, _amplitudes(d._categorical))),
    D.Multinomial: (kinds.MASSES, lambda d: _times(d.total_count, _amplitudes(d._categorical))),
    D.Bernoulli: (kinds.MASSES, lambda d: _times(1, _two_amplitudes(d))),
    D.Binomial: (
        kinds.MASSES,
        lambda d: _times(d.total_count, _two_amplitudes(d)) if _is_fixed(d.total_count) else None,
    ),
    D.Poisson: (kinds.MASSES, lambda d: 2 * torch.sqrt(d.rate).reshape(-1)),
    D.Normal: (kinds.NORMAL, _of_location),
    D.LogNormal: (kinds.NORMAL, _of_location),
    D.HalfNormal: (kinds.HALF_NORMAL, lambda d: _columns(_positive(d.scale))),
    D.Laplace: (kinds.LAPLACE, _of_location),
    D.Cauchy: (kinds.CAUCHY, _of_location),
    D.HalfCauchy: (kinds.HALF_CAUCHY, lambda d: _columns(_positive(d.scale))),
    D.Gumbel: (kinds.GUMBEL, _of_location),
    D.StudentT: (kinds.STUDENT_T, lambda d: _columns(d.loc, _positive(d.scale), _positive(d.df))),
    D.Exponential: (kinds.EXPONENTIAL, lambda d: _columns(_positive(d.rate))),
    D.Gamma: (kinds.GAMMA, _of_gamma),
    D.InverseGamma: (kinds.GAMMA, _of_gamma),
    D.Beta: (kinds.DIRICHLET, lambda d: _columns(_positive(d.concentration1), _positive(d.concentration0))),
    D.Dirichlet: (kinds.DIRICHLET, lambda d: _positive(d.concentration).reshape(-1, d.concentration.shape[-1])),
    D.Weibull: (kinds.WEIBULL, lambda d: _columns(_positive(d.scale), _positive(d.concentration))),
    D.GeneralizedPareto: (kinds.GENERALIZED_PARETO, _of_generalized_pareto),
    D.VonMises: (kinds.VON_MISES, lambda d: _columns(d.loc, _positive(d.concentration))),
    D.Geometric: (kinds.GEOMETRIC, lambda d: _columns(_positive(d.probs) + 0 * torch.log1p(-d.probs))),
    D.MultivariateNormal: (kinds.MULTIVARIATE_NORMAL, _of_vectors),
    D.LowRankMultivariateNormal: (kinds.MULTIVARIATE_NORMAL, _of_vectors),
}


def components(d: Any) -> Any:
    """A distribution whose batch are the components that it says to be independent."""
    while type(d) is D.Independent:
        d = d.base_dist
    return d


def known(d: Any) -> tuple[Kind, Tensor] | None:
    """The kind of a distribution, and its coordinates, `(N, d)`, or `(m,)` of masses; None if it is not known.

    A subclass with a `log_prob` of its own is another distribution.
    """
    d = components(d)
    for kind in type(d).__mro__:
        if kind in KNOWN:
            if type(d).log_prob is not kind.log_prob:
                return None
            found, coordinates = KNOWN[kind]
            y = coordinates(d)
            return None if y is None else (found, y)
    return _transformed(d) if type(d).log_prob is D.TransformedDistribution.log_prob else None


def _transformed(d: Any) -> tuple[Kind, Tensor] | None:
    """A change of variables that is the same for all x does not change the Fisher metric."""
    found, shifted = known(d.base_dist), True
    for transform in d.transforms:
        shifted = shifted and type(transform) is D.AffineTransform
        if found is None:
            return None
        if shifted and found[0] in _SHIFTED:
            found = _moved(*found, transform, d.base_dist.batch_shape + d.base_dist.event_shape)
        elif not (transform.bijective and _is_fixed(transform)):
            return None
    return found


_SHIFTED = (kinds.NORMAL, kinds.LAPLACE, kinds.CAUCHY, kinds.STUDENT_T)


def _moved(kind: Kind, y: Tensor, transform: Any, shape: torch.Size) -> tuple[Kind, Tensor] | None:
    """Location and scale after a shift and a factor, which may depend on x."""
    shift, factor = (torch.as_tensor(a, dtype=y.dtype, device=y.device) for a in (transform.loc, transform.scale))
    if torch.broadcast_shapes(shape, shift.shape, factor.shape) != shape:
        return None
    shift, factor = (a.expand(shape).reshape(-1) for a in (shift, factor))
    return kind, torch.stack([shift + factor * y[:, 0], factor.abs() * y[:, 1], *y.mT[2:]], -1)


def _is_fixed(value: Any, depth: int = 4) -> bool:
    """Whether a transform holds no tensor that may depend on the point, nor anything that may hide one."""
    if isinstance(value, Tensor):
        return has_values(value)
    if isinstance(value, dict):
        return _is_fixed(list(value.values()), depth)
    if isinstance(value, list | tuple):
        return depth > 0 and all(_is_fixed(a, depth - 1) for a in value)
    if isinstance(value, D.Transform | D.Distribution):
        return depth > 0 and _is_fixed(vars(value), depth - 1)
    return not hasattr(value, "__dict__")
