"""Points are looked at once a call, at the door; inside, functions trust their arguments."""

import inspect

import pytest
import torch

import riemann as rm
import riemann_nn as rn
from riemann._points import checks
from tests.cases import BY_NAME
from tests.helpers import random_metric

M = rm.metrics
SPHERE = BY_NAME["sphere 2"].metric
U, V = torch.tensor([[1.0, 0.5], [0.2, -1.0]], dtype=torch.float64)
LINE = lambda x: 1 + x.reshape(1, 1) ** 2
METRICS = {
    "of no type": SPHERE,
    "network": rn.MLPCholesky(2, (3,)).double(),
    "space": rm.spaces.sphere(2),
    "Conformal": M.Conformal(SPHERE, lambda x: x[0] * x[1]),
    "Product": M.Product((LINE, 1), (LINE, 1)),
    "Warped": M.Warped((LINE, 1), (LINE, 1), lambda b: 1 + b[0] ** 2),
    "Pullback": M.Pullback(lambda x: torch.stack([x[0], x[1], x @ x]), lambda y: (1 + y @ y) * torch.eye(3).to(y)),
    "Fisher": M.Fisher(lambda x: torch.distributions.Normal(x[0], x[1])),
}
VECTORS = {"u": U, "v": V, "w": U, "J0": U, "dJ0": V, "y": 0.9 + 0 * U, "t": 0.1}
OTHERS = {"num_samples": 2, "T": torch.eye(2, dtype=torch.float64).expand(3, 2, 2), "old": "ul", "new": "ll"}
CURVES = ("exp_map", "geodesic", "jacobi_field", "log_map", "distance")  # one metric is enough for these


def functions_of(*first):
    """The public functions whose first arguments these are, of two dimensions."""
    functions = {name: f for name in dir(rm) if inspect.isfunction(f := getattr(rm, name))}
    planar = {name: f for name, f in functions.items() if rm.QUANTITIES.get(name, rm.Quantity(0)).least <= 2}
    return [name for name, f in planar.items() if [*inspect.signature(f).parameters][:2] == [*first]]


ONE_POINT = ("enclose_geodesic", "bound_injectivity_radius")  # exact, and no batch
OF_METRICS = [name for name in functions_of("metric", "x") if name not in ONE_POINT]
OF_MAPS = functions_of("map", "x") + functions_of("f", "x")
GRAPH = lambda x: torch.stack([x[0], x[1], x @ x])
F, X = lambda x: x[0] ** 2 * x[1], lambda x: torch.stack([x[1], x[0] ** 2])
FIELDS = {
    "gradient": lambda g: rm.gradient(g, F),
    "hessian": lambda g: rm.hessian(g, F),
    "laplacian": lambda g: rm.laplacian(g, F),
    "divergence": lambda g: rm.divergence(g, rm.gradient(g, F)),
    "covariant_derivative": lambda g: rm.covariant_derivative(g, lambda x: rm.ricci_tensor(g, x), "ll"),
    "bochner_laplacian": lambda g: rm.bochner_laplacian(g, X, "u"),
    "hodge_laplacian": lambda g: rm.hodge_laplacian(g, X, 1),
    "lichnerowicz_laplacian": lambda g: rm.lichnerowicz_laplacian(g, torch.diag),
    "lie_derivative": lambda g: rm.lie_derivative(X, g, "ll"),
    "lie_bracket": lambda g: rm.lie_bracket(X, X),
    "killing_operator": lambda g: rm.killing_operator(g, X),
    "exterior_derivative": lambda g: rm.exterior_derivative(X, 1),
    "wedge": lambda g: rm.wedge(X, 1, X, 1),
    "interior_product": lambda g: rm.interior_product(X, X, 1),
    "hodge_star": lambda g: rm.hodge_star(g, X, 1),
    "codifferential": lambda g: rm.codifferential(g, X, 1),
    "change_coordinates": lambda g: rm.change_coordinates(X, torch.exp, "u"),
}


def points():
    return 0.5 + torch.rand(3, 2, dtype=torch.float64)


def arguments(f):
    """What the function takes beside the metric and points."""
    taken = {**VECTORS, **OTHERS}
    needed = [p.name for p in inspect.signature(f).parameters.values() if p.default is p.empty]
    return {name: taken[name] for name in needed if name in taken}


@pytest.fixture
def looks(monkeypatch):
    """How often values of points were looked at."""
    seen, look = [], checks.check_finite
    monkeypatch.setattr(checks, "check_finite", lambda x, *name: seen.append(x) or look(x, *name))
    return seen


@pytest.mark.parametrize("name, metric", [(f, g) for f in OF_METRICS for g in [*METRICS][: f in CURVES or None]])
def test_points_are_looked_at_once_a_call(name, metric, looks):
    f = getattr(rm, name)
    f(METRICS[metric], points(), **arguments(f))
    assert len(looks) == 1


@pytest.mark.parametrize("name", [name for name, quantity in rm.QUANTITIES.items() if quantity.least > 2])
def test_points_of_more_dimensions_are_looked_at_once(name, looks):
    n = rm.QUANTITIES[name].least
    getattr(rm, name)(random_metric(n, 1, 0), torch.rand(3, n, dtype=torch.float64))
    assert len(looks) == 1


@pytest.mark.parametrize("name", OF_MAPS)
def test_points_of_maps_are_looked_at_once(name, looks):
    f = getattr(rm, name)
    of_number = name.startswith("level_set")
    options = {"vjp": {"w": torch.ones(3, 3).double()}, "jvp": {"v": U}}.get(name, {})
    f((lambda x: x @ x) if of_number else GRAPH, points(), **options)
    assert len(looks) == 1


@pytest.mark.parametrize("name", FIELDS)
def test_points_of_fields_are_looked_at_once(name, looks):
    FIELDS[name](SPHERE)(points())
    assert len(looks) == 1


@pytest.mark.parametrize("name", ["frechet_mean", "frechet_variance", "principal_geodesics", "geodesic_regression"])
def test_points_of_sets_are_looked_at_once(name, looks):
    times = (torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64),) if name == "geodesic_regression" else ()
    getattr(rm, name)(SPHERE, *times, points(), **({"throw": False, "max_iterations": 1} if times else {}))
    assert len(looks) == 1


@pytest.mark.parametrize("name", ["k_means", "killing_fields", "killing_spectrum", "conserved_quantities"])
def test_points_that_a_search_is_made_on_are_looked_at_once(name, looks):
    x = 0.5 + torch.rand(60, 2, dtype=torch.float64)
    f = getattr(rm, name)
    f(SPHERE, x[:3], 2) if name == "k_means" else f(SPHERE, points=x)
    assert len(looks) == 1


@pytest.mark.parametrize("symbolic", [None, rm.spaces.sphere(2).symbolic])
def test_points_of_a_verification_are_looked_at_once(symbolic, looks):
    x = points()
    rm.verify(SPHERE, symbolic, x=x, budget=0.1)
    assert len(looks) == 1


@pytest.mark.unshaped
@pytest.mark.parametrize("quantity", ["scalar_curvature", "christoffel_vector", "sectional_curvature", "jet"])
def test_points_of_compiled_functions_are_looked_at_once_a_call(quantity, looks):
    """At the first call, too, where they are compared with the function."""
    f = rm.compile(SPHERE, quantity, dim=2, backend=None)
    vectors = (U, V) if quantity in ("christoffel_vector", "sectional_curvature") else ()
    for call in (1, 2):
        f(points(), *vectors)
        assert len(looks) == call


@pytest.mark.parametrize("estimator", ["exact", "sampled"])
@pytest.mark.parametrize("kind", ["scalar", "sectional", "ricci", "riemann"])
def test_points_of_losses_are_looked_at_once(kind, estimator, looks):
    rn.curvature_loss(SPHERE, points(), kind, estimator, scale_free=True, measure="volume")
    rn.volume_loss(SPHERE, points(), measure="volume")
    assert len(looks) == 2


def test_a_solver_trusts_its_points(looks):
    rm.parallel_transport(SPHERE, lambda t: torch.stack([1 + t, t]), U, U.new_ones(1))
    assert len(looks) == 1


def test_what_runs_afterwards_is_looked_at_again(looks):
    x = points()
    with pytest.raises(ZeroDivisionError):
        rm.sectional_curvature(lambda x: 1 / 0, x, U, V)
    rm.scalar_curvature(SPHERE, x)
    rm.scalar_curvature(SPHERE, x)
    assert len(looks) == 3


@pytest.mark.parametrize("name", OF_METRICS)
@pytest.mark.unshaped
def test_bad_points_stop_at_the_door(name):
    f = getattr(rm, name)
    for x, error in (
        (torch.full((3, 2), torch.nan, dtype=torch.float64), ValueError),
        (torch.ones(3, 2, dtype=torch.long), TypeError),
        ([[0.1, 0.2]], TypeError),
        (torch.tensor(0.1), ValueError),
    ):
        with pytest.raises(error, match="`x`"):
            f(SPHERE, x, **arguments(f))
