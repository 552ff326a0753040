"""The arithmetic of jets: derivatives of functions however they are written, against independent values."""

import functools
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from riemann import (
    _jets,
    bridge,
    check_metric,
    christoffel,
    christoffel_vector,
    jet,
    ricci_curvature,
    scalar_curvature,
    sectional_curvature,
    volume_element,
)

D = torch.float64
X = torch.tensor([[0.31, 0.72, 0.55], [0.64, 0.35, 0.9]], dtype=D)


def tensor(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=D)


# ---------------------------------------------------------------------- functions of one number, against 20 digits

FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Any], Any]]] = {
    "tanh": (torch.tanh, mpmath.tanh),
    "softplus": (F.softplus, lambda x: mpmath.log(1 + mpmath.exp(x))),
    "mish": (F.mish, lambda x: x * mpmath.tanh(mpmath.log(1 + mpmath.exp(x)))),
    "silu": (F.silu, lambda x: x / (1 + mpmath.exp(-x))),
    "gelu": (F.gelu, lambda x: x * mpmath.ncdf(x)),
    "erf": (torch.erf, mpmath.erf),
    "erfcx": (torch.special.erfcx, lambda x: mpmath.exp(x**2) * mpmath.erfc(x)),
    "log_ndtr": (lambda x: torch.special.log_ndtr(-x), lambda x: mpmath.log(mpmath.ncdf(-x))),
    "log_ndtr, above": (lambda x: torch.special.log_ndtr(x / 4), lambda x: mpmath.log(mpmath.ncdf(x / 4))),
    "lgamma": (torch.lgamma, lambda x: mpmath.log(abs(mpmath.gamma(x)))),
    "digamma": (torch.digamma, lambda x: mpmath.psi(0, x)),
    "trigamma": (functools.partial(torch.polygamma, 1), lambda x: mpmath.psi(1, x)),
    "j0": (torch.special.bessel_j0, lambda x: mpmath.besselj(0, x)),
    "j1": (torch.special.bessel_j1, lambda x: mpmath.besselj(1, x)),
    "y1": (torch.special.bessel_y1, lambda x: mpmath.bessely(1, x)),
    "i0": (torch.special.i0, lambda x: mpmath.besseli(0, x)),
    "i1": (torch.special.i1, lambda x: mpmath.besseli(1, x)),
    "i0e": (torch.special.i0e, lambda x: mpmath.exp(-x) * mpmath.besseli(0, x)),
    "i1e": (torch.special.i1e, lambda x: mpmath.exp(-x) * mpmath.besseli(1, x)),
    "k0": (torch.special.modified_bessel_k0, lambda x: mpmath.besselk(0, x)),
    "k1": (torch.special.modified_bessel_k1, lambda x: mpmath.besselk(1, x)),
    "k1 scaled": (torch.special.scaled_modified_bessel_k1, lambda x: mpmath.exp(x) * mpmath.besselk(1, x)),
    "sinc": (lambda x: torch.sinc(x / 9), lambda x: mpmath.sincpi(x / 9)),
    "acosh": (lambda x: torch.acosh(1 + x), lambda x: mpmath.acosh(1 + x)),
    "x ** x": (lambda x: x**x, lambda x: x**x),
    "logit": (lambda x: torch.logit(x / 40), lambda x: mpmath.log(x / 40 / (1 - x / 40))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_number(name: str) -> None:
    f, exact = FUNCTIONS[name]
    x = tensor(0.3, 1.7, 5.2, 21.0)[:, None]
    jets = jet(lambda x: f(x[0]), x, 3)
    with mpmath.workdps(20):
        rows = [mpmath.taylor(exact, mpmath.mpf(float(v)), 3) for v in x]
        truth = torch.tensor([[float(c * mpmath.factorial(k)) for k, c in enumerate(row)] for row in rows], dtype=D)
    for k, values in enumerate(jets):
        scale = truth[:, k].abs() + 1e-3 * truth[:, 0].abs()
        assert ((values.reshape(-1) - truth[:, k]).abs() <= 1e-10 * scale).all(), (k, values, truth[:, k])


# --------------------------------------------------------- what a function differentiates itself, against our own jets


def spd(x: Tensor) -> Tensor:
    return torch.eye(3) * (1.5 + x[0] ** 2) + 0.3 * torch.outer(x, x) + 0.1 * torch.sin(x[1])


def module(layer: nn.Module) -> nn.Module:
    return layer.double().eval().requires_grad_(False)


torch.manual_seed(0)
NORM, GRU, BATCH = module(nn.LayerNorm(3)), module(nn.GRUCell(3, 3)), module(nn.BatchNorm1d(3))
ATTENTION = module(nn.MultiheadAttention(4, 2, batch_first=True))
ENCODER = module(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, activation="gelu"))


def tokens(x: Tensor) -> Tensor:
    return torch.stack([x[0], x[1], x[2], x[0] * x[1]]).view(1, 2, 2).repeat(1, 1, 2)


def filled(x: Tensor) -> Tensor:
    g = torch.zeros(2, 2)
    g[0, 0], g[1, 0] = x[0] ** 2, x[1] * x[2]
    return (g @ g.T + g).sum() ** 2


SCALARS: dict[str, Callable[[Tensor], Tensor]] = {
    "det": lambda x: torch.linalg.det(spd(x)),
    "logdet": lambda x: torch.logdet(spd(x)),
    "solve": lambda x: torch.linalg.solve(spd(x), x)[0],
    "inv": lambda x: torch.linalg.inv(spd(x)).sum(),
    "cholesky": lambda x: torch.linalg.cholesky(spd(x)).sum(),
    "cholesky_solve": lambda x: torch.cholesky_solve(x[:, None], torch.linalg.cholesky(spd(x))).sum(),
    "lu_solve": lambda x: torch.linalg.lu_solve(*torch.linalg.lu_factor(spd(x)), x[:, None]).sum(),
    "eigvalsh": lambda x: torch.linalg.eigvalsh(spd(x) + torch.diag(x * torch.arange(3)))[0],
    "qr": lambda x: torch.linalg.qr(spd(x)).R[0, 1],
    "matrix_exp": lambda x: torch.linalg.matrix_exp(spd(x) * 0.3).sum(),
    "pinv": lambda x: torch.linalg.pinv(spd(x)).sum(),
    "layer norm": lambda x: NORM(x * x)[0],
    "batch norm": lambda x: BATCH(x[None]).sin().sum(),
    "instance norm": lambda x: F.instance_norm(torch.stack([x * x, x.sin()])[None], weight=x[:2]).sin().sum(),
    "attention": lambda x: ATTENTION(*[tokens(x)] * 3)[0].sum(),
    "gru": lambda x: GRU(x[None], x.sin()[None]).sum(),
    "softmax": lambda x: torch.softmax(x * x, 0)[0],
    "logsumexp": lambda x: torch.logsumexp(x * x, 0),
    "convolution": lambda x: F.conv1d(x.view(1, 1, 3), x[:2].view(1, 1, 2)).square().sum(),
    "filling": filled,
    "fft": lambda x: torch.fft.rfft(x).abs().square().sum() ** 2,
    "complex": lambda x: (torch.complex(x[0], x[1]) ** 3).abs() * x[2],
    "kron": lambda x: torch.kron(spd(x), spd(x)).sin().sum(),
    "interpolation": lambda x: F.interpolate(x.view(1, 1, 3), 5, mode="linear").sin().sum(),
    "cdist": lambda x: torch.cdist(x[None], x.flip(0)[None] * 2).sum(),
    "lgamma": lambda x: torch.lgamma(x).sum() * x[0],
}


def by_autograd(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def hessian(x: Tensor) -> Tensor:
        y = x.clone().requires_grad_()
        (df,) = torch.autograd.grad(f(y), y, create_graph=True)
        return torch.stack([torch.autograd.grad(d, y, create_graph=True)[0] for d in df])

    return hessian


INNER: dict[str, tuple[Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]], int]] = {
    "jacfwd": (torch.func.jacfwd, 1),
    "jacrev": (torch.func.jacrev, 1),
    "hessian": (torch.func.hessian, 2),
    "autograd": (by_autograd, 2),
}


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("name", SCALARS)
def test_inner_derivatives(name: str, inner: str) -> None:
    """Our derivatives of the user's derivatives of f are our derivatives of f."""
    transform, order = INNER[inner]
    values = jet(transform(SCALARS[name]), X, 2)
    truth = jet(SCALARS[name], X, order + 2)[order:]
    for value, true in zip(values, truth, strict=True):
        assert_close(value, true, rtol=1e-8, atol=1e-8 * float(true.abs().max()))


def test_third_forward_derivatives_of_a_gradient() -> None:
    """Tangents that torch knows to be 0 have no memory."""
    D3 = lambda f: torch.func.jacfwd(torch.func.jacfwd(torch.func.jacfwd(f)))
    y = jet(D3(torch.func.grad(lambda y: torch.log(y[0]) * y[1])), X[:, :2], 1)[0]
    assert_close(y[:, 0, 0, 0, 0], -6 * X[:, 1] / X[:, 0] ** 4)


# ------------------------------------------------------------------------------------------ singular determinants


def cofactors(A: Tensor) -> Tensor:
    if A.shape[-1] == 1:
        return A[0, 0]
    return sum((-1) ** j * A[0, j] * cofactors(torch.cat([A[1:, :j], A[1:, j + 1 :]], 1)) for j in range(A.shape[-1]))


@pytest.mark.parametrize("n", [4, 5, 6])
@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5, 6])
def test_determinants_of_singular_matrices(n: int, rank: int) -> None:
    g = torch.Generator().manual_seed(n + 10 * rank)
    U, V = (torch.randint(-3, 4, (n, min(rank, n)), generator=g).double() for _ in "UV")
    B, C = (torch.randn(n, n, generator=g, dtype=D) for _ in "BC")
    A = lambda x: U @ V.T + x[0] * B + x[1] ** 2 * C + x[0] * x[1] * C.T
    x = torch.zeros(1, 2, dtype=D)
    for value, true in zip(
        jet(lambda x: torch.linalg.det(A(x)), x, 3), jet(lambda x: cofactors(A(x)), x, 3), strict=True
    ):
        assert_close(value, true, rtol=1e-9, atol=1e-9)


def test_products_with_zero_factors() -> None:
    x = tensor(0.0, 0.5, 0.7)
    for f in (torch.prod, lambda x: x.cumprod(0)[-1], lambda x: torch.prod(x.view(1, 3), 1)[0]):
        for value, true in zip(jet(f, x, 3), jet(lambda x: x[0] * x[1] * x[2], x, 3), strict=True):
            assert_close(value, true)


# ---------------------------------------------------------------------------------------------- kinks by other names

KNOTS, TABLE = tensor(0.0, 0.5, 1.0, 2.0), tensor(1.0, 3.0, 2.0, 5.0)
AT_A_KINK: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "searchsorted": (lambda x: TABLE[torch.searchsorted(KNOTS, x[:1])][0] * x[0], 0.5),
    "bucketize": (lambda x: TABLE[torch.bucketize(x[0], KNOTS)] * x[0], 1.0),
    "argmax": (lambda x: TABLE[torch.argmax(torch.stack([x[0], x[0] * 0 + 0.5]))] * x[0], 0.5),
    "argsort": (lambda x: TABLE[torch.argsort(torch.stack([x[0], 1 - x[0]]))][0] * x[0], 0.5),
    "sort": (lambda x: torch.stack([x[0] ** 2, 1 - x[0]])[torch.stack([x[0], 1 - x[0]]).sort().indices][0], 0.5),
    "long": (lambda x: TABLE[x.long()][0] * x[0], 1.0),
    "int()": (lambda x: x[0] * x[0].to(torch.int32), 2.0),
    "floor division": (lambda x: torch.div(x[0], 0.5, rounding_mode="floor") * x[0], 1.5),
    "//": (lambda x: (x[0] // 0.5) * x[0], 1.5),
    "gt by keyword": (lambda x: torch.where(torch.gt(input=x[0], other=0.5), x[0], 0.0), 0.5),
    "mask in a list": (lambda x: torch.stack([x[0] > 0.5, x[0] > 9]).to(x.dtype).sum() * x[0], 0.5),
    "mask as a factor": (lambda x: x[0] * (x[0] > 0.5), 0.5),
    "isclose": (lambda x: torch.where(torch.isclose(x[0], x[0] * 0, rtol=0.0, atol=0.5), x[0], 2.0), 0.5),
    "signbit": (lambda x: torch.where(torch.signbit(x[0]), x[0], 2.0), 0.0),
    "heaviside": (lambda x: torch.heaviside(x[0] - 1, tensor(0.5)[0]) * x[0], 1.0),
    "median": (lambda x: torch.median(torch.stack([x[0] ** 2, x[0], x[0] * 3])), 1.0),
    "lookup by a position": (lambda x: TABLE[torch.searchsorted(KNOTS, x[0])] * x[0], 0.5),
}


@pytest.mark.parametrize("name", AT_A_KINK)
def test_kinks_by_other_names(name: str) -> None:
    """At a kink no derivative is a number; beside it they are those of the function."""
    f, at = AT_A_KINK[name]
    assert jet(f, tensor(at), 1)[1].isnan().all()
    for x in (at - 0.2, at + 0.2):
        h = 1e-4
        slope = (f(tensor(x + h)) - f(tensor(x - h))) / (2 * h)
        assert_close(jet(f, tensor(x), 1)[1][0], slope, rtol=1e-6, atol=1e-6)


def over(x: Tensor) -> Tensor:
    return 1 / (x[0] - 0.5)


def ratio(x: Tensor) -> Tensor:
    return torch.sin(x[0] - 0.5) / (x[0] - 0.5)


REPLACED: dict[str, Callable[[Tensor], Tensor]] = {
    "nan_to_num": lambda x: torch.nan_to_num(ratio(x), nan=1.0),
    "isnan": lambda x: torch.where(torch.isnan(ratio(x)), 1.0, ratio(x)),
    "isfinite": lambda x: torch.where(ratio(x).isfinite(), ratio(x), 1.0),
    "isinf": lambda x: over(x).masked_fill(over(x).isinf(), 1.0),
    "not equal to itself": lambda x: torch.where(ratio(x) != ratio(x), 1.0, ratio(x)),
    "nansum": lambda x: torch.nansum(torch.stack([ratio(x), x[0]])),
    "nanmean": lambda x: torch.nanmean(torch.stack([ratio(x), x[0]])),
    "nanquantile": lambda x: torch.nanquantile(torch.stack([ratio(x), x[0]]), 0.5),
    "clamp": lambda x: over(x).clamp(-9.0, 9.0),
    "minimum": lambda x: torch.minimum(over(x), x[0]),
    "min": lambda x: torch.stack([over(x), x[0]]).min(),
    "sort": lambda x: torch.stack([over(x), x[0]]).sort().values[0],
    "sign": lambda x: torch.sign(over(x)) * x[0],
    "signbit": lambda x: torch.where(torch.signbit(over(x)), x[0], 2.0),
    "copysign": lambda x: torch.copysign(x[0], over(x)),
    "bucketize": lambda x: TABLE[torch.bucketize(over(x), KNOTS[:2])] * x[0],
    "an infinite slope beside a constant": lambda x: torch.where(x[0] > 0.5, (x[0] - 0.5) ** 0.5, 0.0),
}


@pytest.mark.parametrize("name", REPLACED)
def test_what_replaces_an_infinite_value_tells_no_derivatives(name: str) -> None:
    """Nor what is decided by it: a function need not be continuous there."""
    f = REPLACED[name]
    value, slope = jet(f, tensor([0.5], [0.8]), 1)
    assert value.isfinite().all() and slope[0].isnan().all()
    h = 1e-4
    assert_close(slope[1, 0], (f(tensor(0.8 + h)) - f(tensor(0.8 - h))) / (2 * h), rtol=1e-6, atol=1e-6)


def test_infinite_constants_may_be_replaced() -> None:
    hidden = tensor(-torch.inf, 0.0)
    for f, g in (
        (
            lambda x: torch.softmax(torch.cat([x, hidden]), 0)[0],
            lambda x: torch.softmax(torch.cat([x, hidden[1:]]), 0)[0],
        ),
        (lambda x: torch.cat([x, hidden]).nan_to_num().amax() ** 3, lambda x: x[0] ** 3),
        (lambda x: torch.cat([x, hidden]).sort().values[2] ** 3, lambda x: x[0] ** 3),
        (lambda x: x[0].clamp(max=torch.inf) ** 3, lambda x: x[0] ** 3),
    ):
        assert_close(jet(f, tensor(0.7), 3), jet(g, tensor(0.7), 3))


def test_branches_that_agree_are_no_kinks() -> None:
    f = lambda x: torch.where(x[0] < 1, x[0] ** 2, 2 * x[0] - 1)  # with one derivative, not with two
    _, df, ddf = jet(f, tensor(1.0), 2)
    assert_close(df, tensor(2.0))
    assert ddf.isnan().all()


def test_reverse_mode_knows_kinks() -> None:
    """Matrix-free curvature takes gradients, too."""
    g = lambda x: torch.diag(2 + x.abs() * x.flip(0) ** 2)
    x, u = tensor(0.0, 1.0), tensor(1.0, 0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert christoffel_vector(g, x, u, u).isnan().any()
        assert ricci_curvature(g, x, u).isnan()
    assert christoffel(g, x + 0.1).isfinite().all()


# --------------------------------------------------------------------- kinks of what vanishes with its derivatives

FLAT: dict[str, Callable[[Tensor], Tensor]] = {
    "a jump": lambda x: torch.where(x**2 > 0, 2 + x, 1 + x),
    "a kink": lambda x: torch.where(x**2 > 0, 1 + x, 1 - x),
    "at another point": lambda x: torch.where((x + 0.0) ** 4 > 0, 1 + x, 1 - x),
    "of high degree": lambda x: torch.where(x**6 > 0, 1 + x, 1 - x),
    "by rounding": lambda x: torch.where(torch.cosh(x) > 1, 1 + x, 1 - x),
    "equality": lambda x: torch.where(x**2 == 0, 1 + x, 1 - x),
    "any": lambda x: torch.where((torch.stack([x, x]) ** 2 > 0).any(), 1 + x, 1 - x),
    "mask as a factor": lambda x: (1 + x) * (x**2 > 0),
    "isclose": lambda x: torch.where(torch.isclose(x**2, 0 * x, atol=0.0, rtol=0.0), 1 + x, 1 - x),
    "signbit": lambda x: torch.where(torch.signbit(-(x**2)), 1 + x, 1 - x),
    "sign": lambda x: torch.sign(x**2) * (1 + x),
    "heaviside": lambda x: torch.heaviside(x**2, torch.zeros_like(x)) * (1 + x),
    "floor": lambda x: torch.floor(-(x**2)) * (1 + x),
    "long": lambda x: torch.stack([1 + x, 1 - x])[(1 - x**2).long()],
    "remainder": lambda x: torch.remainder(1 - x**2, 1.0),
    "searchsorted": lambda x: torch.stack([1 + x, 1 - x])[torch.searchsorted(tensor(0.0), x**2)],
    "argmax": lambda x: torch.stack([1 + x, 1 - x])[torch.argmax(torch.stack([0 * x, x**2]))],
    "argsort": lambda x: torch.stack([1 + x, 1 - x])[torch.argsort(torch.stack([0 * x, -(x**2)]))[0]],
    "branch cut": lambda x: torch.atan2(x**2, 0 * x - 1) * (1 + x),
    "root": lambda x: torch.sqrt(x**2),
    "root of a root": lambda x: (x**4) ** 0.25,
    "root of what cancels": lambda x: torch.sqrt(1 - torch.cos(x) ** 2),
    "eigenvector": lambda x: torch.linalg.eigh(torch.diag(torch.stack([x**2, -(x**2)])))[1][0, 0].square() * (2 + x),
}


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("order", [1, 2])
def test_what_vanishes_with_its_derivatives_is_no_constant(name: str, order: int) -> None:
    f = lambda x: FLAT[name](x[0])
    assert jet(f, tensor(0.0), order)[1].isnan().all()
    assert torch.func.vmap(lambda x: jet(f, x, order)[1])(tensor([0.0], [0.5]))[:, 0].isnan().tolist() == [True, False]
    h = 1e-4
    slope = (f(tensor(0.3 + h)) - f(tensor(0.3 - h))) / (2 * h)
    assert_close(jet(f, tensor(0.3), order)[1][0], slope, rtol=1e-6, atol=1e-6)


def bent(x: Tensor) -> Tensor:
    """With a kink at x[0] = 0, where the condition vanishes with three derivatives."""
    return torch.where(x[0] ** 4 > 0, x[0], -x[0]) * (1 + x[1] ** 3) + (x**4).sum()


by_torch = lambda f: lambda x: torch.func.grad(f)(x)[1]
by_jets = lambda f: lambda x: jet(f, x, 1)[1][1]


@pytest.mark.parametrize("f", [
    by_torch(by_torch(bent)),
    by_torch(by_torch(by_torch(bent))),
    lambda x: torch.func.hessian(bent)(x)[1, 1],
    lambda x: torch.func.jacfwd(torch.func.jacfwd(bent))(x)[1, 1],
    by_jets(by_jets(bent)),
    by_jets(by_torch(bent)),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*not finite")
def test_kinks_inside_derivatives_of_derivatives(f: Callable[[Tensor], Tensor]) -> None:
    metric = lambda x: torch.eye(2, dtype=D) * (9 + f(x))
    assert scalar_curvature(metric, tensor([0.0, 0.4], [0.3, 0.4])).isnan().tolist() == [True, False]


def test_a_norm_that_vanishes_with_its_slope_has_no_known_curvature() -> None:
    f = lambda x: torch.linalg.norm(torch.stack([x[0] ** 2, x[0] ** 2]))  # sqrt 2 x², whose second derivative is not 0
    assert jet(f, tensor(0.0), 2)[2].isnan().all()
    conformal = lambda x: torch.eye(2, dtype=D) * (1 + f(x))
    for quantity in (scalar_curvature, christoffel):
        with pytest.warns(UserWarning, match="not finite"):
            assert quantity(conformal, tensor(0.0, 0.3)).isnan().any()


@pytest.mark.parametrize("f", [
    lambda x: torch.relu(x**2),
    lambda x: torch.abs(x**3),
    lambda x: torch.clamp(-(x**2), min=0),
    lambda x: torch.where(x**2 > 0, torch.cos(x), torch.ones_like(x)),
    lambda x: torch.maximum(x**3, 2 * x**3),
])  # fmt: skip
def test_where_branches_that_vanish_agree_there_are_derivatives(f: Callable[[Tensor], Tensor]) -> None:
    assert_close(jet(lambda x: f(x[0]), tensor(0.0), 1)[1], tensor(0.0))


@pytest.mark.parametrize("f", [
    lambda x: torch.where(0 * x > 0, 1 + x, 1 - x),
    lambda x: torch.where(torch.tanh(x) - torch.tanh(x) >= 0, 1 - x, 1 + x),
    lambda x: torch.relu(torch.tanh(x) * 0) - x,
    lambda x: torch.linalg.norm(torch.stack([x, x]) * 0) - x,
])  # fmt: skip
def test_constants_that_are_computed_are_constants(f: Callable[[Tensor], Tensor]) -> None:
    assert_close(jet(lambda x: f(x[0]), tensor(0.0), 1)[1], tensor(-1.0))


# ------------------------------------------------------------------------------------- however it is written


@torch.jit.ignore
def _nothing() -> None: ...


with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    @torch.jit.script
    def ball(x: Tensor) -> Tensor:
        factor = 4.0 / (1.0 - (x * x).sum()) ** 2
        if bool(factor.dim() == 0):
            factor = factor + torch.logdet(torch.eye(3, dtype=x.dtype) + torch.outer(x, x)) * 0.0
        return torch.eye(3, dtype=x.dtype) * factor

    @torch.jit.script
    def branching(x: Tensor) -> Tensor:
        return torch.diag(x) if bool(x[0] > 0.5) else torch.diag(x * x)


class Cube(torch.autograd.Function):
    """Whose gradient is wrong: what its forward computes is differentiated, and not what it says."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x**3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


WRITTEN: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "keywords": (lambda x: torch.mul(input=x, other=torch.square(input=x)), lambda x: x**3),
    "torch.ops": (lambda x: torch.ops.aten.sin.default(x), torch.sin),
    "custom function": (Cube.apply, lambda x: x**3),
    "vander": (lambda x: torch.linalg.vander(x, N=4)[:, 3], lambda x: x**3),
    "tensordot": (lambda x: torch.tensordot(spd(x), x, dims=1), lambda x: spd(x) @ x),
    "cov": (lambda x: torch.cov(torch.stack([x, x**2]))[0, 1], lambda x: ((x - x.mean()) * x**2).sum() / 2),
    "cross": (lambda x: torch.cross(x, x**2, dim=0)[0], lambda x: x[1] * x[2] ** 2 - x[2] * x[1] ** 2),
    "no_grad": (lambda x: _without_gradients(x), lambda x: x**2),
    "in place": (lambda x: x.clone().mul_(x).add_(1, alpha=2).pow_(2), lambda x: (x * x + 2) ** 2),
    "views": (lambda x: _through_views(x), lambda x: torch.stack([x[0] ** 2, 3 * x[1] * x[0] ** 2, x[2]])),
    "Hermitian": (lambda x: _hermitian(x), lambda x: torch.outer(x, x) * 2 + torch.outer(x**2, x**2)),
}  # fmt: skip


def _without_gradients(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x * x


def _through_views(x: Tensor) -> Tensor:
    y = x.clone()
    z = y[:2]
    w = z.view(2, 1)
    w[0, 0] = x[0] ** 2
    z[1] *= 3 * y[0]
    return y


def _hermitian(x: Tensor) -> Tensor:
    A = torch.complex(torch.stack([x, x], 1), torch.stack([x**2, 0 * x], 1))
    return (A @ A.mH).real


@pytest.mark.parametrize("name", WRITTEN)
def test_however_it_is_written(name: str) -> None:
    f, plain = WRITTEN[name]
    for value, true in zip(jet(f, X, 3), jet(plain, X, 3), strict=True):
        assert_close(value, true, rtol=1e-12, atol=1e-12)


def test_scripts() -> None:
    x, u, v = tensor(0.1, 0.2, 0.3), tensor(1.0, 0.2, 0.0), tensor(0.0, 1.0, -1.0)
    assert_close(scalar_curvature(ball, x), tensor(-6.0)[0])
    assert_close(sectional_curvature(ball, x, u, v), tensor(-1.0)[0])
    assert_close(float(bridge.high_precision(ball, x).scalar_curvature()), -6.0)
    assert check_metric(ball, X[:, :3] / 4).ok


def test_custom_functions_of_given_vectors() -> None:
    """What their forward computes is differentiated: along vectors, backwards in many dimensions, and in blocks."""
    for n in (3, 18):
        x = torch.linspace(0.1, 0.9, n, dtype=D)
        g, true = (lambda x, c=c: torch.diag(1 + c(x + x.roll(1))) for c in (Cube.apply, lambda y: y**3))
        assert_close(ricci_curvature(g, x, x), ricci_curvature(true, x, x))
        assert_close(christoffel_vector(g, x, x, x), christoffel_vector(true, x, x, x))
        assert_close(scalar_curvature(g, x), scalar_curvature(true, x))


def test_constants_that_are_kept() -> None:
    """A cached constant is a plain tensor, in riemann, afterwards and in riemann again."""

    @functools.lru_cache
    def eye(n: int) -> Tensor:
        return torch.eye(n, dtype=D)

    g = lambda x: eye(3) * (1 + x @ x)
    first = scalar_curvature(g, X)
    assert type(eye(3)) is Tensor
    assert_close(scalar_curvature(g, X), first)
    assert_close(g(X[0])[0, 0], 1 + X[0] @ X[0])


def test_changes_are_seen() -> None:
    """Nothing is recorded: a changed closure, parameter or hook is a changed metric."""
    scale, layer = {"a": 1.0}, nn.Linear(3, 3).double().requires_grad_(False)
    g = lambda x: torch.diag(1 + scale["a"] * layer(x) ** 2)
    values = [volume_element(g, X)]
    scale["a"] = 2.0
    values.append(volume_element(g, X))
    layer.weight.mul_(2)
    values.append(volume_element(g, X))
    handle = layer.register_forward_hook(lambda module, inputs, output: output + 1)
    values.append(volume_element(g, X))
    handle.remove()
    assert_close(volume_element(g, X), values[2])
    assert all(not torch.allclose(a, b) for a, b in zip(values, values[1:], strict=False))


def test_riemann_inside_riemann() -> None:
    """The curvature of a metric made of curvature: jets of jets, which do not mix."""
    h = lambda y: torch.diag(torch.stack([1 + y[0] ** 2, torch.exp(y[1]), 2 + torch.sin(y[2])]))

    def g(x: Tensor) -> Tensor:
        inner = scalar_curvature(lambda y: h(y) + 0.1 * torch.outer(x, y) + 0.1 * torch.outer(y, x), 0.5 * x)
        return torch.eye(3, dtype=D) * (2 + inner)

    with torch.no_grad():
        values = jet(g, X, 1)
        step = 1e-5
        for k, e in enumerate(torch.eye(3, dtype=D)):
            slope = torch.stack([(g(x + step * e) - g(x - step * e)) / (2 * step) for x in X])
            assert_close(values[1][..., k], slope, rtol=1e-6, atol=1e-6)


def test_parts_of_complex_numbers_are_written_inside_transforms() -> None:
    """As torch makes `polar`."""
    metric = lambda x: torch.diag(1 + torch.polar(x + 1, x.flip(0)).real ** 2)
    x = tensor([0.7, 0.4], [0.3, 0.2])
    assert_close(torch.func.vmap(lambda p: scalar_curvature(metric, p))(x), scalar_curvature(metric, x))


@pytest.mark.filterwarnings("ignore:.torch.jit.")
def test_scripted_modules_are_metrics() -> None:
    class Bowl(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.diag(1 + x * x) + torch.outer(x, x)

    x = tensor(0.7, 0.4)
    assert_close(scalar_curvature(torch.jit.trace(Bowl(), x), x), scalar_curvature(Bowl(), x))


def test_a_branch_in_a_script_is_named() -> None:
    with pytest.raises(ValueError, match=r"(?s)in TorchScript.*`torch.where` for `if`.*x\[0\] > 0.5"):
        scalar_curvature(branching, X[0])


FRAMES = {
    "eigh": lambda A: (lambda w, V: (V * torch.log1p(w**2)) @ V.mT)(*torch.linalg.eigh(A)),
    "svd": lambda A: (lambda U, S, Vh: Vh.mT @ torch.diag(1 + S**2) @ Vh + U @ torch.diag(S) @ U.mT)(
        *torch.linalg.svd(A)
    ),
    "eigvalsh": lambda A: torch.diag(torch.linalg.eigvalsh(A)),
}


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("x", [tensor(0.7, 0.4, 0.2), tensor(0.0, 0.0, 0.0)])
def test_gradients_of_curvature_pass_eigenvectors(name: str, x: Tensor) -> None:
    """Also where the matrix is diagonal, and what turns the frame is 0 at the point."""
    metric = lambda p: FRAMES[name](torch.diag(tensor(1.0, 2.0, 4.0)) + 0.2 * torch.outer(p, p).sin())
    symmetric = lambda p: 0.5 * (metric(p) + metric(p).mT)
    S = lambda p: scalar_curvature(symmetric, p)
    p = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(S(p), p)
    h = 1e-4
    steps = h * torch.eye(3, dtype=D)
    assert_close(slope, (S(x + steps) - S(x - steps)) / (2 * h), rtol=1e-6, atol=1e-6)


def test_gradients_to_parameters_through_inner_derivatives() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4)).double()

    def without_graph(x: Tensor) -> Tensor:
        y = x.clone().requires_grad_()
        out = net(y)
        J = torch.stack([torch.autograd.grad(out[i], y, retain_graph=True)[0] for i in range(4)])
        return J.T @ J

    pulled = lambda x: (lambda J: J.T @ J)(torch.func.jacrev(net)(x))
    parameters = [net[0].weight, net[0].bias, net[2].weight]
    truth = torch.autograd.grad(scalar_curvature(pulled, X).sum(), parameters)
    for value, true in zip(
        torch.autograd.grad(scalar_curvature(without_graph, X).sum(), parameters), truth, strict=True
    ):
        assert_close(value, true, rtol=1e-9, atol=1e-9)
    named = {name: p.detach() for name, p in net.named_parameters()}

    def loss(named: dict[str, Tensor]) -> Tensor:
        f = lambda y: torch.func.functional_call(net, named, (y,))
        return scalar_curvature(lambda x: (lambda J: J.T @ J)(torch.func.jacrev(f)(x)), X).sum()

    assert_close(torch.func.grad(loss)(named)["0.weight"], truth[0], rtol=1e-9, atol=1e-9)


def _spread(x: Tensor) -> Tensor:
    return torch.diag(2 + torch.sin(x + x.roll(1)) ** 2)


V, MANY = 0.1 + torch.arange(2, dtype=D), 0.1 * torch.arange(18, dtype=D)
BESIDE: dict[str, Callable[[], Tensor]] = {
    "full jets": lambda: scalar_curvature(_spread, X[0, :2]),
    "given vectors": lambda: ricci_curvature(_spread, X[0, :2], V),
    "backwards": lambda: christoffel_vector(_spread, MANY, MANY, MANY),
    "digits": lambda: torch.tensor(float(bridge.high_precision(_spread, X[0, :2]).scalar_curvature())),
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_user_differentiates_in_another_thread(name: str) -> None:
    """Torch's levels of forward mode are the process's: riemann opens none."""
    f = lambda y: (torch.sin(y) ** 2).sum() * torch.exp(y[0])
    right, ours = torch.func.hessian(f)(X[0, :2]), BESIDE[name]()
    wrong: list[str] = []
    stop = time.monotonic() + 2

    def theirs() -> None:
        while time.monotonic() < stop:
            if not torch.equal(torch.func.hessian(f)(X[0, :2]), right):
                wrong.append("theirs")

    thread = threading.Thread(target=theirs)
    thread.start()
    while time.monotonic() < stop:
        if not torch.equal(BESIDE[name](), ours):
            wrong.append("ours")
    thread.join()
    assert not wrong


def test_jets_do_not_outlive_their_call() -> None:
    kept: list[Tensor] = []
    jet(lambda x: kept.append(x * 2) or x, X, 1)
    with pytest.raises(ValueError, match="an earlier call of riemann"):
        torch.sin(kept[0])
    with pytest.raises(ValueError, match="an earlier call of riemann"):
        jet(lambda x: x + kept[0], X, 1)


def test_values_alone_are_those_of_the_function() -> None:
    f = lambda x: torch.linalg.eigh(spd(x))[0] * torch.tanh(x)
    assert_close(_jets.jets_at(f, X, 0)[0], torch.stack([f(x) for x in X]))


@pytest.mark.parametrize("many", [1, 40])
def test_numbers_are_put_at_places_of_any_kind(many: int) -> None:
    """Counted from either end, broadcast against each other, added up where they meet."""
    rows, columns = torch.tensor([[0], [-1]]), torch.tensor([0, 2, 2])
    zeros, x = torch.zeros(2, 3, dtype=torch.float64), torch.randn(many, 6, dtype=torch.float64)

    def added(x: Tensor) -> Tensor:
        return (zeros + x[0]).index_put((rows, columns), x.sin().view(2, 3), accumulate=True)

    def one_by_one(x: Tensor) -> Tensor:
        y = x.sin().view(2, 3)
        return x[0] + torch.stack([y[:, 0], 0 * y[:, 0], y[:, 1] + y[:, 2]], -1)

    def put(x: Tensor) -> Tensor:
        return zeros.index_put((rows, columns[:2]), x[:4].exp().view(2, 2))

    def stacked(x: Tensor) -> Tensor:
        y = x[:4].exp().view(2, 2)
        return torch.stack([y[:, 0], 0 * y[:, 0], y[:, 1]], -1)

    def at_one_place(x: Tensor) -> Tensor:
        return (zeros + x[0]).index_put((torch.tensor(1), torch.tensor(-1)), x[1].exp())

    def written(x: Tensor) -> Tensor:
        return torch.stack([*5 * [x[0]], x[1].exp()]).view(2, 3)

    for f, g in ((added, one_by_one), (put, stacked), (at_one_place, written)):
        assert_close(jet(f, x), jet(g, x))
    with pytest.raises(IndexError, match="out of bounds"):
        jet(lambda x: zeros.index_put((rows, columns + 1), x.view(2, 3)), x)
