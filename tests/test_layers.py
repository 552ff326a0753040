"""Coordinate layers: invertible, smooth, flat, and called what they are."""

import copy

import pytest
import torch

import riemann as rm
import riemann_nn as nn
from riemann_nn._charts.coordinate import kind_of
from tests.helpers import assert_equal, random_metric

DIMENSIONS = [1, 2, 3, 4, 7]


def points(*batch, n):
    return torch.randn(*batch, n, dtype=torch.float64)


def random_layer(n, depth=4, std=0.4, **options):
    phi = nn.CoordinateLayer(n, depth=depth, hidden=(16,), **options).double()
    for p in phi.parameters():
        torch.nn.init.normal_(p, std=std)
    return phi


def trained_layer(n, depth):
    """Fitted to move a Gaussian onto a curved target."""
    phi, x = nn.CoordinateLayer(n, depth=depth, hidden=(16,)).double(), points(64, n=n)
    target = x.roll(1, -1) ** 2 + 2 * x
    optimizer = torch.optim.Adam(phi.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        (phi(x) - target).square().mean().backward()
        optimizer.step()
    return phi


@pytest.mark.parametrize("n", DIMENSIONS)
def test_starts_at_the_identity(n):
    phi, x = nn.CoordinateLayer(n, depth=5), torch.randn(6, n)
    assert torch.equal(phi(x), x) and torch.equal(phi.inverse(x), x)
    assert torch.equal(phi.log_abs_det_jacobian(x), torch.zeros(6))


@pytest.mark.parametrize("n", DIMENSIONS)
@pytest.mark.parametrize("make", [trained_layer, random_layer], ids=["trained", "random"])
def test_inverse_at_depth_8(n, make):
    phi, x = make(n, 8), points(1000, n=n)
    assert (phi(x) - x).abs().max() > 0.1
    assert (phi.inverse(phi(x)) - x).abs().max() < 1e-10
    assert (phi(phi.inverse(x)) - x).abs().max() < 1e-10
    phi, x = phi.float(), x.float()
    assert (phi.inverse(phi(x)) - x).abs().max() < 1e-4


@pytest.mark.parametrize("n", DIMENSIONS)
@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (0,)])
def test_log_det(n, batch):
    phi, x = random_layer(n), points(*batch, n=n)
    z, J = rm.jet(phi, x, 1)
    assert_equal(phi(x), z)
    assert_equal(phi.log_abs_det_jacobian(x), torch.linalg.slogdet(J).logabsdet, rtol=1e-8)


@pytest.mark.parametrize("activation", [torch.nn.Tanh, torch.nn.Softplus, torch.nn.SiLU, torch.nn.GELU(), torch.sin])
def test_smooth(activation):
    """Second derivatives by the chain rule are those of differences, at a thousand points."""
    phi, x = random_layer(3, activation=activation), points(1000, n=3)
    v, h = torch.nn.functional.normalize(points(n=3), dim=0), 1e-4
    second = torch.einsum("zaij,i,j->za", rm.jet(phi, x, 2)[2], v, v)
    differences = (phi(x + h * v) - 2 * phi(x) + phi(x - h * v)) / h**2
    assert ((second - differences).abs() / (1 + second.abs())).max() < 1e-4


@pytest.mark.filterwarnings("ignore:rounding leaves")
@pytest.mark.parametrize("n", [2, 3, 4])
def test_charts_create_no_curvature(n):
    phi, x = random_layer(n), points(5, n=n)
    flat = rm.metrics.Pullback(phi, rm.metrics.Constant(torch.diag(torch.arange(1.0, n + 1))))
    assert (rm.at(flat, x, 0).g - torch.eye(n)).abs().max() > 0.1
    generic = rm.riemann_tensor(lambda p: flat(p), x, "llll")
    here = rm.at(flat, x)
    assert_equal(generic, torch.zeros_like(generic), scale=(here.ddg.abs().max() + here.dg.abs().max() ** 2).item())


@pytest.mark.parametrize("ambient", ["sphere", "random"])
def test_curvature_does_not_depend_on_the_chart(ambient):
    phi, x = random_layer(4, std=0.2), 0.3 * points(5, n=4)
    g = rm.spaces.sphere(4, chart="stereographic") if ambient == "sphere" else random_metric(4, 0, seed=5)
    S = rm.scalar_curvature(rm.metrics.Pullback(phi, g), x)
    assert_equal(S, rm.scalar_curvature(g, phi(x)))
    if ambient == "sphere":
        assert_equal(S, torch.full_like(S, 12.0))


def test_cocycle():
    phi_12, phi_23, x = random_layer(3), random_layer(3), points(9, n=3)
    phi_13 = torch.nn.Sequential(phi_12, phi_23)
    assert_equal(phi_13(x), phi_23(phi_12(x)))
    assert_equal(phi_12.inverse(phi_23.inverse(phi_13(x))), x)
    log_dets = phi_12.log_abs_det_jacobian(x) + phi_23.log_abs_det_jacobian(phi_12(x))
    assert_equal(torch.linalg.slogdet(rm.jet(phi_13, x, 1)[1]).logabsdet, log_dets)
    assert kind_of(phi_13) == "transition"


@pytest.mark.parametrize("m, n, kind", [(3, 3, "transition"), (2, 5, "embedding"), (5, 2, "submersion")])
@pytest.mark.parametrize("last", [lambda n: torch.nn.Tanh(), random_layer], ids=["tanh", "flow"])
def test_changes_of_dimension_have_a_name_and_full_rank(m, n, kind, last):
    map = torch.nn.Sequential(torch.nn.Linear(m, n), last(n)).double()
    assert nn.ManifoldLayer(map, nn.MetricNet(n)).kind == kind
    J = rm.jet(map, 0.3 * points(20, n=m), 1)[1]
    assert (torch.linalg.matrix_rank(J) == min(m, n)).all()


def test_what_is_neither_is_a_map():
    assert kind_of(torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Linear(5, 2))) == "map"
    assert kind_of(torch.nn.LayerNorm(3)) == "map"


def test_rough_maps_warn():
    with pytest.warns(UserWarning, match="the map of this layer has ELU: curvature pulled back"):
        nn.ManifoldLayer(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ELU()), nn.MetricNet(2))


ROUGH = [torch.nn.ReLU, torch.nn.LeakyReLU(0.1), torch.nn.ELU(), torch.nn.functional.relu, torch.relu, torch.nn.CELU,
         torch.nn.SELU, torch.nn.Softsign, torch.abs, lambda z: torch.where(z > 0, z, z.expm1())]  # fmt: skip


@pytest.mark.parametrize("activation", ROUGH)
@pytest.mark.parametrize("layer", [nn.CoordinateLayer, nn.MetricNet])
def test_rough_activations_are_refused(activation, layer):
    with pytest.raises(ValueError, match="whose second derivative is 0 or jumps: curvature would miss"):
        layer(2, activation=activation)


@pytest.mark.parametrize("options", [{"dim": 0}, {"dim": 2, "depth": 0}, {"dim": 2, "log_scale": 0.0}])
def test_numbers(options):
    with pytest.raises(ValueError, match="expected positive numbers"):
        nn.CoordinateLayer(**options)


@pytest.mark.parametrize("function", ["forward", "inverse", "log_abs_det_jacobian"])
def test_points_of_another_dimension_are_refused(function):
    for x in (points(4, n=5), points(4, n=2), points(4, n=1)[:, 0]):
        with pytest.raises(ValueError, match=r"expected \(\*batch, 3\), points of this layer's dimension"):
            getattr(random_layer(3), function)(x)


def test_state_survives_copies(tmp_path):
    phi, x = random_layer(3), points(4, n=3)
    torch.save(phi, tmp_path / "phi.pt")
    other = nn.CoordinateLayer(3, hidden=(16,)).double()
    other.load_state_dict(phi.state_dict())  # what is kept by a coupling is part of the state
    for copied in (copy.deepcopy(phi), torch.load(tmp_path / "phi.pt", weights_only=False), other):
        assert torch.equal(copied(x), phi(x)) and torch.equal(copied.inverse(x), phi.inverse(x))


def test_inside_transforms():
    phi, x = random_layer(3), points(4, n=3)
    assert_equal(torch.func.vmap(phi)(x), phi(x))
    assert_equal(torch.func.vmap(torch.func.jacrev(phi))(x), torch.func.vmap(torch.func.jacfwd(phi))(x))
    parameters = dict(phi.named_parameters())
    assert_equal(torch.func.functional_call(phi, parameters, (x,)), phi(x))
    torch.autograd.gradgradcheck(phi, points(2, n=3).requires_grad_())
