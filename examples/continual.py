"""Five tasks one after the other: does a penalty in the learned metric keep what was learned, does geometry tell?

Split digits, domain-incremental: task t tells digit 2t from 2t + 1 by one shared head of two outputs, so that all tasks
ask for the parity. The metrics on the layers 32 and 16 are trained to be the pulled-back Fisher metric on the task of
the moment; they change no prediction. When a task ends, its data give G = E[a aᵀ ⊗ g] in Kronecker form, and later
tasks pay strength · (θ - θ*)ᵀ G (θ - θ*), with g learned, exact (Kronecker EWC, without and with the multiple of the
identity that is added to what the learned one is fitted to) or the identity, or with the diagonal of the exact G (EWC).
Strengths are tuned on seeds and data of their own.
"""

import argparse
import copy
import json
import os
import time
from pathlib import Path

import numpy as np
import scipy.stats
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from riemann_nn import MetricNet, NeuralDifferentialManifold, fisher_loss, pulled_back_fisher

TASKS, BATCH, LR, DAMPING = 5, 50, 3e-3, 0.01
STRENGTHS = {  # what is tuned
    "nothing": (0.0,),
    "identity": (0.01, 0.03, 0.1, 0.3, 1.0),
    "EWC diagonal": (10.0, 30.0, 100.0, 300.0, 1000.0),
    "EWC Kronecker": (1.0, 3.0, 10.0, 30.0, 100.0),
    "EWC Kronecker, damped": (1.0, 3.0, 10.0, 30.0, 100.0),
    "learned": (1.0, 3.0, 10.0, 30.0, 100.0),
}


def digits():
    """For each task (pixels in [0, 1], parity) of a training, a tuning and a test part, always the same."""
    x, y = load_digits(return_X_y=True)
    x_rest, x_test, y_rest, y_test = train_test_split(x / 16, y, test_size=500, random_state=0, stratify=y)
    x_train, x_tune, y_train, y_tune = train_test_split(x_rest, y_rest, test_size=300, random_state=0, stratify=y_rest)

    def tasks(x, y):
        x, y = torch.as_tensor(x).float(), torch.as_tensor(y)
        return [(x[y // 2 == t], y[y // 2 == t] % 2) for t in range(TASKS)]

    return {"train": tasks(x_train, y_train), "tune": tasks(x_tune, y_tune), "test": tasks(x_test, y_test)}


def manifold():
    """64-32-16-2 with tanh; metrics that can become the Fisher metric of two outputs, which has rank 1."""
    return NeuralDifferentialManifold(
        64,
        [32, 16],
        2,
        coordinates="linear",
        head="linear",
        coupling="fisher",
        metric=lambda n: MetricNet(n, (32,), "low_rank", rank=1, start=0.1, log_range=3.0),
    )


def linears(model):
    """The linear layers that predict, input first."""
    return [layer.map[0] for layer in model.layers] + [model.head.linear]


def parameters(model):
    """Weights and biases of the linear layers, `(out, in + 1)` each."""
    return [torch.cat((linear.weight, linear.bias[:, None]), 1) for linear in linears(model)]


@torch.no_grad()
def inputs_of_linears(model, x):
    """What each linear layer gets, with a last coordinate 1 for its bias."""
    inputs = [x, *(chart.coordinates for chart in model.charts(x))]
    return [torch.cat((a, torch.ones(len(a), 1, dtype=a.dtype)), 1) for a in inputs]


def metrics_of_outputs(model, x, source):
    """The metric on each linear layer's output at the data. No chart is behind the head: there the exact one."""
    if source == "identity":
        return [torch.eye(linear.out_features).expand(len(x), -1, -1) for linear in linears(model)]
    exact = pulled_back_fisher(model, x)
    if source != "learned":
        shift = DAMPING if source == "damped" else 0.0
        return [exact[linear] + shift * torch.eye(linear.out_features) for linear in linears(model)]
    induced, inputs = model.induced_metrics(), inputs_of_linears(model, x)
    with torch.no_grad():
        learned = [induced[layer](layer(a[:, :-1])) for layer, a in zip(linears(model)[:-1], inputs, strict=False)]
    return [*learned, exact[linears(model)[-1]]]


SOURCE = {"identity": "identity", "EWC Kronecker, damped": "damped", "learned": "learned"}  # else exact


def remember(method, model, x):
    """What a method keeps of a task: θ*, and G as Kronecker factors or as its diagonal."""
    memory = []
    inputs, metrics = inputs_of_linears(model, x), metrics_of_outputs(model, x, SOURCE.get(method, "exact"))
    for theta, a, g in zip(parameters(model), inputs, metrics, strict=True):
        if method == "EWC diagonal":
            G = torch.einsum("zii,zj->ij", g, a.square()) / len(a)
        else:
            G = a.mT @ a / len(a), g.mean(0)
        memory.append((theta.detach(), G))
    return memory


def misfit(model, x):
    """Relative error of the learned metrics' mean over the data against the exact one's, mean over layers."""
    errors = []
    for learned, exact in zip(
        *(metrics_of_outputs(model, x, source)[:-1] for source in ("learned", "exact")), strict=True
    ):
        errors.append(((learned - exact).mean(0).norm() / exact.mean(0).norm()).item())
    return float(np.mean(errors))


def penalty(model, memories):
    """(θ - θ*)ᵀ G (θ - θ*), added up over layers and old tasks."""
    total = 0.0
    for memory in memories:
        for theta, (old, G) in zip(parameters(model), memory, strict=True):
            d = theta - old
            total = total + ((G[1] @ d @ G[0]) * d if isinstance(G, tuple) else G * d.square()).sum()
    return total


def accuracy(model, x, y):
    with torch.no_grad():
        return (model(x)[0].argmax(-1) == y).float().mean().item()


def train(method, strength, seed, steps, data, part, geometry):
    """Accuracy on each task after each, `[after, task]`; with geometry also the drift of it and the fit of metrics."""
    torch.manual_seed(seed)
    model = manifold()  # the same start for all
    generator = torch.Generator().manual_seed(seed)
    memories, snapshots, table, drifts, fits, spent = [], [], [], [], [], 0.0
    for t, (x, y) in enumerate(data["train"]):
        begin = time.process_time()
        optimizer = torch.optim.Adam(model.parameters(), lr=LR)
        for _ in range(steps):
            batch = torch.randint(len(x), (BATCH,), generator=generator)
            optimizer.zero_grad()
            output, charts = model(x[batch])
            loss = cross_entropy(output, y[batch])
            if memories:
                loss = loss + strength * penalty(model, memories)
            if geometry:
                loss = loss + fisher_loss(model, charts, damping=DAMPING)
            loss.backward()
            optimizer.step()
        if strength and t < TASKS - 1:
            memories.append(remember(method, model, x))
        spent += time.process_time() - begin
        table.append([accuracy(model, *task) for task in data[part]])
        if geometry:
            fits.append(misfit(model, x))
            drifts += [
                {"task": k, "after": t, "drop": table[k][k] - table[t][k], **drift(old, model, data[part][k][0])}
                for k, old in enumerate(snapshots)
            ]
            snapshots.append(copy.deepcopy(model))
    return {"accuracy": table, "drift": drifts, "fit": fits, "seconds": spent}


def train_at_once(seed, steps, data, part):
    """Accuracy on each task after as many steps on all tasks together."""
    x, y = (torch.cat(a) for a in zip(*data["train"], strict=True))
    together = {"train": [(x, y)], part: data[part]}
    return train("nothing", 0.0, seed, TASKS * steps, together, part, geometry=False)["accuracy"][0]


# ---------------------------------------------------------------------------------------------- drift of the geometry


def distance(g, h):
    r"""The affine-invariant distance $\| \log(g^{-1/2} h g^{-1/2}) \|$ of metrics, over the root of the dimension."""
    L = torch.linalg.cholesky(g)
    half = torch.linalg.solve_triangular(L, h, upper=False)
    between = torch.linalg.solve_triangular(L, half.mT, upper=False)
    return torch.linalg.eigvalsh(0.5 * (between + between.mT)).log().square().mean(-1).sqrt()


@torch.no_grad()
def drift(old, new, x, points=40):
    """How far metrics moved at points of an old task, mean over points and layers, and how far the points moved."""
    fixed, carried, moved = [], [], []
    for before, after in zip(old.charts(x[:points]), new.charts(x[:points]), strict=True):
        g = before.g
        fixed.append(distance(g, after.metric(before.coordinates)).mean().item())
        carried.append(distance(g, after.g).mean().item())
        moved.append((after.coordinates - before.coordinates).square().mean().sqrt().item())
    return {"metric": float(np.mean(fixed)), "along data": float(np.mean(carried)), "points": float(np.mean(moved))}


# ---------------------------------------------------------------------------------------------------------- figures


def figures(run):
    """Mean accuracy at the end, right after learning, and how much of the latter the old tasks lost."""
    table = np.array(run["accuracy"])
    learned = table.diagonal()
    return {
        "accuracy": float(table[-1].mean()),
        "when_learned": float(learned.mean()),
        "forgetting": float((learned - table[-1])[:-1].mean()),
    }


def tune(method, seeds, steps, data, bar, grid):
    """The strength of greatest mean accuracy at the end on the tuning part, and whether it is at the grid's edge."""
    if len(grid) == 1:
        return grid[0], False
    scores = {}
    for strength in grid:
        results = []
        for seed in seeds:
            run = train(method, strength, seed, steps, data, "tune", geometry=method == "learned")
            results.append(figures(run)["accuracy"])
            bar.update()
        scores[strength] = float(np.mean(results))
    best = max(scores, key=scores.__getitem__)
    return best, best in (grid[0], grid[-1])


def interval(differences):
    """Mean and half width of the 95% confidence interval of Student's t."""
    d = np.asarray(differences, dtype=float)
    half = scipy.stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return {"mean": float(d.mean()), "half_width": float(half)}


BASELINES = [method for method in STRENGTHS if method != "learned"]


def report(runs, best, edges):
    table, by_method = {}, {method: [figures(run) for run in of_seeds] for method, of_seeds in runs.items()}
    for method, rows in by_method.items():
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        table[method] = {
            "strength": best[method],
            "at_edge_of_grid": edges[method],
            **{key: {"mean": float(np.mean(c)), "std": float(np.std(c, ddof=1))} for key, c in columns.items()},
            "forgetting minus": {
                baseline: interval([a["forgetting"] - b["forgetting"] for a, b in zip(rows, others, strict=True)])
                for baseline, others in by_method.items()
                if baseline in BASELINES and baseline != method
            },
            "accuracy minus": {
                baseline: interval([a["accuracy"] - b["accuracy"] for a, b in zip(rows, others, strict=True)])
                for baseline, others in by_method.items()
                if baseline in BASELINES and baseline != method
            },
            "drift": {
                key: float(np.mean([d[key] for run in runs[method] for d in run["drift"]]))
                for key in ("metric", "along data", "points")
            },
            "fit": float(np.median([run["fit"] for run in runs[method]])),
            "seconds": float(np.mean([run["seconds"] for run in runs[method]])),
        }
    return table


def warning(runs):
    """Rank correlation, over pairs of tasks, of how far something moved with the accuracy lost; mean over seeds."""
    return {
        key: interval(
            [
                scipy.stats.spearmanr([d[key] for d in run["drift"]], [d["drop"] for d in run["drift"]]).statistic
                for run in runs
            ]
        )
        for key in ("metric", "along data", "points")
    }


def show(table, at_once, seeds):
    print(f"\n{seeds} seeds; test accuracy in %, mean over five tasks ± deviation; all tasks at once: {at_once:.1f}")
    for method, row in table.items():
        f = {
            key: f"{100 * row[key]['mean']:.1f} ± {100 * row[key]['std']:.1f}"
            for key in ("accuracy", "when_learned", "forgetting")
        }
        edge = " (edge of the grid)" if row["at_edge_of_grid"] else ""
        print(
            f"\n{method}: strength {row['strength']:g}{edge}, {row['seconds']:.1f} s"
            f"\n  at the end {f['accuracy']}, when learned {f['when_learned']}, forgetting {f['forgetting']}"
            f"\n  drift: metrics {row['drift']['metric']:.2f}, along data {row['drift']['along data']:.2f}, "
            f"points {row['drift']['points']:.2f}; relative error of E[g] {row['fit']:.2f}"
        )
        for words in ("accuracy minus", "forgetting minus"):
            differences = (f"{k}'s {100 * d['mean']:+.1f} ± {100 * d['half_width']:.1f}" for k, d in row[words].items())
            print(f"  {words} " + ", ".join(differences))


def conclusion(table, correlations):
    """What the intervals say, in words."""
    lines = ["found (95%, pairs):"]
    for key, better, worse in (("accuracy", "higher", "LOWER"), ("forgetting", "MORE", "less")):
        for baseline, d in table["learned"][f"{key} minus"].items():
            sure = abs(d["mean"]) > d["half_width"]
            verdict = f"{better if d['mean'] > 0 else worse} {key}" if sure else f"no difference shown in {key}"
            lines.append(f"  the learned metric against {baseline}: {verdict}")
    for key, d in correlations.items():
        words = {"metric": "metrics at fixed points", "along data": "metrics along data", "points": "points"}[key]
        lines.append(f"  drift of {words} ranks what is forgotten with {d['mean']:+.2f} ± {d['half_width']:.2f}")
    return "\n".join(lines)


def check(data):
    """One datum, one layer moved: (θ - θ*)ᵀ G (θ - θ*) is twice the relative entropy, to second order."""
    torch.manual_seed(0)
    model = manifold().double()
    x = data["test"][0][0][:1].double()
    moved = copy.deepcopy(model)
    with torch.no_grad():
        linears(moved)[0].weight += 1e-4 * torch.randn(32, 64, dtype=x.dtype)
        p, q = (m(x)[0].log_softmax(-1) for m in (model, moved))
        entropy = (p.exp() * (p - q)).sum().item()
        ratio = penalty(moved, [remember("EWC Kronecker", model, x)]).item() / (2 * entropy)
    print(f"penalty over twice the relative entropy: {ratio:.5f}: " + ("right" if abs(ratio - 1) < 1e-2 else "WRONG"))
    return ratio


def draw(runs, table, correlations, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for color, (method, of_seeds) in zip(plt.cm.tab10.colors, runs.items(), strict=False):
        means = np.array(
            [[np.mean(run["accuracy"][t][: t + 1]) for t in range(TASKS)] for run in of_seeds]
        )  # over tasks seen
        axes[0].plot(range(1, TASKS + 1), 100 * means.mean(0), color=color, marker="o", label=method)
        axes[0].fill_between(
            range(1, TASKS + 1), 100 * means.min(0), 100 * means.max(0), color=color, alpha=0.12, linewidth=0
        )
    axes[0].set(xlabel="tasks learned", ylabel="accuracy in % on tasks seen (mean, range)", xticks=range(1, TASKS + 1))
    axes[0].set_ylim(bottom=70)
    axes[0].legend(frameon=False, ncols=2, fontsize=9, loc="lower left")
    drifts = [d for run in runs["nothing"] for d in run["drift"]]
    for axis, key, words in (
        (axes[1], "metric", "drift of metrics at fixed points"),
        (axes[2], "points", "drift of points"),
    ):
        points = axis.scatter(
            [d[key] for d in drifts], [100 * d["drop"] for d in drifts], c=[d["task"] + 1 for d in drifts], s=18
        )
        axis.set(xlabel=words, ylabel="accuracy lost in %, no penalty")
        axis.set_title(f"rank correlation {correlations[key]['mean']:+.2f} ± {correlations[key]['half_width']:.2f}")
    figure.colorbar(points, ax=axes[2], label="old task", ticks=range(1, TASKS))
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("RIEMANN_QUICK")))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=60, help="of each task")
    parser.add_argument("--out", type=Path, default=Path("build/continual"))
    arguments = parser.parse_args()
    seeds, steps = (2, 2) if arguments.quick else (arguments.seeds, arguments.steps)
    torch.set_num_threads(1)
    data = digits()
    tuning = [1000, 1001]
    grids = {m: grid[len(grid) // 2 :][:1] if arguments.quick else grid for m, grid in STRENGTHS.items()}
    runs, best, edges = {}, {}, {}
    total = sum((len(grid) > 1) * len(grid) * len(tuning) + seeds for grid in grids.values())
    with tqdm(total=total) as bar:
        for method, grid in grids.items():
            bar.set_description(method)
            best[method], edges[method] = tune(method, tuning, steps, data, bar, grid)
            runs[method] = []
            for seed in range(seeds):
                runs[method].append(train(method, best[method], seed, steps, data, "test", geometry=True))
                bar.update()
    at_once = 100 * float(np.mean([train_at_once(seed, steps, data, "test") for seed in range(seeds)]))
    table, correlations = report(runs, best, edges), warning(runs["nothing"])
    show(table, at_once, seeds)
    print()
    ratio = check(data)
    print(f"\n{conclusion(table, correlations)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = {"steps": steps, "seeds": seeds, "torch": torch.__version__, "all_at_once": at_once, "check": ratio}
    results |= {"table": table, "correlations": correlations, "runs": runs}
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1))
    draw(runs, table, correlations, arguments.out / "forgetting.png")
    print(f"\nwrote results.json and forgetting.png in {arguments.out}")


if __name__ == "__main__":
    main()
