"""The Cotton-York tensor, against 40 digits, closed forms and what it is known for."""

import pytest
import sympy as sp
import torch

import riemann as rm
from riemann.symbolic import SymbolicMetric
from tests.helpers import assert_equal, random_metric

X = torch.tensor([[0.1, -0.2, 0.3], [0.4, 0.1, -0.3]], dtype=torch.float64)


@pytest.mark.parametrize("signature", [0, 1, 2])
def test_forty_digits(signature):
    metric = random_metric(3, signature, 3)
    exact = rm.bridge.high_precision(metric, X[0], order=3).cotton_york_tensor("ul")
    truth = torch.tensor(exact.tolist(), dtype=X.dtype)
    assert truth.abs().max() > 1e-2
    assert_equal(rm.cotton_york_tensor(metric, X[0], "ul"), truth, rtol=1e-10)


@pytest.mark.parametrize("signature", [0, 1])
def test_the_definition(signature):
    metric = random_metric(3, signature, 6)
    nabla = rm.covariant_derivative(metric, lambda x: rm.schouten_tensor(metric, x), "ll")(X)  # [l, j, k] = D_k P_lj
    epsilon = torch.zeros(3, 3, 3, dtype=X.dtype)
    for i, k, l in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        epsilon[i, k, l], epsilon[i, l, k] = 1.0, -1.0
    epsilon = rm.volume_element(metric, X)[:, None, None, None] * epsilon
    raised = rm.change_indices(metric, X, epsilon, "lll", "luu")
    assert_equal(rm.cotton_york_tensor(metric, X), torch.einsum("zikl,zljk->zij", raised, nabla))


def test_trace_and_divergence_are_zero():
    metric = random_metric(3, 1, 4)
    C, inverse = rm.cotton_york_tensor(metric, X), rm.inverse_metric(metric, X)
    assert_equal(torch.einsum("zij,zij->z", inverse, C), X.new_zeros(2), scale=C.abs().max())
    nabla = rm.covariant_derivative(metric, lambda x: rm.cotton_york_tensor(metric, x), "ll")(X)
    assert_equal(torch.einsum("zjk,zijk->zi", inverse, nabla), X.new_zeros(2, 3), scale=nabla.abs().max(), rtol=1e-9)


def test_conformal_weight_and_orientation():
    metric, p = random_metric(3, 1, 5), lambda x: 0.3 * x[0] * x[1] + 0.2 * torch.sin(x[2])
    C = rm.cotton_york_tensor(metric, X)
    scaled = rm.cotton_york_tensor(lambda x: torch.exp(2 * p(x)) * metric(x), X)
    assert_equal(scaled, torch.exp(-torch.func.vmap(p)(X))[:, None, None] * C, rtol=1e-9)
    swapped = lambda x: metric(x[[1, 0, 2]])[[1, 0, 2]][:, [1, 0, 2]]
    assert_equal(rm.cotton_york_tensor(swapped, X[:, [1, 0, 2]]), -C[:, [1, 0, 2]][:, :, [1, 0, 2]])


def test_zero_where_the_metric_is_conformally_flat():
    for metric in (rm.spaces.sphere(3), lambda x: torch.exp(x[0] * x[1] + x[2].sin()) * torch.eye(3, dtype=x.dtype)):
        assert rm.cotton_york_tensor(metric, 0.5 + X).abs().max() < 1e-11


def test_nil_by_hand():
    """In the frame dx, dy, dz - x dy it is diag(1/2, 1/2, -1)."""
    x, y, z = sp.symbols("x y z")
    nil = SymbolicMetric([[1, 0, 0], [0, 1 + x**2, -x], [0, -x, 1]], (x, y, z))
    frame = sp.Matrix([[1, 0, 0], [0, 1, 0], [0, -x, 1]])  # rows are the forms
    assert nil.cotton_york_tensor() == (frame.T * sp.diag(1, 1, -2) * frame / 2).expand()
