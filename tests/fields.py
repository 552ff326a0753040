"""Smooth fields and metrics that tests draw at random."""

import itertools
import math

import torch
from hypothesis import strategies as st

from tests.helpers import random_metric

D = torch.float64
SEEDS = st.integers(0, 2**20)


def random_tensor(n, rank, seed):
    """A smooth tensor field of a rank: sines of linear functions and a quadratic."""
    generator = torch.Generator().manual_seed(seed)
    A, B = (torch.randn([n] * (rank + 1), dtype=D, generator=generator) for _ in range(2))
    C = torch.randn([n] * rank, dtype=D, generator=generator)
    return lambda x: torch.sin(A @ x + C) + (B @ x) ** 2 / 4 + C


def random_form(n, degree, seed):
    """A smooth form of a degree: a random tensor field, antisymmetrised by the sum over all permutations."""
    T = random_tensor(n, degree, seed)

    def form(x):
        value = T(x)
        total = torch.zeros_like(value)
        for order in itertools.permutations(range(degree)):
            sign = (-1) ** sum(a > b for a, b in itertools.combinations(order, 2))
            total = total + sign * value.permute(order)
        return total / math.factorial(degree)

    return form


def points(n, seed, count=2):
    return 0.3 * torch.randn(count, n, dtype=D, generator=torch.Generator().manual_seed(seed))


@st.composite
def metrics(draw, smallest=2, largest=4):
    """(metric, points, number of minus signs)."""
    n = draw(st.integers(smallest, largest))
    negative = draw(st.integers(0, 1))
    return random_metric(n, negative, draw(SEEDS)), points(n, draw(SEEDS)), negative
