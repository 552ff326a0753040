"""The tour: right curvature for your kind of metric, beside its exact value. Takes well under a minute on a CPU."""

import math
import sys
from pathlib import Path

import matplotlib
import sympy as sp
import torch
from sklearn.datasets import load_digits

import riemann as rm
from riemann import spaces
from riemann.symbolic import SymbolicMetric
from riemann_nn import EvolutionLoss, NeuralDifferentialManifold

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
FAILURES = []


def title(text):
    print(f"\n{text}\n{'-' * len(text)}")


def compare(name, value, truth, tolerance=1e-10):
    """One line: what riemann computed, the exact value, the difference."""
    value, truth = torch.as_tensor(value), torch.as_tensor(truth, dtype=torch.float64)
    error = float((value - truth).abs().max())
    ok = error <= tolerance * max(1.0, float(truth.abs().max()))
    FAILURES.extend([] if ok else [name])
    number = f"{float(value):18.12f}   exact {float(truth):18.12f}" if value.ndim == 0 else f"{'max |difference|':>45}"
    print(f"  {name:34}{number:48} {error:8.1e}  {'ok' if ok else 'WRONG'}")


def exact(quantity):
    """A number or an array of SymPy's, computed to 30 digits, as floats."""
    return [exact(entry) for entry in quantity] if isinstance(quantity, list) else float(quantity)


title("The unit sphere, as anyone would write it")


def sphere(x):
    theta, phi = x
    return torch.diag(torch.stack([torch.ones_like(theta), torch.sin(theta) ** 2]))


x = torch.tensor([[0.7, 0.2], [1.1, 3.0]])
here = rm.at(sphere, x)  # one differentiation; everything else is algebra on it
compare("scalar curvature at two points", rm.scalar_curvature(sphere, x), [2.0, 2.0])
compare("Gamma^theta_phi phi", here.christoffel()[0, 0, 1, 1], -math.sin(0.7) * math.cos(0.7))
compare("R_theta phi theta phi", here.riemann_tensor(indices="llll")[1, 0, 1, 0, 1], math.sin(1.1) ** 2)
compare("area", rm.volume(sphere, ((0, math.pi), (0, 2 * math.pi))).value, 4 * math.pi)

title("Hyperbolic space (Poincare ball), n = 3, beside SymPy")


def ball(x):
    return 4 / (1 - torch.linalg.norm(x) ** 2) ** 2 * torch.eye(3)


X = sp.symbols("x y z")
point = (0.3, -0.2, 0.4)
symbolic = SymbolicMetric(sp.eye(3) * 4 / (1 - sum(c**2 for c in X)) ** 2, X).at(point, digits=30)
here = rm.at(ball, torch.tensor(point))
compare("Christoffel symbols", here.christoffel(), exact(symbolic.christoffel().tolist()))
compare("Ricci tensor", here.ricci_tensor(), exact(symbolic.ricci_tensor().tolist()))
compare("scalar curvature", here.scalar_curvature(), -6.0)
compare("… at the origin, where |x| has a kink", rm.scalar_curvature(ball, torch.zeros(3)), -6.0)

title("Black holes: Schwarzschild and Kerr, beside SymPy")


def schwarzschild(x, M=1.0):
    t, r, theta, phi = x
    f = 1 - 2 * M / r
    return torch.diag(torch.stack([-f, 1 / f, r**2, (r * torch.sin(theta)) ** 2]))


def kerr(x, M=1.0, a=0.6):
    t, r, theta, phi = x
    Sigma, Delta = r**2 + (a * torch.cos(theta)) ** 2, r**2 - 2 * M * r + a**2
    g = torch.zeros(4, 4)  # filled in place, as one does
    g[0, 0] = -(1 - 2 * M * r / Sigma)
    g[0, 3] = g[3, 0] = -2 * M * a * r * torch.sin(theta) ** 2 / Sigma
    g[1, 1], g[2, 2] = Sigma / Delta, Sigma
    g[3, 3] = (r**2 + a**2 + 2 * M * r * (a * torch.sin(theta)) ** 2 / Sigma) * torch.sin(theta) ** 2
    return g


t, r, theta, phi = Y = sp.symbols("t r theta phi")
f = 1 - 2 / r
point = (0.0, 5.0, 0.8, 0.3)
here = rm.at(schwarzschild, torch.tensor(point))
symbolic = SymbolicMetric(sp.diag(-f, 1 / f, r**2, (r * sp.sin(theta)) ** 2), Y).at(point, digits=30)
compare("Schwarzschild: Riemann tensor", here.riemann_tensor(), exact(symbolic.riemann_tensor().tolist()))
compare("Schwarzschild: Ricci tensor", here.ricci_tensor(), torch.zeros(4, 4))
compare("Schwarzschild: R_abcd R^abcd", here.kretschmann_scalar(), 48 / 5.0**6)

a = sp.Rational(3, 5)
Sigma, Delta = r**2 + (a * sp.cos(theta)) ** 2, r**2 - 2 * r + a**2
g_tp = -2 * a * r * sp.sin(theta) ** 2 / Sigma
g_pp = (r**2 + a**2 + 2 * r * (a * sp.sin(theta)) ** 2 / Sigma) * sp.sin(theta) ** 2
matrix = sp.Matrix([[-(1 - 2 * r / Sigma), 0, 0, g_tp], [0, Sigma / Delta, 0, 0], [0, 0, Sigma, 0], [g_tp, 0, 0, g_pp]])
symbolic = SymbolicMetric(matrix, Y).at(point, digits=30)
here = rm.at(kerr, torch.tensor(point))
compare("Kerr: Christoffel symbols", here.christoffel(), exact(symbolic.christoffel().tolist()))
compare("Kerr: R^t_rtr", here.riemann_tensor()[0, 1, 0, 1], exact(symbolic.riemann_component(0, 1, 0, 1)))
compare("Kerr: Ricci tensor", here.ricci_tensor(), torch.zeros(4, 4))
s, c = 25.0, (0.6 * math.cos(0.8)) ** 2  # r^2 and (a cos theta)^2
compare("Kerr: R_abcd R^abcd", here.kretschmann_scalar(), 48 * (s - c) * ((s + c) ** 2 - 16 * s * c) / (s + c) ** 6)

title("The unit S^3 with torch.linalg.det inside, which plain torch differentiates wrongly")


def three_sphere(x):
    J = torch.func.jacfwd(lambda y: torch.cat([2 * y, (y @ y - 1)[None]]) / (1 + y @ y))(x)  # stereographic
    g = J.T @ J
    return torch.linalg.det(g) ** (1 / 3) * torch.eye(3)  # g is conformal, so this is g


x = torch.randn(4, 3)
compare("scalar curvature at four points", rm.scalar_curvature(three_sphere, x), [6.0] * 4)

title("A small neural metric: curvature, and its gradient")
net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 9))


def neural(x):
    A = net(x).reshape(3, 3)
    return torch.eye(3) + A @ A.T


x = torch.randn(5, 3)
loss = rm.scalar_curvature(neural, x).square().mean()
loss.backward()
weight = net[0].weight
step = 1e-5
with torch.no_grad():
    weight[0, 0] += step
    above = rm.scalar_curvature(neural, x).square().mean()
    weight[0, 0] -= 2 * step
    below = rm.scalar_curvature(neural, x).square().mean()
    weight[0, 0] += step
compare("d mean(S^2) / d weight (differences)", weight.grad[0, 0], float(above - below) / (2 * step), 1e-6)
print("\nIs it a metric that can be trusted? check_metric(neural, x):")
print(rm.check_metric(neural, x))

title("A picture: a torus coloured by its Gaussian curvature")


def torus(x, R=2.0, r=0.8):
    u, v = x
    return torch.diag(torch.stack([torch.full_like(u, r**2), (R + r * torch.cos(u)) ** 2]))


u, v = torch.meshgrid(torch.linspace(0, 2 * math.pi, 121), torch.linspace(0, 2 * math.pi, 181), indexing="ij")
K = rm.scalar_curvature(torus, torch.stack([u, v], -1)) / 2
compare("Gaussian curvature of the torus", K, torch.cos(u) / (0.8 * (2 + 0.8 * torch.cos(u))))
figure = plt.figure(figsize=(8, 5))
axes = figure.add_subplot(projection="3d", computed_zorder=False)
ring = 2 + 0.8 * torch.cos(u)
shade = plt.cm.coolwarm(plt.Normalize(-float(K.abs().max()), float(K.abs().max()))(K.numpy()))
axes.plot_surface(ring * torch.cos(v), ring * torch.sin(v), 0.8 * torch.sin(u), facecolors=shade, rstride=2, cstride=2)
axes.set_box_aspect((5.6, 5.6, 1.6), zoom=1.5)
axes.view_init(elev=38, azim=-60)
axes.set_axis_off()
scale = plt.cm.ScalarMappable(plt.Normalize(-float(K.abs().max()), float(K.abs().max())), "coolwarm")
figure.colorbar(scale, ax=axes, shrink=0.6, label="Gaussian curvature")
picture = Path("build") / "torus.png"
picture.parent.mkdir(exist_ok=True)
figure.savefig(picture, dpi=130, bbox_inches="tight")

title("Is it right? verify compares with exact truth, for spaces of the catalogue and for your own metric")
tables = {name: spaces.get(name, **arguments) for name, arguments in {
    "sphere": {"n": 4}, "hyperbolic": {"n": 3}, "schwarzschild": {}, "kerr": {}, "flrw": {},
}.items()}  # fmt: skip
for name, metric in {**tables, "a network": neural}.items():
    report = rm.verify(metric, dim=3 if metric is neural else None)
    FAILURES.extend([] if report.ok else [name])
    print(f"\n{metric if name in tables else name}: {report}")

title("A neural differential manifold on handwritten digits: its chart is a plane, which one can draw")
pixels, labels = (torch.as_tensor(a) for a in load_digits(return_X_y=True))
order = torch.randperm(len(pixels))
train, test = order[:1300], order[1300:]
encoder = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh())
model = NeuralDifferentialManifold(64, [2], 10, metric_hidden=(32,))
evolution = EvolutionLoss(curvature=0.02, volume=0.02)  # the task, and curvature and volume of the learned metric
optimizer = torch.optim.Adam([*encoder.parameters(), *model.parameters()], lr=0.01)
for _ in range(400):
    batch = train[torch.randint(len(train), (200,))]
    output, charts = model(encoder(pixels[batch] / 16))
    total, parts = evolution(torch.nn.functional.cross_entropy(output, labels[batch]), charts)
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
model.requires_grad_(False)
with torch.no_grad():
    output, charts = model(encoder(pixels[test] / 16))
accuracy = float((output.argmax(-1) == labels[test]).double().mean())
z, metric = charts[0].coordinates, charts[0].metric
S = rm.scalar_curvature(metric, z).abs().median()
print(f"  test accuracy {accuracy:.3f} on {len(test)} digits; median of |S| there {S:.2f}")
FAILURES.extend([] if accuracy > 0.6 else ["the network learned nothing"])
box = torch.stack([z.quantile(0.005, 0) - 1, z.quantile(0.995, 0) + 1], -1).tolist()
grid = torch.cartesian_prod(*(torch.linspace(*side, 300) for side in box))
regions = model.output_from(0, grid).argmax(-1).reshape(300, 300).T
figure, axes = plt.subplots(1, 2, figsize=(13, 5), layout="compressed")
rm.plot.volume_map(metric, box, ax=axes[0])
rm.plot.metric_ellipses(metric, box, shape=(17, 11), color="white", ax=axes[0])
axes[0].set(title="the learned metric: volume element and unit circles", aspect="auto")
colours = {"cmap": "tab10", "vmin": -0.5, "vmax": 9.5}
axes[1].imshow(regions, extent=(*box[0], *box[1]), origin="lower", aspect="auto", alpha=0.3, **colours)
points = axes[1].scatter(*z.T, c=labels[test], s=14, edgecolor="white", linewidth=0.3, **colours)
figure.colorbar(points, ax=axes[1], ticks=range(10), label="digit")
axes[1].set(title=f"held-out digits, {accuracy:.0%} right, and what is nearest", xlim=box[0], ylim=box[1])
figure.savefig(picture.with_name("digits.png"), dpi=120)

print(f"\nThe pictures are at {picture.resolve()} and {picture.with_name('digits.png').resolve()}.")
print("Read next: README.md, then docs/index.md (`make docs` builds the site in ./site).")
if FAILURES:
    sys.exit(f"WRONG: {', '.join(FAILURES)}")
print("All values agree with the exact ones.")
