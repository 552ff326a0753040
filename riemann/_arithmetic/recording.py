"""The operations of a user's function at one point, as they come by: the arithmetic without derivatives.

What holds for derivatives holds here: fresh tensors, writing in place, the function's own derivatives, what would cut
a value off. The operations run as they are, for `riemann._recorder` to see.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from riemann._arithmetic.dispatch import Arithmetic, Operation, decomposition, run
from riemann._arithmetic.jet import Jet
from riemann._arithmetic.orders import orders


class Recording(Arithmetic):
    """Performs operations on values at one point.

    Args:
        device: of the values.
        known: names of operations that need not be taken apart.
        instead: what to call in place of functions of torch, by name.
        squares: whether roots know their squares; expressions see for themselves.
    """

    def __init__(
        self,
        device: torch.device,
        known: Container[str],
        instead: Mapping[str, Callable[..., Any]],
        squares: bool,
    ):
        super().__init__(orders(0, 0, device), 1, "metric")
        self.known, self.instead, self.squares, self.anew = known, instead, squares, True

    def of_constants(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """An operation on constants is not recorded: its result is a constant."""
        with _disable_current_modes():
            return func(*args, **kwargs)

    def result(self, func: Any, operation: Operation, jets: tuple, named: dict) -> Any:
        """What an operation returns: by itself, or by its rule where it is a view of memory."""
        if operation.mutable:
            func = getattr(getattr(torch.ops.aten, operation.base), func._overloadname)
        with self.caller:
            if self.squares and operation.base == "linalg_vector_norm" and _is_euclidean(*jets):
                return self.root_of_squares(*jets, **named)
            known = func.namespace == "aten" and operation.base in self.known
            if operation.makes and known and not _is_square(operation.base, jets):
                y = self.performed(func, jets, named)
                if self.squares and operation.base == "sqrt":
                    y.with_square(jets[0].c)
                if self.squares and operation.base == "abs" and not jets[0].is_complex():
                    y.with_square(self.performed(torch.ops.aten.mul.Tensor, (jets[0], jets[0]), {}).c)
                return y
            if operation.rule is not None:
                return operation.rule(self, *jets, **named)
        if (decomposed := decomposition(func)) is not None:
            with self:
                return decomposed(*jets, **named)
        with self.caller:
            return self.performed(func, jets, named)

    def root_of_squares(self, a: Jet, p: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Jet:
        """The norm of a vector, whose square is known."""
        squares = self.performed(torch.ops.aten.mul.Tensor, (a, a), {})
        total = self.performed(torch.ops.aten.sum.dim_IntList, (squares, dim, keepdim), {"dtype": dtype})
        return self.performed(torch.ops.aten.sqrt.default, (total,), {}).with_square(total.c)

    def performed(self, func: Any, jets: tuple, named: dict) -> Any:
        """An operation over values that lead with an axis of length 1, as `vmap` takes it to many points."""
        if not func._schema.returns:  # it checks something
            return None
        leaves, spec = tree_flatten((jets, named))
        places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Jet)]

        def at_point(*values: Tensor) -> Any:
            given = dict(zip(places, values, strict=True))
            args, kwargs = tree_unflatten([given.get(k, leaf) for k, leaf in enumerate(leaves)], spec)
            return func(*args, **kwargs)

        found = torch.func.vmap(at_point)(*(leaves[k].c[0] for k in places))
        return tree_map_only(Tensor, lambda y: Jet(y.unsqueeze(0)), found)


def _is_euclidean(a: Jet, p: Any = 2, *_: Any) -> bool:
    return p == 2 and not a.is_complex()


def _is_square(name: str, jets: tuple) -> bool:
    """Whether an operation gives an even power of a root that knows its square."""
    if not jets or not isinstance(jets[0], Jet) or jets[0].smooth_square is None:
        return False
    by = jets[1] if len(jets) > 1 else None
    return name == "square" or (name == "mul" and by is jets[0]) or (name == "pow" and isinstance(by, int | float))


def values_at_a_point(
    f: Callable[..., Tensor],
    arguments: Sequence[Tensor],
    known: Container[str],
    instead: Mapping[str, Callable[..., Any]],
    squares: bool,
) -> Tensor:
    """`f`, a function of one point, at arguments that lead with an axis of length 1, in operations to be recorded."""
    recording = Recording(arguments[0].device, known, instead, squares)
    y = run(recording, f, [a.unsqueeze(0) for a in arguments])
    return recording.coefficients(recording.taken(y, []))[0]
