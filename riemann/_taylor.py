r"""Truncated Taylor polynomials of tensor fields at points: their products and derivatives, without a user's function.

A polynomial of degree d is an array `(*batch, *s, m)`: the coefficients of its m monomials $y^\alpha$,
$|\alpha| \le d$, ordered by degree, so that a prefix is the polynomial of a lower degree.
"""

import functools
import itertools
import math

import numpy as np
import torch
from torch import Tensor


@functools.cache
def monomials(n: int, degree: int) -> tuple[tuple[int, ...], ...]:
    """The monomials to a degree, each as the sorted variables it multiplies: (), (0,), (1,), (0, 0), (0, 1), …."""
    return tuple(
        m for d in range(degree + 1) for m in itertools.combinations_with_replacement(range(n), d)
    )  # fmt: skip


def count(n: int, degree: int) -> int:
    """How many monomials there are to a degree."""
    return math.comb(n + degree, n)


@functools.cache
def _products(n: int, degree: int) -> np.ndarray:
    """Pairs of monomials, and which monomial their product is."""
    number = {m: k for k, m in enumerate(monomials(n, degree))}
    rows = [(number[a], number[b], number[tuple(sorted(a + b))]) for a in number for b in monomials(n, degree - len(a))]
    return np.array(rows).T


@functools.cache
def _derivatives(n: int, degree: int) -> np.ndarray:
    """For each monomial b to `degree - 1` and variable k: the monomial b y_k, and the power of y_k in it."""
    number = {m: k for k, m in enumerate(monomials(n, degree))}
    lower = monomials(n, degree - 1)
    source = [[number[tuple(sorted((*b, k)))] for k in range(n)] for b in lower]
    power = [[b.count(k) + 1 for k in range(n)] for b in lower]
    return np.array([source, power])


def from_jets(jets: tuple[Tensor, ...], n: int) -> Tensor:
    r"""The polynomial $\sum \partial_\alpha f\, y^\alpha / \alpha!$ of a field from its derivatives, axes last."""
    columns = []
    for order, derivative in enumerate(jets):
        for m in itertools.combinations_with_replacement(range(n), order):
            weight = math.prod(math.factorial(m.count(k)) for k in set(m))
            columns.append(derivative[(..., *m)] / weight)
    return torch.stack(columns, -1)


def multiply(equation: str, a: Tensor, b: Tensor, n: int, degree: int) -> Tensor:
    """The product of two polynomials to a degree, their tensor axes contracted as in `"...ij,...jk->...ik"`."""
    left, right, product = torch.from_numpy(_products(n, degree)).to(a.device)
    inputs, output = equation.split("->")
    one, two = inputs.split(",")
    pairs = torch.einsum(f"{one}z,{two}z->{output}z", a[..., left], b[..., right])
    result = pairs.new_zeros((*pairs.shape[:-1], count(n, degree)))
    return result.index_add(-1, product, pairs)


def derivative(a: Tensor, n: int, degree: int) -> Tensor:
    """The partial derivatives of a polynomial of a degree, `(*batch, *s, n, m)`: of one degree less, new axis last."""
    source, power = torch.from_numpy(_derivatives(n, degree)).to(a.device)
    return (a[..., source] * power.to(a.dtype)).movedim(-1, -2)
