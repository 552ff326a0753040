"""Curvature of given vectors without tensors, against the tensors; its memory."""

import subprocess
import sys

import pytest
import torch

import riemann as rm
from tests.cases import BY_NAME, CASES
from tests.helpers import assert_equal, random_metric, terms


@pytest.mark.parametrize("case", [c for c in CASES if c.dim > 1], ids=str)
def test_matrix_free_is_the_tensor(case, device):
    x = case.x(device=device)
    u, v, w = torch.randn(3, *x.shape, dtype=x.dtype).to(x)
    here = rm.at(case.metric, x)
    scale = 100 * terms(*here.jets)
    area = rm.formulas.squared_area(here.g, u, v)
    K = rm.sectional_curvature(case.metric, x, u, v)
    assert_equal(K * area, here.sectional_curvature(u, v) * area, scale=scale)
    image = rm.curvature_endomorphism(case.metric, x, u, v, w)
    assert_equal(image, here.curvature_endomorphism(u, v, w), scale=scale)
    assert_equal(rm.ricci_curvature(case.metric, x, v), here.ricci_curvature(v), scale=scale)


@pytest.mark.parametrize("signature", [0, 1, 2])
@pytest.mark.parametrize("n", [1, 2, 3, 6, 8])
def test_any_signature(n, signature):
    if signature > n:
        pytest.skip("no such signature")
    metric = random_metric(n, signature, seed=n)
    x, u, v, w = 0.3 * torch.randn(4, 5, n, dtype=torch.float64)
    here = rm.at(metric, x)
    assert_equal(rm.ricci_curvature(metric, x, v), here.ricci_curvature(v))
    assert_equal(rm.curvature_endomorphism(metric, x, u, v, w), here.curvature_endomorphism(u, v, w))


def many(x):
    """18 dimensions, of which one is time."""
    u, eta = torch.sin(x + x.roll(1)), torch.ones(18).index_fill(0, torch.tensor(0), -1.0)
    return torch.diag(eta * torch.exp(0.3 * x.roll(2))) + 0.1 * torch.outer(u, u)


def test_ricci_in_many_dimensions():
    """By rows backwards."""
    x, v = 0.2 * torch.randn(2, 18, dtype=torch.float64)
    x.requires_grad_()
    value, truth = rm.ricci_curvature(many, x, v), v @ rm.ricci_tensor(many, x) @ v
    assert_equal(value, truth)
    assert_equal(*(torch.autograd.grad(r, x)[0] for r in (value, truth)))
    of_all = torch.func.vmap(lambda x, v: rm.ricci_curvature(many, x, v))(x.detach().expand(2, 18), v.expand(2, 18))
    assert_equal(of_all, value.detach().expand(2))


def test_ricci_in_many_dimensions_is_nan_on_kinks():
    x = torch.zeros(2, 18, dtype=torch.float64)
    x[1, 0] = 1.0
    with pytest.warns(UserWarning, match=r"at point \[0\]"):
        value = rm.ricci_curvature(lambda x: many(x) * (1 + x[0].abs()), x, torch.ones_like(x))
    assert value.isnan().tolist() == [True, False]


def test_ricci_in_many_dimensions_says_where_digits_are_lost():
    """At a pole, also along what does not feel it."""
    sphere = lambda x: torch.diag(torch.cat([torch.ones(1), torch.sin(x[:1]) ** 2, torch.ones(16)]))
    x, v = torch.full((2, 18), 0.3, dtype=torch.float64), torch.eye(18, dtype=torch.float64)[0]
    x[1, 0] = 1e-10
    with pytest.warns(UserWarning, match=r"rounding leaves about . digits? of the curvature .* at point \[1\]"):
        value = rm.ricci_curvature(sphere, x, v)
    assert_equal(value[0], 1.0)


def test_vectors_broadcast_against_points():
    case = BY_NAME["ball"]
    x = case.x()[:, None]  # (2, 1, 3)
    u, v = torch.randn(2, 4, 3, dtype=torch.float64)
    assert_equal(rm.sectional_curvature(case.metric, x, u, v), -torch.ones(2, 4))
    assert rm.curvature_endomorphism(case.metric, x, u, v, u[0]).shape == (2, 4, 3)
    assert rm.ricci_curvature(case.metric, x, u).shape == (2, 4)


def test_64_dimensions_of_constant_curvature():
    metric = lambda x: 4 / (1 - x @ x) ** 2 * torch.eye(64)
    x, u, v = torch.randn(3, 2, 64, dtype=torch.float64) / 16
    assert_equal(rm.sectional_curvature(metric, x, u, v), -1.0)
    assert_equal(
        rm.ricci_curvature(metric, x, v, chunk_size=1) / 63, -torch.einsum("zi,zij,zj->z", v, rm.at(metric, x, 0).g, v)
    )


MEMORY = """
import resource, torch, riemann as rm
n = 400
net = torch.nn.Sequential(torch.nn.Linear(n, 8), torch.nn.Tanh(), torch.nn.Linear(8, n)).double()
metric = lambda x: torch.eye(n) + torch.outer(net(x), net(x))
x, u, v = torch.randn(3, n, dtype=torch.float64)
rm.at(metric, x, order=0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rm.sectional_curvature(metric, x, u, v)
rm.estimate_scalar_curvature(metric, x, 2, chunk_size=1)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (8 * n**2))
"""


def test_memory_is_a_few_matrices_not_a_cube():
    result = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 200  # matrices of n x n; a cube would be n = 400 of them, and dg alone is one


@pytest.mark.parametrize(
    "f",
    [
        lambda g, x: rm.sectional_form(g, x, x + 1, x),
        lambda g, x: rm.sectional_curvature(g, x, x + 1, 2 - x),
        lambda g, x: rm.estimate_scalar_curvature(g, x, 3).value,
    ],
    ids=["form", "curvature", "estimate"],
)
def test_a_point_without_metric_is_nan_and_said_once(f):
    with pytest.warns(UserWarning, match=r"singular: rank . of . at point \[0\]") as said:
        value = f(torch.diag, torch.tensor([[0.0, 1.0], [1.0, 3.0]], dtype=torch.float64))
    assert value.isnan().tolist() == [True, False] and len(said) == 1
