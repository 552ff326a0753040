"""A recorded graph with each operation once: what is done again, of the same arguments, costs time in every call."""

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

aten = torch.ops.aten
FRESH = aten.full_like.default, aten.zeros_like.default, aten.ones_like.default, aten.full.default
"""What makes tensors that have no gradients."""

VIEWS = aten.view.default, aten._unsafe_view.default


def share(graph: Graph, constants: Mapping[str, Tensor]) -> None:
    """Makes operations of the same arguments one, in place; also of arguments that are cut off from gradients.

    What is random, or writes into its arguments, is done as often as it was recorded: nothing is shared then.
    """
    if not all(map(_is_pure, graph.nodes)):
        return
    known: dict[Any, Node] = {}
    uncut: dict[Node, Node] = {}  # of what is cut off from gradients, the same that is not
    for node in graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        key = _key(node, constants, {})
        if (same := known.setdefault(key, node)) is not node:
            node.replace_all_uses_with(same)
        elif node.target is aten.detach.default:
            if (a := node.args[0]) in uncut or a.target in FRESH:
                node.replace_all_uses_with(a)
                known[key] = a
            uncut[node] = a
        elif any(a in uncut for a in node.all_input_nodes) and all(
            a in uncut or a.op == "get_attr" for a in node.all_input_nodes
        ):
            same = known.get(_key(node, constants, uncut))
            if same is None:
                continue
            uncut[node] = same
            if not any(user.target is operator.getitem for user in node.users):  # of several results, each by itself
                with graph.inserting_before(node):
                    cut = graph.call_function(aten.detach.default, (same,))
                cut = known.setdefault(_key(cut, constants, {}), cut)
                uncut[cut] = same
                node.replace_all_uses_with(cut)
    graph.eliminate_dead_code()
    for node in graph.nodes:  # what was joined, and now is not, may lie otherwise: not every view of it is one
        if node.target in VIEWS:
            node.target = aten.reshape.default


def _is_pure(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is None or not (schema.is_mutable or torch.Tag.nondeterministic_seeded in node.target.tags)


def _key(node: Node, constants: Mapping[str, Tensor], instead: Mapping[Node, Node]) -> Any:
    """What is done, and of what."""
    if node.op == "get_attr":
        a = constants[node.target]
        return a.shape, a.stride(), a.dtype, a.device, repr(a.tolist())

    def of(a: Any) -> Any:
        if isinstance(a, Node):
            return instead.get(a, a)
        if isinstance(a, list | tuple):
            return tuple(map(of, a))
        return type(a), repr(a)  # of numbers that are not equal to themselves, or to others without their sign

    return node.op, node.target, of(node.args), tuple((name, of(a)) for name, a in node.kwargs.items())
