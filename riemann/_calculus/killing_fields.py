"""Killing fields in a box of coordinates, found among the combinations of given functions by least squares."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from riemann import _jets, formulas
from riemann._calculus.integrate import checked_dimension
from riemann._metric import metric_jet
from riemann._points.checks import check_count
from riemann._points.faults import first
from riemann._types import Field, Metric

_DEPENDENT = 1e-10  # combinations of the basis that are this small count as 0


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
    box: Sequence[Sequence[int | float]],
    basis: str | Field | Sequence[Field] = "polynomial",
    *,
    degree: int = 2,
    tolerance: float = 1e-6,
    num_points: int | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> KillingFields:
    r"""Killing fields of a metric in a box: the combinations $X = c_a X_a$ of a basis with the least $L_X g$.

    They minimise the mean of $|L_X g|^2$ over points of the box, at a fixed mean of $|X|^2 / \ell^2 + |\nabla X|^2$;
    $\ell$ is the size of the box, and $|\cdot|$ the Euclidean norm in an orthonormal frame of g.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`; a learned one, too: `tolerance` is then how close a symmetry is.
        box: `((low, high), …)`, bounds of each coordinate.
        basis: `"polynomial"`: products of powers of the coordinates of total degree `degree`; `"trigonometric"`:
            products of sines and cosines of their multiples; or scalar functions, one point `(n,)` to `(functions,)`,
            that multiply each coordinate field; or a sequence of vector fields.
        degree: of the named bases; the number of functions grows as `degree**n`.
        tolerance: fields of a larger residual are not returned.
        num_points: to find them; enough to overdetermine all coefficients by default.
        dtype: of the points, so of the results.
        device: of the points, so of the results.

    Returns:
        `.fields`, `.residuals`, `.coefficients`, `.spectrum`. `len(found.fields)` is at most `killing_dimension`; it is
        less if the basis does not hold all fields.

    Raises:
        ValueError: no such basis, bounds that are not finite or not in order, g that is not a metric at a point.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> len(killing_fields(half_plane, ((-1, 1), (1, 2))).fields)
        3
    """
    n = checked_dimension(box)
    check_count("degree", degree, 0)
    low, high = torch.tensor(box, dtype=dtype, device=device).T
    vectors, scalar = _vectors(basis, degree, low, high)
    generator = torch.Generator().manual_seed(0)

    def points(count: int) -> Tensor:
        return low + (high - low) * torch.rand(count, n, generator=generator, dtype=dtype).to(low)

    with torch.no_grad():
        size = _jets.jet(vectors, points(1), 0)[0].shape[-2]
        count = max(16 * n, 2 * size) if num_points is None else num_points
        check_count("num_points", count, 1)
        deformation, norm = _operators(metric, vectors, points(count), high - low)
        sizes, directions = torch.linalg.svd(torch.linalg.qr(norm, mode="r").R)[1:]
        kept = sizes > _DEPENDENT * sizes[0]
        unit = directions[kept].mT / sizes[kept]
        spectrum, rows = torch.linalg.svd(torch.linalg.qr(deformation @ unit, mode="r").R)[1:]
        spectrum = torch.cat((spectrum, spectrum.new_zeros(len(rows) - len(spectrum))))
        coefficients = (unit @ rows.mT).mT.flip(0)
        spectrum = spectrum.flip(0)
        coefficients = coefficients[spectrum <= tolerance]
        deformation, norm = _operators(metric, vectors, points(count), high - low)
        residuals = (deformation @ coefficients.mT).norm(dim=0) / (norm @ coefficients.mT).norm(dim=0)
        coefficients, residuals = coefficients[residuals <= tolerance], residuals[residuals <= tolerance]
    fields = tuple(_combination(vectors, c) for c in coefficients)
    return KillingFields(fields, residuals, coefficients.unflatten(-1, (-1, n)) if scalar else coefficients, spectrum)


def _combination(vectors: Field, coefficients: Tensor) -> Field:
    """The field $c_a X_a$."""
    return lambda x: torch.einsum("a,...ai->...i", coefficients.to(x), _jets.jet(vectors, x, 0)[0])


def _operators(metric: Metric, vectors: Field, x: Tensor, sides: Tensor) -> tuple[Tensor, Tensor]:
    r"""Matrices of the functions of a basis: $L_X g$, and X and $\nabla X$, in an orthonormal frame at each point."""
    g, dg = metric_jet(metric, x, 1)
    if bool(g.isnan().any()):
        where = x[first(g.isnan().flatten(1).any(-1))].tolist()
        raise ValueError(f"`metric` is not a metric at {where}, a point of the box; choose a box inside the chart")
    X, dX = _jets.jet(vectors, x, 1)
    eigenvalues, directions = torch.linalg.eigh(g)
    root = eigenvalues.abs().sqrt()
    frame, coframe = directions / root.unsqueeze(-2), directions.mT * root.unsqueeze(-1)  # e_a^i and its inverse
    length = torch.linalg.norm(coframe * sides, dim=(-2, -1)).square().mean().sqrt()
    one_g, one_dg = g.unsqueeze(1).expand(*X.shape, -1), dg.unsqueeze(1).expand(*dX.shape, -1)
    killing = formulas.lie_derivative(X, dX, one_g, one_dg, "ll")
    gamma = formulas.christoffel(g, dg).unsqueeze(1).expand(*dX.shape, -1)
    nabla = formulas.covariant_derivative(gamma, X, dX, "u")
    killing = torch.einsum("zija,zik,zjl->zkla", killing.movedim(1, -1), frame, frame)
    nabla = torch.einsum("zija,zki,zjl->zkla", nabla.movedim(1, -1), coframe, frame)
    value = torch.einsum("zai,zki->zka", X, coframe) / length
    rows = [y.reshape(-1, X.shape[1]) for y in (killing, value, nabla)]
    return rows[0] / len(x) ** 0.5, torch.cat(rows[1:]) / len(x) ** 0.5


# ------------------------------------------------------------------------------------------------------------- bases


def _vectors(
    basis: str | Field | Sequence[Field], degree: int, low: Tensor, high: Tensor
) -> tuple[Callable[[Tensor], Tensor], bool]:
    """The vector fields of a basis as one field `(fields, n)`, and whether they come from scalar functions."""
    if isinstance(basis, str):
        if basis not in ("polynomial", "trigonometric"):
            raise ValueError(
                f"`basis` is {basis!r}, expected 'polynomial', 'trigonometric', scalar functions (one point (n,) to "
                "(functions,)), or a sequence of vector fields"
            )
        basis = _polynomials(degree, low, high) if basis == "polynomial" else _waves(degree)
    if callable(basis):
        functions = basis

        def times_coordinate_fields(x: Tensor) -> Tensor:
            f = functions(x)
            if f.ndim != 1:
                raise ValueError(f"`basis` returned shape {tuple(f.shape)} at one point, expected (functions,)")
            n = x.shape[-1]
            return torch.einsum("a,ij->aij", f, torch.eye(n, dtype=x.dtype, device=x.device)).reshape(-1, n)

        return times_coordinate_fields, True
    fields = tuple(basis)
    if not fields or not all(map(callable, fields)):
        raise ValueError("`basis` is a sequence, expected one or more vector fields, each one point (n,) to (n,)")

    def stacked(x: Tensor) -> Tensor:
        values = [field(x) for field in fields]
        for k, value in enumerate(values):
            if value.shape != x.shape:
                raise ValueError(
                    f"`basis[{k}]` returned shape {tuple(value.shape)} at one point, expected {tuple(x.shape)}"
                )
        return torch.stack(values)

    return stacked, False


def _polynomials(degree: int, low: Tensor, high: Tensor) -> Field:
    """Products of Chebyshev polynomials of the coordinates, which run from -1 to 1 in the box."""
    n = len(low)
    powers = [p for p in itertools.product(range(degree + 1), repeat=n) if sum(p) <= degree]

    def functions(x: Tensor) -> Tensor:
        u = (2 * x - low - high) / (high - low)
        chebyshev = [torch.ones_like(u), u]
        for _ in range(degree - 1):
            chebyshev.append(2 * u * chebyshev[-1] - chebyshev[-2])
        return _products(chebyshev, powers)

    return functions


def _waves(degree: int) -> Field:
    """Products of 1, sin x, cos x, sin 2x, cos 2x, … of the coordinates; sines and cosines count by their multiple."""

    def functions(x: Tensor) -> Tensor:
        waves = [torch.ones_like(x)]
        for k in range(1, degree + 1):
            waves += [torch.sin(k * x), torch.cos(k * x)]
        choices = itertools.product(range(len(waves)), repeat=len(x))
        return _products(waves, [c for c in choices if sum((k + 1) // 2 for k in c) <= degree])

    return functions


def _products(factors: list[Tensor], choices: list[tuple[int, ...]]) -> Tensor:
    """For each choice the product over the coordinates i of `factors[choice[i]][i]`."""
    table = torch.stack(factors)
    product = table.new_ones(())
    for i, column in enumerate(zip(*choices, strict=True)):
        product = product * table[:, i][list(column)]
    return product
