"""Where the curvature of networks is certainly positive or negative: `python examples/certified_signs.py [folder]`.

Each metric is `L L^T` with `L` from a network 2-64-64-3 at torch's default start. With `full` as a second argument
seeds 0 to 4 get a minute each; else a coarse picture of one small network is drawn.
"""

import sys
import time
from pathlib import Path

import matplotlib
import torch

import riemann as rm

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.collections import PolyCollection  # noqa: E402

COLOURS = {"above": "#d1495b", "below": "#00798c", "undecided": "#222222"}


def network_metric(seed, width):
    torch.manual_seed(seed)
    layers = torch.nn.Sequential(
        torch.nn.Linear(2, width), torch.nn.Tanh(), torch.nn.Linear(width, width), torch.nn.Tanh(),
        torch.nn.Linear(width, 3),
    ).double()  # fmt: skip

    def metric(x):
        p = layers(x)
        d = torch.nn.functional.softplus(p[::2]) + 0.1
        L = torch.stack([torch.stack([d[0], torch.zeros_like(p[0])]), torch.stack([p[1], d[1]])])
        return L @ L.T

    return metric


def corners(boxes):
    x, y = boxes[:, 0], boxes[:, 1]
    return torch.stack([torch.stack([x[:, a], y[:, b]], -1) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))], 1).numpy()


def contradicted(metric, signs, count):
    """How many of some random points in decided boxes have the other sign by FLINT: none, or a proof is wrong."""
    wrong = 0
    for boxes, sign in ((signs.above, 1), (signs.below, -1)):
        for k in torch.randint(max(1, len(boxes)), (count // 2 if len(boxes) else 0,)).tolist():
            x = boxes[k, :, 0] + (boxes[k, :, 1] - boxes[k, :, 0]) * torch.rand(2, dtype=torch.float64)
            here = rm.enclose(metric, "gauss_curvature", x)
            wrong += not bool(here.lower > 0 if sign > 0 else here.upper < 0)
    return wrong


folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/gallery")
full = sys.argv[2:] == ["full"]
folder.mkdir(parents=True, exist_ok=True)
seeds, width = (range(5), 64) if full else (range(1), 8)
figure, axes = plt.subplots(1, len(seeds), figsize=(2.6 * len(seeds), 2.9), layout="constrained", squeeze=False)
for seed, axis in zip(seeds, axes[0], strict=True):
    metric, start = network_metric(seed, width), time.process_time()
    budget, boxes = (60.0, 1_000_000) if full else (5.0, 300)
    signs = rm.certified_signs(metric, "gauss_curvature", ((-1, 1), (-1, 1)), budget=budget, max_boxes=boxes)
    used = time.process_time() - start
    for name, colour in COLOURS.items():
        axis.add_collection(PolyCollection(corners(getattr(signs, name)), facecolors=colour, edgecolors="none"))
    axis.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal", title=f"seed {seed}: {100 * signs.decided:.2f} %")
    axis.title.set_size(9)
    wrong = contradicted(metric, signs, 200 if full else 10)
    counts = ", ".join(f"{len(getattr(signs, name))} {name}" for name in COLOURS)
    print(f"seed {seed}: {signs.decided:.4f} decided in {used:.0f} s of processor time ({counts})")
    assert wrong == 0, f"WRONG at {wrong} points"
name = "certified-signs"
figure.savefig(folder / f"{name}.png", dpi=110)
print(folder / f"{name}.png")
