"""Ricci flow of a learned metric on the sphere, d/dt g = -2 K g, with Gauss-Bonnet watched: any start becomes round.

The metric is e^2u times that of the unit sphere, u a network on R^3 restricted to it. Flow is u' = -K: at each time
the velocity of all parameters is that of least squares over quadrature nodes, and goes through a Runge-Kutta rule.
K is the curvature of the network's metric in stereographic charts, exact. Nobody enforces what is then measured: the
integral of K stays 4 pi (Gauss-Bonnet), the area falls by 8 pi a unit of time, and K / mean K goes to 1 (Hamilton,
Chow).
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch.func import functional_call, grad, vmap
from tqdm import tqdm

import riemann as rm

RIDGE = 1e-5  # of least squares: how much the parameters may move for a little less error


def start(p):
    """u of the start: a dent, a ridge and a bump, and no symmetry."""
    x, y, z = p.unbind(-1)
    return 0.3 * z**2 + 0.2 * x * z - 0.2 * torch.exp(-2 * ((x - 1) ** 2 + y**2)) + 0.15 * torch.sin(2 * y)


def nodes(count):
    """Points of the unit sphere and weights: Gauss-Legendre in height, equal steps around; for smooth functions."""
    z, w = np.polynomial.legendre.leggauss(count)
    phi = 2 * np.pi * (np.arange(2 * count) + 0.5) / (2 * count)
    z, phi = np.meshgrid(z, phi, indexing="ij")
    p = np.stack([np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi), z], -1).reshape(-1, 3)
    return torch.from_numpy(p), torch.from_numpy(np.repeat(w * np.pi / count, 2 * count))


def chart(u, side):
    """The metric e^2u g_sphere in the stereographic chart of the half around z = side."""

    def metric(y):
        square = y.square().sum(-1)
        p = torch.cat([2 * y, side * (1 - square)[None]]) / (1 + square)
        return torch.exp(2 * u(p)) * 4 / (1 + square) ** 2 * torch.eye(2, dtype=y.dtype)

    return metric


def curvature(u, p):
    """K at points of the sphere, each in the chart of its half."""
    K = torch.empty(len(p), dtype=p.dtype)
    for side in (1, -1):
        half = p[:, 2] * side >= 0
        y = p[half, :2] / (1 + p[half, 2:].abs())
        K[half] = rm.scalar_curvature(chart(u, side), y) / 2
    return K


class Factor:
    """u as a function of a vector of parameters: a network 3-w-w-1, restricted to the sphere."""

    def __init__(self, width):
        Linear, Tanh = torch.nn.Linear, torch.nn.Tanh
        self.net = torch.nn.Sequential(Linear(3, width), Tanh(), Linear(width, width), Tanh(), Linear(width, 1))
        self.shapes = [(name, p.shape) for name, p in self.net.named_parameters()]
        self.theta = torch.nn.utils.parameters_to_vector(self.net.parameters()).detach()

    def __call__(self, theta, p):
        parts = theta.split([math.prod(shape) for _, shape in self.shapes])
        parameters = {name: part.reshape(shape) for (name, shape), part in zip(self.shapes, parts, strict=True)}
        return functional_call(self.net, parameters, (p,))[..., 0]

    def velocity(self, theta, p, rate, weights, ridge=RIDGE):
        """The change of parameters that changes u by `rate`, by least squares, and what is left of it (relative)."""
        J = vmap(grad(self), (None, 0))(theta, p)
        root = weights.sqrt()[:, None]
        rows = torch.cat([root * J, math.sqrt(ridge) * torch.eye(len(theta))])
        right = torch.cat([root[:, 0] * rate, torch.zeros(len(theta))])
        solution = torch.linalg.lstsq(rows, right[:, None], driver="gels").solution[:, 0]
        left = (weights * (J @ solution - rate).square()).sum() / (weights * rate.square()).sum()
        return solution, left.sqrt().item()


def flow(u, theta, p, w, steps, depth):
    """States `(time, parameters, least-squares error)`; steps are equal in log(T - t), T the time of extinction."""

    def slope(theta):
        K = curvature(lambda q: u(theta, q), p)
        return u.velocity(theta, p, -K, w * torch.exp(2 * u(theta, p)))

    extinct = (w * torch.exp(2 * u(theta, p))).sum().item() / (8 * math.pi)
    times = [extinct * (1 - math.exp(-depth * k / steps)) for k in range(steps + 1)]
    states = [(0.0, theta, 0.0)]
    for t, later in tqdm(list(zip(times, times[1:], strict=False))):
        h = later - t
        k1, error = slope(theta)
        k2, _ = slope(theta + h / 2 * k1)
        k3, _ = slope(theta + h / 2 * k2)
        k4, _ = slope(theta + h * k3)
        theta = theta + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        states.append((later, theta, error))
    return states


def figures(u, states, p, w):
    """What theory foretells, at nodes that the flow did not use."""
    rows = []
    for t, theta, error in states:
        K, density = curvature(lambda q, theta=theta: u(theta, q), p), torch.exp(2 * u(theta, p))
        area, total = (w * density).sum().item(), (w * density * K).sum().item()
        mean = total / area
        spread = ((w * density * (K - mean).square()).sum() / area).sqrt().item() / mean
        rows.append(
            {"t": t, "area": area, "gauss_bonnet": total / (4 * math.pi) - 1, "least_squares": error,
             "K_min": K.min().item() / mean, "K_max": K.max().item() / mean, "spread": spread}
        )  # fmt: skip
    for row in rows:
        row["area_error"] = row["area"] / (rows[0]["area"] - 8 * math.pi * row["t"]) - 1
    return rows


def draw(u, states, rows, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    phi, latitude = np.meshgrid(np.linspace(-np.pi, np.pi, 121), np.linspace(-np.pi / 2, np.pi / 2, 61))
    p = torch.from_numpy(
        np.stack([np.cos(latitude) * np.cos(phi), np.cos(latitude) * np.sin(phi), np.sin(latitude)], -1)
    )
    picks = [0, len(states) // 8, len(states) // 3, len(states) - 1]
    figure = plt.figure(figsize=(12, 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 4, height_ratios=(1, 1.05))
    for place, k in enumerate(picks):
        t, theta, _ = states[k]
        K = curvature(lambda q, theta=theta: u(theta, q), p.reshape(-1, 3)).reshape(phi.shape)
        mean = 4 * math.pi / rows[k]["area"]
        axis = figure.add_subplot(grid[0, place], projection="mollweide")
        mesh = axis.pcolormesh(phi, latitude, K.numpy() / mean, cmap="RdBu_r", vmin=-1, vmax=3, shading="gouraud")
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"area {rows[k]['area'] / rows[0]['area']:.2f} of the start's", fontsize=10)
    figure.colorbar(mesh, ax=figure.axes, shrink=0.8, label="K / mean K")
    t = np.array([row["t"] for row in rows])
    left, right = figure.add_subplot(grid[1, :2]), figure.add_subplot(grid[1, 2:])
    left.plot(t, [row["K_max"] for row in rows], color="#d1495b", label="largest")
    left.plot(t, [row["K_min"] for row in rows], color="#00798c", label="least")
    left.axhline(1, color="0.5", lw=0.8, ls=":")
    left.set(xlabel="t", ylabel="K / mean K")
    left.legend(frameon=False)
    for key, words in (("gauss_bonnet", "Gauss-Bonnet"), ("area_error", "area law")):
        right.semilogy(t[1:], np.maximum(np.abs([row[key] for row in rows[1:]]), 1e-17), label=words)
    right.set(xlabel="t", ylabel="relative error")
    right.legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("RIEMANN_QUICK")))
    parser.add_argument("--out", type=Path, default=Path("build/ricci_flow"))
    arguments = parser.parse_args()
    width, count, steps, depth = (8, 10, 16, 0.5) if arguments.quick else (12, 14, 100, 2.0)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    begin = time.process_time()
    u, (p, w) = Factor(width), nodes(count)
    theta = u.theta
    for _ in range(30):  # Gauss-Newton, damped
        theta = theta + u.velocity(theta, p, start(p) - u(theta, p), w, ridge=1e-4)[0]
    fit = (u(theta, p) - start(p)).square().mean().sqrt().item()
    states = flow(u, theta, p, w, steps, depth)
    rows = figures(u, states, *nodes(2 * count))
    seconds = time.process_time() - begin
    first, last = rows[0], rows[-1]
    worst = {key: max(abs(row[key]) for row in rows) for key in ("gauss_bonnet", "area_error", "least_squares")}
    print(f"the start is fitted to {fit:.1e}; {len(theta)} parameters, {len(p)} nodes, {steps} steps, {seconds:.0f} s")
    print(f"integral of K / 4 pi - 1: at most {worst['gauss_bonnet']:.1e}")
    left = last["area"] / first["area"]
    print(f"area against A - 8 pi t, relative: at most {worst['area_error']:.1e}; what is left of it: {left:.3f}")
    print(f"u' = -K by least squares: left at most {worst['least_squares']:.1e} of it")
    for name, row in (("start", first), ("end", last)):
        print(f"{name}: K / mean from {row['K_min']:.3f} to {row['K_max']:.3f}, deviation {row['spread']:.1e}")
    if worst["gauss_bonnet"] > 1e-4 or worst["area_error"] > 1e-2 or last["spread"] > first["spread"]:
        print(
            "WRONG: the flow of a sphere keeps the integral of K, loses 8 pi of area a unit of time, and becomes round"
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    setting = {
        "parameters": len(theta),
        "nodes": len(p),
        "steps": steps,
        "fit_of_start": fit,
        "torch": torch.__version__,
    }
    results = {**setting, "processor_seconds": round(seconds, 1), "worst": worst, "rows": rows}
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(u, states, rows, arguments.out / "flow.png")
    print(f"wrote results.json and flow.png in {arguments.out}")


if __name__ == "__main__":
    main()
