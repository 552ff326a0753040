"""Sums of a jet and a constant, which wait to be read, and what looks like one: the numbers are torch's own."""

import pytest
import torch

import riemann as rm

from .helpers import assert_close

X = torch.tensor([[0.3, -0.2, 0.5], [1.1, 0.4, -0.3], [0.7, 0.9, 0.2]], dtype=torch.float64)
W = torch.sin(torch.arange(12.0, dtype=torch.float64)).view(4, 3)
B = torch.cos(torch.arange(4.0, dtype=torch.float64))


def written_after(x):
    h = W @ x
    y = h + B
    h[0] = x[0] ** 2
    h.mul_(x[1])
    return torch.tanh(y) + h


def written_before(x):
    h = W @ x
    h[1] = x[0] * x[2]
    y = h + B
    h.mul_(x[1])
    return torch.tanh(y) * h


def written_itself(x):
    y = W @ x + B
    z = torch.tanh(y)
    y[2] = x[1] ** 2
    return y.exp() + z


def view_written(x):
    y = W @ x + B
    y[1:3].mul_(x[0])
    return torch.sin(y)


def view_of_memory_written(x):
    h = (W @ x).clone()
    y = h[1:] + B[1:]
    h[2] = x[0] ** 3
    return torch.cat([torch.tanh(y), h])


def constant_written(x):
    b = B.clone()
    y = W @ x + b
    b.zero_()
    return torch.tanh(y)


def added_in_place(x):
    h = W @ x
    kept = torch.tanh(h)
    h += B
    return torch.tanh(h) + kept


METRICLIKE = {
    "a layer": lambda x: torch.tanh(W @ x + B),
    "two constants": lambda x: torch.tanh(B + (W @ x + B)) + torch.sin(1 + (2 - W @ x)),
    "a number": lambda x: torch.exp(x + 1) * torch.log(3 + x),
    "a difference": lambda x: torch.tanh(W @ x - B) + torch.tanh(B - W @ x),
    "alpha": lambda x: torch.tanh(torch.add(W @ x, B, alpha=3)) + torch.tanh(torch.sub(B, W @ x, alpha=2)),
    "read as a whole": lambda x: (W @ x + B) ** 2 @ W + (W @ x + B) @ W,
    "read in both ways": lambda x: (y := W @ x + B) * torch.sigmoid(y),
    "read through a view": lambda x: torch.tanh((W @ x + B).view(2, 2).T.reshape(-1)[1:]),
    "more rows than the jet": lambda x: torch.tanh(x + torch.ones(2, 3, dtype=x.dtype)),
    "a row each": lambda x: torch.tanh(torch.outer(x, x) + B[:3]),
    "a column each": lambda x: torch.tanh(torch.outer(x, x) + B[:3, None]),
    "more axes than the jet": lambda x: torch.tanh(x[0] + B),
    "complex": lambda x: torch.tanh(x + 1j * x.new_tensor([0.5, 0.2, 0.1])).abs() ** 2,
    "of a constant": lambda x: torch.tanh(torch.zeros_like(x) + B[:3]) + x,
    "a kink": lambda x: torch.tanh(x.abs() + 1),
    "a table": lambda x: torch.special.gammaln(x + 2) + torch.special.erf(x - 1),
    "a layer of torch": lambda x: torch.tanh(torch.nn.functional.linear(x, W, B)),
    "inner derivatives": lambda x: torch.func.jacfwd(lambda y: torch.tanh(W @ y + B))(x) @ x,
    "written after": written_after,
    "written before": written_before,
    "written itself": written_itself,
    "view written": view_written,
    "view of memory written": view_of_memory_written,
    "constant written": constant_written,
    "added in place": added_in_place,
}


@pytest.mark.parametrize("name", METRICLIKE)
def test_derivatives_are_those_of_torch(name):
    f = METRICLIKE[name]
    f_, df, ddf = rm.jet(f, X, 2)
    slope = torch.func.jacrev(f)
    assert_close(f_, torch.stack([f(x) for x in X]))
    assert_close(df, torch.stack([slope(x) for x in X]))
    assert_close(ddf, torch.stack([torch.func.jacrev(slope)(x) for x in X]))


def test_a_module_whose_bias_changes_between_calls_is_read_anew():
    layer = torch.nn.Linear(3, 3).double()
    f = lambda x: torch.tanh(layer(x))
    before = rm.jet(f, X, 1)
    with torch.no_grad():
        layer.bias.add_(0.5)
    after = rm.jet(f, X, 1)
    assert_close(after[0], torch.tanh(layer(X)))
    assert (before[1] - after[1]).abs().max() > 1e-3


def test_gradients_of_weights_and_biases():
    layers = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 9)).double()
    g = lambda x: (A := layers(x).view(3, 3)) @ A.T + torch.eye(3, dtype=x.dtype)
    S = rm.scalar_curvature(g, X).sum()
    gradients = torch.autograd.grad(S, list(layers.parameters()), materialize_grads=True, allow_unused=True)
    for p, slope in zip(layers.parameters(), gradients, strict=True):
        step = 1e-6 * torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(1))
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                p.add_(sign * step)
                ends.append(rm.scalar_curvature(g, X).sum())
                p.sub_(sign * step)
        assert_close((slope * step).sum(), (ends[0] - ends[1]) / 2, rtol=1e-4, atol=1e-9)
