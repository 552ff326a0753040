"""The largest eigenvalues of a metric: against those of the whole matrix, of equal ones and of degenerate metrics."""

import pytest
import torch
from torch import distributions as D

import riemann as rm
from riemann.metrics import Constant, Fisher, Pullback
from riemann.metrics import _eigenpairs as krylov
from tests.helpers import assert_equal

D64 = torch.float64
N = 40


@pytest.fixture
def many(monkeypatch):
    """Forty dimensions are many, and no basis holds them all."""
    monkeypatch.setattr(krylov, "DENSE", 8)
    monkeypatch.setattr(krylov, "BLOCKS", 3)
    monkeypatch.setattr(krylov, "RESTARTS", 60)


def net(m):
    layers = torch.nn.Linear(N, 16), torch.nn.Tanh(), torch.nn.Linear(16, m)
    return torch.nn.Sequential(*layers).double().requires_grad_(False)


def metrics():
    logits, decoder = net(12), net(60)
    signs = torch.where(torch.arange(60) == 0, -20.0, 1.0).to(D64)
    rows = torch.stack([torch.linspace(0.5, 3, N, dtype=D64), *torch.eye(N, dtype=D64)])
    yield "classifier", Fisher(lambda x: D.Categorical(logits=logits(x))), 5
    yield "decoder", Pullback(decoder), 4
    yield "indefinite", Pullback(lambda x: rows @ torch.sinh(x), Constant(torch.diag(signs[: N + 1]))), 3
    yield "curved space", Pullback(lambda x: 1.5 + 0.3 * rows @ x.sin(), lambda y: torch.diag(y**2)), 3
    yield "copies", Fisher(lambda x: D.Normal(logits(x)[:6], 0.1 + logits(x)[6:] ** 2)), 3
    yield "of no structure", lambda x: torch.diag(1 + x**2) + torch.outer(x, x), 3


@pytest.mark.parametrize(("name", "metric", "k"), list(metrics()), ids=lambda a: a if isinstance(a, str) else "")
def test_are_those_of_the_whole_matrix(name, metric, k, many):
    x = torch.randn(2, 1, N, dtype=D64)
    found = rm.metric_eigenpairs(metric, x, k)
    g = torch.stack([metric(p) for p in x[:, 0]]).detach()[:, None]
    truth = torch.linalg.eigvalsh(g)
    truth = truth.gather(-1, truth.abs().argsort(-1, descending=True)[..., :k])
    assert found.values.shape == found.residuals.shape == (2, 1, k) and found.vectors.shape == (2, 1, N, k)
    assert_equal(found.values, truth, rtol=1e-9)
    wrong = g @ found.vectors - found.vectors * found.values.unsqueeze(-2)
    assert wrong.abs().max() <= 1e-8 * truth.abs().max()
    assert_equal(found.vectors.mT @ found.vectors, torch.eye(k, dtype=D64).expand(2, 1, k, k), rtol=1e-9)


def test_equal_eigenvalues_are_all_found(many):
    sizes = torch.tensor([3.0] * 3 + [2.0] * 4 + [1.0] * (N - 7), dtype=D64)
    left, right = (torch.linalg.qr(torch.randn(50, N, dtype=D64))[0] for _ in range(2))
    A = left * sizes.sqrt() @ torch.linalg.qr(right[:N])[0].mT
    assert_equal(rm.metric_eigenpairs(Pullback(lambda x: A @ x), torch.ones(N, dtype=D64), 6).values, sizes[:6])


def test_degenerate_directions_are_said(many):
    """Three classes have two directions, in each of which answers change."""
    logits = net(3)
    metric = Fisher(lambda x: D.Categorical(logits=logits(x)))
    with pytest.warns(UserWarning, match="`metric` has rank 2: of 5 eigenvalues asked for, 3 are 0 to rounding"):
        found = rm.metric_eigenpairs(metric, torch.ones(N, dtype=D64), 5)
    p = torch.softmax(logits(torch.ones(N, dtype=D64)), -1)
    J = torch.func.jacrev(logits)(torch.ones(N, dtype=D64))
    truth = torch.linalg.eigvalsh(J.mT @ (torch.diag(p) - torch.outer(p, p)) @ J)
    assert_equal(found.values[:2], truth.flip(-1)[:2], rtol=1e-9)


def test_what_is_not_known_well_is_said(many, monkeypatch):
    monkeypatch.setattr(krylov, "RESTARTS", 1)
    A = torch.diag(torch.linspace(1, 1.01, N, dtype=D64))
    with pytest.warns(UserWarning, match="known coarsely only"):
        found = rm.metric_eigenpairs(Pullback(lambda x: A @ x), torch.ones(N, dtype=D64), 2)
    assert (found.residuals > 1e-8).any()


def test_a_point_without_a_metric_is_nan(many):
    metric = Pullback(lambda x: torch.cat([x.log(), x]))
    x = torch.stack([torch.ones(N, dtype=D64), -torch.ones(N, dtype=D64)])
    found = rm.metric_eigenpairs(metric, x, 2)
    assert_equal(found.values[0], torch.full((2,), 2.0, dtype=D64))
    assert found.values[1].isnan().all() and found.vectors[1].isnan().all()
    flat = rm.metric_eigenpairs(lambda x: torch.diag((3 * x).log()), x[:, :3], 2)
    assert flat.values[0].gt(1).all() and flat.values[1].isnan().all()


@pytest.mark.unshaped
def test_messages():
    x = torch.ones(3, dtype=D64)
    for k, words in ((4, "`k` is 4, and g has 3 eigenvalues"), (0, "`k` is 0"), (2.0, "`k` is 2.0")):
        with pytest.raises(ValueError, match=words):
            rm.metric_eigenpairs(torch.diag, x, k)
    with pytest.raises(TypeError, match="torch.as_tensor"):
        rm.metric_eigenpairs(torch.diag, [1.0], 1)
