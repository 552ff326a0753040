"""The Bach tensor, against 40 digits, closed forms and what it is known for."""

import pytest
import sympy as sp
import torch

import riemann as rm
from riemann.symbolic import SymbolicMetric
from tests.helpers import assert_equal, random_metric

X = torch.tensor([[0.1, -0.2, 0.3, 0.2], [0.4, 0.1, -0.3, 0.0]], dtype=torch.float64)


def product(K, L):
    """Surfaces of constant curvatures K and L."""

    def metric(x):
        a, b = (1 / (1 + k * (y @ y) / 4) ** 2 for k, y in ((K, x[:2]), (L, x[2:])))
        return torch.diag(torch.stack([a, a, b, b]))

    return metric


@pytest.mark.parametrize("K, L", [(1.0, 0.0), (1.0, 1.0), (2.0, -1.0), (1.0, -1.0)])
def test_products_of_surfaces(K, L):
    """By hand: (K² - L²) / 6 times g on the first surface, and minus it on the second."""
    g = rm.at(metric := product(K, L), X, 0).g
    assert_equal(rm.scalar_curvature(metric, X), 2 * (K + L))
    signs = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=X.dtype)
    assert_equal(rm.bach_tensor(metric, X), (K**2 - L**2) / 6 * signs[:, None] * g, rtol=1e-9)


@pytest.mark.parametrize("signature", [0, 1, 2])
def test_forty_digits(signature):
    metric = random_metric(4, signature, 3)
    exact = rm.bridge.high_precision(metric, X[0], order=4).bach_tensor("ul")
    truth = torch.tensor(exact.tolist(), dtype=X.dtype)
    assert truth.abs().max() > 1e-2
    assert_equal(rm.bach_tensor(metric, X[0], "ul"), truth, rtol=1e-10)


def test_trace_and_divergence_are_zero():
    metric = random_metric(4, 1, 4)
    B = rm.bach_tensor(metric, X)
    assert_equal(torch.einsum("zij,zij->z", rm.inverse_metric(metric, X), B), X.new_zeros(2), scale=B.abs().max())
    nabla = rm.covariant_derivative(metric, lambda x: rm.bach_tensor(metric, x), "ll")(X)
    divergence = torch.einsum("zjk,zijk->zi", rm.inverse_metric(metric, X), nabla)
    assert_equal(divergence, X.new_zeros(2, 4), scale=nabla.abs().max(), rtol=1e-8)


def test_conformal_weight():
    metric, p = random_metric(4, 1, 5), lambda x: 0.3 * x[0] * x[1] + 0.2 * torch.sin(x[2]) - 0.1 * x[3] ** 2
    scaled = rm.bach_tensor(lambda x: torch.exp(2 * p(x)) * metric(x), X)
    assert_equal(scaled, torch.exp(-2 * torch.func.vmap(p)(X))[:, None, None] * rm.bach_tensor(metric, X), rtol=1e-9)


def test_zero_where_the_metric_is_einstein():
    schwarzschild = rm.spaces.schwarzschild()
    x = schwarzschild.sample(3, generator=torch.Generator().manual_seed(0))
    assert rm.at(schwarzschild, x).kretschmann_scalar().min() > 1e-6
    assert rm.bach_tensor(schwarzschild, x).abs().max() < 1e-9
    assert rm.bach_tensor(rm.spaces.complex_projective(2), 0.3 * X).abs().max() < 1e-8


def test_exactly():
    r, theta, K = sp.symbols("r theta K", positive=True)
    g = SymbolicMetric(sp.diag(1, sp.sin(r) ** 2, 1, 1), (r, theta, *sp.symbols("x y")))
    assert g.bach_tensor() == sp.diag(1, sp.sin(r) ** 2, -1, -1) / 6
    assert g.bach_tensor("ul") == sp.diag(1, 1, -1, -1) / 6
