"""Every sign and every term of every formula matters: a mutant of the source fails a check of values."""

import ast
import copy
import inspect
import types

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import riemann as rm
from riemann import _nabla as nabla
from riemann import _taylor as taylor
from riemann import formulas
from riemann._calculus import forms, laplacians
from riemann._contraction import points_last
from riemann._curvature import directional
from tests.cases import BY_NAME
from tests.fields import random_form, random_tensor
from tests.helpers import exact, random_metric

CASE = BY_NAME["generic 3, indefinite"]
FOUR = random_metric(4, 1, seed=7)
X, X4 = CASE.x(), torch.tensor([[0.1, -0.2, 0.3, 0.2]], dtype=torch.float64)
JETS, JETS4 = rm.at(CASE.metric, X, 4).jets, rm.at(FOUR, X4, 4).jets
SIDE_BY_SIDE = [points_last(y.repeat(40, *[1] * (y.ndim - 1)), y.ndim - 1) for y in JETS4[:3]]  # another layout
TWO = torch.tensor([[[2.0, 1.0], [1.0, 3.0]], [[1.0, 2.0], [2.0, -3.0]]], dtype=torch.float64)  # pivots of both rows
PLANES = points_last(TWO.repeat(20, 1, 1), 2)
VECTORS = torch.randn(3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


class Watched(TorchDispatchMode):
    """Where operations are looked at, formulas are written as for a recorder."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **kwargs or {})


def as_recorded(formula, *jets):
    with Watched():
        return formula(*jets)


def of_table(f):
    """What the formulas f say of each quantity."""
    cases = [(name, q, JETS if q.most == 3 else JETS4) for name, q in rm.QUANTITIES.items()]
    return [getattr(f, name)(*jets[: quantity.order + 1]) for name, quantity, jets in cases]


def of_jets(f):
    """What the formulas f say of the test metrics."""
    g, dg, ddg, dddg = JETS[:4]
    gamma = rm.christoffel(CASE.metric, X)
    u, v, w = VECTORS
    return [
        f.inverse_metric(g), f.log_volume_element(g), f.volume_element(g), f.change_indices(g, dg, "ull", "lul"),
        f.christoffel(g, dg), f.christoffel(g, dg, kind=1), f.covariant_derivative(gamma, dg, ddg, "ulu"),
        f.hessian(gamma, u, JETS[1][..., 0, :, :]),
        f.riemann_tensor(g, dg, ddg), f.ricci_tensor(g, dg, ddg), f.scalar_curvature(g, dg, ddg),
        f.einstein_tensor(g, dg, ddg, "ul"), f.schouten_tensor(g, dg, ddg), f.kretschmann_scalar(g, dg, ddg),
        f.weyl_tensor(*JETS4[:3]), f.cotton_tensor(*JETS[:4]), f.nabla_riemann(*JETS[:4]),
        f.inverse_metric(PLANES),
        f.scalar_curvature(*SIDE_BY_SIDE), as_recorded(f.scalar_curvature, g, dg, ddg), f.riemann_tensor(*SIDE_BY_SIDE),
        f.geodesic_acceleration(*SIDE_BY_SIDE[:2], SIDE_BY_SIDE[0][:, 0]),
        f.ricci_curvature(g, dg, ddg, u), f.christoffel_vector(g, dg, u, v),
        f.curvature_endomorphism(g, dg, ddg, u, v, w), f.sectional_curvature(g, dg, ddg, u, v), f.squared_area(g, u, v),
        f.lie_derivative(u, dg[:, 0], dg, ddg, "ulu"),
        f.geodesic_acceleration(g, dg, u),
        *f.varied_acceleration(g, dg, ddg, u, torch.stack((v, w), -1), torch.stack((w, u), -1)),
        f.einstein_tensor(*(j[:, :2, :2] if k == 0 else j[:, :2, :2, :2] if k == 1 else j[:, :2, :2, :2, :2]
                            for k, j in enumerate(JETS[:3]))),
        *of_table(f),
    ]  # fmt: skip


def of_vectors(d):
    """What the forms d say of the test metric."""

    metric, inverse = rm._metric.metric_field(CASE.metric, X), formulas.inverse_metric(JETS[0])
    u, v, w = VECTORS
    return [
        d.curvature_form(metric, X, inverse, u, v),
        d.curvature_covector(metric, X, inverse, u, v, w),
        d.ricci_form(metric, X, inverse, v),
        d.connection_covector(d.lowering(metric), X, u, v),
    ]


def of_forms(f):
    """What the operations f say of forms of each degree."""
    w, metric = [random_form(3, k, k) for k in range(4)], CASE.metric
    fields = [f.exterior_derivative(w[k], k) for k in range(3)] + [f.hodge_star(metric, w[k], k) for k in range(4)]
    fields += [f.codifferential(metric, w[k], k) for k in (1, 2, 3)] + [f.wedge(w[1], 1, w[2], 2)]
    fields += [f.interior_product(random_tensor(3, 1, 9), w[k], k) for k in (1, 2, 3)] + [f.wedge(w[1], 1, w[1], 1)]
    return [field(X) for field in fields]


def of_fields(f):
    """What the Laplacians f say of tensors and forms."""
    tensor, metric = random_tensor(3, 2, 1), CASE.metric
    fields = [f.bochner_laplacian(metric, tensor, "ul"), f.lichnerowicz_laplacian(metric, tensor)]
    return [field(X) for field in fields + [f.hodge_laplacian(metric, random_form(3, k, k), k) for k in range(4)]]


def of_derivatives(d):
    """Curvature and its derivatives by polynomials."""
    return [*d.derivatives_of_curvature(JETS[:4], 1)]


def of_polynomials(t):
    """Products and derivatives of polynomials."""
    g = t.from_jets(JETS[:4], 3)
    return [g, t.derivative(g, 3, 3), t.multiply("...ij,...jk->...ik", g, g, 3, 2)]


VALUES = {
    formulas: of_jets,
    directional: of_vectors,
    forms: of_forms,
    laplacians: of_fields,
    nabla: of_derivatives,
    taylor: of_polynomials,
}
TRUTH = {module: values(module) for module, values in VALUES.items()}


def test_the_truth_is_the_exact_one():
    """The values that mutants are compared with are SymPy's."""
    for index, quantity in {4: "christoffel", 8: "riemann_tensor", 9: "ricci_tensor", 10: "scalar_curvature",
                            12: "schouten_tensor", 13: "kretschmann_scalar", 15: "cotton_tensor"}.items():  # fmt: skip
        truth = exact(CASE.symbolic, lambda s, q=quantity: getattr(s, q)(), CASE.points)
        torch.testing.assert_close(TRUTH[formulas][index], truth, rtol=1e-9, atol=1e-9)


def mutants(module):
    """(description, source) with one sign flipped, or one term dropped, at a time."""
    tree = ast.parse(inspect.getsource(module))
    for k, original in enumerate(ast.walk(tree)):
        sum_of_two = isinstance(original, ast.BinOp) and isinstance(original.op, ast.Add | ast.Sub)
        negative = isinstance(original, ast.UnaryOp) and isinstance(original.op, ast.USub)
        if not (sum_of_two or negative) or not _is_algebra(original):
            continue
        for kind in ("flip", "drop") if sum_of_two else ("flip",):
            twin = copy.deepcopy(tree)
            node = list(ast.walk(twin))[k]
            if negative:
                node.op = ast.UAdd()
            elif kind == "flip":
                node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            else:
                node.right = ast.BinOp(ast.Constant(0), ast.Mult(), node.right)
            yield (
                f"{kind} at line {original.lineno}: {ast.unparse(node)[:90]}",
                ast.unparse(ast.fix_missing_locations(twin)),
            )


def _is_algebra(node):
    """Arithmetic of tensors: not of axes, ranks and dimensions, nor of numbers alone."""
    text = ast.unparse(node)
    words = ("rank", "axis", "position", "ndim", "shape", "len(", "n - 1", "n - 2", "n ** (")
    inside = all(
        isinstance(n, ast.Constant | ast.UnaryOp | ast.USub | ast.BinOp | ast.operator) for n in ast.walk(node)
    )
    return not inside and not any(word in text for word in words)


def survives(module, source):
    twin = types.ModuleType("mutant")
    twin.__dict__.update(__name__="mutant", __package__="riemann")
    try:
        exec(compile(source, "mutant", "exec"), twin.__dict__)
        found = VALUES[module](twin)
    except Exception:
        return False
    same = lambda a, b: a.shape == b.shape and torch.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)
    return len(found) == len(TRUTH[module]) and all(map(same, found, TRUTH[module]))


@pytest.mark.slow
@pytest.mark.parametrize("module", VALUES, ids=lambda module: module.__name__.rpartition(".")[2].strip("_"))
def test_no_mutant_survives(module):
    all_mutants = list(mutants(module))
    assert all_mutants
    survivors = [description for description, source in all_mutants if survives(module, source)]
    assert not survivors, "\n".join(survivors)
