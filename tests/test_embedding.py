"""Submanifolds: closed forms, the equations of Gauss, Codazzi and Ricci, orientation, null points, messages."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import cos, cosh, sin, sinh, stack

import riemann as rm
from riemann import spaces
from riemann.metrics import Constant, Pullback
from tests.helpers import assert_equal, random_metric

P = torch.tensor([[0.7, 0.2], [1.1, 2.5], [2.0, -1.0]], dtype=torch.float64)
MINKOWSKI = Constant(torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64)))


def sphere(x, r=2.0):
    return r * stack([sin(x[0]) * cos(x[1]), sin(x[0]) * sin(x[1]), cos(x[0])])


def torus(x, R=2.0, r=0.8):
    ring = R + r * cos(x[0])
    return stack([ring * cos(x[1]), ring * sin(x[1]), r * sin(x[0])])


def catenoid(x):
    return stack([cosh(x[0]) * cos(x[1]), cosh(x[0]) * sin(x[1]), x[0]])


def helicoid(x):
    return stack([sinh(x[0]) * sin(x[1]), -sinh(x[0]) * cos(x[1]), x[1]])


def clifford(x):
    """In the three-sphere by its angles (psi, theta, phi) of Hopf: a torus at psi = pi/4."""
    return stack([0 * x[0] + math.pi / 4, x[0], x[1]])


def hopf(y):
    """The unit three-sphere, in coordinates in which tori of constant psi are products of circles."""
    return torch.diag(stack([torch.ones_like(y[0]), sin(y[0]) ** 2, cos(y[0]) ** 2]))


def smooth(k, N, seed):
    """A random map of k coordinates to N, an immersion near 0."""
    generator = torch.Generator().manual_seed(seed)
    A = torch.eye(N, k, dtype=torch.float64)
    B, C = (0.3 * torch.randn(N, k, k, k, generator=generator, dtype=torch.float64) for _ in range(2))

    def f(x):
        return A @ x + torch.einsum("Aijk,i,j->A", B, x, x) + torch.einsum("Aijk,i,j,k->A", C, x.sin(), x, x.cos())

    return f


# ------------------------------------------------------------------------------------------------ closed forms


def test_the_sphere():
    II = rm.second_fundamental_form(sphere, P)
    h = Pullback(sphere)
    position = torch.stack([sphere(p) for p in P])
    assert_equal(II, -torch.einsum("...A,...ij->...Aij", position, torch.stack([h(p) for p in P])) / 4)
    assert_equal(rm.mean_curvature_vector(sphere, P), -position / 2)
    assert_equal(rm.mean_curvature_vector(sphere, P, normalized=True), -position / 4)
    assert_equal(rm.normal_frame(sphere, P)[..., 0], position / 2)
    assert_equal(rm.principal_curvatures(sphere, P), -0.5)
    assert_equal(rm.gauss_curvature(sphere, P), 0.25)
    assert_equal(rm.normal_curvature(sphere, P), 0.0)


def test_the_torus():
    theta = P[:, 0]
    H = 1 / 0.8 + cos(theta) / (2 + 0.8 * cos(theta))
    assert_equal(rm.gauss_curvature(torus, P), cos(theta) / (0.8 * (2 + 0.8 * cos(theta))))
    assert_equal(rm.mean_curvature_vector(torus, P).norm(dim=-1), H)
    expected = torch.stack([cos(theta) / (2 + 0.8 * cos(theta)), torch.full_like(theta, 1 / 0.8)], -1)
    assert_equal(rm.principal_curvatures(torus, P), expected)  # the normal (d_1 x d_2) points inwards


@pytest.mark.parametrize("surface", [catenoid, helicoid])
def test_minimal_surfaces(surface):
    assert_equal(rm.mean_curvature_vector(surface, P), 0.0)
    k = 1 / cosh(P[:, 0]) ** 2
    assert_equal(rm.principal_curvatures(surface, P), torch.stack([-k, k], -1))
    assert_equal(rm.gauss_curvature(surface, P), -(k**2))


def test_catenoid_and_helicoid_are_isometric_and_bend_differently():
    assert_equal(rm.at(Pullback(catenoid), P).g, rm.at(Pullback(helicoid), P).g)
    a, b = (rm.second_fundamental_form(surface, P).norm(dim=-3) for surface in (catenoid, helicoid))
    assert (a - b).abs().max() > 0.5


def test_the_clifford_torus_is_minimal_and_flat_in_the_three_sphere():
    assert_equal(rm.mean_curvature_vector(clifford, P, hopf), 0.0)
    assert_equal(rm.gauss_curvature(clifford, P, hopf), 0.0)
    assert_equal(rm.principal_curvatures(clifford, P, hopf), torch.tensor([-1.0, 1.0]))
    embedded = lambda x: stack([cos(x[0]), sin(x[0]), cos(x[1]), sin(x[1])]) / 2**0.5  # in four dimensions: not minimal
    assert_equal(rm.mean_curvature_vector(embedded, P), -2 * torch.stack([embedded(p) for p in P]))
    assert_equal(rm.normal_curvature(embedded, P), 0.0)


def test_a_graph():
    f = lambda x: sin(x[0]) * torch.exp(x[1] / 2)
    _, df, ddf = rm.jet(f, P, 2)
    W = (1 + df.square().sum(-1)).sqrt()
    graph = lambda x: stack([x[0], x[1], f(x)])
    nu = torch.cat([-df, torch.ones_like(df[:, :1])], -1) / W[:, None]
    assert_equal(rm.normal_frame(graph, P)[..., 0], nu)
    assert_equal(rm.second_fundamental_form(graph, P), torch.einsum("...A,...ij->...Aij", nu, ddf / W[:, None, None]))
    assert_equal(rm.gauss_curvature(graph, P), torch.linalg.det(ddf) / W**4)
    assert_equal(rm.shape_operator(graph, P).diagonal(dim1=-2, dim2=-1).sum(-1),
                 rm.divergence(lambda x: torch.eye(2, dtype=x.dtype),
                               lambda x: (d := rm.jet(f, x, 1)[1]) / (1 + d @ d).sqrt())(P))  # fmt: skip


def test_a_plane_curve():
    """An ellipse: the curvature is that of the formula, negative for the outward normal of a counterclockwise curve."""
    t = torch.linspace(0, 6, 7, dtype=torch.float64)[:, None]
    ellipse = lambda t: stack([3 * cos(t[0]), sin(t[0])])
    k = 3 / (9 * sin(t) ** 2 + cos(t) ** 2) ** 1.5
    assert_equal(rm.principal_curvatures(ellipse, t), -k)
    assert_equal(rm.mean_curvature_vector(ellipse, t).norm(dim=-1, keepdim=True), k)


def test_horospheres_are_flat_and_have_curvature_one():
    half_space = spaces.hyperbolic(3)
    horosphere = lambda x: stack([x[0], x[1], torch.full_like(x[0], 1.7)])
    assert_equal(rm.gauss_curvature(horosphere, P, half_space), 0.0)
    assert_equal(rm.principal_curvatures(horosphere, P, half_space), 1.0)  # its normal d_1 x d_2 points up, to infinity
    geodesic_plane = lambda x: stack([x[0], x[0] * 0, torch.exp(x[1])])
    assert_equal(rm.second_fundamental_form(geodesic_plane, P, half_space), 0.0)


# ---------------------------------------------------------------------------------------------------- Lorentzian


def test_the_hyperboloid_in_minkowski_space():
    three = Constant(torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)))
    hyperboloid = lambda x: 2 * stack([cosh(x[0]), sinh(x[0]) * cos(x[1]), sinh(x[0]) * sin(x[1])])
    position = torch.stack([hyperboloid(p) for p in P])
    assert_equal(rm.gauss_curvature(hyperboloid, P, three), -0.25)
    assert_equal(rm.normal_frame(hyperboloid, P, three)[..., 0], position / 2)  # timelike, to the future
    assert_equal(rm.principal_curvatures(hyperboloid, P, three), -0.5)
    assert_equal(rm.mean_curvature_vector(hyperboloid, P, three), position / 2)


def test_de_sitter_space_is_a_timelike_hypersurface():
    de_sitter = lambda x: stack([sinh(x[0]), cosh(x[0]) * cos(x[1]), cosh(x[0]) * sin(x[1])])
    three = Constant(torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)))
    assert_equal(rm.gauss_curvature(de_sitter, P, three), 1.0)
    S = rm.shape_operator(de_sitter, P, three)
    assert_equal(S[:, 0, 0].abs(), 1.0)
    assert_equal(S, S[0, 0, 0] * torch.eye(2))
    with pytest.warns(UserWarning, match="induced by `map` is indefinite.*complex.*results are NaN"):
        assert rm.principal_curvatures(de_sitter, P, three).isnan().all()


def test_a_static_slice_is_totally_geodesic_and_an_expanding_one_is_not():
    slice = lambda x: torch.cat([torch.full_like(x[:1], 1.5), x])
    x = torch.tensor([[4.0, 0.8, 0.3], [9.0, 1.5, 2.0]], dtype=torch.float64)
    assert_equal(rm.second_fundamental_form(slice, x, spaces.schwarzschild(M=1)), 0.0)
    flrw = lambda y: torch.diag(torch.cat([-torch.ones_like(y[:1]), y[0] ** (4 / 3) * torch.ones_like(y[1:])]))
    K = 2 / 3 / 1.5  # the Hubble rate of dust, t^(2/3)
    nu = rm.normal_frame(slice, x, flrw)[..., 0]
    assert_equal(nu, torch.tensor([1.0, 0.0, 0.0, 0.0]))
    h = rm.at(Pullback(slice, flrw), x).g
    assert_equal(rm.second_fundamental_form(slice, x, flrw), torch.einsum("...A,...ij->...Aij", nu, K * h))
    assert_equal(rm.shape_operator(slice, x, flrw), -K * torch.eye(3, dtype=x.dtype))
    assert_equal(rm.principal_curvatures(slice, x, flrw), -K)
    assert_equal(rm.mean_curvature_vector(slice, x, flrw)[:, 0], 3 * K)


def test_the_sphere_of_a_black_hole():
    """The mean curvature vector of a sphere in Schwarzschild has the square 4 f / r^2: it is null at the horizon."""
    M, r = 1.0, 5.0
    ball = lambda x: stack([0 * x[0], 0 * x[0] + r, x[0], x[1]])
    hole = spaces.schwarzschild(M=M)
    H = rm.mean_curvature_vector(ball, P, hole)
    G = hole(ball(P[0]))
    assert_equal(torch.einsum("...A,AB,...B->...", H[:1], G, H[:1]), 4 * (1 - 2 * M / r) / r**2)
    frame = rm.normal_frame(ball, P, hole)
    eta = torch.diag(torch.tensor([-1.0, 1.0]))
    for p, e in zip(P, frame, strict=True):
        assert_equal(e.T @ hole(ball(p)) @ e, eta)
    assert_equal(rm.gauss_curvature(ball, P, hole), 1 / r**2)


def test_null_submanifolds_are_nan_with_a_warning():
    cone = lambda x: stack([x[0], x[0] * sin(x[1]), x[0] * cos(x[1]), x[0] * 0])
    for quantity in (rm.second_fundamental_form, rm.mean_curvature_vector, rm.gauss_curvature, rm.normal_projector,
                     rm.normal_frame, rm.normal_curvature):  # fmt: skip
        with pytest.warns(UserWarning, match=r"induced by `map` is degenerate \(the tangent space is null"):
            assert quantity(cone, P, MINKOWSKI).isnan().all()


@pytest.mark.parametrize("theta", [0.0, math.pi])
def test_the_pole_of_a_chart_is_nan_and_the_others_are_right(theta):
    x = torch.tensor([[theta, 0.3], [1.0, 0.3]], dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"at point \[0\] of the batch"):
        K = rm.principal_curvatures(sphere, x)
    assert K[0].isnan().all()
    assert_equal(K[1], -0.5)


def test_principal_curvatures_are_a_field():
    torus = lambda x: torch.stack([(2 + x[0].cos()) * x[1].cos(), (2 + x[0].cos()) * x[1].sin(), x[0].sin()])
    value, slope = rm.jet(lambda x: rm.principal_curvatures(torus, x), P, 1)
    expected = lambda x: torch.stack([x[0].cos() / (2 + x[0].cos()), 1 + 0 * x[0]])
    assert_equal(value, rm.jet(expected, P, 1)[0])
    assert_equal(slope, rm.jet(expected, P, 1)[1])


# ---------------------------------------------------------------------- the equations of Gauss, Codazzi and Ricci

CASES = [
    (2, 3, None), (2, 4, None), (3, 5, None), (1, 3, None), (3, 3, 0), (2, 3, 0), (2, 4, 0), (3, 4, 0), (2, 4, 1),
    (3, 4, 1),
]  # fmt: skip


def case(k, N, signature, seed):
    """A random immersion, points, an ambient metric (None: flat)."""
    ambient = None if signature is None else random_metric(N, signature, seed)
    x = 0.2 * torch.randn(3, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return smooth(k, N, seed), x, ambient


def at_image(quantity, map, x, ambient, *args):
    """An ambient quantity at the image points."""
    return quantity(ambient, rm.jet(map, x, 0)[0], *args)


@pytest.mark.parametrize("k, N, signature", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_gauss(k, N, signature, seed):
    """R_ijkl of the generic route, from third derivatives of f, and of <II, II> with the ambient curvature."""
    map, x, ambient = case(k, N, signature, seed)
    II = rm.second_fundamental_form(map, x, ambient)
    G = (
        torch.eye(N, dtype=x.dtype).expand(3, N, N)
        if ambient is None
        else at_image(lambda g, y: rm.at(g, y, 0).g, map, x, ambient)
    )
    products = torch.einsum("...Aik,...AB,...Bjl->...ijkl", II, G, II)
    R = products - products.transpose(-1, -2)
    if ambient is not None:
        J = rm.jet(map, x, 1)[1]
        bar = at_image(rm.riemann_tensor, map, x, ambient, "llll")
        R = R + torch.einsum("...ABCD,...Ai,...Bj,...Ck,...Dl->...ijkl", bar, J, J, J, J)
    generic = lambda p: Pullback(map, ambient)(p)
    intrinsic = rm.riemann_tensor(generic, x, "llll")
    assert_equal(R, intrinsic, scale=intrinsic.abs().max() + 1)
    if k == 2:
        assert_equal(rm.gauss_curvature(map, x, ambient), rm.scalar_curvature(generic, x) / 2, scale=R.abs().max() + 1)


@pytest.mark.parametrize("k, N, signature", [c for c in CASES if c[0] > 1])
def test_codazzi(k, N, signature):
    """(D_k II)_ij - (D_i II)_kj is the normal part of R(d_k, d_i) d_j."""
    map, x, ambient = case(k, N, signature, seed=2)
    gamma = rm.christoffel(Pullback(map, ambient), x)
    II = rm.second_fundamental_form(map, x, ambient)
    entry = lambda i, j: lambda p: rm.second_fundamental_form(map, p, ambient)[:, i, j]
    D = torch.stack([torch.stack([rm.normal_connection(map, entry(i, j), ambient)(x) for j in range(k)], -2)
                     for i in range(k)], -3)  # fmt: skip
    D = D - torch.einsum("...lki,...Alj->...Aijk", gamma, II) - torch.einsum("...lkj,...Ail->...Aijk", gamma, II)
    left = D - D.transpose(-1, -3)
    right = torch.zeros_like(left)
    if ambient is not None:
        J = rm.jet(map, x, 1)[1]
        bar = at_image(rm.riemann_tensor, map, x, ambient)
        P = rm.normal_projector(map, x, ambient)
        right = torch.einsum("...AB,...BCDE,...Cj,...Dk,...Ei->...Aijk", P, bar, J, J, J)
    assert_equal(left, right, scale=D.abs().max() + 1)


@pytest.mark.parametrize("k, N, signature", [c for c in CASES if c[0] > 1])
def test_ricci(k, N, signature):
    """Ricci's equation against the curvature of a projected connection, P (R + [D P, D P]) P, from derivatives of P."""
    map, x, ambient = case(k, N, signature, seed=3)
    P, dP = rm.jet(lambda p: rm.normal_projector(map, p, ambient), x, 1)
    bar = torch.zeros(3, N, N, k, k, dtype=x.dtype)
    if ambient is not None:
        J = rm.jet(map, x, 1)[1]
        gamma = torch.einsum("...ABC,...Bi->...ACi", at_image(rm.christoffel, map, x, ambient), J)
        dP = dP + torch.einsum("...ACi,...CB->...ABi", gamma, P) - torch.einsum("...AC,...CBi->...ABi", P, gamma)
        bar = torch.einsum("...ABCD,...Ci,...Dj->...ABij", at_image(rm.riemann_tensor, map, x, ambient), J, J)
    square = torch.einsum("...ACi,...CBj->...ABij", dP, dP)
    R = torch.einsum("...AC,...CDij,...DB->...ABij", P, bar + square - square.mT, P)
    assert_equal(rm.normal_curvature(map, x, ambient), R, scale=R.abs().max() + 1)
    if k + 1 < N:
        assert R.abs().max() > 1e-3


def test_the_normal_connection_of_a_field_is_that_of_its_normal_part():
    map, x, ambient = case(2, 4, 1, seed=8)
    xi = smooth(2, 4, seed=9)
    normal = lambda p: rm.normal_projector(map, p, ambient) @ xi(p)
    fields = [rm.normal_connection(map, field, ambient)(x) for field in (xi, normal)]
    assert_equal(*fields)
    G = lambda p: rm.at(ambient, map(p), 0).g  # compatible with the metric: d<xi, xi> = 2 <D xi, xi>
    _, d = rm.jet(lambda p: normal(p) @ G(p) @ normal(p), x, 1)
    at = rm.jet(normal, x, 0)[0]
    assert_equal(2 * torch.einsum("...Ai,...AB,...B->...i", fields[1], rm.jet(G, x, 0)[0], at), d)


def test_a_hypersurface_has_no_normal_curvature():
    map, x, ambient = case(3, 4, 1, seed=4)
    assert_equal(rm.normal_curvature(map, x, ambient), 0.0)


def test_the_shape_operator_is_the_derivative_of_the_normal():
    map, x, ambient = case(3, 4, 1, seed=5)
    nu, dnu = rm.jet(lambda p: rm.normal_frame(map, p, ambient)[:, 0], x, 1)
    J = rm.jet(map, x, 1)[1]
    gamma = at_image(rm.christoffel, map, x, ambient)
    D = dnu + torch.einsum("...ABC,...Bi,...C->...Ai", gamma, J, nu)
    assert_equal(D, -J @ rm.shape_operator(map, x, ambient))
    xi = lambda p: rm.normal_frame(map, p, ambient)[:, 0]
    assert_equal(rm.normal_connection(map, xi, ambient)(x), 0.0)


@pytest.mark.parametrize("k, N, signature", [(2, 4, None), (2, 4, 0), (2, 4, 1), (3, 4, 1), (1, 4, 1)])
def test_normal_frames(k, N, signature):
    map, x, ambient = case(k, N, signature, seed=6)
    y, J = rm.jet(map, x, 1)
    G = torch.eye(N, dtype=x.dtype).expand(3, N, N) if ambient is None else rm.at(ambient, y, 0).g
    e = rm.normal_frame(map, x, ambient)
    assert_equal(e.mT @ G @ J, 0.0)
    gram = e.mT @ G @ e
    assert_equal(gram, torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1).sign()))
    assert (torch.linalg.det(torch.cat([e, J], -1)) > 0).all()
    P = rm.normal_projector(map, x, ambient)
    assert_equal(torch.einsum("...Aa,...ab,...Bb,...BC->...AC", e, gram, e, G), P)
    assert_equal(P @ P, P)
    for a in range(N - k if ambient is None else 0):  # derivatives are those of the frame that is parallel here
        xi = lambda p, a=a: rm.normal_frame(map, p, ambient)[:, a]
        assert_equal(rm.normal_connection(map, xi, ambient)(x), 0.0)


# ------------------------------------------------------------------------------------------------ many properties


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(2, 3, 0), (2, 4, 1), (3, 4, 0)]))
def test_the_second_fundamental_form_is_a_tensor(seed, dimensions):
    """New coordinates on the submanifold: II changes like a tensor, H not at all."""
    k, N, signature = dimensions
    map, x, ambient = case(k, N, signature, seed)
    change = smooth(k, k, seed + 1)
    composed = lambda p: map(change(p))
    x = 0.3 * x
    y, A = rm.jet(change, x, 1)
    II = rm.second_fundamental_form(map, y, ambient)
    new = rm.second_fundamental_form(composed, x, ambient)
    assert_equal(new, torch.einsum("...Aij,...ik,...jl->...Akl", II, A, A), scale=new.abs().max() + 1)
    H = rm.mean_curvature_vector(map, y, ambient)
    assert_equal(rm.mean_curvature_vector(composed, x, ambient), H, scale=H.abs().max() + 1, rtol=1e-8)


def test_batches_pieces_and_transforms():
    x = P.expand(2, 3, 2)
    for quantity in (rm.second_fundamental_form, rm.mean_curvature_vector, rm.gauss_curvature, rm.shape_operator,
                     rm.principal_curvatures, rm.normal_frame, rm.normal_projector):  # fmt: skip
        value = quantity(torus, P)
        assert_equal(quantity(torus, x), value.expand(2, *value.shape))
        assert_equal(quantity(torus, x, chunk_size=4), value.expand(2, *value.shape))
        assert_equal(quantity(torus, P[0]), value[0])
        assert_equal(torch.func.vmap(lambda p, f=quantity: f(torus, p))(P), value)
        forward = torch.func.vmap(torch.func.jacfwd(lambda p, f=quantity: f(torus, p)))(P)
        h = 1e-5
        for k in range(2):
            step = h * torch.eye(2, dtype=torch.float64)[k]
            difference = (quantity(torus, P + step) - quantity(torus, P - step)) / (2 * h)
            assert_equal(forward[..., k], difference, rtol=1e-7)


def test_gradients_reach_the_parameters():
    r = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    rm.principal_curvatures(lambda x: sphere(x, r), P).sum().backward()
    assert_equal(r.grad, 6 / 4)
    ambient = lambda y: torch.eye(3, dtype=y.dtype) * r**2
    (grad,) = torch.autograd.grad(rm.gauss_curvature(lambda x: sphere(x, 1.0), P, ambient).sum(), r)
    assert_equal(grad, -2 * 3 / 8)


def test_a_given_normal():
    S = rm.shape_operator(sphere, P, normal=torch.stack([sphere(p) for p in P]))
    assert_equal(S, -torch.eye(2))
    map, x, ambient = case(2, 4, 1, seed=7)
    xi = torch.randn(5, 1, 4, dtype=torch.float64)
    S = rm.shape_operator(map, x, ambient, normal=xi)
    G = at_image(lambda g, y: rm.at(g, y, 0).g, map, x, ambient)
    II = torch.einsum("...A,...AB,...Bij->...ij", xi, G, rm.second_fundamental_form(map, x, ambient))
    assert_equal(rm.at(Pullback(map, ambient), x).g @ S, II)


def test_single_precision():
    assert rm.principal_curvatures(torus, P.float()).dtype == torch.float32
    assert_equal(rm.principal_curvatures(torus, P.float()), rm.principal_curvatures(torus, P).float())
