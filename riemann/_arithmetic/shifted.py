"""A jet plus a constant waits until it is read: its derivatives are those of the jet, and need no copy.

A layer adds its bias to all numbers of a jet, of which it changes the values alone. A function of one number takes
these and the derivatives apart; anything else reads the sum.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.jet import Jet


@dataclasses.dataclass(frozen=True, eq=False)
class Shifted:
    """Coefficients with another value, that nobody writes to.

    Attributes:
        value: the value, `(points, *shape)`.
        c: coefficients with these derivatives, `(count, points, *shape)`.
    """

    arithmetic: Arithmetic
    value: Tensor
    c: Tensor

    @property
    def shape(self) -> torch.Size:
        return self.c.shape

    @property
    def dtype(self) -> torch.dtype:
        return self.c.dtype

    @property
    def device(self) -> torch.device:
        return self.c.device

    def made(self) -> Tensor:
        """The coefficients."""
        with self.arithmetic.caller:
            y = torch.cat([self.value.unsqueeze(0), self.c[1:]])
        self.arithmetic.bytes += y.numel() * y.element_size()
        return y


def of_sum(A: Arithmetic, a: Any, b: Any) -> Jet | None:
    """a + b of one dtype, where one is a jet of that shape and the other a constant; None where nothing is saved."""
    a, b = (a, b) if isinstance(a, Jet) else (b, a)
    if A.anew or isinstance(b, Jet) or a.is_written or a.jumps is not None:
        return None
    if isinstance(b, Tensor) and not _fits(b.shape, a.shape):
        return None
    value, c = apart(a)
    return Jet(Shifted(A, value + b, c)) if len(c) > 1 else None


def _fits(b: torch.Size, a: torch.Size) -> bool:
    """Whether what has the shape b is broadcast to the shape a."""
    return len(b) <= len(a) and (b == a[len(a) - len(b) :] or torch.broadcast_shapes(a, b) == a)


def apart(a: Jet) -> tuple[Tensor, Tensor]:
    """The value of a jet, and coefficients with its derivatives."""
    waiting = a.waiting
    return (waiting.value, waiting.c) if isinstance(waiting, Shifted) else (a.c[0], a.c)
