"""`bound_rounding`: how far off, at most, rounding makes each component of g and of its curvature."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _curvature, formulas
from riemann._certified.balls import Balls
from riemann._certified.geometry import Enclosed, enclosed
from riemann._certified.given import exact
from riemann._certified.library import above as end_above
from riemann._certified.library import flint, precision
from riemann._certified.quantities import QUANTITIES, named
from riemann._certified.running import NotKnown, errors_of_metric
from riemann._curvature.quantities import VERIFIED
from riemann._metric import checked_jet
from riemann._points.checks import check_unmapped, door
from riemann._points.chunks import in_chunks
from riemann._points.faults import Note, warn_of
from riemann._rounding import last_bits
from riemann._terms import inverse_terms, scales
from riemann._types import ChunkSize, Metric
from riemann.bridge import Trace, trace
from riemann.bridge._functions import matrix

BITS = (160, 640, 2560)  # of FLINT: the next where nothing is known yet


@door
def bound_rounding(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    quantities: Sequence[str | Callable[..., Any]] = VERIFIED,
    *,
    chunk_size: ChunkSize = "auto",
) -> dict[str, Tensor]:
    r"""Bounds of the rounding errors of g and of curvature at points, component by component: |computed - exact|.

    Exact is what the code computes with infinite precision from the point and the constants that it holds, as in
    `enclose`. The bound of g is a priori: the operations of the metric are run with running errors, so it holds of
    every evaluation, whatever the order of its sums. Where an operation has no such bound (linear algebra, special
    functions), and of curvature, it is the distance of the value that riemann computes at these points, here, from
    FLINT's ball of the exact one; of curvature $4 \epsilon$ of the terms of the formula are added, for other orders of
    summation.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        quantities: names out of those below, or the functions; all of them by default.
        chunk_size: points at a time for what riemann computes, as of `at`.

    Returns:
        By name, in the default positions of indices: `metric`, `christoffel`, `riemann_tensor`, `ricci_tensor`,
        `scalar_curvature`, `weyl_tensor`, `kretschmann_scalar`, `volume_element`, of the shapes of their results in
        float64. NaN where g is no metric; infinity where nothing is known.

    Raises:
        ImportError: python-flint is not installed.
        TypeError, ValueError: as `at`; `metric` cannot be traced, or calls an operation without enclosure (named).

    Note:
        A function of torch (exp, sin, …) is taken to be right to 4 units of the last place. Balls take a tenth of a
        second a point or more; g alone, `bound_rounding(metric, x, ["metric"])`, takes no balls where its bound is a
        priori.

    Example:
        >>> import torch
        >>> sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
        >>> x = torch.tensor([[1.0, 0.3], [1e-3, 0.3]], dtype=torch.float64)
        >>> bound_rounding(sphere, x)["scalar_curvature"] < 1e-6
        tensor([True, True])
    """
    flint()
    check_unmapped(x)
    if isinstance(quantities, str) or callable(quantities):
        raise TypeError("`quantities` is one quantity, expected a list of them; use `[quantities]`")
    names = [named(q, VERIFIED) for q in quantities]
    computed, terms = _computed(metric, x, names, chunk_size)
    points = x.detach().reshape(-1, x.shape[-1]).cpu()
    flat = {name: T.double().cpu().reshape(len(points), *T.shape[x.ndim - 1 :]) for name, T in computed.items()}
    prior = torch.full_like(flat["metric"], torch.inf)
    if "metric" in names:
        with contextlib.suppress(NotKnown):
            prior = errors_of_metric(metric, points)
    bounds = {name: torch.full_like(flat[name], torch.inf) for name in names}
    graph = trace(metric, x.shape[-1], x.dtype, device=x.device)
    for k, point in enumerate(points.tolist()):
        rest = {name: flat[name][k] for name in names if name != "metric" or not bool(prior[k].isfinite().all())}
        for name, bound in errors(rest, graph, point).items() if rest else ():
            bounds[name][k] = bound
    if "metric" in names:
        bounds["metric"] = torch.minimum(bounds["metric"], prior)
    for name, bound in bounds.items():
        other_orders = last_bits(terms[name]).double().cpu().reshape(bound.shape) if name in terms else 0.0
        bounds[name] = torch.where(flat[name].isfinite(), bound + other_orders, torch.nan)
    return {name: bounds[name].reshape(computed[name].shape).to(x.device) for name in names}


def _computed(
    metric: Metric, x: Tensor, names: list[str], chunk_size: ChunkSize
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What riemann computes, NaN where g is no metric, and the sizes of the terms of curvature."""
    of_terms = [name for name in names if name != "metric"]

    def here(x: Tensor) -> tuple[Tensor, ...]:
        (g, dg, ddg), faults = checked_jet(metric, x, 2)
        warn_of({fault: mask for fault, mask in faults.items() if not isinstance(fault, Note)})
        terms = scales(g, dg, ddg, inverse_terms(g, formulas.inverse_metric(g)))
        return g, *(terms[name] for name in of_terms)

    with torch.no_grad():
        g, *terms = in_chunks(here, x, rank=4, chunk_size=chunk_size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has been said
            computed = {name: getattr(_curvature, name)(metric, x, chunk_size=chunk_size) for name in of_terms}
    return {"metric": g, **computed}, dict(zip(of_terms, terms, strict=True))


def errors(computed: dict[str, Tensor], graph: Trace, point: list[float]) -> dict[str, Tensor]:
    """How far quantities at a point are from the exact ones, rounded up; infinite where nothing is known."""
    found = {name: torch.full_like(T, torch.inf) for name, T in computed.items()}
    if not all(bool(T.isfinite().all()) for T in computed.values()):
        return found
    for _, balls in geometries(graph, point):
        found = {name: distances(T, balls(name)) for name, T in computed.items()}
        if all(bool(T.isfinite().all()) for T in found.values()):
            break
    return found


def geometries(graph: Any, point: Sequence[Any]) -> Iterator[tuple[int, Callable[[str], np.ndarray]]]:
    """The precision in bits, and balls of quantities at a point by name: one precision after the other."""
    for bits in BITS:
        with torch.no_grad(), precision(bits):
            E = Balls(graph.dim, 2)
            yield bits, functools.partial(_balls, E, enclosed(graph, E, [exact(v) for v in point]))


def _balls(E: Balls, here: Enclosed, name: str) -> np.ndarray:
    shape = (here.dim,) * QUANTITIES[name].rank
    T = getattr(here, name)() if here.known(name) else np.full(shape, E.nowhere())
    return matrix([[E.number(E.value(e)) for e in np.asarray(T, dtype=object).flat]]).reshape(shape)


def distances(T: Tensor, balls: np.ndarray) -> Tensor:
    """How far numbers are from the points of balls at most, entry by entry, rounded up."""
    far = [abs(flint().arb(v) - ball) for v, ball in zip(T.flatten().tolist(), balls.flat, strict=True)]
    return torch.tensor([end_above(d) if d.is_finite() else torch.inf for d in far], dtype=T.dtype).reshape(T.shape)
