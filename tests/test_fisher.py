"""Fisher metrics: against other formulas, the literature and 40 digits; every way to them; alpha-connections."""

import warnings

import mpmath
import pytest
import torch
from torch import distributions as D

import riemann as rm
from riemann import spaces
from riemann.metrics import Fisher
from riemann_nn._losses.likelihoods import fisher_factor
from tests.helpers import assert_equal
from tests.test_metrics import QUANTITIES, along, u, v

D64 = torch.float64


def points(n, count=3, low=0.5, high=1.4):
    return low + (high - low) * torch.rand(count, n, dtype=D64)


def curved(x, m):
    """Smooth functions of x whose second derivatives are not 0, of size 1: m of them."""
    k = torch.arange(1, m + 1, dtype=x.dtype)
    A = torch.cos(k[:, None] * torch.arange(1, x.shape[-1] + 1, dtype=x.dtype))
    return A @ x + 0.3 * torch.sin(A @ x + k)


def pulled(F, f):
    """$J^T F J$ by torch's own reverse mode."""

    def metric(x):
        J = torch.func.jacrev(f)(x)
        return J.mT @ F(f(x)) @ J

    return metric


def covariance(y):
    """A positive definite matrix of three numbers."""
    return torch.stack([torch.stack([2 + y[0], y[1]]), torch.stack([y[1], 2.5 + y[2]])])


def of_moments(y):
    """Fisher's metric of vectors by mean and covariance: another formula than that of factors."""
    S = torch.linalg.inv(covariance(y[2:]))
    d = torch.zeros(3, 2, 2, dtype=y.dtype)
    d[0, 0, 0] = d[1, 0, 1] = d[1, 1, 0] = d[2, 1, 1] = 1
    return torch.block_diag(S, 0.5 * torch.einsum("aij,jk,bkl,li->ab", d, S, d, S))


def of_logits(z):
    p = torch.softmax(z, -1)
    return torch.diag(p) - torch.outer(p, p)


def of_dirichlet(a):
    return torch.diag(torch.polygamma(1, a)) - torch.polygamma(1, a.sum())


def of_pair(y, i, j):
    """Of Beta distributions with parameters among others."""
    E = torch.eye(6, dtype=y.dtype)[[i, j]]
    return E.mT @ of_dirichlet(y[[i, j]]) @ E


def of_normals(y):
    s = y[y.shape[-1] // 2 :]
    return torch.diag(torch.cat([s**-2, 2 * s**-2]))


# name: family of y = f(x), Fisher's metric of y by another formula, f, dimension of x
FAMILIES = {
    "Normal": (
        lambda y: D.Independent(D.Normal(y[:3], y[3:]), 1), of_normals, lambda x: 3 + curved(x, 6), 3,
    ),
    "Categorical": (lambda y: D.Categorical(logits=y), of_logits, lambda x: curved(x, 5), 3),
    "of a batch": (
        lambda y: D.Categorical(logits=y.reshape(2, 3)),
        lambda y: torch.block_diag(of_logits(y[:3]), of_logits(y[3:])), lambda x: curved(x, 6), 3,
    ),
    "Bernoulli": (
        lambda y: D.Bernoulli(logits=y), lambda y: torch.diag(torch.sigmoid(y) * torch.sigmoid(-y)),
        lambda x: curved(x, 4), 3,
    ),
    "Dirichlet": (lambda y: D.Dirichlet(y), of_dirichlet, lambda x: 3 + curved(x, 4), 3),
    "MultivariateNormal": (
        lambda y: D.MultivariateNormal(y[:2], covariance(y[2:])), of_moments, lambda x: 0.2 * curved(x, 5), 3,
    ),
    "of one kind in two dimensions": (
        lambda y: (D.Beta(y[0], y[1]), D.Dirichlet(y[2:]), D.Beta(y[3:], y[:3])),
        lambda y: torch.block_diag(of_dirichlet(y[:2]), of_dirichlet(y[2:]))
        + sum((of_pair(y, k, 3 + k) for k in range(3)), torch.zeros(6, 6, dtype=y.dtype)),
        lambda x: 3 + curved(x, 6), 3,
    ),
    "of several": (
        lambda y: (D.Categorical(logits=y[:3]), D.Normal(y[3], 3 + y[4]), D.Poisson((y[5:]).exp())),
        lambda y: torch.block_diag(
            of_logits(y[:3]), torch.diag(torch.stack([(3 + y[4]) ** -2, 2 * (3 + y[4]) ** -2, y[5].exp()]))
        ),
        lambda x: curved(x, 6), 3,
    ),
}  # fmt: skip

COMPARED = """
    metric; first derivatives; second derivatives; christoffel; christoffel_vector; riemann_tensor; ricci_tensor;
    scalar_curvature; weyl_tensor; sectional_curvature; sectional_form; curvature_endomorphism; ricci_curvature;
    log_volume_element; cotton_tensor
"""


@pytest.mark.parametrize("name", FAMILIES)
def test_contract(name):
    """Every quantity is that of the metric by another formula, which knows nothing of distributions."""
    family, F, f, n = FAMILIES[name]
    metric, x = Fisher(lambda x: family(f(x))), points(n)[:, None]
    here = rm.at(pulled(F, f), x, order=3)
    for quantity in map(str.strip, COMPARED.split(";")):
        got, formula = QUANTITIES[quantity]
        assert_equal(got(metric, x), formula(here), rtol=1e-9)
    assert metric.route.startswith("closed form")
    assert rm.scalar_curvature.route(metric) == "riemann.metrics._fisher.scalar_curvature"
    assert_equal(torch.stack([metric(p) for p in x[:, 0]]), here.g[:, 0])
    assert rm.scalar_curvature(metric, x[:0]).shape == (0, 1)


SPACES = {
    "gaussian": (lambda x: D.Normal(x[0], x[1]), {}),
    "cauchy": (lambda x: D.Cauchy(x[0], x[1]), {}),
    "laplace": (lambda x: D.Laplace(x[0], x[1]), {}),
    "student_t": (lambda x: D.StudentT(4.0, x[0], x[1]), {"nu": 4}),
    "weibull": (lambda x: D.Weibull(x[0], x[1]), {}),
    "isotropic_gaussian": (lambda x: D.Normal(x[:-1], x[-1]), {"n": 3}),
    "gamma_distribution": (lambda x: D.Gamma(x[0], x[0] / x[1]), {}),
    "beta_distribution": (lambda x: D.Beta(x[0], x[1]), {}),
    "categorical": (lambda x: D.Categorical(torch.cat([x, 1 - x.sum()[None]])), {"n": 3}),
}


@pytest.mark.parametrize("name", SPACES)
def test_catalogue(name):
    """The exact side has its own formulas."""
    family, options = SPACES[name]
    space = getattr(spaces, name)(**options)
    x, metric = space.sample(4, torch.Generator().manual_seed(0)), Fisher(family)
    for a, b in zip(rm.at(metric, x).jets, rm.at(space, x).jets, strict=True):
        assert_equal(a, b, rtol=1e-11)
    assert_equal(rm.scalar_curvature(metric, x), rm.scalar_curvature(space, x), rtol=1e-9)


def spd(x):
    return torch.stack([torch.stack([x[2], x[3]]), torch.stack([x[3], x[4]])])


def triangle(x):
    return torch.stack([torch.stack([x[2], 0 * x[2]]), torch.stack([x[3], x[4]])])


VECTORS = {
    "covariance": lambda x: D.MultivariateNormal(x[:2], spd(x)),
    "precision": lambda x: D.MultivariateNormal(x[:2], precision_matrix=spd(x)),
    "factor": lambda x: D.MultivariateNormal(x[:2], scale_tril=triangle(x)),
    "low rank": lambda x: D.LowRankMultivariateNormal(x[:2], x[3:4, None] * torch.ones(2, 1), x[[2, 4]]),
}


@pytest.mark.parametrize("name", VECTORS)
def test_bivariate_normal(name):
    """Skovgaard (1984): S = -9/2, in every parametrisation."""
    x = torch.tensor([[0.3, -1.0, 1.5, 0.4, 1.2], [2.0, 0.0, 0.7, -0.3, 2.5]], dtype=D64)
    assert_equal(rm.scalar_curvature(Fisher(VECTORS[name]), x), torch.full((2,), -4.5, dtype=D64))


def test_vectors_of_many_dimensions():
    """Whose space is too large for tensors of its own."""
    A = torch.randn(5, 5, 2, dtype=D64)
    matrix = lambda x: 3 * torch.eye(5, dtype=x.dtype) + torch.sin(A @ x) @ torch.sin(A @ x).mT
    mean = lambda x: (A @ x).diagonal()

    def truth(x):
        S, d, m = torch.linalg.inv(matrix(x)), torch.func.jacrev(matrix)(x), torch.func.jacrev(mean)(x)
        return m.mT @ S @ m + 0.5 * torch.einsum("ij,jka,kl,lib->ab", S, d, S, d)

    x = points(2)
    metric, here = Fisher(lambda x: D.MultivariateNormal(mean(x), matrix(x))), rm.at(truth, x)
    assert_equal(rm.at(metric, x).ddg, here.ddg, rtol=1e-9)
    for quantity in ("riemann_tensor", "ricci_tensor", "scalar_curvature", "sectional_curvature", "ricci_curvature"):
        f, formula = QUANTITIES[quantity]
        assert_equal(f(metric, x), formula(here), rtol=1e-8)


def test_multinomial_is_a_sphere():
    for count, family in ((1, lambda x: D.Categorical(logits=x)), (5, lambda x: D.Multinomial(5, logits=x))):
        metric = Fisher(lambda x, f=family: f(torch.cat([x, 0 * x[:1]])))
        K = rm.sectional_curvature(metric, x := points(3), u(x), v(x))
        assert_equal(K, torch.full((3,), 0.25 / count, dtype=D64))


def in_forty_digits(a, gamma=False):
    """The scalar curvature of a Hessian metric from third cumulants, in mpmath."""
    with mpmath.workdps(40):
        a = [mpmath.mpf(float(t)) for t in a]
        n = len(a)
        if gamma:  # lgamma(k) - k log b
            k, b = a
            g = mpmath.matrix([[mpmath.psi(1, k), -1 / b], [-1 / b, k / b**2]])
            P = {(0, 0, 0): mpmath.psi(2, k), (0, 1, 1): 1 / b**2, (1, 1, 1): -2 * k / b**3}
        else:
            total = sum(a)
            g = mpmath.matrix(n, n)
            P = {}
            for i in range(n):
                for j in range(n):
                    g[i, j] = (mpmath.psi(1, a[i]) if i == j else 0) - mpmath.psi(1, total)
                    for k in range(n):
                        same = mpmath.psi(2, a[i]) if i == j == k else 0
                        P[tuple(sorted((i, j, k)))] = same - mpmath.psi(2, total)
        h, T = g**-1, lambda *index: P.get(tuple(sorted(index)), mpmath.mpf(0))
        raised = [[[sum(h[e, f] * T(f, i, j) for f in range(n)) for j in range(n)] for i in range(n)] for e in range(n)]
        trace = [sum(h[i, j] * T(e, i, j) for i in range(n) for j in range(n)) for e in range(n)]
        ricci = mpmath.matrix(n, n)
        for b in range(n):
            for d in range(n):
                ricci[b, d] = sum(raised[e][b][c] * raised[c][e][d] for e in range(n) for c in range(n))
                ricci[b, d] -= sum(h[e, f] * trace[e] * T(f, b, d) for e in range(n) for f in range(n))
        return float(sum(h[b, d] * ricci[b, d] for b in range(n) for d in range(n)) / 4)


@pytest.mark.parametrize(
    "family, n, gamma",
    [
        (lambda x: D.Dirichlet(x), 4, False),
        (lambda x: D.Beta(x[0], x[1]), 2, False),
        (lambda x: D.Gamma(x[0], x[1]), 2, True),
    ],
    ids=["Dirichlet", "Beta", "Gamma"],
)
def test_forty_digits(family, n, gamma):
    x = torch.cat([points(n), points(n, low=0.05, high=0.1), points(n, low=20.0, high=90.0)])
    truth = torch.tensor([in_forty_digits(p, gamma) for p in x], dtype=D64)
    assert_equal(rm.scalar_curvature(Fisher(family), x), truth, rtol=1e-8)


@pytest.mark.parametrize("kappa", [0.01, 1.0, 8.0, 29.0, 31.0, 1e4])
def test_von_mises_to_the_last_digits(kappa):
    """Variances of sine and cosine, which far out are 1 / kappa and 1 / (2 kappa^2), and the curvature made of them."""
    with mpmath.workdps(50):
        ratio = lambda k: mpmath.besseli(1, k) / mpmath.besseli(0, k)
        first, second = (lambda k: k * ratio(k)), (lambda k: 1 - ratio(k) / k - ratio(k) ** 2)
        root = lambda k: mpmath.sqrt(first(k) * second(k))
        K = -mpmath.diff(lambda k: mpmath.diff(first, k) / root(k), kappa) / (2 * root(kappa))
        truth = torch.tensor([float(first(kappa)), float(second(kappa))], dtype=D64)
    x, metric = torch.tensor([0.3, kappa], dtype=D64), Fisher(lambda x: D.VonMises(x[0], x[1]))
    assert_equal(metric(x).diagonal(), truth, rtol=1e-14)
    assert_equal(rm.scalar_curvature(metric, x), 2 * float(K), rtol=1e-13 if kappa > 1 else 1e-5)


@pytest.mark.parametrize("nu", [0.05, 0.7, 5.0, 40.0, 1e4, 1e8])
def test_degrees_of_freedom_far_out(nu):
    """Two trigammas and a fraction, which cancel to 7 / (2 nu^4): by values at the door and by jets."""
    with mpmath.workdps(60):
        n = mpmath.mpf(nu)
        half = (mpmath.psi(1, n / 2) - mpmath.psi(1, (n + 1) / 2)) / 4
        truth = torch.tensor([[float(half - (n + 5) / (2 * n * (n + 1) * (n + 3)))]], dtype=D64)
    metric, x = Fisher(lambda x: D.StudentT(x[0])), torch.tensor([nu], dtype=D64)
    assert_equal(metric(x) / truth, torch.ones_like(truth), rtol=1e-13)
    assert_equal(rm.at(metric, x).g / truth, torch.ones_like(truth), rtol=1e-13)


def test_normal_far_from_zero():
    """Natural parameters would lose all digits of a location of a million scales."""
    x = torch.tensor([1e6, 1e-2], dtype=D64)
    metric = Fisher(lambda x: D.Normal(x[0], x[1]))
    assert_equal(metric(x), torch.diag(torch.tensor([1e4, 2e4], dtype=D64)))
    assert_equal(rm.scalar_curvature(metric, x), torch.tensor(-1.0, dtype=D64))


def test_generalized_pareto():
    s, c = 1.3, 0.2
    score = [
        lambda z: (1 + c) * z / (1 + c * z) / s - 1 / s,
        lambda z: mpmath.log(1 + c * z) / c**2 - (1 + 1 / c) * z / (1 + c * z),
    ]
    mean = lambda f: float(mpmath.quad(lambda z: f(z) * (1 + c * z) ** (-1 / c - 1), [0, 1, 10, 100, mpmath.inf]))
    truth = torch.tensor([[mean(lambda z: a(z) * b(z)) for b in score] for a in score], dtype=D64)
    metric, x = Fisher(lambda x: D.GeneralizedPareto(0.0, x[0], x[1])), torch.tensor([s, c], dtype=D64)
    assert_equal(metric(x), truth)
    with pytest.warns(UserWarning, match="not finite"):  # of concentrations up to -1/2
        assert rm.at(metric, torch.tensor([1.0, -0.5], dtype=D64)).g.isnan().all()
    with pytest.raises(ValueError, match="moves with x"):
        Fisher(lambda x: D.GeneralizedPareto(x[0], 1.0, 0.1))(x[:1])


# ------------------------------------------------------------------------------------------------- changes of variables


def test_variables_change_and_the_metric_does_not():
    x, normal = points(2), Fisher(lambda x: D.Normal(x[0], x[1]))
    standard = D.Normal(torch.zeros((), dtype=D64), torch.ones((), dtype=D64))
    families = [
        lambda x: D.LogNormal(x[0], x[1]),
        lambda x: D.TransformedDistribution(D.Normal(x[0], x[1]), [D.TanhTransform()]),
        lambda x: D.TransformedDistribution(standard, [D.AffineTransform(x[0], x[1])]),
        lambda x: D.TransformedDistribution(standard, [D.AffineTransform(x[0], x[1]), D.ExpTransform()]),
    ]
    for family in families:
        assert_equal(rm.at(Fisher(family), x).g, rm.at(normal, x).g)


def test_what_is_made_of_others():
    x = points(2)
    assert_equal(rm.at(Fisher(lambda x: D.Pareto(1.0, x[0])), x[:, :1], 0).g[:, 0], x[:, :1] ** -2)
    logistic = Fisher(lambda x: D.LogisticNormal(x, x.exp()))
    assert_equal(rm.at(logistic, x).g, rm.at(Fisher(lambda x: D.Normal(x, x.exp())), x).g)
    assert logistic.route == "closed form of LogisticNormal"


def test_a_transform_that_moves_is_not_passed_over():
    """After an exponential the shift is a change of the support's end, not of a location."""
    shifted = Fisher(
        lambda x: D.TransformedDistribution(D.Normal(x[0], 1.0), [D.ExpTransform(), D.AffineTransform(0.0, x[1])])
    )
    x = points(2, 1)[0]
    assert_equal(shifted(x)[0, 0], torch.tensor(1.0, dtype=D64), rtol=1e-8)
    scale = torch.tensor(1.0, dtype=D64) / x[1]  # a factor moves the location of the logarithm
    assert_equal(shifted(x), torch.stack([torch.stack([scale**0, scale]), torch.stack([scale, scale**2])]), rtol=1e-8)
    assert "closed form" not in shifted.route


@pytest.mark.parametrize("a, b", [(2.0, 2.0), (3.0, 4.0), (2.0, 0.5)])
def test_a_logit_that_is_shifted_and_scaled(a, b):
    """Of a Beta distribution: the inverse of the logit clamps at rounding of 1, where some nodes lie."""
    logit = D.SigmoidTransform().inv
    family = lambda x: D.TransformedDistribution(D.Beta(a + 0 * x[0], b), [logit, D.AffineTransform(x[0], x[1])])
    x = points(2, 1)[0]
    location = a * b / (a + b + 1) / x[1] ** 2
    rtol = 1e-11 if b > 1 else 1e-6  # of mass beyond the clamp
    assert_equal(Fisher(family)(x)[0, 0], location, rtol=rtol)
    moved = x * torch.tensor([-3.0, 1.0], dtype=D64)  # a location and a scale: the hyperbolic plane
    curvature = rm.scalar_curvature(Fisher(family), torch.stack([x, moved]))
    assert_equal(curvature[1], curvature[0], rtol=10 * rtol)
    assert bool((curvature < 0).all())


# -------------------------------------------------------------------------------------------------- the other ways


class Renamed(D.Gamma):
    """Another distribution to us: its density is its own."""

    def log_prob(self, value):
        return super().log_prob(value)


class Mute(D.Gamma):
    """One that fails."""

    def log_prob(self, value):
        raise RuntimeError("no digits")


class Divergent(Renamed):
    """One with a divergence."""

    def log_prob(self, value):
        return super().log_prob(value)


@D.register_kl(Divergent, Divergent)
def _kl(p, q):
    return D.kl_divergence(D.Gamma(p.concentration, p.rate), D.Gamma(q.concentration, q.rate))


class Kinked(D.Laplace):
    def log_prob(self, value):
        return super().log_prob(value)


class Vectors(D.MultivariateNormal):
    def log_prob(self, value):
        return super().log_prob(value)


def test_a_divergence():
    x = points(2)[:, None]
    metric, truth = Fisher(lambda x: Divergent(x[0], x[1])), Fisher(lambda x: D.Gamma(x[0], x[1]))
    for quantity in ("metric", "first derivatives", "second derivatives", "riemann_tensor", "sectional_curvature"):
        f, _ = QUANTITIES[quantity]
        assert_equal(f(metric, x), f(truth, x), rtol=1e-8)
    assert metric.route == "Hessian of the KL divergence of Divergent"


def test_a_subclass_with_a_density_of_its_own_is_another_distribution():
    x = points(2, 2)
    metric, truth = Fisher(lambda x: Renamed(x[0], x[1])), Fisher(lambda x: D.Gamma(x[0], x[1]))
    assert_equal(rm.at(metric, x).g, rm.at(truth, x).g, rtol=1e-10)
    assert_equal(rm.scalar_curvature(metric, x), rm.scalar_curvature(truth, x), rtol=1e-7)
    assert "quadrature" in metric.route
    for quantity in ("christoffel_vector", "sectional_curvature", "ricci_tensor", "curvature_endomorphism"):
        f, _ = QUANTITIES[quantity]
        assert_equal(f(metric, x), f(truth, x), rtol=1e-7)


def test_whole_numbers():
    """With a fixed count, r / (p (1 - p)^2)."""
    metric = Fisher(lambda x: D.NegativeBinomial(3.0, probs=x[0]))
    p = torch.tensor([0.4], dtype=D64)
    assert_equal(metric(p)[0], 3 / (p * (1 - p) ** 2))
    assert "whole numbers" in metric.route


def test_independent_components_of_what_is_not_known():
    x = points(2, 1)[0]
    metric = Fisher(lambda x: D.Independent(Renamed(x, x + 1), 1))
    assert_equal(metric(x), Fisher(lambda x: D.Gamma(x, x + 1))(x), rtol=1e-9)
    assert "quadrature" in metric.route
    counts = Fisher(lambda x: D.MixtureSameFamily(D.Categorical(logits=0 * x), D.Poisson(x)))  # twice the same
    same = torch.stack([x[0], x[0]])
    assert_equal(counts(same), torch.full((2, 2), 0.25, dtype=D64) / x[0], rtol=1e-9)


def test_a_mixture():
    """Far apart, the components are observed: a sphere of weights."""
    component = D.Normal(torch.tensor([0.0, 60.0], dtype=D64), torch.ones(2, dtype=D64))
    mixture = Fisher(lambda x: D.MixtureSameFamily(D.Categorical(logits=torch.cat([x, 0 * x])), component))
    x = torch.tensor([0.3], dtype=D64)
    p = torch.sigmoid(x)
    assert_equal(mixture(x)[0], p * (1 - p), rtol=1e-8)


def test_a_kink_has_a_metric_and_no_curvature():
    metric, x = Fisher(lambda x: Kinked(x[0], x[1])), points(2, 1)[0]
    with pytest.warns(UserWarning, match="relative error of"):
        g = metric(x)
    assert_equal(g, torch.eye(2, dtype=D64) / x[1] ** 2, rtol=3e-3)
    with pytest.warns(UserWarning) as said:
        assert rm.scalar_curvature(metric, x).isnan()
    assert any("has a kink in x" in str(w.message) for w in said)


def test_samples_say_their_error():
    family = lambda x: Vectors(x[:2], torch.diag(x[2:]))
    metric, x = Fisher(family, num_samples=40_000), torch.tensor([0.2, 0.1, 1.5, 0.8], dtype=D64)
    with pytest.warns(UserWarning, match=r"Monte Carlo with 40000 samples, with a relative standard error of \d"):
        g = metric(x)
    truth = torch.diag(torch.cat([1 / x[2:], 0.5 / x[2:] ** 2]))
    assert_equal(g, truth, rtol=0.05)
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match="standard error"):
        assert_equal(metric(x), g)
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_that_are_not_of_the_density():
    with pytest.raises(ValueError, match="samples of LKJCholesky are not distributed by its `log_prob`.*write"):
        Fisher(lambda x: D.LKJCholesky(3, x[0]))(torch.tensor([1.4], dtype=D64))


def test_third_derivatives_where_there_is_no_mass():
    metric = Fisher(lambda x: D.RelaxedBernoulli(x[0], logits=x[1]))  # a logistic line of scale 1 / x[0]
    here = rm.at(metric, torch.tensor([0.7, 0.4], dtype=D64))
    assert_equal(here.g[1, 1], torch.tensor(1 / 3, dtype=D64))
    assert here.ddg.isfinite().all()


def test_where_there_is_no_metric():
    x = points(2, 1)[0]
    for family in (
        lambda x: D.Uniform(x[0], x[0] + x[1]),
        lambda x: D.Pareto(x[0], x[1]),
        lambda x: D.Binomial(x[0], 0.5 * x[1]),
    ):
        with pytest.raises(ValueError, match="moves with x, where Fisher's metric does not exist"):
            Fisher(family)(x)
    fixed = Fisher(lambda x: D.Pareto(1.0, x[0]))
    assert_equal(fixed(x[:1])[0], x[:1] ** -2)


def test_parameters_that_are_none_are_nan_at_their_points():
    metric = Fisher(lambda x: D.Normal(x[0], x[1]))
    x = torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=D64)
    with pytest.warns(UserWarning, match="not finite at point"):
        S = rm.scalar_curvature(metric, x)
    assert S[0] == -1 and S[1].isnan()
    for quantity in ("metric", "christoffel_vector", "sectional_curvature", "ricci_curvature"):
        f, _ = QUANTITIES[quantity]
        with pytest.warns(UserWarning, match="not finite at point"):
            value = f(metric, x)
        assert value[0].isfinite().all() and value[1].isnan().all(), quantity
    skew = Fisher(lambda x: D.MultivariateNormal(x, torch.tensor([[2.0, 1.0], [0.0, 2.0]], dtype=D64)))
    with pytest.warns(UserWarning, match="not finite"):
        assert rm.at(skew, x[0]).g.isnan().all()


# ------------------------------------------------------------------------------------------------- classifiers


def classifier(n, classes, hidden=16):
    torch.manual_seed(0)
    layers = torch.nn.Linear(n, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, classes)
    return torch.nn.Sequential(*layers).double()


def test_classifier():
    """The metric of inputs, and gradients to the network."""
    net, x = classifier(3, 6), points(3, 2)
    metric = Fisher(lambda x: D.Categorical(logits=net(x)))
    truth = pulled(of_logits, net)
    assert_equal(rm.at(metric, x).g, torch.stack([truth(p) for p in x]))
    rm.scalar_curvature(metric, x).sum().backward()
    got = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    rm.at(truth, x).scalar_curvature().sum().backward()
    for a, p in zip(got, net.parameters(), strict=True):
        assert_equal(a, p.grad, rtol=1e-8)


@pytest.mark.parametrize(
    "name, family",
    [
        ("categorical", lambda z: D.Categorical(logits=z)),
        ("bernoulli", lambda z: D.Bernoulli(logits=z)),
        ("gaussian", lambda z: D.Normal(z, 1.0)),
    ],
)
def test_the_neural_layer_has_the_same_metric(name, family):
    z = torch.randn(4, dtype=D64)
    S = fisher_factor(name)(z)
    assert_equal(Fisher(family)(z), S @ S.mT)


def test_rank_is_said_and_a_slice_is_regular():
    net, x0 = classifier(8, 4), points(8, 1)[0]
    family = lambda x: D.Categorical(logits=net(x))
    with pytest.warns(UserWarning, match="rank 3 of 8"):
        assert rm.scalar_curvature(Fisher(family), x0).isnan()
    U = torch.linalg.qr(torch.randn(8, 3, dtype=D64)).Q
    metric, s = Fisher(family, subspace=(U, x0)), torch.zeros(3, dtype=D64)
    assert_equal(metric(s), U.mT @ Fisher(family)(x0) @ U)
    assert_equal(rm.sectional_curvature(metric, s, u(s), v(s)), torch.tensor(0.25, dtype=D64))  # the whole sphere
    assert_equal(Fisher(family, U)(U.mT @ x0), U.mT @ Fisher(family)(U @ (U.mT @ x0)) @ U)


@pytest.mark.parametrize("n", [6, 120])
def test_curves_name_the_rank_and_the_slice(n):
    net = torch.nn.Sequential(torch.nn.Linear(n, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).to(D64)
    metric, x = Fisher(lambda x: D.Categorical(logits=net(x))), torch.zeros(n, dtype=D64)
    v = torch.linspace(-1, 1, n, dtype=D64)
    for call in (
        lambda: rm.exp_map(metric, x, v),
        lambda: rm.geodesic(metric, x, v, 1.0),
        lambda: rm.log_map(metric, x, x + v),
        lambda: rm.distance(metric, x, x + v),
        lambda: rm.jacobi_field(metric, x, v, v, v, 1.0),
        lambda: rm.frechet_mean(metric, torch.stack([x, v])),
    ):
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            with pytest.raises((RuntimeError, ValueError), match=rf"rank 2 of {n} there.* use a slice.*subspace="):
                call()
    with pytest.warns(UserWarning, match=rf"rank 2 of {n} .*subspace="):
        rm.inverse_metric(metric, x)


def test_ricci_curvature_by_blocks_of_a_frame(monkeypatch):
    from riemann.metrics import Constant, Pullback, _pullback

    lorentzian = Constant(torch.diag(torch.tensor([-0.2] + [1.0] * 7, dtype=D64)))
    for metric in (
        Fisher(lambda x: D.Categorical(logits=curved(x, 9))),
        Pullback(lambda x: curved(x, 8), lorentzian),
    ):
        x = points(4)
        truth = along(rm.ricci_tensor(metric, x), u(x), u(x))
        monkeypatch.setattr(_pullback, "BUDGET", 1000)
        assert_equal(rm.ricci_curvature(metric, x, u(x)), truth)
        monkeypatch.undo()


# -------------------------------------------------------------------------------------------- alpha-connections

DUAL = {
    "Normal": (lambda x: D.Normal(x[0], x[1]), 2),
    "Categorical": (lambda x: D.Categorical(logits=curved(x, 5)), 3),
    "MultivariateNormal": (lambda x: D.MultivariateNormal(x[:2], spd(x + torch.tensor([0, 0, 1.0, 0, 1]))), 5),
    "Gamma": (lambda x: D.Gamma(x[0], x[1]), 2),
    "VonMises": (lambda x: D.VonMises(x[0], x[1]), 2),
    "Laplace": (lambda x: D.Laplace(x[0], x[1]), 2),
    "Weibull, by nodes": (lambda x: D.Weibull(x[0], x[1]), 2),
    "of several": (lambda x: (D.Gamma(x[0], x[1]), D.Poisson(x), D.Normal(x[0], x[1])), 2),
}


@pytest.mark.parametrize("name", DUAL)
def test_duality(name):
    """$d_k g_ij = Gamma^a_{i,jk} + Gamma^-a_{j,ik}$, and 0 is Levi-Civita."""
    family, n = DUAL[name]
    x = points(n, 2)
    here = rm.at(Fisher(family), x, 1)
    a, b = (torch.einsum("...il,...ljk->...ijk", here.g, rm.alpha_christoffel(family, x, s)) for s in (0.7, -0.7))
    assert_equal(a + b.transpose(-3, -2), here.dg, rtol=1e-9)
    assert_equal(rm.alpha_christoffel(family, x, 0.0), here.christoffel(), rtol=1e-9)


def natural_normal(t):
    s = -0.5 / t[1]
    return D.Normal(t[0] * s, s.sqrt())


FLAT = {
    "Normal, natural": (natural_normal, 1, torch.tensor([0.4, -0.7])),
    "Normal, expectations": (lambda m: D.Normal(m[0], (m[1] - m[0] ** 2).sqrt()), -1, torch.tensor([0.4, 1.7])),
    "Categorical, logits": (lambda x: D.Categorical(logits=torch.cat([x, 0 * x[:1]])), 1, torch.tensor([0.3, -0.5])),
    "Categorical, weights": (lambda p: D.Categorical(torch.cat([p, 1 - p.sum()[None]])), -1, torch.tensor([0.3, 0.5])),
    "Dirichlet, natural": (lambda x: D.Dirichlet(x), 1, torch.tensor([0.3, 1.5, 0.8])),
    "Poisson, mean": (lambda x: D.Poisson(x), -1, torch.tensor([0.3, 1.5])),
    "VonMises, natural": (lambda t: D.VonMises(torch.atan2(t[1], t[0]), (t @ t).sqrt()), 1, torch.tensor([0.9, 1.4])),
    "vectors, precision": (
        lambda t: D.MultivariateNormal(torch.linalg.solve(spd(t), t[:2]), precision_matrix=spd(t)),
        1,
        torch.tensor([0.2, 0.3, 1.5, 0.2, 1.1]),
    ),
}  # of exponential families in affine coordinates, all symbols are 0


@pytest.mark.parametrize("name", FLAT)
def test_flat_in_affine_coordinates(name):
    family, alpha, x = FLAT[name]
    gamma = rm.alpha_christoffel(family, x.double(), alpha)
    assert_equal(gamma, torch.zeros_like(gamma))


# ------------------------------------------------------------------------------------------------------ messages


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: Fisher(D.Normal), TypeError, "returns a distribution"),
        (lambda x: Fisher(lambda x: x)(x), TypeError, "`family` returned Tensor"),
        (lambda x: Fisher(lambda x: ())(x), TypeError, "`family` returned nothing"),
        (lambda x: Fisher(lambda x: D.Poisson(x), torch.ones(2)), ValueError, r"expected a tensor U, \(n, k\)"),
        (lambda x: Fisher(lambda x: D.Poisson(x), torch.ones(2, 1))(x), ValueError, "points are"),
        (lambda x: rm.alpha_christoffel(lambda x: D.Poisson(x), x, "1"), TypeError, "`alpha` is '1'"),
        (lambda x: Fisher(lambda x: Mute(x[0], x[1]))(x), TypeError, "`log_prob` of Mute, .* fails .*: no digits. Use"),
        (lambda x: torch.func.vmap(Fisher(lambda x: Renamed(x[0], x[1])))(x[None]), ValueError, "a transform hides"),
    ],
)
@pytest.mark.unshaped
def test_messages(call, error, words):
    with pytest.raises(error, match=words):
        call(torch.tensor([1.0, 2.0]))


def test_metrics_like_any_other():
    """`vmap`, float32, exact truth, geodesics."""
    metric, x = Fisher(lambda x: D.Normal(x[0], x[1])), points(2)
    assert_equal(torch.func.vmap(lambda p: rm.scalar_curvature(metric, p))(x), -torch.ones(3, dtype=D64))
    assert rm.scalar_curvature(metric, x.float()).dtype == torch.float32
    y = rm.exp_map(metric, torch.tensor([0.0, 1.0], dtype=D64), torch.tensor([0.0, 1.0], dtype=D64))
    assert_equal(
        y, torch.tensor([0.0, 1.0], dtype=D64).where(torch.tensor([True, False]), torch.tensor(1.0).exp()), rtol=1e-6
    )
    assert rm.check_metric(metric, x).ok
    assert rm.verify(metric, dim=2, x=x).ok
    around = rm.metrics.Conformal(metric, lambda x: x[0])
    assert_equal(rm.scalar_curvature(around, x), rm.at(lambda p: around(p), x).scalar_curvature())


def test_nodes_at_the_ends_of_a_support_are_left_out():
    """Kumaraswamy's distribution, a uniform one that is transformed: rounding moves some nodes to 0 or 1."""
    a, b = y = torch.tensor([2.0, 1.3], dtype=D64)
    psi, two = torch.digamma, torch.tensor(2.0, dtype=D64)
    score = lambda u: 1 + mpmath.log(u) * (1 - 0.3 * u / (1 - u))  # of a, times a, at u = y^a, whose density is next
    aa = a**-2 * float(mpmath.quad(lambda u: score(u) ** 2 * 1.3 * (1 - u) ** mpmath.mpf(0.3), [0, 0.5, 1]))
    ab = -(psi(b + 1) - psi(two)) / (a * (b - 1))
    truth = torch.stack([torch.stack([aa, ab]), torch.stack([ab, b**-2])])
    g = rm.at(Fisher(lambda y: D.Kumaraswamy(y[0], y[1])), y, 0).g
    assert_equal(g, truth, rtol=1e-7)
    several = Fisher(lambda y: D.Kumaraswamy(y[:2], y[2:]))
    assert_equal(rm.at(several, y[[0, 0, 1, 1]], 0).g[::2, ::2], g, rtol=1e-7)
