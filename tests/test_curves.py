"""Geodesics, logarithms, transport and Jacobi fields against closed forms, constants of motion and differences."""

import math

import numpy as np
import pytest
import sympy as sp
import torch
from torch.testing import assert_close

import riemann as rm
from riemann import Status, spaces
from tests.helpers import random_metric

f64 = torch.float64


def tensor(*values):
    return torch.tensor(values, dtype=f64)


def sphere(x):
    return torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))


def half_plane(x):
    return torch.eye(2, dtype=x.dtype, device=x.device) / x[1] ** 2


kerr, schwarzschild = spaces.kerr(1, 0.6), spaces.schwarzschild(1)  # exact accelerations: cheap


def embedded(x):
    """Points of the sphere in space."""
    theta, phi = x.unbind(-1)
    return torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1)


def pushed(x, v):
    """Vectors at points of the sphere, in space."""
    return torch.func.vmap(lambda x, v: torch.func.jvp(embedded, (x,), (v,))[1])(x, v)


def squared(metric, x, v):
    """g(v, v) at points `(*batch, n)`."""
    return torch.einsum("...ij,...i,...j->...", rm.at(metric, x, 0).g, v, v)


def unit(metric, x, v):
    return v / squared(metric, x, v).abs().sqrt().unsqueeze(-1)


def orbits(k, metric=kerr):
    """Bound orbits of massive bodies around r = 12, of unit proper time."""
    r, theta, up, out, round = torch.rand(5, k, dtype=f64) - 0.5
    x = torch.stack([0 * r, 12 + 4 * r, 1.4 + 0.4 * theta, 0 * r], -1)
    scale = x[:, 1] ** -1.5
    v = torch.stack([0 * r, 0.02 * out, 0.3 * up * scale, (1.2 + 0.1 * round) * scale], -1)
    return x, timelike(metric, x, v)


def timelike(metric, x, v, norm=-1.0):
    """v with the component 0 that makes g(v, v) = norm, to the future."""
    g = rm.at(metric, x, 0).g
    v = torch.cat([torch.zeros_like(v[..., :1]), v[..., 1:]], -1)
    a, b = g[..., 0, 0], 2 * torch.einsum("...i,...i->...", g[..., 0, :], v)
    c = torch.einsum("...ij,...i,...j->...", g, v, v) - norm
    return torch.cat([((-b - (b**2 - 4 * a * c).sqrt()) / (2 * a)).unsqueeze(-1), v[..., 1:]], -1)


class Net(torch.nn.Module):
    """A learned metric of n dimensions: L L^T + I of a small network."""

    def __init__(self, n, hidden=8, size=0.3):
        super().__init__()
        self.n, self.size = n, size
        self.net = torch.nn.Sequential(torch.nn.Linear(n, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, n * n)).to(
            f64
        )

    def forward(self, x):
        L = self.size * self.net(x).reshape(self.n, self.n)
        return L @ L.mT + torch.eye(self.n, dtype=x.dtype)


# ------------------------------------------------------------------------------------------------------- geodesics


def test_great_circles():
    x, t = (
        torch.stack([0.9 + 1.2 * torch.rand(5, dtype=f64), torch.rand(5, dtype=f64)], -1),
        torch.linspace(0, 7, 7, dtype=f64),
    )
    v = unit(sphere, x, torch.randn(5, 2, dtype=f64))
    path = rm.geodesic(sphere, x, v, t)
    c, s = t.cos()[:, None, None], t.sin()[:, None, None]
    assert path.points.shape == path.velocities.shape == (7, 5, 2) and path.status.shape == (5,)
    assert_close(embedded(path.points), c * embedded(x) + s * pushed(x, v), rtol=0, atol=2e-9)
    assert_close(squared(sphere, path.points, path.velocities), torch.ones(7, 5, dtype=f64), rtol=0, atol=1e-9)
    assert path.message == "every geodesic reached its end" and bool((path.drift < 1e-9).all())


def test_parameters_of_any_sign_and_order():
    x, v = tensor(1.0, 0.2), tensor(0.3, 0.8)
    t = tensor(0.5, -1.0, 0.0, 2.0, -0.3, 0.5)
    whole = rm.geodesic(sphere, x, v, t)
    each = torch.stack([rm.exp_map(sphere, x, s * v) for s in t])
    assert_close(whole.points, each, rtol=0, atol=1e-9)
    assert_close(whole.velocities[2], v)


def test_orbits_of_kerr_keep_their_constants():
    x, v = orbits(6)
    path = rm.geodesic(kerr, x, v, tensor(60.0, 250.0))

    def constants(x, v, a=0.6):
        p = torch.einsum("...ij,...j->...i", rm.at(kerr, x, 0).g, v)
        E, L, theta = -p[..., 0], p[..., 3], x[..., 2]
        Q = p[..., 2] ** 2 + theta.cos() ** 2 * (a**2 * (1 - E**2) + L**2 / theta.sin() ** 2)
        return torch.stack([E, L, Q, squared(kerr, x, v) / 100], -1)  # the norm to 1e-9

    assert path.points[-1, :, 3].min() > 4  # most of a turn
    assert_close(constants(path.points, path.velocities), constants(x, v).expand(2, -1, -1), rtol=0, atol=1e-8)
    assert_close(squared(kerr, path.points, path.velocities), -torch.ones(2, 6, dtype=f64), rtol=0, atol=1e-9)


def test_a_plunging_orbit_disturbs_no_other():
    x, v = orbits(5, schwarzschild)
    t = tensor(10.0, 40.0)
    calm = rm.geodesic(schwarzschild, x, v, t)
    v = torch.cat([v[:2], timelike(schwarzschild, x[2:3], tensor([0.0, -1.0, 0.0, 0.0])), v[3:]])
    path = rm.geodesic(schwarzschild, x, v, t, throw=False)
    assert path.status.tolist() == [0, 0, Status.SINGULAR, 0, 0]
    others = [0, 1, 3, 4]
    assert_close(path.points[:, others], calm.points[:, others], rtol=0, atol=1e-12)
    assert bool(path.points[-1, 2].isnan().all()) and 5 < path.reached[2] < 20
    near = rm.geodesic(schwarzschild, x[2], v[2], path.reached[2:3] - 1e-6).points[0, 1]
    assert abs(near - 2) < 1e-5  # the horizon
    assert "[2] of the batch stops at t = " in path.message and "horizon" in path.message
    with pytest.raises(RuntimeError, match="singularity of the coordinates.*throw=False"):
        rm.geodesic(schwarzschild, x[2], v[2], t)


def test_light_bends_by_four_masses_over_the_impact_parameter():
    b = tensor(400.0, 800.0)
    start = torch.stack([0 * b, 1e6 + 0 * b, 0 * b + math.pi / 2, 0 * b], -1)
    v = timelike(schwarzschild, start, torch.stack([0 * b, -(1 - b**2 / 1e12).sqrt(), 0 * b, b / 1e12], -1), 0.0)
    end = rm.geodesic(schwarzschild, start, v, tensor(2e6), rtol=1e-12).points[0]
    asymptotes = torch.asin(b / start[:, 1]) + torch.asin(b / end[:, 1])  # a straight line turns by π without these
    deflection = end[:, 3] + asymptotes - math.pi
    series = 4 / b + 15 * math.pi / 4 / b**2 + 128 / 3 / b**3
    assert_close(deflection, series, rtol=1e-4, atol=0)
    assert bool(((deflection - 4 / b).abs() > 10 * (deflection - series).abs()).all())


def test_the_perihelion_advances():
    p, e = 2000.0, 0.2  # semi-latus rectum and eccentricity
    L = (p / (1 - (3 + e**2) / p)) ** 0.5
    near = p / (1 + e)
    x = tensor(0.0, near, math.pi / 2, 0.0)
    v = timelike(schwarzschild, x, tensor(0.0, 0.0, 0.0, L / near**2))
    period = 2 * math.pi * (p / (1 - e**2)) ** 1.5
    t = torch.linspace(0.99, 1.03, 5, dtype=f64) * period
    path = rm.geodesic(schwarzschild, x, v, t, rtol=1e-12)
    low, high = 0, 4  # by bisection: where the radial velocity vanishes again
    assert path.velocities[low, 1] < 0 < path.velocities[high, 1]
    a, b = t[low], t[high]
    for _ in range(4):  # regula falsi, then it is linear
        va, vb = rm.geodesic(schwarzschild, x, v, torch.stack([a, b]), rtol=1e-12).velocities[:, 1]
        c = b - vb * (b - a) / (vb - va)
        a, b = b, c
    turn = rm.geodesic(schwarzschild, x, v, b[None], rtol=1e-12).points[0, 3]
    series = 6 * math.pi / p + 3 * math.pi * (18 + e**2) / (2 * p**2)
    assert_close(turn - 2 * math.pi, torch.tensor(series, dtype=f64), rtol=1e-4, atol=0)


def test_accelerations_agree_on_every_route():
    n = 5
    metric, x, v = Net(n), torch.randn(3, n, dtype=f64), torch.randn(3, n, dtype=f64)
    truth = -torch.einsum("...kij,...i,...j->...k", rm.christoffel(metric, x), v, v)
    assert_close(rm.geodesic_acceleration(metric, x, v), truth)
    pulled = rm.metrics.Pullback(lambda x: torch.cat([x, x.sin(), x[:1] * x[1:2]]))
    plain = -torch.einsum("...kij,...i,...j->...k", rm.christoffel(pulled, x), v, v)
    assert rm.christoffel_vector.route(pulled) != "generic"
    assert_close(rm.geodesic_acceleration(pulled, x, v), plain)
    x, v = orbits(3)
    generic = rm.geodesic_acceleration.__wrapped__(kerr, x, v)
    assert rm.geodesic_acceleration.route(kerr) != "generic"
    assert_close(rm.geodesic_acceleration(kerr, x, v), generic)
    wide = Net(20, size=0.1)
    x, v = torch.randn(2, 2, 20, dtype=f64)
    truth = -torch.einsum("...kij,...i,...j->...k", rm.christoffel(wide, x), v, v)
    assert_close(rm.geodesic_acceleration(wide, x, v), truth)


def test_an_acceleration_may_be_given_and_is_judged():
    x, v = tensor(1.0, 0.2), tensor(0.3, 0.8)

    def by_hand(x, v):
        theta, (dtheta, dphi) = x[:, 0], v.unbind(-1)
        return torch.stack([theta.sin() * theta.cos() * dphi**2, -2 * dtheta * dphi / theta.tan()], -1)

    assert_close(rm.exp_map(sphere, x, v, acceleration=by_hand), rm.exp_map(sphere, x, v), rtol=0, atol=1e-9)
    wrong = rm.geodesic(sphere, x, v, tensor(1.0), acceleration=lambda x, v: 1.01 * by_hand(x, v), throw=False)
    assert wrong.status == Status.DRIFT and "`acceleration` is not that of the metric" in wrong.message


def test_a_learned_metric_of_256_dimensions():
    n = 256
    metric = Net(n, hidden=4, size=0.05)
    x, v = 0.1 * torch.randn(2, n, dtype=f64)
    path = rm.geodesic(metric, x, v, tensor(1.0), rtol=1e-6)
    assert path.status == 0 and path.drift < 1e-7


def test_single_precision():
    x, v = torch.tensor([1.0, 0.2]), torch.tensor([0.3, 0.8])
    path = rm.geodesic(sphere, x, v, torch.tensor([1.0]))
    assert path.points.dtype == path.drift.dtype == torch.float32
    assert_close(path.points[0].double(), rm.exp_map(sphere, x.double(), v.double()), rtol=0, atol=1e-4)


def test_a_fall_through_a_horizon():
    hole = spaces.schwarzschild(chart="eddington_finkelstein")
    x, v = tensor(0.0, 5.0, math.pi / 2, 0.0), tensor(1.0, -0.5, 0.0, 0.0)
    path = rm.geodesic(hole, x, v, tensor(4.5, 9.0), throw=False)
    assert 1 < path.points[0, 1] < 2 and path.drift < 1e-9  # inside, and on
    assert path.status == Status.SINGULAR and 5.3 < path.reached < 5.4  # at r = 0


# -------------------------------------------------------------------------------------------------- what may go wrong


def test_status_and_messages():
    x, down = tensor(0.0, 1.0), tensor(0.0, -1.0)
    half_plane = spaces.hyperbolic(2, model="half_space")
    few = rm.geodesic(half_plane, x, down, tensor(5.0), max_steps=2, throw=False)
    assert few.status == Status.MAX_STEPS and "`max_steps`" in few.message
    out = rm.geodesic(half_plane, x, down, tensor(0.1, 5.0), chart=lambda p: p[1] > 0.5, throw=False)
    assert out.status == Status.LEFT_CHART and 0.1 < out.reached < math.log(2) and "leaves the chart" in out.message
    assert bool(out.points[0].isfinite().all()) and bool(out.points[1].isnan().all())
    away = rm.geodesic(half_plane, x, down, tensor(1.0), chart=lambda p: p[1] < 0.5, throw=False)
    assert away.status == Status.LEFT_CHART and away.reached == 0
    with pytest.warns(UserWarning, match="`metric` is singular"):
        here = rm.geodesic(sphere, tensor(0.0, 0.0), tensor(1.0, 0.0), tensor(1.0), throw=False)
    assert here.status == Status.NOT_FINITE and here.reached == 0


def test_vmap_is_refused_in_words():
    x = torch.rand(2, 2, dtype=f64) + 0.5
    for f in (
        lambda x: rm.exp_map(half_plane, x, x),
        lambda x: rm.log_map(half_plane, x, 2 * x),
        lambda x: rm.parallel_transport(half_plane, lambda s: torch.stack([s, s + 1]), x, tensor(1.0)),
    ):
        with pytest.raises(RuntimeError, match="`vmap` hides: give it all points at once"):
            torch.func.vmap(f)(x)


# -------------------------------------------------------------------------------------------------------- derivatives


def test_derivatives_of_geodesics():
    x, v, t = tensor(1.0, 0.2), tensor(0.3, 0.8), tensor(0.4, 1.0)
    f = lambda x, v: rm.geodesic(sphere, x, v, t).points
    assert torch.autograd.gradcheck(f, (x.requires_grad_(), v.requires_grad_()))
    x, v = x.detach(), v.detach()
    assert_close(torch.func.jacfwd(f)(x, v), torch.func.jacrev(f)(x, v))
    still = torch.func.jacrev(lambda v: rm.exp_map(sphere, x, v))(torch.zeros(2, dtype=f64))
    assert_close(still, torch.eye(2, dtype=f64))


def test_derivatives_to_parameters():
    metric, x, v = Net(2), tensor(0.1, 0.2), tensor(1.0, -0.5)
    y = rm.exp_map(metric, x, v).detach()
    bias = metric.net[0].bias
    for f in (lambda: rm.exp_map(metric, x, v), lambda: rm.distance(metric, x, y)):
        (grad,) = torch.autograd.grad(f().sum(), bias)
        values = []
        for h in (-1e-4, 1e-4):
            with torch.no_grad():
                bias[0] += h
                values.append(f().sum())
                bias[0] -= h
        assert_close(grad[0], (values[1] - values[0]) / 2e-4, rtol=1e-5, atol=1e-7)


# ---------------------------------------------------------------------------------------------- logarithm and distance


def test_logarithm_and_distance_of_the_sphere():
    x = torch.stack([0.5 + 2 * torch.rand(6, dtype=f64), 2 * torch.rand(6, dtype=f64)], -1)
    y = torch.stack([0.5 + 2 * torch.rand(6, dtype=f64), 2 * torch.rand(6, dtype=f64)], -1)
    v = rm.log_map(sphere, x, y)
    assert_close(rm.exp_map(sphere, x, v), y, rtol=0, atol=1e-9)
    assert_close(squared(sphere, x, v).sqrt(), (embedded(x) * embedded(y)).sum(-1).acos(), rtol=0, atol=1e-9)


def test_logarithm_of_half_plane_learned_and_lorentzian_metrics():
    for metric, n in ((half_plane, 2), (Net(3), 3), (random_metric(3, 1, 0), 3)):
        x, y = 0.3 * torch.rand(2, 3, n, dtype=f64) + 0.6
        assert_close(rm.exp_map(metric, x, rm.log_map(metric, x, y)), y, rtol=0, atol=1e-9)
    x, y = tensor(0.0, 1.0), tensor(2.0, 0.5)
    truth = math.acosh(1 + (4 + 0.25) / (2 * 0.5))
    assert_close(rm.distance(half_plane, x, y), torch.tensor(truth, dtype=f64), rtol=0, atol=1e-9)


def test_derivatives_of_logarithm_and_distance():
    x, y = tensor(0.0, 1.0).requires_grad_(), tensor(0.5, 1.5).requires_grad_()
    v = rm.log_map(half_plane, x, y)
    forth = torch.func.jacrev(lambda v: rm.exp_map(half_plane, x.detach(), v))(v.detach())
    back = torch.stack([torch.autograd.grad(c, y, retain_graph=True)[0] for c in v])
    assert_close(back @ forth, torch.eye(2, dtype=f64), rtol=0, atol=1e-8)
    d = rm.distance(half_plane, x, y)
    dx, dy = torch.autograd.grad(d, (x, y), create_graph=True)
    assert_close(dx.detach(), -(v / x[1] ** 2 / d).detach(), rtol=0, atol=1e-8)  # the first variation
    for again in (
        lambda: torch.autograd.grad(dx.sum(), x),
        lambda: torch.func.hessian(lambda x: rm.distance(half_plane, x, y.detach()))(x.detach()),
    ):
        with pytest.raises(RuntimeError, match="`log_map` has first derivatives only"):
            again()
    same = torch.autograd.grad(rm.distance(half_plane, x, x.detach()), x)[0]
    assert_close(same, torch.zeros(2, dtype=f64))


def test_a_logarithm_that_does_not_exist():
    hole = lambda x: torch.eye(2, dtype=x.dtype) * (1 + 0 * x[0])
    x, y = tensor([-1.0, 0.0], [-1.0, 0.0]), tensor([1.0, 0.0], [-1.0, 1.0])
    chart = lambda p: p @ p > 0.25
    result = rm.log_map(hole, x, y, chart=chart, throw=False, max_iterations=5)
    assert result.status.tolist() == [Status.NOT_CONVERGED, 0] and result.error[1] < 1e-9
    assert bool(result.velocities[0].isnan().all()) and "[0] of the batch was not found" in result.message
    with pytest.raises(RuntimeError, match="no curve that was tried leads from `x` to `y`"):
        rm.log_map(hole, x, y, chart=chart, max_iterations=5)


def test_logarithm_of_a_point_to_itself():
    x = tensor(1.0, 0.2)
    assert rm.log_map(sphere, x, x).tolist() == [0.0, 0.0] and rm.distance(sphere, x, x) == 0
    assert torch.func.grad(lambda y: rm.distance(sphere, x, y))(x).tolist() == [0.0, 0.0]
    assert rm.log_map(sphere, x.new_ones(0, 2), x).shape == (0, 2)


def test_logarithm_of_a_metric_whose_geodesics_bend():
    decoder = torch.nn.Sequential(
        torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 12)
    ).double()
    with torch.no_grad():
        for layer in decoder[::2]:
            layer.weight *= 2
    metric = rm.metrics.Pullback(decoder.requires_grad_(False))
    x, y = 2 * torch.rand(2, 4, 2, dtype=f64) - 1
    v = rm.log_map(metric, x, y, rtol=1e-7)
    assert_close(rm.exp_map(metric, x, v, rtol=1e-9), y, rtol=0, atol=2e-6)
    pictures = (decoder(x) - decoder(y)).norm(dim=-1)
    assert bool((squared(metric, x, v).sqrt() >= pictures - 1e-5).all())  # no curve is shorter than the chord


def test_logarithm_close_to_a_pole():
    x, y = tensor(0.05, 0.0), tensor(0.05, 2.5)
    truth = (embedded(x) * embedded(y)).sum(-1).acos()
    both = rm.distance(sphere, torch.stack([x, y]), torch.stack([y, x]))
    assert_close(both, truth.expand(2), rtol=0, atol=1e-9)


def test_the_antipode_is_reached_and_has_no_derivative():
    x, y = tensor(math.pi / 2, 0.0), tensor(math.pi / 2, math.pi).requires_grad_()
    v = rm.log_map(sphere, x, y)
    assert_close(v, tensor(0.0, math.pi), rtol=0, atol=1e-9)
    assert bool(torch.autograd.grad(v.sum(), y)[0].isnan().all())


def test_a_logarithm_of_256_dimensions():
    metric = Net(256, hidden=4, size=0.03).requires_grad_(False)
    x, y = 0.1 * torch.randn(2, 256, dtype=f64)
    result = rm.log_map(metric, x, y, rtol=1e-4, throw=False)
    assert result.status == 0 and result.error < 5e-4


def test_single_precision_of_the_logarithm():
    x, y = torch.tensor([1.0, 0.2]), torch.tensor([1.5, 1.0])
    assert_close(rm.log_map(sphere, x, y).double(), rm.log_map(sphere, x.double(), y.double()), rtol=0, atol=1e-4)


# --------------------------------------------------------------------------------------------- transport and holonomy


def test_transport_is_an_isometry():
    metric = random_metric(3, 1, 1)
    curve = lambda s: 0.3 * torch.stack([s.cos(), s.sin(), s])
    w, t = torch.randn(4, 3, dtype=f64), tensor(0.0, 1.0, 2.0)
    moved = rm.parallel_transport(metric, curve, w, t)
    g = rm.at(metric, torch.stack([curve(s) for s in t]), 0).g
    gram = torch.einsum("tbi,tij,tcj->tbc", moved, g, moved)
    assert moved.shape == (3, 4, 3)
    assert_close(gram, gram[:1].expand(3, -1, -1), rtol=0, atol=1e-9)


def test_a_geodesic_transports_its_velocity():
    x, v, t = torch.rand(3, 2, dtype=f64) + 0.7, torch.randn(3, 2, dtype=f64), tensor(0.5, 1.0)
    path = rm.geodesic(sphere, x, v, t)
    assert_close(rm.parallel_transport(sphere, path, v, t), path.velocities, rtol=0, atol=1e-9)


def test_holonomy_is_rotation_by_the_enclosed_area():
    a, h = 0.4, torch.pi / 3

    def loop(s):
        return torch.stack([h + a * torch.cos(2 * torch.pi * s), a * torch.sin(2 * torch.pi * s)])

    H = rm.holonomy(sphere, loop)
    nodes = (torch.arange(400, dtype=f64) + 0.5) / 400
    x, dx = rm.jvp(lambda s: loop(s[0]), nodes[:, None], torch.ones(400, 1, dtype=f64))
    area = (-x[:, 0].cos() * dx[:, 1]).mean()  # of sin(theta) dtheta dphi, by Stokes
    frame = torch.diag(tensor(1.0, math.sin(h + a)))
    rotation = torch.stack([torch.stack([area.cos(), -area.sin()]), torch.stack([area.sin(), area.cos()])])
    assert_close(frame @ H @ frame.inverse(), rotation, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="`loop` does not close"):
        rm.holonomy(sphere, lambda s: torch.stack([1 + s, s]))
    with pytest.raises(ValueError, match="`curve` returned shape"):
        rm.parallel_transport(sphere, lambda s: s, tensor(1.0, 0.0), tensor(1.0))


# ------------------------------------------------------------------------------------------------------ Jacobi fields


@pytest.mark.parametrize(("metric", "S"), [(sphere, torch.sin), (half_plane, torch.sinh)])
def test_jacobi_fields_of_space_forms(metric, S):
    t = torch.linspace(0, 2, 4, dtype=f64)
    x = tensor(1.0, 1.3)
    v = unit(metric, x, tensor(0.4, 0.3))
    g = rm.at(metric, x, 0).g
    e = unit(metric, x, torch.stack([-(g @ v)[1], (g @ v)[0]]))  # normal to v
    J = rm.jacobi_field(metric, x, v, 0 * e, e, t)
    E = rm.parallel_transport(metric, rm.geodesic(metric, x, v, t), e, t)
    assert_close(J, S(t)[:, None] * E, rtol=0, atol=1e-9)
    dS = torch.func.vmap(torch.func.grad(S))(t)
    record = rm.jacobi_field(metric, x, v, e, 0 * e, t, throw=False)
    assert_close(record.fields, dS[:, None] * E, rtol=0, atol=1e-9)
    sign = 1 if metric is half_plane else -1
    assert_close(record.derivatives, sign * S(t)[:, None] * E, rtol=0, atol=1e-9)


def test_jacobi_fields_are_derivatives_of_geodesics_on_both_routes():
    for n in (3, 18):
        metric = Net(n, size=0.2)
        x, v, xi, dxi = 0.5 * torch.randn(4, n, dtype=f64)
        J0, dJ0 = xi, dxi + rm.christoffel_vector(metric, x, v, xi)
        J = rm.jacobi_field(metric, x, v, J0, dJ0, tensor(1.0), rtol=1e-8)[0]
        f = lambda s: rm.exp_map(metric, x + s * xi, v + s * dxi, rtol=1e-8)
        assert_close(J, torch.func.jvp(f, (tensor(0.0)[0],), (tensor(1.0)[0],))[1], rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------------------ metrics with kinks


def decoder(activation, seed):
    torch.manual_seed(seed)
    layers = torch.nn.Linear(2, 12), activation, torch.nn.Linear(12, 5)
    return torch.nn.Sequential(*layers).double().requires_grad_(False)


def shortest(f, x, y, pieces=256):
    """The length of the shortest polygon between the images of points, by descent: no equation of geodesics."""
    s = torch.linspace(0, 1, pieces + 1, dtype=x.dtype)[:, None]
    modes = torch.sin(torch.pi * s * torch.arange(1, 25, dtype=x.dtype))
    bend = torch.zeros(24, 2, dtype=x.dtype, requires_grad=True)
    steps = lambda: f(x + s * (y - x) + modes @ bend).diff(dim=0).norm(dim=1)
    optimizer = torch.optim.LBFGS([bend], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def energy():
        optimizer.zero_grad()
        total = pieces * steps().square().sum()
        total.backward()
        return total

    optimizer.step(energy)
    return steps().sum().detach()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("activation", [torch.nn.ELU(), torch.nn.CELU()])
def test_distances_through_kinks_are_right_and_say_how_well_they_are_known(activation, seed):
    f = decoder(activation, seed)
    x, y = torch.tensor([0.3, -0.2], dtype=torch.float64), torch.tensor([1.0, 0.5], dtype=torch.float64)
    y.requires_grad_()
    metric = rm.metrics.Pullback(f)
    words = "elu.*kinks.*velocities are known to .*lengths to .*derivatives are NaN"
    with pytest.warns(UserWarning, match=words) as said:
        value = rm.distance(metric, x, y)
    assert len(said) == 1 and said[0].filename == __file__
    assert_close(value.detach(), shortest(f, x, y.detach()), rtol=1e-4, atol=0)
    (gradient,) = torch.autograd.grad(value, y)
    assert gradient.isnan().all()


@pytest.mark.filterwarnings("ignore:.*piecewise linear")
@pytest.mark.parametrize("name", ["SELU", "ReLU", "LeakyReLU"])
def test_a_metric_that_jumps_at_its_kinks_has_no_geodesic_and_says_why(name):
    x, y = torch.tensor([0.3, -0.2], dtype=torch.float64), torch.tensor([1.0, 0.5], dtype=torch.float64)
    metric = rm.metrics.Pullback(decoder(getattr(torch.nn, name)(), 0))
    words = "elu.*jumps: the speed along the best curve found varies by"
    with pytest.warns(UserWarning, match=words):
        result = rm.log_map(metric, x, y, throw=False)
    assert int(result.status) == rm.Status.NOT_CONVERGED and result.velocities.isnan().all()
    with pytest.warns(UserWarning, match=words), pytest.raises(RuntimeError, match="was not found"):
        rm.distance(metric, x, y)


def test_functions_with_kinks_that_no_geodesic_passes():
    half_plane = lambda x: torch.eye(2, dtype=torch.float64) / x[1].abs() ** 2
    x, y = torch.tensor([[0.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    result = rm.log_map(half_plane, x, y, throw=False)
    truth = torch.acosh(1 + (y - x).square().sum() / (2 * x[1] * y[1]))
    assert_close(result.length, truth)
    assert_close(rm.distance(half_plane, x, y), truth)


def test_steps_that_are_only_tried_may_leave_what_is_finite():
    metric = lambda x: torch.diag(torch.stack([1 / torch.sqrt(x[0]), 1 + x[1] ** 2]))
    x, v = torch.tensor([[0.31, 0.72], [2.0, 0.1]], dtype=torch.float64), torch.tensor([-1e5, 5e4], dtype=torch.float64)
    result = rm.geodesic(metric, x, v, torch.tensor([2.0], dtype=torch.float64), max_steps=50, throw=False)
    assert (result.status != rm.Status.SUCCESS).all() and result.points.isnan().all()


def test_conjugate_points_are_counted_and_said():
    """Around the unit 3-sphere: beyond the antipode a geodesic has passed two of them (n - 1), said once."""

    def sphere3(x):
        return torch.diag(torch.stack([x[0] ** 0, torch.sin(x[0]) ** 2, (torch.sin(x[0]) * torch.sin(x[1])) ** 2]))

    x = torch.tensor([1.5, 1.5, 0.0], dtype=f64)
    y = torch.tensor([[1.6, 1.55, 2.0], [1.6, 1.55, 4.0]], dtype=f64)
    record = rm.log_map(sphere3, x, y, throw=False)
    assert record.conjugate_points.tolist() == [0, 2]
    with pytest.warns(UserWarning, match=r"at \[1\] of the batch passes a point conjugate .* `restarts=8`"):
        rm.distance(sphere3, x, y)


def test_restarts_find_the_way_around_a_hill():
    """By symmetry the straight line over the hill is a geodesic, and not the shortest: two are as short, around it."""

    def hill(x):
        return torch.eye(2, dtype=x.dtype) * torch.exp(3 * torch.exp(-2 * (x @ x)))

    x, y = torch.tensor([[-2.0, 0.0], [2.0, 0.0]], dtype=f64)
    s = torch.linspace(-2, 2, 4001, dtype=f64)
    over = rm.log_map(hill, x, y, throw=False)
    assert int(over.conjugate_points) == 1
    assert_close(over.length, torch.trapezoid(torch.exp(1.5 * torch.exp(-2 * s**2)), s), rtol=1e-6, atol=0)
    around = rm.log_map(hill, x, y, restarts=6, throw=False)
    assert int(around.conjugate_points) == 0 and float(around.length) < 0.7 * float(over.length)
    assert_close(rm.exp_map(hill, x, around.velocities), y, rtol=0, atol=1e-8)


@pytest.mark.parametrize("height", [0.01, 0.003])
def test_near_the_edge_of_the_half_plane(height):
    """The straight line is 100 long and more, the geodesic 10: a start of low energy finds it."""
    half_plane = lambda x: torch.eye(2, dtype=x.dtype) / x[1] ** 2
    x, y = torch.tensor([[0.0, height], [1.0, height]], dtype=f64)
    d = torch.arccosh(torch.tensor(1 + 1 / (2 * height**2), dtype=f64))
    assert_close(rm.distance(half_plane, x, y), d, rtol=1e-8, atol=0)


def test_progress_of_logarithms():
    half_plane = lambda x: torch.eye(2, dtype=x.dtype) / x[1] ** 2
    x, y = torch.rand(2, 40, 2, dtype=f64) + 0.5
    told = []
    v = rm.log_map(half_plane, x, y, progress=lambda done, total: told.append((done, total)))
    assert told == [(32, 40), (40, 40)]
    assert_close(v, rm.log_map(half_plane, x, y))


def test_geodesics_tell_how_many_are_done():
    told = []
    x, v = torch.tensor([[0.0, 1.0], [0.0, 2.0]]).double(), torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double()
    rm.geodesic(
        lambda x: torch.eye(2) / x[1] ** 2, x, v, [-1.0, 1.0], progress=lambda done, total: told.append((done, total))
    )
    assert told[-1] == (2, 2) and all(total == 2 for _, total in told)


# ------------------------------------------------------------------------------- right-hand sides recorded for a call


def test_a_record_is_the_function():
    from riemann._curves.recorded import Recorded

    filled = lambda x: torch.eye(3, dtype=x.dtype).index_put((torch.tensor(0), torch.tensor(0)), 2 + x[1].sin())
    for metric, n in ((sphere, 2), (half_plane, 2), (Net(3), 3), (filled, 3), (kerr.__call__, 4)):
        acceleration = lambda x, v, metric=metric: rm.geodesic_acceleration(lambda p: metric(p), x, v)
        recorded = Recorded(acceleration)
        with torch.no_grad():
            for count in (9, 9, 4, 1, 12):  # points fewer and more than in the record
                x, v = torch.rand(2, count, n, dtype=f64) + 0.7
                x[:, 1:2] += 5.0 * (n == 4)
                assert_close(recorded(x, v), acceleration(x, v), rtol=1e-13, atol=1e-13)
        assert recorded.holds


def test_a_record_is_of_any_number_of_points(monkeypatch):
    from riemann._curves.recorded import SPARED, Recorded

    monkeypatch.setattr("riemann._curves.recorded.RECORDING", 0)
    filled = lambda x: torch.eye(3, dtype=x.dtype).index_put((torch.tensor(0), torch.tensor(0)), 2 + x[1].sin())
    for metric, n in ((sphere, 2), (Net(3), 3), (filled, 3), (kerr.__call__, 4)):
        acceleration = lambda x, v, metric=metric: rm.geodesic_acceleration(lambda p: metric(p), x, v)
        recorded = Recorded(acceleration)
        with torch.no_grad():
            for count in (240, *[120] * (2 * SPARED + 2), 240, 147, 2, 1):
                x, v = torch.rand(2, count, n, dtype=f64) + 0.7
                x[:, 1:2] += 5.0 * (n == 4)
                strided = x.mT.contiguous().mT if count == 147 else x
                assert_close(recorded(strided, v), acceleration(x, v), rtol=1e-13, atol=1e-13)
            assert recorded.record.is_of_any
            x, v = torch.rand(2, 777, n, dtype=f64) + 0.7  # more than were recorded: in pieces
            x[:, 1:2] += 5.0 * (n == 4)
            assert_close(recorded(x, v), acceleration(x, v), rtol=1e-13, atol=1e-13)
            assert recorded.record.is_of_any and recorded.holds


def test_outputs_of_several_steps_are_those_of_each(monkeypatch):
    """Points that stop at different steps, parameters of either sign, and those that coincide with ends of steps."""
    from riemann._curves import outputs

    x, v = torch.rand(2, 12, 2, dtype=f64) + 0.5
    v = v * torch.logspace(-2, 1, 12, dtype=f64)[:, None]
    near = lambda p: p[0] < 2.5
    for t in (torch.linspace(-2, 3, 41, dtype=f64), tensor(0.0, 1.0, 1.0), tensor(2.0)):
        given = {"t": t, "chart": near, "throw": False, "rtol": 1e-8}
        curve = rm.geodesic(half_plane, x, v, **given)
        traced = rm.geodesic(half_plane, x.clone().requires_grad_(), v, **given)
        with monkeypatch.context() as patch:
            patch.setattr(outputs, "WAITING", 40_000)
            several = rm.geodesic(half_plane, x, v, **given)
            patch.setattr(outputs, "WAITING", 0)
            single = rm.geodesic(half_plane, x, v, **given)
        for other in (several, single, traced):
            assert_close(curve.points, other.points, rtol=1e-12, atol=1e-12, equal_nan=True)
            assert_close(curve.velocities, other.velocities, rtol=1e-12, atol=1e-12, equal_nan=True)
            assert torch.equal(curve.status, other.status) and torch.equal(curve.reached, other.reached)


def test_what_varies_otherwise_with_the_number_of_points_is_filled_up(monkeypatch):
    from riemann._curves.recorded import Recorded

    monkeypatch.setattr("riemann._curves.recorded.RECORDING", 0)

    def halves(x):
        return torch.cat((x[: len(x) // 3].sin(), x[len(x) // 3 :].sin()))

    def by_size(x):
        return x.sin() if len(x) > 50 else 2 * (x / 2).sin() * (x / 2).cos()

    weights = torch.rand(90, 1, dtype=f64)
    for f in (halves, by_size, lambda x: x + weights[: len(x)]):
        recorded = Recorded(f)
        with torch.no_grad():
            for count in (90, *[40] * 12, 7, 50, 1):
                x = torch.rand(count, 2, dtype=f64)
                assert_close(recorded(x), f(x))
        assert not recorded.record.is_of_any and recorded.holds
    growing = Recorded(lambda x: (x.repeat(3, 1) + len(x)).view(3, -1, 2)[1, :, :] - len(x))
    with torch.no_grad():
        for count in (90, *[40] * 12, 7, 50, 1):
            x = torch.rand(count, 2, dtype=f64)
            assert_close(growing(x), x)
    assert growing.record.is_of_any


def test_views_of_views_are_placed_as_they_lie():
    from riemann._curves.recorded import Recorded

    def f(x):
        a = torch.stack((x, x.cos(), x.exp()))  # (3, points, 2)
        first, second = a.permute(1, 2, 0).unbind(1)
        z = torch.complex(first, second).conj()
        part = torch.view_as_real(z.resolve_conj())[..., 1]
        return (part.unsqueeze(0).expand(2, -1, -1).mT[1].mT + a[1:].transpose(0, 1).flatten(1)[:, 1:]).mul(
            z.imag.mT.mT
        )

    recorded = Recorded(f)
    with torch.no_grad():
        for count in (90, *[40] * 12, 7, 50, 1):
            x = torch.rand(count, 2, dtype=f64)
            assert_close(recorded(x), f(x), rtol=1e-14, atol=0)
    assert recorded.holds


def test_what_is_made_of_shapes_or_written_into_is_right_at_each_call():
    from riemann._curves.recorded import Recorded

    fixed = torch.rand(90, 2, dtype=f64)

    def f(x):
        zeros = torch.zeros_like(x)
        a = x.exp()
        b = a.index_copy(1, torch.tensor([1]), x[:, :1].cos())  # a is read again
        c = x.sin().index_copy(1, torch.tensor([0]), x[:, 1:])  # what is written into is not
        d = c.index_add(1, torch.tensor([0, 0]), x)
        e = zeros.index_copy(1, torch.tensor([0]), x[:, :1])
        other = fixed[: len(x)].index_put((torch.tensor(0),), x[0].exp())
        other = other + x.tan().index_put((torch.arange(len(x)), torch.tensor(1)), x[:, 0])
        low, high = torch.aminmax(x, dim=1)
        return torch.cat(
            (a, b, d, e, other, zeros, x.new_ones(len(x), 2), (x[:, :1] + 1j * x[:, 1:]).conj().imag), 1
        ) + (high - low).unsqueeze(-1)

    recorded = Recorded(f)
    with torch.no_grad():
        results = []
        for count in (90, 90, 40, 7, 50, 1):
            x = torch.rand(count, 2, dtype=f64)
            results.append((recorded(x), f(x)))
    for ours, theirs in results:  # none is in the memory of another
        assert_close(ours, theirs, rtol=1e-15, atol=0)
    assert recorded.holds


FIRST, SECOND, BOTH = torch.tensor([0]), torch.tensor([1]), torch.tensor([1, 0])
BLANK = torch.full((90, 2), 7.0, dtype=f64)
FILLED = {
    "one after the other": lambda x: fill(fill(BLANK[: len(x)], FIRST, x.sin()), SECOND, x.cos()),
    "twice the same place": lambda x: fill(fill(BLANK[: len(x)], FIRST, x.sin()), FIRST, x.cos()),
    "zeros of the shape": lambda x: fill(fill(torch.zeros_like(x), FIRST, x.sin()), SECOND, x.cos()),
    "what is between is read": lambda x: twice(lambda a: fill(a, SECOND, x.cos()), fill(BLANK[: len(x)], FIRST, x)),
    "what is between is seen": lambda x: twice(
        lambda a: fill(a.mT, SECOND, x.cos()), fill(BLANK[: len(x)], FIRST, x).mT
    ),
    "two ways from there": lambda x: torch.cat([fill(fill(BLANK[: len(x)], FIRST, x), i, x.exp()) for i in BOTH], 1),
    "places that vary": lambda x: BLANK[: len(x)].index_copy(1, (x[:1, 0] > x[:1, 1]).long(), x[:, :1].exp()),
    "another layout": lambda x: BLANK[: len(x)].mT.contiguous().mT.index_copy(1, SECOND, x[:, :1].exp()).mT.sin().mT,
    "a sum": lambda x: BLANK[: len(x)].index_add(1, SECOND, x[:, :1].exp()),
    "it is the result": lambda x: fill(BLANK[: len(x)], SECOND, x),
}


def fill(a, places, x):
    return a.index_copy(-1, places.reshape(1), x[:, :1])


def twice(f, a):
    between = a.sin()
    return torch.cat((between if a.shape[-1] == 2 else between.mT, f(a)), 1)


@pytest.mark.parametrize("f", FILLED.values(), ids=FILLED)
def test_constants_that_are_filled_are_right_at_each_call(f):
    from riemann._curves.recorded import Recorded

    recorded = Recorded(f)
    with torch.no_grad():
        results = []
        for count in (90, 90, 90, 40, 7, 50, 1):
            x = torch.rand(count, 2, dtype=f64)
            results.append((recorded(x), f(x)))
    for ours, theirs in results:
        assert_close(ours, theirs, rtol=1e-15, atol=0)
    assert bool((BLANK == 7).all())


@pytest.mark.parametrize("scale", (1.0, 1e150, 1e-150))
def test_inverses_of_two_rows_are_those_of_elimination_with_pivots(scale):
    from riemann._contraction import points_last

    g = torch.randn(60, 2, 2, dtype=f64)
    g = scale * (g + g.mT)
    g[0], g[1], g[2] = scale * tensor([0.0, 1.0], [1.0, 0.0]), scale * tensor([1.0, 1.0], [1.0, 1.0]), 0 * g[2]
    g[3] = tensor([1e100, 0.0], [0.0, 1e-100])
    inverse = rm.formulas.inverse_metric(points_last(g, 2))
    assert inverse[[1, 2]].isnan().all() and inverse.stride(0) == 1
    rest = [0, *range(3, 60)]
    expected = torch.linalg.inv(g[rest])
    assert ((inverse[rest] - expected).abs() <= 1e-11 * expected.abs().amax((1, 2), keepdim=True)).all()


def test_nothing_is_recorded_that_depends_on_values():
    from riemann._curves.recorded import Recorded

    def branched(x):
        return x.exp() if bool((x > 0).all()) else x

    for f in (branched, lambda x: x + torch.rand_like(x), lambda x: x.clone().mul_(2), lambda x: x[x > 0].sum() + x):
        recorded, x = Recorded(f), torch.ones(3, 2, dtype=f64)
        with torch.no_grad():
            recorded(x)
        assert not recorded.holds
    recorded = Recorded(branched)
    assert_close(recorded(torch.ones(2, 1)), torch.ones(2, 1).exp())
    assert_close(recorded(-torch.ones(2, 1)), -torch.ones(2, 1))


def test_changes_between_calls_are_seen():
    size = torch.ones((), dtype=f64)
    metric = lambda x: size * half_plane(x) + (1 - size) * torch.eye(2, dtype=x.dtype)
    x, v = tensor(0.0, 1.0), tensor(0.0, 1.0)
    assert_close(rm.exp_map(metric, x, v)[1], torch.tensor(math.e, dtype=f64))
    size.zero_()
    assert_close(rm.exp_map(metric, x, v), x + v)


# ------------------------------------------------------------------------------------- distances through wide decoders


def wide_decoder(n=6, hidden=9, m=40):
    """A map of n numbers to m by a hidden layer, and its metric as a plain function."""
    W, b, A, c = (torch.randn(*shape, dtype=f64) for shape in ((hidden, n), (hidden,), (m, hidden), (m,)))
    f = lambda x: A @ torch.tanh(W @ x / (2 * n**0.5) + b) / hidden**0.5 + c

    def metric(x):
        J = torch.func.jacfwd(f)(x)
        return J.mT @ J

    return f, metric


def bumpy(x):
    """A plane with hills, some narrower than the nodes of a curve lie apart."""
    centres = tensor([0.4, 0.1], [0.9, -0.2], [1.5, 0.15])
    heights = (-(((x - centres) * tensor(3.0, 6.0, 14.0)[:, None]) ** 2).sum(-1)).exp()
    return torch.eye(2, dtype=x.dtype) * (1 + heights.to(x).sum())


@pytest.mark.parametrize(
    "metric, x, y",
    [
        (sphere, tensor([1.2, 0.0], [0.3, 0.0], [1.5, 0.0]), tensor([1.4, 3.05], [2.9, 0.4], [1.5, 1e-9])),
        (bumpy, tensor([0.0, 0.0], [0.0, 0.3], [0.2, 0.1]), tensor([2.0, 0.1], [1.9, -0.3], [1.5, 0.15])),
        (lambda x: torch.diag(tensor(1e12, 1e12)) / x[1] ** 2, tensor([0.0, 1.0]), tensor([1.0, 2.0])),
        (lambda x: torch.diag(torch.stack((-x[0] ** 0, x[0] ** 2))), tensor([1.0, 0.0]), tensor([2.0, 0.5])),
        (lambda x: torch.eye(2) * (1 + torch.relu(x[0] - 0.5)), tensor([0.0, 0.0]), tensor([1.0, 1.0])),
    ],
    ids=("sphere", "hills", "units", "indefinite", "kinked"),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:the metric calls")
def test_distances_without_velocities_are_those_with_them(metric, x, y):
    ours, full = rm.distance(metric, x, y), rm.distance(metric, x, y, throw=False)
    assert bool((full.status == 0).all())
    assert_close(ours, full.length, rtol=1e-9, atol=1e-12)
    with_derivatives = rm.distance(metric, x, y.clone().requires_grad_())
    assert_close(ours, with_derivatives.detach(), rtol=1e-9, atol=1e-12)


def test_distance_knows_its_options():
    with pytest.raises(TypeError, match=r"distance\(\) got an unexpected keyword argument 'restart'"):
        rm.distance(sphere, tensor(1.0, 0.0), tensor(1.0, 1.0), restart=8)


def test_acceleration_of_a_pullback_varies_as_that_of_any_metric():
    from riemann._curvature.variation import acceleration_derivatives

    f, metric = wide_decoder()
    x, v = torch.randn(2, 4, 6, dtype=f64)
    ambient = rm.metrics.Constant(torch.diag(torch.linspace(-1.0, 2.0, 40, dtype=f64)))
    for pulled in (rm.metrics.Pullback(f), rm.metrics.Pullback(f, ambient)):
        found = acceleration_derivatives(pulled, x, v)
        truth = acceleration_derivatives(lambda p, pulled=pulled: pulled(p), x, v)
        assert_close(found, truth, rtol=1e-9, atol=1e-9)


def test_distances_through_a_decoder():
    f, metric = wide_decoder()
    x, y = 0.5 * torch.randn(2, 3, 6, dtype=f64)
    found = rm.distance(metric, x, y, throw=False)
    assert found.status.tolist() == [0] * 3
    assert_close(rm.exp_map(rm.metrics.Pullback(f), x, found.velocities), y, rtol=0, atol=2e-9)
    assert_close(squared(metric, x, found.velocities).sqrt(), found.length)
    assert_close(rm.distance(rm.metrics.Pullback(f), x, y), found.length)


def test_what_stands_in_for_a_metric_in_one_call_is_equal_to_it():
    from riemann._structure.once import for_one_call

    f, metric = wide_decoder()
    x = torch.randn(3, 6, dtype=f64)
    elsewhere = torch.randn(4, 6, dtype=f64)
    twisted = lambda x: f(x) + 0.1 * f(x).sin()  # no affine layer at its end
    late = lambda x: f(x) / (1 + x @ x)
    squared = lambda x: f(x) * f(x)
    for map in (f, twisted, late, squared, lambda x: 2 * f(x)[:30] - f(x)[10:]):
        pulled = rm.metrics.Pullback(map)
        same = for_one_call(pulled, x)
        assert_close(rm.at(same, elsewhere).g, rm.at(pulled, elsewhere).g)
        assert_close(rm.at(same, elsewhere, 1).jets[1], rm.at(pulled, elsewhere, 1).jets[1])
    assert for_one_call(rm.metrics.Pullback(f), x).ambient.matrix.shape == (9, 9)
    assert for_one_call(metric, x).ambient.matrix.shape == (9, 9)
    assert for_one_call(half_plane, x[:, :2]) is half_plane
    plain = Net(5)
    assert for_one_call(plain, x[:, :5]) is plain


@pytest.mark.unshaped
@pytest.mark.parametrize("number", [1, 1.0, np.float32(1), np.int64(1), sp.Integer(1), sp.Rational(1), sp.Float(1)])
def test_numbers_of_other_packages_are_numbers(number):
    x, v = torch.tensor([0.7, 0.2], dtype=torch.float64), torch.tensor([0.1, 0.3], dtype=torch.float64)
    sphere, poisson = rm.spaces.sphere(), lambda x: torch.distributions.Poisson(x[0].exp())
    truth = rm.geodesic(sphere, x, v, 1.0).points
    assert rm.geodesic(sphere, x, v, number).points.equal(truth)
    assert rm.geodesic(sphere, x, v, [0.5, number]).points[-1].allclose(truth[0])
    assert rm.alpha_christoffel(poisson, x[:1], number).abs() < 1e-12
    with pytest.raises(ValueError, match="expected a tensor"):
        rm.geodesic(sphere, x, v, True)
