"""What a metric must be, checked: one point (n,) in, a finite symmetric nonsingular (n, n) out."""

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from riemann import _jets, _rank
from riemann._messages.foreign import check_adapted
from riemann._modules import unwrapped
from riemann._open import open_function
from riemann._points.checks import has_values, surely_finite
from riemann._points.faults import UNKNOWN, Faults, warn_of, with_nan
from riemann._points.one_point import at_one_point
from riemann._rounding import Sizes, few_digits
from riemann._types import Field, Metric

INFINITE = "has derivatives that are not finite"  # the fault that leaves the value of g as it is
FEW = 16  # dimensions in which all first derivatives are cheap enough to ask for, to say what is wrong
ASYMMETRY = {torch.float64: 1e-6}  # relative to the entries of row and column; a coarser 1e-3 for lower precision


@open_function(rank=None, checked=True)
def jets_of(metric: Metric, x: Tensor, order: int) -> tuple[Tensor, ...]:
    """`(g, dg, ddg, …)` at points `(*batch, n)`, not judged: where a type brings its own, by `at.register`."""
    check_metric_callable(metric)
    return _jets.jets_at(_one_point(unwrapped(metric)), x, order, "metric")


def jets_and_each(metric: Metric, x: Tensor, order: int) -> tuple[tuple[Tensor, ...], Tensor]:
    """`(g, dg, ddg, …)`, not judged, and each derivative of them once, `(count, *batch, n, n)`: see `_jets.each_at`."""
    if jets_of.route(metric) != "generic":
        jets = jets_of(metric, x, order)
        return jets, _jets.each_of_jets(jets)
    each = _jets.each_at(metric_field(metric, x), x, order, "metric")
    return _jets.jets_of_each(each, x.shape[-1], order), each


def metric_jet(metric: Metric, x: Tensor, order: int) -> tuple[Tensor, ...]:
    """`(g, dg, ddg, …)` at points `(*batch, n)`; NaN, with one warning, where g is not a metric."""
    jets, faults = checked_jet(metric, x, order)
    warn_of(faults)
    return jets


def checked_jet(metric: Metric, x: Tensor, order: int) -> tuple[tuple[Tensor, ...], Faults]:
    """The jets, NaN where g is not a metric, and what is wrong where, for `warn_of`."""
    jets = jets_of(metric, x, order)
    faults = faults_of(jets, x)
    return _without(faults, jets), faults


def metric_pairs(metric: Metric, x: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]:
    """`metric_jet` to second order, with each second derivative once, and the pairs of `_jets.pairs_at`."""
    check_metric_callable(metric)
    jets, pairs = _jets.pairs_at(_one_point(unwrapped(metric)), x, "metric")
    faults = faults_of(jets, x, pairs)
    warn_of(faults)
    return _without(faults, jets), pairs


def _without(faults: Faults, jets: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    of_value = {name: mask for name, mask in faults.items() if name != INFINITE}
    return (*with_nan(of_value, jets[0]), *with_nan(faults, *jets[1:]))


def judged(metric: Metric, x: Tensor, vectors: Sequence[Tensor], result: Tensor) -> Tensor:
    """A result, NaN where g is not a metric; one warning names the points that are NaN for no fault of the vectors."""
    if not has_values(result) or surely_finite(result) or not bool((lost := ~result.detach().isfinite()).any()):
        return result
    jets = jets_of(metric, x, 1 if x.shape[-1] <= FEW else 0)
    faults, of_value = faults_of(jets, x), faults_of(jets[:1], x)
    extra = vectors[0].ndim - x.ndim if vectors else 0
    shape = result.shape[: extra + x.ndim - 1]
    here = lost.reshape(*shape, -1).any(-1)  # elsewhere the derivatives may not have been needed
    faults = {name: (mask & (here | of_value.get(name, here))).expand(shape) for name, mask in faults.items()}
    result = with_nan(faults, result)[0]
    lost = result.detach().isnan().reshape(*shape, -1).any(-1)
    for v in vectors:
        lost = lost & v.isfinite().reshape(*shape, -1).all(-1)
    faults[UNKNOWN] = lost
    warn_of(faults)
    return with_nan(faults, result)[0]


def metric_field(metric: Metric, x: Tensor) -> Field:
    """The metric as `_jets.jets_along` and its like take it, for points x; its shape is checked."""
    check_metric_callable(metric)
    return _jets.field(_one_point(unwrapped(metric)), x, "metric")


def check_metric_callable(metric: Any) -> None:
    """Raises unless `metric` can be called, and is not a class nor what makes a metric."""
    if (
        isinstance(metric, type)
        or (getattr(metric, "__module__", None) or "").startswith("riemann.spaces.")
        and inspect.isfunction(metric)
    ):
        raise TypeError(
            f"`metric` is {metric.__name__} itself, expected what it makes, a metric: `{metric.__name__}(…)`"
        )
    if not inspect.isfunction(metric):
        check_adapted(metric)
    if isinstance(metric, str):
        raise TypeError(
            f"`metric` is the text {metric!r}; a space of the catalogue by its name is `riemann.spaces.get({metric!r})`"
        )
    if not callable(metric):
        raise TypeError(
            f"`metric` is a {type(metric).__name__}, expected a callable: one point of shape (n,) to a matrix (n, n)"
        )


def _one_point(metric: Metric) -> Field:
    """The metric with its shape checked; a module that only takes batches gets a batch of one."""

    def field(x: Tensor) -> Any:
        n = x.shape[-1]
        g = at_one_point(metric, x, "metric", lambda g: isinstance(g, Tensor) and g.shape == (n, n))
        if isinstance(g, Tensor) and g.shape != (n, n):
            raise ValueError(
                f"`metric` returned shape {tuple(g.shape)} at one point, expected ({n}, {n}); "
                "a metric takes one point of shape (n,)"
            )
        return g

    field.of = metric  # type: ignore[attr-defined]  # what it is remembered by
    return field


def faults_of(jets: tuple[Tensor, ...], x: Tensor, pairs: tuple[Tensor, Tensor] | None = None) -> Faults:
    """What is wrong with a metric, and at which points of the batch; nothing where values cannot be looked at.

    With `pairs`, second derivatives are those of `_jets.pairs_at`.
    """
    if not all(map(has_values, (*jets, x))):
        return {}
    g = jets[0].detach()
    finite = g.isfinite().all(-1).all(-1)
    inverse, info = torch.linalg.inv_ex(g)
    size = g.abs()
    derivatives = [y.detach() for y in jets[1:]]
    sizes = Sizes.of(g, inverse, *derivatives)
    if pairs is not None:  # of which most stand for two
        sizes = sizes._replace(norms=(sizes.norms[0], math.sqrt(2) * sizes.norms[1]))
    if derivatives and not sizes.steady(x):
        # the last bit of a coordinate may change g by as much as g itself: the poles at `math.pi`
        last_bit = torch.einsum("...ijk,...k->...ij", derivatives[0].abs(), x.detach().abs() / _rank.ROUNDING)
        size = size + last_bit.nan_to_num(0.0, 0.0)
    singular = finite & (_rank.is_singular(inverse, size) | (info != 0))
    faults = {
        "is not finite": ~finite,
        "is not symmetric": is_asymmetric(jets, ASYMMETRY.get(g.dtype, 1e-3)),
        **_rank.by_rank(g, size, singular),
        INFINITE: ~_are_finite(derivatives, sizes, x),
    }
    if derivatives and not sizes.certain(g.dtype):
        good = ~torch.stack(list(faults.values())).any(0)
        if pairs is not None:
            derivatives[1] = _jets.whole_of_pairs(derivatives[1], pairs, x.shape[-1])
        faults |= few_digits((g, *derivatives), inverse, good)
    return faults


def _are_finite(derivatives: Sequence[Tensor], sizes: Sizes, x: Tensor) -> Tensor:
    finite = torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)
    for y, norm in zip(derivatives, sizes.norms, strict=False):
        if not math.isfinite(norm):
            finite = finite & y.isfinite().flatten(x.ndim - 1).all(-1)
    return finite


def is_asymmetric(jets: tuple[Tensor, ...], tolerance: float) -> Tensor:
    """Where entries, or their derivatives, differ from those across the diagonal, against the size of their rows."""
    *batch, n, _ = jets[0].shape
    if all(map(has_values, jets)) and _is_surely_symmetric([y.detach() for y in jets], tolerance):
        return torch.zeros(batch, dtype=torch.bool, device=jets[0].device)
    flat = [y.detach().flatten(jets[0].ndim) if y.ndim > jets[0].ndim else y.detach().unsqueeze(-1) for y in jets]
    difference = torch.stack([(y - y.transpose(-2, -3)).abs().amax(-1) for y in flat]).amax(0)
    row = torch.stack([y.abs().amax(-1).amax(-1) for y in flat]).amax(0)
    size = torch.sqrt(row.unsqueeze(-1)) * torch.sqrt(row.unsqueeze(-2))
    return (difference > tolerance * size).any(-1).any(-1)


def _is_surely_symmetric(jets: list[Tensor], tolerance: float) -> bool:
    """Whether no difference across the diagonal is above the tolerance for the smallest row of all, in few passes."""
    row = jets[0].ndim - 2
    n = jets[0].shape[-1]

    def pairs(y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        if n > 4:
            yield y, y.transpose(row, row + 1)
        else:  # row by row is faster
            y = y.movedim((row, row + 1), (0, 1))
            yield from ((y[i, :i], y[:i, i]) for i in range(1, n))

    gaps = [torch.linalg.vector_norm(p - q) for y in jets for p, q in pairs(y) if not torch.equal(p, q)]
    return not gaps or bool(torch.stack(gaps).max() <= tolerance * jets[0].diagonal(dim1=-2, dim2=-1).abs().min())
