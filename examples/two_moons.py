"""Two moons: a manifold network with the curvature term, and the collapse of a metric that nothing holds.

First the architecture of an article on the paper, as it is trained there: its metric shrinks to 0 while the prediction
does not change. Then a complete one, whose prediction reads the metric, without geometry in the loss, with the paper's
literal terms, and with scale-free ones: in the article's setting, and with few labels and much noise.
"""

import argparse
import copy
import json
import os
import time
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import scipy.stats
import torch
from matplotlib.colors import ListedColormap
from sklearn.datasets import make_moons
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

import riemann as rm
from riemann_nn import EvolutionLoss, NeuralDifferentialManifold

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

SETTINGS = {"easy": {"noise": 0.1, "labels": 400}, "hard": {"noise": 0.3, "labels": 60}}  # the first is the article's
ARTICLE = (0.0, 0.05, 1.0)  # weights of the variance of its volume; the article's is the second
EVOLUTIONS = {
    "no geometry": {"curvature": 0.0, "volume": 0.0},
    "paper": {"preset": "paper", "curvature": 0.05, "volume": 0.05},
    "scale-free": {"preset": "scale_free", "curvature": 0.05, "volume": 0.05, "points": 32},
}
BOX = ((-1.7, 2.7), (-1.3, 1.8))
MOONS = ListedColormap(["tab:blue", "tab:red"])


def moons(setting, seed):
    """Training points and labels, and 2000 held out."""
    noise, labels = SETTINGS[setting].values()
    parts = (make_moons(n, noise=noise, random_state=s) for n, s in ((labels, seed), (2000, 10_000 + seed)))
    return [torch.tensor(a, dtype=torch.float32) for part in parts for a in part]


def geometry(model, x):
    """Of the last chart at x, in float64: mean sqrt(det g), median |S|, median |S| (det g)^(1/n), free of scale."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        chart = copy.deepcopy(model).double().charts(x.double())[-1]
        log_volume, S = chart.log_volume_element(), chart.scalar_curvature().abs()
    scale_free = S * torch.exp(2 / chart.coordinates.shape[-1] * log_volume)
    return log_volume.exp().mean().item(), S.median().item(), scale_free.median().item()


def train(make, evolution, setting, seed, epochs, bar):
    """Trains as the article does (Adam, 0.01, whole batches), looking at the geometry ten times."""
    x, y, x_test, y_test = moons(setting, seed)
    torch.manual_seed(seed)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model, evolution, history, seconds = make(), EvolutionLoss(**evolution), [], 0.0
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for epoch in range(epochs + 1):
            if epoch % max(1, epochs // 10) == 0:
                history.append((epoch, *geometry(model, x)))
            begin = time.process_time()
            output, charts = model(x)
            task = binary_cross_entropy_with_logits(output[:, 0], y)
            total, _ = evolution(task, charts)
            if epoch < epochs:
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
                bar.update()
            seconds += time.process_time() - begin
    with torch.no_grad():
        logit = model(x_test)[0][:, 0]
        right = ((logit > 0) == (y_test > 0.5)).float().mean().item()
        loss = binary_cross_entropy_with_logits(logit, y_test).item()
    signs = sorted({sign for _, sign in evolution.monitor.said})
    collapse = [str(w.message) for w in said if "collapses" in str(w.message)]
    row = {"seed": seed, "accuracy": right, "test_loss": loss, "train_loss": task.item(), "monitor": signs}
    return model, {**row, "warnings": collapse, "history": history, "seconds": seconds}


def others(setting, seed, epochs):
    """Test accuracy and loss of an MLP about as large, trained as the manifold is, and of scikit-learn's defaults."""
    x, y, x_test, y_test = moons(setting, seed)
    rows = {}
    for name, model in {
        "linear": LogisticRegression(),
        "boosting": HistGradientBoostingClassifier(random_state=seed),
    }.items():
        model.fit(x.numpy(), y.numpy())
        loss = log_loss(y_test.numpy(), model.predict_proba(x_test.numpy()))
        rows[name] = {"accuracy": model.score(x_test.numpy(), y_test.numpy()), "test_loss": float(loss)}
    torch.manual_seed(seed)
    Linear, Tanh = torch.nn.Linear, torch.nn.Tanh
    net = torch.nn.Sequential(Linear(2, 32), Tanh(), Linear(32, 32), Tanh(), Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(epochs):
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(net(x)[:, 0], y).backward()
        optimizer.step()
    with torch.no_grad():
        logit = net(x_test)[:, 0]
        right = ((logit > 0) == (y_test > 0.5)).float().mean().item()
    rows["MLP"] = {"accuracy": right, "test_loss": binary_cross_entropy_with_logits(logit, y_test).item()}
    return {name: {"seed": seed, **row} for name, row in rows.items()}


def interval(differences):
    """Mean and half width of the 95% confidence interval of Student's t."""
    d = np.asarray(differences, dtype=float)
    half = scipy.stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return float(d.mean()), float(half)


def column(rows, key):
    """Mean and deviation over seeds."""
    values = [row[key] for row in rows]
    return float(np.mean(values)), float(np.std(values, ddof=1))


def ends(rows, which):
    """Medians over seeds of a figure at the start and at the end."""
    return [float(np.median([row["history"][k][which] for row in rows])) for k in (0, -1)]


def show_article(runs):
    print("\nThe article's network: the metric enters no prediction, the loss is task + weight * Var(sqrt det g)")
    print(f"{'weight':>7}{'mean sqrt det g':>23}{'median |S|':>22}{'test accuracy':>18}{'test loss':>18}   monitor")
    for weight, rows in runs.items():
        (v0, v1), (S0, S1) = ends(rows, 1), ends(rows, 2)
        (a, da), (b, db) = column(rows, "accuracy"), column(rows, "test_loss")
        fired = sum(bool(row["warnings"]) for row in rows)
        print(
            f"{weight:7}{v0:11.1e} -> {v1:.1e}{S0:11.1e} -> {S1:.1e}{a:11.4f} ± {da:.4f}{b:11.4f} ± {db:.4f}"
            f"   fired {fired} of {len(rows)}: {', '.join(sorted({s for row in rows for s in row['monitor']})) or '-'}"
        )


def show_complete(runs, simple, setting):
    noise, labels = SETTINGS[setting].values()
    print(f"\nThe complete network, noise {noise}, {labels} labels: mean ± deviation over seeds, medians over seeds")
    print(f"{'evolution':12}{'test accuracy':>18}{'test loss':>17}{'mean sqrt det g':>23}{'|S| sqrt det g':>24}")
    for name, rows in runs.items():
        (v0, v1), (S0, S1) = ends(rows, 1), ends(rows, 3)
        (a, da), (b, db) = column(rows, "accuracy"), column(rows, "test_loss")
        print(
            f"{name:12}{a:9.4f} ± {da:.4f}{b:9.3f} ± {db:.3f}{v0:12.1e} -> {v1:.1e}{S0:13.1e} -> {S1:.1e}"
            f"   {column(rows, 'seconds')[0]:.1f} s"
        )
    for name, rows in simple.items():
        (a, da), (b, db) = column(rows, "accuracy"), column(rows, "test_loss")
        print(f"{name:12}{a:9.4f} ± {da:.4f}{b:9.3f} ± {db:.3f}")
    for name in list(runs)[1:]:
        pairs = list(zip(runs[name], runs["no geometry"], strict=True))
        a, b = (interval([p[key] - q[key] for p, q in pairs]) for key in ("accuracy", "test_loss"))
        print(
            f"  {name} minus no geometry (95%): accuracy {a[0]:+.4f} ± {a[1]:.4f}, test loss {b[0]:+.3f} ± {b[1]:.3f}"
        )


def conclude(results, quick):
    """One line of what was found; a run that long enough shows no collapse is WRONG."""
    rows = results["article"][1.0]
    (v0, v1), (S0, S1) = ends(rows, 1), ends(rows, 2)
    collapsed = v1 < 0.01 * v0 and S1 > 10 * S0 and all(row["warnings"] for row in rows)
    print(
        f"\nFound: at weight 1 the article's metric shrinks {v0 / v1:.0f} times and curls up {S1 / S0:.0f} times, the "
        "prediction does not see it, and the monitor says it." if collapsed else
        "\nToo few epochs to see a collapse." if quick else "\nWRONG: the article's metric did not collapse."
    )  # fmt: skip
    S = {name: ends(runs, 3)[1] for name, runs in results["hard"].items()}
    print(
        f"Where the metric enters the prediction, scale-free |S| ends at {S['no geometry']:.2g} without geometry, "
        f"{S['paper']:.2g} with the paper's terms, {S['scale-free']:.2g} with scale-free ones. Accuracies: above."
    )


def draw_article(runs, path):
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained")
    for (weight, rows), colour in zip(runs.items(), ("0.55", "tab:orange", "tab:red"), strict=True):
        for ax, which in zip(axes, (1, 2), strict=True):
            epochs = [h[0] for h in rows[0]["history"]]
            values = np.array([[h[which] for h in row["history"]] for row in rows])
            ax.plot(epochs, np.median(values, 0), color=colour, label=rf"$\lambda = {weight:g}$")
            ax.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.18, lw=0)
    axes[0].set(title=r"mean $\sqrt{\det g}$ at the data", yscale="log", xlabel="epoch")
    axes[1].set(title="median $|S|$ at the data", yscale="log", xlabel="epoch")
    axes[0].legend(frameon=False)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_manifold(model, setting, seed, path, resolution):
    """The decision in the coordinates of the data, and what the network has learned in those of its chart."""
    x, y, *_ = moons(setting, seed)
    model = copy.deepcopy(model).double().requires_grad_(False)
    g, z = model.layers[0].metric, model.layers[0].map(x.double())
    margin = 0.15 * (z.amax(0) - z.amin(0))
    box = torch.stack([z.amin(0) - margin, z.amax(0) + margin], -1).tolist()
    figure, axes = plt.subplots(2, 3, figsize=(15, 7.6), layout="constrained")
    (boundary, volume, curvature), (circles, fan, between) = axes
    rm.plot.volume_map(g, box, ax=volume, resolution=resolution)
    rm.plot.curvature_map(g, box, ax=curvature, resolution=resolution)
    rm.plot.metric_ellipses(g, box, ax=circles, shape=(13, 9), color="0.35")
    rm.plot.geodesic_fan(g, box, z.mean(0), ax=fan, color="0.55")
    draw_geodesics(g, z, y, between)
    titles = ("decision, in the plane of the data", "volume element", "scalar curvature", "unit circles (Tissot)")
    for ax, name in zip(axes.flat, (*titles, "geodesics from one point", "geodesics, straight lines"), strict=True):
        sides = BOX if ax is boundary else box
        grid = torch.meshgrid(*(torch.linspace(*side, 200, dtype=torch.float64) for side in sides), indexing="xy")
        points = torch.stack(grid, -1)
        p = torch.sigmoid((model(points)[0] if ax is boundary else model.output_from(0, points))[..., 0])
        ax.contour(*grid, p, levels=[0.5], colors="black", linewidths=1.3)
        if ax is boundary:
            shade = ax.contourf(*grid, p, levels=np.linspace(0, 1, 21), cmap="RdBu_r", alpha=0.75)
            figure.colorbar(shade, ax=ax, label="probability", ticks=(0, 0.5, 1))
        ax.set(title=name, xlim=sides[0], ylim=sides[1], aspect="auto", xlabel="", ylabel="")
    for ax, points in ((boundary, x), (circles, z), (between, z)):
        ax.scatter(*points.T, c=y, cmap=MOONS, s=14, edgecolor="white", linewidth=0.4, zorder=4)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_geodesics(g, z, y, ax):
    """Geodesics between points of the two moons, and the straight lines between the same points."""
    start, end = (z[y == k][:8] for k in (0, 1))
    v = rm.log_map(g, start, end, throw=False).velocities
    found = v.isfinite().all(-1)
    curves = rm.geodesic(g, start[found], v[found], torch.linspace(0, 1, 61, dtype=torch.float64), throw=False).points
    ax.plot(*torch.stack([start, end]).unbind(-1), color="0.6", lw=1, ls="--")
    ax.plot(*curves.unbind(-1), color="tab:green", lw=1.6)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("RIEMANN_QUICK")))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/two_moons"))
    options = parser.parse_args()
    seeds, resolution = (2, 12) if options.quick else (options.seeds, 100)
    epochs = {"article": 2, "easy": 2, "hard": 2} if options.quick else {"article": 600, "easy": 300, "hard": 300}
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)

    def complete():
        return NeuralDifferentialManifold(2, [2], 1, metric_hidden=(32,), depth=4)

    def of_article():
        return NeuralDifferentialManifold.article(2, [16], 1)

    results, models = {"article": {}, **{setting: {} for setting in SETTINGS}}, {}
    jobs = [("article", w, "easy", of_article, {"preset": "paper", "curvature": 0.0, "volume": w}) for w in ARTICLE]
    jobs += [(s, name, s, complete, evolution) for s in SETTINGS for name, evolution in EVOLUTIONS.items()]
    with tqdm(total=seeds * sum(epochs[job[0]] for job in jobs)) as bar:
        for table, name, setting, make, evolution in jobs:
            bar.set_description(f"{table}, {name}")
            for seed in range(seeds):
                model, row = train(make, evolution, setting, seed, epochs[table], bar)
                results[table].setdefault(name, []).append(row)
                models.setdefault((table, name), model)
    results["others"] = {}
    for setting in SETTINGS:
        rows = [others(setting, seed, epochs[setting]) for seed in range(seeds)]
        results["others"][setting] = {name: [row[name] for row in rows] for name in rows[0]}
    (options.out / "results.json").write_text(json.dumps(results, indent=1))
    show_article(results["article"])
    for setting in SETTINGS:
        show_complete(results[setting], results["others"][setting], setting)
    conclude(results, options.quick)
    draw_article(results["article"], options.out / "article.png")
    for name in ["scale-free"] if options.quick else EVOLUTIONS:
        draw_manifold(models["easy", name], "easy", 0, options.out / f"{name.replace(' ', '_')}.png", resolution)


if __name__ == "__main__":
    main()
