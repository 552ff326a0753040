r"""A quantity of a metric as torch code without derivatives: traced into expressions, derived exactly, written out.

Beside the quantity the code has one more value, the doubt
$\epsilon \sum |g^{ia}|\, |\partial_k g_{aj}|\, |x^k|$: what the last bit of the coordinates does to g, against g. Where
it is not small (or NaN, as it is where any value is not finite), g may be no metric: the point has to be looked at.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from riemann import _clock, _emit, _jets
from riemann._metric import jets_of, safe_metric
from riemann._safe import unwrapped
from riemann._trace import Trace, numbered
from riemann._types import Metric
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
        columns: the values that differ by more than a sign, and the doubt, from columns of coordinates and scalars.
        scalars: the module's parameters, as they are now, one 0-dim tensor a symbol.
        shape: of the quantity.
        places: which of the values stands at each entry; the last place, one more than there are, is a zero.
        signs: the sign with which it stands there.
        operations: how many the code has.
    """

    columns: Callable[..., list[Tensor]]
    scalars: Callable[[], list[Tensor]]
    shape: tuple[int, ...]
    places: tuple[int, ...]
    signs: tuple[int, ...]
    operations: int


@dataclasses.dataclass(frozen=True)
class JetCode:
    """Torch code of a metric and its derivatives.

    Attributes:
        jets: `(g, dg, …)` at points `(z, n)` from columns of coordinates and scalars.
        scalars: as of `Code`.
        operations: as of `Code`.
        why: why there is no code of the quantity: the end of a sentence.
    """

    jets: Callable[..., tuple[Tensor, ...]]
    scalars: Callable[[], list[Tensor]]
    operations: int
    why: str


def derive(
    metric: Metric, quantity: str, options: dict[str, Any], dim: int, order: int, budget: float
) -> Code | JetCode:
    """The code of a quantity, derived within `budget` seconds; that of the metric's derivatives if there is none.

    Raises:
        NotDerived: there is neither, and why.
        TypeError, ValueError: there is no such metric in `dim` dimensions.
    """
    point = _point(unwrapped(metric), dim)
    traced = _bounded(_symbolic(unwrapped(metric), point), budget)
    try:
        return _bounded(lambda: _code(*traced, quantity, options, order), budget)
    except NotDerived as error:
        why = str(error)
    return _bounded(lambda: _jet_code(*traced, order, why), budget)


def _bounded(work: Callable[[], Any], budget: float) -> Any:
    """What `work` returns within `budget` seconds; NotDerived if that is nothing."""
    found = []
    try:
        finished = _clock.within(budget, lambda: found.append(work()))
    except NotDerived:
        raise
    except Exception as error:  # whatever it is, the function itself may do without, or says it better
        raise NotDerived(str(error).split(":")[0] or type(error).__name__) from error
    if not finished:
        raise NotDerived(f"no expression was found within {budget:g} s (`budget`)")
    return found[0]


# ------------------------------------------------------------------------------------------------------- the metric


def _point(metric: Metric, dim: int) -> Tensor:
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


def _symbolic(
    metric: Metric, point: Tensor
) -> Callable[[], tuple[SymbolicMetric, tuple[sp.Symbol, ...], Callable[[], list[Tensor]]]]:
    """The traced metric, to be made into expressions; the symbols of a module's parameters, what gives their values."""
    if isinstance(own := getattr(metric, "symbolic", None), SymbolicMetric) and not own.parameters:
        return lambda: (own.canonical(), (), list)
    tensors = _tensors(metric)
    count = sum(t.numel() for t in tensors.values())
    if count > MOST_PARAMETERS:
        raise NotDerived(f"its {count} parameters are too many for symbols")
    field = _taking(metric, tensors)
    with torch.enable_grad():
        if _jets.over_points(
            safe_metric(lambda x: field(x, *_scalars(tensors, detached=True)), point, 0), point
        ).requires_grad:
            raise NotDerived(
                "it holds tensors that need gradients, which would be lost; make them parameters of a module"
            )
    symbols = tuple(sp.Symbol(f"p{k}") for k in range(count))
    traced = Trace(field, point, symbols)
    if traced.functions > MOST_FUNCTIONS:
        raise NotDerived(f"it has {traced.functions} values of functions of the point, too many for a formula")
    shapes = {name: t.shape for name, t in tensors.items()}

    def scalars() -> list[Tensor]:
        now = _tensors(metric)  # by name: `module.double()`, or an assignment, makes other tensors of them
        if (changed := {name: t.shape for name, t in now.items()}) != shapes:
            raise ValueError(
                f"the module had parameters {_said(shapes)} when it was compiled, and has {_said(changed)}"
            )
        return _scalars(now)

    return lambda: (traced.symbolic(numbered(len(point))).canonical(), symbols, scalars)


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


def _code(
    symbolic: SymbolicMetric,
    symbols: tuple[sp.Symbol, ...],
    scalars: Callable[[], list[Tensor]],
    quantity: str,
    options: dict[str, Any],
    order: int,
) -> Code:
    if quantity == "log_volume_element":
        tensor = sp.log(symbolic.volume_element())
    else:
        tensor = getattr(symbolic, quantity)(**options)
    shape = tuple(map(int, getattr(tensor, "shape", ())))
    entries = [tensor] if shape == () else tensor.reshape(math.prod(shape)).tolist() if len(shape) > 2 else list(tensor)
    values, places, signs = _distinct(entries)
    doubt = _Doubt(symbolic, order)
    columns, operations = _emit.columns([*values, *doubt.expressions], symbolic.coordinates, symbols)
    if operations > MOST_OPERATIONS:
        raise NotDerived(f"its expression takes {operations} operations")

    def with_doubt(*arguments: Tensor) -> list[Tensor]:
        found = columns(*arguments)
        return [*found[: len(values)], doubt(found[: len(values)], found[len(values) :], arguments)]

    return Code(with_doubt, scalars, shape, places, signs, operations)


def _jet_code(
    symbolic: SymbolicMetric,
    symbols: tuple[sp.Symbol, ...],
    scalars: Callable[[], list[Tensor]],
    order: int,
    why: str,
) -> JetCode:
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
    columns, operations = _emit.columns(list(values), symbolic.coordinates, symbols)
    if operations > MOST_DERIVATIVES:
        raise NotDerived(f"its derivatives take {operations} operations, too many for a compiler")

    def jets_at(*arguments: Tensor) -> tuple[Tensor, ...]:
        rows = torch.cat(columns(*arguments), -1)
        shapes = ([len(rows), *[n] * (2 + rank)] for rank in range(order + 1))
        return tuple(rows[:, row].reshape(shape) for row, shape in zip(places, shapes, strict=True))

    return JetCode(jets_at, scalars, operations, why)


def _distinct(entries: Sequence[sp.Expr]) -> tuple[list[sp.Expr], tuple[int, ...], tuple[int, ...]]:
    """The entries that are not 0 and differ by more than a sign; where they stand, and with which sign."""
    values: dict[sp.Expr, int] = {}
    places, signs = [], []
    for entry in map(sp.sympify, entries):
        sign = 0 if entry == 0 else -1 if -entry in values else 1
        places.append(-1 if sign == 0 else values.setdefault(sign * entry, len(values)))
        signs.append(sign)
    return list(values), tuple(p if s else len(values) for p, s in zip(places, signs, strict=True)), tuple(signs)


class _Doubt:
    """The doubt as a function of the values of g^-1 and dg that are not 0."""

    def __init__(self, symbolic: SymbolicMetric, order: int):
        n, g, inverse = symbolic.dim, symbolic.matrix, symbolic.inverse_metric()
        self.inverse = [(a, inverse[i, a]) for a in range(n) for i in range(n) if inverse[i, a] != 0]
        self.slopes = []  # a lone order 0 asks only whether g has an inverse
        for a in range(n) if order else ():
            for k, x in enumerate(symbolic.coordinates):
                slopes = [sp.diff(g[a, j], x) for j in range(n)]
                self.slopes += [(a, k, slope) for slope in slopes if slope != 0]
        self.expressions = [e for _, e in self.inverse] + [e for *_, e in self.slopes]

    def __call__(self, values: Sequence[Tensor], found: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        values, found, x = ([_jets.detached(y) for y in ys] for ys in (values, found, x))
        rows: dict[int, Tensor] = {}
        for (a, _), y in zip(self.inverse, found, strict=False):
            rows[a] = rows[a] + y.abs() if a in rows else y.abs()
        doubt = sum((row - row for row in rows.values()), torch.zeros_like(x[0]))
        for (a, k, _), y in zip(self.slopes, found[len(self.inverse) :], strict=True):
            doubt = doubt + torch.finfo(y.dtype).eps * rows[a] * y.abs() * x[k].abs()
        for y in values:
            doubt = doubt + (y - y)
        return doubt
