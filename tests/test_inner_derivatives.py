"""Derivatives that a metric takes itself, inside derivatives and maps of its caller: right, or refused by name."""

import pytest
import torch
from torch.func import grad, hessian, jacfwd, jacrev, jvp, linearize, vmap
from torch.fx.experimental.proxy_tensor import make_fx

import riemann as rm
from tests.helpers import assert_equal

D = torch.float64
MAPS = {
    "entries": lambda y: torch.stack([y[0], torch.sin(y[0]) * y[1], y[1] ** 2, y[2] * y[0]]),
    "slices": lambda y: torch.cat([y[1:] * y[:-1], y[::2] ** 2, y.flip(0)[:1]]),
    "views of a matrix": lambda y: torch.outer(y, y).T.reshape(9)[::2] + torch.outer(y, y).diagonal().sum(),
}
ENERGY = lambda f: lambda y: f(y).square().sum() + 20 * y @ y
METRICS = {
    "jacfwd": lambda f: induced(lambda x: jacfwd(f)(x)),
    "jvp": lambda f: induced(lambda x: torch.stack([jvp(f, (x,), (e,))[1] for e in torch.eye(3)], 1)),
    "hessian": lambda f: hessian(ENERGY(f)),
    "jacfwd of jacfwd": lambda f: jacfwd(jacfwd(ENERGY(f))),
}


def induced(jacobian):
    def g(x):
        J = jacobian(x)
        return J.T @ J + torch.eye(3)

    return g


def points():
    return 0.2 + torch.rand(3, 3, dtype=D)


@pytest.mark.parametrize(
    "inner, name", [*(("jacfwd", name) for name in MAPS), *((m, "entries") for m in METRICS if m != "jacfwd")]
)
def test_forward_mode_inside_composes_with_transforms_around(name, inner):
    scalar, x = lambda p: rm.scalar_curvature(METRICS[inner](MAPS[name]), p), points()
    expected = scalar(x)
    assert_equal(vmap(scalar)(x), expected)
    assert_equal(vmap(scalar, in_dims=1)(x.T.contiguous()), expected)
    slopes = rm.jet(scalar, x[0], 1)[1]
    h = 1e-4 * torch.eye(3, dtype=D)
    differences = 8 * (scalar(x[0] + h) - scalar(x[0] - h)) - (scalar(x[0] + 2 * h) - scalar(x[0] - 2 * h))
    assert_equal(slopes, differences / 12e-4, rtol=1e-6)
    assert_equal(grad(scalar)(x[0]), slopes)
    assert_equal(jacfwd(scalar)(x[0]), slopes)


RECORDED = {
    "linearize": lambda f, x: torch.stack([linearize(f, x)[1](e) for e in torch.eye(3, dtype=D)], 1),
    "make_fx": lambda f, x: jacrev(make_fx(f)(x))(x),
    "make_fx of another argument": lambda f, x: make_fx(lambda t: t * jacrev(f)(x))(x.new_ones(()))(x.new_ones(())),
}


@pytest.mark.unshaped
@pytest.mark.parametrize("name", RECORDED)
def test_graphs_made_inside_are_refused(name):
    """They hold values of the point as constants: the curvature would be 0."""
    metric = induced(lambda x: RECORDED[name](MAPS["entries"], x))
    with pytest.raises(ValueError, match="records operations .*use `torch.func.jvp`"):
        rm.scalar_curvature(metric, points())


FLAT = lambda x: torch.eye(2, dtype=x.dtype)
TOUCHING = {  # of slope 1 beside 0, where the other branch holds
    "of a square": lambda z: torch.where(z[0] ** 2 > 0, z[0], 3 * z[0]) + z[1] ** 2,
    "of a sine": lambda z: torch.where(torch.sin(z[0]) ** 2 > 0, z[0], 3 * z[0]) + z[1] ** 2,
    "of a mask": lambda z: z[0] * (1 + 2 * (z[0] ** 2 == 0)) + z[1] ** 2,
}
INNER = {
    "jet": lambda f, x: rm.jet(f, x, 1)[1],
    "gradient": lambda f, x: rm.gradient(FLAT, f)(x),
    "christoffel": lambda f, x: rm.christoffel(lambda z: (2 + f(z)) * FLAT(z), x)[..., 0, 0, 0],
}


@pytest.mark.parametrize("name", TOUCHING)
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("order", [0, 1])
def test_a_branch_that_first_derivatives_do_not_see_is_nan_inside_too(name, inner, order):
    x = torch.tensor([[0.0, 0.7], [0.4, 0.7]], dtype=D)
    touching, plain = (
        rm.jet(lambda p: INNER[inner](f, p), x, order) for f in (TOUCHING[name], lambda z: z[0] + z[1] ** 2)
    )
    for y, expected in zip(touching, plain, strict=True):
        assert bool(y[0].isnan().any())
        assert_equal(y[1], expected[1])


def test_what_stays_where_it_is_has_derivatives_inside_too():
    """Zeros beside a diagonal, and a maximum whose branches are equal."""
    f = lambda z: torch.relu(torch.diag(z)).abs().sum() + torch.maximum(z[0] ** 3, z[0] ** 3) + torch.diag(z).amax(0)[1]
    x = torch.tensor([0.5, 0.7], dtype=D)
    (value,) = rm.jet(lambda p: rm.gradient(FLAT, f)(p), x, 0)
    assert_equal(value, torch.stack([1 + 3 * x[0] ** 2, 2 + 0 * x[0]]))
