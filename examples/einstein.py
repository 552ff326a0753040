"""Neural metrics that solve Einstein's equation Ric = lambda g: half of S^4, a ball of H^3, Schwarzschild.

Balls: a network gives all components of g in normal coordinates, without symmetry; this gauge is exact, see
`NormalCoordinates`. Given are both fundamental forms of the boundary, which is round: for half of S^4 a great sphere
(so that two of these balls are S^4), for H^3 a distance sphere. The start is a lens of positive curvature.
Schwarzschild: static and spherical, two functions of r, area gauge; g_tt is given at both ends, and not the mass.
Residuals are components in orthonormal frames, float64; the Ricci tensor is exact, that of the network's metric.

Levenberg-Marquardt, Adam and L-BFGS get the same processor time, one thread.
"""

import argparse
import copy
import json
import math
import os
import time
import warnings
from pathlib import Path

import torch
from torch.func import functional_call, jacrev, vmap
from tqdm import tqdm

import riemann as rm

# ------------------------------------------------------------------------------------------- equations, at points


def in_frame(g, T):
    """Components of a symmetric T_ij in an orthonormal frame of a positive g: L^-1 T L^-T."""
    L = torch.linalg.cholesky(g)
    half = torch.linalg.solve_triangular(L, T, upper=False)
    return torch.linalg.solve_triangular(L, half.mT, upper=False)


def triangle(T):
    """The lower triangle of symmetric T with weights that keep the norm."""
    i, k = torch.tril_indices(*T.shape[-2:])
    return T[..., i, k] * torch.where(i == k, 1.0, math.sqrt(2.0))


class NormalCoordinates(torch.nn.Module):
    """All metrics in normal coordinates: g = e^2 with e = 1 + B C B^T, where B v = x ^ v and a network gives C(x).

    Then e x = x: straight lines from the origin are geodesics of unit speed, whatever the symmetric C on planes is, and
    the gauge is fixed exactly. The sectional curvatures at the origin are the eigenvalues of -6 C(0).
    """

    def __init__(self, n, width, curvatures):
        super().__init__()
        i, k = torch.triu_indices(n, n, 1)
        planes = len(i)
        wedge = torch.zeros(n, planes, n)
        wedge[k, torch.arange(planes), i] = 1.0
        wedge[i, torch.arange(planes), k] = -1.0
        self.register_buffer("wedge", wedge)
        place = torch.empty(planes, planes, dtype=torch.long)  # of each component of C in the output
        rows, columns = torch.tril_indices(planes, planes)
        place[rows, columns] = place[columns, rows] = torch.arange(len(rows))
        self.register_buffer("place", place)
        Linear, GELU = torch.nn.Linear, torch.nn.GELU
        self.net = torch.nn.Sequential(Linear(n, width), GELU(), Linear(width, width), GELU(), Linear(width, len(rows)))
        with torch.no_grad():
            self.net[0].weight.mul_(2.0)
            self.net[-1].weight.mul_(0.1)
            self.net[-1].bias.zero_()[rows == columns] = -curvatures / 6

    def forward(self, x):
        """g at one point or a batch."""
        B = torch.einsum("imk,...k->...im", self.wedge, x)
        C = self.net(x)[..., self.place]
        e = torch.eye(x.shape[-1]) + B @ C @ B.mT
        return e @ e


class Ball:
    """Ric = (n-1) kappa g on a geodesic ball; its boundary has both fundamental forms of one in constant curvature."""

    def __init__(self, n, kappa, radius, points, generator):
        self.n, self.kappa, self.radius = n, kappa, radius
        root = math.sqrt(abs(kappa))
        sine, cosine = (math.sin, math.cos) if kappa > 0 else (math.sinh, math.cosh)
        self.size = sine(root * radius) / root  # the boundary's radius as a round sphere
        self.bend = cosine(root * radius) / self.size  # and its normal curvature
        self.pieces = [
            (self.equation, self.inside(points, generator)),
            (self.boundary, radius * self.directions(points // 4, generator)),
        ]

    def directions(self, count, generator):
        return torch.nn.functional.normalize(torch.randn(count, self.n, generator=generator), dim=-1)

    def inside(self, count, generator):
        r = self.radius * torch.rand(count, 1, generator=generator) ** (1 / self.n)
        return r * self.directions(count, generator)

    def einstein(self, metric, x):
        """Ric - lambda g, in a frame."""
        here = rm.at(metric, x)
        return in_frame(here.g, here.ricci_tensor()) - (self.n - 1) * self.kappa * torch.eye(self.n)

    def equation(self, metric, x):
        return triangle(self.einstein(metric, x))

    def boundary(self, metric, x):
        """Both fundamental forms of |x| = radius, minus those of a round sphere; n = x / radius is its unit normal."""
        g, dg = rm.jet(metric, x, 1)
        normal = x / self.radius
        scale = (self.size / self.radius) ** 2
        across = torch.eye(self.n) - normal[..., :, None] * normal[..., None, :]
        first = across @ g @ across - scale * across
        slope = torch.einsum("...ijk,...k->...ij", dg, normal) / 2  # K_ij = d_r g_ij / 2 + g_ij / r, tangentially
        second = across @ (slope + g / self.radius) @ across - self.bend * scale * across
        return torch.cat([triangle(first), triangle(second)], -1)

    def checks(self, metric, x):
        """What a solution must have beside the equation: largest differences at points not trained on."""
        g, n = rm.at(metric, x, 0).g, self.n
        out = x / x.norm(dim=-1, keepdim=True)
        radial = out[:, :, None] * out[:, None, :]
        root = math.sqrt(abs(self.kappa))
        r = x.norm(dim=-1)
        ratio = (torch.sin(root * r) if self.kappa > 0 else torch.sinh(root * r)) / (root * r)
        exact = radial + ratio.square()[:, None, None] * (torch.eye(n) - radial)
        u, v = torch.randn(2, *x.shape, generator=torch.Generator().manual_seed(2))
        found = {
            "scalar curvature": (rm.scalar_curvature(metric, x) - n * (n - 1) * self.kappa).abs().max().item(),
            "sectional curvature, random planes": (rm.sectional_curvature(metric, x, u, v) - self.kappa)
            .abs()
            .max()
            .item(),
            "metric against the exact one": (g - exact).abs().max().item(),
        }
        if n > 3:
            low, up = (rm.weyl_tensor(metric, x, indices=where) for where in ("llll", "uuuu"))
            found["norm of Weyl"] = (low * up).sum((1, 2, 3, 4)).abs().sqrt().max().item()
        return found

    def start(self, width):
        """A lens: at its centre the curvature is 1.5 in planes without the last axis, and 0 in those with it."""
        curvatures = torch.tensor([0.0 if k == self.n - 1 else 1.5 for k in torch.triu_indices(self.n, self.n, 1)[1]])
        return NormalCoordinates(self.n, width, curvatures)


class Static(torch.nn.Module):
    """The metric -e^2a dt^2 + e^2b dr^2 + r^2 dOmega^2 of a network r -> (a, b); flat at the start."""

    def __init__(self, width):
        super().__init__()
        Linear, Tanh = torch.nn.Linear, torch.nn.Tanh
        self.net = torch.nn.Sequential(Linear(1, width), Tanh(), Linear(width, width), Tanh(), Linear(width, 2))
        torch.nn.init.zeros_(self.net[-1].weight)
        torch.nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        _, r, theta, _ = x
        a, b = self.net((1 / r)[None])
        return torch.diag(torch.stack([-torch.exp(2 * a), torch.exp(2 * b), r**2, (r * torch.sin(theta)) ** 2]))


class Schwarzschild:
    """Ric = 0 between two radii, where g_tt is given: it is that of mass 1, which the network is not told."""

    radii = (2.5, 12.0)

    def __init__(self, points, generator):
        ends = torch.tensor([[0.0, r, 1.0, 0.0] for r in self.radii])
        self.pieces = [(self.equation, self.inside(points, generator)), (self.boundary, ends)]

    def inside(self, count, generator):
        low, high = self.radii
        t, r, theta, phi = torch.rand(4, count, generator=generator)
        return torch.stack([t, low + (high - low) * r**2, 0.3 + 2.5 * theta, 6 * phi], -1)

    def einstein(self, metric, x):
        here = rm.at(metric, x)
        root = here.g.diagonal(dim1=-2, dim2=-1).abs().sqrt()
        return here.ricci_tensor() / (root[..., :, None] * root[..., None, :])

    def equation(self, metric, x):
        return triangle(self.einstein(metric, x))

    def checks(self, metric, x):
        """Kretschmann's scalar against 48 M^2 / r^6, largest relative difference; the mass that the network found."""
        r = x[:, 1]
        mass = r / 2 * (1 - 1 / rm.at(metric, x, 0).g[:, 1, 1])
        kretschmann = rm.kretschmann_scalar(metric, x) * r**6 / 48
        return {
            "Kretschmann's scalar, relative": (kretschmann - 1).abs().max().item(),
            "mass, least": mass.min().item(),
            "mass, largest": mass.max().item(),
        }

    def boundary(self, metric, x):
        return 1 + rm.at(metric, x, 0).g[..., 0, :1] / (1 - 2 / x[..., 1:2])


# ---------------------------------------------------------------------------------------------------- optimisers


def residuals(metric, pieces):
    """All residuals, one vector whose square is the sum over pieces of mean squares over points."""
    return torch.cat([(condition(metric, x) / math.sqrt(len(x))).flatten() for condition, x in pieces])


def jacobian(net, pieces):
    """Derivatives of residuals by all parameters: each point's in reverse mode, (residuals, parameters)."""
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def at_point(condition):
        def values(parameters, x):
            return condition(lambda y: functional_call(net, parameters, (y,)), x)

        return vmap(jacrev(values), (None, 0), chunk_size=64)

    rows = []
    for condition, x in pieces:
        parts = at_point(condition)(parameters, x).values()
        rows.append(torch.cat([part.flatten(2) for part in parts], -1).flatten(0, 1) / math.sqrt(len(x)))
    return torch.cat(rows)


def levenberg_marquardt(net, pieces, watch, damping=1e-2):
    """Steps d of least |J d + r|^2 + mu |d|^2; mu falls where the square falls, and rises where it does not.

    With geodesic acceleration (Transtrum and Sethna 2012): a step goes on along the parabola whose residuals bend
    least, d + a / 2 with a of least |J a + r''(d, d)|^2 + mu |a|^2. By QR of J and singular values of its R.
    """
    parameters = list(net.parameters())
    theta = torch.nn.utils.parameters_to_vector(parameters).detach()

    def at(theta):
        torch.nn.utils.vector_to_parameters(theta, parameters)
        with torch.no_grad():
            return residuals(net, pieces)

    r, h = at(theta), 0.1
    while damping < 1e12:
        J = jacobian(net, pieces)
        R = torch.linalg.qr(torch.cat([J, r[:, None]], -1), mode="r").R
        U, s, Vh = torch.linalg.svd(R[:-1, :-1])
        right = -U.mT @ R[:-1, -1]
        while damping < 1e12:  # beyond, no step helps: rounding
            step = Vh.mT @ (s / (s.square() + damping) * right)
            bend = 2 / h * ((at(theta + h * step) - r) / h - J @ step)
            half = -Vh.mT @ (Vh @ (J.mT @ bend) / (s.square() + damping)) / 2
            new = at(theta + step + half)
            if new.square().sum() < r.square().sum() and 2 * half.norm() <= 0.75 * step.norm():
                damping, theta, r = max(damping / 8, 1e-22), theta + step + half, new
                break
            damping *= 1.5
        torch.nn.utils.vector_to_parameters(theta, parameters)
        if watch():
            return


def adam(net, pieces, watch, lr=1e-2):
    """Adam; the learning rate falls as a cosine of the time that is used up."""
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    while not watch():
        optimizer.param_groups[0]["lr"] = lr * (0.5 + 0.5 * math.cos(math.pi * watch.part)) + 1e-6
        optimizer.zero_grad()
        residuals(net, pieces).square().sum().backward()
        optimizer.step()


def lbfgs(net, pieces, watch):
    """L-BFGS with a line search, 100 pairs of memory; a step of it is one iteration."""
    optimizer = torch.optim.LBFGS(
        net.parameters(),
        max_iter=5,
        history_size=100,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )

    def closure():
        optimizer.zero_grad()
        loss = residuals(net, pieces).square().sum()
        loss.backward()
        return loss

    while not watch():
        optimizer.step(closure)


class Watch:
    """Root mean square of (Ric - lambda g) at points that are not trained on, against processor seconds."""

    def __init__(self, problem, net, budget, x, name):
        self.problem, self.net, self.budget, self.x = problem, net, budget, x
        self.curve, self.own, self.next, self.part = [], 0.0, 0.0, 0.0
        self.bar = tqdm(total=round(budget), desc=name, unit="s")
        self.begin = time.process_time()
        self()

    def __call__(self):
        """Whether time is up; what is spent on watching is not counted."""
        now = time.process_time()
        used = now - self.begin - self.own
        done, self.part = used >= self.budget, min(used / self.budget, 1.0)
        if used >= self.next or done:
            with torch.no_grad():
                rms = self.problem.einstein(self.net, self.x).square().mean().sqrt().item()
            self.curve.append((round(used, 3), rms))
            self.next = used * 1.05 + 0.02
            self.bar.update(min(round(used), round(self.budget)) - self.bar.n)
            self.bar.set_postfix_str(f"{rms:.1e}")
        self.own += time.process_time() - now
        return done


OPTIMISERS = {"Levenberg-Marquardt": levenberg_marquardt, "Adam": adam, "L-BFGS": lbfgs}


def solve(name, problem, start, budget, held):
    """The network after `budget` seconds, and the curve of its residual."""
    net = copy.deepcopy(start)
    watch = Watch(problem, net, budget, held, name)
    OPTIMISERS[name](net, problem.pieces, watch)
    watch.next = 0.0
    watch()
    watch.bar.close()
    return net.requires_grad_(False), watch.curve


# -------------------------------------------------------------------------------------------------------- report


def make(name, quick):
    """The problem, its start, and the seconds of each optimiser."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    width, points = (6, 40) if quick else (14, 200)
    if name == "Schwarzschild":
        return Schwarzschild(points // 2, generator), Static(width), 2 if quick else 6
    problem = Ball(4, 1.0, math.pi / 2, points, generator) if name == "S^4" else Ball(3, -1.0, 1.5, points, generator)
    return problem, problem.start(width), 2 if quick else (25 if name == "S^4" else 8)


def run(name, quick, seconds, optimisers):
    """One problem by each optimiser; the best network and its checks."""
    problem, start, budget = make(name, quick)
    budget = seconds or budget
    held = problem.inside(500, torch.Generator().manual_seed(1))
    solved = {optimiser: solve(optimiser, problem, start, budget, held) for optimiser in optimisers}
    best = min(solved, key=lambda optimiser: solved[optimiser][1][-1][1])
    S = rm.scalar_curvature(start.requires_grad_(False), held)
    results = {
        "parameters": sum(p.numel() for p in start.parameters()),
        "residuals": len(residuals(start, problem.pieces)),
        "processor_seconds": budget,
        "scalar_curvature_at_start": [S.min().item(), S.max().item()],
        "rms": {optimiser: curve[-1][1] for optimiser, (_, curve) in solved.items()},
        "best": best,
        "checks": problem.checks(solved[best][0], held),
        "curves": {optimiser: curve for optimiser, (_, curve) in solved.items()},
    }
    return results, start, solved[best][0]


def show(name, results):
    print(f"\n{name}: {results['parameters']} parameters, {results['residuals']} residuals, "
          f"{results['processor_seconds']} s each; root mean square of Ric - lambda g at new points")  # fmt: skip
    for optimiser, rms in results["rms"].items():
        print(f"  {optimiser:24}{results['curves'][optimiser][0][1]:9.1e} -> {rms:.1e}")
    for key, value in results["checks"].items():
        print(f"  {key}: {value:.2e}" if abs(value) < 0.1 else f"  {key}: {value:.6f}")
    first, last = (results["curves"][results["best"]][k][1] for k in (0, -1))
    if not (last < 0.3 * first or last < 0.01):
        print("WRONG: no optimiser has come near a solution")


def draw(results, pictures, path):
    """Residuals against time; curvature of the start and of the solution in a plane; Kretschmann's scalar."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(16, 3.7), layout="constrained", width_ratios=(1.25, 1, 1, 1.1))
    for name, style in (("S^4", "-"), ("H^3", "--")):
        for k, (optimiser, curve) in enumerate(results.get(name, {"curves": {}})["curves"].items()):
            t, rms = zip(*curve[1:], strict=True)
            axes[0].loglog(t, rms, style, color=f"C{k}", label=f"{optimiser}, ${name}$")
    axes[0].set(xlabel="processor seconds", ylabel="RMS of Ric - λg, new points")
    axes[0].legend(frameon=False, fontsize=7)
    if "S^4" in pictures:
        problem, start, net = pictures["S^4"]
        side = torch.linspace(-problem.radius, problem.radius, 61)
        x, w = torch.meshgrid(side, side, indexing="xy")
        points = torch.stack([x, 0 * x, 0 * x, w], -1).reshape(-1, 4)
        inside = points.norm(dim=-1) <= problem.radius
        for axis, metric, title in ((axes[1], start, "start"), (axes[2], net, "solution: S - 12")):
            S = torch.full((len(points),), torch.nan)
            S[inside] = rm.scalar_curvature(metric, points[inside])
            if metric is net:
                S = S - 12
            mesh = axis.pcolormesh(x, w, S.reshape(x.shape), cmap="viridis" if metric is start else "RdBu_r")
            axis.set(aspect="equal", xlabel="$x^1$", ylabel="$x^4$", title=f"scalar curvature, {title}")
            figure.colorbar(mesh, ax=axis, shrink=0.8)
    if "Schwarzschild" in pictures:
        problem, _, net = pictures["Schwarzschild"]
        r = torch.linspace(*problem.radii, 60)
        x = torch.stack([0 * r, r, 1 + 0 * r, 0 * r], -1)
        axes[3].loglog(r, 48 / r**6, color="0.6", lw=4, label="$48 M^2 / r^6$")
        axes[3].loglog(r, rm.kretschmann_scalar(net, x), color="#d1495b", lw=1.2, label="network")
        axes[3].set(xlabel="r / M", title="Kretschmann's scalar")
        axes[3].legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


PROBLEMS = ("S^4", "H^3", "Schwarzschild")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("RIEMANN_QUICK")))
    parser.add_argument("--problems", nargs="*", default=PROBLEMS, choices=PROBLEMS)
    parser.add_argument("--optimisers", nargs="*", default=list(OPTIMISERS), choices=list(OPTIMISERS))
    parser.add_argument("--seconds", type=float, help="processor time of each optimiser, instead of the default")
    parser.add_argument("--out", type=Path, default=Path("build/einstein"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    warnings.filterwarnings("ignore", "rounding leaves")  # trial steps may make singular metrics; they are rejected
    arguments.out.mkdir(parents=True, exist_ok=True)
    results, pictures = {"torch": torch.__version__, "load": os.getloadavg()[0]}, {}
    for name in arguments.problems:
        results[name], start, net = run(name, arguments.quick, arguments.seconds, arguments.optimisers)
        pictures[name] = (make(name, arguments.quick)[0], start, net)
        show(name, results[name])
        (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(results, pictures, arguments.out / "einstein.png")
    print(f"\nwrote results.json and einstein.png in {arguments.out}")


if __name__ == "__main__":
    main()
