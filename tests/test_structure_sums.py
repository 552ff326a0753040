"""Named metrics times numbers, sums of two, and with a constant matrix; and what only looks like such a sum."""

import pytest
import torch
from torch.func import hessian, jacrev
from torch.testing import assert_close

import riemann as rm
from riemann.metrics import Conformal, Hessian, LowRankPlusDiagonal, MLPCholesky, Pullback, Warped

D = torch.float64
X = torch.tensor([[0.7, 0.4, 0.9], [0.3, 1.1, 0.6]], dtype=D)
GENERATOR = torch.Generator().manual_seed(5)
A, B, W = (torch.randn(*shape, generator=GENERATOR, dtype=D) for shape in ((5, 3), (6, 5), (6, 3)))
I, SYMMETRIC = torch.eye(3, dtype=D), A.T @ A
ROWS, COLUMNS = torch.tril_indices(3, 3)
P = torch.nn.Parameter(torch.tensor(0.3, dtype=D))


def log_partition(y):
    return torch.logsumexp(A @ y, 0)


def entropy(y):
    return (y * torch.log(y)).sum()


def decoder(x):
    return B @ torch.tanh(A @ x)


def spread(x):
    return torch.sin(W @ x)


def polar(x):
    return torch.stack([x.norm(), torch.atan2(x[1], x[0]), x[2] * x[0], x[1] ** 2 * x[2]])


def J(x, f=decoder):
    return jacrev(f)(x)


def square(J):
    return J.T @ J


def outer(u):
    return torch.outer(u, u)


def cholesky(x):
    L = torch.zeros(3, 3, dtype=D).index_put((ROWS, COLUMNS), B @ torch.tanh(A @ x))
    return torch.tril(L, -1) + torch.diag(torch.nn.functional.softplus(torch.diagonal(L)) + 0.1)


def low_rank(x):
    return torch.diag(torch.exp(x)) + torch.outer(torch.sin(x), torch.sin(x))


FOUND = {
    "minus": (lambda x: -hessian(lambda y: -log_partition(y))(x), Hessian),
    "a mean": (lambda x: hessian(log_partition)(x) / 7, Hessian),
    "with the identity": (lambda x: hessian(log_partition)(x) + 0.1 * I, Hessian),
    "with a matrix": (lambda x: 2 * hessian(log_partition)(x) + SYMMETRIC, Hessian),
    "two potentials": (lambda x: hessian(log_partition)(x) + 3 * hessian(entropy)(x), Hessian),
    "a mean of squares": (lambda x: torch.einsum("ai,aj->aij", J(x), J(x)).mean(0), Pullback),
    "regular": (lambda x: square(J(x)) / 6 + 1e-3 * I, Pullback),
    "rows of the identity": (lambda x: square(torch.cat([J(x), 0.3 * I])), Pullback),
    "polar": (lambda x: square(J(x, polar)), Pullback),
    "mean and spread": (lambda x: square(J(x)) + square(J(x, spread)), Pullback),
    "with an ambient": (lambda x: 0.5 * J(x).T @ torch.diag(1 + decoder(x) ** 2) @ J(x), Pullback),
    "a network": (lambda x: 2 * cholesky(x) @ cholesky(x).T, MLPCholesky),
    "low rank": (lambda x: 2 * low_rank(x), LowRankPlusDiagonal),
    "two directions": (lambda x: low_rank(x) - 0.1 * outer(x**2 * x.roll(1)), LowRankPlusDiagonal),
    "of a parameter": (lambda x: torch.exp(P) * hessian(log_partition)(x), Hessian),
    "of the point": (lambda x: (1 + x @ x) * hessian(log_partition)(x), Hessian),
    "times a square": (lambda x: torch.exp(-x[0]) * J(x).T @ J(x), Pullback),
    "warped": (lambda x: torch.block_diag(I[:1, :1], torch.exp(x[0]) * (I[1:, 1:] + outer(x[1:]))), Warped),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_is_found_is_the_metric(name):
    g, kind = FOUND[name]
    found = rm.structured(g, 3, x=X)
    inner = found.base if isinstance(found, Conformal) and kind is not MLPCholesky else found
    assert isinstance(inner, kind), rm.structure(g, 3, x=X)
    there = X.flip(0) + 0.2
    assert_close(rm.scalar_curvature(found, there), rm.scalar_curvature(g, there), rtol=1e-8, atol=1e-9)


def not_integrable(x):
    return x[0] ** 2 * torch.diag(torch.exp(x))


LOOK_ALIKES = {
    "a factor that varies": lambda x, e: (1 + e * x[0]) * hessian(log_partition)(x),
    "a term that is no Hessian": lambda x, e: hessian(log_partition)(x) + e * not_integrable(x),
    "a matrix that varies": lambda x, e: hessian(log_partition)(x) + I * (1 + e * x[1]),
    "another argument": lambda x, e: hessian(log_partition)(x + e * x**2),
    "symmetric": lambda x, e: hessian(log_partition)(x) + e * torch.outer(x, x),
    "two Hessians, one turned": lambda x, e: hessian(log_partition)(x) + (1 + e) * hessian(entropy)(x.flip(0)),
    "a kink": lambda x, e: hessian(log_partition)(x) + torch.relu(x[0] - 2) ** 3 * I,
    "a part of it": lambda x, e: hessian(log_partition)(x) * (1 + e * torch.diag(x)),
    "squares and more": lambda x, e: square(J(x)) / 6 + e * x[0] ** 2 * I,
    "squares and less": lambda x, e: square(J(x)) - e * I,
    "mixed squares": lambda x, e: square(J(x) + e * J(x, spread)) - e**2 * square(J(x, spread)),
    "regular elsewhere": lambda x, e: square(J(x)) + e * torch.diag(torch.exp(x)),
    "another angle": lambda x, e: square(J(x)) * (1 + e * (torch.atan2(x[1], x[0]) - torch.atan(x[1] / x[0]))),
    "directions of less": lambda x, e: low_rank(x) - outer(x**2) + e * x[0] * outer(x.roll(1)),
    "a parameter of either sign": lambda x, e: P * (hessian(log_partition)(x) + e * not_integrable(x)),
}


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_look_alikes_are_not_taken_for_what_they_look_like(name, sizes=(0.3, 1e-7)):
    for e in sizes:
        found = rm.structure(lambda x: LOOK_ALIKES[name](x, e), 3, x=X)
        assert not {"Hessian", "Pullback", "LowRankPlusDiagonal"} & {finding.name for finding in found.findings}, found
