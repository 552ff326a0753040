"""What is compiled sees what the metric is written with now: numbers, functions, attributes, hooks, tensors.

The code is left as it is (`backend=None`): what is compiled is the same code.
"""

import array
import collections
import contextvars
import copy
import itertools
import pickle
import random
import types

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import riemann as rm
from riemann._compiling.written import Written
from riemann.metrics.elementwise import BoundedExp

pytestmark = pytest.mark.unshaped

F = torch.nn.functional
X = 0.2 + 0.5 * torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
W = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4)) / 2
V = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
POWER = 2.0


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 6)).double()
        self.activation, self.options = torch.sin, {"floor": 0.1}
        self.register_buffer("order", torch.arange(6))
        self.scale = torch.tensor(1.0, dtype=torch.float64)

    def head(self, x):
        return self.activation(self.layers(x))[self.order]

    def forward(self, x):
        U = self.head(x).reshape(2, 3)
        return (1 + self.options["floor"]) * torch.eye(3, dtype=x.dtype) + self.scale * U.T @ U


class Doubled(Net):
    def head(self, x):
        return 2 * super().head(x)


def half_plane(x):
    return torch.eye(3, dtype=x.dtype) / x[2] ** POWER


def by_network(x):
    o = torch.tanh(V.to(x) @ x) @ W.to(x).T
    rows, columns = torch.tril_indices(3, 3)
    L = torch.zeros(3, 3, dtype=x.dtype).index_put((rows, columns), o)
    L = torch.tril(L, -1) + torch.diag(F.softplus(torch.diagonal(L)) + 0.1)
    return L @ L.T


class Scaled:
    def __init__(self):
        self.t, self.functions = 1.0, [torch.sin]

    @staticmethod
    def power(x):
        return x

    def __call__(self, x):
        return torch.eye(3, dtype=x.dtype) * torch.exp(self.t * self.functions[0](self.power(x)).sum())


CHANGES = {
    "a function among the attributes": lambda net: setattr(net, "activation", torch.tanh),
    "a number in a dictionary": lambda net: net.options.update(floor=2.0),
    "another module": lambda net: net.layers.__setitem__(1, torch.nn.Sigmoid()),
    "a forward of its own": lambda net: setattr(net, "forward", half_plane),
    "a forward of its own, of a part": lambda net: setattr(net.layers[1], "forward", torch.exp),
    "a hook": lambda net: net.layers.register_forward_hook(lambda module, args, out: 2 * out),
    "a hook before": lambda net: net.layers.register_forward_pre_hook(lambda module, args: (0.5 * args[0],)),
    "a buffer of whole numbers": lambda net: net.order.copy_(torch.tensor([5, 3, 1, 0, 2, 4])),
    "another buffer": lambda net: setattr(net, "order", torch.tensor([5, 3, 1, 0, 2, 4])),
    "a tensor among the attributes": lambda net: setattr(net, "scale", 3 * net.scale),
    "another class": lambda net: setattr(net, "__class__", Doubled),
}


def seen(metric, change, fixed=False):
    """Whether a change of the values is seen."""
    written, before = Written(metric, lambda a: fixed), metric(X[0])
    assert not written.changed()
    change()
    return written.changed() and not torch.allclose(before, metric(X[0]))


@pytest.mark.parametrize("change", CHANGES)
def test_changes_of_a_module_are_seen(change):
    net, inner = Net(), Net()
    assert seen(net, lambda: CHANGES[change](net))
    assert seen(lambda x: 2 * inner(x), lambda: CHANGES[change](inner))


def test_changes_of_objects_functions_and_tensors_are_seen(monkeypatch):
    t, c = 1.0, torch.ones(3, dtype=torch.float64)

    def in_closures(x, scale=c):
        return torch.diag(t * scale.exp())

    def change_t():
        nonlocal t
        t = 2.0

    assert seen(in_closures, change_t)
    assert not seen(in_closures, lambda: c.mul_(2))  # where tensors are read at each call
    assert seen(in_closures, lambda: c.mul_(2), fixed=True)
    assert seen(in_closures, lambda: setattr(in_closures, "__defaults__", (3 * c,)))
    metric = Scaled()
    assert seen(metric, lambda: setattr(metric, "t", 2.0)) and seen(metric, lambda: metric.functions.insert(0, F.silu))
    assert seen(metric.__call__, lambda: metric.functions.insert(0, torch.cos))
    assert seen(metric, lambda: monkeypatch.setattr(Scaled, "power", lambda self, x: x**2))
    assert seen(lambda x: 2 * half_plane(x), lambda: monkeypatch.setitem(globals(), "POWER", 3.0))
    assert seen(by_network, lambda: monkeypatch.setitem(globals(), "W", 2 * W))


def test_hooks_of_all_modules_are_seen():
    net, hooks = Net(), []
    add = torch.nn.modules.module.register_module_forward_hook
    try:
        assert seen(net, lambda: hooks.append(add(lambda module, args, out: 2 * out)))
    finally:
        hooks[0].remove()


def test_weights_equal_numbers_and_what_the_metric_changes_itself_are_no_change():
    class Counting(Net):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    net = Counting()
    written = Written(net, lambda a: False)
    net(X[0])
    assert written.changed()
    written.settle()
    net(X[0])
    with torch.no_grad():
        net.layers[0].weight.mul_(1.5)
    net.layers[2].bias = torch.nn.Parameter(2 * net.layers[2].bias.detach())
    net.options["floor"] = float("0.1")
    assert not written.changed()
    CHANGES["a hook"](net)
    assert written.changed()


# ------------------------------------------------------------------------------------------------------ as compiled


def compiled(metric, route):
    f = rm.compile(metric, "christoffel", dim=3, backend=None, budget=5.0)
    assert f.route.startswith(route), f.route
    return f


def check(f, metric, change):
    """The function is that of the metric before a change and after it, and what has changed is not the same."""
    before = f(X)
    assert_close(before, rm.christoffel(metric, X))
    change()
    after = rm.christoffel(metric, X)
    assert not torch.allclose(before, after, rtol=1e-3)
    assert_close(f(X), after)


def test_jets_are_recorded_anew_and_what_was_compiled_is_taken_again():
    net = Net()
    f = compiled(net, "jets")
    check(f, net, lambda: setattr(net, "activation", torch.tanh))
    kernel = f._kernel
    net.activation = torch.sin
    f(X)
    assert f._kernel is not kernel
    net.activation = torch.tanh
    f(X)
    assert f._kernel is kernel


class Settings:
    power = 2.0


class Slotted:
    __slots__ = ("power",)

    def __init__(self, power):
        self.power = power


def set_attribute(a, value):
    a.power = value


def set_first(a, value):
    a[0] = value


SETTINGS = types.ModuleType("settings_of_a_user")
VARIABLE = contextvars.ContextVar("power", default=2.0)
# What a number stands in, how it is read, and how it is set.
PLACES = {
    "class": (lambda: Settings, lambda a: a.power, set_attribute),
    "slots": (lambda: Slotted(2.0), lambda a: a.power, set_attribute),
    "file": (lambda: SETTINGS, lambda a: a.power, set_attribute),
    "NumPy array": (lambda: np.array([2.0]), lambda a: float(a[0]), set_first),
    "NumPy array of objects": (lambda: np.array([2.0], dtype=object), lambda a: a[0], set_first),
    "memory of NumPy": (lambda: np.array([2.0]), lambda a: torch.from_numpy(a)[0], set_first),
    "array": (lambda: array.array("d", [2.0]), lambda a: a[0], set_first),
    "deque": (lambda: collections.deque([2.0]), lambda a: a[0], set_first),
    "long list": (lambda: [2.0] * 2000, lambda a: a[0], set_first),
    "context": (lambda: VARIABLE, lambda a: a.get(), lambda a, value: a.set(value)),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_number_is_seen_wherever_it_stands(place):
    make, read, write = PLACES[place]
    there = make()
    write(there, 2.0)
    metric = lambda x: torch.eye(3, dtype=x.dtype) * (1 + read(there) * x[0] ** 2 + x[1] ** 4)
    f = compiled(metric, "symbolic")
    assert_close(f(X), rm.christoffel(metric, X))
    write(there, 3.0)
    assert_close(f(X), rm.christoffel(metric, X))


def test_memory_of_numpy_is_looked_at():
    numbers = np.array([2.0, 1.0, 1.0])
    weights = torch.from_numpy(numbers)
    metric = lambda x: torch.eye(3, dtype=x.dtype) * (1 + weights @ x**2)
    f = compiled(metric, "symbolic")
    f(X)
    numbers[0] = 3.0
    assert_close(f(X), rm.christoffel(metric, X))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("way", ["script", "trace"])
def test_modules_of_torchscript(way):
    make = {"script": torch.jit.script, "trace": lambda m: torch.jit.trace(m, torch.ones(3).double())}
    layers = make[way](torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 9)).double())

    def metric(x):
        L = layers(x).reshape(3, 3)
        return L @ L.mT + torch.eye(3, dtype=x.dtype)

    f = compiled(metric, "jets")
    assert_close(f(X), rm.christoffel(metric, X))
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.mul_(0.5)
    assert_close(f(X), rm.christoffel(metric, X))


def test_a_number_out_of_a_tensor_is_no_part_of_a_graph():
    scale = torch.tensor(2.0, dtype=torch.float64)
    field = lambda x: torch.special.bessel_j0(scale.item() * x).sum()
    with pytest.warns(UserWarning, match="eagerly: a number is taken out of a tensor"):
        f = rm.compile(field, "jet", dim=3, order=1, backend=None)
        assert_close(f(X), rm.jet(field, X, 1))
    scale.mul_(2)
    assert_close(f(X), rm.jet(field, X, 1))


def test_sparse_numbers_are_compared():
    matrix = torch.eye(3, dtype=torch.float64).to_sparse()
    metric = lambda x: torch.eye(3, dtype=x.dtype) * (1 + (matrix @ x.unsqueeze(-1) ** 2).sum())
    with pytest.warns(UserWarning, match="eagerly"):
        f = rm.compile(metric, "christoffel", dim=3, backend=None)
    assert_close(f(X), rm.christoffel(metric, X))


@pytest.mark.parametrize("change", ["activation", "diagonal", "off_diagonal"])
def test_a_closed_form_of_a_type(change):
    metric = rm.metrics.MLPCholesky(3, (5,)).double()
    f = compiled(metric, "closed form,")
    for other in (copy.deepcopy(f), pickle.loads(pickle.dumps(f))) if change == "activation" else (f,):
        new = BoundedExp(0.7) if change == "diagonal" else torch.sin
        check(other, other.metric, lambda g=other.metric, new=new: setattr(g, change, new))


def test_a_formula(monkeypatch):
    f = compiled(half_plane, "symbolic")
    check(f, half_plane, lambda: monkeypatch.setitem(globals(), "POWER", 3.0))
    with pytest.warns(UserWarning, match="changed again and again"):
        for power in (4.0, 5.0, 6.0):
            check(f, half_plane, lambda power=power: monkeypatch.setitem(globals(), "POWER", power))
    c = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    metric = lambda x: torch.diag(torch.exp(c.to(x) * x.flip(0)))  # noqa: E731
    check(compiled(metric, "symbolic"), metric, lambda: c.mul_(1.5))


def test_a_structure_that_was_found(monkeypatch):
    monkeypatch.setitem(globals(), "W", W.clone())
    f = compiled(by_network, "closed form of the MLPCholesky")
    check(f, by_network, lambda: W.mul_(0.4))
    assert_close(f(X.float()), rm.christoffel(by_network, X.float()), rtol=1e-2, atol=1e-2)


def test_a_field():
    t = 1.0
    field = lambda x: torch.sin(t * x[:1])  # noqa: E731
    f = rm.compile(field, "jet", dim=3, order=1, backend=None)
    assert_close(f(X), rm.jet(field, X, 1))
    t = 2.0
    assert_close(f(X), rm.jet(field, X, 1))


def test_weights_of_another_precision_are_another_graph():
    metric = rm.metrics.MLPCholesky(3, (5,)).double()
    f = compiled(metric, "closed form,")
    f(X)
    metric.float()
    assert_close(f(X.float()), rm.christoffel(metric, X.float()), rtol=1e-2, atol=1e-2)
    with pytest.raises(ValueError, match=r"`layers.0.weight` .* of torch.float64 when it was compiled"):
        f(X)


@pytest.mark.slow
def test_weights_laid_out_otherwise_are_seen():
    metric = rm.metrics.MLPCholesky(3, (5,)).double().requires_grad_(False)
    f = rm.compile(metric, "scalar_curvature", dim=3)
    for _ in range(3):  # from the third on, torch is not asked which graph it is
        assert_close(f(X), rm.scalar_curvature(metric, X))
    weight = next(metric.parameters())
    weight.data = 2 * weight.mT.contiguous().mT
    assert_close(f(X), rm.scalar_curvature(metric, X))


RECORDING = {
    "compile": lambda g, x: rm.compile(g, "scalar_curvature", dim=2, backend=None)(x),
    "compile a jet": lambda g, x: rm.compile(g, "jet", dim=2, backend=None)(x),
    "to_symbolic": lambda g, x: rm.bridge.to_symbolic(g, 2),
    "enclose": lambda g, x: rm.enclose(g, "scalar_curvature", x[0]),
    "bound_rounding": rm.bound_rounding,
}


@pytest.mark.parametrize("record", RECORDING.values(), ids=RECORDING)
@pytest.mark.parametrize("numbers", ["drawn", "counted"])
def test_numbers_that_differ_at_each_call_are_not_recorded(numbers, record):
    """Which of them should a recording keep?"""
    draw, count = random.Random(0).random, itertools.count(1)
    number = draw if numbers == "drawn" else lambda: next(count)

    def metric(x):
        return torch.diag(torch.stack([1 + x[1] ** 2, 1 + number() * x[0] ** 2]))

    with pytest.raises(ValueError, match=r"other numbers each time it is called.* draw random numbers once, outside"):
        record(metric, torch.tensor([[0.4, 0.7]], dtype=torch.float64))


def test_a_number_that_is_drawn_once_is_recorded():
    kept = {}

    def metric(x):
        kept.setdefault("scale", random.Random(0).random() * torch.eye(2, dtype=x.dtype))
        return kept["scale"] + torch.outer(x, x)

    x = torch.tensor([[0.4, 0.7]], dtype=torch.float64)
    assert_close(rm.compile(metric, "scalar_curvature", dim=2, backend=None)(x), rm.scalar_curvature(metric, x))
