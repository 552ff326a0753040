"""Functions that return functions: what they are wrongly given is named, there or at the first point."""

import pytest
import torch

import riemann as rm
from riemann import bridge, metrics


def half_plane(x):
    return torch.eye(len(x), dtype=x.dtype) / x[-1] ** 2


def height(x):
    return x[-1]


def identity(x):
    return x


X = torch.tensor([0.1, 0.7], dtype=torch.float64)
WRONG = (None, 5, X, "kerr", [half_plane], metrics.Pullback)

OF_METRICS = {
    "structure": lambda m: rm.structure(m, 2),
    "structured": lambda m: rm.structured(m, 2),
    "compile": lambda m: rm.compile(m, "christoffel", dim=2),
    "adapt": lambda m: rm.adapt(m),
    "to_geomstats": lambda m: rm.to_geomstats(m, 2),
    "to_symbolic": lambda m: bridge.to_symbolic(m, 2),
    "to_torch": lambda m: bridge.to_torch(m),
    "gradient": lambda m: rm.gradient(m, height),
    "hessian": lambda m: rm.hessian(m, height),
    "laplacian": lambda m: rm.laplacian(m, height),
    "divergence": lambda m: rm.divergence(m, identity),
    "covariant_derivative": lambda m: rm.covariant_derivative(m, identity, "u"),
    "hodge_star": lambda m: rm.hodge_star(m, identity, 1),
    "codifferential": lambda m: rm.codifferential(m, identity, 1),
    "hodge_laplacian": lambda m: rm.hodge_laplacian(m, identity, 1),
    "bochner_laplacian": lambda m: rm.bochner_laplacian(m, identity, "u"),
    "lichnerowicz_laplacian": lambda m: rm.lichnerowicz_laplacian(m, half_plane),
    "killing_operator": lambda m: rm.killing_operator(m, identity),
    "Product": lambda m: metrics.Product((m, 1), (half_plane, 1)),
    "Warped": lambda m: metrics.Warped((m, 1), (half_plane, 1), height),
    "Fisher": lambda m: metrics.Fisher(m),
}
OF_FIELDS = {
    "gradient": lambda f: rm.gradient(half_plane, f),
    "hessian": lambda f: rm.hessian(half_plane, f),
    "laplacian": lambda f: rm.laplacian(half_plane, f),
    "divergence": lambda f: rm.divergence(half_plane, f),
    "covariant_derivative": lambda f: rm.covariant_derivative(half_plane, f, "u"),
    "lie_derivative along": lambda f: rm.lie_derivative(f, identity, "u"),
    "lie_derivative of": lambda f: rm.lie_derivative(identity, f, "u"),
    "lie_bracket": lambda f: rm.lie_bracket(identity, f),
    "exterior_derivative": lambda f: rm.exterior_derivative(f, 1),
    "wedge": lambda f: rm.wedge(f, 1, identity, 1),
    "interior_product": lambda f: rm.interior_product(f, identity, 1),
    "hodge_star": lambda f: rm.hodge_star(half_plane, f, 1),
    "killing_operator": lambda f: rm.killing_operator(half_plane, f),
    "change_coordinates of": lambda f: rm.change_coordinates(f, identity, "u"),
    "change_coordinates by": lambda f: rm.change_coordinates(identity, f, "u"),
    "Pullback": lambda f: metrics.Pullback(f),
    "Conformal": lambda f: metrics.Conformal(half_plane, f),
    "Diagonal": lambda f: metrics.Diagonal(f),
    "Hessian": lambda f: metrics.Hessian(f),
    "Cholesky": lambda f: metrics.Cholesky(f),
}
OF_NUMBERS = {
    "structure": lambda n: rm.structure(half_plane, n),
    "structured": lambda n: rm.structured(half_plane, n),
    "compile": lambda n: rm.compile(half_plane, "christoffel", dim=n),
    "to_geomstats": lambda n: rm.to_geomstats(half_plane, n),
    "to_symbolic": lambda n: bridge.to_symbolic(half_plane, n),
    "Product": lambda n: metrics.Product((half_plane, n), (half_plane, 2)),
    "exterior_derivative": lambda n: rm.exterior_derivative(identity, n),
    "hodge_star": lambda n: rm.hodge_star(half_plane, identity, n),
    "wedge": lambda n: rm.wedge(identity, n, identity, 1),
}
CALLS = {
    f"{name}({str(wrong)[:12]})": (make, wrong)
    for table, given in ((OF_METRICS, WRONG), (OF_FIELDS, WRONG[:4]), (OF_NUMBERS, ("2", -1, 2.5, None, X)))
    for name, make in table.items()
    for wrong in given
}


@pytest.mark.unshaped
@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_such_argument_is_said(name):
    make, wrong = CALLS[name]
    with pytest.raises((TypeError, ValueError)) as caught:
        made = make(wrong)
        made(X)
    assert "missing" not in str(caught.value) and len(str(caught.value)) > 20
    assert "riemann" in str(caught.traceback[-1].path)  # it is ours


@pytest.mark.unshaped
@pytest.mark.parametrize("indices", ["x", 1, None, ["u"], "uL"])
@pytest.mark.parametrize(
    "make",
    [
        lambda indices: rm.covariant_derivative(half_plane, identity, indices),
        lambda indices: rm.lie_derivative(identity, identity, indices),
        lambda indices: rm.bochner_laplacian(half_plane, identity, indices),
        lambda indices: rm.change_coordinates(identity, identity, indices),
    ],
)
def test_indices_that_are_none(make, indices):
    with pytest.raises((TypeError, ValueError), match="indices"):
        make(indices)(X)
