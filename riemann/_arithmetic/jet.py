"""Jets: tensors that stand for a value and its derivatives at many points, and look like the value at one."""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch._C import _functorch
from torch._subclasses.fake_tensor import FakeTensor

from riemann._messages.remedies import PYTHON

if TYPE_CHECKING:
    from riemann._arithmetic.dispatch import Arithmetic


class Refusal(ValueError):
    """A function cannot be differentiated right as it is written; the message says what to write instead."""


class Refused(Exception):
    """What an operation does that has no derivatives, and what to write instead: the end of a sentence."""


UNSEEN = ContextVar("unseen", default=False)
"""Whether what is done is recorded, to be done again for others: no value may be looked at."""

KINKS_CALLED: ContextVar[set[str] | None] = ContextVar("kinks", default=None)


@contextlib.contextmanager
def kinks_called() -> Iterator[set[str]]:
    """Gathers the names of functions with kinks that users' functions call inside."""
    names: set[str] = set()
    token = KINKS_CALLED.set(names)
    try:
        yield names
    finally:
        KINKS_CALLED.reset(token)


class _Running(threading.local):
    """The arithmetic whose rules run now, in this thread: calls of riemann may be inside one another."""

    arithmetic: "Arithmetic | None" = None
    users: "tuple[Arithmetic, ...]" = ()  # those inside whose user's functions this runs


running = _Running()


class Waiting(Protocol):
    """Coefficients that are made when they are read."""

    @property
    def shape(self) -> torch.Size: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def device(self) -> torch.device: ...
    def made(self) -> Tensor:
        """The coefficients, side by side in memory."""
        ...


class Memory:
    """Coefficients that several jets look at: one writes, all see it.

    Before the first write they are copied: a rule may have returned the coefficients of another jet.
    """

    __slots__ = ("_c", "writes", "read", "coordinates")

    def __init__(self, c: Tensor | Waiting):
        self._c, self.writes, self.read = c, 0, False
        self.coordinates: Tensor | None = None  # of the point, if they are numbered, `(1, 1, n)`

    @property
    def waiting(self) -> Any:
        """What makes the coefficients, until they are read."""
        return None if isinstance(self._c, Tensor) else self._c

    @property
    def c(self) -> Tensor:
        if not isinstance(self._c, Tensor):
            self._c = self._c.made()
        return self._c

    @c.setter
    def c(self, c: Tensor) -> None:
        self._c = c


class Jet(Tensor):
    """The value and derivatives of one tensor of a user's function, `c` of shape `(count, points, *shape)`.

    `count` may be that of a lower degree than is asked for: the derivatives of higher degree are 0.

    Attributes:
        jumps: for what has no derivatives (masks, whole numbers), where it jumps, `(points, *shape)`, or None.
    """

    jumps: Tensor | None
    _memory: Memory
    _take: Callable[[Tensor], Tensor] | None
    _square: Tensor | None
    _is_diagonal: bool

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, c: Tensor | Waiting, jumps: Tensor | None = None, offset: int | None = None) -> "Jet":
        is_made = isinstance(c, Tensor)
        strides, begin = _lying(c) if is_made else (_contiguous(c.shape[2:]), 0)
        begin = begin if offset is None else offset
        jet = Tensor._make_wrapper_subclass(cls, c.shape[2:], strides, begin, dtype=c.dtype, device=c.device)
        jet._memory, jet._take, jet.jumps, jet._square = Memory(c), None, jumps, None
        jet._is_diagonal = False
        jet._c, jet._writes, jet._told, jet.owner = c, 0 if is_made else -1, False, running.arithmetic
        if jet.owner is not None and is_made:
            jet.owner.bytes += c.numel() * c.element_size()
        return jet

    def view_by(self, take: Callable[[Tensor], Tensor]) -> "Jet":
        """A view, `take` of the coefficients."""
        c, offset = self._now(), None
        if not is_seen(c):  # inside transforms: torch compares it with that of tangents
            offset = take(_lying_like(c, self.storage_offset())).storage_offset()
        view = Jet(take(c), None if self.jumps is None else take(self.jumps.unsqueeze(0))[0], offset)
        view._memory, view._writes = self._memory, self._memory.writes
        view._take = take if (before := self._take) is None else lambda c: take(before(c))
        return view

    def view_of_memory(self, size: Any, stride: Any, offset: int, copying: bool) -> "Jet":
        """A view as of `as_strided`, if the memory lies as that of a plain tensor would.

        With `copying` it is a copy, of which torch's transforms take right derivatives; `write` knows its places.
        """
        whole = self._memory.c
        if (whole.stride() != _contiguous(whole.shape) and not has_points_last(whole)) or _offset(whole):
            raise Refused("reads memory that is laid out otherwise here; use indexing")

        is_whole = offset == 0 and tuple(stride) == _contiguous(size) and math.prod(size) == math.prod(whole.shape[2:])

        def take(c: Tensor) -> Tensor:
            numbers, points = math.prod(c.shape[2:]), c.shape[1]
            if copying and is_whole:
                return c.reshape(*c.shape[:2], *size)
            if copying and c.is_floating_point():
                places = torch.arange(numbers, device=c.device).as_strided(size, stride, offset)
                rows = c.flatten(2).transpose(1, 2)
                found = rows.index_select(1, places.reshape(-1)).transpose(1, 2)
                return found.unflatten(2, size) if size else found[..., 0]
            if has_points_last(c):
                strides = (points * numbers, 1, *(points * step for step in stride))
                return c.as_strided((*c.shape[:2], *size), strides, points * offset)
            return c.as_strided((*c.shape[:2], *size), (points * numbers, numbers, *stride), offset)

        view = Jet(take(whole))
        view._memory, view._writes, view._take = self._memory, self._memory.writes, take
        return view

    def become(self, view: "Jet") -> None:
        """Takes the place of a view of it: its shape is changed elsewhere."""
        self._take, self._c, self._writes, self.jumps = view._take, view._c, view._writes, view.jumps
        self._told, self._square, self._is_diagonal = False, None, False

    @property
    def c(self) -> Tensor:
        """The coefficients as they are now."""
        memory = self._memory
        memory.read = True
        if memory.coordinates is not None and not self._told:
            self._tell(memory.coordinates)
        return self._c if self._writes == memory.writes else self._now()

    def _tell(self, coordinates: Tensor) -> None:
        """Notes which coordinates of the point are read: those that it is a view of."""
        seen = coordinates if self._take is None else self._take(coordinates)
        self.owner.coordinates.update(map(int, _real(seen).flatten().tolist()))
        self._told = True

    def _now(self) -> Tensor:
        if self._writes != self._memory.writes:
            self._c = self._memory.c if self._take is None else self._take(self._memory.c)
            self._writes = self._memory.writes
        return self._c

    def write_anew(self, value: Tensor) -> None:
        """Sets the coefficients in a new memory, by operations that are not in place."""
        memory, take = self._memory, self._take
        whole = torch.arange(_real(memory.c[:1, :1]).numel(), dtype=torch.float64, device=memory.c.device)
        whole = whole.view(_real(memory.c[:1, :1]).shape)
        whole = torch.view_as_complex(whole) if memory.c.is_complex() else whole
        here = whole if take is None else take(whole)
        memory.writes += 1
        if _is_all_of(here, whole):
            memory.c = value.reshape(*value.shape[:2], *memory.c.shape[2:]).contiguous()
            return
        places = _real(here).reshape(-1).long()
        count, sideways = max(len(value), len(memory.c)), has_points_last(memory.c) and not memory.c.is_complex()

        def rows(c: Tensor) -> Tensor:
            c = _real(c)
            c = c if len(c) == count else torch.cat([c, c.new_zeros((count - len(c), *c.shape[1:]))])
            c = c.reshape(count, c.shape[1], -1)
            return c.transpose(1, 2) if sideways else c

        numbers = rows(memory.c).index_copy(1 if sideways else 2, places, rows(value))
        numbers = numbers.transpose(1, 2) if sideways else numbers.view(count, *_real(memory.c).shape[1:])
        memory.c = torch.view_as_complex(numbers) if memory.c.is_complex() else numbers

    def write(self, value: Tensor, keeping: bool) -> None:
        """Sets the coefficients, in place; with `keeping`, what was read stays as it was."""
        memory = self._memory
        missing = value.shape[0] - self._now().shape[0]
        if missing > 0 or (keeping and memory.read) or not memory.writes:
            zeros = memory.c.new_zeros((max(0, missing), *memory.c.shape[1:]))
            memory.c, memory.read = _lengthened(memory.c, zeros), False
        memory.writes += 1
        here = self._now()
        here[: len(value)] = value
        if len(value) < len(here):
            here[len(value) :] = 0

    def with_square(self, square: Tensor) -> "Jet":
        """A root that knows the coefficients of its smooth square."""
        self._square = square
        return self

    @property
    def smooth_square(self) -> Tensor | None:
        """The coefficients of the square of a root, unless it was written to."""
        return self._square if self._memory.writes == 0 else None

    def as_diagonal(self) -> "Jet":
        """A matrix that knows that it is 0 beside its diagonal."""
        self._is_diagonal = True
        return self

    @property
    def waiting(self) -> Any:
        """What makes the coefficients, if nothing has read them."""
        return self._memory.waiting if self._take is None else None

    @property
    def is_written(self) -> bool:
        """Whether its memory was written to, and may be again, in place."""
        return self._memory.writes > 0

    @property
    def whole_diagonal(self) -> Tensor | None:
        """The coefficients of the diagonal of what is 0 beside it, unless it was written to."""
        return self.c.diagonal(dim1=-2, dim2=-1) if self._is_diagonal and self._memory.writes == 0 else None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        raise Refusal(
            f"`{func}` is called with a value that depends on a point of an earlier call of riemann: a function kept "
            "it (in a global, an attribute, a cache, a pickled copy). Compute it anew at each call."
        )

    def __format__(self, spec: str) -> str:
        name = self.owner.name if self.owner is not None else "function"
        raise Refusal(f"the {name} calls `torch._tensor.__format__`, which {PYTHON['torch._tensor.__format__']}.")

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Jet({tuple(self.shape)}, {self.dtype})"


def is_seen(a: Tensor) -> bool:
    """Whether values can be looked at: not those of a jet, inside transforms, or while operations are recorded."""
    return not (isinstance(a, Jet | FakeTensor) or _functorch.is_functorch_wrapped_tensor(a))


def has_points_last(c: Tensor) -> bool:
    """Whether the points of coefficients `(count, points, numbers)` lie side by side in memory."""
    return c.ndim == 3 and c.stride() == (c.shape[1] * c.shape[2], 1, c.shape[1])


def _is_all_of(view: Tensor, whole: Tensor) -> bool:
    """Whether a view of memory is all of it, in the same order."""
    if view.dtype != whole.dtype or view.numel() != whole.numel() or view.is_conj() or view.is_neg():
        return False
    return view.is_contiguous() and view.untyped_storage()._cdata == whole.untyped_storage()._cdata


def _lengthened(c: Tensor, more: Tensor) -> Tensor:
    """A copy of coefficients and more of them, laid out in memory as they are."""
    if has_points_last(c):
        return torch.cat([c.transpose(1, 2), more.transpose(1, 2)]).contiguous().transpose(1, 2)
    return torch.cat([c, more]).contiguous()


def _real(c: Tensor) -> Tensor:
    """Complex numbers as pairs of real ones: a part of them may be written to."""
    return torch.view_as_real(c.resolve_conj()) if c.is_complex() else c


def _lying(c: Tensor) -> tuple[tuple[int, ...], int]:
    """The strides and the offset of the tensor at one point, where points lie side by side also."""
    (_, between, *strides), offset, points = c.stride(), _offset(c), c.shape[1]
    if points > 1 and between == 1 and not any([step % points for step in (*strides, offset)]):
        return tuple(step // points for step in strides), offset // points
    return tuple(strides), offset


def _contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of what lies side by side."""
    return tuple(math.prod(shape[k + 1 :]) for k in range(len(shape)))


def _lying_like(c: Tensor, offset: int) -> Tensor:
    """A tensor without numbers that lies in memory as coefficients do, from an offset on."""
    size = 1 + offset + sum((n - 1) * step for n, step in zip(c.shape, c.stride(), strict=True))
    return torch.empty(max(size, 0), dtype=c.dtype, device="meta").as_strided(c.shape, c.stride(), offset)


def _offset(c: Tensor) -> int:
    """Where a tensor begins in its memory, as far as that can be asked."""
    return c.storage_offset() if is_seen(c) else 0


Rule = Callable[..., Any]


RULES: dict[str, Rule] = {}


"""`rule(arithmetic, *arguments)` by the name of the operation of ATen, or by name and overload."""


OF_SHAPES: dict[str, Rule] = {}


"""Rules for what depends on shapes only, and is done among the user's transforms: fresh tensors."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Registers a rule; a name has one.

    Raises:
        ValueError: it has one already.
    """
    if twice := RULES.keys() & names:
        raise ValueError(f"{', '.join(sorted(twice))}: there is a rule already")

    def register(f: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, f))
        return f

    return register


def aligned(c: Tensor, ndim: int) -> Tensor:
    """`c` with axes of length 1 before the axes of its shape, so that shapes of `ndim` axes broadcast."""
    missing = ndim - (c.ndim - 2)
    return c if missing <= 0 else c[(slice(None), slice(None), *[None] * missing)]


def wrapped(dim: int, ndim: int) -> int:
    """An axis, counted from the first."""
    count = max(1, ndim)
    if not -count <= dim < count:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-count}, {count - 1}], but got {dim})")
    return dim % count


def frozen(a: Tensor) -> Tensor:
    """A tensor cut off from its derivatives."""
    if not isinstance(a, Jet):
        return a.detach()
    with a.owner.caller:
        return Jet(frozen(a.c[:1]))
