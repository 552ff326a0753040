r"""A metric as a sum of what is known: $g(u, v) = a\, p(u, v) + b\, q(u, v)$, a and b numbers that it is written with.

p is one of some forms, q another one, or a constant matrix. Found over residues, or by values at points.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from riemann._structure.field import Field
from riemann._structure.look import DRAWS, Look
from riemann._structure.recording import Node
from riemann._structure.residues import PRIME, inverse, matmul, times

NUMBERS_AT = 2  # points, the last ones, whose values are fitted
MOST = 128  # forms of which pairs are looked at
NEAR = 1e-9  # of the numbers that values at points give, before these are compared


class Term(NamedTuple):
    """A number times one of some forms."""

    number: float
    place: int


def bilinear(look: Look, H: Tensor, rows: Tensor | None = None) -> Tensor:
    """$D_u f^T H D_v f$ of matrices of residues, f the point if its rows are not given."""
    rows = look.rows(look.recording.point) if rows is None else rows
    return matmul(matmul(rows[1].reshape(DRAWS, 1, -1), H), rows[2].reshape(DRAWS, -1, 1))[:, 0, 0]


def constants(look: Look) -> list[Node | None]:
    """The identity, None, and the symmetric matrices that do not depend on the point."""
    n, found, seen = look.n, [None], [torch.eye(look.n, dtype=torch.int64).expand(DRAWS, -1, -1)]
    for node, M in look.matrices.items():
        if M.shape[1:] == (n, n) and bool((M == M.mT).all()) and bool(M.any()):
            if not any(torch.equal(M, other) for other in seen):
                found.append(node)
                seen.append(M)
    return found


def of_constants(look: Look, nodes: Sequence[Node | None]) -> Tensor:
    """Their forms, `(constants, draws)`."""
    eye = torch.eye(look.n, dtype=torch.int64).expand(DRAWS, -1, -1)
    return torch.stack([bilinear(look, eye if node is None else look.matrices[node]) for node in nodes])


def combined(look: Look, wanted: Tensor, forms: Tensor, fixed: Tensor, pairs: bool) -> Iterator[list[Term]]:
    """Sums that are what is `wanted` over residues: of `forms`, behind which count the `fixed` ones, `(…, draws)` all.

    Of two forms only if `pairs` are wanted, and of one and a fixed one always.
    """
    ratio = times(wanted, inverse(forms))
    alone = (ratio == ratio[:, :1]).all(1) & (forms != 0).all(1)
    for k in alone.nonzero()[:, 0].tolist():
        if (number := look.number(ratio[k, :1])) is not None:
            yield [Term(number, k)]
    start = 0 if pairs and len(forms) <= MOST else len(forms)
    a, b = forms[:, None], torch.cat([forms, fixed])[None, start:]
    minor = lambda i, j: torch.remainder(times(a[..., i], b[..., j]) - times(a[..., j], b[..., i]), PRIME)
    last = minor(0, 1)
    volume = times(wanted[0], minor(1, 2)) + times(wanted[1], minor(2, 0)) + times(wanted[2], last)
    for i, j in ((torch.remainder(volume, PRIME) == 0) & (last != 0)).nonzero().tolist():
        if i >= j + start:
            continue
        p, q, scale = a[i, 0], b[0, j], inverse(last[i, j])
        of_p = times(scale, torch.remainder(times(wanted[0], q[1]) - times(wanted[1], q[0]), PRIME))
        of_q = times(scale, torch.remainder(times(wanted[1], p[0]) - times(wanted[0], p[1]), PRIME))
        numbers = [look.number(r[None]) for r in (of_p, of_q)]
        if None not in numbers:
            yield [Term(c, k) for c, k in zip(numbers, (i, j + start), strict=True)]


def fitted(look: Look, forms: Tensor, fixed: Tensor, wanted: Tensor) -> Iterator[list[Term]]:
    """Sums that may be the metric by values at points: forms `(forms, values)`, and the metric's `(values,)`."""
    every = torch.cat([forms, fixed])
    within, with_metric, size = forms @ every.mT, every @ wanted, wanted @ wanted
    squares = every.square().sum(1)
    alone = with_metric / squares
    for k in range(len(forms)):
        if float((alone[k] * forms[k] - wanted).square().sum()) <= NEAR**2 * size:
            yield from _written(look, (float(alone[k]), k))
    area = squares[: len(forms), None] * squares - within.square()
    of_p = (with_metric[: len(forms), None] * squares - with_metric * within) / area
    of_q = (with_metric * squares[: len(forms), None] - with_metric[: len(forms), None] * within) / area
    rest = size - of_p * with_metric[: len(forms), None] - of_q * with_metric
    independent = area > NEAR * squares[: len(forms), None] * squares
    for i, j in (independent & (rest <= NEAR * size)).nonzero().tolist():
        if i < j and float((of_p[i, j] * every[i] + of_q[i, j] * every[j] - wanted).square().sum()) <= NEAR**2 * size:
            yield from _written(look, (float(of_p[i, j]), i), (float(of_q[i, j]), j))


def _written(look: Look, *terms: tuple[float, int]) -> Iterator[list[Term]]:
    """With the numbers that the metric is written with."""
    found, (values, _) = [], look.products
    for c, place in terms:
        number = float(values[(values - c).abs().argmin()])
        if abs(number - c) > 1e3 * NEAR * abs(c):
            return
        found.append(Term(number, place))
    yield found


def constant(look: Look, number: float, place: int) -> torch.nn.Module:
    """A number times one of the constant matrices, as a metric of constant coefficients."""
    node, n = constants(look)[place], look.n
    return _Multiple(None if node is None else Field(look.recording, node, shape=(n, n)), number)


class _Multiple(torch.nn.Module):
    """A number times a matrix, as parameters are now; times the identity if it is None."""

    def __init__(self, field: torch.nn.Module | None, number: float):
        super().__init__()
        self.field, self.number = field, number

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)`, the same at every point."""
        matrix = torch.eye(len(x), dtype=x.dtype, device=x.device) if self.field is None else self.field(x)
        return self.number * matrix


Assembled = Callable[[list[Term]], torch.nn.Module | None]
"""What makes a function of a point from the terms of a sum."""


def over_residues(look: Look, forms: Tensor, assembled: Assembled, pairs: bool = True) -> torch.nn.Module | None:
    """What is made of the first sum that is the metric."""
    for terms in combined(look, look.uv, forms, of_constants(look, constants(look)), pairs):
        if (made := assembled(terms)) is not None:
            return made
    return None


def by_numbers(
    look: Look, nodes: Sequence[Node], order: int, of: Callable[[tuple[Tensor, ...]], Tensor], assembled: Assembled
) -> torch.nn.Module | None:
    """The same, of forms that are made of the jets of nodes, by values at the points."""
    forms = {k: of(jet).flatten() for k, jet in look.jets(nodes, order, NUMBERS_AT).items()}
    places = [k for k, node in enumerate(nodes) if node in forms and bool(forms[node].isfinite().all())]
    wanted = look.there[1][-NUMBERS_AT:]
    if not places or not bool(wanted.isfinite().all()):
        return None
    last = look.points[-1]
    fixed = torch.stack(
        [constant(look, 1.0, k)(last).expand_as(wanted).flatten() for k in range(len(constants(look)))]
    ).detach()
    for terms in fitted(look, torch.stack([forms[nodes[k]] for k in places]), fixed, wanted.flatten()):
        shifted = [Term(c, places[k] if k < len(places) else k - len(places) + len(nodes)) for c, k in terms]
        made = assembled(shifted)
        if made is not None and look.same_at_points(made, order, of):
            return made
    return None
