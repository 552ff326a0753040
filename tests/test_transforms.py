"""Curvature composes with torch.func, autograd and modules, and its gradients are right."""

import pickle
from functools import partial

import pytest
import torch
from torch.func import functional_call, grad, jacfwd, vmap

import riemann as rm
from riemann import spaces
from tests.cases import BY_NAME
from tests.helpers import assert_equal

NAMES = ["sphere 3 by a determinant", "ball", "Kerr", "generic 4", "indefinite"]
CASES = [BY_NAME.get(name, BY_NAME["generic 3, indefinite"]) for name in NAMES]
QUANTITIES = {
    "christoffel": rm.christoffel,
    "riemann": rm.riemann_tensor,
    "scalar": rm.scalar_curvature,
    "volume": rm.volume_element,
    "sectional": lambda g, x: rm.sectional_curvature(g, x, torch.ones_like(x), torch.linspace(1, 2, x.shape[-1]).to(x)),
    "ricci of a vector": lambda g, x: rm.ricci_curvature(g, x, torch.ones_like(x)),
}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES.keys())
class TestEachQuantity:
    def test_vmap(self, case, quantity):
        x = case.x()[:2]
        expected = quantity(case.metric, x)
        assert_equal(vmap(partial(quantity, case.metric))(x), expected)
        assert_equal(vmap(vmap(partial(quantity, case.metric)))(x[None])[0], expected)

    def test_derivative_forward_and_backward(self, case, quantity):
        x = case.x()[0]
        f = partial(quantity, case.metric)
        h = 1e-4
        columns = []
        for e in torch.eye(case.dim, dtype=x.dtype):
            d = 8 * (f(x + h * e) - f(x - h * e)) - (f(x + 2 * h * e) - f(x - 2 * h * e))
            columns.append(d / (12 * h))
        truth = torch.stack(columns, -1)
        assert_equal(jacfwd(f)(x), truth, rtol=1e-7)
        assert_equal(grad(lambda x: f(x).sum())(x), truth.reshape(-1, case.dim).sum(0), rtol=1e-7)
        leaf = x.clone().requires_grad_()
        f(leaf).sum().backward()
        assert_equal(leaf.grad, truth.reshape(-1, case.dim).sum(0), rtol=1e-7)

    def test_without_gradients(self, case, quantity):
        x, expected = case.x()[:2], quantity(case.metric, case.x()[:2])
        with torch.no_grad():
            assert_equal(quantity(case.metric, x), expected)
        with torch.inference_mode():
            assert_equal(quantity(case.metric, x), expected)


class Net(torch.nn.Module):
    def __init__(self, n):
        super().__init__()
        self.n = n
        self.layers = torch.nn.Sequential(torch.nn.Linear(n, 8), torch.nn.Tanh(), torch.nn.Linear(8, n * n)).double()

    def forward(self, x):
        A = self.layers(x).reshape(*x.shape[:-1], self.n, self.n)
        return A @ A.transpose(-1, -2) + torch.eye(self.n, dtype=x.dtype, device=x.device)


def test_gradients_to_parameters_once_and_twice():
    net, x = Net(3), torch.randn(4, 3, dtype=torch.float64)
    names, parameters = zip(*net.named_parameters(), strict=True)

    def loss(*values):
        metric = lambda p: functional_call(net, dict(zip(names, values, strict=True)), (p,))
        return rm.scalar_curvature(metric, x).square().mean()

    leaves = tuple(p.detach().clone().requires_grad_() for p in parameters)
    assert torch.autograd.gradcheck(loss, leaves)
    assert torch.autograd.gradgradcheck(loss, leaves[:2] + tuple(p.detach() for p in leaves[2:]))


@pytest.mark.parametrize("call", ["jet", "scalar_curvature", "ricci_curvature"])
def test_parameters_in_inference_mode(call):
    """Their products with the point are those of any other metric, also where derivatives are asked for inside."""
    V, x = torch.nn.Parameter(torch.eye(3, dtype=torch.float64) + 0.2), torch.rand(4, 3, dtype=torch.float64)
    h = lambda p: (V @ p) @ (V @ p) + (V[0] * p).exp().sum()
    f = {
        "jet": lambda g: torch.cat([y.reshape(4, -1) for y in rm.jet(g, x, 2)], 1),
        "scalar_curvature": lambda g: rm.scalar_curvature(g, x),
        "ricci_curvature": lambda g: rm.ricci_curvature(g, x, x.flip(0)),
    }[call]
    for g in (lambda p: torch.eye(3, dtype=p.dtype) + torch.outer(V @ p, V @ p), torch.func.hessian(h)):
        with torch.inference_mode():
            found = f(g)
        assert_equal(found, f(g).detach())


@pytest.mark.parametrize("way", ["eager", "compiled"])
def test_no_points_have_gradients(way):
    """Of shape, none: a batch that a mask leaves empty is no error."""
    a, x = torch.tensor(0.7, dtype=torch.float64, requires_grad=True), torch.zeros(0, 2, dtype=torch.float64)
    for g, wrt in (
        (lambda p: (1 + p[0] ** 2) * torch.eye(2, dtype=p.dtype), 1),
        (lambda p: torch.diag(a * p.exp()), 2),
    ):
        x.requires_grad_()
        S = partial(rm.scalar_curvature, g)
        S = S if way == "eager" else rm.compile(g, "scalar_curvature", dim=2, backend=None)
        for found, like in zip(torch.autograd.grad(S(x).sum(), (x, a)[:wrt]), (x, a), strict=False):
            assert_equal(found, torch.zeros_like(like))


def test_functional_call_and_backward_agree():
    net, x = Net(3), torch.randn(4, 3, dtype=torch.float64)
    rm.scalar_curvature(net, x).sum().backward()
    parameters = dict(net.named_parameters())
    gradients = grad(lambda p: rm.scalar_curvature(lambda y: functional_call(net, p, (y,)), x).sum())(parameters)
    for name, parameter in parameters.items():
        assert_equal(gradients[name], parameter.grad)


def test_one_metric_per_sample():
    def ellipsoid(x, c):
        theta, _ = x
        return torch.diag(torch.stack([torch.cos(theta) ** 2 + (c * torch.sin(theta)) ** 2, torch.sin(theta) ** 2]))

    c = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    x = torch.rand(3, 2, dtype=torch.float64) + 0.5
    S = torch.func.vmap(lambda c, x: rm.scalar_curvature(partial(ellipsoid, c=c), x))(c, x)
    assert_equal(S, 2 * c**2 / (torch.cos(x[:, 0]) ** 2 + (c * torch.sin(x[:, 0])) ** 2) ** 2)


def test_modules_that_take_batches_only():
    class Batched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = torch.nn.Linear(2, 3).double(), torch.nn.BatchNorm1d(3).double()

        def forward(self, x):
            L = torch.zeros(x.shape[0], 2, 2, dtype=x.dtype)
            i, j = torch.tril_indices(2, 2)
            L[:, i, j] = torch.tanh(self.norm(self.layer(x)))
            return L @ L.transpose(1, 2) + torch.eye(2, dtype=x.dtype)

    module = Batched().eval()
    x = torch.randn(5, 2, dtype=torch.float64)
    here = rm.at(module, x)
    assert_equal(here.g, module(x))
    assert_equal(here.scalar_curvature(), torch.stack([rm.scalar_curvature(module, p) for p in x]))


def test_the_function_is_called_once():
    calls = []

    def metric(x):
        calls.append(1)
        return BY_NAME["ball"].metric(x)

    rm.jet(metric, torch.rand(5, 3, dtype=torch.float64) / 2, 0)  # a function that is new is looked at first
    for order in range(4):
        calls.clear()
        rm.jet(metric, torch.rand(5, 3, dtype=torch.float64) / 2, order)
        assert len(calls) == 1


@pytest.mark.unshaped
def test_snapshots_leave_vmap():
    case = BY_NAME["generic 3"]
    here = vmap(lambda x: rm.at(case.metric, x))(case.x())
    assert isinstance(here, rm.LocalGeometry)
    assert_equal(here.scalar_curvature(), rm.scalar_curvature(case.metric, case.x()))


def test_snapshots_are_records():
    """No tuples, by accident or not: two snapshots do not add up."""
    case = BY_NAME["generic 3"]
    here = rm.at(case.metric, case.x().double())
    for nonsense in (lambda: here + here, lambda: here[0], lambda: len(here), lambda: here.index(0)):
        with pytest.raises((TypeError, AttributeError)):
            nonsense()
    assert repr(here).count("\n") == 0 and "in 3 dimensions, order 2, float64 on cpu" in repr(here)
    single = here.to(torch.float32)
    assert single.g.dtype == single.x.dtype == single.ricci_tensor().dtype == torch.float32
    assert_equal(pickle.loads(pickle.dumps(here)).g, here.g)


def test_components_that_are_not_zero():
    space = spaces.schwarzschild()
    here = rm.at(space, space.sample(3))
    found, gamma = here.nonzero("christoffel", space.coordinates), here.christoffel()
    assert len(found) == 13 and ("t", "r", "t") in found and ("t", "t", "t") not in found
    for names, value in found.items():
        assert_equal(value, gamma[(..., *(space.coordinates.index(name) for name in names))])
    text = repr(here.nonzero("riemann_tensor", "t r theta phi", indices="llll"))
    assert "riemann_tensor[t, r, t, r]" in text and len(text.splitlines()) == 24
    plain = rm.at(lambda x: space(x), here.x)
    assert repr(plain.nonzero("weyl_tensor", indices="llll")).startswith("weyl_tensor[0, 1, 0, 1]")
    for same in (here, here.to(torch.float64), pickle.loads(pickle.dumps(here))):
        assert list(same.nonzero()) == list(found)
    for arguments, words in (
        (("gamma",), "`quantity` is 'gamma'"), (("christoffel", "t r"), "expected 4 names"),
        (("riemann_tensor", "t r theta theta"), "expected 4 names"), (("to",), "`quantity` is 'to'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            here.nonzero(*arguments)


SMALL = 1e-21  # the strain of a gravitational wave: 1 + h is 1


def wave(x):
    h = SMALL * torch.cos(3.0 * (x[3] - x[0]))
    return torch.diag(torch.stack([-torch.ones_like(h), 1 + h, 1 - h, torch.ones_like(h)])) + h * torch.diag(
        h.new_tensor([0.0, 1.0, -1.0, 0.0])
    )


def two_spheres(x):
    """Of radii 1 and 1e9."""
    big = torch.ones_like(x[0]) * 1e18
    return torch.diag(torch.stack([x[0] ** 0, x[0].sin() ** 2, big, big * x[2].sin() ** 2]))


ROUNDED = {  # metric, point, quantity, options, how many components are not 0
    "vacuum": (spaces.kerr(M=1, a=0.9), [0.0, 10.0, torch.pi / 2, 0.0], "ricci_tensor", {}, 0),
    "vacuum elsewhere": (spaces.kerr(M=1, a=0.9), [0.0, 3.0, 0.4, 0.0], "einstein_tensor", {}, 0),
    "equator": (spaces.sphere(), [torch.pi / 2, 0.3], "christoffel", {}, 0),
    "no such tensor in 2 dimensions": (spaces.sphere(), [0.7, 0.3], "einstein_tensor", {}, 0),
    "weak wave": (wave, [0.1, 0.2, 0.3, 0.4], "riemann_tensor", {"indices": "llll"}, 32),
    "small beside large": (two_spheres, [0.7, 0.1, 1.2, 0.3], "riemann_tensor", {"indices": "uuuu"}, 8),
    "small by choice": (two_spheres, [0.7, 0.1, 1.2, 0.3], "riemann_tensor", {"indices": "uuuu", "rtol": 1e-3}, 4),
}


@pytest.mark.parametrize("case", ROUNDED)
def test_rounding_is_not_listed_and_small_components_are(case):
    metric, x, quantity, options, count = ROUNDED[case]
    here = rm.at(metric, torch.tensor(x, dtype=torch.float64))
    assert len(here.nonzero(quantity, **options)) == count
    if not count:
        assert repr(here.nonzero(quantity)) == f"{quantity} is 0"


def test_components_at_many_points_and_at_none():
    kerr = spaces.kerr(M=1, a=0.9)
    assert rm.at(kerr, kerr.sample(20)).nonzero("ricci_tensor") == {}
    assert rm.at(kerr, kerr.sample(20)[:0]).nonzero("ricci_tensor") == {}


def test_autocast_has_no_effect_in_float32():
    net, x = Net(3).float(), torch.randn(4, 3)
    u, v = torch.randn(2, 3)
    quantities = [
        rm.scalar_curvature, rm.riemann_tensor, rm.christoffel, lambda g, x: rm.at(g, x).ricci_tensor(),
        lambda g, x: rm.laplacian(g, torch.sum)(x), lambda g, x: rm.sectional_curvature(g, x, u, v),
    ]  # fmt: skip
    for quantity in quantities:
        expected = quantity(net, x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = quantity(net, x)
        assert value.dtype == torch.float32
        assert_equal(value, expected, rtol=1e-6)


def test_autocast_has_no_effect():
    net, x = Net(3), torch.randn(4, 3, dtype=torch.float64)
    expected = rm.scalar_curvature(net, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_equal(rm.scalar_curvature(net, x), expected, rtol=1e-14)
