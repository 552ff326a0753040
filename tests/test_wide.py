"""Geodesics of induced metrics in many dimensions, without g: against those of the route that forms it."""

import pytest
import torch
from torch import distributions as D

import riemann as rm
from riemann._curvature import variation
from riemann._curvature.variation import acceleration_derivatives, of_type
from riemann.metrics import Constant, Fisher, Pullback
from riemann.metrics import _pullback_wide as wide
from tests.helpers import assert_equal

D64 = torch.float64
N = 12


@pytest.fixture
def many(monkeypatch):
    """Twelve dimensions are many; the inverses taken are counted."""
    monkeypatch.setattr(wide, "DENSE", 8)
    taken = []
    formed = wide.jets_of
    monkeypatch.setattr(wide, "jets_of", lambda *arguments: taken.append(1) or formed(*arguments))
    return taken


def net(m):
    layers = torch.nn.Linear(N, 16), torch.nn.Tanh(), torch.nn.Linear(16, m)
    return torch.nn.Sequential(*layers).double().requires_grad_(False)


def accelerations(metric, x):
    found = variation.accelerations(metric, x)
    assert found is not None
    return found


def metrics():
    logits, decoder = net(30), net(60)
    rows = torch.stack([torch.linspace(0.1, 0.3, N, dtype=D64), *torch.eye(N, dtype=D64)])
    signs = torch.where(torch.arange(N + 1) == 0, -1.0, 1.0).to(D64)
    yield "classifier", Fisher(lambda x: D.Categorical(logits=logits(x)))
    yield "decoder", Pullback(decoder)
    yield "indefinite", Pullback(lambda x: rows @ torch.sinh(x), Constant(torch.diag(signs)))
    yield "curved space", Pullback(lambda x: 1.5 + rows @ x.sin(), lambda y: torch.diag(y**2))
    yield "copies", Fisher(lambda x: D.Normal(logits(x)[:15], 1 + logits(x)[15:] ** 2))


@pytest.mark.parametrize(("name", "metric"), list(metrics()), ids=lambda a: a if isinstance(a, str) else "")
def test_accelerations_are_those_of_the_whole_matrix(name, metric, many):
    x = 0.3 * torch.randn(N, dtype=D64) + 0.02 * torch.randn(4, N, dtype=D64)
    v = torch.randn(4, N, dtype=D64)
    truth, taken = rm.geodesic_acceleration(metric, x, v), len(many)
    own = accelerations(metric, x)
    assert_equal(own(x, v), truth, rtol=1e-9)
    assert len(many) - taken < len(x)  # fewer inverses than points
    g = torch.stack([metric(p) for p in x])
    assert_equal(own.squared_speed(x, v)[0], torch.einsum("pij,pi,pj->p", g, v, v), rtol=1e-12)


def test_geodesics_take_few_inverses(many):
    metric = Pullback(net(60))
    x, v = 0.3 * torch.randn(N, dtype=D64), 0.1 * torch.randn(N, dtype=D64)
    found, taken = rm.geodesic(metric, x, v, 0.5, rtol=1e-6), len(many)
    assert 0 < taken < 5
    truth = rm.geodesic(metric, x, v, 0.5, rtol=1e-6, acceleration=lambda x, v: rm.geodesic_acceleration(metric, x, v))
    assert_equal(found.points, truth.points, rtol=1e-8)
    assert found.drift < 1e-6


def test_derivatives_are_those_of_the_whole_matrix(many):
    decoder = net(30)
    x, v = 0.3 * torch.randn(2, 1, N, dtype=D64)
    metric = Pullback(decoder)
    x.requires_grad_()
    own = accelerations(metric, x)
    found, truth = (
        torch.autograd.grad(a.square().sum(), x)[0] for a in (own(x, v), rm.geodesic_acceleration(metric, x, v))
    )
    assert_equal(found, truth, rtol=1e-9)
    decoder[0].weight.requires_grad_()
    assert own(x.detach(), v).requires_grad


def test_of_less_than_full_rank_and_outside_the_map_there_are_none(many):
    few = net(5)
    x, v = 0.3 * torch.randn(2, N, dtype=D64)
    with pytest.raises(RuntimeError, match="t = 0"):
        rm.geodesic(Fisher(lambda x: D.Categorical(logits=few(x))), x, v, 1.0)
    edge = Pullback(lambda x: torch.cat((x, (0.5 - x[:1]).log())))
    points = torch.tensor([0.0, 1.0, 0.1], dtype=D64)[:, None] + torch.zeros(N, dtype=D64)
    assert accelerations(edge, points)(points, points + 1).isfinite().all(-1).tolist() == [True, False, True]


def test_where_directions_are_not_those_of_before_the_inverse_is_taken_anew(many):
    scales = torch.linspace(0, 1, N, dtype=D64)
    metric = Pullback(lambda x: torch.exp(scales * x.sum()) * torch.sinh(x))
    x = torch.tensor([[0.0], [0.3], [-0.3]], dtype=D64) + torch.zeros(N, dtype=D64)
    assert_equal(accelerations(metric, x)(x, x + 1), rm.geodesic_acceleration(metric, x, x + 1), rtol=1e-8)


def test_how_accelerations_of_fisher_metrics_change_asks_the_structure():
    logits = net(30)
    metric = Fisher(lambda x: D.Categorical(logits=logits(x)))
    x, v = 0.3 * torch.randn(2, 2, N, dtype=D64)
    generic = of_type.dispatch(object)(metric, x, v)
    for found, truth in zip(acceleration_derivatives(metric, x, v), generic, strict=True):
        assert_equal(found, truth, rtol=1e-8)


def test_what_products_tell_makes_the_next_equations_easy():
    Q = torch.linalg.qr(torch.randn(N, N, dtype=D64))[0]
    A = Q @ torch.diag(torch.linspace(1, 3, N, dtype=D64)) @ Q.mT
    products = []

    def product(a):
        products.append(1)
        return A @ a

    b = torch.randn(N, dtype=D64)
    first, M = wide.solved(product, torch.eye(N, dtype=D64), b)
    assert_equal(A @ first, b, rtol=1e-11)
    assert_equal(M, M.mT, rtol=1e-14)
    before = len(products)
    b = b + 1e-3 * torch.randn(N, dtype=D64)
    again, _ = wide.solved(product, M, b)
    assert len(products) - before < before
    assert_equal(A @ again, b, rtol=1e-11)
