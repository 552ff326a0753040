"""A metric as a SymPy matrix: what is given, checked; everything else is the textbook over an exact arithmetic."""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from riemann._messages.frames import warn
from riemann.symbolic import _equations, _given, _latex
from riemann.symbolic._field import Element, Inexpressible
from riemann.symbolic._numbers import Numbers
from riemann.symbolic._reading import Reader
from riemann.symbolic._textbook import Arithmetic, Textbook
from riemann.symbolic._trees import Trees
from riemann.symbolic._undetermined import stand_ins
from riemann.symbolic._witness import Points, Witnesses
from riemann.symbolic._writing import Writer

# Roots and hyperbolic functions in the denominator multiply terms; from here on curvature would take minutes.
LARGEST_CONJUGATE = 400


class SymbolicMetric(Textbook):
    r"""A metric tensor in coordinates, exactly.

    Conventions are those of the numeric side: `christoffel()[k, i, j]` is $\Gamma^k_{ij}$;
    $R^a{}_{bcd} = \partial_c \Gamma^a_{db} - \partial_d \Gamma^a_{cb} + \Gamma^a_{ce} \Gamma^e_{db}
    - \Gamma^a_{de} \Gamma^e_{cb}$; $\mathrm{Ric}_{bd} = R^a{}_{bad}$; index positions are strings over `u` and `l`.

    Results are elements of a differential field: a zero is `0`, and each result is confirmed at three points to 50
    digits (a disagreement raises `ArithmeticError`). Symbols are real; what stands under a root or in a logarithm is
    positive. What the field cannot express is computed in expression trees, with a warning that names it.

    Args:
        matrix: symmetric n x n matrix of expressions; floats become the rational of their shortest decimal. A string
            such as `"r^2*sin(theta)^2"` is parsed, never run: its names are symbols.
        coordinates: n symbols, or their names in one string, in the order of the rows.
        parameters: the other symbols of the matrix, or their names; whatever else it holds by default.

    Raises:
        ValueError: a matrix that is not square, not symmetric or singular; a name used twice; a symbol of the matrix
            that is neither coordinate nor parameter (where parameters are given).

    Example:
        >>> import sympy as sp
        >>> theta, phi = sp.symbols("theta phi")
        >>> SymbolicMetric(sp.diag(1, sp.sin(theta) ** 2), (theta, phi)).scalar_curvature()
        2
    """

    def __init__(self, matrix: Any, coordinates: str | Iterable[Any], parameters: str | Iterable[Any] = ()):
        self.matrix: sp.ImmutableMatrix = _checked_matrix(matrix)
        self.coordinates: tuple[sp.Symbol, ...] = _symbols(coordinates, self.matrix)
        self.parameters: tuple[sp.Symbol, ...] = _symbols(parameters, self.matrix)
        _check_names(self.matrix, self.coordinates, self.parameters)
        _check_not_singular(self.matrix)
        self._cache = {}

    @property
    def dim(self) -> int:
        """The dimension n."""
        return self.matrix.rows

    @functools.cached_property
    def _arithmetic(self) -> Arithmetic:
        return self._field_or_trees[0]

    @functools.cached_property
    def _g(self) -> list[list[Any]]:
        return self._field_or_trees[1]

    @functools.cached_property
    def _field_or_trees(self) -> tuple[Arithmetic, list[list[Any]]]:
        try:
            return self._field
        except Inexpressible as what:
            warn(
                f"{what} has no place in the differential field: results are expression trees, not simplified, and a "
                "zero may not show as 0; `at(point)` gives their values to any number of digits"
            )
        return Trees(self.coordinates), self.matrix.tolist()

    @functools.cached_property
    def _field(self) -> tuple[Arithmetic, list[list[Any]]]:
        return self._in_a_field(order=2)

    def _in_a_field(self, order: int) -> tuple[Arithmetic, list[list[Any]]]:
        """The field's arithmetic with its witnesses, for derivatives of g up to an order, and the metric in it."""
        points = Points(self.matrix, self.coordinates)
        reader = Reader(list(self.matrix), self.coordinates, points.evaluate)
        g = [[reader.element(entry) for entry in row] for row in self.matrix.tolist()]
        det = reader.field.determinant(g)
        conjugate = reader.field.reciprocal(Element(reader.field, det.top)).top if det else {}
        if len(conjugate) > LARGEST_CONJUGATE:
            raise Inexpressible(f"an inverse determinant of {len(conjugate)} terms")
        reader.field.largest = math.inf
        arithmetic = Witnesses(reader.field, Writer(reader.field, reader.circles), points.numbers(order))
        return arithmetic, arithmetic.metric(g)

    def canonical(self) -> "SymbolicMetric":
        """Itself, for those who take nothing but canonical results.

        Raises:
            ValueError: the differential field has no element for something in the metric; the message names it.
        """
        try:
            self._field  # noqa: B018, computed and kept
        except Inexpressible as what:
            raise ValueError(f"{what} has no place in the differential field") from what
        return self

    def _to_order(self, order: int) -> Textbook:
        """Witnesses that know as many derivatives."""
        if isinstance(self._arithmetic, Trees):
            return self
        return self._once("to order", (order,), lambda: Textbook(*self._in_a_field(order)))

    def line_element(self) -> sp.Expr:
        r"""Line element $ds^2 = g_{ij}\, dx^i dx^j$, in the differentials `dx` of the coordinates.

        Example:
            >>> import sympy as sp
            >>> theta, phi = sp.symbols("theta phi")
            >>> SymbolicMetric(sp.diag(1, sp.sin(theta) ** 2), (theta, phi)).line_element()
            dphi**2*sin(theta)**2 + dtheta**2
        """
        return sp.Add(*(c * product for c, product in _latex.terms(self.matrix, self.coordinates)))

    def latex(self, quantity: str | None = None, *component: Any, indices: str | None = None) -> str:
        r"""LaTeX of one quantity or of some of its components; without one, of what a reader wants to see first.

        Args:
            quantity: `"line_element"`, or a method: `"christoffel"`, `"ricci_tensor"`, `"kretschmann_scalar"`, ….
            component: first indices, as names of coordinates or places: `latex("christoffel", "t")` has all
                $\Gamma^t_{ij}$, `latex("christoffel", "t", "t", "r")` one.
            indices: positions, `u` or `l`; all lower by default, of Christoffel symbols the first is upper.

        Returns:
            Components that are not 0 and do not follow by symmetry, under one another; one alone is an equation.
            Without a quantity: the line element and $\Gamma^k_{ij}$, $R_{abcd}$, $R_{ab}$ (Ricci) and $R$ (scalar).

        Raises:
            ValueError: no such quantity, coordinate or position.

        Notes:
            Without a quantity, where results are expression trees, it is the line element alone.

        Example:
            >>> SymbolicMetric([[1, 0], [0, "r^2"]], "r phi").latex("christoffel", "phi")
            '\\Gamma^{\\phi}_{r \\phi} = \\frac{1}{r}'
        """
        if quantity is not None:
            return _latex.quantity(self, quantity, component, indices)
        lines = [_latex.line_element(self.matrix, self.coordinates)]
        if not isinstance(self._arithmetic, Trees):
            lines += _latex.summary(self)
        return _latex.aligned(lines)

    def geodesic_equations(self, parameter: str | sp.Symbol = "s") -> tuple[sp.Eq, ...]:
        r"""The equations of geodesics, $\ddot x^k + \Gamma^k_{ij}\, \dot x^i \dot x^j = 0$, n of them.

        Args:
            parameter: name of the affine parameter, of which the coordinates are functions.

        Raises:
            ValueError: the metric has that name already.

        Example:
            >>> SymbolicMetric([[1, 0], [0, "r^2"]], "r phi").geodesic_equations()[0].lhs
            -r(s)*Derivative(phi(s), s)**2 + Derivative(r(s), (s, 2))
        """
        return _equations.geodesic(self, parameter)

    def killing_equations(self, field: Sequence[Any] | None = None) -> Any:
        r"""Killing's equations, $X^k \partial_k g_{ij} + g_{kj}\, \partial_i X^k + g_{ik}\, \partial_j X^k = 0$.

        Args:
            field: components $X^k$, expressions or strings in the coordinates.

        Returns:
            n (n + 1) / 2 equations in undetermined functions $X^k$ of the coordinates; of a given field, the n x n
            matrix of their left sides, simplified: 0 for a Killing field.

        Raises:
            ValueError: `field` has not n components.

        Example:
            >>> plane = SymbolicMetric([[1, 0], [0, "r^2"]], "r phi")
            >>> plane.killing_equations((0, 1)).is_zero_matrix
            True
            >>> plane.killing_equations()[0].lhs
            2*Derivative(X^r(r, phi), r)
        """
        return _equations.killing(self, field)

    def subs(self, *values: Any, **named: Any) -> "SymbolicMetric":
        """The metric with other values of parameters, or with expressions for undetermined functions.

        Args:
            values: a mapping from symbols, functions or their texts, `"M"` or `"f(r)"`, or one of them and what takes
                its place.
            named: values by name.

        Raises:
            ValueError: a coordinate, or a name that the metric does not have.

        Example:
            >>> SymbolicMetric([["a^2", 0], [0, "a^2*sin(u)^2"]], "u v").subs(a=2).scalar_curvature()
            1/2
        """
        given = dict(values[0]) if len(values) == 1 else {values[0]: values[1]} if len(values) == 2 else {}
        if len(values) > 2 or (values and not given):
            raise ValueError("`subs` takes a mapping, or a symbol and its value, or values by name")
        own = {s.name: s for s in (*self.matrix.free_symbols, *self.parameters, *self.coordinates)}

        def meant(value: Any) -> Any:
            """What a text says, in the symbols of the metric, whatever is assumed of them."""
            found = _given.expression(value)
            return (
                found.xreplace({s: own.get(s.name, s) for s in found.free_symbols}) if isinstance(value, str) else found
            )

        table = {}
        for name, value in {**given, **named}.items():
            old = meant(name)
            if old in self.coordinates:
                raise ValueError(f"`{old}` is a coordinate: other coordinates need another matrix, by the chain rule")
            if not (old in self.parameters or self.matrix.has(old)):
                open_ = sorted(map(str, {*own.values(), *self.matrix.atoms(AppliedUndef)} - {*self.coordinates}))
                raise ValueError(f"the metric has no `{old}`, to be replaced; it has {', '.join(open_) or 'none'}")
            table[old] = meant(value)
        matrix = self.matrix.subs(table, simultaneous=True).doit()
        kept = [s for s in self.parameters if s not in table]
        new = sorted(matrix.free_symbols - {*kept, *self.coordinates}, key=str)
        return SymbolicMetric(matrix, self.coordinates, (*kept, *new))

    def __repr__(self) -> str:
        text = str(self.line_element())
        return f"<SymbolicMetric in {self.coordinates}: {text if len(text) <= 200 else text[:200] + ' …'}>"

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {self.latex()}$"

    def at(self, point: Mapping[Any, Any] | Sequence[Any], digits: int = 50, order: int = 3) -> Textbook:
        """The metric at a point: the same methods, whose results are numbers to about `digits` digits.

        Args:
            point: values of coordinates and parameters by symbol or name, or of the coordinates in order. Rationals and
                decimal strings are exact; floats are the decimal that Python prints.
            digits: working precision in decimal digits.
            order: highest derivative of g that may be needed; 3 for derivatives of curvature, else 2 is enough.

        Raises:
            ValueError: a symbol of the metric without a value.

        Example:
            >>> import sympy as sp
            >>> theta, phi = sp.symbols("theta phi")
            >>> sphere = SymbolicMetric(sp.diag(1, sp.sin(theta) ** 2), "theta phi")
            >>> sphere.at((1, 0), digits=30).scalar_curvature()
            2.00000000000000000000000000000
        """
        values = self._values(point)
        numbers = Numbers(self.matrix, self.coordinates, values, digits, order)
        return Textbook(numbers, numbers.metric)

    def _values(self, point: Mapping[Any, Any] | Sequence[Any]) -> dict[Any, sp.Expr]:
        if not isinstance(point, Mapping):
            point = dict(zip(self.coordinates, point, strict=True))
        symbols = (*self.matrix.free_symbols, *self.coordinates, *self.parameters)
        by_name = {symbol.name: symbol for symbol in symbols}
        if unknown := sorted({str(name) for name in point} - set(by_name)):
            raise ValueError(f"`point` gives a value for `{unknown[0]}`, which the metric does not have")
        values = {by_name[str(name)]: _given.expression(value) for name, value in point.items()}
        if symbolic := sorted(str(name) for name, value in values.items() if not value.is_number):
            raise ValueError(f"`point` gives {values[by_name[symbolic[0]]]} for `{symbolic[0]}`, expected a number")
        if missing := sorted(map(str, self.matrix.free_symbols - set(values))):
            raise ValueError(f"`point` gives no value for {missing}")
        return values


# ------------------------------------------------------------------------------------------------------- what is given


def _checked_matrix(matrix: Any) -> sp.ImmutableMatrix:
    entries = _given.matrix(matrix)
    if entries.rows != entries.cols or entries.rows == 0:
        raise ValueError(f"`matrix` is {entries.rows} x {entries.cols}, expected a square matrix")
    n = entries.rows
    for i, j in itertools.combinations(range(n), 2):
        upper, lower = entries[i, j], entries[j, i]
        if upper != lower and any(abs(a - b) > 1e-30 * abs(a) for a, b in _sampled([upper, lower])):
            raise ValueError(f"`matrix` is not symmetric: entry ({i}, {j}) is {upper} and entry ({j}, {i}) is {lower}")
    return sp.ImmutableMatrix(n, n, lambda i, j: entries[min(i, j), max(i, j)])


def _sampled(expressions: Sequence[sp.Expr], trials: int = 3, digits: int = 40) -> Iterator[list[sp.Expr]]:
    """The values of expressions at rational points, to so many digits, where they have values.

    Undetermined functions have values of their own. Numbers may be complex: an identity holds there too.
    """
    unknown = stand_ins(expressions)
    plain = [e.xreplace(unknown) for e in expressions]
    symbols = sorted(set().union(*(e.free_symbols for e in plain)), key=str)
    for trial in range(trials):
        point = {s: sp.Rational(7 + 3 * k + 5 * trial, 11 + 2 * k + trial) for k, s in enumerate(symbols)}
        try:
            values = [sp.N(e.xreplace(point), digits, maxn=2 * digits) for e in plain]
        except ValueError:  # outside the domain of a function
            continue
        if all(value.is_number and value.is_finite for value in values):
            yield values


def _symbols(given: str | Iterable[Any], matrix: sp.ImmutableMatrix) -> tuple[sp.Symbol, ...]:
    """Symbols by name or as they are; a name means the symbol of that name in the matrix, whatever its assumptions."""
    inside = {symbol.name: symbol for symbol in matrix.free_symbols}
    names = given.replace(",", " ").split() if isinstance(given, str) else list(given)
    symbols = []
    for name in names:
        if isinstance(name, sp.Symbol):
            if name.name in inside and inside[name.name] != name:
                raise ValueError(
                    f"`matrix` holds a symbol `{name}` with other assumptions than the one given, so they differ for "
                    "SymPy; make the symbol once, or give its name as a string"
                )
            symbols.append(name)
        elif isinstance(name, str):
            symbols.append(inside.get(name, sp.Symbol(name)))
        else:
            raise TypeError(f"`{name}` is a {type(name).__name__}, expected a SymPy symbol or a name")
    return tuple(symbols)


def _check_names(
    matrix: sp.ImmutableMatrix, coordinates: tuple[sp.Symbol, ...], parameters: tuple[sp.Symbol, ...]
) -> None:
    n = matrix.rows
    if len(coordinates) != n:
        raise ValueError(f"`matrix` is {n} x {n} and `coordinates` names {len(coordinates)}: {coordinates}")
    names = [symbol.name for symbol in (*coordinates, *parameters)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"`{name}` is named twice among coordinates and parameters; a name stands for one thing")
    strangers = matrix.free_symbols - {*coordinates, *parameters}
    if parameters and strangers:
        raise ValueError(
            f"`matrix` holds {sorted(map(str, strangers))}, neither among the coordinates {coordinates} nor among the "
            f"parameters {parameters}"
        )


def _check_not_singular(matrix: sp.ImmutableMatrix) -> None:
    """Raises if the determinant is 0 at several points, beside the product of the largest entries of the rows."""
    n, ratios = matrix.rows, []
    for values in _sampled(list(matrix), digits=400):  # of a star in kilograms, the entries differ by 60 digits
        g = sp.Matrix(n, n, [0 if value.is_Float and value._prec < 100 else value for value in values])  # no digit left
        sizes = [max(map(abs, g.row(i))) for i in range(n)]
        ratios.append(abs(g.det(method="berkowitz")) / math.prod(sizes) if all(sizes) else 0)
    if ratios and max(ratios) < sp.Float("1e-250"):
        raise ValueError("`matrix` is singular: its determinant is 0, so it is not a metric")
