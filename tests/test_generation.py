"""Generative manifolds: densities are densities, samples follow them, and curves are geodesics."""

import copy
import math

import pytest
import torch

import riemann as rm
import riemann_nn as nn
from tests.helpers import assert_equal

KINDS = ["flow", "mixture", "volume", "mixture by volume"]


def model_of(kind, n=2, std=0.2, **options):
    """A model away from its start, float64, for evaluation."""
    if "volume" in kind:
        options |= {"metric": nn.MetricNet(n, (8,)), "coupling": "volume"}
    model = nn.GenerativeManifold(n, classes=3 if "mixture" in kind else 1, depth=4, hidden=(8,), **options)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=std)
    model = model.double().eval().requires_grad_(False)
    model.start_at(2 * points(50, n=n) + 1)
    return model


def plain(metric=None, **options):
    """At its start: the chart is the data."""
    return nn.GenerativeManifold(2, metric, **options).double().eval().requires_grad_(False)


def points(*batch, n):
    return torch.randn(*batch, n, dtype=torch.float64)


def grid(low, high, count, n):
    """Midpoints of a grid of cells, and the volume of one."""
    h = (high - low) / count
    side = low + h * (torch.arange(count, dtype=torch.float64) + 0.5)
    return torch.cartesian_prod(*[side] * n).reshape(-1, n), h**n


def sphere(x):
    return torch.eye(2, dtype=x.dtype) * 4 / (1 + x @ x) ** 2


def hyperbolic(x):
    return torch.eye(2, dtype=x.dtype) * 4 / (1 - x @ x / 16) ** 2


def on_sphere(x):
    square = x.square().sum(-1, keepdim=True)
    return torch.cat((2 * x, 1 - square), -1) / (1 + square)


def uniform_to(u):
    """The largest distance of a sample's distribution function from that of the uniform one (Kolmogorov)."""
    u = u.sort().values
    return (u - (torch.arange(len(u)) + 0.5) / len(u)).abs().max()


# -------------------------------------------------------------------------------------------------------- the density


@pytest.mark.parametrize("n, count", [(1, 4000), (2, 160)])
@pytest.mark.parametrize("kind", KINDS)
def test_densities_integrate_to_1(kind, n, count):
    model = model_of(kind, n)
    x, cell = grid(-20.0, 22.0, count, n)
    rtol = 1e-3 if "volume" in kind else 1e-6
    for c in (None, *range(model.classes)):
        assert_equal(model.log_prob(x, c).exp().sum() * cell, 1.0, rtol=rtol)


def test_starts_normal_in_the_units_of_the_data():
    model, x = nn.GenerativeManifold(3).double(), points(40, n=3) * torch.tensor([1.0, 5.0, 0.0]).double() + 7
    normal = torch.distributions.Normal(0.0, 1.0)
    assert_equal(model.log_prob(x), normal.log_prob(x).sum(-1))
    model.start_at(x)
    unit = torch.cat((x.std(0)[:2], torch.ones(1, dtype=torch.float64)))  # of what does not change it is 1
    assert_equal(model.log_prob(x), torch.distributions.Normal(x.mean(0), unit).log_prob(x).sum(-1))


@pytest.mark.parametrize("kind", KINDS)
def test_samples_follow_the_density(kind):
    """On a line, where the distribution function of the density makes them uniform."""
    model = model_of(kind, 1)
    x, cell = grid(-20.0, 22.0, 8000, 1)
    for c in (None, model.classes - 1):
        F = model.log_prob(x, c).exp().cumsum(0) * cell
        drawn = model.sample(4000, c, generator=torch.Generator().manual_seed(1))[:, 0]
        at = F[((drawn + 20) / cell).long().clamp(0, len(F) - 1)]
        assert uniform_to(at) < 1.7 / math.sqrt(4000)


@pytest.mark.parametrize("kind", ["mixture", "mixture by volume"])
def test_conditions(kind):
    model, x = model_of(kind), points(5, 4, n=2)
    each = torch.stack([model.log_prob(x, c) for c in range(3)], -1)
    joint = each + model.log_weights.log_softmax(-1)
    assert_equal(model.log_prob(x), joint.logsumexp(-1))
    assert_equal(model.class_log_prob(x), joint.log_softmax(-1))
    c = torch.randint(3, (5, 4))
    assert_equal(model.log_prob(x, c), each.gather(-1, c[..., None])[..., 0])
    assert_equal(model.log_prob(x, c[0]), each.gather(-1, c[:1].expand(5, 4)[..., None])[..., 0])
    single = model_of(kind.replace("mixture", "flow"))
    assert_equal(single.log_prob(x, 0), single.log_prob(x))
    model.means.copy_(model.means[:1].expand(3, 2))  # classes that are all alike are none
    assert_equal(model.log_prob(x, 2), model.log_prob(x))


def test_weights_are_how_often_classes_come():
    model, c = plain(classes=3), torch.tensor([0] * 59 + [2] * 38)
    model.start_at(points(97, n=2), c)
    assert_equal(model.log_weights.exp(), torch.tensor([0.6, 0.01, 0.39]), rtol=1e-7)
    x = points(4, n=2)
    each = torch.stack([model.log_prob(x, c) for c in range(3)], -1)
    assert_equal(model.log_prob(x), (each + model.log_weights).logsumexp(-1))


def test_classes_are_drawn_each_by_its_own_law():
    model = plain(classes=2)
    model.means.copy_(torch.tensor([[-9.0, 0.0], [9.0, 0.0]]))
    c = torch.arange(1000) % 2
    assert torch.equal((model.sample(1000, c)[:, 0] > 0).long(), c)
    weighted = model.sample(1000, c, log_weight=lambda x: -x[:, 1].square())
    assert torch.equal((weighted[:, 0] > 0).long(), c)
    assert (model.sample(500, 1)[:, 0] > 0).all() and 0.4 < (model.sample(2000)[:, 0] > 0).double().mean() < 0.6
    only_left = model.sample(500, log_weight=lambda x: torch.where(x[:, 0] < 0, 0.0, -torch.inf))
    assert (only_left[:, 0] < 0).all()


# --------------------------------------------------------------------------------------------- the Riemannian measure


@pytest.mark.parametrize("metric, limit", [(sphere, 40.0), (hyperbolic, 3.99)])
def test_normalisers_are_those_of_quadrature(metric, limit):
    if metric is hyperbolic:  # bounded, as a density by its volume must be
        metric = lambda x: hyperbolic(x * torch.rsqrt(1 + x @ x / 8))
        limit = 40.0
    r = torch.linspace(0, limit, 40_001, dtype=torch.float64)
    at = torch.stack((r, 0 * r), -1)
    volume = rm.volume_element(metric, at)
    Z = torch.trapezoid(r * torch.exp(-0.5 * r**2) * volume, r)
    model = plain(metric, coupling="volume")
    value, error = model.log_normalizers()
    assert (value - Z.log()).abs() < 4 * error + 1e-6 and error < 1e-3
    p = torch.exp(-0.5 * r**2) / (2 * math.pi) * volume / Z
    assert_equal(model.log_prob(at[:4000]), p.log()[:4000], rtol=1e-3)


AREAS = {  # of a disc of square radius s, up to a factor
    "flat": (None, lambda s: s),
    "sphere": (sphere, lambda s: s / (1 + s)),
    "hyperbolic": (hyperbolic, lambda s: s / (1 - s / 16)),
}


@pytest.mark.parametrize("metric, area", AREAS.values(), ids=AREAS)
def test_uniform_samples_fill_areas(metric, area):
    """The region of a normal density is a disc, and the area of a smaller one in it is the part of points there."""
    x = plain(metric).sample_uniform(1500, mass=0.9, generator=torch.Generator().manual_seed(0))
    s = x.square().sum(-1)
    limit = -2 * math.log(0.1)
    assert limit * 0.9 < s.max() < limit * 1.1
    assert uniform_to(area(s) / area(s.max())) < 1.7 / math.sqrt(1500)
    assert (x.mean(0).abs() < 0.15).all()


def test_uniform_samples_in_a_metric_of_the_data():
    """They do not depend on the chart: in the flat metric of the data, of a model that bends it, areas are flat."""
    model = model_of("mixture")
    x = model.sample_uniform(2000, metric=model.density_metric(0.0))
    level = model.log_prob(model.sample(8192, generator=torch.Generator().manual_seed(0))).quantile(0.05)
    at, _ = grid(-20.0, 22.0, 400, 2)
    inside = at[model.log_prob(at) >= level]
    assert (model.log_prob(x) >= level).all()
    assert ((x.mean(0) - inside.mean(0)).abs() < 0.08 * inside.std(0)).all()
    assert_equal(x.std(0), inside.std(0), rtol=0.06 * float(inside.std()))
    same = model.sample_uniform(10, metric=model.data_metric, generator=torch.Generator().manual_seed(0))
    assert_equal(same, model.sample_uniform(10, generator=torch.Generator().manual_seed(0)))


def test_weights_tilt_the_density():
    """A normal density times another is normal."""
    x = plain().sample(8000, log_weight=lambda x: -1.5 * x[:, 0] ** 2, generator=torch.Generator().manual_seed(0))
    assert abs(x[:, 0].var() - 1 / 4) < 0.02 and abs(x[:, 1].var() - 1) < 0.07
    curved = model_of("flow", metric=nn.MetricNet(2, (8,)))
    S = lambda x: curved(x).scalar_curvature().abs()
    calm = curved.sample(500, log_weight=lambda x: -5 * S(x))
    assert S(calm).mean() < S(curved.sample(500)).mean()


# -------------------------------------------------------------------------------------------------------- the geometry


def test_geodesics_of_a_flat_chart_are_straight_there():
    model, t = model_of("flow"), torch.linspace(-0.5, 1.5, 9, dtype=torch.float64)
    a, b = model.sample(6).chunk(2)
    curve = model.interpolate(a, b, t)
    assert_equal(curve[2], a)
    assert_equal(curve[6], b)
    assert_equal(model.map(curve).diff(dim=0).diff(dim=0), torch.zeros(7, 3, 2))
    h = 1e-3  # and of the data they obey the geodesic equation
    left, at, right = model.interpolate(a, b, [0.4 - h, 0.4, 0.4 + h])
    bends = rm.geodesic_acceleration(model.data_metric, at, (right - left) / (2 * h))
    assert_equal((right - 2 * at + left) / h**2, bends, rtol=1e-5)


def test_geodesics_of_a_sphere_are_great_circles():
    model, t = plain(sphere), torch.linspace(0, 1, 5, dtype=torch.float64)
    a, b = 0.5 * points(2, 3, n=2)
    A, B = on_sphere(a), on_sphere(b)
    angle = torch.linalg.vecdot(A, B)[:, None].arccos()
    s = t[:, None, None]
    truth = (torch.sin((1 - s) * angle) * A + torch.sin(s * angle) * B) / torch.sin(angle)
    curve = model.interpolate(a, b, t)
    assert_equal(on_sphere(curve), truth, rtol=1e-8)
    assert_equal(model.interpolate(a, b, t, metric=sphere), curve, rtol=1e-8)
    for given in ({}, {"metric": sphere}):
        assert_equal(on_sphere(model.interpolate(a, b, t, sides=64, **given)), truth, rtol=1e-3)


def test_polygons_converge_in_any_chart():
    """To the geodesic of a learned metric, with the square of the sides; one pair as a batch of them."""
    model = model_of("flow", metric=nn.MetricNet(2, (8,)), std=0.4)
    a, b = model.sample(4, generator=torch.Generator().manual_seed(3)).chunk(2)
    t = [0.25, 0.5]
    truth = model.interpolate(a, b, t)
    errors = [(model.interpolate(a, b, t, sides=k) - truth).abs().max() for k in (4, 16)]
    assert errors[1] < errors[0] / 6
    same = model.interpolate(a, a, t, sides=2)
    assert_equal(same, a.expand(2, *a.shape))
    one = model.interpolate(a[0], b[0], t, sides=16)
    assert one.shape == (2, 2) and (one - truth[:, 0]).abs().max() < 2 * errors[1]


def test_the_metric_of_a_density():
    model, x = plain(), points(20, n=2)
    g = rm.at(model.density_metric(2.0, mass=0.9), x, 0).g
    ratio = torch.exp(-0.5 * x.square().sum(-1)) / 0.1
    assert_equal(g, (1 + ratio)[:, None, None] ** -2 * torch.eye(2), rtol=2e-2)
    assert_equal(model.density_metric(0.0)(x[0]), torch.eye(2))
    for kind in KINDS:  # curvature of it is that of its values, however they are made
        model = model_of(kind)
        metric = model.density_metric(0.5)
        assert_equal(
            rm.scalar_curvature(metric, x[:3]), rm.scalar_curvature(lambda x, m=metric: m(x), x[:3]), rtol=1e-6
        )


def test_short_paths_keep_to_the_data():
    """On a ring, around the hole."""
    model = plain(classes=12)
    angle = torch.arange(12) * math.pi / 6
    ring = lambda angle: 6 * torch.stack((angle.cos(), angle.sin()), -1).double()
    model.means.copy_(ring(angle))
    a, b = ring(torch.tensor([0.1])), ring(torch.tensor([2.7]))
    path = model.interpolate(a, b, torch.linspace(0, 1, 30), metric=model.density_metric(2.0), sides=24)
    assert torch.equal(path[0], a) and torch.equal(path[-1], b)
    assert (path.norm(dim=-1) > 4).all() and torch.lerp(a, b, 0.5).norm() < 2


# ----------------------------------------------------------------------------------------------------- as a module


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihood_trains_all(kind):
    torch.manual_seed(0)
    model, x = copy.deepcopy(model_of(kind)).float().train().requires_grad_(True), torch.randn(200, 2) ** 3
    model.start_at(x)
    model.log_prob(x).mean().backward()
    for name, p in model.named_parameters():
        has = name != "log_weights" or model.classes > 1  # one class has all the weight
        assert p.grad is not None and bool(p.grad.any()) == has, name
    with torch.autocast("cpu", torch.bfloat16):
        assert_equal(model.eval().log_prob(x).detach(), copy.deepcopy(model).log_prob(x).detach())
    assert model.log_prob(x).dtype == torch.float32


def test_states_tell_configurations_apart():
    model, x = model_of("mixture by volume"), points(5, n=2)
    again = nn.GenerativeManifold.from_config(model.config).double().eval()
    assert again.metric is not model.metric
    again.load_state_dict(model.state_dict())
    assert_equal(again.log_prob(x), model.log_prob(x), rtol=1e-12)
    seeded = lambda m: m.sample(20, generator=torch.Generator().manual_seed(5))
    assert_equal(seeded(again), seeded(model), rtol=1e-12)
    with pytest.raises(ValueError, match="`log_scale` is 2.0 here and 1.0 there"):
        nn.GenerativeManifold.from_config({**model.config, "log_scale": 2.0}).load_state_dict(model.state_dict())


def test_in_training_normalisers_are_drawn_anew():
    model, x = model_of("volume").train(), points(5, n=2)
    assert not torch.equal(model.log_prob(x), model.log_prob(x))
    assert_equal(model.log_prob(x), model.eval().log_prob(x), rtol=1e-2)


def test_where_no_geodesic_is_found():
    """Between the halves of a plane without its middle."""
    model = plain(lambda x: torch.eye(2, dtype=x.dtype) / x[1] ** 2)
    a, b = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).double(), torch.tensor([[0.0, -1.0], [0.0, 2.0]]).double()
    found = model.interpolate(a, b, [0.5], throw=False, max_iterations=4, max_steps=50)[0]
    assert found[0].isnan().all()
    assert_equal(found[1], torch.tensor([0.0, 2**0.5]).double(), rtol=1e-6)


def test_a_volume_without_a_mean_is_told():
    model = plain(lambda x: torch.eye(2, dtype=x.dtype) * torch.exp(x @ x), coupling="volume")
    with pytest.warns(UserWarning, match="log Z is known to"):
        model.log_prob(points(3, n=2))


def test_no_samples():
    for kind in KINDS:
        model = model_of(kind)
        assert model.sample(0).shape == model.sample(0, 0).shape == model.sample_uniform(0).shape == (0, 2)


@pytest.mark.unshaped
@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda m: m.log_prob(torch.ones(4, 3)), ValueError, "shape \\(4, 3\\), expected \\(\\*batch, 2\\)"),
        (lambda m: m.log_prob(torch.ones(4, 2), 3), ValueError, "expected classes 0 to 2"),
        (lambda m: m.log_prob(torch.ones(4, 2), torch.tensor([0.5] * 4)), TypeError, "expected whole numbers"),
        (lambda m: m.log_prob(torch.ones(4, 2), torch.tensor([1, 2])), ValueError, "shape \\(2,\\), expected \\(4,\\)"),
        (lambda m: m.log_prob(torch.ones(4, 2).double()), TypeError, "but the model is of torch.float32"),
        (lambda m: m.sample(-1), ValueError, "`num_samples` is -1"),
        (lambda m: m.sample(5, torch.tensor([0, 1])), ValueError, "`condition` has shape \\(2,\\)"),
        (lambda m: m.sample_uniform(5, torch.tensor([0, 1])), ValueError, "expected one class"),
        (lambda m: m.sample_uniform(5, mass=1.0), ValueError, "`mass` is 1.0"),
        (lambda m: m.sample(5, log_weight=lambda x: x[:, 0] * torch.nan), ValueError, "NaN or infinite"),
        (lambda m: m.sample(5, log_weight=lambda x: x[:, 0] - torch.inf), ValueError, "0 of .* proposals were kept"),
        (lambda m: m.interpolate(*torch.eye(2), [2.0], metric=sphere, sides=4), ValueError, "`t` is not between"),
        (lambda m: m.interpolate(*torch.eye(2), 0.5, metric=sphere, sides=1), ValueError, "`sides` is 1"),
        (lambda m: m.start_at(torch.ones(1, 2)), ValueError, "1 points or is not finite"),
        (lambda m: m.start_at(torch.ones(4, 2), torch.tensor([1, 2])), ValueError, "shape \\(2,\\), expected \\(4,\\)"),
        (lambda m: nn.GenerativeManifold(2, coupling="volume"), ValueError, "give a `metric`"),
        (lambda m: nn.GenerativeManifold(2, coupling="fisher"), ValueError, "expected 'volume' or None"),
        (lambda m: nn.GenerativeManifold(2, classes=0), ValueError, "`classes` is 0"),
        (lambda m: nn.GenerativeManifold(2, activation=torch.nn.ReLU), ValueError, "kinks"),
    ],
)  # fmt: skip
def test_messages(call, error, words):
    with pytest.raises(error, match=words):
        call(nn.GenerativeManifold(2, classes=3, depth=2))
