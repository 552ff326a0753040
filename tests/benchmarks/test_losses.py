"""What curvature losses cost, forward and backward, and what they add to a step of training: `make bench`."""

import pytest
import torch

import riemann_nn as nn


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


CASES = [
    (16, 128, "scalar", "exact"),
    (64, 32, "scalar", "exact"),
    (16, 128, "sectional", "sampled"),
    (64, 32, "sectional", "sampled"),
    (256, 16, "sectional", "sampled"),
]


@pytest.mark.parametrize("n, points, kind, estimator", CASES)
def test_curvature_loss(benchmark, n, points, kind, estimator):
    benchmark.group = "curvature loss, forward and backward, float32"
    loss, x = nn.CurvatureLoss(nn.MetricNet(n), kind, estimator, num_samples=2), torch.randn(points, n)
    for p in loss.parameters():
        torch.nn.init.normal_(p, std=p.shape[-1] ** -0.5)

    def step():
        loss.zero_grad()
        loss(x).backward()

    benchmark.pedantic(step, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("geometry", ["without", "with the default schedule"])
def test_step_of_training(benchmark, geometry):
    benchmark.group = "20 steps of training, charts of 64, 32, 16 dimensions, batch 128"
    model = nn.NeuralDifferentialManifold(64, [64, 32, 16], 10)
    evolution = nn.EvolutionLoss(monitor=None)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = torch.randn(128, 64), torch.randint(10, (128,))

    def steps():
        for _ in range(20):
            optimizer.zero_grad()
            output, charts = model(x)
            loss = torch.nn.functional.cross_entropy(output, y)
            if geometry != "without":
                loss, _ = evolution(loss, charts)
            loss.backward()
            optimizer.step()

    benchmark.pedantic(steps, rounds=3, warmup_rounds=1)
