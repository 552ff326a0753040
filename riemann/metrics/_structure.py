"""What structured metrics share: jets of their parts, Leibniz's rule, blocks, and how their routes are registered."""

import functools
from collections.abc import Callable, Sequence
from itertools import combinations
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from riemann import _curvature, _jets, _open, formulas
from riemann._indices import bilinear, check_positions, matvec, move_indices
from riemann._metric import metric_jet
from riemann._modules import unwrapped
from riemann._points.one_point import at_one_point
from riemann._types import ChunkSize, Field, Progress

Jets = tuple[Tensor, ...]

# ---------------------------------------------------------------------------------------------------------- parts


def part(f: Field, x: Tensor, shape: Sequence[int | None], what: str) -> Tensor:
    """`f(x)` at one point, its shape checked; None stands for any length."""
    if not callable(f):
        raise TypeError(f"`{what}` is a {type(f).__name__}, expected a callable of one point of shape (n,)")

    def fits(y: Any) -> bool:
        return isinstance(y, Tensor) and len(y.shape) == len(shape) and all(map(_agree, shape, y.shape))

    value = at_one_point(unwrapped(f), x, what, fits)
    if not isinstance(value, Tensor):
        raise TypeError(f"`{what}` returned {type(value).__name__} at one point, expected a torch.Tensor")
    if not fits(value):
        expected = str(tuple(shape)).replace("None", "any")
        raise ValueError(
            f"`{what}` returned shape {tuple(value.shape)} at one point, expected {expected}; it takes one point of "
            f"shape {tuple(x.shape)}"
        )
    return value


def _agree(expected: int | None, length: int) -> bool:
    return expected in (None, length)


def with_dimension(pair: Any, what: str) -> tuple[Any, int]:
    """A metric and its dimension; raises unless `pair` is these."""
    metric, dim = pair if isinstance(pair, tuple | list) and len(pair) == 2 else (None, None)
    if not callable(metric) or not isinstance(dim, Integral) or dim < 1:
        raise TypeError(f"{what} is {pair!r}, expected a pair: a metric and its dimension, `(metric, n)`")
    return metric, dim


def part_field(f: Field, x: Tensor, shape: Sequence[int | None], what: str) -> Field:
    """A part as `_jets.jets_along` and its like take it, for points x; its shape is checked."""
    return _jets.field(lambda p: part(f, p, shape, what), x, what)


def part_jet(f: Field, x: Tensor, order: int, shape: Sequence[int | None], what: str) -> Jets:
    """`(f, df, …)` of a part of a metric at points `(*batch, n)`."""
    return _jets.jets_at(lambda p: part(f, p, shape, what), x, order, what)


def leibniz(spec: str, a: Jets, b: Jets) -> Jets:
    """Jets of a product of two fields, `spec` as in einsum (without z, y, …, which are the derivatives)."""
    left, right, out = spec.replace("->", ",").split(",")
    jets = []
    for k in range(min(len(a), len(b))):
        letters = "zyxwv"[:k]
        terms = []
        for size in range(k + 1):
            for chosen in combinations(letters, size):
                S, rest = "".join(chosen), "".join(c for c in letters if c not in chosen)
                equation = f"...{left}{S},...{right}{rest}->...{out}{letters}"
                terms.append(torch.einsum(equation, a[size], b[k - size]))
        jets.append(sum(terms[1:], terms[0]))
    return tuple(jets)


def composed(outer: Jets, inner: Jets) -> Jets:
    r"""Jets of $T \circ f$ (Faà di Bruno): those of T by its m coordinates, and $\partial f, \partial\partial f, …$.

    Args:
        outer: `(T, dT, …)`, `(*batch, *s, m)` and so on.
        inner: derivatives of f from the first on, `[..., A, i]`, `[..., A, i, j]`, ….
    """
    rank = outer[0].ndim - (inner[0].ndim - 2)
    spaces, jets = "PQRSTU"[:rank], [outer[0]]
    for k in range(1, len(outer)):
        letters, terms = "zyxwv"[:k], []
        for blocks in _partitions(letters):
            above = "ABCDE"[: len(blocks)]
            factors = [f"...{A}{block}" for A, block in zip(above, blocks, strict=True)]
            equation = f"...{spaces}{above},{','.join(factors)}->...{spaces}{letters}"
            terms.append(torch.einsum(equation, outer[len(blocks)], *(inner[len(block) - 1] for block in blocks)))
        jets.append(sum(terms[1:], terms[0]))
    return tuple(jets)


def _partitions(letters: str) -> list[list[str]]:
    """All ways to divide letters into blocks."""
    if not letters:
        return [[]]
    first, found = letters[0], []
    for rest in _partitions(letters[1:]):
        found.append([first, *rest])
        found += [[*rest[:k], first + block, *rest[k + 1 :]] for k, block in enumerate(rest)]
    return found


def embed(T: Tensor, rank: int, start: int, n: int) -> Tensor:
    """T with its last `rank` axes put at `start` of axes of length n, zeros around."""
    stop = n - start - T.shape[-1] if rank else 0
    return torch.nn.functional.pad(T, (start, stop) * rank)


def embed_jets(jets: Jets, rank: int, start: int, n: int) -> Jets:
    """Jets of a field of some coordinates of n, as jets over all of them: its `rank` tensor axes grow, too."""
    return tuple(embed(T, rank + k, start, n) for k, T in enumerate(jets))


def or_nan(values: Tensor, slopes: Tensor, x: Tensor) -> Tensor:
    """Values `(*batch, m)` that may not be 0; NaN where one is, or what the last bit of a coordinate makes of 0."""
    last_bit = torch.finfo(x.dtype).eps * matvec(slopes.abs(), x.abs())
    return torch.where(values.abs() <= 2 * last_bit, torch.full_like(values, torch.nan), values)


def scaled(a: Tensor, T: Tensor) -> Tensor:
    """A scalar at each point, `(*batch,)`, times a tensor there."""
    return a.reshape((*a.shape, *[1] * (T.ndim - a.ndim))) * T


# --------------------------------------------------------------------------------------------------------- routes


route = functools.partial(_open.route, calls_parts=True)


# ------------------------------------------------------------------------------------- what follows from the rest


def volume_element(metric: Any, x: Tensor) -> Tensor:
    """`volume_element` from `log_volume_element`."""
    return _curvature.log_volume_element(metric, x).exp()


def _value(metric: Any, x: Tensor) -> Tensor:
    return metric_jet(metric, x, 0)[0]


def einstein_tensor(metric: Any, x: Tensor, indices: str = "ll") -> Tensor:
    """`einstein_tensor` from `ricci_tensor`."""
    return formulas.einstein_from_ricci(_value(metric, x), _curvature.ricci_tensor(metric, x), indices)


def schouten_tensor(metric: Any, x: Tensor, indices: str = "ll") -> Tensor:
    """`schouten_tensor` from `ricci_tensor`."""
    return formulas.schouten_from_ricci(_value(metric, x), _curvature.ricci_tensor(metric, x), indices)


def ricci_curvature(metric: Any, x: Tensor, v: Tensor) -> Tensor:
    """`ricci_curvature` from `ricci_tensor`."""
    return bilinear(_curvature.ricci_tensor(metric, x), v, v)


def weyl_tensor(metric: Any, x: Tensor, indices: str = "ulll") -> Tensor:
    """`weyl_tensor` from `riemann_tensor` and `ricci_tensor`."""
    riemann, ricci = _curvature.riemann_tensor(metric, x, "llll"), _curvature.ricci_tensor(metric, x)
    return formulas.weyl_from_riemann(_value(metric, x), riemann, ricci, indices)


def kretschmann_scalar(metric: Any, x: Tensor) -> Tensor:
    """`kretschmann_scalar` from `riemann_tensor`."""
    return formulas.kretschmann_from_riemann(_value(metric, x), _curvature.riemann_tensor(metric, x, "llll"))


def sectional_curvature(
    metric: Any, x: Tensor, u: Tensor, v: Tensor, *, chunk_size: ChunkSize = "auto", progress: Progress = False
) -> Tensor:
    """`sectional_curvature` from `sectional_form` and `squared_area`."""
    generic = _curvature.sectional_curvature.__wrapped__
    return generic(metric, x, u, v, chunk_size=chunk_size, progress=progress)


_DERIVED = {
    _curvature.volume_element: volume_element,
    _curvature.einstein_tensor: einstein_tensor,
    _curvature.schouten_tensor: schouten_tensor,
    _curvature.ricci_curvature: ricci_curvature,
    _curvature.weyl_tensor: weyl_tensor,
    _curvature.kretschmann_scalar: kretschmann_scalar,
    _curvature.sectional_curvature: sectional_curvature,
}


def derive(kind: type, *functions: Callable[..., Any]) -> None:
    """Registers for a type what follows from its other routes."""
    for function in functions:
        route(function, kind)(_DERIVED[function])


def positioned(metric: Any, x: Tensor, T: Tensor, indices: str, what: str) -> Tensor:
    """T, all indices lower, at the positions wanted."""
    rank = T.ndim - x.ndim + 1
    check_positions(indices, rank, what)
    if "u" not in indices:
        return T
    return move_indices(T, T, _curvature.inverse_metric(metric, x), "l" * rank, indices)
