"""The closed forms of network metrics against the generic route on the same network, which knows nothing of them."""

import numpy as np
import pytest
import torch

import riemann as rm
from riemann.metrics.elementwise import elementwise_jet
from riemann_nn import Bounded, MLPCholesky, Softplus
from tests.helpers import assert_equal

F = torch.nn.functional
ACTIVATIONS = {
    "tanh": torch.tanh,
    "Tanh": torch.nn.Tanh(),
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "silu": torch.nn.SiLU(),
    "gelu": F.gelu,
    "gelu, tanh": torch.nn.GELU(approximate="tanh"),
    "sin": torch.sin,
    "softplus 2": torch.nn.Softplus(beta=2.0),
    "unknown": lambda z: z / (1 + z**2).sqrt(),
}
HEADS = {
    "default": {},
    "bounded": {"off_diagonal": Bounded(0.5)},
    "exp": {"diagonal": torch.exp, "off_diagonal": torch.sin},
    "floor": {"diagonal": Softplus(0.5)},
}
QUANTITIES = {
    "christoffel": rm.christoffel,
    "riemann_tensor": rm.riemann_tensor,
    "ricci_tensor": rm.ricci_tensor,
    "ricci_tensor ul": lambda g, x: rm.ricci_tensor(g, x, "ul"),
    "scalar_curvature": rm.scalar_curvature,
    "einstein_tensor": rm.einstein_tensor,
    "kretschmann_scalar": rm.kretschmann_scalar,
    "inverse_metric": rm.inverse_metric,
    "volume_element": rm.volume_element,
    "log_volume_element": rm.log_volume_element,
    "order 0": lambda g, x: rm.at(g, x, 0).g,
    "order 1": lambda g, x: rm.at(g, x, 1).dg,
    "order 2": lambda g, x: rm.at(g, x, 2).ddg,
    "cotton_tensor": rm.cotton_tensor,
}


def network(n, hidden=(7, 6), dtype=torch.float64, **options):
    return MLPCholesky(n, hidden, **options).to(dtype)


def generic(metric):
    return lambda x: metric(x)


def points(*batch, n, dtype=torch.float64):
    return torch.randn(*batch, n, dtype=dtype)


def agree(metric, x, quantity=rm.scalar_curvature):
    assert_equal(quantity(metric, x), quantity(generic(metric), x))


@pytest.mark.parametrize("n", range(1, 9))
@pytest.mark.parametrize("quantity", [rm.scalar_curvature, rm.ricci_tensor], ids=["scalar", "Ricci"])
@pytest.mark.parametrize("head", HEADS)
def test_dimensions(n, quantity, head):
    agree(network(n, **HEADS[head]), points(3, n=n), quantity)


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("head", ["default", "bounded"])
def test_quantities(quantity, head):
    agree(network(3, **HEADS[head]), points(3, n=3), QUANTITIES[quantity])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_activations_and_depth(activation, depth):
    metric = network(4, (6, 5, 7)[:depth], activation=ACTIVATIONS[activation])
    agree(metric, points(3, n=4))
    agree(metric, points(3, n=4), rm.ricci_tensor)


@pytest.mark.parametrize("name", [*ACTIVATIONS, "exp", "bounded", "Softplus"])
def test_derivatives_of_elementwise_maps(name):
    f = {**ACTIVATIONS, "exp": torch.exp, "bounded": Bounded(0.3), "Softplus": Softplus(0.2)}[name]
    z = torch.linspace(-4, 4, 9, dtype=torch.float64)
    truth = rm.jet(f, z.unsqueeze(-1), 2)
    for value, derivative in zip(elementwise_jet(f, z), truth, strict=True):
        assert_equal(value, derivative.reshape(z.shape), rtol=1e-13)


@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3), (0,)])
@pytest.mark.parametrize("chunk_size", [None, 1, 2])
def test_batches_and_chunks(batch, chunk_size):
    metric, x = network(3), points(*batch, n=3)
    u, v = points(2, n=3)
    assert metric(x).shape == (*batch, 3, 3)
    for quantity in (rm.scalar_curvature, rm.ricci_tensor, rm.riemann_tensor, rm.log_volume_element):
        value = quantity(metric, x, chunk_size=chunk_size)
        assert_equal(value, quantity(generic(metric), x))
    value = rm.sectional_curvature(metric, x, u, v, chunk_size=chunk_size)
    assert_equal(value, rm.sectional_curvature(generic(metric), x, u, v))
    assert rm.at(metric, x, chunk_size=chunk_size).ddg.shape == (*batch, 3, 3, 3, 3)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("n", [2, 5])
def test_curvature_of_vectors(head, n):
    metric, x = network(n, **HEADS[head]), points(4, n=n)
    u, v, w = points(3, 4, n=n)
    here = rm.at(generic(metric), x)
    assert_equal(rm.sectional_curvature(metric, x, u, v), here.sectional_curvature(u, v))
    assert_equal(rm.ricci_curvature(metric, x, v), here.ricci_curvature(v))
    assert_equal(rm.curvature_endomorphism(metric, x, u, v, w), here.curvature_endomorphism(u, v, w))


def test_estimates_take_the_closed_form():
    metric, x = network(4), points(3, n=4)
    for estimate in (
        rm.estimate_scalar_curvature,
        lambda *a: rm.estimate_ricci_curvature(a[0], a[1], a[1] + 1, *a[2:]),
    ):
        values = [estimate(g, x, 6, torch.Generator().manual_seed(0)) for g in (metric, generic(metric))]
        assert_equal(values[0].value, values[1].value)
        assert_equal(values[0].standard_error, values[1].standard_error)


@pytest.mark.parametrize("quantity", [rm.scalar_curvature, rm.ricci_tensor], ids=["scalar", "Ricci"])
@pytest.mark.parametrize("head", ["default", "bounded"])
def test_gradients(quantity, head):
    metric, x = network(3, (5, 4), **HEADS[head]), points(2, n=3).requires_grad_()
    inputs = [x, *metric.parameters()]
    losses = [quantity(g, x).square().sum() for g in (metric, generic(metric))]
    firsts = [torch.autograd.grad(loss, inputs, create_graph=True) for loss in losses]
    for value, truth in zip(*firsts, strict=True):
        assert_equal(value, truth)
    if quantity is rm.scalar_curvature:
        seconds = [torch.autograd.grad(sum(d.square().sum() for d in first), inputs) for first in firsts]
        for value, truth in zip(*seconds, strict=True):
            assert_equal(value, truth)


def test_float32():
    metric, x = network(8), 0.5 * points(6, n=8)
    truth = rm.scalar_curvature(metric, x)
    value = rm.scalar_curvature(metric.float(), x.float())
    assert value.dtype == torch.float32
    assert_equal(value, truth)


def test_inside_transforms():
    metric, x = network(3), points(4, n=3)
    S = rm.scalar_curvature(metric, x)
    assert_equal(torch.func.vmap(lambda p: rm.scalar_curvature(metric, p))(x), S)
    forward = torch.func.vmap(torch.func.jacfwd(lambda p: rm.scalar_curvature(metric, p)))(x)
    backward = torch.func.vmap(torch.func.grad(lambda p: rm.scalar_curvature(metric, p)))(x)
    assert_equal(forward, backward)
    assert_equal(torch.func.vmap(lambda p: rm.ricci_tensor(metric, p))(x), rm.ricci_tensor(metric, x))
    parameters = {name: p.detach() for name, p in metric.named_parameters()}

    def energy(parameters, p):
        return torch.func.functional_call(Curvature(metric), {f"metric.{k}": w for k, w in parameters.items()}, (p,))

    per_point = torch.func.vmap(torch.func.grad(energy), in_dims=(None, 0))(parameters, x)
    S.sum().backward()
    for name, p in metric.named_parameters():
        assert_equal(per_point[name].sum(0), p.grad)


class Curvature(torch.nn.Module):
    def __init__(self, metric):
        super().__init__()
        self.metric = metric

    def forward(self, x):
        return rm.scalar_curvature(self.metric, x)


def test_wrappers_keep_the_route():
    metric = network(3)
    assert "_mlp_routes" in rm.scalar_curvature.route(metric)
    assert "_mlp_routes" in rm.ricci_tensor.route(torch.compile(metric, backend="eager"))


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_weights(convert, dtype):
    source = network(3, (5, 4)).to(getattr(torch, dtype))
    weights = [tuple(convert(p.detach().numpy()) for p in (layer.weight, layer.bias)) for layer in source.layers]
    metric = MLPCholesky.from_weights(weights)
    x = points(2, n=3, dtype=getattr(torch, dtype))
    assert torch.equal(metric(x), source(x))
    assert torch.equal(rm.scalar_curvature(metric, x), rm.scalar_curvature(source, x))
    metric.load_state_dict(source.state_dict())


def test_infinite_weights_give_nan_and_one_warning():
    metric, x = network(2), points(2, n=2)
    with torch.no_grad():
        metric.layers[-1].bias[0] = torch.inf
    for quantity in (rm.scalar_curvature, rm.ricci_tensor, rm.log_volume_element, rm.christoffel):
        with pytest.warns(UserWarning, match="`metric` is not finite at point") as said:
            assert quantity(metric, x).isnan().all()
        assert len(said) == 1


@pytest.mark.parametrize("weight", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("route", [lambda metric: metric, generic], ids=["closed", "generic"])
def test_weights_that_are_not_finite_give_nan_and_one_warning(weight, route):
    """In the first layer: an infinite weight leaves tanh, so g, finite, and spoils its derivatives only."""
    metric, x, (u, v) = network(3), points(2, n=3), points(2, 2, n=3)
    with torch.no_grad():
        metric.layers[0].weight[0, 0] = weight
    g = route(metric)
    for quantity in (
        *(rm.christoffel, rm.riemann_tensor, rm.ricci_tensor, rm.scalar_curvature, rm.einstein_tensor),
        lambda g, x: rm.christoffel_vector(g, x, u, v),
        lambda g, x: rm.sectional_curvature(g, x, u, v),
        lambda g, x: rm.curvature_endomorphism(g, x, u, v, v),
        lambda g, x: rm.ricci_curvature(g, x, v),
        lambda g, x: rm.estimate_scalar_curvature(g, x, 3).value,
        lambda g, x: rm.estimate_ricci_curvature(g, x, v, 3).value,
    ):
        with pytest.warns(UserWarning, match=r"`metric` .*at point \[0\] of the batch \(and at 1 more") as said:
            assert quantity(g, x).isnan().all()
        assert len(said) == 1


def test_state_survives_copies(tmp_path):
    import copy

    metric, x = network(3, off_diagonal=Bounded(0.3)), points(2, n=3)
    torch.save(metric, tmp_path / "metric.pt")
    for other in (copy.deepcopy(metric), torch.load(tmp_path / "metric.pt", weights_only=False)):
        assert torch.equal(rm.scalar_curvature(other, x), rm.scalar_curvature(metric, x))
