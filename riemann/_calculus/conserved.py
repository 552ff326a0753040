r"""What geodesics conserve: $X_a v^a$ of Killing fields, $K_{ab} v^a v^b$ of Killing tensors, and $g(v, v)$."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _jets, formulas
from riemann._calculus.bases import Places, places, scalar_functions
from riemann._calculus.killing_fields import enough, framed, independent, killing_fields, least
from riemann._indices import bilinear, matvec
from riemann._metric import metric_jet
from riemann._points.checks import broadcast_vectors, check_count, inside
from riemann._types import Field, Metric

_IGNORED = 1e-10  # a coordinate along which g changes by less, in its range, is one that g does not depend on
_MOST = {1: 300, 2: 600}  # unknowns of the default degree, for fields and for tensors


@dataclass(frozen=True, eq=False)
class ConservedQuantity:
    r"""A function of points and velocities, constant along geodesics: `quantity(x, v)`, `(*batch,)`.

    Attributes:
        degree: in the velocity: 1 or 2.
        error: the relative residual of Killing's equation at points that were not used to find it; 0 of the energy.
        tensor: the Killing field $X^a$ or the Killing tensor $K^{ab}$, a field of points `(*batch, n)`.
        name: `"linear"`, `"quadratic"` or `"energy"`.
        metric: the metric that it was found for.
    """

    degree: int
    error: float
    tensor: Field = field(repr=False)
    name: str
    metric: Metric = field(repr=False)

    def __call__(self, x: Float[Tensor, "*#batch n"], v: Float[Tensor, "*#batch n"]) -> Float[Tensor, "..."]:
        r"""$X^a p_a$ or $K^{ab} p_a p_b$, where $p_a = g_{ab} v^b$, at points and velocities `(*batch, n)`."""
        x, v = broadcast_vectors(x, v=v)
        (g,) = metric_jet(self.metric, x, 0)
        p = matvec(g, v)
        if self.name == "energy":
            return torch.einsum("...a,...a->...", p, v)
        if self.degree == 1:
            return torch.einsum("...a,...a->...", self.tensor(x), p)
        return bilinear(self.tensor(x), p, p)


def conserved_quantities(
    metric: Metric,
    box: Sequence[Sequence[int | float]] | None = None,
    basis: str | Field = "polynomial",
    *,
    points: Tensor | None = None,
    weights: Tensor | None = None,
    max_degree: int = 2,
    degree: int | None = None,
    tolerance: float = 1e-6,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> list[ConservedQuantity]:
    r"""What geodesics of a metric conserve: linear and quadratic functions of the velocity, with their errors.

    Linear ones are $X_a v^a$ of the Killing fields. Quadratic ones are $K_{ab} v^a v^b$ of the Killing tensors,
    $\nabla_{(a} K_{bc)} = 0$, among $K^{ab} = f^{ab} + h\, g^{ab}$ with combinations f and h of a basis; only those
    that are not made of the linear ones and the energy are returned (Carter's constant of a Kerr hole), one for each
    dimension of the space that is left. The energy $g(v, v)$ comes last.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`; a learned one, too.
        box: `((low, high), …)`, bounds of each coordinate; those of `points`, if they are given, by default.
        basis: `"polynomial"`, `"trigonometric"` or scalar functions, as for `killing_fields`.
        points: where the metric is asked, `(N, n)`, instead of in the box; for a learned metric, its data.
        weights: of the points, `(N,)`, not negative.
        max_degree: 1 for linear ones and the energy alone, or 2.
        degree: of a named basis; by default the highest with 300 unknowns for fields and 600 for tensors.
        tolerance: quantities of a larger relative residual are not returned.
        dtype: of the points of a box.
        device: of the points of a box.

    Returns:
        A list of callables `(x, v)`, each with `.error`, `.degree`, `.name` and `.tensor`: the linear ones, the
        quadratic ones (of each the best first), the energy.

    Raises:
        TypeError, ValueError: as `killing_fields`.

    Note:
        Quadratic ones are looked for among those that do not change along coordinates of which g is independent (t and
        φ of Kerr): the basis has the other coordinates only. Constants and units of what is found are arbitrary.

    Reference:
        Walker, Penrose, *On quadratic first integrals of the geodesic equations for type {22} spacetimes*, Commun.
        Math. Phys. 18 (1970) 265.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> [quantity.name for quantity in conserved_quantities(half_plane, ((-1, 1), (1, 2)), degree=2)]
        ['linear', 'linear', 'linear', 'energy']
    """
    where = places(box, points, weights, dtype, device)
    n = len(where.low)
    if max_degree not in (1, 2):
        raise ValueError(f"`max_degree` is {max_degree!r}, expected 1 or 2: the degree in the velocity")
    if degree is not None:
        check_count("degree", degree, 0)
    if not (isinstance(basis, str) or callable(basis)):
        raise ValueError(
            f"`basis` is a {type(basis).__name__}, expected 'polynomial', 'trigonometric', or scalar functions"
        )
    with inside(where.low):
        found = killing_fields(
            metric, box, basis, points=points, weights=weights, tolerance=tolerance, dtype=dtype, device=device,
            degree=_highest(basis, n, n, _MOST[1], where) if degree is None else degree,
        )  # fmt: skip
        quadratic = [] if max_degree == 1 else _killing_tensors(metric, where, basis, degree, tolerance, found.fields)
    linear = [
        ConservedQuantity(1, float(error), X, "linear", metric)
        for X, error in zip(found.fields, found.residuals, strict=True)
    ]
    inverse = lambda x: formulas.inverse_metric(metric_jet(metric, x, 0)[0])
    return [*linear, *quadratic, ConservedQuantity(2, 0.0, inverse, "energy", metric)]


def _highest(basis: str | Field, variables: int, each: int, most: int, where: Places) -> int:
    """The highest degree of a named basis in so many variables with no more than `most` unknowns, `each` a function."""
    if callable(basis):
        return 0
    if where.points is not None:  # of which there must be enough
        n = len(where.low)
        most = min(most, len(where.points) * n * (n + 1) // 8)
    waves = basis == "trigonometric"
    count = lambda d: math.comb(variables + d, d) * (2**variables if waves else 1) * each
    return max(1, *itertools.takewhile(lambda d: count(d) <= most, range(1, 16)), 1)


def _killing_tensors(
    metric: Metric, where: Places, basis: str | Field, degree: int | None, tolerance: float, fields: Sequence[Field]
) -> list[ConservedQuantity]:
    """The quadratic quantities that the metric and Killing fields do not make."""
    n, sides = len(where.low), where.high - where.low
    with torch.no_grad():
        (probes, w), _ = where.halves(16 * n, 1)
        free = _dependences(metric, probes, w, sides)
        each = n * (n + 1) // 2 + 1
        degree = _highest(basis, len(free), each, _MOST[2], where) if degree is None else degree
        functions = _of_coordinates(basis, degree, where.low, where.high, free)
        size = each * _jets.jet(functions, ((where.low + where.high) / 2).unsqueeze(0), 0)[0].shape[-1]
        here, there = where.halves(max(16 * n, enough(size, n)), enough(size, n))
        equation, norm, values = _operators(metric, functions, *here, sides)
        coefficients, spectrum = least(equation, norm)
        coefficients = coefficients[spectrum <= tolerance]
        if len(coefficients) == 0:
            return []
        coefficients = _irreducible(coefficients, values, _products(metric, fields, *here, sides), tolerance)
        equation, norm, _ = _operators(metric, functions, *there, sides)
        errors = (equation @ coefficients.mT).norm(dim=0) / (norm @ coefficients.mT).norm(dim=0)
    return [
        ConservedQuantity(2, float(errors[k]), _tensor(metric, functions, coefficients[k]), "quadratic", metric)
        for k in errors.argsort().tolist()
        if float(errors[k]) <= tolerance
    ]


def _dependences(metric: Metric, x: Tensor, weights: Tensor, sides: Tensor) -> list[int]:
    """The coordinates that the metric depends on."""
    at = framed(metric, x, weights, sides)
    change = torch.einsum("zijk,ziA,zjB->zkAB", at.dg, at.frame, at.frame).abs().amax((0, 2, 3)) * sides
    return (change > _IGNORED).nonzero()[:, 0].tolist()


def _of_coordinates(basis: str | Field, degree: int, low: Tensor, high: Tensor, free: list[int]) -> Field:
    """The scalar functions of a basis, named ones of some of the coordinates only."""
    if callable(basis):
        return scalar_functions(basis, degree, low, high)
    if not free:
        return lambda x: torch.ones_like(x[:1])
    chosen = scalar_functions(basis, degree, low[free], high[free])
    return lambda x: chosen(torch.stack([x[k] for k in free]))


def _symmetric(n: int, like: Tensor) -> Tensor:
    """A basis of symmetric matrices, `(n(n+1)/2, n, n)`."""
    i, j = torch.triu_indices(n, n)
    unit = torch.zeros(len(i), n, n).to(like)
    k = torch.arange(len(i))
    unit[k, i, j] = unit[k, j, i] = 1
    return unit


def _tensor(metric: Metric, functions: Field, coefficients: Tensor) -> Field:
    r"""The field $K^{ab} = f^{ab} + h\, g^{ab}$."""

    def K(x: Tensor) -> Tensor:
        f = _jets.jet(functions, x, 0)[0]
        unit = _symmetric(x.shape[-1], x)
        c = torch.einsum("Fs,...F->...s", coefficients.to(x).reshape(f.shape[-1], -1), f)
        inverse = formulas.inverse_metric(metric_jet(metric, x, 0)[0])
        return torch.einsum("...s,sab->...ab", c[..., :-1], unit) + c[..., -1, None, None] * inverse

    return K


def _operators(
    metric: Metric, functions: Field, x: Tensor, weights: Tensor, sides: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Matrices of the tensors of a basis: $\nabla_{(A} K_{BC)}$; K and $\nabla K$; K; in an orthonormal frame."""
    at = framed(metric, x, weights, sides)
    f, df = _jets.jet(functions, x, 1)
    unit = _symmetric(x.shape[-1], x)
    gamma = formulas.christoffel(at.g, at.dg).unsqueeze(1).expand(-1, len(unit), -1, -1, -1)
    E = unit.expand(len(x), *unit.shape)
    nabla = formulas.covariant_derivative(gamma, E, E.new_zeros(*E.shape, x.shape[-1]), "uu")
    E = torch.einsum("zsij,zAi,zBj->zsAB", E, at.coframe, at.coframe)
    nabla = torch.einsum("zsijk,zAi,zBj,zkC->zsABC", nabla, at.coframe, at.coframe, at.frame)
    E = torch.cat((E, torch.diag_embed(at.signs).unsqueeze(1)), 1)  # and of the inverse metric, which is parallel
    nabla = torch.cat((nabla, torch.zeros_like(nabla[:, :1])), 1)
    df = torch.einsum("zFk,zkC->zFC", df, at.frame)
    K = torch.einsum("zF,zsAB->zFsAB", f, E).flatten(1, 2)
    D = torch.einsum("zF,zsABC->zFsABC", f, nabla) + torch.einsum("zFC,zsAB->zFsABC", df, E)
    D = D.flatten(1, 2)
    lowered = torch.einsum("zaABC,zA,zB->zaABC", D, at.signs, at.signs)
    equation = (lowered + lowered.permute(0, 1, 3, 4, 2) + lowered.permute(0, 1, 4, 2, 3)) / 3
    root = weights.sqrt()
    equation, K, D = (
        torch.einsum("z,za...->z...a", root, T).reshape(-1, K.shape[1]) for T in (equation, K / at.length, D)
    )
    return equation, torch.cat((K, D)), K


def _products(metric: Metric, fields: Sequence[Field], x: Tensor, weights: Tensor, sides: Tensor) -> Tensor:
    """The inverse metric and symmetric products of Killing fields, as columns, as `_operators` gives K."""
    at = framed(metric, x, weights, sides)
    X = [torch.einsum("zAi,zi->zA", at.coframe, field(x)) for field in fields]
    pairs = [torch.einsum("zA,zB->zAB", Y, Z) for Y, Z in itertools.combinations_with_replacement(X, 2)]
    made = torch.stack([torch.diag_embed(at.signs), *(P + P.mT for P in pairs)], -1)
    return torch.einsum("z,zABa->zABa", weights.sqrt(), made).reshape(-1, made.shape[-1])


def _irreducible(coefficients: Tensor, values: Tensor, products: Tensor, tolerance: float) -> Tensor:
    """Combinations of the tensors found that are orthogonal to the products, where any are left."""
    K = values @ coefficients.mT
    orthonormal = products @ independent(products)
    rest = K - orthonormal @ (orthonormal.mT @ K)
    sizes, rows = torch.linalg.svd(rest @ (unit := independent(K)), full_matrices=False)[1:]
    return rows[sizes > tolerance**0.5] @ unit.mT @ coefficients
