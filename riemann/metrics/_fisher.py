r"""Fisher's metric of a family of distributions: $g_{ij} = E[\partial_i l\, \partial_j l]$, $l = \log p(y | x)$."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch import distributions as D

from riemann import _curvature, _jets
from riemann._curvature import at, variation
from riemann._metric import jets_of
from riemann._modules import unwrapped
from riemann._open import open_functions
from riemann._points.checks import check_count, has_values, to_tensor
from riemann._types import Metric
from riemann.metrics import _divergence, _scores
from riemann.metrics._families import Kind
from riemann.metrics._known import Unvalidated, components, known
from riemann.metrics._pullback import Pullback
from riemann.metrics._structure import Jets, route

DENSE = 16  # coordinates of a space whose whole curvature tensor is asked for
Family = Callable[[Tensor], Any]


def _takes_one_point(family: Any) -> bool:
    """Whether a class is one of a distribution with one parameter, such as Dirichlet."""
    if not isinstance(family, type):
        return True
    needed = [p for p in inspect.signature(family).parameters.values() if p.default is p.empty]
    return issubclass(family, D.Distribution) and len(needed) == 1


def _got(name: str, value: Any) -> tuple[Any, str]:
    """What was given, and the line to write if it is no tensor."""
    if isinstance(value, Tensor):
        return tuple(value.shape), ""
    return type(value).__name__, f"; use `{to_tensor(name, value)}`"


class Fisher(torch.nn.Module):
    r"""Fisher's metric of a family: $g_{ij}(x) = E[\partial_i \log p(y|x)\, \partial_j \log p(y|x)]$.

    Where the distribution is known, it is the pull-back, by the parameters, of a space that is known, with curvature
    from Gauss's equation: of the sphere of radius 2 (categories and counts, so that `Categorical(logits=net(x))` is
    the Fisher metric of a classifier on its inputs), of the Hessian of the log normaliser (Gamma, Beta, Dirichlet, …),
    of a half plane (Normal, Laplace, Cauchy, StudentT), and so on. Otherwise it is the Hessian of torch's
    `kl_divergence`, if that has one where its arguments agree; else the covariance of the score: by a sum or
    a quadrature for numbers, by Monte Carlo for vectors, which a warning says with its standard error.

    Args:
        family: one point `(n,)` to a `torch.distributions.Distribution`; to several in a tuple, for independent data.
            What its batch holds is independent, too.
        subspace: U, `(n, k)`: the metric of `family(U s)`, of points `(k,)`; a pair `(U, x0)`: of `family(x0 + U s)`.
        num_samples: of Monte Carlo, where it comes to that.
        generator: of these samples; by default they are the same each time.

    Attributes:
        route: how the metric was found at the last call.

    Raises:
        TypeError: `family` returns no distribution. For all functions of the metric.
        ValueError: the support of the distribution moves with x (`Uniform`): no Fisher metric exists. Or samples, where
            it comes to Monte Carlo, are not distributed by `log_prob`.

    Warns:
        UserWarning: where g has less than full rank: a classifier of C classes has rank C - 1 at most. NaN there; give
            a `subspace`.

    Reference:
        Amari, Nagaoka, *Methods of Information Geometry* (2000), chapter 2.

    Example:
        >>> import riemann as rm
        >>> from torch.distributions import Normal
        >>> normal = Fisher(lambda x: Normal(x[0], x[1]))
        >>> rm.scalar_curvature(normal, torch.tensor([0.0, 2.0]))
        tensor(-1.)
        >>> normal.route
        'closed form of Normal'
    """

    def __init__(
        self,
        family: Family,
        subspace: Tensor | tuple[Tensor, Tensor] | None = None,
        *,
        num_samples: int = 10_000,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if not callable(family) or isinstance(family, D.Distribution) or not _takes_one_point(family):
            raise TypeError(
                f"`family` is {getattr(family, '__name__', type(family).__name__)}, expected a callable of one point "
                "(n,) that returns a distribution: `lambda x: Normal(x[0], x[1])`"
            )
        check_count("num_samples", num_samples, 2)
        basis, origin = subspace if isinstance(subspace, tuple | list) else (subspace, None)
        if basis is not None and (not isinstance(basis, Tensor) or basis.ndim != 2):
            got, use = _got("U", basis)
            raise ValueError(f"`subspace` is {got}, expected a tensor U, (n, k), or a pair of it and a point (n,){use}")
        if origin is not None and (not isinstance(origin, Tensor) or origin.shape != basis.shape[:1]):
            got, use = _got("x0", origin)
            raise ValueError(f"the point of `subspace` is {got}, expected a tensor x0, ({basis.shape[0]},){use}")
        self.family = family
        self.register_buffer("basis", basis)
        self.register_buffer("origin", origin)
        self.num_samples: int = num_samples
        self.generator: torch.Generator | None = generator
        self.route = "not known before the first call"

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        return structure(self, x)(x)

    def distributions(self, x: Tensor) -> list[Any]:
        """The distributions at one point `(n,)`, as independent data."""
        if self.basis is not None:
            k = self.basis.shape[1]
            if x.shape != (k,):
                raise ValueError(
                    f"`x` has {x.shape[-1]} coordinates, and `subspace` has k = {k} columns: points are (k,), s in "
                    "x = U s; give a pair, `subspace=(U, x0)`, for a slice through the point x0"
                )
            x = self.basis.to(x) @ x
            x = x if self.origin is None else x + self.origin.to(x)
        with Unvalidated():
            found = unwrapped(self.family)(x)
        found = list(found) if isinstance(found, tuple | list) else [found]
        for d in found or [None]:
            if not isinstance(d, D.Distribution):
                got = type(d).__name__ if found else "nothing"
                raise TypeError(
                    f"`family` returned {got} at one point, expected a torch.distributions.Distribution, or a tuple of "
                    "them"
                )
        return found


# ------------------------------------------------------------------------------------ what metric it is, at points


class Part(NamedTuple):
    """A term of the metric: of distributions of one kind, or of one that is of none."""

    metric: Metric
    families: list[Family]
    kind: Kind | None


def structure(metric: Fisher, x: Tensor) -> Metric:
    """The same metric, made of what is known of the distributions at points like x."""
    terms = [part.metric for part in parts_of(metric, x)]
    return terms[0] if len(terms) == 1 else Sum(terms)


def parts_of(metric: Fisher, x: Tensor) -> list[Part]:
    """The terms of the metric: one for each kind of distribution, and one for each that is of none."""
    point = x.reshape(-1, x.shape[-1])[:1]
    kinds, names, sizes = _described(metric, point)
    spaces = [
        (kind, None if kind is None or kind.metric is None else size[-1])
        for kind, size in zip(kinds, sizes, strict=True)
    ]
    parts, routes = [], []
    for place, (kind, d) in enumerate(spaces):
        if kind is None:
            part, how = _unknown(metric, place, point)
            parts.append(part)
            routes.append(f"{how} of {names[place]}")
        elif spaces.index((kind, d)) == place:
            places = [k for k, space in enumerate(spaces) if space == (kind, d)]
            parts.append(_known(metric, kind, places, sum(sizes[k][0] for k in places), d))
            routes.append("closed form of " + ", ".join(dict.fromkeys(names[k] for k in places)))
    metric.route = "; ".join(routes)
    return parts


def _described(metric: Fisher, point: Tensor) -> tuple[list[Kind | None], list[str], list[torch.Size]]:
    """The kind, the name and the shape of coordinates of each distribution, as they are where x is differentiated."""
    kinds, names, sizes = [], [], []

    def look(p: Tensor) -> Tensor:
        for d in metric.distributions(p):
            found = known(d)
            kinds.append(found and found[0])
            sizes.append(found[1].shape if found else torch.Size())
            names.append(_name(d))
        return p

    _jets.jets_at(look, point, 0, "family")
    return kinds, names, sizes


def _name(d: Any) -> str:
    return type(components(d)).__name__


def _known(metric: Fisher, kind: Kind, places: Sequence[int], copies: int, d: int | None) -> Part:
    """Distributions of one kind in spaces of one dimension d: in the product of so many copies of it."""

    def coordinates(p: Tensor) -> Tensor:
        distributions = metric.distributions(p)
        return torch.cat([known(distributions[k])[1].reshape(-1) for k in places])  # type: ignore[index]

    families = [_one(metric, k) for k in places]
    if d is None:
        return Part(Pullback(coordinates), families, kind)
    return Part((Pullback if d <= DENSE else Wide)(coordinates, kind.metric, copies), families, kind)


def _one(metric: Fisher, place: int) -> Family:
    """One of the distributions, its independent components as a batch."""
    return lambda p: components(metric.distributions(p)[place])


class Wide(Pullback):
    """A pull-back from a space of many dimensions: its tensors are those of the jets of g, not of that space."""


for _tensor in (_curvature.riemann_tensor, _curvature.ricci_tensor, _curvature.scalar_curvature):
    _tensor.register(Wide)(_tensor.__wrapped__)


def _unknown(metric: Fisher, place: int, point: Tensor) -> tuple[Part, str]:
    family = _one(metric, place)
    d = family(point[0])
    _check_support(family, point)
    if _divergence.is_trusted(d, family, point[0]):
        return Part(_divergence.Divergence(family), [family], None), "Hessian of the KL divergence"
    scores = _scores.Scores(family, metric.num_samples, metric.generator)
    return Part(scores, [family], None), f"covariance of the score by {_way(scores, point[0])}"


def _way(scores: _scores.Scores, point: Tensor) -> str:
    return scores.nodes(point).way if has_values(point) else "nodes"


def _check_support(family: Family, point: Tensor) -> None:
    """Raises if the support moves with x: the score then is not all that changes."""

    def bounds(p: Tensor) -> Tensor:
        support = family(p).support
        while hasattr(support, "base_constraint"):
            support = support.base_constraint
        ends = (getattr(support, name, None) for name in ("lower_bound", "upper_bound"))
        return torch.cat([p[:1] * 0, *(end.reshape(-1) for end in ends if isinstance(end, Tensor))])

    moves = _jets.jets_at(bounds, point, 1, "family")[1]
    if has_values(moves) and bool((moves != 0).any()):
        raise ValueError(
            f"the support of {_name(family(point[0]))} moves with x, where Fisher's metric does not exist: the "
            "likelihood jumps. Hold the ends of the support fixed"
        )


class Sum(torch.nn.Module):
    """The sum of metrics on the same points."""

    def __init__(self, terms: Sequence[Metric]):
        super().__init__()
        self.terms = list(terms)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        return sum((term(x) for term in self.terms[1:]), self.terms[0](x))


@route(at, Sum)
def jets(metric: Sum, x: Tensor, order: int) -> Jets:
    """The sum of jets."""
    return tuple(sum(same[1:], same[0]) for same in zip(*(jets_of(g, x, order) for g in metric.terms), strict=True))


# ----------------------------------------------------------------------------------- all functions ask the structure


def _ask_structure(function: Any) -> None:
    @functools.wraps(function.__wrapped__)
    def asked(metric: Fisher, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        return function(structure(metric, x), x, *args, **kwargs)

    asked.__module__ = __name__  # what `.route` names
    asked.calls_parts = True  # type: ignore[attr-defined]  # hooks of the parts run
    function.register(Fisher)(asked)


for _function in open_functions():
    _ask_structure(_function)


@variation.of_type.register(Fisher)
def acceleration_derivatives(metric: Fisher, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Of the structure."""
    return variation.acceleration_derivatives(structure(metric, x), x, v)


@variation.solver.register(Fisher)
def accelerations(metric: Fisher, x: Tensor) -> variation.Accelerations | None:
    """Of the structure."""
    return variation.accelerations(structure(metric, x), x)
