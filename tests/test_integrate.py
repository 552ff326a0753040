"""The Riemannian volume: theorems of Gauss, Bonnet and Stokes, integrals at random, uniform points."""

import math

import pytest
import torch
from torch import cos, sin, stack

import riemann as rm
from riemann import spaces
from riemann.metrics import Constant, Pullback
from tests.helpers import assert_equal, random_metric

ROUND = (0, 2 * math.pi)


def euler_characteristic(metric, box, **options):
    r"""$\frac{1}{2\pi} \int K\, dA$."""
    K = lambda x: rm.scalar_curvature(metric, x) / 2
    return rm.integrate(metric, K, box, **options).value / (2 * math.pi)


# ------------------------------------------------------------------------------------------------- Gauss-Bonnet


@pytest.mark.parametrize("profile, characteristic", [
    (lambda s: stack([sin(s) * (1 + 0.3 * cos(s) ** 2), 2 * cos(s)]), 2),  # a dumbbell, closed at its poles
    (lambda s: stack([3 + cos(s) + 0.2 * cos(3 * s), sin(s)]), 0),  # a wavy ring
])  # fmt: skip
def test_gauss_bonnet_for_surfaces_of_revolution(profile, characteristic):
    def surface(x):
        r, z = profile(x[0])
        return stack([r * cos(x[1]), r * sin(x[1]), z])

    closed = (0, math.pi) if characteristic else ROUND
    metric = Pullback(surface)
    value = rm.integrate(metric, lambda x: rm.gauss_curvature(surface, x), (closed, ROUND), max_points=2**12).value
    assert_equal(value, 2 * math.pi * characteristic, rtol=1e-9)


def test_gauss_bonnet_for_a_network_on_the_torus():
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4)).double()

    def metric(x):
        A = net(torch.cat([cos(x), sin(x)])).reshape(2, 2)
        return torch.eye(2) + A @ A.T

    area = rm.volume(metric, (ROUND, ROUND), max_points=2**12).value
    assert area > 4 * math.pi**2
    assert_equal(euler_characteristic(metric, (ROUND, ROUND), max_points=2**12), 0.0, rtol=1e-9)


def test_gauss_bonnet_with_the_curvature_as_a_field():
    ellipsoid = lambda x: stack([3 * sin(x[0]) * cos(x[1]), sin(x[0]) * sin(x[1]), 0.5 * cos(x[0])])
    box = ((0, math.pi), (0, 2 * math.pi))  # more points than the first piece, which is weighed
    total = rm.integrate(Pullback(ellipsoid), lambda x: rm.gauss_curvature(ellipsoid, x), box, rtol=1e-6)
    assert abs(total.value - 4 * math.pi) < 1e-4


def test_the_genus_of_a_surface_by_integration():
    """The regular hyperbolic octagon with angles pi/4, sides glued in pairs, has genus 2: by 16 triangles."""
    # Hyperbolic trigonometry: cosh of the distance of the centre from a side is cos(pi/8) / sin(pi/8).
    apothem = math.acosh(1 / math.tan(math.pi / 8))

    def triangle(x):  # polar coordinates (s, phi): the side is at distance rho(phi)
        rho = torch.atanh(math.tanh(apothem) / cos(x[1]))
        return stack([x[0] * rho, x[1]])

    plane = lambda y: torch.diag(stack([torch.ones_like(y[0]), torch.sinh(y[0]) ** 2]))
    metric = Pullback(triangle, plane)
    characteristic = 16 * euler_characteristic(metric, ((0, 1), (0, math.pi / 8)), max_points=2**14)
    assert_equal(1 - characteristic / 2, 2.0, rtol=1e-9)


# -------------------------------------------------------------------------------------------------------- Stokes


@pytest.mark.parametrize("signature", [0, 1])
def test_the_divergence_theorem(signature):
    """The flux through the six faces of a box, by their induced metrics and unit normals, is that of div X inside."""
    metric = random_metric(3, signature, seed=4)
    X = lambda x: stack([sin(x[1]) + x[0] ** 2, x[0] * x[2], torch.exp(x[2] / 2) * x[1]])
    box = ((0.0, 0.4), (-0.2, 0.3), (0.1, 0.5))
    inside = rm.integrate(metric, rm.divergence(metric, X), box, max_points=2**12).value
    flux = 0.0
    for axis, bounds in enumerate(box):
        others = [b for k, b in enumerate(box) if k != axis]
        for side, c in enumerate(bounds):

            def face(y, axis=axis, c=c):
                return torch.cat([y[:axis], torch.full_like(y[:1], c), y[axis:]])

            def through(y, face=face, axis=axis, side=side):
                nu = rm.normal_frame(face, y, metric)[:, 0]
                g, p = rm.at(metric, face(y), 0).g, face(y)
                outward = torch.sign(nu[axis]) * (1 if side else -1)
                return outward * torch.sign(nu @ g @ nu) * (X(p) @ g @ nu)

            flux = flux + rm.integrate(Pullback(face, metric), through, others, max_points=2**10).value
    assert abs(inside) > 1e-2
    assert_equal(flux, inside, rtol=1e-9)


def test_greens_identity_on_the_sphere():
    """No boundary: the integral of a Laplacian vanishes, and -u Delta u integrates to |du|^2."""
    sphere = spaces.sphere(2)
    u = lambda x: sin(x[0]) * cos(x[1]) + cos(x[0]) ** 2
    box = ((0, math.pi), ROUND)
    laplacian = rm.laplacian(sphere, u)
    assert_equal(rm.integrate(sphere, laplacian, box, max_points=2**14).value, 0.0)

    def energy(x):
        du = rm.jet(u, x, 1)[1]
        return du @ rm.inverse_metric(sphere, x) @ du

    left = rm.integrate(sphere, lambda x: -u(x) * laplacian(x), box, max_points=2**14).value
    assert_equal(left, rm.integrate(sphere, energy, box, max_points=2**14).value)


# ----------------------------------------------------------------------------------------------------- at random


def test_many_dimensions_are_integrated_at_random_with_an_honest_error():
    flat = Constant(2 * torch.eye(6, dtype=torch.float64))
    f = lambda x: torch.exp(x.sum()) + x[0] ** 2
    truth = 2**3 * ((math.e - 1) ** 6 + 1 / 3)
    ratios = []
    for seed in range(12):
        found = rm.integrate(flat, f, [(0, 1)] * 6, num_samples=2**12, generator=torch.Generator().manual_seed(seed))
        assert 0 < found.error < 5e-3 * truth
        ratios.append(float((found.value - truth) / found.error))
    assert max(map(abs, ratios)) < 4.5
    assert 0.5 < (sum(r * r for r in ratios) / len(ratios)) ** 0.5 < 1.8  # neither too small nor too large
    automatic = rm.volume(spaces.sphere(5), [(0, math.pi)] * 4 + [ROUND], generator=torch.Generator().manual_seed(0))
    assert abs(automatic.value - math.pi**3) < 4 * automatic.error < 1e-2 * math.pi**3


def test_points_at_random_in_few_dimensions_and_gradients():
    sphere = lambda x, r: r**2 * torch.diag(stack([torch.ones_like(x[0]), sin(x[0]) ** 2]))
    r = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    one, again = (
        rm.volume(lambda x: sphere(x, r), ((0, math.pi), ROUND), num_samples=4096, chunk_size=1000,
                  generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )  # fmt: skip
    assert one.value == again.value and not one.error.requires_grad
    assert abs(one.value - 16 * math.pi) < 4 * one.error < 0.1
    (slope,) = torch.autograd.grad(one.value, r)
    assert_equal(slope, one.value)  # 2/r times the area


# ---------------------------------------------------------------------------------------------------- uniform points


def test_uniform_points_have_the_riemannian_density():
    """On the sphere cos(theta) and phi are uniform: their distribution functions, by Kolmogorov's distance."""
    x = rm.random_uniform(spaces.sphere(2), ((0, math.pi), ROUND), 20_000, torch.Generator().manual_seed(0))
    assert x.shape == (20_000, 2) and x.dtype == torch.float64
    for u in ((1 - cos(x[:, 0])) / 2, x[:, 1] / (2 * math.pi)):
        ranks = (torch.arange(len(u)) + 0.5) / len(u)
        assert (u.sort().values - ranks).abs().max() * len(u) ** 0.5 < 1.63  # exceeded once in a hundred
    same = rm.random_uniform(spaces.sphere(2), ((0, math.pi), ROUND), 20_000, torch.Generator().manual_seed(0))
    assert torch.equal(x, same)


def test_a_narrow_peak_starts_the_draw_anew():
    """Hyperbolic area piles up where y is small: the distribution of y is known."""
    half_plane = lambda x: torch.eye(2) / x[1] ** 2
    y = rm.random_uniform(half_plane, ((0, 1), (0.05, 1)), 5_000, torch.Generator().manual_seed(0))[:, 1]
    u = (1 / 0.05 - 1 / y) / (1 / 0.05 - 1)
    assert (u.sort().values - (torch.arange(5_000) + 0.5) / 5_000).abs().max() * 5_000**0.5 < 1.63
    with pytest.raises(ValueError, match="points of `box` were kept: the volume element has a peak there, or no bound"):
        rm.random_uniform(half_plane, ((0, 1), (0, 1)), 1_000, torch.Generator().manual_seed(0))


def test_no_points_at_all_and_single_precision():
    assert rm.random_uniform(spaces.sphere(2), ((0, 3), (0, 1)), 0).shape == (0, 2)
    assert rm.random_uniform(lambda x: torch.eye(2), ((0, 3), (0, 1)), 3, dtype=torch.float32).dtype == torch.float32


def test_messages():
    flat = lambda x: torch.eye(2)
    with pytest.raises(ValueError, match="`num_samples` is 31, expected a whole number, 32 or more"):
        rm.volume(flat, ((0, 1), (0, 1)), num_samples=31)
    with pytest.raises(ValueError, match="`num_samples` is -1"):
        rm.random_uniform(flat, ((0, 1), (0, 1)), -1)
    with pytest.raises(ValueError, match=r"`box\[1\]`.*low < high"):
        rm.random_uniform(flat, ((0, 1), (1, 0)), 5)
    with pytest.raises(ValueError, match="`f` returned shape .2,. at one point"):
        rm.integrate(flat, lambda x: x, ((0, 1), (0, 1)), num_samples=64)
    with pytest.raises(ValueError, match=r"`box\[0\]` is \('0', 1\), expected finite"):
        rm.volume(flat, (("0", 1), (0, 1)))
    with pytest.raises(ValueError, match=r"`metric` is singular: rank 0 of 2 at .*, a point of the box"):
        rm.random_uniform(lambda x: torch.zeros(2, 2), ((0, 1), (0, 1)), 5)
