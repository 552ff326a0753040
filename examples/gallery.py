"""The pictures of the gallery: `python examples/gallery.py [folder]` draws them in well under a minute."""

import math
import sys
from pathlib import Path

import matplotlib
import torch
from torch import cos, sin, stack

import riemann as rm
from riemann import spaces

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

plot = rm.plot
torch.manual_seed(0)
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/gallery")
folder.mkdir(parents=True, exist_ok=True)
plt.rcParams.update({"font.size": 9, "axes.titlesize": 10})


def save(figure, name):
    figure.savefig(folder / f"{name}.png", dpi=150)
    plt.close(figure)
    print(folder / f"{name}.png")


def panels(count, width=3.4, height=3.1, **options):
    return plt.subplots(1, count, figsize=(width * count, height), layout="constrained", **options)


def torus(x, R=2.0, r=0.8):
    ring = R + r * cos(x[0])
    return stack([ring * cos(x[1]), ring * sin(x[1]), r * sin(x[0])])


def enneper(x):
    u, v = x
    return stack([u - u**3 / 3 + u * v**2, -v + v**3 / 3 - v * u**2, u**2 - v**2])


def wave(x):
    return stack([x[0], x[1], torch.exp(-(x @ x) / 4) * cos(2 * x[0]) * cos(2 * x[1])])


ROUND = (0, 2 * math.pi)
figure, axes = panels(3, 3.6, 2.9, subplot_kw={"projection": "3d"})
plot.surface(torus, (ROUND, ROUND), ax=axes[0], resolution=120)
plot.surface(enneper, ((-1.4, 1.4), (-1.4, 1.4)), ax=axes[1])
axes[1].view_init(elev=24, azim=-105)
plot.surface(wave, ((-3, 3), (-3, 3)), ax=axes[2])
for ax, title in zip(axes, ("torus", "Enneper's minimal surface", "a wave"), strict=True):
    ax.set_title(title)
save(figure, "surfaces")


def gyroid(x):
    return (sin(2 * x) * cos(2 * x.roll(-1))).sum()


def dumbbell(x):  # a signed distance, nearly: two balls with a smooth union
    ends = stack([(x - x.new_tensor(c)).norm() - 0.7 for c in ([0.8, 0.0, 0.0], [-0.8, 0.0, 0.0])])
    return -torch.logsumexp(-4 * ends, 0) / 4


figure, axes = panels(2, 4.4, 3.4, subplot_kw={"projection": "3d"})
plot.level_set(gyroid, ((-1.6, 1.6),) * 3, resolution=26, ax=axes[0])
plot.level_set(dumbbell, ((-1.8, 1.8), (-1, 1), (-1, 1)), rm.level_set_mean_curvature, resolution=36, ax=axes[1])
for ax, title in zip(axes, ("a gyroid", "a smooth union of two balls"), strict=True):
    ax.set_title(title)
save(figure, "levels")

half_plane = spaces.hyperbolic(2)
stereographic = lambda x: 4 * torch.eye(2) / (1 + x @ x) ** 2
net = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4)).double()


def learned(x):
    A = net(2 * x).reshape(2, 2)
    return torch.eye(2) / 4 + 4 * A @ A.T


figure, axes = panels(3)
plot.metric_ellipses(spaces.sphere(2), ((0.1, math.pi - 0.1), (0, math.pi)), ax=axes[0])
plot.metric_ellipses(half_plane, ((-1, 1), (0.05, 2.05)), ax=axes[1])
plot.metric_ellipses(learned, ((-2, 2), (-2, 2)), shape=(13, 13), ax=axes[2])
for ax, title in zip(axes, ("sphere, by angles", "hyperbolic half plane", "a network"), strict=True):
    ax.set_title(title)
save(figure, "ellipses")

figure, axes = panels(3)
plot.geodesic_fan(half_plane, ((-2, 2), (0.0, 4.0)), torch.tensor([0.0, 1.0]), num=32, length=2.4, ax=axes[0])
plot.geodesic_fan(stereographic, ((-3, 3), (-3, 3)), torch.tensor([0.7, 0.0]), num=32, length=2.8, ax=axes[1])
plot.geodesic_fan(spaces.torus(2, 1), ((-2, 2 * math.pi - 2), (-math.pi, math.pi)), torch.tensor([0.0, 0.0]), num=48,
                  length=6.0, ax=axes[2])  # fmt: skip
for ax, title in zip(axes, ("hyperbolic half plane", "sphere, stereographic", "torus"), strict=True):
    ax.set_title(title)
save(figure, "geodesics")

figure, axes = panels(2, 4.6, 3.6)
plot.light_rays(spaces.schwarzschild(M=1), ((-12, 16), (-12, 12)), horizon=2.0, ax=axes[0])
spin = 0.95
plot.light_rays(spaces.kerr(M=1, a=spin), ((-12, 16), (-12, 12)), horizon=1 + math.sqrt(1 - spin**2), ax=axes[1])
axes[0].set_title("Schwarzschild")
axes[1].set_title(f"Kerr, a = {spin} M")
save(figure, "light")

figure, axes = panels(2, 4.6, 3.4)
plot.curvature_map(learned, ((-2, 2), (-2, 2)), ax=axes[0])
plot.volume_map(learned, ((-2, 2), (-2, 2)), ax=axes[1])
for ax, title in zip(axes, ("curvature of a network", "its volume"), strict=True):
    ax.set_title(title)
save(figure, "maps")

figure, axes = panels(3)
for ax, theta in zip(axes, (math.pi / 2, math.pi / 3, math.pi / 6), strict=True):
    radius = math.tan(theta / 2)  # of the circle of latitude theta, in stereographic coordinates
    circle = lambda s, radius=radius: radius * stack([cos(2 * math.pi * s), sin(2 * math.pi * s)])
    window = (-2 * radius, 2 * radius)
    plot.parallel_transport(stereographic, (window, window), circle, ax=ax)
    ax.set_title(rf"$\theta = {math.degrees(theta):.0f}°$: " + ax.get_title())
save(figure, "transport")

figure, axes = panels(2, 3.6, 3.4)
corners = torch.polar(torch.tensor(0.9), 2 * math.pi * torch.arange(7) / 7)
corners = stack([corners.real, corners.imag], -1)
plot.poincare_disc(corners, corners.roll(-2, 0), ax=axes[0])
plot.poincare_disc(torch.zeros(2), corners, color="tab:orange", ax=axes[0])
ends = torch.tensor([[-1.5, 0.3], [-1.0, 0.3], [-0.5, 0.3]], dtype=torch.float64)
plot.geodesic(half_plane, ((-2, 2), (0.0, 2.2)), ends, ends * torch.tensor([-1.0, 1.0]), ax=axes[1])
for ax, title in zip(axes, ("Poincaré disc", "half plane, and straight lines"), strict=True):
    ax.set_title(title)
save(figure, "between")

# The landing page's picture: transparent, in grey, for a page that is light or dark.
GREY = "#8a8a8a"
with plt.rc_context({"text.color": GREY, "axes.edgecolor": GREY, "axes.titlesize": 13}):
    figure = plt.figure(figsize=(12, 4.1), layout="constrained")
    bent = plot.surface(wave, ((-3, 3), (-3, 3)), ax=figure.add_subplot(1, 3, 1, projection="3d"))
    figure.axes[-1].remove()  # the scale of its colours
    bent.set_axis_off()
    bent.set_box_aspect((6, 6, 1.8), zoom=1.35)
    fan = figure.add_subplot(1, 3, 2)
    plot.geodesic_fan(learned, ((-2, 2), (-2, 2)), torch.tensor([-0.4, 0.2]), num=24, length=4.5, ax=fan)
    hole = figure.add_subplot(1, 3, 3)
    plot.light_rays(spaces.kerr(M=1, a=spin), ((-12, 12), (-12, 12)), horizon=1 + math.sqrt(1 - spin**2), ax=hole)
    for ax, title in ((bent, "a surface"), (fan, "what a network sees"), (hole, "a black hole")):
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="", title=title)
    figure.savefig(folder / "landing.png", dpi=130, transparent=True)
