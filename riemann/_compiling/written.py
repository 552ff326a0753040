"""What a metric is written with: code, numbers, modules and tensors, so that a change of them is seen."""

import array
import collections
import contextvars
import functools
import operator
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules import module as _torch

from riemann._messages.frames import warn
from riemann._types import Field

KEPT = 4  # compiled forms of a metric that was changed
MOST = 1000  # entries of a container, and objects, that are looked at
_LIBRARIES = sys.stdlib_module_names | {"numpy", "riemann", "riemann_nn", "scipy", "sympy", "torch"}
_LIBRARIES -= {"__main__"}
_SIMPLE = (bool, int, float, complex, str, bytes, type(None), np.generic, torch.dtype, torch.device)
_WRAPPERS = {property: "fget", staticmethod: "__func__", classmethod: "__func__", functools.cached_property: "func"}
_OF_MODULES = tuple(vars(torch.nn.Module()))  # but for what users add


class Written:
    """Everything that is reached from a metric by closures, globals, attributes, classes and containers, as it is now.

    What libraries are written with is left out.

    Args:
        metric: a callable.
        is_fixed: whether a change of the numbers in a tensor is to be seen; of whole numbers it always is.
    """

    def __init__(self, metric: Field, is_fixed: Callable[[Tensor], bool]):
        self.is_fixed = is_fixed
        self.slots: list[tuple[Callable[[], tuple], tuple]] = []
        self.seen: dict[int, Any] = {}  # the objects keep the keys from being used again
        self._keep(lambda: (*_torch._global_forward_hooks.values(), *_torch._global_forward_pre_hooks.values()))
        self.names: set[str] = set()  # that the code of users reads
        self.files: dict[types.ModuleType, set[str]] = {}  # imported ones, and what is read of them
        todo: list[Any] = [metric]
        while todo:
            self._see(todo)
            todo = [value for file in list(self.files) for value in self._of_file(file)]

    def _see(self, todo: list[Any]) -> None:
        """Keeps what is to do, and what that is made of."""
        while todo and len(self.seen) < MOST:
            a = todo.pop()
            if id(a) not in self.seen and not isinstance(a, (*_SIMPLE, types.CodeType)):
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
                self._keep((lambda: (a._version, _bytes(a))) if _is_of_others(a) else (lambda: (a._version,)))
            return ()
        if isinstance(a, np.ndarray) and a.dtype.hasobject:
            return self._keep(lambda: tuple(a.flat))
        if isinstance(a, np.ndarray | array.array | bytearray):
            return self._keep(lambda: (bytes(a),))
        if isinstance(a, types.FunctionType):
            return self._of_function(a)
        if isinstance(a, types.ModuleType):
            if not _is_library(a.__name__):
                self.files[a] = set()
            return ()
        if isinstance(a, type):
            return () if all(map(_is_of_library, a.__mro__)) else self._keep(lambda: _members(a.__mro__))
        if isinstance(a, contextvars.ContextVar):
            return self._keep(lambda: (a.get(None),))
        if (inner := _WRAPPERS.get(type(a))) is not None:
            return (getattr(a, inner),)
        if isinstance(a, types.MethodType):
            return a.__self__, a.__func__
        if isinstance(a, functools.partial):
            return a.func, *a.args, *a.keywords.values()
        if isinstance(a, dict):
            return self._keep(lambda: (*a.keys(), *a.values()))
        if isinstance(a, list | tuple | set | frozenset | collections.deque):
            return self._keep(lambda: tuple(a))
        if isinstance(a, torch.nn.Module):
            return self._of_module(a)
        return self._of_instance(a, ())

    def _of_function(self, f: types.FunctionType) -> tuple:
        """Code, arguments, closures, globals, and files that are imported while it runs."""
        names = set() if _is_of_library(f) else _names(f.__code__)
        own = tuple(names.intersection(f.__globals__))
        self.names |= names
        imported = (sys.modules[n] for n in names.difference(own).intersection(sys.modules))
        return *self._keep(lambda: _of_function(f, own)), *imported

    def _of_file(self, file: types.ModuleType) -> tuple:
        """Of what is imported, what has a name that code reads, and was not kept before."""
        there, before = vars(file), self.files[file]
        read = tuple(self.names.intersection(there).difference(before))
        before.update(read)
        return self._keep(lambda: tuple(map(there.get, read))) if read else ()

    def _of_module(self, module: torch.nn.Module) -> tuple:
        """Attributes, hooks, parts, buffers of whole numbers, and which tensors there are; others are read by name."""
        hooks, before, parts = module._forward_hooks, module._forward_pre_hooks, module._modules
        own = module._parameters, module._buffers
        there = lambda: (name for named in own for name, t in named.items() if t is not None)  # noqa: E731
        kept = self._keep(lambda: (*hooks.values(), *before.values(), *parts.keys(), *parts.values(), *there()))
        whole = [name for name, b in module._buffers.items() if b is not None and not b.is_floating_point()]
        if whole:
            self._keep(lambda: tuple(getattr(module, name, None) for name in whole))
        tensors = [t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None]
        return *self._of_instance(module, _OF_MODULES), *kept, *tensors

    def _of_instance(self, a: Any, but: Sequence[str]) -> tuple:
        """The type of an object, what the type is written with, and the attributes."""
        kinds, attributes = type(a).__mro__, getattr(a, "__dict__", {})
        by_user = not all(map(_is_of_library, kinds))
        if not (by_user or attributes):
            return ()
        slots = [name for k in kinds for name, v in vars(k).items() if isinstance(v, types.MemberDescriptorType)]
        lazy = {name for k in kinds for name, v in vars(k).items() if type(v) is functools.cached_property}
        inside = self._keep(lambda: (type(a), *(getattr(a, name, None) for name in slots))) if slots else ()
        if lazy:  # what is only remembered
            self._keep(lambda: (type(a), *(v for name, v in attributes.items() if name not in lazy)))
        else:
            self._keep(lambda: (type(a), *attributes, *attributes.values()))
        members = self._keep(lambda: _members(kinds)) if by_user else ()
        return *(v for name, v in attributes.items() if name not in (*lazy, *but)), *inside[1:], *members


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


def _members(kinds: Iterable[type]) -> tuple:
    """What users have written into classes: functions, and values that are no double-underscored ones of Python."""
    own = (vars(kind).items() for kind in kinds if not _is_of_library(kind))
    return tuple(v for members in own for n, v in members if isinstance(v, types.FunctionType) or n[:2] != "__")


def _is_of_others(a: Tensor) -> bool:
    """Whether the memory is that of another library, which torch does not see being written to."""
    return a.layout == torch.strided and a.device.type == "cpu" and not a.untyped_storage().resizable()


def _bytes(a: Tensor) -> bytes:
    return a.detach().resolve_conj().reshape(-1).view(torch.uint8).numpy().tobytes()


def _names(code: types.CodeType) -> set[str]:
    """The names of globals that a function, or one inside it, may read."""
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _is_of_library(a: Any) -> bool:
    return _is_library(getattr(a, "__module__", None) or "builtins")


def _is_library(name: str) -> bool:
    return name.partition(".")[0] in _LIBRARIES


def _same(here: tuple, then: tuple) -> bool:
    """Whether what stands in two places is the same object, or the same number."""
    return len(here) == len(then) and all(
        a is b or type(a) is type(b) and isinstance(a, _SIMPLE) and a == b for a, b in zip(here, then, strict=True)
    )
