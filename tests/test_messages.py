"""What users read when something is wrong. Run without shape checking, which would answer first."""

import warnings

import numpy as np
import pytest
import sympy as sp
import torch

import riemann as rm
import riemann_nn
from riemann import metrics, spaces
from riemann._arithmetic.jet import kinks_called
from riemann._metric import ASYMMETRY, is_asymmetric
from riemann.symbolic import SymbolicMetric

pytestmark = pytest.mark.unshaped

X = torch.tensor([[0.7, 0.2], [1.1, 3.0]], dtype=torch.float64)
sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
S = rm.scalar_curvature


SINGLE = torch.eye(2)


def asymmetric(x):
    return torch.stack([torch.stack([1 + x[0] ** 2, x[1]]), torch.stack([0 * x[0], x[0]])])


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: S(sphere, np.ones(2)), TypeError, ["`x`", "ndarray", "use `torch.as_tensor(x)`"]),
        (lambda: S(sphere, [torch.ones(()), torch.ones(())]), TypeError, ["use `torch.stack(x)`"]),
        (lambda: S(sphere, np.array([1, sp.pi], dtype=object)), TypeError, ["use `torch.as_tensor(x.astype(float))`"]),
        (lambda: S(sphere, [1.0, 2.0]), TypeError, ["`x`", "list", "use `torch.as_tensor(x, dtype=torch.float64)`"]),
        (lambda: S(sphere, torch.tensor([1, 2])), TypeError, ["int64", "x.double()"]),
        (lambda: S(sphere, X.half()), TypeError, ["float16", "x.double()"]),
        (lambda: S(sphere, X.to(torch.complex128)), TypeError, ["complex128"]),
        (lambda: S(sphere, torch.tensor(1.0)), ValueError, ["shape ()", "(*batch, n)"]),
        (lambda: S(sphere, torch.tensor([[1.0, 2.0], [torch.nan, 1.0]])), ValueError, ["not finite at (1,)"]),
        (lambda: S(torch.eye(2), X), TypeError, ["`metric` is a Tensor", "callable"]),
        (lambda: S(lambda x: torch.sin(x), X), ValueError, ["returned shape (2,)", "expected (2, 2)", "one point"]),
        (lambda: S(lambda x: (x, x), X), TypeError, ["returned tuple", "torch.Tensor"]),
        (lambda: S(lambda x: 1.0, X), TypeError, ["returned float"]),
        (lambda: S(lambda x: SINGLE, X), ValueError, ["float32", "float64", "dtype=x.dtype"]),
        (lambda: S(lambda x: {}["absent"], X), KeyError, ["absent"]),
        (lambda: S(lambda x: torch.diag(x.detach()), X), ValueError, ["`detach`", "derivatives"]),
        (lambda: S(lambda x: torch.diag(torch.tensor([1.0, x[0]])), X), ValueError, ["torch.stack"]),
        (lambda: S(lambda x: torch.eye(2) * (1 if x[0] > 1 else 2), X), ValueError, ["torch.where"]),
        (lambda: rm.riemann_tensor(sphere, X, "ullll"), ValueError, ["'ullll'", "expected 4 letters", "'ulll'"]),
        (lambda: rm.ricci_tensor(sphere, X, "lx"), ValueError, ["'lx'", "`u` (upper)"]),
        (lambda: rm.christoffel(sphere, X, kind=3), ValueError, ["`kind` is 3", "expected 1"]),
        (lambda: rm.schouten_tensor(sphere, X), ValueError, ["Schouten", "n >= 3", "n = 2"]),
        (lambda: rm.cotton_tensor(sphere, X), ValueError, ["Cotton", "n >= 3"]),
        (lambda: rm.at(sphere, X).cotton_tensor(), ValueError, ["order 2", "at(metric, x, order=3)"]),
        (lambda: rm.at(sphere, X, order=1).ricci_tensor(), ValueError, ["order 1", "order=2"]),
        (lambda: rm.at(sphere, X, order=-1), ValueError, ["`order` is -1"]),
        (lambda: rm.jet(sphere, X, -1), ValueError, ["`order` is -1"]),
        (lambda: rm.jet(sphere, X, 1.5), ValueError, ["`order` is 1.5", "whole number"]),
        (lambda: rm.at(sphere, X, order="2"), ValueError, ["`order` is '2'"]),
        (lambda: S(sphere, X, chunk_size=1.5), ValueError, ["`chunk_size` is 1.5"]),
        (lambda: rm.vjp(lambda x: x, X, X[:, :1]), ValueError, ["`w` is (1,)", "the function is (2,)"]),
        (lambda: rm.vjp(lambda x: x, X, X[:1]), ValueError, ["`w` is (1, 2)", "a tensor (2,)"]),
        (lambda: rm.change_indices(sphere, X, X[:, :1], "u", "l"), ValueError, ["`T` is (2, 1)", "length 2"]),
        (lambda: rm.change_indices(sphere, X, X.float(), "u", "l"), ValueError, ["torch.float32"]),
        (lambda: S(sphere, X, chunk_size=0), ValueError, ["`chunk_size` is 0"]),
        (lambda: rm.jet(sphere, X, 1, chunk_size=0), ValueError, ["`chunk_size` is 0"]),
        (lambda: rm.sectional_curvature(sphere, X, X, 2 * X), ValueError, ["no plane", "[0]", "parallel"]),
        (lambda: rm.sectional_curvature(sphere, X, torch.ones(3), X), ValueError, ["`u`", "(3,)", "(*batch, 2)"]),
        (lambda: rm.sectional_curvature(sphere, X, torch.ones(2), X), ValueError, ["`u` is torch.float32", "u.to(x)"]),
        (lambda: rm.ricci_curvature(sphere, X, X.to("meta")), ValueError, ["meta", "cpu"]),
        (lambda: rm.ricci_curvature(sphere, X, torch.ones(3, 2).double()), ValueError, ["do not broadcast", "(3, 2)"]),
        (lambda: rm.ricci_curvature(sphere, X, [1.0, 0.0]), TypeError, ["`v` is a list"]),
        (lambda: rm.change_indices(sphere, X, X, "u", "ll"), ValueError, ["expected 1 letters"]),
        (lambda: rm.estimate_scalar_curvature(sphere, X, 0), ValueError, ["`num_samples` is 0"]),
        (lambda: rm.gradient(sphere, lambda x: x)(X), ValueError, ["`f` returned shape (2,)", "scalar field"]),
        (lambda: rm.divergence(sphere, lambda x: x[0])(X), ValueError, ["`X` returned shape ()", "(2,)"]),
        (lambda: rm.covariant_derivative(sphere, lambda x: x, "ul")(X), ValueError, ["(2, 2): rank 2"]),
        (lambda: rm.covariant_derivative(sphere, lambda x: x, "x"), ValueError, ["'x'"]),
        (lambda: rm.covariant_derivative(sphere, lambda x: x, 3), ValueError, ["`indices` of T is 3", "letters"]),
        (lambda: rm.lie_derivative(lambda x: x, lambda x: x, None), ValueError, ["`indices` of T is None"]),
        (lambda: rm.change_coordinates(lambda x: x, lambda x: x, 1), ValueError, ["`indices` of the field is 1"]),
        (lambda: rm.volume(sphere, ((0, 1), (0, torch.inf))), ValueError, ["`box[1]`", "finite"]),
        (lambda: rm.volume(sphere, ((1, 0), (0, 1))), ValueError, ["`box[0]`", "low < high"]),
        (lambda: rm.volume(sphere, (0, 1)), ValueError, ["`box[0]` is 0", "(low, high)"]),
        (lambda: rm.volume(sphere, ()), ValueError, ["`box` is empty"]),
        (lambda: rm.volume(sphere, ((0, 1), (0, 1)), max_points=9), ValueError, ["`max_points` is 9", "need 16"]),
        (lambda: rm.estimate_scalar_curvature(sphere, X, 2.5), ValueError, ["`num_samples` is 2.5"]),
        (lambda: S(lambda x: torch.nn.Parameter(x).outer(x), X), ValueError, ["`Parameter`", "derivatives"]),
        (lambda: rm.integrate(sphere, lambda x: x, ((1, 2), (0, 1))), ValueError, ["scalar field"]),
        (lambda: rm.check_metric(sphere, X[:0]), ValueError, ["no points"]),
        (lambda: rm.verify(sphere, x=[0.0, 1.0]), TypeError, ["`x` is a list"]),
        (lambda: SymbolicMetric([[1, 2]], "x"), ValueError, ["1 x 2", "square"]),
        (lambda: SymbolicMetric([[1, "x"], [0, 1]], "x y"), ValueError, ["not symmetric", "(0, 1)"]),
        (lambda: SymbolicMetric([[1, 1], [1, 1]], "x y"), ValueError, ["singular"]),
        (lambda: SymbolicMetric([[1, 0], [0, 1]], "x x"), ValueError, ["`x` is named twice"]),
        (lambda: SymbolicMetric([[1, 0], [0, 1]], "x y z"), ValueError, ["2 x 2", "x, y, z"]),
        (lambda: SymbolicMetric([["M", 0], [0, "x"]], "x y", "N"), ValueError, ["'M'", "parameters"]),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def test_a_point_that_fails_is_nan_and_named_once_and_the_others_are_right():
    x = torch.tensor([[1.0, 2.0], [0.0, 1.0], [0.5, 0.0]], dtype=torch.float64)
    with pytest.warns(
        UserWarning, match=r"singular: rank . of . at point \[1\] of the batch: results are NaN there"
    ) as caught:
        value = S(sphere, x)
    assert len(caught) == 1
    assert value[1].isnan()
    torch.testing.assert_close(value[[0, 2]], torch.full((2,), 2.0, dtype=torch.float64))


def test_asymmetric_and_infinite_metrics():
    with pytest.warns(UserWarning, match=r"not symmetric at point \[0\] of the batch \(and at 1 more points\)"):
        assert S(asymmetric, X).isnan().all()
    with pytest.warns(UserWarning, match="not finite at this point"):
        assert S(lambda x: torch.eye(2) / (x[0] - x[0]), X[0]).isnan()


def test_a_metric_that_is_symmetric_at_this_point_only():
    half = lambda x: torch.eye(2) + torch.stack([torch.stack([0 * x[0], x[0] * x[1]]), 0 * x])
    with pytest.warns(UserWarning, match="not symmetric at this point"):
        assert S(half, torch.zeros(2, dtype=torch.float64)).isnan()
    in_seconds = lambda x: torch.block_diag(torch.full((1, 1), -9e16), half(x[1:]))
    with pytest.warns(UserWarning, match="not symmetric"):
        assert S(in_seconds, torch.ones(3, dtype=torch.float64)).isnan()


@pytest.mark.parametrize("entry, gap, said", [(1, 1e-8, False), (1, 1e-4, True), (2, 1e-3, False), (2, 1.0, True)])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_asymmetry_counts_against_the_rows_that_it_is_in(entry, gap, said, order):
    g = torch.diag(torch.tensor([1.0, 1.0, 1e8], dtype=torch.float64)).expand(2, 3, 3)
    jets = [g, torch.zeros(2, 3, 3, 3, dtype=torch.float64), torch.zeros(2, 3, 3, 3, 3, dtype=torch.float64)]
    jets[order] = jets[order].clone()
    jets[order][1, 0, entry] += gap
    assert is_asymmetric(tuple(jets), ASYMMETRY[torch.float64]).tolist() == [False, said]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pole_to_the_last_bit_is_a_pole(dtype):
    x = torch.tensor([[torch.pi, 1.0], [1.0, 1.0]], dtype=dtype)
    with pytest.warns(UserWarning, match=r"singular: rank . of . at point \[0\]"):
        value = S(sphere, x)
    assert value[0].isnan() and abs(float(value[1]) - 2) < 1e-5


def test_chunks_warn_once_and_count_points_of_the_whole_batch():
    x = torch.ones(8, 2, dtype=torch.float64)
    x[5, 0] = x[7, 0] = 0
    with pytest.warns(
        UserWarning, match=r"singular: rank . of . at point \[5\] of the batch \(and at 1 more"
    ) as caught:
        value = S(sphere, x, chunk_size=2)
    assert len(caught) == 1 and value.isnan().nonzero().flatten().tolist() == [5, 7]


def test_float32_asymmetry_is_judged_coarsely():
    nearly = lambda x: torch.eye(2) + torch.tensor([[0.0, 1e-5], [0.0, 0.0]])
    assert S(nearly, X.float()).isfinite().all()
    with pytest.warns(UserWarning, match="not symmetric"):
        S(nearly, X)


def test_piecewise_linear_metrics_warn():
    with pytest.warns(UserWarning, match="relu: piecewise linear.*smooth activation"):
        S(lambda x: torch.eye(2) * (1 + torch.relu(x[0])), X)


def test_kinks_inside_an_inner_derivative_are_those_that_are_called():
    """The rules of a smooth function compare numbers: that is no kink of a metric that differentiates it."""
    x = torch.tensor([[0.3, 0.7], [0.9, 0.2]], dtype=torch.float64)
    weight = torch.tensor([[1.0, 0.5], [-0.4, 1.0], [0.3, 0.8]], dtype=torch.float64)

    def metric(f):
        def g(x):
            J = torch.func.jacfwd(lambda y: f(weight @ y))(x)
            return J.mT @ J

        return g

    with kinks_called() as names:
        rm.christoffel(metric(torch.nn.functional.softplus), x)
        rm.christoffel(rm.metrics.Fisher(lambda x: torch.distributions.Normal(x[0], x[1].exp())), x)
        rm.geodesic(metric(torch.log1p), x, x, 0.1)
    assert names == set()
    with pytest.warns(UserWarning, match="relu: piecewise linear"):
        rm.scalar_curvature(metric(torch.relu), x)


def test_names_with_two_meanings():
    import sympy as sp

    positive = sp.Symbol("r", positive=True)
    with pytest.raises(ValueError, match="other assumptions"):
        SymbolicMetric([[positive, 0], [0, 1]], (sp.Symbol("r"), sp.Symbol("y")))
    assert SymbolicMetric([[positive, 0], [0, 1]], "r y").coordinates[0] == positive


# ---------------------------------------------------------------------------------------------------- the catalogue


def test_parameters_of_spaces_of_the_wrong_type():
    with pytest.raises(ValueError, match="`n` is 2.0, expected a whole number, at least 1"):
        spaces.sphere(2.0)
    with pytest.raises(TypeError, match=r'Make the space with `M="M"` and give the tensor to `to_torch'):
        spaces.schwarzschild(M=torch.tensor(1.0))


@pytest.mark.parametrize("points", [[0.0, 1.0], torch.tensor([0, 1])])
def test_points_of_spaces_must_be_floating_point_tensors(points):
    with pytest.raises(TypeError, match="`x` .*expected"):
        spaces.sphere(2)(points)


# ------------------------------------------- compiled: here, because the checker of shapes cannot be compiled


def test_inside_a_compiled_function():
    half_plane = lambda x: torch.eye(2) / x[1] ** 2
    compiled = torch.compile(lambda x: rm.christoffel(half_plane, x), backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that it leaves the compiled region
        torch.testing.assert_close(compiled(X), rm.christoffel(half_plane, X))


def test_the_bridge():
    from riemann.bridge import high_precision, to_symbolic

    with pytest.raises(TypeError, match="`metric` is a int, expected a callable"):
        to_symbolic(3, 2)
    with pytest.raises(ValueError, match="expected one point"):
        high_precision(sphere, X)


@pytest.mark.parametrize(
    "metric",
    [
        metrics.Constant(),
        metrics.Diagonal(torch.exp),
        metrics.Cholesky(lambda x: torch.diag(torch.exp(x))),
        metrics.LowRankPlusDiagonal(torch.exp, lambda x: x[:, None]),
        metrics.Conformal(None, lambda x: torch.sin(x[0])),
        metrics.Product((metrics.Diagonal(torch.exp), 1), (metrics.Constant(), 1)),
        metrics.Warped((metrics.Constant(), 1), (metrics.Constant(), 1), lambda b: torch.exp(b[0])),
    ],
    ids=lambda metric: type(metric).__name__,
)
def test_compiled_metrics_that_know_their_structure(metric):
    compiled = torch.compile(metric, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(X[0]), metric(X[0]))
    assert S.route(compiled) == S.route(metric)
    torch.testing.assert_close(S(compiled, X), S(metric, X))


def test_curvature_of_network_metrics_compiles_as_one_graph():
    metric, x = riemann_nn.MLPCholesky(3, (4,)).double(), torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler
        compiled = torch.compile(lambda x: S(metric, x), fullgraph=True, backend="aot_eager")
        value = compiled(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    truth = S(metric, x)
    torch.testing.assert_close(value, truth)
    torch.testing.assert_close(gradient, torch.autograd.grad(truth.sum(), x)[0])


def test_training_of_manifolds_compiles_as_one_graph():
    model = riemann_nn.NeuralDifferentialManifold(2, [3, 3], 3).double()
    evolution = riemann_nn.EvolutionLoss(kind="scalar", estimator="exact", monitor=None).eval()
    step = riemann_nn.TrainingStep(model, torch.nn.functional.cross_entropy, evolution)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    x, y = torch.randn(9, 2, dtype=torch.float64), torch.randint(3, (9,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler
        value = torch.compile(step, fullgraph=True, backend="aot_eager")(x, y)[0]
        gradients = torch.autograd.grad(value, list(model.parameters()))
    truth = step(x, y)[0]
    torch.testing.assert_close(value, truth)
    for gradient, other in zip(gradients, torch.autograd.grad(truth, list(model.parameters())), strict=True):
        torch.testing.assert_close(gradient, other)


@pytest.mark.parametrize(
    ("t", "error", "text"),
    [
        ("1.0", ValueError, "`t` is a str, expected a tensor"),
        (torch.tensor([1.0]), ValueError, "`t` is torch.float32"),
        (torch.tensor([torch.nan], dtype=torch.float64), ValueError, "`t` is not finite"),
        (torch.ones(1, dtype=torch.float64, requires_grad=True), ValueError, "they are the velocities"),
        (torch.tensor(1.0, dtype=torch.float64), ValueError, "`t` has shape \\(\\).* `t.reshape\\(-1\\)`"),
        (np.array([0.5, 1.0]), ValueError, "`t` is a ndarray.* `torch.as_tensor\\(t\\)`"),
    ],
)
def test_parameters_of_curves_are_checked(t, error, text):
    with pytest.raises(error, match=text):
        x = torch.ones(2, dtype=torch.float64)
        rm.geodesic(lambda x: torch.eye(2).to(x), x, x, t)


# ------------------------------------------------------------------------------- what a user's function does wrong


def misspelt(x):
    return torch.eye(2) * absent(x)  # noqa: F821 # pyright: ignore[reportUndefinedVariable]


def by_columns(x):
    return torch.eye(2) * (1 + x[:, 0] ** 2)[:, None, None]


def iterated(x):
    y = x[0]
    while (y**3 - x[0] - 2).abs() > 1e-12:
        y = y - (y**3 - x[0] - 2) / (3 * y**2)
    return torch.eye(2) * y


def raising(x):
    raise RuntimeError("what the user says")


@pytest.mark.parametrize(
    ("metric", "error", "words"),
    [
        (misspelt, NameError, ["'absent' is not defined", "`metric` was called with one point of shape (2,)"]),
        (lambda x: x.sinh_cosh(), AttributeError, ["sinh_cosh", "called with one point of shape (2,)"]),
        (lambda x: torch.eye(3) @ x, RuntimeError, ["(3x3)", "called with one point of shape (2,)"]),
        (lambda x: torch.eye(2) * x[2], IndexError, ["out of bounds", "called with one point of shape (2,)"]),
        (lambda x, y: x, TypeError, ["'y'", "called with one point of shape (2,)"]),
        (by_columns, ValueError, ["written for a batch", "(1, 2, 2)", "`lambda x: by_columns(x[None])[0]`"]),
        (lambda x: torch.eye(2)[None] * x.norm(dim=-1)[..., None, None], ValueError, ["written for a batch"]),
        (metrics.Pullback(lambda x: torch.cat([x, x[:, :1]], 1)), ValueError, ["`map of Pullback` is written for a"]),
        (metrics.Hessian(lambda x: (x**4).sum(1)), ValueError, ["`potential of Hessian` is written for a batch"]),
        (iterated, ValueError, ["`__bool__`", "a fixed number of steps for a `while` loop"]),
        (lambda x: torch.eye(2) * max(x[0], x[1]), ValueError, ["`torch.maximum` for `max`"]),
        (lambda x: torch.eye(2) * np.sin(x[0]), ValueError, ["`__array__`", "NumPy", "scipy.special"]),
        (lambda x: torch.eye(2) * float(x[0]), ValueError, ["`__float__`", "`math`"]),
        (lambda x: torch.eye(2) * torch.rand(()), ValueError, ["`rand`", "draw random numbers once, outside"]),
        (lambda x: torch.diag(x[x > 0]), ValueError, ["`torch.where`, or a fixed index"]),
        (
            lambda x: torch.cond(x[0] > 0.9, lambda x: torch.outer(x, x), lambda x: torch.diag(x), (x,)),
            ValueError,
            ["`cond`", "`torch.where(condition, one, other)`"],
        ),
        (
            lambda x: torch.autograd.functional.hessian(lambda y: (y**4).sum(), x),
            ValueError,
            ["`torch.autograd.functional.hessian`", "`torch.func.jacrev`"],
        ),
        (
            lambda x: torch.diag(torch.autograd.grad((x**4).sum(), x, create_graph=True)[0]),
            RuntimeError,
            ["called with one point of shape (2,)", "use `torch.func.grad`"],
        ),
        (
            torch.inference_mode()(lambda x: torch.eye(2) * (1 + x[1] ** 2)),
            ValueError,
            ["leave out `torch.inference_mode`"],
        ),
        (lambda x: torch.eye(2) * len(f"{x[0]:.2f}"), ValueError, ["`torch._tensor.__format__`", "print outside"]),
        (metrics.Conformal, TypeError, ["`metric` is Conformal itself", "`Conformal(…)`"]),
        (spaces.sphere, TypeError, ["`metric` is sphere itself"]),
    ],
)
def test_errors_of_a_users_function(metric, error, words):
    with pytest.raises(error) as caught:
        S(metric, X)
    for word in words:
        assert word in str(caught.value)
    files = [str(entry.path) for entry in caught.traceback]
    assert not any("functorch" in file for file in files) and len(files) <= 25
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_users_own_error_is_left_as_it_is_with_a_note():
    with pytest.raises(RuntimeError) as caught:
        S(raising, X)
    assert str(caught.value) == "what the user says"
    assert caught.value.__notes__ == ["`metric` was called with one point of shape (2,), torch.float64."]
    assert caught.traceback[-1].name == "raising"


def test_an_error_at_one_point_of_many_is_nan_there():
    g = lambda x: torch.linalg.cholesky(torch.diag(x)) @ torch.diag(x)
    with pytest.warns(UserWarning, match=r"not finite at point \[1\]"):
        values = S(g, torch.tensor([[1.0, 2.0], [1.0, -1.0]], dtype=torch.float64))
    assert values.isfinite().tolist() == [True, False]


def test_roots_at_zero_say_that_squares_have_derivatives():
    distance = lambda x: torch.cdist(x[None], torch.zeros(1, 2))
    with pytest.warns(UserWarning, match=r"not finite at this point.*`cdist`.*written as `norm\(x\) \*\* 2`") as said:
        assert S(lambda x: torch.eye(2) * (1 + distance(x)[0]), 0 * X[0]).isnan()
    assert [w.filename for w in said] == [__file__]
    assert S(lambda x: torch.eye(2) * (1 + (distance(x) ** 2)[0]), 0 * X[0]).isfinite()


def test_warnings_point_at_the_line_that_calls():
    relu = lambda x: torch.eye(2) * (1 + torch.relu(x[0]))
    for call in (
        lambda: S(sphere, 0 * X),
        lambda: rm.sectional_curvature(relu, X, X, X.flip(0)),
        lambda: rm.at(asymmetric, X),
        lambda: rm.gradient(asymmetric, lambda x: x[0])(X),
    ):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            call()
        assert said and {w.filename for w in said} == {__file__}


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: S(sphere, X.to_sparse()), TypeError, ["`x` is sparse", "to_dense"]),
        (lambda: rm.ricci_curvature(sphere, X[0], X[0].to_sparse()), TypeError, ["`v` is sparse"]),
        (lambda: rm.jet("sin", X), TypeError, ["`function` is a str", "callable"]),
        (lambda: rm.jvp(None, X, X), TypeError, ["`function` is a NoneType"]),
        (lambda: rm.vjp(lambda x: x, X, X.to("meta")), ValueError, ["meta", "cpu"]),
        (lambda: rm.holonomy(sphere, X), TypeError, ["`loop` is a Tensor", "function of one parameter"]),
        (lambda: rm.change_indices(sphere, X, [1.0, 2.0], "u", "l"), TypeError, ["got a list", "torch.as_tensor(T)"]),
        (lambda: rm.vjp(torch.sin, X, X.numpy()), ValueError, ["`w` is ndarray", "use `torch.as_tensor(w).to(x)`"]),
        (lambda: rm.volume(sphere, 1), TypeError, ["`box` is a int"]),
        (lambda: rm.estimate_scalar_curvature(sphere, X, True), ValueError, ["`num_samples` is True"]),
        (lambda: rm.killing_dimension(sphere, X.to("meta")), ValueError, ["`meta`"]),
        (lambda: metrics.Constant([[1.0]]), TypeError, ["`matrix` of Constant is a list", "use `torch."]),
        (lambda: metrics.Fisher(torch.exp, X.numpy()), ValueError, ["use `torch.as_tensor(U)`"]),
        (lambda: metrics.LowRankPlusDiagonal(torch.exp, torch.exp, [1]), TypeError, ["`signs`", "list"]),
        (lambda: metrics.Warped(sphere, sphere, torch.sum), TypeError, ["`base` of Warped", "`(metric, n)`"]),
        (lambda: metrics.Product((2, sphere)), TypeError, ["part 0 of Product", "`(metric, n)`"]),
        (lambda: metrics.Pullback(torch.exp, None, 0), ValueError, ["`copies` is 0"]),
        (lambda: S(metrics.Pullback(torch.exp, lambda y: y, 3), X), ValueError, ["no 3 copies of a point"]),
        (lambda: S(metrics.Pullback("f"), X), TypeError, ["`map of Pullback` is a str"]),
        (lambda: S(metrics.Conformal(torch.sum, None), X), TypeError, ["`log_factor of Conformal` is a NoneType"]),
        (lambda: riemann_nn.MLPCholesky(3.0), ValueError, ["`dim` is 3.0"]),
        (lambda: riemann_nn.MetricNet(3, 8), ValueError, ["`hidden` 8", "(64, 64)"]),
        (lambda: riemann_nn.MLPCholesky(2, activation=torch.nn.Tanh), TypeError, ["the class Tanh"]),
        (lambda: riemann_nn.MLPCholesky(2, activation="tanh"), TypeError, ["`activation` is a str"]),
        (lambda: riemann_nn.curvature_loss(sphere, [1.0]), TypeError, ["`x` is a list"]),
        (lambda: riemann_nn.volume_loss(sphere, None), TypeError, ["`x` is a NoneType"]),
        (lambda: rm.scalar_curvatur, AttributeError, ["did you mean `scalar_curvature`?"]),
        (lambda: rm.Fisher, AttributeError, ["did you mean `riemann.metrics.Fisher`?"]),
        (lambda: spaces.scalar_curvature, AttributeError, ["did you mean `riemann.scalar_curvature`?"]),
        (lambda: spaces.spere, AttributeError, ["did you mean `sphere`?"]),
        (lambda: metrics.Pulback, AttributeError, ["did you mean `Pullback`?"]),
        (lambda: riemann_nn.MetricNets, AttributeError, ["did you mean `MetricNet`?"]),
    ],
)
def test_arguments_of_the_wrong_kind(call, error, words):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def test_no_vectors_give_no_results():
    none = torch.zeros(0, 2, dtype=torch.float64)
    assert rm.sectional_curvature(sphere, X[0], X[0], none).shape == (0,)
    t = torch.ones(1, dtype=torch.float64)
    line = lambda s: torch.stack([s + 0.5, s])
    assert rm.parallel_transport(sphere, line, none, t).shape == (1, 0, 2)


# ------------------------------------------------------------------------------------ modules that want a batch axis


def trained(*layers):
    """A network in eval mode whose running statistics are those of data."""
    net = torch.nn.Sequential(*layers).double()
    net(torch.randn(64, 2, dtype=torch.float64))
    return net.eval().requires_grad_(False)


def network(name):
    nn = torch.nn
    return {
        "BatchNorm1d": lambda: trained(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 5)),
        "Conv1d": lambda: trained(nn.Linear(2, 12), nn.Unflatten(1, (4, 3)), nn.Conv1d(4, 5, 2), nn.Tanh(),
                                  nn.Flatten()),
        "as many channels as positions": lambda: trained(nn.Linear(2, 16), nn.Unflatten(-1, (4, 4)),
                                                         nn.BatchNorm1d(4), nn.Tanh(), nn.Flatten()),
        "InstanceNorm1d": lambda: trained(nn.Linear(2, 16), nn.Unflatten(1, (4, 4)), nn.InstanceNorm1d(4, affine=True),
                                          nn.Tanh(), nn.Flatten()),
        "GroupNorm": lambda: trained(nn.Linear(2, 16), nn.Unflatten(-1, (4, 4)), nn.GroupNorm(2, 4), nn.Tanh(),
                                     nn.Flatten()),
        "ConvTranspose2d": lambda: trained(nn.Linear(2, 12), nn.Unflatten(-1, (3, 2, 2)),
                                           nn.ConvTranspose2d(3, 2, 2), nn.BatchNorm2d(2), nn.SiLU(), nn.Flatten()),
    }[name]()  # fmt: skip


class Head(torch.nn.Module):
    """A network of which one column, or a function of a batch of them, is used: it fails at one point."""

    def __init__(self, last, outputs):
        super().__init__()
        nn = torch.nn
        self.net = trained(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Softplus(), nn.Linear(4, outputs))
        self.last = last

    def forward(self, x):
        return self.last(self.net(x), x)


single = lambda f: lambda x: f(x[None])[0]


@pytest.mark.parametrize(
    "name", ["BatchNorm1d", "Conv1d", "as many channels as positions", "InstanceNorm1d", "GroupNorm", "ConvTranspose2d"]
)
def test_decoders_that_take_batches(name):
    f = network(name)
    value, truth = metrics.Pullback(f), metrics.Pullback(single(f))
    torch.testing.assert_close(S(value, X), S(truth, X))
    torch.testing.assert_close(value(X[0]), truth(X[0]))
    torch.testing.assert_close(rm.second_fundamental_form(f, X), rm.second_fundamental_form(single(f), X))
    for mine, its in zip(rm.jet(f, X, 2), rm.jet(single(f), X, 2), strict=True):
        torch.testing.assert_close(mine, its)


@pytest.mark.parametrize(
    "build",
    [
        lambda part: metrics.Conformal(None, part(Head(lambda y, x: y[:, 0], 1))),
        lambda part: metrics.Diagonal(part(Head(lambda y, x: y.exp(), 2))),
        lambda part: metrics.Cholesky(part(Head(lambda y, x: y.unflatten(1, (2, 2)) + 9 * torch.eye(2).to(x), 4))),
        lambda part: metrics.LowRankPlusDiagonal(torch.exp, part(Head(lambda y, x: y.unflatten(1, (2, 1)), 2))),
        lambda part: metrics.Hessian(part(Head(lambda y, x: y[:, 0] + 9 * (x**2).sum(1), 1))),
        lambda part: metrics.Pullback(torch.exp, part(Head(lambda y, x: torch.diag_embed(y.exp()), 2))),
        lambda part: metrics.Product((part(Head(lambda y, x: torch.diag_embed(y.exp()), 2)), 2)),
        lambda part: metrics.Warped(
            (part(Head(lambda y, x: torch.diag_embed(y.exp()), 2)), 2),
            (metrics.Constant(), 1),
            part(Head(lambda y, x: y[:, 0].exp(), 1)),
        ),
    ],
)
def test_parts_of_metrics_that_take_batches(build):
    value, truth = [], []
    x = X
    for part, found in ((lambda f: f, value), (single, truth)):
        torch.manual_seed(0)
        metric = build(part)
        x = torch.cat((X, X[:, :1]), 1) if isinstance(metric, metrics.Warped) else X
        v = torch.ones_like(x[0])
        found += [metric(x[0]), S(metric, x), rm.riemann_tensor(metric, x), rm.geodesic_acceleration(metric, x, v)]
    for mine, its in zip(value, truth, strict=True):
        torch.testing.assert_close(mine, its)


def test_what_a_decoder_returns_has_the_wrong_shape():
    image = trained(torch.nn.Linear(2, 12), torch.nn.Unflatten(-1, (3, 2, 2)), torch.nn.BatchNorm2d(3))
    with pytest.raises(
        ValueError, match=r"`map of Pullback` returned shape \(3, 2, 2\) at one point, expected \(any,\)"
    ):
        S(metrics.Pullback(image), X)
    training = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(4)).double()
    with pytest.raises(ValueError, match=r"`\.eval\(\)`"):
        S(metrics.Pullback(training), X)


def test_arguments_that_changed_places_and_numbers_for_tensors():
    x = torch.tensor([0.3, 0.7], dtype=torch.float64)
    half_plane = lambda x: torch.eye(2, dtype=x.dtype) / x[1] ** 2
    for call in (
        lambda: rm.scalar_curvature(x, half_plane),
        lambda: rm.at(x, half_plane),
        lambda: rm.geodesic(x, half_plane, x, 1.0),
    ):
        with pytest.raises(TypeError, match="the metric is the first argument, the points are the second"):
            call()
    with pytest.raises(TypeError, match=r"use `torch.as_tensor\(v\).to\(x\)`"):
        rm.geodesic(half_plane, x, [1.0, 0.0], 1.0)
    with pytest.raises(TypeError, match=r"use `torch.as_tensor\(x\)`"):
        rm.scalar_curvature(half_plane, x.numpy())
    want = rm.geodesic(half_plane, x, x, torch.tensor([0.5, 1.0], dtype=torch.float64)).points
    torch.testing.assert_close(rm.geodesic(half_plane, x, x, [0.5, 1]).points, want)
    torch.testing.assert_close(rm.geodesic(half_plane, x, x, 1.0).points, want[1:])
    assert rm.jacobi_field(half_plane, x, x, x, x, 1).shape == (1, 2)


def test_arguments_are_called_by_their_names():
    plane = lambda x: torch.eye(2, dtype=x.dtype)
    sets, x = torch.rand(4, 2, dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64)
    surface = lambda p: torch.stack([p[0], p[1], p @ p])
    line = lambda t: torch.stack([t, t])
    for call in (
        lambda points: rm.frechet_mean(plane, points),
        lambda points: rm.frechet_variance(plane, points),
        lambda points: rm.geodesic_regression(plane, torch.linspace(0, 1, 4, dtype=torch.float64), points),
        lambda points: rm.principal_geodesics(plane, points),
        lambda points: rm.k_means(plane, points, 2),
    ):
        with pytest.raises(
            TypeError, match=r"`points` is a ndarray, .*\(\*batch, N, n\); use `torch.as_tensor\(points\)`"
        ):
            call(sets.numpy())
        with pytest.raises(TypeError, match=r"`points` has dtype torch.int64.*`points.double\(\)`"):
            call(sets.long())
        with pytest.raises(ValueError, match=r"`points` is not finite at"):
            call(sets / 0)
    with pytest.raises(TypeError, match=r"`w` is a list, .*`torch.as_tensor\(w, dtype=torch.float64\)`"):
        rm.parallel_transport(plane, line, [1.0, 0.0], 1.0)
    with pytest.raises(TypeError, match=r"`weights` is a list, .*`torch.as_tensor\(weights\).to\(points\)`"):
        rm.frechet_mean(plane, sets, [1, 1, 1, 1])
    with pytest.raises(TypeError, match=r"`start` is a list"):
        rm.frechet_mean(plane, sets, start=[0.5, 0.5])
    with pytest.raises(TypeError, match="the map is the first argument"):
        rm.gauss_curvature(x, surface)
    with pytest.raises(TypeError, match="the function is the first argument"):
        rm.level_set_mean_curvature(x, torch.sum)
    with pytest.raises(TypeError, match="the function is the first argument"):
        rm.jet(x, torch.sum)
    with pytest.raises(TypeError, match="`x` has dtype torch.complex128, .*real numbers$"):
        rm.scalar_curvature(plane, x + 0j)
    with pytest.raises(TypeError, match=r"`x` is a NoneType, expected a torch.Tensor of shape \(\*batch, n\)$"):
        rm.scalar_curvature(plane, None)
