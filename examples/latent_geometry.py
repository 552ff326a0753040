"""The geometry of an autoencoder's latent space, on digits: geodesics against straight lines. Half a minute."""

import sys
from pathlib import Path

import matplotlib
import torch
from sklearn.datasets import load_digits
from torch import nn

import riemann as rm
from riemann.metrics import Pullback

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

digits = load_digits()
images = torch.from_numpy(digits.data) / 16
order = torch.randperm(len(images))
train, test = images[order[:1400]], images[order[1400:]]
labels = torch.from_numpy(digits.target)[order[1400:]]

encoder = nn.Sequential(nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 2))
decoder = nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 64))
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=5e-3)
for _ in range(400):
    batch = train[torch.randint(len(train), (200,))]
    loss = (decoder(encoder(batch)) - batch).square().sum(-1).mean() + 1e-3 * encoder(batch).square().sum(-1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
for parameter in decoder.parameters():
    parameter.requires_grad_(False)
with torch.no_grad():
    error = (decoder(encoder(test)) - test).square().sum(-1).mean() / (test - train.mean(0)).square().sum(-1).mean()
    z = encoder(test)
print(f"test error of the reconstruction: {error:.2f} of the variance")

metric = Pullback(decoder)  # lengths of latent curves are those of the pictures they decode to


def lengths(curves):
    """Lengths of polygons (points, curves, 2): of what the decoder makes of them."""
    return (decoder(curves[1:]) - decoder(curves[:-1])).norm(dim=-1).sum(0)


pairs = torch.randint(len(z), (12, 2))
start, end = z[pairs].unbind(1)
v = rm.log_map(metric, start, end, rtol=1e-6)  # velocities of the geodesics; lengths are their norms
t = torch.linspace(0, 1, 257)
bent = rm.geodesic(metric, start, v, t, rtol=1e-6).points
straight = start + t[:, None, None] * (end - start)
length = torch.einsum("bij,bi,bj->b", rm.at(metric, start, 0).g, v, v).sqrt()
ratio = length / lengths(straight)
print(f"geodesic / straight length: median {ratio.median():.2f}, least {ratio.min():.2f}, largest {ratio.max():.2f}")
if not torch.allclose(lengths(bent), length, rtol=1e-3):
    sys.exit("WRONG: what the decoder makes of a geodesic is not as long as its velocity says")

K = rm.scalar_curvature(metric, z) / 2
volume = rm.log_volume_element(metric, z)
print(f"Gauss curvature at test points: median {K.median():.3f}, from {K.min():.2f} to {K.max():.2f}")
print(f"log volume element: from {volume.min():.1f} to {volume.max():.1f}")

low, high = z.quantile(0.01, dim=0), z.quantile(0.99, dim=0)
box = [tuple(side) for side in torch.stack([low - 0.2, high + 0.2], -1).tolist()]
figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
rm.plot.volume_map(metric, box, ax=axes[0], resolution=60)
for k in range(len(pairs)):
    axes[0].plot(*straight[:, k].T, color="white", lw=0.8, ls="--")
    axes[0].plot(*bent[:, k].T, color="tab:orange", lw=1.4)
axes[0].set_title("geodesics (orange) and straight lines over the volume element")
rm.plot.metric_ellipses(metric, box, shape=(11, 11), ax=axes[1], color="0.35")
scatter = axes[1].scatter(*z.T, c=labels, cmap="tab10", s=9, vmin=-0.5, vmax=9.5)
figure.colorbar(scatter, ax=axes[1], ticks=range(10), label="digit")
axes[1].set_title("unit circles, and the test digits")
for ax in axes:
    ax.set(xlabel="$z^1$", ylabel="$z^2$")
picture = Path(sys.argv[1] if len(sys.argv) > 1 else "build") / "latent.png"
picture.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(picture, dpi=140)
print(f"The picture is at {picture.resolve()}.")
