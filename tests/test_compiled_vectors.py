"""Functions of points and vectors, compiled from expressions: values, poles, planes, gradients, and in a solver."""

import pickle
import warnings

import pytest
import torch
from torch.testing import assert_close

import riemann as rm
from riemann import Status
from tests.cases import kerr, schwarzschild, sphere

pytestmark = pytest.mark.unshaped


VECTORS = {
    "christoffel_vector": ("u", "v"),
    "geodesic_acceleration": ("v",),
    "sectional_curvature": ("u", "v"),
    "ricci_curvature": ("v",),
}


@pytest.mark.parametrize("quantity", VECTORS)
def test_functions_of_vectors_are_derived(quantity):
    """At points in general position, in both precisions, copied, one point or many, without a pole."""
    names = VECTORS[quantity]
    draw = torch.Generator().manual_seed(3)
    x = torch.tensor([0.0, 3.0, 0.3, 0.0]) + torch.rand(40, 4, dtype=torch.float64, generator=draw) * 2.2
    vectors = torch.randn(len(names), 40, 4, dtype=torch.float64, generator=draw).unbind()
    f = pickle.loads(pickle.dumps(rm.compile(kerr, quantity, dim=4, backend=None)))
    assert f.route.startswith("symbolic, ")
    truth = getattr(rm, quantity)(kerr, x, *vectors)
    assert_close(f(x, *vectors), truth, rtol=1e-9, atol=1e-11)
    assert_close(f(x[4], *(v[4] for v in vectors)), truth[4], rtol=1e-9, atol=1e-11)
    some = dict(zip(names, (v[:4] for v in vectors), strict=True))
    assert_close(f(x[:4], **some), truth[:4], rtol=1e-9, atol=1e-11)
    single = f(x.float(), *(v.float() for v in vectors))
    assert single.dtype == torch.float32
    assert_close(single.double(), truth, rtol=1e-2, atol=1e-2)
    with pytest.raises(ValueError, match="expected"):
        f(x, *(v[:, :3] for v in vectors))
    with pytest.raises(TypeError, match="takes `x`"):
        f(x)


@pytest.mark.parametrize("quantity", VECTORS)
def test_functions_of_vectors_at_a_pole_are_those_of_the_function(quantity):
    x = torch.tensor([[0.7, 0.2], [0.0, 0.3], [1.2, -0.4]], dtype=torch.float64)
    vectors = torch.tensor([[[1.0, 0.0]] * 3, [[0.3, 0.8]] * 3], dtype=torch.float64)[: len(VECTORS[quantity])]
    f = rm.compile(sphere, quantity, dim=2, backend=None)
    assert f.route.startswith("symbolic, ")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if quantity == "sectional_curvature":
            x = x[[0, 2]]
            vectors = vectors[:, [0, 2]]
        assert_close(f(x, *vectors), getattr(rm, quantity)(sphere, x, *vectors), equal_nan=True, rtol=1e-10, atol=0)


def test_a_plane_without_area_is_refused_as_by_the_function():
    f = rm.compile(sphere, "sectional_curvature", dim=2, backend=None)
    x, u = torch.tensor([[0.7, 0.2], [0.9, 0.1]], dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64)
    for v in (3 * u, u / 3 + 1e-17, 0 * u):
        with pytest.raises(ValueError, match="span no plane with area"):
            f(x, u, v)


def test_derivatives_of_functions_of_vectors():
    f = rm.compile(sphere, "geodesic_acceleration", dim=2, backend=None)
    x = torch.tensor([[0.7, 0.2], [0.9, 0.1]], dtype=torch.float64, requires_grad=True)
    v = torch.tensor([[0.3, 0.8], [-0.2, 1.0]], dtype=torch.float64, requires_grad=True)
    ours = torch.autograd.grad(f(x, v).square().sum(), (x, v))
    truth = torch.autograd.grad(rm.geodesic_acceleration(sphere, x, v).square().sum(), (x, v))
    assert_close(ours, truth, rtol=1e-11, atol=1e-13)
    assert_close(torch.func.vmap(f)(x.detach(), v.detach()), f(x, v).detach())


def test_a_solver_takes_what_is_compiled():
    """With `backend="eager"`, the code is run as compiled code is."""
    x = torch.tensor([[1.0, 0.2], [1.3, 0.1], [1.5, 2.0]], dtype=torch.float64)
    v = torch.tensor([[0.3, 0.8], [-0.2, 0.9], [0.0, 1.0]], dtype=torch.float64)
    t = torch.tensor([0.2, 1.0], dtype=torch.float64)
    acceleration = rm.compile(sphere, "geodesic_acceleration", dim=2, backend="eager")
    options = {"rtol": 1e-9, "atol": 1e-9}
    for _ in range(2):  # compared with the function in the first call, run in a loop then
        path = rm.geodesic(sphere, x, v, t, acceleration=acceleration, **options)
        assert_close(path.points, rm.geodesic(sphere, x, v, t, **options).points, rtol=0, atol=1e-8)
    v.requires_grad_()
    slope = [
        torch.autograd.grad(rm.geodesic(sphere, x, v, t, acceleration=a, **options).points.sum(), v)[0]
        for a in (acceleration, None)
    ]
    assert_close(*slope, rtol=1e-7, atol=1e-7)


def test_a_pole_on_the_way_stops_one_geodesic_of_those_that_are_compiled():
    x = torch.tensor([[0.0, 8.0, 1.5, 0.0], [0.0, 8.0, 1.6, 1.0], [0.0, 9.0, 1.5, 0.0]], dtype=torch.float64)
    v = torch.tensor([[1.2, 0.0, 0.0, 0.05], [1.2, -0.9, 0.0, 0.0], [1.2, 0.0, 0.0, 0.04]], dtype=torch.float64)
    t = torch.tensor([30.0], dtype=torch.float64)
    acceleration = rm.compile(schwarzschild, "geodesic_acceleration", dim=4, backend="eager")
    acceleration(x, v)
    path = rm.geodesic(schwarzschild, x, v, t, acceleration=acceleration, rtol=1e-6, throw=False)
    truth = rm.geodesic(schwarzschild, x, v, t, rtol=1e-6, throw=False)
    assert path.status.tolist() == truth.status.tolist() == [0, Status.SINGULAR, 0]
    assert_close(path.points, truth.points, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_no_size_is_compiled_for_when_a_guard_fails(monkeypatch):
    """A graph that torch must make anew, here for another number of threads, is one for all sizes, too."""
    from riemann._compiling import called

    graphs, codes = called._graphs, []
    monkeypatch.setattr(called, "_graphs", lambda code: codes.append(code) or graphs(code))
    f, threads = rm.compile(sphere, "geodesic_acceleration", dim=2, backend="eager"), torch.get_num_threads()
    try:
        for count, more in ((5, 0), (7, 0), (9, 1), (11, 1), (4, 1)):
            torch.set_num_threads(threads + more)
            x, v = torch.rand(2, count, 2, dtype=torch.float64) + 0.5
            assert_close(f(x, v), rm.geodesic_acceleration(sphere, x, v))
    finally:
        torch.set_num_threads(threads)
    assert len(graphs(codes[-1])) == 1
