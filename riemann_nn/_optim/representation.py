"""Gradients in the space of a representation, and the metric that the output's Fisher metric induces there."""

import torch
from jaxtyping import Float
from torch import Tensor

import riemann
from riemann_nn._losses.likelihoods import Metric, fisher_factor
from riemann_nn._optim.covered import nest
from riemann_nn._optim.observer import Observer, Seen


def riemannian_gradient(
    metric: Metric, z: Float[Tensor, "*batch n"], grad: Float[Tensor, "..."]
) -> Float[Tensor, "*batch n"]:
    r"""The Riemannian gradient of a loss in the space of a representation: $g^{ij}(z)\, \partial_j L$.

    Args:
        metric: callable, one point `(n,)` to a symmetric nonsingular `(n, n)`.
        z: points, `(*batch, n)`.
        grad: derivatives $\partial_j L$ at them, as `z.grad` has them after `backward()`.

    Returns:
        A contravariant vector at each point, `(*batch, n)`: the direction in which L grows most for its length in g.

    Raises:
        ValueError: `grad` has not the shape of `z`, or `metric` is none.

    Example:
        >>> riemannian_gradient(lambda z: 4 * torch.eye(2), torch.zeros(2), torch.tensor([1.0, 2.0]))
        tensor([0.2500, 0.5000])
    """
    if grad.shape != z.shape:
        raise ValueError(f"`grad` has shape {tuple(grad.shape)}, expected {tuple(z.shape)}, as `z`")
    return torch.linalg.solve(riemann.at(metric, z, 0).g, grad.unsqueeze(-1)).squeeze(-1)


def pulled_back_fisher(
    model: torch.nn.Module, x: Tensor, *, likelihood: str | Metric = "categorical"
) -> dict[torch.nn.Linear, Tensor]:
    r"""The Fisher metric of the model's output, pulled back to the output s of each linear layer: $J^T F J$.

    $J = \partial z / \partial s$, exact, for any network in which a datum depends on itself alone, in evaluation mode.
    This is the metric that a metric network can be fitted to, and the baseline without one.

    Args:
        model: maps `(batch, …)` to `(batch, C)`, or to a tuple that begins with it.
        x: data, `(batch, …)`.
        likelihood: F, by what the output z is, as for `fisher_metrics`.

    Returns:
        For each linear layer that the call reached, the metric at each datum, `(batch, m, m)`.

    Raises:
        ValueError: a layer is called twice, or not once for a datum; batch norm in the model; an unknown likelihood, or
            a categorical one of a single output.

    Note:
        C backward passes through the layers; for a multilayer perceptron of width n the recursion
        $g_l = D W^T g_{l+1} W D$ gives the same at the cost of n passes.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
        >>> g = pulled_back_fisher(model, torch.randn(7, 3))
        >>> g[model[0]].shape, g[model[2]].shape
        (torch.Size([7, 5, 5]), torch.Size([7, 2, 2]))
    """
    *_, model = nest(model)
    layers = {m: name for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    metrics: dict[torch.nn.Linear, Tensor] = {}

    def receive(seen: dict[torch.nn.Linear, Seen]) -> None:
        metrics.update({layer: here.metric() for layer, here in seen.items()})

    observer = Observer(model, layers, {}, {model: fisher_factor(likelihood)}, lambda: True, receive)
    training = [m for m in model.modules() if m.training]
    try:
        with torch.enable_grad():
            model.eval()(x)
    finally:
        observer.close()
        for module in training:
            module.training = True
    return metrics
