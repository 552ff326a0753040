"""Three claims about geometry in generative models, each asked in one experiment.

1. Geodesics of a probability-flow pull-back decode as straight lines. The flow of a mixture of Gaussians, whose score
   is known exactly, is a diffeomorphism phi from data to noise; its Runge-Kutta rule is one as well. Pulled back along
   its inverse, the flat metric of the data makes a metric on noise; pulled back along phi, that of noise one on data.
2. Turning angles are not curvature: angles between successive steps of a curve in a network's output.
3. Matching Ricci helps few-shot generation only by its volume term: a network of three variables is fitted to twelve
   points of a new surface, and a penalty keeps some geometry of the old one.
"""

import argparse
import copy
import functools
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import scipy.stats
import torch
from tqdm import tqdm

import riemann as rm
from riemann.metrics import Pullback

# ------------------------------------------------------------------------------------- 1. probability flow


class Flow:
    """The probability flow of a mixture of Gaussians under dX = -X/2 dt + dW: from data to noise, and back."""

    def __init__(self, steps, components=5, deviation=0.5, end=5.0):
        angles = 2 * math.pi * torch.arange(components) / components
        self.means = 1.5 * torch.stack([angles.cos(), angles.sin()], -1)
        self.variance = deviation**2
        self.times = end * torch.linspace(0, 1, steps + 1) ** 2  # short steps near the data

    def log_density(self, x, t=0.0):
        """Up to a constant; x is one point or a batch."""
        shrink = math.exp(-t / 2)
        variance = shrink**2 * self.variance + 1 - shrink**2
        square = (x[..., None, :] - shrink * self.means).square().sum(-1)
        return torch.logsumexp(-square / (2 * variance), -1) - math.log(variance)

    def velocity(self, x, t):
        """-(x + score) / 2."""
        shrink = math.exp(-t / 2)
        variance = shrink**2 * self.variance + 1 - shrink**2
        away = x[..., None, :] - shrink * self.means
        weights = torch.softmax(-away.square().sum(-1) / (2 * variance), -1)
        return -(x - (weights[..., None] * away).sum(-2) / variance) / 2

    def along(self, x, times):
        times = times.tolist()
        for t, later in zip(times, times[1:], strict=False):
            h = later - t
            k1 = self.velocity(x, t)
            k2 = self.velocity(x + h / 2 * k1, t + h / 2)
            k3 = self.velocity(x + h / 2 * k2, t + h / 2)
            k4 = self.velocity(x + h * k3, later)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x

    def encode(self, x):
        return self.along(x, self.times)

    def decode(self, z):
        return self.along(z, self.times.flip(0))

    def sample(self, count):
        which = torch.randint(len(self.means), (count,))
        return self.means[which] + math.sqrt(self.variance) * torch.randn(count, 2)


def bending(curves):
    """The largest distance from the chord, over its length, of each of the curves (points, curves, n)."""
    chord = curves[-1] - curves[0]
    length = chord.norm(dim=-1)
    away = curves - curves[0]
    away = away - (away * chord).sum(-1, keepdim=True) / length[:, None] ** 2 * chord
    return (away.norm(dim=-1) / length).amax(0)


def shot(metric, map, start, velocity, count):
    """The geodesic of a pull-back, and what its map makes of it: start and velocity are given in the map's values."""
    (J,) = rm.jet(map, start, 1)[1:]
    v = torch.linalg.solve(J, velocity[..., None])[..., 0]
    points = rm.geodesic(metric, start, v, torch.linspace(0, 1, count), rtol=1e-6).points
    return points, map(points)


def probability_flow(quick):
    """Both pull-backs of the flow, and a decoder with one output more, which is no diffeomorphism onto its space."""
    flow = Flow(steps=6 if quick else 12)
    pairs, count = (2, 9) if quick else (8, 17)
    start, end = flow.decode(torch.randn(2, pairs, 2))
    z, z_end = flow.encode(start), flow.encode(end)
    on_noise, on_data = Pullback(flow.decode), Pullback(flow.encode)
    noise_curve, decoded = shot(on_noise, flow.decode, z, flow.decode(z_end) - flow.decode(z), count)
    data_curve, encoded = shot(on_data, flow.encode, start, z_end - z, count)

    def surface(z):
        x = flow.decode(z)
        return torch.cat([x, torch.sin(1.5 * x[..., :1]) * torch.cos(1.5 * x[..., 1:])], -1)

    control = Pullback(surface)
    v = torch.linalg.solve(rm.jet(flow.decode, z, 1)[1], (flow.decode(z_end) - flow.decode(z))[..., None])[..., 0]
    lifted = surface(rm.geodesic(control, z, v, torch.linspace(0, 1, count), rtol=1e-5).points)

    def least_density(curves):
        """The log density at the worst point of a path, from the largest there is; the mean over paths."""
        return (flow.log_density(curves).amin(0) - flow.log_density(flow.means).max()).mean().item()

    # a lambda hides that these are pull-backs: the curvature is that of any metric, not 0 by theory
    t = torch.linspace(0, 1, count)[:, None, None]
    straight = start + t * (end - start)
    return {
        "pairs": pairs,
        "curvature": {
            "data's metric on noise": rm.scalar_curvature(lambda z: on_noise(z), z).abs().max().item(),
            "noise's metric on data": rm.scalar_curvature(lambda x: on_data(x), start).abs().max().item(),
            "surface (control)": rm.scalar_curvature(control, z).abs().max().item(),
        },
        "bending": {
            "geodesics of data's metric, in noise": bending(noise_curve).mean().item(),
            "the same, decoded": bending(decoded).max().item(),
            "geodesics of noise's metric, encoded": bending(encoded).max().item(),
            "the same, in data": bending(data_curve).mean().item(),
            "geodesics of the surface (control), decoded": bending(lifted).mean().item(),
        },
        "least log density": {
            "data's metric": least_density(decoded),
            "straight lines of data": least_density(straight),
            "noise's metric": least_density(data_curve),
        },
    }


# --------------------------------------------------------------------------------------- 2. turning angles


def turning(points):
    """The mean angle between successive steps of curves (points, ..., m), in radians over the mean step."""
    steps = points.diff(dim=0)
    length = steps.norm(dim=-1)
    cosine = (steps[1:] * steps[:-1]).sum(-1) / (length[1:] * length[:-1])
    return (torch.arccos(cosine.clamp(-1, 1)) / length[1:]).mean(0)


def turning_angles(quick):
    """Surfaces on which the two differ, and their rank correlation over random networks R^2 -> R^8."""
    t = torch.linspace(0, 1, 65)
    zero = torch.zeros_like(t)

    def cylinder(x):
        return torch.stack([x[..., 0].cos(), x[..., 0].sin(), x[..., 1]], -1)

    def saddle(x):
        return torch.cat([x, x[..., :1] * x[..., 1:]], -1)

    def polar(x):
        return torch.stack([x[..., 0] * x[..., 1].cos(), x[..., 0] * x[..., 1].sin()], -1)

    along, origin = torch.stack([t, zero], -1), torch.zeros(2)
    line = torch.stack([1 + zero, 2 * t - 1], -1)  # straight, in the plane
    in_polar = torch.stack([line.norm(dim=-1), torch.atan2(line[:, 1], line[:, 0])], -1)
    cases = {
        "a geodesic of a cylinder": (turning(cylinder(along)), rm.scalar_curvature(Pullback(cylinder), origin) / 2),
        "a ruling of a saddle": (turning(saddle(along)), rm.scalar_curvature(Pullback(saddle), origin) / 2),
        "a straight line, in polar coordinates": (
            turning(in_polar), rm.scalar_curvature(Pullback(polar), torch.tensor([1.0, 0.5])) / 2,
        ),
    }  # fmt: skip
    fine, coarse = cylinder(along), cylinder(along[::2])
    angles = [turning(curve) * curve.diff(dim=0).norm(dim=-1).mean() for curve in (fine, coarse)]

    surfaces, count = (2, 40) if quick else (20, 300)
    correlations, worst = {"one direction": [], "all directions": []}, 0.0
    for seed in range(surfaces):
        torch.manual_seed(seed)
        net = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 8))
        net[0].weight.data.mul_(3.0)
        net.requires_grad_(False)
        x = torch.randn(count, 2)
        metric = Pullback(net)
        K = rm.scalar_curvature(metric, x) / 2
        second = rm.second_fundamental_form(net, x)  # (points, 8, 2, 2)
        g = rm.at(metric, x, 0).g
        gauss = (second[..., 0, 0] * second[..., 1, 1] - second[..., 0, 1].square()).sum(-1)
        worst = max(worst, (gauss / torch.linalg.det(g) - K).abs().max().item() / K.abs().max().item())
        directions = torch.stack([torch.tensor([math.cos(a), math.sin(a)]) for a in torch.arange(16) * math.pi / 16])
        s = 1e-3 * torch.arange(-1, 2)[:, None, None, None]
        turned = turning(net(x + s * directions[:, None]))  # (directions, points)
        for name, score in (("one direction", turned[0]), ("all directions", turned.square().mean(0))):
            correlations[name].append(float(scipy.stats.spearmanr(score, K.abs()).statistic))
    return {
        "cases": {name: {"turning": a.item(), "K": K.item()} for name, (a, K) in cases.items()},
        "angle a step, half the step over the step": (angles[0] / angles[1]).item(),
        "surfaces": surfaces,
        "rank correlation with |K|": {
            name: {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1))}
            for name, values in correlations.items()
        },
        "Gauss's equation against K, relative": worst,
    }


# --------------------------------------------------------------------------------- 3. few-shot generation


def old_surface(z):
    """A hypersurface of R^4 over three latent variables."""
    x, y, w = z.unbind(-1)
    return torch.stack([x, y + 0.3 * x**2, w, 0.6 * torch.sin(1.5 * x) + 0.4 * y * w], -1)


def new_surface(z):
    """The same, bent, turned and stretched."""
    a, b, c, d = old_surface(z).unbind(-1)
    return torch.stack([1.2 * (0.8 * a + 0.6 * d), b - 0.25 * c**2, c + 0.5, 0.8 * d - 0.6 * a + 0.2 * b], -1)


def ricci(metric, z):
    return rm.ricci_tensor(metric, z)


def volume_term(metric, z):
    """-Hess log sqrt det g: what the volume element adds to the Ricci tensor, in these coordinates."""
    here = rm.at(metric, z)
    inverse = here.inverse_metric()
    slope = torch.einsum("...ij,...ijk->...k", inverse, here.dg) / 2
    second = torch.einsum("...ij,...ijkl->...kl", inverse, here.ddg)
    second = second - torch.einsum("...ia,...abk,...bj,...jil->...kl", inverse, here.dg, inverse, here.dg)
    return torch.einsum("...kij,...k->...ij", here.christoffel(), slope) - second / 2


def rest(metric, z):
    """Ricci without its volume term."""
    return ricci(metric, z) - volume_term(metric, z)


def log_volume(metric, z):
    return rm.log_volume_element(metric, z)[..., None, None]


def first_order(metric, z):
    return rm.at(metric, z, 0).g


PENALTIES = {
    "none": None, "Ricci": ricci, "its volume term": volume_term, "its rest": rest, "log volume": log_volume,
    "metric": first_order,
}  # fmt: skip
STRENGTHS = (0.03, 0.3, 3.0, 30.0)


def distances(a, b):
    return (a[:, None] - b).square().sum(-1).clamp_min(1e-12).sqrt()


def energy_distance(a, b):
    """Of two samples; the mean distance within b does not matter for training."""
    return 2 * distances(a, b).mean() - distances(a, a).mean() - distances(b, b).mean()


@functools.cache
def generator_net(seed, steps):
    """A network trained on the old surface, where there are plenty of data."""
    torch.manual_seed(seed)
    Linear, Tanh = torch.nn.Linear, torch.nn.Tanh
    net = torch.nn.Sequential(Linear(3, 24), Tanh(), Linear(24, 24), Tanh(), Linear(24, 4))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(steps):
        z = torch.randn(128, 3)
        optimizer.zero_grad()
        (net(z) - old_surface(z)).square().mean().backward()
        optimizer.step()
    return net.requires_grad_(False)


def few_shot(penalty, strength, seed, steps):
    """The energy distance to the new surface's distribution after training on twelve of its points."""
    old = generator_net(seed, 4 * steps)
    net = copy.deepcopy(old).requires_grad_(True)
    torch.manual_seed(1000 + seed)
    few, held = new_surface(torch.randn(12, 3)), new_surface(torch.randn(1000, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = energy_distance(net(torch.randn(64, 3)), few)
        if penalty is not None:
            z = torch.randn(12, 3)
            target = penalty(Pullback(old), z)
            change = (penalty(Pullback(net), z) - target).square().sum((-1, -2))
            loss = loss + strength * (change / (1 + change.detach())).mean()  # outliers of curvature count little
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return energy_distance(net(torch.randn(1000, 3)), held).item()


def interval(differences):
    """Mean and half width of the 95% confidence interval of Student's t."""
    d = np.asarray(differences, dtype=float)
    half = scipy.stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return {"mean": float(d.mean()), "half_width": float(half)}


def matching_ricci(quick):
    """Each penalty, its strength chosen on other seeds; differences to none, paired by seed."""
    seeds, tuning, steps = (2, 1, 5) if quick else (54, 6, 50)  # so many show a help of a tenth
    strengths = STRENGTHS[1:2] if quick else STRENGTHS
    runs, chosen = {}, {}
    for name, penalty in tqdm(PENALTIES.items(), desc="few-shot"):
        tried = {} if penalty is None else {
            s: np.mean([few_shot(penalty, s, 100 + seed, steps) for seed in range(tuning)]) for s in strengths
        }  # fmt: skip
        chosen[name] = min(tried, key=tried.__getitem__) if tried else 0.0
        runs[name] = [few_shot(penalty, chosen[name], seed, steps) for seed in range(seeds)]
    return {
        "seeds": seeds,
        "steps": steps,
        "table": {
            name: {
                "strength": chosen[name],
                "energy_distance": {"mean": float(np.mean(row)), "std": float(np.std(row, ddof=1))},
                "minus_none": interval(np.subtract(row, runs["none"])),
            }
            for name, row in runs.items()
        },
        "Ricci minus its volume term": interval(np.subtract(runs["Ricci"], runs["its volume term"])),
    }


CLAIMS = {"probability flow": probability_flow, "turning angles": turning_angles, "matching Ricci": matching_ricci}


def show(results, indent=""):
    for key, value in results.items():
        if isinstance(value, dict) and not {"mean"} & set(value):
            print(f"{indent}{key}")
            show(value, indent + "  ")
        elif isinstance(value, dict):
            print(f"{indent}{key}: {value['mean']:.3g} ± {next(v for k, v in value.items() if k != 'mean'):.2g}")
        else:
            print(f"{indent}{key}: {value:.3g}" if isinstance(value, float) else f"{indent}{key}: {value}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("RIEMANN_QUICK")))
    parser.add_argument("--claims", nargs="*", default=list(CLAIMS), choices=list(CLAIMS))
    parser.add_argument("--out", type=Path, default=Path("build/claims"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "results.json"
    results = json.loads(path.read_text()) if path.exists() and not arguments.quick else {"torch": torch.__version__}
    for name in arguments.claims:
        torch.manual_seed(0)
        begin = time.process_time()
        results[name] = CLAIMS[name](arguments.quick)
        results[name]["processor_seconds"] = round(time.process_time() - begin, 1)
        print(f"\n{name}")
        show(results[name], "  ")
        path.write_text(json.dumps(results, indent=1) + "\n")
    flat = results.get("probability flow")
    if flat and max(list(flat["curvature"].values())[:2]) > 1e-6:
        print("WRONG: a diffeomorphism of flat spaces has made curvature")
    print(f"\nwrote results.json in {arguments.out}")


if __name__ == "__main__":
    main()
