r"""A quantity of a metric as torch code without derivatives: traced into expressions, derived exactly, written out.

Beside the quantity the code has one more value, the doubt
$\epsilon \sum |g^{ij}|\, (32 |g_{ij}| + |\partial_k g_{ij}|\, |x^k|)$: what rounding of g and of the coordinates does
to $\log \det g$. Where it is not small (or NaN, as it is where any value is not finite, and where the expressions need
not be what the metric computes), g may be no metric: the point has to be looked at.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sympy as sp
import torch
from torch import Tensor

from riemann import _clock, _jets
from riemann._compiling.of_vectors import OF_VECTORS
from riemann._compiling.quantities import vectors_of
from riemann._metric import jets_of, metric_field
from riemann._modules import unwrapped
from riemann._rank import ROUNDING
from riemann._types import Metric
from riemann.bridge import _emit
from riemann.bridge._conditions import Condition, conditions
from riemann.bridge._names import numbered
from riemann.bridge._trace import Trace
from riemann.symbolic import SymbolicMetric

MOST_PARAMETERS = 16  # numbers of a module: each becomes a symbol
MOST_FUNCTIONS = 12  # values of functions of the point: expressions of networks have no end
MOST_OPERATIONS = 1500  # of a quantity's code: longer expressions are expanded ones, slow and with fewer digits
MOST_DERIVATIVES = 6000  # operations of the derivatives' code: more take a compiler minutes


class NotDerived(Exception):
    """Why there is no code: the end of a sentence."""


@dataclasses.dataclass(frozen=True)
class Code:
    """Torch code of a quantity.

    Attributes:
        code: of the values that differ by more than a sign, and of what the doubt takes.
        doubt: the doubt of these.
        scalars: the module's parameters, as they are now, one 0-dim tensor a symbol.
        shape: of the quantity.
        places: which of the values stands at each entry; the last place, one more than there are, is a zero.
        signs: the sign with which it stands there.
    """

    code: _emit.Columns
    doubt: "_Doubt"
    scalars: Callable[[], list[Tensor]]
    shape: tuple[int, ...]
    places: tuple[int, ...]
    signs: tuple[int, ...]

    @property
    def operations(self) -> int:
        """How many the code has."""
        return self.code.operations

    def columns(self, *arguments: Tensor) -> list[Tensor]:
        """The values that differ by more than a sign, and the doubt, from columns of coordinates and scalars."""
        found = self.code(*arguments)
        count = len(found) - len(self.doubt.expressions)
        return [*found[:count], self.doubt(found[:count], found[count:], arguments)]


@dataclasses.dataclass(frozen=True)
class JetCode:
    """Torch code of a metric and its derivatives.

    Attributes:
        code: of the derivatives that differ, and of what the guard takes.
        guard: where they are those of the metric.
        scalars: as of `Code`.
        places: for each order, which of the derivatives stands at each entry.
        why: why there is no code of the quantity: the end of a sentence.
    """

    code: _emit.Columns
    guard: "_Guard"
    scalars: Callable[[], list[Tensor]]
    places: list[list[int]]
    why: str

    @property
    def operations(self) -> int:
        """How many the code has."""
        return self.code.operations

    def jets(self, *arguments: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """`(g, dg, …)` at points `(z, n)` from columns of coordinates and scalars, and the doubt, 0 or NaN."""
        found = self.code(*arguments)
        count = len(found) - len(self.guard.expressions)
        rows, n = torch.cat(found[:count], -1), math.isqrt(len(self.places[0]))
        shapes = ([len(rows), *[n] * (2 + rank)] for rank in range(len(self.places)))
        jets = tuple(rows[:, row].reshape(shape) for row, shape in zip(self.places, shapes, strict=True))
        return jets, self.guard([_jets.detached(y) for y in found[count:]], torch.zeros_like(arguments[0])).squeeze(-1)


class Traced(NamedTuple):
    """A metric in expressions.

    Attributes:
        symbolic: the metric.
        conditions: where it is what the metric computes.
        symbols: of a module's parameters.
        scalars: their values, as they are now.
    """

    symbolic: SymbolicMetric
    conditions: list[Condition]
    symbols: tuple[sp.Symbol, ...]
    scalars: Callable[[], list[Tensor]]


def derive(
    metric: Metric, quantity: str, options: dict[str, Any], dim: int, order: int, budget: float, unfit: str = ""
) -> Code | JetCode:
    """The code of a quantity, derived within `budget` seconds; that of the metric's derivatives if there is none.

    `unfit` says why that of the quantity is not wanted: the end of a sentence.

    Raises:
        NotDerived: there is neither, and why.
        TypeError, ValueError: there is not such a metric in `dim` dimensions.
    """
    at = point(unwrapped(metric), dim)
    traced = _bounded(_symbolic(unwrapped(metric), at), budget)
    why = unfit
    if not unfit:
        try:
            return _bounded(lambda: _code(traced, quantity, options, order), budget)
        except NotDerived as error:
            why = str(error)
    return _bounded(lambda: _jet_code(traced, order, why), budget)


def _bounded(work: Callable[[], Any], budget: float) -> Any:
    """What `work` returns within `budget` seconds; NotDerived if that is nothing."""
    found = []
    try:
        finished = _clock.within(budget, lambda: found.append(work()))
    except (NotDerived, _jets.Unsteady):
        raise
    except Exception as error:  # whatever it is, the function itself may do without, or says it better
        raise NotDerived(str(error).split(":")[0] or type(error).__name__) from error
    if not finished:
        raise NotDerived(f"no expression was found within {budget:g} s (`budget`)")
    return found[0]


# ------------------------------------------------------------------------------------------------------- the metric


def point(metric: Metric, dim: int) -> Tensor:
    """A point that the metric takes: in the dtype of a module, else in double precision before single."""
    like = next(iter(_tensors(metric).values()), None)
    error = None
    for dtype in (torch.float64, torch.float32) if like is None else (like.dtype,):
        x = 1 + torch.arange(dim, dtype=dtype, device=None if like is None else like.device) / dim
        try:
            with torch.no_grad():
                jets_of(metric, x, 0)
            return x
        except Exception as why:
            error = error or why
    assert error is not None
    raise error


def _symbolic(metric: Metric, point: Tensor) -> Callable[[], Traced]:
    """The traced metric, to be made into expressions."""
    if isinstance(own := getattr(metric, "symbolic", None), SymbolicMetric) and not own.parameters:
        return lambda: Traced(own.canonical(), conditions(own.matrix), (), list)
    tensors = _tensors(metric)
    count = sum(t.numel() for t in tensors.values())
    if count > MOST_PARAMETERS:
        raise NotDerived(f"its {count} parameters are too many for symbols")
    field = _taking(metric, tensors)
    with torch.enable_grad():
        with_values = lambda x: field(x, *_scalars(tensors, detached=True))  # noqa: E731
        if _jets.jets_along(metric_field(with_values, point), point, (), 0)[0].requires_grad:
            raise NotDerived(
                "it holds tensors that need gradients, which would be lost; make them parameters of a module"
            )
    symbols = tuple(sp.Symbol(f"p{k}") for k in range(count))
    traced = Trace(field, point, symbols)
    if traced.functions > MOST_FUNCTIONS:
        raise NotDerived(f"it has {traced.functions} values of functions of the point, too many for a formula")

    def expressed() -> Traced:
        symbolic, found = traced.conditional(numbered(len(point)), double=point.dtype == torch.float64)
        return Traced(symbolic.canonical(), found, symbols, Scalars(metric))

    return expressed


class Scalars:
    """The numbers in the parameters of a module, as they are now: by name, for `module.double()` makes other tensors.

    Raises:
        ValueError: they have other shapes than at first.
    """

    def __init__(self, metric: Metric):
        self.metric, self.shapes = metric, {name: t.shape for name, t in _tensors(metric).items()}

    def tensors(self) -> Iterable[Tensor]:
        """The parameters and buffers that they stand in."""
        return _tensors(self.metric).values()

    def __call__(self) -> list[Tensor]:
        """One 0-dim tensor each."""
        now = _tensors(self.metric)
        if (changed := {name: t.shape for name, t in now.items()}) != self.shapes:
            raise ValueError(
                f"the module had parameters {_said(self.shapes)} when it was compiled, and has {_said(changed)}"
            )
        return _scalars(now)


def _said(shapes: dict[str, torch.Size]) -> str:
    return ", ".join(f"`{name}` {tuple(shape)}" for name, shape in shapes.items()) or "none"


def _tensors(metric: Metric) -> dict[str, Tensor]:
    """Parameters and buffers of a module, by name."""
    if not isinstance(metric, torch.nn.Module):
        return {}
    named = {**dict(metric.named_parameters()), **dict(metric.named_buffers())}
    return {name: t for name, t in named.items() if t.is_floating_point()}


def _scalars(tensors: dict[str, Tensor], detached: bool = False) -> list[Tensor]:
    """The numbers in tensors, as they are now."""
    flat = [t.detach().reshape(-1) if detached else t.reshape(-1) for t in tensors.values()]
    return list(torch.cat(flat).unbind()) if flat else []


def _taking(metric: Metric, tensors: dict[str, Tensor]) -> Callable[..., Tensor]:
    """The metric as a function of its point and of the numbers in its tensors."""
    if not tensors:
        return metric

    def field(x: Tensor, *scalars: Tensor) -> Tensor:
        flat = torch.stack(scalars).split([t.numel() for t in tensors.values()])
        given = {name: f.reshape(t.shape) for f, (name, t) in zip(flat, tensors.items(), strict=True)}
        return _jets.with_tensors(metric, given, x)

    return field


# --------------------------------------------------------------------------------------------------------- the code


def _code(traced: Traced, quantity: str, options: dict[str, Any], order: int) -> Code:
    symbolic, sizes = traced.symbolic, {}
    vectors = [[sp.Dummy(f"{name}{i}", real=True) for i in range(symbolic.dim)] for name in vectors_of(quantity)]
    if vectors:
        tensor, sizes = OF_VECTORS[quantity](symbolic, *vectors)
    elif quantity == "log_volume_element":
        tensor = sp.log(symbolic.volume_element())
    else:
        tensor = getattr(symbolic, quantity)(**options)
    shape = tuple(map(int, getattr(tensor, "shape", ())))
    entries = [tensor] if shape == () else tensor.reshape(math.prod(shape)).tolist() if len(shape) > 2 else list(tensor)
    shape = shape[:1] if vectors else shape  # a matrix of one column
    values, places, signs = _distinct(entries)
    doubt = _Doubt(symbolic, order, traced.conditions, sizes)
    columns = [*symbolic.coordinates, *itertools.chain(*vectors)]
    code = _emit.Columns([*values, *doubt.expressions], columns, traced.symbols)
    if code.operations > MOST_OPERATIONS:
        raise NotDerived(f"its expression takes {code.operations} operations")
    return Code(code, doubt, traced.scalars, shape, places, signs)


def _jet_code(traced: Traced, order: int, why: str) -> JetCode:
    symbolic = traced.symbolic
    n, places, values = symbolic.dim, [], {}
    jets = {(i, j): symbolic.matrix[i, j] for i in range(n) for j in range(i + 1)}
    for rank in range(order + 1):
        if rank:  # derivatives in one order: the last index is the largest
            jets = {
                (*index, k): sp.diff(entry, x)
                for index, entry in jets.items()
                for k, x in enumerate(symbolic.coordinates)
                if k >= max(index[2:], default=0)
            }
        row = []
        for i, j, *ks in itertools.product(range(n), repeat=2 + rank):
            entry = jets[(max(i, j), min(i, j), *sorted(ks))]
            row.append(values.setdefault(entry, len(values)))
        places.append(row)
    guard = _Guard(traced.conditions)
    code = _emit.Columns([*values, *guard.expressions], symbolic.coordinates, traced.symbols)
    if code.operations > MOST_DERIVATIVES:
        raise NotDerived(f"its derivatives take {code.operations} operations, too many for a compiler")
    return JetCode(code, guard, traced.scalars, places, why)


def _distinct(entries: Sequence[sp.Expr]) -> tuple[list[sp.Expr], tuple[int, ...], tuple[int, ...]]:
    """The entries that are not 0 and differ by more than a sign; where they stand, and with which sign."""
    values: dict[sp.Expr, int] = {}
    places, signs = [], []
    for entry in map(sp.sympify, entries):
        sign = 0 if entry == 0 else -1 if -entry in values else 1
        places.append(-1 if sign == 0 else values.setdefault(sign * entry, len(values)))
        signs.append(sign)
    return list(values), tuple(p if s else len(values) for p, s in zip(places, signs, strict=True)), tuple(signs)


class _Guard:
    """0 where all conditions clearly hold, by more than the terms of their expressions are rounded; else NaN.

    The sizes of what is rounded are the sums of terms, where they are not known.
    """

    def __init__(self, found: Sequence[Condition], known: Mapping[Condition, sp.Expr] | None = None):
        found, known = [*found, *(known or {})], known or {}
        self.kinds = [kind for _, kind in found]
        sizes = [known.get(c, sum(map(sp.Abs, sp.Add.make_args(c[0])))) for c in found if c.kind != "finite"]
        self.expressions = [e for e, _ in found] + sizes

    def __call__(self, found: Sequence[Tensor], zero: Tensor) -> Tensor:
        sizes, doubt, nan = iter(found[len(self.kinds) :]), zero, torch.full_like(zero, torch.nan)
        for y, kind in zip(found, self.kinds, strict=False):
            if kind == "finite":
                doubt = doubt + (y - y)
            else:
                margin = 64 * torch.finfo(y.dtype).eps * next(sizes)
                doubt = torch.where((y if kind == "positive" else y.abs()) > margin, doubt, nan)
        return doubt


class _Doubt:
    r"""The doubt, $\sum |g^{ij}| \epsilon_{ij}$ as `_rank.is_singular` adds it up, of the values that are not 0."""

    def __init__(
        self,
        symbolic: SymbolicMetric,
        order: int,
        found: Sequence[Condition],
        sizes: Mapping[Condition, sp.Expr],
    ):
        n, g, inverse = symbolic.dim, symbolic.matrix, symbolic.inverse_metric()
        self.entries = [(i, j) for i in range(n) for j in range(n) if inverse[i, j] != 0]
        self.terms = [(p, None, g[i, j]) for p, (i, j) in enumerate(self.entries)]  # which g^ij, which coordinate
        for k, x in enumerate(symbolic.coordinates) if order else ():  # order 0 asks only whether g has an inverse
            self.terms += [(p, k, sp.diff(g[i, j], x)) for p, (i, j) in enumerate(self.entries)]
        self.terms = [term for term in self.terms if term[2] != 0]
        self.guard = _Guard([*found, *(Condition(e, "finite") for e in dict.fromkeys(g) if e.free_symbols)], sizes)
        own = [inverse[i, j] for i, j in self.entries] + [e for *_, e in self.terms]
        self.expressions = own + self.guard.expressions

    def __call__(self, values: Sequence[Tensor], found: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        values, found, x = ([_jets.detached(y) for y in ys] for ys in (values, found, x))
        split = len(self.entries) + len(self.terms)
        inverse, terms, guarded = found[: len(self.entries)], found[len(self.entries) : split], found[split:]
        doubt = sum((y - y for y in (*inverse, *values)), self.guard(guarded, torch.zeros_like(x[0])))
        for (p, k, _), y in zip(self.terms, terms, strict=True):
            size = ROUNDING if k is None else x[k].abs()
            doubt = doubt + torch.finfo(y.dtype).eps * (inverse[p] * y).abs() * size
        return doubt
