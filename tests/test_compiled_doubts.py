"""What is compiled by jets doubts the same points as the functions do: no metric, or few digits."""

import pytest
import torch
from torch.testing import assert_close

import riemann as rm
from riemann import _jets
from riemann._compiling.quantities import suspected
from riemann._metric import jets_and_each, jets_of

pytestmark = pytest.mark.unshaped

torch.manual_seed(0)
W = torch.randn(3, 3, dtype=torch.float64)
X = torch.tensor([[-0.4, 0.3, 0.2], [0.5, -0.2, 0.7], [0.3, 0.6, -0.1]], dtype=torch.float64)


def network(x):
    L = torch.diag(1 + torch.tanh(W @ x) ** 2)
    return L @ L.T


def compiled(metric, quantity, **options):
    f = rm.compile(metric, quantity, dim=3, backend=None, budget=1e-6, **options)
    assert f.route.startswith("jets")
    return f


def upper(scale, of):
    """The network's metric with something above its diagonal that is not below."""
    M = torch.tensor([[0, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=torch.float64)
    return lambda x: scale * (network(x) + of(x) * M.to(x))


def vanishing(x):
    """A function that is 0 at the last two points, and its slope is not."""
    return (x[1] - X[1, 1].to(x)) * (x[1] - X[2, 1].to(x)) * (x[0] > 0)


ASYMMETRIC = {"value": lambda x: (x[0] > 0) * x[1].exp(), "slope": vanishing, "bend": lambda x: vanishing(x) ** 2}


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e120])
@pytest.mark.parametrize("what", ASYMMETRIC)
def test_asymmetry_of_any_order_and_size(what, scale):
    metric = upper(scale, ASYMMETRIC[what])
    doubt = suspected(jets_and_each(metric, X, 2)[1], 2).isnan()
    assert doubt[1:].all()
    assert not doubt[0] or scale != 1  # a doubt too many costs time, one too few a wrong number


@pytest.mark.parametrize("quantity", ["christoffel", "scalar_curvature", "christoffel_vector"])
@pytest.mark.parametrize("what", ["value", "slope"])
def test_asymmetric_points_are_nan_and_named(what, quantity):
    f, vectors = compiled(upper(1.0, ASYMMETRIC[what]), quantity), [X, X] * (quantity == "christoffel_vector")
    with pytest.warns(UserWarning, match="is not symmetric"):
        y = f(X, *vectors)
    assert y.reshape(3, -1).isnan().any(-1).tolist() == [False, True, True]


def test_rounding_across_the_diagonal_is_no_doubt():
    A, S = torch.randn(64, 16, 16), torch.rand(64, 1)

    def metric(x):
        J = (A @ x).sin()
        return J.T @ (S * J) + torch.eye(16)

    x = torch.randn(5, 16)
    each = jets_and_each(metric, x, 1)[1]
    assert (each - each.mT).abs().max() > 0
    assert not suspected(each, 1).isnan().any()


def test_few_digits_are_told_as_by_the_function():
    def polar(x):
        return torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2, 1 + torch.tanh(x[2]) ** 2]))

    x = torch.tensor([[1.0, 0.3, 0.1], [1e-6, 0.3, 0.1]], dtype=torch.float64)
    f = compiled(polar, "scalar_curvature", digits=True)
    with pytest.warns(UserWarning, match=r"digits of the curvature.*at point \[1\]"):
        ours = f(x)
    with pytest.warns(UserWarning, match=r"digits of the curvature.*at point \[1\]"):
        truth = rm.scalar_curvature(polar, x)
    assert_close(ours, truth, rtol=1e-9, atol=1e-2)
    assert suspected(jets_and_each(polar, x, 2)[1], 2).isnan().tolist() == [False, True]


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_each_derivative_once(order, batch):
    def field(x):
        return torch.stack([torch.sin(x[0] * x[1] * x[2]), torch.exp(x[1] - x[2]) * x[0] ** 3])

    x = torch.randn(*batch, 3, dtype=torch.float64)
    jets, each = _jets.jets_at(field, x, order), _jets.each_at(_jets.field(field, x), x, order)
    assert each.shape == ([1, 4, 10, 20][order], *batch, 2)
    assert_close(_jets.each_of_jets(jets), each, rtol=0, atol=0)
    for ours, truth in zip(_jets.jets_of_each(each, 3, order), jets, strict=True):
        assert_close(ours, truth, rtol=0, atol=0)


def test_types_that_bring_their_own_derivatives():
    metric, x = rm.metrics.Pullback(lambda x: torch.stack([x[0], x[1], x[0] * x[1].sin()])), X[:, :2]
    assert jets_of.route(metric) != "generic"
    jets, each = jets_and_each(metric, x, 2)
    assert_close(_jets.jets_of_each(each, 2, 2), jets)
    assert not suspected(each, 2).isnan().any()
