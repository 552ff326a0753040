"""What moves and what is conserved: a CSV of trajectories, a metric that fits them, a conserved quantity.

The file holds noisy angles of a double pendulum in free fall (no gravity), one row a time: trajectory, t, two angles.
Nothing else is known here: neither masses and lengths, nor that the angular momentum is conserved.
"""

import csv
import os
from pathlib import Path

import numpy as np
import torch

import riemann as rm
from riemann_nn import fit_metric

QUICK = bool(os.environ.get("RIEMANN_QUICK"))


def arm(q):
    """The kinetic energy of two equal arms, which made the data."""
    c, one = torch.cos(q[0] - q[1]), torch.ones_like(q[0])
    return torch.stack([torch.stack([2 * one, c]), torch.stack([c, one])])


def write(path, count=6 if QUICK else 20, noise=0.01):
    generator = torch.Generator().manual_seed(0)
    t = torch.linspace(0, 2, 15 if QUICK else 40, dtype=torch.float64)
    x, v = torch.randn(2, count, 2, dtype=torch.float64, generator=generator)
    y = rm.geodesic(arm, x, 0.8 * v, t).points
    y = y + noise * torch.randn(y.shape, dtype=y.dtype, generator=generator)
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["trajectory", "t", "angle 1", "angle 2"])
        for k in range(count):
            table.writerows([k, *row] for row in torch.cat((t.unsqueeze(1), y[:, k]), 1).tolist())


path = Path("build/trajectories.csv")
path.parent.mkdir(exist_ok=True)
write(path)

torch.manual_seed(0)
rows = np.loadtxt(path, delimiter=",", skiprows=1)
count = int(rows[:, 0].max()) + 1
rows = torch.as_tensor(rows).reshape(count, -1, 4)
fitted = fit_metric(rows[:, :, 2:], rows[0, :, 1], iterations=12 if QUICK else 50)
print(fitted.report)
points = rows[:, :, 2:].reshape(-1, 2)
quantity = rm.conserved_quantities(fitted.metric, points=points, degree=1, max_degree=1, tolerance=0.9)[0]
print(f"\nfound: {quantity}")

# How well? Along the fitted motions it stands still, and it is the angular momentum up to a factor.
x, v = fitted.points, fitted.velocities
with torch.no_grad():
    q = quantity(x, v)
    g = rm.at(arm, x, 0).g
    truth = torch.einsum("...ij,...j->...", g, v)
drift = float(q.var(1).mean().sqrt() / q.mean(1).std())
correlation = abs(float(np.corrcoef(q.mean(1), truth.mean(1))[0, 1]))
print(
    f"it changes along a motion by {drift:.3f} of its spread; correlation with the angular momentum {correlation:.4f}"
)
print("agrees" if QUICK or (correlation > 0.98 and drift < 0.2) else "WRONG")
