"""Enclosures of geodesics hold the closed forms, and end where nothing can be proved."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

import riemann as rm
from tests.test_certified import network, sphere


def half_plane(x):
    return torch.eye(2) / x[1] ** 2


def schwarzschild(x):
    """At the equator: t, r, phi."""
    f = 1 - 2 / x[1]
    return torch.diag(torch.stack([-f, 1 / f, x[1] ** 2]))


def holds(path, position, velocity):
    truth = torch.tensor([position, velocity], dtype=torch.float64)
    slack = 4e-16 * truth.abs()  # of floats
    return bool(((path.lower - slack <= truth) & (truth <= path.upper + slack)).all())


def test_a_geodesic_of_the_half_plane():
    """x = tanh t, y = 1 / cosh t, backwards in time."""
    path = rm.enclose_geodesic(half_plane, [0.0, 1.0], [1.0, 0.0], -0.0625)
    x, y = math.tanh(-0.0625), 1 / math.cosh(0.0625)
    assert path.time == -0.0625 and not path.stopped and holds(path, (x, y), (y**2, -x * y))
    assert (path.upper - path.lower).max() < 1e-8
    assert path.length[0] <= 0.0625 <= path.length[1] and path.length[1] - path.length[0] < 1e-15
    assert path.times[0] == 0 and path.times[-1] == -0.0625 and bool((path.times.diff() < 0).all())
    for k in range(len(path.tube)):
        for t in torch.linspace(float(path.times[k]), float(path.times[k + 1]), 7).tolist():
            at = torch.tensor([math.tanh(t), 1 / math.cosh(t)], dtype=torch.float64)
            assert bool((path.tube[k, 0] <= at + 1e-15).all() & (at - 1e-15 <= path.tube[k, 1]).all())


@pytest.mark.slow
def test_a_great_circle():
    """From the equator at an angle: cos(theta) = sin(a) sin(t)."""
    path = rm.enclose_geodesic(sphere, [math.pi / 2, 0.0], [-0.5, 0.75], 0.5, tolerance=1e-9)
    speed = math.hypot(0.5, 0.75)
    theta = math.acos(0.5 / speed * math.sin(0.5 * speed))
    assert path.lower[0, 0] - 1e-15 <= theta <= path.upper[0, 0] + 1e-15


@pytest.mark.slow
def test_flat_space_by_polar_coordinates_and_the_first_step_of_a_network():
    polar = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), x[0] ** 2]))
    path = rm.enclose_geodesic(polar, [1.0, 0.0], [0.0, 1.0], 0.5, tolerance=1e-9)  # the line (1, t)
    assert path.lower[0, 0] <= math.hypot(1, 0.5) <= path.upper[0, 0]
    assert path.lower[0, 1] <= math.atan(0.5) <= path.upper[0, 1]
    metric, x, v = network(width=4), [0.25, -0.5], [0.5, 0.25]
    path = rm.enclose_geodesic(metric, x, v, 0.125, order=10, tolerance=1e-7)
    like = lambda y: torch.tensor(y, dtype=torch.float64)
    near = rm.exp_map(metric, like(x), like(v) / 8)
    assert bool(((path.lower[0] - 1e-6 < near) & (near < path.upper[0] + 1e-6)).all())
    assert (path.upper - path.lower).max() < 1e-4


@pytest.mark.slow
def test_where_nothing_can_be_proved_it_ends_and_says_why():
    """Into the pole: the coordinates end there, and so does the proof."""
    path = rm.enclose_geodesic(sphere, [0.5, 0.0], [-1.0, 0.0], 2.0, order=10, tolerance=1e-3, max_steps=60)
    assert path.time < 0.5 and path.stopped and path.lower[0, 0] > 0
    assert len(path.tube) == len(path.times) - 1
    with pytest.raises(ValueError, match="singular"):
        rm.enclose_geodesic(sphere, [0.0, 0.0], [1.0, 0.0], 1.0)
    with pytest.raises(ValueError, match="singular"):
        rm.enclose_geodesic(lambda x: torch.eye(2) * (1 + x[0].abs()), [0.0, 0.0], [1.0, 0.0], 1.0)


@pytest.mark.unshaped
def test_bad_starts_are_named():
    x, v = [0.0, 1.0], [1.0, 0.0]
    for arguments, message in (
        (([0.0], v, 1.0), "`x` has 1 coordinates and `v` 2"),
        (([0.0, math.nan], v, 1.0), "an entry of `x` is nan"),
        ((x, v, math.inf), "`t` is inf"),
        ((x, v, Fraction(1, 3)), "`t` is 1/3, which no float holds"),
        ((x, torch.eye(2), 1.0), r"`v`, of shape \(2, 2\), is not one vector"),
        ((x, [], 1.0), "`v` is not one vector"),
    ):
        with pytest.raises(ValueError, match=message):
            rm.enclose_geodesic(half_plane, *arguments)
    for arguments, message in (
        ((None, v, 1.0), "`x` is a NoneType, expected one vector"),
        ((half_plane, x, v), "the metric is the first argument"),
        ((0.5, v, 1.0), r"use `\[x\]`"),
        ((torch.tensor([0.5 + 0j, 1.0]), v, 1.0), r"an entry of `x` is \(0.5\+0j\), expected a real number"),
        ((x, np.array([1.0, 1j]), 1.0), r"an entry of `v` is \(1\+0j\), expected a real number"),
        ((x, v, None), "`t` is a NoneType, expected a real number"),
        ((x, v, "1"), "`t` is a str, expected a real number"),
    ):
        with pytest.raises(TypeError, match=message):
            rm.enclose_geodesic(half_plane, *arguments)
    with pytest.raises(ValueError, match="`order` is 0"):
        rm.enclose_geodesic(half_plane, x, v, 1.0, order=0)


@pytest.mark.unshaped
def test_numbers_that_no_float_holds_are_taken_as_they_are():
    """1 / 3 less its float, along a line: not 0, as it is of the float."""
    third = Fraction(1, 3)
    flat = lambda x: torch.eye(2).to(x)
    for sign in (1, -1):
        path = rm.enclose_geodesic(flat, [sign * third, 0], [third.numerator / -3.0, 2**53 + 1], sign)
        assert (
            Fraction(path.lower[0, 0].item()) <= sign * (third - Fraction(1 / 3)) <= Fraction(path.upper[0, 0].item())
        )
        assert path.lower[1, 1] <= 2**53 < 2**53 + 2 <= path.upper[1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("off", [1e-6, 1e-3])
def test_false_statements_are_not_enclosed(off):
    path = rm.enclose_geodesic(half_plane, [0.0, 1.0], [1.0, 0.0], 0.125)
    assert not holds(path, (math.tanh(0.125) + off, 1 / math.cosh(0.125)), (0.0, 0.0))


@pytest.mark.slow
def test_an_orbit_of_a_black_hole_is_bounded_for_ten_revolutions():
    path = rm.enclose_geodesic(schwarzschild, [0.0, 10.0, 0.0], [1.195, 0.0, 0.04], 2560.0)
    assert not path.stopped and path.lower[0, 2] > 20 * math.pi
    assert path.tube[:, 0, 1].min() > 9.9 and path.tube[:, 1, 1].max() < 16
    assert (path.upper - path.lower).max() < 1e-4  # boxes do not wrap: it grows as t, not as exp t


def test_a_frame_that_moves_with_the_flow_keeps_an_orbit_thin():
    """A quarter of a revolution: errors grow as the time, and the velocity keeps its norm."""
    path = rm.enclose_geodesic(schwarzschild, [0.0, 10.0, 0.0], [1.195, 0.0, 0.04], 45.0)
    assert not path.stopped and len(path.tube) < 12 and (path.upper - path.lower).max() < 1e-8
    (_, r, _), (t_dot, r_dot, phi_dot) = ((path.lower + path.upper) / 2).tolist()
    norm = -(1 - 2 / r) * t_dot**2 + r_dot**2 / (1 - 2 / r) + r**2 * phi_dot**2
    assert abs(norm - (-0.8 * 1.195**2 + 100 * 0.04**2)) < 1e-8


@pytest.mark.slow
def test_an_unstable_geodesic_is_followed_as_far_as_its_digits_go():
    """x = tanh t, y = 1 / cosh t: neighbours part as exp t."""
    path = rm.enclose_geodesic(half_plane, [0.0, 1.0], [1.0, 0.0], 3.0)
    y = 1 / math.cosh(3)
    assert not path.stopped and holds(path, (math.tanh(3), y), (y**2, -math.tanh(3) * y))
    assert (path.upper - path.lower).max() < 1e-6
