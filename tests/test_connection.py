"""Calculus on fields: exact values, identities, composition; integrals."""

import math

import pytest
import sympy as sp
import torch

import riemann as rm
from tests.cases import BY_NAME
from tests.helpers import assert_equal, random_metric

X = 0.3 * torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
METRIC = BY_NAME["generic 3, indefinite"]
f = lambda x: torch.sin(x[0]) * x[1] ** 2 + torch.exp(x[2])
V = lambda x: torch.stack([x[1] * x[2], x[0].sin(), x[2] ** 2 + x[0]])


def exact_field(expression, points):
    symbols = METRIC.coordinates
    rows = [expression.xreplace(dict(zip(symbols, map(sp.Rational, p), strict=True))).evalf(30) for p in points]
    return torch.tensor([float(r) for r in rows], dtype=torch.float64)


def test_laplacian_and_divergence_against_sympy():
    x, y, z = METRIC.coordinates
    g = METRIC.matrix
    F = sp.sin(x) * y**2 + sp.exp(z)
    W = sp.Matrix([y * z, sp.sin(x), z**2 + x])
    det = g.det()  # of which the logarithm is twice that of the density
    divergence = lambda w: sum(sp.diff(w[k], c) + w[k] * sp.diff(det, c) / (2 * det) for k, c in enumerate((x, y, z)))
    gradient = g.adjugate() * sp.Matrix([sp.diff(F, c) for c in (x, y, z)]) / det
    points = METRIC.points
    p = METRIC.x()
    assert_equal(rm.divergence(METRIC.metric, V)(p), exact_field(divergence(W), points))
    assert_equal(rm.laplacian(METRIC.metric, f)(p), exact_field(divergence(gradient), points))
    assert_equal(rm.gradient(METRIC.metric, f)(p)[:, 1], exact_field(gradient[1], points))


def test_identities():
    g = METRIC.metric
    assert_equal(rm.divergence(g, rm.gradient(g, f))(X), rm.laplacian(g, f)(X))
    H = rm.hessian(g, f)(X)
    assert_equal(H, H.mT)
    assert_equal(rm.covariant_derivative(g, lambda x: torch.func.grad(f)(x), "l")(X), H)
    assert_equal(torch.einsum("zij,zij->z", rm.inverse_metric(g, X), H), rm.laplacian(g, f)(X))
    trace = torch.einsum("zii->z", rm.covariant_derivative(g, V, "u")(X))
    assert_equal(rm.divergence(g, V)(X), trace)


@pytest.mark.parametrize("indices", ["", "u", "l", "ul", "lu", "ll", "uul", "lul"])
def test_covariant_derivative_of_products(indices):
    """The Leibniz rule from rank 0 up, which fixes every index of every rank."""
    g, rank = METRIC.metric, len(indices)
    one = {"u": V, "l": lambda x: torch.stack([x[0] * x[1], x[2].cos(), x[1]])}
    letters = "abc"[:rank]

    def product(x, skip=None):
        return torch.einsum(",".join(letters) + "->" + letters, *[one[p](x) for p in indices]) if rank else f(x)

    nabla = rm.covariant_derivative(g, product, indices)(X)
    if rank == 0:
        assert_equal(nabla, torch.func.vmap(torch.func.grad(f))(X))
        return
    values = [torch.func.vmap(one[p])(X) for p in indices]
    derivatives = [rm.covariant_derivative(g, one[p], p)(X) for p in indices]
    total = 0
    for k in range(rank):
        factors = [derivatives[j] if j == k else values[j] for j in range(rank)]
        spec = ",".join("z" + c + ("k" if j == k else "") for j, c in enumerate(letters)) + f"->z{letters}k"
        total = total + torch.einsum(spec, *factors)
    assert_equal(nabla, total)


def test_a_vector_and_its_covector_have_the_same_derivative():
    g = METRIC.metric
    lowered = lambda x: g(x) @ V(x)
    up, down = rm.covariant_derivative(g, V, "u")(X), rm.covariant_derivative(g, lowered, "l")(X)
    assert_equal(torch.einsum("zab,zbk->zak", torch.func.vmap(g)(X), up), down)


def test_eigenfunctions():
    sphere, x = BY_NAME["sphere 2"].metric, torch.tensor([[0.7, 0.2], [1.9, 3.0]], dtype=torch.float64)
    Y2 = lambda x: 3 * torch.cos(x[0]) ** 2 - 1
    assert_equal(rm.laplacian(sphere, Y2)(x), -6 * torch.func.vmap(Y2)(x))
    twice = rm.laplacian(sphere, rm.laplacian(sphere, Y2))
    assert_equal(twice(x), 36 * torch.func.vmap(Y2)(x))
    polar = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), x[0] ** 2]))
    assert_equal(rm.laplacian(polar, lambda x: x[0] ** 3 * torch.cos(3 * x[1]))(x), 0.0)
    assert_equal(rm.hessian(polar, lambda x: x[0] * torch.cos(x[1]))(x), 0.0)


def test_fields_take_batches_and_single_points():
    field = rm.laplacian(METRIC.metric, f)
    assert field(X[0]).shape == () and field(X.reshape(2, 2, 3)).shape == (2, 2)
    assert_equal(field(X.reshape(2, 2, 3)).reshape(-1), field(X))


def test_volumes():
    sphere = BY_NAME["sphere 2"].metric
    box = ((0, math.pi), (0, 2 * math.pi))
    area = rm.volume(sphere, box)
    assert_equal(area.value, 4 * math.pi)
    assert area.error < 1e-9
    S3 = rm.volume(BY_NAME["sphere 3 by angles"].metric, ((0, math.pi), (0, math.pi), (0, 2 * math.pi)))
    assert_equal(S3.value, 2 * math.pi**2)
    K = rm.integrate(BY_NAME["torus"].metric, lambda x: rm.scalar_curvature(BY_NAME["torus"].metric, x),
                     ((0, 2 * math.pi), (0, 2 * math.pi)))  # fmt: skip
    assert_equal(K.value, 0.0)  # Gauss-Bonnet


def test_the_error_of_an_integral_is_honest():
    flat = lambda x: torch.eye(1)
    rough = rm.integrate(flat, lambda x: torch.abs(x[0] - 0.3) ** 0.5, ((0, 1),), max_points=200)
    truth = (0.3**1.5 + 0.7**1.5) / 1.5
    assert 1e-12 < abs(float(rough.value) - truth) <= float(rough.error)
    leaf = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    rm.integrate(flat, lambda x: leaf * x[0] ** 2, ((0, 3),)).value.backward()
    assert_equal(leaf.grad, 9.0)


@pytest.mark.parametrize("power", [-0.9, -0.5, 0.5])
def test_the_error_at_a_singularity_is_honest(power):
    found = rm.integrate(lambda x: torch.eye(1), lambda x: x[0] ** power, ((0, 1),))
    assert abs(float(found.value) - 1 / (1 + power)) <= 1.01 * float(found.error)


def test_points_are_bounded(monkeypatch):
    from riemann._calculus import integrate

    evaluated, nodes = [], integrate._nodes
    monkeypatch.setattr(integrate, "_nodes", lambda *a: evaluated.append(len((n := nodes(*a))[0])) or n)
    rough = rm.integrate(lambda x: torch.eye(3), lambda x: torch.sin(9 * x).prod(), [(0, 1)] * 3, max_points=1000)
    assert max(evaluated) <= 1000 and len(evaluated) == 2 and rough.error > 0


@pytest.mark.parametrize("n", [1, 2, 4])
def test_volume_of_a_box_in_a_constant_metric(n):
    g = random_metric(n, 0, seed=1)(torch.zeros(n, dtype=torch.float64))
    value = rm.volume(lambda x: g, [(0, 2)] * n).value
    assert_equal(value, 2.0**n * torch.linalg.det(g).sqrt())


def test_a_field_is_a_callable():
    x = torch.rand(3, 2)
    with pytest.raises(TypeError, match="`f` is a float, expected a field: a callable of one point"):
        rm.gradient(lambda x: torch.eye(2), 3.0)(x)
    with pytest.raises(TypeError, match="`X` is a Tensor, expected a field: a callable of one point"):
        rm.lie_bracket(x, lambda x: x)(x)
