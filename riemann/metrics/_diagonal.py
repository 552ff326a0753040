"""Metrics in orthogonal coordinates."""

import torch
from torch import Tensor

from riemann import _curvature, _jets, formulas
from riemann._curvature import at
from riemann._curvature.directional import curvature_form_by
from riemann._points.checks import has_values
from riemann._rounding import judged_forms, last_bits, say_few
from riemann._types import Field
from riemann.metrics._structure import Jets, derive, or_nan, part, part_field, part_jet, positioned, route


class Diagonal(torch.nn.Module):
    r"""Orthogonal coordinates: $g = \mathrm{diag}(d_1(x), \dots, d_n(x))$, any signs.

    The scalar curvature needs the n(n-1) second derivatives $\partial_j^2 d_i$ only, and no tensor larger than
    `(n, n)`; Riemann has no components with four different indices.

    Args:
        entries: one point `(n,)` to the diagonal `(n,)`.

    Example:
        >>> import torch
        >>> import riemann as rm
        >>> sphere = Diagonal(lambda x: torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
        >>> rm.scalar_curvature(sphere, torch.tensor([0.7, 0.2]))
        tensor(2.)
    """

    def __init__(self, entries: Field):
        super().__init__()
        self.entries = entries

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        return torch.diag_embed(part(self.entries, x, (x.shape[-1],), "entries of Diagonal"))


def _field(metric: Diagonal, x: Tensor) -> Field:
    return part_field(metric.entries, x, x.shape[-1:], "entries of Diagonal")


def _entries(metric: Diagonal, x: Tensor, order: int) -> Jets:
    return part_jet(metric.entries, x, order, (x.shape[-1],), "entries of Diagonal")


@route(at, Diagonal)
def jets(metric: Diagonal, x: Tensor, order: int) -> Jets:
    """Jets of the n entries, put on a diagonal."""
    batch = x.ndim - 1
    return tuple(
        torch.diag_embed(T.movedim(batch, -1)).movedim((-2, -1), (batch, batch + 1)) for T in _entries(metric, x, order)
    )


@route(_curvature.inverse_metric, Diagonal)
def inverse_metric(metric: Diagonal, x: Tensor) -> Tensor:
    """1 / d."""
    return torch.diag_embed(1 / _entries(metric, x, 0)[0])


@route(_curvature.log_volume_element, Diagonal)
def log_volume_element(metric: Diagonal, x: Tensor) -> Tensor:
    """The sum of log |d| / 2."""
    return 0.5 * _entries(metric, x, 0)[0].abs().log().sum(-1)


@route(_curvature.christoffel_vector, Diagonal)
def christoffel_vector(metric: Diagonal, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\Gamma^k(u,v) = (v^k D_u d_k + u^k D_v d_k - \sum_i u^i v^i \partial_k d_i) / (2 d_k)$."""
    entries = _field(metric, x)
    d, along = _jets.jets_along(entries, x, (u, v), 1)
    (slope,) = _jets.gradients(lambda p, uv: (entries(p) * uv).sum(), x, u * v)
    return 0.5 * (v * along[..., 0] + u * along[..., 1] - slope) / d


def _planes(d: Tensor, dd: Tensor, second: Tensor) -> Tensor:
    r"""$R_{ijij}$, `[..., i, j]`, from $d_i$, $\partial_j d_i$ and $\partial_j^2 d_i$, both `[..., i, j]`.

    $-\tfrac12 (\partial_j^2 d_i + \partial_i^2 d_j) + \tfrac14 ((\partial_j d_i)^2 / d_i + (\partial_i d_j)^2 / d_j)
    - \sum_e \Gamma_{eii} \Gamma_{ejj} / d_e$.
    """
    own = torch.diag_embed(dd.diagonal(dim1=-2, dim2=-1))
    gamma = own - 0.5 * dd  # Gamma_eii, [..., i, e]
    mixed = 0.25 * dd.square() / d.unsqueeze(-1) - 0.5 * second
    planes = mixed + mixed.mT - gamma @ (gamma / d.unsqueeze(-2)).mT
    _say_few(d, dd, second, planes)
    return planes - torch.diag_embed(planes.diagonal(dim1=-2, dim2=-1))


def _say_few(d: Tensor, dd: Tensor, second: Tensor, planes: Tensor) -> None:
    """Says where the terms of `_planes` cancel to few digits."""
    if not has_values(planes):
        return
    d, dd, second, planes = (y.detach().abs() for y in (d, dd, second, planes))
    mixed = 0.25 * dd.square() / d.unsqueeze(-1) + 0.5 * second
    terms = mixed + mixed.mT + 0.25 * dd @ (dd / d.unsqueeze(-2)).mT
    other = ~torch.eye(d.shape[-1], dtype=torch.bool, device=d.device)
    area = d.unsqueeze(-1) * d.unsqueeze(-2)
    say_few(*((y / area * other).amax((-1, -2)) for y in (last_bits(terms), planes)))


@route(_curvature.scalar_curvature, Diagonal)
def scalar_curvature(metric: Diagonal, x: Tensor) -> Tensor:
    r"""$\sum_{ij} R_{ijij} / (d_i d_j)$, from n passes."""
    d, dd, second = _jets.second_derivatives(_field(metric, x), x)
    d = or_nan(d, dd, x)
    planes = _planes(d, dd, second)
    return torch.einsum("...i,...j,...ij->...", 1 / d, 1 / d, planes)


def _threes(metric: Diagonal, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""The entries and $R_{ijik}$, `[..., i, j, k]`, 0 for i = j and i = k."""
    d, dd, ddd = _entries(metric, x, 2)
    d, n = or_nan(d, dd, x), x.shape[-1]
    first = dd.unsqueeze(-1) * dd.unsqueeze(-2) / d[..., None, None]  # d_j d_i  d_k d_i / d_i
    second = dd.unsqueeze(-1) * (dd / d.unsqueeze(-1)).unsqueeze(-3)  # d_j d_i  d_k d_j / d_j
    threes = -0.5 * ddd + 0.25 * (first + second + second.mT)
    equal = torch.eye(n, dtype=torch.bool, device=x.device)
    threes = torch.where(equal, torch.zeros_like(threes), threes)
    threes = threes + torch.diag_embed(_planes(d, dd, ddd.diagonal(dim1=-2, dim2=-1)))
    meet = equal.unsqueeze(-1) | equal.unsqueeze(-2)
    return d, torch.where(meet, torch.zeros_like(threes), threes)


@route(_curvature.ricci_tensor, Diagonal)
def ricci_tensor(metric: Diagonal, x: Tensor, indices: str = "ll") -> Tensor:
    r"""$\mathrm{Ric}_{jk} = \sum_i R_{ijik} / d_i$; no `(n, n, n, n)`."""
    d, threes = _threes(metric, x)
    return positioned(metric, x, torch.einsum("...i,...ijk->...jk", 1 / d, threes), indices, "the Ricci tensor")


@route(_curvature.riemann_tensor, Diagonal)
def riemann_tensor(metric: Diagonal, x: Tensor, indices: str = "ulll") -> Tensor:
    """R_ijik in its places; nothing where four indices differ."""
    _, threes = _threes(metric, x)
    threes = threes - 0.5 * torch.diag_embed(threes.diagonal(dim1=-2, dim2=-1))  # R_ijij comes from two places
    placed = torch.einsum("...abd,ac->...abcd", threes, torch.eye(x.shape[-1], dtype=x.dtype, device=x.device))
    placed = placed - placed.transpose(-1, -2)
    riemann = placed - placed.transpose(-3, -4)
    return positioned(metric, x, riemann, indices, "the Riemann tensor")


@route(_curvature.sectional_form, Diagonal)
def sectional_form(metric: Diagonal, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The form of given vectors, without `(n, n)`."""
    entries, (d,) = _field(metric, x), _entries(metric, x, 0)
    return judged_forms(curvature_form_by(lambda p, vectors: vectors * entries(p), lambda w: w / d, x, u, v))


@route(_curvature.vectors.squared_area, Diagonal)
def squared_area(metric: Diagonal, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Of given vectors, without `(n, n)`."""
    d = _entries(metric, x, 0)[0]
    uu, vv, uv = ((d * a * b).sum(-1) for a, b in ((u, u), (v, v), (u, v)))
    return formulas.area_or_nan(uu, vv, uv, *((d * a * a).abs().sum(-1) for a in (u, v)))


derive(
    Diagonal,
    _curvature.volume_element,
    _curvature.einstein_tensor,
    _curvature.schouten_tensor,
    _curvature.weyl_tensor,
    _curvature.kretschmann_scalar,
    _curvature.ricci_curvature,
    _curvature.sectional_curvature,
)
