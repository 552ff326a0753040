"""`verify`: is the curvature that riemann computes of a metric right? Quantity by quantity, against exact truth."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from riemann import _curvature
from riemann._arithmetic import Refusal
from riemann._curvature import QUANTITIES, at
from riemann._curvature.quantities import VERIFIED
from riemann._messages import html
from riemann._points.checks import check_points, inside
from riemann._points.faults import first
from riemann._rank import unit_scales
from riemann._rounding import floor_of
from riemann._terms import scales
from riemann._types import Metric
from riemann._verification import truth
from riemann._verification.sample import sample_points
from riemann._verification.truth import DIGITS, Values

if TYPE_CHECKING:
    from riemann.symbolic import SymbolicMetric
    from riemann.symbolic._textbook import Textbook

RTOL = {torch.float64: 1e-9, torch.float32: 1e-4}
DIFFERENCES = 1e-4  # what central differences can say, relative to the terms
AGREE = 1e-11  # closed forms hold decimals, the 40 digits hold binary floats


@dataclass(frozen=True)
class Comparison:
    """One line of a report.

    Attributes:
        quantity: its name, as in this package.
        error: the largest |value - truth| over points and components, relative to the size of the terms added up.
        of_value: the largest |value - truth| against the largest |truth| of a point, each coordinate in its own unit;
            infinite where the truth is 0 and the value is not.
        digits_lost: decimal digits between `error` and the precision of the dtype.
        point: where `error` is largest; where no digit is right, if there is such a point.
        truth: what the value was compared with.
        ok: whether `error` is within the tolerance, and a digit is right at every point.
    """

    quantity: str
    error: float
    of_value: float
    digits_lost: float
    point: tuple[float, ...]
    truth: str
    ok: bool

    def cells(self) -> tuple[str, ...]:
        """The row of the table, after the verdict."""
        of_value = f"{self.of_value:.1e}" if math.isfinite(self.of_value) else "-"
        point = "(" + ", ".join(f"{v:.4g}" for v in self.point) + ")"
        return self.quantity, f"{self.error:.1e}", of_value, f"{self.digits_lost:.1f}", self.truth, point


@dataclass(frozen=True, repr=False)
class VerificationReport:
    """What `verify` found; shows and prints as a table.

    Attributes:
        comparisons: one a quantity.
        notes: sentences on what could not be done, and on what went wrong before anything could be compared.
        x: the points, `(points, n)`.
        closed_form: the metric as SymPy sees it, if it was traced or given.
        failure: what went wrong beside or before the comparisons, if anything.
    """

    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    x: Tensor
    closed_form: "SymbolicMetric | None" = None
    failure: str = ""

    @property
    def ok(self) -> bool:
        """Whether every quantity was compared and agrees."""
        return not self.failure and bool(self.comparisons) and all(c.ok for c in self.comparisons)

    def raise_if_failed(self) -> None:
        """Raises a ValueError with the table unless every quantity agrees."""
        if not self.ok:
            raise ValueError(f"the metric failed its verification:\n{self}")

    def __repr__(self) -> str:
        lines = [self._points()]
        if self.failure:
            lines.append(f"FAIL  {self.failure}")
        if self.comparisons:
            width = max(len(c.truth) for c in self.comparisons)
            head = f"{'':6}{'quantity':20}{'error':>8}  {'of value':>8}  {'digits lost':>11}"
            lines.append(f"{head}  {'truth':{width}}  worst point")
        for c in self.comparisons:
            verdict, (quantity, error, of_value, lost, truth, point) = "ok" if c.ok else "FAIL", c.cells()
            numbers = f"{verdict:6}{quantity:20}{error:>8}  {of_value:>8}  {lost:>11}"
            lines.append(f"{numbers}  {truth:{width}}  {point}")
        return "\n".join((*lines, *(f"note: {note}" for note in self.notes)))

    def _repr_html_(self) -> str:
        rows = [(c.ok, c.cells()) for c in self.comparisons]
        rows = [(False, (self.failure,)), *rows] if self.failure else rows
        head = ("", "quantity", "error", "of value", "digits lost", "truth", "worst point")
        return html.table(head, rows, self._points(), "\n".join(self.notes))

    def _points(self) -> str:
        count, n = self.x.shape
        return f"{count} points in {n} dimensions, {str(self.x.dtype)[6:]}"


def verify(
    metric: Metric | str,
    symbolic: "SymbolicMetric | None" = None,
    *,
    dim: int | None = None,
    x: Tensor | None = None,
    parameters: Mapping[str, int | float] | None = None,
    budget: float = 10.0,
    dtype: torch.dtype | None = None,
    rtol: float | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> VerificationReport:
    r"""Compares what riemann computes of a metric with exact truth at points.

    Without `symbolic`, the metric is traced: its graph is evaluated with Taylor numbers of 40 digits, which share
    nothing with torch's differentiation, and the closed form of each quantity is derived from the graph where that is
    possible within `budget` seconds. With `symbolic`, the truth is the user's own SymPy metric. Where nothing can be
    traced, central differences are all that is left, and the report says so.

    The error is $|T - T^*| / \max(|T^*|, s)$, where s is the sum of absolute values of the terms that the component
    adds up (at least a thousandth of the largest such sum): it means something where the truth is 0, too. Near a pole
    the terms may be far larger than the truth. So the error is also told of the value, and a quantity fails where no
    digit is right: where the error of curvature in an orthonormal frame is above 1e-6 (1e-2 in float32), and above a
    tenth of this quantity and of the Riemann tensor there.

    With python-flint installed each truth has a radius: an error below it is not blamed. Where the metric is so
    ill-conditioned that 40 digits are too few, the truth is computed with more, and a note says how many were left.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`; or the name of a space of the catalogue, as in `"kerr"`.
        symbolic: what it should be, exactly.
        dim: the dimension n; not needed where `x`, `symbolic` or `metric.dim` say it.
        x: points, `(*batch, n)`. Points of a box that the metric accepts by default, the origin and points on the axes
            included where the metric is finite there.
        parameters: numbers for the parameters of `symbolic`, or of the space that is named, by name.
        budget: seconds for the closed form.
        dtype: float64 or float32; that of `x`, or of the weights of a module, by default.
        rtol: largest error that passes; 1e-9 in float64, 1e-4 in float32 by default.
        progress: called with a few words before each step.

    Returns:
        The report: `.ok`, `.comparisons`, `.raise_if_failed()`; `print` shows a table.

    Raises:
        TypeError: `symbolic` is not a SymbolicMetric.
        ValueError: no dimension is known, no points are found, or parameters have no numbers.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> report = verify(half_plane, dim=2)
        >>> report.ok, report.comparisons[4].truth
        (True, 'closed form')
    """
    if isinstance(metric, str):
        metric, parameters = _space(metric, parameters or {}), None
    given = getattr(metric, "symbolic", None) if symbolic is None else symbolic
    numbers = _parameters(given, parameters or {})
    n = _dimension(metric, given, dim, x)
    try:
        progress("choosing points")
        with torch.no_grad():
            points = _points(metric, n, x, dtype)
            if x is None:
                check_points(points)
        progress(f"computing curvature at {len(points)} points")
        with torch.no_grad(), inside(points), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            jets = at(metric, points).jets
            values = {name: getattr(_curvature, name)(metric, points) for name in VERIFIED if name != "metric"}
    except Refusal as refusal:
        nowhere = torch.empty(0, n, dtype=dtype or torch.float64)
        return VerificationReport((), (), nowhere, failure=f"riemann refuses the metric: {refusal}")
    notes = [str(warning.message) for warning in caught]
    values["metric"], terms = jets[0], scales(*jets)
    with inside(points):
        if given is None:
            given, truths, radii, failure = _traced(metric, points, terms, budget, progress, notes)
        else:
            geometry = lambda p: _geometry(given, p, numbers)
            truths, failure = [("SymPy", truth.precise(geometry, points, progress)[0])], ""
            radii = truth.judged(_source(given, numbers), points, truths[0][1], terms, notes)
    tolerance = RTOL[points.dtype] if rtol is None else rtol
    lost = _lost(values, truths, radii, jets[0])
    found = (
        _compare(name, values[name], terms[name], points, truths, radii, tolerance, lost[name], notes)
        for name in VERIFIED
    )
    comparisons = [comparison for comparison in found if comparison]
    failure = failure or ("" if comparisons else "there is no exact value to compare with")
    return VerificationReport(tuple(comparisons), tuple(dict.fromkeys(notes)), points, given, failure)


def _geometry(symbolic: "SymbolicMetric", point: list[float], parameters: dict[str, int | float]) -> "Textbook":
    """The exact metric at a point, whose coordinates are the binary numbers that they are."""
    import sympy as sp

    coordinates = zip(symbolic.coordinates, map(sp.Rational, point), strict=True)
    return symbolic.at({**parameters, **dict(coordinates)}, DIGITS)


def _source(symbolic: "SymbolicMetric", parameters: dict[str, int | float]) -> Any:
    """The exact metric over any arithmetic."""
    from riemann._certified.sources import ExactMatrix

    return ExactMatrix(symbolic.subs(parameters) if parameters else symbolic)


def _traced(
    metric: Metric, x: Tensor, terms: Values, budget: float, progress: Callable[[str], None], notes: list[str]
) -> tuple["SymbolicMetric | None", list[tuple[str, Values]], Values, str]:
    """The traced metric, the truths, the best first, with their radii, and a failure, if they contradict each other."""
    from riemann.bridge import trace

    graph = trace(metric, x.shape[-1], dtype=x.dtype, device=x.device)
    digits, refusal = truth.precise(graph.at, x, progress)
    if bool(digits["metric"].isnan().all()):
        notes.append(f"{refusal} Compared with central differences instead, to {DIFFERENCES:.0e}.")
        values = truth.differences(metric, x)
        return None, [("differences", values)], {name: torch.zeros_like(T) for name, T in values.items()}, ""
    radii = truth.judged(graph, x, digits, terms, notes)
    truths = [(f"{DIGITS} digits", digits)]
    progress(f"closed form, at most {budget:g} s")
    symbolic, closed, why = truth.closed_form(graph, x, budget)
    if missing := [name for name in VERIFIED if name not in closed]:
        notes.append(f"no closed form of {', '.join(missing)}: {why}")
    for name, values in closed.items():
        known = torch.where(values.isfinite(), digits[name], math.nan)
        if float(_error(values, known, radii[name], terms[name]).nan_to_num(0.0).amax()) > AGREE:
            fault = f"the closed form of {name} contradicts its {DIGITS} digits: a fault of riemann, please report it"
            return symbolic, truths, radii, fault
    return symbolic, [("closed form", {name: digits[name] for name in closed}), *truths], radii, ""


def _error(value: Tensor, truth: Tensor, radius: Tensor, terms: Tensor) -> Tensor:
    """The distance from the truth against the size of the terms at each point, `(points,)`; NaN where there is none."""
    value, truth, radius, terms = (t.double().reshape(len(t), -1) for t in (value, truth, radius, terms))
    scale = torch.maximum(truth.abs(), terms.nan_to_num(0.0))
    scale = torch.maximum(scale, 1e-3 * scale.amax(-1, keepdim=True)).clamp(min=10.0 ** (10 - DIGITS))
    difference = ((value - truth).abs() - radius).clamp(min=0)
    error = (difference / scale).nan_to_num(math.inf, math.inf).amax(-1)
    return torch.where(truth.isfinite().all(-1), error, math.nan)


def _lost(
    values: Values, truths: list[tuple[str, Values]], radii: Values, g: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """Of each quantity the error of its value, and where no digit is right: `(points,)`, coordinates in their units."""
    unit = unit_scales(g.double().abs())
    exact = {name: next(exact[name] for _, exact in truths if name in exact) for name in VERIFIED}

    def size(name: str, T: Tensor) -> Tensor:
        T = T.double()
        for axis, position in enumerate("ll" if name == "metric" else QUANTITIES[name].indices):
            r = unit if position == "l" else 1 / unit
            T = T * r.reshape(len(T), *(-1 if k == axis else 1 for k in range(T.ndim - 1)))
        return T.abs().reshape(len(T), -1).amax(-1)

    curvature = size("riemann_tensor", exact["riemann_tensor"]).nan_to_num(0.0)
    found = {}
    for name in VERIFIED:
        apart = ((values[name].double() - exact[name]).abs() - radii[name]).clamp(min=0)
        error, truth = size(name, apart), size(name, exact[name])
        truth = torch.where(truth > 10.0 ** (15 - DIGITS) * curvature, truth, 0.0)  # of which 40 digits made no 0
        of_value = torch.where(error > 0, error / truth, 0.0)
        known = {"metric": truth, "christoffel": truth, "volume_element": truth, "kretschmann_scalar": curvature**2}
        enough = torch.maximum(truth, known.get(name, curvature))
        found[name] = of_value, error > (0.1 * enough).clamp(min=floor_of(g.dtype))
    return found


def _compare(
    name: str, value: Tensor, terms: Tensor, x: Tensor, truths: list[tuple[str, Values]], radii: Values,
    tolerance: float, lost: tuple[Tensor, Tensor], notes: list[str],
) -> Comparison | None:  # fmt: skip
    """The worst point of one quantity; None if no point has a truth."""
    label, exact = next((label, exact) for label, exact in truths if name in exact)
    error = _error(value, exact[name], radii[name], terms)
    unknown = error.isnan()
    if bool(unknown.any()):
        notes.append(f"{name} has no exact value at {x[first(unknown)].tolist()}")
    if bool(unknown.all()):
        return None
    of_value, wrong = lost
    if bool(wrong.any()):
        notes.append(f"no digit of {name} is right at {x[first(wrong)].tolist()}: its terms cancel")
    largest = float(error.nan_to_num(-1.0, posinf=math.inf).amax())
    worst = int((wrong * 1.0 if bool(wrong.any()) else error.nan_to_num(-1.0, posinf=math.inf)).argmax())
    digits = math.log10(max(largest / torch.finfo(x.dtype).eps, 1.0))
    tolerance = max(tolerance, DIFFERENCES) if label == "differences" else tolerance
    ok = largest <= tolerance and not bool(wrong.any())
    return Comparison(
        name, largest, float(of_value.nan_to_num(0.0, math.inf).amax()), digits, tuple(x[worst].tolist()), label, ok
    )


def _parameters(symbolic: Any, given: Mapping[str, int | float]) -> dict[str, int | float]:
    """Numbers for the parameters of a symbolic metric; raises where some have none."""
    if symbolic is None:
        if given:
            raise ValueError("`parameters` are those of `symbolic`, which is not given; close over them in `metric`")
        return {}
    from riemann.symbolic import SymbolicMetric

    if not isinstance(symbolic, SymbolicMetric):
        raise TypeError(f"`symbolic` is a {type(symbolic).__name__}, expected a `riemann.symbolic.SymbolicMetric`")
    names = {s.name for s in symbolic.matrix.free_symbols - set(symbolic.coordinates)}
    if missing := sorted(names - set(given)):
        example = ", ".join(f"{name!r}: 1.0" for name in missing)
        raise ValueError(f"`symbolic` has parameters without numbers; pass `parameters={{{example}}}`")
    if strangers := sorted(set(given) - names):
        raise ValueError(f"`parameters` names {strangers}, which `symbolic` does not have; it has {sorted(names)}")
    return dict(given)


def _space(name: str, parameters: dict[str, Any]) -> Metric:
    from riemann import spaces  # which knows what is above this room

    try:
        return spaces.get(name, **parameters)
    except KeyError as error:
        raise ValueError(str(error.args[0])) from None


def _dimension(metric: Metric, symbolic: Any, dim: int | None, x: Tensor | None) -> int:
    if x is not None:
        check_points(x)
    said = {
        "`dim`": dim,
        "`symbolic`": getattr(symbolic, "dim", None),
        "`x`": None if x is None else x.shape[-1],
        "`metric.dim`": getattr(metric, "dim", None),
    }
    known = {name: n for name, n in said.items() if isinstance(n, int)}
    if not known:
        raise ValueError("the dimension is not known; pass `dim=` (or points as `x=`)")
    if len(set(known.values())) > 1:
        raise ValueError("the dimension is " + " and ".join(f"{n} by {name}" for name, n in known.items()))
    return next(iter(known.values()))


def _points(metric: Any, n: int, x: Tensor | None, dtype: torch.dtype | None) -> Tensor:
    if x is not None:
        return x.detach().to(dtype or x.dtype).reshape(-1, n)
    weights = metric.parameters() if isinstance(metric, torch.nn.Module) else ()
    dtype = dtype or next((w.dtype for w in weights), torch.float64)
    if hasattr(metric, "sample"):
        return metric.sample(8, generator=torch.Generator().manual_seed(0)).to(dtype)
    return sample_points(metric, n, dtype=dtype)
