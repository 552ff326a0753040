"""Ricci and scalar curvature with second derivatives contracted block by block, against full jets."""

import subprocess
import sys

import pytest
import torch

import riemann as rm
from riemann._curvature import blocks as ricci_blocks
from tests.helpers import assert_equal, random_metric


@pytest.fixture(params=[(1, 1), (4 * 4**2 * 8, 1), (2**23, 8)], ids=["one pair", "some pairs", "all pairs"])
def blocks(request, monkeypatch):
    """Tiles also where n is small, of different numbers of pairs."""
    monkeypatch.setattr("riemann._curvature.tensors.FULL_JETS", 0)
    monkeypatch.setattr(ricci_blocks, "BYTES", request.param[0])
    monkeypatch.setattr(ricci_blocks, "LEAST", request.param[1])


@pytest.mark.parametrize("n, signature", [(n, s) for n in range(1, 9) for s in {0, n // 2}] + [(12, 1)])
def test_equals_full_jets(n, signature, blocks):
    metric, x = random_metric(n, signature, seed=n), 0.3 * torch.randn(3, n, dtype=torch.float64)
    here = rm.at(metric, x)
    assert_equal(rm.ricci_tensor(metric, x), here.ricci_tensor())
    assert_equal(rm.ricci_tensor(metric, x, "ul"), here.ricci_tensor("ul"))
    assert_equal(rm.scalar_curvature(metric, x), here.scalar_curvature())


@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (0,)])
@pytest.mark.parametrize("chunk_size", [None, 1, 2])
def test_batches(batch, chunk_size, blocks):
    metric, x = random_metric(4, 1, seed=0), 0.3 * torch.randn(*batch, 4, dtype=torch.float64)
    assert_equal(rm.ricci_tensor(metric, x, chunk_size=chunk_size), rm.at(metric, x).ricci_tensor())
    assert rm.scalar_curvature(metric, x, chunk_size=chunk_size).shape == batch


def test_gradients_and_transforms(blocks):
    base, x = random_metric(3, 1, seed=2), 0.3 * torch.randn(4, 3, dtype=torch.float64)
    c = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    metric = lambda y: base(y) + c * torch.outer(torch.sin(y), torch.sin(y))
    x.requires_grad_()
    losses = [rm.scalar_curvature(metric, x), rm.at(metric, x).scalar_curvature()]
    firsts = [torch.autograd.grad(loss.square().sum(), (x, c), create_graph=True) for loss in losses]
    for value, truth in zip(*firsts, strict=True):
        assert_equal(value, truth)
    seconds = [torch.autograd.grad(first[0].square().sum(), (x, c)) for first in firsts]
    for value, truth in zip(*seconds, strict=True):
        assert_equal(value, truth)
    scalar = lambda p: rm.scalar_curvature(metric, p)
    p = x.detach()
    assert_equal(torch.func.vmap(scalar)(p), losses[0])
    assert_equal(torch.func.vmap(torch.func.jacfwd(scalar))(p), torch.func.vmap(torch.func.grad(scalar))(p))


def test_a_point_without_metric_is_nan(blocks):
    with pytest.warns(UserWarning, match="singular: rank . of . at point"):
        S = rm.scalar_curvature(torch.diag, torch.tensor([[0.0, 1.0], [1.0, 2.0]]))
    assert S.isnan().tolist() == [True, False]


def test_large_n_takes_blocks():
    n = 20
    metric = lambda x: 4 / (1 + x @ x) ** 2 * torch.eye(n)
    x = 0.1 * torch.randn(2, n, dtype=torch.float64)
    assert_equal(rm.scalar_curvature(metric, x), n * (n - 1))
    assert_equal(rm.ricci_tensor(metric, x), (n - 1) * rm.at(metric, x, 0).g)


def test_a_fault_of_the_first_derivatives_is_seen(blocks):
    """g is symmetric here, and not around: as without blocks."""
    metric = lambda x: torch.eye(2) + torch.stack([torch.stack([0 * x[0], x[0] * x[1]]), 0 * x])
    with pytest.warns(UserWarning, match=r"not symmetric at point \[1\]") as said:
        S = rm.scalar_curvature(metric, torch.tensor([[0.0, 0.0], [0.0, 1.0]]), chunk_size=1)
    assert S.isnan().tolist() == [False, True] and len(said) == 1


@pytest.mark.unshaped
def test_a_long_time_is_announced_with_what_is_faster(blocks, monkeypatch):
    monkeypatch.setattr(ricci_blocks, "LONG", 0.0)
    monkeypatch.setattr(ricci_blocks, "TRIED", 0.0)
    factor = lambda x: torch.linalg.matrix_exp(torch.outer(x, x.flip(0)))
    metric, x = lambda x: factor(x) @ factor(x).mT, 0.3 * torch.randn(3, 4, dtype=torch.float64)
    with pytest.warns(
        UserWarning, match=r"in 4 dimensions takes about .* minutes.*`estimate_scalar_curvature`"
    ) as said:
        S = rm.scalar_curvature(metric, x)
    assert len(said) == 1
    assert_equal(S, rm.at(metric, x).scalar_curvature())
    with pytest.warns(UserWarning, match=r"`Conformal`: `riemann.structured\(metric, 4\)`"):
        rm.ricci_tensor(lambda x: 4 / (1 + x @ x) ** 2 * torch.eye(4), x)


@pytest.mark.parametrize("function", [rm.at, rm.riemann_tensor, rm.kretschmann_scalar])
def test_more_numbers_than_memory_holds_are_an_error(function):
    metric = lambda x: torch.eye(2048, dtype=x.dtype) * torch.exp(x @ x)
    with pytest.raises(MemoryError, match=r"in 2048 dimensions needs n\*\*4 numbers at one point, 131072 GiB"):
        function(metric, torch.zeros(2048, dtype=torch.float64))


@pytest.mark.slow
def test_many_dimensions_take_little_memory():
    """A process keeps tiles of n² numbers and the first derivatives, not n⁴ = 2 GB."""
    script = """
import resource, torch, riemann as rm
n = 128
W, V = torch.randn(2, 16, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / n
def metric(x):
    U = torch.tanh(W @ x)[:, None] * V
    return torch.eye(n) + U.T @ U + torch.outer(x, x) / n
x = torch.ones(1, n, dtype=torch.float64) / n
S = rm.scalar_curvature(metric, x)
print(float(S), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    S, peak = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert abs(float(S) - (128 - 1)) < 0.1  # near the vertex of a paraboloid, whose principal curvatures are n**-0.5
    assert int(peak) < 1_500_000
