r"""Numbers modulo a prime: what makes the equality of two graphs a matter of arithmetic.

A graph is run once over random residues. Sums, products and quotients are those of the field, so two ways to write a
rational function give the same residue; a function such as tanh gives a residue that is a hash of its name and of its
argument. Two results that agree for random arguments are the same expression, by whatever loops, stacks and einsums,
but for one chance in $10^{9}$ a draw and degree (Schwartz and Zippel).
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

PRIME = 2**31 - 19  # products of two residues are exact in 64 bits
_MIX = (-7046029254386353131, -4658895280553007687)  # odd numbers whose bits look random


def random(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Random residues."""
    return torch.randint(2, PRIME, tuple(shape), generator=generator)


def times(a: Tensor, b: Tensor) -> Tensor:
    """The product, entry by entry."""
    return torch.remainder(a * b, PRIME)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product; one factor in three pieces of 11 bits, so that floating-point sums are exact."""
    same = [t.ndim > 2 and t.stride(0) == 0 and len(t) > 1 for t in (a, b)]  # in all draws
    if all(same):
        product = matmul(a[:1], b[:1])
        return product.expand(len(a), *product.shape[1:])
    a, b = (t[0] if one else t for t, one in zip((a, b), same, strict=True))
    result, right = torch.zeros((), dtype=torch.int64), b.double()
    for shift in (22, 11, 0):
        piece = ((a >> shift) & 2047).double()
        partial = [p @ q for p, q in zip(piece.split(1024, -1), right.split(1024, -2), strict=True)]
        for part in partial:
            result = torch.remainder(result + (torch.remainder(part, PRIME).long() << shift), PRIME)
    return result


def power(a: Tensor, exponent: int) -> Tensor:
    """A power with a whole exponent; of 0 with a negative one it is 0."""
    if exponent < 0:
        return power(power(a, PRIME - 2), -exponent)
    result = torch.ones_like(a)
    while exponent:
        if exponent & 1:
            result = times(result, a)
        a, exponent = times(a, a), exponent >> 1
    return result


def inverse(a: Tensor) -> Tensor:
    """1 / a."""
    return power(a, PRIME - 2)


def of_numbers(a: Tensor) -> Tensor:
    """Residues of floating-point numbers, each the fraction m 2^e that it is; of what is not finite a hash."""
    if not a.is_floating_point():
        return torch.remainder(a.long(), PRIME)
    if a._is_zerotensor():
        return torch.zeros(a.shape, dtype=torch.int64)
    flat = a.detach().cpu().double().numpy().ravel()
    finite = np.isfinite(flat)
    mantissa, exponent = np.frexp(np.where(finite, flat, 1.0))
    m = torch.from_numpy(np.ldexp(mantissa, 53).astype(np.int64))
    e = torch.from_numpy(exponent.astype(np.int64)) - 53
    residues = times(torch.remainder(m, PRIME), _powers_of_two()[e + 1200])
    odd = torch.where(torch.from_numpy(np.isnan(flat)), 5, torch.where(torch.from_numpy(flat > 0), 7, 11))
    return torch.where(torch.from_numpy(finite), residues, hashed("infinite", odd)).reshape(a.shape)


def of_number(c: float) -> Tensor:
    """The residue of one number."""
    return of_numbers(torch.tensor(c, dtype=torch.float64))


@functools.cache
def _powers_of_two() -> Tensor:
    return torch.tensor([pow(2, e, PRIME) for e in range(-1200, 1200)])


def hashed(name: Any, *arguments: Tensor) -> Tensor:
    """A residue that looks random and is the same for the same name and arguments, entry by entry."""
    state = torch.tensor(_seed(repr(name)))
    for a in arguments:
        for odd in _MIX:
            state = (state ^ a) * odd
            state = state ^ (state >> 29)
    return torch.remainder(state, PRIME)


@functools.cache
def _seed(name: str) -> int:
    seed = 1469598103
    for byte in name.encode():
        seed = (seed ^ byte) * 1099511628211 % 2**61
    return seed


def digest(*tensors: Tensor) -> Tensor:
    """One residue for all entries behind the first axis of tensors `(draws, …)`."""
    state = torch.zeros(tensors[0].shape[0], dtype=torch.int64)
    for t in tensors:
        flat = t.reshape(t.shape[0], -1)
        places = hashed("place", torch.arange(flat.shape[1]))
        state = hashed(("digest", tuple(t.shape[1:])), state, torch.remainder(times(flat, places).sum(-1), PRIME))
    return state
