"""The operations of a function, recorded as they come by.

`torch.fx.experimental.proxy_tensor.make_fx` does the same, but while it traces, `torch.nn.Module` has methods of its
own, in every thread.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only


def recorded(
    f: Callable[..., Tensor],
    arguments: Sequence[Tensor],
    rules: Mapping[Any, Callable[..., Any]],
    whole: bool = False,
) -> torch.fx.GraphModule:
    """The ATen operations of `f(*arguments)`, a function without side effects.

    Args:
        f: returns a tensor.
        arguments: become placeholders; other tensors that f uses are attributes, copied as f finds them.
        rules: what to record in place of an operation; those that torch composes of others are always taken apart.
        whole: keeps operations that the result does not need.
    """
    recorder = _Recorder(rules)
    for k, a in enumerate(arguments):
        recorder.keep(a, recorder.graph.placeholder(f"x{k}"))
    with recorder:
        result = f(*arguments)
    recorder.graph.output(recorder.node(result))
    if not whole:
        recorder.graph.eliminate_dead_code()
    return torch.fx.GraphModule(recorder.constants, recorder.graph)


def differing(a: torch.fx.GraphModule, b: torch.fx.GraphModule) -> bool:
    """Whether two recordings of one function are not the same operations on the same numbers."""
    ours, theirs = list(a.graph.nodes), list(b.graph.nodes)
    if len(ours) != len(theirs):
        return True
    meant = dict(zip(theirs, ours, strict=True))
    return any(
        p.op != q.op
        or (_is_another(getattr(a, p.target), getattr(b, q.target)) if p.op == "get_attr" else p.target != q.target)
        or repr((p.args, p.kwargs)) != repr(torch.fx.map_arg((q.args, q.kwargs), meant.__getitem__))
        for q, p in meant.items()
    )


def _is_another(a: Tensor, b: Tensor) -> bool:
    if a.is_meta and b.is_meta:  # they stand for shapes
        return a.shape != b.shape or a.dtype != b.dtype
    if a.shape != b.shape or a.dtype != b.dtype or a.layout != b.layout:
        return True
    a, b = (t if t.layout == torch.strided else t.to_dense() for t in (a, b))
    return not bool(((a == b) | (a.isnan() & b.isnan())).all())


class _Recorder(TorchDispatchMode):
    def __init__(self, rules: Mapping[Any, Callable[..., Any]]):
        super().__init__()
        self.rules, self.graph = rules, torch.fx.Graph()
        self.constants: dict[str, Tensor] = {}
        self.nodes: dict[int, tuple[Tensor, torch.fx.Node]] = {}  # the tensors keep the keys from being used again
        self.fixed: dict[tuple[int, int], tuple[Tensor, torch.fx.Node]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        with self:
            result = self.rules[func](*args, **kwargs) if func in self.rules else func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
        result = func(*args, **kwargs)
        node = self.graph.call_function(
            func, tree_map_only(Tensor, self.node, args), tree_map_only(Tensor, self.node, kwargs)
        )
        self.keep(result, node)
        return result

    def keep(self, value: Any, node: torch.fx.Node) -> None:
        """Remembers which node has made tensors."""
        node.meta["val"] = value
        if isinstance(value, Tensor):
            self.nodes[id(value)] = value, node
        elif isinstance(value, tuple | list):
            for k, part in enumerate(value):
                self.keep(part, self.graph.call_function(operator.getitem, (node, k)))

    def node(self, x: Tensor) -> torch.fx.Node:
        """What has made a tensor; if nothing has, a constant as it is now: it may be written into."""
        if id(x) in self.nodes:
            return self.nodes[id(x)][1]
        if (id(x), x._version) not in self.fixed:
            name = f"constant{len(self.constants)}"
            self.constants[name] = x.detach().clone()
            node = self.graph.get_attr(name)
            node.meta["val"] = self.constants[name]
            self.fixed[id(x), x._version] = x, node
        return self.fixed[id(x), x._version][1]
