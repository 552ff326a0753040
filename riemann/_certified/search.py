"""Many boxes judged at once: which satisfy a claim, which contradict it at their centres, and where to cut the rest."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from riemann._certified.balls import Balls
from riemann._certified.boxes import Boxes
from riemann._certified.claims import Claim
from riemann._certified.geometry import enclosed
from riemann._certified.given import exact
from riemann._certified.injectivity import bound_around
from riemann._certified.intervals import Interval, up
from riemann._certified.library import BITS, precision
from riemann._certified.quantities import REMAINDER
from riemann._certified.stacks import Stack

CELLS = 2048  # about a point whose injectivity radius is bounded


@dataclass(frozen=True)
class Verdicts:
    """On many boxes.

    Attributes:
        proved: where the claim holds on all of the box.
        opposed: where a claim with one bound of a number fails, strictly, on all of the box.
        suspect: where its centre seems to contradict it.
        axis: along which side to cut.
        notes: what was not decided somewhere.
    """

    proved: Tensor
    opposed: Tensor
    suspect: Tensor
    axis: Tensor
    notes: tuple[str, ...]


def judged(graph: Any, claim: Claim, low: Tensor, high: Tensor) -> Verdicts:
    """The verdicts on boxes `(boxes, n)`."""
    if claim.within is not None:
        return _of_radii(graph, claim, low, high)
    low, high = low.T.contiguous(), high.T.contiguous()
    centre = low + (high - low) / 2
    radii = up(torch.maximum(high - centre, centre - low))
    with torch.no_grad(), precision(BITS):
        E = Boxes(centre, radii, claim.order + REMAINDER)
        here = enclosed(graph, E, list(centre))
        known = here.known(claim.name)
        positive = [x if isinstance(x, Stack) else E.constant(x) for x in claim.positive(here)]
    proved, suspect = known.clone(), torch.zeros_like(known)
    opposed, reach = torch.zeros_like(known), torch.zeros_like(radii)
    for x in positive:
        values = x.value
        proved &= values.lower() > 0
        if len(positive) == 1:
            opposed = known & (values.upper() < 0)
        suspect |= Interval(x.mid[0, 0], x.rad[0, 0]).upper() <= 0
        slopes = (x.mid[E.space.variables, 1].abs() + x.rad[E.space.variables, 1]) * radii
        reach = torch.maximum(reach, slopes / values.mid.abs().clamp(min=1e-300))
    notes = dict(E.notes)
    if not bool(known.all()):
        notes["g is singular or not smooth on it, or a function leaves its domain, or may do so"] = None
    whole = (high.amax(1) - low.amin(1)).clamp(min=1e-300).unsqueeze(1)
    reach = torch.where(torch.isfinite(reach).all(0) & known, reach, radii / whole)
    return Verdicts(proved, opposed, suspect & ~proved, reach.argmax(0), tuple(notes))


def _of_radii(graph: Any, claim: Claim, low: Tensor, high: Tensor) -> Verdicts:
    """The verdicts on a claim of injectivity radii, which no point refutes."""
    bounds = [
        bound_around(graph, tuple(zip(*ends, strict=True)), claim.within, math.inf, CELLS, claim.above)
        for ends in zip(low.tolist(), high.tolist(), strict=True)
    ]
    proved = torch.tensor([b.radius > claim.above and not b.reason for b in bounds])
    notes = [b.reason or f"what is proved of a part is {b.radius:.6g}" for b in bounds]
    none = torch.zeros_like(proved)
    return Verdicts(proved, none, none, (high - low).argmax(1), tuple(notes[:1]))


@dataclass(frozen=True)
class Witness:
    """A point that contradicts a claim.

    Attributes:
        point: its coordinates.
        ball: FLINT's `arb` around the value there.
        vectors: of which it is the value: one for an eigenvalue, two for a plane, none for a number.
    """

    point: tuple[float, ...]
    ball: Any
    vectors: tuple[tuple[float, ...], ...] = ()


def witness(
    graph: Any, claim: Claim, point: Sequence[float], vectors: tuple[tuple[float, ...], ...] = ()
) -> Witness | None:
    """The value at a point, if it contradicts the claim for certain; vectors are looked for where none are given."""
    if claim.within is not None:
        return None
    point = tuple(map(float, point))
    with torch.no_grad(), precision(BITS):
        E = Balls(graph.dim, claim.order)
        here = enclosed(graph, E, [exact(v) for v in point])
        if not here.known(claim.name):
            return None
        if claim.is_number(graph.dim):
            ball = E.number(E.value(claim.number(here)))
            return Witness(point, ball) if claim.violated(ball) else None
        Q, G = ([[E.number(E.value(e)) for e in row] for row in M] for M in claim.forms(here))
        g = [[E.number(E.value(e)) for e in row] for row in here.metric()]
        if claim.name != "metric_eigenvalues" and not all(E.signs(p)[0] for p in here.pivots(here.metric().tolist())):
            return None
        for found in [vectors] if vectors else extremes(claim.name, *map(_floats, (Q, G, g))):
            v = found[0] if len(found) == 1 else _bivector(*found)
            top, bottom = (_form(M, [E.number(c) for c in v]) for M in (Q, G))
            if bottom > 0 and claim.violated(ball := top / bottom):
                return Witness(point, ball, found)
    return None


def _form(M: list[list[Any]], v: list[Any]) -> Any:
    return sum(row[j] * a * b for row, a in zip(M, v, strict=True) for j, b in enumerate(v))


def _bivector(u: Sequence[float], v: Sequence[float]) -> list[Any]:
    """The components of u wedge v, exactly."""
    u, v = ([exact(c) for c in w] for w in (u, v))
    return [u[a] * v[b] - u[b] * v[a] for a, b in itertools.combinations(range(len(u)), 2)]


def _floats(M: list[list[Any]]) -> np.ndarray:
    return np.array([[float(e) for e in row] for row in M])


# ------------------------------------------------------------------------------- where a quotient of forms is extreme


def extremes(name: str, Q: np.ndarray, G: np.ndarray, g: np.ndarray) -> list[tuple[tuple[float, ...], ...]]:
    """Vectors, or pairs of them, of the largest and the smallest quotient Q / G that is found: candidates only."""
    if name != "sectional_curvature":
        frame = np.linalg.inv(np.linalg.cholesky(G)).T
        values = frame @ np.linalg.eigh(frame.T @ Q @ frame)[1]
        return [(tuple(values[:, k].tolist()),) for k in (0, -1)]
    n = len(g)
    frame, pairs = np.linalg.inv(np.linalg.cholesky(g)).T, list(itertools.combinations(range(n), 2))
    R = np.zeros((n, n, n, n))
    for (i, (a, b)), (j, (c, d)) in itertools.product(enumerate(pairs), repeat=2):
        R[a, b, c, d] = R[b, a, d, c] = Q[i, j]
        R[b, a, c, d] = R[a, b, d, c] = -Q[i, j]
    R = np.einsum("abcd,ai,bj,ck,dl->ijkl", R, frame, frame, frame, frame)
    planes = [max((_ascended(sign * R, u) for u in np.eye(n)), key=lambda plane: plane[0])[1:] for sign in (1, -1)]
    return [tuple(tuple((frame @ u).tolist()) for u in plane) for plane in planes]


def _ascended(R: np.ndarray, u: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """A plane of large curvature in an orthonormal frame: each of its two vectors is the best one for the other."""
    u = u + 0.1 * np.cos(np.arange(len(u)))  # off the axes, where the ascent may stand still
    u, v, value = u / np.linalg.norm(u), u, -np.inf
    for _ in range(40):
        P = np.eye(len(u)) - np.outer(u, u)
        values, vectors = np.linalg.eigh(P @ np.einsum("abcd,a,c->bd", R, u, u) @ P - 1e9 * np.outer(u, u))
        u, v, value = vectors[:, -1], u, values[-1]
    return float(value), u, v
