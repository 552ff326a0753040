"""Every quantity of every case against exact values; the doors agree; shapes of batches."""

import itertools

import pytest
import torch

import riemann as rm
from riemann.metrics import Conformal
from tests.cases import BY_NAME, CASES
from tests.helpers import assert_equal, exact, terms

# quantity -> (numeric call, symbolic call, smallest dimension)
QUANTITIES = {
    "inverse_metric": (rm.inverse_metric, lambda s: s.inverse_metric(), 1),
    "volume_element": (rm.volume_element, lambda s: s.volume_element(), 1),
    "christoffel": (rm.christoffel, lambda s: s.christoffel(), 1),
    "christoffel kind 1": (lambda g, x: rm.christoffel(g, x, kind=1), lambda s: s.christoffel(kind=1), 1),
    "riemann_tensor": (rm.riemann_tensor, lambda s: s.riemann_tensor(), 1),
    "ricci_tensor": (rm.ricci_tensor, lambda s: s.ricci_tensor(), 1),
    "scalar_curvature": (rm.scalar_curvature, lambda s: s.scalar_curvature(), 1),
    "einstein_tensor": (rm.einstein_tensor, lambda s: s.einstein_tensor(), 1),
    "schouten_tensor": (rm.schouten_tensor, lambda s: s.schouten_tensor(), 3),
    "weyl_tensor": (rm.weyl_tensor, lambda s: s.weyl_tensor(), 1),
    "kretschmann_scalar": (rm.kretschmann_scalar, lambda s: s.kretschmann_scalar(), 1),
}


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_exact_values(case, quantity, device):
    numeric, symbolic, smallest = QUANTITIES[quantity]
    if case.dim < smallest:
        pytest.skip("not defined in this dimension")
    x = case.x(device=device)
    scale = terms(*rm.at(case.metric, x).jets)
    scale = scale**2 if quantity == "kretschmann_scalar" else scale
    assert_equal(numeric(case.metric, x), exact(case.symbolic, symbolic, case.points), scale=scale)


@pytest.mark.parametrize("name", ["generic 3", "generic 3, indefinite", "Kerr", "ball"])
def test_cotton_tensor(name):
    case = BY_NAME[name]
    truth = exact(case.symbolic, lambda s: s.cotton_tensor(), case.points)
    assert_equal(rm.cotton_tensor(case.metric, case.x()), truth, scale=terms(*rm.at(case.metric, case.x()).jets))


@pytest.mark.parametrize("indices", ["".join(p) for p in itertools.product("ul", repeat=4)])
def test_all_positions_of_riemann(indices):
    case = BY_NAME["generic 3, indefinite"]
    truth = exact(case.symbolic, lambda s: s.riemann_tensor(indices), case.points)
    assert_equal(rm.riemann_tensor(case.metric, case.x(), indices), truth)


@pytest.mark.parametrize("case", [c for c in CASES if c.scalar is not None], ids=str)
def test_constant_scalar_curvature(case):
    x = case.x()
    assert_equal(rm.scalar_curvature(case.metric, x), case.scalar, scale=terms(*rm.at(case.metric, x).jets))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [2, 3, 5, 8])
@pytest.mark.parametrize("sign", [1, -1])
def test_space_forms(n, sign, dtype, device):
    metric = lambda x: 4 / (1 + sign * x @ x) ** 2 * torch.eye(n)
    x = 0.3 * torch.randn(7, n, dtype=dtype, device=device) / n**0.5
    here, K = rm.at(metric, x), float(sign)
    assert_equal(here.scalar_curvature(), n * (n - 1) * K)
    assert_equal(here.ricci_tensor(), (n - 1) * K * here.g)
    assert_equal(here.kretschmann_scalar(), 2.0 * n * (n - 1))
    assert_equal(here.weyl_tensor(), 0.0, scale=4.0)
    assert here.scalar_curvature().dtype == dtype and here.scalar_curvature().device == x.device


def test_kerr_kretschmann_from_the_literature():
    x = torch.tensor([[0.0, r, th, 0.0] for r in (2.0, 4.0, 9.0) for th in (0.4, 1.3)], dtype=torch.float64)
    r2, c2 = x[:, 1] ** 2, (0.6 * torch.cos(x[:, 2])) ** 2
    truth = 48 * (r2 - c2) * ((r2 + c2) ** 2 - 16 * r2 * c2) / (r2 + c2) ** 6
    assert_equal(rm.kretschmann_scalar(BY_NAME["Kerr"].metric, x), truth)


def test_pp_wave_has_curvature_and_no_invariants():
    case = BY_NAME["pp-wave"]
    here = rm.at(case.metric, case.x())
    assert here.riemann_tensor().abs().amax((1, 2, 3, 4)).min() > 0.5
    assert_equal(here.kretschmann_scalar(), 0.0)
    assert_equal(here.ricci_tensor(), 0.0)


def test_dimensions_where_mathematics_answers():
    curve, surface, space = (BY_NAME[name] for name in ("curve", "graph", "generic 3"))
    assert rm.riemann_tensor(curve.metric, curve.x()).abs().max() == 0
    assert rm.scalar_curvature(curve.metric, curve.x()).abs().max() == 0
    for case in (curve, surface):
        assert rm.einstein_tensor(case.metric, case.x()).abs().max() == 0
    for case in (curve, surface, space):
        assert rm.weyl_tensor(case.metric, case.x()).abs().max() == 0


@pytest.mark.parametrize("quantity", ["christoffel", "riemann_tensor", "ricci_tensor", "scalar_curvature",
                                      "einstein_tensor", "weyl_tensor", "schouten_tensor", "kretschmann_scalar",
                                      "inverse_metric", "volume_element", "log_volume_element"])  # fmt: skip
def test_the_doors_agree(quantity):
    case = BY_NAME["Kerr"]
    x = case.x()
    here = rm.at(case.metric, x, order=2)
    free, method = getattr(rm, quantity)(case.metric, x), getattr(here, quantity)()
    order = {"christoffel": 2, "inverse_metric": 1, "volume_element": 1, "log_volume_element": 1}.get(quantity, 3)
    formula = getattr(rm.formulas, quantity)(*here.jets[:order])
    assert_equal(free, method, rtol=1e-14)
    assert_equal(formula, method, rtol=1e-14)


def test_nabla_riemann_is_the_covariant_derivative_of_riemann():
    case = BY_NAME["generic 3, indefinite"]
    lowered = lambda y: rm.riemann_tensor(case.metric, y, "llll")
    truth = rm.covariant_derivative(case.metric, lowered, "llll")(case.x())
    assert_equal(rm.nabla_riemann(case.metric, case.x()), truth)


def test_change_indices_is_undone_by_its_inverse():
    case = BY_NAME["Kerr"]
    T = torch.randn(2, 4, 4, 4, dtype=torch.float64)
    lowered = rm.change_indices(case.metric, case.x(), T, "ulu", "lll")
    assert_equal(rm.change_indices(case.metric, case.x(), lowered, "lll", "ulu"), T)
    g = rm.at(case.metric, case.x(), order=0).g
    assert_equal(lowered, torch.einsum("zabc,zai,zck->zibk", T, g, g))


@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3), (0,), (2, 0)])
@pytest.mark.parametrize("chunk_size", [None, 1, 2])
def test_batch_shapes_and_chunks(batch, chunk_size):
    x = torch.rand(*batch, 3, dtype=torch.float64)
    metric = BY_NAME["generic 3"].metric
    riemann = rm.riemann_tensor(metric, x, chunk_size=chunk_size)
    assert riemann.shape == (*batch, 3, 3, 3, 3)
    assert rm.scalar_curvature(metric, x, chunk_size=chunk_size).shape == batch
    assert rm.at(metric, x, chunk_size=chunk_size).ddg.shape == (*batch, 3, 3, 3, 3)
    one_by_one = [rm.riemann_tensor(metric, p) for p in x.reshape(-1, 3)]
    if one_by_one:
        assert_equal(riemann, torch.stack(one_by_one).reshape(riemann.shape), rtol=1e-13)


def test_open_functions_dispatch_on_the_type_of_the_metric():
    class Flat:
        def __call__(self, x):
            raise AssertionError("the route of the type does not evaluate the metric")

    @rm.scalar_curvature.register(Flat)
    def flat(metric, x):
        return x.new_zeros(x.shape[:-1])

    assert rm.scalar_curvature(Flat(), torch.rand(3, 2)).shape == (3,)
    assert "flat" in rm.scalar_curvature.route(Flat())
    assert rm.scalar_curvature.route(sphere := BY_NAME["sphere 2"].metric) == "generic"
    assert rm.ricci_tensor.route(sphere) == "generic"


class Scaled(Conformal):
    def forward(self, x):
        return super().forward(x) * (2 + torch.sin(x[0]))


class Recorded(Conformal):
    inherits_routes = True

    def forward(self, x):
        return super().forward(x)


def test_a_metric_that_is_evaluated_otherwise_than_its_type_takes_no_route_of_it():
    exponent = lambda x: x[0] * x[1]
    hooked, replaced = Conformal(None, exponent), Conformal(None, exponent)
    hooked.register_forward_hook(lambda module, args, g: g * (2 + torch.sin(args[0][0])))
    replaced.forward = lambda x: torch.eye(3) * (2 + torch.sin(x[0])) * torch.exp(2 * exponent(x))
    x = torch.rand(4, 3, dtype=torch.float64)
    for metric in (Scaled(None, exponent), hooked, replaced):
        assert rm.scalar_curvature.route(metric) == "generic"
        assert_equal(rm.scalar_curvature(metric, x), rm.scalar_curvature(lambda p, g=metric: g(p), x))
        assert_equal(rm.at(metric, x).g, rm.at(lambda p, g=metric: g(p), x).g)
    assert rm.scalar_curvature.route(Recorded(None, exponent)) == rm.scalar_curvature.route(Conformal(None, exponent))


def test_a_function_of_no_module():
    """As `exec` makes them where its names do not hold `__name__`."""
    plane = lambda x: (1 + x @ x) * torch.eye(2).to(x)
    plane.__module__ = None
    x = torch.tensor([0.0, 0.0], dtype=torch.float64)
    assert_equal(rm.scalar_curvature(plane, x), torch.tensor(-4.0, dtype=torch.float64))
