"""Torch metrics traced into expressions and into 40-digit numbers: exact where exact truth exists, refused by name."""

import itertools
import math
import warnings

import mpmath
import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from riemann import jet, kretschmann_scalar, riemann_tensor, scalar_curvature
from riemann.bridge import high_precision, to_symbolic, trace
from riemann.bridge._functions import exact
from tests.cases import CASES, kerr, schwarzschild
from tests.helpers import WrongCube

DOUBLE = torch.float64
X = torch.tensor([0.3, -0.7], dtype=DOUBLE)
# Their constants (0.6, 2/3, 1/3) are not binary floats: the numbers are those of floats, the case has the fractions.
ROUNDED = {"Kerr": 1e-15, "FLRW, dust": 1e-14, "sphere 3 by a determinant": 1e-14}


def largest(array):
    return max((abs(sp.sympify(e)) for e in sp.flatten(array)), default=0)


def difference(ours, truth):
    """The largest difference, against the larger of 1 and the largest truth."""
    pairs = zip(sp.flatten(ours), sp.flatten(truth), strict=True)
    return float(max(abs(a - b) for a, b in pairs) / max(1, largest(truth)))


def floats(x):
    return [sp.Rational(c) for c in x.tolist()]


def assert_traced(f, x=X, symbolic=True, rtol=1e-9):
    """Digits give the Riemann tensor of the numeric side (to double precision), expressions its metric."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # piecewise linear
        numeric = riemann_tensor(f, x).detach()
    assert difference(high_precision(f, x).riemann_tensor(), numeric.tolist()) < rtol
    if symbolic:
        matrix = to_symbolic(f, len(x)).matrix
        subs = dict(zip(sp.symbols(f"x:{len(x)}"), floats(x), strict=True))
        assert difference(matrix.evalf(30, subs=subs), jet(f, x, 0)[0].tolist()) < 1e-13


# ---------------------------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("case", CASES, ids=str)
def test_expressions_of_every_case(case):
    traced = to_symbolic(case.metric, case.coordinates)
    assert traced.coordinates == case.coordinates
    for shift in (sp.Rational(1, 97), sp.Rational(-2, 89)):
        point = {c: sp.Rational(v) + shift for c, v in zip(case.coordinates, case.points[0], strict=True)}
        ours, truth = (sp.N(sp.Matrix(m).xreplace(point), 40) for m in (traced.matrix, case.matrix))
        assert difference(ours, truth) < 1e-30


@pytest.mark.parametrize("case", CASES, ids=str)
def test_digits_of_every_case(case):
    traced = trace(case.metric, case.dim)
    for x in case.x():
        ours, truth = traced.at(x), case.symbolic.at(floats(x), 40, 2)
        rtol = ROUNDED.get(case.name, 1e-30)
        assert difference(ours.christoffel(), truth.christoffel()) < rtol
        assert difference(ours.riemann_tensor(), truth.riemann_tensor()) < rtol


@pytest.mark.parametrize("name", ["generic 3", "generic 3, indefinite"])
def test_third_derivatives(name):
    case = next(case for case in CASES if case.name == name)
    x = case.x()[0]
    ours, truth = (route.cotton_tensor() for route in (high_precision(case.metric, x, order=3),
                                                       case.symbolic.at(floats(x), 40)))  # fmt: skip
    assert largest(truth) > 1e-3 and difference(ours, truth) < 1e-30


# -------------------------------------------------------------------------------------------------------- parameters


def test_parameters_are_symbols():
    black_hole = to_symbolic(schwarzschild, "t r theta phi", parameters="M")
    M, r = black_hole.parameters[0], black_hole.coordinates[1]
    assert sp.simplify(black_hole.kretschmann_scalar() - 48 * M**2 / r**6) == 0
    assert black_hole.ricci_tensor().applyfunc(sp.simplify) == sp.zeros(4, 4)


def test_parameters_by_name_and_in_order():
    r, theta, M, a = sp.symbols("r theta M a")
    sigma = r**2 + a**2 * sp.cos(theta) ** 2
    both = to_symbolic(kerr, "t r theta phi", parameters="M a")
    assert both.parameters == (M, a)
    assert sp.simplify(both.matrix[0, 0] + 1 - 2 * M * r / sigma) == 0
    assert to_symbolic(kerr, "t r theta phi", parameters="a M").matrix == both.matrix
    one = to_symbolic(kerr, "t r theta phi", parameters=(a,)).matrix[0, 0]
    assert sp.simplify(one + 1 - 2 * r / sigma) == 0
    named_otherwise = to_symbolic(kerr, "t r theta phi", parameters="m b").matrix[0, 0]
    assert named_otherwise == both.matrix[0, 0].subs({M: sp.Symbol("m"), a: sp.Symbol("b")})
    with pytest.raises(ValueError, match=r"calls `__float__` on a value that depends on the point.*not with `math`"):
        to_symbolic(lambda x, M: torch.eye(2) * math.sqrt(M), 2, parameters="M")


def test_digits_with_parameters():
    traced = trace(kerr, 4, parameters="M a")
    x = torch.tensor([0.0, 5.0, 0.8, 0.3, 1.5, 0.5], dtype=DOUBLE)
    numeric = kretschmann_scalar(lambda p: kerr(p, 1.5, 0.5), x[:4])
    assert abs(float(traced.at(x).kretschmann_scalar()) / float(numeric) - 1) < 1e-12
    with pytest.raises(ValueError, match="`point` has 4 numbers, expected 6"):
        traced.at(x[:4])


def test_names():
    flat = lambda x: torch.eye(2) * (1 + x[0] ** 2)  # noqa: E731
    u = sp.Symbol("u", positive=True)
    assert to_symbolic(flat, 2).coordinates == sp.symbols("x0 x1")
    assert to_symbolic(flat, "a, b").matrix[0, 0] == 1 + sp.Symbol("a") ** 2
    assert to_symbolic(flat, (u, "v")).matrix[1, 1] == 1 + u**2
    with pytest.raises(ValueError, match="`coordinates` names 3, expected 2"):
        trace(flat, 2).symbolic("a b c")
    with pytest.raises(ValueError, match=r"`metric` returned shape \(2,\) at one point, expected \(2, 2\)"):
        to_symbolic(lambda x: x, 2)
    with pytest.raises(ValueError, match="not symmetric"):
        to_symbolic(lambda x: torch.eye(2) + torch.outer(x, x**2), 2)


# ---------------------------------------------------------------------------------------------------------- constants


@pytest.mark.parametrize(
    "value, number",
    [
        (0.6, sp.Rational(3, 5)),
        (1e-5, sp.Rational(1, 100000)),
        (2.0, sp.Integer(2)),
        (2 / 3, sp.Rational(2, 3)),
        (-1 / 7, -sp.Rational(1, 7)),
        (math.pi, sp.pi),
        (-3 * math.pi / 4, -3 * sp.pi / 4),
        (1 / math.pi, 1 / sp.pi),
        (math.sqrt(2), sp.sqrt(2)),
        (-math.sqrt(3) / 2, -sp.sqrt(3) / 2),
        (math.sqrt(2 * math.pi), sp.sqrt(2 * sp.pi)),
        (1 / math.sqrt(2 * math.pi), 1 / sp.sqrt(2 * sp.pi)),
        (0.1 + 0.2, sp.Rational(3, 10)),
        (0.1234567890123456, sp.Rational("0.1234567890123456")),
        (math.pi + 1e-14, sp.Rational(repr(math.pi + 1e-14))),
        (torch.tensor(0.1).numpy()[()], sp.Rational(1, 10)),
        (torch.tensor(2.0).sqrt().numpy()[()], sp.sqrt(2)),
        (math.inf, sp.oo),
    ],
    ids=str,
)
def test_numbers_that_floats_stand_for(value, number):
    assert exact(value) == number


def test_constants_are_the_floats_themselves_in_the_digits():
    one = high_precision(lambda x: torch.eye(2) * (1 + 0.1 * x[0] ** 2), X).christoffel()[0, 0, 0]
    c, x = sp.Rational(0.1), sp.Rational(0.3)
    assert abs(one - c * x / (1 + c * x**2)) < 1e-39


# ---------------------------------------------------------------------------------------------------------- networks


class Net(nn.Module):
    """A metric A A^T + 1 with two hidden layers."""

    def __init__(self, n, width, *layers, dtype=DOUBLE):
        super().__init__()
        hidden = (nn.Linear(n, width), *layers, nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.layers = nn.Sequential(*hidden, nn.Linear(width, n * n)).to(dtype)
        self.n = n

    def forward(self, x):
        a = self.layers(x).reshape(self.n, self.n)
        return a @ a.mT + torch.eye(self.n)


@pytest.mark.parametrize("n, width", [(2, 64), (3, 16)])
def test_networks_agree_with_the_numeric_side(n, width):
    net = Net(n, width)
    traced, x = trace(net, n), torch.randn(3, n, dtype=DOUBLE)
    for point, S, R in zip(x, scalar_curvature(net, x), riemann_tensor(net, x), strict=True):
        here = traced.at(point)
        assert abs(float(here.scalar_curvature()) - float(S.detach())) < 1e-9
        assert difference(here.riemann_tensor(), R.detach().tolist()) < 1e-9
    assert traced.functions == 2 * width


def test_networks_agree_with_differences_in_mpmath():
    """Christoffel symbols and second derivatives of the plain function, by central differences in 60 digits."""
    net, x = Net(2, 5), torch.tensor([0.25, -0.5], dtype=DOUBLE)
    weights = [(m.weight.tolist(), m.bias.tolist()) for m in net.layers if isinstance(m, nn.Linear)]

    def g(p):
        for k, (W, b) in enumerate(weights):
            p = [mpmath.fdot(row, p) + c for row, c in zip(W, b, strict=True)]
            p = list(map(mpmath.tanh, p)) if k < 2 else p
        a = mpmath.matrix([p[:2], p[2:]])
        return a * a.T + mpmath.eye(2)

    with mpmath.workdps(60):
        h = mpmath.mpf(10) ** -12
        at = lambda *steps: g([mpmath.mpf(c) + s * h for c, s in zip(x.tolist(), steps, strict=True)])  # noqa: E731
        unit = ((1, 0), (0, 1))
        d = [(at(*e) - at(*(-s for s in e))) / (2 * h) for e in unit]
        first = [(d[j][k, i] + d[i][k, j] - d[k][i, j]) / 2 for k, i, j in itertools.product(range(2), repeat=3)]
        ours = high_precision(net, x).christoffel(kind=1)
        assert max(abs(mpmath.mpf(str(a)) - b) for a, b in zip(sp.flatten(ours), first, strict=True)) < 1e-20
        # R_0101 = d_0 d_1 g_01 - (d_1 d_1 g_00 + d_0 d_0 g_11) / 2 + Gamma Gamma
        mixed = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * h * h)
        second = [(at(*e) - 2 * at(0, 0) + at(*(-s for s in e))) / (h * h) for e in unit]
        inverse = at(0, 0) ** -1
        G = lambda k, i, j: first[4 * k + 2 * i + j]  # noqa: E731
        products = sum(
            inverse[k, m] * (G(k, 0, 1) * G(m, 0, 1) - G(k, 0, 0) * G(m, 1, 1))
            for k, m in itertools.product(range(2), repeat=2)
        )
        curvature = mixed[0, 1] - (second[1][0, 0] + second[0][1, 1]) / 2 + products
        lowered = high_precision(net, x).riemann_tensor("llll")[0, 1, 0, 1]
        assert abs(mpmath.mpf(str(lowered)) - curvature) < 1e-20


def test_small_networks_have_expressions():
    net = Net(2, 2)
    assert_traced(net)
    assert to_symbolic(net, 2).matrix.has(sp.tanh)


def test_weights_are_those_of_the_first_use():
    net = Net(2, 3)
    traced, S = trace(net, 2), high_precision(net, X).scalar_curvature()
    assert traced.at(X).scalar_curvature() == S
    with torch.no_grad():
        net.layers[0].weight += 1
    assert abs(traced.at(X, 30).scalar_curvature() - S) < 1e-25
    assert abs(trace(net, 2).at(X).scalar_curvature() - S) > 1e-3


def test_single_precision_modules():
    """Traced in their own precision, whose numbers are exact."""
    net = Net(2, 4, dtype=torch.float32)
    double = Net(2, 4)
    double.load_state_dict(net.state_dict())
    exactly, ours = high_precision(double, X), trace(net, 2).at(X)
    assert difference(ours.riemann_tensor(), exactly.riemann_tensor()) < 1e-30
    value = to_symbolic(net, 2).matrix.evalf(30, subs=dict(zip(sp.symbols("x0 x1"), floats(X), strict=True)))
    assert difference(value, net(X.float()).tolist()) < 1e-6


torch.manual_seed(0)
ATTENTION = nn.MultiheadAttention(2, 1, batch_first=True).double().eval()
BLOCK = nn.TransformerEncoderLayer(2, 1, 4, activation=torch.tanh, batch_first=True).double().eval()
EMBEDDING = nn.Embedding(3, 2).double()
BATCHED = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Unflatten(1, (2, 2))).double().eval()


def gram(a):
    return a @ a.mT + torch.eye(2)


MODULES = {
    "LayerNorm": lambda x: torch.diag(F.layer_norm(torch.cat([x, x**2]), (4,))[:2] + 3),
    "attention": lambda x: gram(ATTENTION(x * torch.ones(3, 1), x[None] ** 2, x[None])[0][:2]),
    "transformer": lambda x: gram(BLOCK(torch.stack([x, x.sin(), x**2])[None])[0, :2]),
    "embedding": lambda x: torch.diag(EMBEDDING(torch.tensor(1)) * x + 3),
    "batch of one": lambda x: gram(BATCHED(x[None])[0]),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    assert_traced(MODULES[name], symbolic=name != "transformer")


# ------------------------------------------------------------------------------------------- how metrics are written


def spd(x):
    return torch.diag(1.5 + x**2) + 0.3 * torch.outer(x, x) + 0.1 * torch.sin(x[1])


def scatter(x):
    return (torch.zeros(2, 2).scatter_add(0, torch.tensor([[0, 1], [0, 1]]), torch.outer(x, x).exp()) + 3).tril() * (
        torch.eye(2)
    )


def filled(x):
    L = torch.zeros(2, 2)
    L[torch.tril_indices(2, 2)[0], torch.tril_indices(2, 2)[1]] = torch.stack([x[0], x[1], x[0] * x[1]]).exp()
    L *= 2
    L.diagonal().add_(x[0])
    return L @ L.T


W = torch.tensor([[2.0, 0.5], [0.5, 3.0]], dtype=DOUBLE)


def constants_filled(x):
    c = W * 2
    c[0, 0] = 5.0
    c += W[1, 1].item() - float(c[0, 1])
    return c + torch.outer(x, x)


def masks(x):
    m = torch.eye(2, dtype=torch.float32).bool()
    m.logical_not_()
    i = torch.arange(2)
    i += 1
    return torch.outer(x, x) * m + torch.diag(torch.cat([x, x**2])[i] + 4)


WAYS = {
    "custom function, by its operations": lambda x: torch.diag(2 + WrongCube.apply(x) ** 2),
    "constants filled": constants_filled,
    "masks": masks,
    "vectors and constant matrices": lambda x: torch.diag(W @ x + x @ W) + torch.eye(2) * (7 + W[0] @ x + x @ W[1]),
    "hessian of logdet": lambda x: 3 * torch.eye(2)
    - torch.func.hessian(lambda y: torch.logdet(spd(y)))(x),
    "gradient of det": lambda x: torch.eye(2)
    + (lambda d: torch.outer(d, d))(torch.func.jacrev(lambda y: torch.linalg.det(spd(y)))(x)),
    "jacobian of solve": lambda x: gram(torch.func.jacfwd(lambda y: torch.linalg.solve(spd(y), y))(x)),
    "hessian of logsumexp": lambda x: torch.func.hessian(
        lambda y: torch.logsumexp(torch.cat([y, y.new_zeros(1)]), 0))(x),
    "cholesky": lambda x: (lambda L: L + L.T)(torch.linalg.cholesky(spd(x))),
    "upper cholesky": lambda x: (lambda U: U + U.T)(torch.linalg.cholesky(spd(x), upper=True)),
    "triangular": lambda x: spd(torch.linalg.solve_triangular(spd(x).tril(), x[:, None], upper=False)[:, 0]),
    "triangular, right": lambda x: gram(torch.linalg.solve_triangular(spd(x).triu(), spd(x), upper=True, left=False)),
    "cholesky solve": lambda x: (lambda A: A + A.T)(torch.cholesky_solve(spd(x**2), torch.linalg.cholesky(spd(x)))),
    "det 4": lambda x: torch.eye(2) * torch.linalg.det(torch.block_diag(spd(x), spd(2 * x)) + torch.ones(4, 4)),
    "slogdet": lambda x: torch.eye(2) * (torch.linalg.slogdet(spd(x))[1] + 2),
    "inverse": lambda x: torch.linalg.inv(spd(x)),
    "lu solve": lambda x: (lambda A: A + A.T)(torch.linalg.lu_solve(*torch.linalg.lu_factor(spd(x)), spd(x**2))),
    "cross": lambda x: torch.eye(2) * (1 + torch.linalg.cross(
        torch.stack([x[0], x[1], x[0] * 0]), torch.stack([x[1], x[0] ** 2, x[0]])).square().sum()),
    "diagonal exponential": lambda x: torch.linalg.matrix_exp(torch.diag(x)),
    "norm": lambda x: torch.eye(2) * (1 + torch.linalg.norm(x)),
    "square of a norm": lambda x: torch.eye(2) * (1 + torch.linalg.norm(x) ** 2),
    "absolute value": lambda x: torch.eye(2) * (1 + x.abs().sum() + x[0] * torch.sign(x[1])),
    "maximum": lambda x: torch.diag(torch.maximum(x, x**2) + x.amax() + 2 - x.amin() ** 2),
    "clamp": lambda x: torch.diag(torch.clamp(x, -0.5, 0.1) * x + 1),
    "relu": lambda x: torch.diag(F.relu(x) ** 2 + 1),
    "softmax": lambda x: torch.diag(torch.softmax(x, 0)) - torch.diag(torch.log_softmax(x, 0)),
    "powers": lambda x: torch.diag((2 + x) ** x + torch.pow(1.5, x) + (x**2) ** 0.3 + x**-2),
    "sinc": lambda x: torch.diag(torch.sinc(x) ** 2),
    "angles": lambda x: torch.diag(4 + torch.atan2(x, x.flip(0)) + torch.atan2(x.flip(0), x) + torch.hypot(x[0], x[1])),
    "activations": lambda x: torch.diag(4 + F.softplus(x) + torch.sigmoid(x) + F.silu(x) + F.mish(x) + F.logsigmoid(x)),
    "gelu": lambda x: torch.diag(2 + F.gelu(x) + F.gelu(x, approximate="tanh")),
    "functions": lambda x: torch.diag(
        9 + torch.erf(x) + torch.log1p(x) + torch.expm1(x) + torch.asin(x) + torch.atan(x) + torch.sinh(x)
        + torch.acosh(2 + x) + torch.atanh(x) + torch.asinh(x) + torch.lgamma(2 + x) + torch.rsqrt(2 + x) + torch.tan(x)
        + torch.log2(2 + x) + torch.exp2(x) + torch.special.i0(x) + torch.digamma(2 + x) + torch.logaddexp(x, x**2)),
    "statistics": lambda x: torch.eye(2) * (1 + torch.std(torch.cat([x, x**2])) + torch.var(x) + x.mean() ** 2),
    "running": lambda x: torch.diag(2 + torch.cumsum(x, 0) + torch.cumprod(x, 0) + x.prod()),
    "vmap": lambda x: torch.diag(torch.func.vmap(lambda c: c.sin() ** 2 + 1)(x)),
    "einsum": lambda x: torch.eye(2) + torch.einsum("i,j,k,k->ij", x, x, x, x),
    "indices": lambda x: torch.diag(x[[1, 0]] ** 2 + 1) + torch.outer(x, x).masked_fill(torch.eye(2) > 0, 3.0),
    "shapes": lambda x: torch.outer(x.flip(0), x.roll(1)).T.reshape(4)[None].repeat(2, 1)[0].view(2, 2).triu().tril()
    + 2 * torch.eye(2) + F.pad(x[:1] ** 2, (0, 1))[None].expand(2, 2).diagonal().diag_embed(),
    "scatter": scatter,
    "filled": filled,
    "a removable singularity": lambda x: torch.eye(2) * torch.where(x[0] == 0, 1.0, torch.sin(x[0]) / x[0]),
    "fresh": lambda x: torch.eye(2) * x.new_full((), 3.0) + torch.outer(x, x) * torch.linspace(1, 2, 3)[1],
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_ways_of_writing(name):
    assert_traced(WAYS[name])


DIGITS_ONLY = {
    "matrix exponential": lambda x: torch.linalg.matrix_exp(spd(x)),
    "where": lambda x: torch.eye(2) * torch.where(x[0] > 0, 1 + x[0] ** 2, x[0]),
    "elu": lambda x: torch.diag(2 + F.elu(x) * x),
    "leaky relu": lambda x: torch.diag(2 + F.leaky_relu(x) * x),
}


@pytest.mark.parametrize("name", DIGITS_ONLY)
def test_ways_that_have_numbers_only(name):
    assert_traced(DIGITS_ONLY[name], symbolic=False)
    with pytest.raises(ValueError, match="chooses by x. > 0 between two expressions|a matrix that is not diagonal"):
        to_symbolic(DIGITS_ONLY[name], 2)


def test_kinks_have_no_derivatives():
    x = torch.tensor([0.0, 0.5], dtype=DOUBLE)
    kinked = high_precision(lambda x: torch.eye(2) * (1 + x[0].abs()), x)
    assert kinked.christoffel()[0, 0, 0] is sp.nan
    smooth = high_precision(lambda x: torch.eye(2) * (1 + torch.linalg.norm(x * x.new_tensor([1.0, 0])) ** 2), x)
    assert float(smooth.scalar_curvature()) == pytest.approx(-2 * 1.0)


def test_digits_say_where_a_metric_is_none():
    with pytest.raises(ValueError, match=r"`metric` is not finite and real at \[-1\.0, 2\.0\]"):
        high_precision(lambda x: torch.eye(2) * torch.log(x[0]), torch.tensor([-1.0, 2.0]))
    with pytest.raises(ValueError, match=r"`metric` is not symmetric at \[0\.3, -0\.7\]"):
        high_precision(lambda x: torch.eye(2) + torch.outer(x, x**2), X)


# ---------------------------------------------------------------------------------------------------------- refusals


REFUSALS = {
    "eigh": (lambda x: torch.linalg.eigh(spd(x)).eigenvectors, "calls `linalg_eigh`, which has no exact form"),
    "svd": (lambda x: torch.linalg.svd(spd(x))[0], "calls `linalg_svd`, which has no exact form"),
    "complex eigenvectors": (
        lambda x: torch.eye(2) * torch.linalg.eigvalsh(torch.diag(x) * (1 + 0j))[0],
        "calls .*(linalg_eigh|makes complex numbers)",
    ),
    "random": (lambda x: torch.eye(2) * torch.rand(()), "calls `rand`"),
    "branch": (lambda x: torch.eye(2) * (x[0] if x[0] > 0 else 1), "calls `__bool__`.*use `torch.where`"),
    "float": (lambda x: torch.eye(2) * float(x[0]), "calls `__float__`.*torch functions"),
    "sort": (lambda x: torch.diag(torch.sort(x).values), "calls `sort`, which has no exact form"),
    "floor": (lambda x: torch.eye(2) * (1 + torch.floor(x[0])), "calls `floor`, which has no exact form"),
    "integers": (lambda x: torch.eye(2) * x[0].long(), "calls `to_copy`.*integers of coordinates"),
    "detach": (lambda x: torch.eye(2) * x[0].detach(), "calls `detach`"),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize(
    "route", [lambda f: to_symbolic(f, 2), lambda f: high_precision(f, X)], ids=["symbols", "digits"]
)
def test_refused_by_name(name, route):
    f, message = REFUSALS[name]
    with pytest.raises(ValueError, match=f"(?s)^the metric.*{message}"):
        route(f)


@pytest.mark.parametrize("f", [
    lambda x: torch.eye(2) * torch.exp(1j * x[0]).real, lambda x: torch.eye(2) * torch.view_as_complex(x).abs()
])  # fmt: skip
def test_expressions_have_no_complex_numbers(f):
    with pytest.raises(ValueError, match="which makes complex numbers"):
        to_symbolic(f, 2)


def test_numbers_of_conditions_are_refused():
    with pytest.raises(ValueError, match="calls `to_copy`, which makes numbers of whether something holds"):
        to_symbolic(lambda x: torch.eye(2) * (1 + (x[0] > 0).to(x.dtype)), 2)


# ------------------------------------------------------------------------------------------------- random compositions

UNARY = {
    "sin": torch.sin, "cos": torch.cos, "tanh": torch.tanh, "exp of a bounded": lambda y: torch.exp(torch.sin(y)),
    "square": torch.square, "root": lambda y: torch.sqrt(1 + y * y), "log": lambda y: torch.log(2 + torch.cos(y)),
    "inverse": lambda y: 1 / (2 + torch.sin(y)), "atan": torch.atan, "sigmoid": torch.sigmoid,
}  # fmt: skip
BINARY = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": lambda a, b: a / (1 + b * b)}


def composition(steps):
    """A metric from a list of operations, each on two of the values so far."""

    def g(x):
        values = [x[0], x[1]]
        for unary, binary, i, j in steps:
            values.append(BINARY[binary](UNARY[unary](values[i % len(values)]), values[j % len(values)]))
        a, b = values[-1], values[-2]
        rows = [[2 + torch.sin(a) ** 2, torch.cos(b) / 3], [torch.cos(b) / 3, 2 + torch.tanh(a * b)]]
        return torch.stack([torch.stack(row) for row in rows])

    return g


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(sorted(UNARY)), st.sampled_from(sorted(BINARY)), st.integers(0, 9),
                          st.integers(0, 9)), min_size=2, max_size=4))  # fmt: skip
def test_random_compositions(steps):
    metric = composition(steps)
    assert_traced(metric, symbolic=False)
    values = to_symbolic(metric, 2).matrix.evalf(30, subs=dict(zip(sp.symbols("x0 x1"), floats(X), strict=True)))
    ours = torch.tensor([[float(e) for e in row] for row in values.tolist()], dtype=DOUBLE)
    torch.testing.assert_close(ours, metric(X), rtol=1e-13, atol=1e-13)
