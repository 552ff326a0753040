"""Weights and points, by numpy alone: every side gets the same."""

import numpy as np

Arrays = dict[str, np.ndarray]


def network(n: int, points: int, hidden: int = 64, outputs: int | None = None) -> Arrays:
    """A network of two hidden layers with n(n+1)/2 outputs, the lower triangle of a factor, and points x."""
    random = np.random.default_rng(n)
    widths = (n, hidden, hidden, outputs or n * (n + 1) // 2)
    arrays = {}
    for layer, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
        bound = inputs**-0.5 * (0.3 if layer == 2 else 1.0)
        arrays[f"W{layer}"] = random.uniform(-bound, bound, (outputs, inputs))
        arrays[f"b{layer}"] = random.uniform(-bound, bound, outputs)
    return arrays | {"x": 0.5 * random.normal(size=(points, n))}


def unstructured(n: int, points: int) -> Arrays:
    """A network with n + n² outputs, weights s and rows of U, of which a metric without known structure is made."""
    return network(n, points, outputs=n + n * n)


def decoder(n: int = 8, outputs: int = 784, points: int = 16, hidden: int = 64) -> Arrays:
    """A network of one hidden layer from n to many dimensions, and points x."""
    random = np.random.default_rng(n)
    weights = {"W0": random.normal(size=(hidden, n)) / n**0.5, "b0": random.normal(size=hidden)}
    weights |= {"W1": random.normal(size=(outputs, hidden)) / hidden**0.5, "b1": random.normal(size=outputs)}
    return weights | {"x": random.normal(size=(points, n))}


def decoder_pairs(count: int, n: int = 16) -> Arrays:
    """The same network, of n dimensions, and pairs x and y, standard normal."""
    weights = decoder(n)
    x, y = np.random.default_rng(n + 1).normal(size=(2, count, n))
    return weights | {"x": x, "y": y}


def kerr(points: int) -> Arrays:
    """Points (t, r, theta, phi) outside a Kerr black hole of mass 1, away from its horizon and its axis."""
    low, high = np.array([0.0, 3.0, 0.3, 0.0]), np.array([1.0, 10.0, 2.8, 6.0])
    return {"x": np.random.default_rng(4).uniform(low, high, (points, 4))}


def sphere_geodesics(count: int) -> Arrays:
    """Starts (theta, phi) and velocities of unit length on the unit sphere that stay away from the poles; times."""
    random = np.random.default_rng(2)
    theta, phi = random.uniform(1.2, 1.9, count), random.uniform(-1.0, 1.0, count)
    slope = random.uniform(-0.5, 0.5, count)
    v = np.stack([np.sin(slope), np.cos(slope) / np.sin(theta)], -1)
    return {"x": np.stack([theta, phi], -1), "v": v, "t": np.linspace(0.0, 3.0, 11)}


def kerr_geodesics(count: int) -> Arrays:
    """Bound orbits about a Kerr black hole of mass 1: starts, velocities of nearly circular ones, times."""
    random = np.random.default_rng(3)
    r, theta = random.uniform(9.0, 15.0, count), random.uniform(1.3, 1.8, count)
    zero = np.zeros(count)
    x = np.stack([zero, r, theta, zero], -1)
    v = np.stack(
        [1.2 + zero, random.uniform(-0.03, 0.03, count), random.uniform(-2e-3, 2e-3, count), 1.2 * r**-1.5], -1
    )
    return {"x": x, "v": v, "t": np.linspace(0.0, 100.0, 11)}
