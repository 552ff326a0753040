"""How code is called that torch's compiler makes: past torch, and past the Python around it, where nothing is new."""

import operator
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._dynamo import guards
from torch.autograd import forward_ad  # noqa: TID251, nothing is differentiated with it

from riemann._compiling.kernels import Kernel
from riemann._compiling.replayed import Replay, code_of, replay_of
from riemann._compiling.strides import quick_strides

MOST = 100  # numbers of points that are remembered, and graphs
KEPT = 2**25  # bytes of memory that is kept for them


class Processor:
    """Which instructions there are: those that the processor names, until that fails.

    Else torch compiles a program for each kind of them first, which takes as long as a graph does.
    """

    is_believed = True

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Of torch's compiler, but for who has chosen."""
        from torch._inductor import config

        return {"cpp.vec_isa_ok": True} if cls.is_believed and config.cpp.vec_isa_ok is None else {}

    @classmethod
    def asks_again(cls) -> bool:
        """Whether torch tries all instructions from now on, and did not before."""
        from torch._inductor import cpu_vec_isa

        was, cls.is_believed = cls.is_believed, False
        if was:
            cpu_vec_isa.valid_vec_isa_list.cache_clear()
        return was


class Like:
    """Whether arguments are like those of a call before, and torch is set as it was: what its own guards compare.

    Their types, dtypes, devices, shapes, strides and `requires_grad`, and modes and transforms around them; gradients
    on or off, autocast, threads, determinism, the default dtype.
    """

    def __init__(self, arguments: Sequence[Tensor]):
        sizes, strides = [list(a.shape) for a in arguments], [list(a.stride()) for a in arguments]
        self.state = guards.GlobalStateGuard()
        self.tensors = guards.TensorGuards(*arguments, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides)

    def __call__(self, arguments: Sequence[Tensor]) -> bool:
        return self.state.check() and self.tensors.check(*arguments) and forward_ad._current_level < 0


class _Inside:
    """What inductor makes of graphs, to be called without torch asking each time which of them it is.

    Only for arguments that are `Like` those of a call before, which torch has looked at.
    """

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.codes: dict[Callable[..., Any], types.MethodType | None] = {}
        self.last: tuple[Any, ...] | None = None

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        """The backend: inductor, that is seen being called."""
        from torch._inductor.compile_fx import compile_fx

        # of all sizes, torch may compile gradients for strides of the first one: the code of gradients compares them
        recorded = torch.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in inputs)
        with quick_strides():
            inner = compile_fx(graph, inputs, config_patches={**self.options, "size_asserts": recorded})

        def seen(*given: Any) -> Any:
            y = inner(*given)
            self.last = inner, given, y
            return y

        return seen

    def of(
        self, arguments: Sequence[Tensor], leading: int, result: tuple[Tensor, Tensor], most: int
    ) -> "_Again | None":
        """The function of arguments like these by which this result was made just now; None if it is not known.

        It may keep so many bytes.
        """
        if self.last is None:
            return None
        inner, given, y = self.last
        self.last = None
        places = {id(a): k for k, a in enumerate(arguments)}
        if len(y) != len(result) or any(map(operator.is_not, y, result)) or len(places) < len(arguments):
            return None  # of what was given twice, the graph takes one
        fixed = [a for a in given if id(a) not in places]  # constants of the graph, and the number of points
        memory = {a.untyped_storage()._cdata for a in arguments}
        if any(isinstance(a, Tensor) and a.untyped_storage()._cdata in memory for a in fixed):
            return None  # a view of an argument is none
        if inner not in self.codes:
            self.codes[inner] = code_of(inner)
        return _Again(inner, self.codes[inner], given, [places.get(id(a)) for a in given], arguments, leading, y, most)


class _Again:
    """What inductor made of a graph, at arguments like those of a call before; of which so many lead with points."""

    def __init__(
        self,
        made: Callable[..., Any],
        code: types.MethodType | None,
        given: Sequence[Any],
        places: Sequence[int | None],
        arguments: Sequence[Tensor],
        leading: int,
        y: Sequence[Tensor],
        most: int,
    ):
        self.made, self.code, self.leading = made, code, leading
        self.free = [(k, place) for k, place in enumerate(places) if place is not None]
        self.fixed = [a if place is None else None for a, place in zip(given, places, strict=True)]
        self.points = [place for _, place in self.free if place < leading]
        self.replay = replay_of(code, given, [k for k, place in self.free if place < leading], y, most)
        self.lie = [a.data_ptr() for a in arguments[leading:]]  # in memory that the replay keeps

    def replayed(self, arguments: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        """The results by the replay; None if there is none."""
        if self.replay is None:
            return None
        if [a.data_ptr() for a in arguments[self.leading :]] != self.lie:
            self.replay = None
            return None
        return self.replay(*[arguments[k] for k in self.points])

    def __call__(self, arguments: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return self.made(*self._given(arguments))

    def where_they_lie(self, arguments: Sequence[Tensor]) -> Replay | None:
        """The replay that reads all arguments where they lie; None if there is none."""
        given = self._given(arguments)
        return None if self.replay is None else replay_of(self.code, given, (), self.made(*given), KEPT)

    @property
    def bytes(self) -> int:
        """Of memory that is kept."""
        return 0 if self.replay is None else self.replay.bytes

    def _given(self, arguments: Sequence[Tensor]) -> list[Any]:
        all_of_them = self.fixed.copy()
        for k, place in self.free:
            all_of_them[k] = arguments[place]
        return all_of_them


class Called:
    """A kernel under `torch.compile`, for the size of the first batch, and once more for all sizes if another comes.

    With `dynamic`, for all sizes from the beginning. So many arguments lead with the batch. No other size is free: one
    that happened to be equal to that of the first batch would be taken for the same.
    Arguments that are a `single` number are given as rows of one: numbers themselves make torch trace all twice.
    The kernel is `closed` if it reads nothing but its arguments, and constants.
    """

    def __init__(self, kernel: Kernel, backend: Any, dynamic: bool, leading: int, single: list[bool], closed: bool):
        self.dynamic, self.leading, self.closed = dynamic, leading, closed
        self.single = single if any(single) else None

        def run(*arguments: Tensor) -> tuple[Tensor, Tensor]:
            return kernel(*(a.squeeze(0) if one else a for a, one in zip(arguments, single, strict=True)))

        # torch counts graphs by code, eight at most
        self.code = run.__code__.replace(co_name=f"{run.__name__}_{id(kernel)}")
        own = types.FunctionType(self.code, run.__globals__, run.__name__, None, run.__closure__)
        self.inside = _Inside()
        if backend == "inductor":
            # sizes and strides of arguments are compared here, or by torch's guards, before the graph is called
            self.inside.options = {"max_fusion_size": 4096, **Processor.options()}
            backend = self.inside
        self.compiled = torch.compile(own, dynamic=False, fullgraph=True, backend=backend)
        self.direct: dict[Any, tuple[Like, _Again]] = {}
        self.known: dict[tuple[Any, ...], int] = {}  # how arguments differ, and the graphs that were there after them
        self.sizes: dict[tuple[Any, ...], int | None] = {}  # of the batch that graphs for them are of; None: all

    def __call__(self, *given: Tensor) -> Sequence[Tensor]:
        if (again := self._again(given)) is not None:
            return again.replayed(given) or again(self._rows(given))
        arguments, recording = self._rows(given), torch.is_grad_enabled()
        size = len(arguments[0])  # one has a graph of its own, which does not make those of all sizes void
        kind = (recording, size == 1, *(a.requires_grad for a in arguments))
        if kind in self.known and self.sizes[kind] in (size, None):
            # nothing is to compile, and to say so at each argument takes longer than the call
            with warnings.catch_warnings():  # unless weights are laid out otherwise than they were
                warnings.simplefilter("ignore")
                result = self.compiled(*arguments)
            if len(_graphs(self.code)) == self.known[kind]:
                if self.closed and len(self.direct) < MOST and not (recording and any(kind[2:])):
                    left = KEPT - sum(again.bytes for _, again in self.direct.values())
                    if (again := self.inside.of(arguments, self.leading, result, left)) is not None:
                        self.direct[given[0].shape, recording] = Like(given), again
                self.inside.last = None
                return result
            self.direct.clear()
            self.inside.codes.clear()
            torch._dynamo.reset_code(self.code)  # a graph was compiled for one size
            self.known.clear()
        if self.dynamic or self.sizes.setdefault(kind, size) != size:
            self.sizes[kind] = None
            for a in arguments[: self.leading]:
                torch._dynamo.maybe_mark_dynamic(a, 0)
        # no record that each call would pay for, and no limit: of each kind there are two graphs at most
        lean = torch._dynamo.config.patch(record_runtime_overhead=False, recompile_limit=MOST)
        with lean, warnings.catch_warnings():  # torch's own, while it compiles: not for who calls this
            warnings.simplefilter("ignore")
            result = self.compiled(*arguments)
        self.inside.last = None
        self.known.update(dict.fromkeys([*self.known, kind], len(_graphs(self.code))))
        return result

    def replay(self, given: Sequence[Tensor]) -> Replay | None:
        """What is called for arguments that stay where they lie; None if it is not known."""
        return None if (again := self._again(given)) is None else again.where_they_lie(self._rows(given))

    def _again(self, given: Sequence[Tensor]) -> "_Again | None":
        last = self.direct.get((given[0].shape, torch.is_grad_enabled()))
        return last[1] if last is not None and last[0](given) else None

    def _rows(self, given: Sequence[Tensor]) -> Sequence[Tensor]:
        if self.single is None:
            return given
        return [a.unsqueeze(0) if one else a for a, one in zip(given, self.single, strict=True)]


def _graphs(code: types.CodeType) -> list[Any]:
    """What torch has compiled of a function."""
    return torch._C._dynamo.eval_frame._debug_get_cache_entry_list(code)
