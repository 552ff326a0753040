"""Points are checked at the door, once a call; inside, functions trust their arguments."""

import pytest
import torch

import riemann as rm
import riemann_nn as rn
from tests.cases import BY_NAME

SPHERE = BY_NAME["sphere 2"].metric
U, V = torch.tensor([[1.0, 0.5], [0.2, -1.0]], dtype=torch.float64)
METRICS = {
    "of no type": SPHERE,
    "network": rn.MLPCholesky(2, (3,)).double(),
    "space": rm.spaces.sphere(2),
}
CALLS = {
    **{name: getattr(rm, name) for name, q in rm.QUANTITIES.items() if q.least <= 2},
    "at": rm.at,
    "christoffel_vector": lambda g, x: rm.christoffel_vector(g, x, U, V),
    "sectional_form": lambda g, x: rm.sectional_form(g, x, U, V),
    "curvature_endomorphism": lambda g, x: rm.curvature_endomorphism(g, x, U, V, U),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", CALLS)
def test_points_are_checked_once_a_call(name, metric, monkeypatch):
    if metric == "network" and rm.QUANTITIES.get(name, rm.Quantity(0)).order > 2:
        pytest.skip("third derivatives of networks are those of `riemann.jet`, a door of its own")
    x = 0.5 + torch.rand(3, 2, dtype=torch.float64)
    isfinite, seen = torch.isfinite, []
    monkeypatch.setattr(torch, "isfinite", lambda y: seen.append(y.data_ptr() == x.data_ptr()) or isfinite(y))
    CALLS[name](METRICS[metric], x)
    assert sum(seen) == 1


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.unshaped
def test_bad_points_stop_at_the_door(name):
    for x, error in (
        (torch.full((3, 2), torch.nan, dtype=torch.float64), ValueError),
        (torch.ones(3, 2, dtype=torch.long), TypeError),
        ([[0.1, 0.2]], TypeError),
        (torch.tensor(0.1), ValueError),
    ):
        with pytest.raises(error, match="`x`"):
            CALLS[name](SPHERE, x)
