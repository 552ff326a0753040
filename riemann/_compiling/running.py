"""How what is compiled runs: by torch's compiler, and without it where it fails."""

import types
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann import _jets
from riemann._compiling.kernels import Kernel
from riemann._messages.frames import warn
from riemann._points import checks

FEW = 8  # dimensions in which a point costs less than another graph, for it alone, is to compile


class Runner:
    """A kernel at points, compiled once for all numbers of them, for each dtype and device.

    Attributes:
        by: what runs it, in words.
    """

    def __init__(self, kernel: Kernel, backend: str | None):
        self.kernel, self.backend = kernel, backend
        self.compiles = backend is not None
        self.by = "as plain torch" if backend is None else f"by {backend}"
        self.compiled: dict[Any, Callable[..., Any]] = {}

    def __call__(self, x: Tensor, *vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Values and doubts at points and vectors `(z, n)`."""
        kernel: Any = self.kernel
        if not len(x):  # shapes come from a point that stands in
            values, doubt = self(*(a.new_ones(1, *a.shape[1:]) for a in (x, *vectors)))
            return values[:0], doubt[:0]
        lost = checks.carry_derivatives(x, *vectors) and not kernel.knows_all(x)  # gradients of what it reads unseen
        if not self.compiles or lost or not all(map(checks.has_values, (x, *vectors))):
            return kernel.shaped(*kernel(*kernel.arguments(x, *vectors)))
        if len(x) == 1 and x.shape[-1] <= FEW:  # to compilers one is a size of its own
            values, doubt = self(*(a.repeat(2, 1) for a in (x, *vectors)))
            return values[:1], doubt[:1]
        key = kernel.prepare(x)
        if key not in self.compiled:
            self.compiled[key] = _torch_compiled(kernel, self.backend, kernel.leading(x, *vectors))
        try:
            return self.run(x, *vectors)
        except Exception as error:
            result = kernel.shaped(*kernel(*kernel.arguments(x, *vectors)))  # raises where the code is at fault
            self.compiles, self.by = False, "as plain torch, for nothing compiles here"
            reason = str(error).strip().split("\n")[0]
            warn(
                f"`compile`: torch.compile failed ({type(error).__name__}: {reason}), so the same code "
                "runs eagerly. Is a C++ compiler installed?"
            )
            return result

    def is_compiled(self, x: Tensor, *vectors: Tensor) -> bool:
        """Whether `run` may be called at points and vectors like these."""
        plain = len(x) > 1 and not checks.carry_derivatives(x, *vectors)
        return self.compiles and plain and self.kernel.prepare(x) in self.compiled

    def run(self, x: Tensor, *vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Values and doubts at two points and vectors or more, by what is compiled for them."""
        kernel = self.kernel
        compiled = self.compiled[kernel.prepare(x)]
        return kernel.shaped(*_jets.twice(compiled, kernel, kernel.arguments(x, *vectors)))


def _torch_compiled(kernel: Kernel, backend: Any, leading: int) -> Callable[..., Any]:
    """The kernel under `torch.compile`, once for all sizes of the batch, with which so many arguments lead.

    No other size is free: one that happened to be equal to that of the first batch would be taken for the same.
    """

    def run(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        return kernel(*arguments)

    code = run.__code__.replace(co_name=f"{run.__name__}_{id(kernel)}")  # torch counts graphs by code, eight at most
    own = types.FunctionType(code, run.__globals__, run.__name__, None, run.__closure__)
    options = {"max_fusion_size": 4096} if backend == "inductor" else None
    compiled = torch.compile(own, dynamic=False, fullgraph=True, backend=backend, options=options)
    known: dict[tuple[Any, ...], int] = {}  # how arguments differ, and the number of graphs that were there after them

    def quiet(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        kind = (torch.is_grad_enabled(), *(a.requires_grad for a in arguments))
        if kind in known:  # nothing is to compile, and to say so at each argument takes longer than the call
            result = compiled(*arguments)
            if len(_graphs(code)) == known[kind]:
                return result
            torch._dynamo.reset_code(code)  # a graph was compiled for one size
            known.clear()
        for a in arguments[:leading]:
            torch._dynamo.maybe_mark_dynamic(a, 0)
        lean = torch._dynamo.config.patch(record_runtime_overhead=False)  # a record that each call would pay for
        with lean, warnings.catch_warnings():  # torch's own, while it compiles: not for who calls this
            warnings.simplefilter("ignore")
            result = compiled(*arguments)
        known.update(dict.fromkeys([*known, kind], len(_graphs(code))))
        return result

    return quiet


def _graphs(code: types.CodeType) -> list[Any]:
    """What torch has compiled of a function."""
    return torch._C._dynamo.eval_frame._debug_get_cache_entry_list(code)
