"""A metric as it is now, for the many evaluations of one call: of the type that it is equal to, without a wide layer.

What is made here copies numbers and parameters as they are, so it must not outlive the call.
"""

import math
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from riemann import _jets
from riemann._arithmetic.surface import REWRITTEN
from riemann._metric import jets_of
from riemann._modules import runs_as_written, unwrapped
from riemann._structure.found import LOOKED_AT, found
from riemann._structure.operations import KNOWN
from riemann._types import Field, Metric
from riemann.metrics import Constant, Pullback

AFFINE = {
    "add", "addmm", "alias", "bmm", "clone", "div", "mm", "mul", "mv", "neg", "permute", "select", "slice", "squeeze",
    "sub", "t", "transpose", "_unsafe_view", "unsqueeze", "view",
}  # fmt: skip
"""Operations that are affine in each of their arguments, but for a divisor."""
LEAST = 5  # dimensions in which looking is worth it


def for_one_call(metric: Metric, x: Tensor) -> Metric:
    """The metric, or one that is equal to it at points `(b, n)`, values and derivatives, and costs less."""
    n = x.shape[-1]
    if n < LEAST or not len(x):
        return metric
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of points that are only tried
        same = unwrapped(metric)
        if not isinstance(same, Pullback):
            same = found(metric, n, x[:LOOKED_AT])[0]
        if same is None:
            return metric
        if type(same) is Pullback and same.ambient is None and runs_as_written(same):
            try:
                same = _without_last_layer(same, x[0]) or same
            except (ValueError, TypeError, RuntimeError, NotImplementedError):  # its operations cannot be recorded
                pass
        return same if same is metric or _agree(metric, same, x[:LOOKED_AT]) else metric


def _agree(metric: Metric, same: Metric, x: Tensor) -> bool:
    close = 1e3 * torch.finfo(x.dtype).eps
    pairs = zip(jets_of(metric, x, 1), jets_of(same, x, 1), strict=True)
    return all(torch.allclose(a, b, close, close * float(a.abs().amax())) for a, b in pairs)


def _without_last_layer(metric: Pullback, x: Tensor) -> Pullback | None:
    r"""The same metric by the map to what the last affine layer $A h + b$ reads: $A^T A$ is the metric on h."""
    module = _jets.operations(_jets.field(metric.map, x), KNOWN, REWRITTEN, True, x)
    nodes = list(module.graph.nodes)
    point, last = nodes[0], nodes[-1].args[0]
    hidden = _narrowest(point, last)
    narrow, wide = hidden.meta["val"].numel(), last.meta["val"].numel()
    if hidden is point or 2 * narrow > wide:
        return None
    layer = _part(module, hidden, last)
    shape = hidden.meta["val"].shape
    zero, unit = x.new_zeros(narrow), torch.eye(narrow, dtype=x.dtype, device=x.device)
    A = torch.stack([layer(e.reshape(shape)).reshape(-1) for e in (zero, *unit)])
    A = A[1:] - A[0]
    before = _part(module, point, hidden)
    return Pullback(_AtAPoint(before), Constant(A @ A.mT))


class _AtAPoint(torch.nn.Module):
    """A recorded function of one point, which leads with an axis of length 1 there."""

    def __init__(self, program: Any):
        super().__init__()
        self.program = program

    def forward(self, x: Tensor) -> Tensor:
        """`(k,)` at one point."""
        with torch._C.DisableTorchFunction():  # the calls were seen when they were recorded
            return self.program(x.unsqueeze(0)).reshape(-1)


def _narrowest(point: torch.fx.Node, last: torch.fx.Node) -> torch.fx.Node:
    """What fewest numbers lie in between of which the last are an affine function."""
    varies = {point}
    for node in last.graph.nodes:
        if any(a in varies for a in node.all_input_nodes):
            varies.add(node)
    here = best = last
    while here is not point:
        name = here.target._schema.name.split("::")[1] if hasattr(here.target, "_schema") else ""
        inputs = [a for a in tree_leaves((here.args, here.kwargs)) if isinstance(a, torch.fx.Node) and a in varies]
        if name not in AFFINE or len(inputs) != 1 or name == "div" and here.args[0] is not inputs[0]:
            break
        here = inputs[0]
        if math.prod(here.meta["val"].shape) < math.prod(best.meta["val"].shape):
            best = here
    return best


def _part(module: torch.fx.GraphModule, start: torch.fx.Node, end: torch.fx.Node) -> Field:
    """The graph from one node on to another."""
    graph, copies = torch.fx.Graph(), {}
    copies[start] = graph.placeholder("x")
    for node in module.graph.nodes:
        if node is not start and node.op in ("get_attr", "call_function") and _reached(node, copies):
            copies[node] = graph.node_copy(node, copies.__getitem__)
            copies[node].meta = {}
    graph.output(copies[end])
    graph.eliminate_dead_code()
    return torch.fx.GraphModule(module, graph)


def _reached(node: torch.fx.Node, copies: dict[Any, Any]) -> bool:
    return all(a in copies for a in node.all_input_nodes)
