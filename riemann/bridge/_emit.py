"""SymPy to torch: expressions of coordinates and parameters as a function of points that transforms and differentiates.

Code is printed from expressions, never from strings: symbols are replaced by names of our own. Coordinates keep a last
axis of length 1 until the end, for torch promotes 0-dim tensors beside Python numbers to float64 in forward mode.
A printer, and what it prints: neither is read without the other, therefore long.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from riemann import _jets
from riemann._arithmetic import special_functions

if TYPE_CHECKING:
    from riemann.symbolic import SymbolicMetric


def to_torch(symbolic: "SymbolicMetric", quantity: str = "metric", **parameters: Any) -> Callable[[Tensor], Tensor]:
    r"""A symbolic metric, or a curvature of it in closed form, as a torch function of points.

    Args:
        symbolic: the exact metric.
        quantity: `"metric"`, or the method of `SymbolicMetric` whose result is wanted (`"christoffel"`,
            `"ricci_tensor"`, …), at its default index positions.
        **parameters: a value for each parameter: a number, which enters exactly, or a 0-dim tensor, to which the
            result is differentiable; for an undetermined function such as $a(t)$ a torch function of 0-dim tensors.

    Returns:
        A function of points `(*batch, n)` to `(*batch, n, n)`, or to the tensor of the quantity, in the dtype and on
        the device of the points.

    Raises:
        ValueError: an unknown quantity; a parameter missing, unknown or of the wrong shape; what torch cannot express.

    Note:
        Expressions are evaluated as they stand, common subexpressions once; derivatives of undetermined functions
        come from `riemann.jet`. In a `Piecewise`, backward through a branch that is not finite gives NaN.

    Example:
        >>> import sympy as sp
        >>> from riemann.symbolic import SymbolicMetric
        >>> sphere = SymbolicMetric(sp.diag(1, sp.sin(sp.Symbol("theta")) ** 2), "theta phi")
        >>> to_torch(sphere, "christoffel")(torch.tensor([math.pi / 4, 0.0]))[0, 1, 1]
        tensor(-0.5000)
    """
    from riemann.symbolic._textbook import LETTERS

    if quantity not in LETTERS:
        raise ValueError(f"`quantity` is {quantity!r}, expected one of {', '.join(LETTERS)}")
    if not hasattr(symbolic, "matrix"):
        raise TypeError(f"`symbolic` is a {type(symbolic).__name__}, expected a `riemann.symbolic.SymbolicMetric`")
    tensor = symbolic.matrix if quantity == "metric" else getattr(symbolic, quantity)()
    shape = tuple(map(int, getattr(tensor, "shape", ())))
    entries = [tensor] if shape == () else tensor.reshape(math.prod(shape)).tolist() if len(shape) > 2 else list(tensor)
    return emit(entries, shape, symbolic.coordinates, parameters, known=[s.name for s in symbolic.parameters])


def emit(
    entries: Sequence[Any],
    shape: tuple[int, ...],
    coordinates: Sequence[Any],
    parameters: Mapping[str, Any],
    known: Sequence[str] = (),
) -> Callable[[Tensor], Tensor]:
    """The function of points `(*batch, n)` to `(*batch, *shape)` whose entries are given by expressions."""
    import sympy as sp

    entries = [sp.sympify(entry) for entry in entries]
    entries, tensors = _with_parameters(entries, coordinates, parameters, known)
    entries, calls = _functions(entries, coordinates, parameters)
    distinct = list(dict.fromkeys(entries))
    places = [distinct.index(entry) for entry in entries]
    zero = sp.Dummy("zero")
    inner = [symbol for call in calls for symbol in call.values]
    used = set().union(*(e.free_symbols for e in distinct), *(a.free_symbols for c in calls for a in c.arguments))
    axes = [(i, symbol) for i, symbol in enumerate(coordinates) if symbol in used]
    outer = [zero, *(symbol for _, symbol in axes), *tensors]
    arguments = [_lambdify(outer, _at_points(call.arguments, coordinates, inner, zero), zero) for call in calls]
    value = _lambdify([*outer, *inner], _at_points(distinct, coordinates, inner, zero), zero)
    indices, scalars, n = tuple(i for i, _ in axes), tuple(tensors.values()), len(coordinates)

    def function(x: Tensor) -> Tensor:
        _check(x, n)
        columns = [torch.zeros_like(x[..., :1]), *(x[..., i : i + 1] for i in indices)]
        columns += [scalar.to(dtype=x.dtype, device=x.device) for scalar in scalars]
        jets = [y for call, argument in zip(calls, arguments, strict=True) for y in call(argument(*columns))]
        values = value(*columns, *jets)
        flat = torch.cat([values[k] for k in places], -1)
        return flat.to(x.dtype).reshape((*x.shape[:-1], *shape))

    return function


class Columns:
    """Expressions as a function of columns `(batch, 1)`, one a coordinate, and of 0-dim tensors, to a list of columns.

    It is pickled as its expressions.

    Attributes:
        operations: how many the code has.

    Raises:
        ValueError: what torch cannot express.
    """

    def __init__(self, entries: Sequence[Any], coordinates: Sequence[Any], scalars: Sequence[Any] = ()):
        import sympy as sp

        self._given = entries, coordinates, scalars
        zero = sp.Dummy("zero")
        entries = _at_points([sp.sympify(entry) for entry in entries], coordinates, (), zero)
        self._function = _lambdify([zero, *coordinates, *scalars], entries, zero)
        self.operations: int = self._function.operations

    def __call__(self, *arguments: Tensor) -> list[Tensor]:
        """The values."""
        return self._function(torch.zeros_like(arguments[0]), *arguments)

    def __reduce__(self) -> Any:
        return Columns, self._given


def _check(x: Any, n: int) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"`x` is a {type(x).__name__}, expected a torch.Tensor of shape (*batch, {n})")
    if not x.is_floating_point():
        raise TypeError(f"`x` has dtype {x.dtype}, expected float64 (or float32); use `x.double()`")
    if x.ndim == 0 or x.shape[-1] != n:
        raise ValueError(f"`x` has shape {tuple(x.shape)}, expected (*batch, {n}): {n} coordinates on the last axis")


# ---------------------------------------------------------------------------------------------------- what is given


def _with_parameters(
    entries: list[Any], coordinates: Sequence[Any], parameters: Mapping[str, Any], known: Sequence[str]
) -> tuple[list[Any], dict[Any, Tensor]]:
    """The entries with numbers put in, and the tensors by symbol."""
    import sympy as sp
    from sympy.core.function import AppliedUndef

    free = set().union(*(entry.free_symbols for entry in entries)) - set(coordinates)
    by_name = {symbol.name: symbol for symbol in free}
    functions = {type(f).__name__ for entry in entries for f in entry.atoms(AppliedUndef)}
    names = sorted({*by_name, *functions, *known})
    if unknown := sorted(set(parameters) - set(names)):
        raise ValueError(f"`{unknown[0]}` is not a parameter of this metric; its parameters are {names or 'none'}")
    if missing := sorted({*by_name, *functions} - set(parameters)):
        kind = "a torch function" if missing[0] in functions else "a number or a 0-dim tensor"
        raise ValueError(f"`{missing[0]}` has no value: give {', '.join(f'{m}=…' for m in missing)} ({kind})")
    numbers, tensors = {}, {}
    for name, value in parameters.items():
        if name in functions:
            if not callable(value):
                raise ValueError(f"`{name}` is a {type(value).__name__}, but {name}(…) is an undetermined function: "
                                 "give a torch function of 0-dim tensors")  # fmt: skip
        elif isinstance(value, Tensor):
            if value.ndim or value.is_complex():
                raise ValueError(f"`{name}` has shape {tuple(value.shape)}, dtype {value.dtype}; expected a real 0-dim "
                                 "tensor (`vmap` over it for many values)")  # fmt: skip
            if name in by_name:
                tensors[by_name[name]] = value
        elif name in by_name:
            numbers[by_name[name]] = _number(name, value)
    entries = [entry.xreplace(numbers) for entry in entries] if numbers else entries
    if any(entry.has(sp.nan, sp.zoo, sp.oo, -sp.oo) for entry in entries):
        raise ValueError(f"the metric is not finite at {', '.join(f'{k}={v}' for k, v in parameters.items())}")
    return entries, tensors


def _number(name: str, value: Any) -> Any:
    """A real number, exactly; a float is the rational of its shortest decimal."""
    import sympy as sp

    from riemann.symbolic._given import expression

    number = sp.nan if isinstance(value, str) else expression(value)
    if not number.is_number or not number.is_finite:
        raise ValueError(f"`{name}` is {value!r}, expected a finite number or a 0-dim tensor")
    return number


# ------------------------------------------------------------------------------------------- undetermined functions


class _Call:
    """Calls of one undetermined function at one argument: itself and the derivatives that are asked for."""

    def __init__(self, function: Callable[..., Tensor], arguments: Sequence[Any]):
        self.function, self.arguments = function, list(arguments)
        self.values: dict[Any, tuple[int, ...]] = {}  # by symbol, the derivative that it stands for

    def __call__(self, arguments: Sequence[Tensor]) -> list[Tensor]:
        x = torch.cat(torch.broadcast_tensors(*arguments), -1)
        order = max(map(len, self.values.values()))
        jets = _jets.jet(lambda p: self.function(*p.unbind(-1)), x, order)
        return [jets[len(axes)][(..., *axes)].unsqueeze(-1) for axes in self.values.values()]


def _functions(
    entries: list[Any], coordinates: Sequence[Any], parameters: Mapping[str, Any]
) -> tuple[list[Any], list[_Call]]:
    """The entries with a symbol for each call and derivative of an undetermined function."""
    import sympy as sp
    from sympy.core.function import AppliedUndef

    calls: dict[Any, _Call] = {}
    stand_ins: dict[Any, Any] = {}
    for atom in sorted(set().union(*map(_outermost, entries)), key=str):
        derivative, point = atom, {}
        if isinstance(atom, sp.Subs):
            derivative, point = atom.expr, dict(zip(atom.variables, atom.point, strict=True))
        f, variables = derivative, ()
        if isinstance(derivative, sp.Derivative):
            f, variables = derivative.expr, derivative.variables
        if not isinstance(f, AppliedUndef) or any(f.args.count(v) != 1 for v in variables):
            raise ValueError(f"`{atom}` cannot be written in torch; evaluate it with `.doit()` first")
        at = f.xreplace(point)
        if any(argument.has(AppliedUndef) for argument in at.args):
            raise ValueError(f"`{at}` nests undetermined functions, which cannot be written in torch")
        call = calls.setdefault(at, _Call(parameters[type(f).__name__], at.args))
        stand_ins[atom] = sp.Dummy("value")
        call.values[stand_ins[atom]] = tuple(f.args.index(v) for v in variables)
    return [e.xreplace(stand_ins) for e in entries], list(calls.values())


def _outermost(expression: Any) -> set[Any]:
    """Calls of undetermined functions and their derivatives, not those inside of others."""
    import sympy as sp
    from sympy.core.function import AppliedUndef

    found: set[Any] = set()
    pending = [expression]
    while pending:
        node = pending.pop()
        if isinstance(node, sp.Subs | sp.Derivative | AppliedUndef):
            found.add(node)
        else:
            pending.extend(node.args)
    return found


# ---------------------------------------------------------------------------------------------------------- printing


def _at_points(expressions: Sequence[Any], coordinates: Sequence[Any], inner: Sequence[Any], zero: Any) -> list[Any]:
    """Expressions whose values all have the shape of a column: constants have 0 added."""
    varying = {*coordinates, *inner}
    return [e if e.free_symbols & varying else zero + e for e in expressions]


def _lambdify(arguments: Sequence[Any], expressions: Sequence[Any], zero: Any) -> Callable[..., Any]:
    """The function that SymPy's printer writes, with common subexpressions."""
    import sympy as sp

    printer, names = _printer()
    own = {a: sp.Symbol(f"a{k}", **a.assumptions0) for k, a in enumerate(arguments)}
    for e in expressions:
        _check_expressible(e)
    expressions = [_with_columns(_with_digits(_with_floats(e)), zero).xreplace(own) for e in expressions]
    operations = 0

    def cse(e: Any) -> Any:
        nonlocal operations
        common, rest = sp.cse(e, symbols=sp.numbered_symbols("c"), list=False, order="none")
        operations = sum(int(part.count_ops()) for part in (*(value for _, value in common), *rest))
        return common, rest

    function = sp.lambdify([own[a] for a in arguments], expressions, modules=[names], printer=printer, cse=cse)
    function.operations = operations
    return function


def _with_floats(expression: Any) -> Any:
    """Numbers such as 3 + pi^2 as floats: common subexpressions would name them, and torch takes roots of tensors."""
    import sympy as sp

    def is_compound(e: Any) -> bool:
        return getattr(e, "is_number", False) and not e.is_Atom and e.is_real is not False

    return expression.replace(is_compound, lambda e: sp.Float(e.evalf(20), 20))


def _with_digits(expression: Any) -> Any:
    r"""Differences that cancel near 0, as the functions that keep their digits: of $e^u - 1$ and $\log(1 + u)$."""
    import sympy as sp
    from sympy.codegen.cfunctions import expm1, log1p

    def difference(e: Any) -> Any:
        terms = set(e.args)
        for term in e.args:
            for power in (factor for factor in sp.Mul.make_args(term) if isinstance(factor, sp.exp)):
                if -term / power in terms:
                    return e + term / power - term + term / power * expm1(power.args[0])
        return e

    expression = expression.replace(lambda e: isinstance(e, sp.Add) and e.has(sp.exp), difference)
    return expression.replace(lambda e: isinstance(e, sp.log) and 1 in e.args[0].args, lambda e: log1p(e.args[0] - 1))


def _with_columns(expression: Any, zero: Any) -> Any:
    """Numbers as columns where torch takes none: in branches, maxima, and the arguments of atan2."""
    import sympy as sp

    kinds = (sp.Piecewise, sp.Max, sp.Min, sp.atan2)
    if not expression.has(*kinds):
        return expression
    column = lambda e: zero + e if not (e.free_symbols - {zero}) else e  # noqa: E731

    def rebuilt(e: Any) -> Any:
        if isinstance(e, sp.Piecewise):
            return sp.Piecewise(*((column(value), condition) for value, condition in e.args), evaluate=False)
        return e.func(*map(column, e.args), evaluate=False)

    return expression.replace(lambda e: isinstance(e, kinds), rebuilt)


def _check_expressible(expression: Any) -> None:
    """Raises, with the name, where an expression holds what torch has no function for."""
    import sympy as sp
    from sympy.functions.special.bessel import BesselBase
    from sympy.logic.boolalg import Boolean

    for e in sp.preorder_traversal(expression):
        if e in (sp.nan, sp.zoo, sp.oo, -sp.oo) or (isinstance(e, sp.Expr) and e.is_number and e.is_real is False):
            raise ValueError(f"`{e}` cannot be written as a real torch expression")
        if isinstance(e, sp.polygamma | BesselBase) and not e.args[0].is_Integer:
            raise ValueError(f"`{e}` cannot be written in torch: its order is not a whole number")
        name = type(e).__name__
        if not (e.is_Atom or isinstance(e, Boolean) or name in _EXPRESSIBLE):
            raise ValueError(f"`{e}` cannot be written in torch: there is no function for `{name}`")


_SAME = (
    "sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh exp log erf erfc erfinv sign floor ceil "
    "expm1 log1p"
).split()
_PREFIX = {"Abs": "abs", "ceiling": "ceil", "loggamma": "lgamma"}
_RECIPROCAL = {"sec": "cos", "csc": "sin", "cot": "tan", "sech": "cosh", "csch": "sinh", "coth": "tanh"}
_OF_RECIPROCAL = {"asec": "acos", "acsc": "asin", "acot": "atan", "asech": "acosh", "acsch": "asinh", "acoth": "atanh"}
_BESSEL = {f"bessel{letter}": functools.partial(special_functions.bessel, letter) for letter in "jyik"}
_OWN = (*"Add Mul Pow Piecewise ExprCondPair Max Min gamma polygamma".split(), *_BESSEL)
_EXPRESSIBLE = frozenset((*_SAME, *_PREFIX, *_RECIPROCAL, *_OF_RECIPROCAL, *_OWN))


@functools.cache
def _printer() -> tuple[Any, dict[str, Any]]:
    """The printer of torch code, and the names that the code uses."""
    from sympy.printing.codeprinter import CodePrinter
    from sympy.printing.precedence import PRECEDENCE

    class Printer(CodePrinter):
        language = printmethod = "torch"
        _operators = {"and": "&", "or": "|", "not": "~"}
        _default_settings = {**CodePrinter._default_settings, "precision": 17, "strict": True}

        def _format_code(self, lines: list[str]) -> list[str]:
            return lines

        def _print(self, expr: Any, **kwargs: Any) -> str:
            if getattr(expr, "is_number", False) and not getattr(expr, "is_Integer", False):
                return repr(float(expr.evalf(20)))
            return super()._print(expr, **kwargs)

        def _print_Integer(self, e: Any) -> str:
            return str(e) if abs(int(e)) < 2**53 else repr(float(e))

        def _print_Pow(self, e: Any) -> str:
            base, exponent = e.args
            if exponent.is_Rational and exponent < 0:
                return f"(1/{self.parenthesize(base**-exponent, PRECEDENCE['Pow'])})"
            if exponent.is_Rational and 2 * exponent == 1:
                return f"sqrt({self._print(base)})"
            if exponent.is_Integer:
                return f"{self.parenthesize(base, PRECEDENCE['Pow'] + 1)}**{int(exponent)}"
            return f"pow({self._print(base)}, {self._print(exponent)})"

        def _print_Piecewise(self, e: Any) -> str:
            code = "nan" if e.args[-1].cond != True else self._print(e.args[-1].expr)  # noqa: E712
            for value, condition in reversed(e.args[:-1] if code != "nan" else e.args):
                code = f"where({self._print(condition)}, {self._print(value)}, {code})"
            return code

        def _print_Relational(self, e: Any) -> str:
            return f"({self._print(e.lhs)} {e.rel_op} {self._print(e.rhs)})"

        def _print_polygamma(self, e: Any) -> str:
            order, x = e.args
            return f"polygamma({order}, {self._print(x)})"

    for name in (*_SAME, *_PREFIX, *_BESSEL, "gamma", "Max", "Min"):
        setattr(Printer, f"_print_{name}", _function(_PREFIX.get(name, name), "{}({})"))
    for name, inner in _RECIPROCAL.items():
        setattr(Printer, f"_print_{name}", _function(inner, "(1/{}({}))"))
    for name, inner in _OF_RECIPROCAL.items():
        setattr(Printer, f"_print_{name}", _function(inner, "{}(1/({}))"))
    names = {name: getattr(torch, name) for name in (*_SAME, *_PREFIX.values(), "sqrt", "pow", "where")}
    names |= {**_BESSEL, "polygamma": special_functions.polygamma, "gamma": _gamma, "nan": math.nan}
    names |= {"Max": _folded(torch.maximum), "Min": _folded(torch.minimum)}
    return Printer(), names


def _function(name: str, form: str) -> Callable[[Any, Any], str]:
    return lambda printer, e: form.format(name, ", ".join(map(printer._print, e.args)))


def _folded(f: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda *values: functools.reduce(f, values)


def _gamma(x: Tensor) -> Tensor:
    """The gamma function, by reflection left of 1/2."""
    right = x > 0.5
    value = torch.exp(torch.lgamma(torch.where(right, x, 1 - x)))
    left = torch.where(right, torch.full_like(x, 0.5), x)
    return torch.where(right, value, math.pi / (torch.sin(math.pi * left) * value))
