"""What holds for every metric: symmetries, Bianchi, covariance, scaling; on random metrics of any signature."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import riemann as rm
from tests.helpers import assert_equal, random_metric, terms

D = torch.float64
dims = st.integers(2, 5)
seeds = st.integers(0, 2**20)


@st.composite
def metrics(draw, smallest=2, largest=5):
    n = draw(st.integers(smallest, largest))
    metric = random_metric(n, draw(st.integers(0, n)), draw(seeds))
    x = 0.3 * torch.randn(*draw(st.sampled_from([(), (3,), (2, 1)])), n, dtype=D,
                          generator=torch.Generator().manual_seed(draw(seeds)))  # fmt: skip
    return metric, x


few = settings(max_examples=25, deadline=None)


@few
@given(metrics())
def test_symmetries_of_riemann(case):
    R = rm.riemann_tensor(*case, "llll")
    scale = terms(*rm.at(*case).jets)
    assert_equal(R, -R.transpose(-1, -2), scale=scale)
    assert_equal(R, -R.transpose(-3, -4), scale=scale)
    assert_equal(R, R.movedim((-2, -1), (-4, -3)), scale=scale)
    cyclic = R + R.movedim((-3, -2, -1), (-2, -1, -3)) + R.movedim((-3, -2, -1), (-1, -3, -2))
    assert_equal(cyclic, 0.0, scale=scale)


@few
@given(metrics(largest=4))
def test_bianchi_identities(case):
    here = rm.at(*case, order=3)
    D, inverse = here.nabla_riemann(), here.inverse_metric()
    scale = terms(*here.jets[:3]) + float(here.jets[3].abs().max())
    cyclic = D + D.movedim((-3, -2, -1), (-2, -1, -3)) + D.movedim((-3, -2, -1), (-1, -3, -2))
    assert_equal(cyclic, 0.0, scale=10 * scale)
    D_ricci = torch.einsum("...ac,...abcde->...bde", inverse, D)
    D_scalar = torch.einsum("...bd,...bde->...e", inverse, D_ricci)
    divergence = torch.einsum("...de,...bde->...b", inverse, D_ricci)
    assert_equal(divergence, 0.5 * D_scalar, scale=10 * scale)


@few
@given(metrics())
def test_the_connection_is_metric_and_the_einstein_tensor_divergence_free(case):
    metric, x = case
    scale = terms(*rm.at(metric, x).jets)
    assert_equal(rm.covariant_derivative(metric, metric, "ll")(x), 0.0, scale=scale)
    D_G = rm.covariant_derivative(metric, lambda y: rm.einstein_tensor(metric, y), "ll")(x)
    assert_equal(torch.einsum("...de,...bde->...b", rm.inverse_metric(metric, x), D_G), 0.0, scale=100 * scale)


@few
@given(metrics(smallest=3), seeds)
def test_weyl_is_trace_free_and_conformally_invariant(case, seed):
    metric, x = case
    a = 0.3 * torch.randn(x.shape[-1], dtype=D, generator=torch.Generator().manual_seed(seed))
    conformal = lambda y: torch.exp(2 * torch.sin(a @ y)) * metric(y)
    C = rm.weyl_tensor(metric, x)
    scale = 10 * terms(*rm.at(conformal, x).jets)
    assert_equal(torch.einsum("...abad->...bd", C), 0.0, scale=scale)
    assert_equal(rm.weyl_tensor(conformal, x), C, scale=scale)


@few
@given(metrics(), seeds)
def test_covariance_under_a_change_of_coordinates(case, seed):
    metric, x = case
    n = x.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    A = torch.eye(n, dtype=D) + 0.3 * torch.randn(n, n, dtype=D, generator=generator) / n**0.5
    chart = lambda y: A @ y + 0.1 * torch.sin(y) ** 2

    def pulled_back(y):
        J = torch.func.jacfwd(chart)(y)
        return J.T @ metric(chart(y)) @ J

    J, z = torch.func.vmap(torch.func.jacfwd(chart))(x.reshape(-1, n)).reshape(*x.shape, n), None
    z = torch.func.vmap(chart)(x.reshape(-1, n)).reshape(x.shape)
    scale = 10 * terms(*rm.at(pulled_back, x).jets)
    R = torch.einsum("...abcd,...ai,...bj,...ck,...dl->...ijkl", rm.riemann_tensor(metric, z, "llll"), J, J, J, J)
    assert_equal(rm.riemann_tensor(pulled_back, x, "llll"), R, scale=scale)
    ricci = torch.einsum("...ab,...ai,...bj->...ij", rm.ricci_tensor(metric, z), J, J)
    assert_equal(rm.ricci_tensor(pulled_back, x), ricci, scale=scale)
    assert_equal(rm.scalar_curvature(pulled_back, x), rm.scalar_curvature(metric, z), scale=scale)
    assert_equal(rm.kretschmann_scalar(pulled_back, x), rm.kretschmann_scalar(metric, z), scale=scale**2)


@few
@given(metrics(), st.floats(0.1, 10))
def test_scaling(case, c):
    metric, x = case
    scaled = lambda y: c * metric(y)
    here, there = rm.at(metric, x), rm.at(scaled, x)
    scale = terms(*here.jets)
    assert_equal(there.riemann_tensor(), here.riemann_tensor(), scale=scale)
    assert_equal(there.scalar_curvature() * c, here.scalar_curvature(), scale=scale)
    assert_equal(there.volume_element() / c ** (x.shape[-1] / 2), here.volume_element())


@few
@given(seeds, seeds)
def test_products_add(one, two):
    f, h = random_metric(2, 0, one), random_metric(3, 1, two)
    product = lambda y: torch.block_diag(f(y[:2]), h(y[2:]))
    x = 0.3 * torch.randn(4, 5, dtype=D, generator=torch.Generator().manual_seed(one))
    total = rm.scalar_curvature(f, x[:, :2]) + rm.scalar_curvature(h, x[:, 2:])
    assert_equal(rm.scalar_curvature(product, x), total, scale=terms(*rm.at(product, x).jets))


@few
@given(metrics())
def test_float32_is_float64_to_single_precision(case):
    metric, x = case
    single = lambda y: metric(y.double()).float()
    here, there = rm.at(metric, x), rm.at(single, x.float())
    assert_equal(there.scalar_curvature(), here.scalar_curvature().float(), scale=terms(*here.jets), rtol=1e-4)
