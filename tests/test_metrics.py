"""Metrics that know their structure: one contract against the generic route, literature, composition, messages."""

import re

import pytest
import torch
from torch import nn
from torch.func import vmap

import riemann as rm
from riemann.metrics import (
    Cholesky,
    Conformal,
    Constant,
    Diagonal,
    Hessian,
    LowRankPlusDiagonal,
    Product,
    Pullback,
    Warped,
)
from tests.helpers import assert_equal


class Smooth(nn.Module):
    """A random smooth function R^n -> R^shape with parameters: constant + affine + tanh."""

    def __init__(self, n, shape, constant=0.0, size=0.3, affine=0.0):
        super().__init__()
        out = (*shape, 5)
        self.W, self.b = nn.Parameter(0.7 * torch.randn(5, n)), nn.Parameter(torch.randn(5))
        self.V = nn.Parameter(size * torch.randn(out))
        self.A = nn.Parameter(affine * torch.randn(*shape, n))
        self.c = nn.Parameter(constant + torch.zeros(shape))

    def forward(self, x):
        return self.c + self.A @ x + self.V @ torch.tanh(self.W @ x + self.b)


class Symmetric(nn.Module):
    """A random metric of a signature, of no structure."""

    def __init__(self, signs):
        super().__init__()
        n = len(signs)
        self.register_buffer("eta", torch.diag(torch.tensor(signs)))
        self.A = Smooth(n, (n, n), size=0.15)

    def forward(self, x):
        A = self.A(x)
        return 2 * self.eta + A + A.mT


def convex(n):
    bump = Smooth(n, (), size=0.5)

    class Potential(nn.Module):
        def __init__(self):
            super().__init__()
            self.bump = bump

        def forward(self, x):
            return 2 * x @ x + self.bump(x)

    return Potential()


def sphere(x):
    return 4 * torch.eye(x.shape[-1], dtype=x.dtype) / (1 + x @ x) ** 2


def minkowski(n):
    return Constant(torch.diag(torch.tensor([-1.0] + [1.0] * (n - 1))))


def affine(n, m):
    return Smooth(n, (m,), affine=1.0)


def network(*sizes):
    layers = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight)
    return nn.Sequential(*(m for layer in layers for m in (layer, nn.Tanh())))[:-1]


METRICS = {
    "Constant": (lambda: minkowski(4), 4),
    "Diagonal": (lambda: Diagonal(Smooth(4, (4,), torch.tensor([-3.0, 3, 2, 4]))), 4),
    "Diagonal 2": (lambda: Diagonal(Smooth(2, (2,), 3.0)), 2),
    "Cholesky": (lambda: Cholesky(Smooth(3, (3, 3), 2 * torch.eye(3))), 3),
    "LowRankPlusDiagonal": (
        lambda: LowRankPlusDiagonal(Smooth(4, (4,), 4.0), Smooth(4, (4, 2)), torch.tensor([1.0, -0.5])),
        4,
    ),
    "Hessian": (lambda: Hessian(convex(3)), 3),
    "Conformal, flat": (lambda: Conformal(None, Smooth(4, ())), 4),
    "Conformal, of no structure": (lambda: Conformal(Symmetric([-1.0, 1.0, 1.0, 1.0]), Smooth(4, ())), 4),
    "Product": (lambda: Product((sphere, 2), (Hessian(convex(2)), 2)), 4),
    "Warped": (lambda: Warped((Conformal(None, Smooth(2, ())), 2), (sphere, 2), Smooth(2, (), 2.0)), 4),
    "Warped, of a line": (lambda: Warped((Constant(), 1), (Symmetric([1.0, -1.0]), 2), Smooth(1, (), 2.0)), 3),
    "Pullback": (lambda: Pullback(affine(3, 5)), 3),
    "Pullback, of a network": (lambda: Pullback(network(3, 5, 4, 6)), 3),
    "Pullback, Lorentzian": (lambda: Pullback(affine(2, 4), Constant(torch.diag(torch.tensor([-0.2, 1, 1, 1])))), 2),
    "Pullback, of no structure": (lambda: Pullback(affine(3, 4), Symmetric([1.0] * 4)), 3),
    "Pullback, of a conformal metric": (lambda: Pullback(affine(2, 3), Conformal(None, Smooth(3, ()))), 2),
    "Pullback, to copies": (lambda: Pullback(affine(3, 4), Conformal(None, Smooth(2, ())), copies=2), 3),
    "Pullback, to flat copies": (lambda: Pullback(affine(3, 4), Constant(torch.diag(torch.tensor([1.0, 2.0]))), 2), 3),
    "Pullback, of as many coordinates": (lambda: Pullback(affine(3, 3), Symmetric([1.0, 1.0, -1.0])), 3),
    "Conformal, of a product": (
        lambda: Conformal(Product((Pullback(affine(2, 3)), 2), (sphere, 2)), Smooth(4, ())),
        4,
    ),
}


def u(x):
    return torch.linspace(1, 2, x.shape[-1]).to(x)


def v(x):
    return torch.cos(2 * u(x))


def along(T, *vectors):
    """A tensor, all indices lower, of vectors at its last indices."""
    for a in vectors:
        T = torch.einsum("...i,...i->...", T, a.reshape(*a.shape[:-1], *[1] * (T.ndim - a.ndim), -1))
    return T


# name: the open function, and the same from the jets by the general formula
QUANTITIES = {
    "metric": (lambda g, x: rm.at(g, x, 0).g, lambda here: here.g),
    "first derivatives": (lambda g, x: rm.at(g, x).dg, lambda here: here.dg),
    "second derivatives": (lambda g, x: rm.at(g, x).ddg, lambda here: here.ddg),
    "inverse_metric": (rm.inverse_metric, lambda here: here.inverse_metric()),
    "volume_element": (rm.volume_element, lambda here: here.volume_element()),
    "log_volume_element": (rm.log_volume_element, lambda here: here.log_volume_element()),
    "change_indices": (
        lambda g, x: rm.change_indices(g, x, u(x) * x, "u", "l"),
        lambda here: here.change_indices(u(here.x) * here.x, "u", "l"),
    ),
    "christoffel": (rm.christoffel, lambda here: here.christoffel()),
    "christoffel_vector": (
        lambda g, x, **o: rm.christoffel_vector(g, x, u(x), v(x), **o),
        lambda here: along(here.christoffel(), v(here.x), u(here.x)),
    ),
    "riemann_tensor": (rm.riemann_tensor, lambda here: here.riemann_tensor()),
    "riemann_tensor, raised": (
        lambda g, x, **o: rm.riemann_tensor(g, x, "luul", **o),
        lambda here: here.riemann_tensor("luul"),
    ),
    "ricci_tensor": (rm.ricci_tensor, lambda here: here.ricci_tensor()),
    "ricci_tensor, mixed": (lambda g, x, **o: rm.ricci_tensor(g, x, "ul", **o), lambda here: here.ricci_tensor("ul")),
    "scalar_curvature": (rm.scalar_curvature, lambda here: here.scalar_curvature()),
    "einstein_tensor": (rm.einstein_tensor, lambda here: here.einstein_tensor()),
    "schouten_tensor": (rm.schouten_tensor, lambda here: here.schouten_tensor()),
    "weyl_tensor": (rm.weyl_tensor, lambda here: here.weyl_tensor()),
    "cotton_tensor": (rm.cotton_tensor, lambda here: here.cotton_tensor()),
    "nabla_riemann": (rm.nabla_riemann, lambda here: here.nabla_riemann()),
    "kretschmann_scalar": (rm.kretschmann_scalar, lambda here: here.kretschmann_scalar()),
    "sectional_curvature": (
        lambda g, x, **o: rm.sectional_curvature(g, x, u(x), v(x), **o),
        lambda here: here.sectional_curvature(u(here.x), v(here.x)),
    ),
    "sectional_form": (
        lambda g, x, **o: rm.sectional_form(g, x, u(x), v(x), **o),
        lambda here: along(here.riemann_tensor("llll"), v(here.x), u(here.x), v(here.x), u(here.x)),
    ),
    "curvature_endomorphism": (
        lambda g, x, **o: rm.curvature_endomorphism(g, x, u(x), v(x), u(x) * v(x), **o),
        lambda here: here.curvature_endomorphism(u(here.x), v(here.x), u(here.x) * v(here.x)),
    ),
    "ricci_curvature": (
        lambda g, x, **o: rm.ricci_curvature(g, x, v=u(x), **o),
        lambda here: here.ricci_curvature(u(here.x)),
    ),
}
NO_CHUNKS = {"metric", "first derivatives", "second derivatives", "change_indices"}
FROM_THREE = {"schouten_tensor", "cotton_tensor"}


def build(name):
    torch.manual_seed(1)
    make, n = METRICS[name]
    return make().double(), n


def quantities(n):
    return [name for name in QUANTITIES if n > 2 or name not in FROM_THREE]


@pytest.mark.parametrize("name", METRICS)
def test_contract(name):
    """Every quantity equals the general formula on the jets of the same function of no type; gradients, too."""
    metric, n = build(name)
    x = (0.5 * torch.randn(2, 1, n, dtype=torch.float64)).requires_grad_()
    here = rm.at(lambda p: metric(p), x, order=3)
    losses = [0.0, 0.0]
    for quantity in quantities(n):
        f, formula = QUANTITIES[quantity]
        value, truth = f(metric, x), formula(here)
        assert value.shape == truth.shape and value.dtype == torch.float64, quantity
        assert_equal(value, truth)
        weights = torch.randn_like(truth) / (1 + truth.detach().abs().max())
        losses = [loss + (y * weights).sum() for loss, y in zip(losses, (value, truth), strict=True)]
    leaves = [x, *metric.parameters()]
    gradients = [torch.autograd.grad(y + 0 * sum(p.sum() for p in leaves), leaves) for y in losses]
    for got, expected in zip(*gradients, strict=True):
        assert_equal(got, expected, rtol=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_fourth_derivatives(name):
    metric, n = build(name)
    x = 0.5 * torch.randn(2, n, dtype=torch.float64)
    with torch.no_grad():
        for jet, truth in zip(rm.at(metric, x, 4).jets, rm.at(lambda p: metric(p), x, 4).jets, strict=True):
            assert_equal(jet, truth)


@pytest.mark.parametrize(
    "name, quantity",
    [
        (name, quantity)
        for i, (name, (_, n)) in enumerate(METRICS.items())
        for j, quantity in enumerate(QUANTITIES)
        if (i + j) % 6 == 0 and quantity in quantities(n)
    ],
)
def test_manners(name, quantity):
    """Batches, pieces, vmap, no points, float32: each type and each quantity, a sixth of the pairs."""
    metric, n = build(name)
    f, _ = QUANTITIES[quantity]
    x = 0.5 * torch.randn(2, 1, n, dtype=torch.float64)
    with torch.no_grad():
        value = f(metric, x)
        options = {} if quantity in NO_CHUNKS else {"chunk_size": 1}
        assert_equal(f(metric, x, **options), value)
        assert_equal(f(metric, x[0, 0]), value[0, 0])
        assert_equal(vmap(lambda p: f(metric, p))(x), value)
        assert f(metric, x[:0]).shape == value[:0].shape
        single = f(metric.float(), x.float())
    assert single.dtype == torch.float32
    assert_equal(single, value.float(), rtol=2e-3)


@pytest.mark.parametrize("name", METRICS)
def test_many_planes_at_the_same_points(name):
    metric, n = build(name)
    x, (a, b) = 0.5 * torch.randn(2, n, dtype=torch.float64), torch.randn(2, 3, n, dtype=torch.float64)
    truth = torch.einsum("zabcd,sa,sb,sc,sd->sz", rm.riemann_tensor(metric, x, "llll"), a, b, a, b)
    for options in ({}, {"chunk_size": 2}):
        assert_equal(rm.sectional_form(metric, x, a[:, None], b[:, None], **options), truth)


# ------------------------------------------------------------------------------------------------------ literature


def points(n, count=4, low=0.4, high=1.2):
    return low + (high - low) * torch.rand(count, n, dtype=torch.float64)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_hyperbolic_space_three_ways(n):
    upper = Conformal(None, lambda x: -torch.log(x[-1]))
    cusp = Warped((Constant(), 1), (Constant(), n - 1), lambda b: torch.exp(b[0]))
    hyperboloid = Pullback(lambda x: torch.cat([torch.sqrt(1 + x @ x)[None], x]), minkowski(n + 1))
    x = points(n)
    for metric in (upper, cusp, hyperboloid):
        assert_equal(rm.scalar_curvature(metric, x), -float(n * (n - 1)))
        assert_equal(rm.ricci_tensor(metric, x, "ul"), -(n - 1.0) * torch.eye(n))
        assert_equal(rm.sectional_curvature(metric, x, u(x), v(x)), -1.0)
        assert_equal(rm.kretschmann_scalar(metric, x), 2.0 * n * (n - 1))


def test_schwarzschild_and_de_sitter():
    f = lambda r: 1 - 2 / r
    static = Diagonal(lambda x: torch.stack([-f(x[1]), 1 / f(x[1])]))
    black_hole = Warped(
        (static, 2), (Diagonal(lambda y: torch.stack([y[0] * 0 + 1, y[0].sin() ** 2])), 2), lambda b: b[1]
    )
    x = torch.tensor([[0.0, 5, 0.8, 0.3], [1, 3, 2, 1], [0, 1.5, 1, 0]], dtype=torch.float64)
    assert_equal(rm.ricci_tensor(black_hole, x), 0.0)
    assert_equal(rm.kretschmann_scalar(black_hole, x), 48 / x[:, 1] ** 6)
    assert_equal(rm.weyl_tensor(black_hole, x), rm.riemann_tensor(black_hole, x))

    de_sitter = Pullback(
        lambda x: torch.cat(
            [x[:1].sinh(), x[:1].cosh() * torch.stack([x[1].cos(), x[1].sin() * x[2].cos(), x[1].sin() * x[2].sin()])]
        ),
        minkowski(4),
    )
    assert_equal(rm.scalar_curvature(de_sitter, points(3)), 6.0)
    assert bool((torch.linalg.det(rm.at(de_sitter, points(3), 0).g) < 0).all())


def test_expanding_universe():
    space = Conformal(None, lambda y: -torch.log1p(y @ y / 4))  # the unit 3-sphere
    universe = Warped((Constant(-torch.eye(1)), 1), (space, 3), lambda t: t[0] ** (2 / 3))
    x = points(4)
    t, ricci = x[:, 0], rm.ricci_tensor(universe, x)
    assert_equal(ricci[:, 0, 0], 2 / (3 * t**2))  # -3 a'' / a
    a, da = t ** (2 / 3), 2 / 3 * t ** (-1 / 3)
    assert_equal(rm.einstein_tensor(universe, x)[:, 0, 0], 3 * (da**2 + 1) / a**2)  # Friedmann


def test_submanifolds():
    angles = lambda x: torch.stack([x[0].sin() * x[1].cos(), x[0].sin() * x[1].sin(), x[0].cos()])
    assert_equal(rm.scalar_curvature(Pullback(angles), points(2)), 2.0)
    circle = lambda t: torch.stack([t.cos(), t.sin()])
    clifford = Pullback(lambda x: torch.cat([circle(x[0]), circle(x[1])]) / 2**0.5)
    assert_equal(rm.riemann_tensor(clifford, points(2)), 0.0)
    in_sphere = Pullback(lambda x: torch.cat([circle(x[0]), circle(x[1])[:1]]) / (2**0.5 - x[1].sin()), sphere)
    assert_equal(rm.at(in_sphere, points(2), 0).g, 0.5 * torch.eye(2))
    assert_equal(rm.riemann_tensor(in_sphere, points(2)), 0.0)
    torus = Pullback(lambda x: torch.cat([(2 + x[1].cos()) * circle(x[0]), x[1].sin()[None]]))
    x = points(2)
    assert_equal(rm.scalar_curvature(torus, x), 2 * x[:, 1].cos() / (2 + x[:, 1].cos()))
    surface_in_surface = Pullback(lambda x: torch.stack([x[0] + x[1] ** 2 / 4, x[1]]), torus)
    assert_equal(rm.scalar_curvature(surface_in_surface, x), 2 * x[:, 1].cos() / (2 + x[:, 1].cos()))


def test_sphere_times_hyperbolic_plane_is_conformally_flat():
    metric = Product((sphere, 2), (Conformal(None, lambda x: -torch.log(x[1])), 2))
    x = points(4)
    assert_equal(rm.scalar_curvature(metric, x), 0.0)
    assert_equal(rm.kretschmann_scalar(metric, x), 8.0)
    assert_equal(rm.weyl_tensor(metric, x), 0.0, scale=10.0)
    across = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64), torch.tensor([0.0, 0, 1, 0], dtype=torch.float64)
    assert_equal(rm.sectional_curvature(metric, x, *across), 0.0)


def test_conformal_changes_keep_weyl_and_flat_ones_have_no_cotton():
    base, flat = Symmetric([1.0, 1.0, -1.0, 1.0]).double(), Conformal(None, lambda x: x.sin().sum())
    metric, x = Conformal(base, lambda x: x.sin().sum()), points(4)
    assert_equal(rm.weyl_tensor(metric, x), rm.weyl_tensor(base, x))
    assert rm.weyl_tensor(flat, x).abs().max() == 0 and rm.cotton_tensor(flat, x).abs().max() == 0


def test_normal_distributions_as_a_hessian_metric():
    log_partition = lambda t: -(t[0] ** 2) / (4 * t[1]) - 0.5 * torch.log(-t[1])
    x = torch.tensor([[1.0, -0.5], [0.2, -2]], dtype=torch.float64)
    assert_equal(rm.scalar_curvature(Hessian(log_partition), x), -1.0)


# -------------------------------------------------------------------------------------------------- large dimension


def test_low_rank_never_forms_the_matrix(monkeypatch):
    monkeypatch.setattr(LowRankPlusDiagonal, "forward", lambda *_: pytest.fail("formed (n, n)"))
    n = 5000
    graph = LowRankPlusDiagonal(torch.ones_like, lambda x: x[:, None])  # of |x|²/2
    x = torch.zeros(n, dtype=torch.float64)
    a, b = torch.zeros(2, n, dtype=torch.float64)
    a[0], b[1], x[2] = 1, 1, 2
    assert_equal(rm.sectional_curvature(graph, x, a, b), 1 / 5)  # 1 / (1 + |x|²)
    assert_equal(rm.christoffel_vector(graph, x, a, a), x / 5)
    assert_equal(rm.log_volume_element(graph, x), 0.5 * torch.log(torch.tensor(5.0, dtype=torch.float64)))


def test_the_generic_route_in_many_dimensions_says_so_once():
    from riemann._curvature import snapshot

    snapshot._SAID.clear()
    metric, x = lambda x: torch.diag(2 + x.sin()), points(32, 1)
    ricci, scalar = rm.ricci_tensor(metric, x), rm.scalar_curvature(metric, x)  # in blocks; warnings are errors
    with pytest.warns(
        UserWarning, match=r"`kretschmann_scalar` takes the generic route.*riemann\.structured.*chunk_size"
    ):
        rm.kretschmann_scalar(metric, x)
    assert_equal(rm.einstein_tensor(metric, x), ricci - 0.5 * scalar[..., None, None] * metric(x[0]))
    structured = Diagonal(lambda x: 2 + x.sin())
    assert_equal(rm.ricci_tensor(structured, x), ricci)
    assert_equal(rm.scalar_curvature(structured, x), scalar)


def test_estimates_take_the_routes():
    metric = Pullback(affine(3, 5).double())
    x, generator = points(3, 2), torch.Generator()
    samples = [rm.estimate_scalar_curvature(g, x, 20, generator.manual_seed(0)) for g in (metric, lambda p: metric(p))]
    assert_equal(samples[0].value, samples[1].value)
    assert_equal(samples[0].standard_error, samples[1].standard_error)


# ---------------------------------------------------------------------------------------------- dispatch, wrappers


def test_names_of_routes():
    metric = Conformal(None, lambda x: x.sum())
    assert rm.scalar_curvature.route(metric) == "riemann.metrics._conformal.scalar_curvature"
    assert rm.at.route(metric) == "riemann.metrics._conformal.jets"
    assert rm.einstein_tensor.route(metric) == "riemann.metrics._structure.einstein_tensor"
    assert rm.nabla_riemann.route(metric) == "generic"


def test_types_of_users_are_parts_on_equal_terms():
    class Round(nn.Module):
        def forward(self, x):
            return sphere(x)

    calls = []

    @rm.scalar_curvature.register(Round)
    def known(metric, x):
        calls.append(x.shape)
        return x.new_full(x.shape[:-1], 2.0)

    class MyProduct(Product):
        pass

    metric = MyProduct((Round(), 2), (Constant(), 3))
    assert_equal(rm.scalar_curvature(metric, points(5)), 2.0)
    assert calls == [(4, 2)]


def test_structure_survives_wrappers_of_torch():
    metric, x = build("Pullback")[0], points(3)
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(metric)
        compiled = Pullback(torch.compile(metric.map, backend="eager"))
        for g in (wrapped, torch.compile(wrapped, backend="eager"), compiled):
            assert rm.scalar_curvature.route(g) == "riemann.metrics._pullback.scalar_curvature"
            assert_equal(rm.scalar_curvature(g, x), rm.scalar_curvature(metric, x))
            assert rm.at.route(g) == "riemann.metrics._pullback.jets"
            assert_equal(rm.at(g, x).ricci_tensor(), rm.at(metric, x).ricci_tensor())
        of_no_structure = Symmetric([1.0, -1.0, 1.0]).double()
        wrapped = nn.parallel.DistributedDataParallel(of_no_structure)
        assert_equal(rm.scalar_curvature(wrapped, x), rm.scalar_curvature(of_no_structure, x))
        wrapped = Pullback(nn.parallel.DistributedDataParallel(metric.map))
        assert_equal(rm.scalar_curvature(wrapped, x), rm.scalar_curvature(metric, x))
    finally:
        torch.distributed.destroy_process_group()


def test_a_compiled_callable_that_is_no_module():
    class Flat:
        def __call__(self, x):
            return torch.eye(2)

    @rm.scalar_curvature.register(Flat)
    def flat(metric, x):
        return x.new_zeros(x.shape[:-1])

    assert "flat" in rm.scalar_curvature.route(torch.compile(Flat(), backend="eager"))


def test_hooks_on_the_last_layer_are_kept():
    f, x = network(3, 4, 5).double(), points(3)
    f[-1].register_forward_hook(lambda module, args, y: y.sin())
    metric = Pullback(f)
    assert_equal(rm.scalar_curvature(metric, x), rm.scalar_curvature(lambda p: metric(p), x))


def test_parameters_of_parts_are_the_parameters_of_the_metric():
    metric = Warped((Conformal(None, Smooth(2, ())), 2), (sphere, 2), Smooth(2, (), 2.0)).double()
    assert {name.split(".")[0] for name, _ in metric.named_parameters()} == {"base", "warp"}
    loss = rm.scalar_curvature(metric, points(4)).square().mean()
    loss.backward()
    assert all(p.grad is not None for name, p in metric.named_parameters() if not name.endswith(".A"))


# -------------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    "metric, message",
    [
        (Diagonal(lambda x: torch.eye(2)), r"`entries of Diagonal` returned shape (2, 2) at one point, expected (2,)"),
        (Cholesky(lambda x: x), "`factor of Cholesky` returned shape (2,) at one point, expected (2, 2)"),
        (Conformal(None, lambda x: x), "`log_factor of Conformal` returned shape (2,) at one point, expected ()"),
        (Pullback(lambda x: x.sum()), "`map of Pullback` returned shape () at one point, expected (any,)"),
        (Pullback(lambda x: [x]), "`map of Pullback` returned list at one point, expected a torch.Tensor"),
        (Pullback(lambda x: x.float()), "`map of Pullback` returned torch.float32"),
        (Hessian(lambda x: x), "`potential of Hessian` returned shape (2,) at one point, expected ()"),
        (Product((sphere, 1), (sphere, 2)), "Product have dimensions (1, 2), 3 together, and the points have n = 2"),
        (Warped((sphere, 2), (sphere, 2), torch.sum), "fibre of Warped have dimensions (2, 2), 4 together"),
        (Warped((sphere, 1), (sphere, 1), lambda b: b), "`warp of Warped` returned shape (1,)"),
        (Constant(torch.eye(3)), "`matrix` of Constant has shape (3, 3), expected (2, 2)"),
        (LowRankPlusDiagonal(torch.ones_like, lambda x: x), "returned shape (2,) at one point, expected (2, any)"),
        (
            LowRankPlusDiagonal(torch.ones_like, lambda x: x[:, None], torch.ones(3)),
            "`signs` of LowRankPlusDiagonal has shape (3,), and `factor` returned 1 columns",
        ),
    ],
)
@pytest.mark.parametrize("f", [rm.scalar_curvature, rm.christoffel, rm.log_volume_element, lambda g, x: g(x[0])])
def test_parts_of_wrong_shape(metric, message, f):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        f(metric, points(2))


def test_arguments_of_wrong_shape():
    with pytest.raises(ValueError, match=r"`matrix` of Constant has shape \(3,\), expected \(n, n\)"):
        Constant(torch.ones(3))
    with pytest.raises(ValueError, match=r"`signs` of LowRankPlusDiagonal has shape \(2, 2\), expected \(r,\)"):
        LowRankPlusDiagonal(torch.ones_like, lambda x: x[:, None], torch.eye(2))
    with pytest.raises(ValueError, match="`indices` of the Ricci tensor is 'ux'"):
        rm.ricci_tensor(Conformal(None, lambda x: x.sum()), points(2), "ux")
    with pytest.raises(ValueError, match="`u` and `v` span no plane"):
        rm.sectional_curvature(
            Pullback(lambda x: torch.cat([x, x**2])), points(2), torch.ones(2).double(), torch.ones(2).double()
        )


@pytest.mark.parametrize(
    "metric",
    [
        Diagonal(lambda x: torch.stack([x[0], x[1] ** 0])),
        Cholesky(lambda x: torch.diag(x)),
        Pullback(lambda x: x**2),
        Conformal(None, lambda x: torch.log(x[0])),
        Hessian(lambda x: x[0] ** 3 + x[1] ** 2),
        Warped((Constant(), 1), (Constant(), 1), lambda b: b[0]),
        Product((lambda x: x.reshape(1, 1), 1), (Constant(), 1)),
    ],
    ids=lambda metric: type(metric).__name__,
)
@pytest.mark.parametrize("f", [rm.scalar_curvature, rm.volume_element, rm.christoffel, rm.ricci_tensor])
def test_singular_points_are_nan_and_named(metric, f):
    x = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"`metric` is (singular|not finite)"):
        value = f(metric, x)
    assert bool(value[0].isfinite().all()) and bool(value[1].isnan().all())


def test_parts_run_under_the_safe_mode():
    determinant = Conformal(None, lambda x: torch.linalg.det(torch.diag(1 + x**2)).log())
    written_out = Conformal(None, lambda x: (1 + x**2).prod().log())
    x = points(3)
    assert_equal(rm.scalar_curvature(determinant, x), rm.scalar_curvature(written_out, x))
    with pytest.raises(ValueError, match="the map of Pullback calls `detach`"):
        rm.scalar_curvature(Pullback(lambda x: torch.cat([x, x.detach()])), x)
