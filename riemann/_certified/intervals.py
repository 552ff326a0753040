r"""Intervals as midpoints and radii in float64, one an entry of a tensor: the exact result is inside, always.

Only the operations that IEEE 754 rounds correctly are used: $+ - \cdot / \sqrt{}$, each of which is off by at most $u
= 2^{-53}$ of its result, and $2^{-1074}$ where it underflows. A midpoint is computed as it comes; its rounding error,
bounded a priori, goes into the radius, and what is computed of a radius is made larger by a factor and a tiny number
that cover its own roundings. No rounding mode is switched (Rump, *Fast and parallel interval arithmetic*, BIT 39,
1999; Rump, *Verification methods*, Acta Numerica 19, 2010, sections 5 and 9). exp, log, sin, cos and atan are series
of our own, with bounds of their own: nothing is taken on trust of a vendor's library.

What is not finite is not known: it is NaN in what follows, and no comparison holds of it.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

U = 2.0**-53
TINY = 1e-300  # above every underflow


def up(radius: Tensor, roundings: int = 30) -> Tensor:
    """A radius that so many roundings of its positive terms have made too small at most, made large enough."""
    return radius * (1 + 4 * U * roundings) + TINY


class Interval:
    """mid +- rad, entry by entry.

    Args:
        mid: midpoints, float64.
        rad: radii, of the same shape.
    """

    __slots__ = ("mid", "rad")

    def __init__(self, mid: Tensor, rad: Tensor):
        self.mid, self.rad = mid, rad

    def __neg__(self) -> "Interval":
        return Interval(-self.mid, self.rad)

    def __add__(self, other: "Interval") -> "Interval":
        mid = self.mid + other.mid
        return Interval(mid, up(self.rad + other.rad + U * mid.abs()))

    def __sub__(self, other: "Interval") -> "Interval":
        return self + -other

    def __mul__(self, other: "Interval") -> "Interval":
        mid = self.mid * other.mid
        rad = self.mid.abs() * other.rad + self.rad * (other.mid.abs() + other.rad)
        return Interval(mid, up(rad + U * mid.abs()))

    def scaled(self, factor: float) -> "Interval":
        """Times a number that a float holds exactly."""
        mid = self.mid * factor
        return Interval(mid, up(self.rad * abs(factor) + U * mid.abs()))

    def reciprocal(self) -> "Interval":
        """1 over it; NaN where it may be 0."""
        size = self.mid.abs()
        near, far = (size - self.rad) * (1 - 4 * U), size + self.rad
        good = (near > TINY) & (far < math.inf)
        near, far = torch.where(good, near, math.nan), torch.where(good, far, math.nan)
        mid = self.mid / near / far
        return Interval(mid, up(self.rad / near / far + 16 * U * mid.abs()))

    def lower(self) -> Tensor:
        """Numbers that are certainly not above it; NaN where it is not known."""
        end = self.mid - self.rad
        return torch.where(self.finite(), end - (4 * U * end.abs() + TINY), math.nan)

    def upper(self) -> Tensor:
        """Numbers that are certainly not below it; NaN where it is not known."""
        end = self.mid + self.rad
        return torch.where(self.finite(), end + (4 * U * end.abs() + TINY), math.nan)

    def finite(self) -> Tensor:
        """Where it is known."""
        return torch.isfinite(self.mid) & torch.isfinite(self.rad)

    def where(self, mask: Tensor, other: "Interval") -> "Interval":
        """This one under the mask, the other elsewhere."""
        return Interval(torch.where(mask, self.mid, other.mid), torch.where(mask, self.rad, other.rad))

    def union(self, other: "Interval") -> "Interval":
        """The smallest interval around both, or a little more; NaN where one is."""
        low, high = torch.minimum(self.lower(), other.lower()), torch.maximum(self.upper(), other.upper())
        return hull(low, high)

    def whole_power(self, k: int) -> "Interval":
        """x^k."""
        if k < 0:
            return self.whole_power(-k).reciprocal()
        if k == 0:
            return exactly(1.0, self.mid).where(self.finite(), exactly(math.nan, self.mid))
        low, high = self.lower(), self.upper()
        most = torch.maximum(low.abs(), high.abs())
        least = torch.where(low > 0, low, torch.where(high < 0, -high, 0.0))
        error = (k + 2) * 2 * U
        most, least = _power(most, k) * (1 + error) + TINY, (_power(least, k) * (1 - error) - TINY).clamp(min=0)
        if k % 2 == 0:
            return hull(least, most)
        below, above = torch.where(low > 0, least, -most), torch.where(high < 0, -least, most)
        return hull(below, above)

    # ------------------------------------------------------------------------------------------------------- functions

    def sqrt(self) -> "Interval":
        """The square root; NaN where it may be negative."""
        low, high = self.lower(), self.upper()
        low = torch.where(low >= 0, low, math.nan)
        return hull(low.sqrt() * (1 - 4 * U), high.sqrt() * (1 + 4 * U) + low * 0)

    def exp(self) -> "Interval":
        """The exponential."""
        return _monotone(self, lambda x: _relative(_exp(x), 16 * U))

    def log(self) -> "Interval":
        """The logarithm; NaN where it may not be positive."""
        low = self.lower()
        positive = Interval(torch.where(low > TINY, self.mid, math.nan), self.rad)
        return _monotone(positive, _log)

    def tanh(self) -> "Interval":
        """The hyperbolic tangent."""

        def ends(x: Tensor) -> tuple[Tensor, Tensor]:
            power = _exp(2 * x.clamp(-300, 300))
            return _absolute(1 - 2 / (power + 1), 64 * U)

        return _monotone(self, ends)

    def atan(self) -> "Interval":
        """The arc tangent."""
        return _monotone(self, lambda x: _relative(_atan(x), 64 * U))

    def sin(self) -> "Interval":
        """The sine."""
        return self._wave(0)

    def cos(self) -> "Interval":
        """The cosine."""
        return self._wave(1)

    def _wave(self, quarter: int) -> "Interval":
        sine, cosine = _sin_cos(self.mid)
        value, slope = ((sine, cosine), (cosine, sine))[quarter]
        rad = (slope.abs() + 32 * U) * self.rad + self.rad.square() / 2
        rad = torch.where(self.finite(), torch.minimum(rad, torch.full_like(rad, 2.0)), math.nan)
        return Interval(value, up(rad + 32 * U))


def exactly(number: float, like: Tensor) -> Interval:
    """A float at every entry."""
    return Interval(torch.full_like(like, number), torch.zeros_like(like))


def hull(low: Tensor, high: Tensor) -> Interval:
    """An interval around two ends."""
    mid = low / 2 + high / 2
    return Interval(mid, up(torch.maximum(high - mid, mid - low)))


def _monotone(x: Interval, ends: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Interval:
    """An increasing function, from bounds of its values at numbers."""
    return hull(ends(x.lower())[0], ends(x.upper())[1])


def _relative(value: Tensor, error: float) -> tuple[Tensor, Tensor]:
    slack = value.abs() * error + TINY
    return value - slack, value + slack


def _absolute(value: Tensor, error: float) -> tuple[Tensor, Tensor]:
    return value - error, value + error


def _power(x: Tensor, k: int) -> Tensor:
    """x^k by at most 2 log2 k multiplications, each of which is counted k times at most."""
    y = None
    while k:
        if k & 1:
            y = x if y is None else y * x
        k >>= 1
        x = x * x if k else x
    return y


# The constants are split so that products of the first part with a small integer are exact.
_LN2 = tuple(map(float.fromhex, ("0x1.62E42FEE00000p-1", "0x1.A39EF35793C76p-33")))  # as in fdlibm
_HALF_PI = tuple(map(float.fromhex, ("0x1.921FB54400000p0", "0x1.0B4611A600000p-34", "0x1.3198A2E037073p-69")))


def _exp(x: Tensor) -> Tensor:
    """exp to a relative 8u, and 0 or infinity beyond 700 (with `TINY` or NaN as the bound).

    k ln 2 is subtracted in two parts, and 14 terms of the series at |r| <= 0.36 leave 1e-18. In Horner's scheme the
    error E of each step is at most u (|p| + 2 |r q|) + |r| E, so E <= 4u, to which r contributes u.
    """
    k = torch.round(x / math.log(2))
    r = (x - k * _LN2[0]) - k * _LN2[1]
    y = torch.ones_like(r)
    for j in range(14, 0, -1):
        y = 1 + r * y / j
    half = (k / 2).floor()
    y = y * _power_of_two(half) * _power_of_two(k - half)
    y = torch.where(x < -692, torch.zeros_like(y), y)
    return torch.where(x > 700, math.inf, y)


def _power_of_two(k: Tensor) -> Tensor:
    """2^k for whole |k| < 1000, from its bits."""
    return ((k.clamp(-1000, 1000).to(torch.int64) + 1023) << 52).view(torch.float64)


def _log(x: Tensor) -> tuple[Tensor, Tensor]:
    """log within 16u of its parts: x = 2^k m, and log m = 2 artanh s, |s| <= 0.172, of which 13 terms leave 1e-20."""
    m, k = torch.frexp(x)
    small = m < math.sqrt(0.5)
    m, k = torch.where(small, 2 * m, m), torch.where(small, k - 1, k).to(x.dtype)
    s = (m - 1) / (m + 1)
    square, y = s * s, torch.zeros_like(s)
    for j in range(25, 0, -2):
        y = 1 / j + square * y
    y = 2 * s * y
    value = k * _LN2[0] + (k * _LN2[1] + y)
    slack = 16 * U * (y.abs() + k.abs()) + TINY
    return value - slack, value + slack


def _sin_cos(x: Tensor) -> tuple[Tensor, Tensor]:
    """sin and cos within 16u for |x| <= 1e5, NaN beyond: k pi/2 is subtracted in three parts."""
    k = torch.round(x / (math.pi / 2))
    r = ((x - k * _HALF_PI[0]) - k * _HALF_PI[1]) - k * _HALF_PI[2]
    square = r * r
    sine, cosine = torch.zeros_like(r), torch.zeros_like(r)
    for j in range(20, 0, -2):
        cosine = 1 - square * cosine / (j * (j - 1)) if j < 20 else torch.ones_like(r)
        sine = 1 - square * sine / (j * (j + 1)) if j < 20 else torch.ones_like(r)
    sine = r * sine
    turn = torch.remainder(k, 4)
    odd = (turn == 1) | (turn == 3)
    s, c = torch.where(odd, cosine, sine), torch.where(odd, sine, cosine)
    s, c = torch.where(turn >= 2, -s, s), torch.where((turn == 1) | (turn == 2), -c, c)
    good = x.abs() <= 1e5
    return torch.where(good, s, math.nan), torch.where(good, c, math.nan)


def _atan(x: Tensor) -> Tensor:
    """atan to a relative 32u: of 1 / x beyond 1, halved twice, and 16 terms at |t| <= 0.2."""
    size = x.abs()
    t = torch.where(size > 1, 1 / size, size)
    for _ in range(2):
        t = t / (1 + torch.sqrt(1 + t * t))
    square, y = t * t, torch.zeros_like(t)
    for j in range(31, 0, -2):
        y = 1 / j - square * y
    y = 4 * t * y
    return torch.sign(x) * torch.where(size > 1, math.pi / 2 - y, y)
