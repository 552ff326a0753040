"""The arithmetic of jets: every operation of a user's function is done on their coefficients.

A user's function is called once, with a `Jet`. Every operation that it reaches, by whatever name, arrives at
`Arithmetic.__torch_dispatch__` as an operation of ATen and is done by its rule, on plain tensors, among the caller's
transforms: what records gradients there records the rules. Nothing is kept between calls.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch import pyfunctorch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode, _pop_mode_temporarily

from riemann._arithmetic.fresh import UNWRITTEN, unwritten
from riemann._arithmetic.jet import KINKS_CALLED, OF_SHAPES, RULES, Jet, Refusal, Refused, aligned, running
from riemann._arithmetic.keeping import keep_otherwise, keeping, kept_as
from riemann._arithmetic.orders import Orders


class Operation:
    """What is known of an operation of ATen: looked up once."""

    PIECEWISE_LINEAR = frozenset(
        "relu leaky_relu prelu _prelu_kernel hardtanh relu6 hardshrink softshrink threshold rrelu hardsigmoid".split()
    )

    KINKED = PIECEWISE_LINEAR | frozenset(
        "elu celu selu hardswish abs sign sgn floor ceil trunc frac round fmod remainder copysign clamp clamp_min "
        "clamp_max maximum minimum fmax fmin".split()
    )

    UNCHECKED = frozenset("linalg_cross t masked_fill embedding complex vdot".split())
    """Those whose rules take shapes that torch does not."""

    def __init__(self, func: Any):
        schema = func._schema
        self.name = schema.name.split("::")[1]
        self.mutable = schema.is_mutable
        self.base = self.name[:-1] if self.mutable and self.name.endswith("_") else self.name
        self.rule = RULES.get(f"{self.base}.{func._overloadname}") or RULES.get(self.base)
        self.of_shapes = OF_SHAPES.get(self.name)
        self.of_constants = unwritten(func) if self.base in UNWRITTEN else func
        self.asks = func.namespace == "prim"  # of what device a tensor is; raising there ends the process
        self.makes = not any(result.alias_info for result in schema.returns)  # memory of its own
        self.random = torch.Tag.nondeterministic_seeded in func.tags and "dropout_p" not in {
            a.name for a in schema.arguments
        }
        self.kinked = self.base.strip("_").removesuffix("_kernel") if self.base in self.KINKED else None

    @staticmethod
    @functools.cache
    def of(func: Any) -> "Operation":
        """That of an overload."""
        return Operation(func)


class _Caller:
    """The context in which rules run: among the transforms of riemann's caller."""

    def __init__(self, arithmetic: "Arithmetic"):
        self.arithmetic, self.entered = arithmetic, []

    def __enter__(self) -> None:
        A = self.arithmetic
        guards = [torch._C._ForceDispatchKeyGuard(A.include, A.exclude)]
        if A.stack:
            restored = pyfunctorch.temporarily_restore_interpreter_stack(A.stack)
            guards = [pyfunctorch.temporarily_clear_interpreter_stack(), restored, *guards]
        for guard in guards:
            guard.__enter__()
        kept = A.gradients and kept_as(A.keeping)
        self.entered.append((guards, torch.is_grad_enabled(), running.arithmetic, kept))
        running.arithmetic = A
        torch._C._set_grad_enabled(A.gradients)

    def __exit__(self, *error: Any) -> None:
        guards, enabled, running.arithmetic, kept = self.entered.pop()
        torch._C._set_grad_enabled(enabled)
        if kept:
            keep_otherwise()
        for guard in reversed(guards):
            guard.__exit__(None, None, None)


class Arithmetic(TorchDispatchMode):
    """Performs the operations of one call of a user's function.

    Args:
        orders: the derivatives that are asked for.
        points: how many there are.
        name: how messages call the function.
    """

    def __init__(self, orders: Orders, points: int, name: str):
        super().__init__()
        self.orders, self.points, self.name = orders, points, name
        self.include = torch._C._dispatch_tls_local_include_set()
        self.exclude = torch._C._dispatch_tls_local_exclude_set()
        with pyfunctorch.temporarily_clear_interpreter_stack() as stack:
            self.stack = stack
        self.instead: Mapping[str, Callable[..., Any]] = {}  # functions that are called in place of those of torch
        self.gradients = torch.is_grad_enabled()
        self.anew = bool(stack) or torch._C._len_torch_dispatch_stack() > 0  # nothing is written in place
        self.recorder = _recorder()
        self.keeping = keeping()
        self.around = running.users[-1] if running.users else None
        self.caller = _Caller(self)
        self.made: dict[int, StorageWeakRef] = {}
        self.shadows: dict[int, Jet] = {}
        self.kinks = set() if (gathered := KINKS_CALLED.get()) is None else gathered
        self.bytes = 0  # of all jets that were made
        self.differentiates = False  # whether the user's function asks for derivatives itself
        self.surfaces = 0  # how many functions of users this runs inside
        self.doubts: list[Tensor] = []  # where jets were taken for constants because they are to the degree asked for
        self.discarded: list[Tensor] = []  # where branches that are not taken are not finite, and have gradients
        self.called: str | None = None  # what the user's code calls: operations have other names
        self.coordinates: set[int] = set()  # those of the point that are read, where that is asked for

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled inside: torch need not load its compiler to be told so."""
        return False

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Where the user's function runs: without the transforms of riemann's caller, but with levels above theirs."""
        interpreted = torch.jit.optimized_execution(False)  # gradients of TorchScript's own cut those of jets
        with pyfunctorch.temporarily_clear_interpreter_stack(), torch.inference_mode(False), interpreted:
            for _ in self.stack:
                _functorch._vmap_increment_nesting(1, "error")
            users, running.users = running.users, (*running.users, self)
            try:
                yield
            finally:
                running.users = users
                for _ in self.stack:
                    _functorch._vmap_decrement_nesting()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        operation = Operation.of(func)
        if operation.asks:
            return func(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            try:
                if operation.random:
                    raise Refused(
                        "is random, where a function of the point has one value; call `.eval()` on a module in "
                        "training mode (or pass `training=False`), or draw random numbers once, outside"
                    )
                found: list[Jet] = []
                jets = tuple([self.taken(a, found) for a in args])
                named = {key: self.taken(a, found) for key, a in kwargs.items()} if kwargs else kwargs
                if not found or operation.of_shapes is not None:
                    made = functools.partial(operation.of_shapes, self) if found else operation.of_constants
                    result = self.of_constants(made, jets, named)
                    if operation.makes:
                        self.note(result)
                    return result
                if _recorder() is not self.recorder:
                    raise Refusal(
                        f"the {self.name} records operations (`torch.func.linearize`, `make_fx`), where values of the "
                        "point would become constants; use `torch.func.jvp`, `vjp` or the function itself"
                    )
                if operation.mutable:
                    return self.write(func, operation, args, jets, named)
                return self.result(func, operation, tuple([_dense(a) for a in jets]), named)
            except Refused as refused:
                raise Refusal(
                    f"the {self.name} calls `{self.called or operation.name.lstrip('_')}`, which {refused}."
                ) from None

    def of_constants(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """An operation on what does not depend on the point."""
        return func(*args, **kwargs)

    def taken(self, a: Any, found: "list[Jet]") -> Any:
        """An argument, with what depends on the point as jets of this arithmetic; they are added to `found`.

        So are constants that need the caller's gradients, which `no_grad` and backward passes inside the user's
        function would drop, and jets of an arithmetic around this one, which are constants here.
        """
        if isinstance(a, Tensor):
            if isinstance(a, Jet):
                jet = a if a.owner is self else self.constant(a)
            elif self.shadows and self.holds(a):
                jet = self.shadow_of(a)
            elif self.gradients and a.requires_grad and not torch.is_grad_enabled():
                jet = self.constant(a)
            else:
                return a.new_zeros(a.shape) if a._is_zerotensor() else a  # torch's kernels read memory that it lacks
            found.append(jet)
            return jet
        if isinstance(a, tuple | list):
            return type(a)([self.taken(branch, found) for branch in a])
        return a

    def result(self, func: Any, operation: Operation, jets: tuple, named: dict) -> Any:
        """What an operation returns: by its rule, or by torch's own decomposition."""
        if operation.kinked and self.surfaces and running.users[-1:] == (self,):  # no rule of a derivative inside
            name = self.called if self.called in Operation.KINKED else operation.kinked
            for users in running.users:
                users.kinks.add(name)
        if operation.rule is not None:
            if operation.base in Operation.UNCHECKED:
                func(*mapped(_shape_of, jets), **named)
            with self.caller:
                if self.gradients and self.made:
                    jets = mapped(self.kept, jets)
                return operation.rule(self, *jets, **named)
        if operation.mutable:
            func = getattr(getattr(torch.ops.aten, operation.base), func._overloadname)
        if (decomposed := decomposition(func)) is None:
            raise Refused("has no rule for derivatives; write it with other operations")
        with self:
            return decomposed(*jets, **named)

    # ------------------------------------------------------------------------------------ writing in place

    def note(self, result: Any) -> None:
        """Remembers what memory was made inside: that may be written to."""
        for y in result if isinstance(result, tuple | list) else (result,):
            if isinstance(y, Tensor) and y.layout == torch.strided:
                storage = y.untyped_storage()
                self.made.setdefault(storage._cdata, StorageWeakRef(storage))

    def kept(self, a: Any) -> Any:
        """A constant that was made inside, as it is now: it may be written to before a backward pass reads it."""
        plain = isinstance(a, Tensor) and not isinstance(a, Jet) and not a.requires_grad
        return a.clone() if plain and a.untyped_storage()._cdata in self.made else a

    def shadow_of(self, a: Any) -> Any:
        """The jet of a plain tensor into whose memory jets were written."""
        if not self.holds(a) or isinstance(a, Jet):
            return a
        with self.caller:
            shadow = self.shadows[a.untyped_storage()._cdata]
            return shadow.view_of_memory(a.shape, a.stride(), a.storage_offset(), self.anew)

    def holds(self, a: Any) -> bool:
        """Whether a value depends on the point: it is a jet, or one was written into its memory."""
        if isinstance(a, Jet) or not isinstance(a, Tensor):
            return isinstance(a, Jet) and a.owner is self
        return bool(self.shadows) and a.layout == torch.strided and a.untyped_storage()._cdata in self.shadows

    def write(self, func: Any, operation: Operation, args: tuple, jets: tuple, named: dict) -> Any:
        """An operation in place, by the one that is not."""
        target = args[0]
        if torch.Tag.inplace_view in func.tags:
            if isinstance(target, Jet):
                assert operation.rule is not None
                with self.caller:
                    target.become(operation.rule(self, *jets, **named))
            with torch._C._DisableTorchDispatch():
                return func(*args, **named)
        if operation.rule is None and operation.base != operation.name and func._can_decompose():
            with self:
                return func.decompose(*jets, **named)
        if operation.base == operation.name:
            raise Refused("has no derivatives with `out=`; assign the result, or call `.eval()` on what is in training")
        jet = jets[0]
        if not isinstance(jet, Jet):
            storage = target.untyped_storage()
            if storage._cdata not in self.made:
                raise Refused(
                    "would write values of the point into a tensor from outside; write into its `clone()`, or call "
                    "`.eval()` on a module in training mode, which counts its calls"
                )
            with self.caller:
                whole = (storage.nbytes() // target.element_size(),), (1,), 0
                flat = self.of_constants(torch.as_strided, (target, *whole), {})
                constant = flat.view(1, -1, 1).expand(1, -1, self.points).clone(memory_format=torch.contiguous_format)
                self.shadows[storage._cdata] = Jet(constant.transpose(1, 2))  # what is written to lies side by side
            jet = self.shadow_of(target)
        if operation.base in ("copy", "fill", "zero"):
            value = 0 if operation.base == "zero" else jets[1]
        else:
            value = self.result(func, operation, (jet, *jets[1:]), named)
        with self.caller:
            self.write_jumps(jet, value)
            c = self.coefficients(value, jet.dtype)
            c = aligned(c, jet.ndim).expand(len(c), self.points, *jet.shape)
            if self.anew:  # torch's transforms do not take what is in place, or not rightly
                jet.write_anew(c)
            else:
                jet.write(c, keeping=self.gradients)
        return target

    def write_jumps(self, jet: "Jet", value: Any) -> None:
        """What is written into masks and whole numbers jumps there, too."""
        jumps = value.jumps if isinstance(value, Jet) else None
        if jet.dtype.is_floating_point or jet.dtype.is_complex or (jumps is None and jet.jumps is None):
            return
        if jet._take is not None:
            raise Refused("writes what jumps into a part of a mask; use `torch.where` or `torch.stack`")
        jet.jumps = None if jumps is None else aligned(jumps.unsqueeze(0), jet.ndim)[0].expand(-1, *jet.shape)

    # ---------------------------------------------------------------------------------------- for the rules

    def is_of_caller(self, a: Tensor) -> bool:
        """Whether a tensor belongs to a transform around this call."""
        return _functorch.is_functorch_wrapped_tensor(a) and 1 <= _functorch.maybe_get_level(a) <= len(self.stack)

    def constant(self, a: Tensor) -> "Jet":
        """A tensor of the caller's as a jet without derivatives."""
        if self.around is not None and self.around.is_of_caller(a):
            with _pop_mode_temporarily():
                a = self.around.constant(a)
        with torch._C.DisableTorchFunction(), self.caller:
            return Jet(a.expand(1, self.points, *a.shape))

    def coefficients(self, a: Any, dtype: torch.dtype | None = None) -> Tensor:
        """Coefficients of a jet, a tensor or a number; what jumps has no derivatives as a floating-point number."""
        if isinstance(a, Jet):
            c = a.c
            if a.jumps is not None and dtype is not None and dtype.is_floating_point:
                return self.unknown_from(c.to(dtype), a.jumps)
        elif isinstance(a, Tensor):
            c = a.expand(1, self.points, *a.shape)
        else:
            c = torch.full((1, self.points), a, dtype=dtype, device=self.orders.device)
        return c if dtype is None or c.dtype == dtype else c.to(dtype)

    def unknown_from(self, c: Tensor, where: Tensor, degree: int = 1) -> Tensor:
        """NaN in place of the derivatives from a degree on."""
        if degree > self.orders.order:
            return c
        c, start = self.padded(c, self.orders.counts[-1]), self.orders.counts[degree - 1]
        return torch.cat([c[:start], torch.where(where, math.nan, c[start:])])

    def degree(self, c: Tensor) -> int:
        """The degree up to which derivatives are not 0."""
        return self.orders.degree(c.shape[0])

    def padded(self, c: Tensor, count: int) -> Tensor:
        """With derivatives that are 0 up to `count` of them."""
        if c.shape[0] == count:
            return c
        return torch.cat([c, c.new_zeros((count - c.shape[0], *c.shape[1:]))])


def _recorder() -> Any:
    """What records operations in this thread, for a graph of torch."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY)


def mapped(f: Callable[[Any], Any], tree: Any) -> Any:
    """`f` of every branch of tuples and lists; torch's own `tree_map` takes too long for single operations."""
    return type(tree)([mapped(f, branch) for branch in tree]) if isinstance(tree, tuple | list) else f(tree)


def _dense(a: Any) -> Any:  # a sparse matrix with all its numbers, as rules take it
    return a.to_dense() if isinstance(a, Tensor) and a.layout is not torch.strided else a


def _shape_of(a: Any) -> Any:  # a tensor without numbers, of the shape of a jet or tensor
    return torch.empty(a.shape, dtype=a.dtype, device="meta") if isinstance(a, Tensor) else a


@functools.cache
def decomposition(func: Any) -> Callable[..., Any] | None:
    """Another way to write an operation, of torch's own."""
    from torch._decomp import core_aten_decompositions, decomposition_table

    found = core_aten_decompositions().get(func) or decomposition_table.get(func)
    if found is None and func._can_decompose():
        return func.decompose
    return found


def run(arithmetic: Arithmetic, f: Callable[..., Any], arguments: Sequence[Tensor], watched: bool = False) -> Any:
    """`f` of jets with these coefficients; with `watched`, which coordinates of the first it reads is noted."""
    with torch.inference_mode(False), arithmetic.caller:  # jets may be saved for what is differentiated inside
        given = [Jet(c.clone(memory_format=torch.contiguous_format)) for c in arguments]
        if watched:
            point = arguments[0]
            given[0]._memory.coordinates = torch.arange(point.shape[-1], dtype=point.dtype).view(1, 1, -1)
    with arithmetic.alone(), arithmetic:
        return f(*given)


def at_the_surface(f: Callable[[Tensor], Any], x: Tensor, name: str) -> Any:
    """`f(x)` of a user's function at a jet, with the calls that never become operations seen to."""
    from riemann._arithmetic.surface import Surface

    arithmetic = x.owner
    arithmetic.name = name
    arithmetic.surfaces += 1
    try:
        with Surface(x, arithmetic):
            return f(x)
    finally:
        arithmetic.surfaces -= 1
