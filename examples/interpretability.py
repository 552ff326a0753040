"""Do volume and curvature mark the decision boundary? The area under the ROC curve of each, moons and circles.

The metric is what a trained network 2-16-16-1 (tanh) induces on the plane of the data by its last hidden layer, and the
learned one of a neural differential manifold. Of the grid points near the data, 15% have the least |logit|: these are
to be told from the others by the volume element, by |K|, or by |K| sqrt(det g). 0.5 is chance, less is the opposite.
"""

import argparse
import json
import os
from pathlib import Path

import matplotlib
import numpy as np
import scipy.stats
import torch
from sklearn.datasets import make_circles, make_moons
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

import riemann as rm
from riemann.metrics import Pullback
from riemann_nn import EvolutionLoss, NeuralDifferentialManifold

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

DATA = {"moons": (make_moons, {"noise": 0.1}), "circles": (make_circles, {"noise": 0.1, "factor": 0.5})}
SCORES = {"volume": r"$\sqrt{\det g}$", "curvature": "$|K|$", "curvature x volume": r"$|K| \sqrt{\det g}$"}
NEAR, SHARE = 0.3, 0.15


def data(name, seed):
    """Training points and labels, and 1000 held out."""
    make, options = DATA[name]
    parts = (make(n, random_state=s, **options) for n, s in ((400, seed), (1000, 10_000 + seed)))
    return [torch.as_tensor(a, dtype=torch.float64) for part in parts for a in part]


def perceptron():
    """The network, its logit, and the metric on the data that its last hidden layer induces."""
    hidden = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh())
    readout = nn.Linear(16, 1)
    return nn.ModuleList([hidden, readout]), lambda x: readout(hidden(x))[..., 0], Pullback(hidden), None


def manifold(**weights):
    """The same of a neural differential manifold, whose metric is learned."""
    model = NeuralDifferentialManifold(2, [2], 1, metric_hidden=(16, 16), depth=4)
    layer = model.layers[0]
    return model, lambda x: model(x)[0][..., 0], Pullback(layer.map, layer.metric), EvolutionLoss(**weights)


MODELS = {
    "hidden layer": perceptron,
    "learned metric": lambda: manifold(curvature=0.0, volume=0.0),
    "learned, flattened": lambda: manifold(curvature=0.05, volume=0.05, points=32),
}


def train(make, x, y, seed, steps):
    torch.manual_seed(seed)
    module, logit, metric, evolution = make()
    module.double()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = binary_cross_entropy_with_logits(logit(x), y)
        if evolution is not None:
            loss, _ = evolution(loss, module.charts(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    module.requires_grad_(False)
    return logit, metric


def others(name, seed):
    """Test accuracies of a linear model and of boosting, at scikit-learn's defaults."""
    x, y, x_test, y_test = (part.numpy() for part in data(name, seed))
    models = {"linear": LogisticRegression(), "boosting": HistGradientBoostingClassifier(random_state=seed)}
    return {kind: model.fit(x, y).score(x_test, y_test) for kind, model in models.items()}


def fields(metric, x):
    """The three scores at points, before taking absolute values of curvature."""
    K, volume = rm.scalar_curvature(metric, x) / 2, rm.volume_element(metric, x)
    return {"volume": volume, "curvature": K, "curvature x volume": K * volume}


def grid_of(x, resolution):
    """A grid around the data, and which of its points are near it."""
    sides = [
        torch.linspace(float(a) - 0.4, float(b) + 0.4, resolution) for a, b in zip(x.amin(0), x.amax(0), strict=True)
    ]
    grid = torch.stack(torch.meshgrid(*sides, indexing="xy"), -1).double()
    return grid, torch.cdist(grid.reshape(-1, 2), x).amin(-1) < NEAR


def measure(logit, metric, x, resolution):
    """The area under the ROC curve of each score."""
    grid, near = grid_of(x, resolution)
    points = grid.reshape(-1, 2)[near]
    close = logit(points).abs()
    boundary = close <= close.quantile(SHARE)
    return {name: float(roc_auc_score(boundary, f.abs())) for name, f in fields(metric, points).items()}


def interval(values):
    """Mean and half width of the 95% confidence interval of Student's t."""
    v = np.asarray(values)
    return float(v.mean()), float(scipy.stats.t.ppf(0.975, len(v) - 1) * v.std(ddof=1) / np.sqrt(len(v)))


def draw(kept, path, resolution):
    """Volume and curvature of one network for each data set, with the boundary."""
    figure, axes = plt.subplots(len(kept), 3, figsize=(13, 3.6 * len(kept)), layout="compressed", squeeze=False)
    for row, (name, (logit, metric, x, y)) in zip(axes, kept.items(), strict=True):
        grid, near = grid_of(x, resolution)
        extent = (*grid[0, [0, -1], 0].tolist(), *grid[[0, -1], 0, 1].tolist())
        z = logit(grid)
        values = fields(metric, grid.reshape(-1, 2))
        row[0].contourf(
            grid[..., 0], grid[..., 1], torch.sigmoid(z), levels=np.linspace(0, 1, 21), cmap="RdBu_r", alpha=0.7
        )
        row[0].scatter(*x.T, c=y, cmap="coolwarm", s=7, edgecolor="white", linewidth=0.2)
        row[0].set(title=f"{name}: probability")
        for ax, key in zip(row[1:], ("volume", "curvature"), strict=True):
            f = torch.where(near, values[key], torch.nan).reshape(z.shape)
            size = float(f[f.isfinite()].abs().quantile(0.98))
            scale = (
                {"cmap": "RdBu_r", "vmin": -size, "vmax": size}
                if key == "curvature"
                else {"cmap": "viridis", "vmin": 0, "vmax": size}
            )
            image = ax.imshow(f, extent=extent, origin="lower", interpolation="bilinear", **scale)
            figure.colorbar(image, ax=ax, extend="both" if key == "curvature" else "max", shrink=0.85)
            ax.set_title({"volume": r"volume element $\sqrt{\det g}$", "curvature": "Gauss curvature $K$"}[key])
        for ax in row:
            ax.contour(grid[..., 0], grid[..., 1], z, levels=[0], colors="black", linewidths=1.3)
            ax.set(aspect="equal", xlim=extent[:2], ylim=extent[2:], xticks=(), yticks=())
    figure.savefig(path, dpi=110)
    plt.close(figure)


def verdict(interval):
    mean, half = interval
    return (
        "yes"
        if mean - half > 0.8
        else "somewhat"
        if mean - half > 0.5
        else "no, the opposite"
        if mean + half < 0.5
        else "undecided"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("RIEMANN_QUICK")))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/interpretability"))
    options = parser.parse_args()
    seeds, steps, resolution = (2, 10, 12) if options.quick else (options.seeds, 500, 60)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    runs, kept = [], {}
    with tqdm(total=len(DATA) * len(MODELS) * seeds) as bar:
        for name in DATA:
            for kind, make in MODELS.items():
                bar.set_description(f"{name}, {kind}")
                for seed in range(seeds):
                    x, y, x_test, y_test = data(name, seed)
                    logit, metric = train(make, x, y, seed, steps)
                    accuracy = ((logit(x_test) > 0) == (y_test > 0.5)).double().mean().item()
                    areas = measure(logit, metric, x, resolution)
                    runs.append({"data": name, "model": kind, "seed": seed, "accuracy": accuracy, **areas})
                    if kind == "hidden layer":
                        kept.setdefault(name, (logit, metric, x, y))
                    bar.update()
    print(f"\nArea under the ROC curve, mean ± 95% interval over {seeds} seeds; test accuracy")
    table = {}
    for name in DATA:
        for kind in MODELS:
            rows = [run for run in runs if (run["data"], run["model"]) == (name, kind)]
            table[name, kind] = {score: interval([row[score] for row in rows]) for score in SCORES}
            print(f"  {name:8} {kind:19}", end="")
            print("".join(f"{score} {m:.2f} ± {h:.2f}   " for score, (m, h) in table[name, kind].items()), end="")
            print(f"{np.mean([row['accuracy'] for row in rows]):.3f}")
    results = {"runs": runs, "table": [{"data": d, "model": m, **scores} for (d, m), scores in table.items()]}
    results["others"] = {name: [others(name, seed) for seed in range(seeds)] for name in DATA}
    for name, rows in results["others"].items():
        said = ", ".join(f"{kind} {np.mean([row[kind] for row in rows]):.3f}" for kind in rows[0])
        print(f"  {name}, test accuracy at scikit-learn's defaults: {said}")
    (options.out / "results.json").write_text(json.dumps(results, indent=1))
    draw(kept, options.out / "boundary.png", resolution if options.quick else 140)
    print("\nDoes it mark the decision boundary?")
    for score in SCORES:
        words = (f"{kind}, {name}: {verdict(scores[score])}" for (name, kind), scores in table.items())
        print(f"  {score}: {'; '.join(words)}")


if __name__ == "__main__":
    main()
