"""Killing fields: how many there are at points, by the prolonged equation, and the fields in a function basis."""

import math

import pytest
import torch
from hypothesis import given, settings

import riemann as rm
from riemann import _nabla as nabla
from riemann import spaces
from tests.cases import BY_NAME
from tests.fields import SEEDS, D, metrics, points
from tests.helpers import assert_equal, random_metric, terms

COUNTED = {
    "curve": 1, "sphere 2": 3, "sphere 3 by angles": 6, "sphere 3 by a determinant": 6, "half plane": 3, "ball": 6,
    "hyperboloid": 3, "torus": 1, "graph": 0, "Fisher metric of N(mu, sigma)": 3, "Schwarzschild": 4,
    "Painleve-Gullstrand": 4, "Kerr": 2, "FLRW, dust": 6, "pp-wave": 5, "generic 3": 0, "generic 3, indefinite": 0,
    "generic 4": 0, "sphere 4, stereographic": 10,
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_dimensions(name):
    case = BY_NAME[name]
    assert rm.killing_dimension(case.metric, case.x()[:2]).tolist() == [COUNTED[name]] * len(case.x()[:2])


@pytest.mark.slow
def test_the_catalogue():
    """Every entry whose number of Killing fields is known, with singular values on both sides of a wide gap."""
    checked = 0
    for name in spaces.names():
        try:
            space = spaces.get(name)
            x = space.sample(2, torch.Generator().manual_seed(1))
        except (TypeError, ValueError):  # needs arguments
            continue
        truth = space.facts.get("killing_dimension")
        if truth is None or space.dim > 4:
            continue
        found = rm.killing_rank(space, x)
        assert found.dimension.tolist() == [int(truth)] * 2, name
        values, rank = found.singular_values, found.singular_values.shape[-1] - int(truth)
        assert bool((values[:, rank:] < found.tolerance[:, None] / 10).all()), name
        assert rank == 0 or bool((values[:, rank - 1] > 1e3 * found.tolerance).all()), name
        checked += 1
    assert checked > 50


def test_flat_space_is_flat_in_bent_coordinates():
    """Curvature that is rounding error is none, of both signatures; a torus has 3 locally."""
    assert int(rm.killing_dimension(lambda x: torch.eye(2), torch.zeros(2, dtype=D))) == 3
    for signs in ([1.0, 1, 1], [-1.0, 1, 1]):
        bent = rm.change_coordinates(
            lambda x, s=signs: torch.diag(torch.tensor(s)), lambda y: y + 0.2 * torch.sin(y).roll(1) ** 2
        )
        assert rm.killing_dimension(bent, points(3, 0)).tolist() == [6, 6]


@settings(max_examples=6, deadline=None)
@given(metrics(largest=3), SEEDS)
def test_generic_metrics_have_none(case, seed):
    metric, x, _ = case
    assert rm.killing_dimension(metric, x).tolist() == [0, 0]


@pytest.mark.parametrize("n, negative", [(2, 0), (3, 1), (4, 1)])
def test_derivatives_of_curvature(n, negative):
    """The polynomial arithmetic against derivatives of fields, to the third covariant derivative."""
    metric, x = random_metric(n, negative, 3), points(n, 4)
    jets = rm.at(metric, x, 5).jets
    first, second, third = nabla.derivatives_of_curvature(jets, 3)[1:]
    scale = terms(*jets[:3])
    assert_equal(first, rm.nabla_riemann(metric, x), scale=scale)
    field = rm.covariant_derivative(metric, lambda y: rm.nabla_riemann(metric, y), "lllll")
    assert_equal(second, field(x), scale=10 * scale)
    if n < 4:
        assert_equal(third, rm.covariant_derivative(metric, field, "llllll")(x), scale=100 * scale)


def test_the_number_does_not_depend_on_units_and_coordinates():
    kerr, x, c = BY_NAME["Kerr"], BY_NAME["Kerr"].x(), 1e6
    assert rm.killing_dimension(lambda p: kerr.metric(p) / c**2, x).tolist() == [2, 2]
    assert rm.killing_dimension(lambda p: kerr.metric(p / c), c * x).tolist() == [2, 2]
    bent = rm.change_coordinates(BY_NAME["torus"].metric, lambda y: y + 0.1 * torch.sin(y).roll(1))
    assert rm.killing_dimension(bent, points(2, 0)).tolist() == [1, 1]


def test_a_symmetry_that_is_almost_one():
    """A surface of revolution, broken by 1e-5: exactly none; one for who tolerates it; the fit tells by how much."""
    bump = lambda x: 1 + 1e-5 * torch.sin(x[1]) * torch.cos(x[0])
    metric = lambda x: torch.diag(torch.stack([1 + 0 * x[0], (2 + torch.cos(x[0])) ** 2 * bump(x)]))
    x = torch.tensor([[0.7, 0.4], [1.3, 2.0]], dtype=D)
    assert rm.killing_dimension(metric, x).tolist() == [0, 0]
    assert rm.killing_dimension(metric, x, tolerance=1e-3).tolist() == [1, 1]
    box = ((0, 2 * math.pi), (0, 2 * math.pi))
    assert len(rm.killing_fields(metric, box).fields) == 0
    found = rm.killing_fields(metric, box, tolerance=1e-3)
    assert len(found.fields) == 1 and 1e-6 < float(found.residuals) < 1e-4
    assert float(found.spectrum[1]) > 1e-2


def test_what_is_not_determined():
    """In single precision, where the metric is none, and where the conditions have not settled."""
    kerr, x = BY_NAME["Kerr"], BY_NAME["Kerr"].x()
    with pytest.warns(UserWarning, match=r"not determined at 2 points, first \[0\].* left \[4, 2\] unknowns"):
        assert rm.killing_dimension(kerr.metric, x, max_order=1).tolist() == [-1, -1]
    rank = rm.killing_rank(kerr.metric, x)
    assert rank.kernels.tolist() == [[4, 2, 2]] * 2 and rank.singular_values.shape == (2, 10)
    with pytest.warns(UserWarning, match="is singular|not determined"):
        dimension = rm.killing_dimension(lambda x: torch.diag(x), torch.tensor([[1.0, 0.0], [1.0, 2.0]], dtype=D))
    assert dimension.tolist() == [-1, 3]
    sphere = lambda x: 4 * torch.eye(2) / (1 + x @ x) ** 2
    assert rm.killing_dimension(sphere, torch.tensor([0.3, 0.2])).item() == 3
    almost = lambda x: sphere(x) * (1 + 1e-4 * x[0])
    with pytest.warns(UserWarning, match="no gap"):
        assert rm.killing_dimension(almost, torch.tensor([0.3, 0.2])).item() == -1
    with pytest.raises(ValueError, match="`max_order` is 0, expected a whole number, 1 or more"):
        rm.killing_dimension(sphere, x, max_order=0)


def test_batches_and_chunks():
    sphere, x = BY_NAME["sphere 2"].metric, torch.rand(2, 3, 2, dtype=D) + 0.5
    assert rm.killing_dimension(sphere, x).shape == (2, 3)
    whole, pieces = rm.killing_rank(sphere, x), rm.killing_rank(sphere, x, chunk_size=2)
    assert torch.equal(whole.dimension, pieces.dimension) and whole.kernels.shape == (2, 3, 2)
    assert rm.killing_dimension(sphere, x[:, :0]).shape == (2, 0)


# -------------------------------------------------------------------------------------------------------- the fields


def flrw(x):
    """Dust in Cartesian coordinates."""
    return torch.diag(torch.stack([-torch.ones_like(x[0]), *(x[0] ** (4 / 3)).expand(3)]))


def rotations(x):
    """The functions of angles in which rotations are written."""
    return torch.stack(
        [torch.ones_like(x[3]), x[3].sin(), x[3].cos(), x[3].sin() / x[2].tan(), x[3].cos() / x[2].tan()]
    )


HOLE = ((0, 1), (4, 6), (0.5, 1.5), (0, 1))
FOUND = {
    "sphere 3": (BY_NAME["sphere 3 by a determinant"].metric, ((-1, 1),) * 3, "polynomial", 2, 6),
    "half plane": (BY_NAME["half plane"].metric, ((-1, 1), (1, 2)), "polynomial", 2, 3),
    "FLRW": (flrw, ((1, 2), (-1, 1), (-1, 1), (-1, 1)), "polynomial", 1, 6),
    "Schwarzschild": (BY_NAME["Schwarzschild"].metric, HOLE, rotations, 2, 4),
    "Kerr": (BY_NAME["Kerr"].metric, HOLE, "polynomial", 2, 2),
    "Minkowski": (lambda x: torch.diag(torch.tensor([-1.0, 1, 1, 1])), ((0, 1),) * 4, "polynomial", 1, 10),
    "torus": (BY_NAME["torus"].metric, ((0, 2 * math.pi),) * 2, "trigonometric", 2, 1),
    "sphere 2, expanded": (BY_NAME["sphere 2"].metric, ((1, 2), (0, 1)), "polynomial", 12, 3),
    "generic 3": (BY_NAME["generic 3"].metric, ((0, 1),) * 3, "polynomial", 2, 0),
}


@pytest.mark.parametrize("name", FOUND)
def test_fields(name):
    metric, box, basis, degree, count = FOUND[name]
    found = rm.killing_fields(metric, box, basis, degree=degree)
    assert len(found.fields) == len(found.residuals) == len(found.coefficients) == count
    assert bool((found.residuals < 1e-6).all()) and float(found.spectrum[count]) > 1e-4
    low, high = torch.tensor(box, dtype=D).T
    x = low + (high - low) * torch.rand(3, len(low), dtype=D)
    assert int(rm.killing_dimension(metric, x).min()) == count
    for X in found.fields:
        assert_equal(
            rm.killing_operator(metric, X)(x), 0.0, scale=X(x).abs().max() * metric(x[0]).abs().max(), rtol=1e-5
        )
        assert X(x[0]).shape == (len(low),)


def test_the_fields_of_a_sphere_are_an_algebra():
    """Brackets of rotations of S^3 are rotations; they are independent."""
    metric, box, *_ = FOUND["sphere 3"]
    fields = rm.killing_fields(metric, box).fields
    x = points(3, 1)
    for X, Y in ((fields[0], fields[1]), (fields[2], fields[5])):
        assert_equal(rm.killing_operator(metric, rm.lie_bracket(X, Y))(x), 0.0)
    values = torch.stack([X(points(3, 2, count=4)).reshape(-1) for X in fields])
    assert int(torch.linalg.matrix_rank(values)) == 6


def test_given_vector_fields():
    """Which combinations of given fields are symmetries: of the plane's 2 x 2 matrices, the rotation."""
    plane = lambda x: torch.eye(2)
    linear = [lambda x, k=k: torch.eye(4)[k].reshape(2, 2).to(x) @ x for k in range(4)]
    found = rm.killing_fields(plane, ((-1, 1), (-1, 1)), linear)
    assert found.coefficients.shape == (1, 4)
    A = found.coefficients[0].reshape(2, 2)
    assert_equal(A, -A.T)


def test_symmetries_of_a_network():
    """A network that sees only the radius is symmetric under rotations, and under nothing else."""
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()

    def metric(x):
        a, b = net((x @ x).reshape(1)).exp().unbind()
        return a * torch.eye(3) + b * torch.outer(x, x)

    found = rm.killing_fields(metric, ((-1, 1),) * 3, degree=2)
    assert len(found.fields) == 3
    for X in found.fields:
        assert_equal(X(torch.zeros(3, dtype=D)), 0.0)
    assert rm.killing_dimension(metric, points(3, 0)).tolist() == [3, 3]
    ordinary = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()

    def learned(x):
        a, b, c = ordinary(x).unbind()
        L = torch.stack([torch.stack([a.exp(), 0 * a]), torch.stack([b, c.exp()])])
        return L @ L.T

    assert rm.killing_dimension(learned, points(2, 0)).tolist() == [0, 0]
    assert len(rm.killing_fields(learned, ((-1, 1),) * 2, degree=4).fields) == 0


def test_messages():
    plane, box = lambda x: torch.eye(2), ((0, 1), (0, 1))
    for basis, message in (
        ("fourier", "`basis` is 'fourier', expected 'polynomial', 'trigonometric'"),
        ([], "expected one or more vector fields"),
        ([lambda x: x[:1]], r"`basis\[0\]` returned shape \(1,\) at one point, expected \(2,\)"),
        (lambda x: x.sum(), r"`basis` returned shape \(\) at one point, expected \(functions,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            rm.killing_fields(plane, box, basis)
    with pytest.raises(ValueError, match=r"`box\[1\]` is \(1, 0\)"):
        rm.killing_fields(plane, ((0, 1), (1, 0)))
    with pytest.raises(ValueError, match="is not a metric at"), pytest.warns(UserWarning, match="results are NaN"):
        rm.killing_fields(lambda x: torch.diag(torch.sqrt(x)), ((-1, 1), (0, 1)))


WRINKLED = {  # a metric, degree of the basis, and its symmetries but for wrinkles
    "plane": (lambda x: torch.eye(2), 1, 3),
    "sphere 3": (lambda x: 4 * torch.eye(3) / (1 + x @ x) ** 2, 2, 6),
    "revolution": (lambda x: (1 + x @ x) * torch.eye(2) + torch.outer(x, x), 1, 1),
    "none": (lambda x: torch.diag(torch.stack([2 + torch.sin(3 * x[0] * x[1]), 3 + x[0] ** 3 - x[1]])), 1, 0),
}


@pytest.mark.parametrize("size", [0.0, 1e-5, 0.02])
@pytest.mark.parametrize("name", WRINKLED)
def test_the_spectrum_of_a_wrinkled_metric(name, size):
    """Where `killing_dimension` sees 0, or nothing: the symmetries stand before a gap."""
    metric, degree, count = WRINKLED[name]
    n = 3 if name == "sphere 3" else 2
    wrinkles = lambda x: metric(x) * (1 + size * torch.sin(4 * x[0]) * torch.cos(3 * x[1] + 1))
    x = torch.rand(300, n, dtype=D) * 2 - 1
    found = rm.killing_spectrum(wrinkles, points=x, degree=degree)
    assert found.dimension == count
    if count and 0 < size:
        found = rm.killing_spectrum(lambda x: 1e5 * wrinkles(x), points=x, degree=degree)
        assert found.dimension == count and float(found.values[count - 1]) < 10 * size
        assert bool((found.gaps[count - 1] >= found.gaps).all())


def test_the_spectrum_of_other_kinds():
    box = ((1.0, 2.0), (1.0, 2.0))
    cone = lambda x: torch.diag(torch.stack([2 + torch.sin(8 * x[1] / x[0]), 2 + torch.cos(5 * x[1] / x[0])]))
    killing, scaling = (rm.killing_spectrum(cone, box, kind=kind).dimension for kind in ("killing", "homothetic"))
    assert (killing, scaling) == (0, 1)
    bent = lambda x: torch.eye(3) * (1 + x[0] ** 2)
    assert rm.killing_spectrum(bent, ((1.0, 2.0),) * 3, kind="conformal", degree=2).dimension == 10
