"""The metric that a chart induces on the output of a linear layer inside its map."""

import torch
from jaxtyping import Float
from torch import Tensor

import riemann
from riemann.metrics import Pullback
from riemann.metrics.elementwise import elementwise_jet
from riemann_nn._charts.coordinate import is_elementwise, parts


class InducedMetric(Pullback):
    r"""$g_s = J^T g(z) J$ with $z = f(s)$, the chart's metric pulled back to s, for points and batches of them.

    For an activation $J = \mathrm{diag}(f')$, without differentiation. A `Pullback`, with its routes to curvature.
    Symmetric and positive semidefinite; definite where f' has no 0.

    Args:
        map: f, a `torch.nn.Sequential` of what follows the linear layer inside the chart; it may be empty.
        ambient: g, the chart's metric, which takes batches.
    """

    inherits_routes = True  # the values are those of a `Pullback`

    def forward(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n n"]:
        """The metric at points s, `(*batch, n, n)`."""
        z, slope = x, torch.ones_like(x)
        following = parts(self.map)
        while following and is_elementwise(following[0]):
            z, first, _ = elementwise_jet(following.pop(0), z)
            slope = slope * first
        if following:
            z, J = riemann.jet(torch.nn.Sequential(*following), z, 1)
            g = J.mT @ self.ambient(z) @ J
        else:
            g = self.ambient(z)
        return slope.unsqueeze(-1) * g * slope.unsqueeze(-2)


def induced_metrics(map: torch.nn.Module, metric: torch.nn.Module) -> dict[torch.nn.Linear, InducedMetric]:
    """For each linear layer on the path of a chart's map: the metric on its output."""
    modules = parts(map)
    return {
        module: InducedMetric(torch.nn.Sequential(*modules[i + 1 :]), metric)
        for i, module in enumerate(modules)
        if isinstance(module, torch.nn.Linear)
    }
