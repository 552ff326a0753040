"""Special functions against mpmath: digits, derivatives, every order."""

import mpmath
import pytest
import sympy as sp
import torch
from torch.testing import assert_close

import riemann as rm
from riemann._arithmetic import special_functions
from riemann.bridge import high_precision, to_symbolic, to_torch
from riemann.symbolic import SymbolicMetric

X = [1e-8, 0.01, 0.3, 0.5, 0.7, 1, 1.2, 2.5, 7, 30, 1e3, 1e6, -0.3, -1.2, -7.7, -100.3, -1000.25, -2.999]
BESSEL = [1e-6, 0.1, 0.9, 1.1, 2.0, 3.99, 4.9, 5.1, 8.0, 10.0, 24.9, 25.1, 50.0]


def values(f, points):
    with mpmath.workdps(60):
        return torch.tensor([float(mpmath.re(f(mpmath.mpf(x)))) for x in points], dtype=torch.float64)


def points(xs):
    return torch.tensor(xs, dtype=torch.float64)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7, 12, 25])
def test_polygamma(n):
    assert_close(special_functions.polygamma(n, points(X)), values(lambda x: mpmath.psi(n, x), X), rtol=1e-13, atol=0)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_derivatives_of_polygamma_and_of_log_gamma(n):
    derivative = torch.func.vmap(torch.func.grad(lambda x: special_functions.polygamma(n, x)))
    assert_close(derivative(points(X)), values(lambda x: mpmath.psi(n + 1, x), X), rtol=1e-13, atol=0)
    f = special_functions.lgamma
    for order in range(n + 1):
        assert_close(
            torch.func.vmap(f)(points(X)),
            values((lambda x: mpmath.psi(order - 1, x)) if order else mpmath.loggamma, X),
            rtol=3e-14,
            atol=1e-14,
        )
        f = torch.func.grad(f)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 8, -1])
@pytest.mark.parametrize("letter", "jyik")
def test_bessel(letter, n):
    want = values(lambda x: getattr(mpmath, f"bessel{letter}")(n, x), BESSEL)
    assert_close(special_functions.bessel(letter, n, points(BESSEL)), want, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("letter, n", [("j", 0), ("j", 1), ("i", 0), ("i", 1), ("j", 3), ("i", 2)])
def test_bessel_functions_are_even_or_odd(letter, n):
    x = points(BESSEL)
    assert_close(
        special_functions.bessel(letter, n, -x), (-1) ** n * special_functions.bessel(letter, n, x), rtol=0, atol=0
    )


BY_NAME = [f"bessel_{letter}{n}" for letter in "jy" for n in (0, 1)]
BY_NAME += [f"{kind}modified_bessel_k{n}" for kind in ("", "scaled_") for n in (0, 1)]
BY_NAME += ["modified_bessel_i0", "modified_bessel_i1", "i0", "i1", "i0e", "i1e", "digamma", "gammaln"]


@pytest.mark.filterwarnings("ignore:.*has no place in the differential field")
@pytest.mark.parametrize("name", BY_NAME)
def test_traced_metrics_know_the_derivatives(name):
    f = getattr(torch.special, name)

    def metric(x):
        return torch.diag(torch.stack([20 + f(x[0]), 1 + x[1] ** 2 + x[0]]))

    x = points([0.7, 0.4])
    curvature = to_torch(to_symbolic(metric, 2), "scalar_curvature")(x)
    truth = torch.tensor(float(high_precision(metric, x).scalar_curvature()), dtype=torch.float64)
    assert_close(curvature, truth, rtol=1e-12, atol=0)


def test_the_digits_of_truth_are_those_of_mpmath():
    metric = lambda x: torch.diag(torch.stack([20 + torch.special.bessel_j0(x[0]), torch.ones_like(x[0])]))
    gamma = high_precision(metric, points([0.7, 0.4])).christoffel()[0, 0, 0]
    with mpmath.workdps(50):
        x = mpmath.mpf(0.7)
        assert abs(gamma + mpmath.besselj(1, x) / (20 + mpmath.besselj(0, x)) / 2) < 1e-38


def test_bessel_functions_are_written_in_torch():
    x, y = sp.symbols("x y")
    matrix = sp.diag(1, 2 + sp.besselj(0, x))
    g = to_torch(SymbolicMetric(matrix, (x, y)))
    assert_close(g(points([5.1, 0.0]))[1, 1], 2 + values(lambda x: mpmath.besselj(0, x), [5.1])[0], rtol=1e-15, atol=0)


def test_dirichlet_distributions_have_all_digits():
    def fisher(a):
        return torch.diag(torch.polygamma(1, a)) - torch.polygamma(1, a.sum())

    def hessian_of_log_gamma(a):
        return torch.func.hessian(lambda a: torch.lgamma(a).sum() - torch.lgamma(a.sum()))(a)

    a = points([1.2, 0.7, 2.5])
    truth = torch.tensor(float(high_precision(fisher, a).scalar_curvature()), dtype=torch.float64)
    assert_close(rm.scalar_curvature(fisher, a), truth, rtol=1e-12, atol=0)
    assert_close(rm.scalar_curvature(lambda a: torch.diag(a.polygamma(1)) - a.sum().polygamma(1), a), truth)
    assert_close(rm.scalar_curvature(hessian_of_log_gamma, a), truth, rtol=1e-11, atol=0)
