"""What a metric is written with: code, numbers, modules and tensors, so that a change of them is seen."""

import functools
import operator
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as _torch

from riemann._messages.frames import warn
from riemann._types import Field

KEPT = 4  # compiled forms of a metric that was changed
MOST = 1000  # entries of a container, and objects, that are looked at
_LIBRARIES = ("builtins", "functools", "math", "numpy", "riemann", "riemann_nn", "scipy", "sympy", "torch")
_SIMPLE = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
_OF_MODULES = tuple(vars(torch.nn.Module()))  # but for what users add


class Written:
    """Everything that is reached from a metric by closures, globals, attributes and containers, as it is now.

    What libraries are written with is left out, and so is what is read as an attribute of an imported file.

    Args:
        metric: a callable.
        is_fixed: whether a change of the numbers in a tensor is to be seen; of whole numbers it always is.
    """

    def __init__(self, metric: Field, is_fixed: Callable[[Tensor], bool]):
        self.is_fixed = is_fixed
        self.slots: list[tuple[Callable[[], tuple], tuple]] = []
        self.seen: dict[int, Any] = {}  # the objects keep the keys from being used again
        self._keep(lambda: (*_torch._global_forward_hooks.values(), *_torch._global_forward_pre_hooks.values()))
        todo: list[Any] = [metric]
        while todo and len(self.seen) < MOST:
            a = todo.pop()
            if id(a) not in self.seen and not isinstance(a, (*_SIMPLE, type, types.ModuleType)):
                self.seen[id(a)] = a
                todo.extend(self._parts(a))

    def changed(self) -> bool:
        """Whether something is not what it was."""
        for now, then in self.slots:
            here = now()
            if len(here) != len(then) or any(map(operator.is_not, here, then)) and not _same(here, then):
                return True
        return False

    def settle(self) -> None:
        """Leaves out what the metric itself has changed while it was called: a counter, a running mean."""
        self.slots = [(now, then) for now, then in self.slots if _same(now(), then)]

    def _keep(self, now: Callable[[], tuple]) -> tuple:
        self.slots.append((now, now()))
        return self.slots[-1][1]

    def _parts(self, a: Any) -> Iterable[Any]:
        """Keeps what an object is made of, and returns it."""
        if isinstance(a, Tensor):
            if (not a.is_floating_point() or self.is_fixed(a)) and not a.is_inference():
                self._keep(lambda: (a._version,))
            return ()
        if isinstance(a, types.FunctionType):
            names = () if _is_of_library(a) else tuple(n for n in _names(a.__code__) if n in a.__globals__)
            return self._keep(lambda: _of_function(a, names))
        if isinstance(a, types.MethodType):
            return a.__self__, a.__func__
        if isinstance(a, functools.partial):
            return a.func, *a.args, *a.keywords.values()
        if isinstance(a, dict):
            return self._keep(lambda: (*a.keys(), *a.values())) if len(a) <= MOST else ()
        if isinstance(a, list | tuple | set | frozenset):
            return self._keep(lambda: tuple(a)) if len(a) <= MOST else ()
        if isinstance(a, torch.nn.Module):
            return self._of_module(a)
        return self._of_instance(a, ())

    def _of_module(self, module: torch.nn.Module) -> tuple:
        """Attributes, hooks, parts, buffers of whole numbers, and which tensors there are; others are read by name."""
        hooks, before, parts = module._forward_hooks, module._forward_pre_hooks, module._modules
        own = module._parameters, module._buffers
        there = lambda: (name for named in own for name, t in named.items() if t is not None)  # noqa: E731
        kept = self._keep(lambda: (*hooks.values(), *before.values(), *parts, *parts.values(), *there()))
        whole = [name for name, b in module._buffers.items() if b is not None and not b.is_floating_point()]
        if whole:
            self._keep(lambda: tuple(map(module._buffers.get, whole)))
        tensors = [t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None]
        return *self._of_instance(module, _OF_MODULES), *kept, *tensors

    def _of_instance(self, a: Any, but: Sequence[str]) -> tuple:
        """The type of an object, what the type is written with, and the attributes."""
        attributes = getattr(a, "__dict__", None)
        if attributes is None:
            return ()
        kinds = type(a).__mro__
        lazy = {name for k in kinds for name, v in vars(k).items() if type(v) is functools.cached_property}
        if lazy:  # what is only remembered
            self._keep(lambda: (type(a), *(v for name, v in attributes.items() if name not in lazy)))
        else:
            self._keep(lambda: (type(a), *attributes, *attributes.values()))
        methods = () if all(map(_is_of_library, kinds)) else self._keep(lambda: _methods(kinds))
        return *(v for name, v in attributes.items() if name not in (*lazy, *but)), *methods


class Renewed:
    """A function that is compiled for a metric as it is written, and compiled anew where that has changed.

    What was compiled is kept, for a metric that becomes again what it was: a module in training and in evaluation.
    """

    MADE: tuple[str, ...]  # attributes that hold what is compiled
    LOCAL: tuple[str, ...]  # those that are not pickled
    quantity: str
    _written: Written | None

    def _renew(self) -> None:
        """What is compiled anew."""
        raise NotImplementedError

    def _look(self) -> None:
        """Sees to it that what is compiled is the metric as it is written now."""
        if self._written is None or not self._written.changed() or torch.compiler.is_compiling():
            return
        earlier: list[dict[str, Any]] = vars(self).setdefault("_earlier", [])
        now = {name: vars(self)[name] for name in self.MADE}
        same = next((made for made in earlier if not made["_written"].changed()), None)
        if same is None:
            self._renew()
        else:
            earlier.remove(same)
            vars(self).update(same)
        earlier.append(now)
        del earlier[:-KEPT]
        if same is None and len(earlier) == KEPT and not vars(self).setdefault("_said", False):
            self._said = True
            warn(
                f"`compile`: the metric of `{self.quantity}` was changed again and again, a number, an attribute or a "
                "function that it is written with, and is compiled anew each time. Make what changes a parameter, or "
                "a buffer of a module: their values stay free. This is said once."
            )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_earlier", "_written", *self.LOCAL)}


def _of_function(f: types.FunctionType, names: tuple[str, ...]) -> tuple:
    cells = (cell.cell_contents for cell in f.__closure__ or () if cell != _EMPTY)
    return (
        f.__code__,
        f.__defaults__,
        *(f.__kwdefaults__ or {}).values(),
        *cells,
        *(f.__globals__.get(n) for n in names),
    )


_EMPTY = types.CellType()


def _methods(kinds: Iterable[type]) -> tuple:
    own = (vars(kind).values() for kind in kinds if not _is_of_library(kind))
    return tuple(f for functions in own for f in functions if isinstance(f, types.FunctionType))


def _names(code: types.CodeType) -> set[str]:
    """The names of globals that a function, or one inside it, may read."""
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _is_of_library(a: Any) -> bool:
    return (getattr(a, "__module__", None) or "builtins").partition(".")[0] in _LIBRARIES


def _same(here: tuple, then: tuple) -> bool:
    """Whether what stands in two places is the same object, or the same number."""
    return len(here) == len(then) and all(
        a is b or type(a) is type(b) and isinstance(a, _SIMPLE) and a == b for a, b in zip(here, then, strict=True)
    )
