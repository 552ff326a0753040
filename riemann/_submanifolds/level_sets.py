r"""Level sets $f(x) = c$: the curvatures of the one through each point, from two derivatives of f.

The normal is $\nu = \nabla f / |\nabla f|$, with $\epsilon = \langle \nu, \nu \rangle = \pm 1$, and the shape operator
$S u = \bar\nabla_u \nu$ on tangent vectors: $S^i{}_j = h^{ik} \bar\nabla_k \partial_j f / |\nabla f|$ with
$h^{ik} = g^{ik} - \epsilon \nu^i \nu^k$. The unit sphere, $x \cdot x - 1$, has $S = 1$.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _curvature, _jets, formulas
from riemann._indices import bilinear, matvec
from riemann._metric import INFINITE, metric_jet
from riemann._points.checks import check_points, has_values
from riemann._points.chunks import in_chunks
from riemann._points.faults import Faults, warn_of, with_nan
from riemann._precision import full_precision
from riemann._rank import ROUNDING
from riemann._types import ChunkSize, Field, Metric

_CRITICAL = "has no gradient, where its level set has no normal,"
_NULL = "has a null gradient, where its level set has no unit normal,"
_INDEFINITE = "has a level set of indefinite metric, whose principal curvatures may be complex,"


class LevelSet(NamedTuple):
    r"""At points: $g_{ij}$, its inverse, $\nu^i$, $\nu_i$, $\epsilon$, and $\bar\nabla_i \partial_j f / |\nabla f|$."""

    g: Tensor
    inverse: Tensor
    normal: Tensor
    covector: Tensor
    epsilon: Tensor
    hessian: Tensor

    def induced_inverse(self) -> Tensor:
        """$h^{ik}$, the metric of covectors that are 0 on the normal."""
        return self.inverse - self.epsilon[..., None, None] * self.normal[..., None] * self.normal[..., None, :]


def _level_set(f: Field, x: Tensor, ambient: Metric | None) -> tuple[LevelSet, Faults]:
    n = x.shape[-1]
    value, df, ddf = _jets.jets_at(f, x, 2, "f")
    if value.shape == (*x.shape[:-1], 1):  # of a network
        df, ddf = df.squeeze(-2), ddf.squeeze(-3)
    elif value.shape != x.shape[:-1]:
        raise ValueError(f"`f` returned shape {tuple(value.shape[x.ndim - 1 :])} at one point, expected (): one number")
    hessian = ddf
    if ambient is None:
        g = inverse = torch.eye(n, dtype=x.dtype, device=x.device).expand(ddf.shape)
    else:
        g, dg = metric_jet(ambient, x, 1)
        inverse = formulas.inverse_metric(g)
        hessian = formulas.hessian(formulas.christoffel(g, dg), df, ddf)
    unit = _jets.frozen(lambda d: _size(d), df)
    df, hessian = df / unit, hessian / unit.unsqueeze(-1)  # a factor of f does not count
    gradient = matvec(inverse, df)
    square, size = (gradient * df).sum(-1), (gradient * df).abs().sum(-1)
    faults: Faults = {}
    if has_values(square) and has_values(x):
        eps = torch.finfo(x.dtype).eps
        last_bits = ROUNDING * eps * matvec((ddf / unit.unsqueeze(-1)).abs(), x.abs())
        critical = (df.abs() <= last_bits).all(-1)
        faults[_CRITICAL] = critical.detach()
        faults[_NULL] = (square.abs() <= ROUNDING * eps * size).detach() & ~critical
        faults[INFINITE] = ~hessian.detach().isfinite().flatten(-2).all(-1)
    length = square.abs().sqrt().unsqueeze(-1)
    here = LevelSet(g, inverse, gradient / length, df / length, torch.sign(square), hessian / length.unsqueeze(-1))
    return here, faults


def _size(d: Tensor) -> Tensor:
    """The largest entry; 1 where all are 0."""
    largest = d.abs().amax(-1, keepdim=True)
    return torch.where(largest == 0, torch.ones_like(largest), largest)


def _local(
    f: Field, x: Tensor, ambient: Metric | None, chunk_size: ChunkSize, quantity: Callable[[LevelSet, Tensor], Tensor],
    judge: Callable[[LevelSet], Faults] = lambda here: {},
) -> Tensor:  # fmt: skip
    check_points(x, function="function")
    if x.shape[-1] < 2:
        raise ValueError(f"`x` has {x.shape[-1]} coordinate, where level sets are points; 2 or more are needed")

    def at(p: Tensor) -> Tensor:
        here, faults = _level_set(f, p, ambient)
        faults = faults | judge(here) if faults else faults
        warn_of(faults, "`f`")
        return with_nan(faults, quantity(here, p))[0]

    with full_precision():
        return in_chunks(at, x, rank=3, light=_jets.weight_of(f), chunk_size=chunk_size)


def level_set_principal_curvatures(
    f: Field, x: Float[Tensor, "*batch n"], ambient: Metric | None = None, *, chunk_size: ChunkSize = "auto"
) -> Float[Tensor, "*batch m"]:
    r"""Principal curvatures of the level set of f through x: eigenvalues of the shape operator, $S u = \nabla_u \nu$.

    The normal is $\nu = \nabla f / |\nabla f|$, that of a signed distance points outwards, and a sphere of radius r has
    $1 / r$. `principal_curvatures` of a map has the other sign, as there $S u = -\nabla_u \nu$.

    Args:
        f: one point `(n,)` to a number, as a signed distance or a network.
        x: points, `(*batch, n)`, n of 2 or more; on any level.
        ambient: metric of the space, `(n,)` to `(n, n)`; flat by default.
        chunk_size: points at a time, or memory as in `"2GB"`. For all functions of level sets.

    Returns:
        `(*batch, n - 1)`, ascending.

    Raises:
        TypeError, ValueError: as `jet`; `f` returns more than one number. For all functions of level sets.

    Warns:
        UserWarning: where the gradient of f is 0 or null, or f has no second derivatives: NaN there. For all functions
            of level sets. Here also where the metric of the level set is indefinite.

    Note:
        Gradients are those of eigenvalues: not unique where two agree.

    Reference:
        Goldman, *Curvature formulas for implicit curves and surfaces*, Comput. Aided Geom. Design 22 (2005) 632.

    Example:
        >>> level_set_principal_curvatures(lambda x: x @ x - 4, torch.tensor([0.0, 0.0, 2.0]))
        tensor([0.5000, 0.5000])
    """

    def eigenvalues(here: LevelSet, x: Tensor) -> Tensor:
        sign, root, _ = _definite(here)
        P = (
            torch.eye(x.shape[-1]).to(x)
            - here.epsilon[..., None, None] * here.normal[..., None] * (here.covector[..., None, :])
        )
        S = root.mT @ (P.mT @ here.hessian @ P) @ root
        unit = torch.linalg.solve_triangular(root, here.normal.unsqueeze(-1), upper=False)
        above = (
            2 * _jets.frozen(lambda S: S.abs().sum((-2, -1), keepdim=True), S) + 1
        )  # moves the normal's 0 to the end
        S = sign * S + above * unit @ unit.mT
        values = torch.linalg.eigvalsh(torch.nan_to_num(0.5 * (S + S.mT)))
        return values[..., :-1]

    def judge(here: LevelSet) -> Faults:
        return {_INDEFINITE: _definite(here)[2]}

    return _local(f, x, ambient, chunk_size, eigenvalues, judge)


def _definite(here: LevelSet) -> tuple[Tensor, Tensor, Tensor]:
    r"""The sign s of the induced metric h; L of $L L^T$, the inverse of $s h + \nu \nu$; where h is indefinite."""
    E = here.covector[..., None] * here.covector[..., None, :]
    found = []
    for s in (1.0, -1.0):
        definite = s * (here.g + (s - here.epsilon)[..., None, None] * E)
        root, info = torch.linalg.cholesky_ex(torch.linalg.inv_ex(torch.nan_to_num(definite))[0])
        found.append((root, info != 0))
    (plus, no_plus), (minus, no_minus) = found
    sign = 1.0 - 2.0 * no_plus.to(here.g)[..., None, None]
    return sign, torch.where(sign > 0, plus, minus), no_plus & no_minus


def level_set_mean_curvature(
    f: Field, x: Float[Tensor, "*batch n"], ambient: Metric | None = None, *, normalized: bool = False,
    chunk_size: ChunkSize = "auto",
) -> Float[Tensor, "*batch"]:  # fmt: skip
    r"""Mean curvature of the level set of f through x: $\mathrm{tr}\, S = \mathrm{div}\, \nu$, a sum over directions.

    Args:
        f: one point `(n,)` to a number.
        x: points, `(*batch, n)`.
        ambient: metric of the space, of any signature; flat by default.
        normalized: whether to divide by n - 1, so that the unit sphere has 1.
        chunk_size: points at a time, or memory as in `"2GB"`.

    Returns:
        `(*batch,)`: $(n - 1) / r$ on a sphere. $-H \nu$ is the mean curvature vector, where $\epsilon = 1$.

    Reference:
        Goldman, *Curvature formulas for implicit curves and surfaces*, Comput. Aided Geom. Design 22 (2005) 632.

    Example:
        >>> level_set_mean_curvature(lambda x: x @ x - 4, torch.tensor([0.0, 0.0, 2.0]))
        tensor(1.)
    """

    def trace(here: LevelSet, x: Tensor) -> Tensor:
        H = (here.induced_inverse() * here.hessian).sum((-2, -1))
        return H / (x.shape[-1] - 1) if normalized else H

    return _local(f, x, ambient, chunk_size, trace)


def level_set_gauss_curvature(
    f: Field, x: Float[Tensor, "*batch n"], ambient: Metric | None = None, *, chunk_size: ChunkSize = "auto"
) -> Float[Tensor, "*batch"]:
    r"""Gauss curvature of the level set of f through x.

    In flat space it is the product of the principal curvatures, $\det S$, in any dimension (Gauss-Kronecker). Of
    a surface in a curved space of three dimensions it is intrinsic, as `gauss_curvature`: $\epsilon \det S$ and the
    curvature of the space in the tangent plane. In a curved space of any other dimension it is $\det S$.

    Args:
        f: one point `(n,)` to a number.
        x: points, `(*batch, n)`.
        ambient: metric of the space, of any signature; flat by default.
        chunk_size: points at a time, or memory as in `"2GB"`.

    Returns:
        `(*batch,)`: $r^{1 - n}$ on a sphere.

    Reference:
        Goldman, *Curvature formulas for implicit curves and surfaces*, Comput. Aided Geom. Design 22 (2005) 632.

    Example:
        >>> torus = lambda x: (torch.sqrt(x[0] ** 2 + x[1] ** 2) - 2) ** 2 + x[2] ** 2 - 1
        >>> level_set_gauss_curvature(torus, torch.tensor([[3.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
        tensor([ 0.3333, -1.0000])
    """

    def product(here: LevelSet, x: Tensor) -> Tensor:
        n, epsilon = x.shape[-1], here.epsilon
        along = epsilon[..., None, None] * here.normal[..., None] * here.covector[..., None, :]  # onto the normal
        P = torch.eye(n, dtype=x.dtype, device=x.device) - along
        K = torch.linalg.det(torch.nan_to_num(here.induced_inverse() @ here.hessian @ P + along))
        if n != 3 or ambient is None:
            return K
        ricci = bilinear(_curvature.ricci_tensor(ambient, x), here.normal, here.normal)
        return epsilon * K + 0.5 * _curvature.scalar_curvature(ambient, x) - epsilon * ricci

    return _local(f, x, ambient, chunk_size, product)
