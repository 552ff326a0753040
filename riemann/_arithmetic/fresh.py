"""Fresh tensors: plain constants, until a value of the point is written into one.

A tensor that a function makes may outlive the call (in a cache, in a buffer), so it must be a plain one. But `vmap`
takes values of the point only in tensors of its own. So the first such write puts a tensor of `vmap` in the place of
the plain one, behind the same object, and does so for all views of it that there are.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import _functorch
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import TensorWeakRef

_IN_PLACE = frozenset(
    ("__iadd__", "__isub__", "__imul__", "__imatmul__", "__itruediv__", "__idiv__", "__ipow__", "__imod__")
    + ("__ifloordiv__",)
)

UNWRITTEN = frozenset("empty empty_like empty_strided empty_permuted new_empty new_empty_strided".split())
"""Operations that make memory to be written to."""


def unwritten(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`make` without what happens to be in the memory: what reads it is not known, and is so at every call."""

    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Tensor:
        a = make(*args, **kwargs)
        return a.fill_(math.nan) if a.is_floating_point() or a.is_complex() else a.zero_()

    return made


class View(NamedTuple):
    """How a view was made: the leaf at a place of `func(*args, **kwargs)`."""

    object: TensorWeakRef
    func: Callable[..., Any]
    args: tuple
    kwargs: dict
    place: int


class Fresh:
    """The constants that a function has made, and their views."""

    def __init__(self) -> None:
        self.made: dict[int, tuple[TensorWeakRef, list[View]]] = {}  # by memory

    def __contains__(self, x: Any) -> bool:
        return isinstance(x, Tensor) and storage(x) in self.made

    def note(self, func: Callable[..., Any], args: tuple, kwargs: dict, result: Any) -> None:
        """Remembers what a call of constants gave: new memory, or a view of memory that is remembered."""
        given = {storage(a) for a in tree_leaves((args, kwargs)) if isinstance(a, Tensor)}
        for place, y in enumerate(tree_leaves(result)):
            if not isinstance(y, Tensor):
                continue
            key = storage(y)
            alive = [x for x in self.objects(key) if x is not None] if key in self.made else []
            if key not in given and not alive:  # an entry of the dead is of memory that is used again
                self.made[key] = TensorWeakRef(y), []
            elif key in given and alive and not any(x is y for x in alive):
                self.made[key][1].append(View(TensorWeakRef(y), func, args, kwargs, place))

    def objects(self, key: int) -> list[Tensor | None]:
        """The tensors of a memory, None for what is gone."""
        whole, views = self.made[key]
        return [whole(), *(view.object() for view in views)]

    def replace(self, x: Tensor, change: Callable[[Tensor], Tensor], forget: bool) -> list[Tensor]:
        """Puts `change` of the whole tensor in its place, and the same views of that in the place of its views."""
        key = storage(x)
        objects, (_, views) = self.objects(key), self.made.pop(key)
        alive = [(tensor, view) for tensor, view in zip(objects, (None, *views), strict=True) if tensor is not None]
        new: dict[int, Tensor] = {}
        for tensor, view in alive:
            parents = [a for a in tree_leaves((view.args, view.kwargs)) if id(a) in new] if view else []
            if view is None or not parents:
                new[id(tensor)] = change(tensor)
            else:
                args, kwargs = tree_map_only(Tensor, lambda a: new.get(id(a), a), (view.args, view.kwargs))
                new[id(tensor)] = tree_leaves(view.func(*args, **kwargs))[view.place]
        for tensor, view in alive:
            torch._C._swap_tensor_impl(tensor, new[id(tensor)])
            if not forget and view is not None and storage(tensor) in self.made:
                self.made[storage(tensor)][1].append(view)
            elif not forget:
                self.made[storage(tensor)] = TensorWeakRef(tensor), []
        return [tensor for tensor, _ in alive]


def storage(x: Tensor) -> int:
    """What tells the memory of a tensor from all others."""
    x = without_transforms(x)
    return x.untyped_storage()._cdata if x.layout == torch.strided else 0


def without_transforms(x: Tensor) -> Tensor:
    """The tensor inside those of transforms."""
    while _functorch.is_functorch_wrapped_tensor(x):
        x = _functorch.get_unwrapped(x)
    return x


def writes(name: str) -> bool:
    """Whether a call writes into its first argument."""
    return name.endswith("_") and not name.endswith("__") or name == "__setitem__" or name in _IN_PLACE
