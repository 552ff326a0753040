"""What users give as text is parsed, and never run; names are names."""

import pathlib

import pytest
import sympy as sp
import torch
from torch.testing import assert_close

import riemann as rm
from riemann import bridge, spaces
from riemann._cli import USAGE, main
from riemann.symbolic import SymbolicMetric
from riemann.symbolic._given import expression

x, y, r, t, M = sp.symbols("x y r t M")


@pytest.mark.parametrize("text", ["x²", "r³*y", "sin(x)²"])
def test_raised_digits_are_no_part_of_a_name(text):
    """A symbol of that name would be a constant, and a surface flat."""
    with pytest.raises(ValueError, match=r"is not an expression: write powers as `x\*\*2`"):
        expression(text)
    assert expression("x₁**2") == sp.Symbol("x₁") ** 2


@pytest.mark.parametrize(
    "text, meant",
    [
        ("x^2 + 3*y", x**2 + 3 * y),
        ("-x**2", -(x**2)),
        ("2**3**2", 512),
        ("2**-3", sp.Rational(1, 8)),
        ("1e-3*x - .5/y", x / 1000 - 1 / (2 * y)),
        ("(1 - 2*M/r)^-1", 1 / (1 - 2 * M / r)),
        ("sqrt(x)*ln(y) + abs(x) + pi", sp.sqrt(x) * sp.log(y) + sp.Abs(x) + sp.pi),
        ("atan2(y, x)", sp.atan2(y, x)),
        ("a(t)", sp.Function("a")(t)),
        ("lambda*E + I + S + beta", sum(map(sp.Symbol, ("E", "I", "S", "beta"))).subs(sp.Symbol("E"), 0)
         + sp.Symbol("lambda") * sp.Symbol("E")),
        ("0.1000000000000000000001", sp.Rational("0.1000000000000000000001")),
        ("1.989e30", sp.Integer(1989 * 10**27)),
    ],
)  # fmt: skip
def test_text_is_parsed(text, meant):
    assert expression(text) == meant


@pytest.mark.parametrize(
    "text",
    ["", "(x", "x)", "x y", "x.y", "sin(x, y)", "sin()", "x if y else t", "[x]", "x = 1", "lambda: 0", "x; y", "'x'",
     "9**9**9", "1e99999", "gamma(10**9)", "(" * 5000, "__import__('os')", "x.__class__", "9**(9**9)", "2**(1/0)"],
)  # fmt: skip
def test_what_is_no_expression(text):
    with pytest.raises(ValueError, match="not an expression|too deep|too long"):
        expression(text)


def test_nothing_given_is_run(tmp_path, capsys):
    path = tmp_path / "executed"
    evil = f"__import__('pathlib').Path({str(path)!r}).touch()"
    plane = SymbolicMetric([["x", 0], [0, 1]], ["x", "y"])
    given = [
        lambda: SymbolicMetric([[evil, 0], [0, 1]], ["x", "y"]),
        lambda: SymbolicMetric(evil, ["x", "y"]),
        lambda: SymbolicMetric([evil, evil], ["x", "y"]),
        lambda: plane.at({"x": evil, "y": 1}),
        lambda: plane.at((evil, 1)),
        lambda: plane.at({evil: 1, "x": 1, "y": 1}),
        lambda: spaces.pp_wave(H=evil),
        lambda: spaces.rosen_wave(F=evil),
        lambda: spaces.morris_thorne(Phi=evil),
        lambda: spaces.flrw(a=evil),
        lambda: spaces.kantowski_sachs(b=evil),
        lambda: spaces.vaidya(m=evil),
        lambda: spaces.surface_of_revolution(evil),
        lambda: spaces.get("graph", f=evil),
        lambda: spaces.schwarzschild(M=evil),
        lambda: spaces.get(evil),
        lambda: bridge.to_torch(spaces.schwarzschild(M="M").symbolic, M=evil),
    ]
    for make in given:
        with pytest.raises((TypeError, ValueError)):
            make()
    assert main(["show", "graph", f"f={evil}"]) == USAGE and "not an expression" in capsys.readouterr().err
    assert not path.exists() and not pathlib.Path("executed").exists()


NAMES = ["x; import os", "lambda", "__import__('os')", "I", "E", "S", "beta", "pi", "sin", "mpf", "_0", "v0", "a0", "e"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_coordinate_is_one(name):
    def half_plane(p):
        return torch.eye(2, dtype=p.dtype) * torch.sin(p[0]) ** 2 * (1 + torch.pi**2) / p[1] ** 2

    def named(*names):
        return bridge.to_symbolic(half_plane, names)

    plain, renamed = named("u", "v"), named("u", name)
    point = torch.tensor([0.7, 1.3], dtype=torch.float64)
    assert renamed.scalar_curvature().subs(sp.Symbol(name), sp.Symbol("v")) == plain.scalar_curvature()
    assert_close(bridge.to_torch(renamed)(point), half_plane(point))
    K = [float(s.at((0.7, 1.3)).scalar_curvature()) for s in (plain, renamed)]
    assert K[0] == K[1]


def test_a_coordinate_may_be_called_as_a_number_is():
    pi, y = sp.Symbol("pi"), sp.Symbol("y")
    g = SymbolicMetric(sp.diag(1, (pi * sp.pi) ** 2), (pi, y))
    assert abs(g.at((2, 1)).volume_element() - 2 * sp.pi) < 1e-40
    assert g.inverse_metric()[1, 1] == 1 / (pi * sp.pi) ** 2 and g.scalar_curvature() == 0


def test_names_in_formulas_are_coordinates_whatever_their_assumptions():
    u, v = sp.symbols("x y", real=True)  # once, the derivatives by other symbols of these names were 0
    origin = torch.zeros(2, dtype=torch.float64)
    for f in (u * v, "x*y", x * y):
        assert_close(rm.scalar_curvature(spaces.graph(f), origin), torch.tensor(-2.0, dtype=torch.float64))
    with pytest.raises(ValueError, match="`r` is a coordinate"):
        spaces.schwarzschild(M="r")


@pytest.mark.parametrize("size", [1.989e30, 1e-30])
@pytest.mark.parametrize(
    "name", ["schwarzschild", "curzon", "euclidean_schwarzschild", "cylinder", "catenoid", "torus"]
)
def test_masses_of_stars(name, size):
    given = {"cylinder": {"radius": size}, "catenoid": {"c": size}, "torus": {"R": 2 * size, "r": size}}
    space = spaces.get(name, **given.get(name, {"M": size}))
    g = space(space.sample(3))
    assert bool(g.isfinite().all()) and space.parameters and SymbolicMetric(space.symbolic.matrix, space.coordinates)
    if name == "schwarzschild":
        p = torch.tensor([[0.0, 4 * size, 1.0, 0.0]], dtype=torch.float64)
        K = rm.kretschmann_scalar(space, p)[0] * size**4
        assert_close(K, torch.tensor(48 / 4**6, dtype=torch.float64))


def test_sizes_do_not_make_a_matrix_singular_but_a_determinant_does():
    SymbolicMetric(sp.diag(sp.Integer(10) ** 200, sp.Rational(1, 10**200)), (x, y))
    SymbolicMetric([[sp.exp(10**6 * x), 0], [0, 1]], (x, y))
    SymbolicMetric([[1, 1], [1, 1 + sp.Rational(1, 10**100)]], (x, y))
    for singular in ([[1e60, 1e30], [1e30, 1]], [[1e-60 * x**2, 1e-30 * x], [1e-30 * x, 1]]):
        with pytest.raises(ValueError, match="singular"):
            SymbolicMetric(singular, (x, y))


def test_constant_fractions_are_confirmed():  # a quotient of two Python integers has sixteen digits
    assert SymbolicMetric(sp.diag(1 + x, 3), (x, y)).inverse_metric()[1, 1] == sp.Rational(1, 3)
