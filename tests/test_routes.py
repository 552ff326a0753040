"""Routes: what a type of metric knows of itself, registered by function objects, by users as by us."""

import pytest
import torch

import riemann as rm
from tests.helpers import assert_equal

X = torch.tensor([[0.3, 0.4], [0.1, -0.2]], dtype=torch.float64)


class Round(torch.nn.Module):
    """The unit sphere."""

    def forward(self, x):
        return 4 * torch.eye(2, dtype=x.dtype) / (1 + x @ x) ** 2


def fresh():
    """A type of metric without routes."""
    return type("Fresh", (Round,), {"inherits_routes": True})


def test_the_name_of_a_route_is_of_no_account():
    kind = fresh()

    @rm.route(rm.ricci_tensor, kind)
    def whatever(metric, x, indices="ll"):
        return rm.change_indices(metric, x, rm.at(metric, x, 0).g, "ll", indices)

    metric = kind()
    assert rm.ricci_tensor.route(metric).endswith("whatever") and rm.scalar_curvature.route(metric) == "generic"
    assert_equal(rm.ricci_tensor(metric, X, indices="ul"), torch.eye(2, dtype=X.dtype).expand(2, 2, 2))
    assert rm.ricci_tensor.route(Round()) == "generic"


def test_a_route_gets_points_and_vectors_of_one_batch_shape():
    kind, seen = fresh(), []

    @rm.route(rm.sectional_form, kind)
    def form(metric, x, u, v):
        seen.append((x.shape, u.shape, v.shape))
        g = rm.at(metric, x, 0).g
        uu, vv, uv = (torch.einsum("...ij,...i,...j->...", g, a, b) for a, b in ((u, u), (v, v), (u, v)))
        return uu * vv - uv**2

    u, v = torch.tensor([1.0, 0.5], dtype=X.dtype), torch.randn(3, 1, 2, dtype=X.dtype)
    assert_equal(rm.sectional_curvature(kind(), X, u, v), torch.ones(3, 2, dtype=X.dtype))
    assert all(x == u == v for x, u, v in seen)


def test_a_route_of_the_jets():
    kind = fresh()

    @rm.route(rm.at, kind)
    def flat(metric, x, order):
        return tuple(
            x.new_zeros(*x.shape[:-1], *[2] * (2 + k)) + (torch.eye(2) if k == 0 else 0) for k in range(order + 1)
        )

    assert_equal(rm.riemann_tensor(kind(), X), X.new_zeros(2, 2, 2, 2, 2))


def test_what_is_no_route_is_an_error_at_once():
    with pytest.raises(TypeError, match="expected an open function"):
        rm.route(rm.formulas.ricci_tensor, Round)
    with pytest.raises(TypeError, match="expected a class"):
        rm.route(rm.ricci_tensor, Round())
    with pytest.raises(AttributeError, match="did you mean `ricci_tensor`"):
        rm.route(rm.ricci_tenso, Round)
    with pytest.raises(TypeError, match="has the argument `positions`"):

        @rm.route(rm.ricci_tensor, fresh())
        def ricci(metric, x, positions="ll"):
            return x


def test_hooks_on_parts_matter_unless_the_route_calls_them():
    for calls_parts in (False, True):
        kind = fresh()
        rm.route(rm.scalar_curvature, kind, calls_parts=calls_parts)(lambda metric, x: x.new_full(x.shape[:-1], 2.0))
        metric = kind()
        metric.part = torch.nn.Linear(1, 1)
        metric.part.register_forward_hook(lambda module, args, result: 2 * result)
        assert (rm.scalar_curvature.route(metric) == "generic") is not calls_parts


def test_every_open_function_asks_the_structure_of_a_network():
    import riemann_nn

    assert {rm.scalar_curvature, rm.sectional_form, rm.geodesic_acceleration} < set(rm.open_functions())
    net = riemann_nn.MetricNet(2, family="conformal").double()
    for function in rm.open_functions():
        assert function.route(net).startswith("riemann_nn"), function.__name__
