"""Which entries of a graph's values may be negative, and which positive: what a factor's logarithm needs."""

import operator
from typing import Any

import torch
from torch import Tensor

from riemann._structure.arrays import MOVES, Residues, moved
from riemann._structure.operations import aligned, index_put
from riemann._structure.recording import Node, Recording

_EVEN = frozenset("square exp sqrt abs softplus sigmoid rsqrt cosh".split())
_ODD = frozenset("tanh sinh asinh atan erf reciprocal sgn sign log1p expm1 alias relu gelu silu".split())
_ODD_EXACT = _ODD - {"gelu", "silu"}


class Signs:
    """May be negative, may be positive: two masks.

    Args:
        negative: where the value may be less than 0.
        positive: where it may be more.
    """

    def __init__(self, negative: Tensor, positive: Tensor):
        self.negative, self.positive = negative, positive

    @property
    def definite(self) -> Tensor:
        """Where the value has one sign, or is 0."""
        return ~(self.negative & self.positive)


def signs(recording: Recording, values: dict[Node, Any]) -> dict[Node, Signs]:
    """Of all nodes that hold numbers; `values` are their residues, which say where two factors are the same."""
    known: dict[Node, Signs] = {}
    for node in recording.nodes:
        kept = node.meta.get("val")
        if not isinstance(kept, Tensor) or not kept.is_floating_point() or kept.is_meta:
            continue
        if not recording.reads[node]:
            known[node] = Signs(kept < 0, kept > 0)
        else:
            known[node] = _of(node, kept, known, values)
    return known


def _of(node: Node, kept: Tensor, known: dict[Node, Signs], values: dict[Node, Any]) -> Signs:
    anything = torch.ones(kept.shape, dtype=torch.bool)
    unknown, positive = Signs(anything, anything), Signs(~anything, anything)
    if node.op != "call_function" or node.target is operator.getitem:
        return unknown
    name = node.target._schema.name.split("::")[1]
    if name == "softplus" and node.kwargs.get("beta", (*node.args, 1)[1]) < 0:
        return Signs(anything, ~anything)
    if name in _EVEN:
        return positive
    if name in _ODD_EXACT:
        return _sign(node.args[0], known)
    if name in ("pow", "float_power"):
        return _of_power(node, known, unknown, positive)
    if name in ("mul", "div"):
        a, b = node.args[:2]
        squares = _same(values.get(a), values.get(b)) if isinstance(a, Node) and isinstance(b, Node) else ~anything
        a, b = _sign(a, known), _sign(b, known)
        negative = (a.negative & b.positive) | (a.positive & b.negative)
        return Signs(negative & ~squares, (a.negative & b.negative) | (a.positive & b.positive) | squares)
    if name in ("add", "sub", "rsub"):
        return _of_sum(name, node, known)
    if name == "neg":
        a = _sign(node.args[0], known)
        return Signs(a.positive, a.negative)
    if name in ("sum", "mean"):
        return _of_total(node, kept, known, unknown)
    if name in ("mm", "bmm", "dot", "mv"):
        return _of_product(node, kept, known, values)
    if name in MOVES or name == "index_put":
        return _of_move(name, node, known, unknown)
    return unknown


def _sign(a: Any, known: dict[Node, Signs]) -> Signs:
    if isinstance(a, Node):
        if a in known:
            return known[a]
        kept = torch.as_tensor(a.meta["val"])
        return Signs(torch.ones(kept.shape, dtype=torch.bool), torch.ones(kept.shape, dtype=torch.bool))
    value = torch.as_tensor(a)
    return Signs(value < 0, value > 0)


def _same(a: Any, b: Any) -> Tensor:
    """Where two factors, broadcast, are the same."""
    if not isinstance(a, Residues) or not isinstance(b, Residues):
        return torch.zeros((), dtype=torch.bool)
    a, b = aligned(a.c.shape[:2], a, b)
    return (a[0] == b[0]).all(0)


def _of_power(node: Node, known: dict[Node, Signs], unknown: Signs, positive: Signs) -> Signs:
    exponent = node.args[1]
    if isinstance(exponent, int | float):
        if not float(exponent).is_integer() or exponent % 2 == 0:
            return positive
        return _sign(node.args[0], known)
    base = _sign(node.args[0], known)
    return unknown if bool(base.negative.any()) else positive


def _of_sum(name: str, node: Node, known: dict[Node, Signs]) -> Signs:
    a, b = (_sign(t, known) for t in node.args[:2])
    alpha = node.kwargs.get("alpha", node.args[2] if len(node.args) > 2 else 1)
    if not isinstance(alpha, int | float) or alpha < 0:
        b = Signs(b.negative | b.positive, b.negative | b.positive)
    if name == "sub":
        b = Signs(b.positive, b.negative)
    if name == "rsub":
        a = Signs(a.positive, a.negative)
    return Signs(a.negative | b.negative, a.positive | b.positive)


def _of_total(node: Node, kept: Tensor, known: dict[Node, Signs], unknown: Signs) -> Signs:
    a = _sign(node.args[0], known)
    target, rest = node.target, node.args[1:]
    keep = {k: v for k, v in node.kwargs.items() if k != "dtype"}
    try:
        parts = [target(m.double(), *rest, **keep) > 0 for m in (a.negative, a.positive)]  # type: ignore[operator]
    except (RuntimeError, TypeError):
        return unknown
    return Signs(*parts)


def _of_product(node: Node, kept: Tensor, known: dict[Node, Signs], values: dict[Node, Any]) -> Signs:
    a, b = (_sign(t, known) for t in node.args[:2])
    target = node.target
    am, ap, bm, bp = (m.double() for m in (a.negative, a.positive, b.negative, b.positive))
    negative = (target(am, bp) + target(ap, bm)) > 0  # type: ignore[operator]
    positive = (target(am, bm) + target(ap, bp)) > 0  # type: ignore[operator]
    left, right = (values.get(t) for t in node.args[:2])
    if kept.ndim >= 2 and isinstance(left, Residues) and isinstance(right, Residues):
        p, q = left.c[0], right.c[0].transpose(-1, -2)
        if p.shape == q.shape:  # sums of squares on the diagonal
            squares = (p == q).all(-1).all(0)
            negative = negative & ~torch.diag_embed(squares)
    return Signs(negative, positive)


def _of_move(name: str, node: Node, known: dict[Node, Signs], unknown: Signs) -> Signs:
    def masks(part: str) -> Any:
        def argument(a: Any) -> Any:
            if a in known:
                return Residues(getattr(known[a], part).long().expand(1, 1, *a.meta["val"].shape))
            return a.meta["val"]

        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), argument)
        return (
            index_put((1, 1), None, *args, **kwargs)
            if name == "index_put"
            else moved(node.target, args, kwargs, (1, 1))
        )

    parts = [masks("negative"), masks("positive")]
    if not all(isinstance(p, Tensor) for p in parts):
        return unknown
    return Signs(*(p[0, 0] > 0 for p in parts))
