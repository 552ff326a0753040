"""Conserved quantities from noisy trajectories: by a fitted metric and its symmetries, and by direct search.

Four systems in the plane, each with one quantity that is linear in the velocity; bases and sizes are chosen beforehand
and are the same for all. `metric`: `fit_metric` with its default net (of Kepler's problem a net for the potential, and
Jacobi's metric), then the best Killing field among affine ones at the data. Direct search: Q = p(x) v with the least
variance along a motion for its variance in all, of velocities from local polynomials; p affine, cubic, trigonometric,
or Q a network of x and v. Networks of mechanics, fitted to velocities and accelerations of local polynomials: a
Hamiltonian one (HNN), to which velocities are the momenta, for there are no others, and a Lagrangian one (LNN); Q is
then the best momentum along an affine field, by their own equations of motion. Judged on other motions without noise:
correlation with the truth, and drift, the deviation of Q along a motion over that among motions.
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import riemann as rm
from riemann_nn import fit_metric
from riemann_nn._discovery.pieces import smoothed

SKEW = torch.tensor([[1.2, 0.5], [-0.3, 0.9]], dtype=torch.float64)
TURN = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)


def arm(q):
    c, one = torch.cos(q[0] - q[1]), torch.ones_like(q[0])
    return torch.stack([torch.stack([2 * one, c]), torch.stack([c, one])])


def bump(y):
    """A surface of revolution, z = 1.2 exp(-r²), in a skewed chart."""
    inverse = torch.linalg.inv(SKEW)
    x = inverse @ y
    d = -2.4 * x * torch.exp(-(x @ x))
    return inverse.T @ (torch.eye(2, dtype=y.dtype) + torch.outer(d, d)) @ inverse


def kepler(x):
    """Jacobi's metric of -1/r at the energy -0.3."""
    return 2 * (-0.3 + 1 / x.norm()) * torch.eye(2, dtype=x.dtype)


def light(x):
    """Rays around a black hole of mass 0.3, isotropic coordinates: Fermat's metric, whose parameter is the time."""
    u = 0.15 / x.norm()
    return ((1 + u) ** 3 / (1 - u)) ** 2 * torch.eye(2, dtype=x.dtype)


# the metric, its Killing field, the length of the motions
SYSTEMS = {
    "double pendulum": (arm, lambda x: torch.ones_like(x), 2.0),
    "surface of revolution": (bump, lambda x: x @ (SKEW @ TURN @ torch.linalg.inv(SKEW)).T, 2.0),
    "Kepler": (kepler, lambda x: x @ TURN.T, 3.0),
    "light at a black hole": (light, lambda x: x @ TURN.T, 2.0),
}


class Flat(torch.nn.Module):
    def forward(self, x):
        return torch.eye(2, dtype=x.dtype)


class Potential(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
        )
        torch.nn.init.zeros_(self.net[-1].weight)

    def forward(self, x):
        return self.net(x).squeeze(-1) - 1


def motions(system, count, steps, generator):
    """Positions and velocities `(count, steps, 2)`, and times."""
    draw = lambda *shape: torch.rand(*shape, dtype=torch.float64, generator=generator)
    t = torch.linspace(0, SYSTEMS[system][2], steps, dtype=torch.float64)
    angle, turned = 6.283 * draw(2, count, 1)
    x = (1 + draw(count, 1)) * torch.cat((angle.cos(), angle.sin()), -1)
    v = torch.cat((turned.cos(), turned.sin()), -1)
    if system == "Kepler":  # of one energy, in physical time
        x = 1.5 * x / x.norm(dim=-1, keepdim=True) * (0.8 + 0.4 * draw(count, 1))
        sideways = x @ TURN.T / x.norm(dim=-1, keepdim=True) * torch.where(draw(count, 1) < 0.5, -1, 1)
        slant = 0.6 * (draw(count, 1) - 0.5)
        v = slant.cos() * sideways + slant.sin() * x / x.norm(dim=-1, keepdim=True)
        v = v * (2 * (-0.3 + 1 / x.norm(dim=-1, keepdim=True))).sqrt()
        pull = lambda x, v: -x / x.norm(dim=-1, keepdim=True) ** 3
        found = rm.geodesic(lambda x: torch.eye(2, dtype=x.dtype), x, v, t, acceleration=pull, throw=False)
        return found.points.transpose(0, 1), found.velocities.transpose(0, 1), t
    if system == "light at a black hole":
        aim = x @ TURN.T * torch.where(draw(count, 1) < 0.5, -1, 1) - 0.5 * x * draw(count, 1)
        v = aim / torch.stack([light(p)[0, 0] for p in x]).sqrt().unsqueeze(-1) / aim.norm(dim=-1, keepdim=True)
    found = rm.geodesic(SYSTEMS[system][0], x, v, t)
    return found.points.transpose(0, 1), found.velocities.transpose(0, 1), t


def momentum(metric, field, system):
    """X_a v^a; in physical time, where that is not the parameter of the metric."""

    def Q(x, v):
        g = torch.eye(2, dtype=x.dtype) if system == "Kepler" else rm.at(metric, x, 0).g
        return torch.einsum("...i,...ij,...j->...", field(x), g, v)

    return Q


def by_metric(system, y, t):
    points = y.reshape(-1, 2)
    if system == "Kepler":
        fitted = fit_metric(y, t, Flat(), potential=Potential(), energy=5.0, prior=True, iterations=30)
        with torch.no_grad():  # the constant of a potential is free: that of the least one that motions allow
            V = torch.stack([fitted.potential(p) for p in points])
            speeds = fitted.velocities.square().sum(-1).reshape(-1) / 2
            energy = float((V + speeds).median())
        metric = lambda x: 2 * (energy - fitted.potential(x)) * torch.eye(2, dtype=x.dtype)
    else:
        fitted = fit_metric(y, t, iterations=30)
        metric = fitted.metric
    found = rm.killing_fields(metric, points=points, degree=1, tolerance=torch.inf)
    size = found.spectrum.tolist()[:3]
    return momentum(metric, found.fields[0], system), {"field": found.fields[0], "spectrum": size}


def functions(kind, x):
    a, b = x[..., 0], x[..., 1]
    if kind == "trigonometric":
        each = [[torch.ones_like(c), torch.sin(c), torch.cos(c)] for c in (a, b)]
        return torch.stack([p * q for p in each[0] for q in each[1]], -1)
    degree = {"affine": 1, "cubic": 3}[kind]
    return torch.stack([a**i * b**j for i in range(degree + 1) for j in range(degree + 1 - i)], -1)


def steadiest(changes, values):
    """The combination of features, the last axis, whose changes are least for the variance of its values."""
    changes, total = changes.flatten(0, -2), (values - values.flatten(0, -2).mean(0)).flatten(0, -2)
    total = total.T @ total
    L = torch.linalg.cholesky(total + 1e-9 * total.trace() * torch.eye(len(total), dtype=values.dtype))
    _, vectors = torch.linalg.eigh(torch.linalg.inv(L) @ (changes.T @ changes) @ torch.linalg.inv(L).T)
    return torch.linalg.solve(L.T, vectors[:, 0])


def products(a, b):
    return (a.unsqueeze(-1) * b.unsqueeze(-2)).flatten(-2)


def directly(kind, y, t):
    """Q = p(x) v of least variance along motions."""
    features = lambda x, v: products(functions(kind, x), v)
    F = features(*smoothed(y, t)[0].chunk(2, -1))
    c = steadiest(F - F.mean(1, keepdim=True), F)
    return lambda x, v: features(x, v) @ c


def network(y):
    layer = lambda a, b: torch.nn.Linear(a, b, dtype=y.dtype)
    return torch.nn.Sequential(layer(4, 32), torch.nn.Tanh(), layer(32, 32), torch.nn.Tanh(), layer(32, 1))


def trained(net, loss):
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(600):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def by_network(y, t):
    """Q a network of x and v, of least variance along motions."""
    x, v = smoothed(y, t)[0].chunk(2, -1)
    net = network(y)
    Q = lambda x, v: net(torch.cat((x, v), -1)).squeeze(-1)

    def loss():
        q = Q(x, v)
        return q.var(1).mean() / q.var()

    trained(net, loss)
    return Q


def by_mechanics(kind, y, t):
    """The best momentum along an affine field, of a Hamiltonian or a Lagrangian that is a network."""
    x, v = smoothed(y, t)[0].chunk(2, -1)
    a = torch.gradient(v, spacing=(t,), dim=1)[0]
    x, v, a = (b.flatten(0, 1) for b in (x, v, a))
    net = network(y)
    f = lambda x, v: 0.5 * (v @ v) + net(torch.cat((x, v))).squeeze(-1)  # H of x and p, or L of x and v
    slopes = torch.vmap(torch.func.grad(f, (0, 1)))

    def hamiltonian():
        to_x, to_p = slopes(x, v)
        return ((to_p - v).square() + (to_x + a).square()).mean()

    def lagrangian():
        to_x, _ = slopes(x, v)
        (_, _), (mixed, mass) = torch.vmap(torch.func.hessian(f, (0, 1)))(x, v)
        force = to_x - torch.einsum("zij,zj->zi", mixed, v)
        return (torch.linalg.solve(mass, force) - a).square().mean()

    trained(net, {"HNN": hamiltonian, "LNN": lagrangian}[kind])

    def parts(x, v):
        """Velocity, momentum and its rate, by the network's equations of motion."""
        to_x, to_v = slopes(x, v)
        return (to_v, v, -to_x) if kind == "HNN" else (v, to_v, to_x)

    with torch.no_grad():
        w, p, rate = parts(x, v)
        affine, along = torch.func.jvp(lambda x: functions("affine", x), (x,), (w,))
        c = steadiest(products(along, p) + products(affine, rate), products(affine, p))

    def Q(x, v):
        p = parts(x.flatten(0, -2), v.flatten(0, -2))[1].reshape(x.shape)
        return products(functions("affine", x), p) @ c

    return Q


@torch.no_grad()
def judged(Q, truth, x, v):
    q, p = Q(x, v), truth(x, v)
    drift = float(q.var(1).mean().sqrt() / q.mean(1).std())
    return {"correlation": abs(float(np.corrcoef(q.mean(1), p.mean(1))[0, 1])), "drift": drift}


def one(system, noise, seed, count, steps):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    metric, field, _ = SYSTEMS[system]
    clean, _, t = motions(system, count, steps, generator)
    y = clean + noise * torch.randn(clean.shape, dtype=clean.dtype, generator=generator)
    x, v, _ = motions(system, 40, steps, generator)
    truth, row = momentum(metric, field, system), {}
    start = time.process_time()
    Q, more = by_metric(system, y, t)
    row["metric"] = judged(Q, truth, x, v) | {"seconds": time.process_time() - start, "spectrum": more["spectrum"]}
    with torch.no_grad():
        p = y.reshape(-1, 2)
        a, b, g = more["field"](p), field(p), rm.at(metric, p, 0).g
        dot = lambda a, b: torch.einsum("zi,zij,zj->", a, g, b)
        row["metric"]["angle"] = float(
            torch.rad2deg(torch.acos((dot(a, b).abs() / (dot(a, a) * dot(b, b)).sqrt()).clamp(max=1)))
        )
    for kind in ("affine", "cubic", "trigonometric"):
        row[kind] = judged(directly(kind, y, t), truth, x, v)
    row["network"] = judged(by_network(y, t), truth, x, v)
    for kind in ("HNN", "LNN"):
        start = time.process_time()
        row[kind] = judged(by_mechanics(kind, y, t), truth, x, v) | {"seconds": time.process_time() - start}
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="build/discovery")
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("RIEMANN_QUICK")))
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    seeds, noises, size = (1, [0.01], (5, 10)) if options.quick else (options.seeds, [0.003, 0.01, 0.03], (15, 30))
    systems = ["double pendulum"] if options.quick else list(SYSTEMS)
    out, rows = Path(options.out), []
    out.mkdir(parents=True, exist_ok=True)
    runs = [(system, noise, seed) for seed in range(seeds) for noise in noises for system in systems]
    for system, noise, seed in tqdm(runs, disable=bool(os.environ.get("QUIET"))):
        try:
            row = one(system, noise, seed, *size)
        except RuntimeError as error:
            row = {"failed": str(error)}
        rows.append({"system": system, "noise": noise, "seed": seed, "size": size, "by": row})
        (out / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


def table(rows):
    """As the documentation shows it: medians over seeds of the correlation (and drift)."""
    methods = ["metric", "affine", "cubic", "trigonometric", "network", "HNN", "LNN"]
    lines = [f"| system, noise | {' | '.join(methods)} | angle | runs |", "| --- " * (len(methods) + 3) + "|"]
    for system in SYSTEMS:
        for noise in sorted({row["noise"] for row in rows}):
            mine = [r["by"] for r in rows if r["system"] == system and r["noise"] == noise and "metric" in r["by"]]
            if mine:
                of = lambda method, what, mine=mine: float(np.median([by[method][what] for by in mine]))
                said = [f"{of(m, 'correlation'):.3f} ({of(m, 'drift'):.2f})" for m in methods]
                lines.append(f"| {system}, {noise} | {' | '.join(said)} | {of('metric', 'angle'):.1f}° | {len(mine)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
