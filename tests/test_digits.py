"""How many digits rounding leaves of the connection and of derivatives: said where they are few, and only there."""

import pytest
import torch

import riemann as rm
from riemann import _rounding
from tests.cases import BY_NAME

D = torch.float64
SPHERE, SCHWARZSCHILD = BY_NAME["sphere 2"].metric, BY_NAME["Schwarzschild"].metric
POLE = torch.tensor([[1.0, 0.3], [1e-10, 0.3]], dtype=D)


def polar(x):
    return torch.diag(torch.stack([torch.ones_like(x[0]), x[0] ** 2]))


def wave(x):
    """A pp-wave: two null coordinates."""
    z, one = torch.zeros_like(x[0]), torch.ones_like(x[0])
    H = (x[2] ** 2 - x[3] ** 2) * torch.cos(x[0])
    rows = [H, one, z, z], [one, z, z, z], [z, z, one, z], [z, z, z, one]
    return torch.stack([torch.stack(row) for row in rows])


def nearly_parallel(angle):
    """The plane, in coordinates whose lines meet at an angle: of condition 4 / angle^2."""

    def g(x):
        c = torch.cos(angle * (1 + 0.1 * x[0] * x[1]))
        return torch.stack([torch.stack([c**0, c]), torch.stack([c, c**0])])

    return g


EAST = lambda x: torch.sin(x[0]) * torch.cos(x[1])  # a coordinate of the space around
FEW = {
    "laplacian": lambda: rm.laplacian(SPHERE, EAST)(POLE),
    "hessian": lambda: rm.hessian(SPHERE, EAST)(POLE),
    "divergence": lambda: rm.divergence(SPHERE, rm.gradient(SPHERE, EAST))(POLE),
    "covariant_derivative": lambda: rm.covariant_derivative(SPHERE, SPHERE, "ll")(POLE),
}


@pytest.mark.parametrize("name", FEW)
def test_derivatives_that_cancel_at_a_pole_say_so_once(name):
    with pytest.warns(UserWarning, match=r"rounding leaves about 0 digits of the covariant .* at point \[1\]") as said:
        FEW[name]()
    assert len(said) == 1


def test_what_does_not_cancel_there_keeps_its_digits():
    """The function may be smooth in these coordinates, and the connection is a single term."""
    gamma = rm.christoffel(SPHERE, POLE)[1]
    torch.testing.assert_close(gamma[1, 0, 1], 1 / torch.tan(POLE[1, 0]), rtol=1e-15, atol=0)
    torch.testing.assert_close(rm.laplacian(SPHERE, lambda x: torch.cos(x[0]))(POLE), -2 * torch.cos(POLE[:, 0]))


@pytest.mark.parametrize("f", ["christoffel", "christoffel_vector", "compiled"])
def test_a_nearly_singular_metric_loses_the_digits_of_its_connection(f):
    x, v = torch.tensor([0.3, 0.4], dtype=D), torch.tensor([1.0, -0.5], dtype=D)
    calls = {
        "christoffel": lambda g: rm.christoffel(g, x),
        "christoffel_vector": lambda g: rm.christoffel_vector(g, x, v, v),
        "compiled": lambda g: rm.compile(g, "christoffel", dim=2, backend=None, digits=True)(x),
    }
    with pytest.warns(UserWarning, match="rounding leaves about . digits? of the Christoffel symbols"):
        calls[f](nearly_parallel(1e-6))
    calls[f](nearly_parallel(1e-3))


def points_of(name, k=40):
    r = 10 ** torch.linspace(-2, 3, k, dtype=D)
    if name == "polar":
        return torch.stack([r, torch.linspace(0, 6, k, dtype=D)], 1)
    if name == "Schwarzschild":
        return torch.stack([r, 2.05 + r, 0.3 + 0 * r, r], 1)
    return 10 * torch.randn(k, 4, dtype=D)


ENOUGH = {"polar": polar, "Schwarzschild": SCHWARZSCHILD, "wave": wave}


@pytest.mark.parametrize("name", ENOUGH)
def test_ordinary_coordinates_have_digits_enough(name):
    """Of derivatives that vanish, too: of g, and of the gradient of a function that is linear in the plane."""
    metric, x = ENOUGH[name], points_of(name)
    f = (lambda x: x[0] * torch.cos(x[1])) if name == "polar" else (lambda x: x @ x)
    v = torch.ones_like(x)
    rm.christoffel(metric, x)
    rm.christoffel_vector(metric, x, v, v)
    rm.scalar_curvature(metric, x)
    rm.hessian(metric, f)(x)
    rm.laplacian(metric, f)(x)
    rm.divergence(metric, rm.gradient(metric, f))(x)
    assert rm.covariant_derivative(metric, metric, "ll")(x).abs().max() < 1e-9


def test_one_bound_for_all_points_is_above_the_bound_at_each():
    """Coordinates of unlike length, as in a chart of Kerr, are no reason to look at every point."""
    scale = torch.tensor([1.0, 1e-3, 30.0, 1e2], dtype=torch.float64)
    A, dg, ddg = (torch.randn(20, *[4] * rank, dtype=torch.float64) for rank in (2, 3, 4))
    g = (A @ A.mT + torch.eye(4, dtype=torch.float64)) * torch.outer(scale, scale)
    dg = torch.einsum("zijk,i,j,k->zijk", dg, scale, scale, scale)
    ddg = torch.einsum("zijkl,i,j,k,l->zijkl", ddg, scale, scale, scale, scale)
    inverse = torch.linalg.inv(g)
    r = _rounding.units(g)
    curvature, connection = (_rounding._of_all_points(g, inverse, *y) for y in ((dg, ddg), (dg,)))
    assert _rounding._by_norms(g, dg, ddg, inverse, r).max() <= curvature < 1e-6
    assert _rounding._of_connection(dg, inverse, r).max() <= connection
    dg[3] = float("nan")
    assert not _rounding._of_all_points(g, inverse, dg, ddg) <= 1e-6


def test_one_bound_is_no_larger_for_points_of_unlike_size():
    """Where a coordinate vector is long at one point and the inverse large at another, each is taken with its own."""
    size = torch.tensor([1e-4, 1.0, 1e4], dtype=torch.float64)
    g = torch.diag_embed(torch.stack([size, size.reciprocal()], -1))
    dg, ddg = (torch.full((3, *[2] * rank), 1e-12, dtype=torch.float64) for rank in (3, 4))
    assert _rounding._of_all_points(g, torch.linalg.inv(g), dg, ddg) < 1e-6
