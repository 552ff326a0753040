"""FLINT: brought in when it is first needed, used at one precision at a time."""

import contextlib
from collections.abc import Iterator
from typing import Any

BITS = 160  # of constants and witnesses


def flint() -> Any:
    """The module; an ImportError that says how to get it."""
    try:
        import flint
    except ImportError as error:
        raise ImportError("enclosures need python-flint: pip install 'riemann-torch[certify]'") from error
    return flint


@contextlib.contextmanager
def precision(bits: int) -> Iterator[None]:
    """FLINT's precision inside, which belongs to the whole process."""
    context = flint().ctx
    before = context.prec
    context.prec = bits
    try:
        yield
    finally:
        context.prec = before


@contextlib.contextmanager
def terms_kept(count: int) -> Iterator[None]:
    """How many coefficients FLINT's power series have inside, which belongs to the whole process."""
    context = flint().ctx
    before = context.cap
    context.cap = count
    try:
        yield
    finally:
        context.cap = before


def below(x: Any) -> float:
    """The largest float that is certainly not above a ball's points; NaN where it has no bounds."""
    return _outwards(x.lower(), -1)


def above(x: Any) -> float:
    """The smallest float that is certainly not below a ball's points; NaN where it has no bounds."""
    return _outwards(x.upper(), 1)


def _outwards(end: Any, sign: int) -> float:
    import math

    number = float(end)
    while math.isfinite(number) and not (sign * (flint().arb(number) - end) >= 0):
        number = math.nextafter(number, sign * math.inf)
    return number
