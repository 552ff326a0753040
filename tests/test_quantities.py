"""The table of quantities says what is true of each, and every door says the same."""

import inspect
import itertools
from pathlib import Path

import pytest
import sympy as sp
import torch

import riemann as rm
from riemann import formulas
from riemann._nabla import derivatives_of_curvature
from riemann._terms import scales
from riemann.symbolic import SymbolicMetric
from riemann.symbolic._textbook import LETTERS
from tests.helpers import assert_equal, random_metric

QUANTITIES = rm.QUANTITIES
NAMES = list(QUANTITIES)
DOCS = Path(__file__).parent.parent / "docs" / "api" / "curvature.md"


def dimension(quantity):
    """One in which it is defined and not 0 for every metric."""
    return quantity.most or max(4, quantity.least)


def positions(quantity):
    """All positions of its indices that may be asked for."""
    movable = quantity.option == "indices"
    return ["".join(p) for p in itertools.product("ul", repeat=quantity.rank)] if movable else [quantity.indices]


@pytest.mark.parametrize("name", NAMES)
def test_every_door_takes_the_same_options_with_the_same_defaults(name):
    quantity = QUANTITIES[name]
    default = {"": inspect.Parameter.empty, "kind": 2, "indices": quantity.indices}[quantity.option]
    for door in (formulas, rm, rm.LocalGeometry, SymbolicMetric):
        if door is SymbolicMetric and name == "log_volume_element":  # the logarithm of its twin
            continue
        parameters = inspect.signature(getattr(door, name)).parameters
        known = set(parameters) - {"self", "metric", "x", "g", "dg", "ddg", "dddg", "ddddg", "chunk_size", "progress"}
        assert known == {quantity.option} - {""}, door
        assert not quantity.option or parameters[quantity.option].default == default, door


@pytest.mark.parametrize("name", NAMES)
def test_the_order_is_what_the_formula_needs(name):
    quantity = QUANTITIES[name]
    metric, x = random_metric(dimension(quantity), 1, 2), torch.zeros(dimension(quantity), dtype=torch.float64)
    here = rm.at(metric, x, quantity.order)
    assert_equal(getattr(rm, name)(metric, x), getattr(here, name)())
    if quantity.order:
        with pytest.raises(ValueError, match=f"make it with `at.metric, x, order={quantity.order}.`"):
            getattr(rm.at(metric, x, quantity.order - 1), name)()


@pytest.mark.parametrize("name", NAMES)
def test_symmetries_hold_and_are_all_there_are(name):
    quantity = QUANTITIES[name]
    n = dimension(quantity)
    x = torch.full((n,), 0.1, dtype=torch.float64)
    here = rm.at(random_metric(n, 1, 3), x, quantity.order)
    for indices in positions(quantity):
        T = getattr(here, name)(**({"indices": indices} if quantity.option == "indices" else {}))
        assert T.shape == (n,) * quantity.rank
        size = float(T.abs().max())
        for index, (first, sign) in quantity.alike(n, indices).items():
            assert abs(float(T[index] - sign * T[first])) < 1e-9 * size, (indices, index)
        if quantity.rank == 2:  # what is not said to be equal differs
            assert (len(set(indices)) == 1) == bool((T - T.mT).abs().max() < 1e-9 * size)


@pytest.mark.parametrize("name", NAMES)
def test_dimensions_in_which_it_is_not_defined(name):
    quantity = QUANTITIES[name]
    for n in range(1, 6):
        jets = rm.at(random_metric(n, 0, 1), torch.zeros(n, dtype=torch.float64), quantity.order)
        exact = SymbolicMetric(sp.eye(n), sp.symbols(f"x:{n}"))
        if quantity.least <= n <= (quantity.most or n):
            assert getattr(jets, name)().shape == (n,) * quantity.rank
            continue
        for door in (jets, exact):
            with pytest.raises(ValueError, match=f"needs n .*{quantity.most or quantity.least}.*n = {n}"):
                getattr(door, name)()


def test_the_exact_side_knows_each():
    assert {*LETTERS} == {"metric", *NAMES} - {"log_volume_element"}
    for name in {*LETTERS} - {"metric"}:
        fixed = QUANTITIES[name].option != "indices"
        text = SymbolicMetric(sp.eye(dimension(QUANTITIES[name])), sp.symbols(f"x:{dimension(QUANTITIES[name])}"))
        below = text.latex(name, indices=QUANTITIES[name].indices if fixed else "l" * QUANTITIES[name].rank)
        assert text.latex(name) == below


def test_what_is_verified_has_a_scale():
    here = rm.at(random_metric(4, 1, 1), torch.zeros(4, dtype=torch.float64))
    assert set(scales(*here.jets)) == {"metric", *(name for name in NAMES if QUANTITIES[name].verified)}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_second_covariant_derivatives_from_fourth_jets(n):
    metric = random_metric(n, n // 2, 5)
    x = torch.randn(2, 3, n, dtype=torch.float64) / 5
    riemann, nabla, second = derivatives_of_curvature(rm.at(metric, x, 4).jets, 2)
    assert_equal(riemann, rm.riemann_tensor(metric, x, "llll"))
    assert_equal(nabla, rm.nabla_riemann(metric, x))
    assert_equal(second, rm.covariant_derivative(metric, lambda p: rm.nabla_riemann(metric, p), "lllll")(x), rtol=1e-9)
    assert_equal(torch.func.vmap(lambda p: derivatives_of_curvature(rm.at(metric, p, 4).jets, 2)[2])(x[0]), second[0])


def row(name, quantity):
    """The row of the docs."""
    signs = {1: "", -1: "-"}
    letters = "ijklm"[: quantity.rank]
    same = [f"{signs[s]}{''.join(letters[i] for i in p)}" for p, s in quantity.symmetries]
    n = f"= {quantity.most}" if quantity.most else f">= {quantity.least}"
    cells = [f"`{name}`", str(quantity.order), f"`{quantity.indices}`" * bool(quantity.rank),
             f"`{quantity.option}`" * bool(quantity.option), ", ".join([letters, *same]) * bool(same), n]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def test_the_docs_have_a_row_for_each():
    text = DOCS.read_text()
    for name in NAMES:
        assert row(name, QUANTITIES[name]) in text, f"docs/api/curvature.md lacks\n{row(name, QUANTITIES[name])}"
        assert f"::: riemann.{name}\n" in text


@pytest.mark.parametrize("name", [name for name, q in rm.QUANTITIES.items() if q.indices])
def test_every_tensor_has_its_reference(name):
    assert "Reference:" in getattr(rm, name).__doc__
