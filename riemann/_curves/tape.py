"""What is done with some points, as a list of operations; and with any number of them, found by doing it twice."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from riemann._points.checks import without_values

MOST = 2**28  # bytes of what is made in between: where it is more, finding out what to do is the smaller part
_SAME = {"alias", "clone", "detach", "expand", "lift_fresh", "slice", "view", "_unsafe_view"}  # where nothing changes


# ------------------------------------------------------------------------------------------------- what lines read


@dataclass(frozen=True)
class Made:
    """What is made by a line, or given: arguments come first, then lines."""

    place: int


@dataclass(frozen=True)
class Constant:
    """A tensor or whatever is no number, by its place; of a tensor the first ones `along` an axis, one a point."""

    place: int
    along: int | None = None


@dataclass(frozen=True)
class Whole:
    """The whole number `per_point * n + rest`, of n points."""

    rest: int
    per_point: int = 0


class Line(NamedTuple):
    """A call: its arguments are of the kinds above, or tuples of them."""

    func: Callable[..., Any]
    args: tuple
    kwargs: tuple[tuple[str, Any], ...]

    def reads(self) -> set[int]:
        """The places of what it reads."""
        return {leaf.place for leaf in _leaves((self.args, self.kwargs)) if isinstance(leaf, Made)}


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, tuple):
        for part in tree:
            yield from _leaves(part)
    else:
        yield tree


# ------------------------------------------------------------------------------------------------------- records


@dataclass(frozen=True)
class Record:
    """Lines that make a result of so many points, and the constants in them."""

    count: int
    arguments: int
    lines: list[Line]
    constants: list[Any]
    result: int
    is_of_any: bool = False

    def last_reads(self) -> dict[int, int]:
        """Where each place is read last."""
        return {read: place for place, line in enumerate(self.lines, self.arguments) for read in line.reads()}

    def bound(self, line: Line, made: list[Any], n: int) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
        """What a line calls for n points, and with what."""

        def bind(leaf: Any) -> Any:
            if isinstance(leaf, tuple):
                return list(map(bind, leaf))
            if isinstance(leaf, Made):
                return made[leaf.place]
            if isinstance(leaf, Whole):
                return leaf.per_point * n + leaf.rest
            constant = self.constants[leaf.place]
            return constant if leaf.along is None else constant.narrow(leaf.along, 0, n)

        return line.func, list(map(bind, line.args)), {name: bind(a) for name, a in line.kwargs}

    def of_any(self, other: "Record") -> "Record | None":
        """That of any number of points, two or more and no more than here; None unless that is all it takes."""
        counts = self.count, other.count

        def both(a: Any, b: Any) -> Any:
            if isinstance(a, Whole) and isinstance(b, Whole):
                return _varying(a.rest, b.rest, counts)
            if isinstance(a, Constant) and isinstance(b, Constant):
                return Constant(a.place, _grows(self.constants[a.place], other.constants[b.place], counts))
            if a != b:
                raise _Otherwise
            return a

        if len(self.lines) != len(other.lines) or self.result != other.result:
            return None
        try:
            lines = [Line(*_mapped(both, tuple(a), tuple(b))) for a, b in zip(self.lines, other.lines, strict=True)]
        except _Otherwise:
            return None
        return dataclasses.replace(self, lines=lines, is_of_any=True)


class _Otherwise(Exception):
    """Where two records differ in more than the number of points."""


def _mapped(f: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """Two trees, leaf by leaf."""
    if not isinstance(a, tuple) or not isinstance(b, tuple):
        return f(a, b)
    if len(a) != len(b):
        raise _Otherwise
    return tuple(map(functools.partial(_mapped, f), a, b))


def _varying(a: int, b: int, counts: tuple[int, int]) -> Whole:
    """A number that is a with one count of points and b with another."""
    per_point, rest = divmod(a - b, counts[0] - counts[1])
    if rest:
        raise _Otherwise
    return Whole(a - per_point * counts[0], per_point)


def _grows(a: Any, b: Any, counts: tuple[int, int]) -> int | None:
    """The axis of a constant along which there is a point each, all alike; None if there is none."""
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        if _named(a) == _named(b):
            return None
        raise _Otherwise
    if a.shape == b.shape:
        if a is b or same_numbers(a, b):
            return None
        raise _Otherwise
    axes = [k for k in range(a.ndim) if a.ndim == b.ndim and a.shape[k] != b.shape[k]]
    if len(axes) != 1 or (a.shape[axes[0]], b.shape[axes[0]]) != counts:
        raise _Otherwise
    one = a.narrow(axes[0], 0, 1)
    if not all(same_numbers(one.expand_as(c), c) for c in (a, b)):
        raise _Otherwise
    return axes[0]


def same_numbers(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape have the same entries, NaN among them."""
    return a.dtype == b.dtype and bool(((a == b) | (a.isnan() & b.isnan())).all())


def tensors_in(value: Any) -> list[Tensor]:
    """Those among arguments, or in lists of them."""
    if isinstance(value, Tensor):
        return [value]
    return [a for part in value for a in tensors_in(part)] if isinstance(value, tuple | list) else []


# -------------------------------------------------------------------------------------------------- how they are made


def record_of(f: Callable[..., Tensor], arguments: tuple[Tensor, ...]) -> Record:
    """What `f(*arguments)` does, without gradients.

    Raises:
        Unrecorded: it depends on values, or is large.
    """
    tape = _Tape(arguments)
    with without_values(alike=True), tape:
        result = f(*arguments)
    return tape.record(result)


class Unrecorded(Exception):
    """Why there is no record."""


class _Tape(TorchDispatchMode):
    """Writes operations down, but for those that were there, and those on constants."""

    def __init__(self, arguments: tuple[Tensor, ...]):
        super().__init__()
        self.count, self.arguments = len(arguments[0]), len(arguments)
        self.lines: list[Line] = []
        self.constants: list[Any] = []
        self.places: dict[int, int] = {id(a): k for k, a in enumerate(arguments)}  # of what depends on the arguments
        self.known: dict[Any, int] = {}  # places of lines, and of constants
        self.joined: dict[int, tuple[int, list[Tensor]]] = {}  # what was joined along which axis
        self.whole: dict[int, int] = {}  # what was made anew, and lies in the memory of the tensor made there
        self.fixed: set[int] = set()  # memory of constants that lines read
        self.alive: list[Any] = list(arguments)  # so that keys are not used again
        self.left = MOST

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        tensors = tensors_in((args, *kwargs.values()))
        varies = any(id(a) in self.places for a in tensors)
        if torch.Tag.nondeterministic_seeded in func.tags or varies and _looks_at_values(func, tensors):
            raise Unrecorded(f"{func} depends on more than shapes")
        if func._schema.is_mutable and (varies or any(_memory(a) in self.fixed for a in tensors)):
            raise Unrecorded(f"{func} writes into what is read elsewhere")
        result = func(*args, **kwargs)
        if varies:
            self.write(func, args, kwargs, result, set(map(_memory, tensors)))
        return result

    def write(self, func: Any, args: tuple, kwargs: dict, result: Any, memory: set[int]) -> None:
        """A line for an operation on tensors in some memory, if there is none yet."""
        self.alive.append(result)
        name = func.overloadpacket.__name__
        if name == "slice" and (part := self.part(*args)) is not None and _alike(part, result):
            self.places[id(result)] = self.places[id(part)]
            return
        if name in _SAME and _alike(args[0], result):
            self.places[id(result)] = self.places[id(args[0])]
            if id(args[0]) in self.whole:
                self.whole[id(result)] = self.whole[id(args[0])]
            return
        parts = tensors_in(result)
        if all(self.is_placed(p, args[0]) for p in parts):
            for p in parts:
                self.place(p, self.whole[id(args[0])])
            return
        line = Line(func, *((*map(self.leaf, args),), tuple((name, self.leaf(a)) for name, a in kwargs.items())))
        made = self.line(line, result)
        self.name(result, made)
        self.whole |= {id(p): self.places[id(p)] for p in parts if _memory(p) not in memory}
        if name == "cat":
            self.joined[made] = (args[1] if len(args) > 1 else 0) % result.ndim, list(args[0])

    def line(self, line: Line, result: Any) -> int:
        """The place of what a line makes, which is written if there is none yet."""
        if line not in self.known:
            self.known[line] = self.arguments + len(self.lines)
            self.lines.append(line)
            self.left -= sum(a.untyped_storage().nbytes() for a in tensors_in(result))
            if self.left < 0:  # all is kept until the end of the record
                raise Unrecorded("values in between are large")
        return self.known[line]

    def name(self, value: Any, place: int) -> None:
        """Remembers where a tensor, or each of several, is made."""
        if isinstance(value, Tensor):
            self.places[id(value)] = place
        elif isinstance(value, tuple | list):
            for k, part in enumerate(value):
                self.name(part, self.line(Line(operator.getitem, (Made(place), Whole(k)), ()), ()))

    def is_placed(self, part: Tensor, a: Any) -> bool:
        """Whether a tensor is some of the numbers of another as they lie in memory, the others of which were made."""
        whole = isinstance(a, Tensor) and id(a) in self.whole
        return whole and _memory(part) == _memory(a) and _kind(part) == _kind(a)

    def place(self, part: Tensor, whole: int) -> None:
        """A line for a tensor by its place in memory: views of views are one."""
        where = map(self.leaf, (part.shape, part.stride(), part.storage_offset()))
        self.places[id(part)] = self.line(Line(Tensor.as_strided, (Made(whole), *where), ()), ())
        self.whole[id(part)] = whole

    def part(self, a: Tensor, dim: int = 0, start: int = 0, end: int = 2**63 - 1, step: int = 1) -> Tensor | None:
        """The part of what was joined that a slice of it is."""
        axis, parts = self.joined.get(self.places.get(id(a), -1), (-1, []))
        if dim % a.ndim != axis or step != 1 or start is None or start < 0:
            return None
        before = 0
        for p in parts:
            if before == start and p.shape[axis] == min(end, a.shape[axis]) - start and id(p) in self.places:
                return p
            before += p.shape[axis]
        return None

    def leaf(self, a: Any) -> Any:
        """An argument as it is written."""
        if isinstance(a, tuple | list):
            return tuple(map(self.leaf, a))
        if type(a) is int:
            return Whole(a)
        if isinstance(a, Tensor):
            if id(a) in self.places:
                return Made(self.places[id(a)])
            self.fixed.add(_memory(a))
            self.alive.append(a)
            return self.constant(a, id(a))
        return self.constant(a, _named(a))

    def constant(self, value: Any, key: Any) -> Constant:
        """The place of a constant."""
        if (key := ("constant", key)) not in self.known:
            self.known[key] = len(self.constants)
            self.constants.append(value)
        return Constant(self.known[key])

    def record(self, result: Tensor) -> Record:
        """The lines that a result needs."""
        if id(result) not in self.places:
            raise Unrecorded("it does not depend on its arguments")
        last, given = self.places[id(result)], self.arguments
        needed = {last}
        for place, line in reversed(list(enumerate(self.lines, given))):
            if place in needed:
                needed |= line.reads()
        kept = [*range(given), *sorted(place for place in needed if place >= given)]
        now = {place: k for k, place in enumerate(kept)}

        def renamed(leaf: Any, _: Any) -> Any:
            return Made(now[leaf.place]) if isinstance(leaf, Made) else leaf

        lines = [Line(*_mapped(renamed, line := tuple(self.lines[place - given]), line)) for place in kept[given:]]
        return Record(self.count, given, lines, self.constants, now[last])


def _named(a: Any) -> tuple[type, str]:
    """What tells constants that are no tensors: 0.0 from -0.0, 1 from True."""
    return type(a), repr(a)


def _looks_at_values(func: Any, tensors: list[Tensor]) -> bool:
    """Whether a number, or the shape of the result, depends on values."""
    if func is torch.ops.aten.index.Tensor:  # by numbers of entries, or where a mask holds
        return any(a.dtype == torch.bool for a in tensors[1:])
    return torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags


def _memory(a: Tensor) -> int:
    """What tells tensors in the same memory."""
    return a.untyped_storage()._cdata if a.layout == torch.strided else id(a)


def _alike(a: Tensor, b: Any) -> bool:
    """Whether one can stand for the other: of the same shape and kind, and the same places in memory."""
    return (a.shape, a.stride(), *_kind(a)) == (b.shape, b.stride(), *_kind(b))


def _kind(a: Tensor) -> tuple[Any, ...]:
    """How what is in memory is read."""
    return a.dtype, a.is_conj(), a.is_neg()
