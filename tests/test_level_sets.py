"""Curvatures of level sets: closed forms, parametrised surfaces, any ambient metric, what has no normal."""

import pytest
import torch

import riemann as rm
from tests.helpers import assert_equal

D64 = torch.float64
CURVATURES = [rm.level_set_principal_curvatures, rm.level_set_gauss_curvature, rm.level_set_mean_curvature]


@pytest.mark.parametrize("n", [2, 3, 4, 7])
@pytest.mark.parametrize("f", [lambda x: x @ x - 1, lambda x: 1e-180 * (x @ x) ** 2, lambda x: 3 * torch.sqrt(x @ x)])
def test_spheres(n, f):
    """Outward normal, positive curvature 1 / r, whatever the function and its size."""
    x = torch.randn(2, 3, n, dtype=D64)
    r = x.norm(dim=-1)
    assert_equal(rm.level_set_principal_curvatures(f, x), (1 / r)[..., None].expand(2, 3, n - 1))
    assert_equal(rm.level_set_gauss_curvature(f, x) * r ** (n - 1), torch.ones_like(r))
    assert_equal(rm.level_set_mean_curvature(f, x), (n - 1) / r)
    assert_equal(rm.level_set_mean_curvature(f, x, normalized=True), 1 / r)
    assert_equal(rm.level_set_mean_curvature(lambda x: -f(x), x), (1 - n) / r)


def surface(u):
    """A torus-like tube and where it is level."""
    R = 2 + 0.3 * torch.sin(u[1])
    return torch.stack([(R + torch.cos(u[0])) * torch.cos(u[1]), (R + torch.cos(u[0])) * torch.sin(u[1]), u[0].sin()])


def tube(x):
    angle = torch.atan2(x[1], x[0])
    return (torch.sqrt(x[0] ** 2 + x[1] ** 2) - 2 - 0.3 * torch.sin(angle)) ** 2 + x[2] ** 2 - 1


def bumpy(x):
    """A metric of no symmetry."""
    return torch.diag(1 + 0.1 * x**2) + 0.2 * torch.outer(torch.sin(x), torch.sin(x))


@pytest.mark.parametrize("ambient", [None, bumpy], ids=["flat", "curved"])
def test_as_the_same_surface_with_coordinates(ambient):
    """Parametrised, with the opposite sign of the shape operator."""
    u = 0.3 + torch.rand(5, 2, dtype=D64)
    x = torch.stack([surface(p) for p in u])
    S = rm.shape_operator(surface, u, ambient)
    outward = torch.einsum("...i,...i->...", rm.normal_frame(surface, u, ambient)[..., 0], rm.jet(tube, x, 1)[1])
    kappa = -torch.sign(outward)[:, None] * torch.linalg.eigvals(S).real
    assert_equal(rm.level_set_principal_curvatures(tube, x, ambient), kappa.sort(-1).values)
    assert_equal(rm.level_set_mean_curvature(tube, x, ambient), kappa.sum(-1))
    assert_equal(rm.level_set_gauss_curvature(tube, x, ambient), rm.gauss_curvature(surface, u, ambient))


def half_space(x):
    return torch.eye(3, dtype=x.dtype) / x[2] ** 2


def test_geodesic_spheres_of_hyperbolic_space():
    """coth r, intrinsically 1 / sinh^2 r."""
    centre = torch.tensor([0.0, 0.0, 1.0], dtype=D64)
    distance = lambda x: torch.acosh(1 + (x - centre) @ (x - centre) / (2 * x[2]))
    x = torch.tensor([[0.5, 0.3, 1.4], [0.1, -0.6, 0.7]], dtype=D64)
    r = torch.stack([distance(p) for p in x])
    assert_equal(rm.level_set_principal_curvatures(distance, x, half_space), (1 / torch.tanh(r))[:, None].expand(2, 2))
    assert_equal(rm.level_set_gauss_curvature(distance, x, half_space), 1 / torch.sinh(r) ** 2)


def minkowski(x):
    return torch.diag(torch.tensor([-1.0] + [1.0] * (x.shape[-1] - 1), dtype=x.dtype))


def test_hyperboloids():
    """Of two sheets a hyperbolic plane, of one sheet de Sitter space: indefinite, curvatures of no sign."""
    f = lambda x: minkowski(x).diagonal() @ x**2
    spacelike, timelike = torch.tensor([2.0, 0.5, 0.3], dtype=D64), torch.tensor([0.5, 1.0, 1.0], dtype=D64)
    for x, K in ((spacelike, -1.0), (timelike, 1.0)):
        s = f(x).abs()
        assert_equal(rm.level_set_gauss_curvature(f, x, minkowski), K / s)
        assert_equal(rm.level_set_mean_curvature(f, x, minkowski), 2 / s.sqrt())
    assert_equal(rm.level_set_principal_curvatures(f, spacelike, minkowski), (1 / f(spacelike).abs().sqrt()).expand(2))
    with pytest.warns(UserWarning, match="level set of indefinite metric"):
        assert rm.level_set_principal_curvatures(f, timelike, minkowski).isnan().all()
    with pytest.warns(UserWarning, match="null gradient"):
        assert rm.level_set_mean_curvature(f, torch.tensor([1.0, 1.0, 0.0], dtype=D64), minkowski).isnan()


@pytest.mark.parametrize("curvature", CURVATURES)
def test_where_there_is_no_normal(curvature):
    x = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=D64)
    with pytest.warns(UserWarning, match=r"`f` has no gradient, .* at point \[0\]"):
        got = curvature(lambda x: x @ x - 1, x)
    assert got[0].isnan().all() and got[1].isfinite().all()
    saddle = torch.tensor([torch.pi, 0.0], dtype=D64)  # the sine of pi is not 0, to the last bit
    with pytest.warns(UserWarning, match="no gradient"):
        assert curvature(lambda x: torch.cos(x[0]) + x[1] ** 2, saddle).isnan().all()
    with pytest.warns(UserWarning, match="derivatives that are not finite"):
        assert curvature(lambda x: torch.linalg.vector_norm(x), x[0]).isnan().all()


def test_piecewise_linear_functions_are_said():
    net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1)).double()
    x = torch.randn(8, 3, dtype=D64)
    with pytest.warns(UserWarning, match="calls relu: piecewise linear"):
        assert (rm.level_set_mean_curvature(net, x) == 0).all()
    assert (rm.level_set_mean_curvature(lambda x: x.sum() - 1, x) == 0).all()  # planes are flat


@pytest.mark.parametrize("curvature", CURVATURES)
def test_manners(curvature):
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    x = torch.randn(4, 3, dtype=D64)
    value = curvature(net, x)
    assert_equal(curvature(net, x, chunk_size=1), value)
    assert_equal(torch.func.vmap(lambda p: curvature(net, p))(x), value)
    assert_equal(curvature(lambda p: net(p).squeeze(-1), x[0]), value[0])
    assert curvature(net, x[:0]).shape == value[:0].shape
    single = curvature(lambda p: p @ p, x.float())
    assert single.dtype == torch.float32
    with pytest.raises(ValueError, match=r"`f` returned shape \(3,\) at one point"):
        curvature(lambda p: p, x)
    with pytest.raises(ValueError, match="where level sets are points"):
        curvature(lambda p: p[0], x[:, :1])


@pytest.mark.parametrize("curvature", CURVATURES)
def test_gradients(curvature):
    a = torch.tensor([0.3, 0.7, 1.2], dtype=D64, requires_grad=True)
    x = torch.tensor([[0.5, -0.4, 0.8]], dtype=D64)
    assert torch.autograd.gradcheck(lambda a: curvature(lambda x: a @ x**2 + x[0] * x[2], x), a)
    assert torch.autograd.gradcheck(lambda x: curvature(lambda x: a.detach() @ x**2 + x[0] * x[2], x, bumpy),
                                    x.requires_grad_())  # fmt: skip
