"""Steps and seconds to a training loss on handwritten digits: natural gradient beside SGD, Adam, Muon and SOAP, tuned.

A network 64-32-32-10 with tanh, batches of 200. Each optimiser is tuned on seeds of its own, then measured on others:
every optimiser sees the same start and the same batches of a seed. Seconds are those of the processor, one thread.
"""

import argparse
import copy
import itertools
import json
import logging
import math
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import scipy.stats
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from riemann_nn import MLPCholesky, NaturalGradient, pulled_back_fisher

BATCH, TARGET = 200, 0.1
logging.getLogger("riemann_nn").setLevel(logging.ERROR)  # what Adam trains would be said once a run


def digits():
    """Pixels in [0, 1] and labels: a training and a test part, always the same."""
    x, y = load_digits(return_X_y=True)
    parts = train_test_split(x / 16, y, test_size=500, random_state=0, stratify=y)
    dtypes = (torch.float32, torch.float32, torch.int64, torch.int64)
    return [torch.as_tensor(part).to(dtype) for part, dtype in zip(parts, dtypes, strict=True)]


class FittedMetric(torch.nn.Module):
    """A network metric in the units of what it is fitted to: a scale times an `MLPCholesky`."""

    def __init__(self, dim):
        super().__init__()
        self.net = MLPCholesky(dim, (32,))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, s):
        return self.scale * self.net(s)

    def fit_loss(self, s, g, damping=1e-2):
        """Relative square error against metrics g at points s, made definite; takes the scale over."""
        self.scale.copy_(g.diagonal(dim1=-2, dim2=-1).mean())
        target = g / self.scale + damping * torch.eye(s.shape[-1])
        return (self.net(s) - target).square().sum() / target.square().sum()


class Classifier(torch.nn.Module):
    """64-32-32-10, and, if asked, a network for the metric on each linear layer's output."""

    def __init__(self, metrics):
        super().__init__()
        widths = (64, 32, 32, 10)
        self.linears = torch.nn.ModuleList(torch.nn.Linear(i, o) for i, o in zip(widths, widths[1:], strict=False))
        self.metrics = torch.nn.ModuleList(FittedMetric(n) for n in widths[1:] if metrics)

    def forward(self, x):
        for linear in self.linears[:-1]:
            x = torch.tanh(linear(x))
        return self.linears[-1](x)

    def induced_metrics(self):
        return dict(zip(self.linears, self.metrics, strict=True))

    def fit_loss(self, x):
        """The metrics against the pulled-back Fisher metric at x, added up."""
        loss, h = 0.0, x
        fisher = pulled_back_fisher(self, x)
        for linear, metric in self.induced_metrics().items():
            s = linear(h).detach()
            loss = loss + metric.fit_loss(s, fisher[linear])
            h = torch.tanh(s)
        return loss


def sgd(model, lr, momentum):
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)


def adam(model, lr):
    return torch.optim.Adam(model.parameters(), lr=lr)


class Muon:
    """torch's Muon on matrices, Adam on the rest."""

    def __init__(self, model, lr, inner_lr):
        matrices, others = ([p for p in model.parameters() if (p.ndim == 2) is kind] for kind in (True, False))
        self.parts = torch.optim.Muon(matrices, lr=lr, weight_decay=0.0), torch.optim.Adam(others, lr=inner_lr)

    def zero_grad(self):
        for part in self.parts:
            part.zero_grad()

    def step(self):
        for part in self.parts:
            part.step()


class SOAP(torch.optim.Optimizer):
    """Adam in the eigenbases of Shampoo's statistics G G^T and G^T G (Vyas et al., arXiv 2409.11321)."""

    def __init__(self, model, lr, refresh, betas=(0.9, 0.95), eps=1e-8):
        super().__init__(model.parameters(), {"lr": lr, "refresh": refresh, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            (b1, b2), lr = group["betas"], group["lr"]
            for p in group["params"]:
                G, s = p.grad.reshape(len(p), -1), self.state[p]
                if not s:
                    s.update(k=0, m=torch.zeros_like(G), v=torch.zeros_like(G), L=G @ G.T, R=G.T @ G)
                s["L"], s["R"] = b2 * s["L"] + (1 - b2) * G @ G.T, b2 * s["R"] + (1 - b2) * G.T @ G
                if s["k"] % group["refresh"] == 0:
                    s["Q"] = torch.linalg.eigh(s["L"]).eigenvectors, torch.linalg.eigh(s["R"]).eigenvectors
                s["k"] += 1
                left, right = s["Q"]
                s["m"] = b1 * s["m"] + (1 - b1) * G
                s["v"] = b2 * s["v"] + (1 - b2) * (left.T @ G @ right).square()
                m, v = left.T @ s["m"] @ right / (1 - b1 ** s["k"]), s["v"] / (1 - b2 ** s["k"])
                p.sub_((lr * left @ (m / (v.sqrt() + group["eps"])) @ right.T).reshape(p.shape))


def natural(model, metric, lr, damping):
    return NaturalGradient(model, lr=lr, metric=metric, damping=damping, momentum=0.9, inner_lr=1e-2, clip=None)


NATURAL = {"lr": (0.003, 0.01, 0.03, 0.1, 0.3), "damping": (1e-4, 1e-3, 1e-2)}
OPTIMISERS = {
    "SGD": (sgd, {"lr": (0.03, 0.1, 0.3, 1.0), "momentum": (0.0, 0.9, 0.95, 0.98)}),
    "Adam": (adam, {"lr": (1e-3, 3e-3, 0.01, 0.03, 0.1)}),
    "Muon": (Muon, {"lr": (0.01, 0.03, 0.1, 0.3, 1.0), "inner_lr": (3e-3, 0.01, 0.03)}),
    "SOAP": (SOAP, {"lr": (3e-3, 0.01, 0.03, 0.1, 0.3), "refresh": (1, 3, 10)}),
    "FOOF": (partial(natural, metric="identity"), NATURAL),
    "K-FAC": (partial(natural, metric="fisher"), NATURAL),
    "learned": (partial(natural, metric="learned"), NATURAL),
}


def train(name, options, seed, steps, data):
    """Training loss after each step, seconds up to there, test loss and accuracy at the end."""
    x, x_test, y, y_test = data
    torch.manual_seed(seed)
    model = Classifier(metrics=False)  # the same start for all
    if name == "learned":
        start, model = copy.deepcopy(model.state_dict()), Classifier(metrics=True)
        model.load_state_dict(start, strict=False)
    optimizer = OPTIMISERS[name][0](model, **options)
    generator = torch.Generator().manual_seed(seed)
    losses, seconds, spent = [], [], 0.0
    for _ in range(steps):
        batch = torch.randperm(len(x), generator=generator)[:BATCH]
        begin = time.process_time()
        optimizer.zero_grad()
        cross_entropy(model(x[batch]), y[batch]).backward()
        if name == "learned":
            model.fit_loss(x[batch[:50]]).backward()  # Adam, inside the optimiser, trains the metrics
        optimizer.step()
        spent += time.process_time() - begin
        with torch.no_grad():
            losses.append(cross_entropy(model(x), y).item())
        seconds.append(spent)
        if not np.isfinite(losses[-1]) or losses[-1] > 1e3:  # diverged
            losses += [float("inf")] * (steps - len(losses))
            seconds += [spent] * (steps - len(seconds))
            break
    with torch.no_grad():
        z = model(x_test)
        accuracy = (z.argmax(-1) == y_test).float().mean().item()
    return {"losses": losses, "seconds": seconds, "test_loss": cross_entropy(z, y_test).item(), "accuracy": accuracy}


def steps_to_target(run):
    """The first step at whose end the training loss is at most the target; None if there is none."""
    return next((k + 1 for k, loss in enumerate(run["losses"]) if loss <= TARGET), None)


def middle(grid):
    """A smaller grid, of two values an option."""
    return {key: values[len(values) // 2 - 1 :][:2] for key, values in grid.items()}


def tune(name, grid, seeds, steps, data, bar):
    """The options of least training loss at the end (geometric mean over seeds), and those at the edge of the grid."""
    scores = {}
    for values in itertools.product(*grid.values()):
        runs = []
        for seed in seeds:
            runs.append(train(name, dict(zip(grid, values, strict=True)), seed, steps, data))
            bar.update()
        scores[values] = float(np.mean([np.log(max(run["losses"][-1], 1e-12)) for run in runs]))
    best = dict(zip(grid, min(scores, key=scores.__getitem__), strict=True))
    return best, [key for key, values in grid.items() if best[key] in (values[0], values[-1])]


def interval(differences):
    """Mean and half width of the 95% confidence interval of Student's t."""
    d = np.asarray(differences, dtype=float)
    half = scipy.stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return {"mean": float(d.mean()), "half_width": float(half)}


def figures(run, steps):
    """What is compared: where the target is not reached, steps and seconds are those of the whole run."""
    first = steps_to_target(run) or steps
    return {
        "steps": first,
        "seconds": run["seconds"][first - 1],
        "log10_loss": float(np.log10(max(run["losses"][-1], 1e-12))),
        "test_loss": run["test_loss"],
        "accuracy": run["accuracy"],
    }


def report(runs, best, edges, steps):
    """Figures of each optimiser over seeds, and its paired differences to Adam."""
    table = {}
    adam = [figures(run, steps) for run in runs["Adam"]]
    for name in runs:
        mine = [figures(run, steps) for run in runs[name]]
        columns = {key: [f[key] for f in mine] for key in mine[0]}
        table[name] = {
            "options": best[name],
            "at_edge_of_grid": edges[name],
            "reached": sum(steps_to_target(run) is not None for run in runs[name]),
            **{key: {"mean": float(np.mean(c)), "std": float(np.std(c, ddof=1))} for key, c in columns.items()},
            "minus_adam": {
                key: interval([f[key] - g[key] for f, g in zip(mine, adam, strict=True)]) for key in adam[0]
            },
        }
    return table


def show(table, seeds, steps):
    print(f"\n{seeds} seeds, {steps} steps; target: training loss {TARGET}; mean ± deviation over seeds")
    for name, row in table.items():
        edge = f" (edge of the grid: {', '.join(row['at_edge_of_grid'])})" if row["at_edge_of_grid"] else ""
        print(f"\n{name}: {row['options']}{edge}; reached the target {row['reached']} times of {seeds}")
        for key, words, digits in (
            ("steps", "steps to the target", 1),
            ("seconds", "seconds to the target", 3),
            ("log10_loss", "log10 training loss, end", 2),
            ("test_loss", "test loss, end", 3),
            ("accuracy", "test accuracy, end", 4),
        ):
            f, d = row[key], row["minus_adam"][key]
            print(
                f"  {words:26}{f['mean']:9.{digits}f} ± {f['std']:.{digits}f}"
                f"   minus Adam's {d['mean']:+.{digits}f} ± {d['half_width']:.{digits}f} (95%)"
            )


def draw(runs, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for color, (name, of_seeds) in zip(plt.cm.tab10.colors, runs.items(), strict=False):
        losses = np.array([run["losses"] for run in of_seeds])
        seconds = np.mean([run["seconds"] for run in of_seeds], 0)
        for axis, at in zip(axes, (np.arange(1, losses.shape[1] + 1), seconds), strict=True):
            axis.plot(at, np.exp(np.log(losses).mean(0)), color=color, label=name)
            axis.fill_between(at, losses.min(0), losses.max(0), color=color, alpha=0.15, linewidth=0)
    for axis, label in zip(axes, ("step", "processor seconds"), strict=True):
        axis.axhline(TARGET, color="0.5", linewidth=0.8, linestyle=":")
        axis.set(yscale="log", xlabel=label)
    axes[1].set_xscale("log")
    axes[0].set_ylabel("training loss (mean and range over seeds)")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("RIEMANN_QUICK")))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--out", type=Path, default=Path("build/natural_gradient"))
    arguments = parser.parse_args()
    seeds, steps = (2, 15) if arguments.quick else (arguments.seeds, arguments.steps)
    torch.set_num_threads(1)
    data = digits()
    tuning = [1000] if arguments.quick else [1000, 1001]
    grids = {name: middle(grid) if arguments.quick else grid for name, (_, grid) in OPTIMISERS.items()}
    total = sum(math.prod(map(len, grid.values())) * len(tuning) + seeds for grid in grids.values())
    runs, best, edges = {}, {}, {}
    with tqdm(total=total) as bar:
        for name in OPTIMISERS:
            bar.set_description(name)
            best[name], edges[name] = tune(name, grids[name], tuning, steps, data, bar)
            runs[name] = []
            for seed in range(seeds):
                runs[name].append(train(name, best[name], seed, steps, data))
                bar.update()
    table = report(runs, best, edges, steps)
    show(table, seeds, steps)
    arguments.out.mkdir(parents=True, exist_ok=True)
    setting = {"target": TARGET, "steps": steps, "seeds": seeds, "torch": torch.__version__}
    results = {**setting, "table": table}
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "runs.json").write_text(json.dumps(runs))
    draw(runs, arguments.out / "losses.png")
    print(f"\nwrote results.json and losses.png in {arguments.out}")


if __name__ == "__main__":
    main()
