"""Smooth maps of single numbers with their first and second derivatives: activations, positive maps, bounds."""

import math
from collections.abc import Callable, Hashable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from riemann._jets import jet
from riemann._messages.names import only as _only

__all__ = [
    "Bounded", "BoundedExp", "Elementwise", "Softplus", "check_elementwise", "check_widths", "described",
    "elementwise_jet", "has_closed_jet",
]  # fmt: skip

Elementwise = Callable[[Tensor], Tensor]


class Softplus(torch.nn.Module):
    r"""A smooth map onto $(f, \infty)$: $\log(1 + e^z) + f$.

    Args:
        floor: f, the infimum of its values.
    """

    if TYPE_CHECKING:

        def __call__(self, z: Tensor) -> Tensor:
            """The map."""
            ...

    def __init__(self, floor: float = 0.1):
        super().__init__()
        self.floor = floor

    def forward(self, z: Tensor) -> Tensor:
        """The map, elementwise."""
        return torch.nn.functional.softplus(z) + self.floor

    def extra_repr(self) -> str:
        """What print shows."""
        return f"floor={self.floor:g}"

    def jet(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map and its first and second derivatives."""
        f, first, second = _softplus(z)
        return f + self.floor, first, second


class Bounded(torch.nn.Module):
    r"""A smooth map onto $(-b, b)$ that is the identity to second order at 0: $b \tanh(z / b)$.

    Args:
        bound: b; of order 1/n it keeps the condition number of a factor with n columns bounded.
    """

    if TYPE_CHECKING:

        def __call__(self, z: Tensor) -> Tensor:
            """The map."""
            ...

    def __init__(self, bound: float):
        super().__init__()
        self.bound = bound

    def forward(self, z: Tensor) -> Tensor:
        """The map, elementwise."""
        return self.bound * torch.tanh(z / self.bound)

    def extra_repr(self) -> str:
        """What print shows."""
        return f"bound={self.bound:g}"

    def jet(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map and its first and second derivatives."""
        f, first, second = _tanh(z / self.bound)
        return self.bound * f, first, second / self.bound


class BoundedExp(torch.nn.Module):
    r"""A smooth map onto $(c\, e^{-b}, c\, e^b)$: $c\, e^{b \tanh(z / b)}$, of value c and slope c at 0.

    Args:
        bound: b, of the logarithm.
        center: c, positive.
    """

    bound: float
    center: float
    if TYPE_CHECKING:

        def __call__(self, z: Tensor) -> Tensor:
            """The map."""
            ...

    def __init__(self, bound: float, center: float = 1.0):
        super().__init__()
        self.bound, self.center = bound, center

    def forward(self, z: Tensor) -> Tensor:
        """The map, elementwise."""
        return self.center * torch.exp(self.bound * torch.tanh(z / self.bound))

    def extra_repr(self) -> str:
        """What print shows."""
        return f"bound={self.bound:g}, center={self.center:g}"

    def jet(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map and its first and second derivatives."""
        t, first, second = _tanh(z / self.bound)
        f = self.center * torch.exp(self.bound * t)
        return f, f * first, f * (first * first + second / self.bound)


def check_widths(dim: int, hidden: Sequence[int], **others: int) -> None:
    """Raises unless the dimension, the widths of layers and other numbers of units are positive whole numbers."""
    widths = [dim, *others.values(), *(hidden if isinstance(hidden, Sequence) else [None])]
    if not all(isinstance(width, Integral) and width > 0 for width in widths):
        said = "".join(f", `{name}` {value!r}" for name, value in others.items())
        raise ValueError(
            f"`dim` is {dim!r}, `hidden` {hidden!r}{said}, expected positive numbers of units, `hidden` as in (64, 64)"
        )


def check_elementwise(f: Elementwise, name: str, width: int) -> None:
    """Raises if f, for `width` units, mixes them or tells them apart, as softmax and channels of their own do."""
    if not callable(f) or isinstance(f, type):
        got = f"the class {f.__name__}" if isinstance(f, type) else f"a {type(f).__name__}"
        raise TypeError(
            f"`{name}` is {got}, expected an elementwise map: a function, or a module such as `torch.nn.Tanh()`"
        )
    if has_closed_jet(f):
        return
    like = next(iter(f.parameters()), None) if isinstance(f, torch.nn.Module) else None
    z = torch.linspace(-1.3, 1.7, 3 * width).reshape(3, width)
    with torch.no_grad():
        z = z if like is None else z.to(like)
        together = f(z)
        try:
            alone = f(z.reshape(-1, 1)).reshape(z.shape)
        except (RuntimeError, IndexError):  # of units that are told apart
            alone = None
    if alone is None or together.shape != z.shape or not torch.allclose(together, alone, 1e-3, 1e-5, equal_nan=True):
        said = getattr(f, "__name__", type(f).__name__)
        raise ValueError(f"`{name}` is {said}, expected an elementwise map: the same function of each unit alone")


def elementwise_jet(f: Elementwise, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`f, f', f''` at the entries of z, three tensors of its shape.

    From the method `f.jet(z)` where there is one, from closed forms for common activations, else by `riemann.jet`.
    """
    if _brings_jet(f):
        return f.jet(z)  # type: ignore[attr-defined]
    if (closed := _closed_form(f)) is not None:
        return closed(z)
    y, first, second = jet(f, z.unsqueeze(-1), 2)
    return y.reshape(z.shape), first.reshape(z.shape), second.reshape(z.shape)


def has_closed_jet(f: Elementwise) -> bool:
    """Whether derivatives of f are known without differentiation, and that it acts on each unit alone."""
    return _brings_jet(f) or _closed_form(f) is not None


def described(f: object) -> str:
    """What an elementwise map is, in words: one for `torch.tanh` and `torch.nn.Tanh()`."""
    if callable(f) and (closed := _closed_form(f)) is not None:
        return closed.__name__.removeprefix("_")
    return repr(f) if isinstance(f, torch.nn.Module) else getattr(f, "__name__", type(f).__name__)


def _brings_jet(f: Elementwise) -> bool:
    """Whether `f.jet` is that of f: no class below the one that has it changes the values, nor does the instance."""
    if not hasattr(f, "jet") or (isinstance(f, torch.nn.Module) and not _runs_as_written(f)):
        return False
    for kind in type(f).__mro__:
        if "jet" in vars(kind):
            return True
        if "forward" in vars(kind) or "__call__" in vars(kind):
            return False
    return True


def _closed_form(f: Elementwise) -> Callable[[Tensor], tuple[Tensor, Tensor, Tensor]] | None:
    if isinstance(f, torch.nn.Module) and not _runs_as_written(f):
        return None
    if isinstance(f, torch.nn.Softplus) and (f.beta, f.threshold) != (1, 20):
        return None
    if isinstance(f, torch.nn.GELU) and f.approximate != "none":
        return None
    key = type(f) if isinstance(f, torch.nn.Module) else f
    return _CLOSED_FORMS.get(key) if isinstance(key, Hashable) else None


def _runs_as_written(f: torch.nn.Module) -> bool:
    """Whether a call is the `forward` of the class of f: none is assigned to it, and no hook looks at it."""
    of_all = torch.nn.modules.module
    hooks = (f._forward_hooks, f._forward_pre_hooks, of_all._global_forward_hooks, of_all._global_forward_pre_hooks)
    return "forward" not in vars(f) and not any(hooks)


def _tanh(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    y = torch.tanh(z)
    first = 1 - y * y
    return y, first, -2 * y * first


def _sigmoid(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    y = torch.sigmoid(z)
    first = y * (1 - y)
    return y, first, first * (1 - 2 * y)


def _softplus(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.nn.functional.softplus(z), *_sigmoid(z)[:2]


def _silu(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    s, ds, dds = _sigmoid(z)
    return z * s, s + z * ds, 2 * ds + z * dds


def _gelu(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    distribution = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    return z * distribution, distribution + z * density, (2 - z * z) * density


def _sin(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    y = torch.sin(z)
    return y, torch.cos(z), -y


_F = torch.nn.functional
_CLOSED_FORMS = {
    **dict.fromkeys((torch.tanh, _F.tanh, torch.nn.Tanh), _tanh),
    **dict.fromkeys((torch.sigmoid, _F.sigmoid, torch.nn.Sigmoid), _sigmoid),
    **dict.fromkeys((_F.softplus, torch.nn.Softplus), _softplus),
    **dict.fromkeys((_F.silu, torch.nn.SiLU), _silu),
    **dict.fromkeys((_F.gelu, torch.nn.GELU), _gelu),
    torch.sin: _sin,
}


if not TYPE_CHECKING:  # which knows the names
    __dir__, __getattr__ = _only(__name__, __all__)
