"""Products of matrices of jets by their several ways, and what looks like a diagonal matrix and is not."""

import pytest
import torch
from torch.testing import assert_close

from riemann import _jets

DOUBLE = torch.float64
POINTS = torch.linspace(-1, 1, 3 * 40, dtype=DOUBLE).view(40, 3)


def written_out(A, B):
    """A product that no rule knows."""
    return (A.unsqueeze(-1) * B.unsqueeze(-3)).sum(-2)


def entries(x, *shape, start=0.0):
    """Numbers that depend on the point, each in another way."""
    count = torch.Size(shape).numel()
    k = torch.arange(1.0, count + 1, dtype=x.dtype) / count * 4
    return (torch.sin(start + k * x[0]) + x[1] * torch.cos(k + x[2] * x[0])).view(shape)


def agree(f, order, points=POINTS):
    """Whether a function of a product gives what it gives of the product written out."""
    for found, truth in zip(
        _jets.jets_at(lambda x: f(x, torch.matmul), points, order),
        _jets.jets_at(lambda x: f(x, written_out), points, order),
        strict=True,
    ):
        assert_close(found, truth, equal_nan=True, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 3, 2), (4, 4, 4), (2, 8, 3), (7, 5, 6), (8, 8, 8), (9, 2, 3), (1, 12, 1)]
)
def test_products_of_all_sizes(shape, order):
    m, k, l = shape
    agree(lambda x, product: product(entries(x, m, k), entries(x, k, l, start=0.5)), order)
    agree(lambda x, product: product(entries(x, m, k), entries(x, m, k).mT), order)
    linear = lambda x, *shape: x[0] * torch.arange(1.0, 1 + torch.Size(shape).numel(), dtype=DOUBLE).view(shape) + x[1]
    agree(lambda x, product: product(linear(x, m, k), linear(x, k, l)), order)
    agree(lambda x, product: product(entries(x, m, k), linear(x, k, l)), order, POINTS[:1])


@pytest.mark.parametrize("m", [2, 5, 8, 9])
def test_batches_of_products(m):
    agree(lambda x, product: product(entries(x, 3, m, m), entries(x, 3, m, m, start=0.5)), 2)
    agree(lambda x, product: product(entries(x, 3, m, m), entries(x, 3, m, m).mT), 2)


def written(D, x):
    D = D.clone()
    D[0, 1] = x[1]
    return D


def written_to_a_view(D, x):
    D.view(-1)[1] = x[1]
    return D


def longer(D, x):
    D.unsqueeze_(0)
    return D.squeeze(0)


DIAGONAL = {
    "diagonal": lambda s, x: torch.diag(s),
    "embedded": lambda s, x: torch.diag_embed(s),
    "axes exchanged": lambda s, x: torch.diag_embed(s, dim1=1, dim2=0),
    "above": lambda s, x: torch.diag_embed(s[:2], 1),
    "below": lambda s, x: torch.diag(s[:2], -1),
    "written": lambda s, x: written(torch.diag(s), x),
    "written to": lambda s, x: torch.diag(s).index_put_((torch.tensor(0), torch.tensor(1)), x[0]),
    "a view of it": lambda s, x: written_to_a_view(torch.diag(s), x),
    "an entry": lambda s, x: torch.diag(s).add_(x[0]),
    "sum": lambda s, x: torch.diag(s) + x[0],
    "transposed": lambda s, x: torch.diag(s).t_(),
    "longer": lambda s, x: longer(torch.diag(s), x),
    "filled diagonal": lambda s, x: torch.diag(s).fill_diagonal_(2.0),
}


@pytest.mark.parametrize("order", [0, 2, 3])
@pytest.mark.parametrize("kind", DIAGONAL)
def test_what_is_diagonal_and_what_looks_like_it(kind, order):
    def by(x, product):
        D = DIAGONAL[kind](entries(x, 3), x)
        U, c = entries(x, 3, 4, start=0.5), torch.arange(12, dtype=DOUBLE).view(4, 3)
        sums = product(product(U.mT, D), D), product(D, c.mT).mT, product(c, D)
        return product(c, product(D, U)).sum() + sum(sums)

    agree(by, order)


def test_a_diagonal_that_is_written_to_before_and_after():
    def before(x, product):
        s = entries(x, 3).clone()
        s[0] = x[0]
        D = torch.diag(s)
        s.mul_(2)
        return product(D, entries(x, 3, 3)) + s

    agree(before, 2)

    def complex_root(x, product):
        z = torch.complex(1 + x[0] ** 2, x[1]).clone()
        z.mul_(2)
        r = torch.sqrt(z)
        z.mul_(3)
        return (r * r if product is torch.matmul else r * (r + 0)).real

    agree(complex_root, 2)


@pytest.mark.parametrize("number", [torch.inf, torch.nan])
@pytest.mark.parametrize("turned", [False, True])
def test_zeros_beside_a_diagonal_times_what_is_not_finite(number, turned):
    far = torch.tensor([[0.0, number, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=DOUBLE)

    def by(x, product):
        D, U = torch.diag(entries(x, 3)), entries(x, 3, 3) + far
        return product(U, D) if turned else product(D, U)

    agree(by, 0)


def test_a_diagonal_matrix_of_another_size_is_an_error():
    with pytest.raises(RuntimeError):
        _jets.jets_at(lambda x: torch.diag(x) @ x.view(1, 3), POINTS, 2)


@pytest.mark.parametrize("by", ["left", "right", "scaled", "einsum", "added"])
def test_what_is_reshaped_is_written_to(by):
    """Products lie in memory as torch's: a reshaped one is a view of it."""
    W = torch.linspace(-1, 2, 9, dtype=DOUBLE).view(3, 3)
    product = {
        "left": lambda M: W @ M,
        "right": lambda M: M @ W,
        "scaled": lambda M: 2 * (W @ M),
        "einsum": lambda M: torch.einsum("ij,jk->ki", M, W),
        "added": lambda M: torch.addmm(W, W, M),
    }[by]

    def f(x):
        y = product(entries(x, 3, 3))
        y.reshape(-1)[::4] += x[0]
        return y

    value, first = _jets.jets_at(f, POINTS, 1)
    assert_close(value, torch.stack([f(x) for x in POINTS]))
    assert_close(first, torch.stack([torch.autograd.functional.jacobian(f, x) for x in POINTS]))
