"""The measure that losses take expectations over: the points as they are, the Riemannian volume, given weights."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

import riemann


def check_batch(x: Any, least: int) -> None:
    """Raises unless `x` is a tensor of `least` points or more: losses are means and variances over points."""
    if not isinstance(x, Tensor):
        raise TypeError(f"`x` is a {type(x).__name__}, expected a torch.Tensor of shape (*batch, n)")
    if x.ndim == 0 or x.shape[-1] == 0 or x.shape[:-1].numel() < least:
        count = "one point" if least == 1 else "two points"
        raise ValueError(
            f"`x` has shape {tuple(x.shape)}, expected {count} or more, (*batch, n): the loss is a mean or a variance "
            "over points"
        )


def weights_of(metric: Any, x: Tensor, measure: str | Tensor) -> Tensor | None:
    """Weights of the points, constants for gradients; None for equal ones."""
    if isinstance(measure, Tensor):
        if measure.shape != x.shape[:-1]:
            raise ValueError(
                f"`measure` has shape {tuple(measure.shape)}, expected one weight a point, {tuple(x.shape[:-1])}"
            )
        return measure.detach()
    if measure == "points":
        return None
    if measure == "volume":
        log = riemann.log_volume_element(metric, x).detach()
        return torch.exp(log - log.max())
    raise ValueError(f"`measure` is {measure!r}, expected 'points', 'volume' or a tensor of weights")


def mixed(x: Float[Tensor, "z n"], eta: float = 0.2, generator: torch.Generator | None = None) -> Float[Tensor, "z n"]:
    r"""Points between and a little beyond the data: $\alpha x_i + (1 - \alpha) x_j$, $\alpha \sim U(-\eta, 1 + \eta)$.

    Args:
        x: data in a chart, `(z, n)`.
        eta: how far beyond.
        generator: source of randomness.

    Returns:
        As many points, `(z, n)`.

    Reference:
        Lee et al., *Regularized autoencoders for isometric representation learning* (2022).

    Example:
        >>> from riemann_nn import mixed
        >>> mixed(torch.randn(10, 3)).shape
        torch.Size([10, 3])
    """
    partner = x[torch.randperm(len(x), generator=generator, device=x.device)]
    alpha = torch.rand(len(x), 1, generator=generator, dtype=x.dtype, device=x.device) * (1 + 2 * eta) - eta
    return alpha * x + (1 - alpha) * partner
