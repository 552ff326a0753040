"""Derivatives along coordinates that a function does not read are 0; what it reads is found, however it is written."""

import pytest
import torch

import riemann as rm
from riemann._arithmetic.dispatch import Arithmetic
from riemann._jets import jets_at

from .helpers import assert_close

f64 = torch.float64
X = torch.tensor([[0.3, 0.7, 1.1, 0.4], [1.2, 0.5, 0.2, 0.9], [0.6, 1.3, 0.8, 0.1]], dtype=f64)


def written_into_the_point(x):
    y = x.clone()
    y[0] = y[1] * y[2]
    return y[0].sin()


def written_into_a_view(x):
    x = x + 0
    x[2].mul_(x[3])
    return x[2].exp()


def shape_changed_in_place(x):
    y = x[1:3]
    y.unsqueeze_(0)
    return y.prod()


FUNCTIONS = {
    "an entry": lambda x: x[2].sin(),
    "entries": lambda x: torch.stack([x[1] * x[3], x[3].exp()]),
    "unbound": lambda x: torch.unbind(x)[1].exp() * list(x)[2],
    "a slice": lambda x: x[1:3].prod(),
    "a step": lambda x: x[1::2].square().sum(),
    "from the end": lambda x: x[-1].cos(),
    "narrowed": lambda x: x.narrow(0, 1, 2).prod(),
    "split": lambda x: x.split([1, 3])[1].prod(),
    "reshaped": lambda x: x.view(2, 2)[1, 0].sin(),
    "transposed": lambda x: x.reshape(2, 2).T[0, 1].exp(),
    "strides": lambda x: x.as_strided((2,), (2,), 1).prod(),
    "a diagonal": lambda x: x.reshape(2, 2).diagonal().prod(),
    "complex": lambda x: torch.view_as_complex(x.reshape(2, 2))[1].abs(),
    "flipped": lambda x: x.flip(0)[0].exp(),
    "chosen": lambda x: x[torch.tensor([1, 3])].prod(),
    "copied": lambda x: x.clone()[1].exp(),
    "multiplied": lambda x: (torch.tensor([0.0, 1.0, 0.0, 2.0], dtype=f64) * x).sum().exp(),
    "the point itself": lambda x: x,
    "an entry itself": lambda x: x[1],
    "nothing": lambda x: torch.ones(2, dtype=f64),
    "only a shape": lambda x: torch.ones_like(x),
    "a choice": lambda x: torch.where(x[0] > 0.5, x[1].sin(), x[2] ** 3),
    "written into a copy": written_into_the_point,
    "written into a view": written_into_a_view,
    "shape in place": shape_changed_in_place,
    "an inner derivative": lambda x: torch.func.jacrev(lambda y: y[1] ** 3 * y[2])(x)[1],
    "an inner map": lambda x: torch.func.vmap(lambda a: a.sin())(x[1:3]),
}


@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_what_a_function_reads_is_found(f):
    whole = jets_at(lambda x: f(x + 0), X, 3)  # reads every coordinate
    for _ in range(2):  # the second time it is known what f reads
        for ours, theirs in zip(jets_at(f, X, 3), whole, strict=True):
            assert_close(ours, theirs)


def test_derivatives_along_what_is_not_read_are_not_computed(monkeypatch):
    counts = []
    init = Arithmetic.__init__
    monkeypatch.setattr(
        Arithmetic,
        "__init__",
        lambda self, orders, *args: (counts.append(orders.variables), init(self, orders, *args))[1],
    )
    f = lambda x: x[1] * x[2].sin()  # noqa: E731
    jets_at(f, X, 2)
    jets_at(f, X, 2)
    assert counts == [4, 2]


def test_a_function_that_reads_more_than_before():
    reads = [1]
    f = lambda x: sum((x[k] ** 3 for k in reads), torch.zeros((), dtype=f64))  # noqa: E731
    truth = lambda: 3 * X**2 * torch.zeros(4, dtype=f64).index_fill(0, torch.tensor(reads, dtype=torch.long), 1.0)  # noqa: E731
    for now in ([1], [1, 2], [1], [0], [3, 0], [2], [], [2], [0, 1, 2, 3]):
        reads[:] = now
        assert_close(jets_at(f, X, 1)[1], truth())


def test_points_of_other_dimension():
    f = lambda x: x[-1] ** 2  # noqa: E731
    for n in (4, 2, 3, 4):
        x = X[:, :n].clone()
        assert_close(rm.jet(f, x, 1)[1][:, -1], 2 * x[:, -1])
        assert rm.jet(f, x, 1)[1].shape == (3, n)


def test_a_kink_is_one_along_what_is_read():
    f = lambda x: x[1].abs() * x[2]  # noqa: E731
    x = X.clone()
    x[0, 1] = 0.0
    for _ in range(2):
        slope = rm.jet(f, x, 1)[1]
        assert slope[0, 1].isnan() and not slope[1:].isnan().any()
        assert_close(slope[:, 3], torch.zeros(3, dtype=f64))


def test_gradients_to_points_and_parameters():
    a = torch.tensor(0.7, dtype=f64, requires_grad=True)
    f = lambda x: (a * x[1]).sin()  # noqa: E731
    x = X.clone().requires_grad_()
    for _ in range(2):
        slope = rm.jet(f, x, 1)[1]
        found = torch.autograd.grad(slope.sum(), (a, x))
        assert_close(found[0], (torch.cos(0.7 * X[:, 1]) - 0.7 * X[:, 1] * torch.sin(0.7 * X[:, 1])).sum())
        assert_close(found[1][:, 1], -0.49 * torch.sin(0.7 * X[:, 1]))
        assert not found[1][:, [0, 2, 3]].any()


def test_curvature_of_a_metric_that_reads_one_coordinate():
    sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), x[0].sin() ** 2]))  # noqa: E731
    x = 0.5 + torch.rand(40, 2, dtype=f64)
    for _ in range(2):
        assert_close(rm.scalar_curvature(sphere, x), torch.full((40,), 2.0, dtype=f64))
    assert_close(torch.func.vmap(lambda p: rm.scalar_curvature(sphere, p))(x), torch.full((40,), 2.0, dtype=f64))


# ------------------------------------------------------------------------------------ what is filled lies points last


def filled(x):
    g = torch.zeros(3, 3, dtype=x.dtype)
    g[0, 0] = x[0].exp()
    g[1] = x[1] * torch.stack([x[0], x[1], x[2]])
    g[:, 2] += x[2] ** 2
    g.T[0, 1:] = x[1:] ** 3
    g.view(-1)[::4] += 1 + x[0] * x[2]
    g.diagonal()[1:].mul_(x[1])
    g[1:, 1:].t().mul_(torch.stack([x[0], x[2]]))
    return g


def one_after_the_other(x):
    g = torch.zeros(2, 2, dtype=x.dtype)
    g[0, 0] = x[0]
    first = g * 1
    g[0, 0] = x[1]
    g[1, 1] = first[0, 0] * x[2]
    return g + first


def complex_numbers(x):
    z = torch.zeros(2, 2, dtype=torch.complex128)
    z[0, 1] = torch.complex(x[0], x[1])
    z[1].real.copy_(x[1:])
    z.imag[0, 0] = x[2] ** 2
    return torch.view_as_real(z @ z.mT)


@pytest.mark.parametrize("points", [1, 2, 40])
@pytest.mark.parametrize("f", [filled, one_after_the_other, complex_numbers])
def test_what_is_filled_in_place(f, points):
    x = 0.5 + torch.rand(points, 3, dtype=f64)
    one = torch.stack([torch.func.jacrev(torch.func.jacrev(f))(p) for p in x])
    assert_close(rm.jet(f, x, 2)[2], one)
    assert_close(torch.func.vmap(lambda p: rm.jet(f, p, 2)[2])(x), one)
