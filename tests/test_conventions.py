"""The conventions of docs/conventions.md, each asserted."""

import pytest
import torch

import riemann as rm
from tests.cases import BY_NAME
from tests.helpers import assert_equal, random_metric

SPHERE = BY_NAME["sphere 2"].metric
X = torch.tensor([[0.7, 0.2], [1.1, 3.0]], dtype=torch.float64)
GENERIC = random_metric(4, 1, seed=3)
P = 0.3 * torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_derivative_axes_come_last():
    here = rm.at(SPHERE, X)
    assert_equal(here.dg[:, 1, 1, 0], torch.sin(2 * X[:, 0]))
    assert_equal(here.ddg[:, 1, 1, 0, 0], 2 * torch.cos(2 * X[:, 0]))
    f, df, ddf = rm.jet(lambda x: x[0] * x[1] ** 2, X, 2)
    assert_equal(df, torch.stack([X[:, 1] ** 2, 2 * X[:, 0] * X[:, 1]], -1))
    assert_equal(ddf[:, 0, 1], 2 * X[:, 1])
    nabla = rm.covariant_derivative(lambda x: torch.eye(2), lambda x: torch.stack([x[1] ** 2, x[0]]), "u")(X)
    assert_equal(nabla[:, 0, 1], 2 * X[:, 1])


def test_christoffel_upper_index_first():
    gamma = rm.christoffel(SPHERE, X)
    sin, cos = torch.sin(X[:, 0]), torch.cos(X[:, 0])
    assert_equal(gamma[:, 0, 1, 1], -sin * cos)
    assert_equal(gamma[:, 1, 0, 1], cos / sin)
    assert_equal(gamma[:, 1, 1, 0], cos / sin)
    lowered = torch.einsum("zkl,zlij->zkij", rm.at(GENERIC, P).g, rm.christoffel(GENERIC, P))
    assert_equal(rm.christoffel(GENERIC, P, kind=1), lowered)


def test_riemann_is_the_commutator_of_covariant_derivatives():
    w = lambda x: torch.stack([x[1] * x[2], x[0].sin(), x[3] ** 2, x[0] + x[1]])
    nabla2 = rm.covariant_derivative(GENERIC, rm.covariant_derivative(GENERIC, w, "u"), "ul")(
        P
    )  # [a, d, c] = D_c D_d w^a
    commutator = nabla2.transpose(-1, -2) - nabla2  # [a, c, d] = (D_c D_d - D_d D_c) w^a
    value = torch.func.vmap(w)(P)
    assert_equal(torch.einsum("zabcd,zb->zacd", rm.riemann_tensor(GENERIC, P), value), commutator)


def test_riemann_textbook_formula():
    gamma, dgamma = rm.jet(lambda x: rm.christoffel(GENERIC, x), P, 1)  # dgamma[a, d, b, c] = d_c Gamma^a_db
    products = torch.einsum("zace,zedb->zabcd", gamma, gamma)
    derivatives = torch.einsum("zadbc->zabcd", dgamma)
    R = derivatives - derivatives.transpose(-1, -2) + products - products.transpose(-1, -2)
    assert_equal(rm.riemann_tensor(GENERIC, P), R)


def test_contractions_and_definitions():
    here = rm.at(GENERIC, P, order=3)
    g, inverse, n = here.g, here.inverse_metric(), 4
    R, ricci, S = here.riemann_tensor(), here.ricci_tensor(), here.scalar_curvature()
    assert_equal(ricci, torch.einsum("zabad->zbd", R))
    assert_equal(S, torch.einsum("zbd,zbd->z", inverse, ricci))
    S = S[:, None, None]
    assert_equal(here.einstein_tensor(), ricci - 0.5 * S * g)
    assert_equal(here.schouten_tensor(), (ricci - S * g / (2 * (n - 1))) / (n - 2))
    schouten = lambda x: rm.schouten_tensor(GENERIC, x)
    D = rm.covariant_derivative(GENERIC, schouten, "ll")(P)  # [i, j, k] = D_k P_ij
    assert_equal(here.cotton_tensor(), D - D.transpose(-1, -2))
    gP = torch.einsum("zac,zbd->zabcd", g, schouten(P))
    kulkarni = gP - gP.transpose(-1, -2) - gP.transpose(-3, -4) + gP.transpose(-1, -2).transpose(-3, -4)
    assert_equal(here.weyl_tensor("llll"), here.riemann_tensor("llll") - kulkarni)
    lowered, raised = here.riemann_tensor("llll"), here.riemann_tensor("uuuu")
    assert_equal(here.kretschmann_scalar(), (lowered * raised).sum((1, 2, 3, 4)))


@pytest.mark.parametrize("indices", ["ulll", "uull", "lluu", "lulu"])
def test_index_positions(indices):
    here = rm.at(GENERIC, P)
    T = here.riemann_tensor("llll")
    for axis, position in enumerate(indices):
        if position == "u":
            T = torch.einsum("zij,zj...->zi...", here.inverse_metric(), T.movedim(axis + 1, 1)).movedim(1, axis + 1)
    assert_equal(here.riemann_tensor(indices), T)


def test_sectional_curvature_and_endomorphism():
    here = rm.at(GENERIC, P)
    u, v, w = torch.randn(3, 5, 4, dtype=torch.float64)
    dot = lambda a, b: torch.einsum("zi,zij,zj->z", a, here.g, b)
    Rv = torch.einsum("zabcd,zb,zc,zd->za", here.riemann_tensor(), v, u, v)
    assert_equal(rm.curvature_endomorphism(GENERIC, P, u, v, w),
                 torch.einsum("zabcd,zb,zc,zd->za", here.riemann_tensor(), w, u, v))  # fmt: skip
    K = dot(Rv, u) / (dot(u, u) * dot(v, v) - dot(u, v) ** 2)
    assert_equal(rm.sectional_curvature(GENERIC, P, u, v) / K.abs().max(), K / K.abs().max())


def test_spheres_have_positive_curvature_and_the_laplacian_a_negative_spectrum():
    e = torch.eye(2, dtype=torch.float64)
    assert_equal(rm.sectional_curvature(SPHERE, X, e[0], e[1]), 1.0)
    height = lambda x: torch.cos(x[0])  # the first spherical harmonic
    assert_equal(rm.laplacian(SPHERE, height)(X), -2 * torch.cos(X[:, 0]))


def test_volume_element_of_an_indefinite_metric():
    g = rm.at(GENERIC, P).g
    assert (torch.linalg.det(g) < 0).all()
    assert_equal(rm.volume_element(GENERIC, P), torch.linalg.det(g).abs().sqrt())
    assert_equal(rm.log_volume_element(GENERIC, P), 0.5 * torch.linalg.det(g).abs().log())


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_have_the_dtype_and_device_of_the_points(dtype, default, device):
    torch.set_default_dtype(default)
    x = X.to(dtype=dtype, device=device)
    here = rm.at(SPHERE, x)
    u, v = torch.eye(2, dtype=dtype, device=device)
    for value in (*here.jets, here.christoffel(), here.riemann_tensor(), here.scalar_curvature(), here.weyl_tensor(),
                  here.volume_element(), rm.sectional_curvature(SPHERE, x, u, v), rm.ricci_curvature(SPHERE, x, v),
                  rm.estimate_scalar_curvature(SPHERE, x, 2).value, rm.laplacian(SPHERE, torch.sum)(x)):  # fmt: skip
        assert value.dtype == dtype and value.device == x.device
