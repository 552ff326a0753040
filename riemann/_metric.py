"""What a metric must be, checked: one point (n,) in, a finite symmetric nonsingular (n, n) out."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from riemann import _jets
from riemann._faults import Faults, warn_of, with_nan
from riemann._open import open_function
from riemann._safe import Refusal, Traced, unwrapped
from riemann._types import Field, Metric

INFINITE = "has derivatives that are not finite"  # the fault that leaves the value of g as it is
ASYMMETRY = {torch.float64: 1e-6}  # relative to the entries of row and column; a coarser 1e-3 for lower precision


@open_function(rank=None)
def jets_of(metric: Metric, x: Tensor, order: int) -> tuple[Tensor, ...]:
    """`(g, dg, ddg, …)` at points `(*batch, n)`, not judged: where a type brings its own, by `at.register`."""
    return _jets.over_points(lambda p: _jets.derivatives(safe_metric(metric, p, order), p, order), x)


def metric_jet(metric: Metric, x: Tensor, order: int) -> tuple[Tensor, ...]:
    """`(g, dg, ddg, …)` at points `(*batch, n)`; NaN, with one warning, where g is not a metric."""
    jets, faults = checked_jet(metric, x, order)
    warn_of(faults)
    return jets


def checked_jet(metric: Metric, x: Tensor, order: int) -> tuple[tuple[Tensor, ...], Faults]:
    """The jets, NaN where g is not a metric, and what is wrong where, for `warn_of`."""
    jets = jets_of(metric, x, order)
    faults = faults_of(jets, x)
    of_value = {name: mask for name, mask in faults.items() if name != INFINITE}
    return (*with_nan(of_value, jets[0]), *with_nan(faults, *jets[1:])), faults


def judged(metric: Metric, x: Tensor, vectors: Sequence[Tensor], result: Tensor) -> Tensor:
    """A result, NaN where g is no metric; one warning names the points that are NaN for no fault of the vectors."""
    if not _jets.has_values(result) or not bool((lost := result.detach().isfinite().logical_not()).any()):
        return result
    _, faults = checked_jet(metric, x, 0)
    extra = vectors[0].ndim - x.ndim if vectors else 0
    shape = result.shape[: extra + x.ndim - 1]
    faults = {name: mask.expand(shape) for name, mask in faults.items()}
    result = with_nan(faults, result)[0]
    lost = result.detach().isnan().reshape(*shape, -1).any(-1)
    for v in vectors:
        lost = lost & v.isfinite().reshape(*shape, -1).all(-1)
    warn_of({**faults, "gives no finite number": lost})
    return result


def safe_metric(metric: Metric, x: Tensor, order: int, *, traced: Traced = None) -> Field:
    """The metric as a field that may be differentiated inside `over_points`; its shape is checked."""
    check_metric_callable(metric)
    return _jets.safe(_one_point(unwrapped(metric)), x, order, name="metric", traced=traced, of=metric)


def check_metric_callable(metric: Any) -> None:
    """Raises unless `metric` can be called."""
    if not callable(metric):
        raise TypeError(
            f"`metric` is a {type(metric).__name__}, expected a callable: one point of shape (n,) to a matrix (n, n)"
        )


def _one_point(metric: Metric) -> Field:
    """The metric with its shape checked; a module that only takes batches gets a batch of one."""

    def field(x: Tensor) -> Any:
        n = x.shape[-1]
        try:
            g = metric(x)
        except Exception:
            g = _batch_of_one(metric, x)
            if g is None:
                raise
        if not _has_shape(g, (n, n)):
            g = g if (retried := _batch_of_one(metric, x)) is None else retried
        if isinstance(g, Tensor) and g.shape != (n, n):
            raise ValueError(
                f"`metric` returned shape {tuple(g.shape)} at one point, expected ({n}, {n}); "
                "a metric takes one point of shape (n,)"
            )
        return g

    return field


def _batch_of_one(metric: Metric, x: Tensor) -> Tensor | None:
    """What a module that takes batches makes of one point; None if that is no matrix, either."""
    if not isinstance(metric, torch.nn.Module):
        return None
    try:
        g = metric(x.unsqueeze(0))
    except Refusal:
        raise
    except Exception:  # the error at the single point is the one to tell
        return None
    return g.squeeze(0) if _has_shape(g, (1, x.shape[-1], x.shape[-1])) else None


def _has_shape(g: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(g, Tensor) and g.shape == shape


def faults_of(jets: tuple[Tensor, ...], x: Tensor) -> Faults:
    """What is wrong with a metric, and at which points of the batch; nothing where values cannot be looked at."""
    if not all(map(_jets.has_values, (*jets, x))):
        return {}
    g = jets[0].detach()
    return {
        "is not finite": ~torch.isfinite(g).all(-1).all(-1),
        "is not symmetric": _is_asymmetric(jets),
        "is singular": (torch.linalg.lu_factor_ex(g)[2] != 0) | _is_undetermined(jets, x),
        INFINITE: ~_are_finite(jets[1:], x),
    }


def _are_finite(jets: Sequence[Tensor], x: Tensor) -> Tensor:
    finite = torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)
    for y in jets:
        finite = finite & y.detach().isfinite().flatten(x.ndim - 1).all(-1)
    return finite


def _is_asymmetric(jets: tuple[Tensor, ...]) -> Tensor:
    """Where entries, or their derivatives, differ from those across the diagonal, against the size of their rows."""
    n = jets[0].shape[-1]
    flat = [y.detach().flatten(jets[0].ndim) if y.ndim > jets[0].ndim else y.detach().unsqueeze(-1) for y in jets]
    difference = torch.stack([(y - y.transpose(-2, -3)).abs().amax(-1) for y in flat]).amax(0)
    row = torch.stack([y.abs().amax(-1).amax(-1) for y in flat]).amax(0)
    size = torch.sqrt(row.unsqueeze(-1)) * torch.sqrt(row.unsqueeze(-2))
    return (difference > ASYMMETRY.get(jets[0].dtype, 1e-3) * size).any(-1).any(-1) if n > 1 else row[..., 0] < 0


def _is_undetermined(jets: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """Where the last bit of a coordinate changes g by as much as g itself: the poles of a sphere at `math.pi`."""
    if len(jets) < 2:
        return torch.zeros(x.shape[:-1], dtype=torch.bool, device=x.device)
    g, dg = jets[0].detach(), jets[1].detach()
    bit = torch.finfo(x.dtype).eps * torch.einsum("...ijk,...k->...ij", dg.abs(), x.detach().abs())
    return (torch.linalg.inv_ex(g)[0].abs() @ bit).amax((-1, -2)) > 0.5
