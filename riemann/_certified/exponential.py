r"""The exponential of a matrix of enclosures: the power series of $B = A / 2^k$ with its remainder, squared k times.

Sums of absolute values of all coefficients are a norm of power series and of matrices of them, so no coefficient of the
remainder after $B^m / m!$ is above $2 |B|^{m + 1} / (m + 1)!$ where $|B| < 1$.
"""

import math
from typing import Any

import numpy as np

from riemann.bridge._functions import matrix


def exponential(E: Any, A: np.ndarray) -> np.ndarray:
    """The exponential of a matrix of elements that vary."""
    size = max(sum(map(E.norm, row)) for row in A)
    if not size < math.inf:
        return matrix([[E.nowhere() for _ in row] for row in A])
    k = max(0, math.frexp(size)[1] + 1)  # so that |B| is below 1/2
    B = matrix([[b * (E.number(1) / 2**k) for b in row] for row in A])
    power = X = matrix([[E.constant(int(i == j)) for j in range(len(A))] for i in range(len(A))])
    m, rest = 0, 1.0
    while rest > 2.0 ** -min(E.digits + 10, 1000):
        m, rest = m + 1, rest / 2 / (m + 2)
        power = matrix([[p * (E.number(1) / m) for p in row] for row in E.matmul(power, B)])
        X = matrix([[a + b for a, b in zip(*rows, strict=True)] for rows in zip(X, power, strict=True)])
    remainder = E.within(2 * rest)
    X = matrix([[a + remainder for a in row] for row in X])
    for _ in range(k):
        X = E.matmul(X, X)
    return X
