"""Trains on two processes and compares with one: losses, gradients and weights are the same.

    torchrun --standalone --nproc-per-node 2 examples/distributed.py

Without torchrun the script starts its two processes itself.
"""

import os
import subprocess
import sys

import torch
from torch.nn.parallel import DistributedDataParallel

import riemann_nn as nn

STEPS = 3


def training_step():
    torch.manual_seed(0)
    model = nn.NeuralDifferentialManifold(3, [4, 4], 3, metric_hidden=(16,), depth=2)
    evolution = nn.EvolutionLoss(
        curvature=0.3, volume=0.2, compatibility=0.1, fisher=0.1, cap=0.5, estimator="exact", points=None, every=1
    )
    return nn.TrainingStep(model.double(), torch.nn.functional.cross_entropy, evolution)


def metric_losses():
    torch.manual_seed(1)
    metric = nn.MetricNet(3, (16,)).double()
    for p in metric.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return [nn.CurvatureLoss(metric, kind="ricci"), nn.CurvatureLoss(metric, measure="points"), nn.VolumeLoss(metric)]


def history(wrap, share):
    """Losses, gradients and weights of a few steps on a share of the data."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(24, 3, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (24,), generator=generator)
    x, y = x[share], y[share]
    seen = []
    for loss in metric_losses():
        loss.zero_grad()
        wrapped = wrap(loss)
        value = wrapped(x)
        value.backward()
        seen += [value.detach(), *(p.grad.clone() for p in loss.parameters())]
    step = training_step()
    wrapped, optimizer = wrap(step), torch.optim.SGD(step.parameters(), lr=0.1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        total, parts = wrapped(x, y)
        total.backward()
        seen += [total.detach(), *parts.values(), *(p.grad.clone() for p in step.parameters())]
        optimizer.step()
    return [*seen, *(p.detach() for p in step.parameters())]


def main():
    alone = history(lambda module: module, slice(None))
    torch.distributed.init_process_group("gloo")
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    together = history(DistributedDataParallel, slice(rank, None, world))
    difference = max(float((a - b).abs().max() / (1 + a.abs().max())) for a, b in zip(alone, together, strict=True))
    torch.distributed.barrier()
    if rank == 0:
        verdict = "right" if difference < 1e-6 else "WRONG"
        print(f"{world} processes and one, {len(alone)} tensors: largest difference {difference:.1e}  {verdict}")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:
        main()
    else:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
        raise SystemExit(subprocess.run(torchrun).returncode)
