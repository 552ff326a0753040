"""Lie derivatives, brackets and Killing's equation: identities of every rank; other coordinates."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import riemann as rm
from tests.cases import BY_NAME
from tests.fields import SEEDS, D, metrics, points, random_tensor
from tests.helpers import assert_equal, random_metric

few = settings(max_examples=6, deadline=None)
dims = st.integers(2, 3)
ranks = st.text("ul", max_size=3)


@few
@given(metrics(), ranks, SEEDS)
def test_lie_derivative_by_a_connection(case, indices, seed):
    """The same with covariant derivatives in place of partial ones, for a connection without torsion."""
    metric, x, _ = case
    n, rank = x.shape[-1], len(indices)
    X, T = random_tensor(n, 1, seed), random_tensor(n, rank, seed + 1)
    nabla_X, value = rm.covariant_derivative(metric, X, "u")(x), rm.jet(T, x, 0)[0]
    truth = torch.einsum("z...k,zk->z...", rm.covariant_derivative(metric, T, indices)(x), rm.jet(X, x, 0)[0])
    for axis, position in enumerate(indices):
        moved = value.movedim(axis + 1, -1)
        term = torch.einsum("z...e,zae->z...a" if position == "u" else "z...e,zea->z...a", moved, nabla_X)
        truth = truth + (-term if position == "u" else term).movedim(-1, axis + 1)
    assert_equal(rm.lie_derivative(X, T, indices)(x), truth, scale=10)


@few
@given(dims, ranks, SEEDS)
def test_commutator_is_the_derivative_along_the_bracket(n, indices, seed):
    X, Y = random_tensor(n, 1, seed), random_tensor(n, 1, seed + 1)
    T, x, L = random_tensor(n, len(indices), seed + 2), points(n, seed), rm.lie_derivative
    commutator = L(X, L(Y, T, indices), indices)(x) - L(Y, L(X, T, indices), indices)(x)
    assert_equal(commutator, L(rm.lie_bracket(X, Y), T, indices)(x), scale=100)


@few
@given(dims, SEEDS)
def test_bracket(n, seed):
    X, Y, Z = (random_tensor(n, 1, seed + k) for k in range(3))
    x, bracket = points(n, seed), rm.lie_bracket
    assert_equal(bracket(X, Y)(x), -bracket(Y, X)(x))
    assert_equal(bracket(X, Y)(x), rm.lie_derivative(X, Y, "u")(x))
    jacobi = sum(bracket(A, bracket(B, C))(x) for A, B, C in ((X, Y, Z), (Y, Z, X), (Z, X, Y)))
    assert_equal(jacobi, 0.0, scale=100)
    f = random_tensor(n, 0, seed)
    along = lambda V, h: rm.lie_derivative(V, h, "")
    assert_equal(along(bracket(X, Y), f)(x), along(X, along(Y, f))(x) - along(Y, along(X, f))(x), scale=10)


def test_bracket_and_derivative_by_hand():
    x = torch.tensor([2.0, 3.0], dtype=D)
    X, Y = lambda x: torch.stack([x[1], 0 * x[0]]), lambda x: torch.stack([0 * x[0], x[0] ** 2])
    assert_equal(rm.lie_bracket(X, Y)(x), [-4.0, 12.0])  # (y dx)(x^2) dy - (x^2 dy)(y) dx
    assert_equal(rm.lie_derivative(X, lambda x: torch.stack([x[0], x[1]]), "l")(x), [3.0, 2.0])  # d(X . d(|x|^2 / 2))


@few
@given(metrics(), SEEDS)
def test_killing_operator(case, seed):
    metric, x, _ = case
    X = random_tensor(x.shape[-1], 1, seed)
    lowered = lambda y: metric(y) @ X(y)
    nabla = rm.covariant_derivative(metric, lowered, "l")(x)
    killing = rm.killing_operator(metric, X)(x)
    assert_equal(killing, nabla + nabla.mT, scale=10)
    assert_equal(killing, rm.lie_derivative(X, metric, "ll")(x), scale=10)
    trace = torch.einsum("zij,zij->z", rm.inverse_metric(metric, x), killing)
    assert_equal(trace, 2 * rm.divergence(metric, X)(x), scale=10)


def test_killing_fields_of_the_sphere_and_of_kerr():
    sphere, x = BY_NAME["sphere 2"].metric, BY_NAME["sphere 2"].x()
    a = lambda x: torch.stack([torch.sin(x[1]), torch.cos(x[1]) / torch.tan(x[0])])
    b = lambda x: torch.stack([torch.cos(x[1]), -torch.sin(x[1]) / torch.tan(x[0])])
    axis = lambda x: torch.tensor([0.0, 1.0])
    for X in (a, b, axis):
        assert_equal(rm.killing_operator(sphere, X)(x), 0.0)
        assert_equal(rm.divergence(sphere, X)(x), 0.0)
    assert_equal(rm.lie_bracket(a, b)(x), rm.jet(axis, x, 0)[0])  # so(3)
    assert_equal(rm.lie_bracket(b, axis)(x), rm.jet(a, x, 0)[0])
    kerr = BY_NAME["Kerr"]
    turning = lambda x: torch.tensor([1.0, 0.0, 0.0, 0.3])
    assert_equal(rm.killing_operator(kerr.metric, turning)(kerr.x()), 0.0)
    assert rm.killing_operator(kerr.metric, lambda x: torch.tensor([0.0, 0, 1, 0]))(kerr.x()).abs().max() > 0.1


def test_curvature_is_invariant_under_an_isometry():
    kerr, X = BY_NAME["Kerr"], lambda x: torch.tensor([1.0, 0.0, 0.0, 0.3])
    for quantity, indices in ((rm.riemann_tensor, "ulll"), (rm.christoffel, None)):
        field = lambda x, q=quantity: q(kerr.metric, x)
        if indices:
            assert_equal(rm.lie_derivative(X, field, indices)(kerr.x()), 0.0)


# -------------------------------------------------------------------------------------------------- other coordinates


def bent(n, seed):
    """A change of coordinates near the identity, y to x."""
    A = torch.eye(n, dtype=D) + 0.2 * random_tensor(n, 2, seed)(torch.zeros(n, dtype=D)) / n
    return lambda y: A @ y + 0.1 * torch.sin(y) ** 2


@few
@given(metrics(largest=3), ranks, SEEDS)
def test_tensors_in_other_coordinates(case, indices, seed):
    """Covariant derivative and Lie derivative are the same in all coordinates; changes compose and can be undone."""
    metric, x, _ = case
    n, rank = x.shape[-1], len(indices)
    p, q, T, X = bent(n, seed), bent(n, seed + 1), random_tensor(n, rank, seed), random_tensor(n, 1, seed + 1)
    change = rm.change_coordinates
    g, S, Y = change(metric, p), change(T, p, indices), change(X, p, "u")
    nabla = change(rm.covariant_derivative(metric, T, indices), p, indices + "l")
    assert_equal(rm.covariant_derivative(g, S, indices)(x), nabla(x), scale=100)
    lie = change(rm.lie_derivative(X, T, indices), p, indices)
    assert_equal(rm.lie_derivative(Y, S, indices)(x), lie(x), scale=100)
    assert_equal(change(S, q, indices)(x), change(T, lambda z: p(q(z)), indices)(x), scale=100)
    assert_equal(rm.scalar_curvature(g, x), change(lambda y: rm.scalar_curvature(metric, y), p, "")(x), scale=10)


def test_the_cocycle_of_three_charts_of_the_sphere():
    """Angles, and projections from the north and from the south: around the circle of charts tensors come back."""

    def south_from_north(y):
        return y / (y @ y)

    def north_from_angles(y):
        r = torch.sin(y[0]) / (1 - torch.cos(y[0]))
        return torch.stack([r * torch.cos(y[1]), r * torch.sin(y[1])])

    def angles_from_south(y):
        r = torch.linalg.norm(y)
        return torch.stack([2 * torch.atan(r), torch.atan2(y[1], y[0])])

    change, north = rm.change_coordinates, lambda x: 4 * torch.eye(2) / (1 + x @ x) ** 2
    angles, y = change(north, north_from_angles), torch.tensor([[0.7, 0.4], [1.9, -2.0]], dtype=D)
    assert_equal(angles(y), rm.jet(BY_NAME["sphere 2"].metric, y, 0)[0])
    south = change(angles, angles_from_south)
    x = torch.tensor([[0.3, -0.8], [1.5, 0.2]], dtype=D)
    assert_equal(south(x), rm.jet(north, x, 0)[0])  # the same form from both poles
    for indices in ("", "u", "l", "ul", "llu"):
        T = random_tensor(2, len(indices), 3)
        around = change(
            change(change(T, north_from_angles, indices), angles_from_south, indices), south_from_north, indices
        )
        assert_equal(around(x), rm.jet(T, x, 0)[0], scale=10)


def test_messages():
    x, g = points(3, 0), random_metric(3, 0, 0)
    with pytest.raises(ValueError, match="`indices` of T is 'ux', expected 2 letters"):
        rm.lie_derivative(lambda x: x, g, "ux")
    with pytest.raises(ValueError, match=r"`X` returned shape \(3, 3\) at one point, expected \(3,\): rank 1"):
        rm.lie_bracket(g, lambda x: x)(x)
    with pytest.raises(ValueError, match=r"`map` returned shape \(2,\) at one point, expected \(3,\): rank 1"):
        rm.change_coordinates(g, lambda y: y[:2])(x)
    with pytest.raises(ValueError, match="`indices` of the field is 'ab'"):
        rm.change_coordinates(g, lambda y: y, "ab")
    with pytest.raises(ValueError, match=r"`field` returned shape \(3, 3\) at one point, expected \(3,\)"):
        rm.change_coordinates(g, lambda y: y, "u")(x)
    assert bool(rm.change_coordinates(lambda x: x, lambda y: y * y[0], "u")(0 * x[0]).isnan().all())
