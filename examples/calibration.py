"""Test losses of manifold networks at default settings beside those of an MLP of the same dimensions.

Two ways to train: the estimators of scikit-learn (AdamW with weight decay, early stopping, a temperature from what was
held out), with their default decay and, for the MLP, with torch's too; and a bare loop (Adam, no weight decay, no
stopping). Five small data sets, and two moons. Figures are mean losses on held-out data: cross-entropy, or the square
error over the variance of targets.
"""

import argparse
import json
import os
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine, make_moons
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from torch.nn.functional import cross_entropy, mse_loss
from tqdm import tqdm

import riemann_nn as nn
from riemann_nn._estimators import estimators

SETS = {
    "iris": lambda: load_iris(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "breast cancer": lambda: load_breast_cancer(return_X_y=True),
    "digits": lambda: load_digits(return_X_y=True),
    "diabetes": lambda: load_diabetes(return_X_y=True),
    "moons": lambda: make_moons(300, noise=0.25, random_state=0),
}
VALUES = {"diabetes"}
WIDTHS = (16, 8)


class Perceptron(torch.nn.Module):
    """An MLP behind the interface of a manifold network; it has no charts. Its values are in units of the targets."""

    def __init__(self, input_dim, hidden_dims, output_dim, task=None, **unused):
        super().__init__()
        dims = [input_dim, *hidden_dims]
        layers = [m for a, b in zip(dims, dims[1:], strict=False) for m in (torch.nn.Linear(a, b), torch.nn.Tanh())]
        self.net = torch.nn.Sequential(*layers)
        self.head = nn.LinearHead(dims[-1], output_dim, task)

    def forward(self, x):
        """Output and no charts."""
        return self.head([nn.Chart(self.net(x), None, self.net)]), []


OTHERS = {  # of scikit-learn, at their defaults: for classes, for values
    "linear": (lambda seed: LogisticRegression(max_iter=1000), lambda seed: Ridge()),
    "boosting": (
        lambda seed: HistGradientBoostingClassifier(random_state=seed),
        lambda seed: HistGradientBoostingRegressor(random_state=seed),
    ),
}
KINDS = {"manifold": nn.NeuralDifferentialManifold, "MLP": Perceptron, "MLP, its decay": Perceptron}


def split(name, seed):
    """Scaled features and targets, 70% to train on."""
    X, y = SETS[name]()
    train, test, y, truth = train_test_split(
        X, y, test_size=0.3, random_state=seed, stratify=None if name in VALUES else y
    )
    center, deviation = train.mean(0), train.std(0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    return (train - center) / deviation, (test - center) / deviation, y, truth


def by_estimator(kind, name, seed):
    """The loss of `NDMClassifier` or `NDMRegressor`, with either network inside; or of another model."""
    train, test, y, truth = split(name, seed)
    if kind in OTHERS:
        model = OTHERS[kind][name in VALUES](seed).fit(train, y)
    else:
        make = nn.NDMRegressor if name in VALUES else nn.NDMClassifier
        options = {"weight_decay": 1e-2} if kind == "MLP" else {}
        with mock.patch.object(estimators, "NeuralDifferentialManifold", KINDS[kind]):
            model = make(hidden_dims=WIDTHS, random_state=seed, **options).fit(train, y)
    if name in VALUES:
        return float(np.mean((model.predict(test) - truth) ** 2) / truth.var())
    return float(log_loss(truth, model.predict_proba(test), labels=model.classes_))


def by_loop(kind, name, seed, epochs):
    """The loss after a bare loop."""
    train, test, y, truth = split(name, seed)
    x, held = (torch.as_tensor(a, dtype=torch.float32) for a in (train, test))
    values = name in VALUES
    y, truth = (
        torch.as_tensor(a, dtype=torch.float32).unsqueeze(1) if values else torch.as_tensor(a) for a in (y, truth)
    )
    torch.manual_seed(seed)
    outputs, loss = (1, mse_loss) if values else (int(y.max()) + 1, cross_entropy)
    model = KINDS[kind](x.shape[1], list(WIDTHS), outputs, task="values" if values else "classes")
    step = nn.TrainingStep(model, loss, nn.EvolutionLoss(curvature=0.0, volume=0.0, monitor=None))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            step(x[batch], y[batch])[0].backward()
            optimizer.step()
    with torch.no_grad():
        scale = truth.var(correction=0) if values else 1.0
        return float(loss(model.eval()(held)[0], truth) / scale)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="build/calibration")
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("RIEMANN_QUICK")))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    seeds, epochs, names = (1, 3, ["iris", "diabetes"]) if options.quick else (options.seeds, 60, options.sets)
    ways = {"estimator": by_estimator, "loop": lambda *args: by_loop(*args, epochs)}
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    results = {"seeds": seeds, "epochs of the loop": epochs, "losses": {}}
    for name in names:
        for way, loss in ways.items():
            kinds = [*KINDS, *OTHERS] if way == "estimator" else list(KINDS)[:2]
            row = {kind: [] for kind in kinds}
            for seed in tqdm(range(seeds), desc=f"{name}, {way}", disable=bool(os.environ.get("QUIET"))):
                for kind in kinds:
                    row[kind].append(round(loss(kind, name, seed), 4))
            results["losses"][f"{name}, {way}"] = row
        (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


def table(results):
    """The results as the documentation shows them: means and deviations over seeds, and ratios of means."""
    kinds = [*KINDS, *OTHERS]
    lines = [f"| data, trained by | {' | '.join(kinds)} | manifold / MLP |", "| --- |" + " --- |" * (len(kinds) + 1)]
    for name, row in results["losses"].items():
        said = [f"{np.mean(row[k]):.3f} ± {np.std(row[k]):.3f}" if k in row else "" for k in kinds]
        ratio = np.mean(row["manifold"]) / np.mean(row["MLP"])
        lines.append(f"| {' | '.join([name, *said])} | {ratio:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
