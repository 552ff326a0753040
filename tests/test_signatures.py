"""What may come by position: the metric, the point and what a function is of; options have names."""

import inspect

import pytest
import torch

import riemann as rm
import riemann_nn as rn
from tests.cases import BY_NAME

SPHERE = BY_NAME["sphere 2"].metric
X = torch.tensor([[0.5, 0.3], [1.0, 0.2]], dtype=torch.float64)

BY_POSITION = {
    "indices": "the letters of a tensor, as one writes it: `ricci_tensor(g, x, 'ul')`",
    "kind": "of the Christoffel symbols, or of a loss: what is computed, not how",
    "order": "of derivatives: what is computed",
    "ambient": "the metric of the space around: an object, as the metric is",
    "symbolic": "the exact twin of a metric: an object",
    "box": "where to look, in place of points",
    "basis": "what is looked for, after where",
    "weights": "of the points, one each: data",
    "x": "points: data",
    "trajectories": "data",
    "times": "data, of the trajectories",
    "metric": "what is fitted",
    "coordinates": "of a metric that is given as text or by its manifold",
    "quantities": "what is computed",
    "level": "what a quantity is compared with",
    "digits": "as in `mpmath` and SymPy",
    "k": "how many are asked for, as in `torch.topk`",
    "points": "how many are looked at, or which",
    "generator": "as in torch: after the number of samples",
    "estimator": "of a loss, after its kind",
    "likelihood": "of a loss: which one",
    "log": "of a loss: which one",
    "eta": "the one number of a mixture",
}
"""Arguments with a default that may come by position, and why."""


def named(package):
    return {name: f for name in package.__all__ if inspect.isfunction(f := getattr(package, name))}


def by_position(f):
    parameters = inspect.signature(f).parameters.values()
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def takes_any_number(f):
    return any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(f).parameters.values())


FUNCTIONS = {f"{p.__name__}.{name}": f for p in (rm, rn) for name, f in named(p).items() if not takes_any_number(f)}
METRICS = {
    "plain": SPHERE,
    "space": rm.spaces.sphere(2),
    "Conformal": rm.metrics.Conformal(None, lambda x: x[0] * x[1]),
    "Pullback": rm.metrics.Pullback(lambda x: torch.stack([x[0], x[1], x @ x])),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_options_have_names(name):
    given = {p.name for p in by_position(FUNCTIONS[name]) if p.default is not p.empty}
    assert given <= BY_POSITION.keys(), f"{name}: {given - BY_POSITION.keys()} by position, without a reason"


def test_every_reason_has_a_function():
    used = {p.name for f in FUNCTIONS.values() for p in by_position(f) if p.default is not p.empty}
    assert used == BY_POSITION.keys()


@pytest.mark.unshaped
@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_more_by_position_is_a_type_error(name):
    """Whatever the type of the metric: routes are no way around."""
    f = FUNCTIONS[name]
    places = by_position(f)
    typed = places and places[0].name == "metric" and len(places) > 1 and places[1].name == "x"
    for metric in METRICS.values() if typed else (SPHERE,):
        known = {"metric": metric, "f": SPHERE, "map": METRICS["Pullback"].map}
        values = [known.get(p.name, X if p.default is p.empty else p.default) for p in places]
        with pytest.raises(TypeError, match=rf"^{f.__name__}\(\) takes .*positional argument") as said:
            f(*values, 7)
        assert "riemann." not in str(said.value)
