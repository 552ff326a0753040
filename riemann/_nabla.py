r"""Covariant derivatives of curvature to any order, as polynomial arithmetic on the jets of a metric.

Riemann as in `riemann.formulas`, but as the Taylor polynomial about a point, so that each further $\nabla$ takes one
degree from it: no derivative of a user's function beyond the jets.
"""

import torch
from torch import Tensor

from riemann import _taylor


def derivatives_of_curvature(jets: tuple[Tensor, ...], count: int) -> tuple[Tensor, ...]:
    r"""$R_{abcd}, \nabla_e R_{abcd}, …$ to `count` derivatives, `(*batch, n, …)`, from `count + 2` derivatives of g."""
    batch, n, degree = jets[0].shape[:-2], jets[0].shape[-1], len(jets) - 1

    def product(equation: str, a: Tensor, b: Tensor, degree: int) -> Tensor:
        return _taylor.multiply(equation, a, b, n, degree)

    g = _taylor.from_jets(jets, n)
    dg = _taylor.derivative(g, n, degree)
    ddg = _taylor.derivative(dg, n, degree - 1)
    left = degree - 2  # the degree of curvature
    inverse = torch.zeros_like(g[..., : _taylor.count(n, left)])
    inverse[..., 0] = torch.linalg.inv(jets[0])
    for _ in range(degree.bit_length()):  # Newton: each step doubles the degree to which it is right
        one = product("...ij,...jk->...ik", g, inverse, left)
        inverse = 2 * inverse - product("...ij,...jk->...ik", inverse, one, left)
    first = 0.5 * (torch.einsum("...kjiz->...kijz", dg) + dg - torch.einsum("...ijkz->...kijz", dg))  # Gamma_kij
    gamma = product("...kl,...lij->...kij", inverse, first, left)
    second = 0.5 * (
        torch.einsum("...adbcz->...abcdz", ddg)
        + torch.einsum("...bcadz->...abcdz", ddg)
        - torch.einsum("...acbdz->...abcdz", ddg)
        - torch.einsum("...bdacz->...abcdz", ddg)
    )
    products = product("...ebc,...ead->...abcd", first, gamma, left)
    T = second + products - products.transpose(-2, -3)
    tensors = [T[..., 0]]
    for rank in range(4, 4 + count):
        nabla = _taylor.derivative(T, n, left)
        left -= 1
        for axis in range(-rank - 1, -1):
            moved = T.movedim(axis, -2)
            flat = moved.reshape((*batch, n ** (rank - 1), n, moved.shape[-1]))
            term = product("...eka,...re->...rka", gamma, flat, left)
            nabla = nabla - term.reshape((*batch, *[n] * (rank + 1), term.shape[-1])).movedim(-2, axis - 1)
        T = nabla
        tensors.append(T[..., 0])
    return tuple(tensors)
