"""Right-hand sides for one solution of an initial value problem, recorded as they run and then run as recorded.

A solver evaluates one function hundreds of times. What is done on the derivatives of a metric is the same each time,
and finding out what that is takes longer than doing it. The record lives as long as the solver's call, so that nothing
in it can be stale; it is made without gradients, and there is none where what is done depends on values.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from riemann._points.checks import without_values

FEW, LONG = 8, 30  # the part of the points, and the calls, that a record of their own is worth
MOST = 2**28  # bytes of what is made in between: where it is more, finding out what to do is the smaller part
_SAME = {"alias", "clone", "detach", "expand", "lift_fresh", "slice", "view", "_unsafe_view"}  # where nothing changes


class Recorded:
    """A function of tensors `(points, …)` to one of them, not to be differentiated.

    The record holds for a number of points; fewer are filled up by copies, until they are few for many calls.

    Args:
        f: the function, each point by itself.
    """

    def __init__(self, f: Callable[..., Tensor]):
        self.f, self.size, self.wasted = f, 0, 0
        self.program: Any = None
        self.holds = True

    def __call__(self, *arguments: Tensor) -> Tensor:
        """`f(*arguments)`."""
        count = len(arguments[0])
        if not self.holds or count == 0:
            return self.f(*arguments)
        self.wasted = self.wasted + 1 if count * FEW <= self.size else 0
        if count > self.size or self.wasted > LONG:
            try:
                self.program, self.size, self.wasted = _recorded(self.f, arguments), count, 0
            except Exception:  # it depends on values, or is large; of what is wrong f says more itself
                self.holds, self.program = False, None
                return self.f(*arguments)
        if count < self.size:
            arguments = tuple(torch.cat((a, a[-1:].expand(self.size - count, *a.shape[1:]))) for a in arguments)
        result = self.program(*arguments)[:count]
        if bool(result.isnan().any()):  # the record knows no more at points in doubt
            return self.f(*(a[:count] for a in arguments))
        return result


def _recorded(f: Callable[..., Tensor], arguments: tuple[Tensor, ...]) -> Callable[..., Tensor]:
    """The operations of `f(*arguments)`, as a function."""
    tape = _Tape(arguments)
    with without_values(alike=True), tape:
        result = f(*arguments)
    return tape.program(result)


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
        self.fixed: set[int] = set()  # memory of constants that lines read
        self.alive: list[Any] = list(arguments)  # so that keys are not used again
        self.left = MOST
        for name, a in zip(self.inputs, arguments, strict=True):
            self.names[id(a)] = name

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        tensors = list(_tensors((args, kwargs)))
        varies = any(id(a) in self.names for a in tensors)
        if torch.Tag.nondeterministic_seeded in func.tags or varies and _looks_at_values(func, tensors):
            raise _Unrecorded(f"{func} depends on more than shapes")
        if func._schema.is_mutable and (varies or any(self.memory(a) in self.fixed for a in tensors)):
            raise _Unrecorded(f"{func} writes into what is read elsewhere")
        result = func(*args, **kwargs)
        if varies:
            self.write(func, args, kwargs, result)
        return result

    def write(self, func: Any, args: tuple, kwargs: dict, result: Any) -> None:
        """A line for an operation, if there is none yet."""
        self.alive.append(result)
        name = func.overloadpacket.__name__
        if name == "slice" and (part := self.part(*args)) is not None and part.shape == result.shape:
            self.names[id(result)] = self.names[id(part)]
            return
        if name in _SAME and _alike(args[0], result):
            self.names[id(result)] = self.names[id(args[0])]
            return
        reads: set[str] = set()
        written = [*(self.text(a, reads) for a in args), *(f"{k}={self.text(a, reads)}" for k, a in kwargs.items())]
        line = f"{self.constant(func._op, func)}({', '.join(written)})"
        if line not in self.known:
            self.known[line] = made = f"v{len(self.lines)}"
            self.lines.append((made, line, reads))
            self.weigh(result)
        self.name(result, self.known[line])
        if name == "cat":
            self.joined[self.known[line]] = (args[1] if len(args) > 1 else 0) % result.ndim, list(args[0])

    def name(self, value: Any, name: str) -> None:
        """Remembers what a tensor, or each of several, is called."""
        if isinstance(value, Tensor):
            self.names[id(value)] = name
        elif isinstance(value, tuple | list):
            for k, part in enumerate(value):
                line = f"{name}[{k}]"
                if line not in self.known:
                    self.known[line] = made = f"v{len(self.lines)}"
                    self.lines.append((made, line, {name}))
                self.name(part, self.known[line])

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
        return repr(a) if a is None or type(a) in (int, float, bool, str) else self.constant(a, a)

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

    def program(self, result: Tensor) -> Callable[..., Tensor]:
        """The lines that a result needs, as a function that forgets what is not needed any more."""
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
        source = f"def program({', '.join(self.inputs)}):\n" + "\n".join(reversed(text))
        exec(source, self.constants)
        return self.constants["program"]


def _looks_at_values(func: Any, tensors: list[Tensor]) -> bool:
    """Whether a number, or the shape of the result, depends on values."""
    if func is torch.ops.aten.index.Tensor:  # by numbers of entries, or where a mask holds
        return any(a.dtype == torch.bool for a in tensors[1:])
    return torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags


def _tensors(value: Any) -> Iterable[Tensor]:
    return (a for a in tree_leaves(value) if isinstance(a, Tensor))


def _alike(a: Tensor, b: Any) -> bool:
    """Whether one can stand for the other: of the same shape and the same places in memory."""
    return (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)
