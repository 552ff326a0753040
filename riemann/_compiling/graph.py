"""A function of points as one graph of ATen operations, for any number of points.

The function runs once, on points that have a shape and no values; how many they are is a symbol. Tensors of
floating-point numbers from outside are inputs of the graph, the tensors themselves: what is in them at a call is what
the call uses, and gradients flow to them. What is computed of whole numbers alone is a constant.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from riemann._arithmetic import outside
from riemann._compiling.shared import share

aten = torch.ops.aten
MANY = 10007  # points that stand for any number of them: no other size is as large, or divides it
SYMBOLS = torch.SymInt, torch.SymFloat, torch.SymBool
Rules = Mapping[Any, Callable[..., Any]]


def _solved(A: Tensor, B: Tensor, **_: Any) -> Tensor:
    """What has the shape and the layout of a triangular system's solution."""
    batch = (A[..., :1, :1] + B[..., :1, :1]).shape[:-2]
    return B.new_empty((*batch, B.shape[-1], B.shape[-2])).mT


def _complexed(a: Tensor, b: Tensor) -> Tensor:
    return torch.empty_like(a + b, dtype=a.dtype.to_complex())


RESULTS: dict[Any, Callable[..., Tensor]] = {
    aten.linalg_solve_triangular.default: _solved,
    aten.complex.default: _complexed,
}
"""Results without values, where torch has them for numbers of points alone that are no symbols."""


class Unrecorded(Exception):
    """Why a function is not a graph: the end of a sentence."""


def recorded(
    f: Callable[..., Any], like: Sequence[Tensor], rules: Rules
) -> tuple[torch.fx.GraphModule, list[Tensor], int]:
    """The operations of `f` of tensors `(points, …)` like those given, and the tensors from outside that it reads.

    Args:
        f: returns tensors, and has no side effects.
        like: whose dtype, device and shape, but for the number of points, are those of arguments.
        rules: what to record in place of an operation; NotImplemented stands for the operation itself.

    Returns:
        A module that takes the arguments, and then the tensors from outside; these; and how many numbers the largest
        tensor in between holds a point.

    Raises:
        Unrecorded: what is done depends on values or on the number of points.
    """
    from torch.fx.experimental.symbolic_shapes import ShapeEnv  # loads SymPy

    with outside(), torch.no_grad():
        fakes = FakeTensorMode(shape_env=ShapeEnv())
        fakes.cache_enabled = False  # keys of operations take longer than what they are keys to
        recorder = _Recorder(fakes, rules)
        count = _symbol(fakes)
        arguments = []
        for k, x in enumerate(like):
            with fakes:
                fake = torch.empty((count, *x.shape[1:]), dtype=x.dtype, device=x.device)
            recorder.keep(fake, recorder.graph.placeholder(f"x{k}"))
            arguments.append(fake)
        recorder.points = recorder.graph.call_method("size", (recorder.node(arguments[0]), 0))
        recorder.count = count.node.expr if isinstance(count, torch.SymInt) else None
        try:
            with recorder:
                result = f(*arguments)
        except Unrecorded:
            raise
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise Unrecorded(f"it cannot be recorded ({type(error).__name__}: {reason})") from error
        recorder.graph.output(tree_map(recorder.node, result))
    assert fakes.shape_env is not None
    if not isinstance(count, torch.SymInt) or not count.node.expr.is_Symbol:  # it became a number
        raise Unrecorded("what it does depends on the number of points")
    recorder.graph.eliminate_dead_code()
    share(recorder.graph, recorder.constants)
    graph = torch.fx.GraphModule(recorder.constants, recorder.graph)
    for node in graph.graph.nodes:
        node.meta.clear()
    return graph, recorder.inputs, recorder.largest


def _symbol(fakes: FakeTensorMode) -> Any:
    """The number of points, two or more."""
    from torch._dynamo.source import ConstantSource
    from torch.fx.experimental.symbolic_shapes import DimDynamic

    shapes = fakes.shape_env
    assert shapes is not None
    source = ConstantSource("points")
    return shapes.create_symintnode(
        shapes.create_symbol(MANY, source, dynamic_dim=DimDynamic.DYNAMIC), hint=MANY, source=source
    )


class _Recorder(TorchDispatchMode):
    def __init__(self, fakes: FakeTensorMode, rules: Rules):
        super().__init__()
        self.fakes, self.rules, self.graph = fakes, rules, torch.fx.Graph()
        self.constants: dict[str, Tensor] = {}
        self.inputs: list[Tensor] = []
        self.nodes: dict[int, tuple[Tensor, torch.fx.Node]] = {}  # the tensors keep the keys from being used again
        self.outside: dict[int, tuple[Tensor, Tensor]] = {}  # and what stands for them
        self.made: dict[int, Tensor] = {}  # constants, by their memory
        self.joined: dict[int, tuple[Tensor, list[Tensor], int]] = {}  # results of `cat`, their parts and its axis
        self.points: Any = None  # the node of their number, and the symbol of that
        self.count: Any = None
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        args, kwargs = tree_map(self.taken, (args, kwargs or {}))
        if not any(isinstance(a, (FakeTensor, *SYMBOLS)) for a in tree_leaves((args, kwargs))):
            result = func(*args, **kwargs)
            self.made |= {y.untyped_storage()._cdata: y for y in tree_leaves(result) if isinstance(y, Tensor)}
            return result
        if (simpler := self.simpler(func, args, kwargs)) is not NotImplemented:
            return simpler
        args, kwargs = tree_map(self.faked, (args, kwargs))
        if func._schema.is_mutable and any(args[0] is fake for _, fake in self.outside.values()):
            raise Unrecorded("it writes into a tensor from outside")
        with self.fakes:
            result = (RESULTS[func] if func in RESULTS else func)(*args, **kwargs)
        self.keep(result, self.graph.call_function(func, *tree_map(self.node, (args, kwargs))))
        self.note_joined(func, args, result)
        return result

    def simpler(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """What is recorded in place of an operation, or NotImplemented."""
        with self, torch._C._AutoDispatchBelowAutograd(), _below_views():
            result = NotImplemented
            if func in (aten.slice.Tensor, aten.select.int) and id(args[0]) in self.joined:
                result = self.part(func is aten.select.int, *args)
            if result is NotImplemented and func in self.rules:
                result = self.rules[func](*args, **kwargs)
            return result

    # ------------------------------------------------------------------------------------- tensors and their nodes

    def taken(self, a: Any) -> Any:
        """An argument; a tensor of floating-point numbers from outside as the input that stands for it."""
        if not isinstance(a, Tensor) or isinstance(a, FakeTensor):
            return a
        if not (a.is_floating_point() or a.is_complex()) or a.untyped_storage()._cdata in self.made:
            return a
        if id(a) not in self.outside:
            fake = self.fakes.from_tensor(a.detach(), static_shapes=True)
            with self.graph.inserting_before(self.points):
                self.keep(fake, self.graph.placeholder(f"t{len(self.inputs)}"))
            self.inputs.append(a)
            self.outside[id(a)] = a, fake
        return self.outside[id(a)][1]

    def faked(self, a: Any) -> Any:
        """An argument; a constant, as it is now, among the tensors without values."""
        if not isinstance(a, Tensor) or isinstance(a, FakeTensor):
            return a
        if a.ndim == 0 and a.is_floating_point():  # for such a number in a tensor, torch's compiler traces all twice
            value, kind = a.item(), {"dtype": a.dtype, "device": a.device}
            with self.fakes:
                fake = aten.full.default([], value, **kind)
            self.keep(fake, self.graph.call_function(aten.full.default, ([], value), kind))
            return fake
        name = f"constant{len(self.constants)}"
        self.constants[name] = a.detach().clone()
        fake = self.fakes.from_tensor(self.constants[name], static_shapes=True)
        self.keep(fake, self.graph.get_attr(name))
        return fake

    def keep(self, value: Any, node: torch.fx.Node) -> None:
        """Remembers which node has made tensors."""
        if isinstance(value, Tensor):
            self.nodes[id(value)] = value, node
            if isinstance(count := value.numel(), torch.SymInt):
                self.largest = max(self.largest, int(count.node.hint) // MANY)
        elif isinstance(value, tuple | list):
            for k, part in enumerate(value):
                self.keep(part, self.graph.call_function(operator.getitem, (node, k)))

    def node(self, a: Any) -> Any:
        """What has made a tensor or a size."""
        if isinstance(a, Tensor):
            a = self.faked(self.taken(a))
            return self.nodes[id(a)][1]
        if isinstance(a, torch.SymFloat | torch.SymBool):
            raise Unrecorded("a number is taken out of a tensor")
        return self.size(a.node.expr) if isinstance(a, torch.SymInt) else a

    def size(self, e: Any) -> Any:
        """A size: a sum of products of numbers and the number of points."""
        if e.is_Integer:
            return int(e)
        if e == self.count:
            return self.points
        if not (e.is_Add or e.is_Mul):
            raise Unrecorded("sizes in it are not multiples of the number of points")
        first, *others = map(self.size, e.args)
        for other in others:
            first = self.graph.call_function(operator.mul if e.is_Mul else operator.add, (first, other))
        return first

    # ------------------------------------------------------------------------- parts of what was joined, as they were

    def note_joined(self, func: Any, args: tuple, result: Any) -> None:
        """Remembers the parts of a tensor along one axis."""
        if func is aten.cat.default:
            axis = (args[1] if len(args) > 1 else 0) % result.ndim
            self.joined[id(result)] = result, list(args[0]), axis
        elif func is aten.permute.default and id(args[0]) in self.joined:
            _, parts, axis = self.joined[id(args[0])]
            axes = [axis % result.ndim for axis in args[1]]
            with self, torch._C._AutoDispatchBelowAutograd(), _below_views():
                self.joined[id(result)] = result, [aten.permute.default(p, axes) for p in parts], axes.index(axis)

    def part(self, single: bool, a: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
        """A slice of what was joined, or one place along the axis, without joining first."""
        _, parts, axis = self.joined[id(a)]
        size = a.shape[axis]
        if dim % a.ndim != axis or step != 1 or any(isinstance(k, torch.SymInt) for k in (size, start, end)):
            return NotImplemented
        start, end, _ = slice(start, start + 1 or None if single else end).indices(size)
        pieces, at = [], 0
        for p in parts:
            low, high = max(start - at, 0), min(end - at, p.shape[axis])
            if low < high:
                pieces.append(aten.slice.Tensor(p, axis, low, high))
            at += p.shape[axis]
        if not pieces:
            return NotImplemented
        y = pieces[0] if len(pieces) == 1 else aten.cat.default(pieces, axis)
        return aten.select.int(y, axis, 0) if single else y


def _below_views() -> Any:
    """What is done inside makes tensors that may be returned to torch's own bookkeeping of views."""
    return torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.ADInplaceOrView))
