"""This package."""

import os
import subprocess
import sys
import warnings

import sympy as sp
import torch

import riemann as rm
import riemann_nn as nn
from riemann import metrics
from riemann._certified.claims import Claim
from riemann._certified.search import judged
from riemann._certified.sources import source
from riemann.symbolic import SymbolicMetric
from tests.cases import kerr as _kerr
from tests.cases import sphere as _sphere

warnings.filterwarnings("ignore", "`.*` takes the generic route")  # asked for here, as the thing to compare with


def _network(weights, dtype=torch.float64, trainable=False):
    pairs = [(weights[f"W{i}"], weights[f"b{i}"]) for i in range(3)]
    return nn.MLPCholesky.from_weights(pairs).to(dtype).requires_grad_(trainable)


def _compiled(metric, quantity, x, **options):
    function, x = rm.compile(metric, quantity, dim=x.shape[-1], **options), torch.tensor(x)
    assert not function.route.startswith("eager"), f"`compile` does not reach it: {function.route}"
    return lambda: function(x)


def _generic(metric):
    return lambda x: metric(x)


def scalar_curvature(x, **weights):
    metric, x = _network(weights), torch.tensor(x)
    return lambda: rm.scalar_curvature(metric, x)


def generic_scalar_curvature(x, **weights):
    metric, x = _generic(_network(weights)), torch.tensor(x)
    return lambda: rm.scalar_curvature(metric, x)


def compiled_scalar_curvature(x, **weights):
    return _compiled(_network(weights), "scalar_curvature", x)


def _plain_network(W0, b0, W1, b1, W2, b2):
    """The network metric as a stranger writes it: a function."""
    W0, b0, W1, b1, W2, b2 = map(torch.tensor, (W0, b0, W1, b1, W2, b2))
    n = W0.shape[1]
    rows, columns = torch.tril_indices(n, n)

    def g(x):
        p = W2 @ torch.tanh(W1 @ torch.tanh(W0 @ x + b0) + b1) + b2
        L = torch.zeros(n, n).index_put((rows, columns), p)
        L = torch.tril(L, -1) + torch.diag(torch.nn.functional.softplus(torch.diagonal(L)) + 0.1)
        return L @ L.T

    return g


def _unstructured(W0, b0, W1, b1, W2, b2):
    """1 + sum of softplus(s_a) u_a u_a^T + 0.1 sym(tanh(U) U), with the u_a the rows of U."""
    W0, b0, W1, b1, W2, b2 = map(torch.tensor, (W0, b0, W1, b1, W2, b2))
    n = W0.shape[1]

    def g(x):
        p = W2 @ torch.tanh(W1 @ torch.tanh(W0 @ x + b0) + b1) + b2
        s, U = torch.nn.functional.softplus(p[:n]), p[n:].reshape(n, n)
        S = torch.tanh(U) @ U
        return torch.eye(n) + U.T @ torch.diag(s) @ U + 0.05 * (S + S.T)

    return g


def plain_scalar_curvature(x, **weights):
    metric, x = _plain_network(**weights), torch.tensor(x)
    return lambda: rm.scalar_curvature(metric, x)


def compiled_plain_scalar_curvature(x, **weights):
    return _compiled(_plain_network(**weights), "scalar_curvature", x)


def unstructured_scalar_curvature(x, **weights):
    metric, x = _unstructured(**weights), torch.tensor(x)
    return lambda: rm.scalar_curvature(metric, x)


def compiled_unstructured_scalar_curvature(x, **weights):
    return _compiled(_unstructured(**weights), "scalar_curvature", x)


def _spelled_otherwise(W0, b0, W1, b1, W2, b2):
    """The same in loops, by `stack` and `einsum`."""
    W0, b0, W1, b1, W2, b2 = map(torch.tensor, (W0, b0, W1, b1, W2, b2))
    n = W0.shape[1]

    def g(x):
        h = x
        for W, b in ((W0, b0), (W1, b1)):
            h = torch.einsum("ij,j->i", W, h).add(b).tanh()
        p = torch.einsum("ij,j->i", W2, h) + b2
        rows = [p[n + n * a : n + n * (a + 1)] for a in range(n)]
        total = torch.eye(n)
        for a, u in enumerate(rows):
            total = total + torch.log1p(torch.exp(p[a])) * torch.outer(u, u)
        U = torch.stack(rows)
        S = torch.einsum("ab,bc->ac", torch.tanh(U), U)
        return total + 0.1 * (S + S.transpose(0, 1)) / 2

    return g


def compiled_unstructured_spelled_otherwise(x, **weights):
    return _compiled(_spelled_otherwise(**weights), "scalar_curvature", x)


def structured_scalar_curvature(x, **weights):
    """By what is found in the plain function, called eagerly."""
    metric, x = rm.structured(_plain_network(**weights), x.shape[-1]), torch.tensor(x)
    return lambda: rm.scalar_curvature(metric, x)


def ricci_tensor(x, **weights):
    metric, x = _network(weights), torch.tensor(x)
    return lambda: rm.ricci_tensor(metric, x)


def ricci_curvature(x, **weights):
    metric, x = _generic(_network(weights)), torch.tensor(x)
    v = torch.ones_like(x)
    return lambda: rm.ricci_curvature(metric, x, v)


def estimate_scalar_curvature(x, **weights):
    metric, x = _generic(_network(weights)), torch.tensor(x)
    return lambda: torch.stack(rm.estimate_scalar_curvature(metric, x, 2, torch.Generator().manual_seed(0)), -1)


def _loss(kind, estimator, x, weights):
    metric, x = _network(weights, torch.float32, trainable=True), torch.tensor(x, dtype=torch.float32)
    return _descent(metric, metric, x, kind, estimator)


def _descent(module, curvature, x, *options):
    """The loss and its gradients by the parameters of a module."""

    def work():
        module.zero_grad()
        generator = torch.Generator().manual_seed(0)
        loss = nn.curvature_loss(curvature, x, *options, num_samples=2, generator=generator)
        loss.backward()
        return loss.detach()

    return work


def curvature_loss(x, **weights):
    """The mean square of the scalar curvature in float32, forward and backward."""
    return _loss("scalar", "exact", x, weights)


class _Plain(torch.nn.Module):
    """The network metric as a module that a stranger writes."""

    def __init__(self, n, weights):
        super().__init__()
        self.rows, self.columns = torch.tril_indices(n, n)
        layers = [torch.nn.utils.skip_init(torch.nn.Linear, *weights[f"W{i}"].shape[::-1]) for i in range(3)]
        self.net = torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1], torch.nn.Tanh(), layers[2])
        for i, layer in enumerate(layers):
            layer.weight.data, layer.bias.data = (torch.tensor(weights[f"{a}{i}"]).float() for a in "Wb")

    def forward(self, x):
        L = x.new_zeros(len(x), len(x)).index_put((self.rows, self.columns), self.net(x))
        L = torch.tril(L, -1) + torch.diag(torch.nn.functional.softplus(torch.diagonal(L)) + 0.1)
        return L @ L.T


def compiled_plain_curvature_loss(x, **weights):
    """The same loss of the module, by its compiled scalar curvature."""
    metric, x = _Plain(x.shape[-1], weights), torch.tensor(x, dtype=torch.float32)
    return _descent(metric, rm.compile(metric, "scalar_curvature", dim=x.shape[-1]), x, "scalar", "exact")


def sampled_curvature_loss(x, **weights):
    """The mean square of sectional curvatures in two random planes a point."""
    return _loss("sectional", "sampled", x, weights)


def _training(evolution):
    """Twenty steps of a model whose prediction reads its metrics: charts of 64, 32, 16 dimensions, batches of 128."""
    torch.manual_seed(0)
    model, evolve = nn.NeuralDifferentialManifold(64, [64, 32, 16], 10), nn.EvolutionLoss(monitor=None)
    optimizer, x, y = torch.optim.Adam(model.parameters()), torch.randn(128, 64), torch.randint(10, (128,))

    def work():
        for _ in range(20):
            optimizer.zero_grad()
            output, charts = model(x)
            loss = torch.nn.functional.cross_entropy(output, y)
            (evolve(loss, charts)[0] if evolution else loss).backward()
            optimizer.step()
        return 0

    return work


def training():
    return _training(evolution=True)


def training_without_geometry():
    return _training(evolution=False)


def _wide(model, read):
    """Four steps, a period of the default schedule: 784 features, widths 256 and 128, batches of 512."""
    evolve, optimizer = nn.EvolutionLoss(monitor=None), torch.optim.Adam(model.parameters())
    x, y = torch.randn(512, 784), torch.randint(10, (512,))

    def work():
        for _ in range(4):
            optimizer.zero_grad()
            output, charts = read(model(x))
            loss = torch.nn.functional.cross_entropy(output, y)
            (evolve(loss, charts)[0] if charts else loss).backward()
            optimizer.step()
        return 0

    return work


def wide_low_rank():
    return _wide(nn.NeuralDifferentialManifold(784, [256, 128], 10, family="low_rank"), lambda result: result)


def wide_diagonal():
    return _wide(nn.NeuralDifferentialManifold(784, [256, 128], 10, family="diagonal"), lambda result: result)


def wide_mlp():
    """A multilayer perceptron of the same dimensions."""
    linear, tanh = torch.nn.Linear, torch.nn.Tanh
    mlp = torch.nn.Sequential(linear(784, 256), tanh(), linear(256, 128), tanh(), linear(128, 10))
    return _wide(mlp, lambda output: (output, None))


def _decoder(W0, b0, W1, b1):
    W0, b0, W1, b1 = map(torch.tensor, (W0, b0, W1, b1))
    return metrics.Pullback(lambda x: torch.tanh(x @ W0.T + b0) @ W1.T + b1)


def decoder(x, **weights):
    metric, x = _decoder(**weights), torch.tensor(x)
    return lambda: rm.scalar_curvature(metric, x)


def generic_decoder(x, **weights):
    metric, x = _generic(_decoder(**weights)), torch.tensor(x)
    return lambda: rm.scalar_curvature(metric, x)


def kerr_riemann(x):
    x = torch.tensor(x)
    return lambda: rm.riemann_tensor(_kerr, x)


def kerr_christoffel(x):
    x = torch.tensor(x)
    return lambda: rm.christoffel(_kerr, x)


def compiled_kerr_riemann(x):
    return _compiled(_kerr, "riemann_tensor", x)


def compiled_independent_kerr_riemann(x):
    return _compiled(_kerr, "riemann_tensor", x, components="independent")


def compiled_kerr_christoffel(x):
    return _compiled(_kerr, "christoffel", x)


def _geodesics(metric, x, v, t, tolerance, acceleration=None):
    x, v, t, tolerance = torch.tensor(x), torch.tensor(v), torch.tensor(t), float(tolerance)
    return lambda: rm.geodesic(metric, x, v, t, rtol=tolerance, atol=tolerance, acceleration=acceleration).points


def _accelerations(metric, dim):
    return rm.compile(metric, "geodesic_acceleration", dim=dim)


def sphere_geodesics(x, v, t, tolerance):
    return _geodesics(_sphere, x, v, t, tolerance)


def kerr_geodesics(x, v, t, tolerance):
    return _geodesics(_kerr, x, v, t, tolerance)


def compiled_sphere_geodesics(x, v, t, tolerance):
    return _geodesics(_sphere, x, v, t, tolerance, _accelerations(_sphere, 2))


def compiled_kerr_geodesics(x, v, t, tolerance):
    return _geodesics(_kerr, x, v, t, tolerance, _accelerations(_kerr, 4))


def decoder_distances(x, y, W0, b0, W1, b1):
    """Distances of pairs by a metric that is written as a plain function, J^T J."""
    x, y, W0, b0, W1, b1 = map(torch.tensor, (x, y, W0, b0, W1, b1))

    def g(x):
        J = torch.func.jacfwd(lambda x: W1 @ torch.tanh(W0 @ x + b0) + b1)(x)
        return J.mT @ J

    return lambda: rm.distance(g, x, y)


# ------------------------------------------------------------------------------------------------ the exact side


def _symbolic_kerr(cosine):
    t, r, angle, phi = sp.symbols("t r theta phi")
    M, a = sp.symbols("M a")
    c2 = angle**2 if cosine else sp.cos(angle) ** 2
    s2 = 1 - angle**2 if cosine else sp.sin(angle) ** 2
    S, D = r**2 + a**2 * c2, r**2 - 2 * M * r + a**2
    cross = -2 * M * a * r * s2 / S
    last = (r**2 + a**2 + 2 * M * a**2 * r * s2 / S) * s2
    g = sp.Matrix([[2 * M * r / S - 1, 0, 0, cross], [0, S / D, 0, 0], [0, 0, S, 0], [cross, 0, 0, last]])
    g[2, 2] = S / s2 if cosine else S
    return SymbolicMetric(g, (t, r, angle, phi))


def symbolic_riemann(cosine):
    """All of Riemann, simplified, and Ricci = 0, proven; the number of components that are not 0."""

    def work():
        sp.core.cache.clear_cache()
        metric = _symbolic_kerr(cosine)
        nonzero = sum(component != 0 for component in sp.flatten(metric.riemann_tensor().tolist()))
        assert all(component == 0 for component in sp.flatten(metric.ricci_tensor().tolist()))
        return nonzero

    return work


def symbolic_kretschmann(cosine):
    """The Kretschmann scalar, factored."""

    def work():
        sp.core.cache.clear_cache()
        return len(str(_symbolic_kerr(cosine).kretschmann_scalar()))

    return work


# ------------------------------------------------------------------------------------------------ imports


def enclosed_boxes(x, radius, **weights):
    """Scalar curvature over boxes around the points, by Taylor forms; the share on which it is certainly positive."""
    x = torch.tensor(x)
    graph, claim = source(_network(weights), x.shape[-1], torch.float64), Claim("scalar_curvature", 0.0, None)

    def work():
        return float(judged(graph, claim, x - radius, x + radius).proved.double().mean())

    return work


def _importing(name):
    """As packages that are installed, with their bytecode: of sources, the call that warms up writes it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return lambda: subprocess.run([sys.executable, "-c", f"import {name}"], check=True, env=environment).returncode


def import_riemann():
    return _importing("riemann")


def import_torch():
    return _importing("torch")
