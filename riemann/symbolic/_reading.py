r"""From expressions to elements: generators are chosen so that they are independent.

Arguments of sin, cos, exp, cosh and symbolic powers are reduced to a basis over the rationals, where Ax's theorem
makes the functions of the basis algebraically independent; logarithms likewise, over the factors of their arguments;
roots are decided in `_roots`. Coordinates and parameters are real; what stands under a root or in a logarithm is
positive.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from riemann.symbolic._field import Element, Field, Inexpressible
from riemann.symbolic._lattice import Basis
from riemann.symbolic._polynomials import BITS, exponents
from riemann.symbolic._roots import Roots
from riemann.symbolic._undetermined import Unknown, parsed, written

TRIGONOMETRIC = (sp.sin, sp.cos)
HYPERBOLIC = (sp.sinh, sp.cosh)
# Functions whose derivatives are elements, so that each is one generator.
SPECIAL = (
    sp.asin,
    sp.atan,
    sp.atan2,
    sp.asinh,
    sp.acosh,
    sp.atanh,
    sp.erf,
    sp.erfi,
    sp.Si,
    sp.Ci,
    sp.Shi,
    sp.Chi,
    sp.Ei,
)
SPECIAL += (sp.LambertW, sp.loggamma, sp.polygamma)

# What is larger from the start (networks, say) would take minutes or memory.
LARGEST = 400_000

_SAME: dict[Any, Callable[..., Any]] = {
    sp.tan: lambda x: sp.sin(x) / sp.cos(x),
    sp.cot: lambda x: sp.cos(x) / sp.sin(x),
    sp.sec: lambda x: 1 / sp.cos(x),
    sp.csc: lambda x: 1 / sp.sin(x),
    sp.sinc: lambda x: sp.sin(x) / x,
    sp.tanh: lambda x: sp.sinh(x) / sp.cosh(x),
    sp.coth: lambda x: sp.cosh(x) / sp.sinh(x),
    sp.sech: lambda x: 1 / sp.cosh(x),
    sp.csch: lambda x: 1 / sp.sinh(x),
    sp.acos: lambda x: sp.pi / 2 - sp.asin(x),
    sp.asec: lambda x: sp.pi / 2 - sp.asin(1 / x),
    sp.acsc: lambda x: sp.asin(1 / x),
    sp.acot: lambda x: sp.atan(1 / x),
    sp.acoth: lambda x: sp.atanh(1 / x),
    sp.asech: lambda x: sp.acosh(1 / x),
    sp.acsch: lambda x: sp.asinh(1 / x),
    sp.erfc: lambda x: 1 - sp.erf(x),
    sp.conjugate: lambda x: x,
    sp.re: lambda x: x,
}


def _same(e: sp.Expr) -> sp.Expr | None:
    """The expression by other functions, if the field prefers those."""
    if isinstance(e, TRIGONOMETRIC) and (turn := sp.expand(e.args[0]).coeff(sp.pi)) and turn.is_Rational:
        rest = sp.expand(e.args[0] - turn * sp.pi)
        sin, cos = sp.sin(turn * sp.pi), sp.cos(turn * sp.pi)
        if rest and not sin.has(sp.sin, sp.cos) and not cos.has(sp.sin, sp.cos):
            both = (sp.sin(rest), sp.cos(rest))
            return both[0] * cos + both[1] * sin if isinstance(e, sp.sin) else both[1] * cos - both[0] * sin
    rule = _SAME.get(e.func)
    return rule(*e.args) if rule else None


def _is_power(e: sp.Expr) -> bool:
    return isinstance(e, sp.exp) or (e.is_Pow and not e.exp.is_Rational)


class Reader:
    """A field for some expressions, and their elements.

    Args:
        expressions: all that will be read.
        coordinates: what derivatives are by.
        evaluate: the values of an expression at the witness points.
    """

    def __init__(
        self,
        expressions: Iterable[sp.Expr],
        coordinates: Sequence[sp.Symbol],
        evaluate: Callable[[sp.Expr], tuple[Any, ...]],
    ):
        self.coordinates = tuple(coordinates)
        self.field = Field(evaluate)
        self.field.largest = LARGEST
        self.circles: list[tuple[int, int, int]] = []  # generators C, S and the sign in S^2 = +-(C^2 - 1)
        self._known: dict[sp.Expr, Element] = {}
        self._unknowns: dict[Any, Element] = {}
        self._angles, self._rotations = Basis(), []  # angles; their cos and sin
        self._powers, self._exponentials = Basis(), []  # logarithms; functions n -> exp(n logarithm)
        self._logs, self._logarithms = Basis(), []  # arguments of logarithms as products; elements

        expressions = list(map(sp.sympify, expressions))
        heights = self._scan(expressions)
        moving = self._moving_coordinates(expressions)
        symbols = sorted({e for e in heights if e.is_Symbol} - set(moving), key=str)
        roots = [(e.base, int(e.exp.q)) for e in heights if e.is_Pow and e.exp.is_Rational]
        for s in symbols:
            self._adjoin_symbol(s, math.lcm(*(q for base, q in roots if base == s)))
        for s, e in moving.items():
            self._adjoin_moving(s, e)
        odd = [q // (q & -q) for base, q in roots if not base.is_Symbol]
        self.roots = Roots(self.field, math.lcm(*odd))
        for height in sorted(set(heights.values())):
            level = sorted((e for e in heights if heights[e] == height), key=lambda e: (e.count_ops(), str(e)))
            angles = (e.args[0] for e in level if isinstance(e, TRIGONOMETRIC) and _same(e) is None)
            self._read_angles(list(dict.fromkeys(angles)))
            self._read_powers([e for e in level if _is_power(e) or isinstance(e, HYPERBOLIC)])
            self._read_logs([e for e in level if isinstance(e, sp.log)])

    # ----------------------------------------------------------------------------------------------------- scanning

    def _scan(self, expressions: Iterable[sp.Expr]) -> dict[sp.Expr, int]:
        """All subexpressions and those of derivatives, with how deeply functions are nested in each."""
        heights: dict[sp.Expr, int] = {}

        def height(e: sp.Basic) -> int:
            if e not in heights:
                if (same := _same(e)) is not None:
                    heights[e] = height(same)
                    return heights[e]
                unknown = parsed(e)
                children = unknown.arguments if unknown else e.args
                if e.is_Pow and not e.exp.is_Rational:
                    children = (*children, sp.log(e.base))
                inner = max(map(height, children), default=0)
                heights[e] = (
                    inner if e.is_Add or e.is_Mul or e.is_Atom or (e.is_Pow and e.exp.is_Integer) else inner + 1
                )
                if isinstance(e, SPECIAL) and not isinstance(e, sp.polygamma):
                    for j in range(len(e.args)):
                        height(e.fdiff(j + 1))
            return heights[e]

        for e in expressions:
            height(e)
        return heights

    def _adjoin_symbol(self, symbol: sp.Symbol, q: int) -> None:
        """The symbol, or its root of order q if such roots are met."""
        field, k0 = self.field, self.coordinates.index(symbol) if symbol in self.coordinates else None

        def derivative(k: int) -> Element:
            return field.constant(sp.Rational(1, q)) * root ** (1 - q) if k == k0 else field.constant(0)

        root = field.adjoin(symbol ** sp.Rational(1, q), derivative, positive=q > 1 or bool(symbol.is_positive))
        self._known[symbol] = root**q
        self._known.update({symbol ** sp.Rational(p, q): root**p for p in (1, -1)})

    def _moving_coordinates(self, expressions: list[sp.Expr]) -> dict[sp.Symbol, sp.Expr]:
        """Coordinates x that occur in sums such as x - v t alone: with the sum for a generator, v t need not occur."""
        found: dict[sp.Symbol, sp.Expr] = {}
        sums = sorted(set().union(*(e.atoms(sp.Add) for e in expressions)), key=lambda e: (e.count_ops(), str(e)))
        for e in sums:
            e = e.xreplace({old: s for s, old in found.items()})
            for s in (s for s in self.coordinates if s in e.args and s not in found):
                rest = e - s
                if rest.has(s) or not rest.free_symbols & set(self.coordinates):
                    continue
                if not all(isinstance(f, AppliedUndef) for f in rest.atoms(sp.Function)):
                    continue
                replaced = [other.xreplace({e: sp.Dummy()}) for other in expressions]
                if not any(s in other.free_symbols for other in replaced):
                    found[s], expressions = e, replaced
                    break
        return found

    def _adjoin_moving(self, s: sp.Symbol, e: sp.Expr) -> None:
        """The sum e for the coordinate s in it."""
        one = [self.field.constant(int(c == s)) for c in self.coordinates]
        rest = functools.cache(lambda: self.element(e - s))
        moving = self.field.adjoin(e, lambda k: one[k] + self.field.derivative(rest(), k))
        self._known[e] = moving

    # ------------------------------------------------------------------------------------------------------ reading

    def element(self, e: Any) -> Element:
        """The element that an expression stands for.

        Raises:
            Inexpressible: there is none.
        """
        if e not in self._known:
            self._known[e] = self._element(e)
        return self._known[e]

    def _element(self, e: sp.Expr) -> Element:
        if e.is_Rational:
            return self.field.constant(e)
        if e.is_Add:
            return self.field.sum(map(self.element, e.args))
        if e.is_Mul:
            return self.field.sum((functools.reduce(Element.__mul__, map(self.element, e.args)),))
        if (same := _same(e)) is not None:
            return self.element(same)
        if e.is_Pow and e.exp.is_Rational:
            return self._rational_power(e.base, e.exp)
        if e.is_Pow and e.exp.as_coeff_Add()[0] and not e.exp.is_number:
            rational, rest = e.exp.as_coeff_Add()
            return self.element(e.base**rational) * self.element(e.base**rest)
        if isinstance(e, sp.Abs):
            return self.roots.absolute(self.element(e.args[0]))
        if isinstance(e, sp.sign):
            return self.roots.sign(self.element(e.args[0]))
        if isinstance(e, SPECIAL):
            return self.field.adjoin(e, lambda k: self._chain(e, k))
        if (unknown := parsed(e)) is not None:
            return self._unknown(unknown)
        if e.is_NumberSymbol:
            return self.field.adjoin(e, lambda k: self.field.constant(0), positive=True)
        raise Inexpressible(str(e) if e.is_Atom else f"{e.func.__name__}(...)")

    def _rational_power(self, base: sp.Expr, exponent: sp.Rational) -> Element:
        if base.is_Symbol and exponent.q > 1:
            i = exponents(next(iter(self._known[base].top)))[0][0]
            q = 1 / self.field.generators[i].expression.as_base_exp()[1]
            return Element(self.field, {1 << BITS * i: 1}) ** int(exponent * q)
        element = self.element(base)
        if exponent < 0:
            self.field.split(element.top)
        return self.roots.power(element, exponent, base)

    def _chain(self, e: sp.Expr, k: int) -> Element:
        """The derivative of a function: chain rule."""
        inner = [self.field.derivative(self.element(a), k) for a in e.args]
        return self.field.sum(self.element(e.fdiff(j)) * d for j, d in enumerate(inner, 1) if d)

    def _unknown(self, unknown: Unknown) -> Element:
        """A derivative of an undetermined function: a generator of its own, made when it is met."""
        arguments = [self.field.sum((self.element(a),)) for a in unknown.arguments]
        place = tuple((frozenset(a.top.items()), a.below, a.scale) for a in arguments)
        key = unknown.function, place, unknown.orders
        if key not in self._unknowns:

            def derivative(k: int) -> Element:
                terms = []
                for j, a in enumerate(arguments):
                    if d := self.field.derivative(a, k):
                        orders = tuple(m + (i == j) for i, m in enumerate(unknown.orders))
                        terms.append(self._unknown(unknown._replace(orders=orders)) * d)
                return self.field.sum(terms)

            self._unknowns[key] = self.field.adjoin(written(unknown), derivative)
        return self._unknowns[key]

    # ---------------------------------------------------------------------------------- sin, cos, exp, powers, log

    def _read_angles(self, given: list[sp.Expr]) -> None:
        """sin and cos of the arguments given, by those of a basis."""
        field = self.field
        new, coordinates = self._angles.include([{None: self.element(a)} for a in given], integral=True)
        self._rotations += [self._circle(given[index] / divisor) for index, divisor in new]
        for a, coordinate in zip(given, coordinates, strict=True):
            cos, sin = field.constant(1), field.constant(0)
            for i, times in coordinate.items():
                if times.denominator != 1:
                    raise Inexpressible(f"sin or cos of {a} beside functions of its multiples")
                c, s = self._rotations[i]
                s = s if times > 0 else -s
                for _ in range(abs(int(times))):
                    cos, sin = cos * c - sin * s, sin * c + cos * s
            self._known[sp.cos(a)], self._known[sp.sin(a)] = cos, sin

    def _circle(self, angle: sp.Expr, hyperbolic: bool = False) -> tuple[Element, Element]:
        """cos and sin (cosh and sinh) of an angle: new generators."""
        field, theta, sign = self.field, self.element(angle), 1 if hyperbolic else -1
        i = len(field.generators)
        cos_, sin_ = HYPERBOLIC[::-1] if hyperbolic else TRIGONOMETRIC[::-1]
        cos = field.adjoin(cos_(angle), lambda k: sin * field.derivative(theta, k) * sign, positive=hyperbolic)
        relation = {0: -sign, 2 << BITS * i: sign}
        sin = field.adjoin(sin_(angle), lambda k: cos * field.derivative(theta, k), degree=2, relation=relation)
        self.roots.tower.append(i + 1)
        self.circles.append((i, i + 1, sign))
        return cos, sin

    def _logarithm(self, e: sp.Expr) -> Element:
        """The logarithm of exp(...) or of a power; the argument of cosh and sinh."""
        return self.element(e.exp) * self.element(sp.log(e.base)) if e.is_Pow else self.element(e.args[0])

    def _read_powers(self, atoms: list[sp.Expr]) -> None:
        """exp, cosh, sinh and symbolic powers, by monomials in those of a basis of their logarithms."""
        new, coordinates = self._powers.include([{None: self._logarithm(e)} for e in atoms], integral=True)
        first = len(self._exponentials)
        hyperbolic = {i for e, c in zip(atoms, coordinates, strict=True) if isinstance(e, HYPERBOLIC) for i in c}
        for place, (index, divisor) in enumerate(new, first):
            self._exponentials.append(self._exponential(atoms[index], divisor, place in hyperbolic))
        for e, coordinate in zip(atoms, coordinates, strict=True):
            value = self._exp(coordinate)
            if isinstance(e, HYPERBOLIC):
                inverse = self._exp({i: -times for i, times in coordinate.items()})
                half = self.field.constant(sp.Rational(1, 2))
                value = (value + inverse if isinstance(e, sp.cosh) else value - inverse) * half
            self._known[e] = value

    def _exp(self, coordinate: dict[int, Fraction]) -> Element:
        powers = (self._exponentials[i](times) for i, times in coordinate.items())
        return self.field.sum((functools.reduce(Element.__mul__, powers, self.field.constant(1)),))

    def _exponential(self, atom: sp.Expr, divisor: int, hyperbolic: bool) -> Callable[[Fraction], Element]:
        """The powers of exp(log(atom) / divisor), a new generator."""
        field = self.field
        if hyperbolic and not atom.is_Pow:
            cosh, sinh = self._circle(atom.args[0] / divisor, hyperbolic=True)
            return lambda n: (cosh + sinh if n > 0 else cosh - sinh) ** abs(_integer(n, atom))
        logarithm = field.sum((self._logarithm(atom) * field.constant(sp.Rational(1, divisor)),))
        expression = atom.base ** (atom.exp / divisor) if atom.is_Pow else sp.exp(atom.args[0] / divisor)
        power = field.adjoin(expression, lambda k: power * field.derivative(logarithm, k), positive=True)
        self._logs.include([{next(iter(power.top)): field.constant(1)}])
        self._logarithms.append(logarithm)
        return lambda n: power ** _integer(n, atom)

    def _multiplicative(self, a: Element) -> dict[Any, sp.Rational]:
        """a as a product: exponents of primes (and -1), of factors; of a itself where it does not factor."""
        square = self.field.sum((a * a,))
        if self.field.is_rational(a.top):
            half = sp.S.One
        elif self.field.is_rational(square.top):
            a, half = square, sp.Rational(1, 2)
        else:
            return {("whole", frozenset(a.top.items()), a.below, a.scale): sp.S.One}
        constant, powers = self.field.factored(a.top)
        parts: dict[Any, sp.Rational] = {
            ("number", int(p)): e * half for p, e in sp.factorrat(sp.Rational(constant, a.scale)).items()
        }
        for below, sign in ((powers, 1), (a.below, -1)):
            for i, e in exponents(below):
                f = self.field.factors[i]
                key = next(iter(f)) if len(f) == 1 else frozenset(f.items())
                parts[key] = parts.get(key, sp.S.Zero) + sign * e * half
        return parts

    def _read_logs(self, atoms: list[sp.Expr]) -> None:
        """Logarithms, by those of a basis."""
        field = self.field
        inner = [self.element(e.args[0]) for e in atoms]
        parts = [self._multiplicative(a) for a in inner]
        new, coordinates = self._logs.include(
            [{key: field.constant(e) for key, e in p.items()} or {"one": field.constant(0)} for p in parts]
        )
        for index, _ in new:
            a, argument = inner[index], atoms[index].args[0]
            log = field.adjoin(atoms[index], lambda k, a=a: field.derivative(a, k) / a)
            self._logarithms.append(log)
            self._powers.include([{None: log}])
            self._exponentials.append(
                lambda n, a=a, e=argument: self.roots.power(a, sp.Rational(n.numerator, n.denominator), e)
            )
        for e, coordinate in zip(atoms, coordinates, strict=True):
            terms = (
                self._logarithms[i] * field.constant(sp.Rational(*c.as_integer_ratio())) for i, c in coordinate.items()
            )
            self._known[e] = field.sum(terms)


def _integer(n: Fraction, atom: sp.Expr) -> int:
    if n.denominator != 1:
        raise Inexpressible(f"{atom} beside its powers")
    return int(n)
