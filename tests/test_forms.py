"""Differential forms: the algebra, d and the Hodge star, on random metrics of both signatures; exact values."""

import itertools
import math

import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import riemann as rm
from tests.cases import BY_NAME
from tests.fields import SEEDS, D, metrics, points, random_form, random_tensor
from tests.helpers import assert_equal, random_metric

few = settings(max_examples=8, deadline=None)
dims = st.integers(2, 4)
d, wedge, star, delta = rm.exterior_derivative, rm.wedge, rm.hodge_star, rm.codifferential


def value(form, x):
    return rm.jet(form, x, 0)[0]


def inner(metric, a, b, degree):
    """<a, b> = a_I b^I / k!, from its definition."""

    def field(x):
        raised, inverse = value(b, x), rm.inverse_metric(metric, x)
        for axis in range(degree):
            raised = torch.einsum("...i,ij->...j", raised.movedim(axis, -1), inverse).movedim(-1, axis)
        return (value(a, x) * raised).sum() / math.factorial(degree)

    return field


# ------------------------------------------------------------------------------------------------------ conventions


def test_determinant_convention():
    """(a1 ^ ... ^ ak)(v1, ..., vk) = det a_i(v_j), and the interior product puts its vector first."""
    rows, vectors = torch.randn(2, 3, 4, dtype=D)
    one, two, three = (lambda x, a=a: a.clone() for a in rows)
    form = wedge(wedge(one, 1, two, 1), 2, three, 1)
    x = torch.zeros(4, dtype=D)
    assert_equal(torch.einsum("ijk,i,j,k->", form(x), *vectors), torch.linalg.det(rows @ vectors.T))
    assert_equal(rm.interior_product(lambda x: vectors[0], form, 3)(x), torch.einsum("ijk,i->jk", form(x), vectors[0]))


def test_orientation_and_sign_of_the_star():
    """On Minkowski space, order (t, x, y, z): *dt = -dx^dy^dz, *(dt^dx) = -dy^dz, *1 = dt^dx^dy^dz."""
    minkowski = lambda x: torch.diag(torch.tensor([-1.0, 1, 1, 1]))
    x, basis = torch.zeros(4, dtype=D), torch.eye(4, dtype=D)
    dt, dx = lambda x: basis[0].clone(), lambda x: basis[1].clone()
    assert_equal(star(minkowski, dt, 1)(x)[1, 2, 3], -1.0)
    assert_equal(star(minkowski, dx, 1)(x)[0, 2, 3], -1.0)
    assert_equal(star(minkowski, wedge(dt, 1, dx, 1), 2)(x)[2, 3], -1.0)
    assert_equal(star(minkowski, lambda x: torch.ones(()), 0)(x)[0, 1, 2, 3], 1.0)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_exterior_derivative_against_sympy(degree):
    symbols = sp.symbols("x y z")
    x, y, z = symbols
    f = [sp.sin(x * y) + z**2, x * sp.exp(z), y**2 * x - z]
    torch_f = lambda p: torch.stack([torch.sin(p[0] * p[1]) + p[2] ** 2, p[0] * p[2].exp(), p[1] ** 2 * p[0] - p[2]])
    p = torch.tensor([0.3, -0.7, 0.5], dtype=D)
    at = dict(zip(symbols, p.tolist(), strict=True))
    D_f = torch.tensor([[float(sp.diff(a, s).subs(at)) for s in symbols] for a in f], dtype=D)
    if degree == 0:
        assert_equal(d(lambda p: torch_f(p)[0], 0)(p), D_f[0])
    elif degree == 1:
        assert_equal(d(torch_f, 1)(p), (D_f - D_f.T).T)
    else:  # a vector field as a 2-form by the flat star: d is its divergence
        eps = torch.zeros(3, 3, 3)
        for i, j, k in itertools.permutations(range(3)):
            eps[i, j, k] = (i - j) * (j - k) * (k - i) / 2
        as_form = lambda p: torch.einsum("ijk,k->ij", eps.to(p), torch_f(p))
        assert_equal(d(as_form, 2)(p), eps.to(D) * D_f.trace())


# ------------------------------------------------------------------------------------------------------- identities


@few
@given(dims, st.data(), SEEDS)
def test_d_twice_is_zero(n, data, seed):
    degree = data.draw(st.integers(0, n))
    w, x = random_form(n, degree, seed), points(n, seed + 1)
    assert_equal(d(d(w, degree), degree + 1)(x), 0.0)
    assert d(d(w, degree), degree + 1)(x).shape == (2, *[n] * (degree + 2))


@few
@given(dims, st.data(), SEEDS)
def test_wedge_is_graded_and_associative_and_d_is_a_derivation(n, data, seed):
    p, q, r = (data.draw(st.integers(0, 2)) for _ in range(3))
    a, b, c = (random_form(n, k, seed + m) for m, k in enumerate((p, q, r)))
    x = points(n, seed)
    assert_equal(wedge(a, p, b, q)(x), (-1) ** (p * q) * wedge(b, q, a, p)(x))
    assert_equal(wedge(wedge(a, p, b, q), p + q, c, r)(x), wedge(a, p, wedge(b, q, c, r), q + r)(x))
    leibniz = wedge(d(a, p), p + 1, b, q)(x) + (-1) ** p * wedge(a, p, d(b, q), q + 1)(x)
    assert_equal(d(wedge(a, p, b, q), p + q)(x), leibniz, scale=10)


@few
@given(dims, st.data(), SEEDS)
def test_interior_product_is_an_antiderivation(n, data, seed):
    p, q = (data.draw(st.integers(1, 2)) for _ in range(2))
    a, b, X = random_form(n, p, seed), random_form(n, q, seed + 1), random_tensor(n, 1, seed + 2)
    x, i = points(n, seed), rm.interior_product
    leibniz = wedge(i(X, a, p), p - 1, b, q)(x) + (-1) ** p * wedge(a, p, i(X, b, q), q - 1)(x)
    assert_equal(i(X, wedge(a, p, b, q), p + q)(x), leibniz, scale=10)
    both = wedge(a, p, b, q)
    assert_equal(i(X, i(X, both, p + q), p + q - 1)(x), 0.0, scale=100)


@few
@given(dims, st.data(), SEEDS)
def test_cartan(n, data, seed):
    """L_X = d i_X + i_X d, and L_X commutes with d."""
    degree = data.draw(st.integers(0, n))
    w, X, x = random_form(n, degree, seed), random_tensor(n, 1, seed + 1), points(n, seed)
    lie = rm.lie_derivative(X, w, "l" * degree)
    cartan = rm.interior_product(X, d(w, degree), degree + 1)(x)
    if degree:
        cartan = cartan + d(rm.interior_product(X, w, degree), degree - 1)(x)
    assert_equal(lie(x), cartan, scale=100)
    assert_equal(d(lie, degree)(x), rm.lie_derivative(X, d(w, degree), "l" * (degree + 1))(x), scale=100)


@few
@given(metrics(), st.data(), SEEDS)
def test_hodge_star(case, data, seed):
    metric, x, s = case
    n = x.shape[-1]
    k = data.draw(st.integers(0, n))
    a, b = random_form(n, k, seed), random_form(n, k, seed + 1)
    assert_equal(star(metric, star(metric, b, k), n - k)(x), (-1) ** (k * (n - k) + s) * value(b, x))
    top = wedge(a, k, star(metric, b, k), n - k)(x)[(..., *range(n))]
    volume = rm.volume_element(metric, x)
    assert_equal(top, value(inner(metric, a, b, k), x) * volume)


@few
@given(metrics(largest=3), st.data(), SEEDS)
def test_codifferential(case, data, seed):
    """By the star, by the divergence, and as the adjoint of d: <da, b> - <a, delta b> is a divergence."""
    metric, x, s = case
    n = x.shape[-1]
    k = data.draw(st.integers(1, n))
    a, b = random_form(n, k - 1, seed), random_form(n, k, seed + 1)
    by_star = star(metric, d(star(metric, b, k), n - k), n - k + 1)(x)
    assert_equal(delta(metric, b, k)(x), (-1) ** (n * (k + 1) + 1 + s) * by_star, scale=10)
    current = d(wedge(a, k - 1, star(metric, b, k), n - k), n - 1)(x)[(..., *range(n))]
    adjoint = inner(metric, d(a, k - 1), b, k)
    other = inner(metric, a, delta(metric, b, k), k - 1)
    assert_equal((value(adjoint, x) - value(other, x)) * rm.volume_element(metric, x), current, scale=10)
    if k > 1:
        assert_equal(delta(metric, delta(metric, b, k), k - 1)(x), 0.0, scale=100)
    one = random_form(n, 1, seed)
    vector = lambda y: rm.inverse_metric(metric, y) @ one(y)
    assert_equal(delta(metric, one, 1)(x), -rm.divergence(metric, vector)(x), scale=10)


@pytest.mark.parametrize("negative", [0, 1])
def test_delta_is_the_adjoint_of_d_on_a_torus(negative):
    """Integrals over a period, in both signatures: the signs do not cancel in pairs."""
    eta = torch.diag(torch.tensor([1.0 - 2 * negative, 1.0], dtype=D))
    shape = torch.tensor([[0.2, 0.1], [0.1, -0.3]], dtype=D)
    metric = lambda x: eta * (1 + 0.3 * torch.sin(x[0] + x[1])) + shape * torch.cos(x[0])
    f = lambda x: torch.sin(x[0]) + torch.cos(x[0] - x[1])
    w = lambda x: torch.stack([torch.cos(x[1]) + 1, torch.sin(x[0]) * torch.cos(x[1])])
    box = ((0, 2 * math.pi), (0, 2 * math.pi))
    left = rm.integrate(metric, inner(metric, d(f, 0), w, 1), box, rtol=1e-8).value
    right = rm.integrate(metric, inner(metric, f, delta(metric, w, 1), 0), box, rtol=1e-8).value
    assert abs(left) > 1
    assert_equal(left, right, rtol=1e-7)


def test_maxwell_of_a_charge():
    """F = dA of a charge in Reissner-Nordström: d F = 0, delta F = 0, and *F integrates to 4 pi Q over a sphere."""
    M, Q = 1.0, 0.5

    def metric(x):
        f = 1 - 2 * M / x[1] + Q**2 / x[1] ** 2
        return torch.diag(torch.stack([-f, 1 / f, x[1] ** 2, (x[1] * torch.sin(x[2])) ** 2]))

    A = lambda x: torch.stack([-Q / x[1], 0 * x[0], 0 * x[0], 0 * x[0]])
    F, x = d(A, 1), torch.tensor([[0, 4, 0.8, 0.1], [1, 3, 2, 1]], dtype=D)
    assert_equal(d(F, 2)(x), 0.0)
    assert_equal(delta(metric, F, 2)(x), 0.0)
    assert_equal(star(metric, F, 2)(x)[:, 2, 3], Q * torch.sin(x[:, 2]))


# ----------------------------------------------------------------------------------------- what comes out, and errors


def test_forms_are_antisymmetric_to_the_last_bit():
    metric, w, x = random_metric(4, 1, 3), random_form(4, 2, 5), points(4, 1)
    for form, degree in ((d(w, 2), 3), (star(metric, w, 2), 2), (delta(metric, d(w, 2), 3), 2),
                         (d(d(w, 2), 3), 4), (rm.hodge_laplacian(metric, w, 2), 2)):  # fmt: skip
        y = form(x)
        for k in range(1, degree):
            assert torch.equal(y, -y.transpose(k, k + 1))
    assert_equal(d(d(d(w, 2), 3), 4)(x), 0.0)  # noise is a form, too


def test_what_is_no_form_is_refused():
    x, metric = points(3, 0), random_metric(3, 0, 0)
    wrong = random_tensor(3, 2, 0)
    for field in (d(wrong, 2), d(d(wrong, 2), 3), star(metric, wrong, 2), delta(metric, wrong, 2),
                  wedge(wrong, 2, lambda x: x, 1), rm.interior_product(lambda x: x, wrong, 2),
                  rm.hodge_laplacian(metric, wrong, 2)):  # fmt: skip
        with pytest.raises(
            ValueError, match=r"not antisymmetric at x = \[.*degree 2 is an antisymmetric array \(n, n\)"
        ):
            field(x)
    with pytest.raises(ValueError, match=r"`w` returned shape \(3,\) at one point, expected \(3, 3\): rank 2"):
        d(lambda x: x, 2)(x)
    with pytest.raises(ValueError, match="`degree` is -1, expected a whole number, 0 or more"):
        d(lambda x: x, -1)
    with pytest.raises(ValueError, match="`degree` is 0, expected a whole number, 1 or more"):
        delta(metric, lambda x: x.sum(), 0)
    with pytest.raises(ValueError, match="`degree` is 4, and a point of x has 3 coordinates"):
        star(metric, lambda x: x.new_zeros(3, 3, 3, 3), 4)(x)


def test_batches_transforms_and_gradients():
    metric, w = random_metric(3, 1, 2), random_form(3, 2, 4)
    field, x = rm.hodge_laplacian(metric, w, 2), points(3, 7, count=4)
    expected = field(x)
    assert_equal(field(x.reshape(2, 2, 3)).reshape(4, 3, 3), expected)
    assert_equal(field(x[0]), expected[0])
    assert_equal(torch.func.vmap(field)(x), expected)
    assert field(x[:0]).shape == (0, 3, 3)
    scale = torch.tensor(2.0, dtype=D, requires_grad=True)
    rm.codifferential(metric, lambda x: scale * w(x), 2)(x).square().sum().backward()
    assert_equal(scale.grad, (delta(metric, w, 2)(x).square().sum() * 4))


def test_a_metric_of_torch_operations_that_differentiate_wrongly():
    """The determinant and `solve` in a metric are right under nested derivatives, too."""
    case = BY_NAME["sphere 3 by a determinant"]
    plain = lambda p: 4 * torch.eye(3) / (1 + p @ p) ** 2
    w, x = random_form(3, 0, 3), case.x()
    twice = lambda g: rm.laplacian(g, rm.hodge_laplacian(g, w, 0))(x)
    assert_equal(twice(case.metric), twice(plain))


def test_single_precision():
    metric, w, x = random_metric(3, 1, 2), random_form(3, 1, 4), points(3, 7)
    single = lambda f: lambda x: f(x.double()).float()
    value = rm.hodge_laplacian(single(metric), single(w), 1)(x.float())
    assert value.dtype == torch.float32
    assert_equal(value, rm.hodge_laplacian(metric, w, 1)(x).float())


def test_tables_that_are_first_needed_inside_a_transform():
    """What is kept between calls does not die with the transform in which it was made."""
    from riemann._calculus import forms

    for table in (forms._full, forms._places, forms._shuffles):
        table.cache_clear()
    w, x = random_form(3, 1, 4), points(3, 7)
    inside = torch.func.vmap(torch.func.jacfwd(d(w, 1)))(x)
    assert_equal(d(w, 1)(x), torch.func.vmap(d(w, 1))(x))
    assert_equal(rm.jet(d(w, 1), x, 1)[1], inside)
