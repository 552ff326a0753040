"""`verify` says ok of what is right, finds every planted fault, and says which truth it compared with."""

import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import riemann as rm
from riemann import formulas
from riemann._terms import scales
from riemann._verification.sample import sample_points
from riemann.bridge import to_symbolic
from riemann.symbolic import SymbolicMetric
from riemann_nn import MLPCholesky
from tests.cases import BY_NAME, CASES
from tests.helpers import WrongCube, random_metric

NETWORK = torch.nn.Sequential(torch.nn.Linear(3, 12), torch.nn.Tanh(), torch.nn.Linear(12, 9)).double()


def network(x):
    A = NETWORK(x).reshape(3, 3)
    return torch.eye(3) + A @ A.T


def failed(report):
    return [c.quantity for c in report.comparisons if not c.ok]


# ------------------------------------------------------------------------------------------- what is right is ok


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_the_symbolic_metric(case):
    report = rm.verify(case.metric, case.symbolic, x=case.x())
    assert report.ok and {c.truth for c in report.comparisons} == {"SymPy"}, str(report)
    report.raise_if_failed()


@pytest.mark.parametrize("name", ["sphere 2", "ball", "Schwarzschild", "graph", "pp-wave"])
def test_with_nothing_but_the_dimension(name):
    case = BY_NAME[name]
    report = rm.verify(case.metric, dim=case.dim)
    assert report.ok and {c.truth for c in report.comparisons} == {"closed form"}, str(report)
    assert len(report.comparisons) == 8 and report.closed_form.dim == case.dim


def test_a_network_has_forty_digits():
    report = rm.verify(network, dim=3, budget=0.0)
    assert report.ok and {c.truth for c in report.comparisons} == {"40 digits"}, str(report)
    assert any("no closed form" in note for note in report.notes)


def test_float32_on_request():
    report = rm.verify(BY_NAME["ball"].metric, dim=3, dtype=torch.float32)
    assert report.ok and report.x.dtype == torch.float32, str(report)
    assert max(c.error for c in report.comparisons) > 1e-9


def test_modules_are_looked_at_in_the_precision_of_their_weights():
    net = MLPCholesky(2, (6,))
    assert rm.verify(net, dim=2, budget=0.0).x.dtype == torch.float32
    report = rm.verify(net.double(), dim=2, budget=0.0)
    assert report.ok and report.x.dtype == torch.float64, str(report)


def test_a_box_that_is_not_found_for_want_of_symmetry():
    with pytest.raises(ValueError, match="symmetric.*write it so that g_ij = g_ji"):
        rm.verify(lambda x: torch.stack([x, x]).tril(), dim=2)
    with pytest.raises(ValueError, match="pass points of its domain"):
        rm.verify(lambda x: 0 * torch.outer(x, x), dim=2)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: torch.relu(x[0]),
        lambda x: torch.maximum(x[0] ** 3, 0 * x[0]),
        lambda x: x.max(),
        lambda x: x.min(0).values,
    ],
    ids=["relu", "maximum", "max", "min along an axis"],
)
@pytest.mark.filterwarnings("ignore:the metric calls relu")
def test_no_truth_has_derivatives_at_a_kink(f):
    """The origin is among the points, where maxima are those of equal numbers."""
    report = rm.verify(lambda x: torch.eye(2, dtype=x.dtype) * (4 + f(x)), dim=2)
    assert report.ok, str(report)


def test_what_cannot_be_traced_is_compared_with_differences():
    def metric(x):
        w, V = torch.linalg.eigh(torch.outer(x, x) + torch.diag(torch.arange(1.0, 4) + torch.sin(x)))
        return (V * torch.exp(w)) @ V.T

    report = rm.verify(metric, dim=3)
    assert report.ok and {c.truth for c in report.comparisons} == {"differences"}, str(report)
    assert any("eigh" in note for note in report.notes)


def test_parameters_of_the_symbolic_metric():
    M, r, theta = sp.symbols("M r theta")
    f = 1 - 2 * M / r
    symbolic = SymbolicMetric(sp.diag(-f, 1 / f, r**2, r**2 * sp.sin(theta) ** 2), "t r theta phi", "M")
    metric = BY_NAME["Schwarzschild"].metric
    x = torch.tensor([0.0, 5.0, 0.8, 0.3], dtype=torch.float64)
    assert rm.verify(metric, symbolic, x=x, parameters={"M": 1}).ok
    assert "riemann_tensor" in failed(rm.verify(metric, symbolic, x=x, parameters={"M": 1.001}))


# ---------------------------------------------------------------------------------------------- planted faults


def test_a_sign():
    wrong = lambda x: BY_NAME["generic 3"].metric(x) * torch.tensor([[1.0, -1, 1], [-1, 1, 1], [1, 1, 1]])
    case = BY_NAME["generic 3"]
    assert "metric" in failed(rm.verify(wrong, case.symbolic, x=case.x()))


@pytest.mark.parametrize("entry", [0, 1, 2, 3])
def test_an_entry_off_by_a_millionth(entry):
    factor = torch.ones(4, dtype=torch.float64)
    factor[entry] += 1e-6
    case = BY_NAME["Schwarzschild"]
    x = torch.tensor([0.0, 100.0, 0.8, 0.3], dtype=torch.float64)
    report = rm.verify(lambda x: case.metric(x) * torch.diag(factor), case.symbolic, x=x)
    assert "metric" in failed(report), str(report)
    with pytest.raises(ValueError, match="failed its verification"):
        report.raise_if_failed()


def test_a_custom_function_is_what_it_computes():
    x = torch.tensor([[0.3, 0.4], [0.7, -0.2]], dtype=torch.float64)
    assert rm.verify(lambda x: torch.eye(2) * (2 + WrongCube.apply(x[0])), x=x).ok


def test_a_wrong_rule_is_found(monkeypatch):
    """A determinant with wrong derivatives: the 40 digits tell."""
    from riemann._arithmetic import determinants

    def metric(x):
        return torch.linalg.det(BY_NAME["generic 3"].metric(x)) * torch.eye(3)

    x, right = BY_NAME["generic 3"].x(), determinants.determinant
    assert rm.verify(metric, x=x, budget=0.0).ok
    truth = to_symbolic(metric, 3)
    wrong = lambda A, c: torch.cat([right(A, c)[:1], 1.001 * right(A, c)[1:]])
    monkeypatch.setattr(determinants, "determinant", wrong)
    assert "christoffel" in failed(rm.verify(metric, truth, x=x))


@pytest.mark.parametrize("quantity", ["christoffel", "riemann_tensor", "ricci_tensor", "scalar_curvature",
                                      "weyl_tensor", "kretschmann_scalar", "volume_element"])  # fmt: skip
def test_a_fault_in_a_formula(quantity, monkeypatch):
    name = {"scalar_curvature": "scalar_curvature_of_pairs"}.get(quantity, quantity)
    formula, case = getattr(formulas, name), BY_NAME["Kerr"]
    monkeypatch.setattr(formulas, name, lambda *a, **k: formula(*a, **k) + 1e-6)
    report = rm.verify(case.metric, case.symbolic, x=torch.tensor([0.0, 2.2, 1.2, 0.3], dtype=torch.float64))
    assert quantity in failed(report), str(report)


# ------------------------------------------------------------------------------------------------------ points


def test_the_origin_and_the_axes_are_looked_at():
    x = sample_points(BY_NAME["ball"].metric, 3)
    assert (x == 0).all(-1).any() and ((x == 0).sum(-1) == 2).sum() == 3


def test_points_avoid_what_is_no_metric():
    x = sample_points(lambda x: torch.diag(torch.stack([torch.log(x[0] - 1), torch.sqrt(x[1])])), 2)
    g = rm.at(lambda x: torch.diag(torch.stack([torch.log(x[0] - 1), torch.sqrt(x[1])])), x, order=0).g
    assert torch.isfinite(g).all() and (torch.linalg.eigvalsh(g) > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_scales_bound_what_they_scale(seed):
    metric = random_metric(4, seed % 3, seed)
    here = rm.at(metric, 0.3 * torch.randn(5, 4, dtype=torch.float64))
    for name, terms in scales(*here.jets).items():
        value = here.g if name == "metric" else getattr(here, name)()
        assert (value.abs() <= terms * (1 + 1e-12)).all(), name


# ------------------------------------------------------------------------------------------------------ messages


def test_errors():
    sphere, symbolic = BY_NAME["sphere 2"].metric, BY_NAME["sphere 2"].symbolic
    M, x = sp.symbols("M x")
    one = SymbolicMetric([[M]], (x,), (M,))
    for call, error, words in [
        (lambda: rm.verify(sphere), ValueError, "pass `dim="),
        (lambda: rm.verify(sphere, symbolic.matrix, dim=2), TypeError, "expected a `riemann.symbolic.SymbolicMetric`"),
        (lambda: rm.verify(sphere, symbolic, dim=3), ValueError, "3 by `dim` and 2 by `symbolic`"),
        (lambda: rm.verify(lambda x: x.reshape(1, 1), one), ValueError, "parameters={'M': 1.0}"),
        (lambda: rm.verify(sphere, symbolic, parameters={"a": 1}), ValueError, "names .'a'."),
        (lambda: rm.verify(sphere, dim=2, parameters={"a": 1}), ValueError, "close over them"),
        (lambda: rm.verify(lambda x: torch.eye(2) * torch.nan, dim=2), ValueError, "pass points of its domain as `x=`"),
    ]:
        with pytest.raises(error, match=words):
            call()


def test_where_there_is_no_truth_the_report_says_so():
    x = torch.tensor([[0.0, 0.0], [0.3, 0.4]], dtype=torch.float64)
    report = rm.verify(lambda x: torch.eye(2) * (1 + torch.linalg.norm(x)), x=x)
    assert report.ok and any("no exact value at [0.0, 0.0]" in note for note in report.notes)


def test_progress_is_told():
    said = []
    rm.verify(BY_NAME["sphere 2"].metric, dim=2, progress=said.append)
    assert any("points" in text for text in said) and any("closed form" in text for text in said)


# ---------------------------------------------------------------------------------------------------- property

ATOMS = ["x[0]", "x[1]", "torch.sin(x[0])", "torch.exp(x[1])", "x[0] ** 2", "1 / (2 + x[1] ** 2)",
         "torch.cos(2 * x[1])", "torch.log(2 + x[0])"]  # fmt: skip


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from(ATOMS), min_size=3, max_size=3), st.sampled_from([1.0, -1.0]))
def test_numeric_is_forty_digits_is_closed_form(atoms, sign):
    a, b, c = (eval(f"lambda x: {atom}", {"torch": torch}) for atom in atoms)

    def metric(x):
        g = torch.zeros(2, 2)
        g[0, 0], g[1, 1] = 3 + a(x) * 0.5, sign * (3 + 0.5 * b(x))
        g[0, 1] = g[1, 0] = 0.3 * c(x)
        return g

    x = torch.tensor([[0.3, -0.4], [0.7, 0.2], [0.0, 0.0]], dtype=torch.float64)
    report = rm.verify(metric, x=x, budget=100.0)
    assert report.ok and {c.truth for c in report.comparisons} == {"closed form"}, str(report)


def test_reports_show_as_tables():
    """In a notebook, and at a prompt: what `print` prints."""
    sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
    x = torch.tensor([[0.7, 0.2], [1.1, 0.3]], dtype=torch.float64)
    good, checked = rm.verify(sphere, dim=2, x=x), rm.check_metric(sphere, x)
    assert repr(good) == str(good) and repr(good).startswith("2 points in 2 dimensions, float64\n")
    assert repr(checked) == str(checked) and "ok" in repr(checked)
    html = good._repr_html_()
    assert html.count("<tr>") == 1 + len(good.comparisons) and "riemann_tensor" in html and "FAIL" not in html
    bad = rm.verify(lambda x: 1.001 * sphere(x), symbolic=good.closed_form, x=x)
    assert not bad.ok and "FAIL" in bad._repr_html_() and 'style="color' in bad._repr_html_()
    assert checked._repr_html_().count("<tr") == 1 + len(checked.findings)
    assert "&lt;b&gt;" in rm.check_metric(lambda x: sphere(x) * {}["<b>"], x)._repr_html_()


@pytest.mark.unshaped
def test_a_space_by_its_name():
    assert rm.verify("sphere", parameters={"n": 2}, x=torch.tensor([[0.7, 0.2]], dtype=torch.float64)).ok
    with pytest.raises(ValueError, match="kerr"):
        rm.verify("ker")
    with pytest.raises(TypeError, match=r"spaces\.get\('kerr'\)"):
        rm.scalar_curvature("kerr", torch.rand(4))


# ------------------------------------------------------------------------------------------- what the truth itself has


def _pole(x):
    return torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))


def test_where_forty_digits_are_too_few_the_truth_is_computed_with_more_and_it_is_said():
    x = torch.tensor([[1.0, 0.3], [1e-25, 0.2]], dtype=torch.float64)
    report = rm.verify(_pole, x=x)
    assert "48 digits leave about 0 digits of the truth of scalar_curvature at [1e-25, 0.2]" in str(report)
    assert {"riemann_tensor", "ricci_tensor", "scalar_curvature", "kretschmann_scalar"} == set(failed(report))
    assert not report.failure and all(c.error < 1e-13 for c in report.comparisons), str(report)
    again = rm.verify(_pole, SymbolicMetric([["a", 0], [0, "sin(x)**2"]], "x y", "a"), x=x, parameters={"a": 1})
    assert "digits of the truth of scalar_curvature" in str(again) and failed(again) == failed(report)
    assert "digits of the truth" not in str(rm.verify(_pole, x=x[:1]))


def test_an_error_below_the_radius_of_the_truth_is_not_blamed(monkeypatch):
    """With balls of 20 bits a millionth more of curvature is within the truth's radius; with many it is not."""
    from riemann import _curvature
    from riemann._certified import rounding

    right = _curvature.scalar_curvature
    monkeypatch.setattr(_curvature, "scalar_curvature", lambda *args: right(*args) * (1 + 1e-6))
    x = torch.tensor([[1.0, 0.3]], dtype=torch.float64)
    assert failed(rm.verify(_pole, x=x)) == ["scalar_curvature"]
    monkeypatch.setattr(rounding, "BITS", (16,))
    report = rm.verify(_pole, SymbolicMetric([[1, 0], [0, "sin(x)**2"]], "x y"), x=x)
    assert report.ok and "4 digits leave about" in str(report), str(report)


def test_without_flint_verify_compares_with_forty_digits(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "flint", None)
    report = rm.verify(network, dim=3, budget=0.0)
    assert report.ok and {c.truth for c in report.comparisons} == {"40 digits"}, str(report)
