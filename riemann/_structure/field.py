"""A node of a recorded graph as a field of its own, which computes what it needs and no more."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from riemann._structure.recording import Node, Recording


class Field(torch.nn.Module):
    """What a node of a graph is, as a function of the point, or of another node on which alone it depends.

    The parameters that the metric uses, and tensors that ask for gradients, are parameters and buffers of this module,
    the very objects. Other tensors are constants, as they were when the metric was looked at.

    Args:
        recording: the metric.
        node: what is wanted.
        starts: the nodes whose values, one behind the other, are the argument; the point by default.
        shape: of the value at one point; by default it has no axes of length 1.
        more: further nodes, whose values follow, flat, behind that of the first.
    """

    def __init__(
        self,
        recording: Recording,
        node: Node,
        *starts: Node,
        shape: Sequence[int] | None = None,
        more: Sequence[Node] = (),
    ):
        super().__init__()
        starts = starts or (recording.point,)
        self.dtype, self.device = recording.like.dtype, recording.like.device
        nodes = (node, *more)
        if shape is None:
            shape = [k for k in node.meta["val"].shape if k != 1] if not more else (-1,)
        self.shape = tuple(shape)
        graph, copies = torch.fx.Graph(), {}
        constants: dict[str, Tensor] = {}
        for k, start in enumerate(starts):
            copies[start] = graph.placeholder(f"x{k}")
        self.shapes = [tuple(start.meta["val"].shape) for start in starts]
        wanted = set().union(*(_needed(n, starts, recording.point) for n in nodes))
        self.count = 0
        for own, tensor in recording.own.items():
            if own in wanted:
                copies[own] = graph.placeholder(f"own{self.count}")
                name = f"own{self.count}"
                if isinstance(tensor, torch.nn.Parameter):
                    self.register_parameter(name, tensor)
                else:
                    self.register_buffer(name, tensor)
                self.count += 1
        for other in recording.nodes:
            if other not in wanted or other in copies:
                continue
            if (same := _same_as(other, recording)) is not None:
                copies[other] = copies[same]
                continue
            copies[other] = graph.node_copy(other, copies.__getitem__)
            copies[other].meta = {}
            copies[other].args = torch.fx.map_arg(_with_ends(other), copies.__getitem__)
            if other.op == "get_attr":
                constants[str(other.target)] = getattr(recording.module, str(other.target))
        graph.output(tuple(copies[n] for n in nodes))
        graph.eliminate_dead_code()
        self.program = torch.fx.GraphModule(constants, graph)
        self.dtypes = self._dtypes()

    def _dtypes(self) -> list[torch.dtype]:
        """Of all tensors that it computes with."""
        return [t.dtype for t in (*self.parameters(), *self.buffers())]

    def forward(self, x: Tensor) -> Tensor:
        """The value at one point, or for one value of the start."""
        if x.dtype != self.dtype:
            raise ValueError(
                f"`x` is {x.dtype}, but the structure of the metric was found at points in {self.dtype}; give "
                "`structure` points of that dtype, `x=…`"
            )
        if self._dtypes() != self.dtypes:
            raise ValueError(
                "tensors of the metric are of another dtype than when its structure was found; ask `structure` again, "
                "with points `x=…` of that dtype"
            )
        own = [getattr(self, f"own{k}").unsqueeze(0) for k in range(self.count)]  # calls that who looks again must see
        with torch._C.DisableTorchFunction():  # the others were seen when they were recorded
            widths = [math.prod(shape) for shape in self.shapes]
            parts = [a.reshape(shape) for a, shape in zip(x.reshape(-1).split(widths), self.shapes, strict=True)]
            values = self.program(*parts, *own)
            y = values[0] if len(values) == 1 else torch.cat([v.reshape(-1) for v in values])
            return y.reshape(self.shape)


def _with_ends(node: Node) -> tuple[Any, ...]:
    """The arguments of a slice that goes on to the end, with the end."""
    args = node.args
    if not any(type(a) is int and a >= 2**62 for a in args):
        return args
    formal = [argument.name for argument in node.target._schema.arguments]
    kept, dim = args[0].meta["val"], args[formal.index("dim")]
    return tuple(kept.shape[dim] if type(a) is int and a >= 2**62 else a for a in args)


def _same_as(node: Node, recording: Recording) -> Node | None:
    """The argument that an operation of recorded transforms only repeats."""
    if node.op != "call_function" or not hasattr(node.target, "_schema"):
        return None
    name = node.target._schema.name.split("::")[1]
    source = {"alias": 0, "lift_fresh": 0, "copy": 1, "detach": 0}.get(name)
    if source is None or name == "detach" and recording.reads[node]:
        return None
    argument = node.args[source]
    kept, other = node.meta["val"], argument.meta.get("val")
    same = isinstance(other, Tensor) and (kept.shape, kept.dtype) == (other.shape, other.dtype)
    return argument if same else None


def _needed(node: Node, starts: Sequence[Node], point: Node) -> set[Node]:
    """What a node is computed from, from some nodes on."""
    wanted, todo = set(starts), [node]
    while todo:
        here = todo.pop()
        if here in wanted:
            continue
        if here is point:
            raise ValueError("the node depends on the point otherwise than by those")
        wanted.add(here)
        todo.extend(here.all_input_nodes)
    return wanted


def way(recording: Recording, node: Node, *starts: Node) -> set[Node] | None:
    """What a node is computed from, if it depends on the point by some nodes alone; else None."""
    try:
        return _needed(node, starts, recording.point)
    except ValueError:
        return None


class Entries(torch.nn.Module):
    """Entries of a field's value with some coordinates given: a block of a metric in coordinates of its own.

    Args:
        field: of n coordinates.
        start: where the own coordinates start.
        frozen: the values of the n coordinates that the others have.
        pick: the value at a point to the entries.
    """

    frozen: Tensor

    def __init__(self, field: torch.nn.Module, start: int, frozen: Tensor, pick: Callable[[Tensor], Tensor]):
        super().__init__()
        self.field, self.start, self.pick = field, start, pick
        self.register_buffer("frozen", frozen)

    def forward(self, y: Tensor) -> Tensor:
        """At one point of the own coordinates."""
        stop = self.start + y.shape[-1]
        x = torch.cat([self.frozen[: self.start].to(y), y, self.frozen[stop:].to(y)])
        return self.pick(self.field(x))


class Composed(torch.nn.Module):
    """A function of the value of a field.

    Args:
        field: of a point.
        then: of its value.
    """

    def __init__(self, field: torch.nn.Module, then: Callable[[Tensor], Tensor]):
        super().__init__()
        self.field, self.then = field, then

    def forward(self, x: Tensor) -> Any:
        """At one point."""
        return self.then(self.field(x))
