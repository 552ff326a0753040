"""How what is compiled runs: by torch's compiler, and without it where it fails."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann import _jets
from riemann._compiling.called import Called, Processor
from riemann._compiling.kernels import Kernel
from riemann._compiling.replayed import Replay
from riemann._messages.frames import warn
from riemann._points import checks
from riemann._points.chunks import in_chunks

CACHED = 2**20  # bytes of the largest tensor in between: about what stays in the cache of a processor
VECTOR = 16  # numbers that loops take at once, at most: what is left over has code of its own
FEW = 8  # dimensions in which a point costs less than another graph, for it alone, is to compile


class Runner:
    """A kernel at points, compiled for each dtype and device.

    For the first number of points, and for all numbers when there is another; with `dynamic`, for all at once.

    Attributes:
        by: what runs it, in words.
    """

    def __init__(self, kernel: Kernel, backend: str | None, dynamic: bool):
        self.kernel, self.backend, self.dynamic = kernel, backend, dynamic
        self.compiles = backend is not None
        self.by = "as plain torch" if backend is None else f"by {backend}"
        self.compiled: dict[Any, Called] = {}

    def __call__(self, x: Tensor, *vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Values and doubts at points and vectors `(z, n)`."""
        kernel: Any = self.kernel
        if not len(x):  # shapes come from a point that stands in, gradients are those of none
            values, doubt = self(*(torch.cat([a, a.new_ones(1, *a.shape[1:])]) for a in (x, *vectors)))
            return values[:0], doubt[:0]
        lost = checks.carry_derivatives(x, *vectors) and not kernel.knows_all(x)  # gradients of what it reads unseen
        if not self.compiles or lost or not all(map(checks.has_values, (x, *vectors))):
            return self._in_pieces(self._plainly, x, *vectors)
        key = kernel.prepare(x)
        if key not in self.compiled:
            arguments, leading = kernel.arguments(x, *vectors), kernel.leading(x, *vectors)
            single, closed = [a.ndim == 0 for a in arguments], kernel.knows_all(x)
            self.compiled[key] = Called(kernel, self.backend, self.dynamic, leading, single, closed)
        return self.run(x, *vectors)

    def is_compiled(self, x: Tensor, *vectors: Tensor) -> bool:
        """Whether `run` may be called at points and vectors like these."""
        plain = len(x) > 1 and not checks.carry_derivatives(x, *vectors)
        return self.compiles and plain and self.kernel.prepare(x) in self.compiled

    def run(self, x: Tensor, *vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Values and doubts at points and vectors, by what is compiled for them; as plain torch if that fails."""
        return self._in_pieces(self._compiled, x, *vectors)

    def _compiled(self, x: Tensor, *vectors: Tensor) -> tuple[Tensor, Tensor]:
        if len(x) == 1 and x.shape[-1] <= FEW:  # to compilers one is a size of its own
            values, doubt = self._compiled(*(a.expand(2, -1) for a in (x, *vectors)))
            return values[:1], doubt[:1]
        return self.of(self.kernel.arguments(x, *vectors), x, *vectors)

    def _plainly(self, x: Tensor, *vectors: Tensor) -> tuple[Tensor, Tensor]:
        return self.kernel.shaped(*self.kernel(*self.kernel.arguments(x, *vectors)))

    def _in_pieces(
        self, run: Callable[..., tuple[Tensor, Tensor]], x: Tensor, *vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What runs at two points or more at a time; at all at once where derivatives to them are wanted."""
        pieces = min(len(x) * self.kernel.weight(x) // CACHED, len(x) // 2)
        if pieces <= 1 or checks.carry_derivatives(x, *vectors):
            return run(x, *vectors)
        size = min((_even(len(x), count) for count in (pieces, pieces + 1)), key=lambda size: -len(x) % size)
        parts = [_filled(run, size, *some) for some in zip(*(a.split(size) for a in (x, *vectors)), strict=True)]
        values, doubt = map(torch.cat, zip(*parts, strict=True))
        return values, doubt

    def in_tiles(self, size: int, x: Tensor, *vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Values and doubts, so many points at a time, so that results are written in the cache."""
        return in_chunks(functools.partial(_filled, self, size), x, *vectors, rank=2, chunk_size=size)

    def of(self, arguments: list[Tensor], x: Tensor, *vectors: Tensor) -> tuple[Tensor, Tensor]:
        """`run`, where the arguments of the code are there."""
        kernel = self.kernel
        if torch._C._len_torch_dispatch_stack():  # a mode that looks at operations, under which nothing compiles
            return kernel.shaped(*kernel(*arguments))
        try:
            return kernel.shaped(*_jets.twice(self.compiled[kernel.prepare(x)], kernel, arguments))
        except Exception as error:
            if self.backend == "inductor" and Processor.asks_again():
                self.compiled.clear()
                return self(x, *vectors)
            result = kernel.shaped(*kernel(*arguments))  # raises where the code is at fault
            self.compiles, self.by = False, "as plain torch, for nothing compiles here"
            reason = str(error).strip().split("\n")[0]
            warn(
                f"`compile`: torch.compile failed ({type(error).__name__}: {reason}), so the same code "
                "runs eagerly. Is a C++ compiler installed?"
            )
            return result

    def replay(self, arguments: list[Tensor], x: Tensor) -> Replay | None:
        """What is called for points like x and arguments that stay where they lie; None if it is not known."""
        made = self.compiled.get(self.kernel.prepare(x)) if self.compiles else None
        return None if made is None else made.replay(arguments)


def _even(points: int, pieces: int) -> int:
    """How many points are in so many pieces: loops over them fill vectors."""
    size = -(-points // pieces)
    return size if size < VECTOR else -(-size // VECTOR) * VECTOR


def _filled(run: Callable[..., tuple[Tensor, Tensor]], size: int, x: Tensor, *vectors: Tensor) -> tuple[Tensor, Tensor]:
    """What runs at so many points, at no more than these: the last one stands for those that are missing."""
    count = len(x)
    if count == size:
        return run(x, *vectors)
    values, doubt = run(*(torch.cat([a, a[-1:].expand(size - count, -1)]) for a in (x, *vectors)))
    return values[:count], doubt[:count]
