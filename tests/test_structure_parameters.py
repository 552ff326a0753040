"""Parameters of what `structure` finds: they stay those of the metric, in parts of parts, too; and terms far away."""

import pytest
import torch
from torch.func import jacfwd, vmap
from torch.nn import functional as F

import riemann as rm
from tests.helpers import assert_equal

P = torch.nn.Parameter(torch.tensor([1.3, 0.7], dtype=torch.float64))
W = torch.randn(5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
STACKED = torch.nn.Parameter(torch.stack([W, W.flip(0), W.cos()]))
X = torch.tensor([0.3, -0.4, 0.5], dtype=torch.float64)


def square(o):
    L = torch.diag(F.softplus(o[:3])) + torch.zeros(3, 3, dtype=o.dtype).index_put(
        (torch.tensor([1, 2, 2]), torch.tensor([0, 0, 1])), o[3:]
    )
    return L @ L.mT


def warped(x):
    f = torch.exp(P[0] * x[0])
    return torch.diag(torch.stack([1 + 0 * x[0], f, f * (1 + P[1] ** 2 * x[1] ** 2)]))


def product(x):
    return torch.block_diag(
        (1 + P[0] ** 2 * x[:1] ** 2)[None], torch.eye(2, dtype=x.dtype) * torch.exp(P[1] * x[1] * x[2])
    )


def with_ambient(x):
    f = lambda y: torch.tanh(W @ y)
    J = jacfwd(f)(x)
    return J.mT @ torch.diag(torch.exp(P[0] * f(x))) @ J


def ensemble(x):
    h = torch.tanh(vmap(lambda w: w @ x)(STACKED).sum(0))
    return square(torch.cat([h, h[:1] * 0.5]))


@pytest.mark.parametrize("metric", [warped, product, with_ambient, ensemble], ids=lambda f: f.__name__)
def test_parameters_of_parts_are_those_of_the_metric(metric):
    own = [STACKED] if metric is ensemble else [P]
    same = rm.structured(metric, 3)
    gradients = [torch.autograd.grad(g(X).square().sum(), own)[0] for g in (same, metric)]
    assert_equal(*gradients)
    before = own[0].detach().clone()
    with torch.no_grad():
        own[0].mul_(1.5)
        assert_equal(same(X), metric(X))
        own[0].copy_(before)


def test_softplus_has_a_threshold():
    metric = lambda x: square(torch.cat([W, W[:1]]) @ W.mT @ F.softplus(W @ x, threshold=2.0) * 0.1)
    assert_equal(rm.structured(metric, 3)(8 * X), metric(8 * X))


@pytest.mark.parametrize(
    "far", [lambda x: torch.exp(x[0] - 50), lambda x: torch.sigmoid(3 * x[0] - 60)], ids=["exp", "sigmoid"]
)
def test_terms_that_are_large_far_away_only(far):
    def metric(x):
        J = jacfwd(lambda y: torch.tanh(W @ y) + (W @ y) ** 2)(x)
        return J.mT @ J * (1 + far(x))

    x = X + torch.tensor([60.0, 0.0, 0.0], dtype=torch.float64)
    assert_equal(rm.structured(metric, 3)(x), metric(x))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_gradients_of_curvature_to_parameters_in_torchscript():
    net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4)).double()
    written = torch.jit.script(net)
    square = lambda f: lambda x: f(x).reshape(2, 2) @ f(x).reshape(2, 2).mT + torch.eye(2, dtype=x.dtype)
    gradients = []
    for f in (written, net):
        S = rm.scalar_curvature(square(f), X[:2])
        gradients.append(torch.autograd.grad(S, list(f.parameters())))
    for ours, theirs in zip(*gradients, strict=True):
        assert_equal(ours, theirs)
