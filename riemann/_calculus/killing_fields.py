"""Killing fields in a box of coordinates or at points, found among combinations of given functions by least squares."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from riemann import _jets, formulas
from riemann._calculus.bases import places, vector_fields
from riemann._metric import metric_jet
from riemann._points.checks import check_count, inside
from riemann._points.faults import first
from riemann._types import Field, Metric

_DEPENDENT = {torch.float64: 1e-10, torch.float32: 1e-5}  # combinations of the basis that are this small count as 0
KINDS = ("killing", "homothetic", "conformal")


class KillingFields(NamedTuple):
    r"""The Killing fields that were found, the best first.

    Attributes:
        fields: vector fields, points `(*batch, n)` to contravariant components `(*batch, n)`.
        residuals: of each field, `(fields,)`: $\lVert L_X g \rVert$ at points that were not used to find it, where
            $\lVert X \rVert^2 / \ell^2 + \lVert \nabla X \rVert^2 = 1$.
        coefficients: `(fields, functions, n)` of scalar functions, `(fields, vectors)` of vector fields.
        spectrum: the residuals of all combinations at the points used, increasing: how far the next one is.
    """

    fields: tuple[Field, ...]
    residuals: Tensor
    coefficients: Tensor
    spectrum: Tensor


def killing_fields(
    metric: Metric,
    box: Sequence[Sequence[int | float]] | None = None,
    basis: str | Field | Sequence[Field] = "polynomial",
    *,
    points: Tensor | None = None,
    weights: Tensor | None = None,
    kind: str = "killing",
    degree: int = 2,
    tolerance: float = 1e-6,
    num_points: int | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> KillingFields:
    r"""Killing fields of a metric in a box or at points: the combinations $X = c_a X_a$ of a basis with least $L_X g$.

    They minimise the mean of $|L_X g|^2$ over the points, at a fixed mean of $|X|^2 / \ell^2 + |\nabla X|^2$; $\ell$ is
    the size of the box, and $|\cdot|$ the Euclidean norm in an orthonormal frame of g. A learned metric is asked at its
    data: elsewhere it is not known.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`; a learned one, too: `tolerance` is then how close a symmetry is.
        box: `((low, high), …)`, bounds of each coordinate; those of `points`, if they are given, by default.
        basis: `"polynomial"`: products of powers of the coordinates of total degree `degree`; `"trigonometric"`:
            products of sines and cosines of their multiples; or scalar functions, one point `(n,)` to `(functions,)`,
            that multiply each coordinate field; or a sequence of vector fields.
        points: where the metric is asked, `(N, n)`, instead of at random in the box: half of them find the fields, the
            others judge them.
        weights: of the points, `(N,)`, not negative; equal by default.
        kind: `"killing"`: $L_X g = 0$; `"homothetic"`: $L_X g = 2 c\, g$ with a constant c (the flow scales all lengths
            alike); `"conformal"`: with a function c (it keeps angles). Residuals are of what is left.
        degree: of the named bases; the number of functions grows as `degree**n`.
        tolerance: fields of a larger residual are not returned.
        num_points: in the box, to find them; enough to overdetermine all coefficients by default.
        dtype: of the points of a box, so of the results.
        device: of the points of a box, so of the results.

    Returns:
        `.fields`, `.residuals`, `.coefficients`, `.spectrum`. `len(found.fields)` is at most `killing_dimension`; it is
        less if the basis does not hold all fields.

    Raises:
        TypeError: `points` are no such tensor.
        ValueError: no such basis or kind, neither a box nor points, too few points for the basis, bounds that are not
            finite or not in order, g that is not a metric at a point.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> len(killing_fields(half_plane, ((-1, 1), (1, 2))).fields)
        3
    """
    where = places(box, points, weights, dtype, device)
    n, sides = len(where.low), where.high - where.low
    check_count("degree", degree, 0)
    if kind not in KINDS:
        raise ValueError(f"`kind` is {kind!r}, expected one of {', '.join(map(repr, KINDS))}")
    if not tolerance >= 0:
        raise ValueError(f"`tolerance` is {tolerance}, expected a number, 0 or more")
    if num_points is not None:
        check_count("num_points", num_points, 1)
    vectors, scalar = vector_fields(basis, degree, where.low, where.high)
    with torch.no_grad(), inside(where.low):
        size = _jets.jet(vectors, ((where.low + where.high) / 2).unsqueeze(0), 0)[0].shape[-2]
        count = max(16 * n, 2 * size) if num_points is None else num_points
        here, there = where.halves(count, enough(size, n))
        deformation, norm = operators(metric, vectors, *here, sides, kind)
        coefficients, spectrum = least(deformation, norm)
        coefficients = coefficients[spectrum <= tolerance]
        deformation, norm = operators(metric, vectors, *there, sides, kind)
        residuals = (deformation @ coefficients.mT).norm(dim=0) / (norm @ coefficients.mT).norm(dim=0)
        coefficients, residuals = coefficients[residuals <= tolerance], residuals[residuals <= tolerance]
    fields = tuple(_combination(vectors, c) for c in coefficients)
    return KillingFields(fields, residuals, coefficients.unflatten(-1, (-1, n)) if scalar else coefficients, spectrum)


def enough(size: int, n: int) -> int:
    """Points at which there are twice as many equations as coefficients."""
    return -(-4 * size // (n * (n + 1)))


def independent(norm: Tensor) -> Tensor:
    """Combinations of the basis, as columns, that span it and are orthonormal in the norm whose matrix is given."""
    sizes, directions = torch.linalg.svd(torch.linalg.qr(norm, mode="r").R)[1:]
    kept = sizes > _DEPENDENT[norm.dtype] * sizes[0]
    return directions[kept].mT / sizes[kept]


def least(deformation: Tensor, norm: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients `(combinations, functions)` and residuals `(combinations,)` at the norm 1, increasing."""
    unit = independent(norm)
    spectrum, rows = torch.linalg.svd(torch.linalg.qr(deformation @ unit, mode="r").R)[1:]
    spectrum = torch.cat((spectrum, spectrum.new_zeros(len(rows) - len(spectrum))))
    return (unit @ rows.mT).mT.flip(0), spectrum.flip(0)


def _combination(vectors: Field, coefficients: Tensor) -> Field:
    """The field $c_a X_a$."""
    return lambda x: torch.einsum("a,...ai->...i", coefficients.to(x), _jets.jet(vectors, x, 0)[0])


class Framed(NamedTuple):
    r"""A metric at points, `(z, …)`, in an orthonormal frame $e_A$.

    Attributes:
        g: the metric.
        dg: its derivatives.
        frame: $e_A{}^i$, `[z, i, A]`.
        coframe: its inverse, `[z, A, i]`.
        signs: $g(e_A, e_A)$, `[z, A]`.
        length: the size of the box.
    """

    g: Tensor
    dg: Tensor
    frame: Tensor
    coframe: Tensor
    signs: Tensor
    length: Tensor


def framed(metric: Metric, x: Tensor, weights: Tensor, sides: Tensor) -> Framed:
    """The metric at points in an orthonormal frame; raises where it is none."""
    g, dg = metric_jet(metric, x, 1)
    if bool(g.isnan().any()):
        where = x[first(g.isnan().flatten(1).any(-1))].tolist()
        raise ValueError(f"`metric` is not a metric at {where}, where a symmetry is looked for; keep inside the chart")
    L, info = torch.linalg.cholesky_ex(g)
    if bool((info == 0).all()):  # whose derivatives are finite where eigenvalues are equal, too
        frame, coframe, signs = torch.linalg.inv(L).mT, L.mT, torch.ones_like(g[..., 0])
    else:
        eigenvalues, directions = torch.linalg.eigh(g)
        root = eigenvalues.abs().sqrt()
        frame, coframe = directions / root.unsqueeze(-2), directions.mT * root.unsqueeze(-1)
        signs = eigenvalues.sign()
    squares = torch.linalg.norm(coframe * sides, dim=(-2, -1)).square()
    return Framed(g, dg, frame, coframe, signs, (weights * squares).sum().sqrt())


def operators(
    metric: Metric, vectors: Field, x: Tensor, weights: Tensor, sides: Tensor, kind: str = "killing"
) -> tuple[Tensor, Tensor]:
    r"""Matrices of the functions of a basis: $L_X g$, and X and $\nabla X$, in an orthonormal frame at each point."""
    g, dg, frame, coframe, signs, length = framed(metric, x, weights, sides)
    X, dX = _jets.jet(vectors, x, 1)
    one_g, one_dg = g.unsqueeze(1).expand(*X.shape, -1), dg.unsqueeze(1).expand(*dX.shape, -1)
    killing = formulas.lie_derivative(X, dX, one_g, one_dg, "ll")
    gamma = formulas.christoffel(g, dg).unsqueeze(1).expand(*dX.shape, -1)
    nabla = formulas.covariant_derivative(gamma, X, dX, "u")
    killing = torch.einsum("zaij,zik,zjl->zkla", killing, frame, frame)
    nabla = torch.einsum("zija,zki,zjl->zkla", nabla.movedim(1, -1), coframe, frame)
    value = torch.einsum("zai,zki->zka", X, coframe) / length
    if kind != "killing":  # less its trace, 2 c g, where c is the mean over the points if it is a constant
        trace = torch.einsum("zkka,zk->za", killing, signs) / x.shape[-1]
        trace = trace if kind == "conformal" else (weights @ trace).expand_as(trace)
        killing = killing - torch.einsum("za,kl,zk->zkla", trace, torch.eye(x.shape[-1]).to(x), signs)
    root = weights.sqrt()
    rows = [torch.einsum("z,z...a->z...a", root, y).reshape(-1, X.shape[1]) for y in (killing, value, nabla)]
    return rows[0], torch.cat(rows[1:])
