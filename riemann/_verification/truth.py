"""Exact curvature at points, as float64: what `verify` compares with."""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from riemann._clock import within
from riemann._curvature.quantities import VERIFIED, LocalGeometry
from riemann._metric import metric_jet
from riemann._types import Metric
from riemann._verification.check import central_differences

if TYPE_CHECKING:
    import sympy as sp

    from riemann.bridge import Trace
    from riemann.symbolic import SymbolicMetric
    from riemann.symbolic._textbook import Textbook

DIGITS = 40
ENOUGH = 15  # digits of a truth that are as good as all
ZERO = 1e-100  # of the terms: what is smaller is 0
MOST_FUNCTIONS = 12  # of one metric: expressions of networks have no end

Values = dict[str, Tensor]
"""Quantities by name, `(points, …)` each, NaN at a point where there is no truth."""


def precise(
    geometry: Callable[[list[float]], "Textbook"], x: Tensor, progress: Callable[[str], None]
) -> tuple[Values, str]:
    """The quantities of exact geometries, one a point, and why there is none where there is none."""
    reasons: list[str] = []

    def at_point(point: list[float]) -> dict[str, Tensor | None]:
        here = _or_none(geometry, point, reasons=reasons)

        def quantity(name: str) -> Tensor:
            return _floats(getattr(here, name)())

        values = {name: None if here is None else _or_none(quantity, name) for name in VERIFIED}
        riemann = values["riemann_tensor"]
        if riemann is None or not bool(riemann.isfinite().all()):
            values["weyl_tensor"] = None  # it is 0 by definition for n < 4, also where there is no curvature
        return values

    rows = []
    for k, point in enumerate(x.tolist()):
        progress(f"{DIGITS} digits, point {k + 1} of {len(x)}")
        rows.append(at_point(point))
    return {name: _stacked([row[name] for row in rows]) for name in VERIFIED}, reasons[0] if reasons else ""


def judged(source: Any, x: Tensor, truth: Values, terms: Values, notes: list[str]) -> Values:
    """The radii of the truths, which balls make sharper where 40 digits are too few; nothing without python-flint.

    Args:
        source: the metric over any arithmetic, as `geometries` takes it.
        x: points, `(points, n)`.
        truth: exact values, of which those in doubt are changed.
        terms: the sizes of the terms that a quantity adds up.
        notes: gets a sentence on quantities of which the truth itself has few digits.
    """
    radii = {name: torch.zeros_like(values) for name, values in truth.items()}
    try:
        import flint as _  # noqa: F401
    except ImportError:
        return radii
    for name, values in truth.items():
        if not values.isfinite().any():  # whose shape is not known
            truth[name] = torch.full(terms[name].shape, torch.nan, dtype=torch.float64)
            radii[name] = torch.zeros_like(truth[name])
    lost: dict[str, str] = {}
    for k, point in enumerate(x.tolist()):
        with contextlib.suppress(ValueError):  # an operation without enclosure
            _judge_point(source, point, k, truth, radii, terms, lost)
    notes += lost.values()
    return radii


def _judge_point(
    source: Any, point: list[float], k: int, truth: Values, radii: Values, terms: Values, lost: dict[str, str]
) -> None:
    """The truths of one point, and their radii: at the lowest precision that leaves enough of their digits."""
    from riemann._certified.rounding import BITS, distances, geometries

    doubted, first = dict.fromkeys(truth), {}
    for bits, balls in geometries(source, point):
        for name in list(doubted):
            found = balls(name)
            middle = torch.tensor([float(b) for b in found.flat], dtype=torch.float64).reshape(found.shape)
            radius = distances(middle, found)
            if not bool(radius.isfinite().all() & middle.isfinite().all()):
                continue
            truth[name][k], radii[name][k] = middle, radius
            size, error = _largest(middle), _largest(radius - torch.finfo(torch.float64).eps * middle.abs())
            error_before, carried = first.setdefault(name, (error, bits * 3 // 10))
            least = size if size > error else ZERO * _largest(terms[name][k])
            if error > least * 10.0**-ENOUGH and bits < BITS[-1]:
                continue
            del doubted[name]
            if error_before > max(size, least) * 10.0**-ENOUGH and size > error:
                left = max(0, int(math.log10(size / error_before)))
                where = f"of {name} at {point}, where the metric is ill-conditioned"
                lost.setdefault(name, f"{carried} digits leave about {left} digits of the truth {where}")
        if not doubted:
            return


def _largest(T: Tensor) -> float:
    return float(T.double().abs().max()) if bool((T > 0).any()) or bool((T < 0).any()) else 0.0


def differences(metric: Metric, x: Tensor) -> Values:
    """Central differences of the metric's values: what is left where nothing can be traced."""
    x = x.double()
    h = 2e-3 * x.abs().clamp(min=0.5)

    def g(x: Tensor) -> Tensor:
        return metric_jet(metric, x, 0)[0].detach()

    def dg(x: Tensor) -> Tensor:
        return central_differences(g, x, h)

    jets = (g(x), dg(x), central_differences(dg, x, h))
    return {"metric": jets[0], **{name: getattr(LocalGeometry(x, jets), name)() for name in VERIFIED[1:]}}


def closed_form(graph: "Trace", x: Tensor, budget: float) -> tuple["SymbolicMetric | None", Values, str]:
    """The metric and the quantities whose closed forms are derived within `budget` seconds, and why others are not."""
    try:
        if graph.functions > MOST_FUNCTIONS:  # which traces, and that is not for a thread that may be stopped
            return None, {}, f"it has {graph.functions} values of functions of the point, too many for a formula"
    except ValueError as error:
        return None, {}, str(error)
    found: Values = {}
    metric: list[SymbolicMetric] = []

    def derive() -> None:
        metric.append(graph.symbolic())
        found["metric"] = _evaluated(metric[0].metric(), metric[0].coordinates, x)
        here = metric[0].canonical()
        for name in VERIFIED[1:]:
            found[name] = _evaluated(getattr(here, name)(), here.coordinates, x)

    why = f"not found within {budget:g} s"
    try:
        within(budget, derive)
    except (ValueError, ArithmeticError, RecursionError) as error:
        why = str(error)
    return metric[0] if metric else None, dict(found), why


def _evaluated(array: Any, coordinates: Sequence["sp.Symbol"], x: Tensor) -> Tensor:
    import mpmath
    import sympy as sp

    from riemann.symbolic._numbers import function_of

    entries, shape = (sp.flatten(array.tolist()), array.shape) if hasattr(array, "shape") else ([array], ())
    shape = tuple(map(int, shape))  # SymPy has integers of its own
    function = function_of(coordinates, entries)

    def at_point(point: list[float]) -> Tensor:
        with mpmath.workdps(DIGITS):
            values = [float(v) for v in function(*map(mpmath.mpf, point))]
        return torch.tensor(values, dtype=torch.float64).reshape(shape)

    return _stacked([_or_none(at_point, point) for point in x.tolist()])


def _floats(value: Any) -> Tensor:
    def nested(value: Any) -> Any:
        return [nested(v) for v in value] if isinstance(value, list) else float(value)

    return torch.tensor(nested(value.tolist() if hasattr(value, "tolist") else value), dtype=torch.float64)


def _or_none(compute: Callable[..., Any], *args: Any, reasons: list[str] | None = None) -> Any:
    """What `compute` returns; None where mathematics gives no number (a pole, a kink, a singular matrix)."""
    try:
        return compute(*args)
    except (ArithmeticError, ValueError) as error:
        if reasons is not None:
            reasons.append(str(error))
        return None


def _stacked(row: list[Tensor | None]) -> Tensor:
    shape = next((r.shape for r in row if r is not None), torch.Size())
    return torch.stack([torch.full(shape, torch.nan, dtype=torch.float64) if r is None else r for r in row])
