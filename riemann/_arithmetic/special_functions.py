"""Special functions in plain operations of torch, of every order: torch's lose digits, or have no derivatives."""

import functools
import math
from fractions import Fraction

import torch
from torch import Tensor

TERMS = 14  # of asymptotic series


@functools.cache
def _bernoulli(count: int) -> tuple[Fraction, ...]:
    """B_2, B_4, … ."""
    B = [Fraction(1)]
    for m in range(1, 2 * count + 1):
        B.append(-sum(math.comb(m + 1, k) * B[k] for k in range(m)) / (m + 1))
    return tuple(B[2::2])


def polygamma(n: int, x: Tensor) -> Tensor:
    r"""The derivative of order n of digamma, $\psi^{(n)}(x)$; n = 0 is digamma itself.

    By recurrence to large arguments and the asymptotic series there; by reflection left of 1/2.
    """
    right = x >= 0.5
    value = _of_large(n, torch.where(right, x, 1 - x))
    apart = torch.where(right, torch.full_like(x, 0.25), x)
    reflected = (-1) ** n * value - _derivative_of_cotangent(n, apart)
    return torch.where(right, value, reflected)


def _of_large(n: int, x: Tensor) -> Tensor:
    """The same for x >= 1/2."""
    steps = 16 + n
    y, sign = x + steps, (-1) ** (n + 1)
    shifts = torch.arange(steps, dtype=x.dtype, device=x.device)
    factorial = float(math.factorial(n))
    terms = factorial * (x.unsqueeze(-1) + shifts) ** -(n + 1)
    series = torch.zeros_like(y)
    for k, B in reversed(list(enumerate(_bernoulli(TERMS), 1))):
        coefficient = B * Fraction(math.factorial(2 * k + n - 1), math.factorial(2 * k))
        series = (series + float(coefficient)) / y**2
    first = -torch.log(y) if n == 0 else factorial / n * y**-n
    return sign * (first + factorial * y ** -(n + 1) / 2 + series * y**-n + terms.sum(-1))


@functools.cache
def _cotangent(n: int) -> tuple[int, ...]:
    """The coefficients of the derivative of order n of cot, a polynomial in cot."""
    p = [0, 1]
    for _ in range(n):
        d = [k * c for k, c in enumerate(p)][1:]
        p = [-(a + b) for a, b in zip([*d, 0, 0], [0, 0, *d], strict=True)]
    return tuple(p)


def _derivative_of_cotangent(n: int, x: Tensor) -> Tensor:
    """The derivative of order n of pi cot(pi x)."""
    r = x - torch.round(x)
    cos = torch.sin(math.pi * torch.where(r < 0, 0.5 + r, 0.5 - r))  # which is 0 at 1/2
    cot, value = cos / torch.sin(math.pi * r), torch.zeros_like(x)
    for c in reversed(_cotangent(n)):
        value = value * cot + float(c)
    return math.pi ** (n + 1) * value


def lgamma(x: Tensor) -> Tensor:
    r"""The logarithm of $|\Gamma(x)|$: eight steps up and Stirling's series there; by reflection left of 1/2."""
    right = x >= 0.5
    y = torch.where(right, x, 1 - x)
    product = torch.ones_like(y)
    for _ in range(8):
        product, y = product * y, y + 1
    series = torch.zeros_like(y)
    for k, B in reversed(list(enumerate(_bernoulli(TERMS), 1))):
        series = series / y**2 + float(B / (2 * k * (2 * k - 1)))
    value = (y - 0.5) * torch.log(y) - y + math.log(2 * math.pi) / 2 + series / y - torch.log(product)
    apart = torch.where(right, torch.full_like(x, 0.25), x)
    sine = torch.sin(math.pi * (apart - torch.round(apart)))
    return torch.where(right, value, math.log(math.pi) - torch.log(torch.abs(sine)) - value)


# ----------------------------------------------------------------------------------------------------- Bessel functions

_SMALL = {
    "j": (torch.special.bessel_j0, torch.special.bessel_j1),
    "y": (torch.special.bessel_y0, torch.special.bessel_y1),
    "i": (torch.special.i0, torch.special.i1),
    "k": (torch.special.modified_bessel_k0, torch.special.modified_bessel_k1),
}


def bessel(letter: str, n: int, x: Tensor) -> Tensor:
    """The Bessel function J, Y, I or K of whole order n: from those of orders 0 and 1 upwards, J and I by series, too.

    Values only. Of J and Y beyond 1 torch has eight digits: those are ours.
    """
    if n < 0:
        return bessel(letter, -n, x) * ((-1) ** n if letter in "jy" else 1)
    below, value = (f(x) for f in _SMALL[letter])
    if letter in "jy":
        size = x.abs()
        far, near = size > 25, size > 1
        at = torch.where(near & ~far, size, torch.full_like(x, 5.0)), torch.where(far, size, torch.full_like(x, 30.0))
        large = [torch.where(far, b, a) for a, b in zip(_downwards(letter, at[0]), _far(letter, at[1]), strict=True)]
        odd = torch.sign(x) if letter == "j" else torch.where(x < 0, torch.nan, torch.ones_like(x))
        even = torch.ones_like(x) if letter == "j" else odd
        below, value = torch.where(near, large[0] * even, below), torch.where(near, large[1] * odd, value)
    if n < 2:
        return (below, value)[n]
    for k in range(1, n):  # stable upwards for Y and K, and for J and I where x is large
        step = 2 * k / x * value
        below, value = value, {"j": step - below, "y": step - below, "i": below - step, "k": step + below}[letter]
    if letter in "yk":
        return value
    small = x.abs() < (max(2, n) if letter == "j" else n + 16)
    return torch.where(small, _bessel_series(letter, n, torch.where(small, x, torch.ones_like(x))), value)


def _bessel_series(letter: str, n: int, x: Tensor) -> Tensor:
    """The power series of J or I, for x that is not large beside n."""
    square, series = x**2 / (-4 if letter == "j" else 4), torch.zeros_like(x)
    for k in range(40 + n, 0, -1):
        series = (series + 1) * square / (k * (k + n))
    return (series + 1) * (x / 2) ** n / math.factorial(n)


def _downwards(letter: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """J or Y of orders 0 and 1 for 1 <= x <= 25: J by Miller's downward recurrence, Y by Neumann's series in them."""
    top = 80 if x.dtype == torch.float64 else 44
    J = [torch.zeros_like(x), torch.full_like(x, 1e-100 if x.dtype == torch.float64 else 1e-37)]
    for k in range(top, 0, -1):
        J.append(2 * k / x * J[-1] - J[-2])
    J.reverse()
    whole = J[0] + 2 * sum(J[2:top:2])
    J = [y / whole for y in J]
    if letter == "j":
        return J[0], J[1]
    log = torch.log(x / 2) + 0.5772156649015329
    zeroth = log * J[0] - 2 * sum((-1) ** k / k * J[2 * k] for k in range(1, top // 2))
    first = (log - 1) * J[1] - J[0] / x
    first = first - sum((-1) ** k * (2 * k + 1) / (k * (k + 1)) * J[2 * k + 1] for k in range(1, top // 2 - 1))
    return 2 / math.pi * zeroth, 2 / math.pi * first


def _far(letter: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """J or Y of orders 0 and 1 for x > 25, by Hankel's expansion."""
    values = []
    for n in (0, 1):
        P, Q, term = torch.zeros_like(x), torch.zeros_like(x), torch.ones_like(x)
        for k in range(30):
            sign = -1 if k % 4 > 1 else 1
            P, Q = (P + sign * term, Q) if k % 2 == 0 else (P, Q + sign * term)
            term = term * (4 * n**2 - (2 * k + 1) ** 2) / (8 * (k + 1) * x)
        cos, sin = torch.cos(x), torch.sin(x)
        c, s = ((cos + sin), (sin - cos)) if n == 0 else ((sin - cos), (-sin - cos))  # sqrt 2 times, of the phase
        values.append((P * c - Q * s if letter == "j" else P * s + Q * c) / torch.sqrt(math.pi * x))
    return values[0], values[1]
