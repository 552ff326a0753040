"""What an entry of the catalogue is: a metric that can be called, its exact form, its domain, what is known of it."""

import fractions
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ParamSpec

import sympy as sp
import torch
from torch import Tensor

from riemann._curves import geodesic
from riemann._open import route
from riemann.bridge._emit import emit, to_torch
from riemann.symbolic import SymbolicMetric
from riemann.symbolic._given import expression

P = ParamSpec("P")
_EXACT = 4  # up to this dimension geodesics use exact Christoffel symbols
Number = int | float | str | sp.Expr  # of a parameter: a value, or the name of a symbol


class Space:
    r"""A metric of the catalogue: called on points `(*batch, n)` it gives $g$, `(*batch, n, n)`.

    Attributes:
        name: of the entry, as in `spaces.get(name)`.
        description: the entry in a few words.
        arguments: what the entry was made with.
        parameters: the values of its parameters, exact: numbers where numbers were given, symbols where names were.
        symbolic: the same metric as a `SymbolicMetric`, in its coordinates and in the parameters that are symbols.
        domain: bounds of the coordinates, by name.
        condition: a relation that points must also satisfy; true where the domain is a box.
        facts: what is known, by quantity. A method of `SymbolicMetric` (`"scalar_curvature"`, `"ricci_tensor"`, …): its
            value as expression or array, 0 for a tensor that vanishes. `"signature"`: numbers of negative and
            positive directions. `"sectional_curvature"`: $K$, where it is constant. `"einstein_constant"`: $\lambda$
            with $\mathrm{Ric} = \lambda g$. `"killing_dimension"`: of the Killing fields near a point. `"volume"`: of
            the domain. `"energy_density"`: $G(u, u) / 8 \pi$ for the unit normal $u$ of the first coordinate.
        reference: where the line element can be found.

    Example:
        >>> from riemann import spaces
        >>> space = spaces.schwarzschild(M=2)
        >>> space.coordinates, space.facts["kretschmann_scalar"]
        (('t', 'r', 'theta', 'phi'), 192/r**6)
        >>> space(space.sample(5)).shape
        torch.Size([5, 4, 4])
    """

    name = description = ""
    arguments: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        matrix: Any,
        coordinates: Iterable[sp.Symbol],
        *,
        reference: str,
        parameters: Mapping[str, sp.Expr] | None = None,
        negative: int = 0,
        domain: Mapping[sp.Symbol, tuple[Any, Any]] | None = None,
        condition: Any = True,
        box: Mapping[sp.Symbol, tuple[Any, Any]] | None = None,
        facts: Mapping[str, Any] | None = None,
    ):
        coordinates = tuple(coordinates)
        self.parameters: Mapping[str, sp.Expr] = MappingProxyType(dict(parameters or {}))
        for name, value in self.parameters.items():
            if taken := {s.name for s in value.free_symbols} & {c.name for c in coordinates}:
                raise ValueError(f"`{name}` is {value}, and `{taken.pop()}` is a coordinate; take another name")
        self.symbolic: SymbolicMetric = SymbolicMetric(
            matrix, coordinates, _undetermined(matrix, coordinates, self.parameters)
        )
        self.reference = reference
        bounds = {c: (domain or {}).get(c, (-sp.oo, sp.oo)) for c in coordinates}
        self.domain: Mapping[str, tuple[sp.Expr, sp.Expr]] = MappingProxyType(
            {c.name: tuple(map(sp.sympify, pair)) for c, pair in bounds.items()}
        )
        self.condition: sp.Basic = sp.sympify(condition)
        self._box = [tuple(map(sp.sympify, (box or {}).get(c) or _inside(*bounds[c]))) for c in coordinates]
        self.facts: Mapping[str, Any] = MappingProxyType(
            {"signature": (negative, len(coordinates) - negative)}
            | {key: value if isinstance(value, tuple) else sp.sympify(value) for key, value in (facts or {}).items()}
        )
        self._metric = self._missing if self.symbolic.parameters or _functions(matrix) else to_torch(self.symbolic)

    def __call__(self, x: Tensor) -> Tensor:
        """The metric $g_{ij}$ at points `(*batch, n)`: `(*batch, n, n)`, in the dtype and on the device of x."""
        return self._metric(x)

    def _missing(self, x: Tensor | None = None) -> Tensor:
        names = [*map(str, self.symbolic.parameters), *_functions(self.symbolic.matrix)]
        values = ", ".join(f"{name}=…" for name in names)
        raise ValueError(
            f"{self!r} has no numbers for {', '.join(names)}: make it with numbers, or use "
            f"`to_torch(space.symbolic, {values})`, which also takes tensors"
        )

    @functools.cached_property
    def _acceleration(self) -> Callable[[Tensor], Tensor]:
        r"""Points and velocities, `(*batch, 2n)`, to $-\Gamma(v, v)$, from the exact Christoffel symbols."""
        x = self.symbolic.coordinates
        v = [sp.Dummy(f"v{i}") for i in range(self.dim)]
        gamma = self.symbolic.christoffel()
        pairs = [(i, j) for i in range(self.dim) for j in range(i + 1)]
        entries = [-sum((2 - (i == j)) * gamma[k, i, j] * v[i] * v[j] for i, j in pairs) for k in range(self.dim)]
        return emit(entries, (self.dim,), (*x, *v), {})

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of the coordinates."""
        return tuple(symbol.name for symbol in self.symbolic.coordinates)

    @property
    def dim(self) -> int:
        """The dimension n."""
        return len(self.symbolic.coordinates)

    def sample(
        self,
        k: int,
        generator: torch.Generator | None = None,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Points inside the domain, away from its ends and from singularities: uniform in a box of coordinates.

        Args:
            k: how many.
            generator: source of randomness; torch's own by default.
            dtype: of the points.
            device: of the points.

        Returns:
            `(k, n)`.

        Raises:
            ValueError: parameters of the space are symbols.
        """
        if any(end.free_symbols for pair in self._box for end in pair):
            self._missing()
        low, high = torch.tensor([[float(end) for end in pair] for pair in self._box], dtype=torch.float64).T
        source = generator.device if generator is not None else "cpu"
        uniform = torch.rand(k, self.dim, generator=generator, dtype=torch.float64, device=source).cpu()
        return (low + (high - low) * uniform).to(dtype=dtype, device=device)

    def contains(self, x: Tensor) -> Tensor:
        """Whether points `(*batch, n)` lie inside the domain: `(*batch,)`, bool."""
        symbols = self.symbolic.coordinates
        inside = [self.condition]
        for symbol, (low, high) in zip(symbols, self.domain.values(), strict=True):
            inside += [symbol > low] * (low != -sp.oo) + [symbol < high] * (high != sp.oo)
        return emit([sp.Piecewise((1, sp.And(*inside)), (0, True))], (), symbols, {})(x) > 0

    def __repr__(self) -> str:
        return f"spaces.{self.name}({', '.join(f'{k}={v}' for k, v in self.arguments.items())})"

    def _repr_latex_(self) -> str:
        return self.symbolic._repr_latex_()

    def __reduce__(self) -> Any:
        return _made, (self.name, dict(self.arguments))


def _made(name: str, arguments: Mapping[str, Any]) -> Space:
    return ENTRIES[name](**arguments)


def _undetermined(matrix: Any, coordinates: tuple[sp.Symbol, ...], parameters: Mapping[str, Any]) -> list[sp.Symbol]:
    """The symbols of the matrix and the parameters that are not coordinates."""
    free = sp.Matrix(matrix).free_symbols.union(*(sp.sympify(p).free_symbols for p in parameters.values()))
    return sorted(free - set(coordinates), key=str)


def _functions(matrix: Any) -> list[str]:
    """Names of the undetermined functions."""
    return sorted({type(f).__name__ for f in sp.Matrix(matrix).atoms(sp.core.function.AppliedUndef)})


def _inside(low: Any, high: Any) -> tuple[Any, Any]:
    """An interval well inside the given one."""
    low, high = sp.sympify(low), sp.sympify(high)
    if low == -sp.oo:
        return (-2, 2) if high == sp.oo else (high - 3, high - sp.Rational(1, 2))
    if high == sp.oo:
        return low + sp.Rational(1, 2), low + 3
    return low + (high - low) / 8, high - (high - low) / 8


@route(geodesic.geodesic_acceleration, Space)
def geodesic_acceleration(space: Space, x: Tensor, v: Tensor) -> Tensor:
    if space.dim > _EXACT:
        return geodesic.geodesic_acceleration.__wrapped__(space, x, v)
    return space._acceleration(torch.cat((x, v), -1))


# ------------------------------------------------------------------------------------------------------ the registry

ENTRIES: dict[str, Callable[..., Space]] = {}


def entry(make: Callable[P, Space]) -> Callable[P, Space]:
    """Registers a function that makes a space under its name; the space remembers what it was made with."""
    signature = inspect.signature(make)

    @functools.wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> Space:
        space = make(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        space.name, space.arguments = make.__name__, MappingProxyType(dict(bound.arguments))
        space.description = description(make)
        return space

    ENTRIES[make.__name__] = made
    return made


def description(make: Callable[..., Space]) -> str:
    """An entry in a few words, without making it."""
    return (make.__doc__ or "").partition("\n")[0].rstrip(".")


# ------------------------------------------------------------------------------------------------- arguments, checked


def parameter(name: str, value: Any, *, positive: bool = False) -> sp.Expr:
    """A parameter, exactly: a string is the name of a symbol, a float the rational of its shortest decimal.

    A float that is the nearest one to a fraction of small denominator (1/3) is that fraction.
    """
    if isinstance(value, str):
        if not value.isidentifier():
            raise ValueError(f"`{name}` is {value!r}: a string is the name of a symbol; give numbers as numbers")
        return sp.Symbol(value)
    if isinstance(value, Tensor):
        raise TypeError(
            f'`{name}` is a tensor, and the catalogue is exact. Make the space with `{name}="{name}"` and give the '
            f"tensor to `to_torch(space.symbolic, {name}=…)`"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"`{name}` is {value}, expected a finite number")
    exact = expression(value)
    simple = fractions.Fraction(value).limit_denominator(1000) if isinstance(value, float) else exact
    if isinstance(value, float) and not exact.is_Integer and float(simple) == value:
        exact = sp.Rational(simple)
    if positive:
        require(exact > 0, f"`{name}` is {value}, expected a positive number")
    return exact


def formula(name: str, value: Any, *coordinates: sp.Symbol) -> sp.Expr:
    """An expression in some coordinates; symbols of these names are the coordinates, whatever their assumptions."""
    try:
        value = expression(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"`{name}`: {error}") from None
    by_name = {symbol.name: symbol for symbol in coordinates}
    return value.xreplace({s: by_name[s.name] for s in value.free_symbols if s.name in by_name})


def require(relation: Any, message: str) -> None:
    """Raises the message if the relation is known to be false."""
    if relation == False:  # noqa: E712  (a relation between symbols is neither)
        raise ValueError(message)


def dimension(n: Any, least: int) -> int:
    """The dimension of a family, checked."""
    if not isinstance(n, int) or isinstance(n, bool) or n < least:
        raise ValueError(f"`n` is {n!r}, expected a whole number, at least {least}")
    return n


def choice(name: str, value: Any, known: Iterable[str]) -> str:
    """One of the known words, checked."""
    if value not in (known := tuple(known)):
        raise ValueError(f"`{name}` is {value!r}, expected one of {', '.join(map(repr, known))}")
    return value


# ------------------------------------------------------------------------------------------------ what entries share


def cartesian(n: int) -> tuple[sp.Symbol, ...]:
    """Names of Cartesian coordinates: x, y, z, or x1, x2, … from four on."""
    return tuple(sp.symbols("x y z" if n <= 3 else f"x1:{n + 1}", seq=True)[:n])


def spherical(n: int) -> tuple[tuple[sp.Symbol, ...], sp.Matrix, dict[sp.Symbol, tuple[Any, Any]]]:
    """Angles of the unit n-sphere, its metric and their bounds: the last goes round."""
    if n <= 3:
        angles = sp.symbols("psi theta phi", seq=True)[3 - n :]
    else:
        angles = (*sp.symbols(f"theta1:{n}", seq=True), sp.Symbol("phi"))
    entries, factor = [], sp.Integer(1)
    for angle in angles:
        entries.append(factor)
        factor *= sp.sin(angle) ** 2
    return tuple(angles), sp.diag(*entries), {a: (0, sp.pi) for a in angles[:-1]} | {angles[-1]: (0, 2 * sp.pi)}


def embedded(point: Iterable[Any], coordinates: Iterable[sp.Symbol]) -> sp.Matrix:
    """The metric that a map into Euclidean space pulls back."""
    J = sp.Matrix(list(point)).jacobian(list(coordinates))
    return (J.T * J).applyfunc(sp.simplify)


def squares(*terms: tuple[Any, Iterable[Any]]) -> sp.Matrix:
    """The matrix of a sum of multiples of squares of one-forms: pairs of a factor and the components of a form."""
    rows = [(factor, sp.Matrix([list(form)])) for factor, form in terms]
    return sum((factor * row.T * row for factor, row in rows), sp.zeros(rows[0][1].cols))
