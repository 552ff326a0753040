r"""Fisher's metric as the covariance of the score, by nodes: the pull-back of a flat space of half densities.

With nodes y and weights w, $f_y(x) = 2 \sqrt{w\, p(y | x)}$ has $\partial_i f \cdot \partial_j f = \sum_y w\, p\,
\partial_i l\, \partial_j l$. Nodes are chosen at each point, and stay where they are when x moves.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch import distributions as D

from riemann import _curvature, _jets
from riemann._messages.frames import warn
from riemann._metric import jets_of
from riemann._open import VECTORS
from riemann._points.checks import has_values
from riemann.metrics._known import Unvalidated
from riemann.metrics._pullback import Pullback
from riemann.metrics._structure import derive, route

STEPS, REACH = (2**-6, 2**-8, 2**-10), 4.0  # of the double-exponential rule, in its variable
ACCURATE = 1e-11  # the mass, by every other node
CLAMPED = 1e-7  # the mass at kinks that is left out where there is no better way
TAIL = 1e-15  # what the sum over whole numbers may leave out
MOST = 2**20  # whole numbers, at most
NOTHING = 1e-40  # the mass of a node that is left out: what the density is made of overflows out there, in derivatives
UNLIKELY = 6.0  # standard errors
SEED = 0


class Scores(torch.nn.Module):
    """The covariance of the score of a family, by nodes that are chosen at each point.

    Args:
        family: one point `(n,)` to a distribution.
        num_samples: of Monte Carlo, where it comes to that.
        generator: of the samples.
    """

    def __init__(self, family: Callable[[Tensor], Any], num_samples: int, generator: torch.Generator | None):
        super().__init__()
        self.family, self.num_samples = family, num_samples
        self.seed = SEED if generator is None else int(torch.randint(2**31, (), generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        metric, way = self.pulled_back(x)
        say([way], 0)
        return metric(x)

    def nodes(self, x: Tensor, moved: bool = True) -> "Nodes":
        """Nodes for the distribution at one point; with `moved`, those of what it transforms, if that has some."""
        if not has_values(x):
            raise ValueError(
                "Fisher's metric of this family is not known, and nodes for the covariance of the score are chosen by "
                "the values of x, which a transform hides here: call functions of riemann on the metric itself"
            )
        with torch.no_grad():
            d = self.family(x.detach())
            try:
                return _nodes(d, self.num_samples, self.seed, x.device, moved)
            except NotImplementedError as error:
                raise TypeError(
                    f"{type(d).__name__} has no `log_prob`, or none that torch knows for its transforms, and Fisher's "
                    "metric is made of it"
                ) from error
            except RuntimeError as error:
                raise TypeError(
                    f"`sample` or `log_prob` of {type(d).__name__}, of which Fisher's metric is made, fails at one "
                    f"point, {x.dtype}: {error}. Use another dtype, or write a subclass that mends it"
                ) from error

    def pulled_back(self, x: Tensor) -> tuple[Pullback, "Way"]:
        """The metric of half densities at the nodes of one point, and how it was found."""
        for moved, most in ((True, ACCURATE), (False, CLAMPED)):
            nodes = self.nodes(x, moved)
            jets = self.jets(x, nodes)
            if not bool((lost := ~_known(jets, nodes)).any()):
                break
            mass = jets[0].detach().square().reshape(lost.shape)[lost].sum() / 4
            if mass < most:  # at an end that a transform clamps, where rounding puts nodes
                nodes = _without(nodes, lost)
                jets = self.jets(x, nodes)
                break
        if nodes.sampled:
            _check_samples(self.family(x.detach()), jets, len(nodes.y))
        error, smooth = _judged(jets, nodes)
        return Pullback(self.amplitudes(nodes)), Way(nodes.way, error, nodes.sampled, smooth)

    def amplitudes(self, nodes: "Nodes") -> Callable[[Tensor], Tensor]:
        """The map to half densities."""

        def at(p: Tensor) -> Tensor:
            with Unvalidated():
                log_density = self.family(p).log_prob(nodes.y)
            return 2 * torch.exp(0.5 * (log_density + nodes.log_weights)).reshape(-1)

        return at

    def jets(self, x: Tensor, nodes: "Nodes") -> tuple[Tensor, ...]:
        """Of half densities, to order 2."""
        return _jets.jets_at(self.amplitudes(nodes), x, 2, "family")


class Way(NamedTuple):
    """How the metric was found at a point: in words, its relative error, and whether l has second derivatives."""

    words: str
    error: float
    sampled: bool
    smooth: bool


def say(ways: Sequence[Way], order: int) -> None:
    """Says what is not right to many digits."""
    error, sampled = max((way.error, way.sampled) for way in ways)
    if sampled or error > 1e-6:
        what = f"standard error of {error:.1e}; give more `num_samples`" if sampled else f"error of {error:.1e}"
        warn(
            f"Fisher's metric of this family is not known: it is the covariance of the score by {ways[0].words}, with "
            f"a relative {what}"
        )
    if order and not all(way.smooth for way in ways):
        warn(
            "the logarithm of the density has a kink in x, where the derivatives of Fisher's metric are not those of "
            "its nodes: they are NaN; the metric itself is right"
        )


def _at_each_point(function: Any) -> None:
    """The route of an open function: that of half densities, point by point."""

    @functools.wraps(function.__wrapped__)
    def each(metric: Scores, x: Tensor, *args: Any, **options: Any) -> Any:
        vectors = {name: options.pop(name).reshape(-1, x.shape[-1]) for name in VECTORS if name in options}
        results, ways = [], []
        for i, p in enumerate(x.reshape(-1, x.shape[-1])):
            pulled_back, way = metric.pulled_back(p)
            result = function(pulled_back, p, *args, **{name: v[i] for name, v in vectors.items()}, **options)
            if isinstance(result, tuple):
                results.append((result[0], *(y if way.smooth else y * torch.nan for y in result[1:])))
            else:
                results.append(result if way.smooth else result * torch.nan)
            ways.append(way)
        say(ways, 0 if isinstance(results[0], tuple) and len(results[0]) == 1 else 1)
        return _stacked(results, x.shape[:-1])

    each.__module__ = __name__  # what `.route` names
    route(function, Scores)(each)


def _stacked(results: list[Any], batch: torch.Size) -> Any:
    if isinstance(results[0], tuple):
        return tuple(_stacked(list(same), batch) for same in zip(*results, strict=True))
    return torch.stack(results).reshape((*batch, *results[0].shape))


for _function in (
    jets_of,
    _curvature.christoffel_vector,
    _curvature.sectional_form,
    _curvature.curvature_endomorphism,
    _curvature.riemann_tensor,
    _curvature.ricci_tensor,
    _curvature.scalar_curvature,
):
    _at_each_point(_function)
derive(
    Scores,
    _curvature.einstein_tensor,
    _curvature.schouten_tensor,
    _curvature.weyl_tensor,
    _curvature.kretschmann_scalar,
    _curvature.ricci_curvature,
    _curvature.sectional_curvature,
)


class Nodes(NamedTuple):
    """Values of a distribution and their weights, `(Q, *batch, *event)` and `(Q, *batch)`, and how they were chosen."""

    y: Tensor
    log_weights: Tensor
    way: str
    sampled: bool = False
    halves: bool = False  # every other node is a rule of twice the step


def _nodes(d: Any, num_samples: int, seed: int, device: torch.device, moved: bool = True) -> Nodes:
    """Nodes for a distribution: a sum or a quadrature where these reach all mass, else samples."""
    found = None
    if d.event_shape == torch.Size():
        found = _of_whole_numbers(d, device) if getattr(d.support, "is_discrete", False) else _of_line(d, device, moved)
    elif getattr(d, "has_enumerate_support", False):
        y = d.enumerate_support()
        found = Nodes(y, torch.zeros_like(d.log_prob(y)), "a sum over the support")
    return found if found is not None else _of_samples(d, num_samples, seed, device)


def _of_whole_numbers(d: Any, device: torch.device) -> Nodes | None:
    shape = (-1, *[1] * len(d.batch_shape))
    if getattr(d, "has_enumerate_support", False):
        y = d.enumerate_support()
        return Nodes(y, torch.zeros_like(d.log_prob(y)), "a sum over the support")
    sample = _drawn(d, 1, SEED, device)
    dtype = sample.dtype if sample.is_floating_point() else torch.get_default_dtype()
    count = 64
    while count <= MOST:
        y = torch.arange(count, dtype=dtype, device=device).reshape(shape).expand(-1, *d.batch_shape)
        p = d.log_prob(y).exp()
        if bool(((1 - p.sum(0)).abs() < 1e-9).all() and (p[count // 2 :].sum(0) < TAIL).all()):
            return Nodes(y, torch.zeros_like(p), f"a sum over {count} whole numbers")
        count *= 4
    return None


def _of_line(d: Any, device: torch.device, moved: bool = True) -> Nodes | None:
    """The double-exponential rule on the line that the support is mapped to, about the middle of the mass."""
    if moved and isinstance(d, D.TransformedDistribution) and all(transform.bijective for transform in d.transforms):
        return _moved(d, _of_line(d.base_dist, device))
    try:
        to_support = D.transform_to(d.support)
    except NotImplementedError:  # of a mixture; if it is not the line, mass is missing below
        to_support = D.transform_to(D.constraints.real)
    sample = to_support.inv(_drawn(d, 4001, SEED, device))
    middle = sample.median(0).values
    width = (sample - middle).abs().median(0).values
    for step in STEPS:
        nodes, error = _double_exponential(d, to_support, middle, width, step)
        if error < ACCURATE:
            return nodes
    return nodes if error < 1e-4 else None


def _double_exponential(d: Any, to_support: Any, middle: Tensor, width: Tensor, step: float) -> tuple[Nodes, float]:
    """Nodes that are a step apart, and how far the mass is from 1: of them, and of every other one."""
    t = torch.arange(-REACH, REACH + step / 2, step, dtype=middle.dtype, device=middle.device).reshape(
        -1, *[1] * middle.ndim
    )
    u = middle + width * torch.sinh(torch.pi / 2 * torch.sinh(t))
    log_slope = torch.log(width * torch.pi / 2 * torch.cosh(t) * torch.cosh(torch.pi / 2 * torch.sinh(t)) * step)
    y, centre = to_support(u), to_support(middle).expand_as(u)
    log_weights = log_slope + to_support.log_abs_det_jacobian(u, y)
    inside = d.support.check(y) & y.isfinite() & log_weights.isfinite()
    y = torch.where(inside, y, centre)
    inside = inside & (d.log_prob(y) < torch.inf)
    y = torch.where(inside, y, centre)
    log_weights = torch.where(inside, log_weights, -torch.inf)
    p = (d.log_prob(y) + log_weights).exp()
    error = torch.maximum((p.sum(0) - 1).abs(), (2 * p[::2].sum(0) - 1).abs()).max()
    y, log_weights = torch.where(p > NOTHING, y, centre), torch.where(p > NOTHING, log_weights, -torch.inf)
    kept = (p > NOTHING).reshape(len(p), -1).any(-1)
    first = int(kept.nonzero()[0]) // 2 * 2 if kept.any() else 0
    last = int(kept.nonzero()[-1]) + 1 if kept.any() else 0
    return Nodes(y[first:last], log_weights[first:last], f"quadrature with {last - first} nodes", halves=True), error


def _moved(d: Any, nodes: Nodes | None) -> Nodes | None:
    """Nodes of what was transformed, with their transforms; without those that rounding moves to its ends."""
    if nodes is None:
        return None
    y, log_weights = nodes.y, nodes.log_weights
    for transform in d.transforms:
        image = transform(y)
        log_weights = log_weights + transform.log_abs_det_jacobian(y, image)
        y = image
    log_mass = d.log_prob(y) + log_weights
    outside = ~log_mass.isfinite()
    lost = (torch.where(outside, -torch.inf, log_mass).exp().sum(0) - 1).abs() > 1e-4
    return None if bool(lost.any()) else _without(nodes._replace(y=y, log_weights=log_weights), outside, log_mass)


def _without(nodes: Nodes, lost: Tensor, log_mass: Tensor | None = None) -> Nodes:
    """Nodes of which some lie, without weight, where another one is: that of most mass, or any that is not lost."""
    of = nodes.log_weights if log_mass is None else log_mass
    other = torch.where(lost, -torch.inf, of).argmax(0, keepdim=True)
    y, log_weights = nodes.y, nodes.log_weights
    return nodes._replace(
        y=torch.where(lost, y.gather(0, other), y), log_weights=torch.where(lost, -torch.inf, log_weights)
    )


def _drawn(d: Any, count: int, seed: int, device: torch.device) -> Tensor:
    """Samples that are the same each time; torch's own generators go on as if nothing had been drawn."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        (torch.cuda.manual_seed if cuda else torch.default_generator.manual_seed)(seed)
        return d.sample(torch.Size([count]))


def _of_samples(d: Any, num_samples: int, seed: int, device: torch.device) -> Nodes:
    y = _drawn(d, num_samples, seed, device)
    return Nodes(y, -d.log_prob(y) - math.log(num_samples), f"Monte Carlo with {num_samples} samples", True)


def _known(jets: Sequence[Tensor], nodes: Nodes) -> Tensor:
    """The nodes `(Q, *batch)` at which half densities have first and second derivatives."""
    f, *derivatives = jets
    known = torch.stack([y.isfinite().reshape(len(f), -1).all(-1) for y in derivatives]).all(0)
    return known.reshape(nodes.log_weights.shape)


def _check_samples(d: Any, jets: Sequence[Tensor], count: int) -> None:
    """Raises where samples are not of the density: the mean of the score, which is 0, is not.

    As those of `LKJCholesky` in torch 2.13, from three dimensions on.
    """
    f, J = jets[:2]
    mean, error = f @ J / 2, (J.square().sum(0) / count).sqrt()
    if has_values(mean) and bool((mean.abs() > UNLIKELY * error).any()):
        raise ValueError(
            f"the samples of {type(d).__name__} are not distributed by its `log_prob`: the mean of the score is "
            f"{float((mean.abs() / error).nan_to_num().max()):.0f} standard errors from 0, and Monte Carlo would be "
            "wrong; write a subclass with a `sample` that fits its `log_prob`"
        )


def _judged(jets: Sequence[Tensor], nodes: Nodes) -> tuple[float, bool]:
    r"""The relative error of $\sum_y f_i f_j$, and whether second derivatives are those of a smooth likelihood.

    The error is the standard error of samples, or the difference from every other node. As $\sum f^2$ is constant,
    $\sum f f_{ij} = -\sum f_i f_j$; where l has a kink in x, what it adds there is missing.
    """
    f, J, H = jets
    g, missing = J.mT @ J, torch.einsum("y,yij->ij", f, H)
    size = g.diagonal().clamp_min(torch.finfo(g.dtype).tiny).sqrt()
    size = size.unsqueeze(-1) * size
    if nodes.sampled:
        terms = J.unsqueeze(-1) * J.unsqueeze(-2)
        error = (terms.square().sum(0) - g.square() / len(J)).clamp_min(0).sqrt()
    elif nodes.halves:
        half = J.reshape(len(nodes.y), -1, J.shape[-1])[::2].flatten(0, 1)
        error = (2 * half.mT @ half - g).abs()
    else:
        error = torch.zeros_like(g)
    worst = float((error / size).max())
    return worst, bool(((missing + g).abs() <= max(1e-3, min(0.3, 10 * worst)) * size).all())
