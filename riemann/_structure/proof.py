"""Two metrics compared at points: what is found is used if it is the metric to rounding.

By values, by derivatives along directions, and by gradients to the tensors that ask for them: a parameter that torch
hides while a metric is recorded (inside TorchScript, or a `vmap` over parameters) would become a number.
"""

import warnings

import torch
from torch import Tensor

from riemann import _jets
from riemann._metric import metric_field
from riemann._points.one_point import at_one_point
from riemann._types import Metric

ROUNDINGS = 2.0**14
LOST = 1e-3  # of the largest gradient: those that are missed are missed as a whole, parameters may be of less precision


def agree(metric: Metric, other: Metric, points: Tensor) -> bool:
    """Whether values, first and second derivatives along two directions are the same to rounding at all points.

    Where a derivative of the metric is not known, as at special points, nothing is; at one point or more all are.
    """
    generator = torch.Generator().manual_seed(7)
    plane = torch.randn(2, *points.shape, generator=generator, dtype=torch.float64).to(points)
    plane = plane / torch.linalg.vector_norm(plane, dim=-1, keepdim=True)
    try:
        ours, theirs = (_along(g, points, plane) for g in (other, metric))
    except (ValueError, RuntimeError, TypeError, ArithmeticError):
        return False
    allowed = ROUNDINGS * torch.finfo(points.dtype).eps
    known = torch.stack([b.isfinite().flatten(1).all(1) for b in theirs]).all(0)
    if not bool(known.any()):
        return False
    for a, b in zip(ours, theirs, strict=True):
        a, b, first = (t[known] for t in (a, b, theirs[0]))
        axes = tuple(range(1, b.ndim))
        size = torch.maximum(b.abs().amax(axes), first.abs().amax((1, 2)))
        if not bool(((a - b).abs().amax(axes) <= allowed * size).all()):
            return False
    return _have_same_gradients(metric, other, points[-1])


def _have_same_gradients(metric: Metric, other: Metric, x: Tensor) -> bool:
    """Whether gradients of all entries together, to all that the metric at a point reads, are the same to rounding."""
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        try:
            g, same = _value(metric, x.detach()), _value(other, x.detach())
            if not (read := _read(g)):
                return True
            if not same.requires_grad:
                return False
            weight = torch.randn(g.shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64).to(g)
            ours, theirs = (_jets.recorded_gradients((f * weight).sum(), read) for f in (same, g))
        except (ValueError, RuntimeError, TypeError, ArithmeticError):
            return False
    allowed = LOST * max(float(b.abs().amax()) for b in theirs) + ROUNDINGS * torch.finfo(x.dtype).eps * float(
        g.detach().abs().amax()
    )
    return all(bool(((a - b).abs() <= allowed).all()) for a, b in zip(ours, theirs, strict=True))


def _value(metric: Metric, x: Tensor) -> Tensor:
    """At one point, as torch has it; as riemann has it, where torch does not take what it takes."""
    try:
        return at_one_point(metric, x, "metric", lambda g: isinstance(g, Tensor) and g.shape == (len(x), len(x)))
    except Exception:
        return _jets.jets_at(metric_field(metric, x.unsqueeze(0)), x.unsqueeze(0), 0)[0][0]


def _read(y: Tensor) -> list[Tensor]:
    """The tensors that ask for gradients of which one was computed."""
    found, seen, todo = [], set(), [y.grad_fn]
    while todo:
        step = todo.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        found += [step.variable] if hasattr(step, "variable") else []
        todo.extend(before for before, _ in step.next_functions)
    return [a for a in found if a.numel()]


def _along(metric: Metric, points: Tensor, plane: Tensor) -> tuple[Tensor, ...]:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return _jets.jets_along(metric_field(metric, points), points, list(plane), 2)
