r"""The formulas: algebra on the jets of a metric, batched, with no differentiation in it.

Letters are the textbook's. `g[..., i, j]`, `dg[..., i, j, k] = d_k g_ij`, `ddg[..., i, j, k, l] = d_l d_k g_ij`;
`gamma` is a Christoffel symbol. Signs are those of Misner, Thorne, Wheeler, *Gravitation* (1973), MTW below:
$R^a{}_{bcd} = \partial_c \Gamma^a_{db} - \partial_d \Gamma^a_{cb} + \dots$, $\mathrm{Ric}_{bd} = R^a{}_{bad}$.
Lowered Riemann comes from `ddg` directly: no derivative of an inverse, whose rounding errors are larger.
Every formula of curvature stands here, once: therefore long.
"""

import itertools
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from riemann._contraction import contract, has_points_last, is_recorded, like, may_write, points_last, taken
from riemann._indices import bilinear, check_positions, contract_axis, matvec, metric_trace, move_indices
from riemann._messages.names import only as _only
from riemann._nabla import derivatives_of_curvature
from riemann._precision import full_precision
from riemann._rank import is_singular

__all__ = [
    "area_or_nan", "bach_tensor", "change_indices", "christoffel", "christoffel_vector", "cotton_tensor",
    "cotton_york_tensor", "covariant_derivative", "curvature_endomorphism", "einstein_from_ricci",
    "einstein_tensor", "geodesic_acceleration", "hessian", "inverse_metric", "kretschmann_from_riemann",
    "kretschmann_scalar", "kulkarni_nomizu", "lie_derivative", "log_volume_element", "nabla_riemann",
    "ricci_curvature", "ricci_products", "ricci_tensor", "riemann_tensor", "scalar_curvature",
    "scalar_curvature_of_pairs", "scalar_from_ricci", "schouten_from_ricci", "schouten_tensor",
    "sectional_curvature", "squared_area", "varied_acceleration", "volume_element", "weyl_from_riemann",
    "weyl_tensor",
]  # fmt: skip

# ----------------------------------------------------------------------------------------------------- the metric


@full_precision()
def inverse_metric(g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """$g^{ij}$, `(*batch, n, n)`; NaN at a point where g is singular to rounding."""
    if g.shape[-1] == 2 and has_points_last(g, 2):
        inverse = _inverse_of_two_rows(g)
        singular = is_singular(inverse, g)
    else:
        inverse, info = torch.linalg.inv_ex(g)
        inverse = like(inverse, g)
        singular = is_singular(inverse, g) | (info != 0)
    return torch.where(singular[..., None, None], torch.full_like(inverse, torch.nan), inverse)


def _inverse_of_two_rows(g: Tensor) -> Tensor:
    """The inverse `(*batch, 2, 2)` by elimination with pivots, at all points at once; not finite where it is none."""
    a, b = g.movedim((-2, -1), (0, 1))  # rows
    swapped = b[0].abs() > a[0].abs()
    first, second = torch.where(swapped, b, a), torch.where(swapped, a, b)
    factor = second[0] / first[0]
    pivot = second[1] - factor * first[1]
    c, d = -factor / pivot, 1 / pivot
    upper, lower = (1 - first[1] * c) / first[0], -first[1] * d / first[0]
    one, other = torch.stack((upper, c)), torch.stack((lower, d))  # columns of the inverse
    inverse = torch.stack((torch.where(swapped, other, one), torch.where(swapped, one, other)), 1)
    return inverse.movedim((0, 1), (-2, -1))


@full_precision()
def log_volume_element(g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    r"""$\log \sqrt{|\det g|}$, `(*batch,)`: large n does not overflow."""
    lu = torch.linalg.lu_factor_ex(g).LU
    return 0.5 * lu.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)


@full_precision()
def volume_element(g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    r"""$\sqrt{|\det g|}$, `(*batch,)`."""
    return torch.exp(log_volume_element(g))


@full_precision()
def change_indices(g: Tensor, T: Tensor, old: str, new: str) -> Tensor:
    """T with its indices moved from `old` to `new` positions, as in `"ull", "lll"`; shape unchanged.

    Raises:
        ValueError: positions of different length, or other letters than `u` and `l`.
        TypeError: no tensor, or no string of positions.
    """
    if not isinstance(T, Tensor) or not isinstance(old, str):
        got = type(old if isinstance(T, Tensor) else T).__name__
        raise TypeError(
            f"got a {got}, expected a tensor `T`, and its positions `old`, a string as in 'ull'; use "
            "`torch.as_tensor(T)`"
        )
    check_positions(old, None, "a tensor")
    check_positions(new, len(old), f"a tensor of rank {len(old)}")
    n, rank = g.shape[-1], len(old)
    if T.ndim < rank or T.shape[T.ndim - rank :] != (n,) * rank or T.dtype != g.dtype:
        raise ValueError(
            f"`T` is {tuple(T.shape)}, {T.dtype}, expected {rank} last axes of length {n} (`old` is {old!r}), {g.dtype}"
        )
    raised = any(a == "l" and b == "u" for a, b in zip(old, new, strict=True))
    return move_indices(T, g, inverse_metric(g) if raised else None, old, new)


# ------------------------------------------------------------------------------------------------- the connection


@full_precision()
def christoffel(
    g: Float[Tensor, "*batch n n"], dg: Float[Tensor, "*batch n n n"], kind: int = 2
) -> Float[Tensor, "*batch n n n"]:
    r"""Christoffel symbols $\Gamma^k_{ij}$ (kind 2) or $\Gamma_{kij}$ (kind 1), `[..., k, i, j]`.

    $\Gamma_{kij} = \tfrac12 (\partial_i g_{kj} + \partial_j g_{ki} - \partial_k g_{ij})$ (MTW 8.24).

    Raises:
        ValueError: `kind` is neither 1 nor 2.
    """
    if kind not in (1, 2):
        raise ValueError(f"`kind` is {kind!r}, expected 1 (Gamma_kij) or 2 (Gamma^k_ij)")
    first = _christoffel_first(dg)
    return first if kind == 1 else contract("...kl,...lij->...kij", inverse_metric(g), first)


def _christoffel_first(dg: Tensor) -> Tensor:
    return 0.5 * (contract("...kji->...kij", dg) + dg - contract("...ijk->...kij", dg))


@full_precision()
def christoffel_vector(
    g: Float[Tensor, "*batch n n"],
    dg: Float[Tensor, "*batch n n n"],
    u: Float[Tensor, "*batch n"],
    v: Float[Tensor, "*batch n"],
) -> Float[Tensor, "*batch n"]:
    r"""Christoffel symbols applied to vectors, $\Gamma^k_{ij} u^i v^j$, `(*batch, n)`.

    $\tfrac12 g^{kl} (\partial_j g_{li} + \partial_i g_{lj} - \partial_l g_{ij}) u^i v^j$ (MTW 8.24).
    """
    both = contract("...lij,...i,...j->...l", dg, u, v) + contract("...lij,...i,...j->...l", dg, v, u)
    slope = contract("...ijl,...i,...j->...l", dg, u, v)
    return contract("...kl,...l->...k", inverse_metric(g), 0.5 * (both - slope))


@full_precision()
def geodesic_acceleration(
    g: Float[Tensor, "*batch n n"], dg: Float[Tensor, "*batch n n n"], v: Float[Tensor, "*batch n"]
) -> Float[Tensor, "*batch n"]:
    r"""Acceleration of a geodesic with velocity v, $-\Gamma^k_{ij} v^i v^j$, `(*batch, n)`.

    $-g^{kl} (v^j \partial_j g_{li} v^i - \tfrac12 \partial_l g_{ij} v^i v^j)$ (MTW 10.27).
    """
    if has_points_last(dg, 3):
        v = points_last(v, 1)
        along, slope = contract("...lij,...i,...j->...l", dg, v, v), contract("...ijl,...i,...j->...l", dg, v, v)
        return contract("...kl,...l->...k", inverse_metric(g), 0.5 * slope - along)
    n = v.shape[-1]
    along = (dg @ v[..., None, :, None]).squeeze(-1) @ v.unsqueeze(-1)  # of g along v, times v
    squares = (v.unsqueeze(-1) * v.unsqueeze(-2)).reshape(*v.shape[:-1], 1, n * n)
    slope = squares @ dg.reshape(*dg.shape[:-3], n * n, n)  # of g(v, v)
    return (inverse_metric(g) @ (0.5 * slope.mT - along)).squeeze(-1)


@full_precision()
def varied_acceleration(
    g: Tensor, dg: Tensor, ddg: Tensor, v: Tensor, X: Tensor, V: Tensor
) -> tuple[Float[Tensor, "*batch n"], Float[Tensor, "*batch n c"]]:
    r"""`geodesic_acceleration` a, and its change along columns X of x and V of v, `(*batch, n, c)`.

    $g_{lk}\, \delta a^k = -(\partial_m c_l + \partial_m g_{lk} a^k) X^m
    - (\partial_j g_{lp} + \partial_p g_{lj} - \partial_l g_{pj}) v^j V^p$ with $c_l = -g_{lk} a^k$.
    """
    inverse = inverse_metric(g)
    first = contract("...lij,...i->...lj", dg, v)  # of g(v), along j
    squares = contract("...ijl,...i,...j->...l", dg, v, v)
    a = (inverse @ (0.5 * squares.unsqueeze(-1) - first @ v.unsqueeze(-1))).squeeze(-1)
    dfirst = contract("...lijm,...i,...j->...lm", ddg, v, v)
    dsquares = contract("...ijlm,...i,...j->...lm", ddg, v, v)
    A_x = dfirst - 0.5 * dsquares + contract("...lkm,...k->...lm", dg, a)
    A_v = contract("...lpj,...j->...lp", dg, v) + first - first.mT
    return a, -inverse @ (A_x @ X + A_v @ V)


@full_precision()
def covariant_derivative(gamma: Tensor, T: Tensor, dT: Tensor, indices: str) -> Tensor:
    r"""$\nabla_k T$, `[..., indices of T, k]`: the partial derivative and one term of $\Gamma$ for each index.

    $\nabla_k T^a{}_b = \partial_k T^a{}_b + \Gamma^a_{ke} T^e{}_b - \Gamma^e_{kb} T^a{}_e$ (MTW 10.18).
    """
    check_positions(indices, None, "T")
    rank = len(indices)
    nabla = dT
    for axis, position in enumerate(indices):
        moved = T.movedim(axis - rank, -1)
        n = moved.shape[-1]
        flat = moved.reshape((*moved.shape[: T.ndim - rank], n ** (rank - 1), n))
        if position == "u":
            term = contract("...ake,...re->...rka", gamma, flat)
        else:
            term = -contract("...eka,...re->...rka", gamma, flat)
        term = term.reshape((*term.shape[:-3], *moved.shape[T.ndim - rank : -1], *term.shape[-2:]))
        nabla = nabla + term.movedim(-1, axis - rank - 1)
    return nabla


@full_precision()
def hessian(gamma: Tensor, df: Tensor, ddf: Tensor) -> Tensor:
    r"""Hessian, `(*batch, n, n)`: $\nabla_j \nabla_i f = \partial_i \partial_j f - \Gamma^k_{ij} \partial_k f$."""
    return ddf - contract("...kij,...k->...ij", gamma, df)


@full_precision()
def lie_derivative(X: Tensor, dX: Tensor, T: Tensor, dT: Tensor, indices: str) -> Tensor:
    r"""$L_X T$, the shape of T: the partial derivative along X and one term of $\partial X$ for each index.

    $(L_X T)^a{}_b = X^k \partial_k T^a{}_b - T^e{}_b \partial_e X^a + T^a{}_e \partial_b X^e$.
    """
    check_positions(indices, None, "T")
    rank = len(indices)
    n = X.shape[-1]
    lie = contract("...rk,...k->...r", dT.reshape((*X.shape[:-1], n**rank, n)), X).reshape(T.shape)
    for axis, position in enumerate(indices):
        if position == "u":
            lie = lie - contract_axis(T, dX, axis, rank)
        else:
            lie = lie + contract_axis(T, dX.mT, axis, rank)
    return lie


# ------------------------------------------------------------------------------------------------------ curvature


def _riemann_lowered(g: Tensor, dg: Tensor, ddg: Tensor) -> Tensor:
    if g.shape[-1] == 1:  # a curve has no curvature, to the last bit
        return 0 * ddg
    gamma = _christoffel_first(dg)
    return _antisymmetrized(_second_derivatives(ddg), _products(gamma, inverse_metric(g), gamma))


def _antisymmetrized(second: Tensor, products: Tensor) -> Tensor:
    """`second / 2 + products`, less the same with the last two indices exchanged."""
    half = torch.add(products, second, alpha=0.5)
    return half - half.transpose(-1, -2)


def _second_derivatives(ddg: Tensor) -> Tensor:
    """d_b d_c g_ad - d_a d_c g_bd: what R_abcd has of second derivatives, before it is made antisymmetric in c, d."""
    return contract("...adbc->...abcd", ddg) - contract("...bdac->...abcd", ddg)


def _products(gamma: Tensor, inverse: Tensor, delta: Tensor) -> Tensor:
    """g^ef Gamma_ebc Delta_fad, likewise; Delta is Gamma, or its derivative."""
    return contract("...ebc,...ead->...abcd", gamma, contract("...ef,...fad->...ead", inverse, delta))


@full_precision()
def riemann_tensor(
    g: Float[Tensor, "*batch n n"],
    dg: Float[Tensor, "*batch n n n"],
    ddg: Float[Tensor, "*batch n n n n"],
    indices: str = "ulll",
) -> Float[Tensor, "*batch n n n n"]:
    r"""Riemann tensor $R^a{}_{bcd}$, `[..., a, b, c, d]`, at any index positions.

    $R_{abcd} = \tfrac12 (\partial_b \partial_c g_{ad} + \partial_a \partial_d g_{bc} - \partial_a \partial_c g_{bd}
    - \partial_b \partial_d g_{ac}) + g^{ef} (\Gamma_{ebc} \Gamma_{fad} - \Gamma_{ebd} \Gamma_{fac})$
    (MTW 11.12, 14.10).
    """
    check_positions(indices, 4, "the Riemann tensor")
    if indices in ("ulll", "llll") and may_write(g, dg, ddg):
        return _riemann_by_pairs(g, dg, ddg, indices[0] == "u")
    return change_indices(g, _riemann_lowered(g, dg, ddg), "llll", indices)


def _riemann_by_pairs(g: Tensor, dg: Tensor, ddg: Tensor, raised: bool) -> Tensor:
    """Riemann with points side by side in memory: what is antisymmetric is computed once, for a < b and c < d."""
    n, batch = g.shape[-1], range(g.ndim - 2)

    def rows(T: Tensor) -> Tensor:  # (*indices, *batch)
        return T.movedim(tuple(batch), tuple(range(-len(batch), 0)))

    inverse, gamma = inverse_metric(g), _christoffel_first(dg)
    second = rows(contract("...ef,...fad->...ead", inverse, gamma))
    D, gamma, inverse = rows(ddg), rows(gamma), rows(inverse)
    i, j = torch.triu_indices(n, n, 1, device=g.device)
    a, b, c, d = i[:, None], j[:, None], i, j
    R = 0.5 * (D[a, d, b, c] - D[b, d, a, c] - D[a, c, b, d] + D[b, c, a, d])
    for e in range(n):
        R.addcmul_(gamma[e][b, c], second[e][a, d]).addcmul_(gamma[e][b, d], second[e][a, c], value=-1)
    R = _antisymmetric(R, n)
    if raised:
        lowered, R = R, inverse[:, 0, None, None] * R[0]
        for e in range(1, n):
            R.addcmul_(inverse[:, e, None, None], lowered[e])
    R = _antisymmetric(R.movedim(2, 0), n).movedim((0, 1), (2, 3))
    return R.movedim(tuple(range(4, 4 + len(batch))), tuple(batch))


def _antisymmetric(pairs: Tensor, n: int) -> Tensor:
    """The antisymmetric `(n, n, …)` of its entries with i < j, `(pairs, …)`; NaN where one is not finite."""
    whole = pairs.new_empty((n, n, *pairs.shape[1:]))
    whole.diagonal().copy_((0 * pairs).sum(0).unsqueeze(-1))
    for entry, (i, j) in zip(pairs, itertools.combinations(range(n), 2), strict=True):
        whole[i, j] = entry
        torch.neg(entry, out=whole[j, i])
    return whole


@full_precision()
def ricci_tensor(
    g: Float[Tensor, "*batch n n"],
    dg: Float[Tensor, "*batch n n n"],
    ddg: Float[Tensor, "*batch n n n n"],
    indices: str = "ll",
) -> Float[Tensor, "*batch n n"]:
    r"""Ricci tensor $\mathrm{Ric}_{bd} = R^a{}_{bad}$, `[..., b, d]`, contracted as it is built (MTW 8.47)."""
    check_positions(indices, 2, "the Ricci tensor")
    if g.shape[-1] == 1:
        return 0 * g
    inverse = inverse_metric(g)
    mixed = contract("...ac,...adbc->...bd", inverse, ddg)
    traces = contract("...ac,...acbd->...bd", inverse, ddg) + contract("...ac,...bdac->...bd", inverse, ddg)
    ricci = 0.5 * (mixed + mixed.mT - traces) + ricci_products(inverse, dg)
    return move_indices(ricci, g, inverse, "ll", indices)


@full_precision()
def ricci_products(inverse: Tensor, dg: Tensor) -> Tensor:
    r"""The part of Ricci that has no second derivatives, `(*batch, n, n)`.

    $g^{ac} g^{ef} (\Gamma_{ebc} \Gamma_{fad} - \Gamma_{ebd} \Gamma_{fac})$.
    """
    gamma = _christoffel_first(dg)
    raised = contract("...ef,...fbc->...ebc", inverse, gamma)
    trace = contract("...ac,...eac->...e", inverse, raised)
    products = contract("...ebc,...ebd->...cd", gamma, contract("...ab,...ead->...ebd", inverse, raised))
    return products - contract("...e,...ebd->...bd", trace, gamma)


@full_precision()
def scalar_curvature(
    g: Float[Tensor, "*batch n n"], dg: Float[Tensor, "*batch n n n"], ddg: Float[Tensor, "*batch n n n n"]
) -> Float[Tensor, "*batch"]:
    r"""Scalar curvature $S = g^{bd} \mathrm{Ric}_{bd}$, `(*batch,)`; $n(n-1)$ on the unit sphere."""
    n = g.shape[-1]
    b, c = torch.triu_indices(n, n, device=g.device)
    ddg = taken(ddg.flatten(-2).movedim(-1, -3), 3, b * n + c).movedim(-3, -1)
    return scalar_curvature_of_pairs(g, dg, ddg, b, c)


@full_precision()
def scalar_curvature_of_pairs(
    g: Float[Tensor, "*batch n n"],
    dg: Float[Tensor, "*batch n n n"],
    ddg: Float[Tensor, "*batch n n pairs"],
    b: Int[Tensor, "pairs"],
    c: Int[Tensor, "pairs"],
) -> Float[Tensor, "*batch"]:
    r"""`scalar_curvature` from each second derivative once: `ddg[..., a, d, p]` is $\partial_b \partial_c g_{ad}$.

    $g^{ca} g^{bd} - g^{bc} g^{ad}$ is what it is multiplied by; twice for those with b and c exchanged.
    """
    if g.shape[-1] == 1:
        return scalar_from_ricci(g, 0 * g)
    inverse, n, ddg = inverse_metric(g), g.shape[-1], ddg.movedim(-1, 0)
    of_b, of_c = (taken(inverse, 2, k).movedim(-2, 0) for k in (b, c))  # `(pairs, *batch, n)`
    of_both = taken(inverse.flatten(-2), 1, b * n + c).movedim(-1, 0)
    if has_points_last(g, 2):
        weights = of_c.unsqueeze(-1) * of_b.unsqueeze(-2) - of_both[..., None, None] * inverse
        second = (weights * ddg).sum((-2, -1))
    elif is_recorded():
        second = ((ddg * of_b.unsqueeze(-2)).sum(-1) * of_c).sum(-1) - of_both * (ddg * inverse).sum((-2, -1))
    else:  # products of matrices need no array of the size of the derivatives
        rows, flat = ddg.reshape(-1, n, n), ddg.reshape(len(b), -1, n * n).transpose(0, 1)
        first = (matvec(rows, of_b.reshape(-1, n)).view(of_c.shape) * of_c).sum(-1)
        second = first - of_both * matvec(flat, inverse.reshape(-1, n * n)).mT.view(of_both.shape)
    twice = (1 + (b != c).to(g)).view(-1, *[1] * (g.ndim - 2))
    return (twice * second).sum(0) + _scalar_products(inverse, dg)


def _scalar_products(inverse: Tensor, dg: Tensor) -> Tensor:
    r"""The part of S that has no second derivatives: $\Gamma_{ebc} \Gamma^{ebc} - g^{ef} \Gamma_e \Gamma_f$.

    $\Gamma_e = g^{bc} \Gamma_{ebc}$; the trace of `ricci_products`.
    """
    gamma = _christoffel_first(dg)
    raised = contract("...bd,...ebc->...edc", inverse, gamma)
    trace = raised.diagonal(dim1=-2, dim2=-1).sum(-1)
    raised = contract("...ae,...edf->...adf", inverse, contract("...cf,...edc->...edf", inverse, raised))
    return (gamma * raised).sum((-3, -2, -1)) - bilinear(inverse, trace, trace)


@full_precision()
def einstein_tensor(
    g: Float[Tensor, "*batch n n"],
    dg: Float[Tensor, "*batch n n n"],
    ddg: Float[Tensor, "*batch n n n n"],
    indices: str = "ll",
) -> Float[Tensor, "*batch n n"]:
    r"""Einstein tensor $G_{ab} = \mathrm{Ric}_{ab} - \tfrac12 S g_{ab}$ (MTW 8.49); 0 for n < 3."""
    return einstein_from_ricci(g, ricci_tensor(g, dg, ddg), indices)


@full_precision()
def schouten_tensor(
    g: Float[Tensor, "*batch n n"],
    dg: Float[Tensor, "*batch n n n"],
    ddg: Float[Tensor, "*batch n n n n"],
    indices: str = "ll",
) -> Float[Tensor, "*batch n n"]:
    r"""Schouten tensor $P_{ab} = (\mathrm{Ric}_{ab} - S g_{ab} / (2(n-1))) / (n-2)$, `[..., a, b]`.

    Raises:
        ValueError: n < 3, where it is not defined.
    """
    return schouten_from_ricci(g, ricci_tensor(g, dg, ddg), indices)


def _at_least_three(g: Tensor, name: str) -> int:
    n = g.shape[-1]
    if n < 3:
        raise ValueError(
            f"the {name} tensor needs n >= 3, and this metric has n = {n} (its definition divides by n - 2)"
        )
    return n


@full_precision()
def weyl_tensor(
    g: Float[Tensor, "*batch n n"],
    dg: Float[Tensor, "*batch n n n"],
    ddg: Float[Tensor, "*batch n n n n"],
    indices: str = "ulll",
) -> Float[Tensor, "*batch n n n n"]:
    r"""Weyl tensor, the trace-free part of Riemann, at any index positions; 0 for n < 4.

    $C_{abcd} = R_{abcd} - (g_{ac} P_{bd} - g_{ad} P_{bc} + g_{bd} P_{ac} - g_{bc} P_{ad})$.
    """
    return weyl_from_riemann(g, _riemann_lowered(g, dg, ddg), ricci_tensor(g, dg, ddg), indices)


@full_precision()
def kretschmann_scalar(
    g: Float[Tensor, "*batch n n"], dg: Float[Tensor, "*batch n n n"], ddg: Float[Tensor, "*batch n n n n"]
) -> Float[Tensor, "*batch"]:
    r"""Kretschmann scalar $R_{abcd} R^{abcd}$, `(*batch,)`: 48 M²/r⁶ in Schwarzschild."""
    return kretschmann_from_riemann(g, _riemann_lowered(g, dg, ddg))


# ------------------------------------------------------------------- from Ricci or Riemann, all indices lower


@full_precision()
def kulkarni_nomizu(h: Float[Tensor, "*#batch n n"], k: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "... n n n n"]:
    r"""Kulkarni-Nomizu product of symmetric h and k, a tensor with the symmetries of Riemann, `[..., a, b, c, d]`.

    $(h \wedge k)_{abcd} = h_{ac} k_{bd} - h_{ad} k_{bc} + h_{bd} k_{ac} - h_{bc} k_{ad}$.
    """
    hk = contract("...ac,...bd->...abcd", h, k)
    hk = hk - hk.transpose(-1, -2)
    return hk - hk.transpose(-3, -4)


@full_precision()
def scalar_from_ricci(g: Float[Tensor, "*batch n n"], ricci: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    r"""$S = g^{bd} \mathrm{Ric}_{bd}$ from Ricci, `(*batch,)`."""
    return metric_trace(inverse_metric(g), ricci)


@full_precision()
def einstein_from_ricci(
    g: Float[Tensor, "*batch n n"], ricci: Float[Tensor, "*batch n n"], indices: str = "ll"
) -> Float[Tensor, "*batch n n"]:
    r"""$G_{ab} = \mathrm{Ric}_{ab} - \tfrac12 S g_{ab}$ from Ricci, `(*batch, n, n)`."""
    check_positions(indices, 2, "the Einstein tensor")
    if g.shape[-1] < 3:
        return 0 * ricci
    inverse = inverse_metric(g)
    scalar = metric_trace(inverse, ricci)
    return move_indices(ricci - 0.5 * scalar[..., None, None] * g, g, inverse, "ll", indices)


@full_precision()
def schouten_from_ricci(
    g: Float[Tensor, "*batch n n"], ricci: Float[Tensor, "*batch n n"], indices: str = "ll"
) -> Float[Tensor, "*batch n n"]:
    r"""$P_{ab} = (\mathrm{Ric}_{ab} - S g_{ab} / (2(n-1))) / (n-2)$ from Ricci, `(*batch, n, n)`.

    Raises:
        ValueError: n < 3, where it is not defined.
    """
    check_positions(indices, 2, "the Schouten tensor")
    n = _at_least_three(g, "Schouten")
    inverse = inverse_metric(g)
    scalar = metric_trace(inverse, ricci)
    schouten = (ricci - scalar[..., None, None] * g / (2 * (n - 1))) / (n - 2)
    return move_indices(schouten, g, inverse, "ll", indices)


@full_precision()
def weyl_from_riemann(
    g: Float[Tensor, "*batch n n"],
    riemann: Float[Tensor, "*batch n n n n"],
    ricci: Float[Tensor, "*batch n n"],
    indices: str = "ulll",
) -> Float[Tensor, "*batch n n n n"]:
    r"""$C_{abcd} = R_{abcd} - (g \wedge P)_{abcd}$ from Riemann and Ricci, `(*batch, n, n, n, n)`; 0 for n < 4."""
    check_positions(indices, 4, "the Weyl tensor")
    if g.shape[-1] < 4:
        return 0 * riemann
    weyl = riemann - kulkarni_nomizu(g, schouten_from_ricci(g, ricci))
    return change_indices(g, weyl, "llll", indices)


@full_precision()
def kretschmann_from_riemann(
    g: Float[Tensor, "*batch n n"], riemann: Float[Tensor, "*batch n n n n"]
) -> Float[Tensor, "*batch"]:
    r"""$R_{abcd} R^{abcd}$ from Riemann, `(*batch,)`."""
    raised = change_indices(g, riemann, "llll", "uull")
    return contract("...abcd,...cdab->...", raised, raised)


# ------------------------------------------------------------------------------------ curvature of given vectors


@full_precision()
def curvature_endomorphism(
    g: Float[Tensor, "*#batch n n"],
    dg: Float[Tensor, "*#batch n n n"],
    ddg: Float[Tensor, "*#batch n n n n"],
    u: Float[Tensor, "*#batch n"],
    v: Float[Tensor, "*#batch n"],
    w: Float[Tensor, "*#batch n"],
) -> Float[Tensor, "... n"]:
    r"""$(R(u, v) w)^a = R^a{}_{bcd} w^b u^c v^d$, `(*batch, n)`."""
    return contract("...abcd,...b,...c,...d->...a", riemann_tensor(g, dg, ddg), w, u, v)


@full_precision()
def sectional_curvature(
    g: Float[Tensor, "*#batch n n"],
    dg: Float[Tensor, "*#batch n n n"],
    ddg: Float[Tensor, "*#batch n n n n"],
    u: Float[Tensor, "*#batch n"],
    v: Float[Tensor, "*#batch n"],
) -> Float[Tensor, "..."]:
    r"""Sectional curvature, `(*batch,)`; NaN where u and v span no area.

    $K(u, v) = \langle R(u, v) v, u \rangle / (|u|^2 |v|^2 - \langle u, v \rangle^2)$.
    """
    numerator = contract("...abcd,...a,...b,...c,...d->...", _riemann_lowered(g, dg, ddg), u, v, u, v)
    return numerator / squared_area(g, u, v)


@full_precision()
def squared_area(
    g: Float[Tensor, "*#batch n n"], u: Float[Tensor, "*#batch n"], v: Float[Tensor, "*#batch n"]
) -> Float[Tensor, "..."]:
    r"""Squared area of a parallelogram, $|u|^2 |v|^2 - \langle u, v \rangle^2$, `(*batch,)`.

    NaN where it is 0 to rounding: parallel u, v, or a plane on which g is degenerate.
    """
    uu, vv, uv = (bilinear(g, a, b) for a, b in ((u, u), (v, v), (u, v)))
    sizes = (bilinear(g.abs(), a.abs(), a.abs()) for a in (u, v))
    return area_or_nan(uu, vv, uv, *sizes)


def area_or_nan(uu: Tensor, vv: Tensor, uv: Tensor, size_u: Tensor, size_v: Tensor) -> Tensor:
    """`uu vv - uv²`, NaN where it is 0 to rounding: sizes are the sums of absolute values behind uu and vv."""
    area = uu * vv - uv**2
    degenerate = area.abs() <= 16 * torch.finfo(area.dtype).eps * size_u * size_v
    return torch.where(degenerate, torch.full_like(area, torch.nan), area)


@full_precision()
def ricci_curvature(
    g: Float[Tensor, "*#batch n n"],
    dg: Float[Tensor, "*#batch n n n"],
    ddg: Float[Tensor, "*#batch n n n n"],
    v: Float[Tensor, "*#batch n"],
) -> Float[Tensor, "..."]:
    r"""$\mathrm{Ric}(v, v)$, `(*batch,)`."""
    return bilinear(ricci_tensor(g, dg, ddg), v, v)


# ------------------------------------------------------------------------------------- derivatives of curvature


@full_precision()
def nabla_riemann(
    g: Float[Tensor, "*batch n n"],
    dg: Float[Tensor, "*batch n n n"],
    ddg: Float[Tensor, "*batch n n n n"],
    dddg: Float[Tensor, "*batch n n n n n"],
) -> Float[Tensor, "*batch n n n n n"]:
    r"""$\nabla_e R_{abcd}$, `[..., a, b, c, d, e]`, from the third derivatives of g."""
    inverse, gamma = inverse_metric(g), _christoffel_first(dg)
    d_inverse = -contract("...ai,...ijm,...jb->...mab", inverse, dg, inverse)
    d_gamma = _christoffel_first(ddg.movedim(-1, -4))
    one_inverse, one_gamma = inverse.unsqueeze(-3), gamma.unsqueeze(-4)
    products = (
        _products(d_gamma, one_inverse, one_gamma)
        + _products(one_gamma, d_inverse, one_gamma)
        + _products(one_gamma, one_inverse, d_gamma)
    )
    d_riemann = _antisymmetrized(_second_derivatives(dddg.movedim(-1, -5)), products)
    riemann = _riemann_lowered(g, dg, ddg)
    return covariant_derivative(christoffel(g, dg), riemann, d_riemann.movedim(-5, -1), "llll")


@full_precision()
def cotton_tensor(
    g: Float[Tensor, "*batch n n"],
    dg: Float[Tensor, "*batch n n n"],
    ddg: Float[Tensor, "*batch n n n n"],
    dddg: Float[Tensor, "*batch n n n n n"],
    indices: str = "lll",
) -> Float[Tensor, "*batch n n n"]:
    r"""Cotton tensor $C_{ijk} = \nabla_k P_{ij} - \nabla_j P_{ik}$, `[..., i, j, k]`, no prefactor.

    Raises:
        ValueError: n < 3, where it is not defined.
    """
    check_positions(indices, 3, "the Cotton tensor")
    n = _at_least_three(g, "Cotton")
    inverse = inverse_metric(g)
    nabla_ricci = contract("...ac,...abcde->...bde", inverse, nabla_riemann(g, dg, ddg, dddg))
    nabla_scalar = contract("...bd,...bde->...e", inverse, nabla_ricci)
    nabla_schouten = (nabla_ricci - contract("...ij,...k->...ijk", g, nabla_scalar) / (2 * (n - 1))) / (n - 2)
    cotton = nabla_schouten - nabla_schouten.transpose(-1, -2)
    return move_indices(cotton, g, inverse, "lll", indices)


@full_precision()
def bach_tensor(
    g: Float[Tensor, "*batch n n"],
    dg: Float[Tensor, "*batch n n n"],
    ddg: Float[Tensor, "*batch n n n n"],
    dddg: Float[Tensor, "*batch n n n n n"],
    ddddg: Float[Tensor, "*batch n n n n n n"],
    indices: str = "ll",
) -> Float[Tensor, "*batch n n"]:
    r"""Bach tensor $B_{ij} = \nabla^k \nabla^l W_{ikjl} + \tfrac12 R^{kl} W_{ikjl}$, `[..., i, j]`, W the Weyl tensor.

    Raises:
        ValueError: n is not 4.
    """
    check_positions(indices, 2, "the Bach tensor")
    if (n := g.shape[-1]) != 4:
        raise ValueError(f"the Bach tensor needs n = 4, and this metric has n = {n}")
    inverse = inverse_metric(g)
    riemann, _, second = derivatives_of_curvature((g, dg, ddg, dddg, ddddg), 2)
    both = second.movedim((-2, -1), (-6, -5))  # D_f D_e R_abcd, [..., e, f, a, b, c, d]
    ricci, metric = contract("...ac,...abcd->...bd", inverse, riemann), g[..., None, None, :, :]
    ricci_second = contract("...ac,...efabcd->...efbd", inverse, both)
    scalar_second = contract("...bd,...efbd->...ef", inverse, ricci_second)
    schouten_second = 0.5 * (ricci_second - scalar_second[..., None, None] * metric / 6)
    weyl_second = both - kulkarni_nomizu(metric, schouten_second)
    weyl = riemann - kulkarni_nomizu(g, schouten_from_ricci(g, ricci))
    divergence = contract("...fk,...el,...efikjl->...ij", inverse, inverse, weyl_second)
    bach = divergence + 0.5 * contract("...kl,...ikjl->...ij", inverse @ ricci @ inverse, weyl)
    return move_indices(bach, g, inverse, "ll", indices)


@full_precision()
def cotton_york_tensor(
    g: Float[Tensor, "*batch n n"],
    dg: Float[Tensor, "*batch n n n"],
    ddg: Float[Tensor, "*batch n n n n"],
    dddg: Float[Tensor, "*batch n n n n n"],
    indices: str = "ll",
) -> Float[Tensor, "*batch n n"]:
    r"""Cotton-York tensor $C_{ij} = \epsilon_i{}^{kl} \nabla_k P_{lj}$, `[..., i, j]`.

    It is $\tfrac12 \epsilon_i{}^{kl} C_{jlk}$, $\epsilon_{012} = \sqrt{|\det g|}$ in the order of the coordinates.

    Raises:
        ValueError: n is not 3.
    """
    check_positions(indices, 2, "the Cotton-York tensor")
    if (n := g.shape[-1]) != 3:
        raise ValueError(f"the Cotton-York tensor needs n = 3, and this metric has n = {n}")
    inverse = inverse_metric(g)
    cotton = move_indices(cotton_tensor(g, dg, ddg, dddg), g, inverse, "lll", "luu")  # C_j^lk
    # of its last two indices it is antisymmetric: epsilon adds up two equal terms
    york = torch.stack([cotton[..., (i + 2) % 3, (i + 1) % 3] for i in range(3)], -2)
    return move_indices(volume_element(g)[..., None, None] * york, g, inverse, "ll", indices)


if not TYPE_CHECKING:  # which knows the names
    __dir__, __getattr__ = _only(__name__, __all__)
