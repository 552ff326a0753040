"""The operations of a metric, with the parameters that it uses as arguments: they stay its own."""

from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map_only

from riemann import _jets
from riemann._arithmetic.surface import REWRITTEN
from riemann._metric import metric_field
from riemann._points.one_point import at_one_point
from riemann._structure.analytic import is_analytic
from riemann._structure.arrays import MOVES
from riemann._structure.operations import KNOWN
from riemann._types import Metric

Node = torch.fx.Node


class Recording:
    """A metric as a graph: what varies leads with an axis of length 1.

    Attributes:
        dim: the number of coordinates.
        module: the graph; its attributes are tensors that the metric makes, as they are now.
        point: the node of the point, `(1, n)`.
        own: parameters and other tensors that ask for gradients, by their nodes: the very objects.
        nodes: all nodes, in order; those that the metric does not depend on, too.
        output: the node of the metric, `(1, n, n)`.
        like: a point, whose dtype and device are those of points.
        is_smooth: whether all that the metric calls is analytic, whatever torch chooses inside of it.
    """

    def __init__(self, metric: Metric, like: Tensor):
        fits = lambda g: isinstance(g, Tensor) and g.shape == (len(like), len(like))
        own, self.is_smooth = _called(metric, like, fits)

        def at_point(x: Tensor, *given: Tensor) -> Tensor:
            def field(y: Tensor) -> Any:
                with _Given(own, given):
                    return at_one_point(metric, y, "metric", fits)

            return metric_field(field, like)(x)

        self.dim, self.like = len(like), like
        arguments = like, *(a.detach() for a in own)
        self.module = _jets.operations(at_point, KNOWN, REWRITTEN, True, *arguments, whole=True)
        self.nodes = list(self.module.graph.nodes)
        self.point, *of_own = (node for node in self.nodes if node.op == "placeholder")
        self.own = dict(zip(of_own, own, strict=True))
        self.output: Node = self.nodes[-1].args[0]
        self.reads: dict[Node, frozenset[Node]] = {}
        for node in self.nodes:
            inputs = node.all_input_nodes
            self.reads[node] = frozenset((node,)) if node.op == "placeholder" else _union(self.reads, inputs)

    def varies(self, node: Node) -> bool:
        """Whether a node holds numbers, of the dtype of points, that depend on the point."""
        value = node.meta.get("val")
        return isinstance(value, Tensor) and value.dtype == self.like.dtype and self.point in self.reads[node]

    def shape(self, node: Node) -> tuple[int, ...] | None:
        """Of the value at one point, without axes of length 1; None if the node does not depend on the point."""
        return tuple(k for k in node.meta["val"].shape if k != 1) if self.varies(node) else None


def _union(reads: dict[Node, frozenset[Node]], inputs: list[Node]) -> frozenset[Node]:
    return frozenset().union(*(reads[a] for a in inputs))


class _Seen(TorchFunctionMode):
    """Gathers the parameters, and tensors that ask for gradients, that calls are given and no call has made.

    And whether all calls are of analytic functions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, Any] = {}  # the tensors keep the keys from being used again
        self.own: dict[int, Tensor] = {}
        self.is_smooth, self.depth = True, 0

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        for a in tree_iter((args, kwargs)):
            if isinstance(a, Tensor) and id(a) not in self.made and a.is_floating_point():
                if _functorch.is_functorch_wrapped_tensor(a):
                    continue
                if isinstance(a, torch.nn.Parameter) or type(a) is Tensor and a.requires_grad:
                    self.own.setdefault(id(a), a)
        self.is_smooth = self.is_smooth and is_analytic(func, args, kwargs or {})
        self.depth += 1
        try:
            result = func(*args, **(kwargs or {}))
        finally:
            self.depth -= 1
        for a in tree_iter(result):
            if isinstance(a, Tensor) and id(a) not in self.own:
                self.made[id(a)] = a
        return result


class _Unseen(TorchDispatchMode):
    """Notes what no call that is seen has led to: TorchScript calls what it likes."""

    def __init__(self, seen: _Seen):
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if self.seen.depth == 0 and func._schema.name.split("::")[1] not in MOVES:  # transforms call these themselves
            self.seen.is_smooth = False
        return func(*args, **(kwargs or {}))


def _called(metric: Metric, like: Tensor, fits: Any) -> tuple[list[Tensor], bool]:
    """The tensors that are the metric's own, and whether it calls nothing but analytic functions."""
    seen = _Seen()

    def field(y: Tensor) -> Any:
        with seen, _Unseen(seen):
            seen.made[id(y)] = y
            return at_one_point(metric, y, "metric", fits)

    with torch.no_grad():
        _jets.jets_at(field, like, 0, "metric")
    return list(seen.own.values()), seen.is_smooth


class _Given(TorchFunctionMode):
    """Puts the arguments of a graph in the place of tensors, in every call."""

    def __init__(self, own: list[Tensor], given: tuple[Tensor, ...]):
        super().__init__()
        self.given = {id(a): b for a, b in zip(own, given, strict=True)}

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        swap = lambda a: self.given.get(id(a), a)
        return func(*tree_map_only(Tensor, swap, args), **tree_map_only(Tensor, swap, kwargs or {}))
