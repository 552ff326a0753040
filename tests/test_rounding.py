"""Bounds of rounding errors hold: |computed - exact| is below, where FLINT tells the exact value."""

import math

import pytest
import torch

import riemann as rm
from riemann._certified.running import PLAIN, NotKnown, errors_of_metric
from riemann._metric import metric_jet
from riemann.bridge import _aten
from tests.test_certified import METRICS, ball_model, network, sphere

D = torch.float64


def conformal(f):
    return lambda x: torch.eye(2) * f(x)


def schwarzschild(x):
    f = 1 - 2 / x[1]
    return torch.diag(torch.stack([-f, 1 / f, x[1] ** 2, x[1] ** 2 * torch.sin(x[2]) ** 2]))


A = torch.randn(7, 2, dtype=D, generator=torch.Generator().manual_seed(1))
RUNNING = {
    "sphere": (sphere, lambda: torch.rand(30, 2, dtype=D) * 10 ** -torch.linspace(0, 9, 30, dtype=D)[:, None]),
    "ball": (ball_model, lambda: torch.rand(30, 3, dtype=D) * 0.57),
    "network": (network(), lambda: torch.randn(8, 2, dtype=D)),
    "horizon": (schwarzschild, lambda: torch.stack([torch.zeros(20), 2 + 10 ** -torch.linspace(1, 6, 20),
                                                    torch.rand(20), torch.rand(20)], 1).to(D)),
    "cancellation": (conformal(lambda x: 1 + (x[0] * 1e8 + 1) - x[0] * 1e8), lambda: torch.randn(30, 2, dtype=D)),
    "large angle": (conformal(lambda x: 2 + torch.sin(1e4 * x[0])), lambda: torch.randn(30, 2, dtype=D)),
    "products": (conformal(lambda x: 1 + ((A @ x).square().sum() - (A @ x) @ (A @ x)).abs()),
                 lambda: torch.randn(30, 2, dtype=D)),
    "fused": (conformal(lambda x: 3 + torch.logsumexp(30 * x, 0).abs() + torch.softmax(20 * x, 0)[0]
                        + torch.log_softmax(5 * x, 0)[1] ** 2 + torch.logaddexp(x[0], x[1]) ** 2
                        + torch.nn.functional.logsigmoid(9 * x[0]) ** 2 + torch.hypot(x[0], x[1])),
              lambda: torch.randn(40, 2, dtype=D)),
    "layers": (conformal(lambda x: 2 + torch.nn.functional.gelu(x[0]).abs() + torch.nn.functional.silu(9 * x[1]).abs()
                         + torch.nn.functional.softplus(9 * x[0]) + torch.sigmoid(40 * x[1])
                         + torch.nn.functional.gelu(-3 * x[1].abs(), approximate="tanh").abs()
                         + torch.sinc(7 * x[0]).abs() + torch.nn.functional.elu(x[0]) ** 2),
               lambda: torch.randn(40, 2, dtype=D)),
    "kinks": (conformal(lambda x: 2 + torch.relu(x[0]) + x.abs().amax()
                        + torch.where(x[0] > 0.3, x[0], 2 * x[0]).abs() + torch.sign(x[1]) / 2
                        + torch.clamp(x[0], -0.5, 0.5) ** 2),
              lambda: torch.randn(40, 2, dtype=D)),
    "a jump that rounding decides": (conformal(lambda x: torch.where((x[0] + 0.1) - x[0] > 0.1, 1.0, 2.0)),
                                     lambda: torch.randn(40, 2, dtype=D)),
    "powers": (conformal(lambda x: 1 + x[0].abs() ** 1.3 + x[1] ** -3 / 9 + x[1] ** 4 + 2 ** x[0] + x[0].abs() ** -0.5),
               lambda: 1 + torch.rand(30, 2, dtype=D)),
    "near an end of a domain": (conformal(lambda x: 1 + torch.sqrt(x[0]) + torch.acos(1 - x[0]) + torch.log(x[1]) ** 2
                                          + torch.atanh(1 - x[1])),
                                lambda: 10.0 ** -(1 + 6 * torch.rand(30, 2, dtype=D))),
    "single precision": (conformal(lambda x: 2 + torch.sin(1e3 * x[0]) + torch.exp(x[1])), lambda: torch.randn(40, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNNING)
def test_running_errors_bound_the_errors_of_g_in_every_evaluation(name):
    metric, points = RUNNING[name]
    x = points()
    bound = errors_of_metric(metric, x)
    with torch.no_grad():
        at_once = metric_jet(metric, x, 0)[0]
        single = torch.stack([metric_jet(metric, p, 0)[0] for p in x])
    for k, point in enumerate(x.tolist()):
        exact = rm.enclose(metric, "metric", point, dtype=x.dtype)
        for value in (at_once[k].double(), single[k].double()):
            far = torch.maximum((value - exact.lower).abs(), (value - exact.upper).abs())
            slack = 2 * torch.finfo(D).eps * value.abs()  # of the ends of the enclosure, which are floats
            assert bool((far <= bound[k] + slack).all()), (point, far, bound[k])
    assert "jump" in name or bool((bound[0] < 1e-3 * (1 + at_once[0].abs())).all())


def test_the_sizes_of_bounds_follow_the_condition():
    """At the horizon 1 - 2 / r cancels: its relative error grows as r approaches 2."""
    r = torch.tensor([3.0, 2.001, 2.000001, 2.000000001], dtype=D)
    x = torch.stack([torch.zeros(4, dtype=D), r, torch.ones(4, dtype=D), torch.zeros(4, dtype=D)], 1)
    bound = rm.bound_rounding(schwarzschild, x, ["metric"])["metric"]
    relative = bound[:, 0, 0] / (1 - 2 / r).abs()
    assert bool((relative[1:] > 100 * relative[:-1]).all()) and relative[-1] < 1e-5
    assert bool((rm.bound_rounding(sphere, x[:, 1:3], ["metric"])["metric"][:, 0, 0] < 1e-299).all())  # 1 is 1


@pytest.mark.parametrize("name", ["sphere", "network", "linear algebra", "special"])
def test_errors_of_curvature_are_within_their_bounds(name):
    metric, n, low, high = METRICS[name]
    x = low + (high - low) * torch.rand(2, 2, n, dtype=D)
    x[0, 0, 0] = x[0, 0, 0] / 1e4 if name == "sphere" else x[0, 0, 0]
    bounds = rm.bound_rounding(metric, x)
    for quantity, bound in bounds.items():
        value = rm.at(metric, x).jets[0] if quantity == "metric" else getattr(rm, quantity)(metric, x)
        assert bound.shape == value.shape and bound.dtype == D
        for k in ((0, 0), (0, 1), (1, 0), (1, 1)):
            exact = rm.enclose(metric, quantity, x[k])
            far = torch.maximum((value[k] - exact.lower).abs(), (value[k] - exact.upper).abs())
            assert bool((far <= bound[k] + 2 * torch.finfo(D).eps * value[k].abs()).all()), quantity


def test_what_cancels_inside_the_metric_is_seen_in_its_curvature():
    """(1e8 + x^2) - 1e8 has lost digits that the terms of the formula do not know of."""
    g = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), ((1e8 + torch.sin(x[0])) - 1e8) ** 2]))
    x = torch.tensor([1.0, 0.3], dtype=D)
    bound = rm.bound_rounding(g, x, ["metric", rm.scalar_curvature])
    assert 1e-9 < bound["metric"][1, 1] < 1e-6
    exact = rm.enclose(g, "scalar_curvature", x)
    error = (rm.scalar_curvature(g, x) - exact.lower).abs()
    assert error > 1e-10 and error <= bound["scalar_curvature"]


def test_where_g_is_no_metric_or_nothing_is_known():
    with pytest.warns(UserWarning, match="singular"):
        bound = rm.bound_rounding(lambda x: torch.outer(x, x), torch.tensor([1.0, 2.0], dtype=D))
    assert all(bool(b.isnan().all()) for b in bound.values())
    none = rm.bound_rounding(sphere, torch.empty(0, 2, dtype=D))
    assert none["riemann_tensor"].shape == (0, 2, 2, 2, 2)


def test_rounding_of_linear_algebra_is_not_guessed():
    metric = METRICS["linear algebra"][0]
    with pytest.raises(NotKnown):
        errors_of_metric(metric, torch.ones(1, 2, dtype=D))
    assert {"linalg_inv_ex", "linalg_cholesky_ex", "atan2", "special_bessel_j0", "lgamma"} <= _aten.KNOWN - PLAIN
    assert PLAIN <= _aten.KNOWN and math.isfinite(rm.bound_rounding(metric, torch.ones(2, dtype=D))["metric"].max())


def test_beyond_what_is_known_a_priori_balls_tell():
    """Our own sine ends at 1e5."""
    x = torch.tensor([[0.3, 1.0], [3e6, 1.0]], dtype=D)
    metric = conformal(lambda x: 2 + torch.sin(x[0]))
    assert bool(errors_of_metric(metric, x)[1, 0, 0].isinf())
    assert bool((rm.bound_rounding(metric, x, ["metric"])["metric"] < 1e-9).all())


@pytest.mark.unshaped
def test_an_unknown_quantity_is_named():
    with pytest.raises(ValueError, match="expected one of metric"):
        rm.bound_rounding(sphere, torch.ones(2, dtype=D), ["entropy"])
