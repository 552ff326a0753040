"""`certify`: bounds of curvature on all of a box, proved by cutting it until each part is enclosed well enough."""

import contextlib
import functools
import json
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from riemann._certified.claims import CLAIMS, RADIUS, Claim, Sides
from riemann._certified.given import as_float, intervals
from riemann._certified.injectivity import check_inside
from riemann._certified.library import above as end_above
from riemann._certified.library import below as end_below
from riemann._certified.library import flint
from riemann._certified.quantities import check_dimension, named
from riemann._certified.search import Verdicts, Witness, judged, witness
from riemann._certified.sources import source
from riemann._points.checks import check_count
from riemann._types import Metric

BATCH = 128  # boxes at once
SMALLEST = 2.0**-40  # of a side, beside the whole: what is smaller is not cut


@dataclass(frozen=True)
class Certificate:
    """What `certify` found. Either it is proved, or refuted, or neither.

    Attributes:
        quantity: its name.
        box: the whole box.
        above: the lower bound, or None.
        below: the upper bound, or None.
        proved: whether above < quantity < below holds at every point of the closed box.
        refuted: whether it certainly fails at the witness.
        witness: a point that contradicts the claim, and FLINT's ball of the value there.
        undecided: the boxes that are left.
        reason: why they are.
        tree: how the box was cut, in the order of the search: the axis of a cut, `.` for a box that is proved, `?` for
            one that is left.
        within: the chart on which injectivity radii were bounded; None of other quantities.
    """

    quantity: str
    box: Sides
    above: float | None
    below: float | None
    proved: bool
    refuted: bool
    witness: Witness | None
    undecided: tuple[Sides, ...]
    reason: str
    tree: str
    within: Sides | None = None

    def __str__(self) -> str:
        """One sentence."""
        claim = Claim(self.quantity, self.above, self.below, self.within)
        if self.proved:
            return f"proved: {claim} on {self.box}, by {self.tree.count('.')} boxes"
        if self.refuted:
            return f"refuted: {claim} on {self.box}; at {self.witness.point} it is {self.witness.ball.str(15)}"
        return f"undecided: {claim} on {len(self.undecided)} boxes; {self.reason}"

    def to_json(self) -> str:
        """The certificate as text; numbers come back as they are."""
        seen = self.witness
        w = seen and {
            "point": seen.point, "vectors": seen.vectors, "lower": end_below(seen.ball), "upper": end_above(seen.ball)
        }  # fmt: skip
        return json.dumps({
            "format": "riemann certificate 1", "quantity": self.quantity, "box": self.box, "above": self.above,
            "below": self.below, "proved": self.proved, "refuted": self.refuted, "witness": w,
            "undecided": self.undecided, "reason": self.reason, "tree": self.tree,
            "within": self.within,
        })  # fmt: skip

    def save(self, path: str | Path) -> None:
        """Writes it to a file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @staticmethod
    def from_json(text: str) -> "Certificate":
        """The certificate that `to_json` has written: what it says is to be checked.

        Raises:
            ValueError: the text is no certificate.
        """
        data = json.loads(text)
        if not isinstance(data, dict) or data.pop("format", None) != "riemann certificate 1":
            raise ValueError("this is no certificate of riemann (format 1)")
        if w := data["witness"]:
            arb = flint().arb
            ball = arb(w["lower"]).union(arb(w["upper"]))
            data["witness"] = Witness(tuple(w["point"]), ball, tuple(map(tuple, w["vectors"])))
        data["box"] = sides_of(data["box"])
        data["undecided"] = tuple(map(sides_of, data["undecided"]))
        data["within"] = data.get("within") and sides_of(data["within"])
        return Certificate(**data)

    @staticmethod
    def load(path: str | Path) -> "Certificate":
        """The certificate in a file."""
        return Certificate.from_json(Path(path).read_text(encoding="utf-8"))


def certify(
    metric: Metric,
    quantity: str | Callable[..., Any],
    box: Tensor | Sequence[Any],
    *,
    below: float | None = None,
    above: float | None = None,
    within: Tensor | Sequence[Any] | None = None,
    budget: float = 60.0,
    max_boxes: int = 1_000_000,
    processes: int = 1,
    progress: Callable[[str], None] = lambda text: None,
    dtype: torch.dtype | None = None,
) -> Certificate:
    r"""Proves a bound of curvature at every point of a closed box, or refutes it by one point.

    The box is cut until on each part an enclosure of the quantity keeps the bound. Enclosures are Taylor forms in
    float64 with every rounding inside, thousands of boxes at a time; what refutes is computed with FLINT. Nothing is
    concluded from samples.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        quantity: `"scalar_curvature"`, `"gauss_curvature"`, `"kretschmann_scalar"`, `"volume_element"`,
            `"log_volume_element"`; `"sectional_curvature"`, of all planes; `"ricci_eigenvalues"`, relative to g; or
            `"metric_eigenvalues"`, of the matrix g (with `above=0`: g is positive definite); or
            `"injectivity_radius"`, from above only. Both bounds of `"sectional_curvature"` together say how far it is
            from constant.
        box: `((low, high), …)`, of numbers that floats hold, as the bounds are.
        below: the claim is that the quantity is smaller, strictly.
        above: the claim is that it is larger, strictly.
        within: of `"injectivity_radius"`: a larger box, the chart whose metric is looked at. By default `box` is the
            chart, and the claim is made of its centre.
        budget: seconds after which what is left is undecided.
        max_boxes: boxes to look at.
        processes: how many work at once, by `fork`.
        progress: called with a few words after each batch.
        dtype: of points when the metric is traced; by default that of the parameters of a module, else float64.

    Returns:
        The certificate: `.proved`, `.refuted`, `.witness`, `.undecided`, `.reason`; `check_certificate` checks it.

    Raises:
        ImportError: python-flint is not installed.
        TypeError: `box` or a bound holds what is no real number.
        ValueError: no bound; an unknown quantity; a number that no float holds; `metric` cannot be traced, or calls an
            operation without enclosure (named).

    Note:
        Bounds of sectional curvature and of Ricci's eigenvalues are for positive definite metrics (of two dimensions
        any). Sectional curvature is bounded by the curvature operator R; from four dimensions on by R and a four-form,
        which is 0 on planes, the best one of each box: in four this loses nothing (Thorpe 1971), from five on a claim
        may hold of all planes and of no such sum, and stays undecided. A search over planes may refute a claim, and
        never proves one.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> certificate = certify(half_plane, "scalar_curvature", ((-1, 1), (1, 2)), below=-1.9)
        >>> certificate.proved, check_certificate(half_plane, certificate)
        (True, True)
    """
    flint()
    check_count("processes", processes, 1)
    sides = sides_of(intervals(box, "box"))
    claim, sides = _of_a_chart(_claim(quantity, above, below), sides, within)
    check_dimension(claim.name, len(sides))
    graph = source(metric, len(sides), dtype)
    deadline, size = time.monotonic() + budget, 1 if claim.within else BATCH
    tree: list[str] = []
    left: list[Sides] = []
    reasons: dict[str, None] = {}
    queue = deque([box_of(sides)])
    seen: Witness | None = witness(graph, claim, queue[0].mean(1).tolist())
    with workers(processes, graph, claim) as judge:
        while queue and seen is None:
            if time.monotonic() > deadline or len(tree) >= max_boxes:
                reasons["the budget was spent" if len(tree) < max_boxes else "`max_boxes` was reached"] = None
                break
            batches = [taken(queue, size) for _ in range(processes) if queue]
            for boxes, verdicts in zip(batches, judge(batches), strict=True):
                seen = seen or _refuted(graph, claim, boxes, verdicts)
                for k in range(len(boxes)):
                    if bool(verdicts.proved[k]):
                        tree.append(".")
                        continue
                    parts = cut(boxes[k], int(verdicts.axis[k]), sides)
                    tree.append(_LETTERS[int(verdicts.axis[k])] if parts else "?")
                    queue.extend(parts)
                    if not parts:
                        left.append(sides_of(boxes[k].tolist()))
                if not bool(verdicts.proved.all()):
                    reasons.update(dict.fromkeys(verdicts.notes))
            progress(f"{len(tree)} boxes, {len(queue)} to go")
    left += [sides_of(b.tolist()) for b in queue]
    proved = seen is None and not left
    reason = "" if proved else "; ".join(reasons) or ("" if seen else "the enclosures are too wide")
    return Certificate(
        claim.name, sides, claim.above, claim.below, proved, seen is not None, seen, tuple(left), reason,
        "".join(tree) + "?" * len(queue), claim.within,
    )  # fmt: skip


def check_certificate(
    metric: Metric, certificate: Certificate | str | Path, *, dtype: torch.dtype | None = None
) -> bool:
    """Whether a certificate is right of a metric: proved or refuted, again, from its boxes or its witness alone.

    The cuts are replayed, so that the boxes are known to cover the whole; each of them is enclosed once.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        certificate: of `certify`, or a file that it was saved to.
        dtype: as of `certify`.

    Returns:
        True where the claim of a certificate that says `proved` is proved, or of one that says `refuted` is refuted;
        False otherwise, and for what is undecided.

    Raises:
        TypeError: `certificate` is neither.
        ValueError: the certificate contradicts itself; `metric` as of `certify`.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> certificate = certify(half_plane, "scalar_curvature", ((-1, 1), (1, 2)), above=-1)
        >>> certificate.refuted, check_certificate(half_plane, certificate)
        (True, True)
    """
    if not isinstance(certificate, Certificate | str | Path):
        raise TypeError(
            f"`certificate` is a {type(certificate).__name__}, expected a `Certificate` of `certify`, or the path "
            "of a file that it was saved to"
        )
    c = certificate if isinstance(certificate, Certificate) else Certificate.load(certificate)
    if c.proved and c.refuted:
        raise ValueError("the certificate says that the claim is proved and that it is refuted")
    claim, _ = _of_a_chart(_claim(c.quantity, c.above, c.below), c.box, c.within)
    check_dimension(claim.name, len(c.box))
    graph = source(metric, len(c.box), dtype)
    if c.refuted:
        inside = all(low <= v <= high for v, (low, high) in zip(c.witness.point, c.box, strict=True))
        return inside and witness(graph, claim, c.witness.point, c.witness.vectors) is not None
    leaves = _leaves(c)
    if not c.proved or leaves is None:
        return False
    return all(bool(judged(graph, claim, *part.unbind(-1)).proved.all()) for part in leaves.split(BATCH))


# ------------------------------------------------------------------------------------------------------ boxes and cuts

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def box_of(sides: Sides) -> Tensor:
    return torch.tensor(sides, dtype=torch.float64)


def sides_of(box: Any) -> Sides:
    """A box as pairs of floats, from numbers that floats hold."""
    return tuple((as_float(low, "box"), as_float(high, "box")) for low, high in box)


def taken(queue: deque[Tensor], count: int) -> Tensor:
    return torch.stack([queue.popleft() for _ in range(min(count, len(queue)))])


def cut(box: Tensor, axis: int, whole: Sides) -> list[Tensor]:
    """Two halves, which share the cut; none where the side is too small."""
    low, high = box[axis].tolist()
    middle = low + (high - low) / 2
    if not (low < middle < high and high - low > SMALLEST * (whole[axis][1] - whole[axis][0])):
        return []
    left, right = box.clone(), box.clone()
    left[axis, 1] = right[axis, 0] = middle
    return [left, right]


def _leaves(c: Certificate) -> Tensor | None:
    """The boxes that the cuts of a proof leave, all of which it claims to have proved; None if some are left out."""
    queue, leaves = deque([box_of(c.box)]), []
    for letter in c.tree:
        if not queue or letter not in _LETTERS[: len(c.box)] + ".":
            return None
        box = queue.popleft()
        if letter == ".":
            leaves.append(box)
        else:
            parts = cut(box, _LETTERS.index(letter), c.box)
            if not parts:
                return None
            queue.extend(parts)
    return None if queue or not leaves else torch.stack(leaves)


# ---------------------------------------------------------------------------------------------------------- the search


def _claim(quantity: Any, above: float | None, below: float | None) -> Claim:
    name = named(quantity, CLAIMS)
    if above is None and below is None:
        raise ValueError("a claim needs a bound; pass `below=` or `above=`")
    bounds = {"above": above, "below": below}
    return Claim(name, **{side: None if c is None else as_float(c, side) for side, c in bounds.items()})


def _of_a_chart(claim: Claim, sides: Sides, within: Any) -> tuple[Claim, Sides]:
    """A claim of injectivity radii with its chart, and the box it is made of: the centre where there is one box."""
    if claim.name != RADIUS:
        if within is not None:
            raise ValueError(f"`within` is the chart of `injectivity_radius`, and the quantity is `{claim.name}`")
        return claim, sides
    if claim.above is None or claim.below is not None:
        raise ValueError("curvature bounds the injectivity radius from below only; pass `above=`, and no `below=`")
    chart = sides if within is None else sides_of(intervals(within, "within"))
    if within is None:
        sides = tuple((middle, middle) for middle in (low + (high - low) / 2 for low, high in sides))
    check_inside(sides, chart, "the centre of `box`" if within is None else "`box`", "`within`" if within else "`box`")
    return replace(claim, within=chart), sides


def _refuted(graph: Any, claim: Claim, boxes: Tensor, verdicts: Verdicts) -> Witness | None:
    """A witness among the centres that seem to contradict the claim; a few are tried."""
    suspects = boxes[verdicts.suspect][:4]
    found = (witness(graph, claim, (box[:, 0] + (box[:, 1] - box[:, 0]) / 2).tolist()) for box in suspects)
    return next(filter(None, found), None)


@contextlib.contextmanager
def workers(count: int, graph: Any, claim: Claim) -> Iterator[Callable[[list[Tensor]], list[Verdicts]]]:
    """What judges batches of boxes, here or in processes."""
    judge = functools.partial(_judge, graph, claim)
    if count < 2:
        yield lambda batches: list(map(judge, batches))
        return
    judge(torch.stack([box_of(((1.0, 1.0),) * graph.dim)]))  # traces, and reads the tables, before the processes part
    global _SHARED
    _SHARED = judge
    with multiprocessing.get_context("fork").Pool(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield lambda batches: pool.map(_shared, batches, chunksize=1)


_SHARED: Any = None


def _shared(boxes: Tensor) -> Verdicts:
    return _SHARED(boxes)


def _judge(graph: Any, claim: Claim, boxes: Tensor) -> Verdicts:
    return judged(graph, claim, *boxes.unbind(-1))
