"""Metric nets: definite and bounded for every input, the stated metric at the start, the same g in every function."""

import copy

import pytest
import torch

import riemann as rm
import riemann_nn as nn
from tests.helpers import assert_equal

FAMILIES = ("cholesky", "diagonal", "conformal", "low_rank")
QUANTITIES = {
    "scalar_curvature": rm.scalar_curvature,
    "ricci_tensor": rm.ricci_tensor,
    "riemann_tensor": rm.riemann_tensor,
    "kretschmann_scalar": rm.kretschmann_scalar,
    "christoffel": rm.christoffel,
    "inverse_metric": rm.inverse_metric,
    "volume_element": rm.volume_element,
    "log_volume_element": rm.log_volume_element,
    "g": lambda g, x: rm.at(g, x, 0).g,
    "ddg": lambda g, x: rm.at(g, x).ddg,
    "sectional_curvature": lambda g, x: rm.sectional_curvature(g, x, x + 1, x.roll(1, -1) - 1),
    "ricci_curvature": lambda g, x: rm.ricci_curvature(g, x, x + 1),
    "estimate": lambda g, x: rm.estimate_scalar_curvature(g, x, 3, torch.Generator().manual_seed(1)).value,
    "laplacian": lambda g, x: rm.jet(rm.laplacian(g, lambda p: p.sin().sum()), x, 0)[0],
}


def net(n, family="cholesky", std=0.6, **options):
    metric = nn.MetricNet(n, (8, 8), family, **options).double()
    for p in metric.parameters():
        torch.nn.init.normal_(p, std=std)
    return metric


def points(*batch, n):
    return torch.randn(*batch, n, dtype=torch.float64)


def spd(n, spread=0.1):
    A = spread * torch.randn(n, n, dtype=torch.float64) / n
    return torch.eye(n, dtype=torch.float64) + A + A.T


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_starts_at_the_identity(family, n):
    g, x = nn.MetricNet(n, family=family), torch.randn(7, n)
    assert (g(x) - torch.eye(n)).abs().max() < 1e-6
    assert rm.scalar_curvature(g, x).abs().max() < 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_starts_at_a_stated_metric(family):
    starts = {"conformal": [0.3], "cholesky": [0.3, spd(3), 50 * spd(3)]}
    for start in starts.get(family, [0.3, torch.diag(torch.tensor([1.0, 2.0, 0.5]))]):
        g, x = nn.MetricNet(3, family=family, start=start).double(), points(7, n=3)
        truth = start * torch.eye(3, dtype=x.dtype) if isinstance(start, float) else start.to(x)
        assert (g(x) - truth).abs().max() < 1e-6 * truth.abs().max()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_function_sees_the_same_metric(family, quantity):
    g, x = net(3, family), points(3, n=3)
    assert_equal(QUANTITIES[quantity](g, x), QUANTITIES[quantity](lambda p: g(p), x))


@pytest.mark.parametrize("family", FAMILIES)
def test_volume_is_that_of_g(family):
    """Where g shrinks, a volume from the factor and a metric with something added to it would part."""
    g, x = net(3, family, start=1e-6), points(5, n=3)
    assert_equal(rm.log_volume_element(g, x), 0.5 * torch.linalg.slogdet(g(x)).logabsdet)
    assert_equal(rm.inverse_metric(g, x) @ g(x), torch.eye(3).expand(5, 3, 3))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1.0, 30.0, 1e3])
def test_bounds(family, dtype, size):
    """Positive definite with a condition number bounded on both sides, whatever the weights and the input."""
    for seed in range(2):
        torch.manual_seed(seed)
        g = net(4, family, std=3.0 if seed else 0.6, log_range=0.8).to(dtype)
        x = size * torch.randn(20_000, 4, dtype=dtype)
        values = g(x).detach()
        low, high = g.bounds
        eigenvalues = torch.linalg.eigvalsh(values.double())
        assert eigenvalues.min() >= low * (1 - 1e-4) and eigenvalues.max() <= high * (1 + 1e-4)
        assert torch.linalg.cholesky(values).isfinite().all()


@pytest.mark.parametrize("n", [2, 3, 8, 64])
def test_bounds_of_factors_are_reached(n):
    """At the corners of the heads: no better bounds hold."""
    g = nn.MetricNet(n, (4,), log_range=0.7).double()
    low, high = g.bounds
    reached = []
    for diagonal, below in ((20.0, 20.0), (-20.0, -20.0)):
        head = g.structure.layers[-1]
        with torch.no_grad():
            head.bias.copy_(torch.where(g.structure.rows == g.structure.columns, diagonal, below))
        eigenvalues = torch.linalg.eigvalsh(g(points(n=n)).detach())
        reached.append((eigenvalues.min(), eigenvalues.max()))
    assert_equal(reached[1][0], low, scale=1e-9, rtol=1e-6)
    assert_equal(reached[0][1], high, rtol=1e-6)
    assert high / low < 1e4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)])
def test_points_and_batches(family, batch):
    g, x = net(3, family), points(*batch, n=3)
    assert g(x).shape == (*batch, 3, 3)
    assert rm.scalar_curvature(g, x).shape == batch


@pytest.mark.parametrize("family", FAMILIES)
def test_transforms(family):
    g, x = net(3, family), points(4, n=3)
    assert_equal(torch.func.vmap(g)(x), g(x))
    forward = torch.func.vmap(torch.func.jacfwd(g))(x)
    assert_equal(forward, rm.at(g, x, 1).dg)
    S = rm.scalar_curvature(g, x)
    assert_equal(torch.func.vmap(lambda p: rm.scalar_curvature(g, p))(x), S)
    parameters = {f"metric.{name}": p.detach() for name, p in g.named_parameters()}
    loss = nn.CurvatureLoss(g)
    gradients = torch.func.grad(lambda p: torch.func.functional_call(loss, p, (x,)))(parameters)
    loss(x).backward()
    for name, p in g.named_parameters():
        assert_equal(gradients[f"metric.{name}"], p.grad)


@pytest.mark.parametrize("family", FAMILIES)
def test_second_gradients(family):
    g, x = net(2, family), points(3, n=2).requires_grad_()
    parameters = [p for p in g.parameters() if p.ndim == 1]

    def through(f):
        (first,) = torch.autograd.grad(rm.scalar_curvature(f, x).square().sum(), [x], create_graph=True)
        return torch.autograd.grad(first.square().sum(), parameters)

    for value, truth in zip(through(g), through(lambda p: g(p)), strict=True):
        assert_equal(value, truth)


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_curvature(family):
    g, x = net(4, family, std=0.4), points(50, n=4)
    truth = rm.scalar_curvature(g, x)
    value = rm.scalar_curvature(g.float(), x.float())
    assert value.dtype == torch.float32
    assert_equal(value, truth.detach(), rtol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_learns_from_the_start(family):
    """No saddle at the start: after two steps every weight has moved."""
    g, x = nn.MetricNet(3, (8,), family), torch.randn(32, 3)
    target = torch.eye(3) * (1 + 0.5 * torch.tanh(x[:, :1, None])) + 0.2
    before = [p.clone() for p in g.parameters()]
    optimizer = torch.optim.Adam(g.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        (g(x) - target).square().mean().backward()
        optimizer.step()
    assert all((p - q).abs().max() > 1e-4 for p, q in zip(g.parameters(), before, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_state_survives_copies(family, tmp_path):
    g, x = net(3, family, start=2.0), points(4, n=3)
    torch.save(g, tmp_path / "g.pt")
    other = nn.MetricNet(3, (8, 8), family, start=2.0).double()
    other.load_state_dict(g.state_dict())
    for copied in (copy.deepcopy(g), torch.load(tmp_path / "g.pt", weights_only=False), other):
        assert torch.equal(copied(x), g(x))
        assert torch.equal(rm.scalar_curvature(copied, x), rm.scalar_curvature(g, x))


def test_wrappers_keep_the_route():
    g = net(3)
    assert "riemann_nn" in rm.scalar_curvature.route(torch.compile(g, backend="eager"))


def test_weights_that_are_not_finite_give_nan_and_one_warning():
    g, x = net(2), points(2, n=2)
    with torch.no_grad():
        g.structure.layers[-1].bias[0] = torch.nan
    for quantity in (rm.scalar_curvature, rm.christoffel, rm.log_volume_element):
        with pytest.warns(UserWarning, match="`metric` is not finite") as said:
            assert quantity(g, x).isnan().all()
        assert len(said) == 1


@pytest.mark.parametrize(
    "options, words",
    [
        ({"family": "full"}, "`family` is 'full', expected one of 'cholesky'"),
        ({"hidden": (0,)}, "expected positive numbers of units"),
        ({"log_range": 0.0}, "`log_range` is 0.0, expected a positive number"),
        ({"start": torch.eye(2)}, "`start` has shape"),
        ({"start": -1.0}, "`start` is not symmetric and positive definite"),
        ({"start": torch.diag(torch.tensor([1.0, 1.0, 1e4]))}, "`start` is out of reach of the family 'cholesky'"),
        ({"start": spd(3), "family": "diagonal"}, "`start` is not diagonal"),
        ({"start": spd(3), "family": "conformal"}, "`start` is not a multiple of the identity"),
    ],
)
def test_messages(options, words):
    with pytest.raises(ValueError, match=words):
        nn.MetricNet(3, **options)
    with pytest.raises(TypeError, match="`activation` is a int"):
        nn.MetricNet(3, activation=3)
