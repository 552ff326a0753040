"""Degenerate metrics are NaN with their rank, on every route; what only looks degenerate is right, in silence."""

import inspect
import math
import warnings

import pytest
import torch

import riemann as rm
import riemann_nn
from riemann import metrics, spaces
from tests.cases import BY_NAME, CASES

D = torch.float64
LIGHT = 299792458.0


def tensor(rows):
    return torch.tensor(rows, dtype=D)


def points(n, count=2, seed=0):
    return 0.2 + torch.rand(count, n, dtype=D, generator=torch.Generator().manual_seed(seed))


def network(*widths):
    torch.manual_seed(1)
    layers = [torch.nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)]
    return torch.nn.Sequential(*[m for layer in layers for m in (layer, torch.nn.Tanh())][:-1]).double()


def diagonal(*entries):
    return torch.diag(torch.stack([e if isinstance(e, torch.Tensor) else torch.tensor(e, dtype=D) for e in entries]))


# --------------------------------------------------------------------------------------------- degenerate, of rank r


def softmax(x):
    p = torch.softmax(x, 0)
    return torch.diag(p) - torch.outer(p, p)


def folded(x):  # a plane by three coordinates
    return torch.stack([torch.sin(x[0] + x[1]), x[2] * (x[0] + x[1])])


def pulled(x):
    J = torch.func.jacfwd(folded)(x)
    return J.T @ J


def cone(x):  # light-like
    return torch.cat([x, torch.linalg.norm(x)[None]])


square = lambda x: torch.outer(x, x)  # of rank 1
line, plane = (metrics.Constant(), 1), (metrics.Constant(), 2)
minkowski = metrics.Constant(torch.diag(tensor([1.0, 1, 1, -1])))
one_zero = torch.ones(3, 3, dtype=D)
one_zero[1, 1] = 0
FIRST = tensor([[0.5, 0.3, 0.2]])


def cholesky_net():
    torch.manual_seed(0)
    return riemann_nn.MLPCholesky(3, (8,), diagonal=torch.zeros_like).double()


DEGENERATE = {
    "Fisher metric of logits": (softmax, points(3), 2),
    "a pull-back in plain torch": (pulled, points(3), 2),
    "bottleneck decoder": (metrics.Pullback(network(3, 8, 2)), points(3), 2),
    "bottleneck inside a decoder": (metrics.Pullback(network(3, 8, 2, 30)), points(3), 2),
    "normalised decoder": (metrics.Pullback(lambda x: x / (x @ x).sqrt()), points(3), 2),
    "light cone": (metrics.Pullback(cone, minkowski), points(3), 2),
    "light cone, curved": (metrics.Pullback(cone, lambda y: minkowski.matrix * (1 + y[3] ** 2)), points(3), 2),
    "warp 0": (metrics.Warped(line, plane, lambda b: b[0] - 0.5), FIRST, 1),
    "warp 0, flat": (metrics.Warped(line, plane, lambda b: (b[0] - 0.5) ** 2), FIRST, 1),
    "warp 0 of a line": (metrics.Warped(plane, line, lambda b: b[0] - 0.5), FIRST, 2),
    "warped, degenerate base": (metrics.Warped((square, 2), line, lambda b: 1 + b[0] ** 2), points(3), 2),
    "warped, degenerate fibre": (metrics.Warped(line, (square, 2), lambda b: 1 + b[0] ** 2), points(3), 2),
    "product": (metrics.Product((square, 2), line), points(3), 2),
    "conformal": (metrics.Conformal(softmax, lambda x: torch.sin(x[0])), points(3), 2),
    "conformal to a constant": (metrics.Conformal(metrics.Constant(0 * one_zero + 1), torch.sum), points(3), 1),
    "Hessian": (metrics.Hessian(lambda x: torch.logsumexp(x, 0)), points(3), 2),
    "Hessian of fewer variables": (metrics.Hessian(lambda x: torch.sin(x[0] + x[1]) + x[2] ** 2), points(3), 2),
    "diagonal": (metrics.Diagonal(lambda x: torch.stack([1 + x[0] ** 2, 0 * x[1], 1 + x[0]])), points(3), 2),
    "diagonal at a point": (metrics.Diagonal(lambda x: torch.stack([1 + x[1], x[0] - 0.5, 1 + x[0]])), FIRST, 2),
    "low rank, no diagonal": (metrics.LowRankPlusDiagonal(torch.zeros_like, lambda x: x[:, None] ** 2), points(3), 1),
    "low rank, tiny diagonal": (
        metrics.LowRankPlusDiagonal(lambda x: 1e-30 + 0 * x, lambda x: torch.stack([x, x**2], 1)), points(3), 2,
    ),
    "low rank, taken away": (
        metrics.LowRankPlusDiagonal(torch.ones_like, lambda x: (x / (x @ x).sqrt())[:, None], tensor([-1.0])),
        points(3), 2,
    ),
    "Cholesky": (metrics.Cholesky(lambda x: torch.outer(x, x) * one_zero.to(x)), points(3), 2),
    "constant": (metrics.Constant(one_zero @ one_zero.T), points(3), 2),
    "Cholesky network": (cholesky_net(), points(3), 2),
}  # fmt: skip

U, V, W = torch.randn(3, 2, 3, dtype=D, generator=torch.Generator().manual_seed(1))


def of_tensor(name, **options):
    return lambda g, x: getattr(rm, name)(g, x, **options)


def of_vectors(name, *vectors):
    return lambda g, x: getattr(rm, name)(g, x, *(v[: len(x), : x.shape[-1]] for v in vectors))


TENSORS = (
    "inverse_metric", "volume_element", "log_volume_element", "christoffel", "riemann_tensor", "ricci_tensor",
    "scalar_curvature", "einstein_tensor", "schouten_tensor", "weyl_tensor", "kretschmann_scalar", "cotton_tensor",
    "nabla_riemann",
)  # fmt: skip
QUANTITIES = {
    **{name: of_tensor(name) for name in TENSORS},
    "christoffel, lower": of_tensor("christoffel", kind=1),
    "riemann_tensor, lower": of_tensor("riemann_tensor", indices="llll"),
    "ricci_tensor, mixed": of_tensor("ricci_tensor", indices="ul"),
    "change_indices": lambda g, x: rm.change_indices(g, x, U[: len(x)], "l", "u"),
    "christoffel_vector": of_vectors("christoffel_vector", U, V),
    "sectional_form": of_vectors("sectional_form", U, V),
    "sectional_curvature": of_vectors("sectional_curvature", U, V),
    "curvature_endomorphism": of_vectors("curvature_endomorphism", U, V, W),
    "ricci_curvature": of_vectors("ricci_curvature", V),
    "estimate_scalar_curvature": lambda g, x: rm.estimate_scalar_curvature(g, x, 2).value,
    "estimate_ricci_curvature": lambda g, x: rm.estimate_ricci_curvature(g, x, V[: len(x)], 2).value,
    "at": lambda g, x: rm.at(g, x).scalar_curvature(),
    "gradient": lambda g, x: rm.gradient(g, lambda y: torch.sin(y).sum())(x),
    "laplacian": lambda g, x: rm.laplacian(g, lambda y: torch.sin(y).sum())(x),
    "codifferential": lambda g, x: rm.codifferential(g, torch.sin, 1)(x),
    "bound_rounding": lambda g, x: rm.bound_rounding(g, x)["scalar_curvature"],
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_metrics_are_nan_and_said_once_with_their_rank(name):
    metric, x, rank = DEGENERATE[name]
    for quantity, f in QUANTITIES.items():
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            value = f(metric, x)
        assert value.isnan().all(), f"{quantity}: {value}"
        assert [f"rank {rank} of 3 at" in str(w.message) for w in said] == [True], f"{quantity}: {said}"


@pytest.mark.parametrize("name", ["a pull-back in plain torch", "warp 0", "Cholesky network"])
def test_compiled_functions_of_degenerate_metrics(name):
    metric, x, rank = DEGENERATE[name]
    for quantity in ("scalar_curvature", "inverse_metric", "volume_element", "christoffel"):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            value = rm.compile(metric, quantity, dim=3, backend=None, budget=3)(x)
        assert value.isnan().all() and any(f"rank {rank} of 3 at" in str(w.message) for w in said)


def test_the_other_points_of_a_batch_are_right():
    g = metrics.Warped(line, plane, lambda b: b[0] - 0.5)
    x = torch.cat([FIRST, FIRST + 1])
    with pytest.warns(UserWarning, match=r"singular: rank 1 of 3 at point \[0\] of the batch: results are NaN there"):
        value = rm.scalar_curvature(g, x)
    assert value[0].isnan()
    torch.testing.assert_close(value[1], tensor(-2.0))


@pytest.mark.parametrize("dtype", [torch.float32, D])
@pytest.mark.parametrize("n", [2, 5, 20, 40])
def test_no_noise_of_a_fisher_metric_passes_for_a_metric(n, dtype):
    x = torch.randn(200, n).to(dtype)
    with pytest.warns(UserWarning, match=f"rank {n - 1} of {n} at"):
        assert rm.inverse_metric(softmax, x).isnan().all()


def test_the_formulas_know_it_themselves():
    assert rm.formulas.inverse_metric(softmax(points(3)[0])).isnan().all()
    doubled = torch.vmap(rm.formulas.inverse_metric)(torch.stack([softmax(points(3)[0]), torch.eye(3, dtype=D)]))
    assert doubled.isnan().flatten(1).all(-1).tolist() == [True, False]


# ----------------------------------------------------------------------------------- regular, whatever it looks like


def light_cone(x, c=1.0):  # ds² = -2 c du dv + (1 + u²) dx²
    z = torch.zeros_like(x[0])
    return torch.stack([torch.stack([z, z - c, z]), torch.stack([z - c, z, z]), torch.stack([z, z, 1 + x[0] ** 2])])


def pp_wave(amplitude):
    def g(p):
        H = amplitude * (p[2] ** 2 - p[3] ** 2) * torch.cos(p[0])
        return torch.eye(4, dtype=D)[[1, 0, 2, 3]] + H * torch.diag(tensor([1.0, 0, 0, 0]))

    return g


def schwarzschild(M=1.0, c=1.0):
    return lambda x: BY_NAME["Schwarzschild"].metric(x, M) * torch.diag(tensor([c**2, 1, 1, 1])).to(x)


polar = lambda x: diagonal(1.0 + 0 * x[0], x[0] ** 2)
spherical = lambda x: diagonal(1.0 + 0 * x[0], x[0] ** 2, (x[0] * torch.sin(x[1])) ** 2)
sphere = BY_NAME["sphere 2"].metric
RADII = (1e-2, 0.1, 1.0, 10.0, 100.0, 1e3)
ANGLES = (1e-2, 0.5, 1.5, 3.0)

REGULAR = {
    "diag(1, 1e62)": (lambda x: diagonal(1 + x[0] ** 2, 1e62 * (1 + x[1] ** 2)), points(2)),
    "light-cone coordinates": (light_cone, points(3)),
    "light-cone coordinates in metres": (lambda x: light_cone(x, 1e20), points(3)),
    "Schwarzschild": (schwarzschild(), tensor([[0, r, 1, 0.3] for r in (0.5, 1.9, 2 + 1e-6, 2.01, 3, 1e2, 1e3, 1e6)])),
    "Schwarzschild in SI units": (schwarzschild(1476.6, LIGHT), tensor([[1e9, 7e8, 1, 0.3], [0, 1.5e11, 1.5, 0]])),
    "Painleve-Gullstrand on the horizon": (
        BY_NAME["Painleve-Gullstrand"].metric, tensor([[0, r, 1, 0.3] for r in (2, 2 + 1e-10, 2 - 1e-13, 1e3)]),
    ),
    "Kerr near its horizon": (BY_NAME["Kerr"].metric, tensor([[0, r, 1, 0.3] for r in (1.8 + 1e-4, 2, 10, 1e3)])),
    **{
        f"pp-wave, {k:.0e}": (pp_wave(k), tensor([[0.3, 1, a, 0.2 * a] for a in (1e-6, 1e-3, 1e-2, 1, 100, 1e3)]))
        for k in (1e-6, 1.0, 1e6)
    },
    "polar": (polar, tensor([[r, 0.3] for r in RADII])),
    "spherical": (spherical, tensor([[r, theta, 0.3] for r in RADII for theta in ANGLES])),
    "sphere": (sphere, tensor([[theta, 0.3] for theta in ANGLES])),
    "small sphere": (lambda x: 1e-12 * sphere(x), tensor([[theta, 0.3] for theta in ANGLES])),
    "coordinates of size 1e-6": (lambda x: sphere(x / 1e-6), tensor([[1e-6 * theta, 0] for theta in ANGLES])),
    "edge of the disk": (lambda x: 4 * torch.eye(2, dtype=D) / (1 - x @ x) ** 2, tensor([[0.999, 0], [0, 0.99999]])),
    "decoder": (metrics.Pullback(network(3, 32, 100)), points(3)),
    "network": (riemann_nn.MetricNet(3).double(), points(3)),
    "hyperboloid in Minkowski space": (
        metrics.Pullback(lambda x: torch.cat([x, (1 + x @ x).sqrt()[None]]), minkowski), 3 * points(3),
    ),
    "warped": (
        metrics.Warped(line, (metrics.Diagonal(lambda x: sphere(x).diagonal()), 2), lambda b: b[0]),
        tensor([[r, theta, 0.3] for r in RADII for theta in ANGLES]),
    ),
    "diagonal": (
        metrics.Diagonal(lambda x: schwarzschild()(x).diagonal()), tensor([[0, r, 1, 0.3] for r in (2.01, 3, 1e3)]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REGULAR)
def test_what_only_looks_degenerate_is_finite_in_silence(name):
    metric, x = REGULAR[name]
    u, v, w = torch.randn(3, *x.shape, dtype=D, generator=torch.Generator().manual_seed(2))
    for quantity in ("inverse_metric", "log_volume_element", "christoffel", "riemann_tensor", "scalar_curvature"):
        assert getattr(rm, quantity)(metric, x).isfinite().all(), quantity
    for quantity, vectors in (
        ("christoffel_vector", (u, v)), ("sectional_form", (u, v)), ("curvature_endomorphism", (u, v, w)),
        ("ricci_curvature", (u,)),
    ):  # fmt: skip
        assert getattr(rm, quantity)(metric, x, *vectors).isfinite().all(), quantity
    assert rm.estimate_scalar_curvature(metric, x, 2).value.isfinite().all()


@pytest.mark.parametrize("name", REGULAR)
def test_and_its_check_has_no_false_alarm(name):
    if name in ("warped", "spherical", "Schwarzschild"):  # these change sign or have a pole between their points
        return
    report = rm.check_metric(*REGULAR[name])
    assert report.ok, str(report)


# ------------------------------------------------------------------------------------------ digits of the curvature

POLE = tensor([[1.0, 0.3], [1e-10, 0.3], [1.2, 0.5]])
BESIDE = tensor([[0.5, 1e-10, 0.3]])
NEAR_A_POLE = {
    "plain": (sphere, POLE),
    "diagonal": (metrics.Diagonal(lambda x: sphere(x).diagonal()), POLE),
    "product": (metrics.Product((sphere, 2), line), BESIDE[:, [1, 2, 0]]),
    "warped": (metrics.Warped(line, (sphere, 2), lambda b: torch.sin(b[0])), tensor([[1e-10, 0.5, 0.3]])),
    "warped, in the fibre": (metrics.Warped(line, (sphere, 2), lambda b: torch.sin(b[0])), BESIDE),
    "conformal": (metrics.Conformal(sphere, lambda x: torch.cos(x[0])), POLE),
    "20 dimensions": (
        lambda x: torch.block_diag(sphere(x[:2]), torch.diag(1 + x[2:] ** 2)), torch.cat([POLE, points(18, 3)], 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NEAR_A_POLE)
@pytest.mark.parametrize("quantity", ["scalar_curvature", "ricci_tensor", "at", "estimate", "ricci_curvature"])
def test_few_digits_are_said_once(name, quantity):
    metric, x = NEAR_A_POLE[name]
    v = torch.randn(x.shape, dtype=D)
    call = {
        "at": lambda: rm.at(metric, x),
        "estimate": lambda: rm.estimate_scalar_curvature(metric, x, 4),
        "ricci_curvature": lambda: rm.ricci_curvature(metric, x, v),
    }.get(quantity, lambda: getattr(rm, quantity)(metric, x))
    where = r"\[1\]" if len(x) == 3 else r"\[0\]"
    with pytest.warns(
        UserWarning, match=f"rounding leaves about . digits? of the curvature .* at point {where} "
    ) as said:
        call()
    assert len(said) == 1, [str(w.message) for w in said]


def test_a_surface_by_its_map_keeps_its_digits_where_its_coordinates_lose_them():
    chart = lambda x: torch.stack(
        [torch.sin(x[0]) * torch.cos(x[1]), torch.sin(x[0]) * torch.sin(x[1]), torch.cos(x[0])]
    )
    torch.testing.assert_close(rm.scalar_curvature(metrics.Pullback(chart), POLE), torch.full((3,), 2.0, dtype=D))


def test_cancellation_that_is_no_pole():
    """A graph of small slope over a nearly flat direction: 5.8 for 15.2."""
    g = metrics.LowRankPlusDiagonal(lambda x: 1e-8 * (1 + x**2), lambda x: torch.stack([torch.sin(x), x**2], 1))
    with pytest.warns(UserWarning, match="digits"):
        rm.at(g, torch.rand(4, 3, dtype=D, generator=torch.Generator().manual_seed(0)))


GAUSSIAN = metrics.Hessian(lambda t: -(t[0] ** 2) / (4 * t[1]) - 0.5 * torch.log(-t[1]))  # of K = -1/2
NEXT = tensor([1.0, 0.0]), tensor([0.3, 1.0])


@pytest.mark.parametrize("quantity", ["scalar_curvature", "ricci_tensor", "riemann_tensor", "sectional_curvature"])
def test_a_gaussian_far_from_mean_0_says_that_natural_parameters_lose_digits(quantity):
    """S = -6.3 for -1 at a mean of 1e4 deviations."""
    vectors = NEXT if quantity == "sectional_curvature" else ()
    with pytest.warns(UserWarning, match=r"digits? of the curvature .* at this point") as said:
        getattr(rm, quantity)(GAUSSIAN, tensor([1e4, -0.5]), *vectors)
    assert len(said) == 1
    getattr(rm, quantity)(GAUSSIAN, tensor([3.0, -0.5]), *vectors)


def nearly_singular(exponent):
    """A network metric whose factor has e to this power in its last place."""
    torch.manual_seed(0)
    metric = metrics.MLPCholesky(2, (8,), diagonal=torch.exp).double()
    with torch.no_grad():
        metric.layers[-1].bias.copy_(tensor([0.0, 0.0, exponent]))
        metric.layers[-1].weight[2] = 0
    return metric


INVERSION = metrics.Conformal(None, lambda x: torch.log(x @ x))
BENT = metrics.Pullback(lambda x: 1e-12 * torch.stack([x[0] + x[1] ** 2, x[1] + x[0] ** 2, 1e-13 * (x @ x)]))
VECTORS = {"sectional_form": 2, "curvature_endomorphism": 3, "ricci_curvature": 1}
FEW = [
    *((nearly_singular(-18.0), tensor([0.3, -0.4]), q) for q in ("scalar_curvature", "ricci_tensor", "sectional_form")),
    (nearly_singular(-18.0), tensor([0.3, -0.4]), "ricci_curvature"),
    (INVERSION, tensor([1e-4, 2e-4]), "sectional_form"),
    (BENT, tensor([0.3, 0.4]), "sectional_form"),
    (GAUSSIAN, tensor([1e5, -0.5]), "curvature_endomorphism"),
]
ENOUGH = [
    *((nearly_singular(0.0), x, q) for _, x, q in FEW[:4]),
    (INVERSION, tensor([0.5, 1.0]), "sectional_form"),
    (metrics.Pullback(lambda x: torch.cat([x, (x @ x)[None]])), tensor([0.3, 0.4]), "sectional_form"),
    (GAUSSIAN, tensor([3.0, -0.5]), "curvature_endomorphism"),
]


@pytest.mark.parametrize(("metric", "x", "quantity"), FEW, ids=lambda a: a if isinstance(a, str) else "")
def test_structured_routes_say_where_few_digits_are_left(metric, x, quantity):
    vectors = tensor([[1.0, 0.2], [0.3, 1.0], [0.3, 1.0]])[: VECTORS.get(quantity, 0)]
    with pytest.warns(UserWarning, match=r"rounding leaves about . digits? of the curvature .* at this point") as said:
        getattr(rm, quantity)(metric, x, *vectors)
    assert len(said) == 1


@pytest.mark.parametrize(("metric", "x", "quantity"), ENOUGH, ids=lambda a: a if isinstance(a, str) else "")
def test_and_say_nothing_where_there_are_enough(metric, x, quantity):
    vectors = tensor([[1.0, 0.2], [0.3, 1.0], [0.3, 1.0]])[: VECTORS.get(quantity, 0)]
    assert getattr(rm, quantity)(metric, x, *vectors).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_ordinary_networks_have_digits_enough(dtype):
    for n, hidden in ((2, (64, 64)), (8, (64, 64)), (32, (64,))):
        metric, x = metrics.MLPCholesky(n, hidden).to(dtype), torch.randn(4, n, dtype=dtype)
        u, v = torch.randn(2, 4, n, dtype=dtype)
        assert rm.scalar_curvature(metric, x).isfinite().all() and rm.ricci_tensor(metric, x).isfinite().all()
        assert rm.sectional_form(metric, x, u, v).isfinite().all()


def test_planes_of_a_hessian_metric_are_computed_without_raising_vectors():
    K = rm.sectional_curvature(GAUSSIAN, tensor([1e3, -0.5]), *NEXT)
    torch.testing.assert_close(K, tensor(-0.5), rtol=1e-7, atol=0)


@pytest.mark.parametrize("case", [c for c in CASES if c.dim > 1], ids=str)
def test_errors_are_within_their_bounds(case):
    from riemann._verification.truth import precise

    x = case.x()
    exact, _ = precise(lambda p: rm.bridge.high_precision(case.metric, tensor(p)), x, lambda text: None)
    for name, bound in rm.bound_rounding(case.metric, x).items():
        value = rm.at(case.metric, x).jets[0] if name == "metric" else getattr(rm, name)(case.metric, x)
        error = (value - exact[name]).abs() - torch.finfo(D).eps * exact[name].abs()  # of the truth, as a float
        assert bool((error <= bound + 1e-30).all()), name
        assert float(bound.max()) < 1e-7 * max(1.0, float(exact[name].abs().max())), name


def test_bounds_grow_towards_a_pole():
    bound = rm.bound_rounding(sphere, tensor([[1.0, 0.3], [1e-3, 0.3], [1e-6, 0.3]]))["scalar_curvature"]
    assert bound[0] < 1e-14 and 1e-11 < bound[1] < 1e-8 and 1e-5 < bound[2] < 1e-2


def test_verify_fails_where_no_digit_is_right():
    report = rm.verify(sphere, x=POLE)
    failed = {c.quantity: c for c in report.comparisons if not c.ok}
    assert failed.keys() == {"riemann_tensor", "ricci_tensor", "scalar_curvature", "kretschmann_scalar"}, str(report)
    assert failed["scalar_curvature"].error < 1e-15 and failed["scalar_curvature"].of_value > 1e3
    assert failed["scalar_curvature"].point[0] == 1e-10 and "no digit of scalar_curvature is right" in str(report)
    assert rm.verify(sphere, x=POLE[[0, 2]]).ok


def test_verify_tells_the_error_of_the_value_and_a_dash_where_the_truth_is_0():
    case = BY_NAME["Schwarzschild"]
    report = rm.verify(case.metric, x=case.x())
    of_value = {c.quantity: c.of_value for c in report.comparisons}
    assert report.ok and of_value["riemann_tensor"] < 1e-13 and math.isinf(of_value["scalar_curvature"])
    (line,) = (line for line in str(report).splitlines() if "scalar_curvature" in line)
    assert line.split()[3] == "-"


# ----------------------------------------------------------------------------------------------- the check, and calls


@pytest.mark.parametrize("size", [1.0, 1e-6, 1e6])
def test_an_asymmetry_of_a_few_in_ten_million_is_found(size):
    unit = torch.diag(tensor([1.0, size]))
    lopsided = lambda x: unit @ (torch.eye(2, dtype=D) + tensor([[0, 0.5], [0.5 * (1 + 5e-7), 0]])) @ unit * (1 + x @ x)
    report = rm.check_metric(lopsided, points(2))
    assert [f.check for f in report.findings if not f.ok] == ["symmetry"], str(report)


@pytest.mark.parametrize("name", ["Fisher metric of logits", "bottleneck decoder", "light cone"])
def test_degenerate_metrics_fail_their_check(name):
    metric, x, _ = DEGENERATE[name]
    report = rm.check_metric(metric, x)
    assert "conditioning" in [f.check for f in report.findings if not f.ok], str(report)


def test_the_check_says_where_digits_are_lost():
    report = rm.check_metric(sphere, POLE)
    assert "rounding leaves about 0 digits of the curvature" in str(report) and not report.ok


FUNCTIONS = [f for name in dir(rm) if inspect.isfunction(f := getattr(rm, name)) and not name.startswith("_")]


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_an_argument_too_many_is_refused(f):
    kinds = [p.kind for p in inspect.signature(f).parameters.values()]
    assert inspect.Parameter.VAR_POSITIONAL not in kinds
    count = sum(kind is not inspect.Parameter.KEYWORD_ONLY for kind in kinds)
    x = points(2)
    values = {
        "metric": sphere,
        "x": x,
        "u": x,
        "v": x + 1,
        "w": x,
        "T": x,
        "old": "u",
        "new": "l",
        "kind": 2,
        "order": 1,
    }
    given = [values.get(name, x) for name in list(inspect.signature(f).parameters)[:count]]
    with pytest.raises(TypeError):
        f(*given, x)


@pytest.mark.parametrize(
    "metric", [sphere, spaces.sphere(2), metrics.Diagonal(torch.exp), riemann_nn.MetricNet(2).double()]
)
def test_no_third_argument_is_taken_for_an_option(metric):
    x = points(2)
    for name in TENSORS:
        with pytest.raises(TypeError, match="argument"):
            getattr(rm, name)(
                metric, x, *(["ll"] if name.endswith("tensor") else [2] if name == "christoffel" else []), x
            )


def test_the_floor_of_what_is_said_is_an_argument():
    x = tensor([1e-6, 0.3])
    with pytest.warns(UserWarning, match="about 2 digits"):
        rm.scalar_curvature(sphere, x)
    with rm.rounding_floor(0.1):
        rm.scalar_curvature(sphere, x)
    with pytest.raises(ValueError, match="expected a number, 0 or more"), rm.rounding_floor(-1.0):
        pass
