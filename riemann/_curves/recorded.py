"""Right-hand sides for one solution of an initial value problem, recorded as they run and then run as recorded.

A solver evaluates one function hundreds of times. What is done on the derivatives of a metric is the same each time,
and finding out what that is takes longer than doing it. The record lives as long as the solver's call, so that nothing
in it can be stale; it is made without gradients, and there is none where what is done depends on values.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from riemann._points.checks import without_values

APART = 16  # points in two records, or more, that tell how a number grows with them
SPARED = 4  # calls of the record that points not asked for are worth, before there is one for any number of points
FEW, LONG = 8, 30  # where there is none: the part of the points, and the calls, that a smaller record is worth
MOST = 2**28  # bytes of what is made in between: where it is more, finding out what to do is the smaller part
_SAME = {"alias", "clone", "detach", "expand", "lift_fresh", "slice", "view", "_unsafe_view"}  # where nothing changes
_NUMBER = re.compile(r"<(-?\d+)>")  # a whole number in a line

Program = Callable[..., Tensor]


class Recorded:
    """A function of tensors `(points, …)` to one of them, not to be differentiated.

    A record holds for a number of points; fewer are filled up by copies. Two records of different numbers of points are
    one for any number, where they differ in nothing else.

    Args:
        f: the function, each point by itself.
    """

    def __init__(self, f: Callable[..., Tensor]):
        self.f, self.size, self.wasted = f, 0, 0.0
        self.record: _Record | None = None
        self.of_any: Program | None = None
        self.holds, self.varies = True, True  # whether there can be a record, and one for any number of points

    def __call__(self, *arguments: Tensor) -> Tensor:
        """`f(*arguments)`."""
        count = len(arguments[0])
        if not self.holds or count == 0:
            return self.f(*arguments)
        arguments = tuple(a.contiguous() for a in arguments)  # a record is of the layout, too
        if self.record is None or count > self.size:
            self._take(arguments)
        elif self.of_any is None and 1 < count < self.size:
            self.wasted += 1 - count / self.size
            if self.varies and self.wasted > SPARED and count + APART <= self.size:
                self._compare(arguments)
            elif count * FEW <= self.size and self.wasted > LONG:
                self._take(arguments)
        if self.record is None:
            return self.f(*arguments)
        program, size = (self.record.program(), self.size) if self.of_any is None else (self.of_any, max(2, count))
        result = program(*(_filled(a, size) for a in arguments))[:count]
        if bool(result.isnan().any()):  # the record knows no more at points in doubt
            return self.f(*arguments)
        return result

    def _take(self, arguments: tuple[Tensor, ...]) -> None:
        """Records what is done with as many points."""
        self.size, self.wasted, self.of_any = len(arguments[0]), 0.0, None
        try:
            self.record = _record(self.f, arguments)
        except Exception:  # it depends on values, or is large; of what is wrong f says more itself
            self.holds, self.record = False, None

    def _compare(self, arguments: tuple[Tensor, ...]) -> None:
        """Finds out how what is done depends on the number of points."""
        assert self.record is not None
        try:
            self.of_any = self.record.of_any(_record(self.f, arguments))
        except Exception:
            self.of_any = None
        self.varies = self.of_any is not None


def _filled(a: Tensor, size: int) -> Tensor:
    """As many points, the last one again and again."""
    return a if len(a) == size else torch.cat((a, a[-1:].expand(size - len(a), *a.shape[1:])))


class _Record:
    """Lines of Python that make the result of so many points, whole numbers marked, and the constants in them."""

    def __init__(self, count: int, inputs: list[str], lines: list[str], constants: dict[str, Any]):
        self.count, self.inputs, self.lines, self.constants = count, inputs, lines, constants
        self.made: Program | None = None

    def program(self) -> Program:
        """The function."""
        if self.made is None:
            self.made = self._function([_NUMBER.sub(r"\1", line) for line in self.lines], self.constants)
        return self.made

    def of_any(self, other: "_Record") -> Program | None:
        """The function of any number of points, two or more and no more than here; None unless that is all it takes."""
        if len(self.lines) != len(other.lines) or self.constants.keys() != other.constants.keys():
            return None
        counts, constants, lines = (self.count, other.count), dict(self.constants), [f" n = len({self.inputs[0]})"]
        for name, here in self.constants.items():
            dim = _grows(here, other.constants[name], counts)
            if dim is None:
                return None
            if dim >= 0:
                lines.append(f" {name} = whole_{name}.narrow({dim}, 0, n)")
                constants[f"whole_{name}"] = constants.pop(name)
        for here, there in zip(self.lines, other.lines, strict=True):
            (words, numbers), (other_words, other_numbers) = map(_parted, (here, there))
            grown = [_varying(a, b, counts) for a, b in zip(numbers, other_numbers, strict=False)]
            if words != other_words or None in grown:
                return None
            lines.append("".join(word + number for word, number in zip(words, [*grown, ""], strict=True)))
        return self._function(lines, constants)

    def _function(self, lines: list[str], constants: dict[str, Any]) -> Program:
        names = dict(constants)
        exec("\n".join((f"def program({', '.join(self.inputs)}):", *lines)), names)
        return names["program"]


def _parted(line: str) -> tuple[list[str], list[int]]:
    """What is around the whole numbers of a line, and these."""
    parts = _NUMBER.split(line)
    return parts[::2], [int(a) for a in parts[1::2]]


def _varying(a: int, b: int, counts: tuple[int, int]) -> str | None:
    """How a number is written that is a with one count of points and b with another; None if it cannot be told."""
    factor, rest = divmod(a - b, counts[0] - counts[1])
    if factor == 0 and rest == 0:
        return str(a)
    return f"{factor} * n + {a - factor * counts[0]}" if rest == 0 else None


def _grows(a: Any, b: Any, counts: tuple[int, int]) -> int | None:
    """The axis of a constant along which there is a point each, all alike; -1 if there is none, None if neither."""
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return -1 if a is b or a == b else None
    if a.shape == b.shape:
        return -1 if a is b or _equal(a, b) else None
    axes = [k for k in range(a.ndim) if a.ndim == b.ndim and a.shape[k] != b.shape[k]]
    if len(axes) != 1 or (a.shape[axes[0]], b.shape[axes[0]]) != counts:
        return None
    one = a.narrow(axes[0], 0, 1)
    return axes[0] if all(_equal(one.expand_as(c), c) for c in (a, b)) else None


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and bool(((a == b) | (a.isnan() & b.isnan())).all())


def _record(f: Callable[..., Tensor], arguments: tuple[Tensor, ...]) -> _Record:
    """What `f(*arguments)` does."""
    tape = _Tape(arguments)
    with without_values(alike=True), tape:
        result = f(*arguments)
    return tape.record(len(arguments[0]), result)


class _Unrecorded(Exception):
    """Why there is no record."""


class _Tape(TorchDispatchMode):
    """Writes operations down as lines of Python, but for those that were there, and those on constants."""

    def __init__(self, arguments: tuple[Tensor, ...]):
        super().__init__()
        self.inputs = [f"x{k}" for k in range(len(arguments))]
        self.lines: list[tuple[str, str, set[str]]] = []  # what is made, of what, and what it reads
        self.constants: dict[str, Any] = {"inf": math.inf, "nan": math.nan}
        self.names: dict[int, str] = {}  # of what depends on the arguments
        self.known: dict[Any, str] = {}
        self.joined: dict[str, tuple[int, list[Tensor]]] = {}  # what was joined along which axis
        self.whole: dict[int, str] = {}  # what was made anew, and lies in the memory of this tensor
        self.fixed: set[int] = set()  # memory of constants that lines read
        self.alive: list[Any] = list(arguments)  # so that keys are not used again
        self.left = MOST
        for name, a in zip(self.inputs, arguments, strict=True):
            self.names[id(a)] = name

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        tensors = _tensors((args, *kwargs.values()))
        varies = any(id(a) in self.names for a in tensors)
        if torch.Tag.nondeterministic_seeded in func.tags or varies and _looks_at_values(func, tensors):
            raise _Unrecorded(f"{func} depends on more than shapes")
        if func._schema.is_mutable and (varies or any(self.memory(a) in self.fixed for a in tensors)):
            raise _Unrecorded(f"{func} writes into what is read elsewhere")
        result = func(*args, **kwargs)
        if varies:
            self.write(func, args, kwargs, result, {self.memory(a) for a in tensors})
        return result

    def write(self, func: Any, args: tuple, kwargs: dict, result: Any, memory: set[int]) -> None:
        """A line for an operation on tensors in some memory, if there is none yet."""
        self.alive.append(result)
        name = func.overloadpacket.__name__
        if name == "slice" and (part := self.part(*args)) is not None and _alike(part, result):
            self.names[id(result)] = self.names[id(part)]
            return
        if name in _SAME and _alike(args[0], result):
            self.names[id(result)] = self.names[id(args[0])]
            if id(args[0]) in self.whole:
                self.whole[id(result)] = self.whole[id(args[0])]
            return
        parts = _tensors(result)
        if all(self.is_placed(p, args[0]) for p in parts):
            for p in parts:
                self.place(p, self.whole[id(args[0])])
            return
        reads: set[str] = set()
        written = [*(self.text(a, reads) for a in args), *(f"{k}={self.text(a, reads)}" for k, a in kwargs.items())]
        made = self.line(f"{self.constant(func._op, func)}({', '.join(written)})", reads, result)
        self.name(result, made)
        self.whole |= {id(p): self.names[id(p)] for p in parts if self.memory(p) not in memory}
        if name == "cat":
            self.joined[made] = (args[1] if len(args) > 1 else 0) % result.ndim, list(args[0])

    def line(self, text: str, reads: set[str], result: Any) -> str:
        """What a line makes, which is written if there is none yet."""
        if text not in self.known:
            self.known[text] = made = f"v{len(self.lines)}"
            self.lines.append((made, text, reads))
            self.weigh(result)
        return self.known[text]

    def name(self, value: Any, name: str) -> None:
        """Remembers what a tensor, or each of several, is called."""
        if isinstance(value, Tensor):
            self.names[id(value)] = name
        elif isinstance(value, tuple | list):
            for k, part in enumerate(value):
                self.name(part, self.line(f"{name}[{k}]", {name}, ()))

    def is_placed(self, part: Tensor, a: Any) -> bool:
        """Whether a tensor is some of the numbers of another as they lie in memory, the others of which were made."""
        whole = isinstance(a, Tensor) and id(a) in self.whole
        return whole and self.memory(part) == self.memory(a) and _kind(part) == _kind(a)

    def place(self, part: Tensor, whole: str) -> None:
        """A line for a tensor by its place in memory: views of views are one."""
        size, stride, offset = (self.text(a, set()) for a in (part.shape, part.stride(), part.storage_offset()))
        self.names[id(part)] = self.line(f"{whole}.as_strided({size}, {stride}, {offset})", {whole}, ())
        self.whole[id(part)] = whole

    def part(self, a: Tensor, dim: int = 0, start: int = 0, end: int = 2**63 - 1, step: int = 1) -> Tensor | None:
        """The part of what was joined that a slice of it is."""
        axis, parts = self.joined.get(self.names.get(id(a), ""), (-1, []))
        if dim % a.ndim != axis or step != 1 or start is None or start < 0:
            return None
        before = 0
        for p in parts:
            if before == start and p.shape[axis] == min(end, a.shape[axis]) - start and id(p) in self.names:
                return p
            before += p.shape[axis]
        return None

    def text(self, a: Any, reads: set[str]) -> str:
        """An argument as it is written."""
        if isinstance(a, Tensor):
            if id(a) in self.names:
                reads.add(self.names[id(a)])
                return self.names[id(a)]
            self.fixed.add(self.memory(a))
            self.alive.append(a)
            return self.constant(a, id(a))
        if isinstance(a, tuple | list):
            return f"[{', '.join(self.text(b, reads) for b in a)}]"
        if type(a) is int:
            return f"<{a}>"
        return repr(a) if a is None or type(a) in (float, bool, str) else self.constant(a, a)

    def constant(self, value: Any, key: Any) -> str:
        """The name of a constant."""
        if (key := ("constant", key)) not in self.known:
            self.known[key] = name = f"c{len(self.constants)}"
            self.constants[name] = value
        return self.known[key]

    def memory(self, a: Tensor) -> int:
        """What tells tensors in the same memory."""
        return a.untyped_storage()._cdata if a.layout == torch.strided else id(a)

    def weigh(self, result: Any) -> None:
        """Raises where what is kept until the end of the record becomes too much."""
        self.left -= sum(a.untyped_storage().nbytes() for a in _tensors(result))
        if self.left < 0:
            raise _Unrecorded("values in between are large")

    def record(self, count: int, result: Tensor) -> _Record:
        """The lines that a result needs, which forget what is not needed any more."""
        last = self.names.get(id(result))
        if last is None:
            raise _Unrecorded("it does not depend on its arguments")
        needed, seen, text = {last}, {last}, [f" return {last}"]
        for made, line, reads in reversed(self.lines):
            if made not in needed:
                continue
            done = sorted(reads - seen)
            seen |= reads
            needed |= reads
            text.append(f" {made} = {line}" + "".join(f"; {name} = None" for name in done))
        text.reverse()
        used = set(re.findall(r"\bc\d+\b", " ".join(text)))
        return _Record(count, self.inputs, text, {k: v for k, v in self.constants.items() if k in used or k[0] != "c"})


def _looks_at_values(func: Any, tensors: list[Tensor]) -> bool:
    """Whether a number, or the shape of the result, depends on values."""
    if func is torch.ops.aten.index.Tensor:  # by numbers of entries, or where a mask holds
        return any(a.dtype == torch.bool for a in tensors[1:])
    return torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags


def _tensors(value: Any) -> list[Tensor]:
    """Those among arguments, or in lists of them."""
    if isinstance(value, Tensor):
        return [value]
    return [a for part in value for a in _tensors(part)] if isinstance(value, tuple | list) else []


def _alike(a: Tensor, b: Any) -> bool:
    """Whether one can stand for the other: of the same shape and kind, and the same places in memory."""
    return (a.shape, a.stride(), *_kind(a)) == (b.shape, b.stride(), *_kind(b))


def _kind(a: Tensor) -> tuple[Any, ...]:
    """How what is in memory is read."""
    return a.dtype, a.is_conj(), a.is_neg()
