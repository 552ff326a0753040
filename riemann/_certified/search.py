"""Many boxes judged at once: which satisfy a claim, which contradict it at their centres, and where to cut the rest."""

from dataclasses import dataclass

import torch
from torch import Tensor

from riemann._certified.balls import Balls
from riemann._certified.boxes import Boxes
from riemann._certified.claims import Claim
from riemann._certified.enclose import exact
from riemann._certified.geometry import enclosed
from riemann._certified.intervals import Interval, up
from riemann._certified.library import flint, precision
from riemann._certified.quantities import REMAINDER
from riemann._certified.stacks import Stack
from riemann.bridge import Trace

BITS = 160  # of FLINT, for constants and witnesses


@dataclass(frozen=True)
class Verdicts:
    """On many boxes.

    Attributes:
        proved: where the claim holds on all of the box.
        suspect: where its centre seems to contradict it.
        axis: along which side to cut.
        notes: what was not decided somewhere.
    """

    proved: Tensor
    suspect: Tensor
    axis: Tensor
    notes: tuple[str, ...]


def judged(graph: Trace, claim: Claim, low: Tensor, high: Tensor) -> Verdicts:
    """The verdicts on boxes `(boxes, n)`."""
    low, high = low.T.contiguous(), high.T.contiguous()
    centre = low + (high - low) / 2
    radii = up(torch.maximum(high - centre, centre - low))
    with torch.no_grad(), precision(BITS):
        E = Boxes(centre, radii, claim.quantity.order + REMAINDER)
        here = enclosed(graph, E, list(centre))
        known = here.known(claim.quantity)
        positive = [x if isinstance(x, Stack) else E.constant(x) for x in claim.positive(here)]
    proved, suspect = known.clone(), torch.zeros_like(known)
    reach = torch.zeros_like(radii)
    for x in positive:
        values = x.value
        proved &= values.lower() > 0
        suspect |= Interval(x.mid[0, 0], x.rad[0, 0]).upper() <= 0
        slopes = (x.mid[E.space.variables, 1].abs() + x.rad[E.space.variables, 1]) * radii
        reach = torch.maximum(reach, slopes / values.mid.abs().clamp(min=1e-300))
    notes = dict(E.notes)
    if not bool(known.all()):
        notes["g is singular or not smooth on it, or a function leaves its domain, or may do so"] = None
    reach = torch.where(torch.isfinite(reach).all(0) & known, reach, radii / (high.amax(1) - low.amin(1))[:, None].clamp(min=1e-300))
    return Verdicts(proved, suspect & ~proved, reach.argmax(0), tuple(notes))


@dataclass(frozen=True)
class Witness:
    """A point that contradicts a claim.

    Attributes:
        point: its coordinates.
        ball: FLINT's `arb` around the value there.
        vector: of which the value is that of the quadratic form; a bivector for a plane. Empty for a number.
    """

    point: tuple[float, ...]
    ball: object
    vector: tuple[float, ...] = ()


def witness(graph: Trace, claim: Claim, point: Tensor, vector: tuple[float, ...] | None = None) -> Witness | None:
    """The value at a point, if it contradicts the claim for certain; `vector` is looked for where it is not given."""
    coordinates = tuple(point.tolist())
    with torch.no_grad(), precision(BITS):
        E = Balls(graph.dim, claim.quantity.order)
        here = enclosed(graph, E, [exact(v) for v in coordinates])
        if not here.known(claim.quantity):
            return None
        if claim.is_number(graph.dim):
            ball = E.number(E.value(claim.number(here)))
            return Witness(coordinates, ball) if claim.violated(ball) else None
        Q, G = ([[E.number(E.value(e)) for e in row] for row in M] for M in claim.forms(here))
        vectors = [vector] if vector else _vectors(claim, graph.dim, Q, G)
        for v in vectors:
            if not claim.is_exact(graph.dim) and not is_plane(v, graph.dim):
                continue
            top, bottom = (sum(M[i][j] * flint().arb(v[i]) * v[j] for i in range(len(v)) for j in range(len(v))) for M in (Q, G))
            if bottom > 0 and claim.violated(ball := top / bottom) and _definite(G):
                return Witness(coordinates, ball, v)
    return None
