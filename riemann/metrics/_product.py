"""Products of metrics."""

from typing import Any

import torch
from torch import Tensor

from riemann import _curvature
from riemann._curvature import at
from riemann._metric import jets_of
from riemann._types import Metric
from riemann.metrics._structure import Jets, derive, embed, embed_jets, part, positioned, route, with_dimension


class Product(torch.nn.Module):
    r"""$g = g_1 + g_2 + \dots$, each in its own coordinates, in this order: curvatures add.

    Args:
        *parts: pairs of a metric and its dimension.

    Example:
        >>> import riemann as rm
        >>> sphere = lambda x: 4 * torch.eye(2) / (1 + x @ x) ** 2
        >>> half_plane = rm.metrics.Conformal(None, lambda x: -torch.log(x[1]))
        >>> rm.scalar_curvature(Product((sphere, 2), (half_plane, 2)), torch.tensor([0.1, 0.2, 0.3, 0.4])).abs() < 1e-4
        tensor(True)
    """

    def __init__(self, *parts: tuple[Metric, int]):
        super().__init__()
        pairs = [with_dimension(pair, f"part {k} of Product") for k, pair in enumerate(parts)]
        self.dims = tuple(dim for _, dim in pairs)
        for k, (metric, _) in enumerate(pairs):
            setattr(self, f"metric{k}", metric)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        blocks = [
            embed(part(metric, p, p.shape * 2, f"metric {k} of Product"), 2, start, x.shape[-1])
            for k, (metric, p, start) in enumerate(_parts(self, x))
        ]
        return sum(blocks[1:], blocks[0])


def _parts(metric: Product, x: Tensor, *vectors: Tensor) -> list[tuple[Any, ...]]:
    """Of each part: the metric, its coordinates, its components of vectors, and where they start."""
    n = sum(metric.dims)
    if x.shape[-1] != n:
        raise ValueError(
            f"the parts of Product have dimensions {metric.dims}, {n} together, and the points have n = {x.shape[-1]}"
        )
    pieces = zip(*(a.split(metric.dims, -1) for a in (x, *vectors)), strict=True)
    starts = [sum(metric.dims[:k]) for k in range(len(metric.dims))]
    return [(getattr(metric, f"metric{k}"), *ps, starts[k]) for k, ps in enumerate(pieces)]


def _sum(values: Any) -> Tensor:
    first, *rest = values
    return sum(rest, first)


def _blocks(metric: Product, x: Tensor, rank: int, f: Any) -> Tensor:
    return _sum(embed(f(part, p), rank, start, x.shape[-1]) for part, p, start in _parts(metric, x))


@route(at, Product)
def jets(metric: Product, x: Tensor, order: int) -> Jets:
    """Blocks: each part is differentiated by its own coordinates."""
    blocks = [embed_jets(jets_of(part, p, order), 2, start, x.shape[-1]) for part, p, start in _parts(metric, x)]
    return tuple(_sum(terms) for terms in zip(*blocks, strict=True))


@route(_curvature.inverse_metric, Product)
def inverse_metric(metric: Product, x: Tensor) -> Tensor:
    """Blocks."""
    return _blocks(metric, x, 2, _curvature.inverse_metric)


@route(_curvature.log_volume_element, Product)
def log_volume_element(metric: Product, x: Tensor) -> Tensor:
    """The sum."""
    return _sum(_curvature.log_volume_element(part, p) for part, p, _ in _parts(metric, x))


@route(_curvature.christoffel_vector, Product)
def christoffel_vector(metric: Product, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Blocks."""
    return torch.cat([_curvature.christoffel_vector(part, *pieces) for part, *pieces, _ in _parts(metric, x, u, v)], -1)


@route(_curvature.curvature_endomorphism, Product)
def curvature_endomorphism(metric: Product, x: Tensor, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """Blocks."""
    parts = _parts(metric, x, u, v, w)
    return torch.cat([_curvature.curvature_endomorphism(part, *pieces) for part, *pieces, _ in parts], -1)


@route(_curvature.riemann_tensor, Product)
def riemann_tensor(metric: Product, x: Tensor, indices: str = "ulll") -> Tensor:
    """Blocks."""
    riemann = _blocks(metric, x, 4, lambda part, p: _curvature.riemann_tensor(part, p, "llll"))
    return positioned(metric, x, riemann, indices, "the Riemann tensor")


@route(_curvature.ricci_tensor, Product)
def ricci_tensor(metric: Product, x: Tensor, indices: str = "ll") -> Tensor:
    """Blocks."""
    return positioned(metric, x, _blocks(metric, x, 2, _curvature.ricci_tensor), indices, "the Ricci tensor")


@route(_curvature.scalar_curvature, Product)
def scalar_curvature(metric: Product, x: Tensor) -> Tensor:
    """The sum."""
    return _sum(_curvature.scalar_curvature(part, p) for part, p, _ in _parts(metric, x))


@route(_curvature.kretschmann_scalar, Product)
def kretschmann_scalar(metric: Product, x: Tensor) -> Tensor:
    """The sum."""
    return _sum(_curvature.kretschmann_scalar(part, p) for part, p, _ in _parts(metric, x))


@route(_curvature.ricci_curvature, Product)
def ricci_curvature(metric: Product, x: Tensor, v: Tensor) -> Tensor:
    """The sum."""
    return _sum(_curvature.ricci_curvature(part, *pieces) for part, *pieces, _ in _parts(metric, x, v))


@route(_curvature.sectional_form, Product)
def sectional_form(metric: Product, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The sum."""
    return _sum(_curvature.sectional_form(part, *pieces) for part, *pieces, _ in _parts(metric, x, u, v))


derive(
    Product,
    _curvature.volume_element,
    _curvature.einstein_tensor,
    _curvature.schouten_tensor,
    _curvature.weyl_tensor,
    _curvature.sectional_curvature,
)
