"""Right-hand sides for one solution of an initial value problem, recorded as they run and then run as recorded.

A solver evaluates one function hundreds of times. What is done on the derivatives of a metric is the same each time,
and finding out what that is takes longer than doing it. The record lives as long as the solver's call, so that nothing
in it can be stale; it is made without gradients, and there is none where what is done depends on values.
"""

import collections
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from riemann._curves.tape import Constant, Line, Made, Record, record_of, same_numbers, tensors_in
from riemann._points.checks import surely_finite

APART = 16  # points in two records, or more, that tell how a number grows with them
RECORDING = 150_000  # points that are done in the time of a record of few
SPARED, LONG = 4, 30  # calls for points not asked for that a record of any number, or of a smaller one, is worth
FEW = 8  # the part of the points that is a smaller number


class Recorded:
    """A function of tensors `(points, …)` to one of them, not to be differentiated.

    A record holds for a number of points; fewer are filled up by copies, more are done in pieces. Two records of
    different numbers of points are one for any number, where they differ in nothing else.

    Args:
        f: the function, each point by itself.
    """

    def __init__(self, f: Callable[..., Tensor]):
        self.f, self.size, self.wasted = f, 0, 0
        self.record: Record | None = None
        self.program: Program | None = None
        self.holds, self.varies = True, True  # whether there can be a record, and one for any number of points

    def __call__(self, *arguments: Tensor) -> Tensor:
        """`f(*arguments)`."""
        count = len(arguments[0])
        if not self.holds or count == 0:
            return self.f(*arguments)
        if self.record is None:
            self._take(arguments)
        elif count > self.size:
            return torch.cat(list(map(self, *(a.split(self.size) for a in arguments))))
        elif not self.record.is_of_any and 1 < count < self.size:
            self.wasted += self.size - count
            if self.varies and self.wasted > RECORDING + SPARED * self.size and count + APART <= self.size:
                self._compare(arguments)
            elif count * FEW <= self.size and self.wasted > RECORDING + LONG * self.size:
                self._take(arguments)
        if self.record is None:
            return self.f(*arguments)
        size = self.size
        while self.record.is_of_any and size // 2 >= max(2, count):  # another size is other memory, and takes time
            size //= 2
        if self.program is None or self.program.size != size:
            try:
                self.program = Program(self.record, tuple(_filled(a, size) for a in arguments))
            except Exception:  # of operations that take no memory, or no other layout
                self.holds = False
                return self.f(*arguments)
        result = self.program(*arguments)
        if not surely_finite(result) and bool(result.isnan().any()):  # the record knows no more at points in doubt
            return self.f(*arguments)
        return result

    def _take(self, arguments: tuple[Tensor, ...]) -> None:
        """Records what is done with as many points."""
        self.size, self.wasted, self.program = len(arguments[0]), 0, None
        try:
            self.record = record_of(self.f, tuple(map(_laid_out, arguments)))
        except Exception:  # it depends on values, or is large; of what is wrong f says more itself
            self.holds, self.record = False, None

    def _compare(self, arguments: tuple[Tensor, ...]) -> None:
        """Finds out how what is done depends on the number of points."""
        assert self.record is not None
        try:
            of_any = self.record.of_any(record_of(self.f, tuple(map(_laid_out, arguments))))
        except Exception:
            of_any = None
        self.varies = of_any is not None
        if of_any is not None:
            self.record, self.program = of_any, None


def _laid_out(a: Tensor) -> Tensor:
    """The same numbers in one layout, each coordinate of all points side by side."""
    return a.movedim(0, -1).contiguous().movedim(-1, 0)


def _filled(a: Tensor, size: int) -> Tensor:
    """As many points, the last one again and again."""
    return _laid_out(torch.cat((a, a[-1:].expand(size - len(a), *a.shape[1:]))))


class Program:
    """A record for one number of points: memory is taken once, and seen in views that are made once."""

    def __init__(self, record: Record, arguments: tuple[Tensor, ...]):
        self.size = len(arguments[0])
        self.calls: list[Callable[[], Any]] = []
        made: list[Any] = [a.clone() for a in arguments]
        last, memory, blank = record.last_reads(), _Memory(), set[int]()
        readers = collections.Counter(read for line in record.lines for read in line.reads())
        self.inputs = [(k, a) for k, a in enumerate(made) if k in last]
        for a in made:
            memory.keep(a)
        for place, line in enumerate(record.lines, len(made)):
            func, args, kwargs = record.bound(line, made, self.size)
            result = func(*args, **kwargs)
            if _name(func) in _OF_SHAPES:
                memory.keep(result)  # for good
                blank.add(place)
            elif _name(func) == "index_copy" and _fills(line, args[0], result, blank, readers):
                if isinstance(line.args[0], Constant):
                    args[0] = result.new_empty_strided(result.shape, result.stride()).copy_(args[0])
                    memory.keep(args[0])  # for good, and nothing was there before
                self.calls.append(_over(result, func, args, kwargs))
                result = args[0]
                blank.add(place)
            elif func is torch.ops.aten.diag_embed.default:
                memory.keep(result)  # for good: beside the diagonal it is 0
                self.calls.append(functools.partial(_diagonal(result, *args[1:], **kwargs).copy_, args[0]))
            elif (
                _name(func) in _PARTS
                and _lie_alike(args[0], result)
                and memory.is_free_after(args[0])
                and last[line.args[0].place] == place
            ):
                self.calls.append(_over(result, func, args, kwargs))
                result = args[0]
            elif not memory.holds(result):
                kept = memory.like(result)
                self.calls.append(_into(kept, result, func, args, kwargs))
                result = kept
            elif func is Tensor.as_strided and line.args[0].place in blank and readers[line.args[0].place] == 1:
                blank.add(place)
            made.append(result)
            memory.keep(result)
            for read in line.reads():
                if last[read] == place:
                    memory.forget(made[read])
        self.result: Tensor = made[record.result]

    def __call__(self, *arguments: Tensor) -> Tensor:
        """The result at other points, so many or fewer."""
        count = len(arguments[0])
        for k, own in self.inputs:
            own[:count] = arguments[k]
            if count < self.size:  # something that is a point
                own[count:] = arguments[k][-1]
        for call in self.calls:
            call()
        return self.result[:count].clone()


def _fills(line: Line, a: Tensor, result: Tensor, blank: set[int], readers: collections.Counter[int]) -> bool:
    """Whether a line writes into what is the same each time but where such lines write, and nothing else reads it."""
    into, *where, _ = line.args
    if any(isinstance(leaf, Made) for leaf in where):
        return False
    is_blank = isinstance(into, Made) and into.place in blank and readers[into.place] == 1
    return isinstance(into, Constant) or (is_blank and _lie_alike(a, result))


def _lie_alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.stride() == b.stride()


class _Memory:
    """Memory of results, taken again for others when nothing reads it any more."""

    def __init__(self) -> None:
        self.users: collections.Counter[int] = collections.Counter()  # of each piece of memory
        self.pieces: dict[int, torch.UntypedStorage] = {}
        self.free: dict[tuple[int, torch.device], list[torch.UntypedStorage]] = collections.defaultdict(list)

    def holds(self, result: Any) -> bool:
        """Whether a result was not made, but is something there seen in another way."""
        return all(_piece(a)._cdata in self.pieces or _piece(a).nbytes() == 0 for a in tensors_in(result))

    def like(self, result: Any) -> Any:
        """Memory for results like one, or several, that were made."""
        if not isinstance(result, Tensor):
            return tuple(map(self.like, result))
        kind = _piece(result).nbytes(), result.device
        piece = self.free[kind].pop() if self.free[kind] else torch.UntypedStorage(kind[0], device=kind[1])
        empty = torch.empty(0, dtype=result.dtype, device=result.device)
        return empty.set_(piece, result.storage_offset(), result.shape, result.stride())  # type: ignore[call-overload]

    def keep(self, value: Any) -> None:
        """There is one more thing that reads the memory of a value."""
        for a in tensors_in(value):
            self.pieces[_piece(a)._cdata] = _piece(a)
            self.users[_piece(a)._cdata] += 1

    def is_free_after(self, value: Tensor) -> bool:
        """Whether nothing but one reading of a value is left of its memory, all of which it is."""
        piece = _piece(value)
        return self.users[piece._cdata] == 1 and piece.nbytes() == value.numel() * value.element_size()

    def forget(self, value: Any) -> None:
        """A value is not read any more."""
        for a in tensors_in(value):
            piece = _piece(a)
            self.users[piece._cdata] -= 1
            if not self.users[piece._cdata]:
                self.free[piece.nbytes(), a.device].append(piece)


def _piece(a: Tensor) -> torch.UntypedStorage:
    return a.untyped_storage()


def _name(func: Any) -> str:
    return func.overloadpacket.__name__ if isinstance(func, torch._ops.OpOverload) else func.__name__


_PARTS = {"index_copy", "index_put", "index_add"}  # some of the numbers are others, and all are written anew for it
_OF_SHAPES = {"full_like", "ones_like", "zeros_like", "new_full", "new_ones", "new_zeros"}  # the same at all points


def _over(result: Tensor, func: Any, args: list, kwargs: dict) -> Callable[[], Any]:
    """The call of a function that writes its result over its first argument."""
    write = functools.partial(getattr(Tensor, f"{_name(func)}_"), *args, **kwargs)
    write()
    if not same_numbers(args[0], result):
        raise ValueError(f"{func} is not what writes in place under its name")
    return write


def _into(kept: Any, result: Any, func: Any, args: list, kwargs: dict) -> Callable[[], Any]:
    """The call of a function that writes its result into memory kept for it."""
    outs = list(tensors_in(kept))
    kind = func, (*map(type, args),), (*kwargs,), tuple((a.dtype, a.device) for a in outs)
    if kind not in _WAYS:
        _WAYS[kind] = next((way for way in _ways(func) if _is_right(way, outs, result, args, kwargs)), _copying(func))
    write = _WAYS[kind](outs, args, kwargs)
    write()
    return write


Way = Callable[[list[Tensor], list, dict], Callable[[], Any]]
_WAYS: dict[Any, Way] = {}  # by the function, and the kinds of its arguments and results


def _ways(func: Any) -> Iterator[Way]:
    """How a function of torch is called that writes into memory, the fastest call first."""
    if (found := _writing(func)) is None:
        return
    overload, names = found
    if len(names) == 1 and (spelled := getattr(torch, _name(func), None)) is not None:
        yield lambda outs, args, kwargs: functools.partial(spelled, *args, **kwargs, out=outs[0])
    yield lambda outs, args, kwargs: functools.partial(
        overload._op, *args, **kwargs, **dict(zip(names, outs, strict=True))
    )


def _copying(func: Any) -> Way:
    """How any function is called, and its results are copied."""
    if func is torch.ops.aten.clone.default:
        return lambda outs, args, kwargs: functools.partial(outs[0].copy_, args[0])
    return lambda outs, args, kwargs: functools.partial(_copied, outs, func, args, kwargs)


def _is_right(way: Way, outs: list[Tensor], result: Any, args: list, kwargs: dict) -> bool:
    """Whether a call, tried, writes what the function gives."""
    try:
        way(outs, args, kwargs)()
    except Exception:
        return False
    return all(map(same_numbers, outs, tensors_in(result)))


def _diagonal(a: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """What `diag_embed` fills."""
    return a.diagonal(offset, dim1, dim2)


def _copied(outs: list[Tensor], func: Any, args: list, kwargs: dict) -> None:
    for out, a in zip(outs, tensors_in(func(*args, **kwargs)), strict=True):
        out.copy_(a)


@functools.cache
def _writing(func: Any) -> tuple[Any, list[str]] | None:
    """The overload of an operation of torch that writes into memory given by these names; None if torch has none."""
    if not isinstance(func, torch._ops.OpOverload):
        return None
    taken = [(a.name, str(a.type)) for a in func._schema.arguments]
    for overload in (getattr(func.overloadpacket, name) for name in func.overloadpacket.overloads()):
        given = overload._schema.arguments
        names = [a.name for a in given if a.is_out]
        if names and [(a.name, str(a.type)) for a in given if not a.is_out] == taken:
            return None if torch.Tag.generated in overload.tags else (overload, names)
    return None
