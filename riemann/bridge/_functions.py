"""Functions and constants of torch as SymPy writes them: one table for expressions and for Taylor numbers."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

X = sp.Dummy("x", real=True)
FUNCTIONS: dict[str, sp.Expr] = {
    **{name: getattr(sp, name)(X) for name in ("exp", "log", "sqrt", "erf", "erfc", "erfinv", "digamma")},
    **{name: getattr(sp, name)(X) for name in ("sin", "cos", "tan", "asin", "acos", "atan")},
    **{name: getattr(sp, name)(X) for name in ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")},
    "exp2": 2**X,
    "expm1": sp.exp(X) - 1,
    "log1p": sp.log(1 + X),
    "log2": sp.log(X) / sp.log(2),
    "log10": sp.log(X) / sp.log(10),
    "rsqrt": 1 / sp.sqrt(X),
    **{f"special_bessel_{letter}{n}": getattr(sp, f"bessel{letter}")(n, X) for letter in "jy" for n in (0, 1)},
    **{f"special_modified_bessel_{letter}{n}": getattr(sp, f"bessel{letter}")(n, X) for letter in "ik" for n in (0, 1)},
    **{f"special_scaled_modified_bessel_k{n}": sp.exp(X) * sp.besselk(n, X) for n in (0, 1)},
    **{f"special_i{n}e": sp.exp(-sp.Abs(X)) * sp.besseli(n, X) for n in (0, 1)},
    "i0": sp.besseli(0, X),
    "special_i1": sp.besseli(1, X),
    **{f"polygamma_{n}": sp.polygamma(n, X) for n in range(10)},
    "lgamma": sp.log(sp.gamma(X) ** 2) / 2,
    "sigmoid": 1 / (1 + sp.exp(-X)),
    "gelu_erf": X * (1 + sp.erf(X / sp.sqrt(2))) / 2,
    "gelu_tanh": X * (1 + sp.tanh(sp.sqrt(2 / sp.pi) * (X + sp.Rational("0.044715") * X**3))) / 2,
    "silu": X / (1 + sp.exp(-X)),
    "softplus": sp.log(1 + sp.exp(X)),
    "mish": X * sp.tanh(sp.log(1 + sp.exp(X))),
    "sinc": sp.sin(sp.pi * X) / (sp.pi * X),
}


class Inexpressible(Exception):
    """What an operation does that has no expression, and what to do instead: the end of a sentence."""


class Undecided:
    """A condition that holds at some points only: `torch.where` may choose by it, nothing else."""


def matrix(rows: Any) -> np.ndarray:
    """An array of elements from rows of equal length."""
    rows = [list(row) for row in rows]
    A = np.empty((len(rows), len(rows[0]) if rows else 0), dtype=object)
    for i, row in enumerate(rows):
        A[i, :] = row
    return A


def exact(x: Any) -> sp.Expr:
    r"""The number that a float stands for: what its shortest decimal says, unless that is long.

    A float whose decimal has more than twelve digits (six in single precision) is a rational r, $r \pi$, $r / \pi$,
    $\sqrt r$, $\sqrt{r \pi}$ or $\sqrt{r / \pi}$, where one of them, with numerator and denominator up to 1000, is that
    float to one unit of its last place: 2/3, `math.pi`, `math.sqrt(2)`, $1 / \sqrt{2 \pi}$.
    """
    if isinstance(x, bool | int | np.integer | np.bool_):
        return sp.Integer(int(x))
    if isinstance(x, complex):
        raise Inexpressible("makes complex numbers")
    if not np.isfinite(x):
        return sp.nan if np.isnan(x) else sp.oo if x > 0 else -sp.oo
    if x == int(x):
        return sp.Integer(int(x))
    decimal = Fraction(np.format_float_scientific(x, unique=True))
    if len(str(decimal.numerator).rstrip("0")) > (6 if isinstance(x, np.float32) else 12):
        v, sign = float(x), 1 if x > 0 else -1
        for number, stands_for in (
            (v, lambda r: r),
            (v / math.pi, lambda r: r * sp.pi),
            (v * math.pi, lambda r: r / sp.pi),
            (v * v, lambda r: sign * sp.sqrt(r)),
            (v * v / math.pi, lambda r: sign * sp.sqrt(r * sp.pi)),
            (v * v * math.pi, lambda r: sign * sp.sqrt(r / sp.pi)),
        ):
            near = Fraction(number).limit_denominator(1000)
            if 0 < abs(near.numerator) <= 1000 and abs(near - Fraction(number)) < abs(near) / 10**6:
                candidate = stands_for(sp.Rational(near.numerator, near.denominator))
                if abs(float(sp.N(candidate, 30) - sp.Float(v, 30))) <= 1.01 * float(np.spacing(abs(x))):
                    return candidate
    return sp.Rational(decimal.numerator, decimal.denominator)
