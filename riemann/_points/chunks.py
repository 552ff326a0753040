r"""The loop over points: in pieces that keep to a memory budget, with progress, left in good order when interrupted.

Memory is weighed, not guessed. What the user's function makes at one point bounds what its derivatives take: a batch
that is small enough by that is one call. Of a larger one the first piece is one point, and each piece that is weighed
decides how many points cannot be too heavy next, until the budget is filled; then nothing watches any more. Sizes
depend on shapes only, never on the memory that happens to be free, so results are the same again.
"""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from riemann._messages.frames import shortens
from riemann._points.checks import has_values, inside
from riemann._points.faults import Faults, collected, say
from riemann._points.memory import reuse, room
from riemann._points.weight import can_weigh, weighed
from riemann._types import ChunkSize, Progress

BUDGET = 256 * 10**6  # bytes alive in a piece, of "auto"
LONG = 2**19  # bytes of an array, on average, from which on larger pieces are no faster: they leave the caches
GROWTH = 8  # from one weighed piece to the next, at most
ALONG = 16  # values of a function that its second derivative along two vectors takes the memory of
UNWEIGHED = 2**25  # bytes of the largest arrays in a piece where another profiler keeps the record
MARGIN = 64  # numbers for each entry of g that are added there for the intermediates of a metric


@shortens
def in_chunks(
    f: Callable[..., Any],
    x: Tensor,
    *vectors: Tensor,
    rank: int,
    extra: int = 0,
    light: Callable[[Tensor], float] | None = None,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Any:
    """`f(x, *vectors)`, a function of points `(*batch, n)`, in pieces of a flat batch.

    Args:
        f: returns a tensor or a tuple of them, which lead with the batch.
        x: points, `(*batch, n)`.
        vectors: tensors that lead with the batch.
        rank: the largest arrays hold `n**rank` numbers a point.
        extra: axes before the batch, the same in all `vectors` and in the results: many vectors at the same points,
            which stay together unless they are more than a piece.
        light: the bytes that the user's functions make for their values at points: what those of one point tell of
            the weight of all saves weighing a small batch.
        chunk_size: points at a time, counting each of many vectors; "auto", a memory as in "2GB", or None for all.
        progress: True for a bar, or a function of the numbers of points done and of all.
    """
    size, budget = _parsed(chunk_size)
    if known := all(map(has_values, (x, *vectors))):
        reuse()
    batch, n = x.shape[:-1], x.shape[-1]
    samples = vectors[0].shape[:extra] if extra else torch.Size()
    points, many = batch.numel(), samples.numel()
    count = points * many
    if budget is None or count <= 1 or not known:
        size, budget = size or count, None
    elif not can_weigh():
        size, budget = max(1, UNWEIGHED // (x.element_size() * n**2 * (n ** (rank - 2) + MARGIN))), None
    elif light and light(x.reshape(-1, n)[:1]) * max(ALONG, sum(n**k for k in range(rank - 1))) * count <= budget:
        size, budget = count, None
    else:
        size = 1
    faults: Faults = {}
    if size >= count:
        saying = collected(faults, batch, 0, points) if has_values(x) else contextlib.nullcontext()
        with inside(x), reported(progress, count) as report, saying:
            result = f(x, *vectors)
            report(count)
        say(faults)
        return result
    x = x.reshape(points, n)
    flat = [v.reshape((many, points, *v.shape[extra + len(batch) :])) for v in vectors]

    def piece(start: int, stop: int) -> Any:
        first, last = start // many, -(-stop // many)  # one point and some of its vectors, or points and all of them
        some = slice(start - first * many, stop - first * many if last == first + 1 else None)
        with collected(faults, batch, first, last):
            if not extra:
                return f(x[first:last], *(v[0, first:last] for v in flat))
            result = f(x[first:last], *(v[some, first:last] for v in flat))
        return tree_map(lambda y: y.transpose(0, 1).flatten(0, 1), result)

    with inside(x), reported(progress, count) as report:
        result = _joined(piece, count, many, size, budget, report, LONG if chunk_size == "auto" else None)
    say(faults)
    if extra:
        result = tree_map(lambda y: y.unflatten(0, (points, many)).transpose(0, 1).flatten(0, 1), result)
    return tree_map(lambda y: y.reshape((*samples, *batch, *y.shape[1:])), result)


def _joined(
    piece: Callable[[int, int], Any],
    count: int,
    many: int,
    size: int,
    budget: int | None,
    report: Callable[[int], object],
    long: int | None,
) -> Any:
    """The results of pieces, written into one tensor as they come; joined at the end where gradients are recorded."""
    weights = [(0, 0)]  # of pieces: their points, their bytes
    start, results, whole, one = 0, [], None, None
    while start < count:
        stop = min(count, start + _whole_points(size, start, many))
        if budget is None:
            result = piece(start, stop)
        else:
            result, weight = weighed(functools.partial(piece, start, stop))
            weights.append((stop - start, weight.peak))
            size, filled = _next_size(weights[-2], weights[-1], budget)
            if long and weight.made:
                enough = _power_of_two((stop - start) * long * weight.arrays // weight.made)
                size, filled = min(size, enough), filled or enough <= size
            budget = None if filled else budget
        if whole is None and one is None and any(y.requires_grad or not has_values(y) for y in tree_leaves(result)):
            results.append(result)
        elif start == 0 and stop == 1:  # how one point lies in memory does not tell how many do
            one = result
        else:
            if whole is None:
                whole = tree_map(lambda y: room(y, count), result)
                if one is not None:
                    _write(one, whole, slice(0, 1))
            _write(result, whole, slice(start, stop))
        del result
        start = stop
        report(stop)
    return tree_map(lambda *parts: torch.cat(parts), *results) if results else whole


def _write(result: Any, whole: Any, some: slice) -> None:
    """Puts the results of a piece at their points of those of all."""
    for y, part in zip(tree_leaves(whole), tree_leaves(result), strict=True):
        y[some] = part


def _whole_points(size: int, start: int, many: int) -> int:
    """`size` vectors or fewer: those of whole points, or some of the rest of one point."""
    if start % many == 0 and size >= many:
        return size // many * many
    return min(size, many - start % many)


# ------------------------------------------------------------------------------------------------------ the budget

_UNITS = {"MB": 10**6, "GB": 10**9}


def _parsed(chunk_size: ChunkSize) -> tuple[int | None, int | None]:
    """A number of points or a number of bytes, or neither."""
    if chunk_size is None:
        return None, None
    if chunk_size == "auto":
        return None, BUDGET
    if isinstance(chunk_size, int) and chunk_size >= 1 and chunk_size is not True:
        return chunk_size, None
    memory = re.fullmatch(r"(\d+(?:\.\d+)?) ?([MG]B)", chunk_size) if isinstance(chunk_size, str) else None
    if memory is None or float(memory[1]) == 0:
        raise ValueError(
            f"`chunk_size` is {chunk_size!r}, expected a whole number of points, 1 or more, a memory such as '2GB' or "
            "'500MB', 'auto', or None for all points at once"
        )
    return None, int(float(memory[1]) * _UNITS[memory[2]])


def _next_size(before: tuple[int, int], last: tuple[int, int], budget: int) -> tuple[int, bool]:
    """The points of the next piece after two, `(points, bytes)`, and whether the budget is filled by then.

    Some bytes are those of each point, some are the same for all. One point need not be like many (no copy is made of
    it where it is broadcast), so what follows it fills a part of the budget only. Powers of two, so that weights which
    differ by little from one day to the next make the same pieces.
    """
    (a, lighter), (b, heavier) = before, last
    each = max(1, (heavier - lighter) // (b - a) if b > a else heavier // b)
    fitting = (budget - max(0, heavier - each * b)) // each
    most = GROWTH * b if a else max(2, fitting // GROWTH)
    return _power_of_two(min(fitting, most)), fitting <= (most if a else 1)


def _power_of_two(count: int) -> int:
    """The largest one that is not above a number, at least 1."""
    return 1 << max(0, count.bit_length() - 1)


# -------------------------------------------------------------------------------------------------------- progress


@contextlib.contextmanager
def reported(progress: Progress, count: int) -> Iterator[Callable[[int], object]]:
    """The function that is told how many of `count` points are done."""
    if not progress:
        yield lambda done: None
    elif progress is True:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError(
                "`progress=True` shows a bar of tqdm, which is not installed: `pip install tqdm`, or give a function, "
                "`progress=lambda done, total: …`"
            ) from error
        with tqdm(total=count, unit="point") as bar:
            yield lambda done: bar.update(done - bar.n)
    elif callable(progress):
        yield lambda done: progress(done, count)
    else:
        raise TypeError(f"`progress` is {progress!r}, expected True, False or a function of (done, total)")
