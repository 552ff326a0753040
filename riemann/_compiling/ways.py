"""The ways to a quantity: closed form, derivation, structure, jets; the first that there is."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from riemann._compiling.components import Pattern, symmetries
from riemann._compiling.graph import Unrecorded
from riemann._compiling.kernels import Kernel, OfColumns, OfDerivatives, OfGraph, OfPoints, OfStructure, structure_at
from riemann._compiling.quantities import order_of, vectors_of
from riemann._modules import unwrapped
from riemann._types import Metric

if TYPE_CHECKING:
    from riemann._compiling.derive import JetCode

MOST_DIMENSIONS = 64  # of full second derivatives


def way(
    metric: Metric, quantity: str, options: dict[str, Any], dim: int, whole: bool, budget: float
) -> tuple[Kernel | None, str]:
    """The first of the ways that there is, and what it is called."""
    from riemann._compiling import derive

    inner, order, vectors = unwrapped(metric), order_of(quantity), vectors_of(quantity)
    pattern = symmetries(quantity, options, dim)
    if not vectors and (kernel := OfPoints(inner, quantity, options, pattern, whole)).plain is not None:
        return kernel, "closed form"
    try:
        code = derive.derive(metric, quantity, options, dim, order, budget)
        if isinstance(code, derive.Code):
            return OfColumns(code, whole), f"symbolic, {code.operations} operations"
        return _by_code(code, quantity, options, pattern, whole)
    except derive.NotDerived as error:
        why = str(error)
    at = derive.point(inner, dim).unsqueeze(0)
    if not vectors and not _has_numbers(inner) and (same := structure_at(inner, at)) is not None:
        from riemann._structure.found import public_name

        kernel = OfStructure(inner, quantity, options, pattern, whole, same, (at.dtype, at.device))
        if kernel.plain is not None:
            return kernel, f"closed form of the {public_name(same)} that it is equal to ({why})"
    if dim > MOST_DIMENSIONS:
        return None, f"eager, in tiles: {why}; its derivatives in {dim} dimensions are too many for a graph"
    try:
        return _by_graph(inner, quantity, options, pattern, whole, at, why)
    except Unrecorded as error:
        return None, f"eager, in tiles: {why}, and {error}"


def of_derivatives(
    metric: Metric, quantity: str, options: dict[str, Any], dim: int, whole: bool, why: str
) -> Iterator[tuple[Kernel, str]]:
    """The ways by derivatives of the metric, of a quantity that is better not taken from its expression."""
    from riemann._compiling import derive

    inner, order, pattern = unwrapped(metric), order_of(quantity), symmetries(quantity, options, dim)
    with contextlib.suppress(derive.NotDerived):
        code = derive.derive(metric, quantity, options, dim, order, budget=60.0, unfit=why)
        yield _by_code(code, quantity, options, pattern, whole)
    with contextlib.suppress(Unrecorded):
        yield _by_graph(inner, quantity, options, pattern, whole, derive.point(inner, dim).unsqueeze(0), why)


def _by_code(
    code: "JetCode", quantity: str, options: dict[str, Any], pattern: Pattern, whole: bool
) -> tuple[Kernel, str]:
    kernel = OfDerivatives(code, quantity, options, pattern, whole)
    return kernel, f"symbolic derivatives of the metric, {code.operations} operations ({code.why})"


def _by_graph(
    metric: Metric, quantity: str, options: dict[str, Any], pattern: Pattern, whole: bool, at: Tensor, why: str
) -> tuple[Kernel, str]:
    graph = OfGraph(metric, quantity, options, pattern, whole)
    return graph, f"jets, {graph.operations(at)} operations ({why})"


def _has_numbers(metric: Metric) -> bool:
    """Whether a module has buffers of numbers, which structures copy."""
    return isinstance(metric, torch.nn.Module) and any(b.is_floating_point() for b in metric.buffers())
