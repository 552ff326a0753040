"""A metric as the list of its operations: run once over SymPy expressions, or point by point over Taylor numbers."""

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import sympy as sp
import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _jets
from riemann._arithmetic.surface import REWRITTEN
from riemann._metric import ASYMMETRY, check_metric_callable, metric_field
from riemann._points.checks import check_points
from riemann._types import Metric
from riemann.bridge import _aten
from riemann.bridge._conditions import Condition
from riemann.bridge._digits import Digits
from riemann.bridge._functions import FUNCTIONS, Inexpressible
from riemann.bridge._names import Names, coordinates_of, numbered, symbols_of
from riemann.bridge._symbols import Symbols
from riemann.symbolic import SymbolicMetric
from riemann.symbolic._textbook import Textbook

_ROUNDING = sp.Rational(1, 10**14)  # of constants: what entries across the diagonal may differ by


def trace(
    metric: Metric,
    dim: int,
    dtype: torch.dtype | None = None,
    parameters: Names = (),
    *,
    device: torch.device | None = None,
) -> "Trace":
    """The operations of a metric, to be run in exact arithmetic.

    Args:
        metric: callable, one point `(n,)` to a matrix `(n, n)`; run at a made-up point when it is first asked for.
        dim: the dimension n.
        dtype: of the point; by default that of the parameters of a module, else float64.
        parameters: names of further arguments of `metric`, which stay free.
        device: of the point; by default that of the parameters of a module, else the CPU.

    Raises:
        TypeError: `metric` cannot be called.

    Example:
        >>> half_plane = trace(lambda x: torch.eye(2) / x[1] ** 2, 2)
        >>> half_plane.at([0.5, 2.0], digits=5).scalar_curvature(), half_plane.symbolic("x y").scalar_curvature()
        (-2.0000, -2)
    """
    check_metric_callable(metric)
    like = _like(metric)
    return Trace(
        metric, torch.empty(dim, dtype=dtype or like.dtype, device=device or like.device), symbols_of(parameters)
    )


class Trace:
    """The operations of a metric, free of its point.

    Args:
        metric: one point and the parameters to a matrix.
        point: whose shape, dtype and device are those of points.
        parameters: the free arguments of `metric`.
    """

    def __init__(self, metric: Metric, point: Tensor, parameters: tuple[sp.Symbol, ...]):
        self.dim: int = len(point)
        self.parameters: tuple[sp.Symbol, ...] = parameters
        self._metric, self._point = metric, point
        self._programs: dict[str, Program] = {}
        self._digits: dict[tuple[int, int], tuple[Digits, dict[Any, Any]]] = {}

    def symbolic(self, coordinates: Names | None = None) -> SymbolicMetric:
        """The metric as a matrix of expressions; `to_symbolic` says more."""
        return self.conditional(coordinates)[0]

    def conditional(
        self, coordinates: Names | None = None, double: bool = False
    ) -> tuple[SymbolicMetric, list[Condition]]:
        """The metric as a matrix of expressions, and where they are what is computed.

        Args:
            coordinates: as of `to_symbolic`.
            double: as of `Symbols`.
        """
        symbols = (*(symbols_of(coordinates) if coordinates is not None else numbered(self.dim)), *self.parameters)
        if len(symbols) != self.dim + len(self.parameters):
            raise ValueError(
                f"`coordinates` names {len(symbols) - len(self.parameters)}, expected {self.dim}, the dimension"
            )
        real = [sp.Symbol(f"{s.name}", real=True) for s in symbols]
        given = dict(zip(real, symbols, strict=True))
        program, E = self._program("expressions"), Symbols(double)
        g = sp.Matrix(program(E, program.constants(E), self._arguments(real, E)))
        g, alike = _symmetric(_by_roots(g.xreplace(given)))
        conditions = [*(Condition(e.xreplace(given), kind) for e, kind in E.conditions), *alike]
        return SymbolicMetric(g, symbols[: self.dim], symbols[self.dim :]), conditions

    def at(self, point: Any, digits: int = 40, order: int = 2) -> Textbook:
        """Curvature at a point; `high_precision` says more.

        Args:
            point: n coordinates and then the parameters, in order: floats as the binary numbers they are, SymPy numbers
                exactly.
            digits: precision of results.
            order: highest derivative of g that may be needed; 3 or 4 for derivatives of curvature.

        Raises:
            ValueError: an operation without exact form, or a metric that is not finite and real there.
        """
        values = point.tolist() if isinstance(point, Tensor | np.ndarray) else list(point)
        if len(values) != self.dim + len(self.parameters):
            raise ValueError(f"`point` has {len(values)} numbers, expected {self.dim + len(self.parameters)}")
        program = self._program("numbers")
        if (digits, order) not in self._digits:
            E = Digits(self.dim, order, digits)
            self._digits[digits, order] = E, program.constants(E)
        E, constants = self._digits[digits, order]
        numbers = [E.number(v) for v in values]
        x = [E.variable(k, v) for k, v in enumerate(numbers[: self.dim])]
        g = program(E, constants, self._arguments([*x, *numbers[self.dim :]], E))
        g = g + E.constant(0)
        if not all(E.context.isfinite(entry.c[0]) for entry in g.flat):
            raise ValueError(f"`metric` is not finite and real at {values}")
        size = max(abs(entry.c[0]) for entry in g.flat)
        if any(abs(entry.c[0]) > ASYMMETRY[torch.float64] * size for entry in (g - g.T).flat):
            raise ValueError(f"`metric` is not symmetric at {values}")
        g = ((g + g.T) * E.number(0.5)).tolist()
        if any(entry.order < order for row in g for entry in row):  # a kink
            g = [[E.without_derivatives(entry.c[0]) for entry in row] for row in g]
        return Textbook(E, g)

    def matrix(self, E: _aten.Elements, x: list[Any]) -> np.ndarray:
        """The metric as an array of elements of an arithmetic, at coordinates x."""
        program = self._program("numbers")
        return program(E, program.constants(E), self._arguments(x, E))

    @property
    def functions(self) -> int:
        """How many numbers are values of functions (sin, exp, …) of the point: expressions with many are too large."""
        nodes = (node for node in self._program("expressions").varying if node.target is not operator.getitem)
        return sum(node.meta["val"].numel() for node in nodes if _name(node) in FUNCTIONS)

    def _program(self, over: Literal["numbers", "expressions"]) -> "Program":
        if over not in self._programs:
            self._programs[over] = self._traced(over)
        return self._programs[over]

    def _traced(self, over: Literal["numbers", "expressions"]) -> "Program":
        point = 1 + torch.arange(self.dim).to(self._point) / self.dim
        ones = point.new_ones(len(self.parameters))
        metric = _taking(self._metric, [symbol.name for symbol in self.parameters])

        def at_point(x: Tensor, *values: Tensor) -> Tensor:
            field = (lambda y: metric(y, *values)) if values else metric
            return metric_field(field, point)(x)

        instead = {**REWRITTEN, **(_EXPANDED if over == "expressions" else {})}
        return Program(_jets.operations(at_point, _aten.KNOWN, instead, over == "numbers", point, *ones))

    def _arguments(self, values: Sequence[Any], E: Any) -> list[np.ndarray]:
        x = np.empty((1, self.dim), dtype=object)
        x[0, :] = values[: self.dim]
        arguments = [x]
        for value in values[self.dim :]:
            arguments.append(np.empty(1, dtype=object))
            arguments[-1][0] = value
        return arguments


def _expanded_det(A: Tensor) -> Tensor:
    """A polynomial, by expansion along the first row, where that is short."""
    n = A.shape[-1]
    if n <= 3 or n > 6:
        return REWRITTEN["det"](A)
    others = [[k for k in range(n) if k != j] for j in range(n)]
    return sum((-1) ** j * A[..., 0, j] * _expanded_det(A[..., 1:, :][..., others[j]]) for j in range(n))


_EXPANDED: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("det", "linalg_det"), _expanded_det),
    "logdet": lambda A: torch.log(_expanded_det(A)),
}
"""Shorter expressions, at points in general position."""


class Program:
    """A graph of ATen operations as a function of arrays of elements.

    Args:
        module: the graph, with its constant tensors.
    """

    def __init__(self, module: torch.fx.GraphModule):
        self.module = module
        fixed = [node for node in module.graph.nodes if node.op == "get_attr"]
        self._tensors = {node: getattr(module, node.target) for node in fixed}
        varying: set[torch.fx.Node] = set()
        for node in module.graph.nodes:
            if node.op == "placeholder" or any(argument in varying for argument in node.all_input_nodes):
                varying.add(node)
        self._fixed = [node for node in module.graph.nodes if node not in varying and node.op != "output"]
        self.varying = [node for node in module.graph.nodes if node in varying and node.op == "call_function"]
        integers = {node for node in varying if not _floating(node)}
        self._steady = varying - {node for node in varying if not integers.isdisjoint(node.all_input_nodes)}
        self._moves: dict[torch.fx.Node, Any] = {}  # of steady nodes: by shapes alone, at every point

    def constants(self, E: _aten.Elements) -> dict[torch.fx.Node, Any]:
        """What does not depend on the arguments."""
        values: dict[torch.fx.Node, Any] = {}
        for node in self._fixed:
            if node.op == "get_attr":
                try:
                    values[node] = _aten.elements(E, self._tensors[node])
                except Inexpressible as reason:
                    raise ValueError(f"the metric {reason}.") from None
            else:
                values[node] = self._performed(E, node, values)
        return values

    def __call__(self, E: _aten.Elements, constants: dict[torch.fx.Node, Any], arguments: list[np.ndarray]) -> Any:
        """The matrix, at one point."""
        values = dict(constants)
        placeholders = [node for node in self.module.graph.nodes if node.op == "placeholder"]
        values.update(zip(placeholders, arguments, strict=True))
        for node in self.varying:
            values[node] = self._performed(E, node, values)
        (output,) = (node for node in self.module.graph.nodes if node.op == "output")
        return values[output.args[0]][0]

    def _performed(self, E: _aten.Elements, node: torch.fx.Node, values: dict[torch.fx.Node, Any]) -> Any:
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), values.__getitem__)
        try:
            key = node if node in self._steady else None
            y, kept = _aten.perform(E, node.target, args, kwargs, self._moves, key), node.meta.get("val")
            elements = isinstance(kept, Tensor) and y.dtype == object
            return _aten.settled(E, y, kept.dtype) if elements else y
        except Inexpressible as reason:
            raise ValueError(f"the metric calls `{_name(node).lstrip('_')}`, which {reason}.") from None
        except (TypeError, IndexError, NotImplementedError) as error:
            form = f"`{_name(node).lstrip('_')}` in a way that has no exact form as {E.kind}"
            raise ValueError(f"the metric calls {form}.") from error


def _floating(node: torch.fx.Node) -> bool:
    """Whether what a node gives is certainly no index."""
    kept = node.meta.get("val")
    return isinstance(kept, Tensor) and kept.dtype in _aten.FLOATS


def _name(node: torch.fx.Node) -> str:
    return node.target._schema.name.split("::")[1]


# --------------------------------------------------------------------------------------------------- what users call


def to_symbolic(
    metric: Metric, dim_or_coordinates: int | Names, parameters: Names = (), *, dtype: torch.dtype | None = None
) -> SymbolicMetric:
    r"""A torch metric as a matrix of SymPy expressions, from its operations.

    The function is traced, not parsed: loops, fresh tensors filled in place, inner derivatives, `torch.linalg`, modules
    are all run once, over expressions. Expressions hold at points in general position: of `torch.where(x == 0, a, b)`
    they are `b`. Floats become the rational of their shortest decimal (0.6 is 3/5); one of more than twelve digits that
    is $r$, $r \pi$, $r / \pi$, $\sqrt{r}$, $\sqrt{r \pi}$ or $\sqrt{r / \pi}$ to its last digit, for a rational
    $r = p/q$ with p, q <= 1000, becomes that.

    Args:
        metric: callable, one point `(n,)` and parameters to a matrix `(n, n)`.
        dim_or_coordinates: names of the coordinates in one string, or symbols; or n, for x0, x1, ….
        parameters: names of further arguments of `metric`, or symbols: by keyword if `metric` has arguments of these
            names, else in order. They come as tensors without axes.
        dtype: of the point; by default that of the parameters of a module, else float64.

    Returns:
        The metric in the symbols given; names stand for plain symbols. |x| is written $\sqrt{x^2}$, and max and min by
        it, so that derivatives are functions.

    Raises:
        TypeError, ValueError: `dim_or_coordinates` are no such names.
        ValueError: `metric` calls what has no expression (named), or branches on the values of its point.

    Example:
        >>> def plane(x, c):
        ...     return torch.diag(torch.stack([x[1] ** 0, c * x[0] ** 2]))
        >>> to_symbolic(plane, "r phi", parameters="c").matrix
        Matrix([
        [1,      0],
        [0, c*r**2]])
    """
    coordinates = coordinates_of(dim_or_coordinates)
    return trace(metric, len(coordinates), dtype, parameters).symbolic(coordinates)


def high_precision(metric: Metric, x: Float[Tensor, "n"], digits: int = 40, order: int = 2) -> Textbook:
    """Curvature of a torch metric at one point to many digits, by power series over its operations.

    What the function computes with infinite precision: the point and the constants of the function (`0.1`, weights)
    are the binary numbers that they are. No derivative is torch's, but those that the function itself takes.

    Args:
        metric: callable, one point `(n,)` to a matrix `(n, n)`.
        x: one point, `(n,)`.
        digits: precision of the results.
        order: highest derivative of g that may be needed; 3 or 4 for derivatives of curvature.

    Returns:
        The methods of `riemann.symbolic.SymbolicMetric`, whose results are numbers; NaN at kinks of the metric.

    Raises:
        TypeError: `x` is not a floating-point tensor.
        ValueError: `x` is not a single finite point; `metric` calls what has no exact form (named), branches on the
            values of its point, or is not finite and real at `x`.

    Note:
        `riemann.bridge.trace(metric, n)` is made once for many points: `trace(metric, n).at(x)`.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> high_precision(half_plane, torch.tensor([0.3, 0.7])).scalar_curvature()
        -2.000000000000000000000000000000000000000
    """
    check_points(x)
    if x.ndim != 1:
        raise ValueError(f"`x` has shape {tuple(x.shape)}, expected one point (n,)")
    return trace(metric, len(x), x.dtype, device=x.device).at(x, digits, order)


# ------------------------------------------------------------------------------------------------------- what is given


def _like(metric: Any) -> Tensor:
    """A tensor of the dtype and device of a metric's points."""
    parameters = metric.parameters() if isinstance(metric, torch.nn.Module) else ()
    floating = (p for p in parameters if p.dtype in _aten.FLOATS)
    return next(floating, torch.empty(0, dtype=torch.float64))


def _taking(metric: Metric, names: list[str]) -> Callable[..., Any]:
    """The metric as a function of the point and of parameters in order."""
    if not names:
        return metric
    function = metric.forward if isinstance(metric, torch.nn.Module) else metric
    named = [p.name for p in inspect.signature(function).parameters.values()
             if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]  # fmt: skip
    if set(names) <= set(named):
        return lambda x, *values: metric(x, **dict(zip(names, values, strict=True)))
    return metric


def _by_roots(g: sp.Matrix) -> sp.Matrix:
    """|x|, sign and maximum by square roots: their derivatives in SymPy hold delta functions."""

    def greatest(*terms: sp.Expr) -> sp.Expr:
        return functools.reduce(lambda a, b: (a + b + sp.sqrt((a - b) ** 2)) / 2, terms)

    for function, written in (
        (sp.Max, greatest),
        (sp.Min, lambda *terms: -greatest(*(-t for t in terms))),
        (sp.sign, lambda x: x / sp.sqrt(x**2)),
        (sp.Abs, lambda x: sp.sqrt(x**2)),
    ):
        g = g.replace(function, written)
    return g


def _symmetric(g: sp.Matrix) -> tuple[sp.Matrix, list[Condition]]:
    """Entries that differ by rounding of constants are written the same way, and where they differ by no more."""
    g, conditions = g.as_mutable(), []
    point = {s: sp.Rational(3 + 2 * k, 7 + 3 * k) for k, s in enumerate(sorted(g.free_symbols, key=str))}
    for i in range(g.rows):
        for j in range(i):
            if g[i, j] != g[j, i]:
                a, b = (sp.N(e.xreplace(point), 30) for e in (g[i, j], g[j, i]))
                if abs(a - b) <= _ROUNDING * (abs(a) + abs(b)):
                    if sp.expand(g[i, j] - g[j, i]) != 0:
                        size = sp.Abs(g[i, j]) + sp.Abs(g[j, i])
                        conditions.append(Condition(2 * _ROUNDING * size - sp.Abs(g[i, j] - g[j, i]), "positive"))
                    g[i, j] = g[j, i]
    return g, conditions
