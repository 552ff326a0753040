"""Every differentiable operation that torch's own operator database knows is right under `riemann`, or refused.

The oracle is finite differences of the plain operation, in float64. A torch release that breaks an operation, or our
rewriting of it, fails here.
"""

import itertools
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import OpInfo, SampleInput
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
        clear = re.match(r"the function (calls|uses|puts) .*\b([Uu]se|[Ww]rite|[Cc]all|multiply|divide|assign)\b", str(error))
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
    found = []
    for form, most in ((op.op, 8), (op.method_variant, 2), (in_place(op), 2)):
        if form is not None:
            taken = [s for s in samples(op, most) if form is op.op or not s.broadcasts_input]
            found += [wrong(f) for sample in taken for f in fields(form, sample)]
    bad = [text for text in found if text not in (None, "unknown") and not text.startswith("refused")]
    said = [text for text in found if text != "unknown"]
    if name_of(op) in EXCEPTIONS:
        assert bad or not said, "no exception is needed"
    else:
        assert said and not bad, bad
