"""What geodesics conserve: Killing fields and tensors against the textbook's, at points and in boxes."""

import math

import pytest
import torch

import riemann as rm
from riemann import spaces
from tests.fields import D
from tests.helpers import assert_equal

HOLE = ((0, 1), (4, 6), (0.5, 1.5), (0, 1))
SQUARE = ((-1, 1), (-1, 1))


def pendulum(q):
    """The kinetic energy of two rods without gravity, by absolute angles: their total angular momentum is conserved."""
    c, one = torch.cos(q[0] - q[1]), torch.ones_like(q[0])
    return torch.stack([torch.stack([2 * one, c]), torch.stack([c, one])])


def liouville(x):
    return (x[0] ** 2 + torch.exp(x[1]) + 1) * torch.eye(2)


def kepler(x):
    """Jacobi's metric of the energy -1/2."""
    return (2 / torch.sqrt(x @ x) - 1) * torch.eye(2)


def orbit(metric, x, v, end=1.0):
    t = torch.linspace(0, end, 5, dtype=D)
    return rm.geodesic(metric, torch.tensor(x, dtype=D), torch.tensor(v, dtype=D), t)


def names(found):
    return [quantity.name for quantity in found]


def span(known, functions):
    """How far the known values are from combinations of functions, relative to their size."""
    A = torch.stack(functions, -1)
    return float((known - A @ torch.linalg.lstsq(A, known[:, None]).solution[:, 0]).norm() / known.norm())


def test_carters_constant():
    """In Boyer-Lindquist coordinates (MTW 33.31), by polynomials; exactly, where the basis holds it."""
    a = 0.6
    kerr = spaces.kerr(M=1.0, a=a)
    functions = lambda x: torch.stack([torch.ones_like(x[0]), torch.cos(x[2]) ** 2, 1 / torch.sin(x[2]) ** 2])
    x = torch.rand(40, 4, dtype=D) * torch.tensor([1, 2, 1, 1.0]) + torch.tensor([0, 4, 0.5, 0])
    v = torch.randn(40, 4, dtype=D)
    p = torch.einsum("zab,zb->za", rm.at(kerr, x).g, v)
    mass, theta = -torch.einsum("za,za->z", p, v), x[:, 2]
    carter = p[:, 2] ** 2 + torch.cos(theta) ** 2 * (a**2 * (mass - p[:, 0] ** 2) + (p[:, 3] / torch.sin(theta)) ** 2)
    for basis, error in (("polynomial", 1e-6), (functions, 1e-12)):
        found = rm.conserved_quantities(kerr, HOLE, basis)
        assert names(found) == ["linear", "linear", "quadratic", "energy"]
        assert all(quantity.error < error for quantity in found)
        E, L, Q, g = (quantity(x, v) for quantity in found)
        assert span(p[:, 0], [E, L]) < 1e-12 and span(p[:, 3], [E, L]) < 1e-12
        assert span(carter, [Q, E * E, E * L, L * L, g]) < 10 * error


def test_liouvilles_integral():
    """Of $(u + w)(dx^2 + dy^2)$: $Q = (u + w)(w\\, \\dot x^2 - u\\, \\dot y^2)$ (Darboux)."""
    found = rm.conserved_quantities(liouville, SQUARE, degree=2)
    assert names(found) == ["quadratic", "energy"] and found[0].error < 1e-10
    x, v = torch.rand(30, 2, dtype=D), torch.randn(30, 2, dtype=D)
    u, w = x[:, 0] ** 2, torch.exp(x[:, 1]) + 1
    assert span((u + w) * (w * v[:, 0] ** 2 - u * v[:, 1] ** 2), [q(x, v) for q in found]) < 1e-9


def test_keplers_problem():
    """Angular momentum, and two components of the Laplace-Runge-Lenz vector, beside which nothing is left."""
    functions = lambda x: torch.cat([x.new_ones(1), x, x / torch.sqrt(x @ x)])
    found = rm.conserved_quantities(kepler, ((0.5, 1), (-0.4, 0.4)), functions)
    assert names(found) == ["linear", "quadratic", "quadratic", "energy"]
    x = torch.rand(30, 2, dtype=D) * torch.tensor([0.5, 0.8]) + torch.tensor([0.5, -0.4])
    v = torch.randn(30, 2, dtype=D)
    p, energy = rm.at(kepler, x).g @ v[..., None], found[3](x, v)
    p, r = p[..., 0], x.norm(dim=-1)
    L = x[:, 0] * p[:, 1] - x[:, 1] * p[:, 0]
    assert span(L, [found[0](x, v)]) < 1e-12
    runge = p[:, 1] * L - x[:, 0] / r * energy  # homogeneous in p: |p|^2 = (2/r - 1) energy
    assert span(runge, [q(x, v) for q in found[1:]] + [L * L]) < 1e-11


@pytest.mark.parametrize(
    "metric, box, linear",
    [(lambda x: torch.eye(3), ((0, 1),) * 3, 6), (lambda x: torch.eye(2) / x[1] ** 2, ((-1, 1), (1, 2)), 3),
     (spaces.sphere(2), ((0.5, 1.5), (0, 1)), 3), (pendulum, SQUARE, 1)],
)  # fmt: skip
def test_what_is_made_of_other_quantities_is_not_told(metric, box, linear):
    found = rm.conserved_quantities(metric, box, degree=None if linear == 3 else 2)
    assert names(found) == ["linear"] * linear + ["energy"]
    assert all(quantity.error < 1e-6 for quantity in found)


def test_single_precision():
    """Three rotations of a sphere, whose products have a relation to rounding; nothing is left beside them."""
    sphere, x = lambda x: 4 * torch.eye(2) / (1 + x @ x) ** 2, torch.rand(100, 2)
    found = rm.conserved_quantities(sphere, points=x, degree=2, tolerance=1e-3)
    assert names(found) == ["linear"] * 3 + ["energy"] and found[0](x, x).dtype == torch.float32


def test_they_are_conserved_and_differentiable():
    curve = orbit(liouville, [0.3, -0.2], [0.4, 0.1])
    for quantity in rm.conserved_quantities(liouville, SQUARE, degree=2):
        values = quantity(curve.points, curve.velocities)
        assert_equal(values, values[:1].expand(5), rtol=1e-8)
        x, v = (y[2].clone().requires_grad_() for y in (curve.points, curve.velocities))
        dx, dv = rm.recorded_gradients(quantity(x, v), [x, v])
        with torch.no_grad():
            change = dx @ v + dv @ rm.geodesic_acceleration(liouville, x, v)
        assert_equal(change, 0.0, scale=1.0, rtol=1e-9)
    assert names(rm.conserved_quantities(liouville, SQUARE, max_degree=1)) == ["energy"]


def test_the_tensors_are_fields():
    energy = rm.conserved_quantities(liouville, SQUARE, degree=2)[-1]
    x = torch.rand(2, 3, 2, dtype=D)
    assert_equal(energy.tensor(x), rm.inverse_metric(liouville, x))
    Q = rm.conserved_quantities(liouville, SQUARE, degree=2)[0]
    v = torch.randn(3, 2, dtype=D)
    assert Q(x, v).shape == (2, 3) and Q.tensor(x).shape == (2, 3, 2, 2)
    nabla = rm.covariant_derivative(liouville, Q.tensor, "uu")(x)
    lowered = torch.einsum("...abk,...ac,...bd->...cdk", nabla, rm.at(liouville, x).g, rm.at(liouville, x).g)
    cyclic = lowered + lowered.movedim(-1, -3) + lowered.movedim(-3, -1)
    assert_equal(cyclic, 0.0, scale=lowered.abs().max(), rtol=1e-8)


# ---------------------------------------------------------------------------------------------------- at given points


def test_points_instead_of_a_box():
    """A metric that is symmetric near its data only: there the symmetry is found, in their box it is not."""
    ring = torch.rand(300, dtype=D) * 2 * math.pi
    points = (1 + 0.1 * torch.randn(300, 1, dtype=D)) * torch.stack([ring.cos(), ring.sin()], -1)

    def learned(x):
        return (1 + x @ x) * torch.eye(2) + 0.5 * torch.exp(-20 * x @ x) * torch.diag(x**2 + x.flip(0))

    box = tuple(zip(points.amin(0).tolist(), points.amax(0).tolist(), strict=True))
    assert len(rm.killing_fields(learned, box, tolerance=1e-3).fields) == 0
    found = rm.killing_fields(learned, points=points, tolerance=1e-3)
    assert len(found.fields) == 1 and float(found.residuals) < 1e-4 and float(found.spectrum[1]) > 0.05
    X = found.fields[0](points)
    assert float((X * points).sum(-1).abs().max() / X.norm(dim=-1).mean()) < 1e-3
    assert len(rm.killing_fields(learned, box, points=points, tolerance=1e-3).fields) == 1
    assert rm.conserved_quantities(learned, points=points.reshape(30, 10, 2), degree=2, tolerance=1e-3)[0].degree == 1


def test_weights_choose_the_points():
    """Weight 0 is absence: half of the plane is curved, and only the flat half is asked."""
    step = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), 1 + torch.relu(x[0]) ** 3]))
    points = torch.rand(400, 2, dtype=D) * 2 - 1
    flat = (points[:, 0] < 0).double()
    assert len(rm.killing_fields(step, points=points, degree=1).fields) == 1
    assert len(rm.killing_fields(step, points=points, weights=flat, degree=1).fields) == 3
    first = torch.arange(400) < 20  # few of many, and still enough of them in both halves
    assert len(rm.killing_fields(step, points=points, weights=flat * first, degree=0).fields) == 2
    some = rm.killing_fields(step, points=points, weights=1 + flat, degree=1, tolerance=9.0)
    more = rm.killing_fields(step, points=points, weights=1e3 * (1 + flat), degree=1, tolerance=9.0)
    assert_equal(some.spectrum, more.spectrum, scale=1.0)
    twice = rm.killing_fields(step, points=points.float(), degree=1, tolerance=9.0)
    assert twice.residuals.dtype == torch.float32


# ---------------------------------------------------------------------------------------- homothetic and conformal


@pytest.mark.parametrize(
    "metric, box, counts",
    [(lambda x: torch.eye(3), ((-1, 1),) * 3, (6, 7, 10)),
     (lambda x: torch.diag(torch.tensor([-1.0, 1, 1])), ((-1, 1),) * 3, (6, 7, 10)),
     (lambda x: 4 * torch.eye(3) / (1 + x @ x) ** 2, ((-1, 1),) * 3, (6, 6, 10)),
     (lambda x: torch.eye(3) / x[2] ** 2, ((-1, 1), (-1, 1), (1, 2)), (6, 6, 10)),
     (lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), x[0], x[0] ** 3])), ((1, 2),) * 3, (2, 3, 3))],
)  # fmt: skip
def test_kinds(metric, box, counts):
    """Dimensions of the three groups: of conformally flat spaces (n+1)(n+2)/2; powers of a coordinate scale."""
    for kind, count in zip(("killing", "homothetic", "conformal"), counts, strict=True):
        found = rm.killing_fields(metric, box, kind=kind)
        assert len(found.fields) == count and float(found.spectrum[count]) > 1e-3, kind
        x = torch.tensor(box, dtype=D).mean(-1) + 0.1 * torch.randn(4, 3, dtype=D)
        for X in found.fields:
            deformation, g = rm.killing_operator(metric, X)(x), rm.at(metric, x).g
            trace = torch.einsum("zij,zij->z", deformation, torch.linalg.inv(g)) / 3
            trace = torch.zeros_like(trace) if kind == "killing" else trace
            assert_equal(deformation, trace[:, None, None] * g, scale=1.0, rtol=1e-9)
            if kind == "homothetic":
                assert_equal(trace, trace[:1].expand(4), scale=1.0, rtol=1e-9)


@pytest.mark.unshaped
def test_messages():
    plane, x = lambda x: torch.eye(2), torch.rand(50, 2, dtype=D)
    for arguments, message in (
        ({}, "neither `box` nor `points` is given"),
        ({"box": SQUARE, "weights": torch.ones(3)}, "`weights` are of `points`, which are not given"),
        (
            {"points": x, "weights": torch.ones(3)},
            r"`weights` has shape \(3,\), expected a tensor of one weight a point",
        ),
        ({"points": x, "weights": -torch.ones(50)}, "`weights` has negative numbers"),
        ({"points": x, "weights": torch.zeros(50)}, "`weights` are 0 at all points but one, or at all"),
        ({"points": x[:3]}, "`points` are 3, too few for so many functions: expected 16 or more"),
        ({"points": x, "weights": (torch.arange(50) < 9).double()}, "`points` are 9, too few for so many functions"),
        ({"points": x[:, 0]}, r"`points` has shape \(50,\), expected \(N, n\)"),
        ({"points": x * torch.tensor([1.0, 0.0])}, "all `points` have the same coordinate 1"),
        ({"points": x / 0}, "`points` is not finite at"),
        ({"points": x, "box": ((0, 1),) * 3}, "`box` has 3 coordinates, but `points` have 2"),
        ({"box": SQUARE, "tolerance": float("nan")}, "`tolerance` is nan, expected a number, 0 or more"),
        ({"box": SQUARE, "kind": "affine"}, "`kind` is 'affine', expected one of 'killing', 'homothetic', 'conformal'"),
    ):
        with pytest.raises(ValueError, match=message):
            rm.killing_fields(plane, **arguments)
    with pytest.raises(TypeError, match="`points` has dtype torch.int64"):
        rm.killing_fields(plane, points=torch.ones(50, 2, dtype=torch.int64))
    with pytest.raises(TypeError, match="`points` is a list"):
        rm.conserved_quantities(plane, points=[[0.0, 1.0]])
    with pytest.raises(ValueError, match="`max_degree` is 3, expected 1 or 2"):
        rm.conserved_quantities(plane, SQUARE, max_degree=3)
    with pytest.raises(ValueError, match="`basis` is a list, expected 'polynomial'"):
        rm.conserved_quantities(plane, SQUARE, [lambda x: x])
    with pytest.raises(ValueError, match="`basis` is 'fourier'"):
        rm.conserved_quantities(plane, SQUARE, "fourier")
