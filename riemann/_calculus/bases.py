"""Functions whose combinations are looked through for symmetries, and the points at which."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from riemann._calculus.integrate import checked_dimension
from riemann._points.checks import check_points
from riemann._types import Field


class Places(NamedTuple):
    """Where a symmetry is looked for: the range of each coordinate, and points with weights, if they are given."""

    low: Tensor
    high: Tensor
    points: Tensor | None
    weights: Tensor | None
    generator: torch.Generator

    def halves(self, count: int, fewest: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Points to find a symmetry at, and others to judge it by, each with weights of sum 1.

        Of the box `count` each; of the points given a random half each, `fewest` or more.
        """
        if self.points is None:
            shape = 2, count, len(self.low)
            x = torch.rand(shape, generator=self.generator, dtype=self.low.dtype).to(self.low)
            even = self.low.new_full((count,), 1 / count)
            first, second = self.low + (self.high - self.low) * x
            return (first, even), (second, even)
        if len(self.points) < 2 * fewest:
            raise ValueError(
                f"`points` are {len(self.points)}, too few for so many functions: expected {2 * fewest} or more "
                "(half of them judge what the others find); lower `degree`, or give a smaller basis"
            )
        order = torch.randperm(len(self.points), generator=self.generator).to(self.points.device)
        first, second = ((self.points[half], self.weights[half]) for half in order.tensor_split(2))  # type: ignore[index]
        return (first[0], first[1] / first[1].sum()), (second[0], second[1] / second[1].sum())


def places(
    box: Sequence[Sequence[int | float]] | None,
    points: Tensor | None,
    weights: Tensor | None,
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> Places:
    """The box, or the points, or both, checked; the range of the coordinates is that of the points without a box."""
    generator = torch.Generator().manual_seed(0)
    if points is None:
        if weights is not None:
            raise ValueError("`weights` are of `points`, which are not given; of a box all points count alike")
        if box is None:
            raise ValueError("neither `box` nor `points` is given: where is the symmetry to be looked for?")
        checked_dimension(box)
        low, high = torch.tensor(box, dtype=dtype, device=device).T
        return Places(low, high, None, None, generator)
    check_points(points, "points")
    if points.ndim < 2 or points.numel() == 0:
        raise ValueError(f"`points` has shape {tuple(points.shape)}, expected (N, n): coordinates on the last axis")
    points = points.detach().reshape(-1, points.shape[-1])
    if box is None:
        low, high = points.amin(0), points.amax(0)
        flat = (high - low <= 0).nonzero()[:, 0].tolist()
        if flat:
            raise ValueError(
                f"all `points` have the same coordinate {flat[0]}, so that its range is not known; give `box`, too"
            )
    else:
        if checked_dimension(box) != points.shape[-1]:
            raise ValueError(f"`box` has {len(box)} coordinates, but `points` have {points.shape[-1]}")
        low, high = torch.tensor(box, dtype=points.dtype, device=points.device).T
    weights = _checked_weights(weights, points)
    counted = weights > 0
    return Places(low, high, points[counted], weights[counted], generator)


def _checked_weights(weights: Tensor | None, points: Tensor) -> Tensor:
    """Weights of points `(N, n)`, `(N,)`, 1 where none are given; raises unless they are finite and not negative."""
    if weights is None:
        return points.new_ones(len(points))
    if not isinstance(weights, Tensor) or weights.numel() != len(points):
        got = f"has shape {tuple(weights.shape)}" if isinstance(weights, Tensor) else f"is a {type(weights).__name__}"
        raise ValueError(f"`weights` {got}, expected a tensor of one weight a point, ({len(points)},)")
    weights = weights.detach().reshape(-1).to(points)
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError("`weights` has negative numbers, or such as are not finite")
    if int((weights > 0).sum()) < 2:
        raise ValueError("`weights` are 0 at all points but one, or at all")
    return weights


# ------------------------------------------------------------------------------------------------------------- bases


def vector_fields(
    basis: str | Field | Sequence[Field], degree: int, low: Tensor, high: Tensor
) -> tuple[Callable[[Tensor], Tensor], bool]:
    """The vector fields of a basis as one field `(fields, n)`, and whether they come from scalar functions."""
    if isinstance(basis, str) or callable(basis):
        functions = scalar_functions(basis, degree, low, high)

        def times_coordinate_fields(x: Tensor) -> Tensor:
            f, n = functions(x), x.shape[-1]
            return torch.einsum("a,ij->aij", f, torch.eye(n, dtype=x.dtype, device=x.device)).reshape(-1, n)

        return times_coordinate_fields, True
    fields = tuple(basis)
    if not fields or not all(map(callable, fields)):
        raise ValueError("`basis` is a sequence, expected one or more vector fields, each one point (n,) to (n,)")

    def stacked(x: Tensor) -> Tensor:
        values = [field(x) for field in fields]
        for k, value in enumerate(values):
            if value.shape != x.shape:
                raise ValueError(
                    f"`basis[{k}]` returned shape {tuple(value.shape)} at one point, expected {tuple(x.shape)}"
                )
        return torch.stack(values)

    return stacked, False


def scalar_functions(basis: str | Field, degree: int, low: Tensor, high: Tensor) -> Field:
    """The scalar functions of a basis as one field `(functions,)`."""
    if basis == "polynomial":
        return polynomials(degree, low, high)
    if basis == "trigonometric":
        return waves(degree)
    if not callable(basis):
        raise ValueError(
            f"`basis` is {basis!r}, expected 'polynomial', 'trigonometric', scalar functions (one point (n,) to "
            "(functions,)), or a sequence of vector fields"
        )

    def functions(x: Tensor) -> Tensor:
        f = basis(x)
        if f.ndim != 1:
            raise ValueError(f"`basis` returned shape {tuple(f.shape)} at one point, expected (functions,)")
        return f

    return functions


def polynomials(degree: int, low: Tensor, high: Tensor) -> Field:
    """Products of Chebyshev polynomials of the coordinates, which run from -1 to 1 in the box."""
    n = len(low)
    powers = [p for p in itertools.product(range(degree + 1), repeat=n) if sum(p) <= degree]

    def functions(x: Tensor) -> Tensor:
        u = (2 * x - low - high) / (high - low)
        chebyshev = [torch.ones_like(u), u]
        for _ in range(degree - 1):
            chebyshev.append(2 * u * chebyshev[-1] - chebyshev[-2])
        return _products(chebyshev, powers)

    return functions


def waves(degree: int) -> Field:
    """Products of 1, sin x, cos x, sin 2x, cos 2x, … of the coordinates; sines and cosines count by their multiple."""

    def functions(x: Tensor) -> Tensor:
        waves = [torch.ones_like(x)]
        for k in range(1, degree + 1):
            waves += [torch.sin(k * x), torch.cos(k * x)]
        choices = itertools.product(range(len(waves)), repeat=len(x))
        return _products(waves, [c for c in choices if sum((k + 1) // 2 for k in c) <= degree])

    return functions


def _products(factors: list[Tensor], choices: list[tuple[int, ...]]) -> Tensor:
    """For each choice the product over the coordinates i of `factors[choice[i]][i]`."""
    table = torch.stack(factors)
    product = table.new_ones(())
    for i, column in enumerate(zip(*choices, strict=True)):
        product = product * table[:, i][list(column)]
    return product
