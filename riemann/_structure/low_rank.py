"""Structure that is seen in what a metric is made of: a diagonal, and a few directions."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from riemann._structure import residues
from riemann._structure.arrays import Residues
from riemann._structure.blocks import Inner
from riemann._structure.combinations import MOST, combined
from riemann._structure.field import Composed
from riemann._structure.finding import Finding
from riemann._structure.look import Look
from riemann._structure.recording import Node
from riemann._structure.residues import PRIME, inverse, matmul, times
from riemann.metrics import LowRankPlusDiagonal


def low_rank(look: Look, inner: Inner) -> Finding | None:
    r"""A diagonal and a few directions: $\mathrm{diag}(d) + c\, U U^T$, c a number or a function of one sign."""
    n = look.n
    off = look.g * ~torch.eye(n, dtype=torch.bool)
    if n < 3 or not bool((off != 0).any()):
        return None
    seen: list[tuple[_Columns, Tensor]] = []
    for node in look.fields:
        for turned in (False, True):
            U = _columns(look, node, turned)
            if U is None:
                continue
            square = matmul(U, U.transpose(-1, -2))
            seen.append((_Columns(look.field(node), turned, None, 0.0), square)) if len(seen) < MOST else None
            for factor, power, number in _factors(look, square, off):
                c = torch.ones_like(square[:, 0, 0]) if factor is None else look.value(factor)
                c = times(inverse(c) if power == -1 else c, residues.of_number(number))
                whole = times(square, c[:, None, None])
                if not torch.equal(whole * ~torch.eye(n, dtype=torch.bool), off):
                    continue
                if factor is not None and bool(look.signs[factor].negative.any()):
                    number = -number
                scale = None if factor is None else look.field(factor)
                columns = _Columns(look.field(node), turned, scale, 0.5 * power)
                if (found := _of_columns(look, [(number, columns)], look.g - whole)) is not None:
                    return found
    return _of_two(look, seen, off)


def _of_two(look: Look, seen: list[tuple["_Columns", Tensor]], off: Tensor) -> Finding | None:
    """The directions of two nodes, each times a number: what a loop over directions adds up."""
    weights = look.random(look.n, look.n).tril(-1)
    form = lambda a: torch.remainder(times(a, weights).sum((-2, -1)), PRIME)
    forms = torch.stack([form(square) for _, square in seen]) if seen else torch.zeros(0, len(off), dtype=torch.int64)
    for terms in combined(look, form(off), forms, forms[:0], True):
        parts = [times(seen[k][1], residues.of_number(number)) for number, k in terms]
        whole = torch.remainder(sum(parts[1:], start=parts[0]), PRIME)
        if torch.equal(whole * ~torch.eye(look.n, dtype=torch.bool), off):
            found = _of_columns(look, [(number, seen[k][0]) for number, k in terms], look.g - whole)
            if found is not None:
                return found
    return None


def _columns(look: Look, node: Node, turned: bool) -> Tensor | None:
    """The value of a node as `(draws, n, r)`, r < n."""
    value, n = look.rows(node)[0], look.n
    value = value.unsqueeze(-1) if value.ndim == 2 and not turned else value
    if value.ndim != 3:
        return None
    value = value.transpose(-1, -2) if turned else value
    return value if value.shape[1] == n and value.shape[2] < n else None


def _factors(look: Look, square: Tensor, off: Tensor) -> list[tuple[Node | None, int, float]]:
    """The scalar, to the power 1 or -1, and the number by which the square of the columns is to be multiplied."""
    i, j = next(iter((off != 0).any(0).nonzero().tolist()))
    if bool((square[:, i, j] == 0).any()):
        return []
    wanted = times(off[:, i, j], inverse(square[:, i, j]))
    found: list[tuple[Node | None, int, float]] = []
    for node in (None, *(k for k in look.of_shape() if look.is_definite(k))):
        for power in (1, -1) if node is not None else (1,):
            c = torch.ones_like(wanted) if node is None else look.value(node)
            if bool((c == 0).any()):
                continue
            rest = times(wanted, inverse(c) if power == 1 else c)
            number = look.number(rest[:, None]) if bool((rest == rest[0]).all()) else None
            if number is not None:
                found.append((node, power, number))
    return found[:1]


def _of_columns(look: Look, terms: list[tuple[float, "_Columns"]], rest: Tensor) -> Finding | None:
    """With the diagonal that is left, if it is there."""
    diagonal = _diagonal_field(look, torch.remainder(rest, PRIME).diagonal(dim1=-2, dim2=-1))
    if diagonal is None:
        return None
    with torch.no_grad():
        widths = [columns(look.points[-1]).shape[-1] for _, columns in terms]
    r = sum(widths)
    if r >= look.n:
        return None
    numbers = torch.cat([look.points.new_full((k,), c) for k, (c, _) in zip(widths, terms, strict=True)])
    U = terms[0][1] if len(terms) == 1 else _SideBySide([columns for _, columns in terms])
    metric = LowRankPlusDiagonal(diagonal, U, None if bool((numbers == 1).all()) else numbers)
    why = f"a diagonal and {r} direction{'s' if r > 1 else ''}"
    return Finding("LowRankPlusDiagonal", metric, why, "sectional curvature in O(n r + r³)")


class _SideBySide(torch.nn.Module):
    """The columns of several."""

    def __init__(self, parts: list["_Columns"]):
        super().__init__()
        self.parts = torch.nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, r)` at one point."""
        return torch.cat([part(x) for part in self.parts], 1)


class _Columns(torch.nn.Module):
    """U, times the root of a factor."""

    def __init__(self, field: torch.nn.Module, turned: bool, scale: torch.nn.Module | None, exponent: float):
        super().__init__()
        self.field, self.turned, self.scale, self.exponent = field, turned, scale, exponent

    def forward(self, x: Tensor) -> Tensor:
        """`(n, r)` at one point."""
        U = self.field(x)
        U = U.unsqueeze(-1) if U.ndim == 1 else U
        U = U.mT if self.turned else U
        return U if self.scale is None else U * torch.abs(self.scale(x)) ** self.exponent


def _diagonal_field(look: Look, d: Tensor) -> Any:
    """The diagonal as a field that is there, in a vector or a matrix, or a constant: no difference of large numbers."""
    n = look.n
    of_parameters = [k for k, v in look.values.items() if isinstance(v, Residues) and not look.recording.varies(k)]
    for node in (*look.fields, *(k for k in of_parameters if k.meta["val"].is_floating_point())):
        value = look.value(node)
        if value.shape[1:] == (n,) and torch.equal(value, d):
            return look.field(node)
        if value.shape[1:] == (n, n) and torch.equal(value.diagonal(dim1=-2, dim2=-1), d):
            return Composed(look.field(node), torch.diagonal)
        if value.ndim == 1 and bool((d == value[:, None]).all()):
            return Composed(look.field(node), partial(_repeated, n=n))
    constant = look.vector(d)
    return None if constant is None else _Given(constant)


def _repeated(c: Tensor, n: int) -> Tensor:
    return c.expand(n)


class _Given(torch.nn.Module):
    """A constant vector."""

    vector: Tensor

    def __init__(self, vector: Tensor):
        super().__init__()
        self.register_buffer("vector", vector)

    def forward(self, x: Tensor) -> Tensor:
        """The same at every point."""
        return self.vector.to(x)
