"""A graph of operations, run over residues with two directions: values, derivatives along each, and along both.

An array of residues is of shape `(*lead, *shape)`: $f, D_u f, D_v f, D_u D_v f$. What has no rule is hashed, all
four of it: right as a value, and equal to no derivative.
"""

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from riemann._structure.arrays import MOVES, Lead, Node, Residues, is_float, is_meta, lifted, moved, opaque, varies
from riemann._structure.functions import derivatives, greater, reduced
from riemann._structure.residues import PRIME, hashed, inverse, matmul, power, times


def run(nodes: Iterable[Node], given: dict[Node, "Residues"], values: dict[Node, Any] | None = None) -> dict[Node, Any]:
    """The values of nodes, in order, from those of some of them, `(*lead, *shape)`."""
    known: dict[Node, Any] = dict(values or {}) | given
    lead = next(iter(given.values())).c.shape[:2]
    for node in nodes:
        if node in known or node.op not in ("call_function", "get_attr"):
            continue
        kept = node.meta.get("val")
        if is_meta(kept) or not any(a in known and varies(known[a]) for a in node.all_input_nodes):
            known[node] = kept
        else:
            known[node] = _performed(node, known, lead)
    return known


def _performed(node: Node, known: dict[Node, Any], lead: Lead) -> Any:
    args, kwargs = torch.fx.map_arg((node.args, node.kwargs), known.__getitem__)
    if node.target is operator.getitem:
        return args[0][args[1]]
    name, kept = node.target._schema.name.split("::")[1], node.meta.get("val")
    rule = _RULES.get(name)
    result = None
    if rule is not None:
        result = rule(lead, kept, *args, **kwargs)
    elif name in MOVES:
        result = moved(node.target, args, kwargs, lead)
    elif name in _LIKE:
        result = lifted(kept, lead)
    if result is None:
        result = opaque(name, node, args, kwargs, lead)
    return _mark(result)


def _mark(result: Any) -> Any:
    if isinstance(result, tuple | list):
        return type(result)(map(_mark, result))
    return Residues(result) if isinstance(result, Tensor) else result


_LIKE = frozenset(
    "zeros_like ones_like full_like new_zeros new_ones new_full empty_like new_empty _efficientzerotensor "
    "_new_zeros_with_same_feature_meta".split()
)


# ----------------------------------------------------------------------------------------------------- arithmetic


def aligned(lead: Lead, *operands: Any) -> list[Tensor]:
    """Arrays of residues whose axes behind the first two broadcast."""
    arrays = [lifted(a, lead) for a in operands]
    ndim = max(a.ndim for a in arrays)
    return [a.reshape(*a.shape[:2], *[1] * (ndim - a.ndim), *a.shape[2:]) for a in arrays]


def product(a: Tensor, b: Tensor, of: Callable[[Tensor, Tensor], Tensor] = times) -> Tensor:
    """Leibniz's rule for a bilinear operation."""
    if len(a) == 1 or not bool(b[1:].any()):
        return torch.remainder(torch.stack([of(row, b[0]) for row in a]), PRIME)
    if not bool(a[1:].any()):
        return torch.remainder(torch.stack([of(a[0], row) for row in b]), PRIME)
    cross = of(a[0], b[3]) + of(a[1], b[2]) + of(a[2], b[1]) + of(a[3], b[0])
    rows = [of(a[0], b[0]), of(a[0], b[1]) + of(a[1], b[0]), of(a[0], b[2]) + of(a[2], b[0]), cross]
    return torch.remainder(torch.stack(rows), PRIME)


def chain(a: Tensor, f: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """A function of one number, from its derivatives."""
    if len(a) == 1:
        return f.unsqueeze(0)
    both = times(first, a[3]) + times(second, times(a[1], a[2]))
    return torch.stack([f, times(first, a[1]), times(first, a[2]), torch.remainder(both, PRIME)])


def _sum(lead: Lead, kept: Any, *terms: Any) -> Tensor:
    first, *rest = aligned(lead, *terms)
    for a in rest:
        first = first + a
    return reduced(first)


def _scaled(lead: Lead, a: Any, factor: Any) -> Tensor:
    if isinstance(factor, int | float) and factor == 1:
        return lifted(a, lead)
    return product(*aligned(lead, a, factor))


def _mul(lead: Lead, kept: Any, a: Any, b: Any) -> Tensor:
    return product(*aligned(lead, a, b))


def _quotient(lead: Lead, kept: Any, a: Any, b: Any, **options: Any) -> Tensor | None:
    if options.get("rounding_mode") is not None:
        return None
    a, b = aligned(lead, a, b)
    return product(a, _reciprocal(b))


def _reciprocal(a: Tensor) -> Tensor:
    r = inverse(a[0])
    square = times(r, r)
    return chain(a, r, reduced(-square), times(torch.tensor(2), times(square, r)))


def _pow(lead: Lead, kept: Any, a: Any, exponent: Any) -> Tensor | None:
    if isinstance(exponent, Residues) or isinstance(a, int | float):
        return None
    if isinstance(exponent, Tensor):
        if exponent.numel() != 1:
            return None
        exponent = exponent.item()
    if not float(2 * exponent).is_integer() or abs(exponent) > 64:
        return None
    a = lifted(a, lead)
    if float(exponent).is_integer():
        return _whole_power(a, int(exponent))
    k, root, half = math.floor(exponent), hashed("sqrt", a[0]), inverse(torch.tensor(2))
    slope, bend = times(half, torch.tensor((2 * k + 1) % PRIME)), times(half, torch.tensor((2 * k - 1) % PRIME))
    f, first, second = (times(root, power(a[0], k - j)) for j in range(3))
    return chain(a, f, times(slope, first), times(times(slope, bend), second))


def _constant(value: Tensor, rows: int) -> Tensor:
    return torch.stack([value, *[torch.zeros_like(value)] * (rows - 1)])


def _whole_power(a: Tensor, k: int) -> Tensor:
    if k == 0:
        return _constant(torch.ones_like(a[0]), len(a))
    first = times(torch.tensor(k % PRIME), power(a[0], k - 1)) if k != 1 else torch.ones_like(a[0])
    second = times(torch.tensor(k * (k - 1) % PRIME), power(a[0], k - 2)) if k not in (0, 1) else torch.zeros_like(a[0])
    return chain(a, power(a[0], k), first, second)


def _atan2(lead: Lead, kept: Any, y: Any, x: Any) -> Tensor:
    """The angle of (x, y): (x dy - y dx) / (x² + y²), and its derivative."""
    y, x = aligned(lead, y, x)
    y, x = (a.expand(*lead, *torch.broadcast_shapes(y.shape[2:], x.shape[2:])) for a in (y, x))
    f = hashed("atan2", y[0], x[0])
    if len(y) == 1:
        return f.unsqueeze(0)
    along = lambda k: reduced(times(x[0], y[k]) - times(y[0], x[k]))
    of_u, of_v, of_uv = (along(k) for k in (1, 2, 3))
    inner = reduced(times(x[2], y[1]) - times(y[2], x[1]))
    q = inverse(reduced(times(x[0], x[0]) + times(y[0], y[0])))
    slope = times(q, reduced(2 * (times(x[0], x[2]) + times(y[0], y[2]))))
    both = reduced(of_uv + inner - times(of_u, slope))
    return torch.stack([f, times(q, of_u), times(q, of_v), times(q, both)])


def _matmul(lead: Lead, kept: Any, a: Any, b: Any) -> Tensor:
    return product(lifted(a, lead), lifted(b, lead), matmul)


def _mv(lead: Lead, kept: Any, a: Any, b: Any) -> Tensor:
    return product(lifted(a, lead), lifted(b, lead).unsqueeze(-1), matmul).squeeze(-1)


def _dot(lead: Lead, kept: Any, a: Any, b: Any) -> Tensor:
    return reduced(product(lifted(a, lead), lifted(b, lead)).sum(-1))


def _with_sum(of: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def rule(lead: Lead, kept: Any, c: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
        return _sum(lead, kept, Residues(_scaled(lead, c, beta)), Residues(_scaled(lead, Residues(of(lead, kept, a, b)), alpha)))  # fmt: skip  # noqa: E501

    return rule


def _total(lead: Lead, kept: Any, a: Any, dims: Any = None, keepdim: bool = False, **_: Any) -> Tensor:
    a = lifted(a, lead)
    ndim = a.ndim - 2
    dims = [dims] if isinstance(dims, int) else list(dims or range(ndim))
    return reduced(a.sum([d % ndim + 2 for d in dims], keepdim)) if ndim else a


def _mean(lead: Lead, kept: Any, a: Any, dims: Any = None, keepdim: bool = False, **_: Any) -> Tensor:
    total = _total(lead, kept, a, dims, keepdim)
    count = max(1, lifted(a, lead)[0, 0].numel() // max(1, total[0, 0].numel()))
    return times(total, torch.tensor(pow(count, PRIME - 2, PRIME)))


def _logsumexp(lead: Lead, kept: Any, a: Any, dims: Any, keepdim: bool = False) -> Tensor:
    powers = Residues(_function("exp", lifted(a, lead)))
    return _function("log", _total(lead, kept, powers, dims, keepdim))


def _where(lead: Lead, kept: Any, condition: Any, a: Any, b: Any) -> Tensor:
    if not isinstance(condition, Residues):
        a, b = aligned(lead, a, b)
        ndim = max(a.ndim - 2, condition.ndim)
        a, b = (t.reshape(*lead, *[1] * (ndim + 2 - t.ndim), *t.shape[2:]) for t in (a, b))
        return torch.where(condition, a, b)
    c, a, b = aligned(lead, condition, a, b)
    return reduced(b + times(c[:1].expand_as(c), reduced(a - b)))  # holds for c = 0 and c = 1


# ------------------------------------------------------------------------------------------------------ functions


def _function(name: Any, a: Tensor) -> Tensor:
    return chain(a, *derivatives(name, a[0]))


def function_of(name: str, c: Tensor) -> Tensor:
    """The residues of a function of torch at residues, the values only."""
    return (_RULES[name]((1, len(c)), None, Residues(c[None, :, None])))[0, :, 0]


def _of_one(name: str) -> Callable[..., Tensor | None]:
    def rule(lead: Lead, kept: Any, a: Any, *options: Any, **named: Any) -> Tensor | None:
        said = name if not options and not named else (name, options, tuple(sorted(named.items())))
        if any(isinstance(o, Tensor | Residues) for o in (*options, *named.values())):
            return None
        return _function(said, lifted(a, lead))  # type: ignore[arg-type]

    return rule


def _softplus(lead: Lead, kept: Any, a: Any, beta: float = 1, threshold: float = 20) -> Tensor:
    inner, name = Residues(_scaled(lead, a, beta)), ("softplus", float(threshold))
    return _quotient(lead, kept, Residues(_function(name, lifted(inner, lead))), beta)  # type: ignore[return-value]


def _compared(name: str) -> Callable[..., Tensor]:
    def rule(lead: Lead, kept: Any, *operands: Any) -> Tensor:
        return _constant(hashed(name, *(a[0] for a in aligned(lead, *operands))), lead[0])

    return rule


def _ordered(lead: Lead, kept: Any, a: Any, b: Any) -> Tensor:
    return _constant(greater(*(t[0] for t in aligned(lead, a, b))), lead[0])


def _selected(greatest: bool) -> Callable[..., Tensor]:
    """max or min of two: one of them, by a condition."""

    def rule(lead: Lead, kept: Any, a: Any, b: Any) -> Tensor | None:
        c = Residues(_ordered(lead, kept, a, b))
        return _where(lead, kept, c, *((a, b) if greatest else (b, a)))

    return rule


def _to_copy(lead: Lead, kept: Any, a: Any, **options: Any) -> Tensor | None:
    return lifted(a, lead) if is_float(kept) else None


def index_put(lead: Lead, kept: Any, a: Any, indices: Any, values: Any, accumulate: bool = False) -> Tensor | None:
    if any(isinstance(i, Residues) for i in indices):
        return None
    a = lifted(a, lead).clone()
    places = torch.ops.aten.index.Tensor(torch.arange(a[0, 0].numel()).reshape(a.shape[2:]), indices)
    value = lifted(values, lead)
    value = value.reshape(*lead, *[1] * (places.ndim + 2 - value.ndim), *value.shape[2:])
    value = value.expand(*lead, *places.shape).reshape(*lead, -1)
    flat, places = a.reshape(*lead, -1), places.reshape(-1)
    if not accumulate and len(places.unique()) != len(places):
        return None
    flat = flat.index_add(-1, places, value) if accumulate else flat.index_copy(-1, places, value)
    return reduced(flat).reshape(a.shape)


_RULES: dict[str, Callable[..., Any]] = {
    "add": lambda d, k, a, b, alpha=1: _sum(d, k, a, Residues(_scaled(d, b, alpha))),
    "sub": lambda d, k, a, b, alpha=1: _sum(d, k, a, Residues(_scaled(d, b, -alpha))),
    "rsub": lambda d, k, a, b, alpha=1: _sum(d, k, b, Residues(_scaled(d, a, -alpha))),
    "neg": lambda d, k, a: reduced(-lifted(a, d)),
    "mul": _mul,
    "div": _quotient,
    "reciprocal": lambda d, k, a: _reciprocal(lifted(a, d)),
    "square": lambda d, k, a: product(lifted(a, d), lifted(a, d)),
    "pow": _pow,
    "rsqrt": lambda d, k, a: _reciprocal(_function("sqrt", lifted(a, d))),
    "mm": _matmul,
    "bmm": _matmul,
    "mv": _mv,
    "dot": _dot,
    "addmm": _with_sum(_matmul),
    "baddbmm": _with_sum(_matmul),
    "addmv": _with_sum(_mv),
    "sum": _total,
    "mean": _mean,
    "logsumexp": _logsumexp,
    "where": _where,
    "atan2": _atan2,
    "softplus": _softplus,
    "silu": lambda d, k, a: product(lifted(a, d), _function("sigmoid", lifted(a, d))),
    "expm1": lambda d, k, a: _sum(d, k, Residues(_function("exp", lifted(a, d))), -1.0),
    "tan": lambda d, k, a: product(_function("sin", lifted(a, d)), _reciprocal(_function("cos", lifted(a, d)))),
    "maximum": _selected(True),
    "minimum": _selected(False),
    **dict.fromkeys(("gt", "ge"), _ordered),
    **dict.fromkeys(("lt", "le"), lambda d, k, a, b: _ordered(d, k, b, a)),
    "logical_not": lambda d, k, a: _sum(d, k, 1.0, Residues(reduced(-lifted(a, d)))),
    "_to_copy": _to_copy,
    "index_put": index_put,
}
_RULES |= {
    name: _of_one(name)
    for name in "sin cos sinh cosh exp tanh sigmoid log log1p atan asinh sqrt erf abs sgn sign gelu relu elu mish "
    "erfc lgamma digamma acosh atanh asin acos erfinv log2 log10 exp2 special_bessel_j0 special_bessel_j1 "
    "hardtanh leaky_relu".split()
}
_RULES |= {
    name: _compared(name)
    for name in "eq ne logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_not isnan isfinite".split()
}

KNOWN = frozenset((*MOVES, *_RULES, *_LIKE))
"""The operations that need not be taken apart."""
