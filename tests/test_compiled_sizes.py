"""How many graphs are compiled for which numbers of points."""

import pytest
import torch

import riemann as rm
from riemann._compiling import compiled, running
from riemann._compiling.called import _graphs

pytestmark = pytest.mark.unshaped

torch.manual_seed(0)
W = torch.randn(2, 2, dtype=torch.float64)
X = torch.randn(12, 2, dtype=torch.float64)


def network(x):
    """A metric whose tensors are arguments of graphs."""
    return torch.diag(1 + torch.tanh(W @ x) ** 2)


def plane(x):
    return torch.diag(torch.stack([1 + x[0] ** 2, torch.exp(x[0] * x[1])]))


def compile(metric, quantity="scalar_curvature", **options):
    """The network by its operations, the plane by expressions."""
    budget = 1e-6 if metric is network else 10.0
    return rm.compile(metric, quantity, dim=2, backend="eager", budget=budget, **options)


def graphs(f):
    return sum(len(_graphs(called.code)) for called in f._runner.compiled.values())


@pytest.fixture(params=[network, plane], ids=lambda metric: metric.__name__)
def metric(request):
    return request.param


def test_a_graph_for_the_first_number_and_one_for_all(metric):
    f, seen = compile(metric), []
    for count in (5, 5, 3, 7, 2, 1, 5, 12, 0):
        torch.testing.assert_close(f(X[:count]), rm.scalar_curvature(metric, X[:count]))
        seen.append(graphs(f))
    assert seen == [1, 1, 2, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("quantity", ["scalar_curvature", "jet", "geodesic_acceleration"])
def test_a_graph_for_all_numbers_at_once(metric, quantity):
    vectors = 1 if quantity == "geodesic_acceleration" else 0
    dynamic = None if vectors else True  # solvers call it at changing numbers
    f = compile(metric, quantity, dynamic=dynamic)
    for count in (5, 3, 7, 2):
        f(*[X[:count]] * (1 + vectors))
        assert graphs(f) == 1


def test_gradients_have_graphs_of_their_own(metric):
    f = compile(metric)
    for count in (4, 4, 6, 3, 9):
        x = X[:count].clone().requires_grad_()
        y = X[:count].clone().requires_grad_()
        found, expected = f(x), rm.scalar_curvature(metric, y)
        torch.testing.assert_close(found, expected)
        found.sum().backward(), expected.sum().backward()
        torch.testing.assert_close(x.grad, y.grad)
        torch.testing.assert_close(f(X[:count]), expected.detach())
    assert graphs(f) == 4  # with and without, for the first number and for all


def test_one_point_first_and_in_many_dimensions():
    """Where a point costs much, one has a graph of its own, and does not count as a number."""

    def metric(x):
        return torch.diag(1 + torch.tanh(x * x.roll(1)) ** 2 + x.sin().cumsum(0) ** 2)

    x = torch.randn(5, 9, dtype=torch.float64)
    f = rm.compile(metric, "scalar_curvature", dim=9, backend="eager", budget=1e-6)
    for count, expected in ((1, 1), (4, 2), (1, 2), (4, 2), (5, 3), (2, 3), (1, 3)):
        torch.testing.assert_close(f(x[:count]), rm.scalar_curvature(metric, x[:count]))
        assert graphs(f) == expected


@pytest.mark.parametrize("count", [3, 11])
def test_pieces_are_of_one_size(monkeypatch, count):
    monkeypatch.setattr(running, "CACHED", 200)  # bytes: pieces of a few points
    f, sizes = compile(network), set()
    run = f._runner._compiled = lambda x, of=f._runner._compiled: sizes.add(len(x)) or of(x)
    torch.testing.assert_close(f(X[:count]), rm.scalar_curvature(network, X[:count]))
    assert run and graphs(f) == len(sizes) == 1
    assert count <= 3 or sizes < set(range(2, count))


@pytest.mark.parametrize("count", [10, 12])
def test_tiles_are_of_one_size(monkeypatch, metric, count):
    monkeypatch.setattr(compiled, "TILE", 512)
    monkeypatch.setattr(compiled, "LARGE", 1024)
    f = compile(metric, "riemann_tensor")
    torch.testing.assert_close(f(X[:count]), rm.riemann_tensor(metric, X[:count]))
    assert graphs(f) == 1


def test_a_graph_for_each_number_is_refused():
    with pytest.raises(ValueError, match="dynamic"):
        rm.compile(plane, "scalar_curvature", dim=2, dynamic=False)
