"""Heads that read the metrics: predictions by distances in the learned geometry."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from riemann_nn._charts.chart import Chart


class _Distances(torch.nn.Module):
    r"""Squared distances to k prototypes, $\sum_l (z_l - c_{lk})^T g_l(z_l) (z_l - c_{lk})$, over charts l.

    That of the product of the charts, in the tangent space at the data. Charts before the last `len(charts)` are left
    out: they add constants to what the later ones say.
    """

    prototypes: torch.nn.ParameterList

    def __init__(self, dims: Sequence[int], prototypes: int):
        super().__init__()
        self.prototypes = torch.nn.ParameterList(torch.randn(prototypes, n) / n**0.5 for n in dims)

    def forward(self, charts: Sequence[Chart]) -> Tensor:
        """`(*batch, k)`."""
        first = len(self.prototypes) - len(charts)
        total = None
        for chart, c in zip(charts[max(0, -first) :], list(self.prototypes)[max(0, first) :], strict=True):
            difference = chart.coordinates.unsqueeze(-2) - c
            squares = ((difference @ chart.g) * difference).sum(-1)
            total = squares if total is None else total + squares
        assert total is not None
        return total


class MahalanobisHead(torch.nn.Module):
    r"""Logits $-d_g^2(z, c_k)$ for learned prototypes $c_k$; for one output, $d_g^2(z, c_0) - d_g^2(z, c_1)$.

    Args:
        dims: dimensions of the charts whose distances are added.
        output_dim: number of classes, or 1.
    """

    distances: torch.nn.Module
    __call__: Callable[[Sequence[Chart]], Tensor]

    def __init__(self, dims: Sequence[int], output_dim: int):
        super().__init__()
        self.output_dim = output_dim
        self.distances = _Distances(dims, max(2, output_dim))

    def forward(self, charts: Sequence[Chart]) -> Tensor:
        """`(*batch, output_dim)`."""
        d = self.distances(charts)
        return d[..., :1] - d[..., 1:] if self.output_dim == 1 else -d


class KernelHead(torch.nn.Module):
    r"""Attention in g: $\sum_k w_k v_k$ with $w = \mathrm{softmax}(-\tfrac12 d_g^2(z, c_k))$, c and v learned.

    Args:
        dims: dimensions of the charts whose distances are added.
        output_dim: dimension of the values.
        prototypes: their number.
    """

    distances: torch.nn.Module
    values: torch.nn.Linear
    __call__: Callable[[Sequence[Chart]], Tensor]

    def __init__(self, dims: Sequence[int], output_dim: int, prototypes: int = 16):
        super().__init__()
        self.distances = _Distances(dims, prototypes)
        self.values = torch.nn.Linear(prototypes, output_dim, bias=False)

    def forward(self, charts: Sequence[Chart]) -> Tensor:
        """`(*batch, output_dim)`."""
        return self.values(torch.softmax(-0.5 * self.distances(charts), -1))


class LinearHead(torch.nn.Module):
    """A linear map of the last chart's coordinates, which no metric enters.

    Args:
        dim: dimension of the last chart.
        output_dim: dimension of the output.
    """

    linear: torch.nn.Linear
    __call__: Callable[[Sequence[Chart]], Tensor]

    def __init__(self, dim: int, output_dim: int):
        super().__init__()
        self.linear = torch.nn.Linear(dim, output_dim)

    def forward(self, charts: Sequence[Chart]) -> Tensor:
        """`(*batch, output_dim)`."""
        return self.linear(charts[-1].coordinates)
