"""How users write functions: what comes out right, and what is refused, with a message that says what to write."""

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from riemann import christoffel, scalar_curvature
from riemann._jets import jet
from riemann.bridge import to_symbolic

DOUBLE = torch.float64
X = torch.tensor([[0.3, -0.7], [1.1, 0.4], [0.2, 0.9]], dtype=DOUBLE)


def differences(f: Callable[[Tensor], Tensor], x: Tensor, h: float = 1e-3) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient and Hessian at one point by fourth-order central differences."""

    def d(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def df(x: Tensor) -> Tensor:
            columns = []
            for e in h * torch.eye(len(x), dtype=x.dtype):
                columns.append((8 * (f(x + e) - f(x - e)) - f(x + 2 * e) + f(x - 2 * e)) / (12 * h))
            return torch.stack(columns, -1)

        return df

    return f(x), d(f)(x), d(d(f))(x)


def assert_right(f: Callable[[Tensor], Tensor], truth: Callable[[Tensor], Tensor] | None = None, x: Tensor = X) -> None:
    """The jet of `f` is what differences of `truth` (or of `f` itself) say."""
    expected = [torch.stack(parts) for parts in zip(*(differences(truth or f, p) for p in x), strict=True)]
    for ours, true, tolerance in zip(jet(f, x, 2), expected, (1e-12, 1e-8, 1e-6), strict=True):
        torch.testing.assert_close(ours, true, rtol=tolerance, atol=tolerance)


def spd(x: Tensor) -> Tensor:
    return torch.diag(1.5 + x**2) + 0.3 * torch.outer(x, x) + 0.1 * torch.sin(x[1])


# ------------------------------------------------------------------------------------------------ right as written


def in_a_loop(x: Tensor) -> Tensor:
    g = torch.zeros(2, 2)
    for i in range(2):
        g[i, i] = torch.exp(x[i])
    g[0, 1] = g[1, 0] = x[0] * x[1]
    return g


def by_rows(x: Tensor) -> Tensor:
    g = torch.empty(2, 2)
    g[0] = torch.stack([x[0] ** 2, x[1]])
    g[1] = x[0] * x
    return g


def on_the_diagonal(x: Tensor) -> Tensor:
    g = torch.eye(2)
    g[range(2), range(2)] = torch.sin(x)
    g += 0.5 * torch.outer(x, x)
    g *= x[0]
    return g


def by_views(x: Tensor) -> Tensor:
    g = torch.full((2, 2), 0.5)
    g.diagonal().copy_(x**3)
    g.diagonal().mul_(2)
    return g.fill_diagonal_(3.0) * x[0] + x.new_zeros(2, 2).index_put_(
        (torch.tensor([0]), torch.tensor([1])), x[1] ** 2
    )


def by_scatter(x: Tensor) -> Tensor:
    return torch.diagonal_scatter(torch.zeros_like(torch.outer(x, x)), x * x[0]) + torch.ones(2, 2) * x[1]


def of_lists(x: Tensor) -> Tensor:
    rows = [[x[0] ** 2, x[1]], [x[1], x[0] * x[1]]]
    return torch.stack([torch.stack(row) for row in rows])


def filled_row_by_row_from_parameters(x: Tensor) -> Tensor:
    w = nn.Parameter(torch.ones(2, 2, dtype=DOUBLE)).clone()
    w[0, 1] = x[0] ** 2
    return w


@pytest.mark.parametrize(
    "f",
    [in_a_loop, by_rows, on_the_diagonal, by_views, by_scatter, of_lists, filled_row_by_row_from_parameters],
    ids=lambda f: f.__name__,
)
def test_ways_of_filling_a_matrix(f: Callable[[Tensor], Tensor]) -> None:
    def outside(x: Tensor) -> Tensor:
        torch.set_default_dtype(DOUBLE)
        try:
            return f(x)
        finally:
            torch.set_default_dtype(torch.float32)

    assert_right(f, outside)


def test_inner_derivatives() -> None:
    """Plain `vmap` gives wrong values already; the closed forms are those of -log det and of A^-1 x."""

    def logdet_hessian(x: Tensor) -> Tensor:
        return torch.func.hessian(lambda y: torch.logdet(spd(y)))(x)

    def solve_jacobian(x: Tensor) -> Tensor:
        return torch.func.jacfwd(lambda y: torch.linalg.solve(spd(y), y))(x)

    def logdet(x: Tensor) -> Tensor:
        a, b, c, d = spd(x).flatten()
        return torch.log(a * d - b * c)

    def solve(x: Tensor) -> Tensor:
        (a, b), (c, d) = spd(x)
        return torch.stack([d * x[0] - b * x[1], a * x[1] - c * x[0]]) / (a * d - b * c)

    assert_right(logdet_hessian, lambda x: torch.func.hessian(logdet)(x))
    assert_right(solve_jacobian, lambda x: torch.func.jacrev(solve)(x))
    assert_right(lambda x: torch.func.jacrev(logdet)(x), lambda x: torch.func.grad(logdet)(x))
    assert_right(
        lambda x: torch.func.grad(lambda y: torch.linalg.det(spd(y)).log())(x), lambda x: torch.func.grad(logdet)(x)
    )
    assert_right(lambda x: torch.func.vmap(lambda c: torch.linalg.det(c * spd(x)))(torch.arange(1.0, 4.0)),
                 lambda x: torch.stack([c * c * torch.exp(logdet(x)) for c in (1, 2, 3)]))  # fmt: skip


def test_jets_inside() -> None:
    """A function that calls riemann itself: one mode, right at every order."""
    assert_right(
        lambda x: jet(lambda y: torch.linalg.det(spd(y)), x, 1)[1],
        lambda x: torch.func.grad(lambda y: torch.linalg.det(spd(y)))(x),
    )


def test_called_once_and_once_to_be_looked_at() -> None:
    calls = []
    f = lambda x: calls.append(1) or x**2
    for count in (2, 3, 4):
        jet(f, X, 3)
        assert len(calls) == count


def test_no_grad_inside() -> None:
    def f(x: Tensor) -> Tensor:
        with torch.no_grad():
            y = x[0] ** 2 * x[1]
        return y * x[1]

    assert_right(f)
    x = X.clone().requires_grad_()
    (ours,) = torch.autograd.grad(jet(f, x, 2)[2].sum(), x)
    (true,) = torch.autograd.grad(jet(lambda x: x[0] ** 2 * x[1] * x[1], x, 2)[2].sum(), x)
    torch.testing.assert_close(ours, true)


class Net(nn.Module):
    """A small metric with a parameter, a buffer and layers that torch differentiates wrongly."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 6), *layers, nn.Tanh(), nn.Linear(6, 4)).double()
        self.scale = nn.Parameter(torch.tensor(0.7, dtype=DOUBLE))
        self.register_buffer("shift", torch.eye(2, dtype=DOUBLE))

    def forward(self, x: Tensor) -> Tensor:
        a = self.layers(x).reshape(2, 2)
        return self.shift + self.scale * a @ a.mT


class BatchNorm(nn.BatchNorm1d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[None])[0]


@pytest.mark.parametrize(
    "layer", [nn.LayerNorm(6), BatchNorm(6), nn.Dropout(0.3), nn.Softplus(), nn.GELU(), nn.ELU()], ids=str
)
def test_modules(layer: nn.Module) -> None:
    torch.manual_seed(0)
    assert_right(Net(layer).eval())


@pytest.mark.parametrize("layer", [BatchNorm(6), nn.Dropout(0.3), nn.AlphaDropout(0.3)], ids=str)
def test_training_mode_is_refused(layer: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"training mode.*call `\.eval\(\)`|call `\.eval\(\)`.*training mode"):
        jet(Net(layer).train(), X, 1)


def test_attention_and_recurrence() -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(2, 1, batch_first=True).double().eval()
    assert_right(lambda x: attention(x * torch.ones(3, 1), x[None] ** 2, x[None])[0])
    block = nn.TransformerEncoderLayer(2, 1, 4, activation=torch.tanh, batch_first=True).double().eval()
    assert_right(lambda x: block(torch.stack([x, x.sin(), x**2])[None]))


def test_gradients_twice() -> None:
    """Backward through a jet to parameters and to the point, and backward through that."""
    torch.manual_seed(0)
    net = Net(nn.LayerNorm(6))
    x = X[:2].clone().requires_grad_()

    def loss(x: Tensor) -> Tensor:
        g, dg, ddg = jet(net, x, 2)
        return (ddg**2).sum() + (g[..., 0, 0] * dg[..., 1, 1, 0]).sum()

    inputs = (x, net.scale, net.layers[0].weight)
    first = torch.autograd.grad(loss(x), inputs, create_graph=True)
    second = torch.autograd.grad(sum((a * a).sum() for a in first), inputs)
    h = 1e-4
    for leaf, a, b in zip(inputs, first, second, strict=True):
        v = torch.randn_like(leaf)
        values = []
        for k in (-2, -1, 1, 2):
            with torch.no_grad():
                leaf += k * h * v
            value = loss(x)
            gradients = torch.autograd.grad(value, inputs)
            values.append(torch.stack([value.detach(), sum((c * c).sum() for c in gradients)]))
            with torch.no_grad():
                leaf -= k * h * v
        slopes = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        torch.testing.assert_close((a * v).sum().detach(), slopes[0], rtol=1e-6, atol=1e-7)
        torch.testing.assert_close((b * v).sum(), slopes[1], rtol=1e-6, atol=1e-6)


def test_dtypes_of_constants() -> None:
    """Constants made inside have the precision of the point, whatever torch's default is."""

    def f(x: Tensor) -> Tensor:
        return (
            torch.tensor([1.0, 2.0]) / 0.1 * x + torch.full((2,), 0.1) + torch.linspace(0, 0.3, 2) + torch.tensor(0.7)
        )

    y, dy, _ = jet(f, X, 2)
    assert y.dtype == dy.dtype == DOUBLE
    torch.testing.assert_close(
        y, X * torch.tensor([10.0, 20.0], dtype=DOUBLE) + torch.tensor([0.8, 1.1], dtype=DOUBLE), rtol=1e-15, atol=1e-15
    )
    torch.set_default_dtype(DOUBLE)
    try:
        assert all(part.dtype == torch.float32 for part in jet(f, X.float(), 2))
    finally:
        torch.set_default_dtype(torch.float32)


def test_contexts() -> None:
    f, truth = in_a_loop, jet(in_a_loop, X, 2)
    with torch.no_grad():
        torch.testing.assert_close(jet(f, X, 2), truth)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        torch.testing.assert_close(jet(f, X.clone(), 2), truth)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(jet(lambda x: f(x) @ f(x), X, 2), jet(lambda x: in_a_loop(x) @ in_a_loop(x), X, 2))
        assert torch.is_autocast_enabled("cpu")
    torch.testing.assert_close(jet(f, X, 2, chunk_size=2), truth)
    torch.testing.assert_close(jet(f, X.reshape(3, 1, 2), 2)[2], truth[2].unsqueeze(1))
    torch.testing.assert_close(torch.func.vmap(lambda x: jet(f, x, 2)[2])(X), truth[2])
    c = torch.tensor([1.0, 2.0, 3.0], dtype=DOUBLE)
    scaled = torch.func.vmap(lambda c, x: jet(lambda y: c * in_a_loop(y), x, 2)[2])(c, X)
    torch.testing.assert_close(scaled, c[:, None, None, None, None] * truth[2])
    assert [part.shape for part in jet(f, X[:0], 2)] == [(0, 2, 2), (0, 2, 2, 2), (0, 2, 2, 2, 2)]
    assert [part.shape for part in jet(f, X.to("meta"), 2)] == [(3, 2, 2), (3, 2, 2, 2), (3, 2, 2, 2, 2)]


def test_compiled() -> None:
    compiled = torch.compile(lambda x: torch.linalg.det(spd(x)) * torch.linalg.norm(x) ** 2, backend="eager")
    assert_right(compiled, lambda x: torch.linalg.det(spd(x)) * (x * x).sum())
    assert_right(lambda x: x * compiled(x), lambda x: x * torch.linalg.det(spd(x)) * (x * x).sum())


def test_inplace_activations_keep_their_meaning() -> None:
    def f(x: Tensor) -> Tensor:
        y = x**3
        z = F.elu(y, inplace=True)
        return y * z

    assert_right(f, lambda x: F.elu(x**3) ** 2)


def test_roots_that_are_written_to_forget_their_squares() -> None:
    def norm_then_write(x: Tensor) -> Tensor:
        r = torch.linalg.vector_norm(x)
        r += 1
        return r**2

    def write_to_a_view(x: Tensor) -> Tensor:
        r = torch.sqrt(x * x + 1)
        r[0].mul_(x[1])
        return r.square()

    def write_to_the_square(x: Tensor) -> Tensor:
        s = x * x + 1
        r = torch.sqrt(s)
        s.mul_(2)
        return r * r

    for f in (norm_then_write, write_to_a_view, write_to_the_square):
        assert_right(f)


# ------------------------------------------------------------------------------------------------------- refusals


class NewStyle(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x**3

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, t: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * t


class OldStyle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x**3

    @staticmethod
    def backward(ctx: Any, t: Tensor) -> Tensor:
        return t


def branch(x: Tensor) -> Tensor:
    return x if x[0] > 0 else -x


def inference(x: Tensor) -> Tensor:
    with torch.inference_mode():
        y = x * 2
    return y * x


def leaf_gradient(x: Tensor) -> Tensor:
    y = x.clone().requires_grad_()
    return torch.autograd.grad(y.sin().sum(), y)[0]


CLOSED_OVER = torch.zeros(2, dtype=DOUBLE)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    scripted = torch.jit.trace(lambda x: x.abs(), X[0])
    scripted_module = torch.jit.trace(nn.Tanh(), X[0])

REFUSALS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "detach": (lambda x: x.detach() * x, "calls `detach` on a value that depends on the point.*use the value itself"),
    "data": (lambda x: x.data * x, "calls `data`"),
    "item": (lambda x: x * x[0].item(), "calls `item`.*torch functions"),
    "float": (lambda x: x * float(x[0]), "calls `__float__`.*torch functions"),
    "int": (lambda x: x * int(x[0]), "calls `__int__`"),
    "bool": (lambda x: x * bool(x[0]), "calls `__bool__`.*`torch.where`"),
    "math": (lambda x: x * math.sin(x[0]), "calls `__float__`.*not with `math`"),
    "np.sin": (lambda x: x * np.sin(x), "calls `__array__`.*torch function of the same name"),
    "numpy": (lambda x: x.numpy(), "calls `numpy`.*torch function of the same name"),
    "tolist": (lambda x: torch.tensor(x.tolist()), "calls `tolist`"),
    "tensor": (lambda x: torch.tensor([[x[0], 0.0], [0.0, x[1]]]), r"torch.tensor\(.*Use `torch.stack"),
    "as_tensor": (lambda x: torch.as_tensor([x[0], x[1]]), r"torch.as_tensor\(.*Use `torch.stack"),
    "new_tensor": (lambda x: x.new_tensor([x[0], x[1]]), r"torch.new_tensor\(.*Use `torch.stack"),
    "copy of a tensor": (lambda x: torch.tensor(x), r"torch.tensor\(.*Use"),
    "deepcopy": (lambda x: copy.deepcopy(x) * x, "calls `__deepcopy__`.*use `clone`"),
    "branch": (branch, "calls `__bool__`.*`torch.where`"),
    "mask": (lambda x: x[x > 0], "calls `__getitem__`"),
    "allclose": (lambda x: x * torch.allclose(x, x), "calls `allclose`"),
    "random": (lambda x: x * torch.rand(2), "calls `rand`"),
    "random like": (lambda x: x * torch.randn_like(x), "calls `randn_like`"),
    "out": (lambda x: torch.sin(x, out=torch.empty(2, dtype=DOUBLE)), "calls `sin`.*`out=`; assign"),
    "out of a rewritten function": (lambda x: torch.abs(x, out=torch.empty(2, dtype=DOUBLE)), "calls `abs`.*`out=`"),
    "F.dropout": (lambda x: F.dropout(x, 0.5), r"calls `dropout`.*training=False"),
    "closure": (lambda x: CLOSED_OVER.add_(x), r"calls `add_`.*write into its `clone\(\)`"),
    "Parameter": (lambda x: nn.Parameter(x) * x, "calls `Parameter`.*Use the value itself"),
    "Parameters in a list": (lambda x: torch.stack([nn.Parameter(x[0]), x[1]]), "calls `Parameter`"),
    "Parameter as result": (lambda x: nn.Parameter(x * x), "calls `Parameter`"),
    "scatter_reduce": (
        lambda x: x.scatter_reduce(0, torch.tensor([0, 0]), x, "prod"),
        "calls `scatter_reduce`.*use a product",
    ),
    "native_dropout": (lambda x: torch.native_dropout(x, 0.5, True)[0], r"calls `native_dropout`.*`\.eval\(\)`"),
    "orgqr": (lambda x: torch.orgqr(spd(x), x), "calls `orgqr`.*multiply the reflections"),
    "lstsq": (lambda x: torch.linalg.lstsq(spd(x), x[:, None])[0], "calls `linalg_lstsq`.*pinv"),
    "lu": (lambda x: torch.linalg.lu(spd(x))[2], "calls `linalg_lu`.*solve"),
    "ldl": (lambda x: torch.linalg.ldl_factor(spd(x))[0], "calls `linalg_ldl_factor`.*cholesky"),
    "gammainc": (lambda x: torch.special.gammainc(1 + x * x, 2 + x), "calls `special_gammainc`.*integral or series"),
    "sparse values": (lambda x: torch.sparse_coo_tensor([[0, 1]], x).to_dense(), "calls `sparse_coo_tensor`.*dense"),
    "a sparse copy": (lambda x: spd(x).to_sparse_csr().to_dense(), "calls `to_sparse_csr`.*into a dense one"),
    "eig": (lambda x: torch.linalg.eigvals(spd(x)).real, "calls `linalg_eigvals`.*eigh"),
}


SPARSE = torch.tensor([[2.0, 0.0], [-1.0, 3.0]], dtype=DOUBLE).to_sparse()
ACCEPTED: dict[str, Callable[[Tensor], Any]] = {
    "index": lambda x: x[x.argmax()],
    "autograd.grad": leaf_gradient,
    "new-style Function": lambda x: NewStyle.apply(x),
    "old-style Function": lambda x: OldStyle.apply(x),
    "script": lambda x: scripted(x),
    "scripted module": lambda x: scripted_module(x),
    "a module of scripts": lambda x: nn.Sequential(nn.Tanh(), scripted_module)(x),
    "script of an inner gradient": lambda x: torch.func.grad(lambda y: scripted(y).sum())(x),
    "torch.ops": lambda x: torch.ops.aten.sin(x),
    "torch.ops overload": lambda x: torch.ops.aten.sin.default(x),
    "inference mode": inference,
    "sparse constants": lambda x: torch.sparse.addmm(spd(x), SPARSE, torch.sparse.mm(SPARSE, spd(x))) @ (SPARSE @ x),
    "pooling": lambda x: torch.max_pool3d(x.expand(1, 2, 2, 2), 2),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_seen_through_its_operations(case: str) -> None:
    """Scripts, custom functions, calls below Python: what they compute is differentiated, however they say it is."""
    assert_right(ACCEPTED[case])


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize("order", [1, 2])
def test_refused(case: str, order: int) -> None:
    f, message = REFUSALS[case]
    with warnings.catch_warnings(), pytest.raises(ValueError, match=f"(?s)^the function.*({message})"):
        warnings.simplefilter("ignore")
        jet(f, X, order)


def test_constants_may_be_cut() -> None:
    w = nn.Parameter(torch.tensor([2.0, 3.0], dtype=DOUBLE))
    assert_right(
        lambda x: x**2 * w.detach() * w[0].item() + w.data * float(w[1]),
        lambda x: x**2 * w.detach() * 2 + w.detach() * 3,
    )


def test_messages_name_what_the_user_gave() -> None:
    with pytest.raises(ValueError, match="^the metric calls `detach`"):
        christoffel(lambda x: torch.outer(x, x.detach()), X)
    with pytest.raises(
        ValueError, match=r"`function` returned torch.float64 on cpu for a point in torch.float64 on meta"
    ):
        jet(lambda x: torch.ones(2, dtype=DOUBLE, device="cpu"), X.to("meta"), 1)


def test_own_errors_keep_their_message() -> None:
    def f(x: Tensor) -> Tensor:
        raise RuntimeError("my own message")

    with pytest.raises(RuntimeError, match="(?m)^my own message$"):
        jet(f, X, 2)


def test_scripts_work_outside() -> None:
    torch.testing.assert_close(scripted(X[0]), X[0].abs())


def test_piecewise_linear_networks_warn() -> None:
    with pytest.warns(UserWarning, match="calls relu: piecewise linear"):
        jet(lambda x: F.relu(x), X, 2)


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: F.lp_pool1d(x[None, None], 3, 2).sum(),
        lambda x: F.lp_pool2d(torch.outer(x, x)[None, None], 2.0, (2, 1), stride=1).sum(),
        lambda x: nn.LPPool3d(2, 2)((x[:, None, None] * x[:, None] * (x * x))[None, None]).sum(),
    ],
    ids=["1d", "2d", "3d"],
)
def test_means_of_powers_have_no_kink(pool) -> None:
    """torch writes `sign(y) * relu(abs(y))` for y, which is no reason to warn."""
    assert_right(pool, x=torch.tensor([[0.3, 0.7], [1.1, 0.4]], dtype=DOUBLE))


def test_the_largest_of_a_pool_by_its_norm() -> None:
    assert_right(lambda x: F.lp_pool1d(x[None, None] ** 3, float("inf"), 2).sum(), lambda x: x.abs().max() ** 3)


@pytest.mark.parametrize("reduction, full", [("mean", False), ("sum", True), ("none", False)])
def test_a_variance_that_depends_on_the_point(reduction, full) -> None:
    """torch looks whether a variance is negative, and refuses; here it is NaN."""
    loss = lambda x: F.gaussian_nll_loss(x, x.new_ones(2), x**2 + 0.1, full, reduction=reduction).sum()
    assert_right(loss)
    assert jet(lambda x: F.gaussian_nll_loss(x, x.new_ones(2), -(x**2)), X, 1)[0].isnan().all()


def test_a_random_slope_is_its_mean_in_evaluation() -> None:
    for got, want in zip(jet(nn.RReLU(0.2, 0.4).eval(), X, 1), jet(lambda x: F.leaky_relu(x, 0.3), X, 1), strict=True):
        assert_close(got, want)
    with pytest.raises(ValueError, match="calls `rrelu`, which is random"):
        jet(nn.RReLU(), X, 1)


@pytest.mark.parametrize("where", [X[0], X], ids=["vector", "matrix"])
def test_the_place_of_the_largest_of_all_keeps_the_axes(where) -> None:
    """`argmax(keepdim=True)` without an axis has as many as its argument."""
    places = jet(lambda x: torch.outer(x, x).argmin(keepdim=True).to(x.dtype), where, 0)[0]
    assert places.shape == (*where.shape[:-1], 1, 1)
    assert_right(lambda x: (x**3).gather(0, x.argmax(keepdim=True)), lambda x: x.max().reshape(1) ** 3)


def test_a_bilinear_layer() -> None:
    layer = nn.Bilinear(2, 2, 3).double()
    assert_right(lambda x: layer(x, x**2).tanh())


@pytest.mark.parametrize("family", [torch.distributions.Normal, torch.distributions.Beta], ids=lambda f: f.__name__)
def test_looks_at_arguments_of_distributions_have_their_own_remedy(family) -> None:
    with pytest.raises(ValueError, match=r"`torch.distributions.*pass `validate_args=False`"):
        jet(lambda x: family(x[0] ** 2, x[1] ** 2, validate_args=True).log_prob(torch.tensor(0.3, dtype=DOUBLE)), X, 1)
    got = lambda x: family(x[0] ** 2, x[1] ** 2, validate_args=False).log_prob(torch.tensor(0.3, dtype=DOUBLE))
    assert_right(got)


def test_a_branch_not_taken_that_spoils_gradients_is_said() -> None:
    """Gradients are NaN there, by torch's product of 0 and NaN; values are right. What is said to do helps."""
    f = lambda x: torch.where(x > 0, torch.sqrt(x), x**2).sum()
    careful = lambda x: torch.where(x > 0, torch.sqrt(torch.where(x > 0, x, 1.0)), x**2).sum()
    x = X.clone().requires_grad_()
    with pytest.warns(UserWarning, match="the function gives `torch.where` a branch that is not finite"):
        values = jet(f, x, 2)
    for got, want in zip(values, jet(careful, x, 2), strict=True):
        assert_close(got, want)
        (slopes,) = torch.autograd.grad(want.sum(), x, retain_graph=True)
        assert slopes.isfinite().all()
    with torch.no_grad():
        jet(f, x, 2)
    jet(lambda x: torch.where(x > 0, x, torch.nan).nansum() + torch.where(x > 5, x, x**2).sum(), x, 1)


# ------------------------------------------------------------------------------- remembered squares, views, comparisons


def test_a_remembered_square_is_nobody_elses() -> None:
    def f(x: Tensor) -> Tensor:
        r = x.norm()
        doubled = r * r
        doubled *= 2
        return doubled + 10 * r.square()

    assert_right(f, lambda x: 12 * (x * x).sum())


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "ravel": lambda G: G.ravel()[2:],
    "linalg.diagonal": lambda G: torch.linalg.diagonal(G)[1:],
    "swapdims": lambda G: torch.swapdims(G, 0, 1)[1],
    "contiguous": lambda G: G.contiguous()[1],
    "double": lambda G: G.double()[1],
    "to": lambda G: G.to(G.dtype)[1],
    "tensor_split": lambda G: torch.tensor_split(G, 2)[1][0],
    "hsplit": lambda G: torch.hsplit(G, 2)[1][:, 0],
    "view_as": lambda G: G.view_as(G)[1],
    "unfold": lambda G: G.unfold(0, 2, 1)[0, 1],
    "mT": lambda G: G.mT[1],
    "list": lambda G: list(G)[1],
    "atleast_1d": lambda G: torch.atleast_1d(G)[1],
    "+": lambda G: (+G)[1],
}


@pytest.mark.parametrize("view", VIEWS)
def test_writes_through_views(view: str) -> None:
    def f(x: Tensor) -> Tensor:
        G = torch.eye(2, dtype=x.dtype)
        VIEWS[view](G)[-1] = torch.sin(x[0]) ** 2
        return G * x[1]

    assert_right(f)


@pytest.mark.parametrize("f", [
    lambda x: x * (x > 0), lambda x: x.masked_fill(x <= 0, 0), lambda x: torch.where(x >= 0, x, 2 * x),
    lambda x: torch.where(~(x < 0), x, 2 * x), lambda x: torch.where((x > 0) & (x < 1), x, 2 * x),
    lambda x: (x > 0).to(x.dtype) * x, lambda x: torch.where(x == 0, torch.ones_like(x), torch.sin(x) / x),
    lambda x: F.l1_loss(x, torch.zeros_like(x), reduction="none"), torch.angle,
])  # fmt: skip
def test_where_both_sides_of_a_comparison_are_equal_there_is_no_derivative(f: Callable[[Tensor], Tensor]) -> None:
    x = torch.tensor([[0.0, 0.4]], dtype=DOUBLE)
    y, dy, ddy = jet(f, x, 2)
    assert y.isfinite().all() and dy[0, 0, 0].isnan() and ddy[0, 0, 0, 0].isnan()
    torch.testing.assert_close(dy[0, 1], jet(f, x + 1e-300, 1)[1][0, 1])
    assert dy[0, 1].isfinite().all()


@pytest.mark.parametrize("f", [
    lambda x: torch.abs(torch.diag(1 + x**2)),
    lambda x: torch.clamp(torch.diag(x + 1), min=0),
    lambda x: torch.relu(torch.tril(torch.outer(x + 2, x + 1))),
    lambda x: torch.maximum(torch.diag(x + 2), torch.zeros(2, 2)),
    lambda x: F.elu(torch.diag(x + 2)),
    lambda x: torch.linalg.matrix_norm(torch.diag(x + 2), 1),
    lambda x: torch.where(torch.eye(2) > 0.5, x, 0.0),
    lambda x: torch.amax(torch.stack([x[0], x[0], x[1] - 9])),
])  # fmt: skip
def test_constants_at_kinks_are_constants(f: Callable[[Tensor], Tensor]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_right(f)


def test_integers_stay_integers() -> None:
    def f(x: Tensor) -> Tensor:
        k = (torch.arange(2) + 1) % 2
        return x[k] * torch.abs(k) + torch.maximum(k, torch.zeros_like(k)).sum() + (x.new_ones(2) > 0).max()

    assert_right(f)


def test_complex_matrices() -> None:
    def H(x: Tensor) -> Tensor:
        off = torch.complex(x[1], x[0] * x[1])
        return torch.stack([torch.stack([3 + x[0] + 0j, off]), torch.stack([off.conj(), 3 - x[0] + 0j])])

    assert_right(lambda x: torch.linalg.eigvalsh(H(x)))
    assert_right(lambda x: torch.linalg.cholesky(H(x)).abs() ** 2)
    assert_right(lambda x: torch.linalg.slogdet(H(x)).logabsdet)


def test_singular_determinants() -> None:
    x = torch.tensor([[0.0, 0.5], [0.5, 0.5]], dtype=DOUBLE)
    y, dy, _ = jet(lambda x: torch.linalg.det(torch.diag(torch.stack([x[0], x[1], x[1], x[0] + 1]))), x, 2)
    torch.testing.assert_close(y, x[:, 0] * x[:, 1] ** 2 * (x[:, 0] + 1))
    torch.testing.assert_close(dy[1], torch.tensor([0.5, 0.75], dtype=DOUBLE))


@pytest.mark.parametrize("f", [F.silu, F.mish, lambda x: torch.special.logit(x / 4 + 0.5), F.gelu, F.softplus, F.selu])
def test_without_gradients_the_same(f: Callable[[Tensor], Tensor]) -> None:
    with torch.no_grad():
        assert_right(f)


def test_threads() -> None:
    """Torch's levels of forward mode belong to the process: riemann's calls wait for each other."""
    from concurrent.futures import ThreadPoolExecutor

    true = jet(in_a_loop, X, 2)[2]
    with ThreadPoolExecutor(4) as pool:
        for y in pool.map(lambda _: jet(in_a_loop, X, 2)[2], range(40)):
            torch.testing.assert_close(y, true)


def test_the_caller_keeps_its_points() -> None:
    x = X.clone()
    torch.testing.assert_close(jet(lambda x: x.mul_(2).sum(), x, 1)[1], torch.full_like(X, 2.0))
    assert torch.equal(x, X)


def test_derivatives_can_be_written_to() -> None:
    _, dy, ddy = jet(lambda x: 2 * x, X, 2)
    assert float(ddy.add_(1).sum()) == ddy.numel() and dy.tolist()


# -------------------------------------------------------------------------------------- products with the own transpose


def _slow(A, B):
    return (A[:, :, None] * B[None]).sum(1)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(
    "product",
    [
        lambda mul, A: mul(A, A.mT),
        lambda mul, A: mul(A.T, A),
        lambda mul, A: mul(A[1:], A[1:].transpose(0, 1)),
        lambda mul, A: mul(A[1:], A[:-1].T),
        lambda mul, A: mul(mul(A, A.t()), mul(A, A.t()).mT),
        lambda mul, A: mul(A, A.clone().mT) + mul(A, 2 * A.mT),
        lambda mul, A: mul(A[:2, :2], A[:2, :2]),
        lambda mul, A: mul(A, A.new_ones(2, 2)),
    ],
    ids=["L L^T", "J^T J", "rows", "other rows", "twice", "a copy", "no transpose", "a constant"],
)
@pytest.mark.parametrize("mul", [torch.matmul, torch.mm, torch.Tensor.__matmul__], ids=["matmul", "mm", "@"])
def test_products_with_the_own_transpose(product, order, mul):
    def factor(x):
        return torch.stack([x.sin(), x * x[0], torch.stack([x[1] ** 3, x.prod()])])

    x = torch.rand(4, 2, dtype=torch.float64)
    for value, truth in zip(
        jet(lambda x: product(mul, factor(x)), x, order),
        jet(lambda x: product(_slow, factor(x)), x, order),
        strict=True,
    ):
        assert_close(value, truth, rtol=1e-13, atol=1e-13)


def test_gradients_through_products_with_the_own_transpose():
    W = torch.rand(3, 2, 2, dtype=torch.float64).requires_grad_()
    x = torch.rand(4, 2, dtype=torch.float64).requires_grad_()

    def gradients(mul):
        def metric(x):
            A = torch.tanh(W @ x) + 0.1
            return mul(A.mT, A) + torch.eye(2)

        loss = scalar_curvature(metric, x).square().sum()
        firsts = torch.autograd.grad(loss, (W, x), create_graph=True)
        return (*firsts, *torch.autograd.grad(firsts[0].square().sum(), (W, x)))

    for value, truth in zip(gradients(torch.matmul), gradients(_slow), strict=True):
        assert_close(value, truth, rtol=1e-10, atol=1e-10)


def test_a_transpose_written_to_in_between():
    def metric(mul):
        def g(x):
            A = torch.zeros(2, 2)
            A[0, 0], A[1, 0], A[1, 1] = x[0].exp(), x[0] * x[1], x[1].exp()
            B = A.mT
            first = mul(A, B)
            A[1, 0] = x[1] ** 2
            return first + mul(A, B)

        return g

    x = torch.rand(4, 2, dtype=torch.float64)
    assert_close(scalar_curvature(metric(torch.matmul), x), scalar_curvature(metric(_slow), x))


# ------------------------------------------------------------------------------------ fresh tensors that outlive a call


class Buffered(nn.Module):
    """Makes what it needs at its first call, in one of several ways."""

    def __init__(self, make: Callable[[Tensor], Tensor]):
        super().__init__()
        self.make = make
        self.register_buffer("kept", None)

    def forward(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.make(x)
        return self.kept * (1 + x @ x)


def by_constants_in_place(x: Tensor) -> Tensor:
    E = torch.zeros(2, 2, dtype=DOUBLE)
    for i in range(2):
        E[i, i] += 2.0
    E /= 2
    return torch.stack([E, E.mT]).mean(0).clone()


KEPT: dict[str, Callable[[Tensor], Tensor]] = {
    "eye": lambda x: torch.eye(2, dtype=DOUBLE),
    "dtype of the point": lambda x: torch.eye(2, dtype=x.dtype, device=x.device).to(x),
    "no dtype": lambda x: torch.eye(2),
    "derived": lambda x: (torch.eye(2) * 2).T / 2,
    "ones_like": lambda x: torch.diag(torch.ones_like(x)),
    "new_ones": lambda x: x.new_ones(2).diag(),
    "in place": by_constants_in_place,
}


@pytest.mark.parametrize("first", ["eager", "gradient", "vmap", "trace", "inner"])
@pytest.mark.parametrize("way", KEPT)
def test_what_a_function_keeps_is_a_plain_tensor(way: str, first: str) -> None:
    module, truth = Buffered(KEPT[way]), lambda x: torch.eye(2, dtype=DOUBLE) * (1 + x @ x)
    if first == "eager":
        scalar_curvature(module, X)
    elif first == "gradient":
        scalar_curvature(module, X.clone().requires_grad_()).sum().backward()
    elif first == "vmap":
        torch.func.vmap(lambda x: scalar_curvature(module, x))(X)
    elif first == "trace":
        to_symbolic(module, 2)
    else:
        jet(lambda x: torch.func.jacfwd(torch.func.grad(lambda y: module(y).sum()))(x), X, 1)
    assert copy.deepcopy(module.kept).numpy().tolist() == [[1, 0], [0, 1]]
    assert_close(module(X[0]), truth(X[0]))
    assert_close(scalar_curvature(module, X), scalar_curvature(truth, X))


def views_of_each_other(x: Tensor) -> Tensor:
    g = torch.zeros(2, 2, dtype=DOUBLE)
    d, row, flat, before = g.diagonal(), g[0], g.view(-1), g.sum()
    d.copy_(1 + x * x)
    d += x @ x
    row[1] = x[0] * x[1]
    flat[2] = row[1] * x[0]
    return g + before


def views_written_in_turn(x: Tensor) -> Tensor:
    """Constants through one view, values of the point through others, after backward has saved the tensor."""
    g = torch.zeros(2, 2, dtype=DOUBLE)
    d, row = g.diagonal(), g[0]
    product = (g + 1) @ x
    row[1] = 2.0
    d.add_(3.0)
    g[1, 0] = x[0] * product[0]
    d[1] = x[1]
    return g + d * row


def by_all_means(x: Tensor) -> Tensor:
    g = torch.empty(2, 2, dtype=DOUBLE)
    g[...] = torch.eye(2, dtype=DOUBLE) * 3
    g[torch.eye(2, dtype=torch.bool)] += x
    g.view(4)[1:3].mul_(x[0]).add_(x[1])
    h = [g]
    h[0].mT[0] *= x[1]
    return g @ h[0]


def views_of_nothing(x: Tensor) -> Tensor:
    g = torch.zeros(4, dtype=DOUBLE).view(2, 2)
    g[0, 0] = x[0] ** 3
    return g.mT + torch.ones(2, dtype=DOUBLE).expand(2, 2) * x


def read_before_it_is_written(x: Tensor) -> Tensor:
    g = torch.ones(2, dtype=DOUBLE)
    p = g * x
    g[0] = 2.0
    q = g * x
    g[1] = x[0]
    return p * q + g**2


def filled_inside_a_jacobian(x: Tensor) -> Tensor:
    def h(y: Tensor) -> Tensor:
        A = torch.zeros(2, dtype=DOUBLE)
        A[0], A[1] = y[0] ** 3, y[1] ** 3 + y[0]
        return A

    return torch.func.jacfwd(h)(x) @ torch.func.jacrev(h)(x)


def filled_inside_a_jet(x: Tensor) -> Tensor:
    def h(y: Tensor) -> Tensor:
        A = torch.zeros(2, 2, dtype=DOUBLE)
        A[0, 0], A[1, 0] = y[0] ** 3, y[1] ** 3 * y[0]
        return A

    return jet(h, x, 2)[2].sum(0)


def of_an_outer_parameter(x: Tensor) -> Tensor:
    return torch.func.vmap(lambda c: (c * x).sum() + torch.zeros(2, dtype=DOUBLE).index_fill(0, torch.tensor(0), 2.0))(
        torch.ones(2, dtype=DOUBLE)
    )


@pytest.mark.parametrize(
    "f",
    [
        views_of_each_other,
        views_written_in_turn,
        by_all_means,
        views_of_nothing,
        read_before_it_is_written,
        filled_inside_a_jacobian,
        filled_inside_a_jet,
        of_an_outer_parameter,
    ],
    ids=lambda f: f.__name__,
)
def test_writing_into_fresh_tensors_and_their_views(f: Callable[[Tensor], Tensor]) -> None:
    assert_right(f)
    x = X.clone().requires_grad_()
    (ours,) = torch.autograd.grad(jet(f, x, 1)[1].sin().sum(), x)
    h, v = 1e-6, torch.ones_like(X)
    slope = (jet(f, X + h * v, 1)[1].sin().sum() - jet(f, X - h * v, 1)[1].sin().sum()) / (2 * h)
    assert_close(ours.sum(), slope, rtol=1e-5, atol=1e-5)


def test_writing_into_what_an_outer_transform_has_made() -> None:
    def scaled(c: Tensor) -> Tensor:
        def f(x: Tensor) -> Tensor:
            A = torch.eye(2, dtype=DOUBLE) * c
            A[0, 1] = x[0] ** 2
            return A

        return jet(f, X, 1)[1].sum() + jet(f, X, 0)[0].sum()

    c = torch.tensor([1.0, 2.0], dtype=DOUBLE)
    assert_close(torch.func.vmap(scaled)(c), torch.stack([scaled(k) for k in c]))
    assert_close(torch.func.grad(scaled)(c[0]), torch.tensor(6.0, dtype=DOUBLE))


@pytest.mark.parametrize("f", [
    lambda x: x * torch.randn_like(torch.ones(2)), lambda x: x * torch.bernoulli(torch.full((2,), 0.5)),
])  # fmt: skip
def test_random_constants_are_refused(f: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match="random"):
        jet(f, X, 1)


def test_a_test_for_nan_leaves_no_doubt() -> None:
    """x == x jumps nowhere, so that no second look at further derivatives is taken."""
    calls = []

    def f(x: Tensor) -> Tensor:
        calls.append(1)
        return torch.where(x == x, x**3, 0.0) + torch.where(x.ne(x), 1.0, x)

    x = torch.tensor([0.7, -0.2], dtype=DOUBLE)
    _, df, ddf = jet(f, x, 2)
    torch.testing.assert_close(df, torch.diag(3 * x**2 + 1))
    torch.testing.assert_close(ddf[[0, 1], [0, 1], [0, 1]], 6 * x)
    assert len(calls) == 1
