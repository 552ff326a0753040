"""All derivatives of a function of one number at once, where they are short: fewer operations, and no digit lost."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from riemann._arithmetic.series import FUNCTIONS


def _powers_of_reciprocal(y: Tensor, start: float, order: int) -> list[Tensor]:
    """`[start y, …]`, each the derivative of the one before, of y = 1 / v."""
    found = [start * y if start != 1 else y]
    for k in range(order):
        found.append(-(k + 1) * (found[-1] * y))
    return found


def _in_turn(*functions: Callable[[Tensor], Tensor]) -> Callable[[Tensor, int], list[Tensor]]:
    """The derivatives of a function that come again after a while."""

    def terms(v: Tensor, order: int) -> list[Tensor]:
        values = [f(v) for f in functions[: order + 1]]
        signs = (1, 1, -1, -1) if functions[0] is torch.sin else (1, -1, -1, 1) if functions[0] is torch.cos else (1,)
        found = []
        for k in range(order + 1):
            y = values[k % len(functions)]
            found.append(y if signs[k % len(signs)] == 1 else -y)
        return found

    return terms


def _sum_of_products(a: list[Tensor], b: list[Tensor], k: int) -> Tensor:
    """The k-th derivative of a b."""
    return functools.reduce(
        torch.add, (math.comb(k, i) * (a[i] * b[k - i]) if 0 < i < k else a[i] * b[k - i] for i in range(k + 1))
    )


def _tanh(v: Tensor, order: int) -> list[Tensor]:
    """By y' = 1 - y^2 and y'' = -2 y y'."""
    found = [torch.tanh(v)]
    if order:
        found.append(1 - found[0] * found[0])
    for k in range(order - 1):
        found.append(-2 * _sum_of_products(found, found[1:], k))
    return found


def _sigmoid(v: Tensor, order: int) -> list[Tensor]:
    """By z(v) = y(-v), y' = y z and y'' = y' (z - y)."""
    found = [torch.sigmoid(v)]
    if order:
        z = torch.sigmoid(-v)
        found.append(found[0] * z)
        bend = [z - found[0]]
        for k in range(order - 1):
            found.append(_sum_of_products(bend, found[1:], k))
            bend.append(-2 * found[k + 1])
    return found


CLOSED: dict[str, Callable[[Tensor, int], list[Tensor]]] = {
    "exp": _in_turn(torch.exp),
    "sin": _in_turn(torch.sin, torch.cos),
    "cos": _in_turn(torch.cos, torch.sin),
    "sinh": _in_turn(torch.sinh, torch.cosh),
    "cosh": _in_turn(torch.cosh, torch.sinh),
    "reciprocal": lambda v, order: _powers_of_reciprocal(torch.reciprocal(v), 1, order),
    "log": lambda v, order: [
        torch.log(v),
        *(_powers_of_reciprocal(torch.reciprocal(v), 1, order - 1) if order else []),
    ],
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "softplus": lambda v, order: [FUNCTIONS["softplus"][0](v), *(_sigmoid(v, order - 1) if order else [])],
}
"""`[f(v), f'(v), …]` of v and an order."""
