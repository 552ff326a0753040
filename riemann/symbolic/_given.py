"""What users give as an expression: SymPy's objects and numbers as they are, text by a parser that runs nothing.

SymPy's own `sympify` hands text to Python's `eval`, so no string may reach it.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import sympy as sp

_NAMES = (
    "sin cos tan cot sec csc asin acos atan atan2 sinh cosh tanh coth sech csch asinh acosh atanh exp log sqrt sign "
    "erf erfc gamma loggamma digamma polygamma besselj bessely besseli besselk Abs Max Min Rational"
).split()
FUNCTIONS: dict[str, Callable[..., Any]] = {name: getattr(sp, name) for name in _NAMES}
FUNCTIONS |= {"ln": sp.log, "abs": sp.Abs, "max": sp.Max, "min": sp.Min}
_TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d{1,4})?|\.\d+(?:[eE][+-]?\d{1,4})?)|([^\W\d]\w*)|(\*\*|[-+*/^(),]))"
)
_RAISED = frozenset("⁰¹²³⁴⁵⁶⁷⁸⁹")
_LONGEST = 10_000  # characters of a text, and decimal digits of a number in it
_DEEPEST = 100  # brackets, signs and powers inside each other


def expression(value: Any) -> Any:
    """The SymPy expression of a number, an expression or a text; a float is the rational of its shortest decimal.

    In a text a name is a symbol, but for pi; a name before a bracket is a function of the table above, or undetermined.

    Raises:
        TypeError: `value` is something else.
        ValueError: the text is not an expression.

    Example:
        >>> expression("2 M/r^2 * sin(theta)")
        Traceback (most recent call last):
        ...
        ValueError: '2 M/r^2 * sin(theta)' is not an expression: did not expect 'M'
        >>> expression("2*M/r^2 * sin(theta)"), expression(0.1)
        (2*M*sin(theta)/r**2, 1/10)
    """
    if isinstance(value, str):
        return _Text(value).whole()
    if isinstance(value, float):
        return sp.Rational(repr(float(value))) if math.isfinite(value) else sp.nan
    try:
        value = sp.sympify(value, strict=True)
    except sp.SympifyError:
        raise TypeError(f"{value!r} is a {type(value).__name__}, expected a number or a SymPy expression") from None
    if isinstance(value, sp.Basic | sp.MatrixBase) and value.has(sp.Float):
        return value.replace(lambda e: e.is_Float, lambda e: sp.Rational(repr(float(e))))
    return value


class _Text:
    """A text and how far it is read: sums of products of powers, by recursive descent."""

    def __init__(self, text: str):
        self.text, self.tokens, end, self.depth = text, [], 0, 0
        if len(text) > _LONGEST:
            raise ValueError(f"an expression of {len(text)} characters is too long; make it with SymPy")
        while text[end:].strip():
            match = _TOKEN.match(text, end)
            if match is None:
                raise self.error(f"did not expect {text[end:].strip()[:12]!r}")
            if match[2] and not _RAISED.isdisjoint(match[2]):  # to Python they are letters
                raise self.error("write powers as `x**2`")
            self.tokens.append(match)
            end = match.end()

    def error(self, what: str) -> ValueError:
        return ValueError(f"{self.text!r} is not an expression: {what}")

    def next(self, *wanted: str) -> str | None:
        """The next token, taken, if it is one of these."""
        if self.tokens and self.tokens[0][3] in wanted:
            return self.tokens.pop(0)[3]
        return None

    def whole(self) -> sp.Expr:
        value = self.sum()
        if self.tokens:
            raise self.error(f"did not expect {self.tokens[0].group().strip()!r}")
        if value.has(sp.zoo, sp.nan):
            raise self.error("it divides by 0")
        return value

    def sum(self) -> sp.Expr:
        value = self.product()
        while sign := self.next("+", "-"):
            value = value + self.product() if sign == "+" else value - self.product()
        return value

    def product(self) -> sp.Expr:
        value = self.factor()
        while sign := self.next("*", "/"):
            value = value * self.factor() if sign == "*" else value / self.factor()
        return value

    def factor(self) -> sp.Expr:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ValueError(f"an expression with brackets {_DEEPEST} deep is too deep; make it with SymPy")
        if sign := self.next("+", "-"):
            value = self.factor() if sign == "+" else -self.factor()
        else:
            value = self.atom()
            if self.next("**", "^"):
                value = self.power(value, self.factor())
        self.depth -= 1
        return value

    def power(self, base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
        if base.is_Rational and exponent.is_Rational:
            digits = math.log10(max(abs(base.p), base.q)) if abs(base) != 1 else 0
            if digits * abs(exponent) >= _LONGEST:
                raise self.error(f"a power of {_LONGEST} digits or more")
        return base**exponent

    def atom(self) -> sp.Expr:
        if self.next("("):
            return self.closed(self.sum())
        if not self.tokens or self.tokens[0][3]:
            raise self.error(f"expected a number or a name {'at its end' if not self.tokens else 'before the end'}")
        _, number, name, _ = (self.tokens[0].group(), *self.tokens.pop(0).groups())
        if number:
            return sp.Rational(number)
        if not self.next("("):
            return sp.pi if name == "pi" else sp.Symbol(name)
        arguments = [self.sum()]
        while self.next(","):
            arguments.append(self.sum())
        return self.closed(self.call(name, arguments))

    def call(self, name: str, arguments: list[sp.Expr]) -> sp.Expr:
        if any(a.is_Rational and abs(a) > _LONGEST for a in arguments) and "gamma" in name:
            raise self.error(f"`{name}` of a number above {_LONGEST}")
        function = FUNCTIONS.get(name) or sp.Function(name)
        try:
            return function(*arguments)
        except (TypeError, ValueError):
            raise self.error(f"`{name}` does not take {len(arguments)} such arguments") from None

    def closed(self, value: sp.Expr) -> sp.Expr:
        if not self.next(")"):
            raise self.error("a bracket is not closed")
        return value


def matrix(given: Any) -> sp.Matrix:
    """The matrix of the entries given: rows, a SymPy matrix, an array."""
    if isinstance(given, sp.MatrixExpr):
        given = given.as_explicit()
    rows = given.tolist() if hasattr(given, "tolist") else given
    if isinstance(rows, str) or not hasattr(rows, "__iter__"):
        raise TypeError(f"`matrix` is a {type(given).__name__}, expected rows of expressions")
    return sp.Matrix([[expression(e) for e in (row if _is_row(row) else [row])] for row in rows])


def _is_row(row: Any) -> bool:
    return hasattr(row, "__iter__") and not isinstance(row, str | sp.MatrixBase)
