"""Functions of one number over residues: values and two derivatives, and how conditions are ordered.

A function is a hash of its name and argument, but what relates it to its derivatives, or to other functions, holds.
"""

import math
from typing import Any

import torch
from torch import Tensor

from riemann._structure.residues import PRIME, hashed, inverse, of_number, power, times


def reduced(a: Tensor) -> Tensor:
    """A sum of residues as a residue."""
    return torch.remainder(a, PRIME)


def exponential(a: Tensor) -> Tensor:
    """Of -a the reciprocal of that of a."""
    low = a <= PRIME // 2
    e = hashed("exp", torch.where(low, a, PRIME - a))
    return torch.where(low, e, inverse(e))


def greater(a: Tensor, b: Tensor) -> Tensor:
    """The residue of a > b, 1 less that of b > a: where the two are equal nothing is said."""
    difference = torch.remainder(a - b, PRIME)
    low = difference <= PRIME // 2
    c = hashed("greater", torch.where(low, difference, PRIME - difference))
    return torch.where(low, c, torch.remainder(1 - c, PRIME))


def derivatives(name: Any, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Residues of a function and of its first two derivatives, for residues of its argument."""
    one, two = torch.tensor(1), torch.tensor(2)
    if name in ("exp", "sinh", "cosh"):
        e, back = exponential(a), exponential(reduced(-a))
        half = inverse(two)
        odd, even = times(half, reduced(e - back)), times(half, reduced(e + back))
        return {"exp": (e, e, e), "sinh": (odd, even, odd), "cosh": (even, odd, even)}[name]
    if name == "sigmoid":
        e = exponential(a)
        f = times(e, inverse(reduced(one + e)))
        first = times(f, reduced(one - f))
        return f, first, times(first, reduced(one - 2 * f))
    if name[0] == "softplus":  # as torch computes it: the identity beyond a threshold
        far, (f, *rest) = greater(a, of_number(name[1])), derivatives("sigmoid", a)
        near = reduced(one - far)
        value = times(far, a) + times(near, hashed("softplus", a))
        return reduced(value), reduced(far + times(near, f)), times(near, rest[0])
    if name == "gelu":  # with the constants of torch
        normal = times(of_number(0.3989422804014327), exponential(times(of_number(-0.5), times(a, a))))
        half = times(of_number(0.5), reduced(one + hashed("erf", times(a, of_number(0.7071067811865476)))))
        return hashed(name, a), reduced(half + times(a, normal)), times(normal, reduced(two - times(a, a)))
    f = hashed(name, a)
    if name in ("sin", "cos"):
        other = hashed("cos" if name == "sin" else "sin", a)
        return f, reduced(-other) if name == "cos" else other, reduced(-f)
    if name == "tanh":
        first = reduced(one - times(f, f))
        return f, first, reduced(-times(two, times(f, first)))
    if name in ("log", "log1p", "atan", "asinh"):
        inner = {"log": a, "log1p": a + 1, "atan": 1 + times(a, a)}.get(name)
        if inner is None:
            root = hashed("sqrt", reduced(1 + times(a, a)))
            return f, inverse(root), reduced(-times(a, power(root, -3)))
        first = inverse(reduced(inner))
        slope = one if name != "atan" else reduced(two * a)
        return f, first, reduced(-times(slope, times(first, first)))
    if name == "sqrt":
        first = inverse(times(two, f))
        return f, first, reduced(-times(times(two, first), times(first, first)))
    if name == "erf":
        first = times(of_number(2 / math.sqrt(math.pi)), exponential(reduced(-times(a, a))))
        return f, first, reduced(-times(two, times(a, first)))
    if name == "abs":
        return f, hashed("sgn", a), torch.zeros_like(a)
    if name in ("sgn", "sign"):
        return hashed("sgn", a), torch.zeros_like(a), torch.zeros_like(a)
    return f, hashed((name, 1), a), hashed((name, 2), a)
