"""What no formula holds is compiled as jets: values, gradients, changed tensors, kinks, vectors, fields.

Most tests leave the code as it is (`backend=None`): what is compiled is the same code.
"""

import contextlib
import copy
import pickle
import warnings

import pytest
import sympy as sp
import torch
from torch.autograd import forward_ad
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

import riemann as rm
from riemann._arithmetic import matrices
from riemann._arithmetic.leibniz import product
from riemann._compiling import running
from riemann._compiling.called import Like
from riemann._compiling.graph import recorded

pytestmark = pytest.mark.unshaped

GENERATOR = torch.Generator().manual_seed(0)
W = [torch.randn(16, 3, dtype=torch.float64, generator=GENERATOR) / 2]
W += [torch.randn(9, 16, dtype=torch.float64, generator=GENERATOR) / 4]
X = torch.randn(5, 3, dtype=torch.float64, generator=GENERATOR)
U, V = torch.randn(2, 5, 3, dtype=torch.float64, generator=GENERATOR).unbind()


def network(x):
    """By a factor that is filled in place."""
    p = W[1].to(x) @ torch.tanh(W[0].to(x) @ x)
    L = torch.zeros(3, 3)
    L[0, 0], L[1, 1], L[2, 2] = torch.exp(p[0]), torch.nn.functional.softplus(p[1]), 1 + p[2] ** 2
    L[1, :1], L[2, :2] = p[3:4], torch.sin(p[4:6])
    return L @ L.T + 0.1 * torch.eye(3)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        layers = torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 9)
        self.layers = torch.nn.Sequential(*layers).double()

    def forward(self, x):
        U = self.layers(x).reshape(3, 3)
        return torch.eye(3, dtype=x.dtype) + U.T @ torch.diag(torch.nn.functional.softplus(U.diagonal())) @ U


class Stretched(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return torch.diag(torch.exp(torch.tanh(self.net(x))))


def plain(metric, quantity, **options):
    f = rm.compile(metric, quantity, dim=3, backend=None, budget=1.0, **options)
    assert f.route.startswith("jets, ")
    return f


@pytest.mark.parametrize(
    "quantity, options",
    [("christoffel", {"kind": 1}), ("riemann_tensor", {"indices": "llll"}), ("cotton_tensor", {})],
    ids=str,
)
def test_a_network_is_compiled_by_jets(quantity, options):
    f, function = plain(network, quantity, **options), getattr(rm, quantity)
    assert "too many for a formula" in f.route
    truth = function(network, X, **options)
    assert_close(f(X), truth, rtol=1e-12, atol=1e-12)
    assert_close(f(X[0]), truth[0], rtol=1e-12, atol=1e-12)
    assert_close(f(X.reshape(5, 1, 3)), truth.unsqueeze(1), rtol=1e-12, atol=1e-12)
    assert_close(torch.func.vmap(f)(X), truth, rtol=1e-12, atol=1e-12)
    assert f(X[:0]).shape == (0, *truth.shape[1:])


def test_single_precision_has_a_graph_of_its_own():
    f = plain(network, "ricci_tensor", components="independent")
    assert len(f(X).pattern.first) == 6
    assert_close(f(X.float()).full(), rm.ricci_tensor(network, X).float(), rtol=1e-3, atol=1e-3)
    assert f(X.float()).values.dtype == torch.float32


def test_tensors_are_those_of_the_call():
    net = Net()
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    for metric in (net, lambda x: scale * net(x)):
        f = plain(metric, "scalar_curvature")
        assert_close(f(X), rm.scalar_curvature(metric, X))
        with torch.no_grad():
            net.layers[2].weight *= 1.5
            scale *= 0.5
        assert_close(f(X), rm.scalar_curvature(metric, X))
    ours = torch.autograd.grad(f(X).square().mean(), [scale, *net.parameters()])
    truth = torch.autograd.grad(rm.scalar_curvature(metric, X).square().mean(), [scale, *net.parameters()])
    assert_close(ours, truth, rtol=1e-9, atol=1e-12)


def test_a_module_that_gets_other_tensors_is_read_by_name():
    net = Net()
    f = plain(net, "scalar_curvature")
    f(X)
    net.layers[0].weight = torch.nn.Parameter(0.5 * net.layers[0].weight.detach())
    assert_close(f(X), rm.scalar_curvature(net, X))
    other = {name: 1.1 * p for name, p in net.named_parameters()}
    truth = torch.func.functional_call(net, other, (X[0],))
    assert not torch.equal(truth, net(X[0]))
    net.layers[0].weight = torch.nn.Parameter(torch.randn(8, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"`layers.0.weight` \(16, 3\) when it was compiled, and it is \(8, 3\) now"):
        f(X)


@pytest.mark.parametrize("backend", [None, "aot_eager"])
def test_gradients_flow_twice_to_points_and_tensors(backend):
    net = Net()
    f = rm.compile(net, "scalar_curvature", dim=3, backend=backend, budget=1.0)

    def derivatives(function):
        x = X[:2].clone().requires_grad_()
        (first,) = torch.autograd.grad(function(x).sum(), [x], create_graph=True)
        second = torch.autograd.grad(first.square().sum(), [x, net.layers[0].weight])
        return first, *second

    ours, truth = derivatives(f), derivatives(lambda x: rm.scalar_curvature(net, x))
    assert_close(ours, truth, rtol=1e-8, atol=1e-10)
    value = f(X).sum()
    first, second = (torch.autograd.grad(value, net.layers[0].weight, retain_graph=True) for _ in range(2))
    assert_close(first, second, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "quantity, vectors",
    [
        ("christoffel_vector", (U, V)),
        ("sectional_curvature", (U, V)),
        ("geodesic_acceleration", (V,)),
        ("ricci_curvature", (V,)),
    ],
    ids=lambda a: a if isinstance(a, str) else "",
)
@pytest.mark.parametrize("metric", [network, rm.spaces.sphere(3)], ids=["network", "formula"])
def test_quantities_of_vectors(metric, quantity, vectors):
    x = X if metric is network else 0.5 + X.abs() % 2
    f = rm.compile(metric, quantity, dim=3, backend=None, budget=3.0)
    assert f.route.startswith("jets, " if metric is network else "symbolic, ")
    truth = getattr(rm, quantity)(metric, x, *vectors)
    assert_close(f(x, *vectors), truth, rtol=1e-10, atol=1e-11)
    named = dict(zip(("v",) if len(vectors) == 1 else ("u", "v"), vectors, strict=True))
    assert_close(f(x[0], **named), getattr(rm, quantity)(metric, x[0], **named), rtol=1e-10, atol=1e-11)


def test_vectors_are_asked_for_and_span_a_plane():
    f = plain(network, "sectional_curvature")
    with pytest.raises(TypeError, match="takes `x`, `u`, `v`, and got 2 arguments"):
        f(X, U)
    with pytest.raises(ValueError, match=r"at point \[3\] of the batch"):
        f(X, U, torch.where(torch.arange(5)[:, None] == 3, 2 * U, V))


def test_kinks_are_nan_where_they_are():
    def kinked(x):
        return torch.eye(3) * (2 + torch.tanh(W[0] @ x).sum() + torch.abs(x[0]) ** 3 + torch.relu(x[1]) ** 2)

    x = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.0, 0.2], [0.0, 0.4, 0.2]], dtype=torch.float64)
    with pytest.warns(UserWarning, match="piecewise linear"):
        f = plain(kinked, "scalar_curvature")
    with pytest.warns(UserWarning, match=r"at point \[1\]|piecewise linear"):
        ours, truth = f(x), rm.scalar_curvature(kinked, x)
    assert_close(ours, truth, equal_nan=True)


def test_points_without_a_metric_are_nan_and_named():
    def asymmetric(x):
        return network(x) + torch.nn.functional.relu(x[0]) ** 3 * torch.ones(3, 3, dtype=x.dtype).triu(1)

    f = rm.compile(asymmetric, "christoffel", dim=3, backend=None, budget=1.0)
    x = X[X[:, 0].argsort()]
    assert x[0, 0] < 0 < x[-1, 0]
    with pytest.warns(UserWarning, match="is not symmetric"):
        y = f(x)
    assert_close(y.isnan().flatten(1).any(1), x[:, 0] > 0)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_jets_of_any_field(order):
    def field(x):
        return torch.stack([torch.sin(x[0] * x[1]), W[1][0] @ torch.tanh(W[0] @ x)]).reshape(1, 2)

    f = rm.compile(field, "jet", dim=3, order=order, backend=None)
    for x in (X, X[0], X[:0], X.reshape(1, 5, 3)):
        assert_close(f(x), rm.jet(field, x, order))
    x = X.clone().requires_grad_()
    ours, truth = (torch.autograd.grad(y[-1].square().sum(), x)[0] for y in (f(x), rm.jet(field, x, order)))
    assert_close(ours, truth)
    assert "jet" in repr(f)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))], ids=["copy", "pickle"])
def test_copies_have_tensors_of_their_own(copied):
    net = Net()
    f = plain(net, "scalar_curvature")
    g = copied(f)
    with torch.no_grad():
        g.metric.layers[0].weight.zero_()
    assert_close(f(X), rm.scalar_curvature(net, X))
    assert_close(g(X), rm.scalar_curvature(g.metric, X))


def test_many_points_are_done_in_tiles(monkeypatch):
    f = plain(network, "scalar_curvature")
    whole = f(X)
    monkeypatch.setattr(running, "CACHED", 1)
    assert_close(f(X), whole, rtol=1e-13, atol=1e-13)


def test_what_is_compiled_by_inductor_is_the_function_forward_and_backward():
    net = Net()
    f = rm.compile(net, "scalar_curvature", dim=3, budget=1.0)
    for x in (X, X[:3], X[0]):
        assert_close(f(x), rm.scalar_curvature(net, x), rtol=1e-10, atol=1e-11)
    assert f.route.endswith("by inductor")
    ours = torch.autograd.grad(f(X).square().mean(), list(net.parameters()))
    truth = torch.autograd.grad(rm.scalar_curvature(net, X).square().mean(), list(net.parameters()))
    assert_close(ours, truth, rtol=1e-8, atol=1e-11)


def test_products_of_what_is_read_in_another_order_of_memory():
    one = torch.eye(2, dtype=torch.float64)

    def metric(x):
        p = W[0][:6] @ torch.tanh(W[0][:3, :2] @ x)
        U = (p[:4].view(2, 2) @ one).as_strided((2, 2), (1, 2))
        return one + U @ U.mT + 0.1 * (U + U.mT) ** 2

    f = rm.compile(metric, "scalar_curvature", dim=2, budget=1e-6)
    for x in (X[:, :2], X[:3, :2]):
        assert_close(f(x), rm.scalar_curvature(metric, x), rtol=1e-10, atol=1e-11)
    assert f.route.endswith("by inductor")


def test_gradients_for_which_torch_takes_the_first_size_for_all(monkeypatch):
    """Of products written out so, strides of what is saved for gradients are numbers in torch's code for all sizes."""

    def written_out(a, b):
        return sum(a[..., k : k + 1] * b[..., k : k + 1, :] for k in range(a.shape[-1]))

    def instead(A, a, b, times=torch.mul):
        return product(A, a, b, written_out if times is torch.matmul else times)

    monkeypatch.setattr(matrices, "product", instead)
    net = Net()
    f = rm.compile(net, "scalar_curvature", dim=3, budget=1.0)
    f(X), f(X[:3])
    ours = torch.autograd.grad(f(X).square().mean(), list(net.parameters()))
    truth = torch.autograd.grad(rm.scalar_curvature(net, X).square().mean(), list(net.parameters()))
    assert_close(ours, truth, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("quantity", ["scalar_curvature", "sectional_curvature"])
def test_one_graph_serves_all_sizes_and_layouts(quantity):
    """Also a size that is one, one that is a width of the network, and points that do not lie side by side."""
    graphs = []

    def counted(graph, _):
        graphs.append(graph)
        return graph.forward

    f = rm.compile(network, quantity, dim=3, backend=counted, budget=1.0, dynamic=True)
    function = getattr(rm, quantity)
    for z in (16, 9, 1, 2):
        x, u, v = torch.randn(3, z, 3, dtype=torch.float64, generator=GENERATOR).unbind()
        vectors = (u, v) if quantity == "sectional_curvature" else ()
        for y in (x, x.mT.contiguous().mT, x[:1].expand(z, 3)):
            assert_close(f(y, *vectors), function(network, y, *vectors), rtol=1e-9, atol=1e-10)
    assert len(graphs) == 1


class Scaled(torch.nn.Module):
    """A half-plane times a parameter, with a closed form that takes the number of points for a number."""

    dim = 2

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, x):
        return self.scale * torch.eye(2, dtype=x.dtype) / x[1] ** 2


@rm.compile.register(Scaled)
def closed_form(metric, quantity, **options):
    return lambda x: -2 / metric.scale * torch.ones(len(x), dtype=x.dtype) + 0 * x[:, 0]


@pytest.mark.parametrize("metric", [Scaled(), rm.metrics.MLPCholesky(2, (4,)).double()], ids=["called", "recorded"])
def test_gradients_of_closed_forms_reach_parameters_and_points_at_once(metric):
    f = rm.compile(metric, "scalar_curvature", backend="aot_eager")
    x = (1 + X[:, :2].abs()).requires_grad_()
    asked = [x, *metric.parameters()]
    ours, truth = (torch.autograd.grad(s.square().sum(), asked) for s in (f(x), rm.scalar_curvature(metric, x)))
    assert_close(ours, truth, rtol=1e-9, atol=1e-9)
    assert f.route.startswith("closed form")
    assert_close(f(x[:3]), rm.scalar_curvature(metric, x[:3]))


def test_operations_are_recorded_once():
    """Also those of what is cut off from gradients, which stays cut off; numbers that are not the same stay apart."""

    def f(x):
        y = torch.sin(x).sum(-1)
        cut = torch.sin(x.detach()).sum(-1)
        zeros = torch.copysign(y, torch.tensor(-0.0)) + torch.copysign(y, torch.tensor(0.0))
        return y + torch.sin(x).sum(-1), 3 * cut, zeros, torch.full_like(y, torch.nan) + torch.full_like(y, torch.nan)

    graph, outside, _ = recorded(f, [X], {})
    done = [str(node.target) for node in graph.graph.nodes]
    assert [done.count(f"aten.{name}.default") for name in ("sin", "full_like")] == [1, 1]
    x = X.clone().requires_grad_()
    y, cut, zeros, _ = graph(x, *outside)
    assert_close((y, cut, zeros), (2 * X.sin().sum(-1), 3 * X.sin().sum(-1), 0 * y))
    assert not cut.requires_grad
    assert_close(torch.autograd.grad(y.sum(), x)[0], 2 * X.cos())


def test_constants_that_lie_otherwise_in_memory_stay_apart():
    places = torch.tensor([[0, 1], [2, 0]])

    def f(x):
        rows, columns = (x[:, p] for p in (places.clone(), places.mT.contiguous().mT))
        return rows, columns

    graph, outside, _ = recorded(f, [X], {})
    for y, truth in zip(graph(X, *outside), f(X), strict=True):
        assert_close(y, truth)
        assert y.stride() == truth.stride()


def test_what_is_random_or_written_is_not_shared():
    def f(x):
        y = torch.zeros_like(x)
        y[:, 0] = 1
        return torch.rand_like(x) - torch.rand_like(x), torch.zeros_like(x), y

    graph, outside, _ = recorded(f, [X], {})
    random, zeros, y = graph(X, *outside)
    assert bool((random != 0).all()) and not zeros.any() and y.any()


@pytest.mark.parametrize("m, k, l", [(5, 6, 7), (2, 3, 4)], ids=["large", "small"])
def test_products_of_matrices_of_any_degree(m, k, l):
    """One product of all first derivatives gives the second ones; a factor may be linear, or constant."""
    draw = torch.Generator().manual_seed(1)
    P, Q = (torch.randn(*s, 3, dtype=torch.float64, generator=draw) for s in ((m, k), (k, l)))

    def field(x):
        A, B = P.to(x) @ x, Q.to(x) @ x
        return A @ B + torch.tanh(A) @ B + A @ torch.sin(B) + torch.tanh(A) @ torch.sin(B)

    jets = rm.compile(field, "jet", dim=3, backend=None)
    for ours, truth in zip(jets(X), rm.jet(field, X), strict=True):
        assert_close(ours, truth, rtol=1e-12, atol=1e-12)


def test_inverses_of_two_rows_and_where_there_are_none():
    def indefinite(x):
        M = (W[1].to(x) @ torch.tanh(W[0][:, :2].to(x) @ x))[:4].reshape(2, 2)
        return M + M.T

    f = rm.compile(indefinite, "scalar_curvature", dim=2, backend=None, budget=0.01)
    assert f.route.startswith("jets, ")
    x = X[:, :2]
    assert_close(f(x), rm.scalar_curvature(indefinite, x), rtol=1e-9, atol=1e-9)
    with pytest.warns(UserWarning, match="is singular"):
        assert bool(f(torch.zeros(2, 2, dtype=torch.float64)).isnan().all())


@pytest.mark.parametrize("large", [2.0, -2.0], ids=["e^400", "e^-400"])
def test_inverses_of_two_rows_where_products_of_entries_are_no_numbers(large):
    """Of the size that squares of entries do not have: points after the first call, whose values are compared."""

    def stretched(x):
        return torch.exp(200 * x[0]) * torch.diag(torch.stack([torch.ones_like(x[0]), 1 + x[1] ** 2]))

    f = rm.compile(stretched, "christoffel", dim=2, backend=None, budget=1e-6)
    assert f.route.startswith("jets, ")
    for first in (0.0, large):
        x = torch.tensor([[first, 0.5], [first, 1.0]], dtype=torch.float64)
        assert_close(f(x), rm.christoffel(stretched, x), rtol=1e-9, atol=1e-9)
        assert_close(f(x)[:, 0, 0, 0], torch.full((2,), 100.0, dtype=torch.float64))


@pytest.fixture
def direct(monkeypatch):
    """Without inductor itself: which calls are like earlier ones, and go to what it made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch._inductor import compile_fx

    monkeypatch.setattr(compile_fx, "compile_fx", lambda graph, inputs, config_patches: graph.forward)
    seen, compare = [], Like.__call__
    monkeypatch.setattr(Like, "__call__", lambda like, arguments: seen.append(compare(like, arguments)) or seen[-1])
    return seen


@pytest.mark.slow
def test_calls_like_earlier_ones_are_those_of_the_function(direct):
    """The third and later calls go to what was compiled, where all that it reads is the same."""
    scale = torch.tensor(2.0, dtype=torch.float64)

    def stretched(x):
        return scale.to(x) * network(x)

    f = rm.compile(stretched, "ricci_tensor", dim=3, budget=1.0)
    for x in (X, X[0]):
        for k in range(4):
            y = x + 0.01 * k
            scale.mul_(1.5)
            assert_close(f(y), rm.ricci_tensor(stretched, y), rtol=1e-9, atol=1e-10)
        with pytest.raises(ValueError, match="not finite"):
            f(torch.full_like(x, torch.inf))
    p = X.clone().requires_grad_()
    assert_close(torch.autograd.grad(f(p).sum(), p), torch.autograd.grad(rm.ricci_tensor(stretched, p).sum(), p))
    g = rm.compile(network, "christoffel_vector", dim=3, budget=1.0)
    for u, v in ((U, U), (U, U), (U, U), (U, V), (U, V), (V, U), (U, V)):
        assert_close(g(X, u, v), rm.christoffel_vector(network, X, u, v))
    assert sum(direct) >= 8


@pytest.mark.slow
def test_points_are_done_in_pieces_that_the_cache_holds(direct, monkeypatch):
    """Two or more in each; with gradients to them, all at once."""
    monkeypatch.setattr(running, "CACHED", 2000)
    net = torch.nn.Linear(3, 3).double()
    metric = Stretched(net)
    f, g = (rm.compile(metric, q, dim=3, budget=1e-6) for q in ("ricci_tensor", "christoffel_vector"))
    pieces, take = [], running.Runner.of
    monkeypatch.setattr(
        running.Runner, "of", lambda runner, arguments, x, *v: pieces.append(len(x)) or take(runner, arguments, x, *v)
    )
    for count in (37, 3, 2, 1, 38, 37):
        x, u, v = (
            torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(k)) for k in range(3)
        )
        assert_close(f(x), rm.ricci_tensor(metric, x), rtol=1e-9, atol=1e-10)
        assert_close(g(x, u, v), rm.christoffel_vector(metric, x, u, v))
    assert min(pieces) >= 2 and max(pieces) <= 19 and len(pieces) > 20
    del pieces[:]
    p = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(f(p).sum(), p)
    assert pieces == [37]
    ours = torch.autograd.grad(f(x).square().sum(), net.weight)
    theirs = torch.autograd.grad(rm.ricci_tensor(metric, x).square().sum(), net.weight)
    assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
    assert_close(grad, torch.autograd.grad(rm.ricci_tensor(metric, p).sum(), p)[0], rtol=1e-9, atol=1e-10)


NEAR_MISSES = {
    "no gradients": lambda net: torch.no_grad(),
    "gradients of a weight": lambda net: net.weight.requires_grad_(),
    "another weight": lambda net: setattr(net, "weight", torch.nn.Parameter(net.weight.detach() + 0.5, False)),
    "its data": lambda net: setattr(net.weight, "data", net.weight.data + 0.5),
    "its layout": lambda net: setattr(net.weight, "data", net.weight.data.mT.contiguous().mT),
    "inference": lambda net: torch.inference_mode(),
    "autocast": lambda net: torch.autocast("cpu", dtype=torch.bfloat16),
    "a mode": lambda net: FlopCounterMode(display=False),
}


@pytest.mark.slow
def test_calls_almost_like_earlier_ones_are_those_of_the_function(direct):
    net = torch.nn.Linear(3, 3).double().requires_grad_(False)
    metric = Stretched(net)
    f = rm.compile(metric, "christoffel", dim=3, budget=1e-6)
    for name, change in NEAR_MISSES.items():
        net.requires_grad_(False)
        for _ in range(4):
            f(X)
        changed = change(net)
        with changed if hasattr(changed, "__enter__") and name != "gradients of a weight" else contextlib.nullcontext():
            for _ in range(3):
                assert_close(
                    f(X), rm.christoffel(metric, X), rtol=1e-9, atol=1e-10, msg=lambda m, name=name: f"{name}: {m}"
                )


@pytest.mark.slow
def test_modes_that_look_at_operations_see_them_and_leave_what_compiles(direct):
    f = rm.compile(Stretched(torch.nn.Linear(3, 3).double()), "christoffel", dim=3, budget=1e-6)
    with FlopCounterMode(display=False) as mode:
        inside = f(X)
    assert mode.get_total_flops() > 0
    assert f.route.endswith("by inductor")
    assert_close(f(X), inside)


def test_what_arguments_are_like():
    """One that differs in anything that code may depend on is not like those before."""
    a, w = torch.zeros(3, 2), torch.ones(2, 2)
    like = Like([a, w])
    assert like([a + 1, w + 1])
    others = {
        "shape": (a[:2], w), "dtype": (a.double(), w), "strides": (a, w.mT), 
        "gradients": (a, w.clone().requires_grad_()),
        "type": (a, torch.nn.Parameter(w, False)), "twice": (a, a), "negated": (a, torch._neg_view(w)),
        "device": (a.to("meta"), w),
    }  # fmt: skip
    assert [name for name, arguments in others.items() if like(arguments)] == []
    around = [
        torch.no_grad(), torch.inference_mode(), torch.autocast("cpu"), FlopCounterMode(display=False),
        forward_ad.dual_level(), deterministic(),
    ]  # fmt: skip
    for context in around:
        with context:
            assert not like([a, w]), context
    transforms = torch.func.vmap, torch.func.grad
    seen = []
    for transform in transforms:
        transform(lambda x: (seen.append(like([x, w]) or like([a, w])), x.sum())[1])(a[0])
    assert seen == [False, False]
    assert like([a, w])


def test_strides_of_indices_are_those_of_torch():
    from torch._inductor.codegen import cpp
    from torch.utils._sympy.functions import FloorDiv, ModularIndexing

    from riemann._compiling.strides import quick_strides

    x, y, s = (sp.Symbol(name, integer=True, nonnegative=True) for name in ("x0", "x1", "s0"))
    indices = (
        x, y, sp.Integer(3), s, s * x + y, 6 * s * (x + 2) + 3 * y, x * y, x**2 + y, s * x * (y + 1) - x, 5 - 4 * x,
        FloorDiv(x, 8) + y, FloorDiv(x + 3, 4), ModularIndexing(x, 1, 16), s * FloorDiv(y, 3) + x, sp.Max(x, y),
        20 * ModularIndexing(x, 1, 256) + y + 4, ModularIndexing(x, 8, 4), ModularIndexing(x, 3, 16), FloorDiv(x, s),
        ModularIndexing(x, 1, 12), FloorDiv(ModularIndexing(x, 1, 16), 3), x * FloorDiv(y, 3), FloorDiv(x, 16) * y,
        ModularIndexing(x, 1, s), ModularIndexing(y, 1, 5) + 3 * x, s * ModularIndexing(x, 16, 8), FloorDiv(8 * x, 3),
    )  # fmt: skip
    general = cpp.stride_at_vec_range
    with quick_strides():
        quick = cpp.stride_at_vec_range
        with quick_strides():
            assert cpp.stride_at_vec_range is quick is not general
    assert cpp.stride_at_vec_range is general
    for index in indices:
        for var in (x, y):
            a, b = general(index, var, 8), quick(index, var, 8)
            assert a == b if a.is_number or b.is_number else sp.expand(a - b) == 0, index
            assert a.free_symbols == b.free_symbols


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
