"""Metrics found in data: symmetry as a loss, and metrics from trajectories."""

import pytest
import torch

import riemann as rm
from riemann_nn import MetricNet, symmetry_loss
from tests.fields import D
from tests.helpers import assert_equal

SPACES = {
    "plane": (lambda x: torch.eye(2), 1, 3),
    "half plane": (lambda x: torch.eye(2) / (x[1] + 2) ** 2, 2, 3),
    "sphere 3": (lambda x: 4 * torch.eye(3) / (1 + x @ x) ** 2, 2, 6),
    "revolution": (lambda x: (1 + x @ x) * torch.eye(2) + torch.outer(x, x), 1, 1),
}


@pytest.mark.parametrize("name", SPACES)
def test_symmetric_spaces_have_no_loss(name):
    metric, degree, count = SPACES[name]
    x = torch.rand(60, 3 if name == "sphere 3" else 2, dtype=D) * 2 - 1
    assert float(symmetry_loss(metric, x, count, degree=degree)) < 1e-24
    if count < x.shape[1] * (x.shape[1] + 1) // 2:
        assert float(symmetry_loss(metric, x, count + 1, degree=degree)) > 1e-3
    scaled = lambda x: 1e6 * metric(x) * (1 + x[0] ** 2 / 10 + x[0] * x[1] ** 3)
    one = lambda x: scaled(x) / 1e6
    assert_equal(symmetry_loss(scaled, x, 2), symmetry_loss(one, x, 2))


def test_the_loss_is_the_spectrum_of_killing_fields():
    metric = lambda x: torch.diag(torch.stack([2 + torch.sin(x[1]) * x[0], 3 + x[0] * x[1]]))
    x = torch.rand(2, 30, 2, dtype=D)
    basis = lambda x: torch.stack([torch.ones_like(x[0]), x[0], x[1] ** 2])
    box = ((0, 1), (0, 1))
    both = torch.cat((x, x))  # each half of which need not be x: the sum over all is what is compared
    losses = torch.stack([symmetry_loss(metric, both, k, basis, box=box) for k in (1, 2, 3)])
    assert_equal(losses, torch.stack([symmetry_loss(metric, x, k, basis, box=box) for k in (1, 2, 3)]))
    found = rm.killing_fields(metric, box, basis, tolerance=9.0, num_points=4000)
    rough = symmetry_loss(metric, torch.rand(4000, 2, dtype=D), 1, basis, box=box)
    assert_equal(rough.sqrt(), found.spectrum[0], rtol=0.1)


@pytest.mark.parametrize("start", [False, True])
def test_its_gradient(start):
    """Against differences; and where all singular values are 0, at a flat start, it is 0 and not NaN."""
    net = MetricNet(2, (8,)).double()
    if not start:
        for p in net.parameters():
            torch.nn.init.normal_(p, std=0.5)
    x, parameters = torch.rand(40, 2, dtype=D), list(net.parameters())
    gradient = rm.recorded_gradients(symmetry_loss(net, x, 2, degree=1), parameters)
    direction = [torch.randn_like(p) for p in parameters]
    slope = sum((a * b).sum() for a, b in zip(gradient, direction, strict=True))
    values = []
    for h in (1e-4, -1e-4):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p += h * d
            values.append(symmetry_loss(net, x, 2, degree=1))
            for p, d in zip(parameters, direction, strict=True):
                p -= h * d
    assert_equal(slope, (values[0] - values[1]) / 2e-4, rtol=1e-6)
    assert start or abs(float(slope)) > 1e-6


def test_a_net_becomes_symmetric():
    """The penalty alone makes a symmetry out of none."""
    net = MetricNet(2, (8,)).double()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.7)
    x = torch.rand(60, 2, dtype=D) * 2 - 1
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-2)
    before = symmetry_loss(net, x, 1, degree=1).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = symmetry_loss(net, x, 1, degree=1)
        loss.backward()
        optimizer.step()
    assert before > 1e-2 and loss.item() < before / 30


@pytest.mark.unshaped
def test_messages_of_the_loss():
    plane, x = lambda x: torch.eye(2), torch.rand(40, 2, dtype=D)
    for arguments, message in (
        ((x, 4), "`k` is 4, but a metric in 2 dimensions has at most 3 independent Killing fields"),
        ((x, 0), "`k` is 0, expected a whole number, 1 or more"),
        ((x[:3], 1), "`x` has 3 points, too few for a basis of 12 fields: expected 8 or more"),
        ((x * torch.tensor([1.0, 0.0]), 1), "all `points` have the same coordinate 1"),
        ((x / 0, 1), "`x` is not finite"),
        ((x, 3, lambda x: torch.stack([torch.ones_like(x[0]), torch.ones_like(x[0])])), "the basis has 2 independent"),
        ((x, 1, "fourier"), "`basis` is 'fourier'"),
    ):
        with pytest.raises(ValueError, match=message):
            symmetry_loss(plane, *arguments)
    with pytest.raises(ValueError, match="is not a metric at"), pytest.warns(UserWarning, match="results are NaN"):
        symmetry_loss(lambda x: torch.diag(torch.sqrt(x - 0.5)), x, 1)
