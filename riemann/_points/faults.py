"""What is wrong with a metric, and at which points: said in one warning, however many pieces the points came in.

A fault makes results NaN. A `Note` does not: it says how far to trust them.
"""

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar

import torch
from torch import Tensor

from riemann._messages.frames import warn

Faults = dict[str, Tensor]
"""What is wrong, a predicate such as "is singular" or a sentence, and a mask of the points where it is."""


class Note(str):
    """A sentence of `Faults` on points where results are kept."""


UNKNOWN = "gives no finite number"
SLICE = "`lambda s: U.T @ metric(x0 + U @ s) @ U`, or `Fisher(family, subspace=(U, x0))`"
"""The metric of a slice x0 + U s of fewer dimensions: where there is no more rank anywhere."""
_PIECES: ContextVar[list[Faults] | None] = ContextVar("pieces", default=None)


def first(mask: Tensor) -> tuple[int, ...]:
    """The batch index of the first point where `mask` holds."""
    return tuple(int(i) for i in mask.nonzero()[0])


def warn_of(faults: Faults, what: str = "`metric`") -> None:
    """One warning, that names the first point of the batch where something is wrong with `what`."""
    say({name if isinstance(name, Note) else f"{what} {name}": mask for name, mask in faults.items()})


def say(faults: Faults) -> None:
    """`warn_of` of whole sentences; what is wrong in a piece of the points is said at the end of all."""
    if not faults or not bool(_any(faults).any()):
        return
    if (pieces := _PIECES.get()) is not None:
        pieces.append(faults)
        return
    known = _any(nan := _nan(faults))
    notes = {name: mask & ~known for name, mask in faults.items() if isinstance(name, Note)}
    for group in (nan, notes):
        if not bool((bad := _any(group)).any()):
            continue
        where = first(bad)
        found = (sentence for sentence, mask in group.items() if mask[where])
        sentence = min(found, key=lambda sentence: sentence.endswith(UNKNOWN))  # the first that says more
        count = f" (and at {int(bad.sum()) - 1} more points)" if bad.sum() > 1 else ""
        place = f"at point {list(where)} of the batch" if where else "at this point"
        end = "." if isinstance(sentence, Note) else ": results are NaN there."
        more = " `check_metric` says more." if sentence.startswith("`metric`") else ""
        if sentence.startswith("`metric` is singular"):
            more += f" If it is so everywhere, use a slice: {SLICE}."
        if sentence.endswith("derivatives that are not finite"):
            more += " A root, norm or distance (`cdist`) has none at 0; its square has, written as `norm(x) ** 2`."
        warn(f"{sentence} {place}{count}{end}{more}")


@contextlib.contextmanager
def collected(whole: Faults, batch: tuple[int, ...], start: int, stop: int) -> Iterator[None]:
    """Adds what is wrong with the points from `start` to `stop` of the batch to `whole`, instead of saying it.

    Inside, masks end in the axes of these points.
    """
    pieces: list[Faults] = []
    token = _PIECES.set(pieces)
    try:
        yield
    finally:
        _PIECES.reset(token)
    for name, mask in (item for faults in reversed(pieces) for item in faults.items()):  # what is around comes last
        mask = mask.reshape(-1, stop - start).any(0)
        known = whole.setdefault(name, torch.zeros(batch, dtype=torch.bool, device=mask.device))
        known.view(-1)[start:stop] |= mask


def with_nan(faults: Faults, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors, NaN at the points where something is wrong."""
    bad = _any(_nan(faults))
    if not bool(bad.any()):
        return tensors
    masks = (bad.reshape((*bad.shape, *[1] * (y.ndim - bad.ndim))) for y in tensors)
    return tuple(torch.where(m, torch.full_like(y, torch.nan), y) for m, y in zip(masks, tensors, strict=True))


def _nan(faults: Faults) -> Faults:
    return {name: mask for name, mask in faults.items() if not isinstance(name, Note)}


def _any(faults: Faults) -> Tensor:
    return functools.reduce(torch.logical_or, faults.values(), torch.tensor(False))
