"""Complex numbers as pairs of real elements, for the operations between a real point and a real metric.

Over balls a pair is a rectangle: it holds the complex number as its sides hold the parts.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import sympy as sp
import torch

from riemann.bridge._arithmetic import OPERATIONS, Elements, each, filled, of_elements
from riemann.bridge._functions import Inexpressible, matrix

COMPLEX = (torch.complex128, torch.complex64)
ALIKE = frozenset(
    "mul div add sub rsub neg reciprocal square pow exp log sqrt sin cos tan sinh cosh tanh sum mean prod cumsum "
    "mm bmm mv dot addmm baddbmm addmv linalg_inv_ex linalg_lu_factor_ex lu_unpack linalg_solve_triangular "
    "linalg_matrix_exp where index_put _unsafe_index_put scatter_add".split()
)
"""Operations whose formula is that of real numbers."""


class Complex:
    """A pair of real elements, the real and the imaginary part."""

    __slots__ = ("im", "re")

    def __init__(self, re: Any, im: Any):
        self.re, self.im = re, im

    def __bool__(self) -> bool:
        return bool(self.re) or bool(self.im)

    def __neg__(self) -> "Complex":
        return Complex(-self.re, -self.im)

    def __add__(self, other: "Complex") -> "Complex":
        return Complex(self.re + other.re, self.im + other.im)

    def __sub__(self, other: "Complex") -> "Complex":
        return Complex(self.re - other.re, self.im - other.im)

    def __mul__(self, other: "Complex") -> "Complex":
        return Complex(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    def conjugate(self) -> "Complex":
        """The pair with the other imaginary part."""
        return Complex(self.re, -self.im)


class Complexes:
    """The arithmetic of pairs over one of real elements.

    Args:
        real: the arithmetic of the parts.
    """

    def __init__(self, real: Elements):
        self.real, self.kind = real, real.kind

    def number(self, x: Any) -> Complex:
        """The pair for a number, or for a real element."""
        if isinstance(x, Complex):
            return x
        if isinstance(x, complex | np.complexfloating):
            return Complex(self.real.number(x.real), self.real.number(x.imag))
        return Complex(x if self.real.varies(x) else self.real.number(x), self.real.number(0))

    def single(self, x: Complex) -> Complex:
        """A result in single precision."""
        return Complex(self.real.single(x.re), self.real.single(x.im))

    def varies(self, x: Complex) -> bool:
        """Whether it depends on the point."""
        return self.real.varies(x.re) or self.real.varies(x.im)

    def mapped(self, f: Callable[..., Any], arrays: list[np.ndarray]) -> list[Any]:
        """`f` entry by entry of arrays of one shape."""
        return [f(*entries) for entries in zip(*(a.flat for a in arrays), strict=True)]

    def size(self, x: Complex) -> Any:
        """|x|^2, a real element."""
        return self.real.power(x.re, 2) + self.real.power(x.im, 2)

    def absolute(self, x: Complex) -> Any:
        """|x|, a real element without derivatives at 0."""
        return self.real.call("sqrt", self.size(x))

    def quotient(self, x: Any, y: Any) -> Complex:
        """The quotient x / y."""
        x, y = self.number(x), self.number(y)
        product, size = x * y.conjugate(), self.size(y)
        return Complex(self.real.quotient(product.re, size), self.real.quotient(product.im, size))

    def power(self, x: Complex, exponent: Complex) -> Complex:
        """x^exponent: products where it is a whole number, else the principal value."""
        if (k := self._whole(exponent)) is None:
            return self.call("exp", exponent * self.call("log", x))
        y, base = self.number(1), x if k > 0 else self.quotient(1, x)
        for bit in f"{abs(k):b}":
            y = y * y
            y = y * base if bit == "1" else y
        return y

    def _whole(self, x: Complex) -> int | None:
        if self.varies(x) or self.real.plain(x.im) or not float.is_integer(p := self.real.plain(x.re)):
            return None
        return int(p) if abs(p) < 1000 else None

    def call(self, name: str, x: Complex) -> Complex:
        """A function, at its principal value."""
        return _FUNCTIONS[name](self, x)

    def polar(self, size: Any, angle: Any) -> Complex:
        """The number of a size and an angle, real elements."""
        return Complex(size * self.real.call("cos", angle), size * self.real.call("sin", angle))

    def compare(self, name: str, x: Complex, y: Complex) -> Any:
        """Refused: two choices would have to be joined."""
        raise Inexpressible("compares complex numbers")

    def choose(self, condition: Any, x: Any, y: Any) -> Complex:
        """Of x and y the first where the condition holds."""
        x, y, E = self.number(x), self.number(y), self.real
        return Complex(E.choose(condition, x.re, y.re), E.choose(condition, x.im, y.im))

    def total(self, xs: Iterable[Complex]) -> Complex:
        """The sum."""
        xs = list(xs)
        return Complex(self.real.total(x.re for x in xs), self.real.total(x.im for x in xs))

    def matmul(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        """The product of two matrices, by four of the parts."""
        (a, b), (c, d) = parts(A), parts(B)
        product = self.real.matmul
        return joined(product(a, c) - product(b, d), product(a, d) + product(b, c))

    def pivot(self, column: list[Complex]) -> int:
        """The place of the entry of a column to divide by."""
        return self.real.pivot([self.size(x) for x in column])

    def clean(self, x: Complex) -> Complex:
        """The element, its parts written in the least way."""
        return Complex(self.real.clean(x.re), self.real.clean(x.im))

    def inverse(self, A: np.ndarray) -> np.ndarray:
        """The inverse of a matrix, by elimination with the largest pivots."""
        n, zero, one = len(A), self.number(0), self.number(1)
        rows = [[*A[i], *(one if i == j else zero for j in range(n))] for i in range(n)]
        for j in range(n):
            p = j + self.pivot([row[j] for row in rows[j:]])
            rows[j], rows[p] = rows[p], rows[j]
            scale = self.quotient(1, rows[j][j])
            rows[j] = [entry * scale for entry in rows[j]]
            for i in range(n):
                if i != j:
                    factor = rows[i][j]
                    rows[i] = [a - factor * b for a, b in zip(rows[i], rows[j], strict=True)]
        return matrix([row[n:] for row in rows])

    def exponential(self, A: np.ndarray) -> np.ndarray:
        """The exponential of a matrix a + ib: a part of that of the real matrix (a, -b; b, a)."""
        (a, b), n = parts(A), len(A)
        whole = self.real.exponential(np.block([[a, -b], [b, a]]))
        return joined(whole[:n, :n], whole[n:, :n])


def _log(E: Complexes, z: Complex) -> Complex:
    return Complex(E.real.call("log", E.size(z)) * E.real.number(0.5), E.real.atan2(z.im, z.re))


def _sin(E: Complexes, z: Complex) -> Complex:
    f = E.real.call
    return Complex(f("sin", z.re) * f("cosh", z.im), f("cos", z.re) * f("sinh", z.im))


def _cos(E: Complexes, z: Complex) -> Complex:
    f = E.real.call
    return Complex(f("cos", z.re) * f("cosh", z.im), -(f("sin", z.re) * f("sinh", z.im)))


def _turned(z: Complex) -> Complex:
    """iz."""
    return Complex(-z.im, z.re)


_FUNCTIONS: dict[str, Callable[[Complexes, Complex], Complex]] = {
    "exp": lambda E, z: E.polar(E.real.call("exp", z.re), z.im),
    "log": _log,
    "sqrt": lambda E, z: E.call("exp", _log(E, z) * E.number(0.5)),
    "sin": _sin,
    "cos": _cos,
    "tan": lambda E, z: E.quotient(_sin(E, z), _cos(E, z)),
    "sinh": lambda E, z: -_turned(_sin(E, _turned(z))),
    "cosh": lambda E, z: _cos(E, _turned(z)),
    "tanh": lambda E, z: E.quotient(-_turned(_sin(E, _turned(z))), _cos(E, _turned(z))),
}


# ------------------------------------------------------------------------------------------------ arrays and operations


def is_complex(a: Any) -> bool:
    """Whether an argument holds complex numbers."""
    if isinstance(a, np.ndarray):
        return a.size > 0 and isinstance(a.flat[0], Complex)
    return isinstance(a, complex) or isinstance(a, torch.dtype) and a in COMPLEX


def parts(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of the real and the imaginary parts."""
    return filled(A.shape, [z.re for z in A.flat]), filled(A.shape, [z.im for z in A.flat])


def joined(re: np.ndarray, im: np.ndarray) -> np.ndarray:
    """The opposite."""
    return filled(re.shape, [Complex(*pair) for pair in zip(re.flat, im.flat, strict=True)])


def perform(E: Complexes, name: str, args: tuple, kwargs: dict) -> Any:
    """An operation that takes or makes complex numbers."""
    if name in OWN:
        return OWN[name](E, *args, **kwargs)
    if name not in ALIKE:
        raise Inexpressible(f"has no exact form of complex numbers as {E.kind}")
    masks = {0} if name == "where" else {1} if "index_put" in name else {2} if name == "scatter_add" else set()
    lifted = (a if k in masks else lift(E, a) for k, a in enumerate(args))
    return OPERATIONS[name](E, *lifted, **kwargs)


def lift(E: Complexes, a: Any) -> Any:
    """Arrays of real elements, and of floats, as pairs."""
    if isinstance(a, tuple | list):
        return type(a)(lift(E, b) for b in a)
    return each(E, E.number, of_elements(E, a)) if isinstance(a, np.ndarray) and a.dtype != bool else a


def _view_as_real(E: Complexes, z: np.ndarray) -> np.ndarray:
    return np.stack(parts(z), -1)


def _abs(E: Complexes, z: np.ndarray) -> np.ndarray:
    return filled(z.shape, [E.absolute(c) for c in z.flat])


def _angle(E: Complexes, z: np.ndarray) -> np.ndarray:
    return filled(z.shape, [E.real.atan2(c.im, c.re) for c in z.flat])


def _conj(E: Complexes, z: np.ndarray) -> np.ndarray:
    return filled(z.shape, [c.conjugate() for c in z.flat])


def _sgn(E: Complexes, z: np.ndarray) -> np.ndarray:
    return filled(z.shape, [E.quotient(c, E.absolute(c)) for c in z.flat])


def _cholesky(E: Complexes, A: np.ndarray, upper: bool = False, check_errors: bool = False) -> Any:
    """The factor L of A = L L*, by the lower triangle of a Hermitian A."""
    if A.ndim > 2:
        factors = [_cholesky(E, M, upper)[0] for M in A.reshape(-1, *A.shape[-2:])]
        return np.stack(factors).reshape(A.shape), np.zeros(A.shape[:-2], dtype=int)
    A, L = _conj(E, A.T) if upper else A, filled(A.shape, [E.number(0)] * A.size)
    for j in range(len(A)):
        square = A[j, j].re - E.real.total(E.size(c) for c in L[j, :j])
        L[j, j] = E.number(E.real.call("sqrt", square))
        for i in range(j + 1, len(A)):
            products = E.total(a * b.conjugate() for a, b in zip(L[i, :j], L[j, :j], strict=True))
            L[i, j] = E.quotient(A[i, j] - products, L[j, j])
    return _conj(E, L.T) if upper else L, np.zeros((), dtype=int)


def _vdot(E: Complexes, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return OPERATIONS["dot"](E, _conj(E, lift(E, u)), lift(E, v))


def _polar(E: Complexes, size: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return filled(size.shape, [E.polar(*pair) for pair in zip(size.flat, angle.flat, strict=True)])


def _transform(E: Complexes, z: np.ndarray, dims: Any, norm: int, sign: int) -> np.ndarray:
    """Discrete Fourier transforms along axes, by the exact roots of unity."""
    for d in dims:
        n = z.shape[d]
        roots = [_root(E, sp.Rational(sign * 2 * k, n)) for k in range(n)]
        W = filled((n, n), [roots[j * k % n] for j in range(n) for k in range(n)])
        lines = np.moveaxis(z, d, 0)
        z = np.moveaxis(E.matmul(W, lines.reshape(n, -1)).reshape(lines.shape), 0, d)
    size = sp.Integer(int(np.prod([z.shape[d] for d in dims])))
    scale = E.number({0: sp.Integer(1), 1: 1 / sp.sqrt(size), 2: 1 / size}[norm])
    return filled(z.shape, [c * scale for c in z.flat])


def _root(E: Complexes, turn: sp.Rational) -> Complex:
    """exp(i pi turn)."""
    return Complex(E.real.number(sp.cos(sp.pi * turn)), E.real.number(sp.sin(sp.pi * turn)))


def _r2c(E: Complexes, x: np.ndarray, dims: Any, norm: int, onesided: bool) -> np.ndarray:
    z = _transform(E, lift(E, x), dims, norm, -1)
    return z.take(range(x.shape[dims[-1]] // 2 + 1), dims[-1]) if onesided else z


def _c2r(E: Complexes, z: np.ndarray, dims: Any, norm: int, size: int) -> np.ndarray:
    """The rest of a real signal's spectrum is the conjugate of what is given, and the ends are real."""
    d = dims[-1]
    for other in dims[:-1]:
        z = _transform(E, z, [other], 0, 1)
    lines = np.moveaxis(z, d, 0)[: size // 2 + 1]
    ends = [0, size // 2] if size % 2 == 0 else [0]
    real = lambda row: filled(row.shape, [E.number(c.re) for c in row.flat])
    lines = np.stack([real(row) if k in ends else row for k, row in enumerate(lines)])
    rest = _conj(E, lines[1 : (size + 1) // 2][::-1])
    z = _transform(E, np.moveaxis(np.concatenate([lines, rest]), 0, d), [d], 0, 1)
    total = sp.Integer(int(np.prod([z.shape[k] for k in dims])))
    scale = E.real.number({0: sp.Integer(1), 1: 1 / sp.sqrt(total), 2: 1 / total}[norm])
    return filled(z.shape, [c.re * scale for c in z.flat])


def _to_copy(E: Complexes, z: np.ndarray, dtype: Any = None, **_: Any) -> np.ndarray:
    z = lift(E, z)
    return z if dtype is None or dtype in COMPLEX else parts(z)[0]


OWN: dict[str, Callable[..., Any]] = {
    "abs": _abs,
    "sgn": _sgn,
    "angle": _angle,
    "linalg_cholesky_ex": _cholesky,
    "complex": lambda E, re, im: joined(*np.broadcast_arrays(of_elements(E.real, re), of_elements(E.real, im))),
    "conj_physical": _conj,
    "_conj": _conj,
    "resolve_conj": lambda E, z: z,
    "view_as_real": _view_as_real,
    "view_as_complex": lambda E, x: joined(x[..., 0], x[..., 1]),
    "polar": lambda E, size, angle: _polar(E, *np.broadcast_arrays(*(of_elements(E.real, a) for a in (size, angle)))),
    "vdot": _vdot,
    "_to_copy": _to_copy,
    "_fft_r2c": _r2c,
    "_fft_c2r": _c2r,
    "_fft_c2c": lambda E, z, dims, norm, forward: _transform(E, lift(E, z), dims, norm, -1 if forward else 1),
}
MAKES = frozenset(("complex", "view_as_complex", "polar", "_fft_r2c"))
