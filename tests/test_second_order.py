"""Second derivatives written in place are the numbers of the general sums, and stand aside where these are recorded."""

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from riemann._arithmetic import Orders, second_order
from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.leibniz import composed, product
from riemann._jets import jets_at

from .helpers import assert_close

few = settings(max_examples=40, deadline=None)
CPU = torch.device("cpu")


def arithmetic(n, anew=False):
    A = Arithmetic(Orders(n, 2, CPU), 3, "function")
    A.anew = anew
    return A


def coefficients(A, degree, *shape):
    return torch.randn(A.orders.counts[degree], 3, *shape, dtype=torch.float64)


@few
@given(st.integers(1, 5), st.integers(0, 2), st.integers(0, 2), st.booleans())
def test_products_are_those_of_leibniz(n, p, q, broadcast):
    A, general = arithmetic(n), arithmetic(n, anew=True)
    a, b = coefficients(A, p, 4, 2), coefficients(A, q, 1, 2) if broadcast else coefficients(A, q, 4, 2)
    assert_close(product(A, a, b), product(general, a, b))
    assert_close(product(A, a, a), product(general, a, a))


@few
@given(
    st.integers(1, 4), st.integers(0, 2), st.integers(0, 2), st.sampled_from([(), (2,), (1, 3)]), st.booleans(),
    st.booleans(),
)  # fmt: skip
def test_products_of_matrices_are_those_of_leibniz(n, p, q, batch, whole, in_lines):
    A, general = arithmetic(n), arithmetic(n, anew=True)
    a, b = coefficients(A, p, *batch, 3, 4), coefficients(A, q, *batch, 4, 2)
    with (
        mock.patch.object(second_order, "PIECE", second_order.PIECE if whole else 100),
        mock.patch.object(second_order, "LINES", (0, 0) if in_lines else (1000, 0)),
    ):
        assert_close(second_order.matmul(A, a, b), product(general, a, b, torch.matmul))
        assert_close(second_order.matmul(A, a, a.mT), product(general, a, a.mT.clone(), torch.matmul))
        assert_close(second_order.matmul(A, a.mT, a), product(general, a.mT.clone(), a, torch.matmul))


@few
@given(st.integers(1, 5), st.integers(1, 2))
def test_compositions_are_those_of_faa_di_bruno(n, p):
    A, general = arithmetic(n), arithmetic(n, anew=True)
    c = coefficients(A, p, 4)
    terms = [torch.exp(c[0])] * 3
    assert_close(composed(A, terms, c), composed(general, terms, c))
    assert_close(composed(A, [c[0] ** 2, 2 * c[0], 2], c), composed(general, [c[0] ** 2, 2 * c[0], 2], c))


@pytest.mark.parametrize(
    "other",
    [
        lambda a: a.mT.clone(),
        lambda a: a,
        lambda a: a.mT.neg(),
        lambda a: torch._neg_view(a.mT),
        lambda a: a.flip(-1).mT,
        lambda a: a[..., :2, :].mT,
        lambda a: torch.complex(a, a).mT,
    ],
    ids=["a copy", "itself", "negative", "negative by a bit", "flipped", "a part", "complex"],
)
def test_what_looks_like_the_own_transpose(other):
    a = torch.randn(6, 3, 3, 3)
    assert not second_order.is_transposed(a, other(a))
    assert second_order.is_transposed(a, a.mT)


def test_the_own_conjugate_is_not_the_own_transpose():
    a = torch.randn(6, 3, 2, 2, dtype=torch.complex128)
    assert second_order.is_transposed(a, a.mT)
    assert not second_order.is_transposed(a, a.mH)
    assert second_order.is_transposed(a.conj(), a.mH)


def hermitian(x):
    z = torch.complex(x.outer(x), torch.sin(x).outer(x))
    return (z @ z.mH).real + (z @ z.mT).real


def written_between(x):
    L = x.outer(torch.exp(x))
    R = L.mT
    y = L @ R
    L[0, 0] = x[0] ** 2  # R sees it
    return y + L @ R


@pytest.mark.parametrize("f", [hermitian, written_between])
def test_derivatives_are_those_of_differences(f):
    x, h = torch.tensor([0.3, -0.7], dtype=torch.float64), 1e-4
    (_, df, ddf), basis = jets_at(f, x, 2), torch.eye(2)
    for i in range(2):
        difference = (f(x + h * basis[i]) - f(x - h * basis[i])) / (2 * h)
        assert_close(df[..., i], difference, rtol=0, atol=1e-6)
        there, back = (jets_at(f, x + s * h * basis[i], 1)[1] for s in (1, -1))
        assert_close(ddf[..., i], (there - back) / (2 * h), rtol=0, atol=1e-6)


def test_gradients_go_through_the_general_sums():
    w = torch.tensor([0.4, 1.2], dtype=torch.float64, requires_grad=True)
    f = lambda x: torch.stack([torch.tanh(w * x).sum() * x[0], (w / x).prod()]).outer(x)
    x = torch.tensor([0.3, 0.8], dtype=torch.float64)
    recorded = jets_at(f, x, 2)
    with torch.no_grad():
        plain = jets_at(f, x, 2)
    assert all(y.requires_grad for y in recorded)
    for y, z in zip(recorded, plain, strict=True):
        assert_close(y.detach(), z)


def test_what_is_constant_at_a_pole_stays_a_constant():
    f = lambda x: torch.stack([torch.sqrt(0 * x[0]), 1 / (0 * x[1])]) * torch.ones(2)
    for y in jets_at(f, torch.tensor([0.5, 0.5]), 2)[1:]:
        assert_close(y, torch.zeros_like(y))
