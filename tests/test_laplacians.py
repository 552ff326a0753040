"""Covariant derivatives that compose, and the Laplacians of tensors: Weitzenböck, Ricci's identity, known spectra."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import riemann as rm
from tests.cases import BY_NAME
from tests.fields import SEEDS, D, metrics, points, random_form, random_tensor
from tests.helpers import assert_equal, random_metric, terms

few = settings(max_examples=5, deadline=None)
nabla = rm.covariant_derivative


def value(field, x):
    return rm.jet(field, x, 0)[0]


# ------------------------------------------------------------------------------------ covariant derivatives compose


@few
@given(metrics(largest=3), st.text("ul", max_size=2), SEEDS)
def test_ricci_identity(case, indices, seed):
    """[D_c, D_d] T: one term of curvature for each index."""
    metric, x, _ = case
    T = random_tensor(x.shape[-1], len(indices), seed)
    second = nabla(metric, nabla(metric, T, indices), indices + "l")(x)
    commutator = second.transpose(-1, -2) - second  # [..., c, d]: D_c D_d - D_d D_c
    R, t = rm.riemann_tensor(metric, x), value(T, x)
    truth = torch.zeros_like(commutator)
    for axis, position in enumerate(indices):
        moved = t.movedim(axis + 1, -1)
        if position == "u":
            term = torch.einsum("z...e,zaecd->z...cda", moved, R)
        else:
            term = -torch.einsum("z...e,zeacd->z...cda", moved, R)
        truth = truth + term.movedim(-1, axis + 1)
    assert_equal(commutator, truth, scale=10)


@few
@given(metrics(largest=3))
def test_derivatives_of_curvature(case):
    metric, x, _ = case
    scale = 10 * terms(*rm.at(metric, x).jets)
    riemann = lambda y: rm.riemann_tensor(metric, y, "llll")
    first = nabla(metric, riemann, "llll")
    D_R = first(x)
    assert_equal(D_R, rm.nabla_riemann(metric, x), scale=scale)
    cyclic = D_R + D_R.movedim((-3, -2, -1), (-2, -1, -3)) + D_R.movedim((-3, -2, -1), (-1, -3, -2))
    assert_equal(cyclic, 0.0, scale=scale)
    D_ricci = nabla(metric, lambda y: rm.ricci_tensor(metric, y), "ll")(x)
    D_scalar = nabla(metric, lambda y: rm.scalar_curvature(metric, y), "")(x)
    contracted = torch.einsum("zbd,zabd->za", rm.inverse_metric(metric, x), D_ricci)
    assert_equal(2 * contracted, D_scalar, scale=scale)
    lifted = rm.change_indices(metric, x, D_R, "lllll", "ullll")
    assert_equal(nabla(metric, lambda y: rm.riemann_tensor(metric, y), "ulll")(x), lifted, scale=scale)
    second = nabla(metric, lambda y: rm.nabla_riemann(metric, y), "lllll")(x)
    assert_equal(nabla(metric, first, "lllll")(x), second, scale=10 * scale)


def test_third_derivatives_of_a_scalar():
    """On the sphere D_k D_j D_i f of f = cos(theta) is known: the Hessian is -f g."""
    sphere, x = BY_NAME["sphere 2"].metric, BY_NAME["sphere 2"].x()
    f = lambda x: torch.cos(x[0])
    third = nabla(sphere, nabla(sphere, nabla(sphere, f, ""), "l"), "ll")(x)
    g, (_, df) = value(sphere, x), rm.jet(f, x, 1)
    assert_equal(third, -torch.einsum("zij,zk->zijk", g, df))


# -------------------------------------------------------------------------------------------------------- Laplacians


@few
@given(metrics(), SEEDS)
def test_on_functions_all_are_one(case, seed):
    metric, x, _ = case
    f = random_tensor(x.shape[-1], 0, seed)
    truth = rm.laplacian(metric, f)(x)
    assert_equal(rm.bochner_laplacian(metric, f, "")(x), truth, scale=10)
    assert_equal(rm.hodge_laplacian(metric, f, 0)(x), -truth, scale=10)
    conformal = rm.lichnerowicz_laplacian(metric, lambda y: f(y) * metric(y))(x)
    assert_equal(conformal, -truth[:, None, None] * value(metric, x), scale=10)


@few
@given(metrics(largest=3), st.sampled_from("ul"), SEEDS)
def test_bochner_laplacian(case, position, seed):
    """Moves through the metric, and is half the Laplacian of |T|^2 less |DT|^2."""
    metric, x, _ = case
    n = x.shape[-1]
    T = random_tensor(n, 1, seed)
    lowered, inverse = lambda y: metric(y) @ T(y), rm.inverse_metric(metric, x)
    up, down = rm.bochner_laplacian(metric, T, "u")(x), rm.bochner_laplacian(metric, lowered, "l")(x)
    assert_equal(torch.einsum("zij,zj->zi", value(metric, x), up), down, scale=10)
    square = rm.laplacian(metric, lambda y: T(y) @ metric(y) @ T(y))(x)
    D_T = nabla(metric, lowered, "l")(x)
    size = torch.einsum("zij,zkl,zik,zjl->z", D_T, D_T, inverse, inverse)
    assert_equal(square / 2, torch.einsum("zi,zi->z", value(T, x), down) + size, scale=10)


@few
@given(metrics(), st.integers(1, 3), SEEDS)
def test_weitzenboeck(case, degree, seed):
    """d delta + delta d = -D^2 + Ric on each index, - 2 Rm on each pair."""
    metric, x, _ = case
    n = x.shape[-1]
    degree = min(degree, n)
    w = random_form(n, degree, seed)
    inverse, form, R = rm.inverse_metric(metric, x), value(w, x), rm.riemann_tensor(metric, x, "llll")
    truth = -rm.bochner_laplacian(metric, w, "l" * degree)(x)
    mixed = rm.ricci_tensor(metric, x) @ inverse
    for axis in range(1, degree + 1):
        truth = truth + torch.einsum("z...k,zik->z...i", form.movedim(axis, -1), mixed).movedim(-1, axis)
    pair = torch.einsum("zikjl,zkp,zlq->zijpq", R, inverse, inverse)
    for a, b in itertools.permutations(range(1, degree + 1), 2):
        moved = form.movedim((a, b), (-2, -1))
        truth = truth - torch.einsum("z...pq,zijpq->z...ij", moved, pair).movedim((-2, -1), (a, b))
    assert_equal(rm.hodge_laplacian(metric, w, degree)(x), truth, scale=10)


@settings(few, max_examples=3)
@given(metrics(largest=3), SEEDS)
def test_hodge_laplacian_commutes_with_d_and_star(case, seed):
    metric, x, _ = case
    n = x.shape[-1]
    w = random_form(n, 1, seed)
    hodge, star = rm.hodge_laplacian, rm.hodge_star
    assert_equal(hodge(metric, star(metric, w, 1), n - 1)(x), star(metric, hodge(metric, w, 1), 1)(x), scale=10)
    d_w = rm.exterior_derivative(w, 1)
    assert_equal(hodge(metric, d_w, 2)(x), rm.exterior_derivative(hodge(metric, w, 1), 1)(x), scale=100)


@few
@given(metrics(), SEEDS)
def test_lichnerowicz_is_how_ricci_changes(case, seed):
    """d/dt Ric(g + t h) = (Delta_L h)/2 - delta* delta h - D D (tr h) / 2, in every signature."""
    metric, x, _ = case
    n = x.shape[-1]
    S = random_tensor(n, 2, seed)
    h = lambda y: S(y) + S(y).T
    ricci = lambda t, y: rm.ricci_tensor(lambda z: metric(z) + t * h(z), y)
    truth = torch.func.jacfwd(lambda t: ricci(t, x))(torch.zeros((), dtype=D))
    trace = lambda y: torch.einsum("ij,ij->", rm.inverse_metric(metric, y), h(y))
    divergence = lambda y: torch.einsum("jk,ijk->i", rm.inverse_metric(metric, y), nabla(metric, h, "ll")(y))
    D_div = nabla(metric, divergence, "l")(x)
    rest = (D_div + D_div.mT - rm.hessian(metric, trace)(x)) / 2
    assert_equal(rm.lichnerowicz_laplacian(metric, h)(x) / 2 + rest, truth, scale=100)


def test_eigentensors_of_the_sphere():
    """On S^2: 1-forms df and *df with l(l+1); on S^3 left-invariant forms with 4 = 2^2; Killing forms: D^2 = -Ric."""
    sphere, x = BY_NAME["sphere 2"].metric, BY_NAME["sphere 2"].x()
    f = lambda x: 3 * torch.cos(x[0]) ** 2 - 1 + torch.sin(2 * x[0]) * torch.cos(x[1])
    df = rm.exterior_derivative(f, 0)
    for form in (df, rm.hodge_star(sphere, df, 1)):
        assert_equal(rm.hodge_laplacian(sphere, form, 1)(x), 6 * form(x))
        assert_equal(rm.bochner_laplacian(sphere, form, "l")(x), -5 * form(x))
    twice = rm.hodge_laplacian(sphere, rm.bochner_laplacian(sphere, df, "l"), 1)
    assert_equal(twice(x), -30 * df(x))
    sphere3 = lambda x: torch.eye(3) * 4 / (1 + x @ x) ** 2
    hat = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]], dtype=D)
    e3 = torch.tensor([0.0, 0, 1], dtype=D)
    hopf = lambda x: e3 * (1 - x @ x) / 2 + x * x[2] + hat @ x  # a left translation, stereographic: unit and Killing
    lowered, p = lambda x: sphere3(x) @ hopf(x), points(3, 1)
    assert_equal(rm.killing_operator(sphere3, hopf)(p), 0.0)
    assert_equal(rm.hodge_laplacian(sphere3, lowered, 1)(p), 4 * value(lowered, p))
    assert_equal(rm.bochner_laplacian(sphere3, hopf, "u")(p), -2 * value(hopf, p))


def test_flat_torus_and_transverse_waves():
    """Plane waves are eigentensors with |k|^2, in flat space of both signatures."""
    k = torch.tensor([1.0, 2.0, -1.0], dtype=D)
    amplitude = torch.tensor([[1.0, 0.2, 0], [0.2, -1, 3], [0, 3, 0.5]], dtype=D)
    h, x = lambda x: amplitude * torch.sin(k @ x), points(3, 0)
    for diagonal, size in (([1.0, 1, 1], 6.0), ([-1.0, 1, 1], 4.0)):
        eta = lambda x, d=diagonal: torch.diag(torch.tensor(d))
        assert_equal(rm.bochner_laplacian(eta, h, "ll")(x), -size * value(h, x))
        assert_equal(rm.lichnerowicz_laplacian(eta, h)(x), size * value(h, x))


@pytest.mark.parametrize("name", ["generic 4", "Kerr"])
def test_fields_nest_to_machine_precision(name):
    """Fourth derivatives: the Laplacian twice, three ways; one metric has `solve` inside, one writes in place."""
    case = BY_NAME[name]
    f, g = lambda x: torch.sin(x[0]) * x[1] ** 2 + x[2] * torch.cos(x[3]), case.metric
    twice = rm.laplacian(g, rm.laplacian(g, f))
    forms = rm.hodge_laplacian(g, rm.hodge_laplacian(g, f, 0), 0)
    vectors = rm.divergence(g, rm.gradient(g, rm.divergence(g, rm.gradient(g, f))))
    truth = twice(case.x())
    assert_equal(forms(case.x()), truth)
    assert_equal(vectors(case.x()), truth)


def test_messages():
    x, g = points(3, 0), random_metric(3, 0, 0)
    with pytest.raises(ValueError, match="`indices` of T is 'q', expected 1 letters"):
        rm.bochner_laplacian(g, lambda x: x, "q")
    with pytest.raises(ValueError, match=r"`h` returned shape \(3,\) at one point, expected \(3, 3\): rank 2"):
        rm.lichnerowicz_laplacian(g, lambda x: x)(x)
