"""Metrics written in ways that had not been tried: recurrent cells, checkpoints, functions that keep digits."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import riemann as rm

D = torch.float64
POINT = torch.tensor([0.31, 0.72], dtype=D)


def gram(A):
    return A.mT @ A + torch.eye(A.shape[-1], dtype=A.dtype)


def diag(*entries):
    return torch.diag(torch.stack(entries))


# ------------------------------------------------------------------------------------------------ writing in place


def filled(x):
    """Every entry is written, by a loop, into memory that holds anything at first."""
    g = torch.empty(2, 2)
    for i in range(2):
        for j in range(2):
            g[i, j] = torch.exp(-((i - j) ** 2) * (1 + x[i] ** 2 + x[j] ** 2))
    return g


def filled_from_new(x):
    g = x.new_empty(2, 2)
    g[0], g[1] = torch.stack([2 + x[1] ** 2, x[0]]), torch.stack([x[0], 3 + x[0] ** 2])
    return g


def powers(x):
    V = torch.vander(x)  # which torch fills as well
    return V.T @ V + torch.eye(2, dtype=x.dtype)


@pytest.mark.unshaped
@pytest.mark.parametrize("g", [filled, filled_from_new, powers], ids=lambda g: g.__name__)
def test_memory_that_is_filled_is_recorded(g):
    """What is there before differs from call to call, and was taken for a random number."""
    torch.set_default_dtype(D)
    x = torch.stack([POINT, POINT + 1])
    right = rm.scalar_curvature(g, x)
    torch.testing.assert_close(rm.compile(g, "scalar_curvature", dim=2, backend=None)(x), right)
    exact = rm.bridge.to_symbolic(g, 2)
    value = exact.scalar_curvature().subs(dict(zip(exact.coordinates, POINT.tolist(), strict=True)))
    assert float(value) == pytest.approx(float(right[0]))


def test_memory_that_is_not_filled_is_not_known():
    def g(x):
        g = torch.empty(2, 2, dtype=D)
        g[0, 0] = 1 + x[1] ** 2
        g[1, 1] = 1
        return g

    with pytest.warns(UserWarning, match="not finite at this point"):
        assert rm.scalar_curvature(g, POINT).isnan()


@pytest.mark.unshaped
def test_convolutions_are_compiled():
    layer = nn.Conv1d(1, 3, 2).double()
    g = lambda x: gram(torch.tanh(layer(torch.cat([x, x**2])[None, None]))[0, :, :2])
    x = torch.stack([POINT, POINT + 1, POINT - 2])
    compiled = rm.compile(g, "scalar_curvature", dim=2, backend=None)
    for some in (x, x[:2]):
        torch.testing.assert_close(compiled(some), rm.scalar_curvature(g, some))
    assert compiled.route.startswith("jets")


@pytest.mark.unshaped
def test_recurrent_cells_are_compiled():
    """They add in place, in C++, to what is not of the point yet: once, the process ended there."""
    cell = nn.RNNCell(2, 4).double()
    g = lambda x: gram(cell(x[None], torch.zeros(1, 4, dtype=D)).view(2, 2))

    def by_hand(x):
        h = torch.tanh(x @ cell.weight_ih.T + cell.bias_ih + cell.bias_hh)
        return gram(h.view(2, 2))

    x = torch.stack([POINT, POINT + 1])
    right = rm.volume_element(by_hand, x)
    torch.testing.assert_close(rm.volume_element(g, x), right)
    torch.testing.assert_close(rm.compile(g, "volume_element", dim=2, backend=None)(x), right)


# ------------------------------------------------------------------------------------------------------ checkpoints


@pytest.mark.parametrize("outside", [False, True])
def test_gradients_of_curvature_through_checkpoints(outside):
    layer = nn.Linear(2, 4).double()
    features = lambda x: torch.sin(layer(x)).view(2, 2)
    plain = lambda x: gram(features(x))
    kept = plain if outside else lambda x: gram(checkpoint(features, x, use_reentrant=False))
    x = POINT.clone().requires_grad_()
    curvature = lambda x: rm.scalar_curvature(kept, x)
    S = checkpoint(curvature, x, use_reentrant=False) if outside else curvature(x)
    inputs = [x, *layer.parameters()]
    found, right = torch.autograd.grad(S, inputs), torch.autograd.grad(rm.scalar_curvature(plain, x), inputs)
    torch.testing.assert_close(found, right)


# ------------------------------------------------------------------------------------- compiled code keeps the digits

CANCELLING = {
    "expm1": (torch.expm1, [1e-15, -1e-9, 0.3]),
    "log1p": (torch.log1p, [1e-15, -1e-9, 0.3]),
    "xlog1py": (lambda x: torch.special.xlog1py(x, x), [1e-15, -1e-9, 0.3]),
    "softplus": (nn.functional.softplus, [-30.0, -20.0, 3.0, 800.0]),
    "logsigmoid": (nn.functional.logsigmoid, [30.0, 20.0, -3.0]),
    "mish": (nn.functional.mish, [-200.0, -30.0, -20.0, 3.0]),
    "a difference of exponentials": (lambda x: x * torch.expm1(2 * x) - torch.expm1(x), [1e-9, 2.0]),
}


@pytest.mark.parametrize("name", CANCELLING)
@pytest.mark.parametrize("quantity", ["volume_element", "christoffel"])
def test_compiled_differences_keep_their_digits(name, quantity):
    f, places = CANCELLING[name]
    g = lambda x: diag(f(x[0]), 1 + x[1])
    x = torch.tensor([[p, 0.3] for p in places], dtype=D)
    compiled = rm.compile(g, quantity, dim=2, backend=None)
    compiled(torch.tensor([[0.4, 0.2]], dtype=D))  # where the two are compared
    torch.testing.assert_close(compiled(x), getattr(rm, quantity)(g, x), rtol=1e-9, atol=0)


# ------------------------------------------------------------------------------- what changes, and what is kept


@pytest.mark.unshaped
def test_a_parameter_that_is_taken_away_is_seen():
    class Metric(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = (nn.Parameter(torch.tensor(v, dtype=D)) for v in ([1.0, 2.0], [0.3, 0.4]))

        def forward(self, x):
            return torch.diag(self.a + x.flip(0) ** 2 * (1 if self.b is None else self.b))

    metric = Metric()
    compiled = rm.compile(metric, "scalar_curvature", dim=2, backend=None)
    torch.testing.assert_close(compiled(POINT[None]), rm.scalar_curvature(metric, POINT[None]))
    metric.b = None
    torch.testing.assert_close(compiled(POINT[None]), rm.scalar_curvature(metric, POINT[None]))


@pytest.mark.unshaped
def test_a_value_that_is_kept_from_an_earlier_call_is_refused_by_its_cause():
    kept = {}

    def g(x):
        return diag(1 + x[1] ** 2, kept.setdefault("once", torch.exp(x[0])))

    rm.scalar_curvature(g, POINT)
    with pytest.raises(ValueError, match=r"an earlier call of riemann: a function kept it .* at each call"):
        rm.scalar_curvature(g, POINT)
