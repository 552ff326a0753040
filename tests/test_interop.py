"""Other packages' objects as metrics, against the packages themselves and closed forms of the literature."""

import os
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
import torch

import riemann as rm
from riemann.symbolic import SymbolicMetric

D = torch.float64


def tensor(*values):
    return torch.tensor(values, dtype=D)


@pytest.fixture(scope="module")
def geoopt():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("geoopt")


@pytest.fixture(scope="module")
def geomstats():
    """On its backend for torch."""
    before, patch = torch.get_default_dtype(), pytest.MonkeyPatch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("GEOMSTATS_BACKEND", os.environ.get("GEOMSTATS_BACKEND", "pytorch"))
        package = pytest.importorskip("geomstats", exc_type=ImportError)
    torch.set_default_dtype(before)  # geomstats makes it float64
    patch.undo()
    return package


# --------------------------------------------------------------------------------------------------------- geoopt

VECTORS = {  # name and arguments: a point, its scalar curvature
    "PoincareBall": ((1.0,), tensor(0.3, -0.2, 0.4), -6.0),
    "PoincareBallExact": ((0.5,), tensor(0.3, -0.2), -1.0),
    "SphereProjection": ((2.0,), tensor(0.3, -0.2, 1.4), 12.0),
    "Stereographic": ((-0.25,), tensor(0.3, 0.2), -0.5),
    "Euclidean": ((1,), tensor(0.3, 0.2), 0.0),
}


@pytest.mark.parametrize("name", VECTORS)
def test_geoopt_manifolds_of_vectors(geoopt, name):
    arguments, x, S = VECTORS[name]
    manifold = getattr(geoopt, name)(*arguments).double()
    metric = rm.adapt(manifold)
    u, v = torch.randn(2, len(x), dtype=D)
    torch.testing.assert_close(u @ metric(x) @ v, manifold.inner(x, u, v).reshape(()))
    torch.testing.assert_close(rm.scalar_curvature(metric, x), torch.tensor(S, dtype=D), atol=1e-5, rtol=1e-6)
    y = x + 0.1
    torch.testing.assert_close(rm.distance(metric, x, y), manifold.dist(x, y), atol=1e-8, rtol=1e-8)


def test_the_curvature_of_a_ball_is_learned(geoopt):
    ball = geoopt.PoincareBall(1.0, learnable=True)
    S = rm.scalar_curvature(rm.adapt(ball), tensor(0.3, 0.1))
    S.backward()
    (parameter,) = ball.parameters()  # -S / 2 is its softplus
    torch.testing.assert_close(S.detach(), torch.tensor(-2.0, dtype=D), atol=1e-5, rtol=0)
    torch.testing.assert_close(parameter.grad, -2 * torch.sigmoid(parameter.detach()))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_geoopt_manifolds_of_constrained_points(geoopt):
    """The sphere, the hyperboloid and matrices: their entries are not coordinates, and the charts are stated."""
    x, y = tensor(0.3, -0.4), tensor(0.1, 0.5)
    for manifold, S in ((geoopt.Sphere(), 2.0), (geoopt.Lorentz(k=4.0).double(), -0.5)):
        metric = rm.adapt(manifold)
        p, q = metric.point(x), metric.point(y)
        assert manifold.check_point_on_manifold(p)
        torch.testing.assert_close(rm.distance(metric, x, y), manifold.dist(p, q), atol=1e-8, rtol=1e-8)
        torch.testing.assert_close(rm.scalar_curvature(metric, x), torch.tensor(S, dtype=D))
    x, y = tensor(2.0, 0.3, 1.0), tensor(1.5, -0.2, 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matrices = geoopt.SymmetricPositiveDefinite(), geoopt.manifolds.UpperHalf()
    for manifold, copies in zip(matrices, (1, 2), strict=True):  # complex ones have two triangles
        metric, a, b = rm.adapt(manifold), x.repeat(copies), y.repeat(copies)
        p, q = metric.point(a), metric.point(b)
        torch.testing.assert_close(rm.distance(metric, a, b), manifold.dist(p, q).reshape(()), atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(rm.scalar_curvature(rm.adapt(geoopt.SymmetricPositiveDefinite()), x), tensor(-1.0)[0])


def test_geoopt_doubly_stochastic_matrices(geoopt):
    """2 x 2 ones are a curve, sum p dp dp / (2 p) over entries."""
    (p,) = x = tensor(0.3)
    manifold = geoopt.BirkhoffPolytope()
    torch.testing.assert_close(rm.adapt(manifold)(x), (1 / p + 1 / (1 - p)).reshape(1, 1))


def test_geoopt_products_and_scales(geoopt):
    x, y = tensor(0.1, 0.2, 0.3, 0.4, 0.5), tensor(0.2, 0.2, 0.1, 0.5, 0.4)
    product = geoopt.ProductManifold((geoopt.PoincareBall(1.0), 2), (geoopt.SphereProjection(1.0), 3)).double()
    metric = rm.adapt(product)
    torch.testing.assert_close(rm.scalar_curvature(metric, x), torch.tensor(4.0, dtype=D), atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(rm.distance(metric, x, y), product.dist(x, y), atol=1e-8, rtol=1e-8)
    scaled = geoopt.Scaled(geoopt.PoincareBall(1.0), 3.0).double()
    torch.testing.assert_close(rm.distance(rm.adapt(scaled), x, y), scaled.dist(x, y), atol=1e-8, rtol=1e-8)


def test_geoopt_with_a_chart(geoopt):
    """SO(3) as a Stiefel manifold of orthonormal pairs, in exponential coordinates, is half of a round 3-sphere."""

    def chart(x):
        o = torch.zeros_like(x[0])
        a, b, c = x
        skew = torch.stack([o, -c, b, c, o, -a, -b, a, o]).reshape(3, 3)
        return torch.matrix_exp(skew)[:, :2]

    manifold = geoopt.CanonicalStiefel()
    S = rm.scalar_curvature(rm.adapt(manifold, chart=chart), tensor(0.1, 0.3, -0.2))
    torch.testing.assert_close(S, torch.tensor(1.5, dtype=D))
    with pytest.raises(ValueError, match="obey equations.*chart="):
        rm.adapt(manifold)


def test_geoopt_points_and_inner_products_of_their_own(geoopt):
    ball = geoopt.PoincareBall(1.0)
    with pytest.raises(TypeError, match=r"a point of a manifold.*`riemann.adapt\(object.manifold\)`"):
        rm.adapt(geoopt.ManifoldParameter(tensor(0.1, 0.2), manifold=ball))
    disc, x = geoopt.BoundedDomain(), tensor(0.3, 0.2)  # |dz|^2 / (1 - |z|^2)^2, where its `dist` has twice the lengths
    torch.testing.assert_close(rm.adapt(disc)(x), torch.eye(2, dtype=D) / (1 - x @ x) ** 2)
    torch.testing.assert_close(rm.scalar_curvature(rm.adapt(disc), x), tensor(-8.0)[0])


def test_geoopt_distances_that_are_not_those_of_the_inner_product(geoopt):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        manifold = geoopt.SymmetricPositiveDefinite("LEM")
    with pytest.raises(ValueError, match="LEM.*`inner` is not the metric of"):
        rm.adapt(manifold)


# ------------------------------------------------------------------------------------------------------- geomstats


def test_geomstats_metrics(geomstats):
    from geomstats.geometry.hyperboloid import Hyperboloid
    from geomstats.geometry.hypersphere import Hypersphere
    from geomstats.geometry.poincare_ball import PoincareBall
    from geomstats.geometry.poincare_half_space import PoincareHalfSpace
    from geomstats.geometry.spd_matrices import SPDMatrices
    from geomstats.information_geometry.gamma import GammaDistributions
    from geomstats.information_geometry.normal import NormalDistributions

    x = tensor(0.3, 0.7)
    psi1, psi2 = (float(torch.polygamma(k, x[0])) for k in (1, 2))
    kappa = 0.3
    gamma = (psi1 + kappa * psi2) / (2 * (kappa * psi1 - 1) ** 2)
    for space, S in (
        (PoincareHalfSpace(2), -2.0),
        (PoincareBall(2), -2.0),
        (NormalDistributions(sample_dim=1), -1.0),
        (GammaDistributions(), gamma),
        (Hypersphere(2, intrinsic=True), 2.0),
        (Hypersphere(2), 2.0),
        (Hyperboloid(2), -2.0),
    ):
        got = rm.scalar_curvature(rm.adapt(space.metric), x)
        torch.testing.assert_close(got, torch.tensor(S, dtype=D), msg=lambda m, space=space: f"{space}: {m}")
    spd = rm.adapt(SPDMatrices(2))
    torch.testing.assert_close(rm.scalar_curvature(spd, tensor(2.0, 0.3, 1.0)), torch.tensor(-1.0, dtype=D))
    sphere = Hypersphere(2)
    metric, y = rm.adapt(sphere), tensor(-0.2, 0.4)
    length = sphere.metric.dist(metric.point(x), metric.point(y))
    torch.testing.assert_close(rm.distance(metric, x, y), length, atol=1e-8, rtol=1e-8)


def test_there_and_back(geomstats):
    """On geomstats' torch backend a metric given by its matrix loses curvature; ours comes through, in its order."""

    def sphere(x):
        return torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))

    x, v = tensor(1.0, 0.4), tensor(0.3, 0.2)
    theirs = rm.to_geomstats(sphere, 2)
    torch.testing.assert_close(theirs.scalar_curvature(x), torch.tensor(2.0, dtype=D))
    torch.testing.assert_close(theirs.covariant_riemann_tensor(x), rm.riemann_tensor(sphere, x, "llll"))
    torch.testing.assert_close(theirs.sectional_curvature(x, v, x), torch.tensor(1.0, dtype=D))
    torch.testing.assert_close(theirs.ricci_tensor(x), sphere(x))
    y = theirs.exp(v, x)
    torch.testing.assert_close(theirs.dist(x, y), (v @ sphere(x) @ v).sqrt(), atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(rm.adapt(theirs)(x), sphere(x))
    from geomstats.learning.frechet_mean import FrechetMean

    points = torch.stack((x, y, rm.exp_map(sphere, x, -v)))
    torch.set_default_dtype(D)  # as geomstats does
    try:
        mean = FrechetMean(theirs._space).fit(points).estimate_
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(mean, x, atol=1e-3, rtol=1e-3)


def test_a_geomstats_that_does_not_import_says_what_to_install(monkeypatch):
    for found, words in (
        (None, "needs geomstats: `pip install"),
        (types.ModuleType("geomstats.geometry"), "numpy<2.4"),
    ):
        monkeypatch.setitem(sys.modules, "geomstats.geometry.euclidean", found)
        with pytest.raises(ImportError, match=words):
            rm.to_geomstats(lambda x: torch.eye(2), 2)


def test_a_backend_without_derivatives(geomstats, monkeypatch):
    import geomstats.backend  # pyright: ignore[reportMissingImports]
    from geomstats.geometry.poincare_ball import PoincareBall

    monkeypatch.setattr(geomstats.backend, "__name__", "geomstats.numpy")
    with pytest.raises(ValueError, match="GEOMSTATS_BACKEND"):
        rm.adapt(PoincareBall(2))


# -------------------------------------------------------------------------------------- SymPy, EinsteinPy, and others


def test_sympy_matrices():
    r, phi, L = sp.symbols("r phi L", positive=True)
    matrix = sp.diag(L**2 / r**2, L**2 / r**2)
    length = torch.tensor(3.0, dtype=D, requires_grad=True)
    S = rm.scalar_curvature(rm.adapt(matrix, (phi, r), L=length), tensor(0.1, 0.7))
    torch.testing.assert_close(S, torch.tensor(-2 / 9, dtype=D))
    S.backward()
    torch.testing.assert_close(length.grad, torch.tensor(4 / 27, dtype=D))
    same = rm.adapt(SymbolicMetric(matrix, (phi, r)), L=3)
    torch.testing.assert_close(same(tensor(0.1, 0.7)), rm.adapt(matrix, "phi, r", L=3)(tensor(0.1, 0.7)))
    with pytest.raises(ValueError, match="which of the symbols L r are coordinates"):
        rm.adapt(matrix)


def test_einsteinpy():
    predefined = pytest.importorskip("einsteinpy.symbolic.predefined", exc_type=ImportError)
    x = tensor(0.0, 5.0, 1.2, 0.3)
    metric = rm.adapt(predefined.Schwarzschild(), c=1, r_s=2.0)
    torch.testing.assert_close(metric(x), -rm.spaces.schwarzschild(M=1)(x))  # its signature is (+, -, -, -)
    torch.testing.assert_close(rm.kretschmann_scalar(metric, x), torch.tensor(48 / 5.0**6, dtype=D))
    upper = predefined.AntiDeSitter().change_config("uu")
    torch.testing.assert_close(rm.scalar_curvature(rm.adapt(upper), tensor(1.0, 0.5, 1.1, 0.2)).abs(), tensor(12.0)[0])


class MetricTensor:
    """The documented interface of EinsteinPy's class, for those who do not have it."""

    config = "ll"

    def tensor(self):
        return sp.Array([[1, 0], [0, sp.sin(sp.Symbol("theta")) ** 2]])

    def symbols(self):
        return sp.symbols("theta phi")


class Product:
    def inner_product(self, u, v, base_point):
        return (u @ v) / base_point[1] ** 2


class Inner:
    def inner(self, x, u, v=None):
        return (u @ v) / x[1] ** 2


class Matrix:
    def metric_matrix(self, base_point=None):
        return torch.eye(2, dtype=base_point.dtype) / base_point[1] ** 2


@pytest.mark.parametrize("object, S", [(MetricTensor(), 2.0), (Product(), -2.0), (Inner(), -2.0), (Matrix(), -2.0)])
def test_objects_by_what_they_have(object, S):
    torch.testing.assert_close(rm.scalar_curvature(rm.adapt(object), tensor(0.3, 0.7)), torch.tensor(S, dtype=D))


def test_transforms_and_numbers():
    transform = torch.distributions.transforms.StickBreakingTransform(cache_size=1)
    x = tensor(0.3, -0.7)
    torch.testing.assert_close(rm.adapt(transform)(x), rm.metrics.Pullback(lambda x: transform(x))(x))
    torch.testing.assert_close(rm.scalar_curvature(rm.adapt(transform), x), tensor(0.0)[0])  # a simplex is flat
    exp = torch.distributions.transforms.ExpTransform()
    torch.testing.assert_close(rm.adapt(exp)(x), torch.diag(torch.exp(2 * x)))
    for matrix in ([[2.0, 0.0], [0.0, 3.0]], np.diag([2.0, 3.0]), torch.diag(tensor(2.0, 3.0))):
        torch.testing.assert_close(rm.adapt(matrix)(x), torch.diag(tensor(2.0, 3.0)))
    sphere = rm.spaces.sphere(2)
    assert rm.adapt(sphere) is sphere


def test_transforms_to_matrices():
    """Of Cholesky factors of correlations, points on a circle; of factors with positive diagonals, by a chart."""
    t = torch.distributions.transforms
    x = tensor(0.3)
    torch.testing.assert_close(rm.adapt(t.CorrCholeskyTransform())(x), torch.cosh(x).pow(-2).diag())
    factors = rm.adapt(t.LowerCholeskyTransform(), chart=lambda x: torch.stack((x, 0 * x), -1))
    torch.testing.assert_close(factors(tensor(0.3, 0.7)), torch.diag(tensor(0.6, 0.0).exp()))
    with pytest.raises(ValueError, match="takes arrays.*`chart=`"):
        rm.adapt(t.LowerCholeskyTransform())


def test_tensors_of_einsteinpy_that_are_no_metrics():
    symbolic = pytest.importorskip("einsteinpy.symbolic", exc_type=ImportError)
    theta, phi = sp.symbols("theta phi")
    metric = symbolic.MetricTensor([[1, 0], [0, sp.sin(theta) ** 2]], (theta, phi))
    for kind in (symbolic.RicciTensor, symbolic.ChristoffelSymbols):
        with pytest.raises(TypeError, match=f"{kind.__name__} as a metric; expected its `MetricTensor`"):
            rm.adapt(kind.from_metric(metric))


@pytest.mark.parametrize(
    "object, words",
    [
        (3.0, "nothing is known of a float"),
        (Matrix, r"the class Matrix .*`riemann.adapt\(Matrix\(…\)\)`"),
        (torch.distributions.Dirichlet, r"`riemann.metrics.Fisher\(lambda x: Dirichlet\(…\)\)`"),
        (torch.distributions.Normal(0.0, 1.0), r"`riemann.metrics.Fisher\(lambda x: Normal\(…\)\)`"),
        ("kerr", r"`riemann.spaces.get\('kerr'\)`"),
    ],
)
def test_what_is_no_metric(object, words):
    with pytest.raises(TypeError, match=words):
        rm.adapt(object)


@pytest.mark.unshaped
def test_an_object_that_is_not_adapted_says_so(geoopt):
    x = tensor(0.3, 0.7)
    transform = torch.distributions.transforms.ExpTransform()
    for object in (geoopt.PoincareBall(), Matrix(), sp.eye(2), MetricTensor(), transform, np.eye(2), torch.eye(2)):
        for call in (
            lambda: rm.scalar_curvature(object, x),
            lambda: rm.at(object, x),
            lambda: rm.geodesic(object, x, x, tensor(1.0)),
            lambda: rm.laplacian(object, lambda x: x[0])(x),
            lambda: rm.check_metric(object, x),
            lambda: rm.verify(object, dim=2),
            lambda: rm.sectional_curvature(object, x, x, x.flip(0)),
            lambda: rm.compile(object, "scalar_curvature", dim=2),
        ):
            with pytest.raises(TypeError, match=r"`riemann\.adapt"):
                call()


# ------------------------------------------------------------------------------------------------------ conventions


def test_conventions():
    """Each package's documented formula, written with its own indices, from our Christoffel symbols."""
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(3, 3, 3, dtype=D, generator=generator)

    def metric(x):
        return torch.eye(3, dtype=x.dtype) + 0.1 * torch.einsum("ijk,k->ij", A + A.transpose(0, 1), torch.sin(x))

    x = tensor(0.3, 0.1, -0.2)
    gamma, dgamma = rm.jet(lambda x: rm.christoffel(metric, x), x, 1)
    R = rm.riemann_tensor(metric, x)
    e = torch.einsum
    theirs = {
        "geomstats": lambda: (
            e("lkij->ijkl", dgamma) - e("ljik->ijkl", dgamma)
            + e("ljm,mki->ijkl", gamma, gamma) - e("lkm,mji->ijkl", gamma, gamma)
        ),
        "maxima": lambda: (
            e("lijk->ijkl", dgamma) - e("likj->ijkl", dgamma)
            + e("mij,lmk->ijkl", gamma, gamma) - e("mik,lmj->ijkl", gamma, gamma)
        ),
        "jaxgeometry": lambda: (
            e("ljki->ijkl", dgamma) - e("likj->ijkl", dgamma)
            + e("lim,mjk->ijkl", gamma, gamma) - e("ljm,mik->ijkl", gamma, gamma)
        ),
        "manifolds.jl": lambda: (
            e("ujki->uijk", dgamma) - e("uikj->uijk", dgamma)
            + e("uim,mjk->uijk", gamma, gamma) - e("ujm,mik->uijk", gamma, gamma)
        ),
        "xact": lambda: (  # (D_a D_b - D_b D_a) w_c for a basis of covectors
            e("dacb->abcd", dgamma) - e("dbca->abcd", dgamma)
            + e("eac,dbe->abcd", gamma, gamma) - e("ebc,dae->abcd", gamma, gamma)
        ),
        "autograv": lambda: (
            e("jklm->jklm", dgamma) - e("jkml->jklm", dgamma)
            + e("jme,ekl->jklm", gamma, gamma) - e("jle,ekm->jklm", gamma, gamma)
        ),
    }  # fmt: skip
    for package, formula in theirs.items():
        got = rm.conventions.convert(R, "riemann_tensor", to=package)
        torch.testing.assert_close(got, formula(), msg=lambda m, package=package: f"{package}: {m}")
        torch.testing.assert_close(rm.conventions.convert(got, "riemann_tensor", of=package), R)
    upper_last = rm.conventions.convert(gamma, "christoffel", to="maxima")
    torch.testing.assert_close(upper_last, e("kij->ijk", gamma))
    C = rm.cotton_tensor(metric, x)
    torch.testing.assert_close(rm.conventions.convert(C, "cotton_tensor", to="sage"), C)  # n - 2 = 1
    batch = rm.riemann_tensor(metric, torch.stack((x, 2 * x)))
    torch.testing.assert_close(rm.conventions.convert(batch, "riemann_tensor", to="xact")[0], theirs["xact"]())


def test_the_page_of_conventions_has_them_all():
    page = (Path(__file__).parent.parent / "docs" / "other-conventions.md").read_text()
    rows = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 5 and cells[1].startswith("`") and cells[1] != "name in `conventions`":
            rows[cells[1].strip("`")] = [cell.strip("`") for cell in cells[2:]]
    shown = lambda order: ("-" if order.factor(5) < 0 else "") + f"[{', '.join(order.letters)}]"
    want = {
        name: [shown(orders["christoffel"]), shown(orders["riemann_tensor"]), orders["riemann_tensor"].formula]
        for name, orders in rm.conventions.PACKAGES.items()
    }
    assert rows == want


def test_the_self_test():
    report = rm.conventions.self_test()
    assert report.ok and len(report.rows) >= 9 and "sphere" in str(report)
    theirs = {
        "riemann_tensor": lambda g, x: rm.conventions.convert(rm.riemann_tensor(g, x), "riemann_tensor", to="maxima")
    }
    assert rm.conventions.self_test(theirs, package="maxima").ok
    wrong = rm.conventions.self_test(theirs)
    assert not wrong.ok and "differs" in str(wrong)
    with pytest.raises(AssertionError, match="conventions differ"):
        wrong.raise_if_failed()
    negative = {"scalar_curvature": lambda g, x: -rm.scalar_curvature(g, x)}
    assert not rm.conventions.self_test(negative).ok


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: rm.conventions.convert(torch.zeros(2, 2), "ricci", to="xact"), "expected one of christoffel"),
        (lambda: rm.conventions.convert(torch.zeros(2, 2), "ricci_tensor", to="maple"), "known are mtw"),
        (lambda: rm.conventions.convert(torch.zeros(2, 2), "ricci_tensor", to="manifolds.jl"), "has no ricci_tensor"),
        (lambda: rm.conventions.convert(torch.zeros(2, 3), "ricci_tensor"), r"shape \(2, 3\)"),
        (lambda: rm.conventions.self_test({"weyl": None}), "no test of 'weyl'"),
    ],
)
@pytest.mark.unshaped
def test_conventions_refuse(call, words):
    with pytest.raises(ValueError, match=words):
        call()
