"""Every differentiable operation that torch's own operator database knows is right under `riemann`, or refused.

The oracle is finite differences of the plain operation, in float64. A torch release that breaks an operation, or our
rewriting of it, fails here.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import BinaryUfuncInfo, OpInfo, SampleInput, UnaryUfuncInfo
from torch.utils._pytree import tree_flatten, tree_unflatten

from riemann._jets import jet

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

POINTS = torch.tensor([[0.011, -0.007], [-0.013, 0.009]], dtype=torch.float64)
LINES = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
STEPS = (1.7320508e-3, 1e-3)  # no multiples of each other: steps alias with the jumps of `fmod`
MAX_ELEMENTS = 20_000

_ROUNDS = "its values are rounded, so that their differences tell nothing"
_SPARSE = "its tensors are sparse, which `vmap` does not know"

EXCEPTIONS: dict[str, str] = {
    **dict.fromkeys(("bfloat16", "half", "chalf"), _ROUNDS),
    **dict.fromkeys(("sparse.sampled_addmm", "sparse.mm.reduce"), _SPARSE),
    **dict.fromkeys(("float",), _ROUNDS),
    **{
        f"polygamma.polygamma_n_{n}": "torch's values have nine digits, ours more (tests/test_arithmetic.py)"
        for n in range(5)
    },
    "special.polygamma.special_polygamma_n_0": "torch's values have nine digits",
    **{
        f"special.bessel_{f}": "torch's values have eight digits, ours more (tests/test_arithmetic.py)"
        for f in ("j0", "j1", "y0", "y1")
    },  # fmt: skip
    "linalg.pinv.singular": "torch has no samples of it without gradients",
    "nn.functional.max_unpool2d": "its samples repeat indices: which value stays is chance",
    "masked.norm": "masked entries are 0, where abs has no derivative: NaN",
    "masked.logaddexp": "masked entries are -inf: NaN at order 2",
}


def name_of(op: OpInfo) -> str:
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name


OPERATIONS = [op for op in op_db if op.supports_autograd and torch.float64 in op.supported_dtypes("cpu")]


def flat(result: Any) -> Tensor | None:
    """All floating-point numbers that an operation returns, as one vector."""
    leaves = [leaf for leaf in tree_flatten(result)[0] if isinstance(leaf, Tensor)]
    leaves = [torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf for leaf in leaves]
    leaves = [leaf.reshape(-1) for leaf in leaves if leaf.is_floating_point() and leaf.layout == torch.strided]
    return torch.cat([leaf.double() for leaf in leaves]) if leaves else None


def samples(op: OpInfo, most: int) -> list[SampleInput]:
    """Some of an operation's samples, spread over the list."""
    found = list(op.sample_inputs("cpu", torch.float64, requires_grad=False))
    return found[:: max(1, -(-len(found) // most))]


def fields(call: Callable[..., Any], sample: SampleInput) -> Iterator[Callable[[Tensor], Tensor | None]]:
    """The operation as a function of two coordinates that move its tensors, each alone and all together."""
    leaves, spec = tree_flatten((sample.input, sample.args, sample.kwargs))
    moving = [
        i for i, leaf in enumerate(leaves)
        if isinstance(leaf, Tensor) and leaf.dtype == torch.float64 and leaf.numel() and leaf.layout == torch.strided
    ]  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    directions = {
        i: [torch.randn(leaves[i].shape, generator=generator, dtype=torch.float64) for _ in range(2)] for i in moving
    }

    def field(which: tuple[int, ...]) -> Callable[[Tensor], Tensor | None]:
        def f(x: Tensor) -> Tensor | None:
            now = list(leaves)
            for i in which:
                u, v = directions[i]
                now[i] = leaves[i] + x[0] * u + x[1] * v
            input, args, kwargs = tree_unflatten(now, spec)
            return flat(sample.output_process_fn_grad(call(input, *args, **kwargs)))

        return f

    for which in {*((i,) for i in moving), tuple(moving)} - {()}:
        yield field(which)


def differences(f: Callable[[Tensor], Tensor], x: Tensor, h: float) -> tuple[Tensor, Tensor]:
    """First and second derivatives along `LINES`, fourth-order central differences."""
    first, second = [], []
    f0 = f(x)
    for line in LINES:
        a, b, c, d = (f(x + k * h * line) for k in (-2, -1, 1, 2))
        first.append((a - 8 * b + 8 * c - d) / (12 * h))
        second.append((-a + 16 * b - 30 * f0 + 16 * c - d) / (12 * h * h))
    return torch.stack(first, -1), torch.stack(second, -1)


def wrong(f: Callable[[Tensor], Tensor | None]) -> str | None:
    """What is wrong with the jet of a function at `POINTS`; None if nothing is, "unknown" if nothing can be said."""
    try:
        plain = [f(x) for x in POINTS]
        random = any(not torch.equal(f(x).nan_to_num(), y.nan_to_num()) for x, y in zip(POINTS, plain, strict=True))
        expected = [[differences(f, x, h) for h in STEPS] for x in POINTS]
    except Exception:  # a value that the operation does not take, or no number at all
        return "unknown"
    if plain[0] is None or not 0 < plain[0].numel() <= MAX_ELEMENTS:
        return "unknown"
    try:
        y, dy, ddy = jet(f, POINTS, 2)
    except ValueError as error:
        clear = re.match(
            r"the function (calls|uses|puts) .*\b([Uu]se|[Ww]rite|[Cc]all|multiply|divide|assign)\b", str(error)
        )
        return f"refused: {error}" if clear else f"unclear refusal: {error}"
    except Exception as error:
        return f"raised {type(error).__name__}: {str(error)[:150]}"
    if random:
        return "random, and not refused"
    unsure = True
    for value, truth, ((coarse1, coarse2), (fine1, fine2)), d, dd in zip(y, plain, expected, dy, ddy, strict=True):
        if not torch.allclose(value, truth, rtol=1e-12, atol=1e-13, equal_nan=True):
            return f"value off by {(value - truth).abs().max():.1e}"
        ours1 = d @ LINES.T
        ours2 = torch.einsum("...ij,li,lj->...l", dd, LINES, LINES)
        size = truth.abs().unsqueeze(-1) + truth.abs().nan_to_num(0, 0, 0).max()
        scale1, scale2 = (
            fine.abs() + 1e-3 * fine.abs().nan_to_num(0, 0, 0).max() + share * size + 1e-9
            for fine, share in ((fine1, 1e-4), (fine2, 1e-2))
        )
        known = ((coarse1 - fine1).abs() < 1e-6 * scale1) & ((coarse2 - fine2).abs() < 1e-4 * scale2)
        for order, ours, fine, scale, tolerance in ((1, ours1, fine1, scale1, 1e-5), (2, ours2, fine2, scale2, 1e-3)):
            bad = known & ~((ours - fine).abs() < tolerance * scale)
            if bad.any():
                if ours[bad].isnan().all():
                    return f"derivative {order} is NaN where it exists"
                return f"derivative {order} off by {((ours - fine).abs() / scale)[bad].nan_to_num().max():.1e}"
        unsure = unsure and not known.any()
    return "unknown" if unsure else None


def in_place(op: OpInfo) -> Callable[..., Any] | None:
    write = op.inplace_variant
    return None if write is None else lambda x, *args, **kwargs: write(x.clone(), *args, **kwargs)


@pytest.mark.parametrize("op", OPERATIONS, ids=name_of)
def test_operation(op: OpInfo) -> None:
    """Function, method and in-place form: the value of torch, and derivatives of order 1 and 2."""
    if name_of(op) in EXCEPTIONS:
        pytest.skip(EXCEPTIONS[name_of(op)])
    found = []
    for form, most in ((op.op, 8), (op.method_variant, 2), (in_place(op), 2)):
        if form is not None:
            taken = [s for s in samples(op, most) if form is op.op or not s.broadcasts_input]
            found += [wrong(f) for sample in taken for f in fields(form, sample)]
    bad = [text for text in found if text not in (None, "unknown") and not text.startswith("refused")]
    said = [text for text in found if text != "unknown"]
    assert said and not bad, bad


CONSTANTS = [op for op in op_db if not op.supports_autograd and torch.float64 in op.supported_dtypes("cpu")]


@pytest.mark.parametrize("op", CONSTANTS, ids=name_of)
def test_what_torch_takes_for_a_constant(op: OpInfo) -> None:
    """An operation without derivatives in torch is refused, unless it is constant between its jumps."""
    if name_of(op) in EXCEPTIONS:
        pytest.skip(EXCEPTIONS[name_of(op)])
    found = [wrong(f) for sample in samples(op, 4) for f in fields(op.op, sample)]
    bad = [text for text in found if text is not None and text.startswith(("derivative", "value", "unclear"))]
    assert not bad, bad


# ------------------------------------------------------------------------------------------- kinks, ties and zeros

SPECIAL = torch.tensor([0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -3.0, 6.0, -2.5], dtype=torch.float64)
DEGREE = 9
NO_ORACLE = {
    "frexp": "returns a pair",
    "atan2": "jumps by 2 pi at its branch cut, where both one-sided derivatives agree",
    "angle": "jumps by pi at 0, where both one-sided derivatives agree",
    "__rpow__": "0 ** x jumps at 0",
    **dict.fromkeys(("xlogy", "special.xlog1py"), "has no values on both sides"),
}


def one_sided(f: Callable[[Tensor], Tensor], x: Tensor, width: float) -> Tensor:
    """Value and three derivatives at `x` from an interpolation of `f` on one side of it."""
    k = torch.arange(DEGREE + 1, dtype=x.dtype)
    nodes = (1 - torch.cos((2 * k + 1) * torch.pi / (2 * DEGREE + 2))) / 2
    values = torch.stack([f((x + width * node).reshape(1)) for node in nodes])
    coefficients = torch.linalg.solve(nodes.unsqueeze(-1) ** k, values)
    return coefficients[:4] * torch.tensor([1.0, 1.0, 2.0, 6.0], dtype=x.dtype) / width ** k[:4]


def wrong_numbers(f: Callable[[Tensor], Tensor]) -> list[str]:
    """Where the third-order jet of `f` at `SPECIAL` is a number that the one-sided derivatives do not confirm."""
    try:
        values = torch.stack([f(x.reshape(1)) for x in SPECIAL])
        jets = torch.stack([part.reshape(len(SPECIAL)) for part in jet(f, SPECIAL.reshape(-1, 1), 3)])
    except (ValueError, TypeError, RuntimeError):
        return []
    found = []
    for x, value, numbers in zip(SPECIAL, values, jets.T, strict=True):
        if not value.isfinite() or not numbers[1].isfinite():
            continue
        left, right = one_sided(f, x, -0.02), one_sided(f, x, 0.02)
        for order, tolerance in ((1, 1e-6), (2, 1e-4), (3, 2e-2)):
            ours, a, b = numbers[order], left[order], right[order]
            scale = tolerance * (1 + a.abs() + b.abs())
            smooth = (left[0] - right[0]).abs() < 1e-9 * (1 + left[0].abs()) and (a - b).abs() < scale
            if ours.isfinite() and not (smooth and (ours - a).abs() < scale):
                found.append(f"order {order} at {x:g}: {ours:g}, from the left {a:g}, from the right {b:g}")
    return found


ELEMENTWISE = [op for op in OPERATIONS if isinstance(op, UnaryUfuncInfo) and op.name not in NO_ORACLE]
BINARY = [op for op in OPERATIONS if isinstance(op, BinaryUfuncInfo) and op.name not in NO_ORACLE]


@pytest.mark.parametrize("op", ELEMENTWISE, ids=name_of)
def test_elementwise_at_special_values(op: OpInfo) -> None:
    assert not wrong_numbers(lambda t: op.op(t).reshape(()))


@pytest.mark.parametrize("op", BINARY, ids=name_of)
def test_binary_at_ties_and_zeros(op: OpInfo) -> None:
    found = []
    for c in (1.0, -1.0, 2.0, 0.0, 0.5):
        constant = torch.tensor([c], dtype=torch.float64)
        found += wrong_numbers(lambda t: op.op(t, constant).reshape(()))
        found += wrong_numbers(lambda t: op.op(constant, t).reshape(()))
        found += wrong_numbers(lambda t: op.op(t, t * c).reshape(()))
        found += wrong_numbers(lambda t: op.op(t, c).reshape(()))
    assert not found


SELECTIONS: dict[str, Callable[[Tensor], Any]] = {
    **{
        name: getattr(torch, name)
        for name in ("max", "min", "amax", "amin", "aminmax", "sort", "msort", "median", "nanmedian")
    },
    **{name: getattr(torch, name) for name in ("mode", "prod", "std", "var", "norm")},
    **{
        name: (lambda a, f=getattr(torch, name): f(a, 0))
        for name in ("cummax", "cummin", "cumprod", "logcumsumexp", "softmax")
    },
    "max along an axis": lambda a: torch.max(a, 0),
    "min along an axis": lambda a: torch.min(a, 0),
    "topk": lambda a: torch.topk(a, 2),
    "kthvalue": lambda a: torch.kthvalue(a, 2),
    "quantile": lambda a: torch.quantile(a, 0.5),
    "nanquantile": lambda a: torch.nanquantile(a, 0.4),
    "max_pool1d": lambda a: torch.nn.functional.max_pool1d(a[None], 2),
    "adaptive_max_pool1d": lambda a: torch.nn.functional.adaptive_max_pool1d(a[None], 2),
    "max_pool2d": lambda a: torch.nn.functional.max_pool2d(a.reshape(1, 2, 2), 2),
    "norm 1": lambda a: torch.linalg.norm(a, 1),
    "norm inf": lambda a: torch.linalg.norm(a, float("inf")),
    "cdist": lambda a: torch.cdist(a[:2, None], a[2:, None]),
    "pdist": lambda a: torch.pdist(a[:, None]),
    "eigvalsh": lambda a: torch.linalg.eigvalsh(torch.diag(a)),
    "eigh": lambda a: torch.linalg.eigh(torch.diag(a))[0],
    "svdvals": lambda a: torch.linalg.svdvals(torch.diag(a)),
    "det": lambda a: torch.linalg.det(torch.diag(a)),
    "nuclear norm": lambda a: torch.linalg.matrix_norm(a.reshape(2, 2), "nuc"),
    "spectral norm": lambda a: torch.linalg.matrix_norm(a.reshape(2, 2), 2),
}
ARRAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "a tie": lambda t: torch.cat([t, torch.ones_like(t), t * 2 - 1, t * 0 + 0.5]),
    "zeros": lambda t: torch.cat([t, t * 0, 2 * t, -t]),
    "constants": lambda t: torch.cat([t, torch.ones_like(t), torch.ones_like(t), torch.zeros_like(t)]),
}


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("name", SELECTIONS)
def test_selections_at_ties(name: str, array: str) -> None:
    found = []
    for entry in range(4):

        def f(t: Tensor) -> Tensor:
            values = flat(SELECTIONS[name](ARRAYS[array](t)))
            return values[entry % len(values)]

        found += wrong_numbers(f)
    assert not found


ALIASES: dict[str, Callable[[Tensor], Any]] = {
    "det": lambda A: (torch.det(A), A.det(), A.logdet()),
    "slogdet": lambda A: (torch.slogdet(A), A.slogdet()),
    "inverse": lambda A: (A.inverse(), A.pinverse(), torch.linalg.tensorsolve(A, A[0])),
    "abs": lambda A: (abs(A), torch.absolute(A)),
    "clip": lambda A: (A.clip(0.1, 0.9), torch.clip(A, max=0.7)),
    "integers": lambda A: (torch.fix(A), A % 0.3),
    "bessel": lambda A: (torch.special.i0(A), torch.special.i0e(A), torch.special.sinc(A)),
    "divide": lambda A: (torch.divide(A, 3), 2 / A, 1 - A, torch.subtract(A, 2), A**2, 2**A),
    "in place": lambda A: (A.clone().mul_(A).div_(2).sub_(1).pow_(3), A.clone().abs_(), A.sin().clamp_(0.1)),
}


@pytest.mark.parametrize("name", ALIASES)
def test_other_names(name: str) -> None:
    A = torch.tensor([[1.2, 0.35], [-0.4, 0.8]], dtype=torch.float64)
    assert wrong(lambda x: flat(ALIASES[name](A * torch.exp(x[0]) + x[1] * x[0] + torch.sin(x[1])))) is None


SMOOTH: dict[str, Callable[[Tensor], Tensor]] = {
    "norm ** 2": lambda x: torch.linalg.vector_norm(x) ** 2,
    "norm * norm": lambda x: (r := x.norm()) * r,
    "torch.norm square": lambda x: torch.norm(x).square(),
    "matrix norm ** 2": lambda x: torch.linalg.matrix_norm(torch.outer(x, x.new_ones(1))) ** 2,
    "abs ** 2": lambda x: (abs(x) ** 2).sum(),
    "dist ** 2": lambda x: torch.dist(x, torch.zeros(2)) ** 2,
    "cdist ** 2": lambda x: (torch.cdist(x[None], torch.zeros(1, 2)) ** 2).sum(),
    "sqrt ** 2": lambda x: torch.sqrt((x * x).sum()) ** 2,
    "hypot ** 2": lambda x: torch.hypot(x[0], x[1]) ** 2,
    "pow": lambda x: torch.pow(x.norm(), 2.0),
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("at", [(0.0, 0.0), (0.0, 0.7)])
def test_squares_of_roots(name: str, at: tuple[float, float]) -> None:
    """All of them are |x|^2."""
    x = torch.tensor(at, dtype=torch.float64)
    true = (x @ x, 2 * x, 2 * torch.eye(2, dtype=x.dtype), torch.zeros(2, 2, 2, dtype=x.dtype))
    torch.testing.assert_close(jet(SMOOTH[name], x, 3), true)


def test_sinc_at_zero() -> None:
    y = jet(lambda x: torch.sinc(x[0]), torch.zeros(1, dtype=torch.float64), 4)
    true = torch.tensor([1, 0, -(torch.pi**2) / 3, 0, torch.pi**4 / 5], dtype=torch.float64)
    torch.testing.assert_close(torch.stack([part.reshape(()) for part in y]), true)


def test_exponents_that_vary() -> None:
    """d/dx d/dy x^y = 1/x at y = 0, which torch takes for 0."""
    x = torch.tensor([3.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(jet(lambda x: x[0] ** x[1], x, 2)[2][0, 1], 1 / x[0])


@pytest.mark.parametrize("shape", [(), (3,)], ids=str)
@pytest.mark.parametrize("op", [*ELEMENTWISE, *BINARY], ids=name_of)
def test_float32_stays(op: OpInfo, shape: tuple[int, ...]) -> None:
    """torch makes tangents float64 where 0-dim tensors meet Python numbers."""

    def tensor(x: Tensor) -> Tensor:
        return (x[0] + 0.1) * x[1] * torch.ones(shape)

    forms: list[Callable[[Tensor], Any]] = [lambda x: op.op(tensor(x))]
    if op in BINARY:
        forms = [
            lambda x: op.op(tensor(x), tensor(x) + 1),
            lambda x: op.op(tensor(x), 2.0),
            lambda x: op.op(2.0, tensor(x)),
        ]
        forms += [lambda x: op.op(tensor(x), 2)]
        forms += [lambda x: op.inplace_variant(tensor(x), 2.0)] if op.inplace_variant else []
    x = torch.tensor([[0.5, 0.3], [0.7, 0.2]])
    for f in forms:
        try:
            if f(x[0]).dtype != torch.float32:
                continue
        except Exception:  # torch itself takes no number there
            continue
        try:
            y = jet(f, x, 2)
        except ValueError:
            continue
        assert [part.dtype for part in y] == [torch.float32] * 3
