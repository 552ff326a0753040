"""`at`: a metric differentiated once, at points."""

import math
import os
from typing import Any

from jaxtyping import Float
from torch import Tensor

from riemann import _jets
from riemann._curvature.quantities import QUANTITIES, LocalGeometry
from riemann._messages.frames import warn
from riemann._metric import jets_of, metric_jet
from riemann._modules import unwrapped
from riemann._points.checks import check_count, check_points, has_values
from riemann._points.chunks import in_chunks
from riemann._types import ChunkSize, Metric, Progress

__all__ = ["at"]


def at(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    order: int = 2,
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> LocalGeometry:
    """Differentiates the metric once, at points; everything else is algebra on the result.

    Args:
        metric: callable, one point `(n,)` to a symmetric nonsingular `(n, n)`.
        x: points, `(*batch, n)`.
        order: highest derivative of g: 1 for Christoffel symbols, 2 for curvature, 3 for its derivatives, 4 for their
            derivatives.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        The snapshot, whose methods are named like the functions of this package.

    Raises:
        TypeError: `x` or what the metric returns is not a floating-point tensor.
        ValueError: wrong shape, dtype or device, coordinates that are not finite, a metric that drops derivatives.
        MemoryError: the derivatives at one point are more than the machine's memory.

    Warns:
        UserWarning: where g is not finite, not symmetric or singular to rounding ("rank 2 of 3"), or its derivatives
            are not finite; results are NaN at that point, also those that need no inverse. And where rounding leaves
            fewer than 3 digits of the curvature (of the connection for `order=1`), which is kept: see
            `bound_rounding`.

    Note:
        A metric inside DistributedDataParallel or `torch.compile` is unwrapped. Gradients of a loss on the result are
        then NOT synchronised between processes: wrap a module whose `forward` computes the loss.

    Example:
        >>> import torch
        >>> here = at(lambda x: torch.diag(torch.stack([x[1] ** -2, x[1] ** -2])), torch.tensor([0.0, 2.0]))
        >>> here.scalar_curvature()
        tensor(-2.)
    """
    check_count("order", order, 0)
    check_points(x)
    _check_room("at", x, order)
    light = _jets.weight_of(metric)
    jets = in_chunks(
        lambda x: metric_jet(metric, x, order), x, rank=2 + order, light=light, chunk_size=chunk_size, progress=progress
    )
    names = getattr(unwrapped(metric), "coordinates", ())
    named = isinstance(names, list | tuple) and len(names) == x.shape[-1]
    return LocalGeometry(x, jets, tuple(map(str, names)) if named else ())


at.register, at.route = jets_of.register, jets_of.route  # a route of `at` returns the jets


def local(name: str, metric: Metric, x: Tensor, **options: Any) -> Tensor:
    """A quantity of the table, from a snapshot of points that are checked already."""
    order = QUANTITIES[name].order
    _check_room(name, x, order)
    if order >= 2 and x.shape[-1] >= 32:
        _say_generic(name, metric, x)
    return getattr(LocalGeometry(x, metric_jet(metric, x, order)), name)(**options)


def _check_room(name: str, x: Tensor, order: int) -> None:
    """Raises where the derivatives at one point are more than the machine's memory: a system may kill for that."""
    numbers = x.shape[-1] ** (2 + order)
    if numbers * x.element_size() > _memory() and x.device.type == "cpu":
        raise MemoryError(
            f"`{name}` in {x.shape[-1]} dimensions needs n**{2 + order} numbers at one point, "
            f"{numbers * x.element_size() / 2**30:.0f} GiB, more than this machine has. `ricci_tensor` and "
            "`scalar_curvature` contract them as they come, `sectional_curvature` and `estimate_scalar_curvature` need "
            "n**2 numbers, and metrics of `riemann.metrics` what their structure costs: see `riemann.structure`"
        )


def _memory() -> float | int:
    """The bytes of memory of this machine, where it says."""
    if not hasattr(os, "sysconf") or not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= os.sysconf_names.keys():
        return math.inf
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


_SAID: set[str] = set()


def _say_generic(name: str, metric: Metric, x: Tensor) -> None:
    """Says once that a function takes the generic route in many dimensions, lest structure be lost in silence."""
    if name in _SAID:
        return
    _SAID.add(name)
    warn(
        f"`{name}` takes the generic route in 32 dimensions or more: n**4 numbers and n**2 derivatives a point. "
        f"{structure_in_words(metric, x)}"
        "`sectional_curvature` and `estimate_scalar_curvature` need n**2 numbers; `chunk_size` bounds the points at a "
        "time. This is said once."
    )


def structure_in_words(metric: Metric, x: Tensor) -> str:
    """What the metric is found to be, and which function returns it as that: the beginning of a sentence."""
    if (found := name_structure(metric, x) if has_values(x) else None) is None:
        return "If the metric has structure, a type of `riemann.metrics` uses it; "
    return (
        f"This metric is a `{found}`: `riemann.structured(metric, {x.shape[-1]})` returns it as one, which is faster; "
    )


def name_structure(metric: Metric, x: Tensor) -> str | None:
    """The name of the type that a metric is found to be, or None; `riemann._structure` puts its own here."""
    return None
