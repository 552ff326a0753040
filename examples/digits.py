"""Does a curvature penalty help with few labels? Handwritten digits, a manifold of layers 64, 32, 16 beside an MLP.

The manifold's head measures distances with the learned metrics. It is trained without geometry, with the mean square
of sectional curvature (sampled), and with that of scalar curvature (exact), at a few points of every few batches. The
MLP has as many parameters. All is tuned on other seeds, and on labels that are neither trained nor tested on.
"""

import argparse
import itertools
import json
import logging
import math
import os
import time
from pathlib import Path

import numpy as np
import scipy.stats
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from riemann_nn import EvolutionLoss, NeuralDifferentialManifold, curvature_loss

BATCH, POINTS, EVERY = 50, 4, 8
logging.getLogger("riemann").setLevel(logging.ERROR)
OPTIMISATION = {"lr": (0.003, 0.01, 0.03), "weight_decay": (0.1, 1.0, 5.0)}
TUNING = {"MLP": range(1000, 1008)}  # seeds to tune on: more for what is cheap, so that the baseline is a good one
METHODS = {  # what is tuned; a penalised manifold takes the optimisation of the one without
    "MLP": {"lr": (0.001, 0.003, 0.01, 0.03), "weight_decay": (0.1, 1.0, 5.0)},
    "no penalty": OPTIMISATION,
    "sampled E[K²]": {"curvature": (1.0, 1e2, 1e4, 1e6)},
    "exact E[S²]": {"curvature": (1e-5, 1e-3, 1e-1, 1e1)},
}


def digits():
    """Pixels in [0, 1] and labels: a pool to draw training labels from, and a test part, always the same."""
    x, y = load_digits(return_X_y=True)
    parts = train_test_split(x / 16, y, test_size=500, random_state=0, stratify=y)
    dtypes = (torch.float32, torch.float32, torch.int64, torch.int64)
    return [torch.as_tensor(part).to(dtype) for part, dtype in zip(parts, dtypes, strict=True)]


def draw_labels(x, y, labels, seed):
    """Some labels a class from the pool to train on, and the rest of the pool."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    chosen = torch.cat([order[y[order] == c][:labels] for c in range(10)])
    rest = torch.ones(len(y), dtype=torch.bool).index_fill(0, chosen, False)
    return x[chosen], y[chosen], x[rest], y[rest]


def manifold():
    return NeuralDifferentialManifold(64, [64, 32, 16], 10, metric_hidden=(16,), depth=2)


def size(model):
    return sum(p.numel() for p in model.parameters())


def perceptron(parameters):
    """64-h-h-10 with tanh and about so many parameters."""
    h = round((-75 + (75**2 + 4 * (parameters - 10)) ** 0.5) / 2)
    widths = (64, h, h, 10)
    layers = [torch.nn.Linear(i, o) for i, o in itertools.pairwise(widths)]
    return torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1], torch.nn.Tanh(), layers[2])


def penalty(name, weight):
    """The evolution layer of a method; the volume loss is off, so that curvature is all that differs."""
    kind = ("sectional", "sampled") if name.startswith("sampled") else ("scalar", "exact")
    return EvolutionLoss(
        curvature=weight, volume=0.0, kind=kind[0], estimator=kind[1], points=POINTS, every=EVERY, monitor=None
    )


def logits(model, x):
    output = model(x)
    return output[0] if isinstance(output, tuple) else output


def train(name, options, labels, seed, steps, data):
    """The trained model, and its error on the rest of the pool."""
    x, y, x_rest, y_rest = draw_labels(data[0], data[2], labels, seed)
    torch.manual_seed(seed)
    model = manifold()  # the same start for all manifolds
    if name == "MLP":
        model = perceptron(size(model))
    evolution = penalty(name, options["curvature"]) if "curvature" in options else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=options["lr"], weight_decay=options["weight_decay"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = torch.randperm(len(x), generator=generator)[:BATCH]
        optimizer.zero_grad()
        output = model(x[batch])
        loss = cross_entropy(output if name == "MLP" else output[0], y[batch])
        if evolution is not None:
            loss, _ = evolution(loss, output[1])
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return model, (logits(model, x_rest).argmax(-1) != y_rest).float().mean().item()


def others(labels, seed, data):
    """Test errors of a linear model and of boosting, at scikit-learn's defaults, on the same labels."""
    x, y, *_ = draw_labels(data[0], data[2], labels, seed)
    models = {
        "linear": LogisticRegression(max_iter=2000),
        "boosting": HistGradientBoostingClassifier(random_state=seed),
    }
    return {name: 1 - model.fit(x, y).score(data[1], data[3]) for name, model in models.items()}


def figures(name, model, data):
    """Test error and loss; of a manifold, the root mean square of sectional curvature in each layer, free of scale."""
    x_test, y_test = data[1], data[3]
    with torch.no_grad():
        z = logits(model, x_test)
        row: dict = {"error": (z.argmax(-1) != y_test).float().mean().item(), "loss": cross_entropy(z, y_test).item()}
        if name != "MLP":
            row["curvature"] = [
                curvature_loss(
                    c.metric,
                    c.coordinates,
                    "sectional",
                    "sampled",
                    scale_free=True,
                    num_samples=4,
                    generator=torch.Generator().manual_seed(0),
                ).item()
                ** 0.5
                for c in model.charts(x_test[:8])
            ]
    return row


def middle(grid):
    """A smaller grid, of one value an option."""
    return {key: values[len(values) // 2 :][:1] for key, values in grid.items()}


def tune(name, grid, base, labels, seeds, steps, data, bar):
    """The options of least error on the rest of the pool, mean over seeds, and those at the edge of their grid."""
    combinations = list(itertools.product(*grid.values()))
    if len(combinations) == 1:
        return {**base, **dict(zip(grid, combinations[0], strict=True))}, []
    scores = {}
    for values in combinations:
        options = {**base, **dict(zip(grid, values, strict=True))}
        errors = []
        for seed in seeds:
            errors.append(train(name, options, labels, seed, steps, data)[1])
            bar.update()
        scores[values] = float(np.mean(errors))
    best = dict(zip(grid, min(scores, key=scores.__getitem__), strict=True))
    return {**base, **best}, [key for key, values in grid.items() if best[key] in (values[0], values[-1])]


def interval(differences):
    """Mean and half width of the 95% confidence interval of Student's t."""
    d = np.asarray(differences, dtype=float)
    half = scipy.stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return {"mean": float(d.mean()), "half_width": float(half)}


def report(runs, best, edges):
    """For each number of labels and each method: figures over seeds, paired differences to two baselines."""
    table = {}
    for labels, methods in runs.items():
        table[labels] = {}
        for name, rows in methods.items():
            error = [row["error"] for row in rows]
            table[labels][name] = {
                "options": best[labels][name],
                "at_edge_of_grid": edges[labels][name],
                "error": {"mean": float(np.mean(error)), "std": float(np.std(error, ddof=1))},
                "loss": float(np.mean([row["loss"] for row in rows])),
                **{
                    f"minus {baseline}": interval(
                        [a - b["error"] for a, b in zip(error, methods[baseline], strict=True)]
                    )
                    for baseline in ("MLP", "no penalty")
                    if baseline != name
                },
            }
            if "curvature" in rows[0]:
                table[labels][name]["curvature"] = np.mean([row["curvature"] for row in rows], 0).tolist()
    return table


def show(table, seeds):
    print(f"\ntest error in %, {seeds} seeds, mean ± deviation; differences of pairs with 95% intervals")
    for labels, methods in table.items():
        print(f"\n{labels} labels a class")
        for name, row in methods.items():
            line = f"  {name:14}{100 * row['error']['mean']:6.2f} ± {100 * row['error']['std']:.2f}"
            for baseline in ("MLP", "no penalty"):
                if d := row.get(f"minus {baseline}"):
                    line += f"   minus {baseline}: {100 * d['mean']:+.2f} ± {100 * d['half_width']:.2f}"
            print(line)
            edge = f" (edge of the grid: {', '.join(row['at_edge_of_grid'])})" if row["at_edge_of_grid"] else ""
            curvature = "".join(f" {k:.1e}" for k in row.get("curvature", []))
            print(f"    {row['options']}{edge}" + (f"; rms K by layer{curvature}" if curvature else ""))


def milliseconds(step, repeats):
    """The median processor time of a call."""
    times = []
    for _ in range(repeats + 1):
        begin = time.process_time()
        step()
        times.append(1e3 * (time.process_time() - begin))
    return float(np.median(times[1:]))


def costs(data, quick):
    """Processor milliseconds: a mean step without geometry and with it, and one loss of exact curvature."""
    torch.manual_seed(0)
    model = manifold()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    rows = {}
    for batch in (BATCH,) if quick else (BATCH, 500):
        x, y = data[0][:batch], data[2][:batch]

        def step(evolution=None):
            optimizer.zero_grad()
            output, charts = model(x)  # noqa: B023
            loss = cross_entropy(output, y)  # noqa: B023
            (loss if evolution is None else evolution(loss, charts)[0]).backward()
            optimizer.step()

        schedules = {
            "this script's, sampled": penalty("sampled", 1.0),
            "this script's, exact": penalty("exact", 1.0),
            "EvolutionLoss()": EvolutionLoss(volume=0.0, monitor=None),
        }
        plain = milliseconds(step, 5 if quick else 20)
        rows[batch] = {"no geometry": plain}
        for words, evolution in schedules.items():

            def cycle(evolution=evolution):
                for _ in range(evolution.every):
                    step(evolution)

            rows[batch][words] = milliseconds(cycle, 1 if quick else 5) / evolution.every
    points = 4 if quick else 32
    rows[f"exact, {points} points"] = {
        f"width {c.coordinates.shape[-1]}": milliseconds(
            lambda c=c: curvature_loss(c.metric, c.coordinates.detach(), "scalar").backward(), 1 if quick else 3
        )
        for c in model.charts(data[0][:points])
    }
    return rows


def show_costs(rows):
    print("\nprocessor milliseconds, one thread (indicative)")
    for batch, row in rows.items():
        if isinstance(batch, int):
            plain = row["no geometry"]
            ratios = ", ".join(f"{k} {v:.1f} ({v / plain:.1f} x)" for k, v in row.items() if k != "no geometry")
            print(f"  mean step, batch {batch}: without geometry {plain:.1f}; with: {ratios}")
        else:
            print(f"  curvature loss, {batch}: " + ", ".join(f"{k} {v:.0f}" for k, v in row.items()))


def check(model, data):
    """In the trained layer of width 16 sampled curvature agrees with exact curvature within 4 standard errors."""
    chart = model.charts(data[1][:4])[-1]
    with torch.no_grad():
        exact = curvature_loss(chart.metric, chart.coordinates, "sectional").item()
        generator = torch.Generator().manual_seed(0)
        sampled = [
            curvature_loss(
                chart.metric, chart.coordinates, "sectional", "sampled", num_samples=16, generator=generator
            ).item()
            for _ in range(16)
        ]
    error = np.std(sampled, ddof=1) / 4
    good = abs(np.mean(sampled) - exact) < 4 * error
    print(
        f"\nE[K²] in the trained layer of width 16: exact {exact:.3e}, sampled {np.mean(sampled):.3e} ± {error:.1e}: "
        + ("they agree" if good else "WRONG")
    )
    return {"exact": exact, "sampled": float(np.mean(sampled)), "standard_error": float(error)}


def conclusion(table):
    """What the intervals say, in words."""
    lines = []
    for name in list(METHODS)[1:]:
        for baseline in ("MLP", "no penalty"):
            verdicts = {}
            for labels, methods in table.items():
                if d := methods[name].get(f"minus {baseline}"):
                    sure = abs(d["mean"]) > d["half_width"]
                    verdict = ("lower" if d["mean"] < 0 else "HIGHER") if sure else "no difference shown"
                    verdicts.setdefault(verdict, []).append(str(labels))
            if verdicts:
                words = "; ".join(f"{verdict} at {', '.join(at)} labels a class" for verdict, at in verdicts.items())
                lines.append(f"  {name}, test error against {baseline}: {words}")
    return "found (95%, pairs):\n" + "\n".join(lines)


def draw(table, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for k, (name, color) in enumerate(zip(METHODS, plt.cm.tab10.colors, strict=False)):
        labels = list(table)
        at = np.arange(len(labels)) + 0.08 * (k - 1.5)
        rows = [table[n][name] for n in labels]
        means, stds = ([100 * row["error"][key] for row in rows] for key in ("mean", "std"))
        axes[0].errorbar(at, means, stds, color=color, marker="o", capsize=3, linewidth=1, label=name)
        if name != "MLP":
            for row, marker in zip(rows, "osD", strict=False):
                axes[1].plot(range(3), row["curvature"], color=color, marker=marker, linewidth=1)
    axes[0].set_xticks(range(len(table)), [str(n) for n in table])
    axes[0].set(xlabel="labels a class", ylabel="test error in % (mean, deviation over seeds)", yscale="log")
    axes[0].set_yticks([3, 5, 10, 20, 40], ["3", "5", "10", "20", "40"])
    axes[0].minorticks_off()
    axes[0].legend(frameon=False)
    axes[1].set_xticks(range(3), ["64", "32", "16"])
    axes[1].set(xlabel="layer's width", ylabel="rms K at test points, free of scale", yscale="log")
    for labels, marker in zip(table, "osD", strict=False):
        axes[1].plot([], [], color="0.5", marker=marker, linestyle="", label=f"{labels} labels a class")
    axes[1].legend(frameon=False)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("RIEMANN_QUICK")))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--out", type=Path, default=Path("build/digits"))
    arguments = parser.parse_args()
    seeds, steps = (2, 9) if arguments.quick else (arguments.seeds, arguments.steps)
    numbers = (5,) if arguments.quick else (5, 20, 100)
    torch.set_num_threads(1)
    data = digits()
    grids = {name: middle(grid) if arguments.quick else grid for name, grid in METHODS.items()}
    combinations = {name: math.prod(map(len, grid.values())) for name, grid in grids.items()}
    tuned = sum((c > 1) * c * len(TUNING.get(name, range(2))) for name, c in combinations.items())
    total = len(numbers) * (tuned + len(METHODS) * seeds)
    print(f"parameters: manifold {size(manifold())}, MLP {size(perceptron(size(manifold())))}")
    runs, best, edges = {}, {}, {}
    with tqdm(total=total) as bar:
        for labels in numbers:
            runs[labels], best[labels], edges[labels] = {}, {}, {}
            for name, grid in grids.items():
                bar.set_description(f"{labels} labels, {name}")
                base = {} if "lr" in grid else best[labels]["no penalty"]
                tuning = TUNING.get(name, range(1000, 1002))
                best[labels][name], edges[labels][name] = tune(name, grid, base, labels, tuning, steps, data, bar)
                runs[labels][name] = []
                for seed in range(seeds):
                    model, _ = train(name, best[labels][name], labels, seed, steps, data)
                    runs[labels][name].append(figures(name, model, data))
                    bar.update()
    table = report(runs, best, edges)
    show(table, seeds)
    simple = {labels: [others(labels, seed, data) for seed in range(seeds)] for labels in numbers}
    for labels, rows in simple.items():
        means = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
        said = ", ".join(f"{name} {100 * mean:.1f} %" for name, mean in means.items())
        print(f"{labels} labels a class, at scikit-learn's defaults: {said}")
    cost = costs(data, arguments.quick)
    show_costs(cost)
    agreement = check(model, data)
    print(f"\n{conclusion(table)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    setting = {"steps": steps, "seeds": seeds, "batch": BATCH, "points": POINTS, "every": EVERY}
    results = {**setting, "torch": torch.__version__, "table": table, "costs": cost, "check": agreement, "runs": runs}
    results["others"] = simple
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1))
    draw(table, arguments.out / "errors.png")
    print(f"\nwrote results.json and errors.png in {arguments.out}")


if __name__ == "__main__":
    main()
