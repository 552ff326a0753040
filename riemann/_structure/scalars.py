"""An elementwise map out of a graph: one entry, traced back to the entry that it is a function of."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from riemann._structure.arrays import MOVES
from riemann._structure.recording import Node, Recording

_OF_NUMBERS = frozenset(
    "add sub rsub mul div neg pow exp log log1p expm1 tanh sigmoid softplus silu gelu sin cos tan sinh cosh asinh atan "
    "sqrt rsqrt square reciprocal erf abs mish where gt lt ge le logical_not clamp maximum minimum".split()
)


class NoScalar(Exception):
    """An entry is not a function of one entry that can be written down."""


class Scalar(torch.nn.Module):
    """A function of one number, applied to each entry.

    Args:
        recording: the metric.
        node: where the function's value stands.
        entry: its place there, in the flat value.
        starts: the nodes on one entry of which it depends.

    Raises:
        NoScalar: an operation on the way is not one of single numbers.
    """

    def __init__(self, recording: Recording, node: Node, entry: int, starts: Sequence[Node]):
        super().__init__()
        self.recording, self.starts, self.count = recording, starts, 0
        self.tree = _simplified(self._traced(node, entry))
        del self.recording, self.starts

    def forward(self, z: Tensor) -> Tensor:
        """The function, entry by entry."""
        own = {name: t.reshape(-1) for name, t in (*self._parameters.items(), *self._buffers.items())}
        with torch._C.DisableTorchFunction():
            y = self._value(self.tree, z, own)
        return y if isinstance(y, Tensor) else torch.full_like(z, y)

    def _value(self, tree: Any, z: Tensor, own: dict[str, Tensor]) -> Any:
        kind, *rest = tree
        if kind == "z":
            return z
        if kind == "number":
            return rest[0]
        if kind == "own":
            return own[rest[0]][rest[1]]
        name, args, kwargs = rest
        values = [self._value(a, z, own) if isinstance(a, tuple) else a for a in args]
        if name == "where":
            values = [values[0], *(torch.as_tensor(v, dtype=z.dtype, device=z.device) for v in values[1:])]
        elif values and not isinstance(values[0], Tensor):
            values[0] = torch.as_tensor(values[0], dtype=z.dtype, device=z.device)
        return getattr(torch.ops.aten, name)(*values, **kwargs)

    def _traced(self, node: Any, entry: int) -> Any:
        if not isinstance(node, Node):
            return ("number", float(node))
        if node in self.starts:
            return ("z",)
        if node in self.recording.own:
            tensor = self.recording.own[node]
            name = next((n for n, t in (*self._parameters.items(), *self._buffers.items()) if t is tensor), None)
            if name is None:
                name, self.count = f"own{self.count}", self.count + 1
                if isinstance(tensor, torch.nn.Parameter):
                    self.register_parameter(name, tensor)
                else:
                    self.register_buffer(name, tensor)
            return ("own", name, entry)
        kept = node.meta["val"]
        if not self.recording.reads[node]:
            return ("number", float(kept.reshape(-1)[entry]))
        if node.op != "call_function" or not hasattr(node.target, "_schema"):
            raise NoScalar
        name = node.target._schema.name.split("::")[1]
        if name in MOVES or name == "index_put":
            return self._traced(*_source(node, entry))
        if name == "_to_copy":
            return self._traced(node.args[0], entry)
        if name not in _OF_NUMBERS:
            raise NoScalar
        place = torch.arange(kept.numel()).reshape(kept.shape) == entry
        args = [self._argument(a, place, kept, name, k) for k, a in enumerate(node.args)]
        return ("op", name, args, {k: v for k, v in node.kwargs.items() if isinstance(v, int | float)})

    def _argument(self, a: Any, place: Tensor, kept: Tensor, name: str, k: int) -> Any:
        if not isinstance(a, Node):
            return a
        shape = a.meta["val"].shape
        own = torch.arange(a.meta["val"].numel()).reshape(shape).expand(kept.shape)
        return self._traced(a, int(own[place][0]))


def _source(node: Node, entry: int) -> tuple[Any, int]:
    """Which entry of which argument a move puts at an entry; the number 0 where it fills in zeros."""
    if isinstance(node.meta["val"], tuple | list) or "fill" in str(node.target):
        raise NoScalar
    starts: list[tuple[int, Node]] = []
    count = 1

    def deposit(a: Node) -> Any:
        nonlocal count
        value = a.meta["val"]
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        starts.append((count, a))
        count += value.numel()
        return torch.arange(count - value.numel(), count).reshape(value.shape)

    args, kwargs = torch.fx.map_arg((node.args, node.kwargs), deposit)
    kwargs = {k: v for k, v in kwargs.items() if k not in ("dtype", "device", "layout", "pin_memory", "memory_format")}
    position = int(node.target(*args, **kwargs).reshape(-1)[entry])  # type: ignore[operator]
    for start, argument in reversed(starts):
        if position >= start:
            return argument, position - start
    return 0.0, 0


def _simplified(tree: Any) -> Any:
    """Sums with 0 and products with 1 are left out."""
    if tree[0] != "op":
        return tree
    _, name, args, kwargs = tree
    args = [_simplified(a) if isinstance(a, tuple) else a for a in args]
    zero, one = ("number", 0.0), ("number", 1.0)
    if name in ("add", "mul") and not kwargs and len(args) == 2:
        for a, b in (args, args[::-1]):
            if b == (zero if name == "add" else one) and isinstance(a, tuple):
                return a
    return ("op", name, args, kwargs)
