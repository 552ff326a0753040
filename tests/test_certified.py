"""Enclosures hold the truth, proofs are of true statements, and nothing is concluded where nothing is known."""

import itertools
import json
import math
import random
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch

import riemann as rm
from riemann import spaces
from riemann._certified.balls import Balls
from riemann._certified.boxes import Boxes
from riemann._certified.certify import Certificate
from riemann._certified.forms import Box
from riemann._certified.geometry import Enclosed, enclosed
from riemann._certified.given import exact
from riemann._certified.intervals import Interval
from riemann._certified.library import precision
from riemann._certified.planes import four_forms
from riemann.bridge import _functions as bridge_functions
from riemann.bridge import trace
from riemann.bridge._digits import Digits
from riemann.symbolic._taylor import Series

QUANTITIES = (
    "riemann_tensor", "ricci_tensor", "scalar_curvature", "einstein_tensor", "weyl_tensor", "kretschmann_scalar",
    "christoffel", "volume_element",
)  # fmt: skip


def sphere(x):
    return torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))


def ball_model(x):
    return torch.eye(3) * 4 / (1 - (x * x).sum()) ** 2


def surface(f):
    """dt^2 + f(t)^2 ds^2, whose curvature is -f'' / f."""
    return lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), f(x[0]) ** 2]))


def network(seed=0, width=16):
    torch.manual_seed(seed)
    layers = torch.nn.Sequential(
        torch.nn.Linear(2, width), torch.nn.Tanh(), torch.nn.Linear(width, width), torch.nn.Tanh(),
        torch.nn.Linear(width, 3),
    ).double()  # fmt: skip

    def metric(x):
        p = layers(x)
        diagonal = torch.nn.functional.softplus(p[::2]) + 0.1
        L = torch.stack([torch.stack([diagonal[0], torch.zeros_like(p[0])]), torch.stack([p[1], diagonal[1]])])
        return L @ L.T

    return metric


# ------------------------------------------------------------------------------------------------------- at one point


def contains(ball, value, slack=0):
    """Whether a ball holds a number of mpmath, which is right to far more digits than the ball."""
    lower, upper = (mpmath.mpf(end().mid().str(60, radius=False)) for end in (ball.lower, ball.upper))
    return lower - mpmath.mpf(10) ** -45 - slack <= value <= upper + mpmath.mpf(10) ** -45 + slack


def _hold_the_facts(name, count, quantities, seed=3):
    space = spaces.get(name)
    for point in space.sample(count, generator=torch.Generator().manual_seed(seed)):
        at = dict(zip(space.symbolic.coordinates, map(sp.Rational, point.tolist()), strict=True))
        for quantity, fact in space.facts.items():
            if quantity not in quantities:
                continue
            found = rm.enclose(space, quantity, point)
            assert found.digits >= 30, (quantity, found.stopped)
            balls = [found.ball] if not hasattr(found.ball, "flat") else list(found.ball.flat)
            facts = [fact] * len(balls) if not hasattr(fact, "shape") else sp.flatten(fact.tolist())
            with mpmath.workdps(60):
                for ball, value in zip(balls, facts, strict=True):
                    assert contains(ball, sp.N(sp.sympify(value).subs(at), 60)._to_mpmath(220)), (quantity, value)


@pytest.mark.parametrize("name", spaces.names())
def test_enclosures_hold_the_facts_of_the_catalogue(name):
    _hold_the_facts(name, 1, QUANTITIES)


@pytest.mark.slow
@pytest.mark.parametrize("name", spaces.names())
def test_enclosures_hold_all_facts_at_ten_points(name):
    _hold_the_facts(name, 10, rm._certified.quantities.QUANTITIES, seed=11)


FUNCTIONS = {
    "erf": (torch.erf, mpmath.erf),
    "lgamma": (torch.lgamma, mpmath.loggamma),
    "digamma": (torch.digamma, mpmath.digamma),
    "erfinv": (lambda t: torch.erfinv(t / 4), lambda t: mpmath.erfinv(t / 4)),
    "bessel_j1": (torch.special.bessel_j1, lambda t: mpmath.besselj(1, t)),
    "i0e": (torch.special.i0e, lambda t: mpmath.besseli(0, t) * mpmath.exp(-t)),
    "gelu": (torch.nn.functional.gelu, lambda t: t * mpmath.ncdf(t)),
    "power": (lambda t: t**2.3, lambda t: t ** mpmath.mpf(2.3)),
    "power of itself": (lambda t: t**t, lambda t: t**t),
    "atan2": (lambda t: torch.atan2(t, t * t - 3), lambda t: mpmath.atan2(t, t * t - 3)),
    "a tenth": (lambda t: torch.exp(0.1 * t), lambda t: mpmath.exp(mpmath.mpf(0.1) * t)),
    "pi": (lambda t: torch.sin(math.pi * t / 4), lambda t: mpmath.sin(mpmath.mpf(math.pi) * t / 4)),
    "a tenth in single precision": (
        lambda t: torch.exp(torch.tensor(0.1, dtype=torch.float32) * t),
        lambda t: mpmath.exp(mpmath.mpf(torch.tensor(0.1).item()) * t),
    ),
    "a tenth rounded twice": (
        lambda t: torch.exp(torch.full((), 0.1, dtype=torch.float64).float().double() * t),
        lambda t: mpmath.exp(mpmath.mpf(torch.tensor(0.1).item()) * t),
    ),
    "softmax": (
        lambda t: torch.softmax(torch.stack([t, 2 * t]), 0)[0],
        lambda t: mpmath.exp(t) / (mpmath.exp(t) + mpmath.exp(2 * t)),
    ),
    "log det": (
        lambda t: torch.logdet(torch.stack([torch.stack([t + 3, t * t / 8]), torch.stack([t * t / 8, t + 3])])),
        lambda t: mpmath.log((t + 3) ** 2 - (t * t / 8) ** 2),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_and_constants_are_what_they_are_to_thirty_digits(name):
    f, g = FUNCTIONS[name]
    here = rm.enclose(surface(f), "gauss_curvature", [1.3, 0.2])
    with mpmath.workdps(60):
        t = mpmath.mpf(1.3)
        truth = -mpmath.diff(g, t, 2) / g(t)
        assert here.digits >= 30 and contains(here.ball, truth, slack=mpmath.mpf(10) ** -34)


# Where each function of the table is a number, and an operation of the 40 digits has a ball, or is refused by name.

SUSPECTS = {"acosh": 1.7, "special_bessel_y0": 1.7, "special_bessel_y1": 1.7}


@pytest.mark.parametrize("name", bridge_functions.FUNCTIONS)
def test_each_function_of_the_digits_has_its_balls(name):
    """Value and derivatives at a point, over a box, and over many: FLINT's, and the tensors', hold the 40 digits."""
    t = SUSPECTS.get(name, 0.3125)
    digits = Digits(1, 3, 45)
    truth = digits.call(name, digits.variable(0, digits.number(t))).c
    centre, radius = torch.tensor([[t]], dtype=torch.float64), 2.0**-20
    with precision(160), mpmath.workdps(60):
        at = Balls(1, 3)
        over, many = Balls(1, 3, Box([exact(radius)])), Boxes(centre, torch.full_like(centre, radius), 3)
        forms = [E.call(name, E.variable(0, exact(t))).over.c for E in (at, over)]
        stack = many.call(name, many.variable(0, centre[0]))
        low, high = stack.mid[:, 1, 0] - stack.rad[:, 1, 0], stack.mid[:, 1, 0] + stack.rad[:, 1, 0]
        for k, value in enumerate(map(mpmath.mpf, truth)):
            assert all(
                contains(E.number(c[k]), value, abs(value) / 10**38) for E, c in zip((at, over), forms, strict=True)
            )
            assert float(low[k]) <= float(value) <= float(high[k])
            assert at.number(forms[0][k]).rel_accuracy_bits() > 90 or not value


def test_each_operation_of_the_digits_is_one_of_the_balls():
    """Operations are one table over any numbers; what it asks of them balls, and tensors of balls, can do."""
    asked = {name for name in vars(Digits) | vars(Series) if not name.startswith("_")}
    assert {name for name in asked if callable(getattr(Digits, name, None))} - set(dir(Balls)) <= {"series"}
    assert issubclass(Boxes, Balls)
    g = lambda x: torch.linalg.eigh(torch.diag(x) * (1 + 0j))[1].abs()  # refused by both, by name
    x = torch.ones(2, dtype=torch.float64)
    for call in (lambda: rm.enclose(g, "metric", x), lambda: rm.bridge.high_precision(g, x)):
        with pytest.raises(ValueError, match=r"linalg_eigh.*complex"):
            call()


def test_digits_are_there_or_it_is_said_what_stopped_them():
    assert rm.enclose(sphere, "scalar_curvature", [1e-4, 0.2], digits=100).digits >= 100
    wide = rm.enclose(sphere, "scalar_curvature", ((0.6, 0.61), (0, 1)))
    assert wide.lower < 2 < wide.upper and "width of the box" in wide.stopped
    pole = rm.enclose(sphere, rm.scalar_curvature, [0.0, 0.2])
    assert pole.lower == -math.inf and pole.upper == math.inf and "singular" in pole.stopped


def test_quantities_have_their_shapes_and_agree_with_the_numeric_side():
    g = lambda x: torch.eye(3) * torch.exp(x[0] * x[1]) + torch.outer(x, x)
    x = torch.tensor([0.3, 0.4, -0.2], dtype=torch.float64)
    for name in ("inverse_metric", "christoffel", "riemann_tensor", "ricci_tensor", "scalar_curvature",
                 "einstein_tensor", "schouten_tensor", "cotton_tensor", "weyl_tensor", "kretschmann_scalar",
                 "volume_element", "log_volume_element", "nabla_riemann", "cotton_york_tensor"):  # fmt: skip
        here, value = rm.enclose(g, name, x), getattr(rm, name)(g, x)
        assert here.lower.shape == value.shape and bool((here.lower <= here.upper).all())
        torch.testing.assert_close((here.lower + here.upper) / 2, value, rtol=1e-9, atol=1e-9)


def test_the_bach_tensor_is_enclosed():
    g = lambda x: torch.eye(4) * torch.exp(x[0] * x[1]) + torch.outer(x, x)
    x = torch.tensor([0.1, 0.2, -0.3, 0.4], dtype=torch.float64)
    here = rm.enclose(g, "bach_tensor", x)
    assert here.digits >= 30
    torch.testing.assert_close((here.lower + here.upper) / 2, rm.bach_tensor(g, x), rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------------------------------------------------- over boxes


@pytest.mark.parametrize("f, g", [
    (Interval.exp, mpmath.exp), (Interval.tanh, mpmath.tanh), (Interval.atan, mpmath.atan), (Interval.sin, mpmath.sin),
    (Interval.cos, mpmath.cos), (Interval.log, mpmath.log), (Interval.sqrt, mpmath.sqrt),
    (Interval.reciprocal, lambda t: 1 / t), (lambda x: x.whole_power(2), lambda t: t**2),
    (lambda x: x.whole_power(-3), lambda t: t**-3), (lambda x: x.whole_power(5), lambda t: t**5),
])  # fmt: skip
@pytest.mark.parametrize("radius", [0.0, 1e-9, 0.3])
def test_intervals_hold_the_values_of_functions(f, g, radius):
    x = torch.cat([torch.randn(60), 50 * torch.randn(30), 1e-6 * torch.randn(10)]).double()
    y, chance = f(Interval(x, torch.full_like(x, radius))), random.Random(0)
    with mpmath.workdps(40):
        for a, low, high in zip(x.tolist(), y.lower().tolist(), y.upper().tolist(), strict=True):
            for part in (-1, 1, chance.uniform(-1, 1)):
                if low <= high:  # else it is not known
                    assert low <= g(mpmath.mpf(a) + mpmath.mpf(radius) * part) <= high


METRICS = {
    "sphere": (sphere, 2, 0.5, 1.2),
    "ball": (ball_model, 3, -0.3, 0.3),
    "network": (network(), 2, -1.0, 1.0),
    "special": (lambda x: torch.eye(2) * (2 + torch.erf(x[0]) * torch.nn.functional.gelu(x[1])), 2, -1.0, 1.0),
    "kinks": (lambda x: torch.eye(2) * (2 + torch.relu(x[0]) + torch.where(x[1] > 0.1, x[1], x[1] ** 2)), 2, -1.0, 1.0),
    "exponential": (
        lambda x: torch.linalg.matrix_exp(torch.stack([torch.stack([x[0], x[1]]), torch.stack([x[1], x[0] * x[1]])])),
        2, -1.0, 1.0,
    ),
    "cut": (lambda x: torch.eye(2) * (5 + torch.atan2(x[0], x[1])), 2, -1.0, 1.0),
    "linear algebra": (lambda x: torch.linalg.inv(torch.eye(2) * (2 + x @ x) + torch.outer(x, x)), 2, -1.0, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("radius", [1e-7, 1e-2, 0.1])
def test_enclosures_on_boxes_hold_the_truth_inside(name, radius):
    """The tensors, judged by FLINT at random points of the boxes."""
    metric, n, low, high = METRICS[name]
    graph, count = trace(metric, n, torch.float64), 24
    centre = low + (high - low) * torch.rand(n, count, dtype=torch.float64)
    with torch.no_grad(), precision(120):
        E = Boxes(centre, torch.full_like(centre, radius), 4)
        here = enclosed(graph, E, list(centre))
        known, S = here.known("scalar_curvature"), here.scalar_curvature().value
        assert name in ("kinks", "cut") or bool(known.any()) or radius > 0.05
        for k in known.nonzero()[:, 0].tolist():
            point = centre[:, k] + radius * (2 * torch.rand(n, dtype=torch.float64) - 1) * 0.999
            at = enclosed(graph, Balls(n, 2), [exact(v) for v in point.tolist()]).scalar_curvature().value
            assert not bool(at < S.lower()[k].item()) and not bool(at > S.upper()[k].item())


@pytest.mark.parametrize("metric, box", [
    (sphere, ((-0.1, 0.2), (0, 1))),  # a pole
    (lambda x: torch.diag(torch.stack([x[0] ** 2, torch.ones_like(x[0])])), ((-1, 1), (0, 1))),  # flat where it is one
    (lambda x: torch.diag(torch.stack([1 / x[0] ** 2, torch.ones_like(x[0])])), ((-1, 1), (0, 1))),
    (lambda x: torch.eye(2) * (1 + x[0].abs()), ((-1, 1), (0, 1))),  # a kink
    (lambda x: torch.eye(2) * (1 + torch.relu(x[0])), ((-1, 1), (0, 1))),
    (lambda x: torch.eye(2) * torch.where(x[0] > 0.25, 1.0, 2.0), ((-1, 1), (0, 1))),  # a jump
    (lambda x: torch.eye(2) * (1 + torch.maximum(x[0], x[1])), ((-1, 1), (-1, 1))),
    (lambda x: torch.eye(2) * (4 + torch.atan2(x[1], x[0])), ((-1, -0.5), (-1, 1))),  # across the cut
    (lambda x: torch.eye(2) * torch.nn.functional.softplus(x[0]), ((19, 21), (0, 1))),  # where torch takes x
    (lambda x: torch.eye(2) * (1 + x[0] ** 2.5), ((-1, 1), (0, 1))),  # the end of a domain
])  # fmt: skip
def test_nothing_is_proved_where_the_metric_is_singular_or_not_smooth(metric, box):
    """Even a bound that holds everywhere else."""
    certificate = rm.certify(metric, "scalar_curvature", box, above=-1e9, max_boxes=300, budget=10)
    assert not certificate.proved and certificate.undecided
    assert any(word in certificate.reason for word in ("singular", "choice"))


# -------------------------------------------------------------------------------------------------------------- proofs


def test_a_metric_of_curvature_minus_six_is_proved_to_be_negative():
    certificate = rm.certify(ball_model, "scalar_curvature", ((-0.28, 0.28),) * 3, below=0)
    assert certificate.proved and not certificate.refuted and not certificate.undecided
    assert rm.check_certificate(ball_model, certificate)


@pytest.mark.parametrize("quantity, bounds, metric, box", [
    ("sectional_curvature", {"below": -0.9, "above": -1.1}, ball_model, ((-0.1, 0.1),) * 3),
    ("ricci_eigenvalues", {"below": -1.9}, ball_model, ((-0.05, 0.05),) * 3),
    ("metric_eigenvalues", {"above": 0}, ball_model, ((-0.3, 0.3),) * 3),
    ("gauss_curvature", {"above": 0.99, "below": 1.01}, sphere, ((0.8, 1.2), (0, 100))),
    ("kretschmann_scalar", {"below": 4.1}, sphere, ((0.8, 1.2), (0, 1))),
    ("volume_element", {"below": 1.01}, sphere, ((0.8, 1.2), (0, 1))),
    ("sectional_curvature", {"above": 0.9}, lambda x: torch.eye(4) * 4 / (1 + x @ x) ** 2, ((0, 0.05),) * 4),
])  # fmt: skip
def test_true_bounds_are_proved(quantity, bounds, metric, box):
    certificate = rm.certify(metric, quantity, box, **bounds)
    assert certificate.proved, str(certificate)
    assert rm.check_certificate(metric, certificate)


@pytest.mark.parametrize("quantity, bounds", [
    ("sectional_curvature", {"below": -1.1}), ("sectional_curvature", {"above": -0.9}),
    ("ricci_eigenvalues", {"below": -2.1}), ("ricci_eigenvalues", {"above": -1.9}),
    ("metric_eigenvalues", {"above": 4.1}), ("metric_eigenvalues", {"below": 4.0}),
    ("scalar_curvature", {"below": -6.001}),
])  # fmt: skip
def test_false_bounds_are_refuted_by_a_point(quantity, bounds):
    certificate = rm.certify(ball_model, quantity, ((-0.1, 0.1),) * 3, **bounds)
    assert certificate.refuted and not certificate.proved and certificate.witness.ball.is_finite()
    assert rm.check_certificate(ball_model, certificate)


def test_a_plane_refutes_in_four_dimensions():
    """The product of two spheres has mixed planes of curvature 0."""
    g = lambda x: torch.diag(torch.stack([x[0] ** 0, x[0].sin() ** 2, x[2] ** 0, x[2].sin() ** 2]))
    certificate = rm.certify(g, "sectional_curvature", ((1, 1.1), (0, 0.1), (1, 1.1), (0, 0.1)), above=0.1)
    assert certificate.refuted and len(certificate.witness.vectors) == 2 and rm.check_certificate(g, certificate)


def test_all_planes_in_four_dimensions_where_the_curvature_operator_is_too_weak():
    """1 <= K <= 4 on the complex projective plane, whose curvature operator has eigenvalues 0 and 6."""
    space = spaces.complex_projective(2)
    box = tuple((v, v + 0.005) for v in (0.1, 0.2, 0.3, 0.1))
    for bounds in ({"above": 0.9}, {"below": 4.1}):
        certificate = rm.certify(space, "sectional_curvature", box, **bounds)
        assert certificate.proved and rm.check_certificate(space, certificate), str(certificate)
    for bounds in ({"above": 1.0001}, {"below": 3.9999}, {"above": 1 + 1e-12}):
        certificate = rm.certify(space, "sectional_curvature", box, **bounds, max_boxes=20)
        assert not certificate.proved, str(certificate)


@pytest.mark.slow
def test_all_planes_in_five_dimensions_where_the_curvature_operator_is_too_weak():
    """0 <= K <= 4 on the product of the complex projective plane and a line; the operator has an eigenvalue 6."""
    plane = spaces.complex_projective(2)
    g = lambda x: torch.block_diag(plane(x[:4]), torch.ones(1, 1, dtype=x.dtype))
    box = tuple((v, v + 0.002) for v in (0.1, 0.2, 0.3, 0.1, 0.0))
    certificate = rm.certify(g, "sectional_curvature", box, below=4.2, above=-0.1, max_boxes=200)
    assert certificate.proved and rm.check_certificate(g, certificate), str(certificate)
    for bounds in ({"below": 3.9999}, {"above": 0.0001}):
        assert rm.certify(g, "sectional_curvature", box, **bounds, max_boxes=5).refuted


@pytest.mark.parametrize("n", [4, 5, 6])
def test_four_forms_change_nothing_on_planes(n):
    """The best one makes the smallest eigenvalue larger: of a form that is positive on planes, positive."""
    pairs = list(itertools.combinations(range(n), 2))
    M, hidden = torch.randn(2, len(pairs), len(pairs), dtype=torch.float64)
    M, G = M @ M.T / 10, hidden @ hidden.T + torch.eye(len(pairs))
    as_forms = lambda E, F: [[E.constant(v) for v in row] for row in F.tolist()]
    E = Boxes(torch.zeros(n, 1, dtype=torch.float64), torch.zeros(n, 1, dtype=torch.float64), 0)
    for entries in four_forms(n):
        t = torch.randn(())
        for i, j, sign in entries:
            M[i, j] = M[j, i] = M[i, j] + sign * t
    here = Enclosed(E, as_forms(E, torch.eye(n)))
    shifted = here.with_four_form(as_forms(E, M), as_forms(E, G))
    N = torch.stack([torch.cat([e.value.mid for e in row]) for row in shifted])
    u, v = torch.randn(2, 50, n, dtype=torch.float64)
    planes = torch.stack([u[:, a] * v[:, b] - u[:, b] * v[:, a] for a, b in pairs], -1)
    on = lambda F: torch.einsum("ki,ij,kj->k", planes, F, planes)
    torch.testing.assert_close(on(N), on(M))
    relative = lambda F: torch.linalg.eigvals(torch.linalg.solve(G, F)).real.min()
    assert relative(M) < -1e-3 and relative(N) > relative(M) + 1e-3 and relative(N) > -2e-3 * M.abs().max()


def _planted(count, seed):
    """False statements: the bound is passed at a point of the box, by 1e-12 and by more."""
    chance = random.Random(seed)
    metrics = [METRICS[name] for name in ("sphere", "ball", "network", "special", "linear algebra")]
    for k in range(count):
        metric, n, low, high = metrics[k % len(metrics)]
        width = chance.choice([1e-5, 1e-3, 0.02])
        corner = [chance.uniform(low, high - width) for _ in range(n)]
        inside = [c + width * chance.random() for c in corner]
        off = chance.choice([1e-12, 1e-9, 1e-3])
        yield metric, tuple((c, c + width) for c in corner), inside, off, chance.choice(["below", "above"])


def _no_false_proof(count, seed):
    for metric, box, inside, off, side in _planted(count, seed):
        here = rm.enclose(metric, "scalar_curvature", inside)
        bound = float(here.lower) - off if side == "below" else float(here.upper) + off
        certificate = rm.certify(metric, "scalar_curvature", box, **{side: bound}, max_boxes=40, budget=5)
        assert not certificate.proved, (box, bound, side)


def test_no_false_statement_is_proved():
    _no_false_proof(40, 0)


@pytest.mark.slow
def test_no_false_statement_of_three_hundred_is_proved():
    _no_false_proof(300, 1)


def test_two_processes_find_what_one_finds():
    one, two = (rm.certify(ball_model, "scalar_curvature", ((-0.2, 0.2),) * 3, below=-5, processes=k) for k in (1, 2))
    assert one.proved and two.proved and rm.check_certificate(ball_model, two)


def test_signs_of_a_network():
    metric = network(1)
    signs = rm.certified_signs(metric, "gauss_curvature", ((-1, 1), (-1, 1)), budget=20, max_boxes=1500)
    assert signs.decided > 0.9
    for boxes, sign in ((signs.above, 1), (signs.below, -1)):
        for box in boxes[::10][:40]:
            x = (box[:, 0] + (box[:, 1] - box[:, 0]) * torch.rand(2, dtype=torch.float64)).tolist()
            here = rm.enclose(metric, "gauss_curvature", x)
            assert (here.lower > 0) if sign > 0 else (here.upper < 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_signs_of_wide_networks_are_decided_nearly_everywhere(seed):
    """On two cores a minute decides nine tenths and more; here the boxes are counted, not the seconds."""
    metric = network(seed, width=64)
    signs = rm.certified_signs(metric, "gauss_curvature", ((-1, 1), (-1, 1)), budget=240, max_boxes=6000)
    assert signs.decided > 0.9 and len(signs.above) and len(signs.below)
    for boxes, sign in ((signs.above, 1), (signs.below, -1)):
        for k in torch.randint(len(boxes), (100,)).tolist():
            x = boxes[k, :, 0] + (boxes[k, :, 1] - boxes[k, :, 0]) * torch.rand(2, dtype=torch.float64)
            here = rm.enclose(metric, "gauss_curvature", x)
            assert bool(here.lower > 0) if sign > 0 else bool(here.upper < 0)


# -------------------------------------------------------------------------------------------------------- certificates


def test_a_certificate_is_saved_and_checked_again(tmp_path):
    certificate = rm.certify(sphere, "gauss_curvature", ((0.5, 1.3), (0.1, 0.3)), above=0.9)
    certificate.save(tmp_path / "proof.json")
    assert Certificate.load(tmp_path / "proof.json") == certificate
    assert rm.check_certificate(sphere, tmp_path / "proof.json")
    assert not rm.check_certificate(lambda x: sphere(x) * 2, certificate)  # K = 1/2


@pytest.mark.parametrize("change", [
    {"above": 1.5}, {"box": [[0.05, 1.3], [0.1, 0.3]]}, {"tree": "."}, {"tree": ""}, {"tree": "0.."}, {"tree": "?"},
    {"proved": False}, {"box": [[-0.5, 1.3], [0.1, 0.3]], "tree": "0.."},
])  # fmt: skip
def test_a_certificate_that_was_changed_fails(change):
    certificate = rm.certify(sphere, "gauss_curvature", ((0.2, 1.3), (0.1, 0.3)), above=0.99)
    assert certificate.proved and len(certificate.tree) > 3
    data = json.loads(certificate.to_json()) | change
    assert not rm.check_certificate(sphere, Certificate.from_json(json.dumps(data)))


def test_a_witness_outside_the_box_is_none():
    certificate = rm.certify(sphere, "volume_element", ((0.5, 1.3), (0.1, 0.3)), above=0.6)
    assert certificate.refuted
    data = json.loads(certificate.to_json())
    data["box"] = [[1.0, 1.3], [0.1, 0.3]]
    assert not rm.check_certificate(sphere, Certificate.from_json(json.dumps(data)))


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("call, message", [
    (lambda: rm.enclose(lambda x: torch.linalg.eigh(torch.diag(x))[1], "metric", [1.0, 2.0]), "linalg_eigh"),
    (lambda: rm.enclose(lambda x: torch.eye(2) * x[0].item(), "metric", [1.0, 2.0]), "item"),
    (lambda: rm.enclose(sphere, "entropy", [1.0, 2.0]), "expected one of metric"),
    (lambda: rm.enclose(lambda x: torch.eye(2) + torch.triu(x[0] * torch.ones(2, 2)), "metric", [1.0, 2]), "not symm"),
    (lambda: rm.enclose(ball_model, "gauss_curvature", [0.1, 0.2, 0.3]), "surface"),
    (lambda: rm.enclose(sphere, "cotton_tensor", [1.0, 2.0]), "n >= 3"),
    (lambda: rm.enclose(sphere, "bach_tensor", [1.0, 2.0]), "n = 4"),
    (lambda: rm.enclose(sphere, "cotton_york_tensor", [1.0, 2.0]), "n = 3"),
    (lambda: rm.enclose(sphere, "metric", [math.nan, 2.0]), "not finite"),
    (lambda: rm.enclose(sphere, "metric", ((1, 0), (0, 1))), "empty side"),
    (lambda: rm.certify(sphere, "scalar_curvature", ((0.5, 1), (0, 1))), "needs a bound"),
    (lambda: rm.certify(sphere, "ricci_tensor", ((0.5, 1), (0, 1)), below=1), "ricci_eigenvalues"),
    (lambda: rm.certify(sphere, "scalar_curvature", ((0.5, 1), (0, 1)), below=math.nan), "finite number"),
    (lambda: rm.certify(spaces.sphere(3), "scalar_curvature", ((0.5, 1), (0, 1)), below=1), "n = 3"),
    (lambda: Certificate.from_json("{}"), "no certificate"),
    (lambda: rm.certified_signs(sphere, "scalar_curvature", ((0.5, 1), (0, 1)), math.inf), "`level` is inf"),
    (lambda: rm.certified_signs(sphere, "scalar_curvature", ((0.5, 1), (0, 1)), Fraction(1, 3)), "no float holds"),
    (lambda: rm.certify(sphere, "scalar_curvature", ((Fraction(1, 3), 1), (0, 1)), below=1), "`box` is 1/3, which no"),
    (lambda: rm.certify(sphere, "scalar_curvature", ((0.5, 10**400), (0, 1)), below=1), "no float holds"),
    (lambda: rm.certify(sphere, "scalar_curvature", ((0.5, 1), (0, 1)), below=1, processes=0), "`processes` is 0"),
    (lambda: rm.enclose(sphere, "metric", []), "`at` is neither a point"),
    (lambda: rm.enclose(sphere, "metric", torch.ones(2, 3)), r"`at`, of shape \(2, 3\), is neither"),
    (lambda: rm.enclose(sphere, "metric", torch.ones(2, device="meta")), "no values"),
    (lambda: rm.enclose(sphere, "metric", [1.0, 2.0], 0), "`digits` is 0"),
])  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


CALLS = {
    "at": lambda at: rm.enclose(sphere, "metric", at),
    "box": lambda box: rm.certify(sphere, "scalar_curvature", box, below=1),
    "box of signs": lambda box: rm.certified_signs(sphere, "scalar_curvature", box),
}


@pytest.mark.unshaped
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("given, message", [
    (None, "`{}` is a NoneType, expected a point"),
    (sphere, "`{}` is a function, .* the metric is the first argument"),
    ("scalar_curvature", "`{}` is a str, .* the quantity the second"),
    (0.5, r"`{}` is a float, .* use `\[{}\]`"),
    (torch.tensor(0.5), r"`{}` is a Tensor, .* use `\[{}\]`"),
    (zip((0, 1), (1, 2), strict=True), r"`{}` is a zip, .* use `list\({}\)`"),
    ({0.5, 1.0}, "`{}` is a set"),
    (torch.ones(2).to_sparse(), r"use `{}.to_dense\(\)`"),
    (torch.tensor([0.5, 1 + 0j]), r"an entry of `{}` is \(0.5\+0j\), expected a real number"),
    (np.array([0.5, 1j]), r"an entry of `{}` is \(0.5\+0j\), expected a real number"),
    (((0.5, 1), (0, 1j)), "an entry of `{}` is 1j, expected a real number"),
    (((0.5, 1), (0, None)), "an entry of `{}` is a NoneType"),
    (torch.ones(2, 2, 2), "an entry of `{}` is a list"),
    (torch.tensor([True, True]), "an entry of `{}` is a bool"),
    ([Decimal("0.3"), 1], r"an entry of `{}` is a Decimal, .* `fractions.Fraction\(str"),
])  # fmt: skip
def test_what_is_no_point_and_no_box_is_named(call, given, message):
    with pytest.raises(TypeError, match=message.replace("{}", call.split()[0])):
        CALLS[call](given)


@pytest.mark.unshaped
@pytest.mark.parametrize("bound", ["1", 1j, [], torch.ones(2)])
def test_what_is_no_bound_is_named(bound):
    box = ((0.5, 1), (0, 1))
    with pytest.raises(TypeError, match="`level` is .* expected a real number"):
        rm.certified_signs(sphere, "scalar_curvature", box, bound)
    with pytest.raises(TypeError, match="`below` is .* expected a real number"):
        rm.certify(sphere, "scalar_curvature", box, below=bound)


@pytest.mark.unshaped
def test_what_is_no_certificate_is_named():
    with pytest.raises(TypeError, match="`certificate` is a NoneType"):
        rm.check_certificate(sphere, None)


@pytest.mark.unshaped
def test_one_quantity_is_no_list_of_them():
    for one in ("metric", rm.scalar_curvature):
        with pytest.raises(TypeError, match=r"use `\[quantities\]`"):
            rm.bound_rounding(sphere, torch.ones(2, dtype=torch.float64), one)


@pytest.mark.unshaped
def test_exact_numbers_and_tensors_of_one_number_are_taken_as_they_are():
    """At 1 / 3, which no float holds, and on a box whose sides are tensors."""
    square = lambda x: torch.eye(2) * x[0] ** 2
    ball = rm.enclose(square, "metric", [Fraction(1, 3), 0]).ball[0, 0]
    with precision(400):
        assert ball.contains(exact(Fraction(1, 9))) and not ball.contains(exact(1 / 3) ** 2)
    here = rm.enclose(square, "metric", [(torch.tensor(0.5), np.float32(1)), torch.tensor([0, 1])])
    assert here.lower[0, 0] <= 0.25 and here.upper[0, 0] >= 1


def test_a_flat_box_is_decided_along_its_wide_sides():
    for box, whole in ((((0.5, 1.0), (1, 1)), 1.0), (((1, 1), (1, 1)), 1.0)):
        assert rm.certified_signs(sphere, "gauss_curvature", box).decided == whole
    flat = rm.certified_signs(sphere, "gauss_curvature", ((1, 1), (1, 1)), level=2)
    assert flat.decided == 1.0 and len(flat.below) == 1


def test_flint_is_brought_in_when_it_is_needed_and_named_where_it_is_missing():
    script = """
import sys, riemann
assert "flint" not in sys.modules
sys.modules["flint"] = None
try:
    riemann.enclose(lambda x: x, "metric", [1.0])
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "riemann-torch[certify]" in done.stdout
