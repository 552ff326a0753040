r"""A diagonal and a few directions: $g = \mathrm{diag}(d) + U S U^T$, without `(n, n)` where vectors are given."""

from collections.abc import Callable

import torch
from torch import Tensor

from riemann import _curvature, formulas
from riemann._curvature import at
from riemann._curvature.directional import connection_covector, curvature_form_by
from riemann._indices import matvec
from riemann._rank import is_singular
from riemann._rounding import judged_forms
from riemann._types import Field
from riemann.metrics._structure import Jets, derive, leibniz, part, part_field, part_jet, route


class LowRankPlusDiagonal(torch.nn.Module):
    r"""$g = \mathrm{diag}(d(x)) + U(x)\, S\, U(x)^T$, U of r columns, S a constant diagonal of signs.

    `sectional_curvature`, `christoffel_vector`: time and memory O(n r + r³); no `(n, n)` is formed.

    Args:
        diagonal: d, one point `(n,)` to `(n,)`, without 0.
        factor: U, one point `(n,)` to `(n, r)`.
        signs: the diagonal of S, `(r,)`: ±1, or any weights; ones if it is None. A buffer of the module.

    Example:
        >>> import torch
        >>> import riemann as rm
        >>> graph = LowRankPlusDiagonal(torch.ones_like, lambda x: x[:, None])  # of |x|²/2 in flat space
        >>> rm.sectional_curvature(graph, torch.zeros(1000), torch.eye(1000)[0], torch.eye(1000)[1])
        tensor(1.)
    """

    def __init__(self, diagonal: Field, factor: Field, signs: Tensor | None = None):
        super().__init__()
        self.diagonal: Field = diagonal
        self.factor: Field = factor
        if not isinstance(signs, Tensor | None):
            raise TypeError(f"`signs` of LowRankPlusDiagonal is a {type(signs).__name__}, expected a tensor (r,)")
        if signs is not None and signs.ndim != 1:
            raise ValueError(f"`signs` of LowRankPlusDiagonal has shape {tuple(signs.shape)}, expected (r,)")
        self.register_buffer("signs", signs)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        d = part(self.diagonal, x, (x.shape[-1],), _DIAGONAL)
        U = part(self.factor, x, (x.shape[-1], None), _FACTOR)
        return torch.diag_embed(d) + (U * _signs(self, U)) @ U.mT


_DIAGONAL, _FACTOR = "diagonal of LowRankPlusDiagonal", "factor of LowRankPlusDiagonal"


def _signs(metric: LowRankPlusDiagonal, U: Tensor) -> Tensor:
    r = U.shape[-1]
    if metric.signs is None:
        return torch.ones(r, dtype=U.dtype, device=U.device)
    if metric.signs.shape != (r,):
        raise ValueError(
            f"`signs` of LowRankPlusDiagonal has shape {tuple(metric.signs.shape)}, and `factor` returned {r} columns"
        )
    return metric.signs.to(U)


def _parts(metric: LowRankPlusDiagonal, x: Tensor, order: int) -> tuple[Jets, Jets]:
    n = x.shape[-1]
    return (
        part_jet(metric.diagonal, x, order, (n,), _DIAGONAL),
        part_jet(metric.factor, x, order, (n, None), _FACTOR),
    )


@route(at, LowRankPlusDiagonal)
def jets(metric: LowRankPlusDiagonal, x: Tensor, order: int) -> Jets:
    """Leibniz's rule: n (1 + r) functions are differentiated, not n²."""
    d, U = _parts(metric, x, order)
    batch = x.ndim - 1
    diagonal = [torch.diag_embed(T.movedim(batch, -1)).movedim((-2, -1), (batch, batch + 1)) for T in d]
    S = _signs(metric, U[0])
    signed = [T * S.reshape(-1, *[1] * k) for k, T in enumerate(U)]
    return tuple(p + q for p, q in zip(diagonal, leibniz("as,bs->ab", tuple(signed), U), strict=True))


def _core(d: Tensor, U: Tensor, S: Tensor) -> Tensor:
    r"""$1 + S U^T D^{-1} U$, `(*batch, r, r)`."""
    return torch.eye(S.shape[0], dtype=U.dtype, device=U.device) + S.unsqueeze(-1) * (U.mT @ (U / d.unsqueeze(-1)))


def _solve(d: Tensor, U: Tensor, S: Tensor, w: Tensor) -> Tensor:
    """`g^-1 w` for columns w, `(*batch, n, k)` (Woodbury)."""
    y = w / d.unsqueeze(-1)
    small = torch.linalg.solve_ex(_core(d, U, S), S.unsqueeze(-1) * (U.mT @ y))[0]
    return y - (U @ small) / d.unsqueeze(-1)


def _or_nan(d: Tensor, U: Tensor, S: Tensor) -> Tensor:
    r"""The diagonal; NaN where g is singular to rounding, by its diagonal and that of $g^{-1}$: O(n r²)."""
    scaled = U / d.unsqueeze(-1)
    small = torch.linalg.solve_ex(_core(d, U, S), S.unsqueeze(-1) * scaled.mT)[0]
    inverse = 1 / d - torch.einsum("...ia,...ai->...i", scaled, small)
    singular = is_singular(inverse.unsqueeze(-1), (d.abs() + U.square() @ S.abs()).unsqueeze(-1))
    return torch.where(singular.unsqueeze(-1), torch.full_like(d, torch.nan), d)


@route(_curvature.inverse_metric, LowRankPlusDiagonal)
def inverse_metric(metric: LowRankPlusDiagonal, x: Tensor) -> Tensor:
    r"""Woodbury's formula."""
    (d,), (U,) = _parts(metric, x, 0)
    S = _signs(metric, U)
    return _solve(_or_nan(d, U, S), U, S, torch.eye(x.shape[-1], dtype=x.dtype, device=x.device))


@route(_curvature.log_volume_element, LowRankPlusDiagonal)
def log_volume_element(metric: LowRankPlusDiagonal, x: Tensor) -> Tensor:
    r"""$\tfrac12 \sum \log |d| + \tfrac12 \log |\det(1 + S U^T D^{-1} U)|$."""
    (d,), (U,) = _parts(metric, x, 0)
    S = _signs(metric, U)
    d = _or_nan(d, U, S)
    return 0.5 * d.abs().log().sum(-1) + formulas.log_volume_element(_core(d, U, S))


def _by_images(metric: LowRankPlusDiagonal, x: Tensor) -> tuple[Callable[..., Tensor], Field]:
    """`lower(p, vectors)` at one point, and `solve(w)` at the points x."""
    diagonal = part_field(metric.diagonal, x, x.shape[-1:], _DIAGONAL)
    factor = part_field(metric.factor, x, (x.shape[-1], None), _FACTOR)

    def lower(p: Tensor, vectors: Tensor) -> Tensor:
        U = factor(p)
        return vectors * diagonal(p) + ((vectors @ U) * _signs(metric, U)) @ U.mT

    (d,), (U,) = _parts(metric, x, 0)
    S = _signs(metric, U)
    d = _or_nan(d, U, S)
    return lower, lambda w: _solve(d, U, S, w.unsqueeze(-1)).squeeze(-1)


@route(_curvature.christoffel_vector, LowRankPlusDiagonal)
def christoffel_vector(metric: LowRankPlusDiagonal, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Without `(n, n)`."""
    lower, solve = _by_images(metric, x)
    return solve(connection_covector(lower, x, u, v))


@route(_curvature.sectional_form, LowRankPlusDiagonal)
def sectional_form(metric: LowRankPlusDiagonal, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Without `(n, n)`."""
    return judged_forms(curvature_form_by(*_by_images(metric, x), x, u, v))


@route(_curvature.vectors.squared_area, LowRankPlusDiagonal)
def squared_area(metric: LowRankPlusDiagonal, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Without `(n, n)`."""
    (d,), (U,) = _parts(metric, x, 0)
    S = _signs(metric, U)

    def product(a: Tensor, b: Tensor, d: Tensor, U: Tensor, S: Tensor) -> Tensor:
        Ua, Ub = (matvec(U.mT, c) for c in (a, b))
        return (d * a * b).sum(-1) + (S * Ua * Ub).sum(-1)

    inner = [product(a, b, d, U, S) for a, b in ((u, u), (v, v), (u, v))]
    return formulas.area_or_nan(*inner, *(product(a, a, d.abs(), U.abs(), S.abs()) for a in (u.abs(), v.abs())))


derive(LowRankPlusDiagonal, _curvature.volume_element, _curvature.sectional_curvature)
