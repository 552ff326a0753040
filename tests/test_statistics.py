"""Means, regression, principal geodesics and clusters on curved spaces, against closed forms."""

import numpy as np
import pytest
import torch

import riemann as rm
from riemann.metrics import Conformal
from riemann.spaces import hyperbolic, sphere

D = torch.float64


def tensor(*values):
    return torch.tensor(values, dtype=D)


HALF_PLANE = Conformal(None, lambda x: -torch.log(x[1]))
FLAT = Conformal(None, lambda x: 0 * x[0])


def embedded(x):
    """Of the stereographic coordinates: the unit sphere in space."""
    square = (x * x).sum(-1, keepdim=True)
    return torch.cat((2 * x, 1 - square), -1) / (1 + square)


def stereographic(x):
    return 4 * torch.eye(2, dtype=x.dtype) / (1 + x @ x) ** 2


def test_the_mean_of_two_points_is_halfway():
    a, b = tensor(0.3, 0.5), tensor(1.5, 2.0)
    m = rm.frechet_mean(HALF_PLANE, torch.stack((a, b)))
    half = rm.exp_map(HALF_PLANE, a, rm.log_map(HALF_PLANE, a, b) / 2)
    torch.testing.assert_close(m, half, atol=1e-8, rtol=1e-8)
    quarter = rm.frechet_mean(HALF_PLANE, torch.stack((a, b)), tensor(3.0, 1.0))
    part = rm.exp_map(HALF_PLANE, a, rm.log_map(HALF_PLANE, a, b) / 4)
    torch.testing.assert_close(quarter, part, atol=1e-8, rtol=1e-8)


def test_means_on_the_sphere_and_of_matrices():
    """On the sphere by the closed logarithm; of commuting matrices the mean is the geometric one."""
    x = torch.stack((tensor(0.1, 0.2), tensor(0.5, -0.3), tensor(-0.4, 0.3)))
    m = rm.frechet_mean(stereographic, x)
    p, q = embedded(m), embedded(x)
    cos = q @ p
    logs = (q - cos[:, None] * p) * (torch.arccos(cos) / torch.sin(torch.arccos(cos)))[:, None]
    torch.testing.assert_close(logs.sum(0), torch.zeros(3, dtype=D), atol=1e-8, rtol=0)
    variance = rm.frechet_variance(stereographic, x)
    torch.testing.assert_close(variance, torch.arccos(cos).square().mean(), atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(rm.frechet_variance(stereographic, x, mean=m), variance, atol=1e-8, rtol=1e-8)

    def spd(x):  # tr(P^-1 dP P^-1 dP) of [[a, b], [b, c]]
        P = torch.stack([x[0], x[1], x[1], x[2]]).reshape(2, 2)
        E = torch.tensor([[[1.0, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]]], dtype=x.dtype)
        A = torch.linalg.inv(P) @ E
        return torch.einsum("iab,jba->ij", A, A)

    diagonal = torch.stack((tensor(1.0, 0.0, 2.0), tensor(2.0, 0.0, 0.5), tensor(3.0, 0.0, 1.0)))
    geometric = diagonal[:, [0, 2]].log().mean(0).exp()
    m = rm.frechet_mean(spd, diagonal)
    torch.testing.assert_close(m, tensor(geometric[0], 0.0, geometric[1]), atol=1e-8, rtol=1e-8)


@pytest.mark.slow
def test_means_are_batched_and_differentiable():
    """The implicit derivatives are those of differences."""
    torch.manual_seed(0)
    ball = hyperbolic(2, model="ball")
    x = 0.6 * torch.rand(2, 4, 2, dtype=D) - 0.3
    w = torch.rand(2, 4, dtype=D) + 0.5
    for leaf in (x, w):
        leaf.requires_grad_()
    m = rm.frechet_mean(ball, x, w)
    torch.testing.assert_close(m[1], rm.frechet_mean(ball, x[1].detach(), w[1].detach()), atol=1e-9, rtol=1e-9)
    c = tensor(0.3, 0.7)
    dx, dw = torch.autograd.grad((m @ c).sum(), (x, w))
    h, e = 1e-4, torch.zeros_like(x)
    e[0, 1, 0] = h
    with torch.no_grad():
        difference = ((rm.frechet_mean(ball, x + e, w) - rm.frechet_mean(ball, x - e, w)) @ c).sum() / (2 * h)
        torch.testing.assert_close(dx[0, 1, 0], difference, atol=1e-6, rtol=1e-6)
        e = e[..., 0]
        difference = ((rm.frechet_mean(ball, x, w + e) - rm.frechet_mean(ball, x, w - e)) @ c).sum() / (2 * h)
        torch.testing.assert_close(dw[0, 1], difference, atol=1e-6, rtol=1e-6)
    by_transform = torch.func.grad(lambda x: (rm.frechet_mean(ball, x, w.detach()) @ c).sum())(x.detach())
    torch.testing.assert_close(by_transform, dx)


def test_a_point_without_weight_need_not_be_reached():
    x = torch.stack((tensor(0.0, 1.0), tensor(0.0, 4.0), tensor(1e6, 1e-6)))
    m = rm.frechet_mean(HALF_PLANE, x, tensor(1.0, 1.0, 0.0))
    torch.testing.assert_close(m, tensor(0.0, 2.0), atol=1e-8, rtol=1e-8)


def test_what_is_not_found_has_a_status():
    x = torch.stack((tensor(1.5, 0.0), tensor(1.5, 1.0), tensor(0.7, 0.4)))
    record = rm.frechet_mean(sphere(2), x, max_iterations=1, throw=False)
    assert int(record.status) == rm.Status.NOT_CONVERGED and bool(record.point.isnan().all())
    with pytest.raises(RuntimeError, match="last step was .* `throw=False`"):
        rm.frechet_mean(sphere(2), x, max_iterations=1)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: rm.frechet_mean(HALF_PLANE, tensor(0.0, 1.0)), r"\(\*batch, N, n\)"),
        (lambda: rm.frechet_mean(HALF_PLANE, torch.ones(3, 2), torch.tensor([1.0, -1.0, 1.0])), "not negative"),
        (lambda: rm.frechet_mean(HALF_PLANE, torch.ones(3, 2), torch.zeros(3)), "not all of them 0"),
        (lambda: rm.frechet_mean(HALF_PLANE, torch.ones(3, 2), torch.ones(4)), r"`weights` has shape \(4,\)"),
        (lambda: rm.frechet_mean(HALF_PLANE, torch.zeros(2, 2)), "not positive definite"),
        (lambda: rm.frechet_mean(rm.spaces.minkowski(), torch.ones(3, 4)), "not positive definite"),
        (lambda: rm.principal_geodesics(FLAT, torch.ones(3, 2), 3), "no more directions"),
        (lambda: rm.k_means(FLAT, torch.ones(3, 2), 4), "there are 3 points"),
        (lambda: rm.geodesic_regression(FLAT, torch.ones(3), torch.ones(3, 2)), "not all the same"),
        (lambda: rm.frechet_mean(FLAT, torch.ones(3, 2), start=torch.ones(3)), r"`start` has shape \(3,\), .* \(2,\)"),
        (lambda: rm.frechet_variance(FLAT, torch.ones(4, 3, 2), mean=torch.ones(3, 2)), r"`mean` .* \(4, 2\), a point"),
        (lambda: rm.frechet_variance(FLAT, torch.ones(3, 2), mean=[0.0, 1.0]), r"`torch.as_tensor\(mean"),
        (lambda: rm.frechet_mean(FLAT, torch.ones(3, 2), steps=3), "no option `steps`; those of `log_map` are .*rtol"),
        (lambda: rm.k_means(FLAT, torch.ones(3, 2), 2, seed=3), "no option `seed`"),
        (lambda: rm.k_means(FLAT, 2, torch.ones(3, 2)), "in this order: metric, points, k"),
        (lambda: rm.geodesic_regression(FLAT, torch.ones(3, 2), torch.arange(3.0)), "swapped; write the times first"),
        (lambda: rm.geodesic_regression(torch.arange(3.0), torch.ones(3, 2), FLAT), "metric is the first .* the third"),
        (lambda: rm.geodesic_regression(FLAT, torch.arange(3), torch.ones(3, 2)), r"use `t.to\(points\)`"),
        (lambda: rm.principal_geodesics(FLAT, torch.ones(3, 2), mean=[0.0, 1.0]), r"`torch.as_tensor\(mean"),
        (
            lambda: rm.distance(torch.ones(2), torch.ones(2), FLAT),
            "`y` is a Conformal, .* metric is the first argument",
        ),
        (lambda: rm.geodesic_regression(FLAT, torch.arange(3.0), torch.ones(3, 2), tol=3), "no option `tol`"),
    ],
)
@pytest.mark.unshaped
def test_what_makes_no_sense(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_means_in_single_precision():
    """Whose sums of squares round long before their slopes do."""
    torch.manual_seed(0)
    x = torch.cat((0.3 * torch.randn(6, 5, 2, dtype=D), 0.5 + torch.rand(6, 5, 1, dtype=D)), -1)
    space = Conformal(None, lambda x: -torch.log(x[2]))
    torch.testing.assert_close(rm.frechet_mean(space, x.float()).double(), rm.frechet_mean(space, x), atol=1e-4, rtol=0)


def test_regression():
    """Points on a geodesic give it back; in a flat space it is linear regression; derivatives are implicit."""
    t = tensor(0.0, 0.4, 1.0)
    p, v = tensor(0.1, 1.0), tensor(0.8, 0.5)
    points = rm.geodesic(HALF_PLANE, p, v, t).points
    fit = rm.geodesic_regression(HALF_PLANE, t, points)
    torch.testing.assert_close(torch.cat((fit.point, fit.velocity)), torch.cat((p, v)), atol=1e-7, rtol=1e-7)
    assert float(fit.variance) < 1e-14 and float(fit.r_squared(HALF_PLANE, points)) > 1 - 1e-12
    torch.manual_seed(1)
    y = torch.randn(2, 3, 2, dtype=D)
    fit = rm.geodesic_regression(FLAT, t, y)
    A = torch.stack((torch.ones_like(t), t), -1)
    line = torch.linalg.pinv(A) @ y
    torch.testing.assert_close(torch.stack((fit.point, fit.velocity), 1), line, atol=1e-8, rtol=1e-8)

    noisy = (points + 0.03 * torch.randn(3, 2, dtype=D)).requires_grad_()
    c = tensor(0.3, -0.4)
    fit = rm.geodesic_regression(HALF_PLANE, t, noisy)
    (d,) = torch.autograd.grad(fit.point @ c + fit.velocity @ c, noisy)
    e = torch.zeros_like(noisy)
    e[1, 0] = h = 1e-4
    with torch.no_grad():
        up, down = (rm.geodesic_regression(HALF_PLANE, t, noisy + s * e) for s in (1, -1))
    difference = ((up.point - down.point) @ c + (up.velocity - down.velocity) @ c) / (2 * h)
    torch.testing.assert_close(d[1, 0], difference, atol=1e-6, rtol=1e-6)


def test_principal_geodesics():
    """Points on one geodesic vary along it alone, by the variance of their parameters."""
    t = tensor(-1.0, -0.2, 0.3, 0.9)
    p, v = tensor(0.0, 1.0), tensor(0.6, 0.8)  # of unit length there
    points = rm.geodesic(HALF_PLANE, p, v, t).points
    found = rm.principal_geodesics(HALF_PLANE, points)
    torch.testing.assert_close(found.variances, tensor(t.var(correction=0), 0.0), atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(found.explained, tensor(1.0, 0.0), atol=1e-8, rtol=1e-8)
    g = HALF_PLANE(found.mean)
    torch.testing.assert_close(found.directions @ g @ found.directions.mT, torch.eye(2, dtype=D))
    torch.testing.assert_close(found.scores[:, 0].abs(), (t - t.mean()).abs(), atol=1e-8, rtol=1e-8)
    assert rm.principal_geodesics(HALF_PLANE, points, 1).directions.shape == (1, 2)


def test_a_cluster_without_points_keeps_its_centre():
    x = tensor(1.0, 2.0).expand(3, 2)
    found = rm.k_means(FLAT, x, 2, generator=torch.Generator().manual_seed(0))
    assert int(found.status) == 0 and float(found.variance) == 0
    torch.testing.assert_close(found.centres, x[:2])


@pytest.mark.slow
def test_clusters():
    """Two groups that the metric tells apart and the coordinates do not: near the edge of the half plane."""
    low = torch.stack((tensor(0.0, 0.02), tensor(0.01, 0.02), tensor(0.0, 0.03)))
    high = torch.stack((tensor(0.0, 0.5), tensor(0.2, 0.7), tensor(0.1, 0.6)))
    x = torch.cat((low, high)).requires_grad_()
    found = rm.k_means(HALF_PLANE, x, 2, generator=torch.Generator().manual_seed(0))
    labels = found.labels
    assert int(found.status) == 0
    assert bool((labels[:3] == labels[0]).all()) and bool((labels[3:] == 1 - labels[0]).all())
    mean = rm.frechet_mean(HALF_PLANE, low)
    torch.testing.assert_close(found.centres[labels[0]], mean, atol=1e-8, rtol=1e-8)
    (d,) = torch.autograd.grad(found.centres[labels[0]].sum(), x)
    assert bool((d[:3] != 0).any()) and bool((d[3:] == 0).all())


@pytest.mark.parametrize("n, far", [(2, 3.0), (5, 0.7)])
def test_the_mean_of_a_learned_metric_is_where_logarithms_add_up_to_nothing(n, far):
    """Geodesics are followed as the mean moves; those in more dimensions have few nodes, and some are shot."""
    net = torch.nn.Sequential(torch.nn.Linear(n, 16), torch.nn.Tanh(), torch.nn.Linear(16, n * n)).double()

    def metric(x):
        A = net(far * x).reshape(n, n)
        return 0.1 * torch.eye(n, dtype=x.dtype) + A @ A.T

    x = 1.5 * torch.randn(2, 4, n, dtype=torch.float64)
    w = torch.rand(2, 4, dtype=torch.float64)
    with torch.no_grad():
        m = rm.frechet_mean(metric, x, w)
        v = rm.log_map(metric, m[:, None], x)
    force = torch.einsum("bN,bNi->bi", w / w.sum(-1, keepdim=True), v)
    assert force.abs().max() < 3e-8 and (m - torch.einsum("bN,bNi->bi", w, x) / w.sum(-1, keepdim=True)).norm() > 0.01


def test_a_mean_at_a_pole_of_the_chart_is_refused_soon():
    """Points around the pole: no step towards it reaches all of them, in polar coordinates."""
    turns = tensor(0.0, 2.1, 4.2)
    ring = torch.stack([torch.full_like(turns, 0.3), turns], -1)
    calls = []

    def sphere(x):
        calls.append(0)
        return torch.diag(torch.stack([torch.ones_like(x[0]), x[0].sin() ** 2]))

    found = rm.frechet_mean(sphere, ring, throw=False)
    assert found.status == rm.Status.SINGULAR and found.point.isnan().all() and len(calls) < 3000
    assert "pole of the coordinates" in found.message and "write the metric in coordinates" in found.message


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_clusters_of_few_points_near_each_other(seed):
    """Half the variance is known to the tolerance of logarithms, by their lengths; `k` may be NumPy's."""
    x = tensor((1.0, 0.2), (1.2, 0.4), (0.9, 0.1), (1.1, 0.5))
    polar = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
    found = rm.k_means(polar, x, np.int64(2), generator=torch.Generator().manual_seed(seed))
    labels = found.labels
    assert labels[0] == labels[2] != labels[1] == labels[3]
