"""Losses of curvature and volume: right, unbiased, free of scale, and the same on any number of processes."""

import copy

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import riemann as rm
import riemann_nn as nn
from riemann_nn._losses.curvature import sampled_squares
from tests.helpers import assert_equal, random_metric

KINDS = ("scalar", "sectional", "ricci", "riemann")


def net(n, family="cholesky", **options):
    """A metric net away from its start, float64."""
    metric = nn.MetricNet(n, (8, 8), family, **options).double()
    for p in metric.parameters():
        torch.nn.init.normal_(p, std=0.6)
    return metric


def points(*batch, n):
    return torch.randn(*batch, n, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [2, 3, 5])
def test_spheres(kind, n):
    sphere, x = rm.spaces.sphere(n), rm.spaces.sphere(n).sample(6)
    truth = {"scalar": (n * (n - 1)) ** 2, "sectional": 1, "ricci": n * (n - 1) ** 2, "riemann": 2 * n * (n - 1)}[kind]
    assert_equal(nn.curvature_loss(sphere, x, kind), float(truth))
    sampled = nn.curvature_loss(sphere, x, kind, "sampled", num_samples=2)
    assert_equal(sampled, float(truth))  # every plane has curvature 1


def test_sampled_planes_do_not_degenerate():
    """In two dimensions every plane is the same: float32 has its curvature however parallel two random vectors are."""
    sphere = rm.spaces.sphere(2)
    x = sphere.sample(4).float()
    square = sampled_squares(sphere, x, "sectional", 20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(square, torch.ones(4), atol=1e-4, rtol=0)


def test_sectional_is_the_mean_over_planes():
    g, x = random_metric(4, 0, seed=1), 0.3 * points(n=4)
    L = torch.linalg.cholesky(rm.at(g, x, 0).g)
    u, v = torch.linalg.solve_triangular(L.mT, torch.randn(4, 40000, dtype=x.dtype), upper=True).T.split(20000)
    squares = rm.sectional_curvature(g, x, u, v).square()
    error = squares.std() / len(squares) ** 0.5
    assert (squares.mean() - nn.curvature_loss(g, x, "sectional")).abs() < 4 * error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", ["cholesky", "diagonal", "plain"])
def test_sampled_is_unbiased(kind, metric):
    g = random_metric(4, 0, seed=2) if metric == "plain" else net(4, metric)
    x, count = 0.3 * points(n=4), 6000
    truth = nn.curvature_loss(g, x, kind)
    # one point many times: independent estimates, whose spread is known
    estimates = sampled_squares(g, x.expand(count, 4), kind, 3)
    error = estimates.std() / count**0.5
    assert (estimates.mean() - truth).abs() < 3 * error
    if kind == "scalar":  # the square of one estimate is not: it has the variance on top
        naive = rm.estimate_scalar_curvature(g, x.expand(count, 4), 3).value.square()
        assert naive.mean() - truth > 3 * naive.std() / count**0.5


@pytest.mark.parametrize("kind", ["scalar", "sectional"])
def test_sampled_gradients_are_unbiased(kind):
    g, x = net(3), 0.3 * points(n=3)
    (truth,) = torch.autograd.grad(nn.curvature_loss(g, x, kind), [g.structure.layers[-1].bias])
    sums = []
    for _ in range(40):
        loss = nn.curvature_loss(g, x.expand(200, 3), kind, "sampled", num_samples=2)
        sums.append(torch.autograd.grad(loss, [g.structure.layers[-1].bias])[0])
    sums = torch.stack(sums)
    error = sums.std(0) / len(sums) ** 0.5
    assert ((sums.mean(0) - truth).abs() < 4 * error + 1e-12).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("estimator", ["exact", "sampled"])
def test_scale_free(kind, estimator):
    g, x, c = net(3), points(6, n=3), 7.3
    options = {"kind": kind, "estimator": estimator}
    losses = [
        nn.curvature_loss(h, x, **options, scale_free=True, generator=torch.Generator().manual_seed(0))
        for h in (g, lambda x: c * g(x))
    ]
    assert_equal(losses[1], losses[0])
    losses = [
        nn.curvature_loss(h, x, **options, generator=torch.Generator().manual_seed(0)) for h in (g, lambda x: c * g(x))
    ]
    assert_equal(losses[1] * c**2, losses[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("estimator", ["exact", "sampled"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_reach_parameters_and_points(kind, estimator, dtype):
    g, x = net(3).to(dtype), points(6, n=3).to(dtype).requires_grad_()
    loss = nn.curvature_loss(g, x, kind, estimator)
    loss.backward()
    assert loss.dtype == dtype and x.grad.abs().sum() > 0
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in g.parameters())


def test_curves_have_no_curvature():
    g, x = net(1), points(4, n=1)
    for kind in KINDS:
        for estimator in ("exact", "sampled"):
            assert nn.curvature_loss(g, x, kind, estimator) == 0


def test_measures():
    g, x = net(2), points(50, n=2)
    S2, volume = rm.scalar_curvature(g, x).square(), rm.volume_element(g, x)
    loss = nn.curvature_loss(g, x, measure="volume")
    assert_equal(loss, (S2 * volume).sum() / volume.sum())
    weights = torch.rand(50, dtype=x.dtype)
    assert_equal(nn.curvature_loss(g, x, measure=weights), (S2 * weights).sum() / weights.sum())
    assert nn.mixed(x).shape == x.shape


def test_volume():
    g, x = net(3), points(20, n=3)
    assert_equal(nn.volume_loss(g, x), rm.log_volume_element(g, x).var())
    assert_equal(nn.volume_loss(lambda x: 3 * g(x), x), nn.volume_loss(g, x))
    with pytest.warns(UserWarning, match="least where g is 0"):
        assert_equal(nn.volume_loss(g, x, log=False), rm.volume_element(g, x).var())
    nn.volume_loss(g, x).backward()
    assert any(p.grad.abs().sum() > 0 for p in g.parameters())


def test_volume_does_not_depend_on_the_chart():
    phi, g, x = nn.CoordinateLayer(3).double(), net(3), points(20, n=3)
    for p in phi.parameters():
        torch.nn.init.normal_(p, std=0.4)
    here = rm.metrics.Pullback(phi, g)
    reference = phi.log_abs_det_jacobian(x)
    assert_equal(nn.volume_loss(here, x, log_reference=reference), nn.volume_loss(g, phi(x)))
    assert (nn.volume_loss(here, x) - nn.volume_loss(g, phi(x))).abs() > 1e-3


def test_what_flattens():
    """Scalar curvature 0 is not flat: the mean square over planes flattens, that of S does not."""
    ratios = {}
    for kind in ("scalar", "sectional"):
        torch.manual_seed(3)
        g, x = net(3), points(16, n=3)
        before = nn.curvature_loss(g, x, "riemann", scale_free=True)
        optimizer = torch.optim.Adam(g.parameters(), lr=3e-3)
        for _ in range(150):
            optimizer.zero_grad()
            nn.curvature_loss(g, x, kind, scale_free=True).backward()
            optimizer.step()
        ratios[kind] = (nn.curvature_loss(g, x, "riemann", scale_free=True) / before).item()
    assert ratios["sectional"] < 0.5 * ratios["scalar"]


@pytest.mark.parametrize("module", [nn.CurvatureLoss, nn.VolumeLoss])
def test_modules(module):
    g, x = net(2), points(6, n=2)
    loss = module(g)
    function = nn.curvature_loss if module is nn.CurvatureLoss else nn.volume_loss
    assert_equal(loss(x), function(g, x))
    other = {name: p + 0.1 for name, p in loss.named_parameters()}
    moved = copy.deepcopy(loss)
    moved.load_state_dict(other)
    assert_equal(torch.func.functional_call(loss, other, (x,)), moved(x))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"kind": "weyl"}, "`kind` is 'weyl', expected one of 'scalar'"),
        ({"estimator": "guess"}, "`estimator` is 'guess', expected 'exact' or 'sampled'"),
        ({"estimator": "sampled", "num_samples": 1}, "`num_samples` is 1, expected a whole number, 2 or more"),
        ({"measure": "mass"}, "`measure` is 'mass'"),
        ({"measure": torch.ones(3)}, "`measure` has shape"),
    ],
)
def test_messages(options, words):
    with pytest.raises(ValueError, match=words):
        nn.curvature_loss(net(2), points(4, n=2), **options)
    if options.keys() & {"kind", "estimator"} and "num_samples" not in options:
        with pytest.raises(ValueError, match=words):
            nn.CurvatureLoss(net(2), **options)


@pytest.mark.parametrize("estimator", ["exact", "sampled"])
def test_planes_need_a_definite_metric(estimator):
    """Where g is not, planes have no uniform distribution, and the formula for E[K^2] means nothing."""
    g, x = random_metric(3, 1, seed=0), 0.1 * points(4, n=3)
    with pytest.raises(ValueError, match="not positive definite"):
        nn.curvature_loss(g, x, "sectional", estimator)
    assert nn.curvature_loss(g, x, "ricci").isfinite()


def test_losses_need_points():
    with pytest.raises(ValueError, match="two points or more"):
        nn.volume_loss(net(2), points(1, n=2))
    for estimator in ("exact", "sampled"):
        with pytest.raises(ValueError, match=r"`x` has shape \(0, 2\), expected one point or more"):
            nn.curvature_loss(net(2), points(0, n=2), estimator=estimator)


def test_gauss_bonnet():
    """The integral of K over a disc and that of the geodesic curvature of its circle add up to 2 pi, for a net."""
    g, count = net(2), 400
    angle = 2 * torch.pi * torch.arange(count, dtype=torch.float64) / count
    nodes, weights = (torch.as_tensor(a) for a in np.polynomial.legendre.leggauss(40))
    radius, weights = 0.5 * (nodes + 1), 0.5 * weights
    circle = torch.stack((angle.cos(), angle.sin()), -1)
    disc = radius[:, None, None] * circle
    K = 0.5 * rm.scalar_curvature(g, disc) * rm.volume_element(g, disc)
    inside = (K * (radius * weights)[:, None]).sum() * 2 * torch.pi / count
    velocity, G = circle.roll(1, -1) * torch.tensor([-1.0, 1.0]), g(circle)
    nabla = -circle + rm.christoffel_vector(g, circle, velocity, velocity)
    speed = torch.einsum("ti,tij,tj->t", velocity, G, velocity).sqrt()
    area = rm.volume_element(g, circle) * (velocity[:, 0] * nabla[:, 1] - velocity[:, 1] * nabla[:, 0])
    boundary = (area / speed**2).sum() * 2 * torch.pi / count  # geodesic curvature times speed
    assert_equal(inside + boundary, 2 * torch.pi, rtol=1e-8)
    assert inside.abs() > 0.01


def test_warnings_name_the_line_that_called():
    x, plain = torch.rand(5, 2), torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    with pytest.warns(UserWarning) as said:
        nn.volume_loss(rm.metrics.Constant(), x, log=False)
        nn.VolumeLoss(rm.metrics.Constant(), log=False)(x)
        nn.ManifoldLayer(plain, nn.MetricNet(2))
        nn.NeuralDifferentialManifold(2, [2], 1, head="linear")
    assert [w.filename for w in said] == [__file__] * 4


MADE_OF = [
    ("scalar", "scalar_curvature", {}),
    ("ricci", "ricci_tensor", {"indices": "ul"}),
    ("riemann", "kretschmann_scalar", {}),
]


def plain_network(n, dtype):
    """A network metric as a plain function, and the tensors that it reads."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(8, n), (8,), (n * (n + 1) // 2, 8), (n * (n + 1) // 2,)]
    own = [(0.3 * torch.randn(s, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_() for s in sizes]
    rows, columns = torch.tril_indices(n, n)

    def g(x):
        p = own[2] @ torch.tanh(own[0] @ x + own[1]) + own[3]
        L = torch.zeros(n, n, dtype=x.dtype).index_put((rows, columns), p)
        L = torch.tril(L, -1) + torch.diag(torch.nn.functional.softplus(torch.diagonal(L)) + 0.5)
        return L @ L.T

    return g, own


@pytest.mark.unshaped
@pytest.mark.parametrize("kind, quantity, options", MADE_OF, ids=[kind for kind, _, _ in MADE_OF])
@pytest.mark.parametrize("dtype, close", [(torch.float32, 1e-4), (torch.float64, 1e-10)], ids=str)
def test_a_compiled_curvature_has_the_loss_and_gradients_of_the_metric(kind, quantity, options, dtype, close):
    n = 8 if kind == "scalar" else 3
    g, own = plain_network(n, dtype)
    backend = "aot_eager" if kind == "scalar" and dtype == torch.float64 else None
    f = rm.compile(g, quantity, dim=n, backend=backend, budget=1.0, **options)
    x = 0.5 * torch.randn(6, n, dtype=torch.float64)
    for p in (x.to(dtype), x.to(dtype).requires_grad_()):
        asked = [p, *own] if p.requires_grad else own
        found = []
        for metric in (f, g):
            loss = nn.curvature_loss(metric, p, kind, scale_free=True)
            found.append((loss.detach(), *torch.autograd.grad(loss, asked)))
        for ours, truth in zip(*found, strict=True):
            assert_close(ours, truth, rtol=close, atol=close * float(truth.abs().max()))
    with torch.no_grad():
        own[0] *= 0.7
    assert_close(nn.curvature_loss(f, x.to(dtype), kind), nn.curvature_loss(g, x.to(dtype), kind), rtol=close, atol=0.0)


@pytest.mark.unshaped
def test_a_compiled_quantity_must_be_that_of_the_loss():
    f = rm.compile(lambda x: torch.eye(2) / x[1] ** 2, "scalar_curvature", dim=2, backend=None)
    x = torch.tensor([[0.0, 1.0], [0.0, 2.0]])
    assert_close(nn.curvature_loss(f, x), torch.tensor(4.0))
    with pytest.raises(ValueError, match=r"kind 'ricci' takes `riemann.compile\(…, 'ricci_tensor', indices='ul'\)`"):
        nn.curvature_loss(f, x, "ricci")
    for kind, estimator in (("sectional", "exact"), ("scalar", "sampled")):
        with pytest.raises(ValueError, match="give `curvature_loss` the metric itself"):
            nn.curvature_loss(f, x, kind, estimator)
