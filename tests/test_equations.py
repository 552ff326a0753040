"""What the examples on equations and claims rest on: gauge, boundary data, curvature in charts, terms of Ricci."""

import math
import runpy
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import riemann as rm
from riemann.metrics import Pullback

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def einstein():
    return runpy.run_path(str(EXAMPLES / "einstein.py"))


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("n", [2, 4])
def test_straight_lines_from_the_origin_are_geodesics_of_normal_coordinates(einstein, n):
    metric = einstein["NormalCoordinates"](n, 5, torch.linspace(-1, 1, n * (n - 1) // 2)).requires_grad_(False)
    v = torch.randn(6, n)
    points = rm.geodesic(metric, torch.zeros(6, n), v, torch.linspace(0, 0.5, 3), rtol=1e-9).points
    assert_close(points[-1], v / 2, rtol=1e-7, atol=1e-7)


def test_curvatures_at_the_origin_of_normal_coordinates(einstein):
    curvatures = torch.tensor([1.5, -0.4, 0.0])  # of the planes 01, 02, 12
    metric = einstein["NormalCoordinates"](3, 4, curvatures)
    with torch.no_grad():
        metric.net[-1].weight.zero_()
    u, v = torch.eye(3)[[0, 0, 1]], torch.eye(3)[[1, 2, 2]]
    assert_close(rm.sectional_curvature(metric, torch.zeros(3, 3), u, v), curvatures)


@pytest.mark.parametrize(("n", "kappa", "radius"), [(4, 1.0, math.pi / 2), (3, -1.0, 1.5), (2, 0.25, 1.0)])
def test_balls_of_constant_curvature_solve_the_problem(einstein, n, kappa, radius):
    def exact(x):
        r, root = x.norm(), math.sqrt(abs(kappa))
        ratio = (torch.sin(root * r) if kappa > 0 else torch.sinh(root * r)) / (root * r)
        radial = torch.outer(x, x) / r**2
        return radial + ratio**2 * (torch.eye(n) - radial)

    problem = einstein["Ball"](n, kappa, radius, 20, torch.Generator().manual_seed(0))
    r = einstein["residuals"](exact, problem.pieces)
    assert_close(r, torch.zeros_like(r), rtol=0.0, atol=1e-9)
    assert max(problem.checks(exact, problem.pieces[0][1]).values()) < 1e-6


def test_schwarzschild_solves_the_problem(einstein):
    def exact(x):
        f, r = 1 - 2 / x[1], x[1]
        return torch.diag(torch.stack([-f, 1 / f, r**2, (r * torch.sin(x[2])) ** 2]))

    problem = einstein["Schwarzschild"](20, torch.Generator().manual_seed(0))
    r = einstein["residuals"](exact, problem.pieces)
    assert_close(r, torch.zeros_like(r), rtol=0.0, atol=1e-12)
    checks = problem.checks(exact, problem.pieces[0][1])
    assert checks["Kretschmann's scalar, relative"] < 1e-9
    assert checks["mass, least"] == pytest.approx(1.0) == checks["mass, largest"]


def test_jacobian_of_residuals(einstein):
    torch.manual_seed(0)
    problem = einstein["Ball"](3, -1.0, 1.5, 8, torch.Generator().manual_seed(0))
    net = problem.start(4)
    J, direction = einstein["jacobian"](net, problem.pieces), torch.randn(sum(p.numel() for p in net.parameters()))
    theta, sides = torch.nn.utils.parameters_to_vector(net.parameters()).detach(), []
    for h in (1e-5, -1e-5):
        torch.nn.utils.vector_to_parameters(theta + h * direction, net.parameters())
        sides.append(einstein["residuals"](net, problem.pieces).detach())
    assert_close(J @ direction, (sides[0] - sides[1]) / 2e-5, rtol=1e-6, atol=1e-6)


def test_curvature_on_the_sphere_and_its_integral():
    flow = runpy.run_path(str(EXAMPLES / "ricci_flow.py"))
    p, w = flow["nodes"](24)
    K = flow["curvature"](lambda q: 0.3 + 0.0 * q[..., 0], p)
    assert_close(K, torch.full_like(K, math.exp(-0.6)))
    total = (w * torch.exp(2 * flow["start"](p)) * flow["curvature"](flow["start"], p)).sum()
    assert_close(total, torch.tensor(4 * math.pi), rtol=1e-8, atol=0.0)


def test_the_volume_term_of_ricci_is_minus_a_hessian():
    claims = runpy.run_path(str(EXAMPLES / "claims.py"))
    metric, z = Pullback(claims["new_surface"]), torch.randn(4, 3)
    hessian = rm.hessian(metric, lambda y: rm.log_volume_element(metric, y))(z)
    assert_close(claims["volume_term"](metric, z), -hessian)
    assert_close(claims["rest"](metric, z) - hessian, rm.ricci_tensor(metric, z))
