"""A user's function over jets; and what vanishes to the degree asked for: does it stay, or does it move further on?

Whether `x ** 2 > 0` jumps at 0 cannot be told from first derivatives. Where a kink, a tie or a root met such a jet, the
function is called once more: along one generic direction, to a degree that tells. So is one directly inside the
derivatives of another, which differentiates nothing itself. Further inside they are taken for constants: each level
would multiply the work of all others.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch._subclasses.fake_tensor import FakeTensor

from riemann._arithmetic.dispatch import Arithmetic, Operation, run
from riemann._arithmetic.jet import UNSEEN, Jet, running
from riemann._arithmetic.orders import Orders, generic, orders
from riemann._messages.frames import warn

FAR = 6  # what vanishes with as many derivatives is taken for a constant


def evaluated(
    f: Callable[..., Any],
    arguments: Sequence[Tensor],
    tables: Orders,
    name: str = "function",
    coordinates: set[int] | None = None,
) -> Any:
    """`f`, a function of one point, over coefficients `(count, points, …)` of its arguments, of degree 1.

    To `coordinates` are added those of the first argument that f reads.

    Returns:
        What `f` returns, a tensor or a tuple, as coefficients; NaN from the degree on at which they are not known.
    """
    for A in running.users[-1:]:
        A.differentiates = True
    arithmetic = Arithmetic(tables, arguments[0].shape[1], name)
    y = _coefficients(arithmetic, run(arithmetic, f, arguments, coordinates is not None))
    if coordinates is not None:
        coordinates |= arithmetic.coordinates
    linear = arithmetic.kinks & Operation.PIECEWISE_LINEAR
    if tables.order >= 2 and linear:
        warn(
            f"the {arithmetic.name} calls {', '.join(sorted(linear))}: piecewise linear, so its second derivatives "
            "are 0 between kinks and the curvature misses what happens at them. Use a smooth activation (tanh, "
            "softplus, silu)."
        )
    if any(bool(discarded.any()) for lost in arithmetic.discarded if (discarded := _seen(lost)) is not None):
        warn(
            f"the {arithmetic.name} gives `torch.where` a branch that is not finite where it is not taken. Values are "
            "right; their gradients are NaN there, for torch multiplies its 0 by what is not finite. Choose before the "
            "function as well: `torch.where(x > 0, torch.sqrt(torch.where(x > 0, x, 1.0)), ...)`."
        )
    doubts = arithmetic.doubts
    inside = [A.orders.order for A in running.users]
    if not doubts or tables.order == 0 or max(tables.order, *inside, 0) >= FAR:
        return y
    if len(inside) > 1 or (inside and arithmetic.differentiates):
        return y
    seen = [_seen(doubt) for doubt in doubts]
    if any(doubt is None for doubt in seen):  # nothing can be looked at: what is in doubt is not known
        points = torch.stack([doubt.reshape(arithmetic.points, -1).any(-1) for doubt in doubts]).any(0)
        return _without(tables, y, lambda c, k: points.reshape(-1, *[1] * (c.ndim - 2)))
    if not any(bool(doubt.any()) for doubt in seen if doubt is not None):
        return y
    far = orders(1, FAR, tables.device)
    with torch.no_grad():
        ahead = Arithmetic(far, arithmetic.points, name)
        along = _coefficients(ahead, run(ahead, f, [_along(c, tables) for c in arguments]))
    return _without(tables, y, lambda _, k, c: c[k].isnan(), along)


def _coefficients(arithmetic: Arithmetic, y: Any) -> Any:
    """All that are asked for, of what a function returned."""
    if isinstance(y, tuple | list):
        parts = [_coefficients(arithmetic, part) for part in y]
        return type(y)(*parts) if hasattr(y, "_fields") else type(y)(parts)
    c = arithmetic.coefficients(arithmetic.taken(y, []))
    return arithmetic.padded(c, arithmetic.orders.counts[-1])


def _along(c: Tensor, tables: Orders) -> Tensor:
    """The coefficients along one direction, which is generic among those of the tables."""
    if len(c) == 1:
        return c
    weights = generic(tables.variables, c)
    return torch.stack([c[0], torch.einsum("k,k...->...", weights, c[1 : tables.counts[1]])])


def _without(tables: Orders, y: Any, unknown: Callable[..., Tensor], *others: Any) -> Any:
    """`y` with NaN from the degree k on at which `unknown(c, k, …)` says so."""
    if isinstance(y, tuple | list):
        parts = [_without(tables, part, unknown, *of_part) for part, *of_part in zip(y, *others, strict=True)]
        return type(y)(*parts) if hasattr(y, "_fields") else type(y)(parts)
    blocks, lost = [y[:1]], None
    for k in range(1, tables.order + 1):
        here = unknown(y, k, *others)
        lost = here if lost is None else lost | here
        blocks.append(torch.where(lost, math.nan, tables.block(y, k)))
    return torch.cat(blocks)


def _seen(a: Tensor) -> Tensor | None:
    """The values of a mask, below the caller's transforms; None where operations are recorded."""
    while True:
        if isinstance(a, Jet):
            a = a.c[0]
        elif _functorch.is_functorch_wrapped_tensor(a):
            a = _functorch.get_unwrapped(a)
        else:
            return None if isinstance(a, FakeTensor) or UNSEEN.get() else a


def weight(f: Callable[[Tensor], Any], x: Tensor, name: str = "function") -> int:
    """The bytes that a function of one point makes for its value at points `(points, n)`."""
    arithmetic = Arithmetic(orders(0, 0, x.device), len(x), name)
    run(arithmetic, f, [x.unsqueeze(0)])
    return arithmetic.bytes
