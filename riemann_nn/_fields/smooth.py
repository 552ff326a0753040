"""Activations that curvature can be asked of: three continuous derivatives."""

from typing import Any

import torch
from torch import Tensor

from riemann import jet
from riemann.metrics.elementwise import Elementwise

_N, _F = torch.nn, torch.nn.functional
_ROUGH = (
    *(_N.ReLU, _N.ReLU6, _N.LeakyReLU, _N.PReLU, _N.RReLU, _N.ELU, _N.SELU, _N.CELU, _N.Hardtanh, _N.Hardswish),
    *(_N.Hardsigmoid, _N.Hardshrink, _N.Softshrink, _N.Threshold, _N.Softsign),
    *(_F.relu, _F.relu6, _F.leaky_relu, _F.elu, _F.selu, _F.celu, _F.hardtanh, _F.hardswish, _F.hardsigmoid),
    *(_F.softsign, torch.relu, torch.relu_, torch.selu),
)


def smooth(activation: Any) -> Elementwise:
    """The activation, an elementwise map: a class of modules is made into a module.

    Raises:
        TypeError: it is not callable.
        ValueError: its second or third derivative jumps, as those of ReLU and ELU do.
    """
    if isinstance(activation, str):
        activation = getattr(torch.nn, activation, getattr(torch, activation, activation))
    if isinstance(activation, type) and issubclass(activation, torch.nn.Module):
        activation = activation() if activation not in _ROUGH else activation
    if not callable(activation):
        raise TypeError(f"`activation` is a {type(activation).__name__}, expected a smooth elementwise map")
    if is_rough(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        raise ValueError(
            f"`activation` is {name}, whose second derivative is 0 or jumps: curvature would miss what happens at its "
            "kinks, in silence. Use a smooth one: tanh, softplus, silu, gelu, sin"
        )
    return activation


def is_rough(activation: Any) -> bool:
    """Whether a module or function is an activation of which one of the first three derivatives jumps at 0."""
    if activation in _ROUGH or isinstance(activation, tuple(r for r in _ROUGH if isinstance(r, type))):
        return True
    if isinstance(activation, torch.nn.Module) and type(activation).__module__.startswith("torch.nn"):
        return False
    return _jumps(activation)


def _jumps(f: Elementwise) -> bool:
    """Whether derivatives to the third differ at the two sides of 0, or do not exist there."""
    sides = torch.tensor([[-1e-6], [0.0], [1e-6]], dtype=torch.float64)
    try:
        jets = jet(f, sides, 3)
    except (RuntimeError, ValueError, TypeError):  # what cannot be differentiated at all says so where it is used
        return False
    for d in jets[1:]:
        left, middle, right = d.detach().reshape(3).unbind()
        if not bool(middle.isfinite()) or float((left - right).abs()) > 1e-3 * (1 + float(middle.abs())):
            return True
    return False


def perceptron(widths: list[int], activation: Elementwise, *heads: torch.nn.Module) -> torch.nn.Sequential:
    """Linear layers with activations between them, then heads; the last layer starts at 0."""
    layers: list[torch.nn.Module] = []
    for i, o in zip(widths, widths[1:], strict=False):
        layers += [torch.nn.Linear(i, o), _module(activation)]
    layers.pop()
    torch.nn.init.zeros_(layers[-1].weight)
    torch.nn.init.zeros_(layers[-1].bias)
    return torch.nn.Sequential(*layers, *heads)


class Function(torch.nn.Module):
    """A function as a module."""

    def __init__(self, f: Elementwise):
        super().__init__()
        self.f = f

    def forward(self, z: Tensor) -> Tensor:
        """The function."""
        return self.f(z)


def _module(f: Elementwise) -> torch.nn.Module:
    return f if isinstance(f, torch.nn.Module) else Function(f)
