"""A neural differential manifold in 80 lines, from `riemann`'s functions alone: noisy moons, 60 labels."""

import argparse
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import make_moons
from torch import nn
from tqdm import tqdm

import riemann as rm


class Manifold(nn.Module):
    """Coordinates by two additive couplings, which are invertible; a metric g = L L^T there; a head that reads g."""

    def __init__(self):
        super().__init__()
        self.shifts = nn.ModuleList(nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1)) for _ in range(2))
        self.factor = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 3), nn.Tanh())
        self.prototypes = nn.Parameter(torch.randn(2, 2))

    def chart(self, x):
        a, b = x.split(1, -1)
        b = b + self.shifts[0](a)
        return torch.cat([a + self.shifts[1](b), b], -1)

    def metric(self, z):
        p, q, off = self.factor(z).unbind(-1)
        L = torch.stack([p.exp(), 0 * p, off, q.exp()], -1).unflatten(-1, (2, 2))
        return L @ L.mT

    def logits(self, x):  # squared distances to the prototypes: the gradient of the task reaches g
        z = self.chart(x)
        d = z[..., None, :] - self.prototypes
        return torch.einsum("...ki,...ij,...kj->...k", d, self.metric(z), d).diff(dim=-1)[..., 0]


def geometry(model, x):  # S sqrt(det g), the same for g and c g, and log sqrt(det g)
    S, log_volume = (f(model.metric, model.chart(x)) for f in (rm.scalar_curvature, rm.log_volume_element))
    return S * log_volume.exp(), log_volume


def train(weight, seed, steps):
    torch.manual_seed(seed)
    model, loss = Manifold().double(), nn.functional.binary_cross_entropy_with_logits
    (x, y), (x_test, y_test) = (map(torch.tensor, make_moons(n, noise=0.3, random_state=seed + n)) for n in (60, 2000))
    row = {"weight": weight, "seed": seed, "before": geometry(model, x_test)[0].abs().median().item()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        curvature, log_volume = geometry(model, x)
        optimizer.zero_grad()
        (loss(model.logits(x), y.double()) + weight * (curvature.square().mean() + log_volume.var())).backward()
        optimizer.step()
    accuracy = ((model.logits(x_test) > 0) == y_test).double().mean().item()
    return model, {**row, "after": geometry(model, x_test)[0].abs().median().item(), "accuracy": accuracy}


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("RIEMANN_QUICK")))
parser.add_argument("--out", type=Path, default=Path("build/ndm_from_primitives"))
options = parser.parse_args()
seeds, steps = (1, 10) if options.quick else (5, 400)
runs = [train(weight, seed, steps) for weight, seed in tqdm([(w, s) for w in (0.0, 0.1) for s in range(seeds)])]
print(report := rm.verify(runs[-1][0].metric, dim=2))  # beside 40-digit jets of its own trace
figure, axes = plt.subplots(2, 2, figsize=(10, 6.4), layout="compressed")
for k, (left, right) in enumerate(axes):
    model, rows = runs[k * seeds][0], [row for _, row in runs[k * seeds : (k + 1) * seeds]]
    S, T, accuracy = (torch.tensor([row[key] for row in rows]).mean() for key in ("before", "after", "accuracy"))
    print(f"weight {rows[0]['weight']}: held-out accuracy {accuracy:.3f}, median |S| sqrt(det g) {S:.3g} -> {T:.3g}")
    g, box = rm.metrics.Pullback(model.chart, model.metric), ((-1.8, 2.8), (-1.4, 1.9))  # in coordinates of the data
    rm.plot.volume_map(g, box, ax=left)
    rm.plot.curvature_map(g, box, ax=right)
options.out.mkdir(parents=True, exist_ok=True)
figure.savefig(options.out / "manifold.png", dpi=110)
(options.out / "results.json").write_text(json.dumps([row for _, row in runs], indent=1))
print("The trained curvature is exact to rounding." if report.ok else "WRONG: curvature is not the exact one.")
