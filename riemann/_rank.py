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


def to_unit_rows(g: Tensor, size: Tensor) -> Tensor:
    """`s_i s_j g_ij` for scales s that make every row of the size have largest entry 1: the signature of g stays."""
    for _ in range(8):
        row = size.amax(-1).sqrt()
        scale = torch.where(row > 0, row, torch.ones_like(row))
        size, g = (y / scale.unsqueeze(-1) / scale.unsqueeze(-2) for y in (size, g))
    return 0.5 * (g + g.mT)


def ranks(g: Tensor, size: Tensor) -> Tensor:
    """Rank of singular matrices `(points, n, n)`: eigenvalues above rounding, once rows have unit size."""
    n = g.shape[-1]
    values = torch.linalg.eigvalsh(to_unit_rows(g, size)).abs()
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
