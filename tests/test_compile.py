"""Compiled quantities are those of the functions: values, batches, dtypes, gradients, bad points, digits, messages.

Run apart from the shape checker, whose wrappers no compiler takes. Most tests leave the code as it is (`backend=None`):
what is compiled is the same code.
"""

import copy
import functools
import gc
import pickle
import signal
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sympy as sp
import torch
from torch.testing import assert_close

import riemann as rm
from riemann import bridge, spaces
from riemann._clock import within
from riemann._compiling import called, compiled, kernels, running
from riemann_nn import MetricNet, MLPCholesky
from tests.cases import BY_NAME
from tests.helpers import assert_equal, exact, terms

pytestmark = pytest.mark.unshaped

X = torch.tensor([[0.7, 0.2], [1.1, 3.0]], dtype=torch.float64)
KERR = BY_NAME["Kerr"]
QUANTITIES = [
    ("christoffel", {"kind": 1}),
    ("riemann_tensor", {}),
    ("riemann_tensor", {"indices": "llll"}),
    ("ricci_tensor", {"indices": "ul"}),
    ("scalar_curvature", {}),
    ("einstein_tensor", {}),
    ("weyl_tensor", {"indices": "llll"}),
    ("kretschmann_scalar", {}),
    ("inverse_metric", {}),
    ("log_volume_element", {}),
]


def plain(metric, quantity, dim=None, **options):
    return rm.compile(metric, quantity, dim=dim, backend=None, **options)


def sphere(x):
    return torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))


class Ellipsoid(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.log_c = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def forward(self, x):
        c = torch.exp(self.log_c)
        e = torch.cos(x[0]) ** 2 + (c * torch.sin(x[0])) ** 2
        return torch.diag(torch.stack([e, torch.sin(x[0]) ** 2]))


# -------------------------------------------------------------------------------------------------------- the numbers


@pytest.mark.parametrize("components", ["all", "independent"])
@pytest.mark.parametrize(
    "metric", [sphere, Ellipsoid(), MLPCholesky(2, (5,)).double()], ids=["code", "module", "closed"]
)
def test_large_results_are_written_in_tiles(metric, components, monkeypatch):
    x = torch.rand(2, 4, 2, dtype=torch.float64) + 0.3
    f = plain(metric, "riemann_tensor", 2, components=components)
    whole = f(x)
    monkeypatch.setattr(compiled, "LARGE", 0)
    monkeypatch.setattr(compiled, "TILE", 1)
    tiled = f(x)
    whole, tiled = (y if components == "all" else y.full() for y in (whole, tiled))
    assert tiled.shape == (2, 4, 2, 2, 2, 2) and tiled.requires_grad == isinstance(metric, torch.nn.Module)
    assert_close(tiled, whole, rtol=0, atol=1e-14)


@pytest.mark.parametrize("quantity, options", QUANTITIES, ids=str)
def test_kerr_is_derived_and_equals_the_function(quantity, options):
    f = plain(KERR.metric, quantity, 4, **options)
    x = KERR.x()
    truth = getattr(rm, quantity)(KERR.metric, x, **options)
    assert f.route.startswith("symbolic, ")
    assert_equal(f(x), truth, scale=terms(*rm.at(KERR.metric, x).jets))
    assert_equal(f(x[0]), truth[0], scale=terms(*rm.at(KERR.metric, x).jets))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sphere 3 by angles", "hyperboloid", "graph", "Painleve-Gullstrand", "FLRW, dust"])
def test_the_table_equals_the_functions(name):
    case = BY_NAME[name]
    for quantity in ("riemann_tensor", "kretschmann_scalar"):
        f = plain(case.metric, quantity, case.dim)
        assert f.route.startswith("symbolic")
        truth = getattr(rm, quantity)(case.metric, case.x())
        assert_equal(f(case.x()), truth, scale=terms(*rm.at(case.metric, case.x()).jets))


def test_long_expressions_give_way_to_derivatives():
    case = BY_NAME["generic 3, indefinite"]
    f = plain(case.metric, "ricci_tensor", 3)
    assert f.route.startswith("symbolic derivatives of the metric")
    assert_equal(f(case.x()), rm.ricci_tensor(case.metric, case.x()))
    assert_close(torch.func.vmap(f)(case.x()), f(case.x()))


def test_entries_of_the_catalogue_know_their_dimension():
    space = spaces.schwarzschild(M=2)
    x = space.sample(5)
    assert_equal(plain(space, "kretschmann_scalar")(x), 192 / x[:, 1] ** 6)


@pytest.mark.parametrize("quantity, options", QUANTITIES, ids=str)
def test_network_metrics_have_closed_forms(quantity, options):
    metric, x = MLPCholesky(3, hidden=(8, 8)).double(), torch.randn(5, 3, dtype=torch.float64)
    f = plain(metric, quantity, **options)
    assert f.route.startswith("closed form")
    assert_equal(f(x), getattr(rm, quantity)(lambda p: metric(p), x, **options))


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("hidden", [(), (7,), (5, 6, 7)])
@pytest.mark.parametrize("off_diagonal", [None, torch.tanh])
def test_points_last_equals_the_moving_frame(n, hidden, off_diagonal):
    metric, x = MLPCholesky(n, hidden, off_diagonal=off_diagonal).double(), torch.randn(3, n, dtype=torch.float64)
    assert_equal(plain(metric, "scalar_curvature")(x), rm.scalar_curvature(metric, x))


def near_the_pole_and_the_horizon():
    return ["0.25", "5", "0.01", "0.5"], ["0.25", "1.8000001", "1.25", "0.5"]


@pytest.mark.parametrize("point", near_the_pole_and_the_horizon(), ids=["pole", "horizon"])
def test_digits_are_those_of_the_truth(point):
    x = torch.tensor([[float(c) for c in point]], dtype=torch.float64)
    there = [[sp.Rational(c) for c in map(float, point)]]  # the binary number, exactly
    for quantity in ("riemann_tensor", "christoffel"):
        value = plain(KERR.metric, quantity, 4)(x)
        truth = exact(KERR.symbolic, lambda s: getattr(s, quantity)(), there)
        there_is = truth.abs() > 1e-25  # what is 0 is 0 to 30 digits in the truth
        assert_close(value[there_is], truth[there_is], rtol=1e-14, atol=0)
        assert bool((value[~there_is] == 0).all())


# ------------------------------------------------------------------------------------------------- independent ones


@pytest.mark.parametrize("quantity, options", QUANTITIES, ids=str)
@pytest.mark.parametrize("metric", [KERR.metric, MLPCholesky(4, hidden=(6,)).double()], ids=["Kerr", "network"])
def test_independent_components_make_the_tensor(metric, quantity, options):
    x = KERR.x()
    full = plain(metric, quantity, 4, **options)(x)
    record = plain(metric, quantity, 4, components="independent", **options)(x)
    assert_close(record.full(), full)
    assert record.values.shape == (2, len(record.index))
    for k, index in enumerate(record.index):
        assert_close(record.values[:, k], full[(slice(None), *index)])


def test_what_vanishes_has_no_components():
    record = plain(KERR.metric, "ricci_tensor", 4, components="independent")(KERR.x())
    assert record.values.shape == (2, 0) and record.index == []
    assert_close(record.full(), torch.zeros(2, 4, 4, dtype=torch.float64))


def test_riemann_lowered_has_as_many_components_as_pairs_of_pairs():
    metric = MLPCholesky(4, hidden=(6,)).double()
    record = plain(metric, "riemann_tensor", indices="llll", components="independent")(KERR.x())
    assert len(record.index) == 21  # the first Bianchi identity relates three of them


# ------------------------------------------------------------------------------------------------------ all manners


def test_batches_dtypes_and_single_points():
    f, x = plain(sphere, "ricci_tensor", 2), torch.rand(2, 3, 2, dtype=torch.float64) + 0.5
    truth = rm.ricci_tensor(sphere, x)
    assert_close(f(x), truth)
    assert_close(f(x[0, 0]), truth[0, 0])
    assert_close(f(x.float()), truth.float())
    assert f(x[:0]).shape == (0, 3, 2, 2) and f(x[:, :0]).shape == (2, 0, 2, 2)


def test_gradients_and_transforms():
    f, x = plain(sphere, "ricci_tensor", 2), torch.rand(4, 2, dtype=torch.float64) + 0.5
    assert_close(torch.func.vmap(f)(x), f(x))
    assert_close(torch.func.jacfwd(f)(x[0]), rm.jet(lambda p: rm.ricci_tensor(sphere, p), x[0], 1)[1])
    p = x.clone().requires_grad_()
    f(p).sum().backward()
    assert_close(p.grad[:, 0], torch.sin(2 * x[:, 0]))


def test_parameters_of_a_module_stay_free():
    metric, x = Ellipsoid(), torch.rand(4, 2, dtype=torch.float64) + 0.5
    f = plain(metric, "scalar_curvature", 2)
    assert f.route.startswith("symbolic")
    for value in (0.3, -0.4):
        with torch.no_grad():
            metric.log_c.fill_(value)
        (slope,) = torch.autograd.grad(f(x).sum(), metric.log_c)
        (truth,) = torch.autograd.grad(rm.scalar_curvature(metric, x).sum(), metric.log_c)
        assert_equal(f(x), rm.scalar_curvature(metric, x))
        assert_close(slope, truth)


class Affine(torch.nn.Module):
    dim = 2

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(0.5))
        self.register_buffer("b", torch.tensor([1.0, 2.0]))

    def forward(self, x):
        return torch.diag(torch.stack([self.b[0] + self.a * x[1] ** 2, self.b[1] + self.a * x[0] ** 2]))


def test_tensors_that_a_module_gets_later_are_the_ones_used():
    metric, x = Affine(), torch.rand(4, 2, dtype=torch.float64)
    f = plain(metric, "scalar_curvature")
    metric.double()
    metric.a = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    metric.b = torch.tensor([3.0, 1.0], dtype=torch.float64)
    assert_equal(f(x), rm.scalar_curvature(metric, x))
    metric.b = torch.ones(3)
    with pytest.raises(ValueError, match=r"`b` \(2,\) when it was compiled, and has .*`b` \(3,\)"):
        f(x)


def test_autocast_takes_no_digits():
    metric, x = MLPCholesky(3, (8,)), torch.randn(4, 3)
    f = plain(metric, "scalar_curvature")
    value = f(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_equal(f(x), value)


def test_a_compiled_quantity_is_a_field():
    for metric, quantity in ((sphere, "kretschmann_scalar"), (MLPCholesky(2, (8,)).double(), "scalar_curvature")):
        f = plain(metric, quantity, 2)
        for value, truth in zip(rm.jet(f, X, 1), rm.jet(lambda x: getattr(rm, quantity)(metric, x), X, 1), strict=True):
            assert_close(value, truth)


def test_constants_in_single_precision_are_traced_with_a_point_that_they_take():
    W = torch.tensor([[1.0, 0.5], [0.0, 2.0]])
    metric, x = (lambda p: torch.diag(1 + (W @ p) ** 2)), torch.rand(3, 2)
    f = plain(metric, "scalar_curvature", 2)
    assert f.route.startswith("symbolic")
    assert_close(f(x), rm.scalar_curvature(metric, x))


def test_points_without_a_metric_are_nan_and_named_once():
    f = plain(sphere, "ricci_tensor", 2)
    x = torch.tensor([[[0.7, 0.2]], [[0.0, 1.0]], [[torch.pi, 1.0]]], dtype=torch.float64)
    with pytest.warns(
        UserWarning, match=r"`metric` is singular: rank . of . at point \[1, 0\] of the batch \(and at 1 more"
    ) as caught:
        value = f(x)
    assert len(caught) == 1
    assert value[0].isfinite().all() and value[1:].isnan().all()
    with pytest.warns(UserWarning, match="singular"):
        assert value.isnan().equal(rm.ricci_tensor(sphere, x).isnan())


def test_a_network_with_bad_weights_is_nan_and_named():
    metric = MLPCholesky(2, hidden=(4,), diagonal=torch.nn.Tanh()).double()
    x = torch.tensor([[9.0, 9.0], [-9.0, -9.0]], dtype=torch.float64)
    with pytest.warns(UserWarning, match="`metric`"):
        assert plain(metric, "scalar_curvature")(x).isnan().any()


def test_a_removable_singularity_of_the_expression_is_computed_by_the_function():
    plane = lambda x: torch.eye(2) * (1 + (x[0] ** 2 / torch.sqrt(x[0] ** 2 + x[1] ** 4 + 1)))
    x = torch.zeros(3, 2, dtype=torch.float64)
    assert_equal(plain(plane, "scalar_curvature", 2)(x), rm.scalar_curvature(plane, x))


# --------------------------------------------------------------------------------------------------------- messages


def network(x):
    W = torch.linspace(-1, 1, 32, dtype=x.dtype).reshape(16, 2)
    return torch.eye(2) * (2 + torch.tanh(W @ x).sum() / 16)


class Wide(torch.nn.Linear):
    def __init__(self):
        super().__init__(2, 9, dtype=torch.float64)

    def forward(self, x):
        return torch.eye(2) * (2 + torch.tanh(super().forward(x)).sum() / 9)


def branching(x):
    return torch.eye(2) * torch.where(x[0] > 0.5, 1 + x[0] ** 2, 1 + x[0])


SCALE = torch.tensor([0.5], dtype=torch.float64)


def by_a_number(x):
    return network(x) * float(SCALE[0])


def test_what_cannot_be_derived_is_recorded_and_says_why():
    x = torch.rand(3, 2, dtype=torch.float64)
    for metric, why in ((network, "too many for a formula"), (branching, "chooses by"), (Wide(), "parameters")):
        f = plain(metric, "scalar_curvature", 2)
        assert f.route.startswith("jets, ") and why in f.route and why in repr(f)
        assert_close(f(x), rm.scalar_curvature(metric, x))


def test_what_cannot_be_recorded_runs_eagerly_and_says_why():
    x, why = torch.rand(3, 2, dtype=torch.float64), "too many for a formula, and it cannot be recorded"
    with pytest.warns(UserWarning, match=f"`scalar_curvature` .* eagerly, in tiles: .*{why}"):
        f = rm.compile(by_a_number, "scalar_curvature", dim=2)
    assert why in f.route and why in repr(f)
    assert_close(f(x), rm.scalar_curvature(by_a_number, x))


def endless():
    while True:
        sp.expand((sp.Symbol("x") + 1) ** 3)


@pytest.mark.parametrize("thread", [False, True], ids=["main thread", "another thread"])
def test_derivations_end_in_time(thread):
    with ThreadPoolExecutor() as pool:
        run = (lambda *a: pool.submit(*a).result()) if thread else (lambda f, *a: f(*a))
        assert run(within, 0.2, endless) is False
        assert run(within, 60.0, lambda: None) is True


def test_a_limit_of_time_leaves_alarms_and_tracers_alone():
    """They are the program's, which may have set them."""
    rang, lines = [], []
    handler = signal.signal(signal.SIGALRM, lambda *_: rang.append(True))
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    tracer = sys.gettrace()
    sys.settrace(lambda *event: lines.append(event))
    try:
        assert within(0.5, endless) is False
        assert len(lines) > 0
    finally:
        sys.settrace(tracer)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert rang == [True]


def test_what_is_stopped_is_gone_and_what_is_raised_is_told():
    before = threading.active_count()
    assert within(0.1, endless) is False
    assert threading.active_count() == before
    with pytest.raises(ZeroDivisionError):
        within(5.0, lambda: 1 / 0)


def test_what_is_stopped_is_not_stopped_in_a_finalizer():
    """Python could only print what is raised there, which is an error in these tests, and go on."""

    class Slow:
        def __del__(self):
            sum(range(2_000))

    def work():
        while True:
            Slow()
            sp.symbols("a b")

    stopped = [within(0.02, work) for _ in range(10)]
    assert not any(stopped)


def test_what_is_stopped_is_not_stopped_while_garbage_is_collected():
    """What is raised among finalizers in C comes out where Python is called next: by `gc.callbacks`, and is printed."""

    class Slow:
        __del__ = functools.partial(time.sleep, 0.002)  # no frame of its own, and others run meanwhile

    def work():
        while True:
            slow = Slow()
            slow.itself = slow
            del slow
            gc.collect(0)
            sp.symbols("a b c d")
            for _ in range(10):  # longer than until Python lets another thread run
                sum(range(50_000))

    in_sympy = types.FunctionType(work.__code__, globals() | {"__name__": "sympy"}, "work", None, work.__closure__)
    called_then = lambda phase, info: None  # noqa: E731
    gc.callbacks.append(called_then)
    try:
        stopped = [within(0.02, in_sympy) for _ in range(10)]
    finally:
        gc.callbacks.remove(called_then)
    assert not any(stopped)


def test_tensors_that_need_gradients_are_not_lost():
    c = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    metric, x = (
        (lambda p: torch.diag(torch.stack([1 + c * p[1] ** 2, p[0] ** 2]))),
        torch.rand(3, 2, dtype=torch.float64),
    )
    f = plain(metric, "scalar_curvature", 2)
    assert f.route.startswith("jets, ") and "parameters of a module" in f.route
    ours, truth = (torch.autograd.grad(y.sum(), c)[0] for y in (f(x), rm.scalar_curvature(metric, x)))
    assert_close(ours, truth)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: rm.compile(sphere, "ricci"), ValueError, ["'ricci'", "ricci_tensor"]),
        (lambda: rm.compile(sphere, "ricci_tensor"), ValueError, ["`dim`", "dim=…"]),
        (lambda: rm.compile(sphere, "ricci_tensor", dim=0), ValueError, ["`dim` is 0"]),
        (lambda: rm.compile(sphere, "ricci_tensor", dim=2, kind=1), TypeError, ["`kind`", "`indices`"]),
        (lambda: rm.compile(sphere, "scalar_curvature", dim=2, kind=1), TypeError, ["`kind`", "no options"]),
        (lambda: rm.compile(sphere, "ricci_tensor", dim=2, indices="ulu"), ValueError, ["'ulu'", "2 letters"]),
        (lambda: rm.compile(sphere, "christoffel", dim=2, kind=3), ValueError, ["`kind` is 3"]),
        (lambda: rm.compile(sphere, "ricci_tensor", dim=2, components="some"), ValueError, ["'some'", "independent"]),
        (lambda: rm.compile(torch.eye(2), "ricci_tensor", dim=2), TypeError, ["`metric` is a Tensor"]),
        (lambda: rm.compile(network, "ricci_tensor", dim=3), RuntimeError, ["called with one point of shape (3,)"]),
        (lambda: rm.compile(torch.nn.Linear(2, 9), "ricci_tensor", dim=2), ValueError, ["(9,)", "(2, 2)"]),
        (lambda: rm.compile(lambda x: torch.diag(x.detach()), "ricci_tensor", dim=2), ValueError, ["`detach`"]),
        (lambda: rm.compile(sphere, "ricci_tensor", dim=2, budget=-1), ValueError, ["`budget` is -1", "seconds"]),
        (lambda: rm.compile(sphere, "ricci_tensor", dim=2, budget="10"), ValueError, ["`budget` is '10'", "seconds"]),
        (lambda: plain(sphere, "ricci_tensor", 2)(torch.tensor([1, 2])), TypeError, ["int64", "x.double()"]),
        (lambda: plain(sphere, "ricci_tensor", 2)(np.ones(2)), TypeError, ["torch.as_tensor(x)"]),
        (lambda: plain(sphere, "ricci_tensor", 2)(torch.ones(5, 3)), ValueError, ["(5, 3)", "dim=2"]),
        (lambda: plain(sphere, "ricci_tensor", 2)(torch.tensor([1.0, torch.nan])), ValueError, ["not finite"]),
        (lambda: plain(MLPCholesky(2), "ricci_tensor")(X), ValueError, ["float32", "metric.to(x)"]),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(call, error, words):
    with pytest.raises(error) as raised:
        call()
    for word in words:
        assert word in str(raised.value)


def test_without_a_compiler_the_same_code_runs_and_says_so():
    def missing(graph, inputs):
        raise RuntimeError("no C++ compiler")

    f, x = rm.compile(sphere, "scalar_curvature", dim=2, backend=missing), torch.rand(5, 2, dtype=torch.float64) + 0.5
    with pytest.warns(UserWarning, match="torch.compile failed .* runs eagerly"):
        assert_equal(f(x), 2.0)
    assert_equal(f(x), 2.0)
    assert "nothing compiles" in f.route


# ------------------------------------------------------------------------------------------------------ the compiler


def counting(graphs):
    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    return backend


def test_one_graph_serves_all_sizes_and_functions_do_not_share_a_limit():
    x = torch.rand(40, 2, dtype=torch.float64) + 0.5
    for k in range(10):  # more than the graphs that torch allows to one function
        f = rm.compile(sphere, "scalar_curvature", dim=2, backend=counting(graphs := []), dynamic=True)
        for size in (0, 1, 7, 40) if k == 0 else (3,):
            assert_equal(f(x[:size]), 2.0)
        assert len(graphs) == 1


def test_one_point_has_one_graph_beside_that_of_all_sizes():
    def wide(x):
        return torch.diag(1 + x.roll(1) ** 2)

    backend = counting(graphs := [])
    f = rm.compile(wide, "scalar_curvature", dim=running.FEW + 1, backend=backend, budget=0.1, dynamic=True)
    x = torch.rand(5, running.FEW + 1, dtype=torch.float64)
    for size in (5, 1, 3, 1, 4):
        assert_equal(f(x[:size]), rm.scalar_curvature(wide, x[:size]))
    assert len(graphs) == 2


def test_numbers_in_tensors_are_compiled_as_rows_of_one_and_stay_free():
    scale, seen = torch.tensor(2.0, dtype=torch.float64, requires_grad=True), []

    def rows_only(graph, inputs):
        seen.extend(a.ndim for a in inputs if isinstance(a, torch.Tensor))
        return graph.forward

    def scaled(x):
        return scale * sphere(x)

    f = rm.compile(scaled, "scalar_curvature", dim=2, backend=rows_only)
    for _ in range(2):
        (value := f(X).sum()).backward()
        assert_close(value, 4 / scale)
        assert_close(scale.grad, -4 / scale.detach() ** 2)
        with torch.no_grad():
            scale *= 1.5
        scale.grad = None
    assert 0 not in seen


def test_where_the_instructions_of_the_processor_do_not_compile_torch_tries_them(monkeypatch):
    def compiling(kernel, *_):
        def failing(*arguments):
            raise RuntimeError("unknown instruction")

        return failing if called.Processor.options() else kernel

    monkeypatch.setattr(called.Processor, "is_believed", True)
    monkeypatch.setattr(running, "Called", compiling)
    f = rm.compile(sphere, "scalar_curvature", dim=2)
    assert_equal(f(X), 2.0)
    assert f.route.endswith("by inductor")
    assert called.Processor.options() == {}


@pytest.mark.slow
def test_inductor_compiles_what_is_derived():
    f = rm.compile(sphere, "riemann_tensor", dim=2)
    x = torch.rand(40, 2, dtype=torch.float64) + 0.5
    assert_equal(f(x), rm.riemann_tensor(sphere, x))
    assert_equal(f(x[:9]), rm.riemann_tensor(sphere, x[:9]))
    p = x.clone().requires_grad_()
    f(p)[:, 0, 1, 0, 1].sum().backward()
    assert "by inductor" in f.route
    assert_close(p.grad[:, 0], torch.sin(2 * x[:, 0]))


@pytest.mark.slow
def test_inductor_compiles_a_network():
    metric, x = MLPCholesky(2, hidden=(4, 4)).double(), torch.randn(9, 2, dtype=torch.float64)
    f = rm.compile(metric, "scalar_curvature")
    with torch.no_grad():
        assert_equal(f(x), rm.scalar_curvature(metric, x))
    assert "by inductor" in f.route


def test_the_bridge_reads_the_same_numbers():
    truth = bridge.high_precision(KERR.metric, KERR.x()[0]).kretschmann_scalar()
    assert_equal(plain(KERR.metric, "kretschmann_scalar", 4)(KERR.x()[0]), float(truth), rtol=1e-14)


# --------------------------------------------------------------------------- where expressions are not what is computed


def of(first):
    """The metric diag(first(x), 2 + y^2)."""
    return lambda x: torch.diag(torch.stack([first(x), 2 + x[1] ** 2]))


def asymmetric(x):
    return 1e-20 * torch.stack([torch.stack([1 + x[0] ** 2, 0.3 * x[0]]), torch.stack([0.1 * x[0], 1 + x[1] ** 2])])


SINGLE = torch.tensor(0.1)
GENERIC = {
    "branch at 0": of(lambda x: 1 + torch.where(x[0] == 0, 5 + x[0], x[0] ** 2) ** 2),
    "branch at a rounded number": of(lambda x: 1 + torch.where(x[0] + 0.1 == 0.3, 5 + x[0], x[0] ** 2) ** 2),
    "branch at equal coordinates": of(lambda x: 1 + torch.where(x[0] == x[1], 5 + x[0], x[0] ** 2) ** 2),
    "mask": of(lambda x: 2 + (x[0] != 1) * x[0] ** 2),
    "NaN in a branch": of(lambda x: 2 + torch.where(x[0] > 0, x[0], torch.full_like(x[0], torch.nan))),
    "exp log": of(lambda x: torch.exp(2 * torch.log(x[0]))),
    "root squared": of(lambda x: 1 + torch.sqrt(x[0]) ** 2),
    "root of a square": of(lambda x: 1 + torch.sqrt(x[0] ** 2) * x[0] ** 2),
    "power": of(lambda x: 1 + (x[0] ** 0.5) ** 4),
    "cube root of a cube": of(lambda x: 5 + (x[0] ** 3) ** (1 / 3)),
    "removable": of(lambda x: 1 + x[0] ** 2 / x[0]),
    "removable difference": of(lambda x: 7 + (x[0] ** 2 - x[1] ** 2) / (x[0] - x[1])),
    "negative power": of(lambda x: 1 + x[0] ** -2 * x[0] ** 4),
    "power 0": of(lambda x: 1 + x[0] ** 0 + x[1] ** 2),
    "modulus squared": of(lambda x: 1 + x[0].abs() * x[0].abs()),
    "sign": of(lambda x: 2 + torch.sign(x[0]) * x[0]),
    "tan atan2": of(lambda x: 2 + torch.tan(torch.atan2(x[1], x[0])) ** 2),
    "cut of atan2": of(lambda x: 5 + torch.atan2(x[1], x[0])),
    "sinc": of(lambda x: 2 + torch.sinc(x[0])),
    "maximum": of(lambda x: 2 + torch.maximum(x[0] ** 2, 0 * x[0])),
    "clamp": of(lambda x: 2 + x[0].clamp(min=0) ** 2),
    "sin asin": of(lambda x: 2 + torch.sin(torch.asin(x[0]))),
    "cosh acosh": of(lambda x: 2 + torch.cosh(torch.acosh(x[0]))),
    "exp log1p": of(lambda x: 9 + torch.exp(torch.log1p(x[0]))),
    "log of a product": of(lambda x: 9 + torch.log(x[0] * x[1])),
    "log of a quotient": of(lambda x: 9 + torch.log(x[0]) - torch.log(2 * x[0])),
    "overflow": of(lambda x: 2 + torch.exp(400 * x[0]) * torch.exp(-400 * x[0])),
    "erf erfinv": of(lambda x: 9 + torch.erf(torch.erfinv(x[0]))),
    "digamma": of(lambda x: 9 + torch.digamma(x[0])),
    "xlogy": of(lambda x: 2 + torch.special.xlogy(x[0], x[0])),
    "single precision": of(lambda x: 1 + SINGLE * x[0] ** 2),
    "single precision, made inside": of(lambda x: 1 + torch.tensor(0.1) * x[0] ** 2),
    "rounds": of(lambda x: 1 + (0.1 * x[0].float()).double() ** 2),
    "asymmetry of small entries": asymmetric,
}
LATTICE = torch.cartesian_prod(
    torch.tensor([-2, -0.5, 0, 0.2, 0.3, 1, 3], dtype=torch.float64),
    torch.tensor([-1, 0, 0.3, 1], dtype=torch.float64),
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("quantity", ["volume_element", "christoffel"])
@pytest.mark.parametrize("name", GENERIC)
def test_compiled_is_what_the_function_gives(name, quantity):
    got = plain(GENERIC[name], quantity, 2)(LATTICE)
    want = getattr(rm, quantity)(GENERIC[name], LATTICE)
    assert_close(got, want, rtol=1e-11, atol=1e-12 if name == "overflow" else 1e-14, equal_nan=True)


def test_single_precision_of_constants_is_kept():
    f = plain(GENERIC["single precision"], "volume_element", 2)
    assert f.route.startswith("symbolic")
    x = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    assert_close(f(x) ** 2, torch.tensor([(1 + 9 * float(SINGLE)) * 3], dtype=torch.float64), rtol=1e-15, atol=0)


def test_spaces_whose_entries_cancel():
    """The determinant is finite where g is not."""
    space = spaces.Space([[1 / sp.Symbol("x"), 0], [0, sp.Symbol("x")]], sp.symbols("x y"), reference="none")
    x = torch.tensor([[0.0, 0.5], [0.5, 0.5]], dtype=torch.float64)
    with pytest.warns(UserWarning, match="not finite"):
        got = plain(space, "volume_element", 2)(x)
    assert bool(got[0].isnan()) and abs(float(got[1]) - 1) < 1e-15


@pytest.mark.parametrize("metric", [sphere, MLPCholesky(2, (5,)).double(), KERR.metric], ids=["code", "closed", "Kerr"])
@pytest.mark.parametrize("components", ["all", "independent"])
def test_a_miscompiled_function_is_an_error_that_names_both(metric, components, monkeypatch):
    def wrong(kernel, *_):
        def run(*arguments):
            values, doubt = kernel(*arguments)
            return values * 1.0001, doubt

        return run

    monkeypatch.setattr(running, "Called", wrong)
    dim = 4 if metric is KERR.metric else 2
    f = rm.compile(metric, "christoffel", dim=dim, components=components)
    x = KERR.x() if dim == 4 else X
    for _ in range(2):
        with pytest.raises(ArithmeticError, match=r"`christoffel` as compiled .* is .* at x = .* is .*`backend=None`"):
            f(x)


def test_code_that_is_wrong_is_an_error_in_each_dtype(monkeypatch):
    f = plain(sphere, "scalar_curvature", 2)
    f(X)
    for kernel in (kernels.OfColumns, kernels.OfDerivatives, kernels.OfGraph):
        monkeypatch.setattr(kernel, "__call__", lambda self, *a: (a[0][:, 0] + 5, 0 * a[0][:, 0]))
        monkeypatch.setattr(kernel, "shaped", lambda self, values, doubt: (values, doubt))
    f(X)  # compared before
    with pytest.raises(ArithmeticError, match=r"is 5.69.* of the metric is 2.*Use the function itself"):
        f(X.float())


@pytest.mark.parametrize("components", ["all", "independent"])
def test_expressions_that_lose_digits_give_way_to_derivatives(components):
    space = spaces.alcubierre()
    x = space.sample(20, torch.Generator().manual_seed(1))
    f = plain(space, "christoffel", components=components)
    for dtype in (torch.float64, torch.float32):
        y = f(x.to(dtype))
        want = rm.christoffel(space, x.to(dtype))
        assert_equal(y if components == "all" else y.full(), want, scale=want.abs().amax())
    assert "its expression loses digits" in f.route


def test_in_many_dimensions_a_found_structure_is_compared_with_its_own_code(monkeypatch):
    """The function itself would take minutes a point."""
    monkeypatch.setattr(compiled.Compiled, "_eager", None)
    net = torch.nn.Sequential(torch.nn.Linear(66, 3), torch.nn.Tanh(), torch.nn.Linear(3, 66 * 67 // 2)).double()
    i, j = torch.tril_indices(66, 66)

    def g(x):
        L = x.new_zeros(66, 66).index_put((i, j), 0.01 * net(x))
        L = L.tril(-1) + torch.diag(torch.nn.functional.softplus(L.diagonal()) + 1)
        return L @ L.T

    f, x = plain(g, "scalar_curvature", 66), torch.full((2, 66), 0.1, dtype=torch.float64)
    assert f.route.startswith("closed form of the MLPCholesky")
    assert_close(f(x), rm.scalar_curvature(rm.structured(g, 66), x), rtol=1e-9, atol=1e-9)


CANCELLING = {
    "tanhshrink": (torch.nn.functional.tanhshrink, "christoffel"),
    "exp": (lambda x: torch.exp(x) - 1 - x, "scalar_curvature"),
    "cos": (lambda x: (1 - torch.cos(x)) / x**2, "christoffel"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CANCELLING)
def test_expressions_that_cancel_nearer_to_0_than_the_first_points_give_way(name):
    h, quantity = CANCELLING[name]
    g = lambda x: torch.diag(torch.stack([h(x[0]) * (1 + h(x[0]) + h(x[1])), (1 + x[0]) * h(x[1])]))
    x = torch.tensor([[0.3, 0.7], [0.5, 0.2]], dtype=torch.float64)
    f = plain(g, quantity, 2)
    f(x)
    assert not f.route.startswith("symbolic,")
    for scale in (1.0, 1e-1, 1e-2, 1e-3):
        assert_close(f(scale * x), getattr(rm, quantity)(g, scale * x), rtol=1e-7, atol=1e-7)


# ------------------------------------------------------------------------------------------------------ copies, nets


@pytest.mark.parametrize("copied", [lambda f: pickle.loads(pickle.dumps(f)), copy.deepcopy], ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("backend", [None, "eager"])
@pytest.mark.parametrize(
    "metric, dim, quantity",
    [
        (spaces.sphere(2), None, "scalar_curvature"),
        (sphere, 2, "riemann_tensor"),
        (Ellipsoid(), 2, "ricci_tensor"),
        (MLPCholesky(2, (5,)).double(), None, "christoffel"),
        (BY_NAME["generic 3, indefinite"].metric, 3, "ricci_tensor"),
    ],
    ids=["space", "code", "module", "closed", "jets"],
)
def test_what_is_compiled_can_be_copied(metric, dim, quantity, backend, copied):
    f = rm.compile(metric, quantity, dim=dim, backend=backend)
    x = X if f._dim == 2 else BY_NAME["generic 3, indefinite"].x()
    try:
        g = copied(f)
    except (pickle.PicklingError, AttributeError):  # the metric itself cannot be
        pytest.skip("a lambda")
    assert g.route == f.route
    assert_close(g(x), f(x), rtol=0, atol=1e-15)


def test_a_copy_has_parameters_of_its_own():
    f = plain(Ellipsoid(), "scalar_curvature", 2)
    g = copy.deepcopy(f)
    before = g(X)
    with torch.no_grad():
        g.metric.log_c.add_(0.5)
    assert_close(f(X), before)
    assert not torch.allclose(g(X), before)
    assert_equal(g(X), rm.scalar_curvature(g.metric, X))


@pytest.mark.filterwarnings("ignore:`compile` runs")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("family", ["cholesky", "diagonal", "conformal", "low_rank"])
def test_every_family_of_networks(family, n, dtype):
    metric = MetricNet(n, (6,), family).to(dtype)
    with torch.no_grad():
        for p in metric.parameters():
            p.add_(0.2 * torch.randn_like(p))
    f = plain(metric, "scalar_curvature")
    assert f.route.startswith("closed form" if family == "cholesky" else "jets")
    for x in (torch.randn(4, n, dtype=dtype), torch.randn(1, n, dtype=dtype), torch.randn(n, dtype=dtype)):
        tolerance = 1e-10 if dtype == torch.float64 else 1e-3
        assert_close(f(x), rm.scalar_curvature(metric, x), rtol=tolerance, atol=tolerance)


def test_digits_are_said_on_request():
    x = torch.tensor([[1.0, 0.3], [1e-6, 0.3]], dtype=torch.float64)
    sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
    silent, saying = (rm.compile(sphere, "scalar_curvature", dim=2, backend=None, digits=d) for d in (False, True))
    S = silent(x)
    with pytest.warns(UserWarning, match=r"about 2 digits of the curvature.*at point \[1\]"):
        assert_close(saying(x), S)
    saying(x[:1])
