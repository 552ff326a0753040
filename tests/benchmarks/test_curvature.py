"""What curvature costs, closed forms beside the generic route in one run: `make bench`."""

import pytest
import torch

import riemann as rm
from riemann import metrics
from riemann_nn import MLPCholesky
from tests.cases import kerr

CASES = [(2, 1024), (16, 16), (32, 2), (64, 1)]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("n, points", CASES, ids=str)
@pytest.mark.parametrize("route", ["closed form", "generic"])
def test_scalar_curvature_of_a_network_metric(benchmark, n, points, route):
    benchmark.group = f"scalar curvature, network metric, n = {n}, {points} points"
    net, x = MLPCholesky(n).double(), 0.5 * torch.randn(points, n, dtype=torch.float64)
    metric = net if route == "closed form" else lambda p: net(p)
    torch.testing.assert_close(rm.scalar_curvature(metric, x), rm.scalar_curvature(net, x), rtol=1e-8, atol=1e-8)
    benchmark(rm.scalar_curvature, metric, x)


@pytest.mark.parametrize("route", ["Gauss", "generic"])
def test_scalar_curvature_of_a_decoder(benchmark, route):
    benchmark.group = "scalar curvature, pull-back by a decoder R^8 -> R^784, 16 points"
    layers = (torch.nn.Linear(8, 64), torch.nn.Tanh(), torch.nn.Linear(64, 784))
    pullback = metrics.Pullback(torch.nn.Sequential(*layers).double())
    metric = pullback if route == "Gauss" else lambda p: pullback(p)
    x = torch.randn(16, 8, dtype=torch.float64)
    torch.testing.assert_close(rm.scalar_curvature(metric, x), rm.scalar_curvature(pullback, x), rtol=1e-9, atol=1e-9)
    benchmark.pedantic(rm.scalar_curvature, (metric, x), rounds=5, warmup_rounds=1)


def test_riemann_tensor_of_kerr(benchmark):
    benchmark.group = "Riemann tensor, Kerr as plain torch code, 10,000 points"
    x = torch.tensor([0.0, 3.0, 0.3, 0.0], dtype=torch.float64) + torch.rand(10_000, 4, dtype=torch.float64)
    benchmark.pedantic(rm.riemann_tensor, (kerr, x), rounds=5, warmup_rounds=1)
