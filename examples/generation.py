"""What geometry gives to generation: likelihood, samples, and paths between data, beside flows and flow matching.

Densities: a flow; the same with a mixture (of classes, where there are labels) for its base; with a learned metric
whose volume enters the likelihood; flow matching along straight lines; and along paths that are short in the metric
that the flow's density makes (Riemannian flow matching); one Gaussian, and many, fitted by likelihood. Paths: straight,
spherical, straight in the chart of the flow, geodesic in that metric. Data: a noisy roll, whose surface is known, and
digits in eight principal coordinates.
"""

import argparse
import copy
import itertools
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture
from tqdm import tqdm

import riemann as rm
from riemann_nn import GenerativeManifold, MetricNet

BATCH, SETS = 256, ("roll", "digits")


# ----------------------------------------------------------------------------------------------------------- the data


def roll(count, generator, noise=0.05):
    """Points of a rolled strip in space."""
    u, h = torch.rand(2, count, generator=generator)
    angle = 1.5 * math.pi * (1 + 2 * u)
    x = torch.stack((angle * torch.cos(angle) / 10, 2 * h - 1, angle * torch.sin(angle) / 10), -1)
    return x + noise * torch.randn(count, 3, generator=generator)


def data(name, seed):
    """Parts to train, to choose and to test on, labels of the first, and what distances are measured to."""
    generator = torch.Generator().manual_seed(seed)
    if name == "roll":
        parts = [roll(count, generator) for count in (2000, 1000, 1000)]
        return *parts, None, roll(20_000, generator, noise=0.0)
    pixels, labels = (torch.tensor(a) for a in load_digits(return_X_y=True))
    order = torch.randperm(len(pixels), generator=generator)
    pixels, labels = (pixels[order] / 16).float(), labels[order]
    mean = pixels[:1200].mean(0)
    axes = torch.linalg.svd(pixels[:1200] - mean, full_matrices=False).Vh[:8]
    x = (pixels - mean) @ axes.T
    return x[:1200], x[1200:1450], x[1450:], labels[:1200], x[1450:]


def distances(x, to):
    """To the nearest of some points."""
    return torch.cdist(x.float().reshape(-1, x.shape[-1]), to.float()).amin(-1).reshape(x.shape[:-1])


# ------------------------------------------------------------------------------------------------------ the densities


def trained(model, x, labels, chosen_on, steps, conditional=False):
    """A model by its likelihood, as it was when points to choose on were likeliest."""
    model.start_at(x)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, kept = -math.inf, None
    for step in range(steps):
        batch = torch.randint(len(x), (BATCH,))
        optimizer.zero_grad()
        (-model.log_prob(x[batch], labels[batch] if conditional else None).mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % max(1, steps // 20) == 0:
            with torch.no_grad():
                now = float(model.eval().log_prob(chosen_on).mean())
            model.train()
            if now > best:
                best, kept = now, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return model.eval().requires_grad_(False)


def manifolds(n, labels):
    """The three generative manifolds, of about the same size."""
    return {
        "flow": GenerativeManifold(n, hidden=(48, 48)),
        "flow, mixture": GenerativeManifold(n, classes=6 if labels is None else 10, hidden=(48, 48)),
        "flow, learned volume": GenerativeManifold(
            n, MetricNet(n, (48, 48), "conformal", log_range=3 / n), coupling="volume", hidden=(40, 40)
        ),
    }


def perceptron(*widths):
    layers = [m for a, b in zip(widths, widths[1:], strict=False) for m in (torch.nn.Linear(a, b), torch.nn.SiLU())]
    return torch.nn.Sequential(*layers[:-1])


class Gaussians:
    """One Gaussian, which is the linear model among densities, or as many as make points to choose on likeliest."""

    def __init__(self, x, chosen_on, seed, counts):
        fits = [GaussianMixture(count, reg_covar=1e-4, random_state=seed).fit(x.numpy()) for count in counts]
        self.model = max(fits, key=lambda model: model.score(chosen_on.numpy()))
        n = x.shape[-1]
        self.size = self.model.n_components * (1 + n + n * (n + 1) // 2) - 1

    def log_prob(self, x):
        return torch.as_tensor(self.model.score_samples(x.numpy()))

    def sample(self, count):
        return torch.as_tensor(self.model.sample(count)[0]).float()


class FlowMatching:
    """A field whose flow takes normal points to the data, learned along straight or along short paths.

    Short paths are straight ones and t(1 - t) times a network, which is trained first on their energy in the metric.
    """

    def __init__(self, x, steps, metric=None):
        n = x.shape[-1]
        self.center, self.unit = x.mean(0), x.std(0)
        self.field, self.bend = perceptron(n + 1, 128, 128, 128, n), perceptron(2 * n + 1, 64, 64, n)
        torch.nn.init.zeros_(self.bend[-1].weight)
        torch.nn.init.zeros_(self.bend[-1].bias)
        y = (x - self.center) / self.unit
        self.size = sum(
            p.numel() for net in (self.field, self.bend)[: 1 if metric is None else 2] for p in net.parameters()
        )

        def loop(net, steps, loss):
            optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            for _ in range(steps):
                end = y[torch.randint(len(y), (BATCH,))]
                start, t = torch.randn_like(end), torch.rand(BATCH, 1)
                optimizer.zero_grad()
                loss(*self.path(start, end, t, metric is not None), t).backward()
                optimizer.step()
                schedule.step()

        def energy(at, v, t):
            return metric.squared_lengths(self.center + self.unit * at, self.unit * v).mean()

        def error(at, v, t):
            return (self.field(torch.cat((at, t), -1)) - v).square().mean()

        if metric is not None:
            loop(self.bend, steps // 3, energy)
            self.bend.requires_grad_(False)
        loop(self.field, steps, error)
        self.field.requires_grad_(False)

    def path(self, start, end, t, bent):
        """Where a path is, and how fast."""
        at, v = torch.lerp(start, end, t), end - start
        if not bent:
            return at, v
        along = lambda t: self.bend(torch.cat((start, end, t), -1))
        h = 1e-2
        bend, slope = along(t), (along(t + h) - along(t - h)) / (2 * h)
        return at + t * (1 - t) * bend, v + (1 - 2 * t) * bend + t * (1 - t) * slope

    def velocity(self, x, t):
        return self.field(torch.cat((x, x.new_full((*x.shape[:-1], 1), t)), -1))

    def carried(self, x, start, end, steps=32):
        """Points along the field, and the logarithm of how much it spreads them: by Runge and Kutta, order 4."""
        total, h = x.new_zeros(len(x)), (end - start) / steps

        def slope(x, t):
            J = torch.func.vmap(torch.func.jacrev(lambda p: self.velocity(p, t)))(x)
            return self.velocity(x, t), J.diagonal(dim1=-2, dim2=-1).sum(-1)

        for k in range(steps):
            t = start + k * h
            v1, d1 = slope(x, t)
            v2, d2 = slope(x + h / 2 * v1, t + h / 2)
            v3, d3 = slope(x + h / 2 * v2, t + h / 2)
            v4, d4 = slope(x + h * v3, t + h)
            x = x + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
            total = total + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
        return x, total

    def log_prob(self, x):
        z, spread = self.carried((x - self.center) / self.unit, 1.0, 0.0)
        normal = -0.5 * (z.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi))
        return normal + spread - self.unit.log().sum()

    def sample(self, count):
        return self.center + self.unit * self.carried(torch.randn(count, len(self.unit)), 0.0, 1.0)[0]


# -------------------------------------------------------------------------------------------------------- the figures


def of_samples(x, test, near):
    """How far samples are from the data; how many data have one as near as data have each other; how alike they are."""
    gaps = torch.cdist(test, test).fill_diagonal_(math.inf).amin(-1)
    own = torch.cdist(x, x).fill_diagonal_(math.inf).amin(-1)
    return {
        "distance": float(distances(x, near).mean()),
        "coverage": float((distances(test, x) <= 1.5 * gaps.median()).float().mean()),
        "spacing": float(own.mean() / gaps.mean()),
    }


def spherical(a, b, t, center):
    """Great circles about a center, with the radius changing evenly."""
    a, b = a - center, b - center
    r, s = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    angle = torch.arccos(((a / r) * (b / s)).sum(-1, keepdim=True).clamp(-1, 1)).clamp_min(1e-6)
    t = t[:, None, None]
    direction = (torch.sin((1 - t) * angle) * a / r + torch.sin(t * angle) * b / s) / torch.sin(angle)
    return center + torch.lerp(r, s, t) * direction


def curvature(metric, x):
    """The absolute value of the scalar curvature."""
    return rm.scalar_curvature(metric, x).abs()


def experiment(name, seed, steps, pairs, sides):
    """All figures of one seed."""
    x, chosen_on, test, labels, near = data(name, seed)
    torch.manual_seed(seed)
    models, row = {}, {"densities": {}, "sampling": {}, "paths": {}}

    def note(kind, model, begin, size):
        with torch.no_grad():
            figures = of_samples(model.sample(len(test)), test, near)
            figures["log-likelihood"] = float(model.log_prob(test).mean())
        row["densities"][kind] = {**figures, "seconds": round(time.process_time() - begin, 1), "parameters": size}

    for kind, model in manifolds(x.shape[-1], labels).items():
        begin, size = time.process_time(), sum(p.numel() for p in model.parameters())
        conditional = kind == "flow, mixture" and labels is not None
        models[kind] = trained(model, x, labels, chosen_on, steps, conditional)
        note(kind, models[kind], begin, size)
    for kind, counts in {"one Gaussian": (1,), "Gaussians": (5, 10, 20, 40)}.items():
        begin = time.process_time()
        gaussians = Gaussians(x, chosen_on, seed, counts)
        note(kind, gaussians, begin, gaussians.size)
    flow = models["flow, mixture"]
    metric = flow.density_metric(1.0)
    for kind, given in {"flow matching": None, "flow matching, metric": metric}.items():
        begin = time.process_time()
        matching = FlowMatching(x, steps, given)
        note(kind, matching, begin, matching.size)

    typical = curvature(metric, test).median()
    for kind, samples in {
        "density": lambda: flow.sample(len(test)),
        "uniform in the volume of the chart": lambda: flow.sample_uniform(len(test)),
        "uniform in the volume of the data": lambda: flow.sample_uniform(len(test), metric=flow.density_metric(0.0)),
        "away from curvature": lambda: flow.sample(len(test), log_weight=lambda x: -curvature(metric, x) / typical),
    }.items():
        row["sampling"][kind] = of_samples(samples(), test, near)

    a, b = test[: 2 * pairs].chunk(2)
    near = test[2 * pairs :] if name == "digits" else near  # without the ends of the paths
    t = torch.linspace(0, 1, 17)
    paths = {
        "straight": torch.lerp(a, b, t[:, None, None]),
        "spherical": spherical(a, b, t, x.mean(0)),
        "straight in the chart": flow.interpolate(a, b, t),
        "geodesic, s = 1": flow.interpolate(a, b, t, metric=metric, sides=sides),
        "geodesic, s = 2": flow.interpolate(a, b, t, metric=flow.density_metric(2.0), sides=sides),
    }
    for kind, path in paths.items():
        gaps = distances(path[1:-1], near)
        length = path.diff(dim=0).norm(dim=-1).sum(0)
        row["paths"][kind] = {
            "distance": float(gaps.mean()),
            "largest": float(gaps.amax(0).mean()),
            "length": float((length / (b - a).norm(dim=-1)).median()),
        }
    row["data"] = {"distance": float(distances(x if name == "digits" else test, near).mean())}
    return row


def table(rows, part):
    """Means and deviations over seeds, as the documentation shows them."""
    columns = list(next(iter(rows[0][part].values())))
    lines = [f"| {part} | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for kind in rows[0][part]:
        cells = []
        for column in columns:
            values = np.array([row[part][kind][column] for row in rows])
            spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
            whole = column in ("parameters", "seconds")
            cells.append(f"{values.mean():,.0f}" if whole else f"{values.mean():.3f}{spread}")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("RIEMANN_QUICK")))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=Path("build/generation"))
    options = parser.parse_args()
    seeds, steps, pairs, sides = (2, 20, 2, 6) if options.quick else (options.seeds, options.steps, 24, 24)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    results = {"seeds": seeds, "steps": steps, "torch": torch.__version__, **{name: [] for name in SETS}}
    with tqdm(total=2 * seeds) as bar:
        for seed, name in itertools.product(range(seeds), SETS):
            bar.set_description(f"{name}, seed {seed}")
            results[name].append(experiment(name, seed, steps, pairs, sides))
            bar.update()
            (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    for name in SETS:
        floor = np.mean([row["data"]["distance"] for row in results[name]])
        print(f"\n{name}: mean ± deviation over {seeds} seeds; data are at distance {floor:.3f}")
        for part in ("densities", "sampling", "paths"):
            print("\n" + table(results[name], part))
            values = [v for row in results[name] for figures in row[part].values() for v in figures.values()]
            if not np.isfinite(values).all():
                print("WRONG: a figure is not finite")


if __name__ == "__main__":
    main()
