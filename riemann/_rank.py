"""Where a metric is singular to rounding, in whatever units, and of which rank it is there."""

import torch
from torch import Tensor

ROUNDING = 32  # units of the last bit: the error with which an entry is taken to be computed


def is_singular(inverse: Tensor, size: Tensor) -> Tensor:
    r"""Where rounding of the entries changes $\det g$ by half of itself, or `inverse` is not finite.

    $\sum_{ij} |g^{ij}|\, \epsilon_{ij}$ is the change of $\log \det g$ by changes $\epsilon_{ij}$ of the entries. For
    $\epsilon_{ij}$ in proportion to $|g_{ij}|$ no change of units or scale of a coordinate alters it: it stands for the
    condition of g scaled to unit diagonal, and is n for every diagonal matrix and in light-cone coordinates.

    Args:
        inverse: of g, `(*batch, n, n)`.
        size: |g|, or more where more than its own rounding makes an entry uncertain, `(*batch, n, n)`.
    """
    change = ROUNDING * torch.finfo(inverse.dtype).eps * (inverse * size).abs().sum((-1, -2))
    return ~(change < 0.5)


def unit_scales(size: Tensor) -> Tensor:
    """Scales s of coordinates, `(*batch, n)`, for which every row of `s_i s_j size_ij` has largest entry 1."""
    s = torch.ones_like(size[..., 0])
    for _ in range(8):
        row = (s.unsqueeze(-1) * size * s.unsqueeze(-2)).amax(-1)
        s = torch.where(row > 0, s * row.rsqrt(), s)
    return s


def in_unit_rows(g: Tensor, size: Tensor) -> Tensor:
    """`s_i s_j g_ij` with the scales of its size: no unit is left, and the signature is that of g."""
    s = unit_scales(size)
    g = s.unsqueeze(-1) * g * s.unsqueeze(-2)
    return 0.5 * (g + g.mT)


def ranks(g: Tensor, size: Tensor) -> Tensor:
    """Rank of singular matrices `(points, n, n)`: eigenvalues above rounding, once rows have unit size."""
    n = g.shape[-1]
    values = torch.linalg.eigvalsh(in_unit_rows(g, size)).abs()
    rank = (values > ROUNDING * n * torch.finfo(g.dtype).eps).sum(-1)
    return rank.clamp(max=n - 1)  # of what was found singular


def by_rank(g: Tensor, size: Tensor, singular: Tensor) -> dict[str, Tensor]:
    """The points `(*batch,)` that are singular, by what is to be said of them: their rank."""
    if not bool(singular.any()):
        return {}
    rank = torch.full(singular.shape, -1, device=g.device)
    rank[singular] = ranks(g[singular], size[singular])
    n = g.shape[-1]
    return {f"is singular: rank {r} of {n}": rank == r for r in rank[singular].unique().tolist()}
