"""SymPy to torch: right values, transforms, derivatives by parameters, names of any kind, errors that name things."""

import pytest
import sympy as sp
import torch
from torch.testing import assert_close

import riemann as rm
from riemann import spaces
from riemann.bridge import to_torch
from riemann.symbolic import SymbolicMetric
from tests.cases import BY_NAME
from tests.helpers import assert_equal, terms

x, y, t = sp.symbols("x y t")


def conformal(expression, coordinates=(x, y)):
    """A metric whose entries are one expression."""
    return SymbolicMetric(sp.diag(*[expression] * len(coordinates)), coordinates)


def value(expression, point, **parameters):
    """The torch value of an expression of x and y at a point."""
    return to_torch(conformal(expression), **parameters)(torch.tensor(point, dtype=torch.float64))[0, 0]


# ------------------------------------------------------------------------------------------------------- right values


@pytest.mark.parametrize("name", ["generic 3", "generic 3, indefinite", "generic 4", "Kerr", "pp-wave"])
def test_metrics_are_those_written_by_hand(name):
    case = BY_NAME[name]
    assert_equal(to_torch(case.symbolic)(case.x()), torch.func.vmap(lambda p: rm.jet(case.metric, p, 0)[0])(case.x()))


@pytest.mark.parametrize(
    "name, quantity",
    [
        *(("graph", quantity) for quantity in ("kretschmann_scalar", "einstein_tensor", "riemann_tensor")),
        *(("generic 3, indefinite", quantity) for quantity in ("inverse_metric", "christoffel", "ricci_tensor")),
        *(("Kerr", quantity) for quantity in ("christoffel", "riemann_tensor", "ricci_tensor", "scalar_curvature")),
        ("Kerr", "volume_element"),
        ("graph", "nabla_riemann"),
    ],
)
def test_closed_forms_agree_with_numeric_curvature(name, quantity):
    case = BY_NAME[name]
    function = to_torch(case.symbolic, quantity)
    here = rm.at(case.metric, case.x(), max(2, rm.QUANTITIES[quantity].order))
    truth = getattr(here, quantity)()
    assert_equal(function(case.x()), truth, scale=terms(*here.jets[:3]))
    assert function(case.x()[0]).shape == truth.shape[1:]
    assert_equal(torch.func.vmap(function)(case.x()), truth, scale=terms(*here.jets[:3]))


def test_closed_forms_of_derivatives_of_curvature():
    nil = SymbolicMetric([[1, 0, 0], [0, 1 + x**2, -x], [0, -x, 1]], (x, y, t))
    points = torch.tensor([[0.3, 0.1, 0.2], [-1.0, 0.5, 2.0]], dtype=torch.float64)
    assert_close(to_torch(nil, "cotton_york_tensor")(points), rm.cotton_york_tensor(to_torch(nil), points))
    product = SymbolicMetric(sp.diag(1, sp.sin(x) ** 2, 1, 1), (x, y, t, sp.Symbol("z")))
    points = torch.tensor([0.7, 0.1, 0.2, 0.3], dtype=torch.float64)
    assert_close(to_torch(product, "bach_tensor")(points), rm.bach_tensor(to_torch(product), points))


def test_a_metric_has_the_value_of_its_expression_to_rounding():
    deep = sp.sin(x) ** 2
    assert_close(value(deep, [1e-9, 0.0]), torch.tensor(1e-18, dtype=torch.float64), rtol=1e-15, atol=0)
    third = value(sp.Rational(1, 3) + 0 * x, [0.0, 0.0])
    assert third.item() == 1 / 3
    assert value(sp.sqrt(2) + x, [0.0, 0.0]).item() == 2**0.5
    assert value(x + sp.Integer(10) ** 30, [0.0, 0.0]).item() == 1e30


FUNCTIONS = [
    *(f(x) for f in (sp.sin, sp.cos, sp.tan, sp.cot, sp.sec, sp.csc, sp.sinh, sp.cosh, sp.tanh, sp.coth, sp.sech)),
    *(f(x) for f in (sp.csch, sp.asin, sp.acos, sp.atan, sp.acot, sp.asinh, sp.exp, sp.log, sp.erf, sp.erfc, sp.sign)),
    *(f(1 / x) for f in (sp.acosh, sp.asec, sp.acsc, sp.acoth)),
    *(f(x) for f in (sp.asech, sp.acsch, sp.atanh, sp.gamma, sp.loggamma, sp.digamma, sp.Abs, sp.sqrt, sp.erfinv)),
    sp.polygamma(1, x),
    sp.polygamma(1, x - 2),
    sp.polygamma(1, 9 * x),
    sp.polygamma(3, x + y),
    sp.atan2(y, x),
    sp.atan2(1, x),
    sp.gamma(x - 2),
    x ** sp.Rational(5, 3),
    x ** -sp.Rational(3, 2),
    1 / sp.sqrt(x),
    x**y,
    2**x,
    x**-3,
    sp.Max(x, y, sp.Rational(1, 4)),
    sp.Min(x, y, sp.Rational(1, 4)),
    sp.Piecewise((x**2, x > 1), (1, x > sp.Rational(1, 2)), (sp.sin(x), True)),
    sp.Piecewise((1, sp.And(x > 0, y > 0)), (2, sp.Or(x < 0, sp.Not(y < 3))), (3, True)),
    sp.Piecewise((1, sp.Eq(x, 0)), (sp.sin(x) / x, True)),
    sp.floor(3 * x),
    sp.ceiling(3 * x),
    sp.pi * sp.E**x * sp.log(3) + sp.EulerGamma,
]


@pytest.mark.parametrize("expression", FUNCTIONS, ids=str)
def test_functions(expression):
    numbers = {x: sp.Rational(3, 8), y: sp.Rational(5, 4)}
    got = value(expression + y, [0.375, 1.25])
    assert got.dtype == torch.float64
    assert got.item() == pytest.approx(float((expression + y).subs(numbers).evalf(30)), rel=1e-13)


@pytest.mark.parametrize("expression", [sp.gamma(x) ** 2, sp.polygamma(1, x), sp.erf(x) + 2, 1 / sp.tan(x), 2**x,
                                        sp.Piecewise((x**3, x < 1), (x**2, True))])  # fmt: skip
def test_derivatives(expression):  # torch's own trigamma, the derivative of digamma, has nine digits
    symbolic = conformal(expression + 3)
    point = torch.tensor([[0.375, 1.25], [1.5, 0.25]], dtype=torch.float64)
    metric = to_torch(symbolic)
    exact = to_torch(SymbolicMetric(sp.diag(expression.diff(x, 2) + 100, 1), (x, y)))(point)[:, 0, 0] - 100
    assert_close(rm.jet(metric, point, 2)[2][:, 0, 0, 0, 0], exact, rtol=1e-8, atol=1e-10)
    plain = torch.func.vmap(torch.func.jacfwd(torch.func.jacrev(metric)))(point)
    assert_close(plain[:, 0, 0, 0, 0], exact, rtol=1e-8, atol=1e-10)


def test_gamma_is_right_left_of_zero_and_backward():
    points = torch.tensor([[-1.5, 1.0], [0.25, 1.0], [4.0, 1.0]], dtype=torch.float64, requires_grad=True)
    values = to_torch(conformal(sp.gamma(x)))(points)[:, 0, 0]
    assert_close(values, torch.tensor([float(sp.gamma(c)) for c in (-1.5, 0.25, 4)], dtype=torch.float64))
    (gradient,) = torch.autograd.grad(values.sum(), points)
    truth = [float(sp.gamma(x).diff(x).subs(x, c)) for c in (-1.5, 0.25, 4)]
    assert_close(gradient[:, 0], torch.tensor(truth, dtype=torch.float64))


# ------------------------------------------------------------------------------------------------------- as functions


def test_dtype_device_and_shapes(device):
    metric = to_torch(spaces.kerr("M", "a").symbolic, M=1, a=torch.tensor(0.6, dtype=torch.float64))
    points = spaces.kerr().sample(6, device=device)
    for batch in ((), (6,), (2, 3), (0,)):
        shaped = points[: max(1, torch.Size(batch).numel())].reshape(*batch, 4) if 0 not in batch else points[:0]
        g = metric(shaped.float())
        assert g.shape == (*batch, 4, 4) and g.dtype == torch.float32 and g.device.type == device.type
    point = points[0].float()
    for transform in (torch.func.jacfwd, torch.func.jacrev):
        assert transform(transform(metric))(point).dtype == torch.float32
    assert rm.kretschmann_scalar(metric, points.float()).dtype == torch.float32


def test_constant_metrics_and_metrics_of_parameters_only():
    flat = to_torch(SymbolicMetric([[sp.Symbol("a"), 0], [0, 2]], "x y"), a=torch.tensor(3.0))
    points = torch.zeros(5, 2, dtype=torch.float64)
    assert_close(flat(points), torch.tensor([[3.0, 0], [0, 2]], dtype=torch.float64).expand(5, 2, 2))
    assert_close(torch.func.vmap(flat)(points), flat(points))
    assert not rm.riemann_tensor(flat, points).any()


def test_gradients_by_parameters_go_through_curvature():
    symbolic = spaces.kerr("M", "a").symbolic
    points = spaces.kerr().sample(3, torch.Generator().manual_seed(0))

    def invariant(M, a):
        return rm.kretschmann_scalar(to_torch(symbolic, M=M, a=a), points).sum()

    M, a = (torch.tensor(c, dtype=torch.float64, requires_grad=True) for c in (1.0, 0.6))
    gradients = torch.autograd.grad(invariant(M, a), (M, a))
    h = 1e-4
    assert_close(gradients[0].item(), float(invariant(1 + h, 0.6) - invariant(1 - h, 0.6)) / (2 * h), rtol=1e-6, atol=0)
    assert_close(gradients[1].item(), float(invariant(1, 0.6 + h) - invariant(1, 0.6 - h)) / (2 * h), rtol=1e-6, atol=0)
    many = torch.func.vmap(lambda m: to_torch(symbolic, M=m, a=a.detach())(points[0]))(torch.tensor([1.0, 1.2]))
    assert_close(many[0], spaces.kerr()(points[0]))


def test_it_can_be_compiled():
    points = spaces.kerr().sample(3)
    for quantity in ("metric", "christoffel"):
        function = to_torch(spaces.kerr().symbolic, quantity)
        assert_close(torch.compile(function, backend="eager", fullgraph=True)(points), function(points))


@pytest.mark.parametrize("name", ["lambda", "t'", r"\theta", "x0", "c0", "a0", "import os", "zero", "torch", "_"])
def test_names_of_any_kind(name):
    odd, other = sp.Symbol(name), sp.Symbol("c1")
    metric = to_torch(SymbolicMetric(sp.diag(odd**2 + sp.sin(odd**2), other), (odd, other)))
    assert_close(metric(torch.tensor([2.0, 5.0])), torch.diag(torch.tensor([4 + torch.sin(torch.tensor(4.0)), 5.0])))
    given = to_torch(SymbolicMetric(sp.diag(odd, 1), "u v"), **{name: 3})
    assert_close(given(torch.zeros(2)), torch.diag(torch.tensor([3.0, 1.0])))


# ------------------------------------------------------------------------------------------- undetermined functions


def test_undetermined_functions_and_their_derivatives():
    a = sp.Function("a")(t)
    symbolic = spaces.flrw(k=sp.Symbol("k"), a=a).symbolic
    points = spaces.flrw().sample(3, torch.Generator().manual_seed(0))
    known = spaces.flrw(k=sp.Rational(1, 5), a=2 + sp.sin(t)).symbolic
    for quantity in ("metric", "christoffel", "ricci_tensor", "kretschmann_scalar"):
        function = to_torch(symbolic, quantity, k=0.2, a=lambda s: 2 + torch.sin(s))
        truth = to_torch(known, quantity)(points)
        assert_equal(function(points), truth)
        assert_equal(torch.func.vmap(function)(points), truth)
        assert function(points.float()).dtype == torch.float32
    metric = to_torch(symbolic, k=0.2, a=lambda s: 2 + torch.sin(s))
    assert_equal(rm.ricci_tensor(metric, points), to_torch(known, "ricci_tensor")(points))


def test_functions_of_many_arguments_and_of_expressions():
    H, u, v = sp.Function("H"), *sp.symbols("u v")
    wave = SymbolicMetric([[H(u, x * y), 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], (u, v, x, y))
    function = lambda s, w: torch.sin(s) * w**3  # noqa: E731
    points = torch.tensor([[0.3, 1.0, 0.7, -0.4], [0.0, 2, 1, 2]], dtype=torch.float64)
    known = SymbolicMetric(wave.matrix.replace(H, lambda s, w: sp.sin(s) * w**3), (u, v, x, y))
    for quantity in ("metric", "christoffel", "riemann_tensor"):
        assert_equal(to_torch(wave, quantity, H=function)(points), to_torch(known, quantity)(points))


def test_gradients_reach_the_parameters_of_a_function():
    net = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    symbolic = spaces.flrw(a=sp.Function("a")(t)).symbolic
    S = to_torch(symbolic, "scalar_curvature", a=lambda s: 2 + net(s[None])[0])
    S(spaces.flrw().sample(4)).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in list(net.parameters())[:3])


# ------------------------------------------------------------------------------------------------------------- errors

_kerr = spaces.kerr("M", "a").symbolic
_scale = spaces.flrw(a=sp.Function("a")(t)).symbolic


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: to_torch(_kerr), "`M` has no value: give M=…, a=…"),
        (lambda: to_torch(_kerr, M=1), "`a` has no value: give a=…"),
        (
            lambda: to_torch(_kerr, M=1, a=0, Q=1),
            r"`Q` is not a parameter of this metric; its parameters are \['M', 'a'\]",
        ),
        (lambda: to_torch(_kerr, "torsion", M=1, a=0), "`quantity` is 'torsion', expected one of metric, "),
        (lambda: to_torch(_kerr, M=torch.ones(3), a=0), r"`M` has shape \(3,\).*expected a real 0-dim tensor"),
        (lambda: to_torch(_kerr, M=float("nan"), a=0), "`M` is nan, expected a finite number"),
        (lambda: to_torch(_kerr, M="1", a=0), "`M` is '1', expected a finite number"),
        (lambda: to_torch(conformal(1 / (x * sp.Symbol("b"))), b=0), "not finite at b=0"),
        (lambda: to_torch(_scale), r"`a` has no value: give a=… \(a torch function\)"),
        (lambda: to_torch(_scale, a=1.0), r"`a` is a float, but a\(…\) is an undetermined function"),
        (
            lambda: to_torch(conformal(sp.zeta(x))),
            r"`zeta\(x\)` cannot be written in torch: there is no function for `zeta`",
        ),
        (lambda: to_torch(conformal(sp.airyai(x) + 2)), "no function for `airyai`"),
        (lambda: to_torch(conformal(sp.I * x)), "cannot be written as a real torch expression"),
        (lambda: to_torch(conformal(x + sp.acos(2))), r"`acos\(2\)` cannot be written as a real torch expression"),
        (lambda: to_torch(conformal(sp.Integral(sp.exp(-(x**2)), (x, 0, y)) + 1)), "no function for `Integral`"),
        (lambda: to_torch(conformal(sp.polygamma(y, x))), "its order is not a whole number"),
        (lambda: to_torch(conformal(x**2))(torch.zeros(3)), r"`x` has shape \(3,\), expected \(\*batch, 2\)"),
    ],
)
def test_errors_name_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_nothing_in_a_name_is_run():
    name = "__import__('os').system('false')"
    odd = sp.Symbol(name)
    assert_close(to_torch(SymbolicMetric(sp.diag(odd, 1), (odd, y)))(torch.ones(2)), torch.eye(2))
    f = sp.Function(name)(x)
    metric = to_torch(SymbolicMetric(sp.diag(f, 1), (x, y)), **{name: torch.exp})
    assert_close(metric(torch.zeros(2)), torch.eye(2))
