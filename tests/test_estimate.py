"""Estimates are unbiased, with honest errors, in any signature; exact where the curvature is constant."""

import pytest
import torch

import riemann as rm
from riemann_nn import Bounded, MLPCholesky
from tests.cases import BY_NAME
from tests.helpers import assert_equal, random_metric


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("n, signature", [(4, 0), (4, 1), (4, 2), (3, 3)])
def test_unbiased_within_four_standard_errors(n, signature):
    metric = random_metric(n, signature, seed=5)
    x, v = 0.3 * torch.randn(2, 3, n, dtype=torch.float64)
    S = rm.estimate_scalar_curvature(metric, x, 3000, generator())
    assert ((S.value - rm.scalar_curvature(metric, x)).abs() < 4 * S.standard_error).all()
    assert (S.standard_error < S.value.abs().max()).all() and (S.standard_error > 0).all()
    ricci = rm.estimate_ricci_curvature(metric, x, v, 3000, generator())
    assert ((ricci.value - rm.ricci_curvature(metric, x, v)).abs() < 4 * ricci.standard_error).all()


@pytest.mark.parametrize("name, S", [("ball", -6), ("half plane", -2), ("sphere 4, stereographic", 12)])
def test_one_sample_is_exact_where_curvature_is_constant(name, S):
    case = BY_NAME[name]
    estimate = rm.estimate_scalar_curvature(case.metric, case.x(), 1)
    assert_equal(estimate.value, float(S))
    assert estimate.standard_error.isnan().all()


def test_one_sample_is_exact_in_de_sitter_and_on_any_surface():
    de_sitter = lambda x: torch.diag(torch.cat([-torch.ones(1), torch.exp(2 * x[0]).expand(3)]))
    x = torch.randn(5, 4, dtype=torch.float64)
    assert_equal(rm.estimate_scalar_curvature(de_sitter, x, 1).value, 12.0)
    surface = BY_NAME["graph"]
    exact = rm.scalar_curvature(surface.metric, surface.x())
    assert_equal(rm.estimate_scalar_curvature(surface.metric, surface.x(), 1).value, exact)


def test_curves_have_none():
    case = BY_NAME["curve"]
    assert rm.estimate_scalar_curvature(case.metric, case.x(), 2).value.abs().max() == 0


def test_the_generator_decides():
    metric, x = random_metric(4, 1, seed=5), torch.zeros(2, 4, dtype=torch.float64)
    values = [rm.estimate_scalar_curvature(metric, x, 5, generator(s)).value for s in (0, 0, 1)]
    assert torch.equal(values[0], values[1]) and not torch.equal(values[0], values[2])
    assert_equal(rm.estimate_scalar_curvature(metric, x, 5, generator(0), chunk_size=2).value, values[0])


@pytest.mark.parametrize("signature", [0, 1])
def test_gradients_are_unbiased_too(signature):
    base = random_metric(3, signature, seed=2)
    x = torch.full((3,), 0.1, dtype=torch.float64)
    c = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    metric = lambda y: base(y) + c * torch.outer(torch.sin(y), torch.sin(y)) + c**2 * torch.eye(3)
    (truth,) = torch.autograd.grad(rm.scalar_curvature(metric, x), c)
    gradients = []
    for seed in range(200):
        estimate = rm.estimate_scalar_curvature(metric, x, 5, generator(seed))
        gradients.append(torch.autograd.grad(estimate.value, c)[0])
    gradients = torch.stack(gradients)
    assert (gradients.mean() - truth).abs() < 4 * gradients.std() / len(gradients) ** 0.5


def network_metric(n):
    generator = torch.Generator().manual_seed(0)
    layer = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64) / shape[-1] ** 0.5
    weights = [(layer(16, n), layer(16)), (layer(n * (n + 1) // 2, 16), layer(n * (n + 1) // 2))]
    return MLPCholesky.from_weights(weights, off_diagonal=Bounded(1 / n))


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("n, metric, repeats, samples", [
    (4, random_metric(4, 1, seed=5), 500, 200), (16, network_metric(16), 400, 100), (32, network_metric(32), 400, 50)
])  # fmt: skip
def test_coverage_of_the_standard_error(n, metric, repeats, samples):
    """95% intervals hold the truth 92 to 98% of the time."""
    x, v = torch.full((repeats, n), 0.1, dtype=torch.float64), torch.ones(n, dtype=torch.float64)
    S = rm.estimate_scalar_curvature(metric, x, samples, generator())
    ricci = rm.estimate_ricci_curvature(metric, x, v, samples, generator())
    for estimate, truth in ((S, rm.scalar_curvature(metric, x[0])), (ricci, rm.ricci_curvature(metric, x[0], v))):
        inside = ((estimate.value - truth).abs() < 1.96 * estimate.standard_error).double().mean()
        assert 0.92 <= inside <= 0.98
