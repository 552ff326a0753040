"""`check_metric`: is this callable a metric that can be differentiated here, and how many digits can be trusted?"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from riemann import _jets, _rank, formulas
from riemann._messages import html
from riemann._metric import (
    INFINITE,
    check_metric_callable,
    checked_jet,
    is_asymmetric,
    jets_of,
    metric_field,
    metric_jet,
)
from riemann._points.checks import door
from riemann._points.faults import Note, first
from riemann._types import Metric

# What passes, in float64 and in lower precision. Everything is measured in units of its own: entries of g against the
# diagonal of their row and column, coordinates against the length on which g changes.
SYMMETRY = (1e-9, 1e-4)  # of entries, and of their derivatives
CONDITION = 0.01  # of the condition number that rounding makes infinite
DERIVATIVES = (1e-5, 2e-2)  # against finite differences
COVARIANCE = (1e-6, 1e-2)  # of the Riemann tensor in two charts, against its terms
LEAST_DIGITS = (6, 2)


@dataclass(frozen=True)
class Finding:
    """One line of a report: what was checked, whether it holds, what was found, and what to do if it does not."""

    check: str
    ok: bool
    found: str
    remedy: str = ""


@dataclass(frozen=True, repr=False)
class MetricReport:
    """What `check_metric` found; shows and prints as a table.

    Attributes:
        findings: one a check.
    """

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(finding.ok for finding in self.findings)

    def raise_if_failed(self) -> None:
        """Raises a ValueError with the table unless every check holds."""
        if not self.ok:
            raise ValueError(f"the metric failed its checks:\n{self}")

    def __repr__(self) -> str:
        width = max(len(finding.check) for finding in self.findings)
        lines = []
        for finding in self.findings:
            lines.append(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.check:{width}}  {finding.found}")
            if finding.remedy and not finding.ok:
                lines.append(f"{'':{width + 8}}-> {finding.remedy}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [(f.ok, (f.check, f.found, "" if f.ok else f.remedy)) for f in self.findings]
        return html.table(("", "check", "found", "remedy"), rows)


@door
def check_metric(metric: Metric, x: Tensor) -> MetricReport:
    """Checks a metric at points: values, derivatives, smoothness, conditioning, covariance, digits.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`, where it is to be used.

    Returns:
        The report: `.ok`, `.findings`, `.raise_if_failed()`; `print` shows one line a check, with a remedy
        where it fails.

    Raises:
        TypeError, ValueError: `x` is not a tensor of finite floating-point coordinates.

    Note:
        No unit is assumed: an asymmetry of 1e-9 (1e-4 in float32) is against the entry, the condition number is that of
        g with rows scaled to unit size, steps are fractions of the length on which g changes.

    Example:
        >>> relu = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)).double()
        >>> conformal = lambda x: torch.exp(relu(x)) * torch.eye(2)
        >>> report = check_metric(conformal, torch.rand(4, 2, dtype=torch.float64))
        >>> print([finding.check for finding in report.findings if not finding.ok])
        ['smoothness']
    """
    check_metric_callable(metric)
    x = x.detach().reshape(-1, x.shape[-1])
    if x.shape[0] == 0:
        raise ValueError("`x` holds no points, and a metric is checked at points")
    findings: list[Finding] = []
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is found again, as a line of the report
        for name, check in _CHECKS.items():
            try:
                ok, found, remedy = check(metric, x)
            except Exception as error:  # a user's function may raise anything; the report says what
                remedy = "the message says what to change"
                ok, found = False, f"{type(error).__name__}: {' '.join(str(error).split())}"
            findings.append(Finding(name, ok, found, remedy))
            if name == "shape" and not ok:
                break
    return MetricReport(tuple(findings))


_Check = Callable[[Metric, Tensor], tuple[bool, str, str]]


def _value(metric: Metric, x: Tensor) -> Tensor:
    return _jets.jets_along(metric_field(metric, x), x, (), 0)[0]


def _shape(metric: Metric, x: Tensor) -> tuple[bool, str, str]:
    g = _value(metric, x)
    finite = torch.isfinite(g).all(-1).all(-1)
    if not bool(finite.all()):
        return False, f"g is not finite at {x[first(~finite)].tolist()}", "choose points inside the chart"
    return True, f"{tuple(g.shape[1:])} at one point, finite, {str(g.dtype)[6:]} on {g.device} as the points", ""


def _passes(limits: tuple[float, float], x: Tensor) -> float:
    """The limit for the precision of the points."""
    return limits[0] if x.dtype == torch.float64 else limits[1]


def _symmetry(metric: Metric, x: Tensor) -> tuple[bool, str, str]:
    g, dg = jets_of(metric, x, 1)
    difference, entry = (g - g.mT).abs(), torch.maximum(g.abs(), g.mT.abs())
    unit = 1 / _rank.unit_scales(g.abs())
    noise = 1e4 * torch.finfo(x.dtype).eps * unit.unsqueeze(-1) * unit.unsqueeze(-2)  # of an entry 0 but for rounding
    off = difference > torch.maximum(_passes(SYMMETRY, x) * entry, noise)
    asymmetric = off.any(-1).any(-1) | is_asymmetric((g, dg), _passes(SYMMETRY, x))
    if bool(asymmetric.any()):
        where = x[first(asymmetric)].tolist()
        return False, f"g or dg is not symmetric at {where}", "return `0.5 * (g + g.T)`, or mend an entry"
    infinite = checked_jet(metric, x, 1)[1][INFINITE]
    if bool(infinite.any()):
        return (
            False,
            f"dg is not finite at {x[first(infinite)].tolist()}",
            "look at its parameters there",
        )
    return True, "g and its derivatives are finite and symmetric", ""


def _eigenvalues(metric: Metric, x: Tensor) -> Tensor:
    """Of g with its rows scaled to unit size: signs are those of g, and units are none."""
    g = _value(metric, x)
    return torch.linalg.eigvalsh(_rank.in_unit_rows(g, g.abs()))


def _signature(metric: Metric, x: Tensor) -> tuple[bool, str, str]:
    negative = (_eigenvalues(metric, x) < 0).sum(-1)
    signs = ["(" + ", ".join("-" * int(k) + "+" * (x.shape[-1] - int(k))) + ")" for k in negative.unique()]
    found = " and ".join(signs) + f" at {x.shape[0]} points"
    return (
        len(signs) == 1,
        found,
        "g is singular between these points (a horizon, the edge of the chart): stay on one side",
    )


def _conditioning(metric: Metric, x: Tensor) -> tuple[bool, str, str]:
    w = _eigenvalues(metric, x).abs()
    condition = w.amax(-1) / w.amin(-1)
    worst = int(condition.argmax())
    found = f"condition number {float(condition[worst]):.1e}, rows scaled to unit size, at {x[worst].tolist()}"
    ok = float(condition[worst]) < CONDITION / torch.finfo(x.dtype).eps
    return ok, found, "g is singular to rounding there, in whatever units: a coordinate too many, or a chart's edge"


def _plain_torch(metric: Metric, x: Tensor) -> tuple[bool, str, str]:
    (g,) = metric_jet(metric, x, 0)
    tolerance = 1e3 * torch.finfo(x.dtype).eps
    try:
        one_by_one = torch.stack([metric(p) for p in x[:8]])
    except Exception as error:
        return (
            True,
            f"outside riemann the metric raises {type(error).__name__} at one point; riemann does not need it",
            "",
        )
    if one_by_one.dtype != x.dtype:
        note = f"outside riemann it returns {str(one_by_one.dtype)[6:]} there: make constants with `dtype=x.dtype`"
        return True, note, ""
    if one_by_one.shape == g[:8].shape and _difference(one_by_one, g[:8]) > tolerance:
        found = f"metric(x[i]) differs by {_difference(one_by_one, g[:8]):.0e} from its value inside riemann"
        return False, found, "the metric has a state, or writes into what it does not own: return a new tensor"
    try:
        error = _difference(_jets.unsafe_values(metric, x), g)
    except Exception as refused:
        return True, f"metric(x[i]) agrees; plain torch.func.vmap refuses the metric ({type(refused).__name__})", ""
    remedy = "torch evaluates an inner derivative wrongly (see `riemann.jet`); inside riemann the value is right"
    return error < tolerance, f"torch.func.vmap(metric) agrees to {error:.0e}", remedy


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().amax() / b.abs().amax())


def _other_dtype(metric: Metric, x: Tensor) -> tuple[bool, str, str]:
    other = torch.float32 if x.dtype == torch.float64 else torch.float64
    try:
        g = metric_jet(metric, x.to(other), 0)[0]
    except Exception:
        return True, f"works in {str(x.dtype)[6:]} only (constants or parameters have that dtype)", ""
    precise, coarse = (metric_jet(metric, x, 0)[0].double(), g.double())
    error = float((precise - coarse).abs().amax() / precise.abs().amax())
    condition = float(x.abs().amax().clamp(min=1))
    ok = math.isnan(error) or error < 1e3 * condition * torch.finfo(torch.float32).eps
    return ok, f"float32 and float64 agree to {error:.0e}", "a constant is made in the wrong dtype, or digits cancel"


def _lengths(x: Tensor, g: Tensor, dg: Tensor, ddg: Tensor) -> Tensor:
    """How far g at points `(points, n)` stays what it is, along each coordinate: no unit is assumed but for 0."""
    r = _rank.unit_scales(g.abs())
    first = (dg.abs() * (r.unsqueeze(-1) * r.unsqueeze(-2)).unsqueeze(-1)).amax((1, 2))
    second = ddg.diagonal(dim1=-2, dim2=-1).abs() * (r.unsqueeze(-1) * r.unsqueeze(-2)).unsqueeze(-1)
    rate = (first + second.amax((1, 2)).sqrt()).nan_to_num(0.0, 0.0)
    return torch.minimum(0.1 + x.abs(), 1 / rate)


def _derivatives(metric: Metric, x: Tensor) -> tuple[bool, str, str]:
    g, dg, ddg = metric_jet(metric, x, 2)
    length, r = _lengths(x, g, dg, ddg), _rank.unit_scales(g.abs())
    h = torch.finfo(x.dtype).eps ** 0.2 * 0.1 * length
    first, second = (
        central_differences(lambda y: metric_jet(metric, y, 0)[0], x, h),
        central_differences(lambda y: metric_jet(metric, y, 1)[1], x, h),
    )
    unit = torch.einsum("zi,zj,zk->zijk", r, r, length)
    scales = (unit, torch.einsum("zijk,zl->zijkl", unit, length))
    errors = []
    for d, fd, scale in zip((dg, ddg), (first, second), scales, strict=True):
        error, size = (((y * scale).nan_to_num(0.0)).abs().amax() for y in (d - fd, fd))
        errors.append(float(error / (1 + size)))
    found = f"differ from finite differences by {errors[0]:.0e} (first) and {errors[1]:.0e} (second)"
    remedy = "a custom derivative is wrong, or the metric is not smooth here"
    nan = dg.isnan().any() or ddg.isnan().any()
    if bool(nan):
        return (
            False,
            "derivatives are NaN: the metric has a kink or a coordinate singularity at a point",
            "move the points",
        )
    return max(errors) < _passes(DERIVATIVES, x), found, remedy


def central_differences(f: Callable[[Tensor], Tensor], x: Tensor, h: Tensor) -> Tensor:
    """Fourth-order central differences of f at points `(points, n)`, with steps h; derivative axis last."""
    columns = []
    for k in range(x.shape[-1]):
        e = torch.zeros_like(x)
        e[:, k] = h[:, k]
        d = 8 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))
        columns.append(d / (12 * h[:, k]).reshape(-1, *[1] * (d.ndim - 1)))
    return torch.stack(columns, -1)


def _smoothness(metric: Metric, x: Tensor) -> tuple[bool, str, str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        metric_jet(metric, x[:1], 2)
    for warning in caught:
        if "piecewise linear" in (text := str(warning.message)):
            return False, text.split(":")[0], "use a smooth activation (tanh, softplus, silu)"
    jump = _jump(metric, x)
    found = "first derivatives are continuous on lines through the points" if jump is None else f"dg jumps near {jump}"
    return jump is None, found, "the metric has a kink there (abs, max, where, a piecewise-linear network)"


def _jump(metric: Metric, x: Tensor, steps: int = 65) -> list[float] | None:
    """A place near the points where dg changes faster than ddg allows; None if it was not met."""
    generator = torch.Generator().manual_seed(0)
    count, n = min(x.shape[0], 8), x.shape[-1]
    direction = torch.nn.functional.normalize(torch.randn(count, n, generator=generator, dtype=x.dtype), dim=-1).to(x)
    t = torch.linspace(-0.1, 0.1, steps, dtype=x.dtype, device=x.device)
    length = _lengths(x[:count], *metric_jet(metric, x[:count], 2))
    line = x[:count, None] + t[None, :, None] * (direction * length)[:, None]
    _, dg, ddg = metric_jet(metric, line, 2)
    change = (dg[:, 1:] - dg[:, :-1]).abs().amax((-1, -2, -3))
    step = (line[:, 1:] - line[:, :-1]).norm(dim=-1)
    slope = ddg.abs().amax((-1, -2, -3, -4))
    steepest = torch.stack([slope[:, :-1], slope[:, 1:]]).amax(0)
    noise = 1e4 * torch.finfo(x.dtype).eps * dg.abs().amax((-1, -2, -3))[:, 1:]
    jumps = change > 4 * n * step * steepest + noise
    if not bool(jumps.any()):
        return None
    i, k = first(jumps)
    return line[i, k].tolist()


def _covariance(metric: Metric, x: Tensor) -> tuple[bool, str, str]:
    error = chart_error(metric, x, seed=0)
    ok = error < _passes(COVARIANCE, x)
    return ok, f"the Riemann tensor in another chart agrees to {error:.0e} of its terms", "a derivative is wrong here"


def _digits(metric: Metric, x: Tensor) -> tuple[bool, str, str]:
    few = [note for note in checked_jet(metric, x, 2)[1] if isinstance(note, Note)]
    if few:
        return False, few[0].split(" (")[0], "the coordinates are nearly singular there: use others, or move away"
    digits = -math.log10(max(chart_error(metric, x, seed=1), torch.finfo(x.dtype).eps))
    return (
        digits >= _passes(LEAST_DIGITS, x),
        f"about {digits:.0f} digits of the curvature can be trusted",
        "move away from singularities, or use float64",
    )


def chart_error(metric: Metric, x: Tensor, seed: int) -> float:
    """The largest error of the Riemann tensor, against the size of its terms, under a random change of coordinates."""
    generator = torch.Generator().manual_seed(seed)
    n, x = x.shape[-1], x[:16]
    jets = metric_jet(metric, x, 2)
    unit = _rank.unit_scales(jets[0].abs())
    A = unit.unsqueeze(-1) * (torch.eye(n) + 0.3 * torch.randn(n, n, generator=generator) / n**0.5).to(x)
    B = unit[..., None, None] * (0.2 * torch.randn(n, n, n, generator=generator) / n).to(x)

    here = metric_field(metric, x)

    def pulled_back(y: Tensor, p: Tensor, A: Tensor, B: Tensor) -> Tensor:  # by p + A y + B(y, y)
        By = (B + B.mT) @ y
        J = A + By
        return J.mT @ here(p + A @ y + 0.5 * By @ y) @ J

    pulled = _jets.jets_along(pulled_back, torch.zeros_like(x), None, 2, x, A, B)
    there = formulas.riemann_tensor(*pulled, indices="llll")
    riemann = formulas.riemann_tensor(*jets, indices="llll")
    error = there - torch.einsum("zabcd,zai,zbj,zck,zdl->zijkl", riemann, A, A, A, A)
    return float((error.abs().amax((-1, -2, -3, -4)) / _terms(*pulled)).amax())


def _terms(g: Tensor, dg: Tensor, ddg: Tensor) -> Tensor:
    """The size of what the lowered Riemann tensor adds up: second derivatives and products of Christoffel symbols."""
    gamma, raised = formulas.christoffel(g, dg, kind=1), formulas.christoffel(g, dg)
    products = gamma.abs().amax((-1, -2, -3)) * raised.abs().amax((-1, -2, -3))
    return ddg.abs().amax((-1, -2, -3, -4)) + products + torch.finfo(g.dtype).tiny


_CHECKS: dict[str, _Check] = {
    "shape": _shape,
    "symmetry": _symmetry,
    "signature": _signature,
    "conditioning": _conditioning,
    "plain torch": _plain_torch,
    "dtype": _other_dtype,
    "derivatives": _derivatives,
    "smoothness": _smoothness,
    "covariance": _covariance,
    "digits": _digits,
}
