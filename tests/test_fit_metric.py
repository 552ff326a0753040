"""Metrics from trajectories: the truth of known families, with the deviations that are claimed; nets; messages."""

import warnings
from types import SimpleNamespace

import pytest
import torch

import riemann as rm
from riemann_nn import FittedMetric, MetricNet, fit_metric
from riemann_nn._discovery.distances import geodesics, lengths
from riemann_nn._discovery.motion import Motion, flow, flow_and_derivatives
from tests.fields import D
from tests.helpers import assert_equal


class Family(torch.nn.Module):
    """A metric of a few numbers."""

    def __init__(self, *numbers):
        super().__init__()
        self.p = torch.nn.Parameter(torch.tensor(numbers, dtype=D))


class Bowl(Family):
    def forward(self, x):
        return torch.diag(torch.stack([self.p[2] + self.p[0] * x[1] ** 2, self.p[1] + x[0] ** 2]))


class Power(Family):
    """The half plane for p = 2, times a scale that nothing shows."""

    def forward(self, x):
        return self.p[1] * torch.eye(2, dtype=x.dtype) / x[1] ** self.p[0]


class Revolution(Family):
    def forward(self, x):
        r = 1 + self.p[0] * torch.exp(-self.p[1] * x[0] ** 2)
        return torch.diag(torch.stack([torch.ones_like(r), r**2]))


def around(middle):
    return lambda N: torch.rand(N, 2, dtype=D) * 3 - 1.5 + torch.tensor(middle, dtype=D)


FAMILIES = {
    "bowl": (Bowl(0.7, 1.5, 1.0), Bowl(0.1, 1.0, 1.0), around([0.0, 0.0])),
    "power": (Power(2.0, 1.0), Power(1.0, 1.0), around([0.0, 3.0])),
    "revolution": (Revolution(1.0, 0.5), Revolution(0.3, 1.0), around([0.0, 0.0])),
}


def motions(metric, where, N, T, noise, time=1.5):
    t = torch.linspace(0, time, T, dtype=D)
    with torch.no_grad():
        y = rm.geodesic(metric, where(N), torch.randn(N, 2, dtype=D), t).points.transpose(0, 1)
    return y + noise * torch.randn_like(y), t


def deviations(name, noise):
    true, start, where = FAMILIES[name]
    y, t = motions(true, where, 8, 25, noise)
    fitted = fit_metric(y, t, start)
    off = (fitted.metric.p - true.p).detach() / fitted.uncertainty.parameters
    return fitted, off[:1] if name == "power" else off


@pytest.mark.parametrize("name", FAMILIES)
def test_the_truth_within_its_deviation(name):
    fitted, off = deviations(name, 0.01)
    assert float(off.abs().max()) < 4 and fitted.report.converged
    assert_equal(fitted.report.noise / 0.01, torch.ones(2, dtype=D), rtol=0.25)
    assert fitted.report.scale_is_free == (name == "power")


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.003, 0.03])
@pytest.mark.parametrize("name", FAMILIES)
def test_deviations_are_those_of_many_fits(name, noise):
    off = torch.stack([deviations(name, noise)[1] for _ in range(20)])
    assert 0.6 < float(off.square().mean().sqrt()) < 1.35
    assert float((off.abs() < 2).double().mean()) > 0.8  # 0.95 less three deviations of 20 independent fits
    assert float(off.abs().max()) < 4


def test_motions_are_geodesics_of_the_metric_found():
    true, start, where = FAMILIES["bowl"]
    y, t = motions(true, where, 4, 20, 0.02)
    fitted = fit_metric(y.float(), t.float(), start)
    again = rm.geodesic(fitted.metric, fitted.points[:, 0], fitted.velocities[:, 0], t)
    assert_equal(again.points.transpose(0, 1), fitted.points, rtol=1e-4)  # 0.005 of the noise
    misfit = lambda points: float((points - y).square().sum())
    least = misfit(fitted.points)
    for shift in (0.02, -0.02):  # no other first states do better
        with torch.no_grad():
            other = rm.geodesic(fitted.metric, fitted.points[:, 0], fitted.velocities[:, 0] + shift, t)
        assert misfit(other.points.transpose(0, 1)) > least
    assert start.p[0] == 0.1 and start.p.grad is None  # a copy is fitted


def test_exact_motions_and_the_scale_that_nothing_shows():
    true, start, where = FAMILIES["power"]
    y, t = motions(true, where, 3, 15, 0.0)
    fitted = fit_metric(y, t, Power(1.0, 7.0))
    assert_equal(fitted.metric.p.detach(), torch.tensor([2.0, 7.0], dtype=D), rtol=1e-6)
    uncertain = fitted.uncertainty
    assert uncertain.parameters[0] < 1e-5 and uncertain.parameters[1] == torch.inf and uncertain.scale_is_free
    x = y[0, :3]
    assert bool((uncertain.standard_deviation(rm.scalar_curvature, x) < 1e-3).all())  # at the scale of the fit
    assert "1 of 2 parameters are identified" in str(fitted.report)


def test_deviations_of_functions_are_those_of_draws():
    true, start, where = FAMILIES["power"]
    y, t = motions(true, where, 6, 20, 0.01)
    uncertain = fit_metric(y, t, start).uncertainty
    x = y[:2, 3]
    drawn = uncertain.draw(100, torch.Generator().manual_seed(0))
    with torch.no_grad():
        spread = torch.stack([rm.scalar_curvature(g, x) for g in drawn]).std(0)
        volumes = torch.stack([rm.log_volume_element(g, uncertain.sample).mean() for g in drawn])
    assert_equal(uncertain.standard_deviation(rm.scalar_curvature, x) / spread, torch.ones(2, dtype=D), rtol=0.3)
    assert float(volumes.std()) < 1e-9
    assert uncertain.of_metric(x).shape == (2, 2, 2)
    with pytest.raises(ValueError, match="has no gradient to the parameters"):
        uncertain.standard_deviation(lambda g, x: rm.at(g, x, 0).g.detach(), x)


class Spring(Family):
    def forward(self, x):
        return 0.5 * self.p[0] * (x @ x)


class Plane(Family):
    def forward(self, x):
        return torch.eye(2, dtype=x.dtype) + 0 * self.p[0] + self.p[0] * torch.outer(x, x)


def test_a_potential_and_jacobi_s_metric():
    t = torch.linspace(0, 2, 25, dtype=D)
    phase = torch.rand(6, 2, dtype=D) * 6
    y = torch.cos(2**0.5 * t.unsqueeze(-1) + phase.unsqueeze(1)) + 0.003 * torch.randn(6, 25, 2, dtype=D)
    fitted = fit_metric(y, t, Plane(0.1), potential=Spring(1.0), energy=4.0)
    plane, spring = fitted.metric.metric.p.detach(), fitted.potential.p.detach()
    off = torch.cat((plane, spring - 2)) / fitted.uncertainty.parameters
    assert float(off.abs().max()) < 4
    x = torch.tensor([[0.3, 0.4]], dtype=D)
    assert_equal(rm.at(fitted.metric, x, 0).g[0], 2 * (4 - 0.25) * torch.eye(2, dtype=D), rtol=0.03)
    with pytest.raises(ValueError, match="`energy` is 0.1, but the potential is"):
        fit_metric(y, t, Plane(0.1), potential=Spring(1.0), energy=0.1)


def test_derivatives_of_a_step():
    motion = Motion(Bowl(0.7, 1.5, 1.0), Spring(0.8))
    states, steps = torch.randn(5, 4, dtype=D), torch.rand(5, dtype=D) * 0.2
    moved, slopes = flow_and_derivatives(motion, states, steps, 2)
    assert_equal(moved, flow(motion, states, steps, 2))
    direction, theta = torch.randn(5, 4, dtype=D), motion.theta
    other = torch.randn_like(theta)
    ends = []
    for h in (1e-5, -1e-5):
        motion.set(theta + h * other)
        ends.append(flow(motion, states + h * direction, steps, 2))
    both = torch.cat((direction, other.expand(5, -1)), -1)
    assert_equal((ends[0] - ends[1]) / 2e-5, torch.einsum("zij,zj->zi", slopes, both), rtol=1e-7)


def test_pieces_of_long_motions():
    true, start, where = FAMILIES["bowl"]
    y, t = motions(true, where, 4, 24, 0.005)
    fitted = fit_metric(y, t, start, longest=9)
    off = (fitted.metric.p - true.p).detach() / fitted.uncertainty.parameters
    assert float(off.abs().max()) < 4 and fitted.report.states == 4 * 3 * 4


def test_a_small_net_trains():
    true = lambda x: torch.exp(0.5 * x[0]) * torch.eye(2, dtype=x.dtype)
    y, t = motions(true, around([0.0, 0.0]), 4, 12, 0.01)
    fitted = fit_metric(y, t, MetricNet(2, (4,), family="conformal"), iterations=15, prior=True)
    assert float(fitted.report.noise.max()) < 0.02 and fitted.report.identified < fitted.report.parameters
    assert fitted.metric(y[0]).dtype == D


def test_a_net_of_more_parameters_than_numbers():
    true = lambda x: torch.exp(0.5 * x[0]) * torch.eye(2, dtype=x.dtype)
    y, t = motions(true, around([0.0, 0.0]), 3, 8, 0.01)
    fitted = fit_metric(y, t, MetricNet(2, (8, 8)), iterations=20)
    assert fitted.report.parameters > y.numel() and fitted.report.identified < 15
    assert float((fitted.points - y).square().mean().sqrt()) < 0.015


def measured(name, count, noise):
    """Distances between pairs of points, in a family's true metric."""
    true, _, where = FAMILIES[name]
    pairs = torch.stack((where(count), where(count)), 1)
    with torch.no_grad():
        d = rm.distance(true, *pairs.unbind(1))
    return pairs, d + noise * torch.randn_like(d)


@pytest.mark.parametrize("name", ["bowl", "power"])
def test_distances_show_the_metric_and_its_scale(name):
    true, start, _ = FAMILIES[name]
    pairs, d = measured(name, 8, 0.0)
    fitted = fit_metric(pairs=pairs, distances=d, metric=start)
    assert_equal(fitted.metric.p.detach(), true.p.detach(), rtol=1e-6)
    assert not fitted.report.scale_is_free and fitted.report.converged
    speeds = torch.einsum("...ij,...i,...j->...", rm.at(true, fitted.points, 0).g, *[fitted.velocities] * 2).sqrt()
    assert_equal(speeds, d.unsqueeze(1).expand_as(speeds), rtol=1e-4)  # they are geodesics, of those lengths


def test_noisy_distances_and_their_deviations():
    true, start, _ = FAMILIES["power"]
    pairs, d = measured("power", 40, 0.01)
    fitted = fit_metric(pairs=pairs.unbind(1), distances=d, metric=start)
    off = (fitted.metric.p - true.p).detach() / fitted.uncertainty.parameters
    assert float(off.abs().max()) < 4
    assert_equal(fitted.report.noise / 0.01, torch.ones(1, dtype=D), rtol=0.4)
    assert "Distances show the metric, its scale too" in str(fitted.report)


def test_derivatives_of_lengths():
    motion, (x, y) = Motion(Bowl(0.7, 1.5, 1.0)), measured("bowl", 2, 0.0)[0].unbind(1)
    bend, found = geodesics(motion, x, y, None)
    slopes, theta, change = lengths(motion, x, y, bend)[1], motion.theta, torch.randn(3, dtype=D)
    ends = []
    for h in (1e-4, -1e-4):
        motion.set(theta + h * change)
        ends.append(rm.distance(motion.metric, x, y).detach())
    assert bool(found.all())
    assert_equal((ends[0] - ends[1]) / 2e-4, slopes @ change, rtol=1e-5)


def test_distances_along_geodesics_that_are_not_the_shortest_are_said():
    true = FAMILIES["revolution"][0]
    pairs = torch.tensor([[[0.0, 0.0], [0.0, 3.0]], [[0.5, 0.0], [1.0, 0.5]]], dtype=D)
    d = rm.distance(true, *pairs.unbind(1), throw=False).length.detach()
    with pytest.warns(UserWarning, match="1 geodesics pass a point conjugate to their start"):
        fit_metric(pairs=pairs, distances=d, metric=Revolution(1.0, 0.5))


@pytest.mark.slow
def test_a_net_of_distances():
    true = lambda x: 5e6 * torch.exp(0.5 * x[0]) * torch.eye(2, dtype=x.dtype)
    pairs = torch.rand(80, 2, 2, dtype=D) * 3 - 1.5
    d = rm.distance(true, *pairs.unbind(1))
    fitted = fit_metric(pairs=pairs, distances=d + 20 * torch.randn_like(d))
    x = torch.rand(10, 2, dtype=D) * 2 - 1
    g, sure = rm.at(fitted.metric, x, 0).g.detach(), fitted.uncertainty.of_metric(x)
    off = (g - rm.at(true, x, 0).g) / sure
    assert float(off.square().mean().sqrt()) < 2.5 and float((sure / 5e6).max()) < 0.3


def test_the_bootstrap_of_linear_least_squares():
    """Refits of a problem that is linear: its covariance is known in the mean over resamples."""
    pairs = torch.randn(30, 2, 2, dtype=D)
    sizes = (pairs[:, 0] - pairs[:, 1]).norm(dim=-1)
    d = sizes * 1.3 * (1 + 0.02 * torch.randn(30, dtype=D))  # the noise grows with the distance
    fitted = fit_metric(pairs=pairs, distances=d, metric=Flat(1.0), uncertainty="bootstrap", resamples=60)
    assert_equal(fitted.metric.p.detach(), ((sizes @ d) / (sizes @ sizes)).reshape(1), rtol=1e-6)
    rest = d - fitted.metric.p.detach() * sizes
    sandwich = (sizes * rest).norm() / (sizes @ sizes)
    assert_equal(fitted.uncertainty.parameters, sandwich.reshape(1), rtol=0.4)


class Flat(Family):
    def forward(self, x):
        return self.p[0] ** 2 * torch.eye(2, dtype=x.dtype)


def test_the_bootstrap_sees_that_noise_is_not_independent():
    """Trajectories shifted as a whole: Laplace's approximation takes their positions for many independent ones."""
    true, start, where = FAMILIES["power"]
    y, t = motions(true, where, 8, 10, 0.001)
    y = y + 0.03 * torch.randn(8, 1, 2, dtype=D)
    sure = [
        fit_metric(y, t, start, uncertainty=how, resamples=8).uncertainty.parameters[0]
        for how in ("laplace", "bootstrap")
    ]
    assert sure[1] > 1.5 * sure[0]


def test_a_prior_keeps_what_data_leave_open_uncertain():
    """Of a direction that nothing shows, refits keep the prior's deviation."""
    pairs = torch.randn(8, 2, 2, dtype=D)
    d = 2 * (pairs[:, 0] - pairs[:, 1]).norm(dim=-1) * (1 + 0.01 * torch.randn(8, dtype=D))
    options = {"metric": Twice(1.0, 1.0), "prior": True}
    laplace = fit_metric(pairs=pairs, distances=d, **options).uncertainty
    refits = fit_metric(pairs=pairs, distances=d, **options, uncertainty="bootstrap", resamples=30).uncertainty
    open_ = torch.tensor([1.0, -1.0], dtype=D) / 2**0.5
    assert_equal(
        (open_ @ refits.covariance @ open_) / (open_ @ laplace.covariance @ open_), torch.tensor(1.0), rtol=0.6
    )


class Twice(Family):
    def forward(self, x):
        return (self.p[0] + self.p[1]) * torch.eye(2, dtype=x.dtype)


def test_a_net_starts_anew_from_a_poor_minimum(monkeypatch):
    """Of starts that fit badly, the best is kept; a good one ends the search."""
    tried = []

    def fitted(motion, prior, y, *rest):
        tried.append(motion)
        return SimpleNamespace(
            excess=(9.0, 1.2, 0.0)[len(tried) - 1], record=lambda *_: FittedMetric(motion.metric, *[None] * 4)
        )

    monkeypatch.setattr("riemann_nn._discovery.fit_metric.to_motions", fitted)
    y, t = motions(FAMILIES["bowl"][0], around([0.0, 0.0]), 3, 5, 0.01)
    assert fit_metric(y, t).metric is tried[1].metric and len(tried) == 2
    assert not torch.equal(tried[0].theta, tried[1].theta)
    tried.clear()
    assert fit_metric(y, t, restarts=0).metric is tried[0].metric


@pytest.mark.slow
def test_another_start_leaves_a_poor_minimum():
    """Of these motions the net's first start ends at many times the noise, and says so; the next one finds it."""
    torch.manual_seed(2)
    t = torch.linspace(0, 2, 10, dtype=D)
    x, v = torch.rand(5, 2, dtype=D) * 2 - 1, torch.randn(5, 2, dtype=D)
    y = rm.geodesic(Revolution(1.0, 2.0), x, v, t).points.transpose(0, 1).detach()
    y, state = y + 0.002 * torch.randn(5, 10, 2, dtype=D), torch.get_rng_state()
    with pytest.warns(UserWarning, match="no metric of this family fits the data|did not converge"):
        stuck = fit_metric(y, t, iterations=10, restarts=0)
    torch.set_rng_state(state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of iterations, which are few
        found = fit_metric(y, t, iterations=10, restarts=2)
    assert float((stuck.report.noise / 0.002).max()) > 3
    assert float((found.report.noise / 0.002).max()) < 1.5


@pytest.mark.unshaped
def test_messages_of_distances():
    x, d = torch.rand(8, 2, 2, dtype=D), torch.rand(8, dtype=D) + 1
    for arguments, message in (
        ({"pairs": x[:, 0]}, r"`pairs` has shape \(8, 2\), expected \(N, 2, n\)"),
        ({"pairs": (x[:, 0], x[1:, 1])}, r"`pairs` have shapes \(8, 2\) and \(7, 2\), expected \(N, n\) both"),
        ({"distances": d[:3]}, r"`distances` has shape \(3,\), expected \(8,\)"),
        ({"distances": d - d}, "`distances` has 0 at 0, expected positive numbers"),
        ({"distances": d * torch.nan}, "`distances` has nan at 0, expected positive numbers"),
        ({"pairs": x / 0}, "`pairs` is not finite at 0"),
        ({"pairs": x[:, :1].expand(8, 2, 2)}, "`pairs` has the same point twice at 0"),
        ({"pairs": x * torch.tensor([1.0, 0.0])}, "`pairs` have the same coordinate 1 throughout"),
        ({"times": d}, "are given beside `times`, which is of motions"),
        ({"energy": 1.0}, "are given beside `energy`, which is of motions"),
        ({"uncertainty": "sandwich"}, "`uncertainty` is 'sandwich', expected 'laplace' or 'bootstrap'"),
        ({"pairs": x[:4], "distances": d[:4], "uncertainty": "bootstrap"}, "`pairs` are 4, too few to resample"),
        ({"metric": Lorentz(1.0)}, "`metric` is indefinite"),
        ({"resamples": 1}, "`resamples` is 1, expected a whole number, 2 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_metric(**{"pairs": x, "distances": d, **arguments})
    for arguments in ({"pairs": x}, {"distances": d}):
        with pytest.raises(TypeError, match="is a NoneType, expected a torch.Tensor"):
            fit_metric(**arguments)


class Lorentz(Family):
    def forward(self, x):
        return self.p[0] * torch.diag(torch.tensor([-1.0, 1.0], dtype=x.dtype))


@pytest.mark.unshaped
def test_messages():
    y, t = torch.rand(3, 8, 2, dtype=D), torch.arange(8.0)
    holes = y.clone()
    holes[1, 2, 0] = torch.nan
    for arguments, message in (
        ((y[0], t), r"`trajectories` has shape \(8, 2\), expected \(N, T, n\).*; of one motion use `trajectories.unsq"),
        ((y, t[:5]), r"`times` has shape \(5,\), expected \(8,\).*; cut or interpolate"),
        ((y[:, :2], t[:2]), "have 2 positions each, too few"),
        ((holes, t), r"`trajectories` is not finite at \[1, 2\]"),
        ((y, t * torch.nan), "`times` is not finite"),
        ((y, t.flip(0)), "`times` do not increase: 7 is followed by 6 at 1"),
        ((y[:, :1].expand(-1, 8, -1), t), "do not move"),
        ((y * torch.tensor([1.0, 0.0]), t), "have the same coordinate 1 throughout"),
        ((y, t, "spherical"), "`family` is 'spherical'"),
        ((y, t, torch.nn.Identity()), "has no parameters that require a gradient"),
        ((y, t, MetricNet(2, (200, 200))), "parameters and `trajectories` 24 positions: more than"),
        ((y, t, Power(1.0, 0.0)), "is not a metric at"),
        ((y - 0.5, t, Power(1.0, 1.0)), "changes its signature|is not a metric at"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_metric(*arguments)
    with pytest.raises(ValueError, match="`energy` is given without a `potential`"):
        fit_metric(y, t, energy=1.0)
    with pytest.raises(TypeError, match="`trajectories` is a list"):
        fit_metric(y.tolist(), t)
    with pytest.raises(TypeError, match="`trajectories` is a list, .* `torch.stack`, of parts cut to one shape"):
        fit_metric([y[0], y[1, :5]], t)
    with pytest.raises(TypeError, match="`times` has dtype torch.int64"):
        fit_metric(y, t.long())
    with pytest.raises(TypeError, match="`metric` is a function, expected the name of a family, or a torch.nn.Module"):
        fit_metric(y, t, lambda x: x)


def test_no_metric_fits_a_motion_with_friction():
    t = torch.linspace(0, 3, 30, dtype=D)
    slowing = (1 - torch.exp(-t)).unsqueeze(-1) * torch.randn(5, 1, 2, dtype=D) + torch.randn(5, 1, 2, dtype=D)
    with pytest.warns(UserWarning, match="no metric of this family fits the data|did not converge"):
        fit_metric(slowing, t, Bowl(0.1, 1.0, 1.0), iterations=15)
