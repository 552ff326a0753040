"""Points, boxes and numbers as they were given: what is proved is proved of exactly these, so none is rounded."""

import math
import numbers
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor

from riemann._certified.library import flint
from riemann._points.checks import check_dense, has_values

_POINT, _BOX = "a point (n,), as `[0.5, 2]`", "a box ((low, high), …), as `((0.5, 0.6), (2, 2.1))`"


def intervals(at: Any, name: str = "at") -> list[tuple[Any, Any]]:
    """A point or a box as pairs of exact numbers, low and high.

    Raises:
        TypeError: it holds what is no real number.
        ValueError: it is neither, or holds a NaN, or a side is empty.
    """
    rows = _rows(at, name, f"{_POINT}, or {_BOX}", "the metric is the first argument, the quantity the second")
    if not rows or any(isinstance(row, list) and len(row) != 2 for row in rows):
        raise ValueError(f"`{name}`{_shaped(at)} is neither {_POINT}, nor {_BOX}")
    pairs = [tuple(_entry(c, name) for c in (row if isinstance(row, list) else (row, row))) for row in rows]
    for low, high in pairs:
        if low > high:
            raise ValueError(f"`{name}` has an empty side: {low} is above {high}")
    return pairs


def vector(x: Any, name: str) -> list[Any]:
    """The exact coordinates of one point or vector.

    Raises:
        TypeError: it holds what is no real number.
        ValueError: it is no vector, or holds a NaN.
    """
    rows = _rows(x, name, "one vector (n,), as `[0.5, 2]`", "the metric is the first argument, `x` and `v` follow")
    if not rows or any(isinstance(row, list) for row in rows):
        raise ValueError(f"`{name}`{_shaped(x)} is not one vector (n,), as `[0.5, 2]`; give one at a time")
    return [_entry(c, name) for c in rows]


def as_float(value: Any, name: str) -> float:
    """The float that is this number exactly.

    Raises:
        TypeError: it is no real number.
        ValueError: it is not finite, or no float is the same.
    """
    value = _number(value, f"`{name}`")
    if not (abs(value) <= sys.float_info.max and value == float(value)):
        raise ValueError(f"`{name}` is {value}, which no float holds; `math.nextafter` has the floats on either side")
    return float(value)


def exact(x: Any) -> Any:
    """The ball of a number."""
    arb, fmpq = flint().arb, flint().fmpq
    return arb(fmpq(x.numerator, x.denominator)) if isinstance(x, Fraction) else arb(x)


def _entry(value: Any, name: str) -> Any:
    return _number(value, f"an entry of `{name}`")


def _number(value: Any, what: str) -> Any:
    """An int, a float, a fraction, or FLINT's ball."""
    if isinstance(value, Tensor | np.ndarray | np.generic) and value.ndim == 0:
        value = _listed(value, what.split("`")[1])
    if isinstance(value, int | Fraction) and not isinstance(value, bool):
        return value
    if isinstance(value, float) or isinstance(value, flint().arb):
        if not (math.isfinite(value) if isinstance(value, float) else value.is_finite()):
            raise ValueError(f"{what} is {value}, which is not finite, expected a finite number")
        return value
    wanted = "expected a real number: an int, a float or a `fractions.Fraction`"
    if isinstance(value, complex):
        raise TypeError(f"{what} is {value}, {wanted}; use its `.real` where the imaginary part is 0")
    exactly = isinstance(value, numbers.Number) and not isinstance(value, bool)
    use = "; `fractions.Fraction(str(…))` makes one" if exactly else ""
    raise TypeError(f"{what} is a {type(value).__name__}, {wanted}{use}")


def _rows(x: Any, name: str, wanted: str, order: str) -> list[Any]:
    """The entries along the first axis: numbers, or lists."""
    what = f"`{name}` is a {type(x).__name__}, expected {wanted}"
    if isinstance(x, str) or callable(x):
        raise TypeError(f"{what}: {order}")
    if isinstance(x, numbers.Number) or isinstance(x, Tensor | np.ndarray) and x.ndim == 0:
        raise TypeError(f"{what}; use `[{name}]`")
    if isinstance(x, Iterator):
        raise TypeError(f"{what}; use `list({name})`")
    if not isinstance(x, Tensor | np.ndarray | Sequence):
        raise TypeError(what + (f"; use `numpy.asarray({name})`" if hasattr(x, "__array__") else ""))
    rows = _listed(x, name) if isinstance(x, Tensor | np.ndarray) else x
    return [_row(row, name) for row in rows]


def _row(row: Any, name: str) -> Any:
    if isinstance(row, Tensor | np.ndarray):
        return _listed(row, name)
    return list(row) if isinstance(row, list | tuple) else row


def _listed(x: Any, name: str) -> Any:
    if isinstance(x, Tensor):
        check_dense(name, x)
        if not has_values(x):
            raise ValueError(f"`{name}` has no values to look at: on the device `meta`, in a transform, or compiled")
    return x.tolist()


def _shaped(x: Any) -> str:
    return f", of shape {tuple(x.shape)}," if isinstance(x, Tensor | np.ndarray) else ""
